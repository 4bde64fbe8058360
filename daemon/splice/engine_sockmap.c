// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The kernel redirects; what the verdict passes is relayed here, in order. The protocol is told in
 * kern/splice_maps.h. A connection enters with both its directions or not at all (but for a socket
 * that the kernel refuses between the two: that direction is then relayed whole, !in_maps).
 *
 *   wish = KERNEL   ring note ──► pump ──► nothing owed: EPOLLRDHUP only (EPOLLIN would wake us for
 *                                          every skb that is redirected)
 *   credit gone     passed bytes are owed: EPOLLIN, until they are sent on; then the kernel goes on
 *   credit gone     so often that it does not pay: RELAY both ways for good, EPOLLIN always
 *   the hole        (design.md §5.5) past the bound: RELAY both ways for good, which closes it
 *
 * Thread: acceptor.
 */
#include <errno.h>
#include <linux/sock_diag.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "kern/splice_maps.h"
#include "splice/acceptor.h"

/*
 * So many times out of credit, each within FALLBACK_WINDOW_NS of the one before, and the flow is a
 * bulk flow: those settle in user space anyway (splice-lab.md 0.5), where a pinned one saves the
 * look at the peer and a note per burst. A chat with a burst now and then never gets there.
 */
#define FALLBACKS_MAX      32
#define FALLBACK_WINDOW_NS (250 * NSEC_PER_MSEC)

/* A worker of the kernel that has not moved a byte in so long is not late but broken. */
#define STUCK_NS (5 * NSEC_PER_SEC)

static struct splice_maps *maps_of(const struct conn *conn)
{
	return conn->acceptor->splice->maps;
}

static struct splice_flow *flow_of(const struct conn *conn, enum conn_side from)
{
	return splice_flow(maps_of(conn), conn->stream[from].side);
}

static bool is_entered(const struct conn *conn)
{
	return conn->stream[CLIENT].in_maps || conn->stream[SERVER].in_maps;
}

/* --- Entering ----------------------------------------------------------------------------------
 */

static void set_wish(struct conn *conn, enum splice_wish wish)
{
	for (unsigned i = 0; i < ARRAY_SIZE(conn->stream); i++) {
		if (conn->stream[i].in_maps)
			__atomic_store_n(&flow_of(conn, i)->wish, wish, __ATOMIC_RELEASE);
	}
}

/* Nothing of it in user space, and nothing said about its end. */
static bool is_clear(const struct conn *conn, enum conn_side from)
{
	const struct stream *stream = &conn->stream[from];

	return !stream->held && stream->n_piped == 0 && !stream->fin_seen && !stream->fin_sent &&
	       !conn->is_dead[from];
}

/* Nothing in its queue: a partly read skb would be delivered twice (splice.md T1), and a closed
 * window is not reopened by the kick (splice-lab.md 0.11). */
static int check_empty(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n >= 0)
		return n > 0 ? -EAGAIN : -EOPNOTSUPP;
	/* An error here was not asked for by the pump: it must not get lost. */
	return errno == EAGAIN ? 0 : -errno;
}

static int check_conn(struct conn *conn)
{
	if (!maps_of(conn))
		return -EOPNOTSUPP;
	if (is_entered(conn))
		return -EALREADY;
	for (unsigned i = 0; i < ARRAY_SIZE(conn->stream); i++) {
		int r = is_clear(conn, i) ? check_empty(conn->fd[i]) : -EAGAIN;

		if (r < 0 && r != -EAGAIN && r != -EOPNOTSUPP)
			conn_note_error(conn, i, -r);
		if (r < 0)
			return r;
	}
	return 0;
}

static void begin_stream(struct conn *conn, enum conn_side from, uint32_t side, uint64_t sink_base,
			 bool in_maps)
{
	struct stream *stream = &conn->stream[from];

	stream->engine = &engine_sockmap;
	stream->in_maps = in_maps;
	stream->side = side;
	stream->sink_base = sink_base;
	stream->n_relayed = 0;
	stream->n_redirected = 0;
	stream->n_ordered = 0;
	stream->n_credit_out = 0;
	stream->hole_since_ns = 0;
	stream->is_ordering = false;
}

