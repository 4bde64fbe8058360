/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Families of workers and of the packet memory that each owns. */
#include <string.h>

#include "control/metrics_family.h"
#include "data/counters.h"
#include "util/clock.h"
#include "util/macros.h"

static void emit_placement(const struct metrics_page *page, const struct metrics_family *family,
			   const char *interface, const struct report_queue *queue)
{
	char labels[METRICS_LABELS_BYTES], number[16], cpu[16], node[16];
	const struct report_worker *worker = &page->report->workers[queue->worker];

	(void)snprintf(number, sizeof(number), "%u", queue->queue);
	(void)snprintf(cpu, sizeof(cpu), "%u", worker->cpu);
	(void)snprintf(node, sizeof(node), "%d", worker->numa_node);
	metrics_sample(page->out, family->name,
		       metrics_labels(labels, "worker", worker->name, "interface", interface,
				      "queue", number, "cpu", cpu, "numa_node", node, NULL),
		       1);
}

/* One series per queue: a worker has several, and this is where one looks up whose a queue is. */
static void emit_worker_info(const struct metrics_page *page, const struct metrics_family *family)
{
	for (uint32_t i = 0; i < page->report->n_ports; i++) {
		const struct report_port *port = &page->report->ports[i];

		for (uint32_t q = 0; q < port->n_queues; q++) {
			if (port->queues[q].worker < page->report->n_workers)
				emit_placement(page, family, report_port_interface(port),
					       &port->queues[q]);
		}
	}
}

static void emit_workers(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_workers; i++) {
		const struct report_worker *worker = &page->report->workers[i];

		metrics_field(page, family, metrics_labels(labels, "worker", worker->name, NULL),
			      worker);
	}
}

static void emit_umem_frames(const struct metrics_page *page, const struct metrics_family *family)
{
	static const struct {
		const char *name;
		size_t offset;
	} states[] = {
		{"free", offsetof(struct frame_states, free)},
		{"fill", offsetof(struct frame_states, fill)},
		{"worker", offsetof(struct frame_states, worker)},
		{"tx", offsetof(struct frame_states, tx)},
		{"quarantine", offsetof(struct frame_states, quarantine)},
	};
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_workers; i++) {
		const struct report_worker *worker = &page->report->workers[i];

		for (size_t s = 0; s < ARRAY_SIZE(states); s++) {
			uint32_t n;

			memcpy(&n, (const char *)&worker->frames + states[s].offset, sizeof(n));
			metrics_sample(page->out, family->name,
				       metrics_labels(labels, "worker", worker->name, "state",
						      states[s].name, NULL),
				       n);
		}
	}
}

static void emit_frames_lost(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_workers; i++) {
		const struct report_worker *worker = &page->report->workers[i];

		metrics_sample_signed(page->out, family->name,
				      metrics_labels(labels, "worker", worker->name, NULL),
				      worker->frames.lost);
	}
}

/* Prometheus wants a time of the event, not an age; computed from the monotonic age, so that a
 * step of the wall clock does not look like a stalled worker. */
static void emit_heartbeats(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];
	double now_s = clock_unix_s();

	for (uint32_t i = 0; i < page->report->n_workers; i++) {
		const struct report_worker *worker = &page->report->workers[i];

		metrics_sample_real(page->out, family->name,
				    metrics_labels(labels, "worker", worker->name, NULL),
				    now_s - (double)worker->beat_age_ns / (double)NSEC_PER_SEC);
	}
}

static void emit_batches(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < page->report->n_workers; i++) {
		const struct report_worker *worker = &page->report->workers[i];
		struct metrics_histogram histogram = {
			.buckets = worker->counters.batch,
			.n_buckets = BATCH_BUCKETS,
			.last = METRICS_LAST_BOUNDED,
			.unit = 1,
			.sum = (double)worker->counters.batch_packets,
		};

		metrics_histogram(page->out, family->name,
				  metrics_labels(labels, "worker", worker->name, NULL), &histogram);
	}
}

/* Of all workers: how long a packet stays inside is a property of the box. */
static void emit_residence(const struct metrics_page *page, const struct metrics_family *family)
{
	uint64_t buckets[RESIDENCE_BUCKETS] = {0}, sum_ns = 0;
	struct metrics_histogram histogram = {
		.buckets = buckets,
		.n_buckets = RESIDENCE_BUCKETS,
		.last = METRICS_LAST_IS_REST,
		.unit = 1e-6,
	};

	for (uint32_t i = 0; i < page->report->n_workers; i++) {
		const struct worker_counters *counters = &page->report->workers[i].counters;

		for (size_t b = 0; b < RESIDENCE_BUCKETS; b++)
			buckets[b] += counters->residence[b];
		sum_ns += counters->residence_sum_ns;
	}
	histogram.sum = (double)sum_ns / (double)NSEC_PER_SEC;
	metrics_histogram(page->out, family->name, "", &histogram);
}

const struct metrics_family metrics_worker_families[] = {
	{"sluice_worker_info", GAUGE, "Worker placement; value is always 1.",
	 .emit = emit_worker_info},
	{"sluice_worker_pinned", GAUGE, "1 if the worker is pinned to its CPU.", emit_workers,
	 OF(struct report_worker, is_pinned_to_cpu)},
	{"sluice_worker_stalled", GAUGE, "1 if the worker has not completed a loop for a second.",
	 emit_workers, OF(struct report_worker, is_stalled)},
	{"sluice_worker_heartbeat_timestamp_seconds", GAUGE,
	 "Unix time of the latest completed loop of the worker.", .emit = emit_heartbeats},
	{"sluice_worker_busy_seconds_total", COUNTER, "Time spent on non-empty polls.",
	 emit_workers, SECONDS_OF(struct report_worker, counters.busy_ns)},
	{"sluice_worker_idle_seconds_total", COUNTER, "Time spent on empty polls or asleep.",
	 emit_workers, SECONDS_OF(struct report_worker, counters.idle_ns)},
	{"sluice_worker_turns_total", COUNTER, "Turns of the loop over the queues of the worker.",
	 emit_workers, OF(struct report_worker, counters.turns)},
	{"sluice_worker_sleeps_total", COUNTER, "Times the worker slept for want of packets.",
	 emit_workers, OF(struct report_worker, counters.sleeps)},
	{"sluice_worker_preemptions_total", COUNTER, "Involuntary context switches of the worker.",
	 emit_workers, OF(struct report_worker, n_preemptions)},
	{"sluice_worker_batch_packets", HISTOGRAM, "Packets per non-empty poll.",
	 .emit = emit_batches},
	{"sluice_packet_residence_seconds", HISTOGRAM,
	 "Time from receive to transmit ring, sampled.", .emit = emit_residence},
	{"sluice_umem_frames", GAUGE, "UMEM frames by owner; the sum over states is the UMEM size.",
	 .emit = emit_umem_frames},
	{"sluice_umem_size_frames", GAUGE, "UMEM size in frames.", emit_workers,
	 OF(struct report_worker, n_frames)},
	{"sluice_umem_size_bytes", GAUGE, "UMEM size, as mapped.", emit_workers,
	 OF(struct report_worker, umem_bytes)},
	{"sluice_umem_huge_pages", GAUGE, "1 if the UMEM is made of huge pages.", emit_workers,
	 OF(struct report_worker, is_huge)},
	{"sluice_umem_free_frames_low_watermark", GAUGE, "Fewest free frames since start.",
	 emit_workers, OF(struct report_worker, frames.min_free)},
	{"sluice_umem_frames_lost", GAUGE, "UMEM frames unaccounted for; anything but 0 is a bug.",
	 .emit = emit_frames_lost},
	{0},
};
