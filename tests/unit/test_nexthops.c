/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers for what routes lead to: kinds, sharing, groups, objects, neighbours, rest. */
#include <json-c/json.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/nexthops_internal.h"
#include "tests/unit/rib_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

static struct route_view *view;
static struct nexthops *nexthops;

static int set_up(void **state)
{
	world_reset();
	view = world_view();
	return nexthops_new(view, NULL, NULL, &nexthops);
}

static int tear_down(void **state)
{
	nexthops_free(nexthops);
	world_reset();
	return 0;
}

static const struct nexthop *at(uint16_t number)
{
	return atomic_load(&view->nexthops[number]);
}

static struct rt_nexthop way(uint32_t ifindex, uint8_t gateway, uint16_t weight)
{
	struct rt_nexthop nexthop = {
		.ifindex = ifindex, .has_gateway = gateway != 0, .weight = weight};

	nexthop.gateway.octet[3] = gateway;
	return nexthop;
}

static struct rt_route route_of(uint32_t n, const struct rt_nexthop *ways)
{
	struct rt_route route = {.type = RTN_UNICAST, .table = RT_TABLE_MAIN, .n_nexthops = n};

	for (uint32_t i = 0; i < n; i++)
		route.nexthops[i] = ways[i];
	return route;
}

static struct rt_route single(uint32_t ifindex, uint8_t gateway)
{
	struct rt_nexthop one = way(ifindex, gateway, 1);

	return route_of(1, &one);
}

static uint16_t get(const struct rt_route *route)
{
	return nexthops_get(nexthops, route);
}

/* --- one path ----------------------------------------------------------------------------------
 */

static void test_equal_routes_share_a_counted_number(void **state)
{
	struct rt_route a = single(2, 1), b = single(2, 2), c = a;
	uint16_t number = get(&a);

	c.mtu = 1400;
	assert_int_equal(get(&a), number);
	assert_int_equal(nexthops_find(nexthops, &a), number);
	assert_int_equal(nexthops_find(nexthops, &b), FIB_NO_ROUTE);
	assert_int_not_equal(get(&b), number);
	assert_int_not_equal(get(&c), number);
	assert_int_equal(nexthops_count(nexthops), 4);
	nexthops_put(nexthops, number);
	assert_int_equal(at(number)->kind, NEXTHOP_VIA);
	nexthops_put(nexthops, number);
	assert_ptr_equal(at(number), &nexthop_no_route);
	assert_int_equal(nexthops_find(nexthops, &a), FIB_NO_ROUTE);
}

static void test_what_the_fast_path_cannot_take_passes(void **state)
{
	static const struct {
		uint8_t type, reason;
	} types[] = {
		{RTN_LOCAL, HANDBACK_LOCAL},      {RTN_BROADCAST, HANDBACK_LOCAL},
		{RTN_ANYCAST, HANDBACK_LOCAL},    {RTN_MULTICAST, HANDBACK_LOCAL},
		{RTN_BLACKHOLE, HANDBACK_POLICY}, {RTN_UNREACHABLE, HANDBACK_POLICY},
		{RTN_PROHIBIT, HANDBACK_POLICY},  {RTN_THROW, HANDBACK_POLICY},
		{RTN_NAT, HANDBACK_POLICY},       {200, HANDBACK_POLICY},
	};
	struct rt_route route = single(2, 1);

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		uint16_t number;

		route.type = types[i].type;
		number = get(&route);
		assert_int_equal(at(number)->kind, NEXTHOP_PASS);
		assert_int_equal(at(number)->reason, types[i].reason);
		assert_int_equal(at(number)->ifindex, 2);
		assert_false(nexthops_is_ours(nexthops, number));
	}
	route = single(2, 1);
	route.nexthops[0].has_encap = true;
	assert_int_equal(at(get(&route))->reason, HANDBACK_POLICY);
	route = single(5, 1);
	assert_int_equal(at(get(&route))->reason, HANDBACK_POLICY);
	assert_int_equal(at(get(&route))->ifindex, 5);
	route = single(2, 1);
	route.too_many = true;
	assert_int_equal(at(get(&route))->kind, NEXTHOP_PASS);
	assert_int_equal(at(FIB_NO_ROUTE)->kind, NEXTHOP_PASS);
	assert_int_equal(at(FIB_NO_ROUTE)->reason, HANDBACK_NO_ROUTE);
	assert_int_equal(at(nexthops_pass(nexthops))->reason, HANDBACK_POLICY);
}

