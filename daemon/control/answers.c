/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's answers. Building a tree goes on after a failed allocation and is thrown away at
 * the end: one check in one place (finish()) instead of one per line.
 */
#include "control/answers.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "control/losses.h"
#include "control/report.h"
#include "util/macros.h"

/* --- Building -------------------------------------------------------------------------------- */

static void put(struct json_object *object, const char *key, struct json_object *value,
		bool *failed)
{
	if (object && value && json_object_object_add(object, key, value) == 0)
		return;
	json_object_put(value);
	*failed = true;
}

static void append(struct json_object *array, struct json_object *value, bool *failed)
{
	if (array && value && json_object_array_add(array, value) == 0)
		return;
	json_object_put(value);
	*failed = true;
}

static void put_text(struct json_object *object, const char *key, const char *text, bool *failed)
{
	put(object, key, json_object_new_string(text ? text : ""), failed);
}

static void put_count(struct json_object *object, const char *key, uint64_t n, bool *failed)
{
	put(object, key, json_object_new_uint64(n), failed);
}

static void put_signed(struct json_object *object, const char *key, int64_t n, bool *failed)
{
	put(object, key, json_object_new_int64(n), failed);
}

static void put_bool(struct json_object *object, const char *key, bool truth, bool *failed)
{
	put(object, key, json_object_new_boolean(truth), failed);
}

/* Seconds with three digits: enough for people, and 0.1 stays 0.1. */
static void put_seconds(struct json_object *object, const char *key, double seconds, bool *failed)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%.3f", seconds);
	put(object, key, json_object_new_double_s(seconds, text), failed);
}

/* Wraps a finished value as {key: value}; NULL if anything went wrong. */
static struct json_object *finish(const char *key, struct json_object *value, bool failed)
{
	struct json_object *answer = json_object_new_object();

	put(answer, key, value, &failed);
	if (!failed)
		return answer;
	json_object_put(answer);
	return NULL;
}

/* --- status ---------------------------------------------------------------------------------- */

static const char *mode_name(const struct report_port *port)
{
	return port->mode < XSK_MODE_N ? xsk_mode_names[port->mode] : "none";
}

static uint32_t count_bound(const struct report_port *port)
{
	uint32_t n = 0;

	for (uint32_t q = 0; q < port->n_queues; q++)
		n += port->queues[q].is_bound;
	return n;
}

static uint32_t count_ours(const struct report_port *port)
{
	uint32_t n = 0;

	for (uint32_t q = 0; q < port->n_queues; q++)
		n += port->queues[q].worker != UINT32_MAX;
	return n;
}

static const char *const forward_names[] = {
	[CONF_FORWARD_PASS] = "pass",
	[CONF_FORWARD_XCONNECT] = "xconnect",
	[CONF_FORWARD_ROUTE] = "route",
	[CONF_FORWARD_BRIDGE] = "bridge",
};
_Static_assert(ARRAY_SIZE(forward_names) == CONF_FORWARD_N, "a name for each");

/* What every answer says of a port. */
static struct json_object *port_head(const struct report_port *port, bool *failed)
{
	struct json_object *object = json_object_new_object();

	put_text(object, "port", port->conf->name, failed);
	put_text(object, "interface", report_port_interface(port), failed);
	put_text(object, "state", port_state_names[port->state], failed);
	put_text(object, "problem", port->problem, failed);
	put_text(object, "mode", mode_name(port), failed);
	put_text(object, "forward", forward_names[port->conf->forward], failed);
	put_text(object, "peer", port->conf->peer, failed);
	put_count(object, "queues", count_ours(port), failed);
	put_count(object, "queues_bound", count_bound(port), failed);
	return object;
}

static struct json_object *config_object(const struct report *report, bool *failed)
{
	struct json_object *object = json_object_new_object();

	put_text(object, "path", report->config_path, failed);
	put_text(object, "sha256", report->config_sha256, failed);
	put_bool(object, "differs_from_file", report->config_differs_from_file, failed);
	put_bool(object, "last_reload_ok", report->last_reload_ok, failed);
	put_text(object, "last_reload_error", report->last_reload_error, failed);
	put_seconds(object, "last_reload_unix_s", report->last_reload_unix_s, failed);
	put_count(object, "reloads", report->n_reloads, failed);
	put_count(object, "reload_failures", report->n_reload_failures, failed);
	return object;
}

