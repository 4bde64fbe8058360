/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The passes of route_decide() over a burst, and what they hand each other. Private to net/route*.c
 * and its unit tests. Thread: the worker's, or any registered reader's.
 *
 *	parse    route_parse.c   headers judged, destinations collected by family
 *	look up  fib4 | fib6     numbers of next hops
 *	resolve  route.c         next hop, group member, adjacency
 *	source   route_source.c  IPv4: rp_filter, and addresses of this host
 *
 * Each pass touches one kind of memory for all frames, so that the misses of a burst overlap and
 * what the next pass reads is on its way.
 */
#pragma once

#include "net/route.h"

/* The frames of one family that go on: number k of the pass is frames[index[k]] of the burst. */
struct route_pass4 {
	unsigned n;
	uint8_t index[FIB_BURST];
	uint16_t nh[FIB_BURST];
	be32 dst[FIB_BURST];
};

struct route_pass6 {
	unsigned n;
	uint8_t index[FIB_BURST];
	uint16_t nh[FIB_BURST];
	struct ip6_addr dst[FIB_BURST];
};

/*
 * Judges the headers of all frames and collects those that may be forwarded; the others have their
 * verdict. Sets all results of each frame.
 */
void route_parse(const struct route_in *in, struct route_frame *frames, unsigned n,
		 struct route_pass4 *ret_pass4, struct route_pass6 *ret_pass6);

/* Takes back ROUTE_FORWARD of frames whose source the kernel would refuse. */
void route_check_sources(const struct route_view *view, const struct route_in *in,
			 struct route_frame *frames, struct route_pass4 *pass);

/* --- route_flow.c ------------------------------------------------------------------------------
 */

/*
 * The same for all packets of a flow, whatever its fragments are: `len` is the length without
 * padding. IPv4 without options, or IPv6; parsed before.
 */
uint64_t route_flow_hash(uint64_t seed, const uint8_t *data, uint32_t len);

static inline unsigned route_bucket_of(uint64_t hash)
{
	return (unsigned)(hash >> 56);
}
_Static_assert(NEXTHOP_GROUP_BUCKETS == 256, "the top eight bits of a hash");

/* The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) over what came so far and more:
 * every bit of either moves every bit of the result. */
static inline uint64_t route_mix(uint64_t hash, uint64_t word)
{
	hash = (hash + 0x9e3779b97f4a7c15ULL) ^ word;
	hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9ULL;
	hash = (hash ^ hash >> 27) * 0x94d049bb133111ebULL;
	return hash ^ hash >> 31;
}

static inline void route_hand_back(struct route_frame *frame, enum handback_reason reason)
{
	frame->verdict = ROUTE_HAND_BACK;
	frame->reason = (uint8_t)reason;
}
