/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Even shares, by weight; little moves; the same members make the same table. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/maglev.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

#define SIZE      65537
#define N_MEMBERS 100

static uint16_t table[SIZE], other[SIZE];

/* Ids as unlike as hashes are, from a seed. */
static void make_members(struct maglev_member *members, unsigned n, uint16_t weight)
{
	uint64_t id = 0x243f6a8885a308d3;

	for (unsigned i = 0; i < n; i++) {
		id = id * 6364136223846793005 + 1442695040888963407;
		members[i] = (struct maglev_member){.id = id, .weight = weight};
	}
}

static void count(const uint16_t *filled, unsigned *ret_shares, unsigned n)
{
	memset(ret_shares, 0, n * sizeof(*ret_shares));
	for (uint32_t i = 0; i < SIZE; i++) {
		assert_in_range(filled[i], 0, n - 1);
		ret_shares[filled[i]]++;
	}
}

static void test_primes(void **state)
{
	static const uint32_t
		primes[] = {2, 3, 5, 7, 97, 251, 65521, 65537, 655373, 4294967291},
		others[] = {0,     1,         4,          9,          25,     65535,
			    65536, 65539 * 2, 4294836225, 4294967295, 1062961 /* 1031² */};

	for (unsigned i = 0; i < ARRAY_SIZE(primes); i++)
		assert_true(maglev_is_prime(primes[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		struct maglev_member member = {1, 1};

		assert_false(maglev_is_prime(others[i]));
		assert_int_equal(maglev_fill(&member, 1, table, others[i]), -EINVAL);
	}
}

static void test_equal_weights_share_equally(void **state)
{
	static const unsigned counts[] = {1, 2, 3, 10, N_MEMBERS};
	struct maglev_member members[N_MEMBERS];
	unsigned shares[N_MEMBERS];

	make_members(members, N_MEMBERS, 7);
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		assert_int_equal(maglev_fill(members, counts[i], table, SIZE), 0);
		count(table, shares, counts[i]);
		/* turns differ by one at most */
		for (unsigned j = 0; j < counts[i]; j++)
			assert_in_range(shares[j], SIZE / counts[i], SIZE / counts[i] + 1);
	}
}

static void test_shares_follow_weights(void **state)
{
	static const uint16_t sets[][5] = {
		{1, 2, 3, 4, 5},
		{1, 100, 100, 1, 1},
		{65535, 1, 32768, 2, 3},
		{0, 5, 0, 1, 10},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sets); i++) {
		struct maglev_member members[5];
		unsigned shares[5];
		uint64_t sum = 0;

		make_members(members, 5, 1);
		for (unsigned j = 0; j < 5; j++)
			sum += members[j].weight = sets[i][j];
		assert_int_equal(maglev_fill(members, 5, table, SIZE), 0);
		count(table, shares, 5);
		for (unsigned j = 0; j < 5; j++) {
			int64_t ideal = (int64_t)(SIZE * (uint64_t)sets[i][j] / sum);

			assert_in_range(shares[j] + 3 - ideal, 0, 6);
			assert_true(sets[i][j] || !shares[j]);
		}
	}
}

static void test_nobody_has_weight(void **state)
{
	struct maglev_member members[3];

	make_members(members, 3, 0);
	for (unsigned n = 0; n <= 3; n++) {
		memset(table, 0, sizeof(table));
		assert_int_equal(maglev_fill(members, n, table, SIZE), 0);
		for (uint32_t i = 0; i < SIZE; i++)
			assert_int_equal(table[i], MAGLEV_NONE);
	}
}

static void test_order_does_not_matter(void **state)
{
	struct maglev_member members[N_MEMBERS], turned[N_MEMBERS];

	make_members(members, N_MEMBERS, 1);
	for (unsigned i = 0; i < N_MEMBERS; i++) {
		members[i].weight = (uint16_t)(1 + i % 4);
		turned[N_MEMBERS - 1 - i] = members[i];
	}
	assert_int_equal(maglev_fill(members, N_MEMBERS, table, SIZE), 0);
	assert_int_equal(maglev_fill(turned, N_MEMBERS, other, SIZE), 0);
	for (uint32_t i = 0; i < SIZE; i++)
		assert_int_equal(other[i], N_MEMBERS - 1 - table[i]);
}