struct json_object *answer_status(const struct report *report)
{
	struct json_object *status = json_object_new_object();
	struct json_object *ports = json_object_new_array();
	uint32_t n_stalled = 0;
	bool failed = false;

	for (uint32_t i = 0; i < report->n_workers; i++)
		n_stalled += report->workers[i].is_stalled;
	for (uint32_t i = 0; i < report->n_ports; i++)
		append(ports, port_head(&report->ports[i], &failed), &failed);

	put_text(status, "version", SLUICE_VERSION, &failed);
	put_text(status, "revision", SLUICE_REVISION, &failed);
	put_bool(status, "ready", report->is_ready, &failed);
	put_bool(status, "degraded", report->is_degraded, &failed);
	put_bool(status, "draining", report->is_draining, &failed);
	put_text(status, "text", report->status_line, &failed);
	put_seconds(status, "start_unix_s", report->start_unix_s, &failed);
	put(status, "config", config_object(report, &failed), &failed);
	put_count(status, "workers", report->n_workers, &failed);
	put_count(status, "workers_stalled", n_stalled, &failed);
	put(status, "ports", ports, &failed);
	put(status, "tables", answer_tables(report), &failed);
	put(status, "splice", answer_splice(report), &failed);
	put(status, "policies", answer_policies(report), &failed);
	return finish("status", status, failed);
}

/* --- show ------------------------------------------------------------------------------------ */

static struct json_object *verdicts_object(const struct report_port *port, bool *failed)
{
	struct json_object *object = json_object_new_object();

	for (int v = 0; v < SLUICE_V_N; v++)
		put_count(object, report_verdict_names[v], port->verdicts[v], failed);
	return object;
}

/* Only what the program gave to the kernel: neither lost nor forwarded, by the reason why. */
static struct json_object *passed_object(const struct report_port *port, bool *failed)
{
	struct json_object *object = json_object_new_object();

	for (int v = 0; v < SLUICE_V_N; v++) {
		if (strcmp(report_verdict_action(port, v), "pass") == 0)
			put_count(object, report_verdict_names[v], port->verdicts[v], failed);
	}
	return object;
}

static struct json_object *interface_object(const struct report_port *port, bool *failed)
{
	struct json_object *object = port_head(port, failed);
	char address[18];

	(void)snprintf(address, sizeof(address), "%02x:%02x:%02x:%02x:%02x:%02x",
		       port->link.address[0], port->link.address[1], port->link.address[2],
		       port->link.address[3], port->link.address[4], port->link.address[5]);
	put_bool(object, "exists", port->link.exists, failed);
	put_count(object, "ifindex", port->link.ifindex, failed);
	put_text(object, "address", address, failed);
	put_text(object, "driver", port->link.driver, failed);
	put_text(object, "kind", port->link.kind, failed);
	put_count(object, "mtu", port->link.mtu, failed);
	put_bool(object, "up", port->link.is_up, failed);
	put_bool(object, "carrier", port->link.has_carrier, failed);
	put_signed(object, "numa_node", port->link.numa_node, failed);
	put_bool(object, "attached", port->is_attached, failed);
	put_bool(object, "pinned", port->is_pinned, failed);
	put_text(object, "on_failure", port->conf->on_failure == CONF_FAIL_DROP ? "drop" : "pass",
		 failed);
	put_count(object, "program", port->prog_id, failed);
	put_count(object, "rebinds", port->n_rebinds, failed);
	put_count(object, "map_update_failures", port->n_map_update_failures, failed);
	put_count(object, "rx_missed", port->link.rx_missed, failed);
	put_count(object, "rx_errors", port->link.rx_errors, failed);
	put_count(object, "tx_dropped", port->link.tx_dropped, failed);
	put(object, "verdicts", verdicts_object(port, failed), failed);
	return object;
}

struct json_object *answer_interfaces(const struct report *report)
{
	struct json_object *array = json_object_new_array();
	bool failed = false;

	for (uint32_t i = 0; i < report->n_ports; i++)
		append(array, interface_object(&report->ports[i], &failed), &failed);
	return finish("interfaces", array, failed);
}

