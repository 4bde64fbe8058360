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

#include "control/nexthops.h"
#include "control/rib.h"
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

/* What became different; 0 = nothing that anybody here goes by. */
enum link_change {
	LINK_CHANGED_STATE = 1, /* up, carrier */
	LINK_CHANGED_MTU = 2,
	LINK_CHANGED_MAC = 4,
	LINK_CHANGED_REST = 8, /* name, master, VRF table */
	LINK_CAME = 16,        /* was not known; nothing else is set */
};

/* A link came or changed. Without memory for a new one it stays unknown: -ENOMEM, else changes. */
int link_table_apply(struct link_table *links, const struct rt_link *link);
/* True: it was known. */
bool link_table_gone(struct link_table *links, uint32_t ifindex);

/* Which links are route ports. True: that is different from before. */
bool link_table_set_ports(struct link_table *links, const struct tables_port *ports,
			  uint32_t n_ports);

/* Mark and sweep; fn is called for each link swept, when it is no longer in the table. */
void link_table_begin_sync(struct link_table *links);
void link_table_end_sync(struct link_table *links, void (*fn)(uint32_t ifindex, void *arg),
			 void *arg);

/* --- neighbours.c
 * --------------------------------------------------------------------------------------- */

struct neighbours;

int neighbours_new(struct route_view *view, const struct link_table *links,
		   struct nexthops *nexthops, struct limbo *limbo,
		   struct neighbours **ret_neighbours);
void neighbours_free(struct neighbours *neighbours);
void neighbours_apply(struct neighbours *neighbours, const struct rt_neighbour *neighbour,
		      bool is_delete);
/* The place or the MAC of a port changed; ifindex 0: of any. */
void neighbours_link_changed(struct neighbours *neighbours, uint32_t ifindex);
void neighbours_begin_sync(struct neighbours *neighbours);
void neighbours_end_sync(struct neighbours *neighbours);

/*
 * Tells the kernel which neighbours are in use, as its own forwarding would have (NTF_USE): those
 * that workers marked since the last call. To be called several times a second. Returns how many
 * were told; bounded per call. The socket is for nothing else: what the kernel answers is thrown
 * away.
 */
uint32_t neighbours_keep_alive(struct neighbours *neighbours, int rtnl_fd, uint64_t now_ns);
/* Known and resolved on route ports, IPv4 and IPv6. */
void neighbours_count(const struct neighbours *neighbours, uint64_t ret_n[2]);

/* Rows for show, as rib_walk(). */
struct neighbour_row {
	struct rt_neighbour neighbour;
	bool is_usable; /* workers send to it */
};
bool neighbours_walk(const struct neighbours *neighbours, uint64_t *io_cursor, uint32_t max_scan,
		     void (*fn)(const struct neighbour_row *row, void *arg), void *arg);

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
/* Makes view->locals what was learnt since the last call; to be called after each batch. */
void locals_publish(struct locals *locals);
/*
 * What the source check of IPv4 depends on: how many prefixes shorter than an address are local
 * (AnyIP; 127.0.0.0/8 is not counted), and whether a device has an address at all.
 */
uint32_t locals_n_prefixes4(const struct locals *locals);
bool locals_has_address4(const struct locals *locals, uint32_t ifindex);
/* How many the gate had no room for: its program does not know them, so no port may forward. */
uint32_t locals_n_refused(const struct locals *locals);

/* Does this /24 hold an address of the host? rib.c paints it "mixed" then. */
bool locals_in_slot24(const struct locals *locals, uint32_t slot24);
/* Calls fn whenever an IPv4 address came or went. */
void locals_on_slot24(struct locals *locals, void (*fn)(uint32_t slot24, void *arg), void *arg);

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
