/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listeners, backends and live connections for people. */
#include <inttypes.h>
#include <string.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/table.h"
#include "util/macros.h"

static void print_rejected(struct json_object *listener)
{
	struct json_object *rejected = json_at(listener, "rejected");
	char buf[32];

	if (!json_has_members(rejected))
		return;
	json_object_object_foreach (rejected, reason, value) {
		uint64_t n = json_object_get_uint64(value);

		if (n > 0)
			(void)printf("%s: rejected for %s: %s\n", json_text(listener, "name"),
				     reason, unit_count(buf, n));
	}
}

static uint64_t count_rejected(struct json_object *listener)
{
	struct json_object *rejected = json_at(listener, "rejected");
	uint64_t n = 0;

	if (!json_has_members(rejected))
		return 0;
	json_object_object_foreach (rejected, reason, value) {
		(void)reason;
		n += json_object_get_uint64(value);
	}
	return n;
}

enum ctl_exit show_listeners(const struct ctl *ctl, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{"LISTENER", false}, {"ADDRESSES", false}, {"SNIFF", false},
		{"ENGINE", false},   {"ACTIVE", true},     {"MAX", true},
		{"SNIFFING", true},  {"ACCEPTED", true},   {"REJECTED", true},
	};
	struct json_object *listeners = json_at(answer, "listeners");
	struct table table;

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(listeners); i++) {
		struct json_object *listener = json_object_array_get_idx(listeners, i);

		table_text(&table, json_text(listener, "name"));
		table_text(&table, json_text(listener, "addresses"));
		table_text(&table, json_text(listener, "sniff"));
		table_text(&table, json_text(listener, "engine"));
		table_number(&table, json_count(listener, "active"));
		table_number(&table, json_count(listener, "max_connections"));
		table_number(&table, json_count(listener, "sniffing"));
		table_number(&table, json_count(listener, "accepted"));
		table_number(&table, count_rejected(listener));
	}
	table_end(&table, stdout, ctl->has_color);
	for (size_t i = 0; i < json_length(listeners); i++)
		print_rejected(json_object_array_get_idx(listeners, i));
	return CTL_OK;
}

static void put_server_state(struct table *table, const char *state)
{
	enum table_color color = TABLE_WARN;

	if (strcmp(state, "up") == 0)
		color = TABLE_GOOD;
	else if (strcmp(state, "down") == 0)
		color = TABLE_BAD;
	table_cell(table, color, "%s", state);
}

static void put_servers(struct table *table, struct json_object *backend)
{
	struct json_object *servers = json_at(backend, "servers");

	for (size_t i = 0; i < json_length(servers); i++) {
		struct json_object *server = json_object_array_get_idx(servers, i);

		table_text(table, json_text(backend, "name"));
		table_text(table, json_text(backend, "balance"));
		table_text(table, json_text(server, "name"));
		table_text(table, json_text(server, "address"));
		put_server_state(table, json_text(server, "state"));
		table_number(table, json_count(server, "weight"));
		table_number(table, json_count(server, "active"));
		table_number(table, json_count(server, "connections"));
		table_number(table, json_count(server, "failures"));
		table_number(table, json_count(server, "checks"));
		table_number(table, json_count(server, "check_failures"));
	}
}

enum ctl_exit show_backends(const struct ctl *ctl, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{"BACKEND", false}, {"BALANCE", false}, {"SERVER", false},       {"ADDRESS", false},
		{"STATE", false},   {"WEIGHT", true},   {"ACTIVE", true},        {"TOTAL", true},
		{"FAILED", true},   {"CHECKS", true},   {"CHECKS FAILED", true},
	};
	struct json_object *backends = json_at(answer, "backends");
	struct table table;

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(backends); i++)
		put_servers(&table, json_object_array_get_idx(backends, i));
	table_end(&table, stdout, ctl->has_color);
	return CTL_OK;
}

static const char *or_dash(const char *text)
{
	return text[0] ? text : "-";
}

static void put_engines(struct table *table, struct json_object *flow)
{
	const char *in = json_text(flow, "engine_in"), *out = json_text(flow, "engine_out");

	table_cell(table, TABLE_PLAIN, "%s%s%s", in, strcmp(in, out) != 0 ? "," : "",
		   strcmp(in, out) != 0 ? out : "");
}

static void put_seconds(struct table *table, struct json_object *flow, const char *key)
{
	table_cell(table, TABLE_PLAIN, "%.1fs",
		   (double)json_count(flow, key) / (double)NSEC_PER_SEC);
}

/* Of the client's socket, then of the server's. */
static void put_rtts(struct table *table, struct json_object *flow)
{
	table_cell(table, TABLE_PLAIN, "%.1f,%.1fms",
		   (double)json_count(flow, "client_srtt_us") / 1e3,
		   (double)json_count(flow, "server_srtt_us") / 1e3);
}

enum ctl_exit show_flows(const struct ctl *ctl, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{"LISTENER", false}, {"CLIENT", false}, {"NAME", false},   {"SERVER", false},
		{"STATE", false},    {"ENGINE", false}, {"IN", true},      {"OUT", true},
		{"PARKED", true},    {"RTT", true},     {"RETRANS", true}, {"AGE", true},
		{"IDLE", true},
	};
	struct json_object *flows = json_at(answer, "flows");
	struct table table;
	char buf[32];

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(flows); i++) {
		struct json_object *flow = json_object_array_get_idx(flows, i);

		table_text(&table, or_dash(json_text(flow, "listener")));
		table_text(&table, json_text(flow, "client"));
		table_text(&table, or_dash(json_text(flow, "name")));
		table_cell(&table, TABLE_PLAIN, "%s/%s", or_dash(json_text(flow, "backend")),
			   or_dash(json_text(flow, "server")));
		table_text(&table, json_text(flow, "state"));
		put_engines(&table, flow);
		table_text(&table, unit_bytes(buf, json_count(flow, "bytes_in")));
		table_text(&table, unit_bytes(buf, json_count(flow, "bytes_out")));
		table_text(&table, unit_bytes(buf, json_count(flow, "parked_bytes")));
		put_rtts(&table, flow);
		table_cell(&table, TABLE_PLAIN, "%" PRIu64 ",%" PRIu64,
			   json_count(flow, "client_retransmits"),
			   json_count(flow, "server_retransmits"));
		put_seconds(&table, flow, "age_ns");
		put_seconds(&table, flow, "idle_ns");
	}
	table_end(&table, stdout, ctl->has_color);
	if (json_truth(answer, "more"))
		(void)printf("the first %zu; there are more (--max N)\n", json_length(flows));
	return CTL_OK;
}

enum ctl_exit show_drained(const struct ctl *ctl, struct json_object *answer)
{
	(void)printf("%s: %s\n", json_text(answer, "server"), json_text(answer, "state"));
	return CTL_OK;
}