static void put_lane_counters(struct json_object *object, const struct lane_counters *counters,
			      bool *failed)
{
	struct json_object *handed_back = json_object_new_object();
	struct json_object *drops = json_object_new_object();

#define PUT_COUNTER(name, help) put_count(object, #name, counters->name, failed);
	LANE_COUNTERS(PUT_COUNTER)
#undef PUT_COUNTER
	for (int reason = 0; reason < DROP_N; reason++)
		put_count(drops, report_drop_names[reason], counters->drops[reason], failed);
	put(object, "drops", drops, failed);
	for (int reason = 0; reason < HANDBACK_N; reason++)
		put_count(handed_back, report_handback_names[reason], counters->handed_back[reason],
			  failed);
	put(object, "handed_back", handed_back, failed);
}

static struct json_object *xsk_object(const struct report_xsk *xsk, bool *failed)
{
	struct json_object *object = json_object_new_object();

	put_count(object, "rx_dropped", xsk->rx_dropped, failed);
	put_count(object, "rx_invalid_descs", xsk->rx_invalid_descs, failed);
	put_count(object, "tx_invalid_descs", xsk->tx_invalid_descs, failed);
	put_count(object, "rx_ring_full", xsk->rx_ring_full, failed);
	put_count(object, "fill_ring_empty", xsk->fill_ring_empty, failed);
	put_count(object, "tx_ring_empty", xsk->tx_ring_empty, failed);
	return object;
}

static struct json_object *queue_object(const struct report *report, const struct report_port *port,
					const struct report_queue *queue, bool *failed)
{
	struct json_object *object = json_object_new_object();
	bool is_owned = queue->worker < report->n_workers;

	put_text(object, "port", port->conf->name, failed);
	put_text(object, "interface", report_port_interface(port), failed);
	put_count(object, "queue", queue->queue, failed);
	put_text(object, "worker", is_owned ? report->workers[queue->worker].name : "", failed);
	put_bool(object, "bound", queue->is_bound, failed);
	put_bool(object, "zerocopy", queue->is_zerocopy, failed);
	put_bool(object, "busy_poll", queue->busy_poll_active, failed);
	put_count(object, "rx_waiting", queue->rx_waiting, failed);
	put_count(object, "in_tx", queue->in_tx, failed);
	put_count(object, "rx_abandoned", queue->rx_abandoned, failed);
	put_count(object, "tx_abandoned", queue->tx_abandoned, failed);
	put_lane_counters(object, &queue->counters, failed);
	put(object, "xsk", xsk_object(&queue->xsk, failed), failed);
	return object;
}

struct json_object *answer_queues(const struct report *report)
{
	struct json_object *array = json_object_new_array();
	bool failed = false;

	for (uint32_t i = 0; i < report->n_ports; i++) {
		const struct report_port *port = &report->ports[i];

		for (uint32_t q = 0; q < port->n_queues; q++) {
			if (report_queue_is_ours(&port->queues[q]))
				append(array, queue_object(report, port, &port->queues[q], &failed),
				       &failed);
		}
	}
	return finish("queues", array, failed);
}

static struct json_object *frames_object(const struct report_worker *worker, bool *failed)
{
	struct json_object *object = json_object_new_object();

	put_count(object, "total", worker->n_frames, failed);
	put_count(object, "free", worker->frames.free, failed);
	put_count(object, "fill", worker->frames.fill, failed);
	put_count(object, "worker", worker->frames.worker, failed);
	put_count(object, "tx", worker->frames.tx, failed);
	put_count(object, "quarantine", worker->frames.quarantine, failed);
	put_count(object, "min_free", worker->frames.min_free, failed);
	put_signed(object, "lost", worker->frames.lost, failed);
	return object;
}

static struct json_object *worker_object(const struct report_worker *worker, bool *failed)
{
	struct json_object *object = json_object_new_object();

