/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tables say of themselves; see control/tables.h. Thread: control. */
#include <string.h>

#include "control/tables_thread.h"

static void report_routes(struct tables *tables, struct report_tables *report)
{
	struct rib_stats stats;

	rib_stats(tables->rib, &stats);
	for (unsigned family = 0; family < 2; family++) {
		report->n_prefixes[family] = stats.n_prefixes[family];
		report->n_routes[family] = stats.n_routes[family];
		report->fib_bytes[family] = stats.fib_bytes[family];
	}
	report->retired_bytes = stats.retired_bytes + limbo_bytes(tables->limbo);
	report->n_refused = stats.n_refused;
}

void tables_report(struct tables *tables, struct report_tables *ret_report)
{
	/* A page of every bridge: too large for two on a stack, so it is filled in place. */
	memset(ret_report, 0, sizeof(*ret_report));
	ret_report->beat = atomic_load_explicit(&tables->beat, memory_order_relaxed);
	tables_lock_take(&tables->lock);
	ret_report->is_running = tables->is_started;
	report_routes(tables, ret_report);
	neighbours_count(tables->neighbours, ret_report->n_neighbours);
	ret_report->n_nexthops = nexthops_count(tables->nexthops);
	ret_report->n_resyncs = tables->n_resyncs;
	ret_report->n_overflows = tables->n_overflows;
	ret_report->n_route_changes = tables->n_route_changes;
	ret_report->n_keepalives = tables->n_keepalives;
	ret_report->last_sync_ns = tables->last_sync_ns;
	ret_report->is_synced = tables->is_synced_once && !sync_is_running(tables) &&
				tables->sync.wanted_first_ns == 0;
	lines_policy_state(tables, &ret_report->policy);
	fdbs_report(tables->fdbs, ret_report);
	tables_lock_give(&tables->lock);
}
