/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Listening sockets: what `bind` says, from the socket to the acceptors that serve it.
 *
 *   ADDRESS:PORT   a socket for each acceptor, in one SO_REUSEPORT group (kern/reuseport.h)
 *   unix:/PATH     one, shared by all; the file's mode is 0660, a dead daemon's file is replaced
 *   fd:NAME        those that systemd hands over by that name (sd_listen_fds_with_names), shared
 *
 * A socket is kept here for as long as any configuration wants its address, and acceptors have
 * copies of it: so a listener may lose one address, or its name, and its other addresses go on
 * listening without a connection lost in between.
 *
 * A new configuration is prepared first: everything that can be refused is refused then, and what
 * is bound is not listening yet. Only listeners_commit() lets connections come.
 *
 * Thread: control. Capabilities: CAP_NET_BIND_SERVICE for ports below 1024; for the group CAP_BPF
 * and CAP_NET_ADMIN, without which the kernel's hash chooses the acceptor.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bpf/splice_abi.h"

struct conf;
struct listeners;
struct listeners_next;
struct splice;
struct splice_config;
struct sockops;

/* On what the acceptors run; node −1 = unknown. */
struct listeners_acceptor {
	uint32_t cpu;
	int node;
};

/* Takes what systemd has handed over out of the environment. */
int listeners_new(struct listeners **ret_listeners);

/* Closes all, and removes the files of unix sockets, once no acceptor has any of them. */
void listeners_free(struct listeners *listeners);

/*
 * Binds what `conf` wants and what is not there yet. On failure nothing has changed and `text`
 * says what could not be had, and why. *ret_next is for commit or abandon.
 */
int listeners_prepare(struct listeners *listeners, const struct conf *conf,
		      const struct listeners_acceptor *acceptors, uint32_t n_acceptors,
		      struct listeners_next **ret_next, char *text, size_t size);
void listeners_abandon(struct listeners_next *next);

/*
 * Acceptors let go of what `config` does not want, take `config` up, and then what is new in it;
 * `next` is gone. Connections stay. `sockops` may be NULL. -errno: an acceptor hangs; some address
 * may not be served.
 */
int listeners_commit(struct listeners *listeners, struct listeners_next *next,
		     struct splice *splice, struct splice_config *config, struct sockops *sockops);

/* Acceptors let go of all. -ETIMEDOUT: one hangs, and listeners_free() must not be called. */
int listeners_withdraw(struct listeners *listeners, struct splice *splice);

/* The addresses of one listener, separated by blanks. Returns buf. */
const char *listeners_addresses(const struct listeners *listeners, uint32_t number, char *buf,
				size_t size);
