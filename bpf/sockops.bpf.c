// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fills the metadata of spliced sockets with what TCP knows of them, and reports each one at its
 * end. Attached to a cgroup of the daemon's own by kern/sockops.c; touches only sockets that carry
 * `conn_meta` already, so that another service's sockets cost one failed lookup.
 *
 * Not created here, and not on LISTEN: a zeroed value on the listener would be cloned to every
 * child (splice-lab.md 0.9).
 */

/* libbpf's headers need the kernel's types before them. */
/* clang-format off */
#include <linux/bpf.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
/* clang-format on */

#include "bpf/splice_abi.h"

/* Socket -> what is known of it. Set by user space on listeners, from which children get a copy,
 * and on backend sockets; read by fd. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct splice_conn_meta);
} conn_meta SEC(".maps");

/* struct splice_event of closed sockets; read by control. What finds it full is counted in n_lost:
 * the metrics and the flow log then lack a socket, and say so. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} closed SEC(".maps");

__u64 n_lost;

/* RETRANS: a peer that has gone silent gives no more round trips. */
#define CALLBACKS \
	(BPF_SOCK_OPS_RTT_CB_FLAG | BPF_SOCK_OPS_RETRANS_CB_FLAG | BPF_SOCK_OPS_STATE_CB_FLAG)

static __always_inline struct splice_conn_meta *meta_of(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	struct splice_conn_meta *meta;

	if (!sk)
		return NULL;
	meta = bpf_sk_storage_get(&conn_meta, sk, NULL, 0);
	return meta && meta->magic == SPLICE_META_MAGIC ? meta : NULL;
}

static __always_inline void look(struct bpf_sock_ops *ops, struct splice_conn_meta *meta)
{
	meta->bytes_received = ops->bytes_received;
	meta->bytes_acked = ops->bytes_acked;
	meta->srtt_us = ops->srtt_us >> 3;
	meta->n_retransmits = ops->total_retrans;
}

static __always_inline void report(struct bpf_sock_ops *ops, const struct splice_conn_meta *meta)
{
	struct splice_event event = {.kind = SPLICE_EVENT_CLOSED, .side = SPLICE_NONE};

	event.cookie = bpf_get_socket_cookie(ops);
	event.meta = *meta;
	if (bpf_ringbuf_output(&closed, &event, sizeof(event), 0) < 0)
		__sync_fetch_and_add(&n_lost, 1);
}

/* A third of the calls ask something: a timeout, a window, ECN. Those are not worth a lookup. */
static __always_inline int is_told(__u32 op)
{
	return op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ||
	       op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB || op == BPF_SOCK_OPS_RTT_CB ||
	       op == BPF_SOCK_OPS_RETRANS_CB || op == BPF_SOCK_OPS_STATE_CB;
}

SEC("sockops")
int sluice_sockops(struct bpf_sock_ops *ops)
{
	struct splice_conn_meta *meta = is_told(ops->op) ? meta_of(ops) : NULL;

	if (!meta)
		return 1;
	switch (ops->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		meta->established_ns = bpf_ktime_get_ns();
		meta->state = BPF_TCP_ESTABLISHED;
		look(ops, meta);
		(void)bpf_sock_ops_cb_flags_set(ops, CALLBACKS);
		break;
	case BPF_SOCK_OPS_RTT_CB:
	case BPF_SOCK_OPS_RETRANS_CB:
		look(ops, meta);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		/* The last values are these: RTT_CB is a message late. */
		look(ops, meta);
		meta->state = ops->args[1];
		if (ops->args[1] == BPF_TCP_CLOSE)
			report(ops, meta);
		break;
	}
	return 1;
}

char _license[] SEC("license") = "GPL";
