/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans from the machine as it is now; what an error note means at run time is decided here. */
#include "control/planner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/memlimits.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "plan"

#define SYSFS "/sys"

static int read_links(struct links *links, const struct conf *conf, struct link **ret_array)
{
	_cleanup_free_ struct link *array = calloc(MAX(conf->n_ports, 1), sizeof(*array));

	if (!array)
		return -ENOMEM;
	for (unsigned i = 0; i < conf->n_ports; i++) {
		int r = link_read(links, conf->ports[i].interface, &array[i]);

		if (r < 0)
			return r;
	}
	*ret_array = TAKE_PTR(array);
	return 0;
}

static int make(const struct plan *previous, const struct conf *conf, const struct link *array,
		const struct topo *topo, const struct plan_limits *limits, struct plan **ret_plan,
		struct plan_notes *ret_notes)
{
	return previous ? plan_make_next(previous, conf, array, topo, limits, ret_plan, ret_notes) :
			  plan_make(conf, array, topo, limits, ret_plan, ret_notes);
}

int planner_make(struct links *links, const struct plan *previous, const struct conf *conf,
		 struct plan **ret_plan, struct plan_notes *ret_notes)
{
	_cleanup_free_ struct link *array = NULL;
	struct plan_limits limits;
	struct topo topo;
	int r = topo_read(SYSFS, &topo);

	if (r < 0 || (r = read_links(links, conf, &array)) < 0)
		return r;
	memlimits_read("", &limits);
	return make(previous, conf, array, &topo, &limits, ret_plan, ret_notes);
}

/*
 * What a port with an error goes on with: the link it was planned with, but whatever of the news
 * can be followed is: whether frames can leave by it, how long they may be, what to switch off.
 */
static struct link link_to_keep(const struct plan *previous, uint32_t port, const struct link *now)
{
	const struct plan_port *planned = &previous->ports[port];
	struct link link = planned->link;

	link.is_up = now->is_up;
	link.has_carrier = now->has_carrier;
	memcpy(link.address, now->address, sizeof(link.address));
	if (now->mtu <= plan_max_mtu(previous->frame_size_bytes))
		link.mtu = now->mtu;
	for (unsigned i = 0; i < LINK_OFFLOAD_N; i++) {
		if (planned->conf->offloads == CONF_OFFLOADS_FIX && !now->offload_fixed[i])
			link.offload_on[i] = now->offload_on[i];
	}
	return link;
}

/* Puts back what ports with an error were planned with. */
static void restore_links(const struct plan_notes *notes, const struct plan *previous,
			  struct link *array)
{
	for (uint32_t i = 0; i < notes->n; i++) {
		const struct plan_note *note = &notes->notes[i];

		if (note->severity != PLAN_ERROR || note->port == PLAN_NONE)
			continue;
		/* A new device of the old name is refused; the old one is gone in any case. */
		if (array[note->port].ifindex != previous->ports[note->port].link.ifindex)
			array[note->port] = (struct link){.numa_node = -1};
		else
			array[note->port] = link_to_keep(previous, note->port, &array[note->port]);
		snprintf(array[note->port].name, sizeof(array[0].name), "%s",
			 previous->ports[note->port].conf->interface);
	}
}

/* An error about the whole can only be that CPUs went: plan as if they had not. */
static void restore_cpus(const struct plan_notes *notes, const struct plan *previous,
			 struct topo *topo)
{
	bool is_whole = false;

	for (uint32_t i = 0; i < notes->n; i++)
		is_whole |=
			notes->notes[i].severity == PLAN_ERROR && notes->notes[i].port == PLAN_NONE;
	for (unsigned cpu = 0; is_whole && cpu < TOPO_MAX_CPUS; cpu++) {
		if (!previous->cpus[cpu])
			continue;
		topo->cpus[cpu].is_allowed = true;
		topo->n_cpus = MAX(topo->n_cpus, cpu + 1);
	}
}

/* The first error of each port, to be shown at that port; its name is there already. */
static void tell_ports(const struct plan_notes *notes, struct plan *plan)
{
	for (uint32_t i = 0; i < notes->n; i++) {
		const struct plan_note *note = &notes->notes[i];
		struct plan_port *port;
		char prefix[80];
		size_t n;

		if (note->severity != PLAN_ERROR || note->port == PLAN_NONE)
			continue;
		port = &plan->ports[note->port];
		n = (size_t)snprintf(prefix, sizeof(prefix), "port %s: ", port->conf->name);
		if (port->problem[0] == '\0')
			(void)snprintf(port->problem, sizeof(port->problem), "%s",
				       note->text + (strncmp(note->text, prefix, n) == 0 ? n : 0));
	}
}

