/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a worker of a bridge has seen and the tables do not know yet: one ring per worker, one
 * producer (the worker), one consumer (tables). Full: the report is dropped and counted, and the
 * next frame of that source reports again; meanwhile frames to it are flooded.
 *
 *	worker  cells[tail % N] = report, tail + 1 ──release──►  tables  reads up to tail, head =
 *tail
 *
 * The consumer sleeps on an eventfd. Before it sleeps it sets `wants_wakeup`, a full barrier, and
 * looks once more; the worker writes the eventfd only when it finds the word set, once per burst,
 * so a flood of new addresses costs it no system call each.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/macros.h"

#define LEARN_RING_CELLS 1024

/* address << 16 | place of the port it was seen on */
typedef uint64_t learn_report;

struct learn_ring {
	_Atomic uint32_t tail CACHE_ALIGNED; /* w: worker */
	uint64_t n_dropped;                  /* w: worker, r: control, relaxed */
	_Atomic uint32_t head CACHE_ALIGNED; /* w: tables */
	_Atomic uint32_t wants_wakeup;       /* w: both */
	int eventfd;
	learn_report cells[LEARN_RING_CELLS] CACHE_ALIGNED;
};

static inline learn_report learn_report_of(const uint8_t mac[6], uint16_t port)
{
	return (uint64_t)mac[0] << 56 | (uint64_t)mac[1] << 48 | (uint64_t)mac[2] << 40 |
	       (uint64_t)mac[3] << 32 | (uint64_t)mac[4] << 24 | (uint64_t)mac[5] << 16 | port;
}
