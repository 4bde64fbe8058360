/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's only reading of time: CLOCK_MONOTONIC in nanoseconds. Wall-clock time exists
 * only where a human or Prometheus reads it (clock_unix_s(), for control/), never in a decision.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#include "util/macros.h"

/* Thread: any. A vDSO call: no system call, 25–50 ns. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* What the calling thread has run, for who waits with patience and not with a clock: a loaded
 * machine takes no time from it. A system call. */
static inline uint64_t clock_thread_cpu_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Seconds since 1970, for people and Prometheus. It jumps when the clock is set. Thread: any. */
static inline double clock_unix_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / (double)NSEC_PER_SEC;
}

/*
 * The kernel's TICK_NSEC, which jiffies count in. CLOCK_MONOTONIC_COARSE advances by one tick, so
 * that is its resolution (kernel/time/posix-timers.c, posix_get_coarse_res); no kernel
 * configuration file is needed.
 */
static inline uint64_t clock_tick_ns(void)
{
	struct timespec ts;

	(void)clock_getres(CLOCK_MONOTONIC_COARSE, &ts);
	return ts.tv_nsec > 0 ? (uint64_t)ts.tv_nsec : NSEC_PER_SEC;
}

/* The kernel's timer frequency. */
static inline uint32_t clock_kernel_hz(void)
{
	uint64_t tick_ns = clock_tick_ns();

	return (uint32_t)((NSEC_PER_SEC + tick_ns / 2) / tick_ns);
}