static int enter_maps(struct conn *conn, uint32_t client_side)
{
	uint64_t base[2];
	int r = splice_base(conn->fd[CLIENT], &base[CLIENT]);

	if (r == 0)
		r = splice_base(conn->fd[SERVER], &base[SERVER]);
	if (r == 0)
		r = splice_enter(maps_of(conn), client_side, conn->fd);
	if (r < 0)
		return r;
	begin_stream(conn, CLIENT, client_side, base[SERVER], true);
	begin_stream(conn, SERVER, SPLICE_PEER(client_side), base[CLIENT], r == 0);
	set_wish(conn, SPLICE_KERNEL);
	return 0;
}

/* Both directions, whichever is asked for. -EAGAIN: later. */
static int sockmap_enter(struct conn *conn, enum conn_side from)
{
	uint32_t client_side;
	int r = check_conn(conn);

	if (r < 0)
		return r;
	if (!acceptor_take_sides(conn, &client_side))
		return -ENOSPC;
	r = enter_maps(conn, client_side);
	if (r < 0) {
		acceptor_return_sides(conn, client_side);
		return r;
	}
	/* What came meanwhile is redirected now. What the kick leaves is for the next pump. */
	for (unsigned i = 0; i < ARRAY_SIZE(conn->fd); i++) {
		r = splice_kick(conn->fd[i]);
		if (r < 0 && r != -EAGAIN)
			conn_note_error(conn, i, -r);
		if (r != -EAGAIN)
			acceptor_look_now(conn);
	}
	return 0;
}

/* --- Moving ------------------------------------------------------------------------------------
 */

/* Takes up what the kernel has moved since the last look. */
static void see(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	const struct splice_flow *flow = flow_of(conn, from);
	uint64_t redirected = splice_redirected(flow);

	if (redirected == stream->n_redirected)
		return;
	counter_add(&conn->acceptor->counters.n_bytes[SPLICE_SOCKMAP],
		    redirected - stream->n_redirected);
	stream->n_redirected = redirected;
	/* When they moved, not when that was seen. */
	stream->last_ns = MAX(stream->last_ns, flow->last_ns);
}

/*
 * A flow that keeps running out of credit is relayed for good, and with it the way back: the two
 * share the queues of their psocks, and what one has redirected uncharges what the other passes.
 */
static void judge_credit(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	uint32_t n_credit_out =
		__atomic_load_n(&flow_of(conn, from)->n_credit_out, __ATOMIC_RELAXED);
	uint64_t now_ns = conn->acceptor->now_ns;

	if (n_credit_out == stream->n_credit_out)
		return;
	stream->n_credit_out = n_credit_out;
	stream->n_fallbacks =
		now_ns - stream->fell_back_ns < FALLBACK_WINDOW_NS ? stream->n_fallbacks + 1 : 1;
	stream->fell_back_ns = now_ns;
	if (stream->n_fallbacks == FALLBACKS_MAX) {
		counter_add(&conn->acceptor->counters.n_fallbacks[SPLICE_FALLBACK_CREDIT], 1);
		sockmap_relay(conn);
	}
}

static bool is_relayed(const struct conn *conn, enum conn_side from)
{
	return !conn->stream[from].in_maps || flow_of(conn, from)->wish == SPLICE_RELAY;
}

/*
 * May passed bytes follow? While any are owed nothing more is redirected, so once the sink has
 * taken what was redirected before, the answer stays yes until `redirected` grows.
 */
static bool is_in_order(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	uint64_t redirected, taken;

	if (!stream->in_maps)
		return true;
	redirected = splice_redirected(flow_of(conn, from));
	if (redirected == stream->n_ordered)
		return true;
	if (splice_taken(conn->fd[conn_other(from)], stream->sink_base, &taken) < 0 ||
	    taken != redirected + stream->n_relayed)
		return false;
	stream->n_ordered = redirected;
	return true;
}

/* The sink has taken more than before: tells the verdict. */
static void consume(struct conn *conn, enum conn_side from, uint64_t n_sent_before)
{
	struct stream *stream = &conn->stream[from];
	uint64_t n = stream->n_sent - n_sent_before;

	if (!stream->in_maps || n == 0)
		return;
	stream->n_relayed += n;
	(void)splice_consume(flow_of(conn, from), n);
}

static enum pump flush(struct conn *conn, enum conn_side from)
{
	uint64_t n_sent = conn->stream[from].n_sent;
	enum pump result = stream_flush(conn, from);

	consume(conn, from, n_sent);
	return result;
}

static enum pump give(struct conn *conn, enum conn_side from, size_t len)
{
	struct stream *stream = &conn->stream[from];
	uint64_t n_sent = stream->n_sent;
	enum pump result;

