/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first bytes: a PROXY header, if the listener wants one, then whom the client asks for. Bytes
 * are read into stream[CLIENT].held and forwarded from there, verbatim; a connection has a buffer
 * only once bytes have come, a small one until they do not fit. The time is absolute, from accept.
 *
 * Thread: acceptor.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "net/proxy_header.h"
#include "net/sniff.h"
#include "splice/acceptor.h"

#define LINGER_NS     (2 * NSEC_PER_SEC)
#define REFUSAL_BYTES 512
/* A client that is being refused may go on sending; beyond this it is cut off. */
#define LINGER_BYTES (1 << 20)

static bool wants_bytes(const struct conn *conn)
{
	return conn->wants_header || conn->listener->sniff != SPLICE_SNIFF_NONE;
}

static void stop_counting(struct conn *conn)
{
	struct listener_state *state = conn->listener->state;

	atomic_fetch_sub_explicit(&state->n_sniffing, 1, memory_order_relaxed);
	conn->is_sniff_counted = false;
	splice_time_observe(state->sniff_time, &state->sniff_time_sum_ns,
			    conn->acceptor->now_ns - conn->accepted_ns);
}

/* --- Route ---------------------------------------------------------------------------------------
 */

static uint32_t route_of(const struct listener_config *listener, const struct sniff *sniff)
{
	if (sniff && sniff->status == SNIFF_FOUND)
		for (uint32_t i = 0; i < listener->n_routes; i++)
			if (sniff_name_matches(listener->routes[i].pattern, sniff->name))
				return listener->routes[i].backend;
	return listener->default_backend;
}

static void choose_backend(struct conn *conn)
{
	uint32_t backend = route_of(conn->listener, conn->sniff);

	if (conn->is_sniff_counted)
		stop_counting(conn);
	if (backend >= conn->config->n_backends) {
		accept_count_reject(conn, SPLICE_REJECT_NO_BACKEND);
		/* 421: there is such a name, not here; 404: it named nobody. */
		conn_refuse(conn, conn->sniff && conn->sniff->name[0] ? 421 : 404);
		return;
	}
	conn->backend = &conn->config->backends[backend];
	connecting_begin(conn);
}

/* --- Reading -------------------------------------------------------------------------------------
 */

/* Room for at least one byte more in `held`, and for the header that may go before it. */
static bool make_room(struct conn *conn)
{
	struct pool *pool = &conn->acceptor->pool;
	struct pool_buffer *held = conn->stream[CLIENT].held, *larger;

	if (!held) {
		conn->stream[CLIENT].held = pool_get(pool, POOL_SMALL_BYTES);
		return conn->stream[CLIENT].held != NULL;
	}
	if (held->end < held->size - HEADER_ROOM_BYTES)
		return true;
	if (held->size == POOL_LARGE_BYTES) {
		errno = EMSGSIZE;
		return false;
	}
	larger = pool_get(pool, POOL_LARGE_BYTES);
	if (!larger)
		return false;
	larger->end = pool_buffer_len(held);
	memcpy(larger->data, held->data + held->start, larger->end);
	pool_put(pool, held);
	conn->stream[CLIENT].held = larger;
	return true;
}

/*
 * Nothing is to be known of it, and what it has sent already is read all the same: the last segment
 * of our handshake with the server then takes these bytes along (connecting.c). False: rejected.
 */
static bool read_early(struct conn *conn)
{
	struct stream *stream = &conn->stream[CLIENT];
	ssize_t n;

	if (!make_room(conn)) {
		conn_reject(conn, SPLICE_REJECT_RESOURCES);
		return false;
	}
	do
		n = recv(conn->fd[CLIENT], stream->held->data,
			 stream->held->size - HEADER_ROOM_BYTES, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		stream->held->end = (uint32_t)n;
		stream->n_received = (uint64_t)n;
		return true;
	}
	pool_put(&conn->acceptor->pool, TAKE_PTR(stream->held));
	/* Its FIN is told again; an error is not. */
	if (n < 0 && errno != EAGAIN) {
		conn_reject(conn, SPLICE_REJECT_CLIENT_GONE);
		return false;
	}
	return true;
}