/* How many places have another member when `members[gone]` has weight `weight` instead. */
static unsigned count_moved(struct maglev_member *members, unsigned n, unsigned changed,
			    uint16_t weight)
{
	uint16_t before = members[changed].weight;
	unsigned n_moved = 0;

	assert_int_equal(maglev_fill(members, n, table, SIZE), 0);
	members[changed].weight = weight;
	assert_int_equal(maglev_fill(members, n, other, SIZE), 0);
	members[changed].weight = before;
	for (uint32_t i = 0; i < SIZE; i++)
		n_moved += table[i] != other[i];
	return n_moved;
}

static void test_one_that_leaves_moves_little_more_than_its_share(void **state)
{
	static const unsigned counts[] = {2, 3, 5, 10, 30, N_MEMBERS};
	struct maglev_member members[N_MEMBERS];

	make_members(members, N_MEMBERS, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		unsigned n = counts[i];

		for (unsigned gone = 0; gone < MIN(n, 10); gone++) {
			unsigned n_moved = count_moved(members, n, gone, 0);

			/* its own must move; of the others' less than 3 % of the table does */
			assert_in_range(n_moved, SIZE / n, SIZE / n + 3 * SIZE / 100);
		}
	}
}

static void test_one_that_leaves_a_weighted_set(void **state)
{
	struct maglev_member members[20];
	unsigned shares[20];

	make_members(members, 20, 1);
	for (unsigned i = 0; i < 20; i++)
		members[i].weight = (uint16_t)(1 + i % 5);
	for (unsigned gone = 0; gone < 20; gone++) {
		unsigned n_moved;

		/* the heaviest is still there: there are four of them */
		n_moved = count_moved(members, 20, gone, 0);
		count(table, shares, 20);
		assert_in_range(n_moved, shares[gone], shares[gone] + 5 * SIZE / 100);
		/* heavier by one */
		n_moved = count_moved(members, 20, gone, members[gone].weight + 1);
		assert_in_range(n_moved, 1, SIZE / 8);
	}
}

static void test_small_tables_and_twins(void **state)
{
	struct maglev_member members[5] = {{1, 1}, {1, 1}, {1, 2}, {0, 1}, {UINT64_MAX, 1}};
	uint16_t two[2], five[5];
	unsigned n_of_heavy = 0;

	assert_int_equal(maglev_fill(members, 2, two, 2), 0);
	assert_int_equal(two[0] + two[1], 1);
	assert_int_equal(maglev_fill(members, 5, two, 2), 0);
	assert_in_range(two[0], 0, 4);
	assert_int_equal(maglev_fill(members, 5, five, 5), 0);
	for (unsigned i = 0; i < 5; i++)
		n_of_heavy += five[i] == 2;
	assert_in_range(n_of_heavy, 1, 2);
}

static void test_the_most_members(void **state)
{
	struct maglev_member *members = calloc(MAGLEV_NONE, sizeof(*members));

	assert_non_null(members);
	make_members(members, MAGLEV_NONE, 1);
	assert_int_equal(maglev_fill(members, MAGLEV_NONE, table, SIZE), -EINVAL);
	assert_int_equal(maglev_fill(members, MAGLEV_NONE - 1, table, SIZE), 0);
	for (uint32_t i = 0; i < SIZE; i++)
		assert_in_range(table[i], 0, MAGLEV_NONE - 2);
	free(members);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_primes),
		cmocka_unit_test(test_equal_weights_share_equally),
		cmocka_unit_test(test_shares_follow_weights),
		cmocka_unit_test(test_nobody_has_weight),
		cmocka_unit_test(test_order_does_not_matter),
		cmocka_unit_test(test_one_that_leaves_moves_little_more_than_its_share),
		cmocka_unit_test(test_one_that_leaves_a_weighted_set),
		cmocka_unit_test(test_small_tables_and_twins),
		cmocka_unit_test(test_the_most_members),
	};

	return cmocka_run_group_tests_name("maglev", tests, NULL, NULL);
}
