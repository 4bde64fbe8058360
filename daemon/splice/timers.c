/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A timer due within 64 ticks lies in level 0 by its tick; a later one in level l by bits 6l … 6l+5
 * of it, and moves down a level when the time's lower bits roll over.
 */
#include "splice/timers.h"

#define SLOT_MASK ((uint64_t)TIMERS_SLOTS - 1)
#define MAX_TICKS ((1ULL << (TIMERS_LEVELS * TIMERS_SLOT_BITS)) - 1)

static uint64_t tick_after(uint64_t ns)
{
	return (ns + (1ULL << TIMERS_TICK_SHIFT) - 1) >> TIMERS_TICK_SHIFT;
}

void timers_init(struct timers *timers, uint64_t now_ns)
{
	*timers = (struct timers){.now_tick = now_ns >> TIMERS_TICK_SHIFT};
}

/* The lists are circular, so that taking one out needs no knowledge of its head. */
static void put(struct timers *timers, struct timer *timer, unsigned level, unsigned slot)
{
	struct timer *head = timers->slots[level][slot];

	timer->level = (uint16_t)level;
	timer->slot = (uint16_t)slot;
	if (head) {
		timer->next = head;
		timer->prev = head->prev;
		head->prev->next = timer;
		head->prev = timer;
	} else {
		timer->next = timer->prev = timer;
		timers->slots[level][slot] = timer;
	}
	timers->occupied[level] |= 1ULL << slot;
	timers->n++;
}

/* `tick` may be now: in a cascade, before level 0 is looked at. */
static void place(struct timers *timers, struct timer *timer, uint64_t tick)
{
	uint64_t ahead = tick - timers->now_tick;
	unsigned level = 0;

	if (ahead > MAX_TICKS) {
		ahead = MAX_TICKS; /* it is placed again when that time comes */
		tick = timers->now_tick + ahead;
	}
	while (ahead >> (TIMERS_SLOT_BITS * (level + 1)))
		level++;
	put(timers, timer, level, (tick >> (TIMERS_SLOT_BITS * level)) & SLOT_MASK);
}

void timers_disarm(struct timers *timers, struct timer *timer)
{
	struct timer **head = &timers->slots[timer->level][timer->slot];

	if (!timer_is_armed(timer))
		return;
	if (timer->next == timer) {
		*head = NULL;
		timers->occupied[timer->level] &= ~(1ULL << timer->slot);
	} else {
		timer->prev->next = timer->next;
		timer->next->prev = timer->prev;
		if (*head == timer)
			*head = timer->next;
	}
	timer->prev = timer->next = NULL;
	timers->n--;
}

void timers_arm(struct timers *timers, struct timer *timer, uint64_t deadline_ns)
{
	uint64_t tick = tick_after(deadline_ns);

	timers_disarm(timers, timer);
	timer->deadline_ns = deadline_ns;
	place(timers, timer, tick > timers->now_tick ? tick : timers->now_tick + 1);
}

static void cascade(struct timers *timers, unsigned level)
{
	unsigned slot = (timers->now_tick >> (TIMERS_SLOT_BITS * level)) & SLOT_MASK;
	struct timer *timer = timers->slots[level][slot], *last;

	if (!timer)
		return;
	/* Taken out whole first: one that is far ahead may come back to this very slot. */
	last = timer->prev;
	timers->slots[level][slot] = NULL;
	timers->occupied[level] &= ~(1ULL << slot);
	for (struct timer *next;; timer = next) {
		uint64_t tick = tick_after(timer->deadline_ns);

		next = timer->next;
		timers->n--;
		place(timers, timer, tick > timers->now_tick ? tick : timers->now_tick);
		if (timer == last)
			return;
	}
}

void timers_run(struct timers *timers, uint64_t now_ns, void (*fn)(struct timer *timer, void *arg),
		void *arg)
{
	uint64_t until = now_ns >> TIMERS_TICK_SHIFT;

	while (timers->now_tick < until) {
		struct timer **due;

		if (timers->n == 0) {
			timers->now_tick = until;
			return;
		}
		timers->now_tick++;
		for (unsigned level = TIMERS_LEVELS - 1; level > 0; level--) {
			uint64_t below = (1ULL << (TIMERS_SLOT_BITS * level)) - 1;

			if ((timers->now_tick & below) == 0)
				cascade(timers, level);
		}
		due = &timers->slots[0][timers->now_tick & SLOT_MASK];
		while (*due) {
			struct timer *timer = *due;

			timers_disarm(timers, timer);
			fn(timer, arg);
		}
	}
}

uint64_t timers_next_ns(const struct timers *timers)
{
	unsigned now = (unsigned)(timers->now_tick & SLOT_MASK);
	uint64_t level0 = timers->occupied[0], tick = UINT64_MAX;

	if (timers->n == 0)
		return UINT64_MAX;
	for (unsigned level = 1; level < TIMERS_LEVELS; level++)
		if (timers->occupied[level])
			tick = (timers->now_tick | SLOT_MASK) + 1;
	if (level0) {
		/* Rotated, so that bit 0 is the next tick's slot. */
		unsigned first = (now + 1) & SLOT_MASK;
		uint64_t ahead =
			first ? level0 >> first | level0 << (TIMERS_SLOTS - first) : level0;
		uint64_t soonest = timers->now_tick + 1 + (unsigned)__builtin_ctzll(ahead);

		tick = soonest < tick ? soonest : tick;
	}
	return tick << TIMERS_TICK_SHIFT;
}
