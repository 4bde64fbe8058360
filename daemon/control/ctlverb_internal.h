/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of verbs share. Private to control/ctlverb*.c. Thread: control. */
#pragma once

#include "control/ctlsock.h"

struct json_object;

/* A request being carried out. */
struct ctlverb_call {
	const struct ctlsock_ops *ops;
	void *arg;
	const char *const *args; /* after the verb and its object */
	unsigned n_args;
};

/* Puts `body`'s members behind api and ok; takes body, which may be NULL: so is the answer. */
struct json_object *ctlverb_wrap(struct json_object *body);

/* ctlverb_tables.c */
struct json_object *ctlverb_routes(const struct ctlverb_call *call);
struct json_object *ctlverb_neighbours(const struct ctlverb_call *call);
struct json_object *ctlverb_fdb(const struct ctlverb_call *call);
struct json_object *ctlverb_flows(const struct ctlverb_call *call);
struct json_object *ctlverb_explain(const struct ctlverb_call *call);
