// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The first pass of the router: which frames of a burst have headers that Linux would forward by,
 * unchanged. The test of a good frame is one word without branches; only a frame that fails it is
 * asked why. Thread: worker. Owns nothing.
 */
#include <string.h>

#include "net/ip4.h"
#include "net/ip6.h"
#include "net/route_internal.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define COLD          __attribute__((cold, noinline))

#define NEXT_HEADER_HOP_BY_HOP 0

/* Six octets as they stand in memory, in the low or the high bytes of the word. */
static ALWAYS_INLINE uint64_t mac_word(const uint8_t *mac)
{
	uint64_t word = 0;

	memcpy(&word, mac, ETH_ALEN);
	return word;
}

static ALWAYS_INLINE bool is_for(const uint8_t *data, uint64_t mac)
{
	static const uint8_t ones[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint64_t word;

	memcpy(&word, data, sizeof(word)); /* one load; there are as many bytes in any header */
	return (word & mac_word(ones)) == mac;
}

static ALWAYS_INLINE uint16_t type_of(const uint8_t *data)
{
	return (uint16_t)(data[12] << 8 | data[13]);
}

/* --- Frames that do not go on ------------------------------------------------------------------
 */

static void drop(struct route_frame *frame)
{
	frame->verdict = ROUTE_DROP;
}

/*
 * eth_type_trans(): a group address is the stack's to judge (ip_forward() sends nothing on that was
 * not sent to this host alone, but may deliver it). So is another station's: the XDP program lets
 * none through, so this is one to an address that the port has got meanwhile, or had.
 */
static bool refuse_by_mac(struct route_frame *frame, uint64_t mac)
{
	if (likely(mac_word(frame->data) == mac))
		return false;
	route_hand_back(frame, frame->data[0] & 1 ? HANDBACK_LOCAL : HANDBACK_HEADER);
	return true;
}

/* As IPv4 goes, by ip_rcv_core(), ip_route_input_slow(), ip_forward(); the frame failed is_good4().
 */
static bool is_broken4(const struct ip4_header *ip, uint32_t n_bytes)
{
	uint32_t total_len;

	if (n_bytes < IP4_HEADER_BYTES || ip->version_ihl >> 4 != 4 || ip->version_ihl < IP4_PLAIN)
		return true;
	if (ip->version_ihl > IP4_PLAIN)
		return false; /* has options, and a checksum over them: the kernel's */
	total_len = be16toh(ip->total_len);
	return total_len < IP4_HEADER_BYTES || total_len > n_bytes || !ip4_checksum_is_right(ip);
}

static COLD void refuse4(struct route_frame *frame, uint64_t mac)
{
	const struct ip4_header *ip = ip4_header_of(frame->data);

	if (refuse_by_mac(frame, mac))
		return;
	if (is_broken4(ip, frame->len - ETH_HLEN))
		drop(frame);
	else if (ip->version_ihl == IP4_PLAIN && ip4_is_special(be32toh(ip->dst)))
		route_hand_back(frame, HANDBACK_LOCAL);
	else if (ip->version_ihl == IP4_PLAIN && ip4_is_special(be32toh(ip->src)))
		route_hand_back(frame, HANDBACK_SOURCE);
	else
		route_hand_back(frame, HANDBACK_HEADER); /* options, TTL */
}

/* By ip6_rcv_core(), ip6_forward(). */
static bool is_broken6(const struct ip6_header *ip, uint32_t n_bytes)
{
	if (n_bytes < IP6_HEADER_BYTES || be32toh(ip->version_class_flow) >> 28 != 6)
		return true;
	/* behind a hop-by-hop header the length may stand in the jumbo option */
	return ip->next_header != NEXT_HEADER_HOP_BY_HOP &&
	       be16toh(ip->payload_len) > n_bytes - IP6_HEADER_BYTES;
}

static COLD void refuse6(struct route_frame *frame, uint64_t mac)
{
	const struct ip6_header *ip = ip6_header_of(frame->data);
	bool is_hop_by_hop;

	if (refuse_by_mac(frame, mac))
		return;
	if (is_broken6(ip, frame->len - ETH_HLEN)) {
		drop(frame);
		return;
	}
	is_hop_by_hop = ip->next_header == NEXT_HEADER_HOP_BY_HOP;
	if (!is_hop_by_hop && ip6_is_special(&ip->dst))
		route_hand_back(frame, HANDBACK_LOCAL);
	else if (!is_hop_by_hop && (ip6_is_special(&ip->src) || ip6_is_v4mapped(&ip->src)))
		route_hand_back(frame, HANDBACK_SOURCE);
	else
		route_hand_back(frame, HANDBACK_HEADER); /* hop-by-hop, hop limit */
}

/* Any frame at all. */
static COLD void refuse_type(struct route_frame *frame, uint64_t mac)
{
	if (frame->len < ETH_HLEN)
		drop(frame);
	else if (type_of(frame->data) == ETH_P_IP)
		refuse4(frame, mac);
	else if (type_of(frame->data) == ETH_P_IPV6)
		refuse6(frame, mac);
	else if (!refuse_by_mac(frame, mac))
		route_hand_back(frame, HANDBACK_HEADER);
}

/* --- Frames that do ----------------------------------------------------------------------------
 */

/* The frame has room for an IPv4 header. */
static ALWAYS_INLINE bool is_good4(const struct route_frame *frame, uint64_t mac)
{
	const struct ip4_header *ip = ip4_header_of(frame->data);
	uint32_t total_len = be16toh(ip->total_len);

	return is_for(frame->data, mac) & (ip->version_ihl == IP4_PLAIN) &
	       (total_len >= IP4_HEADER_BYTES) & (total_len <= frame->len - ETH_HLEN) &
	       (ip->ttl > 1) & ip4_checksum_is_right(ip) & !ip4_is_special(be32toh(ip->dst)) &
	       !ip4_is_special(be32toh(ip->src));
}

/* The frame has room for an IPv6 header. */
static ALWAYS_INLINE bool is_good6(const struct route_frame *frame, uint64_t mac)
{
	const struct ip6_header *ip = ip6_header_of(frame->data);

	return is_for(frame->data, mac) & (be32toh(ip->version_class_flow) >> 28 == 6) &
	       (be16toh(ip->payload_len) <= frame->len - ETH_HLEN - IP6_HEADER_BYTES) &
	       (ip->hop_limit > 1) & (ip->next_header != NEXT_HEADER_HOP_BY_HOP) &
	       !ip6_is_special(&ip->dst) & !ip6_is_special(&ip->src) & !ip6_is_v4mapped(&ip->src);
}

static ALWAYS_INLINE void parse(struct route_frame *frame, unsigned i, uint64_t mac,
				struct route_pass4 *pass4, struct route_pass6 *pass6)
{
	const uint8_t *data = frame->data;

	frame->nh = FIB_NO_ROUTE;
	frame->out_len = 0;
	frame->adjacency = NULL;
	if (likely(frame->len >= ETH_HLEN + IP4_HEADER_BYTES && type_of(data) == ETH_P_IP)) {
		if (unlikely(!is_good4(frame, mac))) {
			refuse4(frame, mac);
			return;
		}
		frame->out_len = ETH_HLEN + be16toh(ip4_header_of(data)->total_len);
		pass4->dst[pass4->n] = ip4_header_of(data)->dst;
		pass4->index[pass4->n++] = (uint8_t)i;
	} else if (frame->len >= ETH_HLEN + IP6_HEADER_BYTES && type_of(data) == ETH_P_IPV6) {
		if (unlikely(!is_good6(frame, mac))) {
			refuse6(frame, mac);
			return;
		}
		frame->out_len =
			ETH_HLEN + IP6_HEADER_BYTES + be16toh(ip6_header_of(data)->payload_len);
		pass6->dst[pass6->n] = ip6_header_of(data)->dst;
		pass6->index[pass6->n++] = (uint8_t)i;
	} else {
		refuse_type(frame, mac);
	}
}

void route_parse(const struct route_in *in, struct route_frame *frames, unsigned n,
		 struct route_pass4 *ret_pass4, struct route_pass6 *ret_pass6)
{
	const uint64_t mac = mac_word(in->mac);

	ret_pass4->n = ret_pass6->n = 0;
	for (unsigned i = 0; i < n; i++)
		parse(&frames[i], i, mac, ret_pass4, ret_pass6);
}
