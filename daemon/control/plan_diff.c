/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The difference of two plans. A worker goes on if its place, CPU, memory and lanes are the same;
 * a port's sockets go on if all that they and its program were made of is the same and their
 * workers go on. Worker numbers are not compared: they shift when a group before theirs comes or
 * goes, and nothing in the kernel knows them.
 */
#include <errno.h>
#include <string.h>

#include "control/plan_internal.h"
#include "util/macros.h"

const char *const plan_action_names[PLAN_ACTION_N] = {
	[PLAN_KEEP] = "keep",     [PLAN_LIVE] = "live",       [PLAN_ADD] = "add",
	[PLAN_REMOVE] = "remove", [PLAN_REBUILD] = "rebuild",
};

/* --- Groups and workers ---------------------------------------------------------------------- */

/* The next port of a group at or after `port`; n_ports if there is none. */
static uint32_t group_port(const struct plan *plan, uint32_t group, uint32_t port)
{
	while (port < plan->n_ports && plan->ports[port].group != group)
		port++;
	return port;
}

/* What its workers do with frames, and where they have learnt what. */
static bool is_same_purpose(const struct conf_port *o, const struct conf_port *n)
{
	return o->forward == n->forward &&
	       (o->forward != CONF_FORWARD_BRIDGE || strcmp(o->peer, n->peer) == 0);
}

static bool is_same_group(const struct plan *old, uint32_t old_group, const struct plan *new,
			  uint32_t new_group)
{
	uint32_t o = group_port(old, old_group, 0), n = group_port(new, new_group, 0);

	if (o < old->n_ports && n < new->n_ports &&
	    !is_same_purpose(old->ports[o].conf, new->ports[n].conf))
		return false;
	while (o < old->n_ports && n < new->n_ports) {
		if (strcmp(old->ports[o].conf->name, new->ports[n].conf->name) != 0)
			return false;
		o = group_port(old, old_group, o + 1);
		n = group_port(new, new_group, n + 1);
	}
	return o == old->n_ports && n == new->n_ports;
}

uint32_t plan_match_group(const struct plan *old, const struct plan *new, uint32_t new_group)
{
	for (uint32_t group = 0; group < old->n_groups; group++) {
		if (is_same_group(old, group, new, new_group))
			return group;
	}
	return PLAN_NONE;
}

static uint32_t group_workers(const struct plan *plan, uint32_t group)
{
	return plan->ports[group_port(plan, group, 0)].n_workers;
}

uint32_t plan_match_worker(const struct plan *old, const struct plan *new, uint32_t worker)
{
	const struct plan_worker *w = &new->workers[worker];
	uint32_t group = plan_match_group(old, new, w->group);

	if (group == PLAN_NONE || group_workers(old, group) != group_workers(new, w->group))
		return PLAN_NONE;
	for (uint32_t i = 0; i < old->n_workers; i++) {
		if (old->workers[i].group == group && old->workers[i].index == w->index)
			return i;
	}
	return PLAN_NONE;
}

static uint32_t find_port(const struct plan *plan, const char *name)
{
	for (uint32_t port = 0; port < plan->n_ports; port++) {
		if (strcmp(plan->ports[port].conf->name, name) == 0)
			return port;
	}
	return PLAN_NONE;
}

/* The next lane of a port at or after `lane`; NULL if there is none. */
static const struct plan_lane *next_lane(const struct plan_worker *w, uint32_t port,
					 const struct plan_lane *lane)
{
	for (; lane < w->lanes + w->n_lanes; lane++) {
		if (lane->port == port)
			return lane;
	}
	return NULL;
}

/* Same queues under the same tags. A port that came or went is not the worker's concern. */
static bool has_same_lanes(const struct plan_worker *ow, uint32_t old_port,
			   const struct plan_worker *nw, uint32_t new_port)
{
	const struct plan_lane *o = next_lane(ow, old_port, ow->lanes);
	const struct plan_lane *n = next_lane(nw, new_port, nw->lanes);

	if (!o || !n)
		return true;
	while (o && n) {
		if (o->queue != n->queue || o->tag != n->tag)
			return false;
		o = next_lane(ow, old_port, o + 1);
		n = next_lane(nw, new_port, n + 1);
	}
	return !o && !n;
}

