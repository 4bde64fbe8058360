/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Routes, neighbours, stations, and what becomes of a packet, for people. */
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/table.h"
#include "util/macros.h"

static void print_more(struct json_object *answer, size_t n)
{
	if (json_truth(answer, "more"))
		(void)printf("the first %zu; there are more (--max N)\n", n);
}

/* "via 10.0.0.1 dev eth1", "pass (no_route)", "group of 3" */
static void describe_nexthop(struct json_object *nexthop, char *buf, size_t size)
{
	const char *gateway = json_text(nexthop, "gateway"), *device = json_text(nexthop, "device");
	const char *kind = json_text(nexthop, "kind"), *reason = json_text(nexthop, "reason");
	size_t n_members = json_length(json_at(nexthop, "members"));

	if (n_members > 0)
		(void)snprintf(buf, size, "group of %zu", n_members);
	else
		(void)snprintf(buf, size, "%s%s%s%s", gateway[0] ? "via " : "", gateway,
			       device[0] ? (gateway[0] ? " dev " : "dev ") : "", device);
	if (reason[0])
		(void)snprintf(buf + strlen(buf), size - strlen(buf), "%s%s (%s)",
			       buf[0] ? " " : "", kind, reason);
}

enum ctl_exit show_routes(const struct ctl *ctl, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{"PREFIX", false},   {"TYPE", false},      {"TABLE", true}, {"METRIC", true},
		{"NEXT HOP", false}, {"NEIGHBOUR", false}, {"BEST", false},
	};
	struct json_object *routes = json_at(answer, "routes");
	struct table table;
	char buf[256];

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(routes); i++) {
		struct json_object *route = json_object_array_get_idx(routes, i);
		struct json_object *nexthop = json_at(route, "nexthop");
		const char *neighbour = json_text(nexthop, "neighbour");

		describe_nexthop(nexthop, buf, sizeof(buf));
		table_text(&table, json_text(route, "prefix"));
		table_text(&table, json_text(route, "type"));
		table_cell(&table, TABLE_PLAIN, "%" PRIu64, json_count(route, "table"));
		table_cell(&table, TABLE_PLAIN, "%" PRIu64, json_count(route, "metric"));
		table_text(&table, buf);
		table_cell(&table, strcmp(neighbour, "unresolved") == 0 ? TABLE_WARN : TABLE_PLAIN,
			   "%s", neighbour[0] ? neighbour : "-");
		table_text(&table, json_truth(route, "best") ? "yes" : "no");
	}
	table_end(&table, stdout, ctl->has_color);
	print_more(answer, json_length(routes));
	return CTL_OK;
}

enum ctl_exit show_neighbours(const struct ctl *ctl, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{"ADDRESS", false}, {"INTERFACE", false}, {"MAC", false},
		{"STATE", false},   {"USABLE", false},
	};
	struct json_object *rows = json_at(answer, "neighbours");
	struct table table;

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		bool is_usable = json_truth(row, "usable");
		const char *mac = json_text(row, "mac");

		table_text(&table, json_text(row, "address"));
		table_text(&table, json_text(row, "interface"));
		table_text(&table, mac[0] ? mac : "-");
		table_text(&table, json_text(row, "state"));
		table_cell(&table, is_usable ? TABLE_GOOD : TABLE_WARN, "%s",
			   is_usable ? "yes" : "no");
	}
	table_end(&table, stdout, ctl->has_color);
	print_more(answer, json_length(rows));
	return CTL_OK;
}

enum ctl_exit show_fdb(const struct ctl *ctl, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{"BRIDGE", false}, {"MAC", false}, {"PORT", false},
		{"STATIC", false}, {"AGE", true},
	};
	struct json_object *rows = json_at(answer, "fdb");
	struct table table;

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		bool is_static = json_truth(row, "static");

		table_text(&table, json_text(row, "bridge"));
		table_text(&table, json_text(row, "mac"));
		table_text(&table, json_text(row, "port"));
		table_text(&table, is_static ? "yes" : "no");
		if (is_static)
			table_text(&table, "-");
		else
			table_cell(&table, TABLE_PLAIN, "%" PRIu64 " s", json_count(row, "age_s"));
	}
	table_end(&table, stdout, ctl->has_color);
	print_more(answer, json_length(rows));
	return CTL_OK;
}

static void print_line(const char *what, const char *text)
{
	if (!text[0])
		return;
	(void)printf("%-10s", what);
	text_print(stdout, text);
	(void)fputc('\n', stdout);
}

static void print_worker(struct json_object *worker)
{
	struct json_object *route = json_at(worker, "route");
	char buf[256], line[512];

	(void)snprintf(line, sizeof(line), "%s%s%s%s%s", json_text(worker, "verdict"),
		       json_text(worker, "reason")[0] ? ": " : "", json_text(worker, "reason"),
		       json_text(worker, "why")[0] ? ", " : "", json_text(worker, "why"));
	print_line("worker", line);
	if (route) {
		describe_nexthop(json_at(route, "nexthop"), buf, sizeof(buf));
		(void)snprintf(line, sizeof(line), "%s %s %s", json_text(route, "type"),
			       json_text(route, "prefix"), buf);
		print_line("route", line);
	}
	print_line("leaves by", json_text(worker, "out_port"));
	print_line("as", json_text(worker, "out_frame"));
}

enum ctl_exit show_explanation(const struct ctl *ctl, struct json_object *answer)
{
	struct json_object *explain = json_at(answer, "explain");
	struct json_object *program = json_at(explain, "xdp");
	struct json_object *worker = json_at(explain, "worker");
	char line[512];

	(void)snprintf(line, sizeof(line), "%s: %s (%s)", json_text(program, "action"),
		       json_text(program, "verdict"), json_text(program, "meaning"));
	print_line("program", line);
	if (worker)
		print_worker(worker);
	return CTL_OK;
}
