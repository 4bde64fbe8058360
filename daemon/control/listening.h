/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One address that is listened on: its sockets, and the group that they are in. Private to
 * control/listen*.c. Thread: control.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/conf.h"
#include "control/listeners.h"
#include "control/unix_listen.h"

struct reuseport_group;

/* A socket that systemd handed over. */
struct listening_passed {
	char *name;
	int fd;
};

struct listening {
	struct listening *next;
	struct conf_address address;
	bool is_v6only;
	bool is_shared;   /* all acceptors have each socket; else socket i is acceptor i's */
	bool is_borrowed; /* systemd's: not closed here */
	bool is_open;     /* listening */
	uint32_t number;  /* of the listener whose acceptors have it; SPLICE_NONE */
	bool is_partial;  /* … but not all of them: handing it over failed half-way */
	struct unix_listener file;
	struct reuseport_group *group; /* NULL: the kernel's hash */
	uint32_t n_fds;
	int fds[CONF_MAX_ACCEPTORS];
};

/* Binds, and does not listen yet (but a unix socket does). `text` says what is wrong. */
int listening_new(const struct conf_address *address, bool is_v6only, uint32_t n_acceptors,
		  struct listening **ret_listening, char *text, size_t size);
int listening_new_passed(const struct conf_address *address, const struct listening_passed *passed,
			 unsigned n_passed, struct listening **ret_listening, char *text,
			 size_t size);
void listening_free(struct listening *listening);

/* Connections may come now. */
int listening_open(struct listening *listening, const struct listeners_acceptor *acceptors,
		   uint32_t n_acceptors);
