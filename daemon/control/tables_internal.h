/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files behind control/tables.h ask of each other. Everything here runs in the tables
 * thread or under its lock.
 *
 *   rtmsg ─► link_table, locals, neighbours, nexthops, rib ─► route_view, gate
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/rtmsg.h"
#include "control/tables.h"

/* --- limbo.c: objects that workers may still read ------------------------------------------------
 */

/* Pieces of memory retired, each stamped with the generation of that moment. */
struct limbo;

int limbo_new(struct limbo **ret_limbo);
void limbo_free(struct limbo *limbo); /* and all that waits: no worker reads any more */
void limbo_begin_generation(struct limbo *limbo, uint64_t generation);

/* Frees `ptr` by free(3) when reclaimed. Never fails: without memory for the note it leaks and is
 * counted in limbo_bytes() for ever. NULL is fine. */
void limbo_retire(struct limbo *limbo, void *ptr, size_t bytes);
void limbo_reclaim(struct limbo *limbo, uint64_t oldest_generation_seen);
size_t limbo_bytes(const struct limbo *limbo);

/* --- link_table.c: interfaces
 * ---------------------------------------------------------------------- */

#define LINK_NO_PORT 0xffff

struct link_entry {
	uint32_t ifindex;
	uint32_t mtu;
	uint32_t master;
	bool is_up, has_carrier;
	uint8_t mac[6];
	uint16_t port; /* place of the route port that it is, or LINK_NO_PORT */
	char name[IF_NAMESIZE];
	uint32_t vrf_table;
	uint64_t mark; /* of the sync that saw it last */
};

struct link_table;

int link_table_new(struct link_table **ret_links);
void link_table_free(struct link_table *links);
const struct link_entry *link_table_find(const struct link_table *links, uint32_t ifindex);
const struct link_entry *link_table_find_name(const struct link_table *links, const char *name);

/* --- nexthops.c: numbers for what routes lead to
 * ---------------------------------------------------- */

struct nexthops;

/* Borrows all for life. Sets view->nexthops[FIB_NO_ROUTE]. -ENOMEM. */
int nexthops_new(struct route_view *view, const struct link_table *links, struct limbo *limbo,
		 struct nexthops **ret_nexthops);
void nexthops_free(struct nexthops *nexthops);

/*
 * The number of what a route leads to, counted; equal ones share a number. Never fails: what the
 * fast path must not or cannot take (type, encapsulation, no route port, no number left) has a
 * number of kind PASS. A route's next-hop object may come later: PASS until then.
 */
uint16_t nexthops_get(struct nexthops *nexthops, const struct rt_route *route);
void nexthops_put(struct nexthops *nexthops, uint16_t number);

/* May it leave by a route port? What the gate asks; links' state and neighbours play no part. */
bool nexthops_is_ours(const struct nexthops *nexthops, uint16_t number);

/* A next-hop object came, changed or (is_delete) went. True: ours-ness of a number changed. */
bool nexthops_object(struct nexthops *nexthops, const struct rt_nexthop_object *object,
		     bool is_delete);
/* Mark and sweep of objects around a dump. */
void nexthops_begin_sync(struct nexthops *nexthops);
bool nexthops_end_sync(struct nexthops *nexthops);

/* The state, MTU or MAC of a link changed, or (ifindex 0) which links are ports. True as above. */
bool nexthops_link_changed(struct nexthops *nexthops, uint32_t ifindex);

/* The neighbour of a device is resolved (NULL: not) by this adjacency from now on. */
void nexthops_neighbour_changed(struct nexthops *nexthops, uint32_t ifindex, bool is_ip6,
				const struct ip6_addr *addr, struct adjacency *adjacency);

uint32_t nexthops_count(const struct nexthops *nexthops);

/* One as JSON: type, gateway, device, weight, mtu, state of the neighbour; for show and explain. */
struct json_object *nexthops_json(const struct nexthops *nexthops, uint16_t number);

/* --- rib.c: routes
 * ------------------------------------------------------------------------------------ */

struct rib_table; /* struct rib is the FIB's own list of prefixes, net/fib_rib.h */

/* Borrows all for life. Makes view->fib4 and fib6. -ENOMEM. */
int rib_table_new(struct route_view *view, struct gate *gate, struct nexthops *nexthops,
		  struct rib_table **ret_rib);
void rib_table_free(struct rib_table *rib);

/* Which table is followed beside `local`; takes effect with the next sync. */
void rib_set_table(struct rib_table *rib, uint32_t table);

/*
 * A route came (`is_replace`: NLM_F_REPLACE, it takes the place of the one of equal prefix, TOS and
 * metric; `is_append`: IPv6, another member) or went. Others' tables are ignored. The best of its
 * prefix is put into FIB and gate at once. -EAGAIN: the FIB has too much retired; the change is
 * remembered and tried again by rib_retry().
 */
int rib_route(struct rib_table *rib, const struct rt_route *route, uint16_t nlmsg_flags);
int rib_route_gone(struct rib_table *rib, const struct rt_route *route);

/* 0: nothing is owed to the FIB any more. -EAGAIN: still. */
int rib_retry(struct rib_table *rib);

