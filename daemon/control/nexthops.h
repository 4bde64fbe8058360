/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers for what routes lead to: what the FIB holds and workers find in route_view.nexthops[].
 * Equal ones share a number, which is counted. What a number means is published as a constant
 * object and replaced when a link, a neighbour or a next-hop object changes, so that no route has
 * to be touched then.
 *
 *	route ─► leg     one device, perhaps a gateway         VIA, CONNECTED, PASS
 *	      ─► group   several legs with weights             256 buckets of legs' numbers
 *	      ─► object  id of the kernel's next-hop object    as one of the two, as the object says
 *
 * A number that nobody holds any more rests until all workers are in a later generation: one that
 * has just found it in the FIB must not be led elsewhere.
 *
 * Thread: tables.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/rtmsg.h"
#include "net/route.h"

struct json_object;
struct limbo;
struct link_table;
struct nexthops;

/* Borrows all for life. Fills view->nexthops: all lead to PASS, no_route. -ENOMEM. */
int nexthops_new(struct route_view *view, const struct link_table *links, struct limbo *limbo,
		 struct nexthops **ret_nexthops);
void nexthops_free(struct nexthops *nexthops);

/*
 * The number of what a route leads to, counted. Never fails: what the fast path must not or cannot
 * take (type, encapsulation, no route port, no number left) has a number of kind PASS. A route's
 * next-hop object may come later: PASS until then.
 */
uint16_t nexthops_get(struct nexthops *nexthops, const struct rt_route *route);

/* The same if it is in use, not counted; FIB_NO_ROUTE: it is not. */
uint16_t nexthops_find(const struct nexthops *nexthops, const struct rt_route *route);

/*
 * A route's paths without those of another route: that is what the end of some members of an IPv6
 * multipath route looks like. A number, counted; FIB_NO_ROUTE: none is left; `number` itself,
 * counted: none of them was in it.
 */
uint16_t nexthops_get_without(struct nexthops *nexthops, uint16_t number,
			      const struct rt_route *gone);
void nexthops_put(struct nexthops *nexthops, uint16_t number);

/* Of kind PASS for ever, policy; not counted. */
uint16_t nexthops_pass(const struct nexthops *nexthops);

/*
 * May it leave by a route port? What the gate asks; links' state and neighbours play no part. 1 by
 * number where it may.
 */
const uint8_t *nexthops_ours(const struct nexthops *nexthops);
static inline bool nexthops_is_ours(const struct nexthops *nexthops, uint16_t number)
{
	return nexthops_ours(nexthops)[number] != 0;
}

/* --- What changes their meaning. True: ours-ness of a number changed. ------------------------ */

/* A next-hop object came, changed or (is_delete) went. */
bool nexthops_object(struct nexthops *nexthops, const struct rt_nexthop_object *object,
		     bool is_delete);

/* Mark and sweep of objects around a dump. */
void nexthops_begin_sync(struct nexthops *nexthops);
bool nexthops_end_sync(struct nexthops *nexthops);

/* The state, MTU or MAC of a link changed, or (ifindex 0) which links are ports. */
bool nexthops_link_changed(struct nexthops *nexthops, uint32_t ifindex);

/* The neighbour of a device is resolved (NULL: not) by this adjacency from now on. */
void nexthops_neighbour_changed(struct nexthops *nexthops, uint32_t ifindex, bool is_ip6,
				const struct ip6_addr *addr, struct adjacency *adjacency);

/* As net/fib.h; the rib hands them on. */
void nexthops_begin_generation(struct nexthops *nexthops, uint64_t generation);
void nexthops_reclaim(struct nexthops *nexthops, uint64_t oldest_generation_seen);

uint32_t nexthops_count(const struct nexthops *nexthops);

/* One as JSON: type, gateway, device, weight, mtu, state of the neighbour; for show and explain. */
struct json_object *nexthops_json(const struct nexthops *nexthops, uint16_t number);
