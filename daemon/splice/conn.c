/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state machine of an established pair: order, EOF, FIN, RST, idle. Its rules are told in the
 * header; here each is written once, for all engines.
 *
 *   run()      pumps what an event was about, then
 *   finish()   sends FIN on where a source has ended and the sink was given everything, then
 *   settle()   closes, resets or waits, and says what epoll and the timer are to watch
 *
 * Thread: acceptor.
 */
#include "splice/conn.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "splice/acceptor.h"
#include "util/macros.h"

#define BOTH       3u
#define ONLY(side) (1u << (side))

/* The server's keepalive is for connections that last: four system calls less for one that does
 * not. No first probe is due as early as this (conf_keys.h). */
#define KEEPALIVE_AFTER_NS (1 * NSEC_PER_SEC)

static const char *const reset_by[] = {[CLIENT] = "reset by client", [SERVER] = "reset by server"};

/* Keepalive or user_timeout gave it up, or the way to it is gone: nobody sent a reset. */
static const char *const silence_of[] = {
	[CLIENT] = "no answer from client", [SERVER] = "no answer from server"};

static bool is_half_closed(const struct conn *conn)
{
	return conn->stream[CLIENT].fin_seen || conn->stream[SERVER].fin_seen ||
	       conn->is_dead[CLIENT] || conn->is_dead[SERVER];
}

/* What is left to be done has half_closed_timeout from now on, however long it was silent. */
static void begin_half_closed(struct conn *conn)
{
	if (conn->state == CONN_OPEN && !is_half_closed(conn))
		conn->state_since_ns = conn->acceptor->now_ns;
}

static void mark_dead(struct conn *conn, enum conn_side side)
{
	begin_half_closed(conn);
	conn->is_dead[side] = true;
	/* Level-triggered ERR and HUP can be masked in no other way. From now on it is read
	 * without being told to. An open connection often ends with this turn: see watch(). */
	if (conn->state != CONN_OPEN)
		acceptor_unwatch(conn, side);
	acceptor_look_now(conn);
}

static void note_silence(struct conn *conn, enum conn_side side, int error)
{
	if (error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH)
		conn->is_silent[side] = true;
}

static const char *how_died(const struct conn *conn, enum conn_side side)
{
	return conn->is_silent[side] ? silence_of[side] : reset_by[side];
}

void conn_note_error(struct conn *conn, enum conn_side side, int error)
{
	note_silence(conn, side, error);
	mark_dead(conn, side);
	/*
	 * EPIPE is how the kernel words a reset that came after a FIN (tcp_reset(), CLOSE_WAIT):
	 * what is left in the queue ends with that FIN. After any other error the next recv() that
	 * finds the queue empty says 0, and that 0 is a lie.
	 */
	if (error != EPIPE && !conn->stream[side].fin_seen)
		conn->is_reset[side] = true;
}

static uint64_t parked(const struct conn *conn)
{
	return conn->stream[CLIENT].parked + conn->stream[SERVER].parked;
}

/* --- One stream ---------------------------------------------------------------------------------
 */

static void source_failed(struct conn *conn, enum conn_side from, int error)
{
	note_silence(conn, from, error);
	mark_dead(conn, from);
	conn_abort(conn, how_died(conn, from));
}

/* A send failed, and may have taken the error with it that recv() was to report. */
static void sink_failed(struct conn *conn, enum conn_side from, int error)
{
	enum conn_side to = conn_other(from);
	struct stream *back = &conn->stream[to];

	conn_note_error(conn, to, error);
	if (!conn->is_reset[to])
		return; /* its FIN is in its queue or was seen: what it sent is still delivered */
	/* As TCP itself: what came before the reset is delivered if there is room for it now. */
	if (!back->fin_sent && !conn->is_dead[from])
		(void)back->engine->pump(conn, to);
	conn_abort(conn, how_died(conn, to));
}

