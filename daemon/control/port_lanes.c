/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One port's sockets: opened on the UMEMs of its workers, put into the XSKMAP, taken out, closed.
 * Each function either finishes or leaves nothing behind and a text in port->problem.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/live.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "engine"

/* A bound socket of the same UMEM, whose pool a new one joins; -1: it is the first. */
static int find_shared_fd(const struct engine *engine, const struct umem *umem)
{
	for (uint32_t i = 0; i < engine->plan->n_ports; i++) {
		const struct live_port *port = engine->ports[i];

		for (unsigned q = 0; q < CONF_MAX_QUEUES; q++) {
			if (port->lanes[q] && port->lanes[q]->lane.umem == umem)
				return port->lanes[q]->lane.xsk.fd;
		}
	}
	return -1;
}

static void note_busy_poll(const struct live_port *port, const struct conf_port *conf,
			   struct lane *lane)
{
	if (conf->busy_poll_us == 0)
		return;
	lane->polls_rx = lane->xsk.napi_id != 0;
	if (!lane->polls_rx)
		log_warning(
			"port %s queue %u: busy_poll has no effect: the driver gives the queue no "
			"NAPI id, continuing with interrupts",
			port->name, lane->queue);
}

static int open_lane(struct engine *engine, uint32_t index, uint32_t worker_index,
		     const struct plan_lane *plan_lane)
{
	const struct plan_port *plan_port = &engine->plan->ports[index];
	const struct plan_worker *plan_worker = &engine->plan->workers[worker_index];
	struct live_worker *worker = engine->workers[worker_index];
	struct live_port *port = engine->ports[index];
	uint32_t u = crew_umem_of(worker, port->mode);
	struct umem *umem = &worker->worker.umems[u];
	struct xsk_spec spec = {
		.ifindex = plan_port->link.ifindex,
		.queue = plan_lane->queue,
		.fill_size = plan_worker->fill_size,
		.rx_size = plan_worker->rx_size,
		.tx_size = plan_worker->tx_size,
		.completion_size = plan_worker->completion_size,
		.zerocopy = port->mode == XSK_MODE_ZEROCOPY,
		.busy_poll_us = plan_port->conf->busy_poll_us,
		.shared_fd = find_shared_fd(engine, umem),
	};
	struct live_lane *live = aligned_alloc(CACHE_LINE_BYTES, sizeof(*live));
	enum xsk_step step;
	char text[256];
	int r;

	if (!live)
		return -ENOMEM;
	memset(live, 0, sizeof(*live));
	live->worker = worker;
	live->port = port;
	live->lane.umem = umem;
	live->lane.tag = (uint8_t)plan_lane->tag;
	live->lane.port = index;
	live->lane.queue = plan_lane->queue;
	r = xsk_open(&live->lane.xsk, umem, &spec, &step);
	if (r < 0) {
		free(live);
		if (r == -EBUSY && step == XSK_STEP_BIND && port_is_patient(port))
			return r;
		explain_xsk(r, step, plan_port, plan_lane->queue, umem->size_bytes, text,
			    sizeof(text));
		port_set_problem(port, "%s", text);
		return r;
	}
	lane_init(&live->lane);
	note_busy_poll(port, plan_port->conf, &live->lane);
	/* The bind is the proof that nothing of a former socket of this queue lives on. */
	crew_reclaim(worker, u, live->lane.tag);
	port->lanes[plan_lane->queue] = live;
	return 0;
}

int port_bind(struct engine *engine, uint32_t index)
{
	const struct plan *plan = engine->plan;
	struct live_port *port = engine->ports[index];

	for (uint32_t w = 0; w < plan->n_workers; w++) {
		for (uint32_t i = 0; i < plan->workers[w].n_lanes; i++) {
			const struct plan_lane *lane = &plan->workers[w].lanes[i];
			int r;

			if (lane->port != index)
				continue;
			r = open_lane(engine, index, w, lane);
			if (r < 0) {
				port_close_lanes(port);
				return r;
			}
		}
	}
	return 0;
}

int port_open_slots(struct live_port *port)
{
	for (unsigned q = 0; q < CONF_MAX_QUEUES; q++) {
		struct live_lane *lane = port->lanes[q];
		int r;

		if (!lane || lane->is_slotted)
			continue;
		r = port_prog_set_xsk(port->prog, q, lane->lane.xsk.fd);
		if (r < 0) {
			port->n_map_update_failures++;
			port_set_problem(port,
					 "cannot put the socket of queue %u into the XSKMAP: %s", q,
					 strerror(-r));
			return r;
		}
		lane->is_slotted = true;
	}
	return 0;
}

void port_clear_slots(struct live_port *port)
{
	for (unsigned q = 0; q < CONF_MAX_QUEUES; q++) {
		struct live_lane *lane = port->lanes[q];

		if (!lane || !lane->is_slotted)
			continue;
		if (port_prog_clear_xsk(port->prog, q) < 0)
			port->n_map_update_failures++;
		lane->is_slotted = false;
	}
}

/* What a lane has counted outlives it; the kernel's own counters end with the socket. */
static void keep_counts(struct queue_totals *totals, const struct live_lane *live)
{
	const struct lane_counters *counters = &live->lane.counters;

	lane_counters_add(&totals->counters, counters);
	totals->rx_abandoned += xsk_rx_waiting(&live->lane.xsk);
	totals->tx_abandoned +=
		counter_read(&counters->tx_packets) - counter_read(&counters->tx_completed);
	report_xsk_add(&totals->xsk, &live->lane.xsk);
}

void port_free_lane(struct live_lane *lane)
{
	if (lane->port)
		keep_counts(&lane->port->totals[lane->lane.queue], lane);
	xsk_close(&lane->lane.xsk);
	free(lane);
}

void port_close_lanes(struct live_port *port)
{
	for (unsigned q = 0; q < CONF_MAX_QUEUES; q++) {
		struct live_lane *live = TAKE_PTR(port->lanes[q]);

		if (!live)
			continue;
		if (live->worker->hangs) {
			live->next_held = live->worker->held;
			live->worker->held = live;
		} else {
			port_free_lane(live);
		}
	}
}
