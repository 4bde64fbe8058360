/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A plan as text, for --dry-run and `sluicectl show plan`: one fact a line, a label and its value,
 * in the order of the file. What the engine builds shows here, and what it was decided from.
 */
#include <stdarg.h>

#include "bpf/sluice_abi.h"
#include "control/plan.h"
#include "util/macros.h"

static const char *const mode_names[CONF_MODE_N] = {
	[CONF_MODE_AUTO] = "auto",
	[CONF_MODE_ZEROCOPY] = "zerocopy",
	[CONF_MODE_COPY] = "copy",
	[CONF_MODE_GENERIC] = "generic",
};

static const char *const failure_names[CONF_FAIL_N] = {
	[CONF_FAIL_PASS] = "pass",
	[CONF_FAIL_DROP] = "drop",
};

static const char *const severity_names[PLAN_SEVERITY_N] = {
	[PLAN_INFO] = "info",
	[PLAN_WARNING] = "warning",
	[PLAN_ERROR] = "error",
};

static void fact(FILE *out, const char *label, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fact(FILE *out, const char *label, const char *fmt, ...)
{
	va_list args;

	(void)fprintf(out, "  %-12s ", label);
	va_start(args, fmt);
	(void)vfprintf(out, fmt, args);
	va_end(args);
	(void)fputc('\n', out);
}

static double mebibytes(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

/* "0-3,8"; "none" for an empty set. */
static void print_ranges(FILE *out, const char *label, bool (*has)(const void *set, unsigned n),
			 const void *set, unsigned limit)
{
	const char *separator = "";

	(void)fprintf(out, "  %-12s ", label);
	for (unsigned n = 0; n < limit; n++) {
		unsigned first = n;

		if (!has(set, n))
			continue;
		while (n + 1 < limit && has(set, n + 1))
			n++;
		(void)fprintf(out, n > first ? "%s%u-%u" : "%s%u", separator, first, n);
		separator = ",";
	}
	(void)fprintf(out, "%s\n", *separator ? "" : "none");
}

static bool has_cpu(const void *set, unsigned cpu)
{
	const struct plan *plan = set;

	return plan->cpus[cpu];
}

static bool has_owner(const void *set, unsigned queue)
{
	const struct plan_port *p = set;

	return p->queue_worker[queue] != SLUICE_NO_WORKER;
}

/* --- Groups ---------------------------------------------------------------------------------- */

static void print_node(FILE *out, int node)
{
	if (node < 0)
		fact(out, "node", "unknown");
	else
		fact(out, "node", "%d", node);
}

static void print_forward(const struct conf_port *conf, FILE *out)
{
	static const char *const words[CONF_FORWARD_N] = {
		[CONF_FORWARD_PASS] = "pass",
		[CONF_FORWARD_XCONNECT] = "xconnect",
		[CONF_FORWARD_ROUTE] = "route",
		[CONF_FORWARD_BRIDGE] = "bridge",
	};

	fact(out, "forward", "%s%s%s", words[conf->forward], conf->peer[0] ? " " : "", conf->peer);
}

static void print_lane(const struct plan *plan, const struct plan_worker *w,
		       const struct plan_lane *lane, FILE *out)
{
	const char *name = plan->ports[lane->port].conf->name;
	const char *remote = lane->is_remote ? ", remote" : "";

	if (plan->ports[lane->port].peer == PLAN_NONE) {
		fact(out, "lane", "%s/%u (tag %u%s)", name, lane->queue, lane->tag, remote);
		return;
	}
	if (lane->out_lane == PLAN_NONE) {
		fact(out, "lane", "%s/%u -> nowhere (tag %u%s)", name, lane->queue, lane->tag,
		     remote);
		return;
	}
	fact(out, "lane", "%s/%u -> %s/%u (tag %u%s)", name, lane->queue,
	     plan->ports[w->lanes[lane->out_lane].port].conf->name, w->lanes[lane->out_lane].queue,
	     lane->tag, remote);
}

static void print_worker(const struct plan *plan, const struct plan_worker *w, FILE *out)
{
	(void)fprintf(out, "\nworker %u (group %u, index %u)\n", w->number, w->group, w->index);
	fact(out, "cpu", "%u", w->cpu);
	print_node(out, w->numa_node);
	fact(out, "frames", "%u of %u bytes", w->n_frames, plan->frame_size_bytes);
	fact(out, "memory", "%.1f MiB", mebibytes((uint64_t)w->n_frames * plan->frame_size_bytes));
	fact(out, "rings", "fill %u, rx %u, tx %u, completion %u", w->fill_size, w->rx_size,
	     w->tx_size, w->completion_size);
	for (uint32_t i = 0; i < w->n_lanes; i++)
		print_lane(plan, w, &w->lanes[i], out);
}

/* --- Ports ----------------------------------------------------------------------------------- */

static void print_host(const struct link *link, FILE *out)
{
	const struct link_host *host = &link->host;

	if (host->n_addresses > 0)
		fact(out, "addresses", "%u", host->n_addresses);
	if (host->has_default_route)
		fact(out, "route", "default");
	if (host->master[0] != '\0')
		fact(out, "master", "%s", host->master);
	if (link->upper[0] != '\0')
		fact(out, "host on", "%s", link->upper);
}

static void print_link(const struct link *link, FILE *out)
{
	fact(out, "ifindex", "%u", link->ifindex);
	fact(out, "driver", "%s", link->driver[0] ? link->driver : "unknown");
	if (link->kind[0] != '\0')
		fact(out, "kind", "%s", link->kind);
	fact(out, "link", "%s, %s", link->is_up ? "up" : "down",
	     link->has_carrier ? "carrier" : "no carrier");
	fact(out, "mtu", "%u", link->mtu);
	print_node(out, link->numa_node);
	fact(out, "has queues", "%u rx, %u tx", link->n_rx_queues, link->n_tx_queues);
	if (link->xdp_prog_id != 0)
		fact(out, "has program", "id %u", link->xdp_prog_id);
	print_host(link, out);
}

static void print_port(const struct plan *plan, const struct plan_port *p, FILE *out)
{
	(void)fprintf(out, "\nport %s\n", p->conf->name);
	fact(out, "interface", "%s%s", p->conf->interface, p->is_present ? "" : " (missing)");
	if (p->is_present)
		print_link(&p->link, out);
	print_forward(p->conf, out);
	if (p->conf->forward == CONF_FORWARD_PASS)
		return;
	if (p->group != PLAN_NONE)
		fact(out, "group", "%u", p->group);
	fact(out, "mode", "%s", mode_names[p->conf->mode]);
	print_ranges(out, "queues", has_owner, p, CONF_MAX_QUEUES);
	fact(out, "on_failure", "%s", failure_names[p->conf->on_failure]);
	if (p->host_is_on_bridge)
		fact(out, "host", "an address of this host is on the bridge");
	for (unsigned i = 0; i < LINK_OFFLOAD_N; i++) {
		if (p->fix_offload[i])
			fact(out, "turns off", "%s", link_offload_names[i]);
	}
}

void plan_print(const struct plan *plan, const struct plan_notes *notes, FILE *out)
{
	(void)fprintf(out, "plan\n");
	fact(out, "ports", "%u", plan->n_ports);
	fact(out, "groups", "%u", plan->n_groups);
	fact(out, "workers", "%u", plan->n_workers);
	print_ranges(out, "cpus", has_cpu, plan, TOPO_MAX_CPUS);
	fact(out, "memory", "%.1f MiB", mebibytes(plan->umem_bytes));
	for (uint32_t i = 0; i < plan->n_workers; i++)
		print_worker(plan, &plan->workers[i], out);
	for (uint32_t port = 0; port < plan->n_ports; port++)
		print_port(plan, &plan->ports[port], out);
	if (notes->n > 0)
		(void)fprintf(out, "\nnotes\n");
	for (uint32_t i = 0; i < notes->n; i++)
		fact(out, severity_names[notes->notes[i].severity], "%s", notes->notes[i].text);
}
