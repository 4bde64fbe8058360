/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Families of the daemon as a whole and of its process. */
#include "config.h"
#include "control/metrics_family.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

static void emit_daemon(const struct metrics_page *page, const struct metrics_family *family)
{
	metrics_field(page, family, "", page->report);
}

static void emit_process(const struct metrics_page *page, const struct metrics_family *family)
{
	metrics_field(page, family, "", &page->process);
}

static void emit_build_info(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	metrics_sample(page->out, family->name,
		       metrics_labels(labels, "version", SLUICE_VERSION, "revision",
				      SLUICE_REVISION, "libbpf", SLUICE_LIBBPF_VERSION, "libxdp",
				      SLUICE_LIBXDP_VERSION, "compiler", SLUICE_COMPILER, NULL),
		       1);
}

static void emit_config_info(const struct metrics_page *page, const struct metrics_family *family)
{
	char labels[METRICS_LABELS_BYTES];

	metrics_sample(page->out, family->name,
		       metrics_labels(labels, "sha256", page->report->config_sha256, NULL), 1);
}

static void emit_log_messages(const struct metrics_page *page, const struct metrics_family *family)
{
	static const struct {
		enum log_level level;
		const char *name;
	} levels[] = {
		{LOG_LEVEL_ERR, "err"},       {LOG_LEVEL_WARNING, "warning"},
		{LOG_LEVEL_NOTICE, "notice"}, {LOG_LEVEL_INFO, "info"},
		{LOG_LEVEL_DEBUG, "debug"},
	};
	char labels[METRICS_LABELS_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		metrics_sample(page->out, family->name,
			       metrics_labels(labels, "level", levels[i].name, NULL),
			       log_count(levels[i].level));
}

static void emit_log_suppressed(const struct metrics_page *page,
				const struct metrics_family *family)
{
	metrics_sample(page->out, family->name, "", log_n_suppressed());
}

/* Of the links and of the tables: each has a socket of its own. */
static void emit_resyncs(const struct metrics_page *page, const struct metrics_family *family)
{
	metrics_sample(page->out, family->name, "",
		       page->report->n_netlink_resyncs + page->report->tables.n_resyncs);
}

static void emit_scrape_duration(const struct metrics_page *page,
				 const struct metrics_family *family)
{
	uint64_t begun_ns = page->report->begun_ns ? page->report->begun_ns : page->begun_ns;

	metrics_sample_real(page->out, family->name, "",
			    (double)(clock_now_ns() - begun_ns) / (double)NSEC_PER_SEC);
}

const struct metrics_family metrics_daemon_families[] = {
	{"sluice_build_info", GAUGE, "Build information; value is always 1.",
	 .emit = emit_build_info},
	{"sluice_config_info", GAUGE, "Active configuration; value is always 1.",
	 .emit = emit_config_info},
	{"sluice_ready", GAUGE, "1 when every configured interface is attached and forwarding.",
	 emit_daemon, OF(struct report, is_ready)},
	{"sluice_degraded", GAUGE, "1 when something is not as configured; the status says what.",
	 emit_daemon, OF(struct report, is_degraded)},
	{"sluice_draining", GAUGE, "1 while the daemon finishes what it holds before it ends.",
	 emit_daemon, OF(struct report, is_draining)},
	{"sluice_config_differs_from_file", GAUGE,
	 "1 when the configuration file is not the one that runs.", emit_daemon,
	 OF(struct report, config_differs_from_file)},
	{"sluice_config_reloads_total", COUNTER, "Configuration reload attempts.", emit_daemon,
	 OF(struct report, n_reloads)},
	{"sluice_config_reload_failures_total", COUNTER,
	 "Configuration reload attempts rejected; the old configuration stayed active.",
	 emit_daemon, OF(struct report, n_reload_failures)},
	{"sluice_config_last_reload_successful", GAUGE,
	 "1 if the latest reload attempt was applied.", emit_daemon,
	 OF(struct report, last_reload_ok)},
	{"sluice_config_last_reload_success_timestamp_seconds", GAUGE,
	 "Unix time of the latest applied configuration.", emit_daemon,
	 OF(struct report, last_reload_unix_s)},
	{"sluice_control_requests_total", COUNTER, "Control socket requests.", emit_daemon,
	 OF(struct report, n_control_requests)},
	{"sluice_control_request_failures_total", COUNTER,
	 "Control socket requests refused or failed.", emit_daemon,
	 OF(struct report, n_control_failures)},
	{"sluice_netlink_resyncs_total", COUNTER,
	 "Times the kernel's notifications overflowed and everything was read again.",
	 .emit = emit_resyncs},
	{"sluice_log_messages_total", COUNTER, "Log messages emitted by level.",
	 .emit = emit_log_messages},
	{"sluice_log_messages_suppressed_total", COUNTER,
	 "Log messages withheld by the per-call-site rate limit.", .emit = emit_log_suppressed},
	{"sluice_scrape_duration_seconds", GAUGE, "Time taken to build this response.",
	 .emit = emit_scrape_duration},
	{"process_cpu_seconds_total", COUNTER, "Total user and system CPU time.", emit_process,
	 OF(struct process_stats, cpu_s)},
	{"process_resident_memory_bytes", GAUGE, "Resident memory.", emit_process,
	 OF(struct process_stats, resident_bytes)},
	{"process_open_fds", GAUGE, "Open file descriptors.", emit_process,
	 OF(struct process_stats, n_open_fds)},
	{"process_max_fds", GAUGE, "File descriptor limit.", emit_process,
	 OF(struct process_stats, n_max_fds)},
	{"process_start_time_seconds", GAUGE, "Start time of the process since the Unix epoch.",
	 emit_daemon, OF(struct report, start_unix_s)},
	{0},
};