static void pump_stream(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	uint64_t last_ns = stream->last_ns;
	enum pump result;

	if (stream->fin_seen || conn->is_dead[conn_other(from)])
		return;
	result = stream->engine->pump(conn, from);
	if (stream->last_ns != last_ns)
		conn->soon_delay_ns = 0;
	switch (result) {
	case PUMP_EMPTY:
		/* No event will come from a dead source, and its end has not been seen. */
		if (conn->is_dead[from])
			acceptor_look_soon(conn);
		break;
	case PUMP_FULL:
		break;
	case PUMP_MORE:
		if (conn->is_dead[from])
			acceptor_look_now(conn);
		break;
	case PUMP_ORDER:
		acceptor_look_soon(conn);
		break;
	case PUMP_EOF:
		if (conn->is_reset[from]) {
			source_failed(conn, from, 0);
			break;
		}
		begin_half_closed(conn);
		stream->fin_seen = true;
		break;
	case PUMP_SOURCE:
		source_failed(conn, from, errno);
		break;
	case PUMP_SINK:
		sink_failed(conn, from, errno);
		break;
	}
}

/* Sends FIN on, once everything before it has been given to the sink's TCP. */
static void finish(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	enum conn_side to = conn_other(from);

	if (!stream->fin_seen || stream->fin_sent || conn->is_dead[to])
		return;
	if (!stream->engine->is_drained(conn, from)) {
		acceptor_look_soon(conn);
		return;
	}
	conn->state_since_ns = conn->acceptor->now_ns;
	if (shutdown(conn->fd[to], SHUT_WR) < 0)
		mark_dead(conn, to); /* ENOTCONN: it has been reset; recv() has the reason */
	else
		stream->fin_sent = true;
}

/* --- The pair ------------------------------------------------------------------------------------
 */

/* Nothing more will come of this stream. */
static bool is_over(const struct conn *conn, enum conn_side from)
{
	return conn->stream[from].fin_sent || conn->is_dead[conn_other(from)];
}

static bool is_local(const struct conn *conn, enum conn_side side)
{
	return side == CLIENT ? conn->peer.family == 0 :
				conn->server && conn->server->address.ss_family == AF_UNIX;
}

/* A unix socket's close() is not in two parts, as TCP's is: nobody reads there any longer, and that
 * is all. What it sent has ended as it should. */
static bool is_just_closed(const struct conn *conn, enum conn_side side)
{
	return conn->is_dead[side] && !conn->is_reset[side] && is_local(conn, side) &&
	       conn->stream[side].fin_sent;
}

/* As TCP's close(): who is still there is reset when it sends something, and not before. */
static void settle_closed(struct conn *conn, enum conn_side closed)
{
	enum conn_side other = conn_other(closed);
	char byte;
	ssize_t n = recv(conn->fd[other], &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n > 0 || conn->stream[other].engine->parked(conn, other) > 0)
		conn_abort(conn, how_died(conn, closed));
	else if (n == 0)
		conn_close(conn, "closed");
	else if (errno != EAGAIN && errno != EINTR)
		conn_abort(conn, how_died(conn, other));
}

/*
 * A dead side is read to its end first. Then the other one, if its own stream was cut off, has to
 * learn of it as it would from the dead peer: by RST, after all that was sent to it.
 */
static void settle_dead(struct conn *conn, enum conn_side dead)
{
	enum conn_side other = conn_other(dead);

	if (!is_over(conn, dead))
		return;
	if (conn->is_dead[other])
		conn_abort(conn, how_died(conn, conn->is_reset[other] ? other : dead));
	else if (is_just_closed(conn, dead))
		settle_closed(conn, dead);
	else if (socket_unacked(conn->fd[other]) == 0)
		conn_abort(conn, how_died(conn, dead));
	else
		acceptor_look_later(conn);
}

/* Does it need to be ended now? */
static void settle(struct conn *conn)
{
	if (conn->stream[CLIENT].fin_sent && conn->stream[SERVER].fin_sent) {
		conn_close(conn, "closed");
		return;
	}
	if (conn->is_dead[CLIENT])
		settle_dead(conn, CLIENT);
	else if (conn->is_dead[SERVER])
		settle_dead(conn, SERVER);
}

static uint32_t wanted_events(const struct conn *conn, enum conn_side side)
{
	enum conn_side other = conn_other(side);
	const struct stream *in = &conn->stream[side], *out = &conn->stream[other];
	uint32_t events = 0;

	if (!in->fin_seen && !conn->is_dead[other])
		events |= in->engine->source_events(conn, side);
	else if (!in->fin_seen && is_just_closed(conn, other))
		events |= EPOLLIN | EPOLLRDHUP; /* settle_closed() looks */
	if (!out->fin_sent)
		events |= out->engine->sink_events(conn, other);
	return events;
}

