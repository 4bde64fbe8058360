/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One AF_XDP socket: one queue of one interface, four rings shared with the kernel.
 *
 *                 user space (the worker)
 *          ▲ rx        │ fill       │ tx        ▲ completion
 *          │ desc      │ addr       │ desc      │ addr
 *   ═══════╪═══════════╪════════════╪═══════════╪══════════ shared memory
 *          │           ▼            ▼           │
 *                 kernel / NIC
 *
 *   fill        U→K  frames that the kernel may write received packets to
 *   rx          K→U  packets received, in frames taken from fill
 *   tx          U→K  packets to send
 *   completion  K→U  frames of packets sent, ours again
 *
 * Each ring has one producer and one consumer, so no lock: this process's side belongs to one
 * worker. The ring operations are the inline helpers of libxdp's <xdp/xsk.h>; opening is done
 * here with raw SOL_XDP calls, because a successor must be able to map the rings of a living
 * socket again (kernel ≥ 6.4, commit 5f5a7d8d8bd4), which libxdp 1.3 hides.
 *
 * All sockets of a worker share its UMEM: the first registers it (UMEM_REG) and binds with mode
 * flags, the others bind with XDP_SHARED_UMEM alone — the kernel refuses flags there and gives
 * them the first one's mode (net/xdp/xsk_buff_pool.c, xp_assign_dev_shared). So a UMEM is
 * zero-copy as a whole or not at all.
 *
 * Closing: every ring is unmapped, then the fd closed; a mapped ring keeps the queue busy. The
 * kernel frees the queue asynchronously (16–28 ms, spikes.md §10): a bind soon after says EBUSY.
 *
 * Thread: opened and closed by control; in between the rings belong to the worker.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <xdp/xsk.h>

#include "kern/umem.h"

/* What a socket was bound as, best first. The names are the labels of metrics and messages. */
enum xsk_mode { XSK_MODE_ZEROCOPY, XSK_MODE_COPY, XSK_MODE_GENERIC, XSK_MODE_N };

extern const char *const xsk_mode_names[XSK_MODE_N];

/* The call that failed, for a message that says which object and what to do. */
enum xsk_step {
	XSK_STEP_SOCKET, /* EPERM: CAP_NET_RAW. EAFNOSUPPORT: kernel or RestrictAddressFamilies */
	XSK_STEP_UMEM,   /* ENOBUFS: memlock limit */
	XSK_STEP_RINGS,  /* ENOMEM */
	XSK_STEP_MMAP,
	XSK_STEP_BUSY_POLL, /* EPERM: CAP_NET_ADMIN */
	XSK_STEP_BIND, /* EBUSY: queue in use. EOPNOTSUPP: no zero-copy. EINVAL: no such queue, or
			  MTU */
	XSK_STEP_N
};

extern const char *const xsk_step_names[XSK_STEP_N];

struct xsk_spec {
	uint32_t ifindex;
	uint32_t queue;
	uint32_t fill_size, rx_size, tx_size, completion_size; /* powers of two */
	bool zerocopy; /* XDP_ZEROCOPY, else XDP_COPY: never the silent choice of the kernel */
	uint32_t busy_poll_us; /* 0 = off */
	int shared_fd;         /* a bound socket of the same UMEM, or -1 for the first */
};

struct xsk {
	/* hot: worker */
	struct xsk_ring_cons rx;
	struct xsk_ring_prod tx;
	struct xsk_ring_prod fill;
	struct xsk_ring_cons completion;
	int fd;
	/* cold: control */
	struct xsk_map {
		void *addr;
		size_t size_bytes;
	} maps[4];
	bool is_zerocopy;   /* read back by XDP_OPTIONS */
	uint32_t tx_budget; /* packets one sendto() moves in copy mode: 32, or what
			     * XDP_MAX_TX_SKB_BUDGET (≥ 6.18) raised it to */
	uint32_t napi_id;   /* 0: busy polling has no effect on this queue */
};

/*
 * Opens, maps and binds. One attempt: -EBUSY of the bind step is the caller's to retry.
 * On failure *ret_step names the call and nothing remains open. Borrows umem, which must outlive
 * the socket. Syscalls: socket (CAP_NET_RAW), setsockopt, mmap, bind, getsockopt; busy poll needs
 * CAP_NET_ADMIN; UMEM_REG counts against RLIMIT_MEMLOCK unless CAP_IPC_LOCK.
 */
int xsk_open(struct xsk *xsk, const struct umem *umem, const struct xsk_spec *spec,
	     enum xsk_step *ret_step);

/* Unmaps, then closes. A zeroed (fd 0 counts as none) or half-built socket is fine. */
void xsk_close(struct xsk *xsk);

/* The kernel's six counters (XDP_STATISTICS); lost with the socket, so read before closing. */
int xsk_statistics(const struct xsk *xsk, struct xdp_statistics *ret_stats);

/* Descriptors waiting in the rx ring, read from its shared words. Thread: any (control, draining).
 */
uint32_t xsk_rx_waiting(const struct xsk *xsk);

/*
 * Wakes the kernel's transmit side: 0, or the -errno of sendto(2). In copy mode this call itself
 * sends, at most tx_budget packets; -EAGAIN means that some are left. Thread: worker.
 */
int xsk_wake_tx(const struct xsk *xsk);

/* Wakes the receive side (recvfrom(2)): drivers that asked for it, and busy polling. */
int xsk_wake_rx(const struct xsk *xsk);
