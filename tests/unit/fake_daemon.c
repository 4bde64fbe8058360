/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake_daemon CONTROL_SOCKET METRICS_LISTEN STATE_DIR
 *
 * The real control socket and the real metrics endpoint over a synthetic daemon, for tests that
 * talk to them from outside. Files in STATE_DIR steer it: `not-ready`, `big` (256 queues a port),
 * `unbalanced`, `no-report` (the report fails), `reload-bad`, `reload-fails`. It prints "ready"
 * when both listen, one line for each change that it is told, and ends on SIGTERM or when its
 * standard input closes.
 */
#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "control/answers.h"
#include "control/ctlsock.h"
#include "control/http.h"
#include "report_world.h"
#include "util/log.h"
#include "util/macros.h"

#define PLAN_BYTES ((size_t)4 << 20)

struct fake {
	const char *state_dir;
	uint64_t n_requests, n_failures;
};

static bool has_flag(const struct fake *fake, const char *flag)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", fake->state_dir, flag);
	return access(path, F_OK) == 0;
}

static int fake_report(void *arg, struct report *ret_report)
{
	struct fake *fake = arg;

	if (has_flag(fake, "no-report"))
		return -EIO;
	report_world_make_sized(ret_report, has_flag(fake, "big") ? 256 : WORLD_QUEUES);
	ret_report->n_control_requests = fake->n_requests;
	ret_report->n_control_failures = fake->n_failures;
	if (has_flag(fake, "not-ready")) {
		ret_report->is_ready = false;
		ret_report->is_degraded = true;
		(void)snprintf(ret_report->status_line, sizeof(ret_report->status_line),
			       "port wan: no carrier");
		(void)snprintf(ret_report->ports[0].problem, sizeof(ret_report->ports[0].problem),
			       "no carrier: \033[31mplug it in");
		ret_report->ports[0].state = PORT_LINK_DOWN;
	}
	if (has_flag(fake, "unbalanced"))
		ret_report->ports[1].queues[2].counters.forwarded += 7;
	return 0;
}

static int fake_reload(void *arg, bool dry_run, char *ret_text, size_t size)
{
	struct fake *fake = arg;

	if (has_flag(fake, "reload-bad")) {
		(void)snprintf(ret_text, size,
			       "sluice.conf:3: [port wan] mod: unknown key\n"
			       "sluice.conf:9: [port lan] mode: 'fast' is no mode");
		return -EINVAL;
	}
	if (has_flag(fake, "reload-fails"))
		return -EIO;
	(void)snprintf(ret_text, size, "%s", dry_run ? "port wan: rebuild" : "1 port rebuilt");
	(void)printf("reload%s\n", dry_run ? " dry-run" : "");
	return 0;
}

static int fake_set_detached(void *arg, const char *port, bool detached)
{
	if (strcmp(port, "wan") != 0 && strcmp(port, "lan") != 0 && strcmp(port, "*") != 0)
		return -ENOENT;
	(void)printf("%s %s\n", detached ? "detach" : "attach", port);
	return 0;
}

/* Longer than any socket buffer: for clients that do not read. */
static char *fake_plan_text(void *arg)
{
	char *text = malloc(PLAN_BYTES + 1);

	if (!text)
		return NULL;
	memset(text, 'x', PLAN_BYTES);
	text[PLAN_BYTES] = '\0';
	return text;
}

static char *fake_config_json(void *arg)
{
	return strdup("{\"daemon\": {\"workers\": \"auto\"}}");
}

/* 1500 of them, 10.X.Y.0/24; a filter is shown in the first row. */
static struct json_object *fake_routes(void *arg, const char *filter, uint32_t max, int *ret_error)
{
	struct json_object *rows = json_object_new_array();
	char text[512];

	if (filter && strcmp(filter, "nonsense") == 0) {
		json_object_put(rows);
		*ret_error = -EINVAL;
		return NULL;
	}
	for (uint32_t i = 0; i < MIN(max, 1500U); i++) {
		(void)snprintf(text, sizeof(text),
			       "{\"prefix\": \"%s\", \"type\": \"unicast\", \"table\": 254, "
			       "\"metric\": %u, \"best\": true, \"nexthop\": {\"kind\": \"via\", "
			       "\"gateway\": \"10.0.0.1\", \"device\": \"eth1\", "
			       "\"neighbour\": \"resolved\"}}",
			       i == 0 && filter ? filter : "10.1.2.0/24", i);
		(void)json_object_array_add(rows, json_tokener_parse(text));
	}
	return rows;
}

