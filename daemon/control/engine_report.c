/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine's part of a report: live counters plus what closed objects had counted. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/live.h"
#include "util/clock.h"
#include "util/macros.h"

/* For people and the `worker_stalled` alert; the XDP program decides by stall_timeout. */
#define STALLED_NS NSEC_PER_SEC

void report_xsk_add(struct report_xsk *sum, const struct xsk *xsk)
{
	struct xdp_statistics stats;

	if (xsk_statistics(xsk, &stats) < 0)
		return;
	sum->rx_dropped += stats.rx_dropped;
	sum->rx_invalid_descs += stats.rx_invalid_descs;
	sum->tx_invalid_descs += stats.tx_invalid_descs;
	sum->rx_ring_full += stats.rx_ring_full;
	sum->fill_ring_empty += stats.rx_fill_ring_empty_descs;
	sum->tx_ring_empty += stats.tx_ring_empty_descs;
}

static uint32_t plan_worker_of(const struct plan *plan, uint32_t port, uint32_t queue)
{
	for (uint32_t w = 0; w < plan->n_workers; w++) {
		for (uint32_t i = 0; i < plan->workers[w].n_lanes; i++) {
			const struct plan_lane *lane = &plan->workers[w].lanes[i];

			if (lane->port == port && lane->queue == queue)
				return w;
		}
	}
	return UINT32_MAX;
}

static void add_lane(struct report_queue *queue, const struct lane *lane)
{
	queue->rx_waiting += xsk_rx_waiting(&lane->xsk);
	queue->in_tx += (uint32_t)(counter_read(&lane->counters.tx_packets) -
				   counter_read(&lane->counters.tx_completed));
	lane_counters_add(&queue->counters, &lane->counters);
	report_xsk_add(&queue->xsk, &lane->xsk);
}

/* Lanes that were left to a worker that hangs go on counting when it goes on. */
static void add_held_lanes(const struct engine *engine, const struct live_port *port, uint32_t q,
			   struct report_queue *queue)
{
	for (uint32_t w = 0; w < engine->plan->n_workers; w++) {
		const struct live_lane *held = engine->workers[w]->held;

		for (; held; held = held->next_held) {
			if (held->port == port && held->lane.queue == q)
				add_lane(queue, &held->lane);
		}
	}
}

static void report_queue(const struct engine *engine, uint32_t index, uint32_t q,
			 struct report_queue *queue)
{
	const struct live_port *port = engine->ports[index];
	const struct live_lane *live = port->lanes[q];

	queue->queue = q;
	queue->worker = plan_worker_of(engine->plan, index, q);
	queue->counters = port->totals[q].counters;
	queue->xsk = port->totals[q].xsk;
	queue->rx_abandoned = port->totals[q].rx_abandoned;
	queue->tx_abandoned = port->totals[q].tx_abandoned;
	add_held_lanes(engine, port, q, queue);
	if (!live)
		return;
	queue->is_bound = live->is_slotted;
	queue->is_zerocopy = live->lane.xsk.is_zerocopy;
	queue->busy_poll_active = live->lane.polls_rx;
	add_lane(queue, &live->lane);
}

static bool link_carries(const struct link *link)
{
	return link->is_up && link->has_carrier;
}

/*
 * Forwarding only when the link carries now and the plan that the workers run by knows it: between
 * the two lies the debounce, in which they still drop what is for this port.
 */
static enum port_state state_now(const struct live_port *port, const struct link *planned,
				 const struct link *now)
{
	if (port->state != PORT_FORWARDING)
		return port->state;
	if (port->is_detached)
		return PORT_DETACHED;
	if (!now->exists)
		return PORT_ABSENT;
	return link_carries(planned) && link_carries(now) ? PORT_FORWARDING : PORT_LINK_DOWN;
}

/* What the plan has against a device that is there comes before what the port waits for. */
static void report_problem(const struct live_port *port, const struct plan_port *plan_port,
			   struct report_port *report)
{
	bool is_refused = !plan_port->is_present && plan_port->problem[0];
	bool is_plans = is_refused || !port->problem[0];

	if (is_refused)
		report->state = PORT_FAILED;
	memcpy(report->problem, is_plans ? plan_port->problem : port->problem,
	       sizeof(report->problem));
}

static bool queue_has_counted(const struct live_port *port, uint32_t q)
{
	return port->totals[q].counters.rx_packets != 0 || port->totals[q].counters.tx_packets != 0;
}

/* Queues in use, and those that were: a counter does not vanish while the daemon lives. */
static uint32_t n_queues_to_report(const struct live_port *port, const struct plan_port *plan_port)
{
	uint32_t n = plan_port->conf->forward == CONF_FORWARD_PASS ? 0 : plan_port->n_queues;

	for (uint32_t q = n; q < CONF_MAX_QUEUES; q++) {
		if (queue_has_counted(port, q))
			n = q + 1;
	}
	return n;
}

