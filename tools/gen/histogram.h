/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log-linear histogram: 32 equal steps per power of two, so a quantile is at most 1/32 above the
 * true value, over the whole range of uint64_t and without allocation. The extremes are exact.
 */
#pragma once

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 5
#define HISTOGRAM_BUCKETS   ((64 - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS)

/* Zeroed is empty. */
struct histogram {
	uint64_t n;
	uint64_t sum;
	uint64_t min, max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);

/*
 * The smallest bucket bound that at least `per_million` of the values do not exceed, and never
 * more than the greatest value; 0 if there is none.
 */
uint64_t histogram_quantile(const struct histogram *h, uint32_t per_million);
