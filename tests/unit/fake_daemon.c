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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <systemd/sd-event.h>
#include <unistd.h>

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
