/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rules of the RIB one by one, and what it does when memory is short. */
#include <endian.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "net/fib4.h"
#include "tests/unit/fib_world.h"
#include "tests/unit/rib_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

/* --- what it has to do with memory that is short -----------------------------------------------
 */

static struct rt_route route4(uint32_t addr, uint8_t len, uint32_t ifindex, uint8_t gateway)
{
	struct rt_route route = {
		.dst_len = len,
		.type = RTN_UNICAST,
		.protocol = RTPROT_STATIC,
		.table = RT_TABLE_MAIN,
		.n_nexthops = 1,
		.nexthops[0] = {.ifindex = ifindex, .weight = 1, .has_gateway = gateway != 0},
	};
	be32 word = htobe32(addr);

	memcpy(route.dst.octet, &word, sizeof(word));
	route.nexthops[0].gateway.octet[3] = gateway;
	return route;
}

static struct ip6_addr addr4(uint32_t addr)
{
	return route4(addr, 32, 0, 0).dst;
}

static uint8_t kind_of(const struct rib_world *world, uint32_t addr)
{
	struct ip6_addr dst = addr4(addr);

	return atomic_load(&world->view->nexthops[rib_world_lookup(world, false, &dst)])->kind;
}

#define NET 0x0a000000U

/* The FIB of IPv4 has room for 32,768 /24s with longer prefixes in them. */
static void fill_groups(struct rib_world *world)
{
	for (uint32_t i = 0; i < FIB4_GROUPS; i++) {
		struct rt_route route = route4(0x14000000U + (i << 8), 32, 2, 1);

		assert_int_equal(rib_route(world->rib, &route, NLM_F_CREATE), 0);
	}
}

static void test_a_route_without_room_keeps_shorter_ones_from_its_packets(void **state)
{
	struct rib_world world = rib_world_new();
	struct rt_route wide = route4(NET, 8, 2, 1), near = route4(NET, 16, 3, 1);
	struct rt_route owed = route4(NET + 0x101, 32, 4, 1);
	struct rt_route room = route4(0x14000000U, 32, 2, 1);
	struct rib_stats stats;

	fill_groups(&world);
	assert_int_equal(rib_route(world.rib, &wide, NLM_F_CREATE), 0);
	assert_int_equal(rib_route(world.rib, &owed, NLM_F_CREATE), -ENOSPC);
	rib_stats(world.rib, &stats);
	assert_int_equal(stats.n_refused, 1);
	assert_int_equal(kind_of(&world, NET + 0x101), NEXTHOP_PASS);
	assert_int_equal(kind_of(&world, NET + 0x990000), NEXTHOP_PASS);

	/* A nearer one takes over, and gives it back. */
	assert_int_equal(rib_route(world.rib, &near, NLM_F_CREATE), 0);
	assert_int_equal(kind_of(&world, NET + 0x101), NEXTHOP_PASS);
	assert_int_equal(kind_of(&world, NET + 0x990000), NEXTHOP_VIA);
	assert_int_equal(rib_route_gone(world.rib, &near), 0);
	assert_int_equal(kind_of(&world, NET + 0x101), NEXTHOP_PASS);
	assert_int_equal(kind_of(&world, NET + 0x990000), NEXTHOP_PASS);
	assert_int_equal(rib_route(world.rib, &near, NLM_F_CREATE), 0);

	/* Room comes when another has left and was reclaimed. */
	assert_int_equal(rib_retry(world.rib), 0);
	assert_int_equal(rib_route_gone(world.rib, &room), 0);
	assert_int_equal(rib_retry(world.rib), -EAGAIN);
	assert_int_equal(kind_of(&world, NET + 0x101), NEXTHOP_PASS);
	rib_world_turn(&world);
	rib_world_turn(&world);
	assert_int_equal(rib_retry(world.rib), 0);
	rib_stats(world.rib, &stats);
	assert_int_equal(stats.n_refused, 0);
	assert_int_equal(kind_of(&world, NET + 0x101), NEXTHOP_VIA);
	assert_int_equal(kind_of(&world, NET + 0x102), NEXTHOP_VIA);
	rib_world_free(&world);
}

static void test_more_owed_than_can_be_told_apart_says_so(void **state)
{
	struct rib_world world = rib_world_new();
	struct rib_stats stats;

	fill_groups(&world);
	for (uint32_t i = 0; i <= 4096; i++) {
		struct rt_route route = route4(NET + (i << 8), 32, 2, 1);

		rib_stats(world.rib, &stats);
		assert_false(stats.must_pass[0]);
		assert_int_equal(rib_route(world.rib, &route, NLM_F_CREATE), -ENOSPC);
	}
	rib_stats(world.rib, &stats);
	assert_true(stats.must_pass[0]);
	assert_false(stats.must_pass[1]);
	for (uint32_t i = 0; i < 8192; i++) {
		struct rt_route route = route4(0x14000000U + (i << 8), 32, 2, 1);

		assert_int_equal(rib_route_gone(world.rib, &route), 0);
		if (i % 1024 == 0)
			rib_world_turn(&world);
	}
	for (unsigned i = 0; i < 64; i++)
		rib_world_turn(&world);
	rib_stats(world.rib, &stats);
	assert_int_equal(stats.n_refused, 0);
	assert_false(stats.must_pass[0]);
	for (uint32_t i = 0; i <= 4096; i++)
		assert_int_equal(kind_of(&world, NET + (i << 8)), NEXTHOP_VIA);
	rib_world_free(&world);
}

