/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making a plan: ports, groups, then the workers of each group. See plan.h for the terms. */
#include "control/plan.h"

#include <errno.h>
#include <string.h>

#include "bpf/sluice_abi.h"
#include "control/plan_internal.h"
#include "util/macros.h"

static void add_port(struct plan_builder *b, uint32_t port, const struct link *link)
{
	struct plan_port *p = &b->plan->ports[port];

	*p = (struct plan_port){
		.conf = &b->conf->ports[port],
		.link = *link,
		.is_present = link->exists,
		.group = PLAN_NONE,
		.peer = PLAN_NONE,
		.n_queues = link->exists ? MIN(link->n_rx_queues, CONF_MAX_QUEUES) : 0,
	};
	for (unsigned queue = 0; queue < CONF_MAX_QUEUES; queue++)
		p->queue_worker[queue] = SLUICE_NO_WORKER;
}

/* Mutual, else PLAN_NONE: conf_load() refuses half a wire, but a plan does not rely on it. */
static uint32_t find_peer(const struct conf *conf, uint32_t port)
{
	const struct conf_port *p = &conf->ports[port];

	for (uint32_t peer = 0; p->forward == CONF_FORWARD_XCONNECT && peer < conf->n_ports;
	     peer++) {
		const struct conf_port *q = &conf->ports[peer];

		if (peer != port && q->forward == CONF_FORWARD_XCONNECT &&
		    strcmp(q->name, p->peer) == 0 && strcmp(q->peer, p->name) == 0)
			return peer;
	}
	return PLAN_NONE;
}

static bool can_send_to_each_other(const struct conf_port *a, const struct conf_port *b)
{
	if (a->forward != b->forward)
		return false;
	return a->forward == CONF_FORWARD_ROUTE ||
	       (a->forward == CONF_FORWARD_BRIDGE && strcmp(a->peer, b->peer) == 0) ||
	       (a->forward == CONF_FORWARD_XCONNECT && strcmp(a->name, b->peer) == 0);
}

/* The group of an earlier port that this one belongs to, or the next number. */
static uint32_t group_of(struct plan *plan, uint32_t port)
{
	for (uint32_t i = 0; i < port; i++) {
		if (plan->ports[i].group != PLAN_NONE &&
		    can_send_to_each_other(plan->ports[i].conf, plan->ports[port].conf))
			return plan->ports[i].group;
	}
	return plan->n_groups++;
}

/* Groups are numbered by their first port in the file. */
static void make_groups(struct plan_builder *b)
{
	struct plan *plan = b->plan;

	for (uint32_t port = 0; port < plan->n_ports; port++) {
		struct plan_port *p = &plan->ports[port];

		p->peer = find_peer(b->conf, port);
		if (p->conf->forward == CONF_FORWARD_PASS)
			continue;
		if (p->conf->forward != CONF_FORWARD_XCONNECT || p->peer != PLAN_NONE)
			p->group = group_of(plan, port);
		else
			plan_note(
				b, PLAN_ERROR, port,
				"port %s: [port %s] does not answer with \"forward = xconnect %s\"",
				p->conf->name, p->conf->peer, p->conf->name);
	}
}

static bool carries_host(const struct link *link)
{
	return link->host.n_addresses > 0 || link->upper_host.n_addresses > 0;
}

/* What the file alone shows about the ports of one bridge together. */
static void survey_bridge(struct plan_builder *b, uint32_t port)
{
	struct plan *plan = b->plan;
	struct plan_port *p = &plan->ports[port];
	unsigned n_ports = 0;

	if (p->conf->forward != CONF_FORWARD_BRIDGE)
		return;
	for (uint32_t i = 0; i < plan->n_ports; i++) {
		if (plan->ports[i].group != p->group)
			continue;
		n_ports++;
		p->host_is_on_bridge |= carries_host(&plan->ports[i].link);
	}
	if (n_ports == 1)
		plan_note(b, PLAN_WARNING, port,
			  "port %s: it is the only one with \"forward = bridge %s\": there is "
			  "nowhere to send what it receives",
			  p->conf->name, p->conf->peer);
}

/* A port that went is expected back where it was, so that the workers which go on stay there. */
static void remember_node(struct plan_builder *b, uint32_t port)
{
	struct plan_port *p = &b->plan->ports[port];

	for (uint32_t i = 0; !p->is_present && b->previous && i < b->previous->n_ports; i++) {
		const struct plan_port *old = &b->previous->ports[i];

		if (strcmp(old->conf->interface, p->conf->interface) == 0)
			p->link.numa_node = old->link.numa_node;
	}
}

static void build(struct plan_builder *b, const struct link *links)
{
	struct plan *plan = b->plan;

	for (uint32_t port = 0; port < plan->n_ports; port++) {
		add_port(b, port, &links[port]);
		remember_node(b, port);
	}
	make_groups(b);
	for (uint32_t port = 0; port < plan->n_ports; port++)
		survey_bridge(b, port);
	plan_find_cpus(b);
	for (uint32_t port = 0; port < plan->n_ports; port++) {
		plan_check_port(b, port);
		if (plan->ports[port].group != PLAN_NONE)
			plan_select_queues(b, port);
	}
	for (uint32_t group = 0; group < plan->n_groups; group++)
		plan_add_workers(b, group);
	plan_assign_cpus(b);
	for (uint32_t i = 0; i < plan->n_workers; i++)
		plan->umem_bytes += (uint64_t)plan->workers[i].n_frames * plan->frame_size_bytes;
	plan_check_memory(b);
}

int plan_make_next(const struct plan *previous, const struct conf *conf, const struct link *links,
		   const struct topo *topo, const struct plan_limits *limits,
		   struct plan **ret_plan, struct plan_notes *ret_notes)
{
	_cleanup_free_ struct plan_builder *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->conf = conf;
	b->topo = topo;
	b->limits = limits;
	b->previous = previous;
	b->plan = calloc(1, sizeof(*b->plan));
	if (!b->plan)
		return -ENOMEM;
	b->plan->conf = conf;
	b->plan->frame_size_bytes = conf->daemon.frame_size_bytes;
	b->plan->n_ports = conf->n_ports;
	b->plan->ports = calloc(MAX(conf->n_ports, 1u), sizeof(*b->plan->ports));
	if (b->plan->ports)
		build(b, links);
	else
		b->error = -ENOMEM;
	if (b->error < 0) {
		plan_notes_fini(&b->notes);
		plan_free(b->plan);
		return b->error;
	}
	*ret_plan = b->plan;
	*ret_notes = b->notes;
	return b->has_errors ? -EINVAL : 0;
}

int plan_make(const struct conf *conf, const struct link *links, const struct topo *topo,
	      const struct plan_limits *limits, struct plan **ret_plan,
	      struct plan_notes *ret_notes)
{
	return plan_make_next(NULL, conf, links, topo, limits, ret_plan, ret_notes);
}

void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	for (uint32_t i = 0; i < plan->n_workers; i++)
		free(plan->workers[i].lanes);
	free(plan->workers);
	free(plan->ports);
	free(plan);
}