enum read_end { READ_ALL, READ_EOF, READ_ERROR, READ_NO_ROOM };

/* Everything that is there. */
static enum read_end read_bytes(struct conn *conn)
{
	for (;;) {
		struct pool_buffer *held;
		ssize_t n;

		if (!make_room(conn))
			return errno == EMSGSIZE ? READ_ALL : READ_NO_ROOM;
		held = conn->stream[CLIENT].held;
		n = recv(conn->fd[CLIENT], held->data + held->end,
			 held->size - HEADER_ROOM_BYTES - held->end, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? READ_ALL : READ_ERROR;
		if (n == 0)
			return READ_EOF;
		held->end += (uint32_t)n;
	}
}

/* The buffer goes back while nothing is in it. */
static void give_empty_back(struct conn *conn)
{
	struct pool_buffer *held = conn->stream[CLIENT].held;

	if (held && pool_buffer_len(held) == 0)
		pool_put(&conn->acceptor->pool, TAKE_PTR(conn->stream[CLIENT].held));
}

/* False: it is not whole yet, or the connection has been rejected. */
static bool take_header(struct conn *conn)
{
	struct pool_buffer *held = conn->stream[CLIENT].held;
	struct proxy_header header;

	switch (proxy_parse(held->data + held->start, pool_buffer_len(held),
			    conn->listener->proxy_protocol, &header)) {
	case PROXY_MORE:
		return false;
	case PROXY_FOUND:
		held->start += (uint32_t)header.n_bytes;
		conn->wants_header = false;
		if (!header.is_local) {
			conn->client = header.src;
			conn->local = header.dst;
			conn->is_local_known = true;
			if (!accept_count_source(conn)) {
				conn_reject(conn, SPLICE_REJECT_SOURCE_LIMIT);
				return false;
			}
		}
		return true;
	case PROXY_ABSENT:
	case PROXY_BAD:
		break;
	}
	conn_reject(conn, SPLICE_REJECT_PROXY_HEADER);
	return false;
}

/* True: certain. False: more bytes are needed, or the connection has been rejected. */
static bool look(struct conn *conn)
{
	static void (*const sniffers[])(const uint8_t *, size_t, struct sniff *) = {
		[SPLICE_SNIFF_TLS] = sniff_tls,
		[SPLICE_SNIFF_HTTP] = sniff_http,
		[SPLICE_SNIFF_AUTO] = sniff_auto,
	};
	struct pool_buffer *held = conn->stream[CLIENT].held;

	if (!conn->sniff)
		conn->sniff = calloc(1, sizeof(*conn->sniff));
	if (!conn->sniff) {
		conn_reject(conn, SPLICE_REJECT_RESOURCES);
		return false;
	}
	sniffers[conn->listener->sniff](held->data + held->start, pool_buffer_len(held),
					conn->sniff);
	switch (conn->sniff->status) {
	case SNIFF_FOUND:
		/* For display: cut; it is zeroed. */
		memcpy(conn->name, conn->sniff->name,
		       strnlen(conn->sniff->name, sizeof(conn->name) - 1));
		return true;
	case SNIFF_NO_NAME:
	case SNIFF_OTHER:
		return true;
	case SNIFF_MORE:
		if (pool_buffer_len(held) < SNIFF_MAX_BYTES)
			return false;
		/* fallthrough */
	case SNIFF_TOO_LONG:
		conn_reject(conn, SPLICE_REJECT_SNIFF_OVERSIZE);
		return false;
	case SNIFF_BAD:
		conn_reject(conn, SPLICE_REJECT_SNIFF_MALFORMED);
		return false;
	}
	return false;
}

void sniffing_on_event(struct conn *conn, uint32_t events)
{
	enum read_end end = read_bytes(conn);
	uint32_t n_held;

	if (end == READ_ERROR || end == READ_NO_ROOM) {
		conn_reject(conn, end == READ_ERROR ? SPLICE_REJECT_CLIENT_GONE :
						      SPLICE_REJECT_RESOURCES);
		return;
	}
	n_held = conn->stream[CLIENT].held ? pool_buffer_len(conn->stream[CLIENT].held) : 0;
	if (n_held > 0 && (!conn->wants_header || take_header(conn)) &&
	    (conn->listener->sniff == SPLICE_SNIFF_NONE || look(conn))) {
		if (conn->state == CONN_SNIFFING) {
			conn->stream[CLIENT].n_received =
				pool_buffer_len(conn->stream[CLIENT].held);
			give_empty_back(conn);
			choose_backend(conn);
		}
		return;
	}
	if (conn->state != CONN_SNIFFING)
		return;
	give_empty_back(conn);
	/* It ended, or died, before it had said what it wanted. */
	if (end == READ_EOF || (events & (EPOLLERR | EPOLLHUP)))
		conn_reject(conn, SPLICE_REJECT_CLIENT_GONE);
}

void sniffing_begin(struct conn *conn)
{
	const struct listener_config *listener = conn->listener;

	conn->state = CONN_SNIFFING;
	conn->stream[CLIENT].engine = &engine_copy;
	conn->wants_header = listener->proxy_protocol != PROXY_NONE;
	if (!wants_bytes(conn)) {
		if (read_early(conn))
			choose_backend(conn);
		return;
	}
	atomic_fetch_add_explicit(&listener->state->n_sniffing, 1, memory_order_relaxed);
	conn->is_sniff_counted = true;
	if (listener->sniff_timeout_ns)
		timers_arm(&conn->acceptor->timers, &conn->timer,
			   conn->accepted_ns + listener->sniff_timeout_ns);
	/* Often the bytes are there already; else this finds nothing and costs a call. */
	sniffing_on_event(conn, 0);
	/* RDHUP says nothing here; with it an open connection's registration is this one. */
	if (conn->state == CONN_SNIFFING)
		acceptor_watch(conn, CLIENT, EPOLLIN | EPOLLRDHUP);
}

/* --- Refusal -------------------------------------------------------------------------------------
 */

void conn_refuse(struct conn *conn, unsigned http_status)
{
	uint8_t message[REFUSAL_BYTES];
	enum sniff_protocol protocol = conn->sniff ? conn->sniff->protocol : SNIFF_NOTHING;
	size_t len = sniff_refusal(protocol, http_status, message, sizeof(message));

	if (len == 0) {
		conn_abort(conn, "no backend");
		return;
	}
	conn->state = CONN_LINGERING;
	conn->state_since_ns = conn->acceptor->now_ns;
	conn->how = "refused: no backend";
	if (conn->stream[CLIENT].held)
		pool_put(&conn->acceptor->pool, TAKE_PTR(conn->stream[CLIENT].held));
	(void)send(conn->fd[CLIENT], message, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)shutdown(conn->fd[CLIENT], SHUT_WR);
	timers_arm(&conn->acceptor->timers, &conn->timer, conn->acceptor->now_ns + LINGER_NS);
	acceptor_watch(conn, CLIENT, EPOLLIN);
}

/* A close with unread bytes would be an RST, which takes the message with it at the client's. */
void lingering_on_event(struct conn *conn)
{
	struct stream *stream = &conn->stream[CLIENT];

	for (;;) {
		ssize_t n = recv(conn->fd[CLIENT], conn->acceptor->scratch, SCRATCH_BYTES,
				 MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0) {
			stream->n_received += (uint64_t)n;
			if (stream->n_received <= LINGER_BYTES)
				continue;
		}
		conn_close(conn, conn->how);
		return;
	}
}
