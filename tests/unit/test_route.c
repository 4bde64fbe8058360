// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The router's decision, row by row of afxdp.md §5.1 and §5.2: what Linux would forward unchanged,
 * what is its own to judge and why, and the little that it drops unseen. And what a forwarded frame
 * looks like.
 */
#include <stdio.h>
#include <string.h>

#include "net/ip4.h"
#include "net/ip6.h"
#include "net/route_internal.h"
#include "route_world.h"
#include "tests/unit/fib_world.h"
#include "unit.h"
#include "util/macros.h"

#define FRAME_MAX 2048
#define MTU       1500
#define SHORT_MTU 1300

#define MAX_PATCHES 5
#define CUT(n)      (-(n))
#define PAD(n)      (n)

/* Offsets in the frame. */
enum { ETH_TYPE = 12, IP4 = 14, IP6 = 14 };
enum { V_IHL = IP4, TOT_LEN = IP4 + 2, FRAG = IP4 + 6, TTL = IP4 + 8, PROTO = IP4 + 9 };
enum { SUM = IP4 + 10 };
enum { PAYLOAD_LEN = IP6 + 4, NEXT_HEADER = IP6 + 6, HOP_LIMIT = IP6 + 7 };

/* A good frame with a few octets changed. */
struct row {
	const char *name;
	const char *src;
	const char *dst;
	uint32_t payload_len;
	struct {
		uint16_t at;
		uint8_t value;
	} patches[MAX_PATCHES];
	bool keeps_checksum; /* else it is made right again (IPv4) */
	int len_change;      /* of the frame: PAD() or CUT() */
	enum route_verdict verdict;
	int result; /* FORWARD: the port; HAND_BACK: the reason */
};

#define FORWARD(port_)    .verdict = ROUTE_FORWARD, .result = (port_)
#define HAND_BACK(reason) .verdict = ROUTE_HAND_BACK, .result = HANDBACK_##reason
#define DROPPED           .verdict = ROUTE_DROP

static const char A4[] = "192.0.2.9", A6[] = "2001:db8:9::9";

