/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans from the machine as it is now; what an error note means at run time is decided here. */
#include "control/planner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
		struct plan **ret_plan, struct plan_notes *ret_notes)
{
	struct topo topo;
	int r = topo_read(SYSFS, &topo);

	if (r < 0)
		return r;
	return previous ? plan_make_next(previous, conf, array, &topo, ret_plan, ret_notes) :
			  plan_make(conf, array, &topo, ret_plan, ret_notes);
}

int planner_make(struct links *links, const struct plan *previous, const struct conf *conf,
		 struct plan **ret_plan, struct plan_notes *ret_notes)
{
	_cleanup_free_ struct link *array = NULL;
	int r = read_links(links, conf, &array);

	return r < 0 ? r : make(previous, conf, array, ret_plan, ret_notes);
}

/* Puts back what a port with an error was planned with. Returns the number of ports put back. */
static unsigned restore_links(const struct plan_notes *notes, const struct plan *previous,
			      struct link *array)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < notes->n; i++) {
		const struct plan_note *note = &notes->notes[i];

		if (note->severity != PLAN_ERROR || note->port == PLAN_NONE)
			continue;
		/* A new device of the old name is refused; the old one is gone in any case. */
		if (array[note->port].ifindex != previous->ports[note->port].link.ifindex)
			memset(&array[note->port], 0, sizeof(array[0]));
		else
			array[note->port] = previous->ports[note->port].link;
		snprintf(array[note->port].name, sizeof(array[0].name), "%s",
			 previous->ports[note->port].conf->interface);
		n++;
	}
	return n;
}

int planner_remake(struct links *links, const struct plan *previous, struct plan **ret_plan,
		   struct plan_notes *ret_notes)
{
	_cleanup_free_ struct link *array = NULL;
	struct plan_notes second;
	int r = read_links(links, previous->conf, &array);

	if (r < 0)
		return r;
	r = make(previous, previous->conf, array, ret_plan, ret_notes);
	if (r != -EINVAL || restore_links(ret_notes, previous, array) == 0)
		return r;
	plan_free(*ret_plan);
	r = make(previous, previous->conf, array, ret_plan, &second);
	if (r == 0 || r == -EINVAL)
		plan_notes_fini(&second);
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
		if (link_differs(&a->ports[i].link, &b->ports[i].link))
			return true;
	}
	if (plan_diff(a, b, &diff) < 0)
		return true;
	differs = !diff.is_empty;
	plan_diff_fini(&diff);
	return differs;
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
