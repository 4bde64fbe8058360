/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Generations: when what was taken out of the tables may be used again, and what happens when a
 * worker that stands still keeps it from being so. See net/fib.h and control/tables.h.
 *
 * Thread: tables.
 */
#include <errno.h>
#include <string.h>

#include "control/tables_thread.h"
#include "net/fib_atomic.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "tables"

/*
 * A generation costs a look at every worker, and no worker takes a turn of this length. Where
 * nothing comes free it is tried less often.
 */
#define GENERATION_NS     (2 * NSEC_PER_MSEC)
#define GENERATION_MAX_NS (20 * NSEC_PER_MSEC)

/* Adjacencies, next hops and lists of addresses: of 100 000 of the former. */
#define LIMBO_MAX_BYTES (16U << 20)

/* A change is to be seen within 10 ms (issue B), and workers that live let go within one turn. */
#define SHORT_PATIENCE_NS (10 * NSEC_PER_MSEC)

static size_t waiting_bytes(const struct tables *tables)
{
	struct rib_stats stats;

	rib_stats(tables->rib, &stats);
	return limbo_bytes(tables->limbo) + stats.retired_bytes;
}

/* The oldest generation that a worker may be in. */
static uint64_t oldest_seen(const struct tables *tables, uint64_t generation)
{
	uint64_t oldest = generation;

	for (uint32_t i = 0; i < tables->config.n_workers; i++) {
		/* pairs with the worker's release: its loads of before are done. One that does not
		 * read is at UINT64_MAX. */
		uint64_t seen = atomic_load_explicit(&tables->workers[i]->tables_seen,
						     memory_order_acquire);

		oldest = MIN(oldest, seen);
	}
	return oldest;
}

static void reclaim(struct tables *tables)
{
	uint64_t generation =
		atomic_load_explicit(&tables->view->generation, memory_order_relaxed) + 1;
	uint64_t oldest;

	rib_begin_generation(tables->rib, generation);
	limbo_begin_generation(tables->limbo, generation);
	/* pairs with the worker's acquire: who sees the number sees the changes before it */
	atomic_store_explicit(&tables->view->generation, generation, memory_order_release);
	/*
	 * Pairs with the fence of a worker that wakes up, between its store of `tables_seen` and
	 * its first look at the tables: either it is seen here, or it sees what is new.
	 */
	FIB_FENCE(memory_order_seq_cst);
	oldest = oldest_seen(tables, generation);
	rib_reclaim(tables->rib, oldest);
	limbo_reclaim(tables->limbo, oldest);
}

static void close_gates(struct tables *tables)
{
	tables->is_full = true;
	lines_store(tables);
	log_warning("a worker stands still and holds up the tables; the kernel forwards until it "
		    "moves");
}

static void open_gates(struct tables *tables)
{
	tables->is_full = false;
	tables->lines_are_stale = true;
	log_notice("the tables are up to date again; the workers forward");
}

/* Of these families too many routes found no room. */
static void watch_families(struct tables *tables)
{
	struct rib_stats stats;

	rib_stats(tables->rib, &stats);
	if (memcmp(stats.must_pass, tables->must_pass, sizeof(stats.must_pass)) == 0)
		return;
	memcpy(tables->must_pass, stats.must_pass, sizeof(stats.must_pass));
	lines_store(tables);
}

static void watch_room(struct tables *tables, uint64_t now_ns)
{
	const size_t limbo = limbo_bytes(tables->limbo);

	if (!tables->is_owed &&
	    limbo <= (tables->is_full ? LIMBO_MAX_BYTES / 2 : LIMBO_MAX_BYTES)) {
		tables->short_since_ns = 0;
		if (tables->is_full)
			open_gates(tables);
		return;
	}
	if (tables->short_since_ns == 0)
		tables->short_since_ns = now_ns;
	if (!tables->is_full && now_ns - tables->short_since_ns >= SHORT_PATIENCE_NS)
		close_gates(tables);
}

void retire_work(struct tables *tables, uint64_t now_ns)
{
	const size_t before = waiting_bytes(tables);

	/* What is owed waits for room, so there is no time to lose. */
	if (before > 0 && (tables->is_owed || now_ns >= tables->generation_due_ns)) {
		reclaim(tables);
		tables->generation_interval_ns =
			waiting_bytes(tables) < before ?
				GENERATION_NS :
				MIN(tables->generation_interval_ns * 2, GENERATION_MAX_NS);
		tables->generation_due_ns = now_ns + tables->generation_interval_ns;
	}
	if (tables->is_owed)
		tables->is_owed = rib_retry(tables->rib) == -EAGAIN;
	watch_families(tables);
	watch_room(tables, now_ns);
}

uint64_t retire_due_ns(const struct tables *tables)
{
	if (tables->is_owed)
		return clock_now_ns() + GENERATION_NS;
	return waiting_bytes(tables) > 0 ? tables->generation_due_ns : UINT64_MAX;
}