	stream->n_received += len;
	counter_add(&conn->acceptor->counters.n_bytes[SPLICE_SOCKMAP], len);
	result = stream_give(conn, from, conn->acceptor->scratch, len);
	consume(conn, from, n_sent);
	return result;
}

static bool is_owed(const struct conn *conn, enum conn_side from)
{
	return conn->stream[from].in_maps && splice_is_owed(flow_of(conn, from));
}

/*
 * May the kernel have dropped what a dead source passed? What was redirected to the dead socket
 * fails, and everything behind it is dropped (splice.md T6). Where nothing like that is in front
 * of them, the owed bytes wait for a worker that is late. (A socket is dead when both directions
 * have ended, too: EPOLLHUP.)
 */
static bool may_be_lost(const struct conn *conn, enum conn_side from)
{
	const enum conn_side other = conn_other(from);
	const struct stream *back = &conn->stream[other];
	uint64_t taken;

	if (!back->in_maps)
		return false;
	return splice_taken(conn->fd[from], back->sink_base, &taken) < 0 ||
	       taken < splice_redirected(flow_of(conn, other)) + back->n_relayed;
}

/*
 * Is 0 of recv() perhaps no FIN? A kernel worker that sends to a socket which was reset takes its
 * error (sk_stream_error()) and puts it back a moment later (sk_psock_report_error()); who reads
 * between the two is told of an end. So that is asked only where redirected bytes still wait for
 * the socket, and TCP_CLOSE says that it has not merely received a FIN. (test_splice_rules with
 * ASan: 1 in some thousands.)
 */
static bool is_doubtful(const struct conn *conn, enum conn_side from)
{
	return may_be_lost(conn, from) && socket_is_closed(conn->fd[from]);
}

/* Until the error is there again. If it does not come, what waits is lost, and that is none either.
 */
static enum pump look_at_doubtful(const struct conn *conn)
{
	if (conn->soon_delay_ns < SOON_MAX_DELAY_NS)
		return PUMP_ORDER;
	errno = ECONNRESET;
	return PUMP_SOURCE;
}

/* recv() has brought nothing: why? */
static enum pump nothing_there(struct conn *conn, enum conn_side from, ssize_t n)
{
	if (n < 0 && errno != EAGAIN)
		return PUMP_SOURCE;
	/*
	 * Owed bytes wait behind others in the psock: 0 is not the end then (splice-lab.md 0.2),
	 * and a dead source sends no event when they come: it is looked at until they do. They may
	 * never, and only then are the looks bounded, about 20 ms without a byte, and what is
	 * missing makes it a reset.
	 */
	if (is_owed(conn, from) && conn->is_dead[from] && may_be_lost(conn, from) &&
	    conn->soon_delay_ns >= SOON_MAX_DELAY_NS) {
		conn->stream[from].is_cut = true;
		errno = ECONNRESET;
		return PUMP_SOURCE;
	}
	if (is_owed(conn, from))
		return n == 0 || conn->is_dead[from] ? PUMP_ORDER : PUMP_EMPTY;
	if (n == 0 && is_doubtful(conn, from))
		return look_at_doubtful(conn);
	return n == 0 ? PUMP_EOF : PUMP_EMPTY;
}

/* Nothing is owed: has it ended, or is more being passed at this moment? */
static enum pump look_for_end(struct conn *conn, enum conn_side from)
{
	char byte;
	ssize_t n = recv(conn->fd[from], &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n > 0 ? PUMP_MORE : nothing_there(conn, from, n);
}

/*
 * The order of the looks is the order of the bytes: only where bytes are seen to be owed is
 * `redirected` at rest, and what it says came before all that recv() can bring now. A recv() before
 * that look might bring bytes that were passed behind others redirected meanwhile.
 */
static enum pump relay(struct conn *conn, enum conn_side from)
{
	struct acceptor *acceptor = conn->acceptor;
	enum pump result = PUMP_EMPTY;
	size_t n_moved = 0;