static void watch(struct conn *conn)
{
	for (enum conn_side side = CLIENT; side <= SERVER; side++) {
		if (conn->is_dead[side])
			acceptor_unwatch(conn, side);
		else
			acceptor_watch(conn, side, wanted_events(conn, side));
	}
}

/* UINT64_MAX: never. */
static uint64_t deadline_ns(const struct conn *conn)
{
	bool is_half = is_half_closed(conn);
	uint64_t last_ns = MAX(conn->stream[CLIENT].last_ns, conn->stream[SERVER].last_ns);
	uint64_t timeout_ns =
		is_half ? conn->listener->half_closed_timeout_ns : conn->listener->idle_timeout_ns;

	return timeout_ns ? MAX(last_ns, conn->state_since_ns) + timeout_ns : UINT64_MAX;
}

/* UINT64_MAX: never. Its deadline, or before that, keepalive. */
static uint64_t next_ns(const struct conn *conn)
{
	uint64_t at_ns = deadline_ns(conn);

	if (!conn->is_kept_alive && conn->listener->keepalive_ns)
		at_ns = MIN(at_ns, conn->state_since_ns + KEEPALIVE_AFTER_NS);
	return at_ns;
}

/* Moved only to be earlier: a deadline that moves away is found out when the timer fires. */
static void arm_timer(struct conn *conn)
{
	uint64_t at_ns = next_ns(conn);

	if (at_ns != UINT64_MAX &&
	    (!timer_is_armed(&conn->timer) || conn->timer.deadline_ns > at_ns))
		timers_arm(&conn->acceptor->timers, &conn->timer, at_ns);
}

/* Flows and parked bytes of each engine, as gauges: the difference to the last look. */
static void count_stream(struct conn *conn, enum conn_side from, enum splice_engine as,
			 uint64_t parked_bytes)
{
	struct acceptor_counters *counters = &conn->acceptor->counters;
	struct stream *stream = &conn->stream[from];

	if (stream->counted_as != as) {
		if (stream->counted_as != SPLICE_ENGINE_N)
			counter_add(&counters->n_flows[stream->counted_as], (uint64_t)-1);
		if (as != SPLICE_ENGINE_N)
			counter_add(&counters->n_flows[as], 1);
		stream->counted_as = as;
	}
	if (stream->parked != parked_bytes) {
		counter_add(&counters->parked_bytes, parked_bytes - stream->parked);
		atomic_fetch_add_explicit(&conn->acceptor->splice->parked_bytes,
					  parked_bytes - stream->parked, memory_order_relaxed);
		stream->parked = parked_bytes;
	}
}

/*
 * The last line of defence. Each flow keeps to its bound by itself: a buffer or a pipe in user
 * space, and the sockmap engine goes back to relaying. Where all flows together hold too much, one
 * that holds its share or more goes.
 */
void conn_check_parked(struct conn *conn)
{
	const struct splice_config *config = conn->config;
	const struct splice *splice = conn->acceptor->splice;
	uint64_t all = atomic_load_explicit(&splice->parked_bytes, memory_order_relaxed);
	uint32_t n_conns = atomic_load_explicit(&splice->n_conns, memory_order_relaxed);
	uint64_t own = parked(conn);

	if (own == 0 || config->max_parked_bytes == 0 || all <= config->max_parked_bytes ||
	    own < all / n_conns)
		return;
	counter_add(&conn->acceptor->counters.n_killed, 1);
	conn_abort(conn, "too many bytes parked");
}

/*
 * Something that is still to be done is always waited for: by an event that will come, or by a look
 * that is due. (The deadline is no wait: it ends the connection. The passed bytes of a stream in
 * the kernel come with a note, and its end with RDHUP.) True of a connection after each run().
 */