static struct json_object *fake_neighbours(void *arg, uint32_t max, int *ret_error)
{
	return json_tokener_parse("[{\"address\": \"10.0.0.1\", \"interface\": \"eth1\", "
				  "\"mac\": \"02:00:00:00:00:09\", \"state\": \"reachable\", "
				  "\"usable\": true}]");
}

static struct json_object *fake_fdb(void *arg, const char *bridge, uint32_t max, int *ret_error)
{
	if (!bridge || strcmp(bridge, "br") == 0)
		return json_tokener_parse("[{\"bridge\": \"br\", \"mac\": \"02:00:00:00:00:09\", "
					  "\"port\": \"lan\", \"static\": false, \"age_s\": 7}]");
	*ret_error = -ENOENT;
	return NULL;
}

static struct json_object *fake_flows(void *arg, uint32_t max, int *ret_error)
{
	static const struct splice_flow_row row = {
		.acceptor = 1,
		.listener = "web",
		.backend = "app",
		.server = "s1",
		.client = {.family = 4, .port = 4000, .addr.octet = {192, 0, 2, 7}},
		.upstream = {.family = 6, .port = 443, .addr.octet = {[15] = 1}},
		.name = "www.example.org",
		.state = "open",
		.engine = {SPLICE_SOCKMAP, SPLICE_COPY},
		.bytes = {2048, 7},
		.parked = 5,
		.age_ns = 1500000000,
		.idle_ns = 500000000,
		.srtt_us = {1234, 56789},
		.n_retransmits = {3, 0},
		.by_sockops = {true, false},
	};
	struct json_object *rows = json_object_new_array();

	for (uint32_t i = 0; i < MIN(max, 2000U); i++)
		(void)json_object_array_add(rows, answer_flow(&row));
	return rows;
}

static int fake_set_draining(void *arg, const char *name, bool is_draining)
{
	if (strcmp(name, "app/s1") != 0)
		return -ENOENT;
	(void)printf("%s %s\n", is_draining ? "drain" : "undrain", name);
	return 0;
}

/* Shows what arrived as what would leave. */
static struct json_object *fake_explain(void *arg, const char *port, const uint8_t *frame,
					uint32_t len, int *ret_error)
{
	struct json_object *object, *worker;
	char hex[2 * 2048 + 1] = "";

	if (strcmp(port, "wan") != 0) {
		*ret_error = -ENOENT;
		return NULL;
	}
	for (uint32_t i = 0; i < len; i++)
		(void)snprintf(hex + 2 * (size_t)i, 3, "%02x", frame[i]);
	object = json_tokener_parse(
		"{\"xdp\": {\"verdict\": \"redirect\", "
		"\"meaning\": \"sent to the worker\", \"action\": \"redirect\"}}");
	worker = json_tokener_parse("{\"verdict\": \"forward\", \"out_port\": \"lan\"}");
	(void)json_object_object_add(worker, "out_frame", json_object_new_string(hex));
	(void)json_object_object_add(object, "worker", worker);
	return object;
}

static void fake_counted(void *arg, bool ok)
{
	struct fake *fake = arg;

	fake->n_requests++;
	fake->n_failures += !ok;
}

static const struct ctlsock_ops ops = {
	.report = fake_report,
	.reload = fake_reload,
	.set_detached = fake_set_detached,
	.plan_text = fake_plan_text,
	.config_json = fake_config_json,
	.routes_json = fake_routes,
	.neighbours_json = fake_neighbours,
	.fdb_json = fake_fdb,
	.explain_json = fake_explain,
	.flows_json = fake_flows,
	.set_draining = fake_set_draining,
	.counted = fake_counted,
};

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	char byte;

	return read(fd, &byte, 1) > 0 ? 0 : sd_event_exit(sd_event_source_get_event(source), 0);
}

int main(int argc, char *argv[])
{
	struct fake fake = {.state_dir = argc == 4 ? argv[3] : "/"};
	struct ctlsock *ctlsock = NULL;
	struct http *http = NULL;
	sd_event *event = NULL;
	sigset_t signals;
	int r;

	if (argc != 4)
		return EXIT_FAILURE;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	log_init(LOG_LEVEL_DEBUG);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	r = sd_event_new(&event);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_io(event, NULL, STDIN_FILENO, EPOLLIN, on_input, NULL);
	if (r >= 0)
		r = ctlsock_open(event, argv[1], &ops, &fake, &ctlsock);
	if (r >= 0)
		r = http_open(event, argv[2], fake_report, &fake, &http);
	if (r >= 0) {
		(void)puts("ready");
		r = sd_event_loop(event);
	}
	if (r < 0)
		(void)printf("failed: %s\n", strerrorname_np(-r));
	http_close(http);
	ctlsock_close(ctlsock);
	sd_event_unref(event);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
