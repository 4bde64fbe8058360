/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The property tests of both forwarding tables. The readers' part runs threads of its own. */
#include "tests/unit/fib_property.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

#define N_BASES   4
#define MAX_BURST 150
#define MAX_TABLE 200

/* --- random tables -----------------------------------------------------------------------------
 */

struct playground {
	const struct table_kind *kind;
	void *table;
	struct random *random;
	struct ip6_addr bases[N_BASES];
	struct oracle *oracle;
	uint64_t generation;
	size_t n_refused;
};

static struct ip6_addr random_addr(struct random *random)
{
	uint64_t words[2] = {random_next(random), random_next(random)};
	struct ip6_addr addr;

	memcpy(addr.octet, words, sizeof(words));
	return addr;
}

/* Few addresses, of which some bits differ: prefixes that overlap and lie side by side. */
static struct ip6_addr draw_near_base(struct playground *play)
{
	struct ip6_addr addr = play->bases[random_below(play->random, N_BASES)];

	for (unsigned n = random_below(play->random, 3); n > 0; n--) {
		unsigned bit = random_below(play->random, play->kind->max_len);

		addr.octet[bit / 8] ^= (uint8_t)(0x80 >> (bit % 8));
	}
	return addr;
}

static unsigned draw_len(struct playground *play)
{
	const struct table_kind *kind = play->kind;

	if (random_below(play->random, 2))
		return kind->lens[random_below(play->random, (uint32_t)kind->n_lens)];
	return random_below(play->random, kind->max_len + 1);
}

static const struct route *draw_route(struct playground *play)
{
	uint32_t i = random_below(play->random, (uint32_t)play->oracle->n);

	return &play->oracle->routes[i].route;
}

/* The first and the last address of a prefix, and the ones beside them. */
static struct ip6_addr draw_edge(struct playground *play, const struct route *route)
{
	struct ip6_addr addr = route->addr;
	unsigned which = random_below(play->random, 4);
	bool is_last = which & 1;

	for (unsigned bit = route->len; bit < play->kind->max_len && is_last; bit++)
		addr.octet[bit / 8] |= (uint8_t)(0x80 >> (bit % 8));
	for (unsigned i = play->kind->max_len / 8; i-- > 0 && which >= 2;) {
		addr.octet[i] = (uint8_t)(addr.octet[i] + (is_last ? 1 : -1));
		if (addr.octet[i] != (is_last ? 0 : UINT8_MAX))
			break; /* no carry */
	}
	return addr;
}

static struct ip6_addr draw_destination(struct playground *play)
{
	switch (random_below(play->random, 4)) {
	case 0:
		return random_addr(play->random);
	case 1:
		return draw_near_base(play);
	default:
		return play->oracle->n ? draw_edge(play, draw_route(play)) : draw_near_base(play);
	}
}

