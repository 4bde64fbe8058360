/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers as tables. Stable order: the daemon's. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"
#include "tools/ctl/table.h"
#include "util/clock.h"
#include "util/macros.h"

static enum table_color color_of_state(const char *state)
{
	if (strcmp(state, "forwarding") == 0 || strcmp(state, "passing") == 0)
		return TABLE_GOOD;
	return strcmp(state, "failed") == 0 || strcmp(state, "absent") == 0 ? TABLE_BAD :
									      TABLE_WARN;
}

/* "xconnect lan", "pass" */
static void put_forward(struct table *table, struct json_object *port)
{
	const char *peer = json_text(port, "peer");

	table_cell(table, TABLE_PLAIN, "%s%s%s", json_text(port, "forward"), peer[0] ? " " : "",
		   peer);
}

static void put_state(struct table *table, struct json_object *port)
{
	const char *state = json_text(port, "state");

	table_cell(table, color_of_state(state), "%s", state);
}

static void put_bound(struct table *table, struct json_object *port)
{
	uint64_t n_bound = json_count(port, "queues_bound"), n = json_count(port, "queues");

	table_cell(table, n_bound < n ? TABLE_WARN : TABLE_PLAIN, "%" PRIu64 "/%" PRIu64, n_bound,
		   n);
}

static void print_ports(const struct ctl *ctl, struct json_object *ports)
{
	static const struct table_column columns[] = {
		{"PORT", false},    {"INTERFACE", false}, {"STATE", false},
		{"FORWARD", false}, {"MODE", false},      {"QUEUES", true},
	};
	struct table table;

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(ports); i++) {
		struct json_object *port = json_object_array_get_idx(ports, i);

		table_text(&table, json_text(port, "port"));
		table_text(&table, json_text(port, "interface"));
		put_state(&table, port);
		put_forward(&table, port);
		table_text(&table, json_text(port, "mode"));
		put_bound(&table, port);
	}
	table_end(&table, stdout, ctl->has_color);
	for (size_t i = 0; i < json_length(ports); i++) {
		struct json_object *port = json_object_array_get_idx(ports, i);

		if (!json_text(port, "problem")[0])
			continue;
		color_print(stdout, ctl->has_color, TABLE_BAD, json_text(port, "port"));
		(void)fputs(": ", stdout);
		text_print(stdout, json_text(port, "problem"));
		(void)fputc('\n', stdout);
	}
}

static void print_config(const struct ctl *ctl, struct json_object *config)
{
	(void)printf("config:   ");
	text_print(stdout, json_text(config, "path"));
	(void)printf(" (sha256 %.12s)\n", json_text(config, "sha256"));
	if (json_truth(config, "differs_from_file"))
		color_print(
			stdout, ctl->has_color, TABLE_WARN,
			"          the file has changed since: `sluicectl reload` applies it\n");
	if (json_truth(config, "last_reload_ok"))
		return;
	color_print(stdout, ctl->has_color, TABLE_BAD, "          the latest reload was refused: ");
	text_print(stdout, json_text(config, "last_reload_error"));
	(void)fputc('\n', stdout);
}

/* Once a port routes or bridges; what is in force is a line each. */
static void print_tables(const struct ctl *ctl, struct json_object *status)
{
	struct json_object *tables = json_at(status, "tables");
	struct json_object *policies = json_at(status, "policies");
	char buf[2][32];

	if (!json_truth(tables, "running"))
		return;
	(void)printf("tables:   %s IPv4 and %s IPv6 prefixes, %" PRIu64 " neighbours%s\n",
		     unit_count(buf[0], json_count(tables, "prefixes4")),
		     unit_count(buf[1], json_count(tables, "prefixes6")),
		     json_count(tables, "neighbours4") + json_count(tables, "neighbours6"),
		     json_truth(tables, "synced") ? "" : ", being read again");
	for (size_t i = 0; i < json_length(policies); i++) {
		struct json_object *policy = json_object_array_get_idx(policies, i);
		struct json_object *ports = json_at(policy, "ports");

		(void)fputs("policy:   ", stdout);
		color_print(stdout, ctl->has_color,
			    json_truth(policy, "passes") ? TABLE_WARN : TABLE_PLAIN,
			    json_text(policy, "kind"));
		(void)fputs(": ", stdout);
		text_print(stdout, json_text(policy, "what"));
		(void)fputs(json_truth(policy, "passes") ? "; to the kernel:" : "; on", stdout);
		for (size_t p = 0; p < json_length(ports); p++)
			(void)printf(" %s",
				     json_object_get_string(json_object_array_get_idx(ports, p)));
		(void)fputc('\n', stdout);
	}
}