	put_text(object, "worker", worker->name, failed);
	put_signed(object, "tid", worker->tid, failed);
	put_count(object, "cpu", worker->cpu, failed);
	put_bool(object, "pinned", worker->is_pinned_to_cpu, failed);
	put_signed(object, "numa_node", worker->numa_node, failed);
	put_bool(object, "huge_pages", worker->is_huge, failed);
	put_bool(object, "stalled", worker->is_stalled, failed);
	put_count(object, "beat_age_ns", worker->beat_age_ns, failed);
	put_count(object, "preemptions", worker->n_preemptions, failed);
	put_count(object, "umem_bytes", worker->umem_bytes, failed);
	put(object, "frames", frames_object(worker, failed), failed);
#define PUT_COUNTER(name, help) put_count(object, #name, worker->counters.name, failed);
	WORKER_COUNTERS(PUT_COUNTER)
#undef PUT_COUNTER
	put_count(object, "batch_packets", worker->counters.batch_packets, failed);
	return object;
}

struct json_object *answer_workers(const struct report *report)
{
	struct json_object *array = json_object_new_array();
	bool failed = false;

	for (uint32_t i = 0; i < report->n_workers; i++)
		append(array, worker_object(&report->workers[i], &failed), &failed);
	return finish("workers", array, failed);
}

/* --- drops ----------------------------------------------------------------------------------- */

struct port_sums {
	uint64_t rx, forwarded, drops, tx, completed, replicated, handback_copies;
	uint64_t handed_back, handed_back_by[HANDBACK_N];
	uint64_t pending, abandoned, rx_abandoned, waiting, rx_dropped, rx_ring_full;
};

static void add_queue(struct port_sums *sums, const struct report_queue *queue)
{
	sums->rx += queue->counters.rx_packets;
	sums->forwarded += queue->counters.forwarded;
	for (int reason = 0; reason < DROP_N; reason++)
		sums->drops += queue->counters.drops[reason];
	for (int reason = 0; reason < HANDBACK_N; reason++) {
		sums->handed_back_by[reason] += queue->counters.handed_back[reason];
		sums->handed_back += queue->counters.handed_back[reason];
	}
	sums->replicated += queue->counters.replicated;
	sums->handback_copies += queue->counters.handback_copies;
	sums->tx += queue->counters.tx_packets;
	sums->completed += queue->counters.tx_completed;
	sums->pending += queue->in_tx;
	sums->abandoned += queue->tx_abandoned;
	sums->rx_abandoned += queue->rx_abandoned;
	sums->waiting += queue->rx_waiting;
	sums->rx_dropped += queue->xsk.rx_dropped;
	sums->rx_ring_full += queue->xsk.rx_ring_full;
}

static struct port_sums sum_port(const struct report_port *port)
{
	struct port_sums sums = {0};

	for (uint32_t q = 0; q < port->n_queues; q++)
		add_queue(&sums, &port->queues[q]);
	return sums;
}

/* {"name", "left", "right", "difference", "balanced"}; also tells the caller. */
static struct json_object *identity(const char *name, uint64_t left, uint64_t right,
				    bool *io_balanced, bool *failed)
{
	struct json_object *object = json_object_new_object();

	put_text(object, "name", name, failed);
	put_count(object, "left", left, failed);
	put_count(object, "right", right, failed);
	put_signed(object, "difference", (int64_t)(left - right), failed);
	put_bool(object, "balanced", left == right, failed);
	*io_balanced = *io_balanced && left == right;
	return object;
}

struct losses_tree {
	struct json_object *array;
	uint64_t by_place[LOSS_PLACE_N];
	bool failed;
};

static void add_loss(const struct loss *loss, void *arg)
{
	struct losses_tree *tree = arg;
	struct json_object *object;

	if (!loss->is_symptom)
		tree->by_place[loss->place] += loss->n_packets;
	if (loss->n_packets == 0)
		return;
	object = json_object_new_object();
	put_text(object, "place", loss_place_names[loss->place], &tree->failed);
	put_text(object, "reason", loss->reason, &tree->failed);
	put_count(object, "packets", loss->n_packets, &tree->failed);
	put_bool(object, "counted", !loss->is_symptom, &tree->failed);
	put_text(object, "meaning", loss->meaning, &tree->failed);
	put_text(object, "remedy", loss->remedy, &tree->failed);
	append(tree->array, object, &tree->failed);
}

