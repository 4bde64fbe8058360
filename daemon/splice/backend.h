/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Choosing a server of a backend. Thread: acceptor; the states are shared, by atomics.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "splice/config.h"

/* An acceptor's own memory of a backend's turn. */
struct backend_turn {
	uint32_t next;
	uint32_t credit; /* the round: servers of more weight than this have a turn in it */
};

/*
 * A server that is up, not draining, not in `tried` and, where there is another, not out by passive
 * marks; -1 if there is none. `hash`: of the client (address, and the name it asked for), for
 * maglev. A backend at its max_connections gives -2.
 */
int backend_choose(const struct backend_config *backend, struct backend_turn *turn, uint64_t hash,
		   const uint16_t *tried, unsigned n_tried, uint64_t now_ns);

/* A connection to a server begins; ends; connected after connect_ns, or failed. It does not begin
 * (false) where another acceptor has just taken the last place of max_connections. */
bool backend_begin(const struct backend_config *backend, struct server_state *server);
void backend_end(const struct backend_config *backend, struct server_state *server);
/* An attempt to connect is counted: not one for which we had no descriptor. */
void backend_tried(const struct backend_config *backend, struct server_state *server);
void backend_connected(const struct backend_config *backend, struct server_state *server,
		       uint64_t connect_ns);
void backend_failed(const struct backend_config *backend, struct server_state *server,
		    uint64_t now_ns);
