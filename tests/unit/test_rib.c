/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The RIB against a plain model of the kernel's tables: random changes are made to the model, what
 * the kernel would say of them (seen on 6.18; see rib.c) is told to the RIB, and for addresses
 * around the prefixes both must decide the same.
 */
#include <endian.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/fib4.h"
#include "net/fib6.h"
#include "tests/unit/fib_world.h"
#include "tests/unit/rib_world.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

/* --- the model ---------------------------------------------------------------------------------
 */

#define MAX_ROUTES 400

/* In the kernel's order, within a prefix. IPv6: members of one route are one entry. */
struct model {
	struct rt_route routes[MAX_ROUTES];
	size_t n;
};

static bool is_same_prefix(const struct rt_route *a, const struct rt_route *b)
{
	return a->is_ip6 == b->is_ip6 && a->table == b->table && a->dst_len == b->dst_len &&
	       memcmp(&a->dst, &b->dst, sizeof(a->dst)) == 0;
}

static bool is_equal_rank(const struct rt_route *a, const struct rt_route *b)
{
	return is_same_prefix(a, b) && a->tos == b->tos && a->metric == b->metric;
}

static bool is_by_gateway(const struct rt_route *route)
{
	return route->type == RTN_UNICAST && !route->nhid && route->src_len == 0 &&
	       route->n_nexthops > 0 && route->nexthops[0].has_gateway;
}

static void model_insert(struct model *model, size_t at, const struct rt_route *route)
{
	assert_true(model->n < MAX_ROUTES);
	memmove(&model->routes[at + 1], &model->routes[at],
		(model->n - at) * sizeof(model->routes[0]));
	model->routes[at] = *route;
	model->n++;
}

static void model_remove(struct model *model, size_t at)
{
	model->n--;
	memmove(&model->routes[at], &model->routes[at + 1],
		(model->n - at) * sizeof(model->routes[0]));
}

/* Where the route would go: before (or behind) those of equal rank. */
static size_t model_place(const struct model *model, const struct rt_route *route, bool is_behind)
{
	for (size_t i = 0; i < model->n; i++) {
		const struct rt_route *other = &model->routes[i];

		if (!is_same_prefix(other, route) || other->tos > route->tos)
			continue;
		if (other->tos < route->tos || other->metric > route->metric ||
		    (other->metric == route->metric && !is_behind))
			return i;
	}
	return model->n;
}

/* --- what an address leads to ------------------------------------------------------------------
 */

struct decision {
	bool is_forwarded;
	bool is_unknown; /* no route at all */
	size_t n_ways;
	struct rt_nexthop ways[RT_MAX_NEXTHOPS];
};

static bool covers(const struct rt_route *route, const struct ip6_addr *addr)
{
	struct ip6_addr cut = prefix_of(*addr, route->dst_len);

	return memcmp(&cut, &route->dst, route->is_ip6 ? 16 : 4) == 0;
}

/* The routes of the longest prefix around the address in a table: their indices; how many. */
static size_t longest(const struct model *model, bool is_ip6, const struct ip6_addr *addr,
		      uint32_t table, size_t *ret_indices)
{
	int best = -1;
	size_t n = 0;

	for (size_t i = 0; i < model->n; i++) {
		const struct rt_route *route = &model->routes[i];

		if (route->is_ip6 != is_ip6 || route->table != table || !covers(route, addr) ||
		    route->dst_len < best)
			continue;
		if (route->dst_len > best)
			n = 0;
		best = route->dst_len;
		ret_indices[n++] = i;
	}
	return n;
}