static bool is_awaited(const struct conn *conn, enum conn_side from)
{
	const struct stream *stream = &conn->stream[from];
	enum conn_side to = conn_other(from);
	uint32_t source_events = conn->epoll_events[from], sink_events = conn->epoll_events[to];

	if (conn->is_soon)
		return true;
	if (is_just_closed(conn, from))
		return conn->is_watched[to] && sink_events & EPOLLIN;
	if (conn->is_dead[from] && is_over(conn, from))
		return false; /* the other side has to be told, or the pair to be ended */
	if (is_over(conn, from))
		return true;
	if (stream->fin_seen)
		return false; /* FIN is sent on by finish(), which had to ask for another look */
	/* What is held goes first: the source's events say nothing then. */
	if (stream->engine->sink_events(conn, from) & EPOLLOUT)
		return conn->is_watched[to] && sink_events & EPOLLOUT;
	return conn->is_watched[from] && source_events & (EPOLLIN | EPOLLRDHUP);
}

/*
 * A connection for which that is not true would wait for ever: an error in this file or an engine.
 * It is looked at again, by ever longer delays, and counted: the daemon has other connections, and
 * so does not abort for it, in no build. Every test asserts the count to be 0 instead.
 */
static void check_awaited(struct conn *conn)
{
	if (is_awaited(conn, CLIENT) && is_awaited(conn, SERVER))
		return;
	counter_add(&conn->acceptor->counters.n_unawaited, 1);
	acceptor_look_soon(conn);
}

static void run(struct conn *conn, unsigned streams)
{
	/* A look that was due is had now, and by both: an event of one stream must not take it from
	 * the other, which waits for nothing else (PUMP_ORDER). */
	if (conn->is_soon)
		streams = BOTH;
	acceptor_forget_soon(conn);
	for (enum conn_side from = CLIENT; from <= SERVER && conn->state == CONN_OPEN; from++) {
		if (streams & ONLY(from))
			pump_stream(conn, from);
		if (conn->state == CONN_OPEN && !conn->stream[from].fin_seen &&
		    !conn->is_dead[CLIENT] && !conn->is_dead[SERVER] &&
		    (conn->listener->engine == SPLICE_AUTO ||
		     conn->listener->engine == SPLICE_SOCKMAP))
			promote(conn, from, conn->acceptor->now_ns);
	}
	for (enum conn_side from = CLIENT; from <= SERVER && conn->state == CONN_OPEN; from++)
		finish(conn, from);
	if (conn->state == CONN_OPEN)
		settle(conn);
	if (conn->state != CONN_OPEN)
		return;
	for (enum conn_side from = CLIENT; from <= SERVER; from++)
		count_stream(conn, from, conn->stream[from].engine->id,
			     conn->stream[from].engine->parked(conn, from));
	watch(conn);
	arm_timer(conn);
	check_awaited(conn);
	conn_check_parked(conn);
}

void conn_open(struct conn *conn)
{
	const struct engine *engine =
		conn->listener->engine == SPLICE_SPLICE ? &engine_splice : &engine_copy;

	conn->state = CONN_OPEN;
	conn->state_since_ns = conn->acceptor->now_ns;
	timers_disarm(&conn->acceptor->timers, &conn->timer);
	/* The first bytes: user space has read them, and from now on they are forwarded. */
	counter_add(&conn->acceptor->counters.n_bytes[SPLICE_COPY],
		    conn->stream[CLIENT].n_received);
	for (enum conn_side from = CLIENT; from <= SERVER; from++) {
		conn->stream[from].engine = engine;
		conn->stream[from].last_ns = conn->acceptor->now_ns;
	}
	/* The server can have said nothing that epoll would not tell. */
	run(conn, ONLY(CLIENT));
}

void conn_on_event(struct conn *conn, enum conn_side side, uint32_t events)
{
	unsigned streams = 0;

	if (events & (EPOLLERR | EPOLLHUP)) {
		mark_dead(conn, side);
		streams = BOTH;
	}
	if (events & EPOLLRDHUP)
		conn->is_ending[side] = true;
	if (events & (EPOLLIN | EPOLLRDHUP))
		streams |= ONLY(side);
	if (events & EPOLLOUT)
		streams |= ONLY(conn_other(side));
	run(conn, streams);
}

void conn_on_passed(struct conn *conn, enum conn_side side)
{
	if (conn->state == CONN_OPEN)
		run(conn, ONLY(side));
}

