/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What moves the bytes of one direction. An engine owns no rule about order or ends: see conn.h.
 *
 *   copy     recv and send by a buffer; bytes that the sink does not take are held
 *   splice   splice(2) by a pipe; the pipe is held only while there are bytes in it. Never on a
 *            socket that is in a sockmap: it hangs (splice.md T12)
 *   sockmap  the kernel redirects; what it passes is relayed as copy does, in order
 *
 * Bounded work: a pump moves at most PUMP_BYTES before it returns, so that one flow cannot keep an
 * acceptor.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "splice/conn.h"

#define PUMP_BYTES (256 << 10)

struct engine {
	enum splice_engine id;
	const char *name;

	/* A stream begins with this engine, from the one before; nothing is held in user space.
	 * -errno: it cannot, and nothing has changed. */
	int (*enter)(struct conn *conn, enum conn_side from);

	/* Moves what there is, what is held first; keeps the stream's counts and last_ns. `errno`
	 * for SOURCE and SINK: of the very call that failed. A dead source (conn.is_dead) must be
	 * read until recv() says EAGAIN, 0 or an error, since no event will come. */
	enum pump (*pump)(struct conn *conn, enum conn_side from);

	/* Has the sink's TCP been given every byte that the source sent? The moment for FIN. */
	bool (*is_drained)(const struct conn *conn, enum conn_side from);

	/* Which epoll events of its source and its sink it needs now (EPOLLIN, EPOLLOUT, or none).
	 */
	uint32_t (*source_events)(const struct conn *conn, enum conn_side from);
	uint32_t (*sink_events)(const struct conn *conn, enum conn_side from);

	/* Bytes that are on their way outside of the two sockets' TCP. */
	uint64_t (*parked)(const struct conn *conn, enum conn_side from);

	/* The connection ends; gives back what the engine holds for this stream. */
	void (*leave)(struct conn *conn, enum conn_side from);
};

extern const struct engine engine_copy, engine_splice, engine_sockmap;

/*
 * The slow scan looks at a connection that is in the maps: notes that were lost, bytes parked past
 * the bound (design.md §5.5). False: the connection must be ended, as "parked"; it is counted.
 */
bool sockmap_watch(struct conn *conn);

/* Pins both directions to user space; the sockets stay in the maps. */
void sockmap_relay(struct conn *conn);

/* `auto` and `sockmap`: looks at what a stream has done so far and moves it to the engine that it
 * deserves (with `sockmap`: at the first moment that allows it). Called after each pump that left
 * the connection open; counted. promote.c. */
void promote(struct conn *conn, enum conn_side from, uint64_t now_ns);