	while (result == PUMP_EMPTY && n_moved < PUMP_BYTES) {
		ssize_t n;

		if (conn->stream[from].in_maps && !is_owed(conn, from))
			return look_for_end(conn, from);
		if (!is_in_order(conn, from))
			return PUMP_ORDER;
		n = recv(conn->fd[from], acceptor->scratch, SCRATCH_BYTES, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return nothing_there(conn, from, n);
		n_moved += (size_t)n;
		result = give(conn, from, (size_t)n);
	}
	return result == PUMP_EMPTY ? PUMP_MORE : result;
}

/* --- The hole of design.md §5.5 ------------------------------------------------------------------
 *
 * What a socket passes goes through the queue of its psock, behind what its peer has redirected to
 * it; until a worker of the kernel has moved that, it is charged to nobody, the window stays open,
 * and all that the sender has pours in. A worker is late by whatever else its CPU does: 5 MB in the
 * 4 ms of other threads' turns, and nothing is wrong with that flow. When it has run, those bytes
 * are charged, and the window is closed until they are gone.
 *
 * So a flow in whose hole there is more than the bound is relayed, both ways, for good: nothing
 * more is put in the way of what is passed, and the worker's next turn closes the hole. A worker
 * that is blocked, though the credit rule says that it never is (the kernel takes send buffer back
 * when TCP's memory is short), is let through. No flow is ended for a worker that is late; all
 * flows together have a bound that ends the largest (conn.c).
 */

static bool read_memory(int fd, uint32_t memory[SK_MEMINFO_VARS])
{
	socklen_t size = SK_MEMINFO_VARS * sizeof(*memory);

	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) == 0 &&
	       size == SK_MEMINFO_VARS * sizeof(*memory);
}

/* Bytes that the source's socket has passed and that are still somewhere in it, less those that
 * `what` of its memory (SK_MEMINFO_…) accounts for. Few are not worth a system call. */
static uint64_t owed_past(const struct conn *conn, enum conn_side from, unsigned what)
{
	const struct stream *stream = &conn->stream[from];
	const struct splice_flow *flow = flow_of(conn, from);
	const uint64_t n_held = stream->held ? pool_buffer_len(stream->held) : 0;
	const uint64_t owed = splice_passed(flow) - flow->consumed - n_held;
	uint32_t memory[SK_MEMINFO_VARS];

	if (owed <= SCRATCH_BYTES || !read_memory(conn->fd[from], memory))
		return 0;
	return owed > memory[what] ? owed - memory[what] : 0;
}

static bool is_past(const struct conn *conn, uint64_t n_bytes, unsigned factor)
{
	const uint64_t bound = conn->config->max_flow_parked_bytes;

	return bound && n_bytes > factor * bound;
}

/*
 * What the worker does not get rid of, since the socket takes no more, is at most the credit: its
 * send buffer is made larger by that, once, since nothing is redirected any more. The kernel
 * doubles what it is told. SO_SNDBUF would also make it smaller: its maximum is the host's.
 */
static void let_worker_through(struct conn *conn, enum conn_side side)
{
	uint32_t memory[SK_MEMINFO_VARS];
	int half;

	if (!read_memory(conn->fd[side], memory))
		return;
	if (memory[SK_MEMINFO_WMEM_QUEUED] < memory[SK_MEMINFO_SNDBUF] &&
	    memory[SK_MEMINFO_WMEM_ALLOC] < memory[SK_MEMINFO_SNDBUF] / 2)
		return; /* late, not blocked */
	half = (int)(MAX(memory[SK_MEMINFO_WMEM_QUEUED], memory[SK_MEMINFO_SNDBUF]) / 2 +
		     2 * SPLICE_CREDIT_BYTES);
	(void)setsockopt(conn->fd[side], SOL_SOCKET, SO_SNDBUFFORCE, &half, sizeof(half));
}

static void close_hole(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];

	if (!is_past(conn, owed_past(conn, from, SK_MEMINFO_RMEM_ALLOC), 1)) {
		stream->hole_since_ns = 0;
		return;
	}
	if (stream->hole_since_ns == 0)
		stream->hole_since_ns = conn->acceptor->now_ns;
	if (!is_relayed(conn, CLIENT) || !is_relayed(conn, SERVER)) {
		counter_add(&conn->acceptor->counters.n_fallbacks[SPLICE_FALLBACK_PARKED], 1);
		sockmap_relay(conn);
	}
	let_worker_through(conn, from);
}

static enum pump sockmap_pump(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	enum pump result;

	if (stream->in_maps) {
		see(conn, from);
		if (flow_of(conn, from)->is_cut) {
			stream->is_cut = true;
			errno = ENOMEM;
			return PUMP_SOURCE;
		}
		judge_credit(conn, from);
		close_hole(conn, from);
	}
	result = flush(conn, from);
	if (result == PUMP_EMPTY)
		result = relay(conn, from);
	stream->is_ordering = result == PUMP_ORDER;
	return result;
}

