/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * splice(2) from socket to pipe to socket: pages move, bytes are not copied to user space. A stream
 * has a pipe only while bytes are in it; one that finds none (EMFILE) copies for that turn. A pipe
 * is filled only when it is empty, so that EAGAIN of the filling is always the source's.
 *
 * splice(2) to a socket raises SIGPIPE, which no flag prevents: acceptors block it.
 *
 * Thread: acceptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "splice/acceptor.h"

static int splice_enter_stream(struct conn *conn, enum conn_side from)
{
	/* It would wait for ever: splice(2) does not see what a verdict passed (splice.md T12). */
	return conn->stream[CLIENT].in_maps || conn->stream[SERVER].in_maps ? -EBUSY : 0;
}

static ssize_t move(int from_fd, int to_fd, size_t len)
{
	ssize_t n;

	do
		n = splice(from_fd, NULL, to_fd, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	return n;
}

static void give_pipe_back(struct conn *conn, struct stream *stream)
{
	if (stream->pipe[0] >= 0)
		pool_put_pipe(&conn->acceptor->pool, stream->pipe, stream->n_piped == 0);
	stream->n_piped = 0;
}

/*
 * EMPTY: the pipe is.
 *
 * splice(2) sends at most 16 pieces at a time, and when one of the later sends fails it says how
 * much went before and keeps the error, which the socket has given out by then (splice_to_socket(),
 * fs/splice.c). The call after it finds EPIPE, whatever the error was: after a short count EPIPE is
 * no sign of a FIN (conn_note_error()), and is passed on as the reset that it may have been.
 */
static enum pump drain_pipe(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	bool was_short = false;

	while (stream->n_piped) {
		ssize_t n = move(stream->pipe[0], conn->fd[conn_other(from)], stream->n_piped);

		if (n < 0 && errno == EAGAIN)
			return PUMP_FULL;
		if (n <= 0) {
			if (n == 0 || (errno == EPIPE && was_short))
				errno = ECONNRESET;
			stream->is_cut = true;
			return PUMP_SINK;
		}
		was_short = (uint32_t)n < stream->n_piped;
		stream->n_piped -= (uint32_t)n;
		stream->n_sent += (uint64_t)n;
		stream->last_ns = conn->acceptor->now_ns;
	}
	return PUMP_EMPTY;
}

/* Fills the empty pipe; MORE: bytes are in it. */
static enum pump fill_pipe(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	ssize_t n = move(conn->fd[from], stream->pipe[1], POOL_PIPE_BYTES);

	if (n < 0)
		return errno == EAGAIN ? PUMP_EMPTY : PUMP_SOURCE;
	if (n == 0)
		return PUMP_EOF;
	stream->n_piped = (uint32_t)n;
	stream->n_received += (uint64_t)n;
	counter_add(&conn->acceptor->counters.n_bytes[SPLICE_SPLICE], (uint64_t)n);
	return PUMP_MORE;
}

static enum pump splice_pump(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	enum pump result = stream_flush(conn, from);
	uint64_t until = stream->n_received + PUMP_BYTES;
	int saved_errno;

	if (result == PUMP_EMPTY)
		result = drain_pipe(conn, from);
	if (result != PUMP_EMPTY)
		return result;
	/* No event will come any more, so that its end must be told by a call whose EAGAIN can only
	 * mean the socket; splice(2)'s may mean the pipe. */
	if (conn->is_dead[from]) {
		give_pipe_back(conn, stream);
		return engine_copy.pump(conn, from);
	}
	if (stream->pipe[0] < 0 && pool_get_pipe(&conn->acceptor->pool, stream->pipe) < 0)
		return engine_copy.pump(conn, from);
	do {
		result = fill_pipe(conn, from);
		if (result == PUMP_MORE) {
			enum pump drained = drain_pipe(conn, from);

			result = drained == PUMP_EMPTY ? PUMP_MORE : drained;
		}
	} while (result == PUMP_MORE && stream->n_received < until);
	saved_errno = errno;
	if (stream->n_piped == 0)
		give_pipe_back(conn, stream);
	errno = saved_errno;
	return result;
}

static bool splice_is_empty(const struct conn *conn, enum conn_side from)
{
	return !conn->stream[from].held && conn->stream[from].n_piped == 0;
}

static uint32_t splice_source_events(const struct conn *conn, enum conn_side from)
{
	/* RDHUP as in copy: a change of engine is then none for epoll. */
	return splice_is_empty(conn, from) ? EPOLLIN | EPOLLRDHUP : 0;
}

static uint32_t splice_sink_events(const struct conn *conn, enum conn_side from)
{
	return splice_is_empty(conn, from) ? 0 : EPOLLOUT;
}

static uint64_t splice_parked(const struct conn *conn, enum conn_side from)
{
	return engine_copy.parked(conn, from) + conn->stream[from].n_piped;
}

static void splice_leave_stream(struct conn *conn, enum conn_side from)
{
	give_pipe_back(conn, &conn->stream[from]);
	engine_copy.leave(conn, from);
}

const struct engine engine_splice = {
	.id = SPLICE_SPLICE,
	.name = "splice",
	.enter = splice_enter_stream,
	.pump = splice_pump,
	.is_drained = splice_is_empty,
	.source_events = splice_source_events,
	.sink_events = splice_sink_events,
	.parked = splice_parked,
	.leave = splice_leave_stream,
};