static void test_a_next_hop_without_memory_passes(void **state)
{
	struct rib_world world = rib_world_new();
	struct rt_route route = route4(NET, 8, 2, 1);
	struct rib_stats stats;

	/* the entry of the next hop is the first to be allocated, its number fails: it passes */
	world_callocs_left = 0;
	assert_int_equal(rib_route(world.rib, &route, NLM_F_CREATE), 0);
	assert_int_equal(world_callocs_left, -1);
	assert_int_equal(kind_of(&world, NET), NEXTHOP_PASS);
	assert_int_equal(rib_route_gone(world.rib, &route), 0);
	rib_stats(world.rib, &stats);
	assert_int_equal(stats.n_routes[0], 0);
	rib_world_free(&world);
}

/* --- single rules ------------------------------------------------------------------------------
 */

/* Whether a packet goes by the longer prefix depends on what nothing tells: see rib.h. */
static void test_within_a_prefix_of_table_local_the_kernel_decides(void **state)
{
	struct rib_world world = rib_world_new();
	struct rt_route outward = route4(NET, 8, 3, 1), within = route4(NET + 0x10000, 16, 2, 1);
	struct ip6_addr addr = addr4(NET + 0x10001);
	uint16_t number;

	outward.table = RT_TABLE_LOCAL;
	assert_int_equal(rib_route(world.rib, &outward, NLM_F_CREATE), 0);
	assert_int_equal(rib_route(world.rib, &within, NLM_F_CREATE), 0);
	rib_world_turn(&world);
	number = rib_world_lookup(&world, false, &addr);
	assert_int_equal(number, nexthops_pass(world.nexthops));
	assert_int_equal(gate_get4(NULL, (NET + 0x10000) >> 8), SLUICE_GATE_PASS);
	assert_int_equal(kind_of(&world, NET + 0x20000), NEXTHOP_VIA);
	assert_int_equal(rib_route_gone(world.rib, &outward), 0);
	rib_world_turn(&world);
	assert_int_equal(kind_of(&world, NET + 0x10001), NEXTHOP_VIA);
	assert_int_equal(gate_get4(NULL, (NET + 0x10000) >> 8), SLUICE_GATE_OURS);
	rib_world_free(&world);
}

static void test_a_prefix_of_table_local_hides_what_is_within(void **state)
{
	struct rib_world world = rib_world_new();
	struct rt_route within = route4(NET + 0x10000, 16, 2, 1), around = route4(NET, 7, 2, 1);
	struct rt_route local = route4(NET, 8, 1, 0);

	local.table = RT_TABLE_LOCAL;
	local.type = RTN_LOCAL;
	assert_int_equal(rib_route(world.rib, &within, NLM_F_CREATE), 0);
	assert_int_equal(rib_route(world.rib, &around, NLM_F_CREATE), 0);
	assert_int_equal(kind_of(&world, NET + 0x10001), NEXTHOP_VIA);
	assert_int_equal(rib_route(world.rib, &local, NLM_F_CREATE), 0);
	rib_world_turn(&world);
	assert_int_equal(kind_of(&world, NET + 0x10001), NEXTHOP_PASS);
	assert_int_equal(kind_of(&world, NET + 0x1000000), NEXTHOP_VIA);
	assert_int_equal(rib_route_gone(world.rib, &local), 0);
	rib_world_turn(&world);
	assert_int_equal(kind_of(&world, NET + 0x10001), NEXTHOP_VIA);
	rib_world_free(&world);
}

static void test_the_gate_is_mixed_where_the_host_has_an_address(void **state)
{
	struct rib_world world = rib_world_new();
	struct rt_route route = route4(NET, 16, 2, 1);

	world_set_local24(NET >> 8, true);
	world_set_local24((NET >> 8) + 7, true);
	assert_int_equal(rib_route(world.rib, &route, NLM_F_CREATE), 0);
	assert_int_equal(gate_get4(NULL, NET >> 8), SLUICE_GATE_MIXED);
	assert_int_equal(gate_get4(NULL, (NET >> 8) + 1), SLUICE_GATE_OURS);
	assert_int_equal(gate_get4(NULL, (NET >> 8) + 6), SLUICE_GATE_OURS);
	assert_int_equal(gate_get4(NULL, (NET >> 8) + 7), SLUICE_GATE_MIXED);
	assert_int_equal(gate_get4(NULL, (NET >> 8) + 8), SLUICE_GATE_OURS);
	assert_int_equal(gate_get4(NULL, (NET >> 8) + 256), SLUICE_GATE_PASS);
	world_set_local24(NET >> 8, false);
	rib_slot24_changed(world.rib, NET >> 8);
	assert_int_equal(gate_get4(NULL, NET >> 8), SLUICE_GATE_OURS);
	rib_world_free(&world);
}