/* What PASS may count as a way back to a source, for rp_filter. */
static void test_only_unicast_by_a_living_device_is_a_way_back(void **state)
{
	static const uint8_t types[] = {RTN_LOCAL,     RTN_BROADCAST, RTN_ANYCAST,
					RTN_MULTICAST, RTN_BLACKHOLE, RTN_PROHIBIT,
					RTN_THROW,     RTN_NAT,       RTN_UNREACHABLE};
	struct rt_nexthop ways[2] = {way(5, 1, 1), way(1, 2, 1)};
	struct rt_route route = single(5, 1), group = route_of(2, ways);
	uint16_t number, group_number;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		route.type = types[i];
		assert_false(at(get(&route))->is_unicast);
	}
	assert_false(at(FIB_NO_ROUTE)->is_unicast);
	assert_false(at(nexthops_pass(nexthops))->is_unicast);
	route = single(5, 1);
	number = get(&route);
	group_number = get(&group);
	assert_int_equal(at(number)->kind, NEXTHOP_PASS);
	assert_int_equal(at(group_number)->kind, NEXTHOP_PASS);
	assert_true(at(number)->is_unicast);
	assert_true(at(group_number)->is_unicast);
	world_links[5].is_up = false;
	(void)nexthops_link_changed(nexthops, 5);
	assert_false(at(number)->is_unicast);
	assert_true(at(group_number)->is_unicast);
	world_links[1].has_carrier = false;
	(void)nexthops_link_changed(nexthops, 1);
	assert_false(at(group_number)->is_unicast);
	route = single(2, 1);
	route.nexthops[0].has_encap = true;
	assert_true(at(get(&route))->is_unicast);
	route = single(2, 1);
	assert_false(at(get(&route))->is_unicast); /* a VIA is one by its kind */
	route.too_many = true;
	assert_false(at(get(&route))->is_unicast);
	route = single(2, 1);
	route.nhid = 77; /* of which nothing was told */
	assert_false(at(get(&route))->is_unicast);
}

static void test_a_path_follows_its_link(void **state)
{
	struct rt_route route = single(2, 0);
	uint16_t number = get(&route);

	assert_int_equal(at(number)->kind, NEXTHOP_CONNECTED);
	assert_int_equal(at(number)->out_port, WORLD_PORT(2));
	world_links[2].has_carrier = false;
	assert_false(nexthops_link_changed(nexthops, 2));
	assert_int_equal(at(number)->reason, HANDBACK_DOWN);
	assert_true(nexthops_is_ours(nexthops, number));
	world_links[2].has_carrier = true;
	world_links[2].port = 7;
	assert_false(nexthops_link_changed(nexthops, 2));
	assert_int_equal(at(number)->out_port, 7);
	world_links[2].port = LINK_NO_PORT;
	assert_true(nexthops_link_changed(nexthops, 0));
	assert_int_equal(at(number)->reason, HANDBACK_POLICY);
	assert_false(nexthops_is_ours(nexthops, number));
}

static void test_what_does_not_change_is_not_replaced(void **state)
{
	struct rt_route route = single(2, 0);
	const struct nexthop *before = at(get(&route));

	assert_false(nexthops_link_changed(nexthops, 2));
	assert_ptr_equal(at(get(&route)), before);
	assert_int_equal(world_n_retired, 0);
	world_links[2].mtu = 1400;
	assert_false(nexthops_link_changed(nexthops, 2));
	assert_ptr_not_equal(at(get(&route)), before);
	assert_int_equal(before->mtu, 1500); /* still to be read */
	assert_int_equal(world_n_retired, 1);
}

