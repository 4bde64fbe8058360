/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets that the kernel splices: the maps of bpf/splice.bpf.c and the protocol over them
 * (design.md §5.1–5.6, splice-lab.md). Credit in the verdict: it redirects only when nothing that
 * it passed is still owed (passed == consumed) and the peer has room; else it passes, and TCP's
 * window pushes back. Then:
 *
 *   order   passed bytes are sent on only when the peer has taken all that was redirected before:
 *           splice_taken(peer) == redirected + consumed
 *   EOF     recv() == 0 and passed == consumed
 *   FIN     sent on at the same equality, when EOF has been seen
 *
 * A socket enters once per connection and leaves when both directions are finished or aborted:
 * deleting under traffic loses bytes, so it is never "pause". `wish` is the pause.
 *
 * Threads: an acceptor owns the sides of its connections whole; sides are handed out to acceptors
 * in blocks at start (splice_maps_new). Capabilities: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON (the
 * verdict reads tcp_sock). Nothing here logs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/splice_abi.h"

struct splice_maps;

struct splice_maps_spec {
	uint32_t n_conns; /* 2 × as many sides */
	uint32_t credit_bytes;
};

/* -EPERM names CAP_PERFMON by its absence: the caller explains. */
int splice_maps_new(const struct splice_maps_spec *spec, struct splice_maps **ret_maps);
void splice_maps_free(struct splice_maps *maps);

/* The words of a side. */
struct splice_flow *splice_flow(struct splice_maps *maps, uint32_t side);

/*
 * Puts both sockets of a connection in, in the only order that loses nothing (design.md §5.6): both
 * queues have been read to EAGAIN and sent on. Returns 0; or -errno with the sockets out again
 * (-EOPNOTSUPP: CLOSE_WAIT, the usual fate of a short exchange; -EBUSY: another BPF agent owns
 * one), and the connection goes on in user space. `wish` of both sides is RELAY until
 * splice_kick(). Syscalls: bpf(2) × 6, getsockopt.
 */
int splice_enter(struct splice_maps *maps, uint32_t client_side, const int fds[2]);

/* After splice_enter() and after `wish` = KERNEL: makes the kernel look at what is queued already.
 * SO_RCVLOWAT=1, then a peek, whose result it is: > 0 bytes for user space, 0 EOF, -EAGAIN, -errno.
 */
int splice_kick(int fd);

/* Takes both out; both directions are finished, or are being aborted. */
void splice_leave(struct splice_maps *maps, uint32_t client_side);

/* Bytes that the far end's TCP has been given since splice_enter(): acked + queued − base. Read in
 * that order, so that it is never too much. */
int splice_taken(int fd, uint64_t base, uint64_t *ret_taken);
int splice_base(int fd, uint64_t *ret_base);

/* The fd of the ring buffer, and what is in it; fn per event, bounded. Returns how many. */
int splice_events_fd(const struct splice_maps *maps);
int splice_events_drain(struct splice_maps *maps,
			void (*fn)(const struct splice_event *event, void *arg), void *arg);

/* Another verdict behind the stub, under live flows; for tests and a later hand-over. */
int splice_maps_swap_verdict(struct splice_maps *maps, int prog_fd);
