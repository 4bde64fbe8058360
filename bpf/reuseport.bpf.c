// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Chooses the listening socket, and so the acceptor, for a SYN; and for each connection that a
 * closing listener leaves behind (migration). One instance per group of sockets with one address.
 *
 *   1. the acceptor on the CPU that received the SYN, while its live connections are not more than
 *      1.5 × the mean + 8: the connection's packets are then handled where they arrive
 *   2. the least loaded acceptor of the same NUMA node
 *   3. the least loaded of all
 *   4. the kernel's hash: SK_PASS with nothing selected
 *
 * A SYN from this host is the hash's: all of a local client's arrive on the CPU it runs on.
 * Load is what acceptors say in `acceptor_load`: this program can read no SK_STORAGE, nor look at a
 * socket in the REUSEPORT_SOCKARRAY.
 */

/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/splice_abi.h"

/* Acceptor slot -> its listening socket. Two generations: a successor's are added beside, then
 * line 0 of acceptor_load names them. */
struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 2 * SPLICE_MAX_ACCEPTORS);
	__type(key, __u32);
	__type(value, __u64);
} acceptors SEC(".maps");

/* Line 0: the group; line 1 + slot: that acceptor. Through mmap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 + 2 * SPLICE_MAX_ACCEPTORS);
	__type(key, __u32);
	__type(value, struct splice_acceptor_load);
} acceptor_load SEC(".maps");

struct address {
	__u32 words[4];
};

static __always_inline bool is_same(const struct address *a, const struct address *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1] &&
	       a->words[2] == b->words[2] && a->words[3] == b->words[3];
}

/* From a loopback address, or from the address that it goes to: what a host says to itself. */
static __always_inline bool is_from_this_host(struct sk_reuseport_md *ctx)
{
	struct address from = {}, to = {};

	if (ctx->eth_protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes_relative(ctx, offsetof(struct iphdr, saddr), &from, 4,
						BPF_HDR_START_NET) < 0 ||
		    bpf_skb_load_bytes_relative(ctx, offsetof(struct iphdr, daddr), &to, 4,
						BPF_HDR_START_NET) < 0)
			return false;
		return (from.words[0] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) ||
		       is_same(&from, &to);
	}
	if (bpf_skb_load_bytes_relative(ctx, offsetof(struct ipv6hdr, saddr), &from, sizeof(from),
					BPF_HDR_START_NET) < 0 ||
	    bpf_skb_load_bytes_relative(ctx, offsetof(struct ipv6hdr, daddr), &to, sizeof(to),
					BPF_HDR_START_NET) < 0)
		return false;
	return is_same(&from, &to); /* ::1 speaks to ::1 only. */
}

/*
 * What one look over the lines finds. Words of 64 bits throughout: where two of 32 are initialized
 * by one store, a later store to one of them is, to Linux 6.1 and a loader without CAP_PERFMON, an
 * "attempt to corrupt spilled pointer on stack".
 */
struct choice {
	__u64 first;
	__u64 n_live, n_open;  /* of all */
	__u64 own, own_live;   /* slot on this CPU */
	__u64 near, near_live; /* least loaded of this node */
	__u64 any, any_live;   /* least loaded */
};

static __always_inline void consider(struct choice *choice, __u32 slot,
				     const struct splice_acceptor_load *load)
{
	if (!load->is_open)
		return;
	choice->n_open++;
	choice->n_live += load->n_live;
	if (load->n_live < choice->any_live) {
		choice->any = slot;
		choice->any_live = load->n_live;
	}
	if (load->node == bpf_get_numa_node_id() && load->n_live < choice->near_live) {
		choice->near = slot;
		choice->near_live = load->n_live;
	}
	if (load->cpu == bpf_get_smp_processor_id()) {
		choice->own = slot;
		choice->own_live = load->n_live;
	}
}

/* A callback and not a loop: the verifier would walk 128 rounds of every branch. */
static long look_at(__u32 i, struct choice *choice)
{
	__u32 first = (__u32)choice->first, line = 1 + first + i;
	const struct splice_acceptor_load *load = bpf_map_lookup_elem(&acceptor_load, &line);

	if (load)
		consider(choice, first + i, load);
	return 0;
}

static __always_inline void look(struct choice *choice)
{
	const __u32 group_line = 0;
	const struct splice_acceptor_load *group = bpf_map_lookup_elem(&acceptor_load, &group_line);
	__u32 n;

	if (!group)
		return;
	choice->first = group->first;
	n = group->n_acceptors;
	bpf_loop(n < SPLICE_MAX_ACCEPTORS ? n : SPLICE_MAX_ACCEPTORS, look_at, choice, 0);
}

/* A frame of its own for each call: a second store of 32 bits to `slot` would be the same attempt.
 */
static __noinline bool is_selected(struct sk_reuseport_md *ctx, __u64 choice)
{
	__u32 slot = (__u32)choice;

	/* -ENOENT: it has closed meanwhile, and the slot has cleared itself. */
	return slot != SPLICE_NONE && bpf_sk_select_reuseport(ctx, &acceptors, &slot, 0) == 0;
}

SEC("sk_reuseport/migrate")
int sluice_reuseport(struct sk_reuseport_md *ctx)
{
	struct choice choice = {.own = SPLICE_NONE,
				.near = SPLICE_NONE,
				.any = SPLICE_NONE,
				.near_live = SPLICE_NONE,
				.any_live = SPLICE_NONE};

	/* A connection that migrates was spread once, and must be found a place. */
	if (!ctx->migrating_sk && is_from_this_host(ctx))
		return SK_PASS;
	look(&choice);
	/* own ≤ 1.5 × live/open + 8, without division */
	if (2 * choice.n_open * choice.own_live <= 3 * choice.n_live + 16 * choice.n_open &&
	    is_selected(ctx, choice.own))
		return SK_PASS;
	if (is_selected(ctx, choice.near) || is_selected(ctx, choice.any))
		return SK_PASS;
	return SK_PASS;
}

char _license[] SEC("license") = "GPL";
