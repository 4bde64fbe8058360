/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One honest line about the daemon. */
#include "control/status.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/report.h"

/* The line ends with the configuration's sum, and with "and N more" of what did not fit. */
#define ENDING_BYTES       96
#define MAX_NAMED_BACKENDS 3

struct line {
	char *text;
	size_t size;
	size_t used;
	bool is_full;
};

static void add(struct line *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* All of it or, if that leaves no room for the ending, nothing. */
static void add(struct line *line, const char *fmt, ...)
{
	size_t room = line->size - line->used;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line->text + line->used, room, fmt, args);
	va_end(args);
	line->is_full = n < 0 || (size_t)n >= room;
	if (!line->is_full)
		line->used += (size_t)n;
	line->text[line->used] = '\0';
}

static bool is_well(enum port_state state)
{
	return state == PORT_FORWARDING || state == PORT_PASSING;
}

static bool port_is_up(const struct report_port *port)
{
	return port->is_attached && is_well(port->state);
}

/* Without its program a port forwards nothing, whatever its sockets are. */
static const char *port_word(const struct report_port *port)
{
	return is_well(port->state) && !port->is_attached ? "not attached" :
							    port_state_names[port->state];
}

static void add_port(struct line *line, const struct report_port *port, const char *separator)
{
	if (port->mode == XSK_MODE_N)
		add(line, "%s%s (%s, %s)", separator, port->conf->name, port->conf->interface,
		    port_word(port));
	else
		add(line, "%s%s (%s, %s, %u queue%s, %s)", separator, port->conf->name,
		    port->conf->interface, xsk_mode_names[port->mode], port->n_queues,
		    port->n_queues == 1 ? "" : "s", port_word(port));
}

/* The ports that are not up come first: of them the reader wants to know. */
static void add_ports(struct line *line, const struct report *report)
{
	const char *separator = ": ";
	uint32_t n_added = 0;

	line->is_full = false;
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < report->n_ports && !line->is_full; i++) {
			if (port_is_up(&report->ports[i]) != (pass == 1))
				continue;
			add_port(line, &report->ports[i], separator);
			n_added += !line->is_full;
			separator = ", ";
		}
	}
	line->size += ENDING_BYTES / 2;
	if (n_added < report->n_ports)
		add(line, "%s%u more", n_added > 0 ? " and " : ": ", report->n_ports - n_added);
}

/* A text of many lines would end STATUS= at the first of them. */
static void add_lines(struct line *line, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		if (n > 0)
			add(line, "; %.*s", (int)n, text);
		text += n + (text[n] == '\n');
	}
}

static void add_problems(struct line *line, const struct report *report, const char *problems)
{
	uint32_t n_left_out = 0;

	add_lines(line, problems);
	for (uint32_t i = 0; i < report->n_workers; i++) {
		if (report->workers[i].is_stalled)
			add(line, "; worker %s does not respond", report->workers[i].name);
	}
	for (uint32_t i = 0; i < report->n_ports; i++) {
		const struct report_port *port = &report->ports[i];

		/* What the plan says of a port is among the problems already. */
		if (!port->problem[0] || strstr(problems, port->problem))
			continue;
		add(line, "; port %s: %s", port->conf->name, port->problem);
		n_left_out += line->is_full;
	}
	line->size += ENDING_BYTES / 2;
	if (n_left_out > 0)
		add(line, "; and %u more problem%s", n_left_out, n_left_out == 1 ? "" : "s");
}

/* The operator's own doing, mostly, so no problem; but the reason why packets pass. */
static void add_policies(struct line *line, const struct report *report)
{
	const struct policy_state *policy = &report->tables.policy;

	for (unsigned kind = 0; kind < POLICY_N; kind++) {
		int n_ports = __builtin_popcountll(policy->ports[kind]);

		if (n_ports > 0 && policy_families[kind] != 0)
			add(line, "; passing by policy %s on %d port%s: %s", policy_names[kind],
			    n_ports, n_ports == 1 ? "" : "s", policy->what[kind]);
	}
	if (policy->netfilter_bypassed)
		add(line, "; netfilter is bypassed");
	if (report->tables.n_refused > 0)
		add(line, "; no room for %" PRIu64 " routes, which are the kernel's",
		    report->tables.n_refused);
}

