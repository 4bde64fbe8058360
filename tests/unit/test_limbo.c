/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was retired waits for the last generation that may read it, and no longer. */
#include <stdlib.h>

#include "control/tables_internal.h"
#include "unit.h"

static void test_a_piece_waits_for_readers_of_its_own_generation(void **state)
{
	struct limbo *limbo;

	assert_int_equal(limbo_new(&limbo), 0);
	limbo_begin_generation(limbo, 7);
	limbo_retire(limbo, malloc(100), 100);
	limbo_reclaim(limbo, 7);
	assert_int_equal(limbo_bytes(limbo), 100);
	limbo_reclaim(limbo, 8);
	assert_int_equal(limbo_bytes(limbo), 0);
	limbo_free(limbo);
}

static void test_pieces_go_in_the_order_of_generations_beyond_the_first_capacity(void **state)
{
	struct limbo *limbo;

	assert_int_equal(limbo_new(&limbo), 0);
	for (unsigned generation = 1; generation <= 5000; generation++) {
		limbo_begin_generation(limbo, generation);
		limbo_retire(limbo, malloc(8), 8);
		/* The queue wraps before it grows. */
		if (generation == 700)
			limbo_reclaim(limbo, 601);
	}
	assert_int_equal(limbo_bytes(limbo), 4400 * 8);
	limbo_reclaim(limbo, 4001);
	assert_int_equal(limbo_bytes(limbo), 1000 * 8);
	limbo_reclaim(limbo, UINT64_MAX);
	assert_int_equal(limbo_bytes(limbo), 0);
	limbo_free(limbo);
}

static void test_null_is_no_piece_and_what_waits_is_freed_with_it(void **state)
{
	struct limbo *limbo;

	assert_int_equal(limbo_new(&limbo), 0);
	limbo_retire(limbo, NULL, 50);
	assert_int_equal(limbo_bytes(limbo), 0);
	limbo_retire(limbo, malloc(10), 10);
	limbo_free(limbo); /* the sanitizer would tell */
	limbo_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_piece_waits_for_readers_of_its_own_generation),
		cmocka_unit_test(
			test_pieces_go_in_the_order_of_generations_beyond_the_first_capacity),
		cmocka_unit_test(test_null_is_no_piece_and_what_waits_is_freed_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
