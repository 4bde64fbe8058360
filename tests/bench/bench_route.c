// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench_route [--smoke] [--json] (tools/bench loop --forward route): what one turn of a worker that
 * routes costs, in TSC ticks per frame: parse, lookup, rewrite, and all that bench_loop measures of
 * a wire, which stands beside. The method is bench_loop's; what differs is the frames.
 *
 * Tables are like those of BGP (tests/unit/fib_world.h); their next hops are 1000 neighbours behind
 * three ports, as on an exchange. Destinations are either random addresses of random routes,
 * walked once through an array of 2^18, or 64 flows again and again. Frames of 60 bytes, bursts of
 * 64. The frames were written by this CPU just before; so their headers are in its caches, and the
 * misses that are left are the tables'.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/ticks.h"
#include "tests/unit/fib_world.h"
#include "tests/unit/loop_world.h"
#include "tests/unit/route_world.h"
#include "util/pages.h"

#define SEED        20240601
#define RUNS        15
#define RING        2048
#define N_ADDRESSES (1U << 18)
#define N_FLOWS     64U
#define N_HOPS      1000
#define N_PORTS     4 /* one lane each; frames come in by port 0 */
#define MTU         1500
#define PAYLOAD4    26 /* frames of 60 bytes */
#define PAYLOAD6    6

struct table {
	const char *name;
	unsigned family;
	size_t n_routes;
	bool is_routed; /* else a wire: the same frames, not looked at */
	struct route_world *routes;
	struct ip6_addr *addrs; /* N_ADDRESSES random ones */
	struct world *world;
};

struct candidate {
	struct table *table;
	const char *destinations;
	uint32_t n_addrs; /* used of the table's, again and again */
	double target;    /* 0: none */
	uint32_t at;
	double ticks[RUNS];
};

static struct worker_port ports[WORKER_MAX_PORTS];

static be32 word_of(const struct ip6_addr *addr)
{
	be32 word;

	memcpy(&word, addr->octet, sizeof(word));
	return word;
}

/* Nobody looks up yet: what a change retires is free again at the next. */
static void add_route(struct table *table, const struct route *route, uint64_t generation)
{
	struct route_view *view = &table->routes->view;

	if (table->family == 4) {
		assert(fib4_add(view->fib4, word_of(&route->addr), route->len, route->nh) == 0);
		return;
	}
	assert(fib6_add(view->fib6, &route->addr, route->len, route->nh) == 0);
	fib6_begin_generation(view->fib6, generation + 1);
	fib6_reclaim(view->fib6, generation + 1);
}

static void add_routes(struct table *table)
{
	struct random random = {SEED + table->n_routes};
	struct route *routes = table->family == 4 ?
				       routes_like_bgp4(SEED, table->n_routes, N_HOPS) :
				       routes_like_bgp6(SEED, table->n_routes, N_HOPS);

	for (size_t i = 0; i < table->n_routes; i++)
		add_route(table, &routes[i], i);
	table->addrs = pages_map(N_ADDRESSES * sizeof(*table->addrs));
	assert(table->addrs);
	for (size_t i = 0; i < N_ADDRESSES; i++) {
		do { /* the tables have routes in 127/8, which no router forwards by */
			size_t which = random_below(&random, (uint32_t)table->n_routes);

			table->addrs[i] = route_address(&routes[which], &random);
		} while (table->family == 4 && table->addrs[i].octet[0] == 127);
	}
	free(routes);
}

static void set_up_ports(struct world *world)
{
	for (uint16_t port = 0; port < N_PORTS; port++) {
		ports[port] = (struct worker_port){
			.is_member = true,
			.can_send = true,
			.ifindex = ROUTE_WORLD_IFINDEX(port),
			.max_len = MTU + ETH_HLEN,
			.handback_fd = -1,
			.n_lanes = 1,
			.lanes = {&world->lanes[port]},
		};
		route_world_mac(port, ports[port].mac);
	}
}

static void set_up(struct table *table)
{
	const struct world_spec spec = {
		.n_lanes = N_PORTS,
		.n_frames = 2 * N_PORTS * RING + 2 * BURST,
		.sizes = {RING, RING, RING, RING, 0},
	};
	static const char *const locals[] = {"192.0.2.1", "198.51.100.1", NULL};
	struct worker_set *set;

	table->world = world_new(&spec);
	set_up_ports(table->world);
	table->routes = route_world_new();
	for (uint16_t number = 1; number <= N_HOPS; number++)
		(void)route_world_via(table->routes, number, (uint16_t)(1 + number % (N_PORTS - 1)),
				      MTU);
	route_world_set_locals(table->routes, locals);
	add_routes(table);
	for (uint32_t i = 0; i < N_PORTS; i++)
		fake_need_wakeup(&table->world->fakes[i].tx, false);
	if (!table->is_routed)
		return;
	set = world_next_set(table->world);
	set->forward = WORKER_ROUTE;
	set->view = &table->routes->view;
	set->ports = ports;
	for (uint16_t i = 0; i < N_PORTS; i++)
		set->routes[i].port = i;
	world_publish(table->world);
}

static void tear_down(struct table *table)
{
	pages_unmap(table->addrs, N_ADDRESSES * sizeof(*table->addrs));
	route_world_free(table->routes);
	world_free(table->world);
}