/* clang-format off: a table */
static const struct row rows[] = {
	/* --- IPv4: what goes on --- */
	{"plain", A4, "10.0.0.9", 18, FORWARD(1)},
	{"empty payload", A4, "10.0.0.9", 0, FORWARD(1)},
	{"longest that fits", A4, "10.0.0.9", MTU - 20, FORWARD(1)},
	{"padding is trimmed", A4, "10.0.0.9", 3, .len_change = PAD(23), FORWARD(1)},
	{"padding beyond the MTU is none of it", A4, "10.9.0.9", SHORT_MTU - 20,
	 .len_change = PAD(99), FORWARD(2)},
	{"TTL 2", A4, "10.0.0.9", 8, {{TTL, 2}}, FORWARD(1)},
	{"TTL 255", A4, "10.0.0.9", 8, {{TTL, 255}}, FORWARD(1)},
	{"first fragment", A4, "10.0.0.9", 8, {{FRAG, 0x20}}, FORWARD(1)},
	{"last fragment", A4, "10.0.0.9", 8, {{FRAG, 0x00}, {FRAG + 1, 9}}, FORWARD(1)},
	{"DF clear", A4, "10.0.0.9", 8, {{FRAG, 0}}, FORWARD(1)},
	{"evil bit", A4, "10.0.0.9", 8, {{FRAG, 0x80}}, FORWARD(1)},
	{"TOS and ECN", A4, "10.0.0.9", 8, {{IP4 + 1, 0xff}}, FORWARD(1)},
	{"unknown protocol", A4, "10.0.0.9", 8, {{PROTO, 253}}, FORWARD(1)},
	{"broken UDP is not a router's", A4, "10.0.0.9", 8, {{IP4 + 24, 0xff}}, FORWARD(1)},
	{"destination in 0/8", A4, "0.1.2.3", 8, FORWARD(1)},
	{"destination in 240/4", A4, "240.0.0.1", 8, FORWARD(1)},
	{"next to limited broadcast", A4, "255.255.255.254", 8, FORWARD(1)},
	{"source in 0/8", "0.1.2.3", "10.0.0.9", 8, FORWARD(1)},
	{"source in 240/4", "240.0.0.1", "10.0.0.9", 8, FORWARD(1)},
	{"source 126/8", "126.255.255.255", "10.0.0.9", 8, FORWARD(1)},
	{"source 128/8", "128.0.0.0", "10.0.0.9", 8, FORWARD(1)},
	{"source 223/8", "223.255.255.255", "10.0.0.9", 8, FORWARD(1)},
	{"source is the destination", "10.0.0.9", "10.0.0.9", 8, FORWARD(1)},
	{"connected, resolved", A4, "10.2.0.7", 8, FORWARD(2)},
	{"checksum 0xffff stands for 0",
	 A4,
	 "10.0.0.9",
	 8,
	 {{TTL, 0x40}, {SUM, 0xff}, {SUM + 1, 0xff}, {IP4 + 4, 0x6e}, {IP4 + 5, 0x95}},
	 .keeps_checksum = true,
	 FORWARD(1)},
	/* --- IPv4: the kernel's --- */
	{"no route", A4, "172.31.0.1", 8, HAND_BACK(NO_ROUTE)},
	{"to this host", A4, "10.0.0.1", 8, HAND_BACK(LOCAL)},
	{"to this host, TTL 1", A4, "10.0.0.1", 8, {{TTL, 1}}, HAND_BACK(HEADER)},
	{"directed broadcast", A4, "10.255.255.255", 8, HAND_BACK(LOCAL)},
	{"limited broadcast", A4, "255.255.255.255", 8, HAND_BACK(LOCAL)},
	{"destination 0.0.0.0", A4, "0.0.0.0", 8, HAND_BACK(LOCAL)},
	{"multicast", A4, "224.0.0.5", 8, HAND_BACK(LOCAL)},
	{"multicast, end", A4, "239.255.255.255", 8, HAND_BACK(LOCAL)},
	{"destination 127/8", A4, "127.0.0.1", 8, HAND_BACK(LOCAL)},
	{"blackhole", A4, "10.4.0.1", 8, HAND_BACK(POLICY)},
	{"a next hop that is not there", A4, "10.6.0.1", 8, HAND_BACK(POLICY)},
	{"group in a group", A4, "10.8.0.1", 8, HAND_BACK(POLICY)},
	{"neighbour of a route not resolved", A4, "10.3.0.1", 8, HAND_BACK(NEIGHBOUR)},
	{"neighbour of a link not resolved", A4, "10.2.0.8", 8, HAND_BACK(NEIGHBOUR)},
	{"neighbour of another link", A4, "10.2.0.9", 8, HAND_BACK(NEIGHBOUR)},
	{"out by where it came in", A4, "10.5.0.1", 8, HAND_BACK(REDIRECT)},
	{"too long, DF", A4, "10.9.0.9", SHORT_MTU - 19, HAND_BACK(MTU)},
	{"too long, may be fragmented",
	 A4,
	 "10.9.0.9",
	 SHORT_MTU - 19,
	 {{FRAG, 0}},
	 HAND_BACK(MTU)},
	{"fragment that is too long",
	 A4,
	 "10.9.0.9",
	 SHORT_MTU - 19,
	 {{FRAG, 0x20}},
	 HAND_BACK(MTU)},
	{"TTL 1", A4, "10.0.0.9", 8, {{TTL, 1}}, HAND_BACK(HEADER)},
	{"TTL 0", A4, "10.0.0.9", 8, {{TTL, 0}}, HAND_BACK(HEADER)},
	{"options",
	 A4,
	 "10.0.0.9",
	 8,
	 {{V_IHL, 0x46}, {IP4 + 20, 1}, {IP4 + 21, 1}, {IP4 + 22, 1}, {IP4 + 23, 0}},
	 HAND_BACK(HEADER)},
	{"longest header", A4, "10.0.0.9", 40, {{V_IHL, 0x4f}}, HAND_BACK(HEADER)},
	{"source multicast", "224.0.0.1", "10.0.0.9", 8, HAND_BACK(SOURCE)},
	{"source limited broadcast", "255.255.255.255", "10.0.0.9", 8, HAND_BACK(SOURCE)},
	{"source 0.0.0.0", "0.0.0.0", "10.0.0.9", 8, HAND_BACK(SOURCE)},
	{"source 127/8", "127.1.2.3", "10.0.0.9", 8, HAND_BACK(SOURCE)},
	{"source is this host", "10.0.0.1", "10.0.0.9", 8, HAND_BACK(SOURCE)},
	{"source is this host, another address", "192.0.2.65", "10.0.0.9", 8, HAND_BACK(SOURCE)},
	/* --- IPv4: dropped, as Linux does unseen --- */
	{"version 6", A4, "10.0.0.9", 8, {{V_IHL, 0x65}}, DROPPED},
	{"version 0", A4, "10.0.0.9", 8, {{V_IHL, 0x05}}, DROPPED},
	{"IHL 4", A4, "10.0.0.9", 8, {{V_IHL, 0x44}}, DROPPED},
	{"IHL 0", A4, "10.0.0.9", 8, {{V_IHL, 0x40}}, DROPPED},
	{"total length 19", A4, "10.0.0.9", 8, {{TOT_LEN + 1, 19}}, DROPPED},
	{"total length 0", A4, "10.0.0.9", 8, {{TOT_LEN + 1, 0}}, DROPPED},
	{"total length beyond the frame", A4, "10.0.0.9", 8, {{TOT_LEN + 1, 29}}, DROPPED},
	{"frame cut by one", A4, "10.0.0.9", 8, .len_change = CUT(1), DROPPED},
	{"frame ends in the header", A4, "10.0.0.9", 0, .len_change = CUT(1), DROPPED},
	{"frame ends behind Ethernet", A4, "10.0.0.9", 0, .len_change = CUT(20), DROPPED},
	{"checksum off by one", A4, "10.0.0.9", 8, {{SUM + 1, 1}}, .keeps_checksum = true, DROPPED},
	{"checksum zero",
	 A4,
	 "10.0.0.9",
	 8,
	 {{SUM, 0}, {SUM + 1, 0}},
	 .keeps_checksum = true,
	 DROPPED},
	{"checksum wrong and TTL 1",
	 A4,
	 "10.0.0.9",
	 8,
	 {{TTL, 1}},
	 .keeps_checksum = true,
	 DROPPED},
	/* --- Ethernet --- */
	{"another station's", A4, "10.0.0.9", 8, {{5, 77}}, HAND_BACK(HEADER)},
	{"another station's, first octet", A4, "10.0.0.9", 8, {{0, 6}}, HAND_BACK(HEADER)},
	{"another station's IPv6", A6, "2001:db8::9", 8, {{5, 77}}, HAND_BACK(HEADER)},
	{"another station's ARP", A4, "10.0.0.9", 8, {{5, 77}, {13, 6}}, HAND_BACK(HEADER)},
	{"unicast IP by Ethernet broadcast", A4, "10.0.0.9", 8, {{0, 0xff}}, HAND_BACK(LOCAL)},
	{"unicast IP by Ethernet multicast",
	 A4,
	 "10.0.0.9",
	 8,
	 {{0, 1}, {1, 0}, {2, 0x5e}},
	 HAND_BACK(LOCAL)},
	{"unicast IPv6 by Ethernet multicast",
	 A6,
	 "2001:db8::9",
	 8,
	 {{0, 0x33}, {1, 0x33}},
	 HAND_BACK(LOCAL)},
	{"ARP", A4, "10.0.0.9", 8, {{13, 6}}, HAND_BACK(HEADER)},
	{"tagged", A4, "10.0.0.9", 8, {{12, 0x81}}, HAND_BACK(HEADER)},
	{"MPLS", A4, "10.0.0.9", 8, {{12, 0x88}, {13, 0x47}}, HAND_BACK(HEADER)},
	{"a length, not a type", A4, "10.0.0.9", 8, {{12, 0}, {13, 28}}, HAND_BACK(HEADER)},
	{"ARP shorter than any IP",
	 A4,
	 "10.0.0.9",
	 0,
	 {{13, 6}},
	 .len_change = CUT(10),
	 HAND_BACK(HEADER)},
	/* --- IPv6: what goes on --- */
	{"plain", A6, "2001:db8::9", 18, FORWARD(1)},
	{"empty payload", A6, "2001:db8::9", 0, FORWARD(1)},
	{"longest that fits", A6, "2001:db8::9", MTU - 40, FORWARD(1)},
	{"an MTU below 1280 is not believed", A6, "2001:db8:a::9", 1280 - 40, FORWARD(2)},
	{"padding is trimmed", A6, "2001:db8::9", 3, .len_change = PAD(23), FORWARD(1)},
	{"hop limit 2", A6, "2001:db8::9", 8, {{HOP_LIMIT, 2}}, FORWARD(1)},
	{"fragment", A6, "2001:db8::9", 8, {{NEXT_HEADER, 44}}, FORWARD(1)},
	{"routing header", A6, "2001:db8::9", 8, {{NEXT_HEADER, 43}}, FORWARD(1)},
	{"destination options", A6, "2001:db8::9", 8, {{NEXT_HEADER, 60}}, FORWARD(1)},
	{"no next header", A6, "2001:db8::9", 8, {{NEXT_HEADER, 59}}, FORWARD(1)},
	{"unknown extension", A6, "2001:db8::9", 8, {{NEXT_HEADER, 253}}, FORWARD(1)},
	{"destination v4-mapped", A6, "::ffff:10.0.0.9", 8, FORWARD(1)},
	{"destination ::2", A6, "::2", 8, FORWARD(1)},
	{"source site-local, once", "fec0::1", "2001:db8::9", 8, FORWARD(1)},
	{"source unique local", "fd00::1", "2001:db8::9", 8, FORWARD(1)},
	{"source v4-compatible", "::192.0.2.1", "2001:db8::9", 8, FORWARD(1)},
	{"source is this host: Linux does not ask", "2001:db8::1", "2001:db8::9", 8, FORWARD(1)},
	{"connected, resolved", A6, "2001:db8:2::7", 8, FORWARD(2)},
	/* --- IPv6: the kernel's --- */
	{"no route", A6, "3fff::1", 8, HAND_BACK(NO_ROUTE)},
	{"to this host", A6, "2001:db8::1", 8, HAND_BACK(LOCAL)},
	{"blackhole", A6, "2001:db8:4::1", 8, HAND_BACK(POLICY)},
	{"neighbour not resolved", A6, "2001:db8:2::8", 8, HAND_BACK(NEIGHBOUR)},
	{"out by where it came in", A6, "2001:db8:5::1", 8, HAND_BACK(REDIRECT)},
	{"too long", A6, "2001:db8:b::9", SHORT_MTU - 39, HAND_BACK(MTU)},
	{"longer than 1280 where the MTU is less", A6, "2001:db8:a::9", 1280 - 39, HAND_BACK(MTU)},
	{"hop limit 1", A6, "2001:db8::9", 8, {{HOP_LIMIT, 1}}, HAND_BACK(HEADER)},
	{"hop limit 0", A6, "2001:db8::9", 8, {{HOP_LIMIT, 0}}, HAND_BACK(HEADER)},
	{"hop-by-hop", A6, "2001:db8::9", 8, {{NEXT_HEADER, 0}}, HAND_BACK(HEADER)},
	{"jumbogram",
	 A6,
	 "2001:db8::9",
	 8,
	 {{NEXT_HEADER, 0}, {PAYLOAD_LEN + 1, 0}},
	 HAND_BACK(HEADER)},
	{"destination ::", A6, "::", 8, HAND_BACK(LOCAL)},
	{"destination ::1", A6, "::1", 8, HAND_BACK(LOCAL)},
	{"destination link-local", A6, "fe80::1", 8, HAND_BACK(LOCAL)},
	{"destination link-local, end", A6, "febf:ffff::1", 8, HAND_BACK(LOCAL)},
	{"multicast, link scope", A6, "ff02::1", 8, HAND_BACK(LOCAL)},
	{"multicast, global scope", A6, "ff0e::1", 8, HAND_BACK(LOCAL)},
	{"source ::", "::", "2001:db8::9", 8, HAND_BACK(SOURCE)},
	{"source ::1", "::1", "2001:db8::9", 8, HAND_BACK(SOURCE)},
	{"source multicast", "ff02::1", "2001:db8::9", 8, HAND_BACK(SOURCE)},
	{"source link-local", "fe80::1", "2001:db8::9", 8, HAND_BACK(SOURCE)},
	{"source v4-mapped", "::ffff:192.0.2.1", "2001:db8::9", 8, HAND_BACK(SOURCE)},
	/* --- IPv6: dropped --- */
	{"version 4", A6, "2001:db8::9", 8, {{IP6, 0x45}}, DROPPED},
	{"payload beyond the frame", A6, "2001:db8::9", 8, {{PAYLOAD_LEN + 1, 9}}, DROPPED},
	{"frame cut by one", A6, "2001:db8::9", 8, .len_change = CUT(1), DROPPED},
	{"frame ends in the header", A6, "2001:db8::9", 0, .len_change = CUT(1), DROPPED},
	{"frame ends in an IPv4's worth", A6, "2001:db8::9", 0, .len_change = CUT(30), DROPPED},
};
/* clang-format on */

