/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A worker on fake rings and its standing checks; see loop_world.h. */
#include "loop_world.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct world *world_new(const struct world_spec *spec)
{
	struct fake_sizes sizes = spec->sizes;
	struct worker_set *set;
	struct world *world;

	world = aligned_alloc(CACHE_LINE_BYTES, sizeof(*world));
	assert(world && spec->n_lanes <= WORLD_LANES);
	memset(world, 0, sizeof(*world));
	if (sizes.fill == 0)
		sizes = (struct fake_sizes){512, 512, 512, 512, sizes.start};
	worker_init(&world->worker, "test", 0, NSEC_PER_MSEC);
	world->worker.n_umems = MAX(spec->n_umems, 1U);
	for (uint32_t u = 0; u < world->worker.n_umems; u++) {
		const struct umem_spec umem = {
			.n_frames = spec->n_frames, .frame_size_bytes = 2048, .numa_node = -1};
		int r = umem_init(&world->worker.umems[u], &umem);

		assert(r == 0);
		fake_umem_init(&world->memories[u], &world->worker.umems[u]);
	}
	world->n_lanes = spec->n_lanes;
	set = world_next_set(world);
	for (uint32_t i = 0; i < spec->n_lanes; i++) {
		fake_lane_init(&world->fakes[i], &world->lanes[i],
			       &world->memories[i % world->worker.n_umems], (uint8_t)(3 + i),
			       &sizes);
		set->routes[i] = (struct worker_route){
			.rx = &world->lanes[i], .out = &world->lanes[i ^ 1], .max_len = 1514};
	}
	if (spec->n_lanes % 2) /* the last one's partner is the first */
		set->routes[spec->n_lanes - 1].out = &world->lanes[0];
	set->n_lanes = spec->n_lanes;
	set->beats[0] = &world->beat_line;
	set->n_beats = 1;
	world->worker.now_ns = WORLD_NS;
	world_publish(world);
	for (uint32_t i = 0; i <= sizes.fill / 256; i++)
		(void)world_turn(world);
	return world;
}

void world_free(struct world *world)
{
	for (uint32_t i = 0; i < world->n_lanes; i++)
		fake_lane_fini(&world->fakes[i]);
	for (uint32_t u = 0; u < world->worker.n_umems; u++) {
		fake_umem_fini(&world->memories[u]);
		umem_fini(&world->worker.umems[u]);
	}
	free(world);
}

struct worker_set *world_next_set(struct world *world)
{
	struct worker_set *next = &world->sets[world->worker.set == &world->sets[0] ? 1 : 0];

	if (world->worker.set)
		*next = *world->worker.set;
	memset(next->n_reclaim, 0, sizeof(next->n_reclaim));
	return next;
}

void world_publish(struct world *world)
{
	struct worker_set *next = &world->sets[world->worker.set == &world->sets[0] ? 1 : 0];
	uint64_t generation = worker_publish(&world->worker, next);

	assert(worker_seen(&world->worker) == generation - 1);
	worker_take_set(&world->worker);
	assert(worker_seen(&world->worker) == generation);
}

uint32_t world_turn(struct world *world)
{
	uint32_t n = worker_turn(&world->worker);

	world_check(world);
	return n;
}

uint64_t world_drops(const struct lane *lane)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < DROP_N; i++)
		n += lane->counters.drops[i];
	return n;
}

uint64_t world_handed_back(const struct lane *lane)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HANDBACK_N; i++)
		n += lane->counters.handed_back[i];
	return n;
}

static bool is_served(const struct world *world, const struct lane *lane)
{
	for (uint32_t i = 0; i < world->worker.set->n_lanes; i++) {
		if (world->worker.set->routes[i].rx == lane)
			return true;
	}
	return false;
}

/* The owner bytes are the truth; every count that the worker keeps must agree with them. */
static void check_owners(const struct world *world, const struct umem *umem)
{
	uint32_t n_of[256] = {0}, n_sum;
	uint8_t *is_stacked = calloc(umem->n_frames, 1);

	assert(is_stacked);
	for (uint32_t i = 0; i < umem->n_frames; i++)
		n_of[umem->owner[i]]++;
	assert(n_of[FRAME_FREE] == umem->n_free);
	for (uint32_t i = 0; i < umem->n_free; i++) {
		assert(umem->free[i] < umem->n_frames);
		assert(umem->owner[umem->free[i]] == FRAME_FREE);
		assert(!is_stacked[umem->free[i]]);
		is_stacked[umem->free[i]] = 1;
	}
	n_sum = umem->n_free + umem->n_quarantine;
	for (uint32_t i = 0; i < world->n_lanes; i++) {
		const struct lane *lane = &world->lanes[i];

		if (lane->umem != umem || !is_served(world, lane))
			continue;
		assert(n_of[FRAME_FILL(lane->tag)] == lane->n_fill);
		assert(n_of[FRAME_TX(lane->tag)] == lane->n_tx);
		assert(lane->n_fill <= lane->xsk.fill.size);
		assert(lane->n_tx <= lane->xsk.completion.size);
		n_sum += lane->n_fill + lane->n_tx;
	}
	assert(n_sum == umem->n_frames);
	assert(umem->min_free <= umem->n_free);
	free(is_stacked);
}

static void check_identities(const struct lane *lane, bool served)
{
	const struct lane_counters *counters = &lane->counters;

	assert(counters->rx_packets ==
	       counters->forwarded + world_handed_back(lane) + world_drops(lane));
	assert(counters->fill_posted >= counters->fill_taken);
	assert(counters->tx_packets >= counters->tx_completed);
	if (served) {
		assert(counters->fill_posted - counters->fill_taken == lane->n_fill);
		assert(counters->tx_packets - counters->tx_completed == lane->n_tx);
	}
}

void world_check(const struct world *world)
{
	uint64_t n_forwarded = 0, n_replicated = 0, n_tx = 0;

	for (uint32_t u = 0; u < world->worker.n_umems; u++) {
		const struct umem *umem = &world->worker.umems[u];
		uint8_t *seen = calloc(umem->n_frames, 1);

		assert(seen);
		for (uint32_t i = 0; i < world->n_lanes; i++) {
			if (world->lanes[i].umem == umem && is_served(world, &world->lanes[i]))
				fake_check_given(&world->fakes[i], seen);
		}
		free(seen);
		check_owners(world, umem);
	}
	for (uint32_t i = 0; i < world->n_lanes; i++) {
		const struct lane *lane = &world->lanes[i];

		check_identities(lane, is_served(world, lane));
		n_forwarded += lane->counters.forwarded;
		n_replicated += lane->counters.replicated;
		n_tx += lane->counters.tx_packets;
		assert(!lane->is_open && lane->n_staged == 0);
	}
	assert(n_forwarded + n_replicated == n_tx);
}

void world_settle(struct world *world)
{
	bool moved = true;

	for (unsigned i = 0; moved; i++) {
		assert(i < 10000);
		moved = world_turn(world) > 0;
		for (uint32_t l = 0; l < world->worker.set->n_lanes; l++) {
			struct fake_lane *fake =
				&world->fakes[world->worker.set->routes[l].rx - world->lanes];

			moved |= fake_transmit(fake, UINT32_MAX) > 0;
			moved |= fake_complete(fake, UINT32_MAX) > 0;
		}
	}
}