static int report_port(struct engine *engine, uint32_t index, struct report_port *report)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	struct live_port *port = engine->ports[index];
	uint64_t counts[SLUICE_V_N] = {0};

	report->conf = plan_port->conf;
	/* What events keep up to date, and fresh counters: asking for all would ask for routes,
	 * too. */
	report->link = plan_port->link;
	if (report->link.exists &&
	    link_read_stats(engine->links, report->link.ifindex, &report->link) == -ENODEV)
		report->link.exists = false;
	report->state = state_now(port, &plan_port->link, &report->link);
	report_problem(port, plan_port, report);
	report->is_attached = port->is_attached && port_prog_is_attached(port->prog);
	report->is_pinned = port->is_pinned;
	report->mode = port->mode;
	report->n_rebinds = port->n_rebinds;
	report->n_map_update_failures = port->n_map_update_failures;
	if (port->prog) {
		report->prog_id = port_prog_id(port->prog);
		(void)port_prog_verdicts(port->prog, counts);
	}
	for (unsigned i = 0; i < SLUICE_V_N; i++)
		report->verdicts[i] = port->verdict_totals[i] + counts[i];

	report->n_queues = n_queues_to_report(port, plan_port);
	report->queues = report_array(report->n_queues, sizeof(*report->queues));
	if (!report->queues)
		return -ENOMEM;
	for (uint32_t q = 0; q < report->n_queues; q++)
		report_queue(engine, index, q, &report->queues[q]);
	return 0;
}

static void add_frames(struct frame_states *sum, const struct frame_states *more)
{
	sum->free += more->free;
	sum->fill += more->fill;
	sum->worker += more->worker;
	sum->tx += more->tx;
	sum->quarantine += more->quarantine;
	sum->min_free += more->min_free;
	sum->lost += more->lost;
}

static void copy_worker_counters(struct worker_counters *to, const struct worker_counters *from)
{
#define COPY(name, help) to->name = counter_read(&from->name);
	WORKER_COUNTERS(COPY)
#undef COPY
	for (unsigned i = 0; i < BATCH_BUCKETS; i++)
		to->batch[i] = counter_read(&from->batch[i]);
	to->batch_packets = counter_read(&from->batch_packets);
	for (unsigned i = 0; i < RESIDENCE_BUCKETS; i++)
		to->residence[i] = counter_read(&from->residence[i]);
	to->residence_sum_ns = counter_read(&from->residence_sum_ns);
}

/* From /proc, so that the worker is not asked. */
static uint64_t preemptions_of(int32_t tid)
{
	static const char field[] = "nonvoluntary_ctxt_switches:";
	_cleanup_fclose_ FILE *file = NULL;
	unsigned long long n = 0;
	char line[256];

	snprintf(line, sizeof(line), "/proc/self/task/%d/status", tid);
	file = fopen(line, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, field, sizeof(field) - 1) == 0)
			(void)sscanf(line + sizeof(field) - 1, "%llu", &n);
	}
	return n;
}

static void report_worker(const struct engine *engine, uint32_t index, struct report_worker *report)
{
	const struct plan_worker *plan_worker = &engine->plan->workers[index];
	const struct live_worker *live = engine->workers[index];
	const struct worker *worker = &live->worker;
	uint64_t beat_at_ns = atomic_load_explicit(&worker->beat_at_ns, memory_order_relaxed);
	uint64_t now_ns = clock_now_ns();

	memcpy(report->name, worker->name, sizeof(report->name));
	report->cpu = plan_worker->cpu;
	report->tid = atomic_load_explicit(&worker->tid, memory_order_relaxed);
	report->is_pinned_to_cpu =
		worker->is_started &&
		atomic_load_explicit(&worker->start_error, memory_order_relaxed) == 0;
	report->beat_age_ns = beat_at_ns && now_ns > beat_at_ns ? now_ns - beat_at_ns : 0;
	report->is_stalled = live->hangs || report->beat_age_ns > STALLED_NS;
	report->n_preemptions = report->tid ? preemptions_of(report->tid) : 0;
	report->numa_node = worker->n_umems ? worker->umems[0].node : -1;
	report->is_huge = worker->n_umems && worker->umems[0].is_huge;
	for (uint32_t u = 0; u < worker->n_umems; u++) {
		struct frame_states states = {0};

		report->n_frames += worker->umems[u].n_frames;
		report->umem_bytes += worker->umems[u].size_bytes;
		if (worker_frames(worker, u, &states))
			add_frames(&report->frames, &states);
	}
	copy_worker_counters(&report->counters, &worker->counters);
}

int engine_report(struct engine *engine, struct report *ret_report)
{
	const struct plan *plan = engine->plan;

	if (!plan)
		return 0;
	ret_report->ports = report_array(plan->n_ports, sizeof(*ret_report->ports));
	ret_report->workers = report_array(plan->n_workers, sizeof(*ret_report->workers));
	if (!ret_report->ports || !ret_report->workers)
		return -ENOMEM;
	for (uint32_t i = 0; i < plan->n_ports; i++) {
		int r;

		ret_report->n_ports = i + 1;
		r = report_port(engine, i, &ret_report->ports[i]);
		if (r < 0)
			return r;
	}
	ret_report->n_workers = plan->n_workers;
	for (uint32_t i = 0; i < plan->n_workers; i++)
		report_worker(engine, i, &ret_report->workers[i]);
	if (engine->tables)
		tables_report(engine->tables, &ret_report->tables);
	return 0;
}
