/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading everything anew: dumps in a fixed order, by mark and sweep, so that what is still there
 * is never taken out, in slices.
 *
 *	wanted ──debounced──► links ► objects ► addresses ► neighbours ► routes ► sweep ──► idle
 *	   ▲                    │ inconsistent (NLM_F_DUMP_INTR): the same dump once more       │
 *	   └────────────────────┴── too often: no sweep, and all of it again, later ◄───────────┘
 *
 * Notifications. The dumps before the routes are short: notifications wait in their socket and are
 * applied behind them. The routes may take a second: notifications are applied at once, and again
 * behind what the dump tells of the same route (tables_replay.c).
 *
 * A dump of IPv6 routes that is overtaken by a delete starts over in the kernel and skips as many
 * as it had told before (fib6_dump_table()), so it may leave out routes that are there, with no
 * word about it. It is repeated, and what any of the dumps has told is kept.
 *
 * Thread: tables.
 */
#include <errno.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "control/tables_thread.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "tables"

/* What wants a sync rarely comes alone: a link that fails takes addresses and routes along. */
#define DEBOUNCE_NS     (50 * NSEC_PER_MSEC)
#define DEBOUNCE_MAX_NS NSEC_PER_SEC

#define MAX_TRIES 8

enum table_of_dump { OF_NONE, OF_LOCAL, OF_FOLLOWED };

static void begin_all(struct tables *tables)
{
	link_table_begin_sync(tables->links);
	nexthops_begin_sync(tables->nexthops);
	locals_begin_sync(tables->locals);
	neighbours_begin_sync(tables->neighbours);
	rib_begin_sync(tables->rib);
}

static void end_links(struct tables *tables)
{
	link_table_end_sync(tables->links, sync_sweep_link, tables);
	tables_resolve_table(tables);
}

static void end_objects(struct tables *tables)
{
	tables->wants_repaint |= nexthops_end_sync(tables->nexthops);
}

static void end_neighbours(struct tables *tables)
{
	neighbours_end_sync(tables->neighbours);
}

/* In the order in which one leans on the other. */
static const struct {
	struct rtnl_dump dump;
	enum table_of_dump table;
	void (*end)(struct tables *tables); /* sweeps, unless the sync is doubtful */
} steps[] = {
	{{.type = RTM_GETLINK}, OF_NONE, end_links},
	{{.type = RTM_GETNEXTHOP}, OF_NONE, end_objects},
	{{.type = RTM_GETADDR, .family = AF_INET}, OF_NONE, NULL},
	{{.type = RTM_GETADDR, .family = AF_INET6}, OF_NONE, NULL},
	{{.type = RTM_GETNEIGH, .family = AF_INET}, OF_NONE, NULL},
	{{.type = RTM_GETNEIGH, .family = AF_INET6}, OF_NONE, end_neighbours},
	{{.type = RTM_GETROUTE, .family = AF_INET}, OF_LOCAL, NULL},
	{{.type = RTM_GETROUTE, .family = AF_INET6}, OF_LOCAL, NULL},
	{{.type = RTM_GETROUTE, .family = AF_INET}, OF_FOLLOWED, NULL},
	{{.type = RTM_GETROUTE, .family = AF_INET6}, OF_FOLLOWED, NULL},
};

/* Behind the last dump: the routes that were in none are taken out, in slices. */
#define STEP_SWEEP ARRAY_SIZE(steps)

void sync_want(struct tables *tables)
{
	const uint64_t now_ns = clock_now_ns();

	if (tables->sync.wanted_first_ns == 0)
		tables->sync.wanted_first_ns = now_ns;
	tables->sync.wanted_last_ns = now_ns;
}

bool sync_is_running(const struct tables *tables)
{
	return tables->sync.step != SYNC_IDLE;
}

bool sync_reads_routes(const struct tables *tables)
{
	const unsigned step = tables->sync.step;

	return step < STEP_SWEEP && steps[step].table != OF_NONE;
}

bool sync_lets_drain(const struct tables *tables)
{
	return !sync_is_running(tables) || tables->sync.step == STEP_SWEEP ||
	       sync_reads_routes(tables);
}

