/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the requests of the control socket mean: the table of verbs. Private to control/ctl*.c.
 * Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

struct ctlreq;
struct ctlsock_ops;
struct json_object;

/*
 * Carries a request out and returns the whole answer, {"api": 1, "ok": …}, to be put by the caller;
 * NULL without memory. Requests that change state are logged with the peer.
 */
struct json_object *ctlverb_run(const struct ctlreq *request, const struct ctlsock_ops *ops,
				void *arg, const struct ucred *peer);

/*
 * The answer that refuses: {"api": 1, "ok": false, "code": …, "error": …}. The code is one of
 * "usage", "not_found", "config", "busy", "failed"; sluicectl's exit status follows from it.
 */
struct json_object *ctlverb_refuse(const char *code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Is the answer one of success? */
bool ctlverb_is_ok(struct json_object *answer);
