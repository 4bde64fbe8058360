/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker on fake rings, for the tests of data/: lanes, memory and sets in one struct, and the
 * checks that must hold after every turn whatever the kernel did.
 */
#pragma once

#include "data/worker.h"
#include "fake_xsk.h"

#define WORLD_LANES 4
#define WORLD_NS    (1000 * NSEC_PER_SEC) /* the fake clock starts here */

struct world {
	struct worker worker;
	struct lane lanes[WORLD_LANES];
	struct fake_lane fakes[WORLD_LANES];
	struct fake_umem memories[WORKER_MAX_UMEMS];
	struct worker_set sets[2]; /* in use, and the next */
	uint32_t n_lanes;          /* that exist; a set may serve fewer */
	uint64_t beat_line;        /* stands for a line of a port's heartbeat map */
};

struct world_spec {
	uint32_t n_lanes;
	uint32_t n_frames;
	uint32_t n_umems;        /* with two, odd lanes are in the second */
	struct fake_sizes sizes; /* zeroes: 512 each, from 0 */
};

/* Lane i sends to lane i ^ 1; the first set is taken up, the fill rings are full. */
struct world *world_new(const struct world_spec *spec);
void world_free(struct world *world);

/*
 * A copy of the current set for the caller to change; world_publish() hands it over and lets the
 * worker take it up.
 */
struct worker_set *world_next_set(struct world *world);
void world_publish(struct world *world);

/* One turn of the worker, then world_check(). Returns what worker_turn() did. */
uint32_t world_turn(struct world *world);

/* Frames are conserved, nobody has one twice, and both identities hold. Asserts. */
void world_check(const struct world *world);

/* Turns, transmits and completes until nothing moves any more. */
void world_settle(struct world *world);

uint64_t world_drops(const struct lane *lane);
uint64_t world_handed_back(const struct lane *lane);