int planner_remake(struct links *links, const struct plan *previous, struct plan **ret_plan,
		   struct plan_notes *ret_notes)
{
	_cleanup_free_ struct link *array = NULL;
	struct plan_notes second = {0};
	struct topo topo;
	int r = topo_read(SYSFS, &topo);

	if (r < 0 || (r = read_links(links, previous->conf, &array)) < 0)
		return r;
	r = make(previous, previous->conf, array, &topo, NULL, ret_plan, ret_notes);
	if (r != -EINVAL)
		return r;
	restore_links(ret_notes, previous, array);
	restore_cpus(ret_notes, previous, &topo);
	plan_free(TAKE_PTR(*ret_plan));
	r = make(previous, previous->conf, array, &topo, NULL, ret_plan, &second);
	plan_notes_fini(&second);
	if (r == 0)
		tell_ports(ret_notes, *ret_plan);
	return r;
}

static bool link_differs(const struct link *a, const struct link *b)
{
	return a->exists != b->exists || a->ifindex != b->ifindex || a->mtu != b->mtu ||
	       a->is_up != b->is_up || a->has_carrier != b->has_carrier ||
	       a->n_rx_queues != b->n_rx_queues || a->n_tx_queues != b->n_tx_queues ||
	       memcmp(a->offload_on, b->offload_on, sizeof(a->offload_on)) != 0;
}

bool planner_differs(const struct plan *a, const struct plan *b)
{
	struct plan_diff diff;
	bool differs;

	for (uint32_t i = 0; i < a->n_ports; i++) {
		if (link_differs(&a->ports[i].link, &b->ports[i].link) ||
		    strcmp(a->ports[i].problem, b->ports[i].problem) != 0)
			return true;
	}
	if (plan_diff(a, b, &diff) < 0)
		return true;
	differs = !diff.is_empty;
	plan_diff_fini(&diff);
	return differs;
}

static const char *state_name(const struct link *link)
{
	if (!link->is_up)
		return "down";
	return link->has_carrier ? "up" : "without carrier";
}

static void log_change(const char *port, const struct link *was, const struct link *is)
{
	if (strcmp(state_name(was), state_name(is)) != 0)
		log_notice("port %s: %s is %s now, was %s", port, is->name, state_name(is),
			   state_name(was));
	if (was->mtu != is->mtu)
		log_notice("port %s: the MTU of %s is %u now, was %u", port, is->name, is->mtu,
			   was->mtu);
	if (was->n_rx_queues != is->n_rx_queues || was->n_tx_queues != is->n_tx_queues)
		log_notice("port %s: %s has %u receive and %u transmit queues now, had %u and %u",
			   port, is->name, is->n_rx_queues, is->n_tx_queues, was->n_rx_queues,
			   was->n_tx_queues);
}

void planner_log_changes(const struct plan *was, const struct plan *is)
{
	for (uint32_t i = 0; i < is->n_ports; i++) {
		const struct plan_port *old = &was->ports[i], *new = &is->ports[i];

		if (old->is_present && new->is_present)
			log_change(new->conf->name, &old->link, &new->link);
	}
}

void planner_log_notes(const struct plan_notes *notes, bool infos)
{
	static const enum log_level levels[PLAN_SEVERITY_N] = {
		[PLAN_INFO] = LOG_LEVEL_INFO,
		[PLAN_WARNING] = LOG_LEVEL_WARNING,
		[PLAN_ERROR] = LOG_LEVEL_ERR,
	};

	for (uint32_t i = 0; i < notes->n; i++) {
		const struct plan_note *note = &notes->notes[i];

		if (note->severity != PLAN_INFO || infos)
			log_write(levels[note->severity], LOG_DOMAIN, "%s", note->text);
	}
}

unsigned planner_error_text(const struct plan_notes *notes, char *buf, size_t size)
{
	unsigned n = 0;
	size_t used = 0;

	buf[0] = '\0';
	for (uint32_t i = 0; i < notes->n; i++) {
		const struct plan_note *note = &notes->notes[i];
		int len;

		if (note->severity != PLAN_ERROR)
			continue;
		len = snprintf(buf + used, size - used, "%s%s", n ? "\n" : "", note->text);
		n++;
		if (len < 0 || used + (size_t)len >= size)
			break;
		used += (size_t)len;
	}
	return n;
}