static void test_the_mtu_is_the_least_of_route_and_link(void **state)
{
	static const struct {
		bool is_ip6;
		uint32_t route, link, want;
	} cases[] = {
		{false, 0, 1500, 1500},   {false, 1400, 1500, 1400}, {false, 9000, 1500, 1500},
		{false, 576, 1500, 576},  {true, 0, 1500, 1500},     {true, 1000, 1500, 1280},
		{true, 1300, 1500, 1300},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rt_route route = single(2, 0);

		route.is_ip6 = cases[i].is_ip6;
		route.mtu = cases[i].route;
		world_links[2].mtu = cases[i].link;
		assert_int_equal(at(get(&route))->mtu, cases[i].want);
	}
}

static void test_a_neighbour_reaches_all_paths_by_it(void **state)
{
	struct rt_route a = single(2, 1), b = single(2, 1), other = single(2, 5);
	struct adjacency neighbour = {0};
	uint16_t first = get(&a), second, third = get(&other);

	b.mtu = 1400;
	second = get(&b);
	assert_null(at(first)->adjacency);
	world_set_neighbour(nexthops, 2, false, &a.nexthops[0].gateway, &neighbour);
	assert_ptr_equal(at(first)->adjacency, &neighbour);
	assert_ptr_equal(at(second)->adjacency, &neighbour);
	assert_null(at(third)->adjacency);
	b.mtu = 1300;
	assert_ptr_equal(at(get(&b))->adjacency, &neighbour);
	nexthops_put(nexthops, first);
	world_set_neighbour(nexthops, 2, false, &a.nexthops[0].gateway, NULL);
	assert_null(at(second)->adjacency);
}

static void test_a_number_rests_until_workers_are_beyond_it(void **state)
{
	struct rt_route a = single(2, 1), b = single(2, 2);
	uint16_t number;

	nexthops_begin_generation(nexthops, 7);
	number = get(&a);
	nexthops_put(nexthops, number);
	nexthops_begin_generation(nexthops, 8);
	nexthops_reclaim(nexthops, 7);
	assert_int_not_equal(get(&b), number);
	nexthops_reclaim(nexthops, 8);
	assert_int_equal(get(&a), number);
}

static void test_without_a_number_left_routes_pass(void **state)
{
	struct rt_route route = single(2, 1);
	uint16_t last = 0;

	for (uint32_t i = 0; i < FIB_NH_MAX + 10; i++) {
		route.mtu = 1280 + i;
		last = get(&route);
	}
	assert_int_equal(last, nexthops_pass(nexthops));
	assert_int_equal(at(last)->kind, NEXTHOP_PASS);
	assert_int_equal(nexthops_count(nexthops), FIB_NH_MAX);
	nexthops_put(nexthops, last);
	assert_int_equal(at(last)->kind, NEXTHOP_PASS);
}

/* --- groups ------------------------------------------------------------------------------------
 */

static unsigned n_buckets_of(const struct nexthop *group, uint16_t number)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NEXTHOP_GROUP_BUCKETS; i++)
		n += group->buckets[i] == number;
	return n;
}

static uint16_t number_of(uint32_t ifindex, uint8_t gateway)
{
	struct rt_route route = single(ifindex, gateway);

	return nexthops_find(nexthops, &route);
}

static void test_equal_groups_in_any_order_share_a_number(void **state)
{
	const struct rt_nexthop ab[] = {way(2, 1, 1), way(3, 2, 2)};
	const struct rt_nexthop ba[] = {way(3, 2, 2), way(2, 1, 1)};
	struct rt_route one = route_of(2, ab), other = route_of(2, ba);
	uint16_t number = get(&one);

	assert_int_equal(get(&other), number);
	assert_int_equal(nexthops_find(nexthops, &other), number);
	assert_int_equal(at(number)->kind, NEXTHOP_GROUP);
	nexthops_put(nexthops, number);
	nexthops_put(nexthops, number);
	assert_int_equal(nexthops_count(nexthops), 1); /* the members are gone, too */
}

