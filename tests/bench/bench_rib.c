/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench_rib [--smoke]
 *
 * What routes cost the tables thread: loading 1,000,000 IPv4 and 250,000 IPv6 routes, then changes
 * at that size, a sync, and painting the gate. CPU time, one line of JSON. Gate, links and the
 * host's addresses are those of tests/unit/rib_world.c, whose gate for IPv6 looks at all it has:
 * IPv6 routes are therefore not ours here, except a few.
 */
#include <assert.h>
#include <endian.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/fib_world.h"
#include "tests/unit/rib_world.h"
#include "util/clock.h"
#include "util/macros.h"

#define SEED       20240601
#define N_GATEWAYS 1000
#define N_CHANGES  20000U

#define RECLAIM_AT 1000U

struct bench {
	struct nexthops *nexthops;
	struct rib_table *rib;
	uint64_t generation;
	struct route *routes[2];
	size_t n_routes[2];
};

static struct rt_route message_of(const struct route *route, bool is_ip6, uint16_t gateway)
{
	struct rt_route message = {
		.is_ip6 = is_ip6,
		.dst = route->addr,
		.dst_len = route->len,
		.type = RTN_UNICAST,
		.protocol = RTPROT_BGP,
		.table = RT_TABLE_MAIN,
		.n_nexthops = 1,
		.nexthops[0] = {.ifindex = is_ip6 ? 5 : 2 + gateway % 3,
				.weight = 1,
				.has_gateway = true,
				.gateway_is_ip6 = is_ip6},
	};

	memcpy(message.nexthops[0].gateway.octet + (is_ip6 ? 14 : 2), &gateway, sizeof(gateway));
	return message;
}

static void turn(struct bench *bench)
{
	rib_begin_generation(bench->rib, ++bench->generation);
	rib_reclaim(bench->rib, bench->generation);
	world_reclaim_limbo();
}

static void add(struct bench *bench, unsigned family, size_t i, uint16_t shift, uint16_t flags)
{
	const struct route *route = &bench->routes[family][i];
	struct rt_route message = message_of(route, family, (uint16_t)(route->nh + shift));

	assert(rib_route(bench->rib, &message, flags) == 0);
	if (i % RECLAIM_AT == 0)
		turn(bench);
}

static void delete (struct bench *bench, unsigned family, size_t i)
{
	const struct route *route = &bench->routes[family][i];
	struct rt_route message = message_of(route, family, route->nh);

	assert(rib_route_gone(bench->rib, &message) == 0);
	if (i % RECLAIM_AT == 0)
		turn(bench);
}

