/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IPv6 header as a router sees it: a view onto the frame's bytes, and the checks of
 * ip6_rcv_core() and ip6_forward() of the kernel (net/ipv6/) as words that do not branch. Pure.
 */
#pragma once

#include <endian.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "net/wire.h"

#define IP6_HEADER_BYTES 40
#define IP6_MIN_MTU      1280 /* of any link; a smaller one is not believed (ip6_forward()) */

/* As it stands in the frame, at any alignment. */
struct ip6_header {
	be32 version_class_flow;
	be16 payload_len;
	uint8_t next_header;
	uint8_t hop_limit;
	struct ip6_addr src;
	struct ip6_addr dst;
} __attribute__((packed, may_alias)); /* wire overlay */
_Static_assert(sizeof(struct ip6_header) == IP6_HEADER_BYTES, "RFC 8200");

/* The caller has seen that the frame is that long. */
static inline const struct ip6_header *ip6_header_of(const uint8_t *frame)
{
	return (const struct ip6_header *)(const void *)(frame + ETH_HLEN);
}

static inline uint64_t ip6_half(const struct ip6_addr *addr, unsigned half)
{
	uint64_t word;

	memcpy(&word, addr->octet + sizeof(word) * half, sizeof(word));
	return be64toh(word);
}

/* ff00::/8 */
static inline bool ip6_is_multicast(const struct ip6_addr *addr)
{
	return addr->octet[0] == 0xff;
}

/* Never forwarded, as source or destination: ::, ::1, fe80::/10, ff00::/8. */
static inline bool ip6_is_special(const struct ip6_addr *addr)
{
	uint64_t high = ip6_half(addr, 0), low = ip6_half(addr, 1);

	return ((high == 0) & (low <= 1)) | (high >> 54 == 0xfe80 >> 6) | (high >> 56 == 0xff);
}

/* ::ffff:0:0/96: not as a source (ip6_rcv_core()); as a destination an address like any other. */
static inline bool ip6_is_v4mapped(const struct ip6_addr *addr)
{
	return (ip6_half(addr, 0) == 0) & (ip6_half(addr, 1) >> 32 == 0xffff);
}
