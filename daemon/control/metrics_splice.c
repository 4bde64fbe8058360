/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Families of the splice plane: listeners, spliced connections, backends (operations.md §2.4,
 * 47–62), and its acceptors. */
#include "control/metrics_family.h"
#include "util/macros.h"

#define SPLICE(page) (&(page)->report->splice)

/* Times are in buckets of 100 µs × 2^i. */
#define BUCKET_UNIT_S 1e-4

/* --- Listeners ----------------------------------------------------------------------------------
 */

static void emit_listeners(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < SPLICE(page)->n_listeners; i++) {
		const struct report_listener *listener = &SPLICE(page)->listeners[i];

		metrics_field(page, family,
			      metrics_labels(labels, "listener", listener->name, NULL), listener);
	}
}

static void emit_rejected(const struct metrics_page *page, const struct metrics_family *family)
{
	static const char *const reasons[] = {
#define REJECT_NAME(id, label, help) #label,
		SPLICE_REJECTS(REJECT_NAME)
#undef REJECT_NAME
	};
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < SPLICE(page)->n_listeners; i++) {
		const struct report_listener *listener = &SPLICE(page)->listeners[i];

		for (size_t j = 0; j < SPLICE_REJECT_N; j++)
			metrics_sample(page->out, family->name,
				       metrics_labels(labels, "listener", listener->name, "reason",
						      reasons[j], NULL),
				       listener->n_rejected[j]);
	}
}

static void emit_times(const struct metrics_page *page, const struct metrics_family *family,
		       const char *labels, const uint64_t buckets[SPLICE_TIME_BUCKETS],
		       uint64_t sum_ns)
{
	const struct metrics_histogram histogram = {
		.buckets = buckets,
		.n_buckets = SPLICE_TIME_BUCKETS,
		.last = METRICS_LAST_IS_REST,
		.unit = BUCKET_UNIT_S,
		.sum = (double)sum_ns / (double)NSEC_PER_SEC,
	};

	metrics_histogram(page->out, family->name, labels, &histogram);
}

static void emit_sniff_times(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < SPLICE(page)->n_listeners; i++) {
		const struct report_listener *listener = &SPLICE(page)->listeners[i];

		emit_times(page, family, metrics_labels(labels, "listener", listener->name, NULL),
			   listener->sniff_time, listener->sniff_time_sum_ns);
	}
}

/* --- Spliced connections ------------------------------------------------------------------------
 */

/* Without a listener there is no plane, and no series of it. */
static void emit_plane(const struct metrics_page *page, const struct metrics_family *family)
{
	if (SPLICE(page)->is_running)
		metrics_field(page, family, "", SPLICE(page));
}

/* The row's member is the first of SPLICE_ENGINE_N words; SPLICE_AUTO is no mechanism. */
static void emit_by_mechanism(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (unsigned engine = SPLICE_AUTO + 1; engine < SPLICE_ENGINE_N; engine++)
		if (SPLICE(page)->is_running)
			metrics_field(page, family,
				      metrics_labels(labels, "mechanism",
						     report_engine_names[engine], NULL),
				      (const char *)SPLICE(page) + engine * sizeof(uint64_t));
}

static void emit_fallbacks(const struct metrics_page *page, const struct metrics_family *family)
{
	static const char *const reasons[] = {
#define FALLBACK_NAME(id, label, help) #label,
		SPLICE_FALLBACKS(FALLBACK_NAME)
#undef FALLBACK_NAME
	};
	char labels[METRICS_LABELS_BYTES];

	for (size_t i = 0; i < SPLICE_FALLBACK_N; i++)
		if (SPLICE(page)->is_running)
			metrics_sample(page->out, family->name,
				       metrics_labels(labels, "reason", reasons[i], NULL),
				       SPLICE(page)->totals.n_fallbacks[i]);
}

static void emit_acceptor_conns(const struct metrics_page *page,
				const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES], name[24];

	for (uint32_t i = 0; i < SPLICE(page)->n_acceptors; i++) {
		(void)snprintf(name, sizeof(name), "acceptor-%u", i);
		metrics_sample(page->out, family->name,
			       metrics_labels(labels, "acceptor", name, NULL),
			       SPLICE(page)->acceptors[i].n_conns);
	}
}

/* --- Backends -----------------------------------------------------------------------------------
 */

static void emit_backends(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < SPLICE(page)->n_backends; i++) {
		const struct report_backend *backend = &SPLICE(page)->backends[i];

		metrics_field(page, family, metrics_labels(labels, "backend", backend->name, NULL),
			      backend);
	}
}

static void emit_connect_times(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < SPLICE(page)->n_backends; i++) {
		const struct report_backend *backend = &SPLICE(page)->backends[i];

		emit_times(page, family, metrics_labels(labels, "backend", backend->name, NULL),
			   backend->connect_time, backend->connect_time_sum_ns);
	}
}

static void emit_servers_up(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	for (uint32_t i = 0; i < SPLICE(page)->n_backends; i++) {
		const struct report_backend *backend = &SPLICE(page)->backends[i];

		for (uint32_t j = 0; j < backend->n_servers; j++) {
			const struct report_server *server = &backend->servers[j];

			metrics_sample(page->out, family->name,
				       metrics_labels(labels, "backend", backend->name, "server",
						      server->name, NULL),
				       server->is_up && !server->is_draining && !server->is_out);
		}
	}
}

