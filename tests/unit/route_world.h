/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A router's tables and packets for it, for tests and benchmarks: numbers of next hops are the
 * caller's, ports have made-up devices, and every frame that is made is one that is forwarded until
 * the test spoils it. Asserts instead of failing. Single-threaded.
 */
#pragma once

#include "net/fib4.h"
#include "net/fib6.h"
#include "net/route.h"

#define ROUTE_WORLD_HOPS   1024
#define ROUTE_WORLD_GROUPS 8
#define ROUTE_WORLD_CELLS  4096

/* The device of a port, and its MAC address: 02:00:00:00:01:port. */
#define ROUTE_WORLD_IFINDEX(port) (100U + (port))

struct route_world {
	struct route_view view;
	struct nexthop hops[ROUTE_WORLD_HOPS];
	struct adjacency adjacencies[ROUTE_WORLD_HOPS]; /* of VIA, by number */
	struct adjacency neighbours[ROUTE_WORLD_CELLS / 2];
	uint32_t n_neighbours;
	uint16_t buckets[ROUTE_WORLD_GROUPS][NEXTHOP_GROUP_BUCKETS];
	uint32_t n_groups;
	struct adjacency_table *table;
	struct route_locals *locals;
};

/* Empty tables; rp_filter off on all ports; next hop 0 is "no route". */
struct route_world *route_world_new(void);
void route_world_free(struct route_world *world);

/* Next hops, by number. A VIA has the neighbour 02:00:00:02:number. */
struct nexthop *route_world_via(struct route_world *world, uint16_t number, uint16_t port,
				uint32_t mtu);
struct nexthop *route_world_connected(struct route_world *world, uint16_t number, uint16_t port,
				      uint32_t mtu);
struct nexthop *route_world_pass(struct route_world *world, uint16_t number,
				 enum handback_reason reason, uint32_t ifindex);
/* The buckets are dealt out in turn. */
struct nexthop *route_world_group(struct route_world *world, uint16_t number,
				  const uint16_t *members, unsigned n_members);

/* A neighbour of a connected route. */
struct adjacency *route_world_neighbour(struct route_world *world, uint16_t port, const char *addr);

/* "10.0.0.0/8" or "2001:db8::/32" */
void route_world_add(struct route_world *world, const char *prefix, uint16_t nh);

/* Replaces the addresses of this host; ends with NULL. */
void route_world_set_locals(struct route_world *world, const char *const *addrs);

void route_world_set_rpf(struct route_world *world, uint16_t port, uint32_t ifindex,
			 enum route_rpf rpf);

/* Where frames come in. */
struct route_in route_world_in(uint16_t port);
void route_world_mac(uint16_t port, uint8_t mac[6]);

/* --- packets -----------------------------------------------------------------------------------
 */

struct ip6_addr addr_of_text(const char *text);

/* UDP of `payload_len` bytes behind the IP header, TTL 64, to port 0. Return the frame's length. */
uint32_t frame_make4(uint8_t *frame, be32 src, be32 dst, uint32_t payload_len);
uint32_t frame_make6(uint8_t *frame, const struct ip6_addr *src, const struct ip6_addr *dst,
		     uint32_t payload_len);
uint32_t frame_make(uint8_t *frame, const char *src, const char *dst, uint32_t payload_len);

/* Computes the IPv4 header checksum anew. */
void frame_fix_checksum(uint8_t *frame);