/* One line, if there are listeners. */
static void print_splice(struct json_object *splice)
{
	char n[32], max[32], parked[32];

	if (!json_truth(splice, "running"))
		return;
	(void)printf("splice:   %s of at most %s connections, %" PRIu64
		     " acceptors, sockmap %s, %s "
		     "parked",
		     unit_count(n, json_count(splice, "connections")),
		     unit_count(max, json_count(splice, "max_connections")),
		     json_count(splice, "acceptors"), json_text(splice, "sockmap"),
		     unit_bytes(parked, json_count(splice, "parked_bytes")));
	if (json_count(splice, "truncations") > 0)
		(void)printf(", %" PRIu64 " cut short", json_count(splice, "truncations"));
	(void)fputc('\n', stdout);
}

enum ctl_exit show_status(const struct ctl *ctl, struct json_object *answer)
{
	struct json_object *status = json_at(answer, "status");
	bool is_good = json_truth(status, "ready") && !json_truth(status, "degraded");
	uint64_t n_stalled = json_count(status, "workers_stalled");
	const char *word = is_good                     ? "ready" :
			   json_truth(status, "ready") ? "degraded" :
							 "not ready";
	char buf[32];

	if (ctl->as_json) {
		ctl_print_json(answer);
		return is_good ? CTL_OK : CTL_FAILED;
	}
	(void)printf("sluiced %s (%s), up %s\n", json_text(status, "version"),
		     json_text(status, "revision"),
		     unit_duration(buf, clock_unix_s() - json_real(status, "start_unix_s")));
	(void)fputs("status:   ", stdout);
	color_print(stdout, ctl->has_color, is_good ? TABLE_GOOD : TABLE_BAD, word);
	(void)fputs(": ", stdout);
	text_print(stdout, json_text(status, "text"));
	(void)fputc('\n', stdout);
	print_config(ctl, json_at(status, "config"));
	(void)printf("workers:  %" PRIu64, json_count(status, "workers"));
	if (n_stalled > 0)
		(void)printf(", %" PRIu64 " of them standing still", n_stalled);
	(void)fputc('\n', stdout);
	print_tables(ctl, status);
	print_splice(json_at(status, "splice"));
	(void)fputc('\n', stdout);
	print_ports(ctl, json_at(status, "ports"));
	return is_good ? CTL_OK : CTL_FAILED;
}

enum ctl_exit show_interfaces(const struct ctl *ctl, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{"PORT", false},    {"INTERFACE", false}, {"STATE", false},   {"DRIVER", false},
		{"MTU", true},      {"NODE", true},       {"FORWARD", false}, {"ON FAILURE", false},
		{"MODE", false},    {"QUEUES", true},     {"MISSED", true},   {"ERRORS", true},
		{"TX DROPS", true}, {"REBINDS", true},
	};
	struct json_object *ports = json_at(answer, "interfaces");
	struct table table;

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(ports); i++) {
		struct json_object *port = json_object_array_get_idx(ports, i);

		table_text(&table, json_text(port, "port"));
		table_text(&table, json_text(port, "interface"));
		put_state(&table, port);
		table_text(&table, json_text(port, "driver"));
		table_cell(&table, TABLE_PLAIN, "%" PRIu64, json_count(port, "mtu"));
		table_cell(&table, TABLE_PLAIN, "%" PRId64, json_signed(port, "numa_node"));
		put_forward(&table, port);
		table_cell(&table, TABLE_PLAIN, "%s%s", json_text(port, "on_failure"),
			   json_truth(port, "pinned") ? " (pinned)" : "");
		table_text(&table, json_text(port, "mode"));
		put_bound(&table, port);
		table_number(&table, json_count(port, "rx_missed"));
		table_number(&table, json_count(port, "rx_errors"));
		table_number(&table, json_count(port, "tx_dropped"));
		table_number(&table, json_count(port, "rebinds"));
	}
	table_end(&table, stdout, ctl->has_color);
	return CTL_OK;
}

static uint64_t sum_members(struct json_object *object)
{
	uint64_t sum = 0;

	if (!json_has_members(object))
		return 0;
	json_object_object_foreach (object, key, value) {
		(void)key;
		sum += json_object_get_uint64(value);
	}
	return sum;
}

