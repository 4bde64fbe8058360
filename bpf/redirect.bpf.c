// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The XDP programs of a port, of which kern/port_prog.c loads the one that is asked for: each sends
 * every frame of an owned receive queue to the AF_XDP socket in the queue's XSKMAP slot, and every
 * other frame where the port's configuration says. What it looks at:
 *
 *   wire    the destination MAC; a tagged or truncated frame is a frame like any other
 *   bridge  the same, and the target of ARP and neighbour solicitations: what is this host's
 *   route   Ethernet and IP header, then the gate (kern/gate.h): sent on is only what the kernel
 *           would forward unchanged, as far as a table without next hops can tell; the rest passes
 *
 * They are programs of their own, and not one with a constant: without CAP_PERFMON a verifier
 * of 6.1 also walks the side of a branch that is never taken, so that a wire would need the gate's
 * maps.
 *
 * One instance with maps of its own per port. Runs in NAPI context, on one CPU per receive queue in
 * native mode.
 *
 * A program stores nothing on its stack: without CAP_PERFMON the verifier puts an lfence behind
 * such stores (spikes.md, change 3). Map keys are therefore pointers into read-only data or into
 * the packet: +15 ns over a no-op against +18 with keys on the stack; +13 either way with
 * CAP_PERFMON. For the same reason the gate's tables are arrays of one large value.
 */

/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/sluice_abi.h"

/* --- Load-time facts, set by kern/port_prog.c and frozen ------------------------------------- */

const volatile struct sluice_port_config config = {};

/*
 * Heartbeat line of the worker that owns a queue: 1 + worker, or SLUICE_NO_WORKER. A line and not
 * a worker, so that the entry itself can be the key of a map lookup.
 */
const volatile __u32 queue_line[SLUICE_MAX_QUEUES] = {};

/* Keys for map lookups. */
static const volatile __u32 port_line = 0;
static const volatile __u32 whole_table = 0;

#define VERDICT_KEY(id, name, action, help) [SLUICE_V_##id] = SLUICE_V_##id,
static const volatile __u32 verdict_key[SLUICE_V_N] = {SLUICE_VERDICTS(VERDICT_KEY)};
#undef VERDICT_KEY

/* --- Maps ------------------------------------------------------------------------------------ */

/* Receive queue -> AF_XDP socket. Written by control at bind and at teardown; sized by the loader
 * to the queues of the port. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/* Line 0: the port's detach word, written by control, and what the tables say of the port. Line
 * 1 + w: beat of worker w, written by that worker through mmap. Not BPF_F_RDONLY_PROG: the kernel
 * then refuses a writable mmap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_heartbeat);
} heartbeat SEC(".maps");

/* Frames by enum sluice_verdict, written here. The second half, at SLUICE_V_N + reason, holds the
 * totals of predecessors whose place this program took; control alone writes it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * SLUICE_V_N);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

/*
 * The gate. The loader puts the daemon's maps (kern/gate.c) in the place of these definitions when
 * the port routes or bridges, and makes none when it does not: a wire's program names none.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, SLUICE_GATE4_WORDS * sizeof(__u64));
} gate4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, SLUICE_GATE6_WORDS * sizeof(__u64));
} gate6 SEC(".maps");

/* Address of this host, as in a packet -> the bridge's group, or SLUICE_NO_GROUP. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_LOCALS);
	__uint(key_size, 4);
	__uint(value_size, sizeof(__u32));
} local4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_LOCALS);
	__uint(key_size, 16);
	__uint(value_size, sizeof(__u32));
} local6 SEC(".maps");

/* --- Verdicts -------------------------------------------------------------------------------- */

#define ACTION_redirect XDP_REDIRECT
#define ACTION_pass     XDP_PASS
#define ACTION_drop     XDP_DROP
#define ACTION_fallback config.fallback
#define ACTION_aborted  XDP_ABORTED

/* The only way out: counts the frame under `reason` and gives the action of its table row. */
static __always_inline int verdict(enum sluice_verdict reason)
{
	__u64 *count = bpf_map_lookup_elem(&verdicts, (const void *)&verdict_key[reason]);

	if (count)
		(*count)++;
	switch (reason) {
#define VERDICT_ACTION(id, name, action, help) \
	case SLUICE_V_##id:                    \
		return ACTION_##action;
		SLUICE_VERDICTS(VERDICT_ACTION)
#undef VERDICT_ACTION
	case SLUICE_V_N:
		break;
	}
	return XDP_ABORTED;
}

