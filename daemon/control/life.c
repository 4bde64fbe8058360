/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop and what it holds together. Each handler ends in one of three things: a plan that
 * is applied, a report that is rendered, or the end.
 */
#include "control/life.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "control/caps.h"
#include "control/file_limit.h"
#include "control/life_internal.h"
#include "control/planner.h"
#include "control/report.h"
#include "control/status.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "life"

/* One burst of link events (a device with 64 queues makes dozens) becomes one new plan. */
#define DEBOUNCE_NS (10 * NSEC_PER_MSEC)
#define TICK_NS     NSEC_PER_SEC
/* While something is waited for, systemd is asked for this much more time at each tick. */
#define EXTEND_TIMEOUT_US 15000000
#define EVENTS_PER_TURN   16
/* As long as for a queue that is busy: udev has renamed its interfaces by then. */
#define ABSENT_PATIENCE_NS (5 * NSEC_PER_SEC)

/* --- Reports ------------------------------------------------------------------------------------
 */

/*
 * Read again only when the file's inode, size or time of change differ from those of the last
 * look: this is asked once a second.
 */
static bool file_has_changed(struct life *life)
{
	const struct conf *conf = life->conf;
	struct conf_errors errors = {0};
	struct conf *file = NULL;
	struct stat now;

	if (stat(conf->path, &now) < 0)
		return true;
	if (now.st_ino == life->file_seen.st_ino && now.st_size == life->file_seen.st_size &&
	    now.st_mtim.tv_sec == life->file_seen.st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == life->file_seen.st_mtim.tv_nsec &&
	    strcmp(conf->sha256, life->file_seen_against) == 0)
		return life->file_differs;
	life->file_differs = conf_load(conf->path, &file, &errors) < 0 ||
			     strcmp(file->sha256, conf->sha256) != 0;
	life->file_seen = now;
	memcpy(life->file_seen_against, conf->sha256, sizeof(life->file_seen_against));
	conf_free(file);
	conf_errors_fini(&errors);
	return life->file_differs;
}

static int make_report(void *arg, struct report *ret_report)
{
	struct life *life = arg;
	int r;

	*ret_report = (struct report){
		.is_ready =
			life->is_ready && !life->is_draining && engine_is_complete(life->engine),
		.is_draining = life->is_draining,
		.config_path = life->conf->path,
		.config_differs_from_file = file_has_changed(life),
		.last_reload_ok = life->last_reload_ok,
		.n_reloads = life->n_reloads,
		.n_reload_failures = life->n_reload_failures,
		.last_reload_unix_s = life->last_reload_unix_s,
		.start_unix_s = life->start_unix_s,
		.n_control_requests = life->n_requests,
		.n_control_failures = life->n_request_failures,
		.n_netlink_resyncs = life->n_resyncs,
	};
	memcpy(ret_report->config_sha256, life->conf->sha256, sizeof(ret_report->config_sha256));
	memcpy(ret_report->last_reload_error, life->last_reload_error,
	       sizeof(ret_report->last_reload_error));
	r = engine_report(life->engine, ret_report);
	if (r == 0)
		r = splicer_report(life->splicer, &ret_report->splice);
	if (r < 0) {
		report_fini(ret_report);
		return r;
	}
	status_summarise(ret_report, life->problems);
	return 0;
}

/*
 * All is bound; or all but ports whose interfaces do not exist, and those were waited for. The
 * network of the host is ordered behind READY (Before=network.target), so a card that was pulled
 * must not keep it, and the way into the host, from coming up. STATUS= and /readyz say what is
 * missing.
 */
static bool may_say_ready(const struct life *life)
{
	return engine_is_complete(life->engine) ||
	       (engine_lacks_only_interfaces(life->engine) &&
		clock_now_ns() - life->begun_ns > ABSENT_PATIENCE_NS);
}

/* READY=1 as soon as it may be said; STATUS= whenever the line changes. */
static void tell_systemd(struct life *life)
{
	struct report report;

	if (!life->is_ready && may_say_ready(life)) {
		life->is_ready = true;
		(void)sd_notify(0, "READY=1");
		log_notice("ready");
	}
	/* While it stops, life_stop.c tells. */
	if (life->is_draining || make_report(life, &report) < 0)
		return;
	if (strcmp(report.status_line, life->last_status) != 0) {
		memcpy(life->last_status, report.status_line, sizeof(life->last_status));
		(void)sd_notifyf(0, "STATUS=%s%s", report.is_degraded ? "DEGRADED: " : "",
				 report.status_line);
		log_info("%s", report.status_line);
	}
	report_fini(&report);
}