static struct decision model_decide(const struct model *model, bool is_ip6,
				    const struct ip6_addr *addr)
{
	struct decision decision = {0};
	const struct rt_route *first;
	size_t indices[MAX_ROUTES], n;
	int local_len = -1;

	n = longest(model, is_ip6, addr, RT_TABLE_LOCAL, indices);
	if (n > 0)
		local_len = model->routes[indices[0]].dst_len;
	if (n == 0 || !is_ip6) {
		size_t of_main[MAX_ROUTES];
		size_t n_main = longest(model, is_ip6, addr, RT_TABLE_MAIN, of_main);

		/* one trie or two: the kernel's */
		if (n > 0 && n_main > 0 && model->routes[of_main[0]].dst_len > local_len)
			return decision;
		if (n == 0) {
			n = n_main;
			memcpy(indices, of_main, n * sizeof(indices[0]));
		}
	}
	if (n == 0)
		return (struct decision){.is_unknown = true};
	first = &model->routes[indices[0]];
	for (size_t i = 0; i < n; i++) {
		const struct rt_route *route = &model->routes[indices[i]];

		if (route->tos || route->src_len ||
		    (is_ip6 && i > 0 && route->metric == first->metric))
			return decision; /* the kernel's */
	}
	if (first->type != RTN_UNICAST)
		return decision;
	for (uint32_t i = 0; i < first->n_nexthops; i++) {
		decision.ways[decision.n_ways++] = first->nexthops[i];
		decision.is_forwarded |=
			link_table_find(NULL, first->nexthops[i].ifindex)->port != LINK_NO_PORT;
	}
	return decision;
}

/* A leg as published leads out by this way. */
static bool is_way(const struct nexthop *leg, const struct rt_nexthop *way)
{
	const struct link_entry *link = link_table_find(NULL, way->ifindex);

	if (leg->ifindex != way->ifindex)
		return false;
	if (link->port == LINK_NO_PORT)
		return leg->kind == NEXTHOP_PASS;
	return leg->out_port == link->port &&
	       leg->kind == (way->has_gateway ? NEXTHOP_VIA : NEXTHOP_CONNECTED) &&
	       (!way->has_gateway ||
		leg->adjacency ==
			adjacency_find(NULL, way->ifindex, way->gateway_is_ip6, &way->gateway));
}

static void assert_group(const struct rib_world *world, const struct nexthop *group,
			 const struct decision *decision)
{
	bool seen[RT_MAX_NEXTHOPS] = {0};

	for (unsigned i = 0; i < NEXTHOP_GROUP_BUCKETS; i++) {
		const struct nexthop *leg = atomic_load(&world->view->nexthops[group->buckets[i]]);
		bool found = false;

		for (size_t way = 0; way < decision->n_ways; way++) {
			if (is_way(leg, &decision->ways[way]))
				found = seen[way] = true;
		}
		assert_true(found);
	}
	for (size_t way = 0; way < decision->n_ways; way++)
		assert_true(seen[way]);
}

static void assert_gate_allows(bool is_ip6, const struct ip6_addr *addr)
{
	be32 addr4;

	if (is_ip6) {
		assert_true(world_gated6(addr) > 0);
		return;
	}
	memcpy(&addr4, addr->octet, sizeof(addr4));
	assert_int_not_equal(gate_get4(NULL, be32toh(addr4) >> 8), SLUICE_GATE_PASS);
}

static void assert_agrees(const struct rib_world *world, const struct model *model, bool is_ip6,
			  const struct ip6_addr *addr)
{
	struct decision want = model_decide(model, is_ip6, addr);
	uint16_t number = rib_world_lookup(world, is_ip6, addr);
	const struct nexthop *have = atomic_load(&world->view->nexthops[number]);

	if (!want.is_forwarded) {
		assert_int_equal(have->kind, NEXTHOP_PASS);
		if (want.is_unknown)
			assert_int_equal(number, FIB_NO_ROUTE);
		return;
	}
	assert_gate_allows(is_ip6, addr);
	assert_true(nexthops_is_ours(world->nexthops, number));
	if (want.n_ways > 1) {
		assert_int_equal(have->kind, NEXTHOP_GROUP);
		assert_group(world, have, &want);
		return;
	}
	assert_true(is_way(have, &want.ways[0]));
}

/* --- random routes -----------------------------------------------------------------------------
 */

static const uint8_t lens4[] = {0, 1, 7, 8, 9, 13, 16, 23, 24, 25, 27, 30, 31, 32};
#define N_SHORT4 5 /* of these the gate is painted in slices, which takes its time */
static const uint8_t lens6[] = {0, 3, 8, 16, 24, 32, 33, 44, 48, 56, 63, 64, 65, 96, 127, 128};