static bool worker_goes_on(const struct plan *old, const struct plan_worker *ow,
			   const struct plan *new, const struct plan_worker *nw)
{
	if (ow->cpu != nw->cpu || ow->numa_node != nw->numa_node || ow->n_frames != nw->n_frames ||
	    ow->fill_size != nw->fill_size || ow->rx_size != nw->rx_size ||
	    ow->tx_size != nw->tx_size || ow->completion_size != nw->completion_size)
		return false;
	if (old->frame_size_bytes != new->frame_size_bytes ||
	    old->conf->daemon.huge_pages != new->conf->daemon.huge_pages)
		return false;
	for (uint32_t port = 0; port < new->n_ports; port++) {
		uint32_t old_port = find_port(old, new->ports[port].conf->name);

		if (new->ports[port].group == nw->group && !has_same_lanes(ow, old_port, nw, port))
			return false;
	}
	return true;
}

static void diff_workers(const struct plan *old, const struct plan *new, struct plan_diff *diff)
{
	for (uint32_t i = 0; i < new->n_workers; i++) {
		uint32_t match = plan_match_worker(old, new, i);

		if (match != PLAN_NONE &&
		    !worker_goes_on(old, &old->workers[match], new, &new->workers[i]))
			match = PLAN_NONE;
		diff->old_worker_of[i] = match;
		diff->rebuild_worker[i] = match == PLAN_NONE;
		if (match != PLAN_NONE)
			diff->keep_old_worker[match] = true;
	}
}

/* --- Ports ----------------------------------------------------------------------------------- */

/* Does any worker that is made anew own a lane of this port? */
static bool has_new_worker(const struct plan *new, uint32_t port, const struct plan_diff *diff)
{
	for (uint32_t i = 0; i < new->n_workers; i++) {
		const struct plan_worker *w = &new->workers[i];

		if (diff->rebuild_worker[i] && next_lane(w, port, w->lanes))
			return true;
	}
	return false;
}

/* What sockets and program were made of. */
static bool is_made_differently(const struct plan_port *o, const struct plan_port *n)
{
	const struct conf_port *oc = o->conf, *nc = n->conf;

	return o->link.ifindex != n->link.ifindex || strcmp(o->link.name, n->link.name) != 0 ||
	       oc->mode != nc->mode || oc->forward != nc->forward ||
	       strcmp(oc->peer, nc->peer) != 0 || oc->on_failure != nc->on_failure ||
	       oc->stall_timeout_ns != nc->stall_timeout_ns ||
	       oc->pass_control != nc->pass_control || oc->offloads != nc->offloads ||
	       oc->busy_poll_us != nc->busy_poll_us || o->n_queues != n->n_queues ||
	       o->n_workers != n->n_workers ||
	       memcmp(o->queue_worker, n->queue_worker, sizeof(n->queue_worker)) != 0;
}

static bool has_offloads_to_fix(const struct plan_port *p)
{
	for (unsigned i = 0; i < LINK_OFFLOAD_N; i++) {
		if (p->fix_offload[i])
			return true;
	}
	return false;
}

/* Do the frames of this port leave by other lanes than before? Its workers go on. */
static bool has_other_out_lanes(const struct plan *old, uint32_t old_port, const struct plan *new,
				uint32_t port, const struct plan_diff *diff)
{
	for (uint32_t i = 0; i < new->n_workers; i++) {
		const struct plan_worker *nw = &new->workers[i], *ow;
		const struct plan_lane *o, *n;

		if (diff->old_worker_of[i] == PLAN_NONE)
			continue;
		ow = &old->workers[diff->old_worker_of[i]];
		o = next_lane(ow, old_port, ow->lanes);
		n = next_lane(nw, port, nw->lanes);
		for (; o && n; o = next_lane(ow, old_port, o + 1), n = next_lane(nw, port, n + 1)) {
			if (o->out_lane != n->out_lane)
				return true;
		}
	}
	return false;
}

