/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The scrape endpoint. Thread: control; owns the listening socket and libmicrohttpd's daemon.
 *
 * libmicrohttpd runs no thread: its epoll descriptor is one sd-event source, and one timer stands
 * for its timeouts (without it nothing would wake to close a silent client; spikes.md §6). We open
 * the socket ourselves, because MHD_start_daemon() cannot say why it failed.
 *
 * An answer is built whole, then sent as the client takes it, so a slow reader holds its own text
 * and nothing else.
 */
#include "control/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>

#include "control/metrics.h"
#include "control/report.h"
#include "control/tcp_listen.h"
#include "control/unix_listen.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "http"

#define MAX_CONNECTIONS 64
#define TIMEOUT_S       5
/*
 * libmicrohttpd keeps a connection's request and the headers of its answer in one pool: a request
 * of 4 KiB and some 300 bytes of headers fit, a longer one is refused with 414 or 431, or closed
 * if it left no room to say so.
 */
#define POOL_BYTES ((size_t)5 * 1024)
#define UNIX_MODE  0660
/* Turns of libmicrohttpd in one of ours; then the other sources of the loop are served. */
#define MAX_TURNS         64
#define TIMER_ACCURACY_US 1000 /* sd-event's default is 250 ms, too long for "at once" */

struct http {
	http_report_fn fn;
	void *arg;
	struct unix_listener listener; /* its path is empty for TCP */
	struct MHD_Daemon *daemon;
	sd_event *event;
	sd_event_source *io;
	sd_event_source *timer;
};

/* --- What is served ------------------------------------------------------------------------------
 */

struct answer {
	unsigned status;
	const char *content_type;
	char *text; /* owned */
	size_t len;
};

struct route {
	const char *path;
	bool needs_report;
	const char *content_type;
	/* Writes the text and returns the HTTP status, or -errno. */
	int (*write)(const struct report *report, FILE *out);
};

static int write_index(const struct report *report, FILE *out)
{
	(void)fputs("sluiced\n\n"
		    "/metrics  Prometheus text format 0.0.4\n"
		    "/healthz  200 while the control thread answers\n"
		    "/readyz   200 when everything configured is attached and forwarding\n",
		    out);
	return MHD_HTTP_OK;
}

static int write_metrics(const struct report *report, FILE *out)
{
	int r = metrics_render(report, out);

	return r < 0 ? r : MHD_HTTP_OK;
}

static int write_health(const struct report *report, FILE *out)
{
	(void)fputs("alive\n", out);
	return MHD_HTTP_OK;
}

static int write_readiness(const struct report *report, FILE *out)
{
	(void)fprintf(out, "%s\n", report->status_line);
	return report->is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

#define PLAIN "text/plain; charset=utf-8"

static const struct route routes[] = {
	{"/", false, PLAIN, write_index},
	/* Prometheus 3 fails a scrape whose content type it does not know. */
	{"/metrics", true, "text/plain; version=0.0.4; charset=utf-8", write_metrics},
	{"/healthz", false, PLAIN, write_health},
	{"/readyz", true, PLAIN, write_readiness},
};

static const struct route *find_route(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strcmp(routes[i].path, path) == 0)
			return &routes[i];
	}
	return NULL;
}

static int build_answer(struct http *http, const struct route *route, struct answer *ret_answer)
{
	struct answer answer = {.content_type = route->content_type};
	struct report report = {0};
	int r = 0, status = -ENOMEM;
	FILE *out;

	if (route->needs_report) {
		uint64_t begun_ns = clock_now_ns();

		r = http->fn(http->arg, &report);
		if (r < 0)
			return r;
		report.begun_ns = begun_ns;
	}
	out = open_memstream(&answer.text, &answer.len);
	if (out) {
		status = route->write(&report, out);
		if (fclose(out) == EOF && status >= 0)
			status = -ENOMEM;
	}
	report_fini(&report);
	if (status < 0) {
		free(answer.text);
		return status;
	}
	answer.status = (unsigned)status;
	*ret_answer = answer;
	return 0;
}

/* --- libmicrohttpd's side -------------------------------------------------------------------- */

/* Takes answer->text. */
static enum MHD_Result send_answer(struct MHD_Connection *connection, struct answer *answer)
{
	enum MHD_Result result = MHD_NO;
	struct MHD_Response *response =
		MHD_create_response_from_buffer(answer->len, answer->text, MHD_RESPMEM_MUST_FREE);

