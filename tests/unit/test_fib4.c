/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The IPv4 table: the properties of fib_property.h, and its own limits. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/fib4.h"
#include "tests/unit/fib_property.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

/* --- the table behind the common interface -----------------------------------------------------
 */

static be32 word_of(struct ip6_addr addr)
{
	be32 word;

	memcpy(&word, addr.octet, sizeof(word));
	return word;
}

static void *table_new(const struct fib_pages *pages)
{
	struct fib4 *fib = NULL;
	int r = fib4_new(pages, &fib);

	assert_true(r == 0 || (r == -ENOMEM && !fib));
	return fib;
}

static void table_free(void *table)
{
	fib4_free(table);
}

static int table_add(void *table, struct ip6_addr addr, unsigned len, uint16_t nh)
{
	return fib4_add(table, word_of(addr), len, nh);
}

static int table_delete(void *table, struct ip6_addr addr, unsigned len)
{
	return fib4_delete(table, word_of(addr), len);
}

static uint16_t table_get(const void *table, struct ip6_addr addr, unsigned len)
{
	return fib4_get(table, word_of(addr), len);
}

static void table_lookup(const void *table, const struct ip6_addr *dst, uint16_t *nh, unsigned n)
{
	be32 words[256];

	assert_true(n <= ARRAY_SIZE(words));
	for (unsigned i = 0; i < n; i++)
		words[i] = word_of(dst[i]);
	fib4_lookup_burst(table, words, nh, n);
}

static void table_begin_generation(void *table, uint64_t generation)
{
	fib4_begin_generation(table, generation);
}

static void table_reclaim(void *table, uint64_t oldest_generation_seen)
{
	fib4_reclaim(table, oldest_generation_seen);
}

static void table_stats(const void *table, struct fib_stats *ret_stats)
{
	fib4_stats(table, ret_stats);
}

static const uint8_t edge_lens[] = {0, 1, 8, 16, 23, 24, 25, 26, 30, 31, 32};

static const struct table_kind fib4_kind = {
	.name = "fib4",
	.max_len = 32,
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

static void test_fib4_agrees_with_a_plain_oracle(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());
	void *table = table_new(&world_pages);
	size_t n = world_is_full() ? 10000000 : 200000 / WORLD_SLOWNESS, n_refused;

	property_agrees_with_oracle(&fib4_kind, table, &random, n, &n_refused);
	assert_int_equal(n_refused, 0);
	table_free(table);
}

static void test_fib4_leaks_nothing(void **state)
{
	struct random random = random_seeded(__func__, clock_now_ns());

	property_leaks_nothing(&fib4_kind, random.state);
}

static void test_fib4_survives_no_memory(void **state)
{
	property_survives_no_memory(&fib4_kind);
}

static void test_fib4_refuses_nonsense(void **state)
{
	property_refuses_nonsense(&fib4_kind);
}

static void test_fib4_holds_under_readers(void **state)
{
	for (unsigned i = 0; i < (world_is_full() ? 50 : 3); i++)
		property_holds_under_readers(&fib4_kind, clock_now_ns(), 1000 / WORLD_SLOWNESS);
}

/* Bytes of this process that are in memory. */
static size_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long size, resident;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
	assert_int_equal(fclose(file), 0);
	return resident * 4096;
}

static void test_fib4_of_a_million_prefixes_fits_in_64_mib_and_changes_quickly(void **state)
{
	enum { N = 1000000 / WORLD_SLOWNESS };
	struct route *routes = routes_like_bgp4(1, N, 1000);
	size_t before = resident_bytes(), resident;
	struct fib4 *fib = table_new(&world_pages);
	struct fib_stats stats;

	for (size_t i = 0; i < N; i++)
		assert_int_equal(
			fib4_add(fib, word_of(routes[i].addr), routes[i].len, routes[i].nh), 0);
	resident = resident_bytes() - before;
	fib4_stats(fib, &stats);
	printf("fib4: %zu prefixes: lookup %.1f MiB, control %.1f MiB; resident %.1f MiB\n",
	       stats.n_prefixes, (double)stats.lookup_bytes / 0x1p20,
	       (double)stats.control_bytes / 0x1p20, (double)resident / 0x1p20);
	assert_int_equal(stats.n_prefixes, N);
	assert_true(stats.lookup_bytes + stats.control_bytes <= 64UL << 20);
	assert_true(!WORLD_HAS_OWN_MEMORY || resident <= 64UL << 20);
	property_changes_are_quick(&fib4_kind, fib, routes, N);
	fib4_free(fib);
	free(routes);
}

/* As many /24s with a longer prefix as there are groups, then one more. */
static void fill_groups(struct fib4 *fib)
{
	for (uint32_t i = 0; i < FIB4_GROUPS; i++)
		assert_int_equal(fib4_add(fib, htobe32(i << 8), 25, 5), 0);
	assert_int_equal(fib4_add(fib, htobe32(FIB4_GROUPS << 8), 25, 5), -ENOSPC);
}

