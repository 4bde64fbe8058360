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
 * Threads: control makes and frees; an acceptor owns the connections of its block whole, and calls
 * what takes a side of them, or its own ring. Capabilities: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON
 * (the verdict reads tcp_sock). Nothing here logs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/splice_abi.h"

struct splice_maps;

struct splice_maps_spec {
	uint32_t n_conns; /* of all acceptors; 2 × as many sides */
	uint32_t n_acceptors;
	uint32_t credit_bytes;        /* 0: SPLICE_CREDIT_BYTES */
	enum splice_credit_rule rule; /* NB, except for bench_splice */
};

/* Most bytes that one flow may have waiting in its peer's psock. NB keeps it near nothing. */
#define SPLICE_CREDIT_BYTES (256u << 10)

/* -EPERM names CAP_PERFMON by its absence: the caller explains. */
int splice_maps_new(const struct splice_maps_spec *spec, struct splice_maps **ret_maps);
void splice_maps_free(struct splice_maps *maps);

/* The connection numbers of an acceptor: *ret_first … + *ret_n. Client's side = 2 × conn. */
void splice_maps_block(const struct splice_maps *maps, uint32_t acceptor, uint32_t *ret_first,
		       uint32_t *ret_n);

/* The words of a side. */
struct splice_flow *splice_flow(struct splice_maps *maps, uint32_t side);

/*
 * Puts both sockets of a connection in, in the only order that loses nothing (design.md §5.6): both
 * queues have been read to EAGAIN and sent on. `wish` of both sides is RELAY: the caller sets it to
 * KERNEL, then calls splice_kick() on both.
 *
 *   0       both directions are spliced
 *   1       only the client's: the server's socket was refused between the two, and what has been
 *           inserted stays, since taking it out would lose bytes. splice_leave() at the end.
 *   -errno  both sockets are out again, and no byte has seen the verdict. -EOPNOTSUPP: CLOSE_WAIT
 *           (the usual fate of a short exchange); -EBUSY: another BPF agent owns one;
 *           -EPROTONOSUPPORT: AF_UNIX, MPTCP.
 *
 * Syscalls: bpf(2) × 6, getsockopt × 4: what each is, and its cookie;
 * setsockopt × 2.
 */
int splice_enter(struct splice_maps *maps, uint32_t client_side, const int fds[2]);

/* Makes the kernel look at what is queued already: SO_RCVLOWAT=1, then a peek, whose result it is:
 * > 0 bytes for user space, 0 EOF, -EAGAIN, -errno. */
int splice_kick(int fd);

/* Takes both out; both directions are finished, or are being aborted, and the sockets not closed
 * yet. Nothing if the connection had not entered. */
void splice_leave(struct splice_maps *maps, uint32_t client_side);

/* Bytes that the far end's TCP has been given since splice_base(): acked + queued − base. Read in
 * that order, so that it is never too much. splice_base() is exact, while nobody writes to the
 * socket; -EAGAIN: acknowledgements came too fast. Any TCP socket. */
int splice_taken(int fd, uint64_t base, uint64_t *ret_taken);
int splice_base(int fd, uint64_t *ret_base);

/*
 * After user space has sent on n bytes that were passed: tells the verdict, and returns whether
 * passed bytes are owed now. If not, the next that are passed come with an event.
 */
bool splice_consume(struct splice_flow *flow, uint64_t n);
uint64_t splice_redirected(const struct splice_flow *flow);
uint64_t splice_passed(const struct splice_flow *flow);
bool splice_is_owed(const struct splice_flow *flow);

/* An acceptor's ring: its fd, readable when there is something; and what is in it, less what
 * concerns a connection that is gone, fn per event, bounded. Returns how many. */
int splice_events_fd(const struct splice_maps *maps, uint32_t acceptor);
int splice_events_drain(struct splice_maps *maps, uint32_t acceptor,
			void (*fn)(const struct splice_event *event, void *arg), void *arg);

/* Another verdict behind the stub, under live flows; -1: the own one again. For tests and a later
 * hand-over. */
int splice_maps_swap_verdict(struct splice_maps *maps, int prog_fd);

/* The same logic with other constants, over the same maps; the caller closes the fd. */
int splice_maps_load_verdict(struct splice_maps *maps, const struct splice_verdict_config *config,
			     int *ret_prog_fd);

/*
 * Over loopback, 30 ms: does this kernel splice to the byte? 0, or -errno with *ret_what, a
 * literal that names the check that failed. kern/splice_selftest.c.
 */
int splice_selftest(const char **ret_what);
