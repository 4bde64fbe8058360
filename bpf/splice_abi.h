/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs of the splice plane and user space both see. Fixed widths, no implicit padding,
 * every size asserted. The protocol is told in kern/splice_maps.h; the figures behind it are in
 * splice-lab.md. Included by bpf/{splice,sockops,reuseport}.bpf.c, kern/, and tests.
 *
 *   map            type                       key → value                     writer
 *   splice_in      SOCKHASH, verdict attached socket cookie → socket          acceptor
 *   splice_out     SOCKMAP, no program        side → socket                   acceptor
 *   flow_of        HASH                       socket cookie → splice_flow_ref acceptor
 *   flows          ARRAY, mmap-able           side → splice_flow              verdict / acceptor
 *   verdict_logic  PROG_ARRAY                 0 → sluice_verdict              control
 *   conn_meta      SK_STORAGE, BPF_F_CLONE    socket → splice_conn_meta       control, sock_ops
 *   acceptors      REUSEPORT_SOCKARRAY        acceptor → listening socket     control
 *   acceptor_load  ARRAY, mmap-able           line → splice_acceptor_load     acceptor, control
 *   events         ARRAY_OF_MAPS of RINGBUF   acceptor → splice_event         verdict
 *   closed         RINGBUF                    splice_event                    sock_ops
 *
 * A connection has two sides, client and server, and so two consecutive numbers: 2 × conn for the
 * client's socket, 2 × conn + 1 for the server's. `flows[s]` is about the bytes received on side s;
 * they leave by side s ^ 1.
 */
#pragma once

#include <linux/types.h>

#define SPLICE_PEER(side) ((side) ^ 1)

/* Words of one direction. The verdict runs under the lock of the receiving socket, so its words
 * have one writer at a time; a line each, so that neither takes the other's from its cache. */
struct splice_flow {
	/* w: verdict, r: acceptor */
	__u64 redirected;   /* bytes moved to the peer's psock: they are on their way */
	__u64 passed;       /* bytes left to the acceptor, which reads and sends them */
	__u64 n_skbs;       /* verdicts */
	__u64 n_credit_out; /* … that passed for want of the peer's room */
	__u64 last_ns;      /* bpf_ktime_get_coarse_ns() of the last one: idle timeouts */
	__u32 base_seq;     /* peer's write_seq less `consumed`, taken at the first redirect */
	__u32 next_seq;     /* of the byte that the next skb should begin with */
	__u8 has_base;
	__u8 has_next;
	__u8 is_cut; /* bytes that were seen before could not be taken off: the end */
	__u8 pad0;
	__u32 in_kernel; /* state: 1 = redirects; 0 = passes until nothing passed is owed */
	__u32 n_toggles; /* changes of it */
	__u32 n_waiting; /* skbs redirected since the peer had taken everything: credit rule */
	/* w: acceptor, r: verdict */
	__u64 consumed;   /* of `passed`: sent on to the peer's socket, stored after the send */
	__u32 wish;       /* enum splice_wish */
	__u32 generation; /* of the number: changes with each connection that has it */
	__u32 acceptor;   /* whose ring of events hears of it */
	__u32 pad1[11];
};
_Static_assert(sizeof(struct splice_flow) == 128, "two cache lines");

enum splice_wish {
	SPLICE_RELAY,  /* pass everything */
	SPLICE_KERNEL, /* redirect whenever nothing is owed and the peer has room */
};

struct splice_flow_ref {
	__u32 side;
	__u32 generation;
};

/* Why a connection's bytes became the acceptor's, or that a socket is closed. */
enum splice_event_kind {
	SPLICE_EVENT_PASSED, /* passed == consumed until now: wake the acceptor of the flow */
	SPLICE_EVENT_CLOSED, /* sock_ops: the last record of a socket */
};

#define SPLICE_META_MAGIC 0x736c6d31 /* set by user space: sock_ops touches no other socket */

/* ≤ 256 bytes: charged to sk_omem_alloc (20 KiB a socket on 6.1). */
struct splice_conn_meta {
	__u32 magic;
	__u32 listener; /* number in the configuration's order, stable over reloads */
	__u32 backend;  /* of backend sockets; SPLICE_NONE */
	__u32 acceptor;
	__u64 established_ns; /* CLOCK_MONOTONIC */
	/* As TCP counts: each FIN is one, and one that we sent a SYN with, too. */
	__u64 bytes_received, bytes_acked;
	__u32 srtt_us, n_retransmits;
	__u32 state; /* TCP_* last seen */
	__u32 generation;
};
_Static_assert(sizeof(struct splice_conn_meta) == 56, "no padding");

#define SPLICE_NONE 0xffffffff

struct splice_event {
	__u32 kind;
	__u32 side; /* PASSED */
	__u32 generation;
	__u32 pad;
	__u64 cookie; /* CLOSED */
	struct splice_conn_meta meta;
};
_Static_assert(sizeof(struct splice_event) == 80, "no padding");

/* By what the verdict decides that the peer has room; see has_room() in splice.bpf.c. */
enum splice_credit_rule {
	SPLICE_CREDIT_NB, /* its send buffer will not block on it: what is shipped */
	SPLICE_CREDIT_W,  /* credit_bytes only; for tests/bpf/bench_splice, which compares them */
};

/* What the verdict is told at load. */
struct splice_verdict_config {
	__u32 credit_bytes; /* most bytes of a flow that may wait in the peer's psock; 0: pass all
			     */
	__u32 rule;         /* enum splice_credit_rule */
};

/*
 * Of a group of listening sockets (one address): line 0 is the group's, line 1 + a acceptor a's.
 * The program reads; each line has one writer.
 */
struct splice_acceptor_load {
	__u32 n_live;  /* line 1 + a: connections it owns now */
	__u32 cpu;     /* … the CPU it runs on */
	__s32 node;    /* … and its node */
	__u32 is_open; /* … takes new ones */
	/* line 0 */
	__u32 n_acceptors;
	__u32 generation; /* of the acceptors that are to get new connections; for hand-over */
	__u32 first;      /* slot of acceptor 0 of that generation */
	__u32 pad[9];
};
_Static_assert(sizeof(struct splice_acceptor_load) == 64, "one cache line");

#define SPLICE_MAX_ACCEPTORS 128

/* Of an acceptor's ring: 2,900 notes; those lost are found by its slow scan. */
#define SPLICE_RING_BYTES (256 << 10)