static size_t compare_burst(struct playground *play)
{
	struct ip6_addr dst[MAX_BURST];
	uint16_t nh[MAX_BURST];
	unsigned n = 1 + random_below(play->random, MAX_BURST);

	for (unsigned i = 0; i < n; i++)
		dst[i] = draw_destination(play);
	play->kind->lookup(play->table, dst, nh, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(nh[i], oracle_lookup(play->oracle, &dst[i]));
	return n;
}

static void play_add(struct playground *play)
{
	struct route route = {
		.len = (uint8_t)draw_len(play),
		.nh = (uint16_t)(1 + random_below(play->random, FIB_NH_MAX)),
	};
	int r;

	route.addr = prefix_of(draw_near_base(play), route.len);
	if (play->oracle->n > 0 && random_below(play->random, 4) == 0) {
		route.addr = draw_route(play)->addr; /* a replacement, or the same address … */
		if (random_below(play->random, 2))   /* … with another length */
			route.addr = prefix_of(route.addr, route.len);
		else
			route.len = draw_route(play)->len,
			route.addr = prefix_of(route.addr, route.len);
	}
	r = play->kind->add(play->table, route.addr, route.len, route.nh);
	if (r == 0) {
		oracle_add(play->oracle, &route);
	} else {
		assert_true(r == -ENOSPC || r == -EAGAIN);
		play->n_refused++;
	}
}

static void play_delete(struct playground *play)
{
	struct route route = *draw_route(play);

	if (random_below(play->random, 4) == 0) {
		route.len = (uint8_t)draw_len(play);
		route.addr = prefix_of(draw_near_base(play), route.len);
	}
	assert_int_equal(play->kind->delete (play->table, route.addr, route.len),
			 oracle_delete(play->oracle, route.addr, route.len) ? 0 : -ENOENT);
}

static void play_reclaim(struct playground *play)
{
	struct fib_stats stats;

	play->kind->begin_generation(play->table, ++play->generation);
	play->kind->reclaim(play->table, play->generation);
	play->kind->stats(play->table, &stats);
	assert_int_equal(stats.n_prefixes, play->oracle->n);
}

/* With every worker seen up to date: twice, because a reclaim may retire what had no room before.
 */
static void settle(const struct table_kind *kind, void *table, uint64_t *generation)
{
	struct fib_stats stats;
	unsigned n = 0;

	do {
		kind->begin_generation(table, ++*generation);
		kind->reclaim(table, *generation);
		kind->stats(table, &stats);
	} while (stats.n_retired > 0 && ++n < 2000);
	assert_int_equal(stats.retired_bytes, 0);
}

static void play_once(struct playground *play)
{
	struct route probe = {.len = (uint8_t)draw_len(play)};

	/* up to MAX_TABLE and down again, so that nodes and groups come and go */
	if (play->oracle->n == 0 ||
	    (play->oracle->n < MAX_TABLE && random_below(play->random, 100) < 52))
		play_add(play);
	else
		play_delete(play);
	if (random_below(play->random, 16) == 0)
		play_reclaim(play);
	probe.addr = prefix_of(draw_near_base(play), probe.len);
	assert_int_equal(play->kind->get(play->table, probe.addr, probe.len),
			 oracle_get(play->oracle, probe.addr, probe.len));
}

void property_agrees_with_oracle(const struct table_kind *kind, void *table, struct random *random,
				 size_t n_comparisons, size_t *ret_n_refused)
{
	struct playground play = {.kind = kind, .table = table, .random = random};
	struct fib_stats stats;

	play.oracle = calloc(1, sizeof(*play.oracle));
	assert_non_null(play.oracle);
	for (size_t n = 0, n_turns = 0; n < n_comparisons; n_turns++) {
		/* fresh addresses now and then */
		if (n_turns % 500 == 0)
			play.bases[n_turns / 500 % N_BASES] = random_addr(random);
		if (n_turns == 0)
			for (unsigned i = 1; i < N_BASES; i++)
				play.bases[i] = random_addr(random);
		play_once(&play);
		n += compare_burst(&play);
	}
	while (play.oracle->n > 0) {
		const struct route route = *draw_route(&play);

		assert_int_equal(kind->delete (table, route.addr, route.len), 0);
		(void)oracle_delete(play.oracle, route.addr, route.len);
		(void)compare_burst(&play);
	}
	settle(kind, table, &play.generation);
	kind->stats(table, &stats);
	assert_int_equal(stats.n_prefixes, 0);
	assert_int_equal(stats.used_bytes, 0);
	*ret_n_refused = play.n_refused;
	free(play.oracle);
}

/* --- memory ------------------------------------------------------------------------------------
 */

void property_leaks_nothing(const struct table_kind *kind, uint64_t seed)
{
	enum { N = 3000, CYCLES = 30 };
	struct random random = {seed};
	struct route *routes = calloc(N, sizeof(*routes));
	void *table = kind->new (&world_pages);
	struct fib_stats first = {0}, stats;
	uint64_t generation = 0;

	assert_non_null(table);
	assert_non_null(routes);
	for (size_t i = 0; i < N; i++) {
		routes[i].len = (uint8_t)(17 + random_below(&random, kind->max_len - 16));
		routes[i].addr = prefix_of(random_addr(&random), routes[i].len);
		routes[i].addr.octet[0] = 0; /* side by side, in a few nodes */
		routes[i].addr.octet[1] = 0;
	}
	for (unsigned cycle = 1; cycle <= CYCLES; cycle++) {
		for (size_t i = 0; i < N; i++)
			assert_int_equal(kind->add(table, routes[i].addr, routes[i].len, 7), 0);
		for (size_t i = N; i-- > 0;)
			(void)kind->delete (table, routes[i].addr, routes[i].len);
		settle(kind, table, &generation);
		kind->stats(table, &stats);
		assert_int_equal(stats.n_prefixes, 0);
		assert_int_equal(stats.used_bytes, 0);
		if (cycle == 1)
			first = stats;
		assert_int_equal(stats.lookup_bytes, first.lookup_bytes);
		assert_int_equal(stats.control_bytes, first.control_bytes);
	}
	kind->free(table);
	free(routes);
}

void property_survives_no_memory(const struct table_kind *kind)
{
	const struct ip6_addr any = {0};
	void *table;

	for (world_pages_left = 0;; world_pages_left++) {
		int n = world_pages_left;

		table = kind->new (&world_scarce_pages);
		if (table)
			break;
		assert_int_equal(world_pages_mapped, 0);
		world_pages_left = n;
	}
	assert_int_equal(world_pages_left, 0);
	world_callocs_left = 0;
	assert_int_equal(kind->add(table, any, 5, 1), -ENOMEM);
	assert_int_equal(kind->get(table, any, 5), FIB_NO_ROUTE);
	assert_int_equal(kind->add(table, any, 5, 1), 0);
	kind->free(table);
	assert_int_equal(world_pages_mapped, 0);

	world_pages_left = -1;
	world_callocs_left = 0; /* of the queue of retired pieces */
	assert_null(kind->new (&world_scarce_pages));
	assert_int_equal(world_pages_mapped, 0);
}

void property_refuses_nonsense(const struct table_kind *kind)
{
	const struct ip6_addr zero = {0}, one = {{1}};
	void *table = kind->new (&world_pages);

	assert_non_null(table);
	assert_int_equal(kind->add(table, zero, kind->max_len + 1, 1), -EINVAL);
	assert_int_equal(kind->add(table, zero, 8, FIB_NO_ROUTE), -EINVAL);
	assert_int_equal(kind->add(table, zero, 8, FIB_NH_MAX + 1), -EINVAL);
	assert_int_equal(kind->add(table, one, 7, 1), -EINVAL);
	assert_int_equal(kind->add(table, one, 0, 1), -EINVAL);
	assert_int_equal(kind->add(table, one, 8, FIB_NH_MAX), 0);
	assert_int_equal(kind->delete (table, one, 7), -EINVAL);
	assert_int_equal(kind->delete (table, zero, kind->max_len + 1), -EINVAL);
	assert_int_equal(kind->delete (table, zero, 8), -ENOENT);
	assert_int_equal(kind->delete (table, one, 9), -ENOENT);
	assert_int_equal(kind->delete (table, one, 8), 0);
	assert_int_equal(kind->delete (table, one, 8), -ENOENT);
	kind->free(table);
}

/* --- time --------------------------------------------------------------------------------------
 */

#define CHANGE_GOAL_NS (10 * NSEC_PER_MSEC)
#define CHANGES_PER_S  10000
#define MISSED_GOAL    10

static uint64_t time_add(const struct table_kind *kind, void *table, unsigned len)
{
	const struct ip6_addr where = prefix_of((struct ip6_addr){{0x2a, 0x40}}, len);
	uint64_t start_ns = clock_now_ns();

	assert_int_equal(kind->add(table, where, len, 9), 0);
	return clock_now_ns() - start_ns;
}

static uint64_t time_delete(const struct table_kind *kind, void *table, unsigned len)
{
	const struct ip6_addr where = prefix_of((struct ip6_addr){{0x2a, 0x40}}, len);
	uint64_t start_ns = clock_now_ns();

	assert_int_equal(kind->delete (table, where, len), 0);
	return clock_now_ns() - start_ns;
}

void property_changes_are_quick(const struct table_kind *kind, void *table,
				const struct route *routes, size_t n_routes)
{
	uint64_t start_ns, ns;
	size_t n = MIN(n_routes, (size_t)20000);

	for (unsigned len = 0; len <= 32; len += len < 4 ? 1 : 4) {
		const struct ip6_addr where = prefix_of((struct ip6_addr){{0x2a, 0x40}}, len);
		uint64_t add_ns, delete_ns;

		if (kind->get(table, where, len) != FIB_NO_ROUTE)
			continue;
		add_ns = time_add(kind, table, len);
		delete_ns = time_delete(kind, table, len);
		printf("%s: /%u: add %.3f ms, delete %.3f ms (goal 10)\n", kind->name, len,
		       (double)add_ns / 1e6, (double)delete_ns / 1e6);
		assert_true(MAX(add_ns, delete_ns) < MISSED_GOAL * CHANGE_GOAL_NS);
	}
	start_ns = clock_now_ns();
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(kind->delete (table, routes[i].addr, routes[i].len), 0);
		assert_int_equal(kind->add(table, routes[i].addr, routes[i].len, 3), 0);
		if (i % 1000 == 0) {
			kind->begin_generation(table, n_routes + i + 1);
			kind->reclaim(table, n_routes + i + 1);
		}
	}
	ns = clock_now_ns() - start_ns;
	printf("%s: %.0f changes per second (goal %d)\n", kind->name,
	       2 * (double)n * 1e9 / (double)ns, CHANGES_PER_S);
	assert_true(2 * n * NSEC_PER_SEC / ns > CHANGES_PER_S / MISSED_GOAL);
}