/* Mark and sweep around a dump; end_sync sweeps in slices: true = done. */
void rib_begin_sync(struct rib_table *rib);
bool rib_end_sync(struct rib_table *rib, uint64_t until_ns);

/* Ours-ness of numbers changed: paints the gate anew, in slices: true = done. */
void rib_begin_repaint(struct rib_table *rib);
bool rib_repaint(struct rib_table *rib, uint64_t until_ns);

/* A route with a preferred source that is gone, or a device down: IPv4 routes vanish silently. */

struct rib_stats {
	uint64_t n_prefixes[2], n_routes[2], fib_bytes[2], retired_bytes, n_refused;
};
void rib_stats(const struct rib_table *rib, struct rib_stats *ret_stats);

void rib_begin_generation(struct rib_table *rib, uint64_t generation);
void rib_reclaim(struct rib_table *rib, uint64_t oldest_generation_seen);

/*
 * Rows for show: from *io_cursor (0 at first) on, at most max_scan prefixes looked at; fn per
 * route. False: the end was reached. Routes that change in between may be missed or told twice.
 */
struct rib_row {
	bool is_ip6;
	struct ip6_addr dst;
	uint8_t dst_len;
	uint8_t type, protocol;
	uint32_t table, metric;
	uint16_t nh;
	bool is_best;
};
bool rib_walk(const struct rib_table *rib, uint64_t *io_cursor, uint32_t max_scan,
	      void (*fn)(const struct rib_row *row, void *arg), void *arg);

/* The row that an address is forwarded by; false: none. For explain. */
bool rib_match(const struct rib_table *rib, bool is_ip6, const struct ip6_addr *addr,
	       struct rib_row *ret_row);

/* --- neighbours.c
 * --------------------------------------------------------------------------------------- */

struct neighbours;

int neighbours_new(struct route_view *view, const struct link_table *links,
		   struct nexthops *nexthops, struct limbo *limbo,
		   struct neighbours **ret_neighbours);
void neighbours_free(struct neighbours *neighbours);
void neighbours_apply(struct neighbours *neighbours, const struct rt_neighbour *neighbour,
		      bool is_delete);
void neighbours_link_changed(struct neighbours *neighbours, uint32_t ifindex);
void neighbours_begin_sync(struct neighbours *neighbours);
void neighbours_end_sync(struct neighbours *neighbours);

/*
 * Tells the kernel which neighbours are in use, as its own forwarding would have: those that
 * workers marked since the last call and that are not NUD_REACHABLE (NTF_USE). To be called several
 * times a second. Returns how many were told; bounded per call.
 */
uint32_t neighbours_keep_alive(struct neighbours *neighbours, int rtnl_fd);
void neighbours_count(const struct neighbours *neighbours, uint64_t ret_n[2]);

/* --- locals.c: addresses of this host
 * -------------------------------------------------------------------- */

struct locals;

int locals_new(struct route_view *view, struct gate *gate, struct limbo *limbo,
	       struct locals **ret_locals);
void locals_free(struct locals *locals);

/*
 * From routes of type RTN_LOCAL (what the kernel itself goes by) for local4 and local6 of the gate
 * and view->locals, and from addresses for which group carries them.
 */
void locals_route(struct locals *locals, const struct rt_route *route, bool is_delete);
void locals_address(struct locals *locals, const struct rt_address *address, bool is_delete);
void locals_set_groups(struct locals *locals, const struct tables_port *ports, uint32_t n_ports);
void locals_begin_sync(struct locals *locals);
void locals_end_sync(struct locals *locals);

/* Does this /24 hold an address of the host? rib.c paints it "mixed" then. */
bool locals_in_slot24(const struct locals *locals, uint32_t slot24);

/* --- fdbs.c: the bridges
 * ----------------------------------------------------------------------------------- */

struct fdbs;

int fdbs_new(struct fdbs **ret_fdbs);
/* No worker reads any more. */
void fdbs_free(struct fdbs *fdbs);

/*
 * Bridges that stay, by name, keep what they learnt behind ports that stay, by name. Where places
 * or max_entries changed that is a new database (fdbs_find() tells): sets published from now on
 * must name it, and the old one is freed when every worker has taken up such a set. -ENOMEM: all is
 * as it was.
 */
int fdbs_configure(struct fdbs *fdbs, const struct tables_config *config);
struct fdb *fdbs_find(struct fdbs *fdbs, const char *bridge);

/*
 * Drains the learn rings of all workers (what exceeds learn_per_s of its bridge is counted, and
 * left out) and asks each worker to write its eventfd when there is more: to be called when one of
 * these, worker->learn->eventfd, is readable.
 */
void fdbs_drain(struct fdbs *fdbs, uint64_t now_ns);

/* A port's link went down: what was learnt behind it is forgotten at once, as Linux does. */
void fdbs_port_down(struct fdbs *fdbs, uint32_t place, uint64_t now_ns);

/* Once a second. */
void fdbs_age(struct fdbs *fdbs, uint64_t now_ns);
void fdbs_report(const struct fdbs *fdbs, struct report_tables *ret_report);

/* An array of {bridge, mac, port, static, age_s}, of one bridge or (NULL) of all. NULL: no memory.
 */
struct json_object *fdbs_json(const struct fdbs *fdbs, const char *bridge, uint32_t max,
			      uint64_t now_ns);
