/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Measuring turns of the worker in TSC ticks: reading the counter, what that costs, and on which
 * CPU. For bench_loop.c and bench_route.c.
 */
#pragma once

#include <sched.h>
#include <stdint.h>

#include "util/clock.h"

#if defined(__x86_64__)
static inline uint64_t ticks_now(void)
{
	uint32_t low, high;

	/* Fenced on both sides: nothing of the turn may be outside, nothing else inside. */
	__asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}
#else
static inline uint64_t ticks_now(void)
{
	return clock_now_ns();
}
#endif

/* The smallest of many: what two readings cost with nothing between them. */
static inline uint64_t ticks_overhead(void)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < 10000; i++) {
		uint64_t start = ticks_now();
		uint64_t n = ticks_now() - start;

		best = MIN(best, n);
	}
	return best;
}

static inline double ticks_per_ns(void)
{
	uint64_t start_ns = clock_now_ns(), start = ticks_now(), now_ns;

	do {
		now_ns = clock_now_ns();
	} while (now_ns - start_ns < 20 * NSEC_PER_MSEC);
	return (double)(ticks_now() - start) / (double)(now_ns - start_ns);
}

/* Keeps to the last CPU allowed. */
static inline void ticks_pin(void)
{
	cpu_set_t allowed, one;
	int cpu;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return;
	for (cpu = CPU_SETSIZE - 1; cpu > 0 && !CPU_ISSET(cpu, &allowed); cpu--)
		;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

static inline int ticks_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}
