/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's tick count, estimated in user space from CLOCK_MONOTONIC.
 *
 * Why. The XDP program judges a worker by the age of its beat, and jiffies are the only clock that
 * costs it nothing: bpf_jiffies64() is one load, the coarse clock +18 ns, the fine one +33
 * (spikes.md §3). So a beat has to be a time in jiffies, written by a worker that cannot see them.
 *
 * How. Jiffies are counted from CLOCK_MONOTONIC: tick_do_update_jiffies64()
 * (kernel/time/tick-sched.c) adds (ktime_get() - last_jiffies_update) / TICK_NSEC and moves
 * last_jiffies_update by whole ticks. Hence, with one origin for the life of the kernel,
 *
 *   jiffies = (now_ns - origin_ns) / TICK_NSEC
 *
 * and the origin is all that must be found. A BPF program that BPF_PROG_TEST_RUN runs reads the
 * count once; with the clock read after it, origin_ns <= after_ns - count * TICK_NSEC, whatever
 * came in between: a preemption, or a tick that the kernel had not yet handled. The least of
 * several such bounds is kept, and is less than a tick too late as soon as one of them was
 * undisturbed. jiffies_at() makes up for that tick: it gives the kernel's count or one more. A live
 * worker thus never looks older than it is, a dead one younger by at most a tick.
 *
 * Once a second control calibrates again. Without high-resolution timers the kernel counts the
 * interrupts of its timer instead (tick_periodic() in kernel/time/tick-common.c), which drift
 * against the clock and may be lost. A timer that is fast lowers the bound at once; for one that is
 * slow, what is kept grows by 1/1024 of the time passed, towards the new bound and never beyond it.
 *
 * Suspend stops both: CLOCK_MONOTONIC does not count it, and jiffies follow
 * (timekeeping_suspend()). A virtual machine that is paused sees both stand still, or both leap by
 * the pause at its first tick; in that moment a beat looks as old as the pause until the worker has
 * run once, and frames fall back, which is the truth. The origin stays what it was in either case.
 * Both clock reads are user space's, not BPF's, so an offset that a time namespace adds is in the
 * origin, too.
 *
 * Thread: control; jiffies_at(): any. Syscalls: bpf(2); needs CAP_BPF.
 */
#pragma once

#include <stdint.h>

struct jiffies {
	int prog_fd;               /* -1 until the first calibration */
	uint64_t origin_ns;        /* CLOCK_MONOTONIC at count 0, modulo 2^64 */
	uint64_t calibrated_at_ns; /* 0 = never */
};

#define JIFFIES_INIT ((struct jiffies){.prog_fd = -1})

/* Finds origin_ns, or follows it. -errno: it stays what it was. */
int jiffies_calibrate(struct jiffies *jiffies);

/* The kernel's own count, for calibration and tests; after the first jiffies_calibrate(). */
int jiffies_read(const struct jiffies *jiffies, uint64_t *ret_count);

void jiffies_fini(struct jiffies *jiffies);

/* The kernel's count at now_ns (CLOCK_MONOTONIC), or one more. */
static inline uint64_t jiffies_at(uint64_t origin_ns, uint64_t tick_ns, uint64_t now_ns)
{
	return (now_ns - origin_ns) / tick_ns + 1;
}
