/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench_fib --family 4|6 [--routes N] [--destinations random|zipf] [--write PREFIX] | --smoke
 *
 * What a lookup in a table of N routes costs, and a change of it, as one line of JSON. With
 * --write, writes the same routes and addresses as PREFIX.routes and PREFIX.addresses in the format
 * of dpdk-test-fib instead. tools/bench fib runs both in turn.
 *
 * The measurement is that of dpdk-test-fib, to the instruction: bursts of 64 from an array of 2^20
 * addresses that is walked once, the TSC read behind a full barrier before and after each burst,
 * all differences summed. The cost of reading it is therefore in both figures (half a tick each).
 *
 * The addresses are in huge pages, as dpdk-test-fib's are.
 *
 * Destinations: `random` is a random address of a random route, as dpdk-test-fib itself draws them;
 * `zipf` are 65,536 such addresses, the k-th most frequent drawn with weight 1/k.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/fib4.h"
#include "net/fib6.h"
#include "tests/unit/fib_world.h"
#include "util/clock.h"
#include "util/macros.h"
#include "util/pages.h"

#define SEED        20240601
#define N_ADDRESSES (1U << 20)
#define N_FLOWS     65536U
#define N_NEXT_HOPS 1000
#define N_CHANGES   20000U

struct options {
	unsigned family;
	size_t n_routes;
	bool is_zipf;
	bool is_smoke;
	const char *write_prefix;
};

/* The two tables behind one interface, for what is not measured by the tick. */
struct table {
	struct fib4 *fib4;
	struct fib6 *fib6;
};

#if defined(__x86_64__)
/* rte_rdtsc_precise(): a full barrier, then the counter. */
static inline uint64_t ticks_now(void)
{
	uint32_t low, high;

	__asm__ volatile("lock addl $0, -128(%%rsp)\n\trdtsc"
			 : "=a"(low), "=d"(high)
			 :
			 : "memory", "cc");
	return (uint64_t)high << 32 | low;
}
#else
static inline uint64_t ticks_now(void)
{
	return clock_now_ns();
}
#endif

static double ticks_per_ns(void)
{
	uint64_t start_ns = clock_now_ns(), start = ticks_now(), now_ns;

	do {
		now_ns = clock_now_ns();
	} while (now_ns - start_ns < 20 * NSEC_PER_MSEC);
	return (double)(ticks_now() - start) / (double)(now_ns - start_ns);
}

static be32 word_of(const struct ip6_addr *addr)
{
	be32 word;

	memcpy(&word, addr->octet, sizeof(word));
	return word;
}

/* --- addresses ---------------------------------------------------------------------------------
 */

static void draw_random(struct ip6_addr *addrs, size_t n, const struct route *routes,
			size_t n_routes, struct random *random)
{
	for (size_t i = 0; i < n; i++)
		addrs[i] = route_address(&routes[random_below(random, (uint32_t)n_routes)], random);
}

static void draw_zipf(struct ip6_addr *addrs, size_t n, const struct route *routes, size_t n_routes,
		      struct random *random)
{
	static struct ip6_addr flows[N_FLOWS];
	static double sums[N_FLOWS]; /* of the weights of the more frequent ones, and of this */

	draw_random(flows, N_FLOWS, routes, n_routes, random);
	for (size_t k = 0; k < N_FLOWS; k++)
		sums[k] = (k ? sums[k - 1] : 0) + 1.0 / (double)(k + 1);
	for (size_t i = 0; i < n; i++) {
		double at = (double)(random_next(random) >> 11) * 0x1p-53 * sums[N_FLOWS - 1];
		size_t low = 0, high = N_FLOWS - 1;

		while (low < high) {
			size_t middle = (low + high) / 2;

			if (sums[middle] < at)
				low = middle + 1;
			else
				high = middle;
		}
		addrs[i] = flows[low];
	}
}

/* --- files for dpdk-test-fib -------------------------------------------------------------------
 */

static void print_addr(FILE *file, unsigned family, const struct ip6_addr *addr)
{
	char text[INET6_ADDRSTRLEN];

	assert(inet_ntop(family == 4 ? AF_INET : AF_INET6, addr->octet, text, sizeof(text)));
	(void)fputs(text, file);
}

