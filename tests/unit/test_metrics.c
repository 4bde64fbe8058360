/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page of a synthetic report: format, completeness, values, and the identities. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/metrics.h"
#include "control/metrics_text.h"
#include "page.h"
#include "report_world.h"
#include "unit.h"
#include "util/macros.h"

static struct report report;
static char *page;

static int setup(void **state)
{
	report_world_make(&report);
	page = page_of(&report);
	return 0;
}

static int teardown(void **state)
{
	report_fini(&report);
	free(page);
	return 0;
}

/* Does a sample's name belong to the family: itself, or a histogram's part? */
static bool is_sample_of(const char *line, const char *family)
{
	static const char *const suffixes[] = {"", "_bucket", "_sum", "_count"};
	size_t len = strcspn(line, "{ "), family_len = strlen(family);

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (len == family_len + strlen(suffixes[i]) &&
		    strncmp(line, family, family_len) == 0 &&
		    strncmp(line + family_len, suffixes[i], strlen(suffixes[i])) == 0)
			return true;
	}
	return false;
}

static void test_page_has_each_family_once_and_contiguous(void **state)
{
	char *copy = strdup(page), *rest = copy, family[128] = "";
	size_t n_families = 0, n_samples = 0;

	for (char *line = strsep(&rest, "\n"); line && *line; line = strsep(&rest, "\n")) {
		char head[160];

		if (strncmp(line, "# HELP ", 7) == 0) {
			assert_true(n_families == 0 || n_samples > 0);
			assert_int_equal(sscanf(line, "# HELP %127s", family), 1);
			(void)snprintf(head, sizeof(head), "# HELP %s ", family);
			assert_int_equal(page_count(page, head), 1);
			(void)snprintf(head, sizeof(head), "# TYPE %s ", family);
			assert_int_equal(page_count(page, head), 1);
			line = strsep(&rest, "\n");
			assert_memory_equal(line, head, strlen(head));
			n_families++;
			n_samples = 0;
			continue;
		}
		if (!is_sample_of(line, family))
			fail_msg("'%s' stands under %s", line, family);
		n_samples++;
	}
	free(copy);
	assert_true(n_families > 60);
	assert_int_equal(page[strlen(page) - 1], '\n');
}

static void test_page_has_no_series_twice(void **state)
{
	char *copy = strdup(page), *rest = copy;

	for (char *line = strsep(&rest, "\n"); line && *line; line = strsep(&rest, "\n")) {
		if (line[0] == '#')
			continue;
		*strrchr(line, ' ') = '\0';
		(void)page_value(page, line);
	}
	free(copy);
}

