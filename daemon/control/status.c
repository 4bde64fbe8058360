/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One honest line about the daemon. */
#include "control/status.h"

#include <stdio.h>
#include <string.h>

#include "control/report.h"

static bool port_is_well(const struct report_port *port)
{
	return port->is_attached && !port->problem[0] &&
	       (port->state == PORT_FORWARDING || port->state == PORT_PASSING);
}

static void print_port(const struct report_port *port, FILE *out)
{
	fprintf(out, "%s (%s", port->conf->name, port->conf->interface);
	if (port->mode != XSK_MODE_N)
		fprintf(out, ", %s, %u queue%s", xsk_mode_names[port->mode], port->n_queues,
			port->n_queues == 1 ? "" : "s");
	fprintf(out, ", %s)", port_state_names[port->state]);
}

static void print_problems(const struct report *report, const char *problems, FILE *out)
{
	if (problems[0])
		fprintf(out, "; %s", problems);
	for (uint32_t i = 0; i < report->n_ports; i++) {
		if (report->ports[i].problem[0])
			fprintf(out, "; port %s: %s", report->ports[i].conf->name,
				report->ports[i].problem);
	}
	for (uint32_t i = 0; i < report->n_workers; i++) {
		if (report->workers[i].is_stalled)
			fprintf(out, "; worker %s does not respond", report->workers[i].name);
	}
}

void status_summarise(struct report *report, const char *problems)
{
	uint32_t n_well = 0;
	FILE *out;

	for (uint32_t i = 0; i < report->n_ports; i++)
		n_well += port_is_well(&report->ports[i]);
	report->is_degraded = n_well < report->n_ports || problems[0] != '\0';
	for (uint32_t i = 0; i < report->n_workers; i++)
		report->is_degraded |= report->workers[i].is_stalled;

	out = fmemopen(report->status_line, sizeof(report->status_line), "w");
	if (!out)
		return;
	fprintf(out, "%u of %u ports up", n_well, report->n_ports);
	for (uint32_t i = 0; i < report->n_ports; i++) {
		fputs(i == 0 ? ": " : ", ", out);
		print_port(&report->ports[i], out);
	}
	if (report->is_degraded)
		print_problems(report, problems, out);
	fprintf(out, "; config %.8s", report->config_sha256);
	(void)fclose(out);
	report->status_line[sizeof(report->status_line) - 1] = '\0';
}