/* 01:80:c2:00:00:00 … :0f, the addresses that a bridge must not forward (IEEE 802.1Q table 8-1). */
static __always_inline bool is_link_control(const __u8 *dst)
{
	return *(const __u32 *)dst == bpf_htonl(0x0180c200) && dst[4] == 0x00 &&
	       (dst[5] & 0xf0) == 0x00;
}

/*
 * Has the worker beaten within the stall timeout? The beat itself is a time, so what the queue saw
 * before plays no part: the first frame after a silence is judged like any other. Signed, since a
 * beat may be a tick ahead. 0 means "not running" and is never alive, whatever the clock says.
 */
static __always_inline bool is_worker_alive(const volatile struct sluice_heartbeat *line)
{
	__u64 beat = line->beat;
	__s64 age_jiffies = (__s64)(bpf_jiffies64() - beat);

	return age_jiffies <= (__s64)config.stall_jiffies && beat != 0;
}

/* To the worker of its queue, if that is there to take it. */
static __always_inline int redirect_frame(__u32 queue)
{
	const volatile struct sluice_heartbeat *line;

	line = bpf_map_lookup_elem(&heartbeat, (const void *)&queue_line[queue]);
	if (!line)
		return verdict(SLUICE_V_INTERNAL);
	if (!is_worker_alive(line))
		return verdict(SLUICE_V_STALE);
	if (bpf_redirect_map(&xsks, queue, config.fallback) != XDP_REDIRECT)
		return verdict(SLUICE_V_NO_SOCKET);
	return verdict(SLUICE_V_REDIRECT);
}

/* --- Wire ------------------------------------------------------------------------------------ */

static __always_inline int wire_frame(const __u8 *data, __u32 queue)
{
	if (is_link_control(data)) {
		if (data[5] == 0x01)
			return verdict(SLUICE_V_PAUSE);
		if (config.pass_control)
			return verdict(SLUICE_V_CONTROL);
	}
	return redirect_frame(queue);
}

/* --- Route ----------------------------------------------------------------------------------- */

/* Is the frame sent to the port's own address? A line without one is nobody's. */
static __always_inline bool is_to_port(const __u8 *data,
				       const volatile struct sluice_heartbeat *line)
{
	__u64 first8 = *(const __u64 *)data; /* destination, and two octets of the source */

	return bpf_be64_to_cpu(first8 ^ line->mac) >> 16 == 0;
}

/* 0.0.0.0, 127/8, and from 224/4 on: multicast, reserved, broadcast. In host byte order. */
static __always_inline bool is_special4(__u32 dst)
{
	return dst >= 0xe0000000 || dst >> 24 == 127 || dst == 0;
}

/*
 * Whether the frame holds as much as the header says is left to the worker, which hands back what
 * it does not: without CAP_PERFMON the verifier lets nobody add a variable to a packet pointer, and
 * bpf_xdp_get_buff_len() costs every frame 12 ns.
 */
static __always_inline int route_ipv4(const __u8 *data, const __u8 *data_end,
				      const volatile struct sluice_heartbeat *line, __u32 queue)
{
	const struct iphdr *ip = (const struct iphdr *)(data + ETH_HLEN);
	const __u64 *words;
	__u32 len, dst, class;

	if ((const __u8 *)(ip + 1) > data_end || *(const __u8 *)ip != 0x45 || ip->ttl <= 1)
		return verdict(SLUICE_V_CARE);
	len = bpf_ntohs(ip->tot_len);
	if (len < sizeof(*ip) || len > line->max_packet_len)
		return verdict(SLUICE_V_CARE);
	dst = bpf_ntohl(ip->daddr);
	if (is_special4(dst))
		return verdict(SLUICE_V_CARE);

	words = bpf_map_lookup_elem(&gate4, (const void *)&whole_table);
	if (!words)
		return verdict(SLUICE_V_INTERNAL);
	class = words[dst >> 13] >> (dst >> 8 & 31) * 2 & 3;
	if (class == SLUICE_GATE_PASS)
		return verdict(SLUICE_V_NO_GATE);
	if (class == SLUICE_GATE_MIXED && bpf_map_lookup_elem(&local4, &ip->daddr))
		return verdict(SLUICE_V_LOCAL);
	return redirect_frame(queue);
}

