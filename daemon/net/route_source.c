// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The last pass of the router: fib_validate_source() of the kernel (net/ipv4/fib_frontend.c) for
 * frames that would be forwarded. IPv6 has no such check. Thread: worker. Owns nothing.
 *
 * What is refused here goes back as HANDBACK_SOURCE and is judged again by the kernel, so being
 * stricter than it costs speed and nothing else.
 */
#include "net/fib4.h"
#include "net/fib_atomic.h"
#include "net/ip4.h"
#include "net/route_internal.h"

static be32 src_of(const struct route_frame *frame)
{
	return ip4_header_of(frame->data)->src;
}

/* --- Addresses of this host --------------------------------------------------------------------
 */

static bool is_in_filter(const struct route_locals *locals, uint32_t addr)
{
	return locals->filter[addr >> 6 & 3] >> (addr & 63) & 1;
}

static __attribute__((noinline)) bool is_local(const struct route_locals *locals, uint32_t addr)
{
	uint32_t low = 0, high = locals->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (locals->addr[middle] == addr)
			return true;
		if (locals->addr[middle] < addr)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Loopback, and whoever pretends to be this host. */
static void check_locals(const struct route_locals *locals, struct route_frame *frames,
			 const struct route_pass4 *pass)
{
	for (unsigned k = 0; k < pass->n; k++) {
		struct route_frame *frame = &frames[pass->index[k]];
		uint32_t addr = be32toh(src_of(frame));

		if (unlikely(is_in_filter(locals, addr)) && frame->verdict == ROUTE_FORWARD &&
		    is_local(locals, addr))
			route_hand_back(frame, HANDBACK_SOURCE);
	}
}

/* --- rp_filter ---------------------------------------------------------------------------------
 */

static enum route_rpf rpf_of(const struct route_view *view, const struct route_in *in)
{
	/* a word of its own: nothing hangs on it */
	uint64_t word = atomic_load_explicit(&view->rpf[in->port], memory_order_relaxed);

	/* The check of another device: of this one nothing is known yet. */
	if (unlikely(word >> 8 != in->ifindex))
		return ROUTE_RPF_STRICT;
	return (enum route_rpf)(word & 0xff);
}

/*
 * Would a packet to the source go out of this device, or, ifindex 0, of any? A device that is no
 * port will do as well.
 */
static bool leads_back(const struct nexthop *hop, uint32_t ifindex)
{
	if (!hop || hop->kind == NEXTHOP_GROUP)
		return false;
	if (hop->kind == NEXTHOP_PASS && !hop->is_unicast)
		return false;
	return ifindex == 0 || hop->ifindex == ifindex;
}

static bool is_source_right(const struct route_view *view, uint16_t nh, uint32_t ifindex)
{
	const struct nexthop *hop = atomic_load_explicit(&view->nexthops[nh], memory_order_acquire);

	if (likely(!hop || hop->kind != NEXTHOP_GROUP))
		return leads_back(hop, ifindex);
	/* fib_info_nh_uses_dev(): any member will do, and most often one of the first does */
	for (unsigned i = 0; i < NEXTHOP_GROUP_BUCKETS; i++) {
		uint16_t number = hop->buckets[i] & FIB_NH_MAX;

		if (leads_back(atomic_load_explicit(&view->nexthops[number], memory_order_acquire),
			       ifindex))
			return true;
	}
	return false;
}

static __attribute__((noinline)) void check_reverse_paths(const struct route_view *view,
							  uint32_t ifindex,
							  struct route_frame *frames,
							  struct route_pass4 *pass)
{
	be32 src[FIB_BURST] UNINITIALIZED;

	for (unsigned k = 0; k < pass->n; k++)
		src[k] = src_of(&frames[pass->index[k]]);
	fib4_lookup_burst(view->fib4, src, pass->nh, pass->n);
	for (unsigned k = 0; k < pass->n; k++) {
		struct route_frame *frame = &frames[pass->index[k]];

		if (frame->verdict == ROUTE_FORWARD &&
		    unlikely(!is_source_right(view, pass->nh[k], ifindex)))
			route_hand_back(frame, HANDBACK_SOURCE);
	}
}

void route_check_sources(const struct route_view *view, const struct route_in *in,
			 struct route_frame *frames, struct route_pass4 *pass)
{
	/* pairs with the release of who published the list */
	const struct route_locals *locals =
		atomic_load_explicit(&view->locals, memory_order_acquire);
	enum route_rpf rpf = rpf_of(view, in);

	if (likely(locals))
		check_locals(locals, frames, pass);
	if (rpf != ROUTE_RPF_OFF)
		check_reverse_paths(view, rpf == ROUTE_RPF_LOOSE ? 0 : in->ifindex, frames, pass);
}