static void test_fib4_without_groups_is_unchanged_and_recovers(void **state)
{
	struct fib4 *fib = table_new(&world_pages);
	be32 dst = htobe32(FIB4_GROUPS << 8);
	struct fib_stats stats;
	uint16_t nh;

	fill_groups(fib);
	assert_int_equal(fib4_get(fib, dst, 25), FIB_NO_ROUTE);
	fib4_lookup_burst(fib, &dst, &nh, 1);
	assert_int_equal(nh, FIB_NO_ROUTE);
	fib4_stats(fib, &stats);
	assert_int_equal(stats.n_prefixes, FIB4_GROUPS);
	/* in a group that is there, in a plain slot, and above all: still possible */
	assert_int_equal(fib4_add(fib, htobe32(7 << 8), 32, 6), 0);
	assert_int_equal(fib4_add(fib, dst, 24, 7), 0);
	assert_int_equal(fib4_add(fib, 0, 1, 8), 0);
	fib4_lookup_burst(fib, &dst, &nh, 1);
	assert_int_equal(nh, 7);

	/* a group is free when its generation is over, and not before */
	fib4_begin_generation(fib, 1);
	assert_int_equal(fib4_delete(fib, htobe32(9 << 8), 25), 0);
	assert_int_equal(fib4_add(fib, dst, 25, 5), -EAGAIN);
	fib4_reclaim(fib, 1);
	assert_int_equal(fib4_add(fib, dst, 25, 5), -EAGAIN);
	fib4_reclaim(fib, 2);
	assert_int_equal(fib4_add(fib, dst, 25, 5), 0);
	fib4_lookup_burst(fib, &dst, &nh, 1);
	assert_int_equal(nh, 5);
	dst = htobe32(9 << 8);
	fib4_lookup_burst(fib, &dst, &nh, 1);
	assert_int_equal(nh, 8);
	fib4_free(fib);
}

static void test_fib4_deletes_while_nothing_can_be_retired(void **state)
{
	struct fib4 *fib = table_new(&world_pages);
	struct fib_stats stats;

	fill_groups(fib);
	assert_int_equal(fib4_add(fib, 0, 0, 3), 0);
	for (uint32_t i = 0; i < FIB4_GROUPS; i++) {
		be32 dst = htobe32(i << 8);
		uint16_t nh;

		assert_int_equal(fib4_delete(fib, dst, 25), 0);
		fib4_lookup_burst(fib, &dst, &nh, 1);
		assert_int_equal(nh, 3);
	}
	fib4_stats(fib, &stats);
	assert_int_equal(stats.n_retired, stats.max_retired);
	/* bounded, and all of them come back in the end */
	for (uint64_t generation = 1; stats.n_retired > 0; generation++) {
		assert_true(generation <= 1 + FIB4_GROUPS / FIB4_MAX_RETIRED);
		fib4_begin_generation(fib, generation);
		fib4_reclaim(fib, generation);
		fib4_stats(fib, &stats);
		assert_true(stats.n_retired <= stats.max_retired);
	}
	fill_groups(fib);
	fib4_free(fib);
}

/* Of each /24 what any of its addresses says, short prefixes and longer ones included. */
static void test_fib4_marks_slots_by_what_their_addresses_lead_to(void **state)
{
	enum { N_SLOTS = 64 };
	static uint8_t by_nh[FIB_NH_MAX + 1], marks[N_SLOTS];
	struct random random = random_seeded(__func__, clock_now_ns());
	struct fib4 *fib = table_new(&world_pages);

	for (unsigned nh = 1; nh <= 3; nh++)
		by_nh[nh] = (uint8_t)(1U << nh);
	for (unsigned i = 0; i < 400; i++) {
		unsigned len = random_below(&random, 8) ? 22 + random_below(&random, 11) :
							  random_below(&random, 22);
		struct ip6_addr addr = {.octet = {10, 0, (uint8_t)random_below(&random, N_SLOTS),
						  (uint8_t)random_next(&random)}};

		addr = prefix_of(addr, len);
		if (random_below(&random, 3))
			assert_int_equal(
				table_add(fib, addr, len, (uint16_t)(1 + random_below(&random, 4))),
				0);
		else
			(void)table_delete(fib, addr, len);
		fib4_mark_slots(fib, 10U << 16, N_SLOTS, by_nh, marks);
		for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
			be32 dst[256];
			uint16_t nh[256];
			uint8_t want = 0;

			for (uint32_t host = 0; host < 256; host++)
				dst[host] = htobe32(10U << 24 | slot << 8 | host);
			fib4_lookup_burst(fib, dst, nh, 256);
			for (uint32_t host = 0; host < 256; host++)
				want |= by_nh[nh[host]];
			assert_int_equal(marks[slot], want);
		}
	}
	table_free(fib);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: what other tests have freed would hide what this one takes */
		cmocka_unit_test(
			test_fib4_of_a_million_prefixes_fits_in_64_mib_and_changes_quickly),
		cmocka_unit_test(test_fib4_agrees_with_a_plain_oracle),
		cmocka_unit_test(test_fib4_leaks_nothing),
		cmocka_unit_test(test_fib4_survives_no_memory),
		cmocka_unit_test(test_fib4_refuses_nonsense),
		cmocka_unit_test(test_fib4_holds_under_readers),
		cmocka_unit_test(test_fib4_without_groups_is_unchanged_and_recovers),
		cmocka_unit_test(test_fib4_deletes_while_nothing_can_be_retired),
		cmocka_unit_test(test_fib4_marks_slots_by_what_their_addresses_lead_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
