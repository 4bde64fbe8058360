/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a worker of a bridge has seen and the tables do not know yet: one ring per worker, one
 * producer (the worker), one consumer (tables). Full: the report is dropped and counted, and the
 * next frame of that source reports again; meanwhile frames to it are flooded.
 *
 *	worker                                      tables
 *	cells[tail % N] = report
 *	tail + 1                       ─────────►   reads up to tail
 *	is wants_wakeup set? clears it, eventfd ►   head = tail
 *	                                            before it sleeps: wants_wakeup = 1, looks again
 *
 * The worker stores tail, then loads wants_wakeup; tables stores wants_wakeup, then loads tail: all
 * four sequentially consistent, so that one of them sees the other. The worker does so once per
 * burst, and a flood of new addresses costs it no system call each.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/macros.h"

#define LEARN_RING_CELLS 1024

/*
 * address << 16 | tag << 8 | place of the port it was seen on. The tag is that of the database
 * which did not know it (fdb_tag()): the place is one of that database, and in another a wrong one.
 */
typedef uint64_t learn_report;

struct learn_ring {
	_Atomic uint32_t tail CACHE_ALIGNED; /* w: worker */
	uint32_t n_written;                  /* worker: tail, and what it has not handed over */
	uint64_t n_dropped;                  /* w: worker, r: control, relaxed */
	_Atomic uint32_t head CACHE_ALIGNED; /* w: tables */
	_Atomic uint32_t wants_wakeup;       /* w: both */
	int eventfd;
	learn_report cells[LEARN_RING_CELLS] CACHE_ALIGNED;
};

/* Thread: control, before the worker starts. -errno. Syscalls: eventfd2. */
int learn_ring_new(struct learn_ring **ret_ring);

/* Neither the worker nor tables knows it any more. NULL is allowed. */
void learn_ring_free(struct learn_ring *ring);

static inline learn_report learn_report_of(const uint8_t mac[6], uint16_t port, uint8_t tag)
{
	return (uint64_t)mac[0] << 56 | (uint64_t)mac[1] << 48 | (uint64_t)mac[2] << 40 |
	       (uint64_t)mac[3] << 32 | (uint64_t)mac[4] << 24 | (uint64_t)mac[5] << 16 |
	       (uint64_t)tag << 8 | (port & 0xff);
}

static inline uint16_t learn_report_port(learn_report report)
{
	return (uint16_t)(report & 0xff);
}

static inline uint8_t learn_report_tag(learn_report report)
{
	return (uint8_t)(report >> 8);
}

static inline void learn_report_mac(learn_report report, uint8_t ret_mac[6])
{
	for (unsigned i = 0; i < 6; i++)
		ret_mac[i] = (uint8_t)(report >> (56 - 8 * i));
}

/* False: no room. Thread: worker. */
static inline bool learn_push(struct learn_ring *ring, learn_report report)
{
	/* pairs with the release in learn_done(): the cell has been read */
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);

	if (ring->n_written - head == LEARN_RING_CELLS)
		return false;
	ring->cells[ring->n_written++ % LEARN_RING_CELLS] = report;
	return true;
}

/* Hands over what was pushed. True: tables sleeps, and the eventfd is to be written. Thread:
 * worker.
 */
static inline bool learn_submit(struct learn_ring *ring)
{
	atomic_store(&ring->tail, ring->n_written);
	return atomic_load(&ring->wants_wakeup) != 0 && atomic_exchange(&ring->wants_wakeup, 0);
}

/* How many reports wait; the i-th of them is learn_peek(ring, i). Thread: tables, as the rest. */
static inline uint32_t learn_waiting(struct learn_ring *ring)
{
	return atomic_load(&ring->tail) - atomic_load_explicit(&ring->head, memory_order_relaxed);
}

static inline learn_report learn_peek(const struct learn_ring *ring, uint32_t i)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	return ring->cells[(head + i) % LEARN_RING_CELLS];
}

static inline void learn_done(struct learn_ring *ring, uint32_t n)
{
	uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

	atomic_store_explicit(&ring->head, head + n, memory_order_release);
}

/* Before tables sleeps. True: something came meanwhile. */
static inline bool learn_want_wakeup(struct learn_ring *ring)
{
	atomic_store(&ring->wants_wakeup, 1);
	return learn_waiting(ring) > 0;
}
