/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The IPv4 header as a router sees it: a view onto the frame's bytes, and the checks of ip_rcv(),
 * ip_route_input() and ip_forward() of the kernel (net/ipv4/) as words that do not branch. Pure.
 */
#pragma once

#include <endian.h>
#include <linux/if_ether.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "net/wire.h"

#define IP4_HEADER_BYTES   20
#define IP4_PLAIN          0x45   /* version 4, no options */
#define IP4_FRAGMENT_MASK  0x3fff /* more fragments, and the offset */
#define IP4_LIMITED_BCAST  0xffffffffU
#define IP4_LOOPBACK_OCTET 127
#define IP4_MULTICAST_TOP  0xe /* of the first four bits */

/* As it stands in the frame, at any alignment. */
struct ip4_header {
	uint8_t version_ihl;
	uint8_t tos;
	be16 total_len;
	be16 id;
	be16 fragment;
	uint8_t ttl;
	uint8_t protocol;
	be16 checksum;
	be32 src;
	be32 dst;
} __attribute__((packed, may_alias)); /* wire overlay */
_Static_assert(sizeof(struct ip4_header) == IP4_HEADER_BYTES, "RFC 791");

/* The caller has seen that the frame is that long. */
static inline const struct ip4_header *ip4_header_of(const uint8_t *frame)
{
	return (const struct ip4_header *)(const void *)(frame + ETH_HLEN);
}

/*
 * Is the checksum of a header without options right? One's complement is arithmetic modulo 0xffff,
 * in which any byte order and any word size gives the same sum: so five words of 32 bits, which
 * must add up to a multiple of 0xffff. (That is a multiplication and a comparison to the compiler,
 * where folding would be a chain of additions. 0 is a multiple, too: of a header of zeroes alone.)
 */
static inline bool ip4_checksum_is_right(const struct ip4_header *ip)
{
	uint32_t words[IP4_HEADER_BYTES / 4];
	uint64_t sum;

	memcpy(words, ip, sizeof(words));
	sum = (uint64_t)words[0] + words[1] + words[2] + words[3] + words[4];
	return sum % 0xffff == 0;
}

/*
 * The checksum after the TTL went down by one: RFC 1624 eqn. 3 comes down to adding 0x0100 with the
 * carry around, where 0xffff stands for 0 and is written as 0 (ip_decrease_ttl(), net/ip.h, to the
 * bit). In the frame's own byte order, since the carry goes around in either.
 */
static inline be16 ip4_checksum_less_ttl(be16 checksum)
{
	uint32_t sum = (uint32_t)checksum + htobe16(0x0100);

	return (be16)(sum + (sum >= 0xffff));
}

static inline bool ip4_is_multicast(uint32_t addr)
{
	return addr >> 28 == IP4_MULTICAST_TOP;
}

/*
 * Never forwarded, as source or destination: 0.0.0.0, 127/8, 224/4, 255.255.255.255. The rest of
 * 0/8 and of 240/4 is ordinary to Linux since 5.3. Written with |, so that no branch depends on it.
 */
static inline bool ip4_is_special(uint32_t addr)
{
	return (addr == 0) | (addr >> 24 == IP4_LOOPBACK_OCTET) | ip4_is_multicast(addr) |
	       (addr == IP4_LIMITED_BCAST);
}
