/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files behind control/rib.h share. */
#pragma once

#include "control/rib.h"
#include "control/rib_store.h"

/* rib_node.flags */
#define RIB_NODE_LOCAL 1 /* of table local */
#define RIB_NODE_ECMP  2 /* IPv6, by gateways: equal ones are members of one route */
#define RIB_NODE_ODD   4 /* only the kernel can tell when it applies */

/* rib_node.prefix */
#define RIB_PREFIX_GATED 1 /* IPv6: counted in the gate */
#define RIB_PREFIX_OWED  2 /* in rib_family.owed */

#define RIB_MAX_OWED 4096
#define RIB_MAX_LEN6 128

#define RIB_SLOTS (1U << 24)

struct rib_family {
	bool is_ip6;
	uint8_t max_len;
	struct rib_store store;
	uint32_t n_local_of_len[RIB_MAX_LEN6 + 1]; /* prefixes that table local has a route of */

	/* What the FIB does not have and should. */
	struct rib_owed {
		struct rib_prefix prefix;
		bool is_waiting; /* -EAGAIN: until something is reclaimed */
	} owed[RIB_MAX_OWED];
	uint32_t n_owed;
	uint32_t retry_cursor;
	bool is_overwhelmed;           /* some are in neither; until a pass over all finds room */
	bool is_overwhelmed_again;     /* in this pass */
	bool is_lossy, is_lossy_again; /* without memory for a route; until a sync had it */

	/* A pass that settles all prefixes anew. */
	bool wants_pass;
	uint32_t pass_cursor;
};

struct rib_table {
	struct route_view *view;
	struct gate *gate;
	struct nexthops *nexthops;
	const struct locals *locals;
	struct rib_family families[2];
	uint32_t table, next_table;
	uint16_t mark; /* of this sync, or the last */
	unsigned sweep_family;
	uint32_t sweep_cursor;
	uint32_t dirty_first, dirty_end; /* /24s to be painted */
};

/* --- rib_publish.c: from a prefix to FIB and gate -------------------------------------------- */

/*
 * Makes FIB and gate what the prefix's routes want; `state` is RIB_PREFIX_*, of its first route or,
 * when there is none left, of the last. What cannot be done is owed. -EAGAIN, -ENOSPC, -ENOMEM.
 */
int rib_settle(struct rib_table *rib, struct rib_family *family, const struct rib_prefix *prefix,
	       uint8_t *state);

/* The same of a prefix that has routes, or that has none. */
int rib_settle_prefix(struct rib_table *rib, struct rib_family *family,
		      const struct rib_prefix *prefix);

void rib_paint(struct rib_table *rib, uint32_t first24, uint32_t n);
struct rib_prefix rib_prefix_cut(const struct rib_prefix *prefix, uint8_t len);
struct rib_prefix rib_prefix_from(bool is_ip6, const struct ip6_addr *addr, uint8_t len);
struct ip6_addr rib_addr_of(bool is_ip6, const struct rib_prefix *prefix);

/* --- rib.c ----------------------------------------------------------------------------------- */

/* Takes one route out, for the sweep. */
void rib_drop(struct rib_table *rib, struct rib_family *family, uint32_t index);