uint64_t sync_due_ns(const struct tables *tables)
{
	const struct sync *sync = &tables->sync;
	uint64_t due_ns;

	if (sync_is_running(tables))
		return 0;
	if (sync->wanted_first_ns == 0)
		return UINT64_MAX;
	/* Before the first there is nothing to spare. */
	if (!tables->is_synced_once)
		return sync->not_before_ns;
	due_ns = MIN(sync->wanted_last_ns + DEBOUNCE_NS, sync->wanted_first_ns + DEBOUNCE_MAX_NS);
	return MAX(due_ns, sync->not_before_ns);
}

static void sync_begin(struct tables *tables, uint64_t now_ns)
{
	struct sync *sync = &tables->sync;

	sync->wanted_first_ns = sync->wanted_last_ns = 0;
	sync->started_ns = now_ns;
	sync->step = 0;
	sync->n_tries = 0;
	sync->is_open = sync->is_doubtful = false;
	begin_all(tables);
}

static void sync_end(struct tables *tables)
{
	struct sync *sync = &tables->sync;
	const uint64_t now_ns = clock_now_ns();

	sync->step = SYNC_IDLE;
	sync->is_settling = true;
	tables->last_sync_ns = now_ns - sync->started_ns;
	/* The next one leaves at least as much time for everything else. */
	sync->not_before_ns = now_ns + tables->last_sync_ns;
	replay_clear(sync->replay);
	if (sync->is_doubtful) {
		sync_want(tables);
		return;
	}
	if (tables->is_synced_once)
		tables->n_resyncs++;
	/* A VRF that is not there yet has no routes: then nothing has been followed. */
	tables->is_synced_once = tables->table != 0;
	tables->lines_are_stale = true;
	tables_lock_tell_synced(&tables->lock);
}

static bool step_is_empty(const struct tables *tables, unsigned step)
{
	return steps[step].table == OF_FOLLOWED &&
	       (tables->table == 0 || tables->table == RT_TABLE_LOCAL);
}

static void step_end(struct tables *tables)
{
	struct sync *sync = &tables->sync;

	if (steps[sync->step].end && !sync->is_doubtful)
		steps[sync->step].end(tables);
	sync->step++;
	sync->n_tries = 0;
	sync->is_open = false;
}

static int step_begin(struct tables *tables)
{
	struct sync *sync = &tables->sync;
	struct rtnl_dump dump = steps[sync->step].dump;
	int r;

	dump.table = steps[sync->step].table == OF_LOCAL ? RT_TABLE_LOCAL : tables->table;
	sync->is_interrupted = false;
	sync->n_deletes6 = 0;
	r = rtnl_dump_begin(&tables->rtnl, &dump);
	if (r == 0)
		sync->is_open = true;
	return r;
}

static bool is_ip6_routes(unsigned step)
{
	return steps[step].dump.type == RTM_GETROUTE && steps[step].dump.family == AF_INET6;
}

/* r: of rtnl_dump_read(), not 0. */
static void step_result(struct tables *tables, int r)
{
	struct sync *sync = &tables->sync;

	if (r == 1 && is_ip6_routes(sync->step) && sync->n_deletes6 > 0)
		r = -EINTR;
	if (r == 1) {
		step_end(tables);
		return;
	}
	sync->is_open = false;
	if (++sync->n_tries < MAX_TRIES)
		return;
	log_notice("reading the kernel's tables: %s; trying again",
		   r == -EINTR ? "they change faster than they can be read" : strerror(-r));
	sync->is_doubtful = true;
	step_end(tables);
}

void sync_work(struct tables *tables, uint64_t until_ns)
{
	struct sync *sync = &tables->sync;
	const uint64_t now_ns = clock_now_ns();
	int r;

	if (!sync_is_running(tables)) {
		if (now_ns < sync_due_ns(tables))
			return;
		sync_begin(tables, now_ns);
	}
	do {
		if (sync->step == STEP_SWEEP) {
			if (!sync->is_doubtful && !rib_end_sync(tables->rib, until_ns))
				return;
			if (!sync->is_doubtful)
				locals_end_sync(tables->locals);
			sync_end(tables);
			return;
		}
		if (step_is_empty(tables, sync->step)) {
			step_end(tables);
			continue;
		}
		r = sync->is_open ? 0 : step_begin(tables);
		if (r == 0)
			r = rtnl_dump_read(tables, until_ns);
		if (r != 0)
			step_result(tables, r);
	} while (clock_now_ns() < until_ns);
}
