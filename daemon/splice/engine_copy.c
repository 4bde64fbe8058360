/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * recv and send by the acceptor's buffer. What the sink does not take is held in a pooled buffer,
 * never more than one recv brought, and nothing more is read until it is gone.
 *
 * Thread: acceptor.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "splice/acceptor.h"

static enum pump hold(struct conn *conn, enum conn_side from, const uint8_t *data, size_t len)
{
	struct stream *stream = &conn->stream[from];

	stream->held = pool_get(&conn->acceptor->pool, (uint32_t)len);
	if (!stream->held) {
		errno = ENOMEM;
		return PUMP_SINK;
	}
	memcpy(stream->held->data, data, len);
	stream->held->end = (uint32_t)len;
	return PUMP_FULL;
}

/* Returns how many bytes the sink took; -errno if it failed. `flags`: MSG_MORE, or none. */
static ssize_t give(struct conn *conn, enum conn_side from, const uint8_t *data, size_t len,
		    int flags)
{
	struct stream *stream = &conn->stream[from];
	ssize_t n;

	do
		n = send(conn->fd[conn_other(from)], data, len,
			 MSG_NOSIGNAL | MSG_DONTWAIT | flags);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	stream->n_sent += (uint64_t)n;
	stream->last_ns = conn->acceptor->now_ns;
	return n;
}

static enum pump give_or_hold(struct conn *conn, enum conn_side from, const uint8_t *data,
			      size_t len, int flags)
{
	ssize_t n = give(conn, from, data, len, flags);

	if (n < 0) {
		conn->stream[from].is_cut = true;
		errno = (int)-n;
		return PUMP_SINK;
	}
	return (size_t)n == len ? PUMP_EMPTY : hold(conn, from, data + n, len - (size_t)n);
}

enum pump stream_give(struct conn *conn, enum conn_side from, const uint8_t *data, size_t len)
{
	return give_or_hold(conn, from, data, len, 0);
}

enum pump stream_flush(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	struct pool_buffer *held = stream->held;
	ssize_t n;

	if (!held)
		return PUMP_EMPTY;
	n = give(conn, from, held->data + held->start, pool_buffer_len(held), 0);
	if (n < 0) {
		stream->is_cut = true;
		errno = (int)-n;
		return PUMP_SINK;
	}
	held->start += (uint32_t)n;
	if (pool_buffer_len(held) > 0)
		return PUMP_FULL;
	stream->held = NULL;
	pool_put(&conn->acceptor->pool, held);
	return PUMP_EMPTY;
}

static int copy_enter(struct conn *conn, enum conn_side from)
{
	return conn->stream[from].in_maps ? -EBUSY : 0;
}

static ssize_t receive(struct conn *conn, enum conn_side from, size_t n_before)
{
	ssize_t n;

	do
		n = recv(conn->fd[from], conn->acceptor->scratch + n_before,
			 SCRATCH_BYTES - n_before, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n;
}

/*
 * RDHUP was told, and the scratch buffer is not full: is the FIN all that is left? Then the last
 * bytes are to wait for it (MSG_MORE), and both leave in one segment: a packet less for a short
 * answer. finish() sends it in the same turn. More bytes are added to *len.
 */
static bool is_last(struct conn *conn, enum conn_side from, size_t *len)
{
	while (*len < SCRATCH_BYTES) {
		ssize_t n = receive(conn, from, *len);

		if (n > 0) {
			*len += (size_t)n;
			continue;
		}
		/* The pump's next recv would say 0, whatever this has said. */
		if (n < 0 && errno != EAGAIN)
			conn_note_error(conn, from, errno);
		return n == 0 && !conn->is_reset[from];
	}
	return false;
}

static enum pump copy_pump(struct conn *conn, enum conn_side from)
{
	struct acceptor *acceptor = conn->acceptor;
	struct stream *stream = &conn->stream[from];
	const bool is_first = stream->n_sent == 0 && stream->held;
	enum pump result = stream_flush(conn, from);
	size_t n_moved = 0;

	/* It was all, most likely: epoll tells when more has come. */
	if (is_first && result == PUMP_EMPTY && !conn->is_dead[from])
		return PUMP_EMPTY;

	while (result == PUMP_EMPTY && n_moved < PUMP_BYTES) {
		ssize_t n = receive(conn, from, 0);
		size_t len = (size_t)n;
		bool is_end;

		if (n < 0)
			return errno == EAGAIN ? PUMP_EMPTY : PUMP_SOURCE;
		if (n == 0)
			return PUMP_EOF;
		is_end = conn->is_ending[from] && is_last(conn, from, &len);
		stream->n_received += len;
		n_moved += len;
		counter_add(&acceptor->counters.n_bytes[SPLICE_COPY], len);
		result = give_or_hold(conn, from, acceptor->scratch, len, is_end ? MSG_MORE : 0);
		if (is_end && result == PUMP_EMPTY)
			return PUMP_EOF;
		/* It was all: epoll tells when more has come. A dead source tells nothing more. */
		if (len < SCRATCH_BYTES && !conn->is_dead[from])
			return result;
	}
	return result == PUMP_EMPTY ? PUMP_MORE : result;
}

static bool copy_is_drained(const struct conn *conn, enum conn_side from)
{
	return !conn->stream[from].held;
}

static uint32_t copy_source_events(const struct conn *conn, enum conn_side from)
{
	return conn->stream[from].held ? 0 : EPOLLIN | EPOLLRDHUP;
}

static uint32_t copy_sink_events(const struct conn *conn, enum conn_side from)
{
	return conn->stream[from].held ? EPOLLOUT : 0;
}

static uint64_t copy_parked(const struct conn *conn, enum conn_side from)
{
	const struct pool_buffer *held = conn->stream[from].held;

	return held ? pool_buffer_len(held) : 0;
}

static void copy_leave(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];

	if (stream->held)
		pool_put(&conn->acceptor->pool, TAKE_PTR(stream->held));
}

const struct engine engine_copy = {
	.id = SPLICE_COPY,
	.name = "copy",
	.enter = copy_enter,
	.pump = copy_pump,
	.is_drained = copy_is_drained,
	.source_events = copy_source_events,
	.sink_events = copy_sink_events,
	.parked = copy_parked,
	.leave = copy_leave,
};
