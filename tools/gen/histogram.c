/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The buckets of histogram.h. */
#include "tools/gen/histogram.h"

#include "util/macros.h"

#define STEPS (1u << HISTOGRAM_STEP_BITS)

/* Values below STEPS have a bucket each; above, the octave and the next five bits choose. */
static unsigned bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < STEPS)
		return (unsigned)value;
	shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
	return (shift + 1) * STEPS + (unsigned)(value >> shift & (STEPS - 1));
}

static uint64_t greatest_in(unsigned bucket)
{
	unsigned shift;

	if (bucket < STEPS)
		return bucket;
	shift = bucket / STEPS - 1;
	return (((uint64_t)STEPS + bucket % STEPS) << shift) + ((1ULL << shift) - 1);
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->min = h->n == 0 ? value : MIN(h->min, value);
	h->max = MAX(h->max, value);
	h->sum += value;
	h->n++;
	h->buckets[bucket_of(value)]++;
}

uint64_t histogram_quantile(const struct histogram *h, uint32_t per_million)
{
	uint64_t rank = (uint64_t)(((__uint128_t)h->n * per_million + 999999) / 1000000);
	uint64_t seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS && h->n > 0; i++) {
		seen += h->buckets[i];
		if (seen >= MAX(rank, 1))
			return MIN(greatest_in(i), h->max);
	}
	return 0;
}