const struct metrics_family metrics_splice_families[] = {
	{"sluice_listener_connections_total", COUNTER, "Connections accepted.", emit_listeners,
	 OF(struct report_listener, n_accepted)},
	{"sluice_listener_connections_rejected_total", COUNTER,
	 "Connections closed before a backend was chosen, by reason.", .emit = emit_rejected},
	{"sluice_listener_connections_active", GAUGE, "Open client connections.", emit_listeners,
	 OF(struct report_listener, n_active)},
	{"sluice_listener_sniffing", GAUGE, "Connections whose first bytes are still awaited.",
	 emit_listeners, OF(struct report_listener, n_sniffing)},
	{"sluice_listener_sniff_duration_seconds", HISTOGRAM, "Time to classify a connection.",
	 .emit = emit_sniff_times},
	{"sluice_splice_flows", GAUGE,
	 "Spliced connections by mechanism, each direction for itself.", emit_by_mechanism,
	 OF(struct report_splice, totals.n_flows[0])},
	{"sluice_splice_bytes_total", COUNTER, "Bytes forwarded by mechanism.", emit_by_mechanism,
	 OF(struct report_splice, totals.n_bytes[0])},
	{"sluice_splice_parked_bytes", GAUGE,
	 "Bytes that were taken from one side and that the other side's TCP has not taken yet.",
	 emit_plane, OF(struct report_splice, totals.parked_bytes)},
	{"sluice_splice_fallbacks_total", COUNTER,
	 "Flows that left sockmap for a user-space pump, or could not enter it, by reason.",
	 .emit = emit_fallbacks},
	{"sluice_splice_truncations_total", COUNTER,
	 "Flows closed with unacknowledged bytes; anything but 0 is data loss.", emit_plane,
	 OF(struct report_splice, totals.n_truncations)},
	{"sluice_splice_selftest_passed", GAUGE,
	 "1 if the start-up splice self-test passed on this kernel.", emit_plane,
	 OF(struct report_splice, selftest_passed)},
	{"sluice_splice_selftest_duration_seconds", GAUGE,
	 "Time that it took; 0 if it was not run.", emit_plane,
	 SECONDS_OF(struct report_splice, selftest_ns)},
	{"sluice_splice_sockmap_on", GAUGE, "1 if connections may be spliced in the kernel.",
	 emit_plane, OF(struct report_splice, sockmap_is_on)},
	{"sluice_splice_sockops_on", GAUGE,
	 "1 if sock_ops follows the sockets of connections; else TCP_INFO serves.", emit_plane,
	 OF(struct report_splice, sockops_is_on)},
	{"sluice_splice_sockets_closed_total", COUNTER, "Sockets whose last record sock_ops wrote.",
	 emit_plane, OF(struct report_splice, n_sockets_closed)},
	{"sluice_splice_retransmits_total", COUNTER, "Segments that those sockets sent again.",
	 emit_plane, OF(struct report_splice, n_retransmits)},
	{"sluice_splice_sock_ops_records_lost_total", COUNTER,
	 "Last records of sockets that found sock_ops' ring full.", emit_plane,
	 OF(struct report_splice, n_sockops_lost)},
	{"sluice_splice_flow_log_records_total", COUNTER,
	 "Connections that flow_log had chosen, at their end.", emit_plane,
	 OF(struct report_splice, totals.n_records)},
	{"sluice_splice_flow_log_records_lost_total", COUNTER,
	 "Those of them that got no line: too many ended at once.", emit_plane,
	 OF(struct report_splice, totals.n_records_lost)},
	{"sluice_splice_promotions_total", COUNTER,
	 "Directions of flows put into a better engine than they began with.", emit_plane,
	 OF(struct report_splice, totals.n_promotions)},
	{"sluice_splice_accept_pauses_total", COUNTER,
	 "Times accepting paused for want of file descriptors or memory.", emit_plane,
	 OF(struct report_splice, totals.n_accept_pauses)},
	{"sluice_splice_resets_total", COUNTER, "RSTs sent, those passed on included.", emit_plane,
	 OF(struct report_splice, totals.n_resets_sent)},
	{"sluice_splice_killed_total", COUNTER,
	 "Connections ended by a drain, a timeout or too many parked bytes.", emit_plane,
	 OF(struct report_splice, totals.n_killed)},
	{"sluice_splice_unawaited_total", COUNTER,
	 "Times a connection had work and nothing that would wake it; anything but 0 is a bug.",
	 emit_plane, OF(struct report_splice, totals.n_unawaited)},
	{"sluice_splice_connections_max", GAUGE,
	 "Connections that there is room for: file descriptors and configuration.", emit_plane,
	 OF(struct report_splice, max_conns)},
	{"sluice_acceptor_connections", GAUGE, "Connections of each acceptor.",
	 .emit = emit_acceptor_conns},
	{"sluice_backend_up", GAUGE, "1 if the backend is eligible.", emit_backends,
	 OF(struct report_backend, is_up)},
	{"sluice_backend_server_up", GAUGE, "1 if the server is eligible.",
	 .emit = emit_servers_up},
	{"sluice_backend_connections_total", COUNTER, "Connection attempts.", emit_backends,
	 OF(struct report_backend, n_connections)},
	{"sluice_backend_connection_failures_total", COUNTER, "Failed connection attempts.",
	 emit_backends, OF(struct report_backend, n_failures)},
	{"sluice_backend_connections_active", GAUGE, "Open connections.", emit_backends,
	 OF(struct report_backend, n_active)},
	{"sluice_backend_connect_duration_seconds", HISTOGRAM,
	 "Time to establish a backend connection.", .emit = emit_connect_times},
	{0},
};
