/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sets of workers that route or bridge: what they have beyond those of a wire (data/worker.h),
 * all ports of their group, any of which a frame may leave by.
 */
#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>

#include "control/live.h"
#include "kern/tap.h"
#include "util/macros.h"

static enum worker_forward forward_of(const struct plan *plan, uint32_t group)
{
	for (uint32_t i = 0; i < plan->n_ports; i++) {
		if (plan->ports[i].group != group)
			continue;
		if (plan->ports[i].conf->forward == CONF_FORWARD_ROUTE)
			return WORKER_ROUTE;
		if (plan->ports[i].conf->forward == CONF_FORWARD_BRIDGE)
			return WORKER_BRIDGE;
	}
	return WORKER_WIRE;
}

void crew_free_set(struct worker_set *set)
{
	if (!set)
		return;
	free(set->ports);
	free(set);
}

struct worker_set *crew_new_set(const struct plan *plan, uint32_t worker_index)
{
	struct worker_set *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->forward = forward_of(plan, plan->workers[worker_index].group);
	if (set->forward == WORKER_WIRE)
		return set;
	set->ports = calloc(WORKER_MAX_PORTS, sizeof(*set->ports));
	if (set->ports)
		return set;
	free(set);
	return NULL;
}

void crew_clear_set(struct worker_set *set)
{
	enum worker_forward forward = set->forward;
	struct worker_port *ports = set->ports;

	memset(set, 0, sizeof(*set));
	set->forward = forward;
	set->ports = ports;
	if (ports)
		memset(ports, 0, WORKER_MAX_PORTS * sizeof(*ports));
}

/*
 * A port on its way out takes nothing more, but what the others have in hand for it when all go
 * together.
 */
static bool all_close(const struct set_request *request, uint32_t group)
{
	const struct engine *engine = request->engine;

	for (uint32_t i = 0; i < engine_n_ports(engine); i++) {
		if (engine->plan->ports[i].group == group && engine->ports[i]->is_attached &&
		    !request->closing[i])
			return false;
	}
	return true;
}

static bool can_send(const struct set_request *request, uint32_t port)
{
	const struct plan_port *plan_port = &request->engine->plan->ports[port];

	if (!plan_port->link.is_up || !plan_port->link.has_carrier)
		return false;
	return !request->closing || !request->closing[port] || all_close(request, plan_port->group);
}

/* The port's limit is shared out by queues: a flow's worker is its queue's. */
static uint32_t flood_share(const struct plan_port *port)
{
	uint32_t limit = port->conf->flood_limit;

	if (limit == 0 || port->n_workers == 0)
		return 0;
	return MAX(limit / port->n_workers, 1);
}

static void add_port(const struct set_request *request, uint32_t index, struct worker_port *port)
{
	const struct engine *engine = request->engine;
	const struct plan_port *plan_port = &engine->plan->ports[index];
	const struct plan_worker *worker = &engine->plan->workers[request->worker_index];
	const struct live_port *live = engine->ports[index];
	bool is_gone = request->drop_closing && request->closing[index];

	port->is_member = true;
	port->handback_fd = -1;
	port->flood_per_s = flood_share(plan_port);
	port->floods_to_host = plan_port->host_is_on_bridge;
	if (!plan_port->is_present)
		return;
	port->ifindex = plan_port->link.ifindex;
	port->max_len = plan_port->link.mtu + ETH_HLEN;
	memcpy(port->mac, plan_port->link.address, sizeof(port->mac));
	if (is_gone)
		return;
	port->can_send = can_send(request, index);
	if (live->tap)
		port->handback_fd = tap_fd(live->tap, worker->index);
	for (uint32_t i = 0; i < worker->n_lanes; i++) {
		const struct plan_lane *lane = &worker->lanes[i];

		if (lane->port == index && live->lanes[lane->queue])
			port->lanes[port->n_lanes++] = &live->lanes[lane->queue]->lane;
	}
}

void crew_add_ports(const struct set_request *request, struct worker_set *set)
{
	const struct engine *engine = request->engine;
	const struct plan *plan = engine->plan;
	uint32_t group = plan->workers[request->worker_index].group;
	const char *bridge = "";

	if (set->forward == WORKER_WIRE)
		return;
	for (uint32_t i = 0; i < plan->n_ports; i++) {
		if (plan->ports[i].group != group) {
			set->ports[i].handback_fd = -1;
			continue;
		}
		bridge = plan->ports[i].conf->peer;
		add_port(request, i, &set->ports[i]);
	}
	if (set->forward == WORKER_ROUTE)
		set->view = tables_view(engine->tables);
	else
		set->fdb = tables_fdb(engine->tables, bridge);
	/* The tables could not be told of it: without a database there is nothing to do. */
	if (set->forward == WORKER_BRIDGE && !set->fdb)
		set->n_lanes = 0;
}
