/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The IPv6 table: the properties of fib_property.h, and its own limits. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/fib6.h"
#include "net/fib6_internal.h"
#include "tests/unit/fib_property.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

/* --- the table behind the common interface -----------------------------------------------------
 */

static void *table_new(const struct fib_pages *pages)
{
	struct fib6 *fib = NULL;
	int r = fib6_new(pages, FIB6_NODE_BYTES, &fib);

	assert_true(r == 0 || (r == -ENOMEM && !fib));
	return fib;
}

static void table_free(void *table)
{
	fib6_free(table);
}

static int table_add(void *table, struct ip6_addr addr, unsigned len, uint16_t nh)
{
	return fib6_add(table, &addr, len, nh);
}

static int table_delete(void *table, struct ip6_addr addr, unsigned len)
{
	return fib6_delete(table, &addr, len);
}

static uint16_t table_get(const void *table, struct ip6_addr addr, unsigned len)
{
	return fib6_get(table, &addr, len);
}

static void table_lookup(const void *table, const struct ip6_addr *dst, uint16_t *nh, unsigned n)
{
	fib6_lookup_burst(table, dst, nh, n);
}

static void table_begin_generation(void *table, uint64_t generation)
{
	fib6_begin_generation(table, generation);
}

static void table_reclaim(void *table, uint64_t oldest_generation_seen)
{
	fib6_reclaim(table, oldest_generation_seen);
}

static void table_stats(const void *table, struct fib_stats *ret_stats)
{
	fib6_stats(table, ret_stats);
}

static const uint8_t edge_lens[] = {0,  1,  16, 23, 24, 25, 31, 32,  33,  40,  44, 47,
				    48, 49, 56, 63, 64, 65, 96, 120, 121, 127, 128};

static const struct table_kind fib6_kind = {
	.name = "fib6",
	.max_len = 128,
	.lens = edge_lens,
	.n_lens = ARRAY_SIZE(edge_lens),
	.new = table_new,
	.free = table_free,
	.add = table_add,
	.delete = table_delete,
	.get = table_get,
	.lookup = table_lookup,
	.begin_generation = table_begin_generation,
	.reclaim = table_reclaim,
	.stats = table_stats,
};

/* --- tests -------------------------------------------------------------------------------------
 */

static void test_fib6_agrees_with_a_plain_oracle(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());
	void *table = table_new(&world_pages);
	size_t n = world_is_full() ? 10000000 : 200000 / WORLD_SLOWNESS, n_refused;

	property_agrees_with_oracle(&fib6_kind, table, &random, n, &n_refused);
	assert_int_equal(n_refused, 0);
	table_free(table);
}

/* The processor at hand may have chosen another one. */
static void test_fib6_agrees_with_a_plain_oracle_by_the_portable_lookup(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());
	struct fib6 *fib = table_new(&world_pages);
	size_t n_refused;

	fib->lookup = fib6_lookup_portable;
	property_agrees_with_oracle(&fib6_kind, fib, &random, 100000 / WORLD_SLOWNESS, &n_refused);
	assert_int_equal(n_refused, 0);
	fib6_free(fib);
}

/* Room for some 100 nodes and buckets: adds are refused now and then, deletes never. */
static void test_fib6_agrees_with_a_plain_oracle_when_it_is_full(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());
	size_t n = world_is_full() ? 1000000 : 200000, n_refused = 0;
	struct fib6 *fib;

	assert_int_equal(fib6_new(&world_pages, 8000, &fib), 0);
	property_agrees_with_oracle(&fib6_kind, fib, &random, n, &n_refused);
	assert_true(n_refused > 0);
	printf("fib6: %zu adds refused for want of nodes\n", n_refused);
	fib6_free(fib);
}

/*
 * The queue of retired pieces is full again and again, so that deletes must leave empty nodes and
 * buckets where they are: each reclaim must find them.
 */
static void test_fib6_agrees_with_a_plain_oracle_when_workers_stall(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());
	size_t n = (world_is_full() ? 1000000 : 200000) / WORLD_SLOWNESS, n_refused = 0;
	struct fib6 *fib = table_new(&world_pages);

	fib->limbo.capacity = 16;
	property_agrees_with_oracle(&fib6_kind, fib, &random, n, &n_refused);
	assert_true(n_refused > 0);
	printf("fib6: %zu adds refused until the next reclaim\n", n_refused);
	fib6_free(fib);
}

/*
 * The deletes fill the queue of retired pieces. The nodes that became empty after that were never
 * taken out, and a later cycle, in the order of other leftovers, took more memory.
 */
static void test_fib6_takes_out_what_it_could_not_retire(void **state)
{
	property_leaks_nothing(&fib6_kind, 7601872075218);
	property_leaks_nothing(&fib6_kind, 7599810651869);
}

