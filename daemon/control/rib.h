/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All routes of table `local` and of the table that is followed, and of each prefix the one that
 * the kernel would take, in the FIB and in the gate.
 *
 * The kernel's order, with the rules that it starts with: table `local` first, whatever the length;
 * so a prefix of it hides the other table's routes within. Then the longest prefix; then TOS,
 * metric, and the order in which routes came. What only the kernel can choose by (TOS, source,
 * router preference) makes the prefix one that passes. So do routes within a prefix of `local` in
 * IPv4 (127.0.0.0/8, AnyIP): until the first `ip rule` came these have the longest prefix first.
 *
 * What the FIB has no room for is owed to it. Until it is paid, the longest prefix around each of
 * these passes, so that no packet takes a route that the kernel would not take; when too much is
 * owed to be told apart, must_pass says that the gate has to be closed.
 *
 * Thread: tables.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/nexthops.h"
#include "control/rtmsg.h"
#include "kern/gate.h"
#include "net/route.h"

struct locals;
struct rib_table; /* struct rib is the FIB's own list of prefixes, net/fib_rib.h */

/* Borrows all for life. Makes view->fib4 and fib6, and frees them. -ENOMEM. */
int rib_table_new(struct route_view *view, struct gate *gate, struct nexthops *nexthops,
		  const struct locals *locals, struct rib_table **ret_rib);
void rib_table_free(struct rib_table *rib);

/* Which table is followed beside `local`; takes effect with the next sync. */
void rib_set_table(struct rib_table *rib, uint32_t table);

/*
 * A route came, with the flags of its message: NLM_F_REPLACE: it takes the place of the first of
 * equal prefix, TOS and metric; NLM_F_APPEND: it stands behind those; neither: before. Other tables
 * and cached routes are ignored. -EAGAIN: owed to the FIB, rib_retry() pays. -ENOMEM, -ENOSPC: it
 * is remembered as refused.
 */
int rib_route(struct rib_table *rib, const struct rt_route *route, uint16_t nlmsg_flags);

/* -ENOENT: none like it was known, which calls for a sync. Else as above. */
int rib_route_gone(struct rib_table *rib, const struct rt_route *route);

/* Tries again what is owed. 0: nothing that only waits for rib_reclaim(). -EAGAIN: still. */
int rib_retry(struct rib_table *rib);

/* Mark and sweep around a dump; end_sync sweeps in slices: true = done. */
void rib_begin_sync(struct rib_table *rib);
bool rib_end_sync(struct rib_table *rib, uint64_t until_ns);

/*
 * Ours-ness of numbers changed: paints the gate anew. Other changes (of short prefixes, of what
 * table `local` hides) leave work for rib_repaint() too, which is to be called in every turn: it
 * works until `until_ns`; true = nothing is left.
 */
void rib_begin_repaint(struct rib_table *rib);
bool rib_repaint(struct rib_table *rib, uint64_t until_ns);

/* An address of the host came into this /24, or the last one left it. */
void rib_slot24_changed(struct rib_table *rib, uint32_t slot24);

struct rib_stats {
	uint64_t n_prefixes[2], n_routes[2], fib_bytes[2];
	uint64_t rib_bytes;
	uint64_t retired_bytes;
	uint64_t n_refused; /* prefixes that the FIB lacks now */
	bool must_pass[2];  /* of a family more is owed than can be told apart: close the gate */
};
void rib_stats(const struct rib_table *rib, struct rib_stats *ret_stats);

void rib_begin_generation(struct rib_table *rib, uint64_t generation);
void rib_reclaim(struct rib_table *rib, uint64_t oldest_generation_seen);

/*
 * Rows for show: from *io_cursor (0 at first) on, at most max_scan routes looked at; fn per route.
 * False: the end was reached. Routes that change in between may be missed or told twice.
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