static void test_every_lane_counter_is_on_the_page(void **state)
{
	/* All but one lane's counters stay; if a counter has a row, its page changes. */
#define CHECK_SHOWN(name, help)                                               \
	do {                                                                  \
		uint64_t kept = report.ports[1].queues[2].counters.name;      \
		char text[32];                                                \
                                                                              \
		report.ports[1].queues[2].counters.name = 987654321;          \
		free(page);                                                   \
		page = page_of(&report);                                      \
		(void)snprintf(text, sizeof(text), " %llu\n", 987654321ULL);  \
		if (!strstr(page, text))                                      \
			fail_msg("the lane counter " #name " has no family"); \
		report.ports[1].queues[2].counters.name = kept;               \
	} while (0);
	LANE_COUNTERS(CHECK_SHOWN)
#undef CHECK_SHOWN
}

static void test_every_worker_counter_is_on_the_page(void **state)
{
	/* Times are shown in seconds, so the page is compared as a whole, without what moves. */
#define CHECK_SHOWN(name, help)                                                 \
	do {                                                                    \
		char *other;                                                    \
                                                                                \
		report.workers[1].counters.name += 1000 * NSEC_PER_SEC;         \
		other = page_of(&report);                                       \
		if (page_sum_of_start(other, "sluice_worker_") <                \
		    page_sum_of_start(page, "sluice_worker_") + 999)            \
			fail_msg("the worker counter " #name " has no family"); \
		free(page);                                                     \
		page = other;                                                   \
	} while (0);
	WORKER_COUNTERS(CHECK_SHOWN)
#undef CHECK_SHOWN
}

static void test_every_drop_reason_and_verdict_is_on_the_page(void **state)
{
	char text[256];

	for (int reason = 0; reason < DROP_N; reason++) {
		(void)snprintf(
			text, sizeof(text),
			"sluice_queue_drops_total{interface=\"eth1\",queue=\"3\",reason=\"%s\"}",
			report_drop_names[reason]);
		assert_true(page_value(page, text) == 10 + reason);
	}
	for (int reason = 0; reason < HANDBACK_N; reason++) {
		(void)snprintf(
			text, sizeof(text),
			"sluice_handed_back_total{interface=\"eth1\",queue=\"3\",reason=\"%s\"}",
			report_handback_names[reason]);
		assert_true(page_value(page, text) == 30 + reason);
	}
	for (int v = 0; v < SLUICE_V_N; v++) {
		(void)snprintf(text, sizeof(text), "reason=\"%s\"", report_verdict_names[v]);
		assert_true(page_sum(page, "sluice_xdp_verdicts_total", "interface=\"eth1\"",
				     text) == (double)report.ports[1].verdicts[v]);
	}
}

static void test_the_tables_are_on_the_page(void **state)
{
	static const struct {
		const char *series;
		double value;
	} expected[] = {
		{"sluice_tables_running", 1},
		{"sluice_tables_synced", 1},
		{"sluice_tables_last_sync_seconds", 0.25},
		{"sluice_fib_prefixes{family=\"ipv4\"}", 1001},
		{"sluice_fib_prefixes{family=\"ipv6\"}", 1002},
		{"sluice_fib_routes{family=\"ipv6\"}", 1004},
		{"sluice_fib_bytes{family=\"ipv4\"}", 1005},
		{"sluice_fib_retired_bytes", 1007},
		{"sluice_nexthops", 1008},
		{"sluice_neighbours{family=\"ipv6\"}", 1010},
		{"sluice_netlink_resyncs_total", 1 + 4},
		{"sluice_netlink_overflows_total", 1011},
		{"sluice_route_changes_total", 1012},
		{"sluice_neighbour_keepalives_total", 1013},
		{"sluice_routes_refused", 0},
		{"sluice_fdb_entries{bridge=\"br\"}", 1014},
		{"sluice_fdb_max_entries{bridge=\"br\"}", 1015},
		{"sluice_fdb_learned_total{bridge=\"br\"}", 1016},
		{"sluice_fdb_moved_total{bridge=\"br\"}", 1017},
		{"sluice_fdb_aged_total{bridge=\"br\"}", 1018},
		{"sluice_fdb_refused_total{bridge=\"br\"}", 1019},
		{"sluice_policy_bypass{kind=\"rule4\"}", 1},
		{"sluice_policy_bypass{kind=\"rule6\"}", 0},
		{"sluice_policy_ports{kind=\"rule4\"}", 1},
		{"sluice_policy_ports{kind=\"rp_filter\"}", 2},
		{"sluice_policy_netfilter_bypassed", 0},
		{"sluice_listener_connections_total{listener=\"web\"}", 2203},
		{"sluice_listener_connections_active{listener=\"mail\"}", 2301},
		{"sluice_listener_sniffing{listener=\"web\"}", 2202},
		{"sluice_listener_connections_rejected_total{listener=\"web\",reason=\"limit\"}",
		 2210},
		{"sluice_listener_connections_rejected_total{listener=\"web\",reason=\"no_backend\"}",
		 2217},
		{"sluice_listener_sniff_duration_seconds_sum{listener=\"web\"}", 2200},
		{"sluice_listener_sniff_duration_seconds_bucket{listener=\"web\",le=\"0.0001\"}",
		 2230},
		{"sluice_splice_flows{mechanism=\"sockmap\"}", 2101},
		{"sluice_splice_flows{mechanism=\"copy\"}", 2103},
		{"sluice_splice_bytes_total{mechanism=\"splice\"}", 2106},
		{"sluice_splice_selftest_passed", 1},
		{"sluice_splice_selftest_duration_seconds", 0.02},
		{"sluice_splice_connections_max", 2002},
		{"sluice_acceptor_connections{acceptor=\"acceptor-1\"}", 2004},
		{"sluice_backend_up{backend=\"app\"}", 1},
		{"sluice_backend_up{backend=\"down\"}", 0},
		{"sluice_backend_server_up{backend=\"app\",server=\"s1\"}", 0},
		{"sluice_backend_connections_total{backend=\"app\"}", 2402},
		{"sluice_backend_connection_failures_total{backend=\"app\"}", 2403},
		{"sluice_backend_connect_duration_seconds_sum{backend=\"down\"}", 1.5},
	};

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_true(page_value(page, expected[i].series) == expected[i].value);
	/* The worker obeys it, so it makes nothing pass. */
	assert_null(strstr(page, "sluice_policy_bypass{kind=\"rp_filter\"}"));
	assert_int_equal(page_count(page, "sluice_policy_bypass{"), POLICY_N - 1);
}

static void test_labels_are_escaped(void **state)
{
	char labels[METRICS_LABELS_BYTES];

	assert_string_equal(metrics_labels(labels, "a", "x\\y\"z\n", "b", "\xff\x01", NULL),
			    "a=\"x\\\\y\\\"z\\n\",b=\"\\\\xff\\\\x01\"");
	assert_true(page_value(page, "sluice_interface_up{interface=\"et\\\"h\\\\0\"}") == 1);
}

static void test_labels_that_do_not_fit_are_left_out_whole(void **state)
{
	char labels[METRICS_LABELS_BYTES], value[METRICS_LABELS_BYTES];

	memset(value, '"', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	assert_string_equal(metrics_labels(labels, "a", value, "b", "1", NULL), "b=\"1\"");
	value[METRICS_LABELS_BYTES / 2 - 3] = '\0';
	assert_int_equal(strlen(metrics_labels(labels, "a", value, "b", "1", NULL)),
			 2 * strlen(value) + 4);
}

static void test_fallback_is_shown_as_what_the_port_does(void **state)
{
	assert_true(page_value(page, "sluice_xdp_verdicts_total{interface=\"et\\\"h\\\\0\","
				     "reason=\"stale\",action=\"pass\"}") > 0);
	assert_true(page_value(page, "sluice_xdp_verdicts_total{interface=\"eth1\","
				     "reason=\"stale\",action=\"drop\"}") > 0);
	for (int i = 0; i < WORLD_PORTS; i++) {
		const char *interface = i ? "interface=\"eth1\"" : "interface=\"et\\\"h\\\\0\"";

		/* The same frames, grouped otherwise. */
		assert_true(page_sum(page, "sluice_xdp_packets_total", interface, NULL) ==
			    page_sum(page, "sluice_xdp_verdicts_total", interface, NULL));
		assert_true(
			page_sum(page, "sluice_xdp_packets_total", interface, "action=\"drop\"") ==
			page_sum(page, "sluice_xdp_verdicts_total", interface, "action=\"drop\""));
	}
}

/* design.md §4.5, from the page alone. */
static void test_identities_can_be_computed_from_the_page(void **state)
{
	static const char *const interfaces[] = {"interface=\"eth1\"",
						 "interface=\"et\\\"h\\\\0\""};

	for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++) {
		const char *in = interfaces[i];

		assert_true(page_sum(page, "sluice_queue_receive_packets_total", in, NULL) ==
			    page_sum(page, "sluice_queue_forwarded_packets_total", in, NULL) +
				    page_sum(page, "sluice_handed_back_total", in, NULL) +
				    page_sum(page, "sluice_queue_drops_total", in, NULL));
		assert_true(
			page_sum(page, "sluice_queue_transmit_packets_total", in, NULL) ==
			page_sum(page, "sluice_queue_transmit_completed_packets_total", in, NULL) +
				page_sum(page, "sluice_queue_transmit_pending_packets", in, NULL) +
				page_sum(page, "sluice_queue_transmit_abandoned_packets_total", in,
					 NULL));
		assert_true(
			page_sum(page, "sluice_xdp_packets_total", in, "action=\"redirect\"") ==
			page_sum(page, "sluice_queue_receive_packets_total", in, NULL) +
				page_sum(page, "sluice_xsk_rx_dropped_total", in, NULL) +
				page_sum(page, "sluice_xsk_rx_ring_full_total", in, NULL) +
				page_sum(page, "sluice_queue_receive_abandoned_packets_total", in,
					 NULL) +
				page_sum(page, "sluice_queue_receive_waiting_packets", in, NULL));
	}
	assert_true(page_sum(page, "sluice_queue_transmit_packets_total", NULL, NULL) ==
		    page_sum(page, "sluice_queue_forwarded_packets_total", NULL, NULL) +
			    page_sum(page, "sluice_queue_replicated_packets_total", NULL, NULL));
	for (int w = 0; w < WORLD_WORKERS; w++) {
		char label[64];

		(void)snprintf(label, sizeof(label), "worker=\"sluice-w%d\"", w);
		assert_true(page_sum(page, "sluice_umem_frames", label, NULL) ==
			    page_sum(page, "sluice_umem_size_frames", label, NULL));
		assert_true(page_sum(page, "sluice_umem_frames_lost", label, NULL) == 0);
	}
}

static void test_histograms_are_cumulative(void **state)
{
	static const char batch[] = "sluice_worker_batch_packets";
	double n = 0;
	char text[128];

	for (unsigned i = 0; i < BATCH_BUCKETS; i++) {
		n += i + 1;
		(void)snprintf(text, sizeof(text), "%s_bucket{worker=\"sluice-w0\",le=\"%u\"}",
			       batch, 1U << i);
		assert_true(page_value(page, text) == n);
	}
	assert_true(page_value(page, "sluice_worker_batch_packets_bucket{worker=\"sluice-w0\","
				     "le=\"+Inf\"}") == n);
	assert_true(page_value(page, "sluice_worker_batch_packets_count{worker=\"sluice-w0\"}") ==
		    n);
	assert_true(page_value(page, "sluice_worker_batch_packets_sum{worker=\"sluice-w0\"}") ==
		    999);
	/* The residence histogram sums the workers, and its last bucket is what exceeds the rest.
	 */
	assert_int_equal(page_count(page, "sluice_packet_residence_seconds_bucket"),
			 RESIDENCE_BUCKETS);
	assert_true(page_value(page, "sluice_packet_residence_seconds_bucket{le=\"1e-06\"}") ==
		    2.0 * WORLD_WORKERS);
	assert_true(page_value(page, "sluice_packet_residence_seconds_count") ==
		    WORLD_WORKERS * RESIDENCE_BUCKETS * (RESIDENCE_BUCKETS + 1.0));
}

static void test_lost_frames_are_signed(void **state)
{
	report.workers[1].frames.lost = -5;
	free(page);
	page = page_of(&report);
	assert_true(page_value(page, "sluice_umem_frames_lost{worker=\"sluice-w1\"}") == -5);
}

static void test_queues_of_the_kernel_have_no_series(void **state)
{
	struct report_queue *queue = &report.ports[1].queues[3];

	queue->worker = UINT32_MAX;
	queue->counters = (struct lane_counters){0};
	free(page);
	page = page_of(&report);
	assert_null(strstr(page, "interface=\"eth1\",queue=\"3\""));
	/* … but a queue that was a worker's keeps what it has counted. */
	queue->counters.rx_packets = 1;
	free(page);
	page = page_of(&report);
	assert_true(page_value(page, "sluice_queue_receive_packets_total{interface=\"eth1\","
				     "queue=\"3\"}") == 1);
	assert_null(
		strstr(page, "worker_info{worker=\"sluice-w0\",interface=\"eth1\",queue=\"3\""));
}

static void test_heartbeats_are_ages_taken_from_now(void **state)
{
	double beat_s, now_s = (double)time(NULL);

	report.workers[0].beat_age_ns = 1000 * NSEC_PER_SEC;
	free(page);
	page = page_of(&report);
	beat_s =
		page_value(page, "sluice_worker_heartbeat_timestamp_seconds{worker=\"sluice-w0\"}");
	assert_true(beat_s > now_s - 1002 && beat_s < now_s - 990);
}

static void test_process_families_tell_of_this_process(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	double n_before = page_value(page, "process_open_fds");

	assert_true(fd >= 0);
	free(page);
	page = page_of(&report);
	assert_true(page_value(page, "process_open_fds") == n_before + 1);
	assert_true(page_value(page, "process_resident_memory_bytes") > 100000);
	assert_true(page_value(page, "process_max_fds") > 10);
	assert_true(page_value(page, "process_start_time_seconds") == 1699999000.25);
	(void)close(fd);
}

static void test_an_empty_report_is_a_page(void **state)
{
	struct report empty = {0};
	char *text = page_of(&empty);

	assert_true(page_value(text, "sluice_ready") == 0);
	assert_int_equal(page_count(text, "# TYPE "), page_count(page, "# TYPE "));
	free(text);
}

static void test_a_stream_that_fails_is_an_error(void **state)
{
	FILE *full = fopen("/dev/full", "w");

	assert_non_null(full);
	assert_true(metrics_render(&report, full) < 0);
	(void)fclose(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_page_has_each_family_once_and_contiguous),
		T(test_page_has_no_series_twice),
		T(test_every_lane_counter_is_on_the_page),
		T(test_every_worker_counter_is_on_the_page),
		T(test_every_drop_reason_and_verdict_is_on_the_page),
		T(test_the_tables_are_on_the_page),
		T(test_labels_are_escaped),
		T(test_labels_that_do_not_fit_are_left_out_whole),
		T(test_fallback_is_shown_as_what_the_port_does),
		T(test_identities_can_be_computed_from_the_page),
		T(test_histograms_are_cumulative),
		T(test_lost_frames_are_signed),
		T(test_queues_of_the_kernel_have_no_series),
		T(test_heartbeats_are_ages_taken_from_now),
		T(test_process_families_tell_of_this_process),
		T(test_an_empty_report_is_a_page),
		T(test_a_stream_that_fails_is_an_error),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
