/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Members of a group to buckets, by weighted rendezvous hashing (Thaler and Ravishankar, IEEE/ACM
 * ToN 1998; the weights after Schindelhauer and Schomaker, SPAA 2005): for each bucket every member
 * draws a number u in (0, 1) from a hash of bucket and member, and the one with the highest
 * −weight / ln u gets it. A member's draw depends on nothing but itself, so what comes, goes or
 * changes weight wins and loses its own buckets only. The price over a table that is cut into
 * shares: a share is right on average, with a deviation of √(256 p (1 − p)) buckets.
 */
#include <math.h>

#include "control/nexthops_internal.h"

/* The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static double score(const struct nh_candidate *candidate, uint32_t bucket)
{
	uint64_t hash = mix(mix(candidate->identity) ^ mix((bucket + 1) * 0x9e3779b97f4a7c15ULL));
	double u = ((double)(hash >> 11) + 0.5) * 0x1p-53;

	return -(double)candidate->weight / log(u);
}

void nh_fill_buckets(const struct nh_candidate *candidates, uint32_t n, uint16_t *ret_buckets)
{
	for (uint32_t bucket = 0; bucket < NEXTHOP_GROUP_BUCKETS; bucket++) {
		double best_score = -1;

		for (uint32_t i = 0; i < n; i++) {
			double s = score(&candidates[i], bucket);

			if (s <= best_score)
				continue;
			best_score = s;
			ret_buckets[bucket] = candidates[i].number;
		}
	}
}
