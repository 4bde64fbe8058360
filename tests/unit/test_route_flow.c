// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which member of a group a flow takes: always the same, whatever its packets look like, and all
 * members alike. Fragments and ICMP errors keep together with what they belong to.
 */
#include <linux/in.h>
#include <linux/in6.h>
#include <stdlib.h>
#include <string.h>

#include "net/route_internal.h"
#include "route_world.h"
#include "tests/unit/fib_world.h"
#include "unit.h"
#include "util/macros.h"

#define SEED      0x0123456789abcdefULL
#define FRAME_MAX 2048

enum { PROTO4 = 23, FRAG4 = 20, TTL4 = 22, TOS4 = 15, ID4 = 18, L4_4 = 34 };
enum { NEXT6 = 20, HOPS6 = 21, FLOW6 = 15, L4_6 = 54 };

static const char A4[] = "192.0.2.9", B4[] = "198.51.100.7";
static const char A6[] = "2001:db8:1::9", B6[] = "2001:db8:2::7";

struct packet {
	uint8_t data[FRAME_MAX];
	uint32_t len;
};

static struct packet packet_of(const char *src, const char *dst, uint8_t protocol)
{
	struct packet packet = {.len = 0};

	packet.len = frame_make(packet.data, src, dst, 100);
	packet.data[strchr(dst, ':') ? NEXT6 : PROTO4] = protocol;
	return packet;
}

static uint64_t hash_of(const struct packet *packet)
{
	return route_flow_hash(SEED, packet->data, packet->len);
}

static uint64_t hash_with(struct packet packet, unsigned at, uint8_t value)
{
	assert_int_not_equal(packet.data[at], value);
	packet.data[at] = value;
	return hash_of(&packet);
}

static void test_what_changes_within_a_flow_does_not_count(void **state)
{
	struct packet p4 = packet_of(A4, B4, IPPROTO_TCP), p6 = packet_of(A6, B6, IPPROTO_TCP);
	struct packet shorter = p4;

	assert_int_equal(hash_with(p4, TTL4, 3), hash_of(&p4));
	assert_int_equal(hash_with(p4, TOS4, 3), hash_of(&p4));
	assert_int_equal(hash_with(p4, ID4, 3), hash_of(&p4));
	assert_int_equal(hash_with(p4, L4_4 + 4, 77), hash_of(&p4)); /* sequence number */
	assert_int_equal(hash_with(p4, 11, 77), hash_of(&p4));       /* source MAC */
	shorter.len -= 50;
	assert_int_equal(hash_of(&shorter), hash_of(&p4));
	assert_int_equal(hash_with(p6, HOPS6, 3), hash_of(&p6));
	assert_int_equal(hash_with(p6, FLOW6, 3), hash_of(&p6)); /* flow label */
	assert_int_equal(hash_with(p6, L4_6 + 4, 77), hash_of(&p6));
}

static void test_what_makes_a_flow_counts(void **state)
{
	static const uint8_t with_ports[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_DCCP,
					     IPPROTO_UDPLITE};

	for (size_t i = 0; i < ARRAY_SIZE(with_ports); i++) {
		struct packet p4 = packet_of(A4, B4, with_ports[i]);
		struct packet p6 = packet_of(A6, B6, with_ports[i]);

		for (unsigned k = 0; k < 4; k++) {
			assert_int_not_equal(hash_with(p4, L4_4 + k, 0xee), hash_of(&p4));
			assert_int_not_equal(hash_with(p6, L4_6 + k, 0xee), hash_of(&p6));
		}
		assert_int_not_equal(hash_with(p4, PROTO4, 99), hash_of(&p4));
		for (unsigned k = 0; k < 8; k++)
			assert_int_not_equal(hash_with(p4, 26 + k, 0xee), hash_of(&p4));
		for (unsigned k = 0; k < 32; k++)
			assert_int_not_equal(hash_with(p6, 22 + k, 0xee), hash_of(&p6));
		assert_int_not_equal(route_flow_hash(SEED + 1, p4.data, p4.len), hash_of(&p4));
	}
}

static void test_other_protocols_have_no_ports(void **state)
{
	static const uint8_t without[] = {IPPROTO_GRE, IPPROTO_ESP, IPPROTO_IPIP, 89, 253};

	for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
		struct packet p4 = packet_of(A4, B4, without[i]);
		struct packet p6 = packet_of(A6, B6, without[i]);

		assert_int_equal(hash_with(p4, L4_4, 0xee), hash_of(&p4));
		assert_int_equal(hash_with(p6, L4_6, 0xee), hash_of(&p6));
	}
}