static void test_fib6_leaks_nothing(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());

	property_leaks_nothing(&fib6_kind, random.state);
}

static void test_fib6_survives_no_memory(void **state)
{
	property_survives_no_memory(&fib6_kind);
}

static void test_fib6_refuses_nonsense(void **state)
{
	property_refuses_nonsense(&fib6_kind);
}

static void test_fib6_holds_under_readers(void **state)
{
	for (unsigned i = 0; i < (world_is_full() ? 50 : 3); i++)
		property_holds_under_readers(&fib6_kind, clock_now_ns(), 1000 / WORLD_SLOWNESS);
}

static void test_fib6_of_250000_prefixes_is_small_and_changes_quickly(void **state)
{
	enum { N = 250000 / WORLD_SLOWNESS };
	struct route *routes = routes_like_bgp6(1, N, 1000);
	struct fib6 *fib = table_new(&world_pages);
	struct fib_stats stats;

	for (size_t i = 0; i < N; i++) {
		assert_int_equal(fib6_add(fib, &routes[i].addr, routes[i].len, routes[i].nh), 0);
		if (i % 10000 == 0) {
			fib6_begin_generation(fib, i);
			fib6_reclaim(fib, i);
		}
	}
	fib6_stats(fib, &stats);
	printf("fib6: %zu prefixes: lookup %.1f MiB, control %.1f MiB, retired %.2f MiB\n",
	       stats.n_prefixes, (double)stats.lookup_bytes / 0x1p20,
	       (double)stats.control_bytes / 0x1p20, (double)stats.retired_bytes / 0x1p20);
	assert_int_equal(stats.n_prefixes, N);
	assert_true(stats.lookup_bytes + stats.control_bytes <= 64UL << 20);
	property_changes_are_quick(&fib6_kind, fib, routes, N);
	fib6_free(fib);
	free(routes);
}

/* With no worker seen, retired memory stops at its bound; adds are refused, deletes are not. */
static void test_fib6_bounds_what_is_retired(void **state)
{
	struct fib6 *fib = table_new(&world_pages);
	struct ip6_addr addr = {{0x20, 0x01, 0x0d, 0xb8}};
	struct fib_stats stats;
	uint16_t nh;
	unsigned n = 0;
	int r = 0;

	for (; r == 0; n++) {
		addr.octet[4] = (uint8_t)(n >> 8);
		addr.octet[5] = (uint8_t)n;
		r = fib6_add(fib, &addr, 48, 1);
	}
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(fib6_get(fib, &addr, 48), FIB_NO_ROUTE);
	fib6_stats(fib, &stats);
	assert_int_equal(stats.n_retired, stats.max_retired);
	assert_int_equal(stats.n_prefixes, n - 1);
	for (unsigned i = 0; i < n - 1; i++) {
		addr.octet[4] = (uint8_t)(i >> 8);
		addr.octet[5] = (uint8_t)i;
		fib6_lookup_burst(fib, &addr, &nh, 1);
		assert_int_equal(nh, 1);
		assert_int_equal(fib6_delete(fib, &addr, 48), 0);
		fib6_lookup_burst(fib, &addr, &nh, 1);
		assert_int_equal(nh, FIB_NO_ROUTE);
	}
	fib6_begin_generation(fib, 1);
	fib6_reclaim(fib, 1);
	fib6_begin_generation(fib, 2);
	fib6_reclaim(fib, 2);
	fib6_stats(fib, &stats);
	assert_int_equal(stats.retired_bytes, 0);
	assert_int_equal(stats.used_bytes, 0);
	assert_int_equal(fib6_add(fib, &addr, 48, 2), 0);
	fib6_lookup_burst(fib, &addr, &nh, 1);
	assert_int_equal(nh, 2);
	fib6_free(fib);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fib6_agrees_with_a_plain_oracle),
		cmocka_unit_test(test_fib6_agrees_with_a_plain_oracle_by_the_portable_lookup),
		cmocka_unit_test(test_fib6_agrees_with_a_plain_oracle_when_it_is_full),
		cmocka_unit_test(test_fib6_agrees_with_a_plain_oracle_when_workers_stall),
		cmocka_unit_test(test_fib6_takes_out_what_it_could_not_retire),
		cmocka_unit_test(test_fib6_leaks_nothing),
		cmocka_unit_test(test_fib6_survives_no_memory),
		cmocka_unit_test(test_fib6_refuses_nonsense),
		cmocka_unit_test(test_fib6_holds_under_readers),
		cmocka_unit_test(test_fib6_of_250000_prefixes_is_small_and_changes_quickly),
		cmocka_unit_test(test_fib6_bounds_what_is_retired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