/* --- Retries, start-up ----------------------------------------------------------------------- */

static void end(struct life *life, int status)
{
	(void)sd_event_exit(life->event, status);
}

/* Is any port still within its 5 s of patience? */
static bool is_trying(const struct life *life)
{
	uint64_t next_ns = engine_next_retry_ns(life->engine);

	return next_ns != 0 && !engine_has_failed(life->engine);
}

/*
 * Called after every attempt to build. At start a port that cannot be built ends the daemon, so
 * that a wrong configuration is seen at once and leaves nothing attached; later the others go on.
 */
void life_after_build(struct life *life)
{
	uint64_t next_ns = engine_next_retry_ns(life->engine);

	if (!life->has_started && engine_has_failed(life->engine)) {
		log_err("a port cannot be built: giving up, what this start attached is taken off");
		end(life, EXIT_FAILURE);
		return;
	}
	if (!is_trying(life))
		life->has_started = true;
	if (next_ns) {
		(void)sd_event_source_set_time(life->retry_timer, next_ns / NSEC_PER_USEC);
		(void)sd_event_source_set_enabled(life->retry_timer, SD_EVENT_ONESHOT);
	}
	tell_systemd(life);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *arg)
{
	struct life *life = arg;

	engine_retry(life->engine);
	life_after_build(life);
	return 0;
}

/* --- Link events ----------------------------------------------------------------------------- */

/*
 * The first event sets the time, those that follow are in the same plan: a burst is planned for
 * once, and a flood that does not end cannot put it off.
 */
static void replan_within(struct life *life, uint64_t delay_ns)
{
	int enabled = SD_EVENT_OFF;

	if (sd_event_source_get_enabled(life->replan_timer, &enabled) > 0)
		return;
	(void)sd_event_source_set_time_relative(life->replan_timer, delay_ns / NSEC_PER_USEC);
	(void)sd_event_source_set_enabled(life->replan_timer, SD_EVENT_ONESHOT);
}

/* No event tells of a changed cpuset or affinity: it is asked for. */
static bool cpus_have_changed(struct life *life)
{
	char before[256], after[256];
	struct topo topo;

	if (topo_read("/sys", &topo) < 0 || topo_same_allowed(&topo, &life->topo))
		return false;
	log_warning("the CPUs that this service may use changed from %s to %s",
		    topo_format_allowed(&life->topo, before, sizeof(before)),
		    topo_format_allowed(&topo, after, sizeof(after)));
	life->topo = topo;
	return true;
}

static int on_replan(sd_event_source *source, uint64_t usec, void *arg)
{
	struct life *life = arg;
	const struct plan *current = engine_plan(life->engine);
	struct plan_notes notes = {0};
	struct plan *plan = NULL;
	char problems[sizeof(life->problems)];
	int r;

	(void)cpus_have_changed(life); /* the plan is about to see it */
	r = planner_remake(life->links, current, &plan, &notes);
	if (r < 0 && r != -EINVAL) {
		log_warning(
			"cannot plan after a link event: %s, keeping the plan in force for %u ms",
			strerror(-r), (unsigned)(TICK_NS / NSEC_PER_MSEC));
		plan_notes_fini(&notes);
		replan_within(life, TICK_NS);
		return 0;
	}
	(void)planner_error_text(&notes, problems, sizeof(problems));
	if (strcmp(problems, life->problems) != 0) {
		memcpy(life->problems, problems, sizeof(problems));
		planner_log_notes(&notes, false);
	}
	if (r == 0 && planner_differs(current, plan)) {
		planner_log_changes(current, plan);
		(void)engine_apply(life->engine, TAKE_PTR(plan));
	}
	plan_free(plan);
	plan_notes_fini(&notes);
	life_after_build(life);
	return 0;
}

static void note_link(const char *interface, void *arg)
{
	struct life *life = arg;
	bool is_ours = !interface;

	life->n_resyncs += !interface;
	for (unsigned i = 0; interface && i < life->conf->n_ports; i++)
		is_ours |= strcmp(life->conf->ports[i].interface, interface) == 0;
	if (is_ours)
		replan_within(life, DEBOUNCE_NS);
}

static int on_links(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	struct life *life = arg;

	/* Bounded per turn; what is left wakes the loop again. */
	for (unsigned i = 0; i < EVENTS_PER_TURN; i++) {
		if (links_drain(life->links, note_link, life) <= 0)
			break;
	}
	return 0;
}

/* --- What the control socket may do ---------------------------------------------------------- */

