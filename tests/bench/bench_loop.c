/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench_loop [--smoke] [--json]: what one turn of the worker costs, in TSC ticks per frame, on the
 * fake rings of tests/unit/fake_xsk.h.
 *
 * Only worker_turn() is timed. The kernel's side runs between the turns, on the same CPU, so its
 * cost is outside, and what it wrote is in this CPU's caches: this measures instructions, not the
 * coherence traffic of a real NIC (for that: tools/bench packet). No system call is made: the fake
 * driver does not ask to be woken. The cost of reading the TSC twice is measured and subtracted.
 *
 * Each figure is the median of RUNS runs, with the smallest and largest beside it; the candidates
 * take turns (A B C A B C), so that a slow phase of the machine meets them all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/ticks.h"
#include "tests/unit/loop_world.h"

#define RUNS     15
#define MAX_RING 2048

struct candidate {
	const char *name;
	uint32_t burst; /* packets per turn and direction */
	uint32_t n_directions;
	uint32_t n_umems;
	struct world *world;
	double ticks[RUNS];
};

static void play_kernel(struct candidate *candidate)
{
	for (uint32_t i = 0; i < candidate->n_directions; i++) {
		struct fake_lane *in = &candidate->world->fakes[i];
		struct fake_lane *out = &candidate->world->fakes[i ^ 1];

		(void)fake_transmit(out, UINT32_MAX);
		(void)fake_complete(out, UINT32_MAX);
		if (fake_receive_n(in, candidate->burst, 60) != candidate->burst)
			abort(); /* the fill ring ran dry: we would measure something else */
	}
}

static double run_once(struct candidate *candidate, uint32_t n_turns, uint64_t overhead)
{
	uint64_t ticks = 0, n_frames = 0;

	for (uint32_t i = 0; i < n_turns; i++) {
		uint64_t start;

		play_kernel(candidate);
		start = ticks_now();
		(void)worker_turn(&candidate->world->worker);
		ticks += ticks_now() - start - overhead;
		n_frames += (uint64_t)candidate->burst * candidate->n_directions;
	}
	return (double)ticks / (double)MAX(n_frames, n_turns);
}

static void set_up(struct candidate *candidate)
{
	const struct world_spec spec = {
		.n_lanes = 2,
		.n_frames = 4 * MAX_RING + 2 * BURST,
		.n_umems = candidate->n_umems,
		.sizes = {MAX_RING, MAX_RING, MAX_RING, MAX_RING, 0},
	};

	candidate->world = world_new(&spec);
	for (uint32_t i = 0; i < 2; i++)
		fake_need_wakeup(&candidate->world->fakes[i].tx, false);
}

/* A benchmark of something that drops its packets is worth nothing. */
static bool is_sound(const struct candidate *candidate)
{
	const struct world *world = candidate->world;
	uint64_t n_rx = 0, n_forwarded = 0;

	world_check(world);
	for (uint32_t i = 0; i < 2; i++) {
		n_rx += world->lanes[i].counters.rx_packets;
		n_forwarded += world->lanes[i].counters.forwarded;
	}
	return n_rx == n_forwarded && (n_rx > 0) == (candidate->burst > 0);
}

static void print_results(struct candidate *candidates, size_t n, double per_ns, bool as_json)
{
	if (as_json)
		printf("{\"bench\": \"loop\", \"ticks_per_ns\": %.3f, \"runs\": %d, \"cpu\": %d, "
		       "\"results\": [",
		       per_ns, RUNS, sched_getcpu());
	else
		printf("ticks per frame, median of %d runs (min … max); %.3f ticks per ns; CPU %d\n",
		       RUNS, per_ns, sched_getcpu());
	for (size_t i = 0; i < n; i++) {
		struct candidate *c = &candidates[i];
		double median, min, max;

		qsort(c->ticks, RUNS, sizeof(c->ticks[0]), ticks_compare);
		median = c->ticks[RUNS / 2], min = c->ticks[0], max = c->ticks[RUNS - 1];
		if (as_json)
			printf("%s{\"name\": \"%s\", \"burst\": %u, \"ticks\": %.2f, \"min\": %.2f, "
			       "\"max\": %.2f, \"ns\": %.2f}",
			       i ? ", " : "", c->name, c->burst, median, min, max, median / per_ns);
		else
			printf("%-28s %7.1f  (%.1f … %.1f)  %6.2f ns\n", c->name, median, min, max,
			       median / per_ns);
	}
	if (as_json)
		printf("]}\n");
}

int main(int argc, char **argv)
{
	struct candidate candidates[] = {
		{.name = "empty turn", .burst = 0, .n_directions = 2, .n_umems = 1},
		{.name = "burst 1", .burst = 1, .n_directions = 1, .n_umems = 1},
		{.name = "burst 8", .burst = 8, .n_directions = 1, .n_umems = 1},
		{.name = "burst 32", .burst = 32, .n_directions = 1, .n_umems = 1},
		{.name = "burst 64", .burst = 64, .n_directions = 1, .n_umems = 1},
		{.name = "burst 64, both ways", .burst = 64, .n_directions = 2, .n_umems = 1},
		{.name = "burst 64, copied (60 bytes)",
		 .burst = 64,
		 .n_directions = 1,
		 .n_umems = 2},
	};
	bool is_smoke = false, as_json = false, ok = true;
	uint64_t overhead;
	double per_ns;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--smoke") == 0) {
			is_smoke = true;
		} else if (strcmp(argv[i], "--json") == 0) {
			as_json = true;
		} else {
			fprintf(stderr, "usage: bench_loop [--smoke] [--json]\n");
			return 64;
		}
	}
	ticks_pin();
	overhead = ticks_overhead();
	per_ns = ticks_per_ns();
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		set_up(&candidates[i]);
		(void)run_once(&candidates[i], is_smoke ? 10 : 2000, overhead);
	}
	for (unsigned run = 0; run < RUNS; run++) {
		for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
			candidates[i].ticks[run] =
				run_once(&candidates[i], is_smoke ? 20 : 5000, overhead);
	}
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		if (!is_sound(&candidates[i])) {
			fprintf(stderr, "bench_loop: %s: packets were dropped\n",
				candidates[i].name);
			ok = false;
		}
	}
	print_results(candidates, ARRAY_SIZE(candidates), per_ns, as_json);
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
		world_free(candidates[i].world);
	return ok ? 0 : 1;
}