/* 256 draws of probability p: within 4.5 deviations, which fails for one in 10^5 at random; and
 * these are fixed. */
static void test_buckets_are_shared_by_weight(void **state)
{
	for (uint32_t seed = 0; seed < 200; seed++) {
		struct nh_candidate candidates[5];
		uint16_t buckets[NEXTHOP_GROUP_BUCKETS];
		double chi_square = 0;
		uint32_t sum = 0;

		for (uint32_t i = 0; i < 5; i++) {
			candidates[i] = (struct nh_candidate){
				.identity = seed * 1000 + i, .weight = i + 1, .number = 100 + i};
			sum += i + 1;
		}
		nh_fill_buckets(candidates, 5, buckets);
		for (uint32_t i = 0; i < 5; i++) {
			double want = 256.0 * (i + 1) / sum, n = 0;

			for (unsigned b = 0; b < NEXTHOP_GROUP_BUCKETS; b++)
				n += buckets[b] == 100 + i;
			chi_square += (n - want) * (n - want) / want;
		}
		assert_true(chi_square < 27); /* 4 degrees of freedom: 1 in 50,000 is above */
	}
}

static void fill(uint32_t n, const uint32_t *weights, uint16_t *ret_buckets)
{
	struct nh_candidate candidates[8];
	uint32_t n_candidates = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (weights[i])
			candidates[n_candidates++] = (struct nh_candidate){
				.identity = 77 + i, .weight = weights[i], .number = 100 + i};
	}
	nh_fill_buckets(candidates, n_candidates, ret_buckets);
}

/* Between the two only the one member's buckets differ. */
static unsigned n_moved(const uint16_t *before, const uint16_t *after, uint16_t number)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NEXTHOP_GROUP_BUCKETS; i++) {
		if (before[i] == after[i])
			continue;
		assert_true(before[i] == number || after[i] == number);
		n++;
	}
	return n;
}

static void test_a_member_that_changes_moves_its_own_share(void **state)
{
	uint16_t all[NEXTHOP_GROUP_BUCKETS], without[NEXTHOP_GROUP_BUCKETS],
		heavy[NEXTHOP_GROUP_BUCKETS];
	unsigned n;

	fill(5, (const uint32_t[]){1, 1, 1, 1, 1}, all);
	fill(5, (const uint32_t[]){1, 1, 0, 1, 1}, without);
	fill(5, (const uint32_t[]){1, 1, 4, 1, 1}, heavy);
	n = n_moved(all, without, 102);
	assert_in_range(n, 25, 80); /* a fifth of 256 */
	n = n_moved(all, heavy, 102);
	assert_in_range(n, 50, 110); /* from 1/5 to 1/2 */
}

static void test_dead_members_are_left_out_and_foreign_ones_pass(void **state)
{
	const struct rt_nexthop ways[] = {way(2, 1, 1), way(3, 2, 1), way(5, 3, 1)};
	struct rt_route route = route_of(3, ways);
	uint16_t number = get(&route), dead = number_of(3, 2), foreign = number_of(5, 3);
	uint16_t before[NEXTHOP_GROUP_BUCKETS];

	memcpy(before, at(number)->buckets, sizeof(before));
	assert_true(n_buckets_of(at(number), dead) > 0);
	assert_true(n_buckets_of(at(number), foreign) > 0);
	assert_int_equal(at(foreign)->kind, NEXTHOP_PASS);
	world_links[3].is_up = false;
	assert_false(nexthops_link_changed(nexthops, 3));
	assert_int_equal(n_buckets_of(at(number), dead), 0);
	(void)n_moved(before, at(number)->buckets, dead);
	world_links[3].is_up = true;
	world_links[3].has_carrier = false; /* Linux goes on using it, so it is handed back */
	assert_false(nexthops_link_changed(nexthops, 3));
	assert_memory_equal(at(number)->buckets, before, sizeof(before));
	assert_int_equal(at(dead)->reason, HANDBACK_DOWN);
	world_links[2].is_up = world_links[3].is_up = world_links[5].is_up = false;
	assert_false(nexthops_link_changed(nexthops, 0));
	assert_memory_equal(at(number)->buckets, before, sizeof(before));
	world_links[2].port = world_links[3].port = LINK_NO_PORT;
	assert_true(nexthops_link_changed(nexthops, 0));
	assert_int_equal(at(number)->kind, NEXTHOP_PASS);
}

