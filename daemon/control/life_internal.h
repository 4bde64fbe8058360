/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The daemon's state, shared by life.c (events), life_reload.c (configuration to configuration) and
 * life_tables.c (questions), and by nobody else. Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>

#include "control/conf.h"
#include "control/ctlsock.h"
#include "control/engine.h"
#include "control/http.h"
#include "control/report.h"
#include "control/splicer.h"
#include "util/topo.h"

struct life {
	sd_event *event;
	struct conf *conf;
	struct links *links;
	struct engine *engine;
	struct splicer *splicer;
	struct ctlsock *ctlsock;
	struct http *http;
	sd_event_source *retry_timer;
	sd_event_source *replan_timer;
	sd_event_source *tick_timer;
	sd_event_source *watchdog_timer;
	sd_event_source *drain_timer;
	uint64_t drain_until_ns; /* then what is left of connections is reset */
	uint64_t told_left_ns;   /* when systemd was last told how many are left */
	uint64_t n_killed_before_drain;
	struct topo topo; /* allowed CPUs as last told */
	uint64_t watchdog_ns;
	bool has_started; /* every port was tried to its end: from now on nothing ends the daemon */
	bool is_ready;    /* READY=1 was said */
	bool is_draining;
	struct stat file_seen;      /* the configuration file when it was last compared … */
	char file_seen_against[65]; /* … with the configuration of this sum */
	bool file_differs;
	char problems[1024]; /* about the whole; "" = none */
	char last_status[REPORT_STATUS_BYTES];
	bool last_reload_ok;
	char last_reload_error[512];
	double last_reload_unix_s;
	double start_unix_s;
	uint64_t begun_ns;
	uint64_t n_reloads, n_reload_failures, n_resyncs;
	uint64_t n_requests, n_request_failures;
};

/* Called after every attempt to build: READY, retries, and at start the end if a port failed. */
void life_after_build(struct life *life);

/* ctlsock_ops.reload, and SIGHUP. */
int life_reload(void *arg, bool dry_run, char *ret_text, size_t size);

/* life_stop.c: the first SIGTERM or SIGINT drains, a second one does not wait. */
int life_on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *arg);

/* life_splice.c: ctlsock_ops of the same names. */
struct json_object *life_flows_json(void *arg, uint32_t max, int *ret_error);
int life_set_draining(void *arg, const char *name, bool is_draining);

/* life_tables.c: ctlsock_ops of the same names. */
struct json_object *life_routes_json(void *arg, const char *filter, uint32_t max, int *ret_error);
struct json_object *life_neighbours_json(void *arg, uint32_t max, int *ret_error);
struct json_object *life_fdb_json(void *arg, const char *bridge, uint32_t max, int *ret_error);
struct json_object *life_explain_json(void *arg, const char *port, const uint8_t *frame,
				      uint32_t len, int *ret_error);