/* A burst comes in by port 0; what left is completed. The ports change with the table. */
static void play_kernel(struct candidate *candidate)
{
	struct table *table = candidate->table;
	static const struct ip6_addr src6 = {
		{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}};
	const be32 src4 = htobe32(0xc6336409); /* 198.51.100.9 */
	uint8_t frame[64];

	for (uint32_t i = 0; i < N_PORTS; i++) {
		(void)fake_transmit(&table->world->fakes[i], UINT32_MAX);
		(void)fake_complete(&table->world->fakes[i], UINT32_MAX);
	}
	for (uint32_t i = 0; i < BURST; i++) {
		const struct ip6_addr *dst =
			&table->addrs[candidate->at++ & (candidate->n_addrs - 1)];
		uint32_t len = table->family == 4 ?
				       frame_make4(frame, src4, word_of(dst), PAYLOAD4) :
				       frame_make6(frame, &src6, dst, PAYLOAD6);

		if (!fake_receive(&table->world->fakes[0], frame, len, len, NULL))
			abort(); /* the fill ring ran dry: we would measure something else */
	}
}

static double run_once(struct candidate *candidate, uint32_t n_turns, uint64_t overhead)
{
	uint64_t ticks = 0;

	set_up_ports(candidate->table->world);
	for (uint32_t i = 0; i < n_turns; i++) {
		uint64_t start;

		play_kernel(candidate);
		start = ticks_now();
		(void)worker_turn(&candidate->table->world->worker);
		ticks += ticks_now() - start - overhead;
	}
	return (double)ticks / ((double)n_turns * BURST);
}

/* A benchmark of something that drops its packets is worth nothing. */
static bool is_sound(const struct table *table)
{
	const struct lane_counters *counters = &table->world->lanes[0].counters;

	world_check(table->world);
	return counters->rx_packets > 0 && counters->rx_packets == counters->forwarded;
}

static void print_json(struct candidate *candidates, size_t n, double per_ns)
{
	printf("{\"bench\": \"route\", \"ticks_per_ns\": %.3f, \"runs\": %d, \"cpu\": %d, "
	       "\"results\": [",
	       per_ns, RUNS, sched_getcpu());
	for (size_t i = 0; i < n; i++) {
		const struct candidate *c = &candidates[i];

		printf("%s{\"name\": \"%s\", \"routes\": %zu, \"destinations\": \"%s\", "
		       "\"ticks\": %.2f, \"min\": %.2f, \"max\": %.2f, \"target\": %.0f}",
		       i ? ", " : "", c->table->name, c->table->n_routes, c->destinations,
		       c->ticks[RUNS / 2], c->ticks[0], c->ticks[RUNS - 1], c->target);
	}
	printf("]}\n");
}

static void print_table(struct candidate *candidates, size_t n, double per_ns)
{
	printf("ticks per frame of a burst of %d, median of %d runs (min … max); %.3f ticks per "
	       "ns; CPU %d\n",
	       BURST, RUNS, per_ns, sched_getcpu());
	for (size_t i = 0; i < n; i++) {
		const struct candidate *c = &candidates[i];

		printf("%-16s %8zu routes, %-12s %7.1f  (%.1f … %.1f)", c->table->name,
		       c->table->n_routes, c->destinations, c->ticks[RUNS / 2], c->ticks[0],
		       c->ticks[RUNS - 1]);
		if (c->target > 0)
			printf("  target %.0f: %s", c->target,
			       c->ticks[RUNS / 2] <= c->target ? "met" : "MISSED");
		printf("\n");
	}
}

static int run(bool is_smoke, bool as_json)
{
	const size_t scale = is_smoke ? 250 : 1;
	struct table tables[] = {
		{.name = "wire", .family = 4, .n_routes = 1000},
		{.name = "IPv4", .family = 4, .n_routes = 1000, .is_routed = true},
		{.name = "IPv4", .family = 4, .n_routes = 1000000 / scale, .is_routed = true},
		{.name = "IPv6", .family = 6, .n_routes = 250000 / scale, .is_routed = true},
	};
	struct candidate candidates[] = {
		{&tables[0], "not read", N_ADDRESSES, .target = 0},
		{&tables[1], "64 flows", N_FLOWS, .target = 70},
		{&tables[1], "random", N_ADDRESSES, .target = 120},
		{&tables[2], "64 flows", N_FLOWS, .target = 70},
		{&tables[2], "random", N_ADDRESSES, .target = 120},
		{&tables[3], "64 flows", N_FLOWS, .target = 0},
		{&tables[3], "random", N_ADDRESSES, .target = 0},
	};
	uint64_t overhead = ticks_overhead();
	double per_ns = ticks_per_ns();
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		set_up(&tables[i]);
	for (unsigned run = 0; run < RUNS; run++) {
		for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
			(void)run_once(&candidates[i], is_smoke ? 2 : 200, overhead); /* warm */
			candidates[i].ticks[run] =
				run_once(&candidates[i], is_smoke ? 5 : 2000, overhead);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
		qsort(candidates[i].ticks, RUNS, sizeof(double), ticks_compare);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		if (!is_sound(&tables[i])) {
			fprintf(stderr, "bench_route: %s: packets were not forwarded\n",
				tables[i].name);
			ok = false;
		}
		tear_down(&tables[i]);
	}
	if (as_json)
		print_json(candidates, ARRAY_SIZE(candidates), per_ns);
	else
		print_table(candidates, ARRAY_SIZE(candidates), per_ns);
	return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
	bool is_smoke = false, as_json = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--smoke") == 0) {
			is_smoke = true;
		} else if (strcmp(argv[i], "--json") == 0) {
			as_json = true;
		} else {
			fprintf(stderr, "usage: bench_route [--smoke] [--json]\n");
			return 64;
		}
	}
	ticks_pin();
	return run(is_smoke, as_json);
}
