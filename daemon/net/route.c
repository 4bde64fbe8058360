// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The router's decision, in passes over a burst (net/route_internal.h). Thread: worker, or any that
 * is registered as a reader of the view. Owns nothing.
 *
 * What a pass reads of the view it reads with relaxed loads for the whole burst and one
 * fib_acquire() behind them, as the FIB does (net/fib_atomic.h says why).
 */
#include "net/route.h"

#include <string.h>

#include "net/fib4.h"
#include "net/fib6.h"
#include "net/fib_atomic.h"
#include "net/ip4.h"
#include "net/ip6.h"
#include "net/route_internal.h"

/* What stands for a next hop that the view does not have. */
static const struct nexthop unknown_nexthop = {.kind = NEXTHOP_PASS, .reason = HANDBACK_POLICY};

/* The frames of one family, whichever it is. */
struct resolve {
	const struct route_view *view;
	const struct route_in *in;
	struct route_frame *frames;
	const uint8_t *index;
	unsigned n;
	bool is_ip6;
	const struct nexthop *hops[FIB_BURST];
	/* numbers of those that are neighbours themselves */
	uint8_t connected[FIB_BURST];
	unsigned n_connected;
};

static struct ip6_addr dst_of(const struct route_frame *frame, bool is_ip6)
{
	struct ip6_addr addr = {{0}};
	be32 word;

	if (is_ip6)
		return ip6_header_of(frame->data)->dst;
	word = ip4_header_of(frame->data)->dst;
	memcpy(addr.octet, &word, sizeof(word));
	return addr;
}

/* The member of a group that the frame's flow hashes to; a group's members are no groups. */
static __attribute__((noinline)) const struct nexthop *member_of(const struct route_view *view,
								 const struct nexthop *group,
								 const struct route_frame *frame)
{
	uint64_t hash = route_flow_hash(view->hash_seed, frame->data, frame->out_len);
	uint16_t number = group->buckets[route_bucket_of(hash)];
	const struct nexthop *hop =
		atomic_load_explicit(&view->nexthops[number & FIB_NH_MAX], memory_order_acquire);

	return hop && hop->kind != NEXTHOP_GROUP ? hop : &unknown_nexthop;
}

static inline void settle(struct route_frame *frame, struct adjacency *adjacency)
{
	if (unlikely(!adjacency)) {
		route_hand_back(frame, HANDBACK_NEIGHBOUR);
		return;
	}
	__builtin_prefetch(adjacency);
	frame->verdict = ROUTE_FORWARD;
	frame->adjacency = adjacency;
}

/* Linux's mtu is of the IP packet. RFC 8200 has no link below 1280, nor has ip6_forward(). */
static inline uint32_t mtu_of(const struct nexthop *hop, bool is_ip6)
{
	return is_ip6 ? MAX(hop->mtu, (uint32_t)IP6_MIN_MTU) : hop->mtu;
}

static inline void resolve_one(struct resolve *r, unsigned k)
{
	struct route_frame *frame = &r->frames[r->index[k]];
	const struct nexthop *hop = r->hops[k] ? r->hops[k] : &unknown_nexthop;

	if (unlikely(hop->kind == NEXTHOP_GROUP))
		hop = member_of(r->view, hop, frame);
	r->hops[k] = hop;
	if (unlikely(hop->kind == NEXTHOP_PASS))
		route_hand_back(frame, hop->reason);
	else if (unlikely(hop->ifindex == r->in->ifindex))
		route_hand_back(frame, HANDBACK_REDIRECT);
	else if (unlikely(frame->out_len - ETH_HLEN > mtu_of(hop, r->is_ip6)))
		route_hand_back(frame, HANDBACK_MTU);
	else if (hop->kind == NEXTHOP_VIA)
		settle(frame, hop->adjacency);
	else
		r->connected[r->n_connected++] = (uint8_t)k;
}

/* Neighbours by address: first all cells, then what is in them, then a close look. */
static __attribute__((noinline)) void resolve_connected(struct resolve *r)
{
	const struct adjacency_table *table =
		atomic_load_explicit(&r->view->adjacencies, memory_order_acquire);
	uint32_t cells[FIB_BURST] UNINITIALIZED;
	struct ip6_addr dst[FIB_BURST] UNINITIALIZED;

	for (unsigned c = 0; c < r->n_connected && table; c++) {
		unsigned k = r->connected[c];

		dst[c] = dst_of(&r->frames[r->index[k]], r->is_ip6);
		cells[c] = adjacency_hash(r->hops[k]->ifindex, r->is_ip6, &dst[c]) & table->mask;
		__builtin_prefetch(&table->cells[cells[c]]);
	}
	for (unsigned c = 0; c < r->n_connected && table; c++)
		__builtin_prefetch(
			atomic_load_explicit(&table->cells[cells[c]], memory_order_relaxed));
	for (unsigned c = 0; c < r->n_connected; c++) {
		unsigned k = r->connected[c];

		settle(&r->frames[r->index[k]],
		       table ? adjacency_find(table, r->hops[k]->ifindex, r->is_ip6, &dst[c]) :
			       NULL);
	}
}

static void resolve(struct resolve *r, const uint16_t *nh)
{
	const struct route_view *view = r->view;

	r->n_connected = 0;
	for (unsigned k = 0; k < r->n; k++) {
		r->frames[r->index[k]].nh = nh[k];
		r->hops[k] = atomic_load_explicit(&view->nexthops[nh[k]], FIB_LOAD_ORDER);
		__builtin_prefetch(r->hops[k]);
	}
	/* pairs with the release of who stored a next hop: it is complete */
	fib_acquire();
	for (unsigned k = 0; k < r->n; k++)
		resolve_one(r, k);
	if (r->n_connected > 0)
		resolve_connected(r);
}

void route_decide(const struct route_view *view, const struct route_in *in,
		  struct route_frame *frames, unsigned n)
{
	struct route_pass4 pass4 UNINITIALIZED;
	struct route_pass6 pass6 UNINITIALIZED;
	struct resolve r UNINITIALIZED;

	route_parse(in, frames, n, &pass4, &pass6);
	r.view = view;
	r.in = in;
	r.frames = frames;
	if (likely(pass4.n > 0)) {
		fib4_lookup_burst(view->fib4, pass4.dst, pass4.nh, pass4.n);
		r.is_ip6 = false;
		r.index = pass4.index;
		r.n = pass4.n;
		resolve(&r, pass4.nh);
		route_check_sources(view, in, frames, &pass4);
	}
	if (pass6.n > 0) {
		fib6_lookup_burst(view->fib6, pass6.dst, pass6.nh, pass6.n);
		r.is_ip6 = true;
		r.index = pass6.index;
		r.n = pass6.n;
		resolve(&r, pass6.nh);
	}
}