/* Few different ones, so that prefixes overlap. */
static struct ip6_addr random_addr(struct random *random, bool is_ip6)
{
	struct ip6_addr addr = {0};

	for (unsigned i = 0; i < (is_ip6 ? 16 : 4); i++)
		addr.octet[i] =
			random_below(random, 3) ? 0x0a : (uint8_t)random_below(random, 3) << 6;
	return addr;
}

static struct rt_nexthop random_way(struct random *random, bool is_ip6, bool has_gateway)
{
	struct rt_nexthop way = {
		.ifindex = 2 + random_below(random, 4),
		.has_gateway = has_gateway,
		.gateway_is_ip6 = has_gateway && (is_ip6 || random_below(random, 8) == 0),
		.weight = (uint16_t)(1 + random_below(random, 2)),
	};

	if (has_gateway)
		way.gateway.octet[way.gateway_is_ip6 ? 15 : 3] =
			(uint8_t)(1 + random_below(random, 5));
	return way;
}

static bool has_way(const struct rt_route *route, const struct rt_nexthop *way)
{
	for (uint32_t i = 0; i < route->n_nexthops; i++) {
		if (route->nexthops[i].ifindex == way->ifindex &&
		    route->nexthops[i].gateway_is_ip6 == way->gateway_is_ip6 &&
		    memcmp(&route->nexthops[i].gateway, &way->gateway, sizeof(way->gateway)) == 0)
			return true;
	}
	return false;
}

static uint8_t random_len4(struct random *random)
{
	if (random_below(random, 16) == 0)
		return lens4[random_below(random, N_SHORT4)];
	return lens4[N_SHORT4 + random_below(random, ARRAY_SIZE(lens4) - N_SHORT4)];
}

static struct rt_route random_route(struct random *random, bool is_ip6)
{
	static const uint8_t types[] = {RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW};
	bool is_local = random_below(random, 8) == 0;
	bool is_host = random_below(random, 4) != 0; /* by far the most of table local */
	struct rt_route route = {
		.is_ip6 = is_ip6,
		.dst_len = is_ip6 ? lens6[random_below(random, ARRAY_SIZE(lens6))] :
				    random_len4(random),
		.type = RTN_UNICAST,
		.protocol = RTPROT_STATIC,
		.table = is_local ? RT_TABLE_LOCAL : RT_TABLE_MAIN,
		.metric = 10 * random_below(random, 3),
		.tos = !is_ip6 && random_below(random, 20) == 0 ? 8 : 0,
		.src_len = is_ip6 && random_below(random, 30) == 0 ? 64 : 0,
		.identity = is_ip6 ? 0 : random_below(random, 2),
		.n_nexthops = 1,
	};
	bool by_gateway = random_below(random, 4) != 0;

	route.dst = prefix_of(random_addr(random, is_ip6), route.dst_len);
	route.identity += route.src_len;
	if (is_local && is_host) {
		route.type = RTN_LOCAL;
		route.nexthops[0] = (struct rt_nexthop){.ifindex = 1, .weight = 1};
		return route;
	}
	if (random_below(random, 8) == 0) {
		route.type = types[random_below(random, ARRAY_SIZE(types))];
		route.n_nexthops = 0;
		return route;
	}
	route.nexthops[0] = random_way(random, is_ip6, by_gateway);
	while (by_gateway && random_below(random, 3) == 0 && route.n_nexthops < 6) {
		struct rt_nexthop way = random_way(random, is_ip6, true);

		if (!has_way(&route, &way))
			route.nexthops[route.n_nexthops++] = way;
	}
	return route;
}

/* --- changes of the model, and what the kernel says of them ------------------------------------
 */

/* Lost notifications are for a sync to find out. */
struct teller {
	struct rib_world *world;
	bool is_mute;
};

static void tell(const struct teller *teller, const struct rt_route *route, uint16_t flags)
{
	if (!teller->is_mute)
		assert_int_equal(rib_route(teller->world->rib, route, flags), 0);
}

