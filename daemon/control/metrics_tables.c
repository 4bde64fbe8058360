/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Families of the tables thread: routes, neighbours, the kernel's policy, bridges. */
#include "control/metrics_family.h"
#include "control/tables.h"
#include "util/macros.h"

static void emit_tables(const struct metrics_page *page, const struct metrics_family *family)
{
	metrics_field(page, family, "", &page->report->tables);
}

/* The row's member is the first of two: IPv4, IPv6. */
static void emit_by_family(const struct metrics_page *page, const struct metrics_family *family)
{
	static const char *const names[] = {"ipv4", "ipv6"};
	char labels[METRICS_LABELS_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		metrics_field(page, family, metrics_labels(labels, "family", names[i], NULL),
			      (const char *)&page->report->tables + i * sizeof(uint64_t));
}

static void emit_bypass(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (unsigned kind = 0; kind < POLICY_N; kind++) {
		/* What only the worker obeys makes nothing pass. */
		if (policy_families[kind] == 0)
			continue;
		metrics_sample(page->out, family->name,
			       metrics_labels(labels, "kind", policy_names[kind], NULL),
			       page->report->tables.policy.ports[kind] != 0);
	}
}

static void emit_policy_ports(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (unsigned kind = 0; kind < POLICY_N; kind++)
		metrics_sample(
			page->out, family->name,
			metrics_labels(labels, "kind", policy_names[kind], NULL),
			(uint64_t)__builtin_popcountll(page->report->tables.policy.ports[kind]));
}

static void emit_bridges(const struct metrics_page *page, const struct metrics_family *family)
{
	const struct report_tables *tables = &page->report->tables;
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < tables->n_bridges; i++)
		metrics_field(page, family,
			      metrics_labels(labels, "bridge", tables->bridges[i].name, NULL),
			      &tables->bridges[i]);
}

const struct metrics_family metrics_tables_families[] = {
	{"sluice_tables_running", GAUGE,
	 "1 once a port routes or bridges: the tables are followed.", emit_tables,
	 OF(struct report_tables, is_running)},
	{"sluice_tables_synced", GAUGE, "1 if no full reading of the kernel's tables is pending.",
	 emit_tables, OF(struct report_tables, is_synced)},
	{"sluice_tables_last_sync_seconds", GAUGE,
	 "How long the latest full reading of the kernel's tables took.", emit_tables,
	 SECONDS_OF(struct report_tables, last_sync_ns)},
	{"sluice_fib_prefixes", GAUGE, "Prefixes that workers look up.", emit_by_family,
	 OF(struct report_tables, n_prefixes[0])},
	{"sluice_fib_routes", GAUGE, "Routes known, worse ones of a prefix included.",
	 emit_by_family, OF(struct report_tables, n_routes[0])},
	{"sluice_fib_bytes", GAUGE, "Memory of the lookup structure.", emit_by_family,
	 OF(struct report_tables, fib_bytes[0])},
	{"sluice_fib_retired_bytes", GAUGE,
	 "Memory that was replaced and that workers may still be reading.", emit_tables,
	 OF(struct report_tables, retired_bytes)},
	{"sluice_nexthops", GAUGE, "Distinct next hops and groups.", emit_tables,
	 OF(struct report_tables, n_nexthops)},
	{"sluice_neighbours", GAUGE, "Neighbours on route ports that are resolved.", emit_by_family,
	 OF(struct report_tables, n_neighbours[0])},
	{"sluice_route_changes_total", COUNTER, "Notifications of the kernel applied.", emit_tables,
	 OF(struct report_tables, n_route_changes)},
	{"sluice_routes_refused", GAUGE,
	 "Routes that the lookup structure has no room for now; their packets are the kernel's.",
	 emit_tables, OF(struct report_tables, n_refused)},
	{"sluice_netlink_overflows_total", COUNTER,
	 "Times the socket of the tables overflowed with notifications.", emit_tables,
	 OF(struct report_tables, n_overflows)},
	{"sluice_neighbour_keepalives_total", COUNTER,
	 "Times the kernel was told that a neighbour is in use.", emit_tables,
	 OF(struct report_tables, n_keepalives)},
	{"sluice_policy_bypass", GAUGE,
	 "1 while the kernel's policy of this kind makes packets pass to the kernel.",
	 .emit = emit_bypass},
	{"sluice_policy_ports", GAUGE,
	 "Ports concerned by the kernel's policy; of rp_filter those where workers check sources.",
	 .emit = emit_policy_ports},
	{"sluice_policy_netfilter_bypassed", GAUGE,
	 "1 while netfilter would see packets and bypass_netfilter = yes leads them past it.",
	 emit_tables, OF(struct report_tables, policy.netfilter_bypassed)},
	{"sluice_fdb_entries", GAUGE, "Stations known on the bridge.", emit_bridges,
	 OF(struct report_bridge, n_entries)},
	{"sluice_fdb_max_entries", GAUGE, "Stations that the bridge has room for.", emit_bridges,
	 OF(struct report_bridge, max_entries)},
	{"sluice_fdb_learned_total", COUNTER, "Stations learnt.", emit_bridges,
	 OF(struct report_bridge, n_learned)},
	{"sluice_fdb_moved_total", COUNTER, "Stations that moved to another port.", emit_bridges,
	 OF(struct report_bridge, n_moved)},
	{"sluice_fdb_aged_total", COUNTER, "Stations forgotten because they fell silent.",
	 emit_bridges, OF(struct report_bridge, n_aged)},
	{"sluice_fdb_refused_total", COUNTER,
	 "Stations not learnt: the table was full, or too many came at once.", emit_bridges,
	 OF(struct report_bridge, n_refused)},
	{0},
};