/* --- readers -----------------------------------------------------------------------------------
 */

#define N_READERS  2
#define N_PREFIXES 24
#define N_ADDRS    64

/*
 * Prefix i has next hops i + N_PREFIXES × version, so that a result tells where it comes from. One
 * address is covered at all times by one of two prefixes; for another only the version changes.
 */
struct storm {
	const struct table_kind *kind;
	void *table;
	struct route prefixes[N_PREFIXES];
	struct ip6_addr addrs[N_ADDRS];
	uint32_t around[N_ADDRS]; /* which prefixes are around an address, one bit each */
	_Atomic uint64_t generation;
	_Atomic bool stop;
	struct storm_reader {
		struct storm *storm;
		pthread_t thread;
		_Atomic uint64_t seen;
		_Atomic uint64_t n_bursts;
		_Atomic uint64_t n_wrong; /* next hop of a prefix that is not around */
		_Atomic uint64_t n_lost;  /* no route where there always is one */
		_Atomic uint64_t n_older; /* version went back */
	} readers[N_READERS];
};

#define ALWAYS_ADDR  0 /* covered by prefix 0 or 1 */
#define VERSION_ADDR 1 /* by prefix 2 alone */
#define N_FIXED      3 /* prefixes that only their own cases change */

static void check_burst(struct storm_reader *reader, const uint16_t *nh, uint16_t *newest)
{
	const struct storm *storm = reader->storm;

	for (unsigned i = 0; i < N_ADDRS; i++) {
		if (nh[i] != FIB_NO_ROUTE && !(storm->around[i] >> (nh[i] % N_PREFIXES) & 1))
			atomic_fetch_add(&reader->n_wrong, 1);
	}
	if (nh[ALWAYS_ADDR] == FIB_NO_ROUTE)
		atomic_fetch_add(&reader->n_lost, 1);
	if (nh[VERSION_ADDR] < *newest)
		atomic_fetch_add(&reader->n_older, 1);
	*newest = nh[VERSION_ADDR];
}

