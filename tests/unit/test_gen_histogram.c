/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quantiles against the sorted values they stand for. */
#include <stdlib.h>

#include "tests/unit/unit.h"
#include "tools/gen/histogram.h"
#include "util/macros.h"

static struct histogram h;

static int setup(void **state)
{
	h = (struct histogram){0};
	return 0;
}

static void test_an_empty_one_says_zero(void **state)
{
	assert_int_equal(histogram_quantile(&h, 500000), 0);
	assert_int_equal(histogram_quantile(&h, 1000000), 0);
}

static void test_small_values_are_exact(void **state)
{
	for (uint64_t value = 0; value < 32; value++)
		histogram_add(&h, value);
	for (uint64_t rank = 1; rank <= 32; rank++)
		assert_int_equal(histogram_quantile(&h, (uint32_t)(rank * 1000000 / 32)), rank - 1);
}

static void test_one_value_is_every_quantile(void **state)
{
	histogram_add(&h, 123456789);
	assert_int_equal(histogram_quantile(&h, 0), 123456789);
	assert_int_equal(histogram_quantile(&h, 500000), 123456789);
	assert_int_equal(histogram_quantile(&h, 1000000), 123456789);
	assert_int_equal(h.min, 123456789);
	assert_int_equal(h.max, 123456789);
}

static void test_the_extremes_of_the_type_have_a_place(void **state)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		histogram_add(&h, 1ULL << bit);
		histogram_add(&h, (1ULL << bit) - 1);
	}
	histogram_add(&h, UINT64_MAX);
	assert_int_equal(h.max, UINT64_MAX);
	assert_int_equal(h.min, 0);
	assert_int_equal(histogram_quantile(&h, 1000000), UINT64_MAX);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void test_quantiles_are_within_one_step_of_the_sorted_values(void **state)
{
	static const uint32_t quantiles[] = {1, 500000, 900000, 990000, 999000, 1000000};
	static uint64_t values[20000];
	uint64_t x = 1;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		values[i] = x >> (24 + x % 30); /* over many powers of two */
		histogram_add(&h, values[i]);
	}
	qsort(values, ARRAY_SIZE(values), sizeof(values[0]), compare);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
		uint64_t rank = (ARRAY_SIZE(values) * (uint64_t)quantiles[i] + 999999) / 1000000;
		uint64_t exact = values[MAX(rank, 1) - 1];
		uint64_t got = histogram_quantile(&h, quantiles[i]);

		assert_true(got >= exact);
		assert_true(got <= exact + exact / 32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_an_empty_one_says_zero, setup),
		cmocka_unit_test_setup(test_small_values_are_exact, setup),
		cmocka_unit_test_setup(test_one_value_is_every_quantile, setup),
		cmocka_unit_test_setup(test_the_extremes_of_the_type_have_a_place, setup),
		cmocka_unit_test_setup(test_quantiles_are_within_one_step_of_the_sorted_values,
				       setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
