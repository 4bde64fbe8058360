/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lane: one (port, queue) pair with its socket, as its worker sees it.
 *
 * Ownership: control fills a lane in, publishes it in a worker_set (data/worker.h) and from then on
 * touches only the counters, reading, until the worker has taken up a set without the lane.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "data/counters.h"
#include "kern/umem.h"
#include "kern/xsk.h"
#include "util/macros.h"

struct lane {
	/* hot: worker */
	struct xsk xsk;
	struct umem *umem;
	uint8_t tag;             /* marks this lane's frames in umem->owner */
	bool polls_rx;           /* busy polling is on and has an effect: wake rx when idle */
	bool kick_pending;       /* packets were put on the tx ring, or the last wakeup left some */
	bool is_open;            /* staged_room was asked in this burst */
	uint32_t kicks_per_turn; /* bound on tx wakeups in one turn; 1 where the budget is the ring
				  */
	uint32_t n_fill;         /* frames with the kernel for receiving: posted − taken */
	uint32_t n_tx;           /* frames with the kernel for sending: submitted − completed */
	uint32_t n_staged;       /* written to the tx ring in this burst, not yet submitted */
	uint32_t n_replicas;     /* … of them, further copies */
	uint32_t staged_bytes;
	uint32_t staged_room;  /* of the tx ring, asked once a burst */
	uint32_t refill_batch; /* refill only so many at once: amortises the ring's cache line */
	/* w: worker, r: control */
	struct lane_counters counters;
	/* cold: control */
	uint32_t port;
	uint32_t queue;
} CACHE_ALIGNED;

/*
 * Sets the derived fields of a lane whose xsk, umem and tag are in place. The fill ring is posted
 * by the worker's first turns. Thread: control, before the lane is published.
 */
static inline void lane_init(struct lane *lane)
{
	uint32_t burst_kicks = (64 + lane->xsk.tx_budget - 1) / lane->xsk.tx_budget;

	lane->kicks_per_turn = lane->xsk.is_zerocopy ? 1 : burst_kicks;
	lane->refill_batch = MIN(32, lane->xsk.fill.size / 4);
	lane->kick_pending = false;
	lane->is_open = false;
	lane->n_staged = lane->n_replicas = lane->staged_bytes = lane->staged_room = 0;
	lane->n_fill = 0;
	lane->n_tx = 0;
}
