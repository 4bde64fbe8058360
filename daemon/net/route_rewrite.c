// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a router changes in a frame, to the bit what Linux does: ip_decrease_ttl(), ip6_forward(),
 * neigh_output(). Thread: worker. Owns nothing.
 */
#include <string.h>

#include "net/ip4.h"
#include "net/ip6.h"
#include "net/route.h"

void route_rewrite(const struct route_frame *frame)
{
	struct adjacency *adjacency = frame->adjacency;
	uint8_t *data = frame->data;

	memcpy(data, adjacency->header, sizeof(adjacency->header));
	/* The version, not adjacency->is_ip6: an IPv4 route may lead over an IPv6 neighbour. */
	if (data[ETH_HLEN] >> 4 == 4) {
		struct ip4_header *ip = (struct ip4_header *)(void *)(data + ETH_HLEN);

		ip->ttl--;
		ip->checksum = ip4_checksum_less_ttl(ip->checksum);
	} else {
		((struct ip6_header *)(void *)(data + ETH_HLEN))->hop_limit--;
	}
	/* Looked at first, so that workers do not take the line from each other. */
	if (unlikely(__atomic_load_n(&adjacency->used, __ATOMIC_RELAXED) == 0))
		__atomic_store_n(&adjacency->used, 1, __ATOMIC_RELAXED);
}
