// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bpf/redirect.bpf.c, verdict by verdict: which frames on which queues in which state of the port
 * leave by which action, that exactly one counter moves, and that no byte of a frame changes; by
 * BPF_PROG_TEST_RUN. port_prog_explain() must say the same of each.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "bpf_env.h"
#include "redirect_env.h"
#include "router_cases.h"
#include "util/macros.h"
#include "verdict_cases.h"

#define CASE(id, frame_, verdict_, action_, ...) \
	{.name = #id,                            \
	 .frame = frame_,                        \
	 .verdict = SLUICE_V_##verdict_,         \
	 .action = action_,                      \
	 __VA_ARGS__},
static struct verdict_case cases[] = {VERDICT_CASES(CASE) ROUTE_CASES(CASE) BRIDGE_CASES(CASE)};
#undef CASE

/* Not in the table: MALFORMED, since BPF_PROG_TEST_RUN refuses frames below 14 bytes (see
 * test_runts_are_malformed); INTERNAL, since an array map has every index that the loader made. */
#define HAS_REASON                          (1u << SLUICE_V_MALFORMED | 1u << SLUICE_V_INTERNAL)
#define CASE_BIT(id, frame_, verdict_, ...) | 1u << SLUICE_V_##verdict_
_Static_assert((HAS_REASON VERDICT_CASES(CASE_BIT) ROUTE_CASES(CASE_BIT) BRIDGE_CASES(CASE_BIT)) ==
		       (1u << SLUICE_V_N) - 1,
	       "every verdict has a case or a reason why not");
#undef CASE_BIT

static void test_case(void **state)
{
	const struct verdict_case *c = *state;
	_cleanup_(port_fini) struct port port;
	enum sluice_verdict explained = SLUICE_V_N;
	uint32_t action = UINT32_MAX;
	uint64_t counts[SLUICE_V_N];
	uint8_t bytes[4096];

	port_init(&port, c);
	assert_int_equal(env_run_frame(port.prog, c->is_wide ? wide_ifindex() : port_ifindex(),
				       c->queue, frame_bytes(c->frame, bytes),
				       c->frame->size_bytes),
			 c->action);
	assert_counted(&port, c->verdict);
	if (c->is_wide)
		return;

	/* Twice: loaded, and loaded already. */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(port_prog_explain(port.prog, bytes, c->frame->size_bytes, c->queue,
						   &explained, &action),
				 0);
		assert_int_equal(explained, c->verdict);
		assert_int_equal(action, c->action);
	}
	take_counts(&port, counts);
	for (unsigned v = 0; v < SLUICE_V_N; v++)
		assert_int_equal(counts[v], 0);
}

static void test_each_control_address(void **state)
{
	static const struct frame control = {60, {TO(0x01, 0x80, 0xc2, 0, 0, 0x00), 0x88, 0xcc}};
	uint8_t bytes[4096];

	for (unsigned pass_control = 0; pass_control < 2; pass_control++) {
		_cleanup_(port_fini) struct port port;

		port_init(&port, &(struct verdict_case){.has_pass_control = pass_control});
		frame_bytes(&control, bytes);
		for (unsigned last = 0x00; last <= 0x0f; last++) {
			uint32_t action, expected = pass_control ? XDP_PASS : XDP_REDIRECT;
			enum sluice_verdict verdict =
				pass_control ? SLUICE_V_CONTROL : SLUICE_V_REDIRECT;

			if (last == 0x01) {
				expected = XDP_DROP;
				verdict = SLUICE_V_PAUSE;
			}
			bytes[5] = (uint8_t)last;
			action = env_run_frame(port.prog, port_ifindex(), 0, bytes, 60);
			assert_int_equal(action, expected);
			assert_counted(&port, verdict);
		}
	}
}

/* --- Each length and each value of what a router looks at ------------------------------------- */

/* Cut anywhere, a frame is never looked at behind its end: the program would not load. */
struct cut {
	const char *name;
	const struct frame *frame;
	bool is_route;
	uint32_t n_needed; /* of its octets, for the verdict `whole` */
	enum sluice_verdict short_of, whole;
};

static void test_frames_cut_at_each_length(void **state)
{
	const struct cut cuts[] = {
		{"ip4", OURS4(100, 0x45, 20, 64), true, 34, SLUICE_V_CARE, SLUICE_V_REDIRECT},
		{"ip6", OURS6(100, 0x60, 0, 59, 64), true, 54, SLUICE_V_CARE, SLUICE_V_REDIRECT},
		{"local4", IP4(203, 0, 113, 1), true, 34, SLUICE_V_CARE, SLUICE_V_LOCAL},
		{"local6", IP6(LOCAL6(1)), true, 54, SLUICE_V_CARE, SLUICE_V_LOCAL},
		{"arp", ARP(203, 0, 113, 1), false, 42, SLUICE_V_REDIRECT, SLUICE_V_LOCAL},
		{"ns", NS(LOCAL6(1)), false, 78, SLUICE_V_REDIRECT, SLUICE_V_LOCAL},
	};
	uint8_t bytes[4096];

	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		const struct cut *cut = &cuts[i];
		_cleanup_(port_fini) struct port port;

		port_init(&port, &(struct verdict_case){.is_route = cut->is_route,
							.is_bridge = !cut->is_route});
		frame_bytes(cut->frame, bytes);
		for (uint32_t size = ETH_HLEN; size <= cut->frame->size_bytes; size++) {
			(void)env_run_frame(port.prog, port_ifindex(), 0, bytes, size);
			assert_counted(&port, size < cut->n_needed ? cut->short_of : cut->whole);
		}
	}
}