static void tell_gone(const struct teller *teller, const struct rt_route *route)
{
	if (!teller->is_mute)
		assert_int_equal(rib_route_gone(teller->world->rib, route), 0);
}

/* What makes the kernel say "File exists". */
static bool is_duplicate(const struct model *model, const struct rt_route *route)
{
	for (size_t i = 0; i < model->n; i++) {
		const struct rt_route *other = &model->routes[i];

		if (is_equal_rank(other, route) && other->type == route->type &&
		    (route->is_ip6 ||
		     (other->identity == route->identity &&
		      other->n_nexthops == route->n_nexthops &&
		      memcmp(other->nexthops, route->nexthops, sizeof(route->nexthops)) == 0)) &&
		    (!route->is_ip6 || (!is_by_gateway(route) && !is_by_gateway(other) &&
					other->src_len == route->src_len &&
					other->nexthops[0].ifindex == route->nexthops[0].ifindex)))
			return true;
	}
	return false;
}

static size_t first_equal(const struct model *model, const struct rt_route *route)
{
	for (size_t i = 0; i < model->n; i++) {
		if (is_equal_rank(&model->routes[i], route))
			return i;
	}
	return model->n;
}

static void add4(struct model *model, const struct teller *teller, const struct rt_route *route,
		 struct random *random)
{
	size_t first = first_equal(model, route);
	uint16_t flags = NLM_F_CREATE | NLM_F_EXCL;

	if (is_duplicate(model, route))
		return;
	if (first < model->n) {
		static const uint16_t how[] = {NLM_F_CREATE, NLM_F_CREATE | NLM_F_APPEND,
					       NLM_F_REPLACE};

		flags = how[random_below(random, ARRAY_SIZE(how))];
	}
	if (flags == NLM_F_REPLACE)
		model->routes[first] = *route;
	else
		model_insert(model, model_place(model, route, flags & NLM_F_APPEND), route);
	tell(teller, route, flags);
}

/* Of the same kind, for IPv6: by gateway, or not. */
static size_t first_kind(const struct model *model, const struct rt_route *route)
{
	for (size_t i = 0; i < model->n; i++) {
		if (is_equal_rank(&model->routes[i], route) &&
		    is_by_gateway(&model->routes[i]) == is_by_gateway(route))
			return i;
	}
	return model->n;
}

static void append6(struct model *model, const struct teller *teller, struct rt_route *known,
		    const struct rt_route *route, struct random *random)
{
	for (uint32_t i = 0; i < route->n_nexthops; i++) {
		if (!has_way(known, &route->nexthops[i]) && known->n_nexthops < 8)
			known->nexthops[known->n_nexthops++] = route->nexthops[i];
	}
	tell(teller, known, NLM_F_CREATE | (random_below(random, 2) ? NLM_F_APPEND : 0));
}

static void add6(struct model *model, const struct teller *teller, const struct rt_route *route,
		 struct random *random)
{
	size_t same = first_kind(model, route), any = first_equal(model, route);
	bool is_replace = random_below(random, 3) == 0 && route->src_len == 0;

	if (is_replace && any < model->n && model->routes[any].src_len)
		return; /* another subtree of the kernel's; no model of that */
	if (is_replace && same < model->n && model->routes[same].src_len)
		return;
	if (is_duplicate(model, route))
		return;
	if (is_replace && any < model->n) {
		model->routes[same < model->n ? same : any] = *route;
		tell(teller, route, NLM_F_REPLACE);
	} else if (is_by_gateway(route) && same < model->n) {
		append6(model, teller, &model->routes[same], route, random);
	} else {
		model_insert(model, model_place(model, route, true), route);
		tell(teller, route, NLM_F_CREATE | (any < model->n ? NLM_F_APPEND : NLM_F_EXCL));
	}
}

static void remove_member6(struct model *model, const struct teller *teller, size_t at,
			   struct random *random)
{
	struct rt_route *route = &model->routes[at], gone = *route;
	uint32_t member = random_below(random, route->n_nexthops);

	gone.n_nexthops = 1;
	gone.nexthops[0] = route->nexthops[member];
	route->nexthops[member] = route->nexthops[--route->n_nexthops];
	memset(&route->nexthops[route->n_nexthops], 0, sizeof(route->nexthops[0]));
	tell_gone(teller, &gone);
}

