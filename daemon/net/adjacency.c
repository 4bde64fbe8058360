// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Finding the neighbour of a connected route by its address: linear probing in a table that is at
 * most half full. Workers look up; control/neighbours.c owns the table and uses the same hash.
 */
#include <string.h>

#include "net/fib_atomic.h"
#include "net/route.h"
#include "net/route_internal.h"

uint32_t adjacency_hash(uint32_t ifindex, bool is_ip6, const struct ip6_addr *addr)
{
	uint64_t halves[2];

	memcpy(halves, addr->octet, sizeof(halves));
	return (uint32_t)(route_mix(route_mix((uint64_t)ifindex << 1 | is_ip6, halves[0]),
				    halves[1]) >>
			  32);
}

static bool is_adjacency_of(const struct adjacency *adjacency, uint32_t ifindex, bool is_ip6,
			    const struct ip6_addr *addr)
{
	return adjacency->ifindex == ifindex && adjacency->is_ip6 == is_ip6 &&
	       memcmp(adjacency->addr.octet, addr->octet, sizeof(addr->octet)) == 0;
}

struct adjacency *adjacency_find(const struct adjacency_table *table, uint32_t ifindex, bool is_ip6,
				 const struct ip6_addr *addr)
{
	uint32_t start;

	if (!table)
		return NULL;
	start = adjacency_hash(ifindex, is_ip6, addr);
	/* Ends at an empty cell, of which half are; the bound is for a table that says otherwise.
	 */
	for (uint32_t i = 0; i <= table->mask; i++) {
		/* pairs with the release of who put it there: the adjacency is complete */
		struct adjacency *adjacency = atomic_load_explicit(
			&table->cells[(start + i) & table->mask], memory_order_acquire);

		if (!adjacency)
			return NULL;
		if (is_adjacency_of(adjacency, ifindex, is_ip6, addr))
			return adjacency;
	}
	return NULL;
}