void conn_on_soon(struct conn *conn)
{
	if (conn->state == CONN_OPEN)
		run(conn, BOTH);
}

/* True: that was all that was due. */
static bool keep_alive(struct conn *conn)
{
	if (conn->is_kept_alive)
		return false;
	conn->is_kept_alive = true;
	if (conn->listener->keepalive_ns)
		socket_keep_alive(conn->fd[SERVER], conn->listener);
	if (deadline_ns(conn) <= conn->acceptor->now_ns)
		return false;
	arm_timer(conn);
	return true;
}

void conn_on_timeout(struct conn *conn)
{
	bool is_half = is_half_closed(conn);

	if (keep_alive(conn))
		return;
	/* What the kernel moved meanwhile is known to the engine only. */
	if (conn->stream[CLIENT].in_maps || conn->stream[SERVER].in_maps)
		run(conn, BOTH);
	if (conn->state != CONN_OPEN)
		return;
	if (deadline_ns(conn) > conn->acceptor->now_ns) {
		arm_timer(conn);
		return;
	}
	counter_add(&conn->acceptor->counters.n_killed, 1);
	conn_abort(conn, is_half ? "half-closed for too long" : "idle");
}

/* --- The end -------------------------------------------------------------------------------------
 */

/* Of what the sink's TCP has been given: the far end has not acknowledged some of it. (A local one
 * has it in its own queue.) */
static bool is_unacked(const struct conn *conn, enum conn_side from)
{
	const enum conn_side to = conn_other(from);
	const uint32_t n_fin = conn->stream[from].fin_sent;

	return !is_local(conn, to) && socket_unacked(conn->fd[to]) > n_fin;
}

/*
 * Bytes of a stream that we took and did not deliver, though we could have. Not those that a sink
 * refused by its reset, nor those that a source's own reset has overtaken: these two would have
 * lost them without us. (A refused client's bytes do not count.) RST takes what waits to be sent.
 */
static bool is_stream_lost(const struct conn *conn, enum conn_side from, bool by_reset)
{
	const struct stream *stream = &conn->stream[from];

	if (conn->is_dead[conn_other(from)] || (conn->is_dead[from] && !stream->fin_seen))
		return false;
	return stream->is_cut || stream->engine->parked(conn, from) > 0 ||
	       (by_reset && is_unacked(conn, from));
}

static bool is_truncated(const struct conn *conn, bool by_reset)
{
	return conn->state == CONN_OPEN &&
	       (is_stream_lost(conn, CLIENT, by_reset) || is_stream_lost(conn, SERVER, by_reset));
}

static void let_go(struct conn *conn)
{
	struct acceptor *acceptor = conn->acceptor;

	timers_disarm(&acceptor->timers, &conn->timer);
	acceptor_forget_soon(conn);
	for (enum conn_side from = CLIENT; from <= SERVER; from++) {
		count_stream(conn, from, SPLICE_ENGINE_N, 0);
		if (conn->stream[from].engine)
			conn->stream[from].engine->leave(conn, from);
	}
	if (conn->stream[CLIENT].held)
		pool_put(&acceptor->pool, TAKE_PTR(conn->stream[CLIENT].held));
}

static void end(struct conn *conn, const char *how, bool by_reset)
{
	struct acceptor_counters *counters = &conn->acceptor->counters;

	if (conn->state == CONN_CLOSED)
		return;
	conn->how = how;
	if (is_truncated(conn, by_reset))
		counter_add(&counters->n_truncations, 1);
	report_record(conn);
	let_go(conn);
	for (enum conn_side side = CLIENT; side <= SERVER; side++) {
		if (conn->fd[side] < 0)
			continue;
		acceptor_unwatch(conn, side);
		if (by_reset && !conn->is_dead[side])
			counter_add(&counters->n_resets_sent, 1);
		if (by_reset)
			socket_close_by_reset(TAKE_FD(conn->fd[side]));
		else
			socket_close_in_peace(TAKE_FD(conn->fd[side]));
	}
	conn->state = CONN_CLOSED;
	accept_conn_closed(conn);
}

void conn_abort(struct conn *conn, const char *how)
{
	end(conn, how, true);
}

void conn_close(struct conn *conn, const char *how)
{
	end(conn, how, false);
}