static void test_members_are_taken_out_of_a_route(void **state)
{
	const struct rt_nexthop abc[] = {way(2, 1, 1), way(3, 2, 1), way(4, 3, 1)};
	struct rt_route route = route_of(3, abc), ac = route_of(1, abc), c = single(4, 3);
	uint16_t number = get(&route), less, least;

	ac.n_nexthops = 2;
	ac.nexthops[1] = abc[2];
	c.mtu = 1280; /* of no account */
	less = nexthops_get_without(nexthops, number, &c);
	assert_int_equal(at(less)->kind, NEXTHOP_GROUP);
	assert_int_equal(n_buckets_of(at(less), number_of(4, 3)), 0);
	least = nexthops_get_without(nexthops, number, &ac);
	assert_int_equal(least, number_of(3, 2));
	assert_int_equal(nexthops_get_without(nexthops, number, &route), FIB_NO_ROUTE);
	c = single(4, 9);
	assert_int_equal(nexthops_get_without(nexthops, number, &c), number);
}

/* --- objects -----------------------------------------------------------------------------------
 */

static void object(uint32_t id, uint32_t ifindex, uint8_t gateway)
{
	struct rt_nexthop_object message = {.id = id, .nexthop = way(ifindex, gateway, 1)};

	(void)nexthops_object(nexthops, &message, false);
}

static void object_gone(uint32_t id)
{
	struct rt_nexthop_object message = {.id = id};

	(void)nexthops_object(nexthops, &message, true);
}

static void group_object(uint32_t id, uint32_t a, uint32_t b)
{
	struct rt_nexthop_object message = {.id = id, .is_group = true, .n_members = 2};

	message.members[0].id = a;
	message.members[0].weight = 1;
	message.members[1].id = b;
	message.members[1].weight = 1;
	(void)nexthops_object(nexthops, &message, false);
}

static uint16_t get_object(uint32_t id)
{
	struct rt_route route = {.type = RTN_UNICAST, .nhid = id};

	return get(&route);
}

static void test_a_number_follows_its_object(void **state)
{
	uint16_t number = get_object(10);
	struct adjacency neighbour = {0};
	struct ip6_addr gateway = way(3, 4, 1).gateway;

	assert_int_equal(at(number)->kind, NEXTHOP_PASS);
	object(10, 2, 1);
	assert_int_equal(at(number)->kind, NEXTHOP_VIA);
	assert_int_equal(at(number)->ifindex, 2);
	assert_int_equal(get_object(10), number);
	object(10, 3, 4);
	assert_int_equal(at(number)->ifindex, 3);
	world_set_neighbour(nexthops, 3, false, &gateway, &neighbour);
	assert_ptr_equal(at(number)->adjacency, &neighbour);
	object_gone(10);
	assert_int_equal(at(number)->kind, NEXTHOP_PASS);
	assert_false(nexthops_is_ours(nexthops, number));
	nexthops_put(nexthops, number);
	nexthops_put(nexthops, number);
	assert_int_equal(nexthops_count(nexthops), 1);
}

static void test_a_group_follows_its_members(void **state)
{
	uint16_t number = get_object(10), via2, via3, via4;

	group_object(10, 1, 2);
	assert_int_equal(at(number)->kind, NEXTHOP_PASS);
	object(1, 2, 1);
	assert_int_equal(at(number)->kind, NEXTHOP_GROUP);
	via2 = number_of(2, 1);
	assert_in_range(n_buckets_of(at(number), via2), 80, 176);
	object(2, 3, 1);
	via3 = number_of(3, 1);
	assert_int_equal(n_buckets_of(at(number), via2) + n_buckets_of(at(number), via3), 256);
	object(2, 4, 1);
	via4 = number_of(4, 1);
	assert_int_equal(n_buckets_of(at(number), via2) + n_buckets_of(at(number), via4), 256);
	assert_int_equal(number_of(3, 1), FIB_NO_ROUTE); /* nobody's any more */
	group_object(10, 1, 3);
	assert_int_equal(n_buckets_of(at(number), via4), 0);
	object_gone(1);
	assert_int_equal(at(number)->kind, NEXTHOP_PASS);
	nexthops_put(nexthops, number);
	assert_int_equal(nexthops_count(nexthops), 1);
}