/* A few by name; a catastrophe by its number. */
static void add_backends_down(struct line *line, const struct report_splice *splice)
{
	uint32_t n_down = 0;

	for (uint32_t i = 0; i < splice->n_backends; i++)
		n_down += !splice->backends[i].is_up;
	for (uint32_t i = 0; i < splice->n_backends && n_down <= MAX_NAMED_BACKENDS; i++)
		if (!splice->backends[i].is_up)
			add(line, "; backend %s has no server that is up",
			    splice->backends[i].name);
	if (n_down > MAX_NAMED_BACKENDS)
		add(line, "; %u of %u backends have no server that is up", n_down,
		    splice->n_backends);
}

/* Nothing of a host without listeners. */
static void add_splice(struct line *line, const struct report *report)
{
	const struct report_splice *splice = &report->splice;

	if (splice->n_listeners == 0)
		return;
	add(line, "%s%u listener%s%s", line->used > 0 ? ", " : "", splice->n_listeners,
	    splice->n_listeners == 1 ? "" : "s", report->is_draining ? " closed" : "");
	add_backends_down(line, splice);
	if (!splice->sockmap_is_on)
		add(line, "; sockmap is off: %s", splice->sockmap_why_not);
	if (!splice->sockops_is_on)
		add(line, "; sock_ops is off: %s", splice->sockops_why_not);
	if (splice->totals.n_truncations > 0)
		add(line, "; %" PRIu64 " connections were cut with bytes undelivered",
		    splice->totals.n_truncations);
	if (splice->totals.n_unawaited > 0)
		add(line, "; a connection lost its wakeup (please report this)");
}

static bool wants_sockmap(const struct report_listener *listener)
{
	return listener->engine == SPLICE_AUTO || listener->engine == SPLICE_SOCKMAP;
}

/* What an operator did not ask for. Without sock_ops TCP_INFO serves. */
static bool is_splice_degraded(const struct report *report)
{
	const struct report_splice *splice = &report->splice;
	bool is_bad = false;

	for (uint32_t i = 0; i < splice->n_listeners; i++)
		is_bad |= splice->is_running && !splice->sockmap_is_on &&
			  wants_sockmap(&splice->listeners[i]);
	for (uint32_t i = 0; i < splice->n_backends; i++)
		is_bad |= !splice->backends[i].is_up;
	return is_bad;
}

static bool is_degraded(const struct report *report, const char *problems, uint32_t n_up)
{
	bool is_bad = n_up < report->n_ports || problems[0] != '\0';

	for (uint32_t i = 0; i < report->n_ports; i++)
		is_bad |= report->ports[i].problem[0] != '\0';
	for (uint32_t i = 0; i < report->n_workers; i++)
		is_bad |= report->workers[i].is_stalled;
	return is_bad || report->tables.policy.ports[POLICY_TABLES_FULL] != 0 ||
	       report->tables.policy.ports[POLICY_UNKNOWN] != 0;
}

/* As `systemctl status` has it meanwhile, from life_stop.c. */
static void add_stop(struct line *line, const struct report *report)
{
	uint32_t n_left = report->splice.n_conns;

	if (report->is_draining)
		add(line, "stopping, %u connection%s left", n_left, n_left == 1 ? "" : "s");
}

void status_summarise(struct report *report, const char *problems)
{
	/* Problems may take two thirds, so that ports are shown beside them. */
	struct line line = {.text = report->status_line,
			    .size = sizeof(report->status_line) * 2 / 3};
	uint32_t n_up = 0;
	size_t used;

	for (uint32_t i = 0; i < report->n_ports; i++)
		n_up += port_is_up(&report->ports[i]);
	report->is_degraded = is_degraded(report, problems, n_up) || is_splice_degraded(report);
	add_stop(&line, report);
	/* A host of listeners alone is not told of ports. */
	if (report->n_ports > 0 || report->splice.n_listeners == 0)
		add(&line, "%s%u of %u ports up", line.used > 0 ? ", " : "", n_up, report->n_ports);
	used = line.used;
	add_splice(&line, report);
	add_policies(&line, report);
	if (report->is_degraded)
		add_problems(&line, report, problems);
	/* Else they would read as more about what was said last. */
	if (report->n_ports > 0 && (report->is_degraded || line.used > used))
		add(&line, "; ports");
	line.size = sizeof(report->status_line) - ENDING_BYTES;
	if (report->n_ports > 0)
		add_ports(&line, report);
	line.size = sizeof(report->status_line);
	add(&line, "; config %.8s", report->config_sha256);
}