static int set_detached(void *arg, const char *port, bool detached)
{
	struct life *life = arg;
	int r = engine_set_detached(life->engine, port, detached);

	tell_systemd(life);
	return r;
}

static char *plan_text(void *arg)
{
	const struct life *life = arg;
	const struct plan_notes none = {0};
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	plan_print(engine_plan(life->engine), &none, out);
	return fclose(out) == 0 ? text : NULL;
}

static char *config_json(void *arg)
{
	const struct life *life = arg;
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out)
		return NULL;
	r = conf_dump_json(life->conf, out);
	return fclose(out) == 0 && r == 0 ? TAKE_PTR(text) : NULL;
}

static void counted(void *arg, bool ok)
{
	struct life *life = arg;

	life->n_requests++;
	life->n_request_failures += !ok;
}

/* --- Timers and signals ---------------------------------------------------------------------- */

static int on_tick(sd_event_source *source, uint64_t usec, void *arg)
{
	struct life *life = arg;

	if (cpus_have_changed(life))
		replan_within(life, DEBOUNCE_NS);
	if (!life->is_ready)
		(void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%d", EXTEND_TIMEOUT_US);
	engine_retry(life->engine);
	life_after_build(life);
	(void)sd_event_source_set_time_relative(source, TICK_NS / NSEC_PER_USEC);
	return 0;
}

/* Never the automatic watchdog: that one proves only that this loop turns. */
static int on_watchdog(sd_event_source *source, uint64_t usec, void *arg)
{
	struct life *life = arg;
	const char *silent = NULL;

	bool workers_beat = engine_all_beating(life->engine, &silent);

	/* Both are asked, so that both remember this moment. */
	if (splicer_all_beating(life->splicer, &silent) && workers_beat)
		(void)sd_notify(0, "WATCHDOG=1");
	else
		log_warning("the thread %s has not moved for %llu ms: the watchdog is not fed",
			    silent, (unsigned long long)(life->watchdog_ns / NSEC_PER_MSEC));
	(void)sd_event_source_set_time_relative(source, life->watchdog_ns / NSEC_PER_USEC);
	return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	char text[4096];

	(void)life_reload(arg, false, text, sizeof(text));
	return 0;
}

/* --- Order of life --------------------------------------------------------------------------- */

static int add_timer(struct life *life, sd_event_time_handler_t fn, uint64_t first_ns,
		     sd_event_source **ret_timer)
{
	int r = sd_event_add_time_relative(life->event, ret_timer, CLOCK_MONOTONIC,
					   first_ns / NSEC_PER_USEC, 1000, fn, life);

	if (r < 0)
		return r;
	return sd_event_source_set_enabled(*ret_timer, first_ns ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int add_links(struct life *life)
{
	const int fds[] = {links_event_fd(life->links), links_ethtool_event_fd(life->links)};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		int r = fds[i] < 0 ?
				0 :
				sd_event_add_io(life->event, NULL, fds[i], EPOLLIN, on_links, life);

		if (r < 0)
			return r;
	}
	return 0;
}

static int add_sources(struct life *life)
{
	uint64_t watchdog_us = 0;
	int r;

	if ((r = sd_event_add_signal(life->event, NULL, SIGTERM, life_on_stop, life)) < 0 ||
	    (r = sd_event_add_signal(life->event, NULL, SIGINT, life_on_stop, life)) < 0 ||
	    (r = sd_event_add_signal(life->event, NULL, SIGHUP, on_hangup, life)) < 0 ||
	    (r = add_timer(life, on_retry, 0, &life->retry_timer)) < 0 ||
	    (r = add_timer(life, on_replan, 0, &life->replan_timer)) < 0 ||
	    (r = add_timer(life, on_tick, TICK_NS, &life->tick_timer)) < 0 ||
	    (r = add_links(life)) < 0)
		return r;
	if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
		life->watchdog_ns = watchdog_us * NSEC_PER_USEC / 3;
		r = add_timer(life, on_watchdog, life->watchdog_ns, &life->watchdog_timer);
	}
	return r;
}

static void runtime_dir_of(const struct conf *conf, char *buf, size_t size)
{
	char *slash;

	snprintf(buf, size, "%s", conf->daemon.control_socket);
	slash = strrchr(buf, '/'); /* the path is absolute: conf_check_path() */
	*slash = '\0';
}

static int open_engine(struct life *life)
{
	char runtime_dir[CONF_PATH_BYTES];
	struct engine_options options = {
		.bpf_dir = life->conf->daemon.bpf_dir,
		.runtime_dir = runtime_dir,
	};
	int r = links_open(&life->links);

	if (r < 0)
		return log_err_errno(r, "cannot open netlink: %m");
	options.links = life->links;
	runtime_dir_of(life->conf, runtime_dir, sizeof(runtime_dir));
	/* systemd makes it (RuntimeDirectory=); by hand it may be missing. */
	(void)mkdir(runtime_dir, 0755);
	return engine_new(&options, &life->engine);
}

/* Addresses that cannot be had are found before a port is touched. */
static int first_plan(struct life *life)
{
	struct plan_notes notes = {0};
	struct splicer_next *splice = NULL;
	struct plan *plan = NULL;
	char text[512];
	int r = planner_make(life->links, NULL, life->conf, &plan, &notes);

	planner_log_notes(&notes, true);
	plan_notes_fini(&notes);
	if (r < 0) {
		plan_free(plan);
		return r == -EINVAL ? r : log_err_errno(r, "cannot plan: %m");
	}
	file_limit_check(plan);
	r = splicer_prepare(life->splicer, life->conf, plan, &life->topo, &splice, text,
			    sizeof(text));
	if (r < 0) {
		log_err("%s", text);
		plan_free(plan);
		return r;
	}
	(void)engine_apply(life->engine, plan);
	r = splicer_commit(life->splicer, splice);
	return r < 0 ? log_err_errno(r, "cannot serve listeners: %m") : 0;
}

static const struct ctlsock_ops ctlsock_ops = {
	.report = make_report,
	.reload = life_reload,
	.set_detached = set_detached,
	.plan_text = plan_text,
	.config_json = config_json,
	.routes_json = life_routes_json,
	.neighbours_json = life_neighbours_json,
	.fdb_json = life_fdb_json,
	.explain_json = life_explain_json,
	.flows_json = life_flows_json,
	.set_draining = life_set_draining,
	.counted = counted,
};

static int open_sockets(struct life *life)
{
	const struct conf_daemon *daemon = &life->conf->daemon;
	int r;

	r = ctlsock_open(life->event, daemon->control_socket, &ctlsock_ops, life, &life->ctlsock);
	if (r < 0)
		return log_err_errno(r, "control socket %s: %m", daemon->control_socket);
	if (!daemon->metrics_listen[0])
		return 0;
	r = http_open(life->event, daemon->metrics_listen, make_report, life, &life->http);
	if (r < 0)
		return log_err_errno(r, "metrics on %s: %m", daemon->metrics_listen);
	return 0;
}

static int start(struct life *life)
{
	char missing[CAPS_TEXT_BYTES];
	int r;

	life->begun_ns = clock_now_ns();
	life->last_reload_ok = true;
	life->start_unix_s = life->last_reload_unix_s = clock_unix_s();
	(void)topo_read("/sys", &life->topo);
	if (caps_check(life->conf, missing, sizeof(missing)) > 0) {
		for (char *rest = missing, *line; (line = strsep(&rest, "\n"));)
			log_err("%s", line);
		return -EPERM;
	}
	caps_note_slowness(life->conf);
	if ((r = sd_event_default(&life->event)) < 0 || (r = open_engine(life)) < 0)
		return r;
	r = splicer_new(life->event, &life->splicer);
	if (r < 0)
		return log_err_errno(r, "cannot prepare for listeners: %m");
	/* Another daemon that answers here would fight over the same ports: found before touching
	 * any. */
	if ((r = open_sockets(life)) < 0 || (r = add_sources(life)) < 0)
		return r;
	if ((r = first_plan(life)) < 0)
		return r;
	life_after_build(life);
	return 0;
}

static void stop(struct life *life)
{
	(void)sd_notify(0, "STOPPING=1");
	life->is_draining = true;
	http_close(life->http);
	ctlsock_close(life->ctlsock);
	splicer_free(life->splicer);
	engine_free(life->engine, !life->has_started);
	if (!life->has_started)
		life_tell_what_stays(life->conf);
	links_close(life->links);
	sd_event_source_unref(life->retry_timer);
	sd_event_source_unref(life->replan_timer);
	sd_event_source_unref(life->tick_timer);
	sd_event_source_unref(life->watchdog_timer);
	sd_event_source_unref(life->drain_timer);
	sd_event_unref(life->event);
	conf_free(life->conf);
}

int life_run(struct conf *conf)
{
	struct life life = {.conf = conf};
	int status = EXIT_FAILURE;
	sigset_t signals;

	/* Before any thread exists, so that every thread inherits the block. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);

	file_limit_raise();
	if (start(&life) == 0) {
		status = sd_event_loop(life.event);
		if (status < 0)
			status = EXIT_FAILURE;
	}
	stop(&life);
	return status;
}