static void *read_storm(void *arg)
{
	struct storm_reader *reader = arg;
	struct storm *storm = reader->storm;
	uint16_t nh[N_ADDRS], newest = 0;

	while (!atomic_load_explicit(&storm->stop, memory_order_acquire)) {
		atomic_store_explicit(
			&reader->seen,
			atomic_load_explicit(&storm->generation, memory_order_acquire),
			memory_order_release);
		storm->kind->lookup(storm->table, storm->addrs, nh, N_ADDRS);
		check_burst(reader, nh, &newest);
		atomic_fetch_add_explicit(&reader->n_bursts, 1, memory_order_relaxed);
	}
	return NULL;
}

static bool is_around(const struct route *prefix, struct ip6_addr addr)
{
	addr = prefix_of(addr, prefix->len);
	return memcmp(addr.octet, prefix->addr.octet, sizeof(addr.octet)) == 0;
}

static void set_up_storm(struct storm *storm, struct random *random)
{
	const unsigned max = storm->kind->max_len;
	/* by prefix: short and long around ALWAYS_ADDR, then the one of VERSION_ADDR */
	const uint8_t fixed[N_FIXED] = {0, (uint8_t)(max - 5), (uint8_t)(max - 1)};

	for (unsigned i = 0; i < N_ADDRS; i++) {
		storm->addrs[i] = random_addr(random);
		storm->addrs[i].octet[0] = (uint8_t)(i == VERSION_ADDR ? 0xe0 : i % 4);
	}
	for (unsigned i = 0; i < N_PREFIXES; i++) {
		struct route *prefix = &storm->prefixes[i];
		const struct ip6_addr *addr =
			&storm->addrs[i == 2 ? VERSION_ADDR :
				      i < 2  ? ALWAYS_ADDR :
					       2 + random_below(random, N_ADDRS - 2)];

		prefix->len = i < N_FIXED ? fixed[i] : (uint8_t)(8 + random_below(random, max - 7));
		prefix->addr = prefix_of(*addr, prefix->len);
	}
	for (unsigned i = 0; i < N_ADDRS; i++) {
		for (unsigned p = 0; p < N_PREFIXES; p++)
			storm->around[i] |=
				(uint32_t)is_around(&storm->prefixes[p], storm->addrs[i]) << p;
	}
}

