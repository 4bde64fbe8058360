// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bpf/redirect.bpf.c, verdict by verdict: which frames on which queues in which state of the port
 * leave by which action, that exactly one counter moves, and that no byte of a frame changes; by
 * BPF_PROG_TEST_RUN. port_prog_explain() must say the same of each.
 */
#include <linux/bpf.h>
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
	};
	int n_failed;

	redirect_env_enter();
	n_failed = run_cases();
	n_failed += cmocka_run_group_tests_name("redirect", tests, NULL, NULL);
	return n_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