static void add_routes(struct route_world *w)
{
	static const struct {
		const char *prefix;
		uint16_t nh;
	} routes[] = {
		{"10.0.0.0/8", 1},       {"10.9.0.0/16", 2},       {"10.2.0.0/16", 3},
		{"10.3.0.0/16", 4},      {"10.4.0.0/16", 5},       {"10.5.0.0/16", 6},
		{"10.6.0.0/16", 900},    {"10.7.0.0/16", 7},       {"10.8.0.0/16", 8},
		{"10.0.0.1/32", 9},      {"10.255.255.255/32", 9}, {"0.0.0.0/8", 1},
		{"240.0.0.0/4", 1},      {"192.0.2.0/24", 6},      {"198.51.100.0/24", 1},
		{"203.0.113.0/24", 10},  {"192.0.2.128/25", 5},    {"2001:db8::/32", 1},
		{"2001:db8:b::/48", 2},  {"2001:db8:2::/48", 3},   {"2001:db8:4::/48", 5},
		{"2001:db8:5::/48", 6},  {"2001:db8:7::/48", 7},   {"2001:db8::1/128", 9},
		{"2001:db8:a::/48", 11}, {"::ffff:0:0/96", 1},     {"::/96", 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		route_world_add(w, routes[i].prefix, routes[i].nh);
}

static struct route_world *world_with_routes(void)
{
	static const char *const locals[] = {"10.0.0.1", "192.0.2.65", "192.0.2.1", NULL};
	struct route_world *w = route_world_new();

	(void)route_world_via(w, 1, 1, MTU);
	(void)route_world_via(w, 2, 2, SHORT_MTU);
	(void)route_world_connected(w, 3, 2, MTU);
	route_world_via(w, 4, 1, MTU)->adjacency = NULL;
	(void)route_world_pass(w, 5, HANDBACK_POLICY, 0);
	(void)route_world_via(w, 6, 0, MTU);
	(void)route_world_group(w, 7, (const uint16_t[]){1, 2}, 2);
	(void)route_world_group(w, 8, (const uint16_t[]){7}, 1);
	(void)route_world_pass(w, 9, HANDBACK_LOCAL, ROUTE_WORLD_IFINDEX(0));
	(void)route_world_group(w, 10, (const uint16_t[]){1, 1, 1, 6}, 4);
	(void)route_world_via(w, 11, 2, 1000);
	(void)route_world_neighbour(w, 2, "10.2.0.7");
	(void)route_world_neighbour(w, 1, "10.2.0.9");
	(void)route_world_neighbour(w, 2, "2001:db8:2::7");
	route_world_set_locals(w, locals);
	add_routes(w);
	return w;
}

static struct route_frame make_row(const struct row *row, uint8_t *buffer)
{
	struct route_frame frame = {.data = buffer, .verdict = 0xee, .reason = 0xee};

	memset(buffer, 0x55, FRAME_MAX);
	frame.len = frame_make(buffer, row->src, row->dst, row->payload_len);
	for (unsigned i = 0; i < MAX_PATCHES; i++) {
		/* octet 0 is patched to anything but 0 */
		if (row->patches[i].at != 0 || row->patches[i].value != 0)
			buffer[row->patches[i].at] = row->patches[i].value;
	}
	if (!row->keeps_checksum && !strchr(row->dst, ':'))
		frame_fix_checksum(buffer);
	frame.len += (uint32_t)row->len_change;
	return frame;
}

static void check_row(const struct row *row, const struct route_frame *frame)
{
	uint32_t header_len = strchr(row->dst, ':') ? 54 : 34;

	if (frame->verdict != row->verdict)
		fail_msg("%s (%s): verdict %d", row->name, row->dst, frame->verdict);
	if (row->verdict == ROUTE_HAND_BACK && frame->reason != row->result)
		fail_msg("%s (%s): reason %d", row->name, row->dst, frame->reason);
	if (row->verdict != ROUTE_FORWARD)
		return;
	if (frame->adjacency->out_port != row->result)
		fail_msg("%s (%s): port %d", row->name, row->dst, frame->adjacency->out_port);
	if (frame->out_len != header_len + row->payload_len)
		fail_msg("%s (%s): length %u", row->name, row->dst, frame->out_len);
}

static void test_each_row_alone(void **state)
{
	struct route_world *w = world_with_routes();
	const struct route_in in = route_world_in(0);
	static uint8_t buffer[FRAME_MAX], before[FRAME_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct route_frame frame = make_row(&rows[i], buffer);

		memcpy(before, buffer, sizeof(buffer));
		route_decide(&w->view, &in, &frame, 1);
		check_row(&rows[i], &frame);
		assert_memory_equal(buffer, before, sizeof(buffer)); /* read only */
	}
	route_world_free(w);
}

static void test_rows_in_random_bursts(void **state)
{
	struct route_world *w = world_with_routes();
	const struct route_in in = route_world_in(0);
	struct random random = random_seeded("test_route", 3);
	static uint8_t buffers[FIB_BURST][FRAME_MAX];

	for (unsigned round = 0; round < 2000; round++) {
		struct route_frame frames[FIB_BURST];
		const struct row *picked[FIB_BURST];
		unsigned n = random_below(&random, FIB_BURST + 1);

		for (unsigned i = 0; i < n; i++) {
			picked[i] = &rows[random_below(&random, ARRAY_SIZE(rows))];
			frames[i] = make_row(picked[i], buffers[i]);
		}
		route_decide(&w->view, &in, frames, n);
		for (unsigned i = 0; i < n; i++)
			check_row(picked[i], &frames[i]);
	}
	route_world_free(w);
}

/* --- sources -----------------------------------------------------------------------------------
 */

static uint8_t verdict_from(struct route_world *w, const char *src, uint8_t *ret_reason)
{
	const struct route_in in = route_world_in(0);
	uint8_t buffer[FRAME_MAX];
	struct route_frame frame = {.data = buffer, .len = frame_make(buffer, src, "10.0.0.9", 8)};

	route_decide(&w->view, &in, &frame, 1);
	*ret_reason = frame.reason;
	return frame.verdict;
}

static void test_rp_filter(void **state)
{
	static const struct {
		const char *src;
		bool strict, loose; /* forwarded? */
	} sources[] = {
		{"192.0.2.9", true, true},        /* by port 0, where it came in */
		{"198.51.100.9", false, true},    /* by port 1 */
		{"203.0.113.9", true, true},      /* a group with one member at port 0 */
		{"192.0.2.129", false, false},    /* blackhole */
		{"100.64.0.9", false, true},      /* by a device that is no port */
		{"100.65.0.9", true, true},       /* encapsulated, by port 0 */
		{"172.31.0.1", false, false},     /* no route */
		{"10.255.255.255", false, false}, /* a broadcast: type local, though of port 0 */
		{"10.7.0.9", false, true},        /* a group without one */
		{"10.6.0.9", false, false},       /* a next hop that is not there */
		{"10.2.0.9", false, true},        /* connected at port 2 */
	};
	struct route_world *w = world_with_routes();
	uint8_t reason;

	route_world_pass(w, 64, HANDBACK_POLICY, 99)->is_unicast = true;
	route_world_add(w, "100.64.0.0/16", 64);
	route_world_pass(w, 65, HANDBACK_POLICY, ROUTE_WORLD_IFINDEX(0))->is_unicast = true;
	route_world_add(w, "100.65.0.0/16", 65);
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const char *src = sources[i].src;

		route_world_set_rpf(w, 0, ROUTE_WORLD_IFINDEX(0), ROUTE_RPF_OFF);
		assert_int_equal(verdict_from(w, src, &reason), ROUTE_FORWARD);
		route_world_set_rpf(w, 0, ROUTE_WORLD_IFINDEX(0), ROUTE_RPF_STRICT);
		assert_int_equal(verdict_from(w, src, &reason),
				 sources[i].strict ? ROUTE_FORWARD : ROUTE_HAND_BACK);
		if (!sources[i].strict)
			assert_int_equal(reason, HANDBACK_SOURCE);
		route_world_set_rpf(w, 0, ROUTE_WORLD_IFINDEX(0), ROUTE_RPF_LOOSE);
		assert_int_equal(verdict_from(w, src, &reason),
				 sources[i].loose ? ROUTE_FORWARD : ROUTE_HAND_BACK);
		/* said of another device: the strictest that it could be */
		route_world_set_rpf(w, 0, ROUTE_WORLD_IFINDEX(0) + 1, ROUTE_RPF_OFF);
		assert_int_equal(verdict_from(w, src, &reason),
				 sources[i].strict ? ROUTE_FORWARD : ROUTE_HAND_BACK);
	}
	route_world_free(w);
}

/* The reason that was found first stays: the source is asked about what would be forwarded. */
static void test_rp_filter_leaves_other_verdicts_alone(void **state)
{
	struct route_world *w = world_with_routes();
	const struct route_in in = route_world_in(0);
	uint8_t buffer[FRAME_MAX];
	struct route_frame frame = {.data = buffer};

	route_world_set_rpf(w, 0, ROUTE_WORLD_IFINDEX(0), ROUTE_RPF_STRICT);
	frame.len = frame_make(buffer, "198.51.100.9", "10.3.0.9", 8);
	route_decide(&w->view, &in, &frame, 1);
	assert_int_equal(frame.reason, HANDBACK_NEIGHBOUR);
	assert_int_equal(frame.nh, 4);
	route_world_free(w);
}

static void test_every_local_source_is_found(void **state)
{
	struct route_world *w = world_with_routes();
	const char *const none[] = {NULL};
	char texts[200][20];
	const char *locals[201] = {NULL};
	uint8_t reason;

	for (unsigned i = 0; i < 200; i++) {
		assert_true(snprintf(texts[i], sizeof(texts[i]), "10.%u.%u.%u", 100 + i % 7, i,
				     (i * 37) % 256) > 0);
		locals[i] = texts[i];
	}
	route_world_set_locals(w, locals);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(verdict_from(w, texts[i], &reason), ROUTE_HAND_BACK);
		assert_int_equal(reason, HANDBACK_SOURCE);
	}
	assert_int_equal(verdict_from(w, "10.100.0.1", &reason), ROUTE_FORWARD);
	route_world_set_locals(w, none);
	assert_int_equal(verdict_from(w, texts[0], &reason), ROUTE_FORWARD);
	route_world_free(w);
}

