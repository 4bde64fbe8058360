/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What next hops and the RIB stand on, as plain as can be, and checking: links, neighbours, the
 * limbo, the gate, the addresses of the host. One world per process, emptied by world_reset().
 */
#pragma once

#include "control/tables_internal.h"

/* Devices 1 … WORLD_LINKS. 2, 3 and 4 are the ports 0, 1 and 2; 1 and 5 are none. */
#define WORLD_LINKS         5
#define WORLD_PORT(ifindex) ((uint16_t)((ifindex)-2))

extern struct link_entry world_links[WORLD_LINKS + 1];
extern uint64_t world_n_retired;

void world_reset(void);

/* Zeroed, with a seed and no adjacencies. The caller frees. */
struct route_view *world_view(void);

/* What was retired is freed. Until then it may be read, and after it must not be. */
void world_reclaim_limbo(void);

/* Resolved from now on, or (NULL) not; tells the next hops. */
void world_set_neighbour(struct nexthops *nexthops, uint32_t ifindex, bool is_ip6,
			 const struct ip6_addr *addr, struct adjacency *adjacency);

void world_set_local24(uint32_t slot24, bool is_local);

/* Prefixes in the gate around an IPv6 address. */
unsigned world_gated6(const struct ip6_addr *addr);
size_t world_n_gated6(void);

/* --- Next hops and a RIB on all that --------------------------------------------------------- */

struct rib_world {
	struct route_view *view;
	struct nexthops *nexthops;
	struct rib_table *rib;
	uint64_t generation;
};

struct rib_world rib_world_new(void);
void rib_world_free(struct rib_world *world);

/* A generation begins, the one before is reclaimed, and what waits for a slice is done. */
void rib_world_turn(struct rib_world *world);

/* As a worker would. */
uint16_t rib_world_lookup(const struct rib_world *world, bool is_ip6, const struct ip6_addr *addr);