static void test_all_fragments_of_a_flow_go_together(void **state)
{
	struct packet first = packet_of(A4, B4, IPPROTO_UDP), next = first, last = first;
	struct packet first6 = packet_of(A6, B6, IPPROTO_FRAGMENT), next6 = first6;

	first.data[FRAG4] = 0x20; /* more fragments */
	next.data[FRAG4] = 0x20;
	next.data[FRAG4 + 1] = 185;
	last.data[FRAG4] = 0x01;
	memset(next.data + L4_4, 0xaa, 100); /* no ports there */
	memset(last.data + L4_4, 0xbb, 100);
	assert_int_equal(hash_of(&first), hash_of(&next));
	assert_int_equal(hash_of(&first), hash_of(&last));
	memset(next6.data + L4_6, 0xaa, 100);
	assert_int_equal(hash_of(&first6), hash_of(&next6));
}

/* An ICMP error from a router in between, to `to`, with the packet `inner` inside. */
static struct packet error_about(const struct packet *inner, const char *from, const char *to,
				 uint8_t type, uint32_t n_inside)
{
	bool is_ip6 = strchr(to, ':');
	uint32_t at = is_ip6 ? L4_6 : L4_4;
	struct packet error = packet_of(from, to, is_ip6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);

	memset(error.data + at, 0, 8);
	error.data[at] = type;
	memcpy(error.data + at + 8, inner->data + 14, n_inside);
	error.len = at + 8 + n_inside;
	return error;
}

/* RFC 7690: it must reach the one of many servers that sent the packet: by the way of its flow. */
static void test_icmp_errors_take_the_way_of_the_flow(void **state)
{
	static const uint8_t types4[] = {3, 4, 5, 11, 12}, types6[] = {1, 2, 3, 4};
	struct packet to_server4 = packet_of(A4, B4, IPPROTO_TCP),
		      sent4 = packet_of(B4, A4, IPPROTO_TCP);
	struct packet to_server6 = packet_of(A6, B6, IPPROTO_TCP),
		      sent6 = packet_of(B6, A6, IPPROTO_TCP);

	/* the server answers: ports the other way round */
	memcpy(sent4.data + L4_4, to_server4.data + L4_4 + 2, 2);
	memcpy(sent4.data + L4_4 + 2, to_server4.data + L4_4, 2);
	memcpy(sent6.data + L4_6, to_server6.data + L4_6 + 2, 2);
	memcpy(sent6.data + L4_6 + 2, to_server6.data + L4_6, 2);
	for (size_t i = 0; i < ARRAY_SIZE(types4); i++) {
		struct packet e = error_about(&sent4, "203.0.113.1", B4, types4[i], 28);

		assert_int_equal(hash_of(&e), hash_of(&to_server4));
	}
	for (size_t i = 0; i < ARRAY_SIZE(types6); i++) {
		struct packet e = error_about(&sent6, "2001:db8:3::1", B6, types6[i], 48);

		assert_int_equal(hash_of(&e), hash_of(&to_server6));
	}
}

static void test_other_icmp_hashes_by_addresses(void **state)
{
	struct packet inner = packet_of(B4, A4, IPPROTO_TCP);
	struct packet echo = error_about(&inner, A4, B4, 8, 28);
	struct packet echo6 = error_about(&inner, A6, B6, 128, 40);
	struct packet fragment = error_about(&inner, A4, B4, 3, 28), other;

	assert_int_equal(hash_with(echo, L4_4 + 4, 0xee), hash_of(&echo)); /* identifier */
	assert_int_equal(hash_with(echo6, L4_6 + 4, 0xee), hash_of(&echo6));
	fragment.data[FRAG4] = 0x20;
	other = fragment;
	memset(other.data + L4_4, 0xcc, 36);
	assert_int_equal(hash_of(&fragment), hash_of(&other));
}

