/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket: a unix stream socket, one request line in, one JSON object out, close.
 * The file's mode and group are the policy (0660); each request that changes state is logged with
 * the peer's uid and pid (SO_PEERCRED).
 *
 *   request   verb and arguments separated by blanks, at most 4 KiB, ended by a newline: "detach
 * wan" answer    {"api": 1, "ok": true, …} or {"api": 1, "ok": false, "code": "…", "error": "…"}
 *
 * Limits: 16 clients, 5 s each. A slow or silent client costs a timer, nothing else.
 * Verbs are rows of one table in ctlverb.c.
 *
 * Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctlsock;
struct json_object;
struct report;
typedef struct sd_event sd_event;

/* What the verbs do to the daemon; implemented by control/life.c. `arg` is passed through. */
struct ctlsock_ops {
	/* A fresh report; the socket calls report_fini(). */
	int (*report)(void *arg, struct report *ret_report);
	/*
	 * Reads the configured file again and applies it, synchronously. -EINVAL: refused, nothing
	 * has changed; `ret_text` says why (all lines), or what was done. `dry_run` only says it.
	 */
	int (*reload)(void *arg, bool dry_run, char *ret_text, size_t size);
	/* The panic switch and its opposite. -ENOENT: no such port. "*" is every port. */
	int (*set_detached)(void *arg, const char *port, bool detached);
	/* The plan's text (plan_print). Returns a string to be freed, or NULL. */
	char *(*plan_text)(void *arg);
	/* The running configuration (conf_dump_json). A string to be freed, or NULL. May be NULL.
	 */
	char *(*config_json)(void *arg);
	/*
	 * What the tables know (control/tables.h), at most `max` rows; the objects are the
	 * caller's. NULL and *ret_error: -ENOMEM; -EINVAL, no such prefix in `filter` (NULL = all);
	 * -ENOENT, no such bridge (NULL = all); -ENODEV, no port routes or bridges.
	 */
	struct json_object *(*routes_json)(void *arg, const char *filter, uint32_t max,
					   int *ret_error);
	struct json_object *(*neighbours_json)(void *arg, uint32_t max, int *ret_error);
	struct json_object *(*fdb_json)(void *arg, const char *bridge, uint32_t max,
					int *ret_error);
	/*
	 * What becomes of a frame that a port receives: {"xdp": {"verdict": …, "action": …},
	 * "worker": tables_explain()}, the latter if XDP redirects it. NULL and *ret_error:
	 * -ENOENT, no such port; -ENODEV, it has no program or no tables; -EINVAL, a frame that
	 * none can be.
	 */
	struct json_object *(*explain_json)(void *arg, const char *port, const uint8_t *frame,
					    uint32_t len, int *ret_error);
	/* Live connections, at most `max`, as rows; the object is the caller's. NULL and
	 * *ret_error: -ENOMEM; -ENODEV, there is no listener. */
	struct json_object *(*flows_json)(void *arg, uint32_t max, int *ret_error);
	/* Takes "BACKEND" or "BACKEND/SERVER" out of service for new connections, or back.
	 * -ENOENT. */
	int (*set_draining)(void *arg, const char *name, bool is_draining);
	/* Every request is told here, for the counters of the report. */
	void (*counted)(void *arg, bool ok);
};

/* Creates the socket (a stale one is replaced, a living one is -EADDRINUSE), mode 0660. */
int ctlsock_open(sd_event *event, const char *path, const struct ctlsock_ops *ops, void *arg,
		 struct ctlsock **ret_ctlsock);
/* Closes and unlinks. */
void ctlsock_close(struct ctlsock *ctlsock);
