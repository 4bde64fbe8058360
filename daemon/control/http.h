/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GET /metrics, /healthz, /readyz on a loopback TCP address or a unix socket: libmicrohttpd in
 * external-epoll mode, driven by sd-event, no thread of its own.
 *
 * Limits (operations.md §5.3): 64 connections, 5 s each, 2 answers being built at a time is
 * given by the single thread; requests over 4 KiB and methods other than GET and HEAD are refused.
 *
 * Thread: control.
 */
#pragma once

struct http;
struct report;
typedef struct sd_event sd_event;

/* Fills a fresh report for one answer; the server calls report_fini(). -errno → 503. */
typedef int (*http_report_fn)(void *arg, struct report *ret_report);

/*
 * `listen` is conf_daemon.metrics_listen: "127.0.0.1:9733", "[::1]:9733" or "unix:/path" (mode
 * 0660, a stale socket file is replaced, a living one is -EADDRINUSE). -EADDRNOTAVAIL: not a
 * loopback address.
 */
int http_open(sd_event *event, const char *listen, http_report_fn fn, void *arg,
	      struct http **ret_http);
void http_close(struct http *http);