/* --- what leaves -------------------------------------------------------------------------------
 */

static void check_rewritten(struct route_world *w, const char *src, const char *dst)
{
	const struct route_in in = route_world_in(0);
	bool is_ip6 = strchr(dst, ':');
	uint8_t buffer[FRAME_MAX], expected[FRAME_MAX];
	struct route_frame frame = {.data = buffer, .len = frame_make(buffer, src, dst, 500)};

	memcpy(expected, buffer, sizeof(expected));
	route_decide(&w->view, &in, &frame, 1);
	assert_int_equal(frame.verdict, ROUTE_FORWARD);
	memcpy(expected, frame.adjacency->header, 12);
	if (is_ip6) {
		expected[HOP_LIMIT]--;
	} else {
		expected[TTL]--;
		frame_fix_checksum(expected);
	}
	frame.adjacency->used = 0;
	route_rewrite(&frame);
	assert_memory_equal(buffer, expected, sizeof(expected));
	assert_int_equal(frame.adjacency->used, 1);
}

static void test_only_macs_ttl_and_checksum_change(void **state)
{
	struct route_world *w = world_with_routes();

	check_rewritten(w, A4, "10.0.0.9");
	check_rewritten(w, A4, "10.2.0.7");
	check_rewritten(w, A6, "2001:db8::9");
	check_rewritten(w, A6, "2001:db8:2::7");
	/* RFC 8950: an IPv4 route over an IPv6 neighbour */
	w->adjacencies[1].is_ip6 = true;
	check_rewritten(w, A4, "10.0.0.9");
	route_world_free(w);
}