/*
 * Not a unicast address that is routed: multicast, link-local, or with 64 zero bits in front: the
 * unspecified, the loopback, and mapped IPv4 addresses. `top` is the first half as a number.
 */
static __always_inline bool is_special6(__u64 top)
{
	return top == 0 || top >> 56 == 0xff || top >> 54 == 0xfe80 >> 6;
}

static __always_inline __u32 gate6_probe(const __u64 *words, __u64 top, __u32 bits)
{
	__u32 bit = sluice_gate6_bit(top >> (64 - bits) << (64 - bits), bits);

	return (__u32)(words[bit / 64] >> bit % 64) & 1;
}

/*
 * Neighbour discovery, RS to redirect: to another host's address it is the kernel's, too, which may
 * answer for that host (proxy_ndp). What is cut off is the worker's to find.
 */
static __always_inline bool is_neighbour_discovery(const struct ipv6hdr *ip, const __u8 *data_end)
{
	const __u8 *type = (const __u8 *)(ip + 1);

	return ip->nexthdr == IPPROTO_ICMPV6 && type + 1 <= data_end && *type >= 133 &&
	       *type <= 137;
}

static __always_inline int route_ipv6(const __u8 *data, const __u8 *data_end,
				      const volatile struct sluice_heartbeat *line, __u32 queue)
{
	const struct ipv6hdr *ip = (const struct ipv6hdr *)(data + ETH_HLEN);
	const __u64 *words;
	__u32 len;
	__u64 top;

	if ((const __u8 *)(ip + 1) > data_end || *(const __u8 *)ip >> 4 != 6 ||
	    ip->hop_limit <= 1 || ip->nexthdr == IPPROTO_HOPOPTS ||
	    is_neighbour_discovery(ip, data_end))
		return verdict(SLUICE_V_CARE);
	len = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (len > line->max_packet_len)
		return verdict(SLUICE_V_CARE);
	top = bpf_be64_to_cpu(*(const __u64 *)&ip->daddr);
	if (is_special6(top))
		return verdict(SLUICE_V_CARE);

	words = bpf_map_lookup_elem(&gate6, (const void *)&whole_table);
	if (!words)
		return verdict(SLUICE_V_INTERNAL);
	/* All three at once: a branch for each costs more than the probes. */
	if (!(gate6_probe(words, top, 48) | gate6_probe(words, top, 32) |
	      gate6_probe(words, top, 16)))
		return verdict(SLUICE_V_NO_GATE);
	if (gate6_probe(words, top, 64) && bpf_map_lookup_elem(&local6, &ip->daddr))
		return verdict(SLUICE_V_LOCAL);
	return redirect_frame(queue);
}

/* Nothing is dropped here but for want of a worker: what is not understood is the kernel's. */
static __always_inline int route_frame(const __u8 *data, const __u8 *data_end,
				       const volatile struct sluice_heartbeat *line, __u32 queue)
{
	__u16 type = *(const __u16 *)(data + offsetof(struct ethhdr, h_proto));

	if (is_link_control(data))
		return verdict(SLUICE_V_CONTROL);
	if (!is_to_port(data, line))
		return verdict(SLUICE_V_NOT_ROUTED);
	if (type == bpf_htons(ETH_P_IP)) {
		if (!(line->routes & SLUICE_ROUTES_IPV4))
			return verdict(SLUICE_V_POLICY);
		return route_ipv4(data, data_end, line, queue);
	}
	if (type == bpf_htons(ETH_P_IPV6)) {
		if (!(line->routes & SLUICE_ROUTES_IPV6))
			return verdict(SLUICE_V_POLICY);
		return route_ipv6(data, data_end, line, queue);
	}
	return verdict(SLUICE_V_NOT_ROUTED);
}

/* --- Bridge ---------------------------------------------------------------------------------- */

/* ARP of IPv4 over Ethernet. <linux/if_arp.h> brings libc along, which this target has not. */
struct arp_ipv4 {
	__be16 format[4]; /* hardware, protocol, their lengths; operation */
	__u8 sender_mac[6], sender_addr[4], target_mac[6], target_addr[4];
};
#define ARP_IPV4_FORMAT 0x000108000604
_Static_assert(sizeof(struct arp_ipv4) == 28, "as on the wire");

struct neighbour_solicitation {
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
	__u8 target[16];
};
_Static_assert(sizeof(struct neighbour_solicitation) == 64, "as on the wire");