/* Whatever is cut off or lies about itself: no byte behind `len` decides (ASan sees reads). */
static void test_nothing_is_read_beyond_the_packet(void **state)
{
	struct random random = random_seeded("test_route_flow", 5);
	static const uint8_t protocols[] = {1, 6, 17, 44, 58, 132, 50};

	for (unsigned round = 0; round < 50000; round++) {
		bool is_ip6 = random_below(&random, 2);
		uint8_t protocol = protocols[random_below(&random, ARRAY_SIZE(protocols))];
		struct packet packet = packet_of(is_ip6 ? A6 : A4, is_ip6 ? B6 : B4, protocol);
		uint32_t at = is_ip6 ? L4_6 : L4_4;
		uint8_t *exact;
		uint64_t hash;

		for (uint32_t i = at; i < at + 100; i++)
			packet.data[i] = (uint8_t)random_next(&random);
		if (random_below(&random, 2))
			packet.data[at] = (uint8_t)random_below(&random, 13);
		if (random_below(&random, 2))
			packet.data[at + 8] =
				is_ip6 ? 0x60 : (uint8_t)(0x40 | random_below(&random, 16));
		packet.len = at + random_below(&random, 101);
		exact = malloc(packet.len);
		assert_non_null(exact);
		memcpy(exact, packet.data, packet.len);
		hash = hash_of(&packet);
		memset(packet.data + packet.len, 0xdb, 64);
		assert_int_equal(hash_of(&packet), hash);
		assert_int_equal(route_flow_hash(SEED, exact, packet.len), hash);
		free(exact);
	}
}

/* 65,536 flows that differ in one field: each bucket within 6 standard deviations of its share. */
static void check_spread(struct packet packet, unsigned at)
{
	unsigned n_of[NEXTHOP_GROUP_BUCKETS] = {0};
	const unsigned n = 65536, share = n / NEXTHOP_GROUP_BUCKETS;

	for (unsigned i = 0; i < n; i++) {
		packet.data[at] = (uint8_t)(i >> 8);
		packet.data[at + 1] = (uint8_t)i;
		n_of[route_bucket_of(hash_of(&packet))]++;
	}
	for (unsigned i = 0; i < NEXTHOP_GROUP_BUCKETS; i++) {
		if (n_of[i] < share - 6 * 16 || n_of[i] > share + 6 * 16)
			fail_msg("offset %u, bucket %u: %u flows", at, i, n_of[i]);
	}
}

static void test_flows_spread_evenly_whatever_they_differ_in(void **state)
{
	const struct packet p4 = packet_of(A4, B4, IPPROTO_TCP);
	const struct packet p6 = packet_of(A6, B6, IPPROTO_UDP);

	check_spread(p4, 28);       /* source address, low half */
	check_spread(p4, 32);       /* destination */
	check_spread(p4, L4_4);     /* source port */
	check_spread(p4, L4_4 + 2); /* destination port */
	check_spread(p6, 26);       /* source, subnet */
	check_spread(p6, 36);       /* source, host */
	check_spread(p6, 52);       /* destination, host */
	check_spread(p6, L4_6);
}

static void test_a_group_member_is_taken_by_bucket(void **state)
{
	struct route_world *w = route_world_new();
	const struct route_in in = route_world_in(0);
	unsigned n_of[3] = {0};
	uint8_t buffer[FRAME_MAX];

	(void)route_world_via(w, 1, 1, 1500);
	(void)route_world_connected(w, 2, 2, 1500);
	(void)route_world_neighbour(w, 2, B4);
	(void)route_world_group(w, 3, (const uint16_t[]){1, 2}, 2);
	route_world_add(w, "198.51.100.0/24", 3);
	for (unsigned i = 0; i < 10000; i++) {
		struct route_frame frame = {.data = buffer, .len = frame_make(buffer, A4, B4, 8)};
		uint16_t number;

		buffer[L4_4] = (uint8_t)(i >> 8);
		buffer[L4_4 + 1] = (uint8_t)i;
		number = w->hops[3].buckets[route_bucket_of(
			route_flow_hash(w->view.hash_seed, buffer, frame.len))];
		route_decide(&w->view, &in, &frame, 1);
		assert_int_equal(frame.verdict, ROUTE_FORWARD);
		assert_int_equal(frame.adjacency->out_port, number);
		assert_int_equal(frame.nh, 3);
		n_of[number]++;
	}
	assert_in_range(n_of[1], 4700, 5300);
	assert_in_range(n_of[2], 4700, 5300);
	route_world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_changes_within_a_flow_does_not_count),
		cmocka_unit_test(test_what_makes_a_flow_counts),
		cmocka_unit_test(test_other_protocols_have_no_ports),
		cmocka_unit_test(test_all_fragments_of_a_flow_go_together),
		cmocka_unit_test(test_icmp_errors_take_the_way_of_the_flow),
		cmocka_unit_test(test_other_icmp_hashes_by_addresses),
		cmocka_unit_test(test_nothing_is_read_beyond_the_packet),
		cmocka_unit_test(test_flows_spread_evenly_whatever_they_differ_in),
		cmocka_unit_test(test_a_group_member_is_taken_by_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