static FILE *open_file(const char *prefix, const char *suffix)
{
	char path[4096];
	FILE *file;

	assert((size_t)snprintf(path, sizeof(path), "%s.%s", prefix, suffix) < sizeof(path));
	file = fopen(path, "we");
	if (!file) {
		fprintf(stderr, "bench_fib: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return file;
}

static void write_files(const struct options *options, const struct route *routes,
			const struct ip6_addr *addrs)
{
	_cleanup_fclose_ FILE *route_file = open_file(options->write_prefix, "routes");
	_cleanup_fclose_ FILE *addr_file = open_file(options->write_prefix, "addresses");

	for (size_t i = 0; i < options->n_routes; i++) {
		print_addr(route_file, options->family, &routes[i].addr);
		fprintf(route_file, "/%u %u\n", routes[i].len, routes[i].nh);
	}
	for (size_t i = 0; i < N_ADDRESSES; i++) {
		struct ip6_addr addr = addrs[i];

		/* dpdk-test-fib 22.11 forgets to convert IPv4 addresses that it reads from a
		 * file to host order (app/test-fib/main.c, parse_lookup): they are written the
		 * other way round, or it would look up addresses that have no route. */
		for (unsigned k = 0; k < 4 && options->family == 4; k++)
			addr.octet[k] = addrs[i].octet[3 - k];
		print_addr(addr_file, options->family, &addr);
		(void)fputc('\n', addr_file);
	}
}

/* --- measurement -------------------------------------------------------------------------------
 */

static double look_up4(const struct fib4 *fib, const struct ip6_addr *addrs, uint64_t *ret_sum)
{
	be32 *dst = pages_map(N_ADDRESSES * sizeof(*dst));
	uint64_t ticks = 0;

	assert(dst);
	for (size_t i = 0; i < N_ADDRESSES; i++)
		dst[i] = word_of(&addrs[i]);
	for (size_t i = 0; i < N_ADDRESSES; i += FIB_BURST) {
		uint16_t nh[FIB_BURST];
		uint64_t start = ticks_now();

		fib4_lookup_burst(fib, dst + i, nh, FIB_BURST);
		ticks += ticks_now() - start;
		for (unsigned k = 0; k < FIB_BURST; k++)
			*ret_sum += nh[k] != FIB_NO_ROUTE;
	}
	pages_unmap(dst, N_ADDRESSES * sizeof(*dst));
	return (double)ticks / N_ADDRESSES;
}

static double look_up6(const struct fib6 *fib, const struct ip6_addr *addrs, uint64_t *ret_sum)
{
	uint64_t ticks = 0;

	for (size_t i = 0; i < N_ADDRESSES; i += FIB_BURST) {
		uint16_t nh[FIB_BURST];
		uint64_t start = ticks_now();

		fib6_lookup_burst(fib, addrs + i, nh, FIB_BURST);
		ticks += ticks_now() - start;
		for (unsigned k = 0; k < FIB_BURST; k++)
			*ret_sum += nh[k] != FIB_NO_ROUTE;
	}
	return (double)ticks / N_ADDRESSES;
}

static double look_up(const struct table *table, const struct ip6_addr *addrs, uint64_t *ret_found)
{
	*ret_found = 0;
	return table->fib4 ? look_up4(table->fib4, addrs, ret_found) :
			     look_up6(table->fib6, addrs, ret_found);
}

static void add(struct table *table, const struct route *route)
{
	int r = table->fib4 ? fib4_add(table->fib4, word_of(&route->addr), route->len, route->nh) :
			      fib6_add(table->fib6, &route->addr, route->len, route->nh);

	assert(r == 0);
}

static void delete (struct table *table, const struct route *route)
{
	int r = table->fib4 ? fib4_delete(table->fib4, word_of(&route->addr), route->len) :
			      fib6_delete(table->fib6, &route->addr, route->len);

	assert(r == 0);
}

static void reclaim(struct table *table, uint64_t generation)
{
	if (table->fib4) {
		fib4_begin_generation(table->fib4, generation);
		fib4_reclaim(table->fib4, generation);
	} else {
		fib6_begin_generation(table->fib6, generation);
		fib6_reclaim(table->fib6, generation);
	}
}

/* Nanoseconds per change, of all routes or some. The generation passes every 1000 changes. */
static double fill(struct table *table, const struct route *routes, size_t n, uint64_t *generation)
{
	uint64_t start_ns = clock_now_ns();

	for (size_t i = 0; i < n; i++) {
		add(table, &routes[i]);
		if (i % 1000 == 0)
			reclaim(table, ++*generation);
	}
	return (double)(clock_now_ns() - start_ns) / (double)n;
}

static double withdraw(struct table *table, const struct route *routes, size_t n,
		       uint64_t *generation)
{
	uint64_t start_ns = clock_now_ns();

	for (size_t i = 0; i < n; i++) {
		delete (table, &routes[i]);
		if (i % 1000 == 0)
			reclaim(table, ++*generation);
	}
	return (double)(clock_now_ns() - start_ns) / (double)n;
}

static int measure(const struct options *options, const struct route *routes,
		   const struct ip6_addr *addrs)
{
	struct table table = {0};
	size_t n_changes = MIN(options->n_routes, (size_t)N_CHANGES);
	struct fib_stats stats;
	uint64_t n_found, generation = 0;
	double fill_ns, add_ns, delete_ns, ticks;

	assert((options->family == 4 ? fib4_new(&world_pages, &table.fib4) :
				       fib6_new(&world_pages, FIB6_NODE_BYTES, &table.fib6)) == 0);
	fill_ns = fill(&table, routes, options->n_routes, &generation);
	delete_ns = withdraw(&table, routes, n_changes, &generation);
	add_ns = fill(&table, routes, n_changes, &generation);
	ticks = look_up(&table, addrs, &n_found);
	if (table.fib4)
		fib4_stats(table.fib4, &stats);
	else
		fib6_stats(table.fib6, &stats);
	printf("{\"family\": %u, \"routes\": %zu, \"ticks\": %.3f, \"ticks_per_ns\": %.4f, "
	       "\"fill_ns\": %.1f, \"add_ns\": %.1f, \"delete_ns\": %.1f, "
	       "\"lookup_bytes\": %zu, \"control_bytes\": %zu, \"cpu\": %d}\n",
	       options->family, options->n_routes, ticks, ticks_per_ns(), fill_ns, add_ns,
	       delete_ns, stats.lookup_bytes, stats.control_bytes, sched_getcpu());
	fib4_free(table.fib4);
	fib6_free(table.fib6);
	/* each address lies within a route */
	return n_found == N_ADDRESSES ? 0 : 1;
}

static int run(const struct options *options)
{
	struct random random = {SEED + options->n_routes};
	struct route *routes = options->family == 4 ?
				       routes_like_bgp4(SEED, options->n_routes, N_NEXT_HOPS) :
				       routes_like_bgp6(SEED, options->n_routes, N_NEXT_HOPS);
	struct ip6_addr *addrs = pages_map(N_ADDRESSES * sizeof(*addrs));
	int r = 0;

	assert(addrs);
	if (options->is_zipf)
		draw_zipf(addrs, N_ADDRESSES, routes, options->n_routes, &random);
	else
		draw_random(addrs, N_ADDRESSES, routes, options->n_routes, &random);
	if (options->write_prefix)
		write_files(options, routes, addrs);
	else
		r = measure(options, routes, addrs);
	pages_unmap(addrs, N_ADDRESSES * sizeof(*addrs));
	free(routes);
	return r;
}

static bool parse_option(struct options *options, const char *name, const char *value)
{
	char *end = NULL;

	if (strcmp(name, "--family") == 0)
		options->family = strcmp(value, "4") == 0 ? 4 : strcmp(value, "6") == 0 ? 6 : 0;
	else if (strcmp(name, "--routes") == 0)
		options->n_routes = strtoul(value, &end, 10);
	else if (strcmp(name, "--destinations") == 0 && strcmp(value, "random") == 0)
		options->is_zipf = false;
	else if (strcmp(name, "--destinations") == 0 && strcmp(value, "zipf") == 0)
		options->is_zipf = true;
	else if (strcmp(name, "--write") == 0)
		options->write_prefix = value;
	else
		return false;
	return !end || *end == '\0';
}

int main(int argc, char **argv)
{
	struct options options = {.n_routes = 100000};
	bool ok = true;

	for (int i = 1; i < argc && ok; i++) {
		if (strcmp(argv[i], "--smoke") == 0)
			options.is_smoke = true;
		else if (i + 1 < argc)
			ok = parse_option(&options, argv[i], argv[i + 1]), i++;
		else
			ok = false;
	}
	if (options.is_smoke) {
		options = (struct options){.family = 4, .n_routes = 1000};
		if (run(&options) != 0)
			return 1;
		options = (struct options){.family = 6, .n_routes = 1000, .is_zipf = true};
		return run(&options);
	}
	if (!ok || options.family == 0 || options.n_routes == 0 || options.n_routes > 4000000) {
		fprintf(stderr, "usage: bench_fib --family 4|6 [--routes N] "
				"[--destinations random|zipf] [--write PREFIX] | --smoke\n");
		return 64;
	}
	return run(&options);
}