/* Is this octet of an IPv4 header one that goes by the fast path? */
static bool is_plain4(size_t at, unsigned value)
{
	switch (at) {
	case 0:
		return value == 0x45;
	case 2: /* total length: 46 in the low octet */
		return value * 256 + 46 <= PORT_MTU;
	case 3:
		return value >= 20;
	case 8:
		return value > 1;
	default: /* 16: destination, tried below 224 and without 127; the rest is nobody's business
		  */
		return true;
	}
}

static bool is_plain6(size_t at, unsigned value)
{
	switch (at) {
	case 0:
		return value >> 4 == 6;
	case 4:
		return value * 256 + 20 + 40 <= PORT_MTU;
	case 6:
		return value != IPPROTO_HOPOPTS;
	case 7:
		return value > 1;
	default:
		return true;
	}
}

static void try_each_octet(const struct frame *frame, size_t n_octets,
			   bool (*is_plain)(size_t at, unsigned value))
{
	_cleanup_(port_fini) struct port port;
	uint8_t bytes[4096];

	port_init(&port, &(struct verdict_case){.is_route = true});
	for (size_t at = 0; at < n_octets; at++) {
		for (unsigned value = 0; value < 256; value++) {
			frame_bytes(frame, bytes)[ETH_HLEN + at] = (uint8_t)value;
			(void)env_run_frame(port.prog, port_ifindex(), 0, bytes, frame->size_bytes);
			assert_counted(&port,
				       is_plain(at, value) ? SLUICE_V_REDIRECT : SLUICE_V_CARE);
		}
	}
}

/* Up to the destination, which has cases of its own. */
static void test_each_value_of_each_octet_before_the_destination(void **state)
{
	try_each_octet(OURS4(60, 0x45, 46, 64), 16, is_plain4);
	try_each_octet(OURS6(74, 0x60, 20, 17, 64), 24, is_plain6);
}

static void test_each_bit_of_the_ports_address_counts(void **state)
{
	_cleanup_(port_fini) struct port port;
	uint8_t bytes[4096];

	port_init(&port, &(struct verdict_case){.is_route = true});
	for (unsigned bit = 0; bit < 12 * 8; bit++) {
		frame_bytes(OURS4(60, 0x45, 46, 64), bytes)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		(void)env_run_frame(port.prog, port_ifindex(), 0, bytes, 60);
		assert_counted(&port, bit < ETH_ALEN * 8 ? SLUICE_V_NOT_ROUTED : SLUICE_V_REDIRECT);
	}
}

/* The tables thread writes them while frames come in. */
static void test_words_of_the_line_act_on_the_next_frame(void **state)
{
	_cleanup_(port_fini) struct port port;
	struct sluice_heartbeat *line;
	uint8_t bytes[4096];

	port_init(&port, &(struct verdict_case){.is_route = true});
	line = port_prog_line(port.prog);
	frame_bytes(OURS4(60, 0x45, 46, 64), bytes);
	for (unsigned i = 0; i < 3; i++) {
		const struct {
			uint64_t *word, value;
			enum sluice_verdict verdict;
		} words[] = {
			{(uint64_t *)&line->routes, SLUICE_ROUTES_IPV6, SLUICE_V_POLICY},
			{(uint64_t *)&line->mac, 1, SLUICE_V_NOT_ROUTED},
			{(uint64_t *)&line->max_packet_len, 45, SLUICE_V_CARE},
		};

		for (size_t w = 0; w < ARRAY_SIZE(words); w++) {
			uint64_t before = *words[w].word;

			(void)env_run_frame(port.prog, port_ifindex(), 0, bytes, 60);
			assert_counted(&port, SLUICE_V_REDIRECT);
			__atomic_store_n(words[w].word, words[w].value, __ATOMIC_RELAXED);
			(void)env_run_frame(port.prog, port_ifindex(), 0, bytes, 60);
			assert_counted(&port, words[w].verdict);
			__atomic_store_n(words[w].word, before, __ATOMIC_RELAXED);
		}
	}
}

/* ---------------------------------------------------------------------------------------------- */

static int run_cases(void)
{
	struct CMUnitTest tests[ARRAY_SIZE(cases)];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		tests[i] = (struct CMUnitTest){cases[i].name, test_case, NULL, NULL, &cases[i]};
	return cmocka_run_group_tests_name("verdicts", tests, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_control_address),
		cmocka_unit_test(test_frames_cut_at_each_length),
		cmocka_unit_test(test_each_value_of_each_octet_before_the_destination),
		cmocka_unit_test(test_each_bit_of_the_ports_address_counts),
		cmocka_unit_test(test_words_of_the_line_act_on_the_next_frame),
	};
	int n_failed;

	redirect_env_enter();
	n_failed = run_cases();
	n_failed += cmocka_run_group_tests_name("redirect", tests, NULL, NULL);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
