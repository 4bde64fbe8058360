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
	__u64 pad[6];
};
_Static_assert(sizeof(struct sluice_heartbeat) == 64, "one cache line");

/* What the program is told before it is loaded (const volatile, frozen). */
struct sluice_port_config {
	__u32 forwards;      /* 0: `forward = pass`, every frame is the kernel's */
	__u32 pass_control;  /* 1: slow protocols, LLDP, STP go to the kernel */
	__u32 fallback;      /* XDP_PASS or XDP_DROP: a worker's queue without a live worker */
	__u32 stall_jiffies; /* a beat that is older is stale */
};
_Static_assert(sizeof(struct sluice_port_config) == 16, "no padding");

/*
 * Every exit of the program is one of these, counted once. `action` is the label of
 * sluice_xdp_packets_total; rows with the action `fallback` are pass or drop as the port's
 * on_failure says, which the loader knows.
 *
 * X(ID, name, action, help)
 */
#define SLUICE_VERDICTS(X)                                                              \
	X(REDIRECT, redirect, redirect, "sent to the worker of its queue")              \
	X(PASS_PORT, pass_port, pass, "the port is configured to pass everything")      \
	X(DETACHED, detached, pass, "the port is detached by the operator")             \
	X(NO_WORKER, no_worker, pass, "the queue belongs to no worker")                 \
	X(CONTROL, control, pass, "link control frame, pass_control = yes")             \
	X(PAUSE, pause, drop, "MAC control frame (01:80:c2:00:00:01), never forwarded") \
	X(MALFORMED, malformed, drop, "shorter than an Ethernet header")                \
	X(STALE, stale, fallback, "the worker of the queue has stopped beating")        \
	X(NO_SOCKET, no_socket, fallback, "the queue has no socket bound")              \
	X(INTERNAL, internal, aborted, "cannot happen")

#define SLUICE_VERDICT_ID(id, name, action, help) SLUICE_V_##id,
enum sluice_verdict { SLUICE_VERDICTS(SLUICE_VERDICT_ID) SLUICE_V_N };
#undef SLUICE_VERDICT_ID