static bool is_live_change(const struct plan_port *o, const struct plan_port *n)
{
	return o->link.mtu != n->link.mtu ||
	       memcmp(o->link.address, n->link.address, sizeof(n->link.address)) != 0 ||
	       o->conf->take_host_traffic != n->conf->take_host_traffic ||
	       o->conf->flood_limit != n->conf->flood_limit ||
	       o->host_is_on_bridge != n->host_is_on_bridge || has_offloads_to_fix(n);
}

/* A port of both plans. */
static void diff_port(const struct plan *old, uint32_t old_port, const struct plan *new,
		      uint32_t port, struct plan_diff *diff)
{
	const struct plan_port *o = &old->ports[old_port], *n = &new->ports[port];
	enum plan_action *old_action = &diff->old_ports[old_port];
	enum plan_action *new_action = &diff->new_ports[port];

	*old_action = *new_action = PLAN_KEEP;
	if (o->is_present && n->is_present) {
		if (is_made_differently(o, n) || has_new_worker(new, port, diff))
			*old_action = *new_action = PLAN_REBUILD;
		else if (is_live_change(o, n) ||
			 has_other_out_lanes(old, old_port, new, port, diff))
			*old_action = *new_action = PLAN_LIVE;
	} else if (n->is_present) {
		*new_action = PLAN_ADD;
	} else if (o->is_present) {
		*old_action = PLAN_REMOVE;
	} else if (is_made_differently(o, n)) {
		*old_action = *new_action = PLAN_LIVE;
	}
}

static void diff_ports(const struct plan *old, const struct plan *new, struct plan_diff *diff)
{
	for (uint32_t port = 0; port < old->n_ports; port++)
		diff->old_ports[port] = PLAN_REMOVE;
	for (uint32_t port = 0; port < new->n_ports; port++) {
		uint32_t old_port = find_port(old, new->ports[port].conf->name);

		diff->old_of[port] = old_port;
		diff->new_ports[port] = PLAN_ADD;
		if (old_port != PLAN_NONE)
			diff_port(old, old_port, new, port, diff);
	}
}

/* Also the places must be the same: what runs refers to ports and workers by their index. */
static bool is_nothing(const struct plan *old, const struct plan *new, const struct plan_diff *diff)
{
	if (old->n_ports != new->n_ports || old->n_workers != new->n_workers)
		return false;
	for (uint32_t port = 0; port < new->n_ports; port++) {
		if (diff->old_of[port] != port || diff->new_ports[port] != PLAN_KEEP ||
		    diff->old_ports[port] != PLAN_KEEP)
			return false;
	}
	for (uint32_t i = 0; i < new->n_workers; i++) {
		if (diff->old_worker_of[i] != i)
			return false;
	}
	return true;
}

int plan_diff(const struct plan *old, const struct plan *new, struct plan_diff *ret_diff)
{
	struct plan_diff diff = {
		.new_ports = calloc(MAX(new->n_ports, 1u), sizeof(*diff.new_ports)),
		.old_ports = calloc(MAX(old->n_ports, 1u), sizeof(*diff.old_ports)),
		.old_of = calloc(MAX(new->n_ports, 1u), sizeof(*diff.old_of)),
		.rebuild_worker = calloc(MAX(new->n_workers, 1u), sizeof(*diff.rebuild_worker)),
		.old_worker_of = calloc(MAX(new->n_workers, 1u), sizeof(*diff.old_worker_of)),
		.keep_old_worker = calloc(MAX(old->n_workers, 1u), sizeof(*diff.keep_old_worker)),
	};

	if (!diff.new_ports || !diff.old_ports || !diff.old_of || !diff.rebuild_worker ||
	    !diff.old_worker_of || !diff.keep_old_worker) {
		plan_diff_fini(&diff);
		return -ENOMEM;
	}
	diff_workers(old, new, &diff);
	diff_ports(old, new, &diff);
	diff.is_empty = is_nothing(old, new, &diff);
	*ret_diff = diff;
	return 0;
}

void plan_diff_fini(struct plan_diff *diff)
{
	free(diff->new_ports);
	free(diff->old_ports);
	free(diff->old_of);
	free(diff->rebuild_worker);
	free(diff->old_worker_of);
	free(diff->keep_old_worker);
	*diff = (struct plan_diff){0};
}
