/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The generator's two programs.
 *
 *   gen_sink   on the interface of a sink: our frames go to the AF_XDP socket of their queue,
 *              everything else to the kernel
 *   gen_flood  attached nowhere: BPF_PROG_TEST_RUN feeds it live frames on one CPU; it stamps each
 *              with flow, sequence number and time, and redirects it into the interface
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

/* A group of its own: the helpers use the types of <linux/bpf.h>. clang-format would sort it up. */
/* clang-format off */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "tools/gen/gen_abi.h"

#define MAX_TAGS 2

/* Ethernet and IPv4 without options, in 16-bit words. */
#define FLOOD_HEADER_WORDS 17

const volatile __u16 sink_ethertype = GEN_ETHERTYPE;

const volatile __u32 flood_ifindex;
const volatile __u32 flood_offset; /* of struct gen_header in the frame */
const volatile __u32 flood_flows = 1;
const volatile __u32 flood_flow_base;
const volatile __u32 flood_crc;                         /* of the frame with a stamp of zeros */
const volatile __u32 flood_delta[GEN_STAMP_BYTES][256]; /* what a stamped byte changes in it */

/*
 * Random destinations: the bits of the destination address that are drawn anew for each frame; 0:
 * the headers are left as they are. A router writes into the pages that come back, so then both
 * headers are written each time.
 */
const volatile __u32 flood_dst_random;
const volatile __u16 flood_headers[FLOOD_HEADER_WORDS];

/* Frames stamped so far. One test run at a time uses it, hence no atomics. */
__u64 flood_next;

/* queue -> AF_XDP socket; user space writes; sized to the interface before load */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sink_xsks SEC(".maps");

struct tag {
	__be16 tci;
	__be16 proto;
};

/* Is this UDP datagram to our port? Options and extension headers are never in ours. */
static __always_inline int is_our_udp(const void *ip, const void *end, __be16 proto)
{
	const struct iphdr *ip4 = ip;
	const struct ipv6hdr *ip6 = ip;
	const struct udphdr *udp;

	if (proto == bpf_htons(ETH_P_IP)) {
		udp = (const void *)(ip4 + 1);
		if ((const void *)(udp + 1) > end || ip4->ihl != 5 || ip4->protocol != IPPROTO_UDP)
			return 0;
	} else if (proto == bpf_htons(ETH_P_IPV6)) {
		udp = (const void *)(ip6 + 1);
		if ((const void *)(udp + 1) > end || ip6->nexthdr != IPPROTO_UDP)
			return 0;
	} else {
		return 0;
	}
	return udp->dest == bpf_htons(GEN_UDP_PORT);
}

SEC("xdp")
int gen_sink(struct xdp_md *ctx)
{
	const void *end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = (const void *)(long)ctx->data;
	const void *next = eth + 1;
	__be16 proto;

	if (next > end)
		return XDP_PASS;
	proto = eth->h_proto;
#pragma unroll
	for (int i = 0; i < MAX_TAGS; i++) {
		const struct tag *tag = next;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((const void *)(tag + 1) > end)
			return XDP_PASS;
		proto = tag->proto;
		next = tag + 1;
	}
	if (proto != bpf_htons(sink_ethertype) && !is_our_udp(next, end, proto))
		return XDP_PASS;
	return (int)bpf_redirect_map(&sink_xsks, ctx->rx_queue_index, XDP_PASS);
}

/* splitmix64 of the frame's number: the same run draws the same destinations. */
static __always_inline __u32 draw(__u64 i)
{
	i = (i + 1) * 0x9e3779b97f4a7c15ULL;
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9ULL;
	return (__u32)(i >> 32);
}

/* The template's checksum is that of a destination whose random bits are 0 (RFC 1624, eqn. 3). */
static __always_inline int put_headers(void *data, const void *end, __u64 i)
{
	struct iphdr *ip = data + ETH_HLEN;
	__u32 drawn = draw(i) & flood_dst_random;
	__u16 *words = data;
	__u32 sum;

	if ((void *)(ip + 1) > end)
		return -1;
#pragma unroll
	for (int n = 0; n < FLOOD_HEADER_WORDS; n++)
		words[n] = flood_headers[n];
	sum = (__u16)~bpf_ntohs(ip->check) + (drawn >> 16) + (drawn & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = bpf_htons((__u16)~sum);
	ip->daddr |= bpf_htonl(drawn);
	return 0;
}

SEC("xdp")
int gen_flood(struct xdp_md *ctx)
{
	const void *end = (const void *)(long)ctx->data_end;
	struct gen_header *header = (void *)(long)ctx->data + flood_offset;
	const __u8 *stamp = (const __u8 *)header + GEN_STAMP_OFFSET;
	__u32 crc = flood_crc;
	__u64 i = flood_next;

	if ((const void *)(header + 1) > end)
		return XDP_ABORTED;
	flood_next = i + 1;
	if (flood_dst_random && put_headers((void *)(long)ctx->data, end, i) < 0)
		return XDP_ABORTED;
	header->flow = bpf_htonl(flood_flow_base + (__u32)(i % flood_flows));
	header->seq = bpf_cpu_to_be64(i / flood_flows);
	header->sent_ns = bpf_cpu_to_be64(bpf_ktime_get_ns());
#pragma unroll
	for (int n = 0; n < GEN_STAMP_BYTES; n++)
		crc ^= flood_delta[n][stamp[n]];
	header->crc = bpf_htonl(crc);
	return (int)bpf_redirect(flood_ifindex, 0);
}

char _license[] SEC("license") = "GPL";