	if (!response) {
		free(answer->text);
		return MHD_NO;
	}
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type) ==
		    MHD_YES &&
	    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") ==
		    MHD_YES &&
	    (answer->status != MHD_HTTP_METHOD_NOT_ALLOWED ||
	     MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") == MHD_YES))
		result = MHD_queue_response(connection, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
				 const char *text)
{
	struct answer answer = {
		.status = status,
		.content_type = PLAIN,
		.text = strdup(text),
		.len = strlen(text),
	};

	return answer.text ? send_answer(connection, &answer) : MHD_NO;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_bytes, void **request)
{
	static const char seen;
	struct http *http = arg;
	const struct route *route;
	struct answer answer;
	int r;

	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				 "only GET and HEAD are served here\n");
	/* The first call is for the headers alone; answering there would end keep-alive. */
	if (*request == NULL) {
		*request = (void *)(uintptr_t)&seen;
		return MHD_YES;
	}
	if (*upload_bytes > 0) {
		*upload_bytes = 0;
		return MHD_YES;
	}
	route = find_route(url);
	if (!route)
		return send_text(connection, MHD_HTTP_NOT_FOUND,
				 "not found; there is /metrics, /healthz and /readyz\n");
	r = build_answer(http, route, &answer);
	if (r < 0) {
		(void)log_err_errno(r, "%s: cannot be answered: %m", route->path);
		return send_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
				 "the daemon cannot say now; its log has the reason\n");
	}
	return send_answer(connection, &answer);
}

/* No path of ours has an escape in it, and none shall become one by a %00. */
static size_t keep_escaped(void *arg, struct MHD_Connection *connection, char *text)
{
	return strlen(text);
}

static __attribute__((format(printf, 2, 0))) void on_log(void *arg, const char *fmt, va_list ap)
{
	char text[256];
	size_t len;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	len = strlen(text);
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	/* Peers cause these (resets, broken requests): not the operator's business by default. */
	log_debug("libmicrohttpd: %s", text);
}

/* --- sd-event's side ------------------------------------------------------------------------- */

static int rearm_timer(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;
	int r;

	if (MHD_get_timeout(http->daemon, &timeout_ms) != MHD_YES)
		return sd_event_source_set_enabled(http->timer, SD_EVENT_OFF);
	r = sd_event_source_set_time_relative(http->timer, (uint64_t)timeout_ms * 1000);
	return r < 0 ? r : sd_event_source_set_enabled(http->timer, SD_EVENT_ONESHOT);
}

static unsigned count_connections(const struct http *http)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);

	return info ? info->num_connections : 0;
}

/* Its epoll set is edge-triggered: what it has not read yet it keeps in a list, and asks for 0 ms.
 */
static bool wants_another_turn(const struct http *http)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	return MHD_get_timeout(http->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0;
}

/*
 * A turn is followed by another while libmicrohttpd asks for it, and when a connection has ended:
 * at its limit it stops listening, and takes that up only at the beginning of a turn.
 */
static int run(struct http *http)
{
	int r;

	for (unsigned turn = 0; turn < MAX_TURNS; turn++) {
		unsigned n_before = count_connections(http);

		if (MHD_run(http->daemon) != MHD_YES)
			log_warning("libmicrohttpd could not run a turn, continuing");
		if (count_connections(http) >= n_before && !wants_another_turn(http))
			break;
	}
	r = rearm_timer(http);
	if (r < 0)
		(void)log_err_errno(r, "cannot arm the timer: %m, idle clients may stay");
	return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	return run(arg);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *arg)
{
	return run(arg);
}

static int open_listener(const char *listen, struct unix_listener *ret_listener)
{
	static const char prefix[] = "unix:";
	struct unix_listener listener = UNIX_LISTENER_NONE;
	int r;

	if (strncmp(listen, prefix, sizeof(prefix) - 1) == 0)
		return unix_listen(listen + sizeof(prefix) - 1, UNIX_MODE, ret_listener);
	r = tcp_listen_loopback(listen, &listener.fd);
	if (r < 0)
		return r;
	*ret_listener = listener;
	return 0;
}

static int add_sources(struct http *http)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int r;

	if (!info)
		return -EOPNOTSUPP;
	r = sd_event_add_io(http->event, &http->io, info->epoll_fd, EPOLLIN, on_io, http);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(http->event, &http->timer, CLOCK_MONOTONIC, 0,
				       TIMER_ACCURACY_US, on_timer, http);
	return r < 0 ? r : rearm_timer(http);
}

int http_open(sd_event *event, const char *listen, http_report_fn fn, void *arg,
	      struct http **ret_http)
{
	struct http *http = calloc(1, sizeof(*http));
	int r;

	if (!http)
		return -ENOMEM;
	http->fn = fn;
	http->arg = arg;
	http->event = sd_event_ref(event);
	http->listener = UNIX_LISTENER_NONE;
	r = open_listener(listen, &http->listener);
	if (r < 0)
		goto fail;
	http->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, http,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_UNESCAPE_CALLBACK,
		keep_escaped, NULL, MHD_OPTION_LISTEN_SOCKET, http->listener.fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES, MHD_OPTION_END);
	if (!http->daemon) {
		r = -ENOMEM;
		goto fail;
	}
	r = add_sources(http);
	if (r < 0)
		goto fail;
	*ret_http = http;
	return 0;
fail:
	http_close(http);
	return r;
}

void http_close(struct http *http)
{
	if (!http)
		return;
	sd_event_source_disable_unref(http->io);
	sd_event_source_disable_unref(http->timer);
	if (http->daemon) {
		/* The socket is ours again, else stopping would close it under the listener. */
		(void)MHD_quiesce_daemon(http->daemon);
		MHD_stop_daemon(http->daemon);
	}
	unix_listener_close(&http->listener);
	sd_event_unref(http->event);
	free(http);
}