/*
 * Keeps the compiler from making one lookup out of two, with a key at a variable distance: without
 * CAP_PERFMON the verifier lets nobody add a variable to a packet pointer.
 */
#define OPAQUE(pointer)                           \
	({                                        \
		const void *_opaque = (pointer);  \
		asm volatile("" : "+r"(_opaque)); \
		_opaque;                          \
	})

/* The bridge's group, if an address of this host is asked for; else NULL. */
static __always_inline const __u32 *arp_group(const __u8 *data, const __u8 *data_end)
{
	const struct arp_ipv4 *arp = (const struct arp_ipv4 *)(data + ETH_HLEN);

	if ((const __u8 *)(arp + 1) > data_end ||
	    bpf_be64_to_cpu(*(const __be64 *)arp->format) >> 16 != ARP_IPV4_FORMAT)
		return NULL;
	return bpf_map_lookup_elem(&local4, OPAQUE(arp->target_addr));
}

static __always_inline const __u32 *solicitation_group(const __u8 *data, const __u8 *data_end)
{
	const struct neighbour_solicitation *ns =
		(const struct neighbour_solicitation *)(data + ETH_HLEN);

	if ((const __u8 *)(ns + 1) > data_end || *(const __u8 *)ns >> 4 != 6 ||
	    ns->ip.nexthdr != IPPROTO_ICMPV6 || ns->icmp.icmp6_type != 135)
		return NULL;
	return bpf_map_lookup_elem(&local6, OPAQUE(ns->target));
}

/*
 * Frames to the port's own address, and questions to everybody for an address that this host has on
 * this bridge. A question sent to one station is answered by that station.
 */
static __always_inline int bridge_frame(const __u8 *data, const __u8 *data_end,
					const volatile struct sluice_heartbeat *line, __u32 queue)
{
	__u16 type = *(const __u16 *)(data + offsetof(struct ethhdr, h_proto));
	const __u32 *group = NULL;

	if (is_link_control(data)) {
		if (data[5] == 0x01)
			return verdict(SLUICE_V_PAUSE);
		return verdict(SLUICE_V_CONTROL);
	}
	if (is_to_port(data, line))
		return verdict(SLUICE_V_LOCAL);
	if (!(data[0] & 1))
		return redirect_frame(queue);
	if (type == bpf_htons(ETH_P_ARP))
		group = arp_group(data, data_end);
	else if (type == bpf_htons(ETH_P_IPV6))
		group = solicitation_group(data, data_end);
	if (group && *group == config.group)
		return verdict(SLUICE_V_LOCAL);
	return redirect_frame(queue);
}

/* --- Programs -------------------------------------------------------------------------------- */

/* `forward` is a constant of each caller: the compiler leaves one of the three. */
static __always_inline int port_frame(const struct xdp_md *ctx, enum sluice_forward forward)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *data_end = (const __u8 *)(long)ctx->data_end;
	const volatile struct sluice_heartbeat *line;
	__u32 queue = ctx->rx_queue_index;

	line = bpf_map_lookup_elem(&heartbeat, (const void *)&port_line);
	if (!line)
		return verdict(SLUICE_V_INTERNAL);
	if (line->detach)
		return verdict(SLUICE_V_DETACHED);
	if (config.forward == SLUICE_FORWARD_PASS)
		return verdict(SLUICE_V_PASS_PORT);
	if (queue >= SLUICE_MAX_QUEUES || queue_line[queue] == SLUICE_NO_WORKER)
		return verdict(SLUICE_V_NO_WORKER);
	if (data + ETH_HLEN > data_end)
		return verdict(SLUICE_V_MALFORMED);

	if (forward == SLUICE_FORWARD_ROUTE)
		return route_frame(data, data_end, line, queue);
	if (forward == SLUICE_FORWARD_BRIDGE)
		return bridge_frame(data, data_end, line, queue);
	return wire_frame(data, queue);
}

/* Also of a port that passes everything. */
SEC("xdp")
int sluice_redirect(struct xdp_md *ctx)
{
	return port_frame(ctx, SLUICE_FORWARD_WIRE);
}

SEC("xdp")
int sluice_route(struct xdp_md *ctx)
{
	return port_frame(ctx, SLUICE_FORWARD_ROUTE);
}

SEC("xdp")
int sluice_bridge(struct xdp_md *ctx)
{
	return port_frame(ctx, SLUICE_FORWARD_BRIDGE);
}

char LICENSE[] SEC("license") = "GPL";
