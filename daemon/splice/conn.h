/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection: two sockets, two directions, one state machine for all engines. Private to the
 * room.
 *
 *            ┌──────── stream[CLIENT]: bytes the client sends ────────┐
 *   client ──┤                                                        ├── server
 *            └──────── stream[SERVER]: bytes the server sends ────────┘
 *
 * Order, EOF, FIN, RST and accounting are the machine's; an engine only moves bytes from one socket
 * to the other and says how that went (splice/engine.h). So a flow can start in user space, be
 * promoted, and fall back, and none of these rules is written twice:
 *
 *   order  what user space holds of a stream is sent before anything newer is moved
 *   EOF    the source's FIN counts when the engine says that nothing of the stream is on its way
 *          to user space any more
 *   FIN    is sent on (shutdown) when the sink has been given every byte
 *   RST    of one side resets the other (linger 0), unless that side's FIN had been seen before:
 *          then what is on its way is delivered first
 *   error  on ERR or HUP: peek first, then SO_ERROR (RDHUP is raised by RST, too)
 *
 * A truncation is never disguised as a clean end: bytes that were accepted and can not be delivered
 * end in a reset of the side that still reads, and in n_truncations.
 *
 * Thread: the acceptor that accepted it, from then to the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "splice/config.h"
#include "splice/splice.h"

struct acceptor;
struct engine;
struct pool_buffer;

enum conn_state {
	CONN_SNIFFING,   /* PROXY header and first bytes */
	CONN_CONNECTING, /* to a server; the client's bytes wait in its socket and in stream[0].held
			  */
	CONN_OPEN,
	CONN_LINGERING, /* what the refusal said must arrive before the close */
	CONN_CLOSED
};

enum conn_side { CLIENT, SERVER };

struct stream {
	const struct engine *engine;
	/* Received by user space and not yet sent: in a pooled buffer, or in a pipe. Bounded. */
	struct pool_buffer *held;
	int pipe[2]; /* -1 while it holds nothing */
	uint32_t n_piped;
	uint64_t n_received; /* by user space, sniffed bytes included, a PROXY header left out */
	uint64_t n_sent;     /* by user space, a PROXY header of ours included */
	bool fin_seen;       /* of the source: its FIN, with nothing behind it to come */
	bool fin_sent;       /* to the sink */
	uint64_t last_ns;    /* of the last byte moved */
	/* sockmap */
	bool in_maps;
	uint32_t side;        /* number in splice_maps */
	uint64_t sink_base;   /* splice_base() of the sink at entering */
	uint64_t n_relayed;   /* passed bytes that user space has sent on: stored as `consumed` */
	uint32_t n_fallbacks; /* to RELAY: a flow that keeps falling back stays there */
};

struct conn {
	struct acceptor *acceptor;
	struct splice_config *config; /* referenced: what it began under */
	const struct listener_config *listener;
	const struct backend_config *backend;
	struct server_state *server; /* referenced */
	enum conn_state state;
	int fd[2];
	uint32_t epoll_events[2]; /* as registered */
	struct stream stream[2];  /* [CLIENT]: from the client */
	uint64_t accepted_ns, state_since_ns, deadline_ns;
	struct conn *timer_prev, *timer_next;
	uint32_t timer_slot;
	struct ip_endpoint client, local; /* as the PROXY header or the socket says */
	struct sniff *sniff;              /* while sniffing */
	uint32_t n_retries;
	uint16_t tried[8]; /* servers of the backend that failed */
	bool is_logged;
	const char *how; /* it ended */
};

/* Both sockets are connected; held bytes go first. */
void conn_open(struct conn *conn);

/* epoll told something of one side. */
void conn_on_event(struct conn *conn, enum conn_side side, uint32_t events);

/* Its deadline has passed. */
void conn_on_timeout(struct conn *conn, uint64_t now_ns);

/* The verdict passed bytes of this side to user space, or its redirected bytes may have been taken.
 */
void conn_on_passed(struct conn *conn, enum conn_side side);

/* Ends it at once, both sides by RST; `how` is a literal. */
void conn_abort(struct conn *conn, const char *how);