static void test_objects_that_are_not_for_us_pass(void **state)
{
	struct rt_nexthop_object message = {.id = 5, .is_blackhole = true};
	uint16_t number = get_object(5);

	message.nexthop = way(2, 1, 1);
	(void)nexthops_object(nexthops, &message, false);
	assert_int_equal(at(number)->kind, NEXTHOP_PASS);
	message.is_blackhole = false;
	message.nexthop.has_encap = true;
	(void)nexthops_object(nexthops, &message, false);
	assert_int_equal(at(number)->kind, NEXTHOP_PASS);
	message.nexthop.has_encap = false;
	assert_true(nexthops_object(nexthops, &message, false));
	assert_int_equal(at(number)->kind, NEXTHOP_VIA);
	assert_false(nexthops_object(nexthops, &message, false));
}

static void test_a_sync_sweeps_objects(void **state)
{
	uint16_t kept, swept;

	object(1, 2, 1);
	object(2, 2, 2);
	kept = get_object(1);
	swept = get_object(2);
	nexthops_begin_sync(nexthops);
	object(1, 2, 1);
	assert_true(nexthops_end_sync(nexthops));
	assert_int_equal(at(kept)->kind, NEXTHOP_VIA);
	assert_int_equal(at(swept)->kind, NEXTHOP_PASS);
	nexthops_begin_sync(nexthops);
	assert_true(nexthops_end_sync(nexthops));
	assert_int_equal(at(kept)->kind, NEXTHOP_PASS);
}

static void test_json_tells_what_a_number_means(void **state)
{
	const struct rt_nexthop ways[] = {way(2, 1, 3), way(3, 2, 1)};
	struct rt_route route = route_of(2, ways);
	struct json_object *json = nexthops_json(nexthops, get(&route));
	const char *text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);

	assert_non_null(strstr(text, "\"kind\":\"group\""));
	assert_non_null(strstr(text, "\"gateway\":\"0.0.0.1\",\"device\":\"d2\",\"ifindex\":2,"
				     "\"mtu\":1500,\"neighbour\":\"unresolved\",\"weight\":3"));
	json_object_put(json);
	json = nexthops_json(nexthops, 12345);
	text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
	assert_non_null(strstr(text, "\"reason\":\"no_route\""));
	json_object_put(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_equal_routes_share_a_counted_number),
		TEST(test_what_the_fast_path_cannot_take_passes),
		TEST(test_only_unicast_by_a_living_device_is_a_way_back),
		TEST(test_a_path_follows_its_link),
		TEST(test_what_does_not_change_is_not_replaced),
		TEST(test_the_mtu_is_the_least_of_route_and_link),
		TEST(test_a_neighbour_reaches_all_paths_by_it),
		TEST(test_a_number_rests_until_workers_are_beyond_it),
		TEST(test_without_a_number_left_routes_pass),
		TEST(test_equal_groups_in_any_order_share_a_number),
		TEST(test_buckets_are_shared_by_weight),
		TEST(test_a_member_that_changes_moves_its_own_share),
		TEST(test_dead_members_are_left_out_and_foreign_ones_pass),
		TEST(test_members_are_taken_out_of_a_route),
		TEST(test_a_number_follows_its_object),
		TEST(test_a_group_follows_its_members),
		TEST(test_objects_that_are_not_for_us_pass),
		TEST(test_a_sync_sweeps_objects),
		TEST(test_json_tells_what_a_number_means),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