static bool sockmap_is_drained(const struct conn *conn, enum conn_side from)
{
	const struct stream *stream = &conn->stream[from];
	uint64_t taken;

	if (stream->held || is_owed(conn, from))
		return false;
	if (!stream->in_maps || stream->fin_sent) /* A FIN counts as one taken. */
		return true;
	return splice_taken(conn->fd[conn_other(from)], stream->sink_base, &taken) == 0 &&
	       taken == splice_redirected(flow_of(conn, from)) + stream->n_relayed;
}

/* --- Events ------------------------------------------------------------------------------------
 */

/* Level-triggered, and a FIN raises EPOLLIN and EPOLLRDHUP for good: asked for only where the pump
 * would get on. */
static uint32_t sockmap_source_events(const struct conn *conn, enum conn_side from)
{
	const struct stream *stream = &conn->stream[from];

	if (stream->held || stream->is_ordering || stream->fin_seen)
		return 0;
	return is_relayed(conn, from) || is_owed(conn, from) ? EPOLLIN : EPOLLRDHUP;
}

static uint32_t sockmap_sink_events(const struct conn *conn, enum conn_side from)
{
	return conn->stream[from].held ? EPOLLOUT : 0;
}

/* --- The bound ---------------------------------------------------------------------------------
 */

/* In the sink's psock, past the source's receive buffer, and in our hands. */
static uint64_t sockmap_parked(const struct conn *conn, enum conn_side from)
{
	const struct stream *stream = &conn->stream[from];
	const uint64_t n_held = stream->held ? pool_buffer_len(stream->held) : 0;
	uint64_t redirected, taken, given;

	if (!stream->in_maps)
		return n_held;
	redirected = splice_redirected(flow_of(conn, from));
	given = redirected + stream->n_relayed;
	/* What user space sends is the sink's TCP's at once: only redirected bytes can wait. */
	if (redirected == stream->n_ordered || stream->fin_sent ||
	    splice_taken(conn->fd[conn_other(from)], stream->sink_base, &taken) < 0)
		taken = given;
	/* The flow goes on between the two looks: what is taken may be more than was given then. */
	return (given > taken ? given - taken : 0) + owed_past(conn, from, SK_MEMINFO_RCVBUF) +
	       n_held;
}

void sockmap_relay(struct conn *conn)
{
	set_wish(conn, SPLICE_RELAY);
	/* The events that it needs from now on are other ones. */
	acceptor_look_now(conn);
}

/* One direction; false: it has to end. An idle one costs no system call. */
static bool watch_stream(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];
	uint64_t redirected = splice_redirected(flow_of(conn, from));
	uint64_t parked = sockmap_parked(conn, from);

	see(conn, from);
	judge_credit(conn, from);
	close_hole(conn, from);
	if (parked == 0)
		stream->n_ordered = redirected;
	/* A note that was lost, or a gauge that is old. */
	if (parked != stream->parked ||
	    (is_owed(conn, from) && !stream->held && !stream->is_ordering))
		acceptor_look_now(conn);
	if (stream->hole_since_ns == 0 || conn->acceptor->now_ns - stream->hole_since_ns < STUCK_NS)
		return true;
	counter_add(&conn->acceptor->counters.n_killed, 1);
	return false;
}

bool sockmap_watch(struct conn *conn)
{
	for (unsigned i = 0; i < ARRAY_SIZE(conn->stream); i++) {
		if (conn->stream[i].in_maps && !watch_stream(conn, i))
			return false;
	}
	return true;
}

/* --- The end -----------------------------------------------------------------------------------
 */

/* Called for each direction; the sockets leave with the first, and are still open. */
static void sockmap_leave(struct conn *conn, enum conn_side from)
{
	struct stream *stream = &conn->stream[from];

	if (is_entered(conn)) {
		uint32_t client_side = conn->stream[CLIENT].side;

		for (unsigned i = 0; i < ARRAY_SIZE(conn->stream); i++) {
			if (conn->stream[i].in_maps)
				see(conn, i);
			conn->stream[i].in_maps = false;
		}
		splice_leave(maps_of(conn), client_side);
		acceptor_return_sides(conn, client_side);
	}
	if (stream->held)
		pool_put(&conn->acceptor->pool, TAKE_PTR(stream->held));
}

const struct engine engine_sockmap = {
	.id = SPLICE_SOCKMAP,
	.name = "sockmap",
	.enter = sockmap_enter,
	.pump = sockmap_pump,
	.is_drained = sockmap_is_drained,
	.source_events = sockmap_source_events,
	.sink_events = sockmap_sink_events,
	.parked = sockmap_parked,
	.leave = sockmap_leave,
};
