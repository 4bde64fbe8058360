/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the XDP program and user space both see: map keys and values, load-time constants, and
 * the verdict table. Fixed widths, no pointers, no implicit padding, every size asserted.
 * Included by the programs in bpf/, kern/port_prog.c, control/metrics.c and tests; nobody else.
 *
 * One instance of bpf/redirect.bpf.c, with maps of its own, serves one port:
 *
 *   map        type                       entries        writer           reader
 *   xsks       XSKMAP                     queues         control at bind  program
 *   heartbeat  ARRAY, mmap-able           1 + workers    worker, control  program
 *   verdicts   PERCPU_ARRAY               2 × SLUICE_V_N program          metrics
 *
 * The gate (kern/gate.h), one for all programs of ports with forward = route or bridge:
 *
 *   gate4      mmap-able, 4 MiB           2 bits per /24 tables           program
 *   gate6      mmap-able, 512 KiB         2^22 bits      tables           program
 *   local4     HASH be32 → group          addresses      tables           program
 *   local6     HASH 16 bytes → group      addresses      tables           program
 *
 * The second half of `verdicts` holds the totals of the programs that this one replaced.
 */
#pragma once

#include <linux/types.h>

/* Queues of one port that a plan may use; more than any NIC driver binds XSKs to today. */
#define SLUICE_MAX_QUEUES 256

/* In queue_line[] of the program: the plan gave this queue to no worker, so it is always the
 * kernel's. */
#define SLUICE_NO_WORKER 0xffff

/*
 * heartbeat[0] is the port's line, heartbeat[1 + w] the line of worker w (numbered over the whole
 * daemon). One cache line each, so that a beating worker disturbs nobody.
 */
struct sluice_heartbeat {
	/*
	 * Line 1 + w: when worker w last beat, in jiffies; 0 is not running. Its own estimate, up
	 * to a tick ahead of bpf_jiffies64() (kern/jiffies.h). At most once a millisecond.
	 */
	__u64 beat;
	__u64 detach; /* line 0: non-zero = every frame passes to the kernel, at once */
	/* line 0 of a route port: SLUICE_ROUTES_*, what the kernel's policy lets us forward now */
	__u64 routes;
	/* line 0: the port's own address, its six octets first, as they stand in a frame */
	__u64 mac;
	/* line 0 of a route port: the longest IP packet that every port of its group can send */
	__u64 max_packet_len;
	__u64 pad[3];
};
_Static_assert(sizeof(struct sluice_heartbeat) == 64, "one cache line");

/* What the program is told before it is loaded (const volatile, frozen). */
struct sluice_port_config {
	__u32 forward;       /* enum sluice_forward */
	__u32 pass_control;  /* 1: slow protocols, LLDP, STP go to the kernel */
	__u32 fallback;      /* XDP_PASS or XDP_DROP: a worker's queue without a live worker */
	__u32 stall_jiffies; /* a beat that is older is stale */
	__u32 group;         /* of a bridge: whose local addresses are the host's on it */
	__u32 pad;
};
_Static_assert(sizeof(struct sluice_port_config) == 24, "no padding");

/* What a port does with its frames. */
enum sluice_forward {
	SLUICE_FORWARD_PASS, /* every frame is the kernel's */
	SLUICE_FORWARD_WIRE, /* xconnect */
	SLUICE_FORWARD_ROUTE,
	SLUICE_FORWARD_BRIDGE,
	SLUICE_FORWARD_N
};

/* Bits of sluice_heartbeat.routes. */
#define SLUICE_ROUTES_IPV4 1
#define SLUICE_ROUTES_IPV6 2

/* Two bits of gate4 per /24; the low bits of the word are the lowest /24. */
enum sluice_gate_class {
	SLUICE_GATE_PASS,  /* no part of it leaves by a route port */
	SLUICE_GATE_OURS,  /* a part may, and no address of this host is in it */
	SLUICE_GATE_MIXED, /* a part may, and local4 has to be asked */
};

/* One word has 32 of them. */
#define SLUICE_GATE4_WORDS (1U << 19)

/* Bits by hash of (bits, the first `bits` of the address): see sluice_gate6_bit(). */
#define SLUICE_GATE6_BITS  (1U << 22)
#define SLUICE_GATE6_WORDS (SLUICE_GATE6_BITS / 64)

/*
 * The bit of a prefix of 16, 32 or 48 bits, and of a /64 in which this host has an address: `top`
 * is the first 64 bits of the address as a number, with what is behind the prefix cleared.
 * Fibonacci hashing; the length goes in too, so that a /16 and the /32 of the same bits differ.
 */
static inline __u32 sluice_gate6_bit(__u64 top, __u32 bits)
{
	return (__u32)(((top + bits) * 0x9e3779b97f4a7c15ULL) >> (64 - 22));
}

/* Value of local4 and local6: the sluice group (plan.h) whose port carries the address. */
#define SLUICE_NO_GROUP   0xffffffff
#define SLUICE_MAX_LOCALS 65536

/*
 * Every exit of the program is one of these, counted once. `action` is the label of
 * sluice_xdp_packets_total; rows with the action `fallback` are pass or drop as the port's
 * on_failure says, which the loader knows.
 *
 * X(ID, name, action, help)
 */
#define SLUICE_VERDICTS(X)                                                                   \
	X(REDIRECT, redirect, redirect, "sent to the worker of its queue")                   \
	X(PASS_PORT, pass_port, pass, "the port is configured to pass everything")           \
	X(DETACHED, detached, pass, "the port is detached by the operator")                  \
	X(NO_WORKER, no_worker, pass, "the queue belongs to no worker")                      \
	X(CONTROL, control, pass, "link control frame, pass_control = yes, or of a bridge")  \
	X(NOT_ROUTED, not_routed, pass, "route: not unicast IP to this port, or tagged")     \
	X(CARE, care, pass, "route: TTL, options, length or address that Linux looks after") \
	X(LOCAL, local, pass, "to an address of this host")                                  \
	X(NO_GATE, no_gate, pass, "route: no route to it leaves by a port")                  \
	X(POLICY, policy, pass, "route: the kernel's policy is in force for this family")    \
	X(PAUSE, pause, drop, "MAC control frame (01:80:c2:00:00:01), never forwarded")      \
	X(MALFORMED, malformed, drop, "shorter than an Ethernet header")                     \
	X(STALE, stale, fallback, "the worker of the queue has stopped beating")             \
	X(NO_SOCKET, no_socket, fallback, "the queue has no socket bound")                   \
	X(INTERNAL, internal, aborted, "cannot happen")

#define SLUICE_VERDICT_ID(id, name, action, help) SLUICE_V_##id,
enum sluice_verdict { SLUICE_VERDICTS(SLUICE_VERDICT_ID) SLUICE_V_N };
#undef SLUICE_VERDICT_ID
