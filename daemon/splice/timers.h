/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Deadlines of many connections: a hierarchical timer wheel (Varghese, Lauck 1987), four levels of
 * 64 slots. Arming and disarming cost the same however many there are; nothing is allocated. A
 * timer fires at its deadline or up to one tick later, never before.
 *
 * Thread: the owner's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMERS_TICK_SHIFT 22 /* 4.2 ms: one jiffy of HZ=250 */
#define TIMERS_LEVELS     4
#define TIMERS_SLOT_BITS  6
#define TIMERS_SLOTS      (1 << TIMERS_SLOT_BITS)

/* Zeroed is: not armed. */
struct timer {
	struct timer *prev, *next;
	uint64_t deadline_ns;
	uint16_t level, slot;
};

struct timers {
	uint64_t now_tick;
	uint32_t n;
	uint64_t occupied[TIMERS_LEVELS]; /* a bit per slot */
	struct timer *slots[TIMERS_LEVELS][TIMERS_SLOTS];
};

void timers_init(struct timers *timers, uint64_t now_ns);

/* Arms it, or moves it. */
void timers_arm(struct timers *timers, struct timer *timer, uint64_t deadline_ns);
void timers_disarm(struct timers *timers, struct timer *timer);

static inline bool timer_is_armed(const struct timer *timer)
{
	return timer->prev != NULL;
}

/* Calls fn for each whose deadline has passed, disarmed; fn may arm and disarm any. */
void timers_run(struct timers *timers, uint64_t now_ns, void (*fn)(struct timer *timer, void *arg),
		void *arg);

/* When to call timers_run() again: never later than the first deadline's tick. UINT64_MAX: none. */
uint64_t timers_next_ns(const struct timers *timers);