static void test_ports_that_come_and_go_repaint_the_gate(void **state)
{
	struct rib_world world = rib_world_new();
	struct rt_route route = route4(NET, 16, 5, 1);
	struct rt_route route6 = {.is_ip6 = true,
				  .dst.octet = {0x20, 0x01},
				  .dst_len = 32,
				  .type = RTN_UNICAST,
				  .table = RT_TABLE_MAIN,
				  .n_nexthops = 1,
				  .nexthops[0] = {.ifindex = 5, .weight = 1}};

	assert_int_equal(rib_route(world.rib, &route, NLM_F_CREATE), 0);
	assert_int_equal(rib_route(world.rib, &route6, NLM_F_CREATE), 0);
	assert_int_equal(gate_get4(NULL, NET >> 8), SLUICE_GATE_PASS);
	assert_int_equal(world_n_gated6(), 0);
	world_links[5].port = 3;
	assert_true(nexthops_link_changed(world.nexthops, 0));
	rib_begin_repaint(world.rib);
	rib_world_turn(&world);
	assert_int_equal(gate_get4(NULL, NET >> 8), SLUICE_GATE_OURS);
	assert_int_equal(world_n_gated6(), 1);
	assert_int_equal(kind_of(&world, NET), NEXTHOP_VIA);
	world_links[5].port = LINK_NO_PORT;
	assert_true(nexthops_link_changed(world.nexthops, 5));
	rib_begin_repaint(world.rib);
	rib_world_turn(&world);
	assert_int_equal(gate_get4(NULL, NET >> 8), SLUICE_GATE_PASS);
	assert_int_equal(world_n_gated6(), 0);
	rib_world_free(&world);
}

static void test_another_table_takes_over_with_a_sync(void **state)
{
	struct rib_world world = rib_world_new();
	struct rt_route main_route = route4(NET, 16, 2, 1), other = route4(NET, 24, 3, 1);

	other.table = 1000;
	assert_int_equal(rib_route(world.rib, &main_route, NLM_F_CREATE), 0);
	assert_int_equal(rib_route(world.rib, &other, NLM_F_CREATE), 0);
	assert_int_equal(kind_of(&world, NET + 0x1000), NEXTHOP_VIA);
	rib_set_table(world.rib, 1000);
	rib_begin_sync(world.rib);
	assert_int_equal(rib_route(world.rib, &other, NLM_F_MULTI), 0);
	while (!rib_end_sync(world.rib, 0))
		;
	assert_int_equal(kind_of(&world, NET), NEXTHOP_VIA);
	assert_int_equal(kind_of(&world, NET + 0x1000), NEXTHOP_PASS);
	rib_world_free(&world);
}

struct rows {
	unsigned n, n_best;
};

static void count_row(const struct rib_row *row, void *arg)
{
	struct rows *rows = arg;

	rows->n++;
	rows->n_best += row->is_best;
}

static void test_rows_are_told_once_and_matched_by_address(void **state)
{
	struct rib_world world = rib_world_new();
	struct rt_route best = route4(NET, 16, 2, 1), worse = route4(NET, 16, 3, 1);
	struct ip6_addr addr = addr4(NET + 7);
	struct rows rows = {0};
	struct rib_row row;
	uint64_t cursor = 0;

	worse.metric = 7;
	assert_int_equal(rib_route(world.rib, &worse, NLM_F_CREATE), 0);
	assert_int_equal(rib_route(world.rib, &best, NLM_F_CREATE), 0);
	while (rib_walk(world.rib, &cursor, 1, count_row, &rows))
		;
	assert_int_equal(rows.n, 2);
	assert_int_equal(rows.n_best, 1);
	assert_true(rib_match(world.rib, false, &addr, &row));
	assert_int_equal(row.dst_len, 16);
	assert_int_equal(row.metric, 0);
	addr = addr4(NET + 0x10000);
	assert_false(rib_match(world.rib, false, &addr, &row));
	rib_world_free(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_route_without_room_keeps_shorter_ones_from_its_packets),
		cmocka_unit_test(test_more_owed_than_can_be_told_apart_says_so),
		cmocka_unit_test(test_a_next_hop_without_memory_passes),
		cmocka_unit_test(test_within_a_prefix_of_table_local_the_kernel_decides),
		cmocka_unit_test(test_a_prefix_of_table_local_hides_what_is_within),
		cmocka_unit_test(test_the_gate_is_mixed_where_the_host_has_an_address),
		cmocka_unit_test(test_ports_that_come_and_go_repaint_the_gate),
		cmocka_unit_test(test_another_table_takes_over_with_a_sync),
		cmocka_unit_test(test_rows_are_told_once_and_matched_by_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
