/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arrivals as short strings, and a model that remembers everything. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "tests/unit/unit.h"
#include "tools/gen/sequence.h"
#include "util/macros.h"

#define WINDOW 64

static const struct {
	const char *name;
	uint64_t arrivals[8];
	unsigned n;
	uint64_t expected;
	uint64_t unique, missing, reordered, duplicate, stale;
} table[] = {
	{"nothing", {0}, 0, 0, 0, 0, 0, 0, 0},
	{"nothing of five", {0}, 0, 5, 0, 5, 0, 0, 0},
	{"in order", {0, 1, 2, 3}, 4, 4, 4, 0, 0, 0, 0},
	{"a gap", {0, 1, 4, 5}, 4, 0, 4, 2, 0, 0, 0},
	{"the first is missing", {1, 2}, 2, 0, 2, 1, 0, 0, 0},
	{"the last are missing", {0, 1}, 2, 5, 2, 3, 0, 0, 0},
	{"two swapped", {0, 2, 1, 3}, 4, 4, 4, 0, 1, 0, 0},
	{"the first comes last", {1, 2, 3, 0}, 4, 4, 4, 0, 1, 0, 0},
	{"reversed", {3, 2, 1, 0}, 4, 4, 4, 0, 3, 0, 0},
	{"twice the same", {0, 1, 1, 2}, 4, 3, 3, 0, 0, 1, 0},
	{"twice the late one", {0, 2, 1, 1}, 4, 3, 3, 0, 1, 1, 0},
	{"three times the first", {0, 0, 0}, 3, 1, 1, 0, 0, 2, 0},
	{"a duplicate does not hide a loss", {0, 0, 2, 2}, 4, 3, 2, 1, 0, 2, 0},
	{"just within the window", {0, 64, 1}, 3, 0, 3, 62, 1, 0, 0},
	{"just behind the window", {0, 64, 0}, 3, 0, 2, 62, 0, 0, 1},
	{"the window's bits are used again", {0, 63, 64, 127, 64}, 5, 0, 4, 124, 0, 1, 0},
	{"a leap far beyond the window", {0, 1000000, 999999}, 3, 0, 3, 999998, 1, 0, 0},
};

static void test_each_row_of_the_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct sequence s;

		print_message("  %s\n", table[i].name);
		assert_int_equal(sequence_init(&s, WINDOW), 0);
		for (unsigned n = 0; n < table[i].n; n++)
			(void)sequence_note(&s, table[i].arrivals[n]);
		assert_int_equal(s.n_unique, table[i].unique);
		assert_int_equal(sequence_missing(&s, table[i].expected), table[i].missing);
		assert_int_equal(s.n_reordered, table[i].reordered);
		assert_int_equal(s.n_duplicate, table[i].duplicate);
		assert_int_equal(s.n_stale, table[i].stale);
		sequence_fini(&s);
	}
}

static void test_windows_that_are_no_power_of_two_are_refused(void **state)
{
	struct sequence s;

	assert_int_equal(sequence_init(&s, 0), -EINVAL);
	assert_int_equal(sequence_init(&s, 63), -EINVAL);
	assert_int_equal(sequence_init(&s, 96), -EINVAL);
}

/* A walk forward with jumps, steps back and repeats, against a memory of everything. */
static void test_a_long_walk_agrees_with_a_model_that_forgets_nothing(void **state)
{
	enum { STEPS = 200000 };
	static bool seen[4 * STEPS];
	struct sequence s;
	uint64_t x = 42, next = 0, unique = 0, duplicate = 0, reordered = 0, stale = 0;

	memset(seen, 0, sizeof(seen));
	assert_int_equal(sequence_init(&s, WINDOW), 0);
	for (unsigned i = 0; i < STEPS; i++) {
		uint64_t seq, back;

		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		back = (x >> 40) % 80;
		seq = (x >> 60) < 10 ? next + (x >> 50) % 5 : next > back ? next - back : 0;
		(void)sequence_note(&s, seq);
		if (seq >= next) {
			unique++;
			next = seq + 1;
		} else if (next - seq > WINDOW) {
			stale++;
			continue;
		} else if (seen[seq]) {
			duplicate++;
		} else {
			unique++;
			reordered++;
		}
		seen[seq] = true;
	}
	assert_true(unique > 1000 && duplicate > 1000 && reordered > 1000 && stale > 1000);
	assert_int_equal(s.next, next);
	assert_int_equal(s.n_unique, unique);
	assert_int_equal(s.n_duplicate, duplicate);
	assert_int_equal(s.n_reordered, reordered);
	assert_int_equal(s.n_stale, stale);
	sequence_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_row_of_the_table),
		cmocka_unit_test(test_windows_that_are_no_power_of_two_are_refused),
		cmocka_unit_test(test_a_long_walk_agrees_with_a_model_that_forgets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
