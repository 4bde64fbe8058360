// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The router's decision against an oracle: random frames, mutated and cut, in random bursts, each
 * in memory of exactly its length (ASan sees what reads beyond), judged once more by what
 * ip_rcv_core(), ip_forward() and their IPv6 kin do, step by step, with the plainest code.
 *
 * SLUICE_FULL: 5 million frames.
 */
#include <stdlib.h>
#include <string.h>

#include "net/route.h"
#include "route_world.h"
#include "tests/unit/fib_world.h"
#include "unit.h"
#include "util/macros.h"

#define N_FRAMES      300000U
#define N_FRAMES_FULL 5000000U
#define NOTHING       0xff

struct verdict {
	uint8_t verdict;
	uint8_t detail; /* HAND_BACK: reason; FORWARD: port; DROP: NOTHING */
	uint32_t out_len;
};

static struct verdict dropped(void)
{
	return (struct verdict){ROUTE_DROP, NOTHING, 0};
}

static struct verdict handed_back(enum handback_reason reason)
{
	return (struct verdict){ROUTE_HAND_BACK, (uint8_t)reason, 0};
}

/* --- the oracle --------------------------------------------------------------------------------
 */

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static bool begins_with(const uint8_t *addr, const char *text, unsigned n_octets)
{
	struct ip6_addr prefix = addr_of_text(text);

	return memcmp(addr, prefix.octet, n_octets) == 0;
}

