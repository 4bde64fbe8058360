// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The hash by which a flow keeps to one member of a group: of addresses, protocol and ports, of
 * addresses and protocol alone where there are none or fragments of the flow have none. An ICMP
 * error follows the flow that it tells about (RFC 7690), in the direction that its receiver sends:
 * its packet inside is turned round. Thread: worker. Owns nothing.
 *
 * All is read within the frame; what is cut off hashes by addresses.
 */
#include <linux/in.h>
#include <linux/in6.h>

#include "net/ip4.h"
#include "net/ip6.h"
#include "net/route_internal.h"

#define PORTS_BYTES             4
#define ICMP_HEADER_BYTES       8
#define ICMP4_DEST_UNREACH      3
#define ICMP4_SOURCE_QUENCH     4
#define ICMP4_REDIRECT          5
#define ICMP4_TIME_EXCEEDED     11
#define ICMP4_PARAMETER_PROBLEM 12
#define ICMP6_LAST_OF_TOO_LATE  4 /* 1 … 4: unreachable, too big, time exceeded, parameter */

/* What a flow is known by; of IPv4 the addresses stand in the first words. */
struct flow {
	uint64_t src[2];
	uint64_t dst[2];
	uint16_t src_port;
	uint16_t dst_port;
	uint8_t protocol;
};

static bool has_ports(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
	case IPPROTO_UDPLITE:
		return true;
	default:
		return false;
	}
}

static void read_ports(struct flow *flow, const uint8_t *at, const uint8_t *end)
{
	if (!has_ports(flow->protocol) || end - at < PORTS_BYTES)
		return;
	memcpy(&flow->src_port, at, sizeof(flow->src_port));
	memcpy(&flow->dst_port, at + sizeof(flow->src_port), sizeof(flow->dst_port));
}

/*
 * A packet from `at` on: true if its header is whole. *ret_payload is where its payload begins, or
 * NULL where there is none to look into, as in fragments.
 */
static bool read_flow4(struct flow *flow, const uint8_t *at, const uint8_t *end,
		       const uint8_t **ret_payload)
{
	const struct ip4_header *ip = (const struct ip4_header *)(const void *)at;
	ptrdiff_t header_bytes;

	if (end - at < IP4_HEADER_BYTES || ip->version_ihl >> 4 != 4)
		return false;
	*flow = (struct flow){.src = {ip->src}, .dst = {ip->dst}, .protocol = ip->protocol};
	*ret_payload = NULL;
	header_bytes = (ptrdiff_t)4 * (ip->version_ihl & 0xf);
	if (be16toh(ip->fragment) & IP4_FRAGMENT_MASK || header_bytes < IP4_HEADER_BYTES ||
	    header_bytes > end - at)
		return true;
	*ret_payload = at + header_bytes;
	read_ports(flow, *ret_payload, end);
	return true;
}

static bool read_flow6(struct flow *flow, const uint8_t *at, const uint8_t *end,
		       const uint8_t **ret_payload)
{
	const struct ip6_header *ip = (const struct ip6_header *)(const void *)at;

	if (end - at < IP6_HEADER_BYTES || at[0] >> 4 != 6)
		return false;
	*flow = (struct flow){.protocol = ip->next_header};
	memcpy(flow->src, ip->src.octet, sizeof(flow->src));
	memcpy(flow->dst, ip->dst.octet, sizeof(flow->dst));
	*ret_payload = at + IP6_HEADER_BYTES;
	if (ip->next_header == IPPROTO_FRAGMENT) {
		/* The first one would have the ports, the others not. */
		*ret_payload = NULL;
		return true;
	}
	read_ports(flow, *ret_payload, end);
	return true;
}

static bool is_error4(uint8_t type)
{
	return type == ICMP4_DEST_UNREACH || type == ICMP4_SOURCE_QUENCH ||
	       type == ICMP4_REDIRECT || type == ICMP4_TIME_EXCEEDED ||
	       type == ICMP4_PARAMETER_PROBLEM;
}

static bool is_error6(uint8_t type)
{
	return type >= 1 && type <= ICMP6_LAST_OF_TOO_LATE;
}

static void turn_round(struct flow *flow)
{
	const struct flow was = *flow;

	memcpy(flow->src, was.dst, sizeof(flow->src));
	memcpy(flow->dst, was.src, sizeof(flow->dst));
	flow->src_port = was.dst_port;
	flow->dst_port = was.src_port;
}

/* If the payload is an ICMP error, the flow that it is about takes the place of its own. */
static void follow_error(struct flow *flow, const uint8_t *payload, const uint8_t *end)
{
	const uint8_t *inside = payload + ICMP_HEADER_BYTES, *inner_payload;
	struct flow inner;

	if (end - payload < ICMP_HEADER_BYTES)
		return;
	if (flow->protocol == IPPROTO_ICMP && is_error4(payload[0])) {
		if (!read_flow4(&inner, inside, end, &inner_payload))
			return;
	} else if (flow->protocol == IPPROTO_ICMPV6 && is_error6(payload[0])) {
		if (!read_flow6(&inner, inside, end, &inner_payload))
			return;
	} else {
		return;
	}
	turn_round(&inner);
	*flow = inner;
}

uint64_t route_flow_hash(uint64_t seed, const uint8_t *data, uint32_t len)
{
	const uint8_t *at = data + ETH_HLEN, *end = data + len, *payload = NULL;
	bool is_ip4 = at[0] >> 4 == 4;
	struct flow flow = {.protocol = 0};
	uint64_t hash = seed;

	if (is_ip4 ? read_flow4(&flow, at, end, &payload) : read_flow6(&flow, at, end, &payload)) {
		if (payload)
			follow_error(&flow, payload, end);
	}
	hash = route_mix(hash, flow.src[0] << 32 ^ flow.dst[0]);
	if (!is_ip4) {
		hash = route_mix(hash, flow.src[0]);
		hash = route_mix(hash, flow.src[1]);
		hash = route_mix(hash, flow.dst[1]);
	}
	return route_mix(hash, (uint64_t)flow.protocol << 32 | (uint64_t)flow.src_port << 16 |
				       flow.dst_port);
}
