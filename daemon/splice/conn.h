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
 *   error  a socket reports its error once, to whichever call comes first, and from then on
 *          recv() says 0, like a clean end. So on ERR or HUP a side is dead: it is taken out of
 *          epoll, never written to again and never asked for SO_ERROR; its stream is read on in
 *          order, and what recv() says after the last byte, 0 or an error, is the truth (the kernel
 *          looks for a FIN seen before it looks for an error: tcp_recvmsg_locked()). Where another
 *          call has got the error (send does), is_reset remembers it: no later 0 is a FIN. (RDHUP
 * is raised by RST, too, and says nothing.)
 *
 * A side that died after its FIN was seen: what it sent is delivered, FIN included, and when the
 * other side has acknowledged that, the other side is reset, as it would have been by the dead peer
 * itself.
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
#include "splice/timers.h"

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

/* What an engine's pump tells. */
enum pump {
	PUMP_EMPTY, /* the source has nothing now: wait for EPOLLIN */
	PUMP_FULL,  /* the sink takes no more now: wait for EPOLLOUT; bytes may be held */
	PUMP_MORE,  /* PUMP_BYTES were moved: go on in the next turn */
	PUMP_ORDER, /* sockmap: redirected bytes must be taken first: look again soon */
	PUMP_EOF,   /* the source's FIN, and nothing of it is left anywhere but at the sink's TCP */
	PUMP_SOURCE, /* the source failed (errno): reset or worse */
	PUMP_SINK,   /* the sink failed */
};

struct stream {
	const struct engine *engine;
	/* Received by user space and not yet sent: in a pooled buffer, or in a pipe. Bounded. */
	struct pool_buffer *held;
	int pipe[2]; /* -1 while it holds nothing; comes after `held` */
	uint32_t n_piped;
	uint64_t n_received; /* by user space, sniffed bytes included, a PROXY header left out */
	uint64_t n_sent;     /* by user space, a PROXY header of ours included */
	bool fin_seen;       /* of the source: its FIN, with nothing behind it to come */
	bool fin_sent;       /* to the sink */
	bool is_cut;         /* bytes that were received can not be delivered any more */
	uint64_t last_ns;    /* of the last byte moved; the sockmap engine keeps it up in pump() */
	/* As last counted in acceptor_counters: conn.c's. */
	uint64_t parked;
	enum splice_engine counted_as; /* SPLICE_ENGINE_N: not yet */
	/* sockmap */
	bool in_maps;
	uint32_t side;         /* number in splice_maps */
	uint64_t sink_base;    /* splice_base() of the sink at entering */
	uint64_t n_relayed;    /* passed bytes that user space has sent on: stored as `consumed` */
	uint64_t n_redirected; /* as last seen, and counted */
	uint64_t n_ordered; /* of them: seen in the sink's TCP, so that passed bytes may follow */
	bool is_ordering;   /* the last pump said PUMP_ORDER: no event helps */
	uint32_t n_credit_out;  /* as last seen; n_fallbacks counts how often it grew */
	uint64_t fell_back_ns;  /* … and when it last did */
	uint64_t hole_since_ns; /* more than the bound was seen to be charged to nobody; 0: not */
	/* promote.c: pumps that brought bytes since it last decided; n_received then, and as last
	 * seen */
	uint32_t n_pumps;
	uint64_t n_window_from, n_pumped;
	uint32_t n_fallbacks; /* to RELAY: a flow that keeps falling back stays there */
};

struct conn {
	struct acceptor *acceptor;
	struct conn *prev, *next; /* of the acceptor's */
	struct splice_config
		*config; /* referenced: what it began under; keeps what follows alive */
	const struct listener_config *listener;
	const struct backend_config *backend;
	struct server_state *server;
	enum conn_state state;
	int fd[2];
	uint32_t epoll_events[2]; /* as registered */
	bool is_watched[2];       /* registered at all; ERR and HUP come then whatever is asked */
	bool is_dead[2];          /* ERR, HUP, or a failed send: nothing can be given to it */
	bool is_reset[2];         /* … and its error has been consumed: 0 from recv is no FIN */
	bool is_silent[2];        /* … of which nothing was heard, not even a reset */
	bool is_kept_alive;       /* the server's socket: after KEEPALIVE_AFTER_NS */
	bool is_ending[2];        /* RDHUP was told: its end may be right behind its bytes */
	struct stream stream[2];  /* [CLIENT]: from the client */
	uint64_t accepted_ns, state_since_ns;
	struct timer timer;
	/* To be looked at without an event: a dead source with more to read, order, acks. */
	struct conn *soon_prev, *soon_next;
	bool is_soon;
	uint64_t soon_ns, soon_delay_ns;
	/* As the PROXY header or the socket says; `peer` is who really connected. `local` of the
	 * socket is asked for only where it is told on. */
	struct ip_endpoint client, local, peer;
	bool is_local_known;
	struct sniff *sniff; /* once bytes have come; its ALPN is shown to the end */
	char name[64];       /* sniffed, cut */
	bool is_sniff_counted, is_source_counted;
	struct ip_endpoint source; /* it is counted for */
	bool wants_header;         /* a PROXY header is still to come */
	uint32_t n_tried;
	uint16_t tried[8];       /* servers of the backend that failed */
	bool is_short;           /* waits for a file descriptor to connect with … */
	uint64_t short_since_ns; /* … since when it first did */
	bool is_logged;
	bool is_kept_out; /* the maps refused it once */
	bool is_short_of_slot;
	bool is_short_of_port; /* to a server that was chosen */
	const char *how;       /* it ended */
};

static inline enum conn_side conn_other(enum conn_side side)
{
	return side == CLIENT ? SERVER : CLIENT;
}

/* Both sockets are connected; held bytes go first. */
void conn_open(struct conn *conn);

/* epoll told something of one side of an open connection. */
void conn_on_event(struct conn *conn, enum conn_side side, uint32_t events);

/* Its deadline has passed; or it was to be looked at soon. */
void conn_on_timeout(struct conn *conn);
void conn_on_soon(struct conn *conn);

/* The verdict passed bytes of this side to user space, or its redirected bytes may have been taken.
 */
void conn_on_passed(struct conn *conn, enum conn_side side);

/* Ends it if it, or all together, have too many bytes parked. */
void conn_check_parked(struct conn *conn);

/* Ends it at once, both sides by RST; or, where everything has been said, in peace. `how` is a
 * literal. The memory stays until the acceptor's turn ends. */
void conn_abort(struct conn *conn, const char *how);
void conn_close(struct conn *conn, const char *how);

/* --- For engines ---------------------------------------------------------------------------------
 */

/* Bytes that user space has just received go to the sink; what it does not take is held, after what
 * is held already. FULL: bytes are held. SINK: it failed. EMPTY: all is gone. */
enum pump stream_give(struct conn *conn, enum conn_side from, const uint8_t *data, size_t len);

/* Sends what is held. EMPTY: nothing is left; FULL; SINK. */
enum pump stream_flush(struct conn *conn, enum conn_side from);

/* A call other than the pump's own recv and send has reported this error of a side: it would be
 * lost otherwise. */
void conn_note_error(struct conn *conn, enum conn_side side, int error);