static bool checksum_is_right(const uint8_t *ip)
{
	unsigned long sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += get16(ip + i);
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

static bool is_special4(const uint8_t *addr)
{
	return begins_with(addr, "0.0.0.0", 4) || begins_with(addr, "255.255.255.255", 4) ||
	       addr[0] == 127 || (addr[0] >= 224 && addr[0] <= 239);
}

static bool is_special6(const uint8_t *addr)
{
	return begins_with(addr, "::", 16) || begins_with(addr, "::1", 16) || addr[0] == 0xff ||
	       (addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80);
}

/* 10.1/16 by port 1; 10.2/16 by port 2 with a smaller MTU; 10.0/16 by port 0; 10.3.0.1 is ours. */
static struct verdict routed(unsigned octet, unsigned packet_len, unsigned small_mtu)
{
	const unsigned mtu = octet == 2 ? small_mtu : 1500;

	if (octet > 2)
		return handed_back(HANDBACK_NO_ROUTE);
	if (octet == 0)
		return handed_back(HANDBACK_REDIRECT);
	if (packet_len > mtu)
		return handed_back(HANDBACK_MTU);
	return (struct verdict){ROUTE_FORWARD, (uint8_t)octet, packet_len + 14};
}

static struct verdict oracle4(const uint8_t *ip, unsigned n, bool is_strict)
{
	struct verdict verdict;
	unsigned total_len;

	if (n < 20 || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return dropped();
	if ((ip[0] & 15) > 5)
		return handed_back(HANDBACK_HEADER);
	total_len = get16(ip + 2);
	if (total_len > n || total_len < 20 || !checksum_is_right(ip))
		return dropped();
	if (is_special4(ip + 16))
		return handed_back(HANDBACK_LOCAL);
	if (is_special4(ip + 12))
		return handed_back(HANDBACK_SOURCE);
	if (ip[8] <= 1)
		return handed_back(HANDBACK_HEADER);
	if (begins_with(ip + 16, "10.3.0.1", 4))
		return handed_back(HANDBACK_LOCAL);
	verdict = routed(ip[16] == 10 ? ip[17] : 99, total_len, 1300);
	if (verdict.verdict != ROUTE_FORWARD)
		return verdict;
	if (begins_with(ip + 12, "10.3.0.1", 4) ||
	    (is_strict && !begins_with(ip + 12, "10.0.0.0", 2)))
		return handed_back(HANDBACK_SOURCE);
	return verdict;
}

static struct verdict oracle6(const uint8_t *ip, unsigned n)
{
	unsigned payload_len;

	if (n < 40 || ip[0] >> 4 != 6)
		return dropped();
	payload_len = get16(ip + 4);
	if (ip[6] == 0)
		return handed_back(HANDBACK_HEADER);
	if (payload_len + 40 > n)
		return dropped();
	if (is_special6(ip + 24))
		return handed_back(HANDBACK_LOCAL);
	if (is_special6(ip + 8) || begins_with(ip + 8, "::ffff:0:0", 12))
		return handed_back(HANDBACK_SOURCE);
	if (ip[7] <= 1)
		return handed_back(HANDBACK_HEADER);
	return routed(begins_with(ip + 24, "2001:db8::", 4) && ip[28] == 0 ? ip[29] : 99,
		      payload_len + 40, 1300);
}

static struct verdict oracle(const uint8_t *frame, unsigned len, bool is_strict)
{
	const uint8_t mac[6] = {2, 0, 0, 0, 1, 0};

	if (memcmp(frame, mac, sizeof(mac)) != 0)
		return handed_back(frame[0] & 1 ? HANDBACK_LOCAL : HANDBACK_HEADER);
	if (get16(frame + 12) == 0x0800)
		return oracle4(frame + 14, len - 14, is_strict);
	if (get16(frame + 12) == 0x86dd)
		return oracle6(frame + 14, len - 14);
	return handed_back(HANDBACK_HEADER);
}

/* --- the frames --------------------------------------------------------------------------------
 */

static const char *const addrs4[] = {
	"10.0.0.9",  "10.1.0.9",  "10.2.0.9",        "10.1.255.255", "10.3.0.1",  "172.16.0.1",
	"0.0.0.0",   "0.1.2.3",   "127.0.0.1",       "126.0.0.1",    "128.0.0.1", "224.0.0.1",
	"239.1.1.1", "240.0.0.1", "255.255.255.255", "10.2.1.1",     "10.1.1.1",  "10.0.1.1",
};
static const char *const addrs6[] = {
	"2001:db8:0::9", "2001:db8:1::9", "2001:db8:2::9",   "2001:db8:9::9", "::",
	"::1",           "::2",           "::ffff:10.1.0.9", "::fffe:1:1",    "fe80::1",
	"febf::1",       "fec0::1",       "ff02::1",         "ff0e::1",       "fd00::1",
	"2001:db8:1::1", "2001:db8:2::1", "2001:db8:1::2",
};
_Static_assert(ARRAY_SIZE(addrs4) == ARRAY_SIZE(addrs6), "drawn by one number");

static uint32_t draw_len(struct random *random)
{
	switch (random_below(random, 4)) {
	case 0:
		return random_below(random, 60);
	case 1:
		return 1240 + random_below(random, 80);
	case 2:
		return 1450 + random_below(random, 60);
	default:
		return 26;
	}
}

static uint32_t make_random(uint8_t *frame, struct random *random)
{
	const char *const *addrs = random_below(random, 2) ? addrs4 : addrs6;
	const char *src = addrs[random_below(random, ARRAY_SIZE(addrs4))];
	const char *dst = addrs[random_below(random, ARRAY_SIZE(addrs4))];
	uint32_t len = frame_make(frame, src, dst, draw_len(random));

	for (unsigned n = random_below(random, 8) < 3 ? 1 + random_below(random, 3) : 0; n > 0; n--)
		frame[random_below(random, 60)] = random_below(random, 2) ?
							  (uint8_t)random_below(random, 3) :
							  (uint8_t)random_next(random);
	if (random_below(random, 2) && frame[12] == 8 && frame[14] == 0x45)
		frame_fix_checksum(frame);
	if (random_below(random, 4) == 0)
		len += random_below(random, 30); /* padding */
	else if (random_below(random, 8) == 0)
		len = 14 + random_below(random, len - 13);
	return len;
}

static void check(const struct route_frame *frame, bool is_strict)
{
	struct verdict expected = oracle(frame->data, frame->len, is_strict);
	struct verdict got = {frame->verdict, NOTHING, 0};

	if (frame->verdict == ROUTE_HAND_BACK)
		got.detail = frame->reason;
	if (frame->verdict == ROUTE_FORWARD) {
		got.detail = (uint8_t)frame->adjacency->out_port;
		got.out_len = frame->out_len;
	}
	if (got.verdict == expected.verdict && got.detail == expected.detail &&
	    got.out_len == expected.out_len)
		return;
	for (unsigned i = 0; i < MIN(frame->len, 60U); i++)
		print_error("%02x%s", frame->data[i], i % 16 == 15 ? "\n" : " ");
	fail_msg("length %u: %u %u %u, expected %u %u %u", frame->len, got.verdict, got.detail,
		 got.out_len, expected.verdict, expected.detail, expected.out_len);
}

static struct route_world *world_for_oracle(void)
{
	static const char *const locals[] = {"10.3.0.1", NULL};
	struct route_world *w = route_world_new();

	for (uint16_t port = 0; port < 3; port++)
		(void)route_world_via(w, (uint16_t)(port + 1), port, port == 2 ? 1300 : 1500);
	(void)route_world_pass(w, 4, HANDBACK_LOCAL, ROUTE_WORLD_IFINDEX(0));
	route_world_add(w, "10.0.0.0/16", 1);
	route_world_add(w, "10.1.0.0/16", 2);
	route_world_add(w, "10.2.0.0/16", 3);
	route_world_add(w, "10.3.0.1/32", 4);
	route_world_add(w, "2001:db8::/48", 1);
	route_world_add(w, "2001:db8:1::/48", 2);
	route_world_add(w, "2001:db8:2::/48", 3);
	route_world_set_locals(w, locals);
	return w;
}

static void test_random_frames_get_the_verdict_of_an_oracle(void **state)
{
	const unsigned n_frames = world_is_full() ? N_FRAMES_FULL : N_FRAMES;
	struct random random = random_seeded("test_route_random", 11);
	struct route_world *w = world_for_oracle();
	const struct route_in in = route_world_in(0);
	unsigned n_of[3] = {0};

	for (unsigned n_done = 0; n_done < n_frames;) {
		struct route_frame frames[FIB_BURST];
		unsigned n = 1 + random_below(&random, FIB_BURST);
		bool is_strict = random_below(&random, 4) == 0;

		route_world_set_rpf(w, 0, in.ifindex, is_strict ? ROUTE_RPF_STRICT : ROUTE_RPF_OFF);
		for (unsigned i = 0; i < n; i++) {
			uint8_t frame[2048] = {0};
			uint32_t len = make_random(frame, &random);

			frames[i] = (struct route_frame){.data = malloc(len), .len = len};
			assert_non_null(frames[i].data);
			memcpy(frames[i].data, frame, len);
		}
		route_decide(&w->view, &in, frames, n);
		for (unsigned i = 0; i < n; i++) {
			check(&frames[i], is_strict);
			n_of[frames[i].verdict]++;
			free(frames[i].data);
		}
		n_done += n;
	}
	print_message("%u forwarded, %u handed back, %u dropped\n", n_of[ROUTE_FORWARD],
		      n_of[ROUTE_HAND_BACK], n_of[ROUTE_DROP]);
	for (unsigned i = 0; i < 3; i++)
		assert_true(n_of[i] > n_frames / 20);
	route_world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_frames_get_the_verdict_of_an_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