static struct json_object *identities_of(const struct report_port *port,
					 const struct port_sums *sums, bool *io_balanced,
					 bool *failed)
{
	struct json_object *array = json_object_new_array();

	append(array,
	       identity("handover", port->verdicts[SLUICE_V_REDIRECT],
			sums->rx + sums->rx_dropped + sums->rx_ring_full + sums->waiting +
				sums->rx_abandoned,
			io_balanced, failed),
	       failed);
	append(array,
	       identity("ingress", sums->rx, sums->forwarded + sums->handed_back + sums->drops,
			io_balanced, failed),
	       failed);
	append(array,
	       identity("egress", sums->tx, sums->completed + sums->pending + sums->abandoned,
			io_balanced, failed),
	       failed);
	return array;
}

static struct json_object *handed_back_object(const struct port_sums *sums, bool *failed)
{
	struct json_object *object = json_object_new_object();

	for (int reason = 0; reason < HANDBACK_N; reason++)
		put_count(object, report_handback_names[reason], sums->handed_back_by[reason],
			  failed);
	return object;
}

static struct json_object *port_drops(const struct report_port *port, uint64_t *io_lost,
				      bool *io_balanced, bool *failed)
{
	struct losses_tree tree = {.array = json_object_new_array()};
	struct json_object *places = json_object_new_object();
	struct json_object *object = json_object_new_object();
	const struct port_sums sums = sum_port(port);
	bool is_balanced = true;
	uint64_t seen = 0, lost = 0;

	for (int v = 0; v < SLUICE_V_N; v++)
		seen += port->verdicts[v];
	losses_of_port(port, add_loss, &tree);
	for (int place = 0; place < LOSS_PLACE_N; place++) {
		put_count(places, loss_place_names[place], tree.by_place[place], failed);
		lost += tree.by_place[place];
	}
	put_text(object, "port", port->conf->name, failed);
	put_text(object, "interface", report_port_interface(port), failed);
	put_count(object, "seen", seen, failed);
	put(object, "verdicts", verdicts_object(port, failed), failed);
	put(object, "passed", passed_object(port, failed), failed);
	put_count(object, "received", sums.rx, failed);
	put_count(object, "rx_waiting", sums.waiting, failed);
	put_count(object, "rx_abandoned", sums.rx_abandoned, failed);
	put_count(object, "forwarded", sums.forwarded, failed);
	put_count(object, "handed_back", sums.handed_back, failed);
	put(object, "handed_back_by_reason", handed_back_object(&sums, failed), failed);
	put_count(object, "handback_copies", sums.handback_copies, failed);
	put_count(object, "dropped", sums.drops, failed);
	put_count(object, "replicated", sums.replicated, failed);
	put_count(object, "transmitted", sums.tx, failed);
	put_count(object, "completed", sums.completed, failed);
	put_count(object, "in_tx", sums.pending, failed);
	put_count(object, "abandoned", sums.abandoned, failed);
	put(object, "identities", identities_of(port, &sums, &is_balanced, failed), failed);
	put_bool(object, "balanced", is_balanced, failed);
	put_count(object, "lost", lost, failed);
	put(object, "lost_by_place", places, failed);
	put(object, "losses", tree.array, failed);
	*failed = *failed || tree.failed;
	*io_lost += lost;
	*io_balanced = *io_balanced && is_balanced;
	return object;
}

struct json_object *answer_drops(const struct report *report)
{
	struct json_object *drops = json_object_new_object();
	struct json_object *identities = json_object_new_array();
	struct json_object *ports = json_object_new_array();
	uint64_t put_out = 0, transmitted = 0, pending = 0, frames = 0, lost = 0;
	bool is_balanced = true, failed = false;

	for (uint32_t i = 0; i < report->n_workers; i++)
		frames += report->workers[i].frames.tx;
	for (uint32_t i = 0; i < report->n_ports; i++) {
		const struct port_sums sums = sum_port(&report->ports[i]);

		put_out += sums.forwarded + sums.replicated;
		transmitted += sums.tx;
		pending += sums.pending;
		append(ports, port_drops(&report->ports[i], &lost, &is_balanced, &failed), &failed);
	}
	put(drops, "ports", ports, &failed);
	put_count(drops, "lost", lost, &failed);
	append(identities, identity("crossing", put_out, transmitted, &is_balanced, &failed),
	       &failed);
	append(identities, identity("pending", pending, frames, &is_balanced, &failed), &failed);
	put(drops, "identities", identities, &failed);
	put_bool(drops, "balanced", is_balanced, &failed);
	return finish("drops", drops, failed);
}