static void remove_any(struct model *model, const struct teller *teller, struct random *random)
{
	size_t at;
	struct rt_route gone;

	if (model->n == 0)
		return;
	at = random_below(random, (uint32_t)model->n);
	if (model->routes[at].is_ip6 && is_by_gateway(&model->routes[at]) &&
	    model->routes[at].n_nexthops > 1 && random_below(random, 2)) {
		remove_member6(model, teller, at, random);
		return;
	}
	gone = model->routes[at];
	model_remove(model, at);
	tell_gone(teller, &gone);
}

static void change(struct model *model, const struct teller *teller, struct random *random,
		   size_t n_wanted)
{
	struct rt_route route;

	if (random_below(random, (uint32_t)(2 * n_wanted)) < model->n || model->n == MAX_ROUTES) {
		remove_any(model, teller, random);
		return;
	}
	route = random_route(random, random_below(random, 2));
	if (route.is_ip6)
		add6(model, teller, &route, random);
	else
		add4(model, teller, &route, random);
}

static void sync_all(struct rib_world *world, const struct model *model)
{
	rib_begin_sync(world->rib);
	for (size_t i = 0; i < model->n; i++)
		assert_int_equal(rib_route(world->rib, &model->routes[i], NLM_F_MULTI), 0);
	while (!rib_end_sync(world->rib, clock_now_ns()))
		;
}

static struct ip6_addr interesting_addr(const struct model *model, struct random *random,
					bool *ret_is_ip6)
{
	const struct rt_route *route;
	struct route prefix;

	*ret_is_ip6 = random_below(random, 2);
	if (model->n == 0 || random_below(random, 4) == 0)
		return random_addr(random, *ret_is_ip6);
	route = &model->routes[random_below(random, (uint32_t)model->n)];
	*ret_is_ip6 = route->is_ip6;
	prefix = (struct route){.addr = route->dst, .len = route->dst_len};
	prefix.addr = route_address(&prefix, random);
	return *ret_is_ip6 ? prefix.addr : prefix_of(prefix.addr, 32);
}

static void assert_all_agree(const struct rib_world *world, const struct model *model,
			     struct random *random, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		bool is_ip6;
		struct ip6_addr addr = interesting_addr(model, random, &is_ip6);

		assert_agrees(world, model, is_ip6, &addr);
	}
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void run(struct rib_world *world, struct random *random, unsigned n_changes)
{
	struct model *model = calloc(1, sizeof(*model));
	struct teller teller = {.world = world};

	assert_non_null(model);
	for (unsigned i = 0; i < n_changes; i++) {
		change(model, &teller, random, 60);
		if (random_below(random, 500) == 0) {
			teller.is_mute = true;
			for (unsigned j = 0; j < 30; j++)
				change(model, &teller, random, 60);
			teller.is_mute = false;
			sync_all(world, model);
		}
		rib_world_turn(world);
		assert_all_agree(world, model, random, 20);
	}
	while (model->n > 0)
		remove_any(model, &teller, random);
	rib_world_turn(world);
	rib_world_turn(world);
	free(model);
}

static void assert_empty(const struct rib_world *world)
{
	struct rib_stats stats;

	rib_stats(world->rib, &stats);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(stats.n_routes[i], 0);
		assert_int_equal(stats.n_prefixes[i], 0);
		assert_false(stats.must_pass[i]);
	}
	assert_int_equal(stats.n_refused, 0);
	assert_int_equal(nexthops_count(world->nexthops), 1); /* the one that passes */
	assert_int_equal(world_n_gated6(), 0);
	for (uint32_t slot = 0; slot < 1U << 24; slot++)
		assert_int_equal(gate_get4(NULL, slot), SLUICE_GATE_PASS);
}

static void test_rib_decides_as_the_kernel_does(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());
	struct rib_world world = rib_world_new();

	run(&world, &random, world_is_full() ? 200000 : 4000);
	assert_empty(&world);
	rib_world_free(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rib_decides_as_the_kernel_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