static void storm_add(struct storm *storm, unsigned i, unsigned version)
{
	const struct route *prefix = &storm->prefixes[i];
	int r;

	do {
		uint64_t oldest = atomic_load(&storm->generation);

		r = storm->kind->add(storm->table, prefix->addr, prefix->len,
				     (uint16_t)(i + N_PREFIXES * (1 + version)));
		assert_true(r == 0 || r == -EAGAIN);
		for (unsigned k = 0; k < N_READERS; k++)
			oldest = MIN(oldest, atomic_load_explicit(&storm->readers[k].seen,
								  memory_order_acquire));
		storm->kind->reclaim(storm->table, oldest);
	} while (r != 0);
}

static void storm_delete(struct storm *storm, unsigned i)
{
	int r = storm->kind->delete (storm->table, storm->prefixes[i].addr, storm->prefixes[i].len);

	assert_true(r == 0 || r == -ENOENT);
}

static void storm_round(struct storm *storm, struct random *random, unsigned round)
{
	uint64_t next = atomic_load_explicit(&storm->generation, memory_order_relaxed) + 1;

	/* make before break, both ways */
	storm_add(storm, 1, 0);
	storm_delete(storm, 0);
	storm_add(storm, 0, 0);
	storm_delete(storm, 1);
	storm_add(storm, 2, 1 + round);
	for (unsigned n = 0; n < 8; n++) {
		unsigned i = N_FIXED + random_below(random, N_PREFIXES - N_FIXED);

		if (random_below(random, 2))
			storm_add(storm, i, random_below(random, 3));
		else
			storm_delete(storm, i);
	}
	storm->kind->begin_generation(storm->table, next);
	atomic_store_explicit(&storm->generation, next, memory_order_release);
}

void property_holds_under_readers(const struct table_kind *kind, uint64_t seed, unsigned n_rounds)
{
	struct random random = random_seeded(__func__, seed);
	struct storm *storm = calloc(1, sizeof(*storm));
	uint64_t deadline_ns = clock_now_ns() + 20 * NSEC_PER_SEC;

	assert_non_null(storm);
	assert_true(N_PREFIXES * (n_rounds + 3) <= FIB_NH_MAX);
	storm->kind = kind;
	storm->table = kind->new (&world_pages);
	assert_non_null(storm->table);
	set_up_storm(storm, &random);
	storm_add(storm, 0, 0);
	storm_add(storm, 2, 0);
	for (unsigned k = 0; k < N_READERS; k++) {
		storm->readers[k].storm = storm;
		assert_int_equal(pthread_create(&storm->readers[k].thread, NULL, read_storm,
						&storm->readers[k]),
				 0);
	}
	for (unsigned round = 0; round < n_rounds; round++)
		storm_round(storm, &random, round);
	/* A reader that was never scheduled has proved nothing. */
	for (unsigned k = 0; k < N_READERS; k++) {
		while (atomic_load(&storm->readers[k].n_bursts) < 1000 &&
		       clock_now_ns() < deadline_ns)
			storm_round(storm, &random, n_rounds);
	}
	atomic_store_explicit(&storm->stop, true, memory_order_release);
	for (unsigned k = 0; k < N_READERS; k++) {
		struct storm_reader *reader = &storm->readers[k];

		assert_int_equal(pthread_join(reader->thread, NULL), 0);
		printf("%s: reader %u: %llu bursts\n", kind->name, k,
		       (unsigned long long)reader->n_bursts);
		assert_true(reader->n_bursts >= 1000);
		assert_int_equal(reader->n_wrong, 0);
		assert_int_equal(reader->n_lost, 0);
		assert_int_equal(reader->n_older, 0);
	}
	kind->free(storm->table);
	free(storm);
}