static uint16_t folded(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* RFC 1624 against full recomputation: every TTL, and with every id every checksum there is. */
static void test_each_checksum_with_each_ttl(void **state)
{
	const uint32_t base = 0x4500 + 0x0054 + 0x4000 + 0xc000 + 0x0209 + 0x0a00 + 0x0009;
	static uint8_t is_seen[65536];
	unsigned n_seen = 0;

	for (uint32_t ttl = 2; ttl <= 255; ttl++) {
		for (uint32_t id = 0; id <= 0xffff; id++) {
			uint32_t sum = base + id + (ttl << 8 | 17);
			uint16_t before = (uint16_t)~folded(sum);
			uint16_t after = (uint16_t)~folded(sum - 0x100);

			is_seen[before] = 1;
			if (be16toh(ip4_checksum_less_ttl(htobe16(before))) != after)
				fail_msg("TTL %u, checksum %04x", ttl, before);
		}
	}
	for (unsigned i = 0; i < 65536; i++)
		n_seen += is_seen[i];
	assert_int_equal(n_seen, 65535); /* all but 0xffff, which stands for 0 … */
	assert_int_equal(is_seen[0xffff], 0);
	/* … and is taken for it, and becomes what 0 becomes */
	assert_int_equal(ip4_checksum_less_ttl(0xffff), ip4_checksum_less_ttl(0));
}

static void test_what_is_rewritten_is_right_again(void **state)
{
	struct route_world *w = world_with_routes();
	const struct route_in in = route_world_in(0);
	uint8_t buffer[FRAME_MAX];

	for (uint32_t ttl = 2; ttl <= 255; ttl++) {
		for (uint32_t id = ttl; id <= 0xffff; id += 257) {
			struct route_frame frame = {.data = buffer};

			frame.len = frame_make(buffer, A4, "10.0.0.9", 8);
			buffer[TTL] = (uint8_t)ttl;
			buffer[IP4 + 4] = (uint8_t)(id >> 8);
			buffer[IP4 + 5] = (uint8_t)id;
			frame_fix_checksum(buffer);
			route_decide(&w->view, &in, &frame, 1);
			assert_int_equal(frame.verdict, ROUTE_FORWARD);
			route_rewrite(&frame);
			assert_int_equal(buffer[TTL], ttl - 1);
			assert_true(ip4_checksum_is_right(ip4_header_of(buffer)));
		}
	}
	route_world_free(w);
}

/* --- adjacencies -------------------------------------------------------------------------------
 */

static void test_each_neighbour_is_found_and_no_other(void **state)
{
	struct route_world *w = route_world_new();
	char text[64];

	for (unsigned i = 0; i < ROUTE_WORLD_CELLS / 2; i++) {
		(void)snprintf(text, sizeof(text), i % 2 ? "10.0.%u.%u" : "2001:db8::%x:%x",
			       i / 256, i % 256);
		(void)route_world_neighbour(w, (uint16_t)(i % 3), text);
	}
	for (unsigned i = 0; i < ROUTE_WORLD_CELLS / 2; i++) {
		struct adjacency *a = &w->neighbours[i];

		assert_ptr_equal(adjacency_find(w->table, a->ifindex, a->is_ip6, &a->addr), a);
		assert_null(adjacency_find(w->table, a->ifindex + 7, a->is_ip6, &a->addr));
		assert_null(adjacency_find(w->table, a->ifindex, !a->is_ip6, &a->addr));
	}
	assert_null(adjacency_find(NULL, 1, false, &w->neighbours[0].addr));
	route_world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_row_alone),
		cmocka_unit_test(test_rows_in_random_bursts),
		cmocka_unit_test(test_rp_filter),
		cmocka_unit_test(test_rp_filter_leaves_other_verdicts_alone),
		cmocka_unit_test(test_every_local_source_is_found),
		cmocka_unit_test(test_only_macs_ttl_and_checksum_change),
		cmocka_unit_test(test_each_checksum_with_each_ttl),
		cmocka_unit_test(test_what_is_rewritten_is_right_again),
		cmocka_unit_test(test_each_neighbour_is_found_and_no_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