enum ctl_exit show_queues(const struct ctl *ctl, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{"PORT", false},       {"QUEUE", true},      {"WORKER", false},
		{"BOUND", false},      {"RX PACKETS", true}, {"FORWARDED", true},
		{"HANDED BACK", true}, {"DROPPED", true},    {"TX PACKETS", true},
		{"IN RX RING", true},  {"IN TX", true},      {"RING FULL", true},
		{"NO FRAME", true},
	};
	struct json_object *queues = json_at(answer, "queues");
	struct table table;

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(queues); i++) {
		struct json_object *queue = json_object_array_get_idx(queues, i);
		struct json_object *xsk = json_at(queue, "xsk");
		bool is_bound = json_truth(queue, "bound");

		table_text(&table, json_text(queue, "port"));
		table_cell(&table, TABLE_PLAIN, "%" PRIu64, json_count(queue, "queue"));
		table_text(&table, json_text(queue, "worker"));
		table_cell(&table, is_bound ? TABLE_PLAIN : TABLE_WARN, "%s",
			   !is_bound                     ? "no" :
			   json_truth(queue, "zerocopy") ? "zerocopy" :
							   "copy");
		table_number(&table, json_count(queue, "rx_packets"));
		table_number(&table, json_count(queue, "forwarded"));
		table_number(&table, sum_members(json_at(queue, "handed_back")));
		table_number(&table, sum_members(json_at(queue, "drops")));
		table_number(&table, json_count(queue, "tx_packets"));
		table_number(&table, json_count(queue, "rx_waiting"));
		table_number(&table, json_count(queue, "in_tx"));
		table_number(&table, json_count(xsk, "rx_ring_full"));
		table_number(&table, json_count(xsk, "fill_ring_empty"));
	}
	table_end(&table, stdout, ctl->has_color);
	return CTL_OK;
}

static void put_busy(struct table *table, struct json_object *worker)
{
	double busy = (double)json_count(worker, "busy_ns");
	double all = busy + (double)json_count(worker, "idle_ns");

	table_cell(table, TABLE_PLAIN, "%.1f %%", all > 0 ? 100 * busy / all : 0);
}

enum ctl_exit show_workers(const struct ctl *ctl, struct json_object *answer)
{
	static const struct table_column columns[] = {
		{"WORKER", false}, {"CPU", true},       {"NODE", true},   {"STATE", false},
		{"BUSY", true},    {"PREEMPTED", true}, {"UMEM", true},   {"FREE", true},
		{"FILL", true},    {"TX", true},        {"PARKED", true}, {"LOW WATER", true},
		{"LOST", true},
	};
	struct json_object *workers = json_at(answer, "workers");
	struct table table;
	char buf[32];

	table_begin(&table, columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < json_length(workers); i++) {
		struct json_object *worker = json_object_array_get_idx(workers, i);
		struct json_object *frames = json_at(worker, "frames");
		bool is_stalled = json_truth(worker, "stalled");
		int64_t lost = json_signed(frames, "lost");

		table_text(&table, json_text(worker, "worker"));
		table_cell(&table, json_truth(worker, "pinned") ? TABLE_PLAIN : TABLE_WARN,
			   "%" PRIu64 "%s", json_count(worker, "cpu"),
			   json_truth(worker, "pinned") ? "" : " (not pinned)");
		table_cell(&table, TABLE_PLAIN, "%" PRId64, json_signed(worker, "numa_node"));
		table_cell(&table, is_stalled ? TABLE_BAD : TABLE_GOOD, "%s",
			   is_stalled ? "stalled" : "running");
		put_busy(&table, worker);
		table_number(&table, json_count(worker, "preemptions"));
		table_cell(&table, TABLE_PLAIN, "%s%s",
			   unit_bytes(buf, json_count(worker, "umem_bytes")),
			   json_truth(worker, "huge_pages") ? " huge" : "");
		table_number(&table, json_count(frames, "free"));
		table_number(&table, json_count(frames, "fill"));
		table_number(&table, json_count(frames, "tx"));
		table_number(&table, json_count(frames, "quarantine"));
		table_number(&table, json_count(frames, "min_free"));
		table_cell(&table, lost ? TABLE_BAD : TABLE_PLAIN, "%" PRId64, lost);
	}
	table_end(&table, stdout, ctl->has_color);
	return CTL_OK;
}

/* metrics, plan, reload: the text is the answer. */
enum ctl_exit show_text(const struct ctl *ctl, struct json_object *answer)
{
	const char *text = json_text(answer, "text");
	size_t len = strlen(text);

	text_print(stdout, text);
	if (len > 0 && text[len - 1] != '\n')
		(void)fputc('\n', stdout);
	return CTL_OK;
}

enum ctl_exit show_config(const struct ctl *ctl, struct json_object *answer)
{
	(void)puts(json_object_to_json_string_ext(json_at(answer, "config"),
						  JSON_C_TO_STRING_PRETTY |
							  JSON_C_TO_STRING_NOSLASHESCAPE));
	return CTL_OK;
}

/* attach, detach: every change of state says what it did. */
enum ctl_exit show_switch(const struct ctl *ctl, struct json_object *answer)
{
	const char *port = json_text(answer, "port");

	if (strcmp(port, "*") == 0)
		(void)printf("every port is %s\n", json_text(answer, "state"));
	else
		(void)printf("port %s is %s\n", port, json_text(answer, "state"));
	return CTL_OK;
}

enum ctl_exit show_ping(const struct ctl *ctl, struct json_object *answer)
{
	(void)printf("sluiced %s answers\n", json_text(answer, "version"));
	return CTL_OK;
}