/* Of this thread: the machine may have other work. */
static uint64_t cpu_now_ns(void)
{
	struct timespec now;

	assert(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

static double seconds_since(uint64_t start_ns)
{
	return (double)(cpu_now_ns() - start_ns) / NSEC_PER_SEC;
}

static double load(struct bench *bench, unsigned family, uint16_t flags)
{
	uint64_t start_ns = cpu_now_ns();

	for (size_t i = 0; i < bench->n_routes[family]; i++)
		add(bench, family, i, 0, flags);
	return seconds_since(start_ns);
}

static void print_us(const char *what, unsigned family, size_t n, uint64_t start_ns,
		     uint64_t *worst_ns)
{
	printf(", \"%s%u_us\": %.2f, \"%s%u_worst_us\": %.0f", what, family ? 6 : 4,
	       seconds_since(start_ns) * 1e6 / (double)n, what, family ? 6 : 4,
	       (double)*worst_ns / 1e3);
	*worst_ns = 0;
}

/* The first N_CHANGES routes go, come again, and get another next hop. */
static void measure_changes(struct bench *bench, unsigned family)
{
	size_t n = MIN(bench->n_routes[family], (size_t)N_CHANGES);
	uint64_t start_ns = cpu_now_ns(), worst_ns = 0, one_ns;

	for (size_t i = 0; i < n; i++) {
		one_ns = cpu_now_ns();
		delete (bench, family, i);
		worst_ns = MAX(worst_ns, cpu_now_ns() - one_ns);
	}
	print_us("delete", family, n, start_ns, &worst_ns);
	start_ns = cpu_now_ns();
	for (size_t i = 0; i < n; i++) {
		one_ns = cpu_now_ns();
		add(bench, family, i, 0, NLM_F_CREATE | NLM_F_EXCL);
		worst_ns = MAX(worst_ns, cpu_now_ns() - one_ns);
	}
	print_us("add", family, n, start_ns, &worst_ns);
	start_ns = cpu_now_ns();
	for (size_t i = 0; i < n; i++) {
		one_ns = cpu_now_ns();
		add(bench, family, i, 1, NLM_F_REPLACE);
		worst_ns = MAX(worst_ns, cpu_now_ns() - one_ns);
	}
	print_us("replace", family, n, start_ns, &worst_ns);
	for (size_t i = 0; i < n; i++)
		add(bench, family, i, 0, NLM_F_REPLACE);
}

/* All routes told again, nothing changed; then swept. */
static void measure_sync(struct bench *bench)
{
	uint64_t start_ns = cpu_now_ns();

	rib_begin_sync(bench->rib);
	for (unsigned family = 0; family < 2; family++)
		(void)load(bench, family, NLM_F_MULTI);
	printf(", \"sync_s\": %.2f", seconds_since(start_ns));
	start_ns = cpu_now_ns();
	while (!rib_end_sync(bench->rib, clock_now_ns() + NSEC_PER_MSEC))
		;
	printf(", \"sweep_ms\": %.1f", seconds_since(start_ns) * 1e3);
}

static void measure_repaint(struct bench *bench)
{
	struct route eight = {.addr.octet = {10}, .len = 8, .nh = 1};
	struct rt_route message = message_of(&eight, false, 1);
	uint64_t start_ns = cpu_now_ns();

	rib_begin_repaint(bench->rib);
	while (!rib_repaint(bench->rib, clock_now_ns() + NSEC_PER_MSEC))
		;
	printf(", \"repaint_ms\": %.1f", seconds_since(start_ns) * 1e3);
	start_ns = cpu_now_ns();
	assert(rib_route(bench->rib, &message, NLM_F_CREATE) == 0);
	while (!rib_repaint(bench->rib, clock_now_ns() + NSEC_PER_MSEC))
		;
	printf(", \"slash8_us\": %.0f", seconds_since(start_ns) * 1e6);
}

static void print_memory(struct bench *bench)
{
	struct rib_stats stats;

	rib_stats(bench->rib, &stats);
	printf(", \"routes\": [%llu, %llu], \"rib_bytes\": %llu, \"rib_bytes_per_route\": %.1f",
	       (unsigned long long)stats.n_routes[0], (unsigned long long)stats.n_routes[1],
	       (unsigned long long)stats.rib_bytes,
	       (double)stats.rib_bytes / (double)(stats.n_routes[0] + stats.n_routes[1]));
}

int main(int argc, char **argv)
{
	bool is_smoke = argc > 1 && strcmp(argv[1], "--smoke") == 0;
	size_t scale = is_smoke ? 50 : 1;
	struct bench bench = {.n_routes = {1000000 / scale, 250000 / scale}};
	struct route_view *view;

	world_reset();
	bench.routes[0] = routes_like_bgp4(SEED, bench.n_routes[0], N_GATEWAYS);
	bench.routes[1] = routes_like_bgp6(SEED, bench.n_routes[1], N_GATEWAYS);
	view = world_view();
	if (nexthops_new(view, NULL, NULL, &bench.nexthops) < 0 ||
	    rib_table_new(view, NULL, bench.nexthops, NULL, &bench.rib) < 0)
		return EXIT_FAILURE;
	printf("{\"load4_s\": %.2f", load(&bench, 0, NLM_F_MULTI));
	print_memory(&bench);
	printf(", \"load6_s\": %.2f", load(&bench, 1, NLM_F_MULTI));
	print_memory(&bench);
	for (unsigned family = 0; family < 2; family++)
		measure_changes(&bench, family);
	measure_sync(&bench);
	measure_repaint(&bench);
	printf("}\n");
	rib_table_free(bench.rib);
	nexthops_free(bench.nexthops);
	world_reset();
	free(bench.routes[0]);
	free(bench.routes[1]);
	return EXIT_SUCCESS;
}
