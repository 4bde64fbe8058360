/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bench_bridge [--smoke] [--json]: what the bridge costs a frame, in TSC ticks, on the fake rings
 * of tests/unit/bridge_world.h: four ports, bursts of 64 from one of them, 16,384 addresses known.
 *
 * As in bench_loop.c only worker_turn() is timed, and what it reads of a frame is in this CPU's
 * caches. Flooded frames are counted once, however many copies they make.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/ticks.h"
#include "tests/unit/bridge_world.h"
#include "util/pages.h"

#define RUNS       15
#define RING       2048
#define N_STATIONS 16384

static const struct fib_pages pages = {.map = pages_map, .unmap = pages_unmap};

struct candidate {
	const char *name;
	uint32_t n_stations; /* that send and are sent to */
	bool is_flooded;
	struct bridge_world *b;
	struct fdb *fdb;
	uint32_t next;
	double ticks[RUNS];
};

/* Odd stations are behind port 1, even ones behind port 0, from where all frames come. */
static void receive(struct candidate *candidate)
{
	uint32_t i = candidate->next++ * 2654435761U % candidate->n_stations;
	struct bridge_mac from = station((uint16_t)(i & ~1U));
	struct bridge_mac to = candidate->is_flooded ? broadcast : station((uint16_t)(i | 1U));

	bridge_receive(candidate->b, 0, to, from, 60, 0);
}

static double run_once(struct candidate *candidate, uint32_t n_turns, uint64_t overhead)
{
	uint64_t ticks = 0;

	for (uint32_t i = 0; i < n_turns; i++) {
		uint64_t start;

		for (uint32_t port = 1; port < BRIDGE_PORTS; port++) {
			(void)fake_transmit(&candidate->b->w->fakes[port], UINT32_MAX);
			(void)fake_complete(&candidate->b->w->fakes[port], UINT32_MAX);
		}
		for (uint32_t n = 0; n < BURST; n++)
			receive(candidate);
		start = ticks_now();
		(void)worker_turn(&candidate->b->w->worker);
		ticks += ticks_now() - start - overhead;
	}
	return (double)ticks / ((double)n_turns * BURST);
}

static void set_up(struct candidate *candidate)
{
	const struct world_spec spec = {
		.n_lanes = BRIDGE_PORTS,
		.n_frames = 2 * BRIDGE_PORTS * RING + 2 * BURST,
		.sizes = {RING, RING, RING, RING, 0},
	};
	struct worker_set *set;

	candidate->b = bridge_new(&spec);
	if (fdb_new(&pages, N_STATIONS, 1, &candidate->fdb) < 0)
		abort();
	for (uint32_t i = 0; i < N_STATIONS; i++) {
		if (fdb_put(candidate->fdb, station((uint16_t)i).octet, (uint16_t)(i & 1), false,
			    1) < 0)
			abort();
	}
	set = bridge_next_set(candidate->b);
	set->fdb = candidate->fdb;
	world_publish(candidate->b->w);
	for (uint32_t i = 0; i < BRIDGE_PORTS; i++) {
		candidate->b->w->fakes[i].on_sent = NULL;
		fake_need_wakeup(&candidate->b->w->fakes[i].tx, false);
	}
}

/* A benchmark of something that drops, or floods what it should know, is worth nothing. */
static bool is_sound(const struct candidate *candidate)
{
	const struct world *w = candidate->b->w;
	const struct lane_counters *in = &w->lanes[0].counters;
	uint64_t n_copies = w->lanes[1].counters.replicated + w->lanes[2].counters.replicated +
			    w->lanes[3].counters.replicated;

	world_check(w);
	return in->rx_packets > 0 && in->forwarded == in->rx_packets &&
	       n_copies == (candidate->is_flooded ? 2 * in->forwarded : 0);
}

static void print_results(struct candidate *candidates, size_t n, double per_ns, bool as_json)
{
	if (as_json)
		printf("{\"bench\": \"bridge\", \"ticks_per_ns\": %.3f, \"runs\": %d, "
		       "\"results\": [",
		       per_ns, RUNS);
	else
		printf("ticks per frame, median of %d runs (min … max); %.3f ticks per ns\n", RUNS,
		       per_ns);
	for (size_t i = 0; i < n; i++) {
		struct candidate *c = &candidates[i];

		qsort(c->ticks, RUNS, sizeof(c->ticks[0]), ticks_compare);
		if (as_json)
			printf("%s{\"name\": \"%s\", \"ticks\": %.2f, \"min\": %.2f, \"max\": "
			       "%.2f}",
			       i ? ", " : "", c->name, c->ticks[RUNS / 2], c->ticks[0],
			       c->ticks[RUNS - 1]);
		else
			printf("%-34s %7.1f  (%.1f … %.1f)\n", c->name, c->ticks[RUNS / 2],
			       c->ticks[0], c->ticks[RUNS - 1]);
	}
	if (as_json)
		printf("]}\n");
}

int main(int argc, char **argv)
{
	struct candidate candidates[] = {
		{.name = "known unicast, 64 stations", .n_stations = 64},
		{.name = "known unicast, 16,384 stations", .n_stations = N_STATIONS},
		{.name = "broadcast to three ports", .n_stations = 64, .is_flooded = true},
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
			fprintf(stderr, "usage: bench_bridge [--smoke] [--json]\n");
			return 64;
		}
	}
	ticks_pin();
	overhead = ticks_overhead();
	per_ns = ticks_per_ns();
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		set_up(&candidates[i]);
		(void)run_once(&candidates[i], is_smoke ? 10 : 1000, overhead);
	}
	for (unsigned run = 0; run < RUNS; run++) {
		for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
			candidates[i].ticks[run] =
				run_once(&candidates[i], is_smoke ? 20 : 2000, overhead);
	}
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		if (!is_sound(&candidates[i])) {
			fprintf(stderr, "bench_bridge: %s: frames were lost, or went elsewhere\n",
				candidates[i].name);
			ok = false;
		}
	}
	print_results(candidates, ARRAY_SIZE(candidates), per_ns, as_json);
	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++) {
		bridge_free(candidates[i].b);
		fdb_free(candidates[i].fdb);
	}
	return ok ? 0 : 1;
}
