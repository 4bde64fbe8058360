/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * To a server: choose, connect, and choose again while none has taken a byte. Then our PROXY
 * header, then the bytes that were read before. Meanwhile the client's further bytes, its FIN
 * included, wait in its socket; only its reset is looked for, if it takes long.
 *
 * Thread: acceptor.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kern/sockops.h"
#include "net/proxy_header.h"
#include "net/sniff.h"
#include "splice/acceptor.h"

/* The client's reset is looked for only while connecting takes longer than this: most servers
 * answer at once, and their clients are registered with epoll when there is something to wait for.
 */
#define WATCH_CLIENT_AFTER_NS (10 * NSEC_PER_MSEC)

/* Without a file descriptor or a port: as often it looks whether there is one. */
#define RETRY_NS (100 * NSEC_PER_MSEC)

static void try_next(struct conn *conn);

/* A client keeps its server, whatever acceptor it comes to. */
static uint64_t hash_of(const struct conn *conn)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (unsigned i = 0; i < sizeof(conn->client.addr.octet); i++)
		hash = (hash ^ conn->client.addr.octet[i]) * 0x100000001b3ULL;
	for (const char *c = conn->name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 0x100000001b3ULL;
	return hash ^ hash >> 29;
}

static uint32_t backend_index(const struct conn *conn)
{
	return (uint32_t)(conn->backend - conn->config->backends);
}

/* A turn that an older configuration's backend does not share with a newer one's. */
static int choose(struct conn *conn)
{
	struct acceptor *acceptor = conn->acceptor;
	struct backend_turn own = {.next = 0};
	struct backend_turn *turn =
		conn->config == acceptor->config && backend_index(conn) < acceptor->n_turns ?
			&acceptor->turns[backend_index(conn)] :
			&own;

	return backend_choose(conn->backend, turn, hash_of(conn), conn->tried, conn->n_tried,
			      acceptor->now_ns);
}

static void set_meta(const struct conn *conn, int fd)
{
	struct splice_conn_meta meta = {
		.magic = SPLICE_META_MAGIC,
		.listener = conn->listener->state->number,
		.backend = backend_index(conn),
		.acceptor = conn->acceptor->index,
	};

	/* Without it only the figures of this socket are missing. */
	if (conn->acceptor->splice->sockops)
		(void)sockops_set(conn->acceptor->splice->sockops, fd, &meta);
}

/* --- Connected -----------------------------------------------------------------------------------
 */

static const struct ip_endpoint *local_of(struct conn *conn)
{
	struct sockaddr_storage local = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(local);

	if (!conn->is_local_known &&
	    getsockname(conn->fd[CLIENT], (struct sockaddr *)&local, &len) == 0)
		conn->local = endpoint_of(&local);
	conn->is_local_known = true;
	return &conn->local;
}

/* Our header, before what is held. */
static int put_header(struct conn *conn)
{
	struct pool *pool = &conn->acceptor->pool;
	struct pool_buffer *held = conn->stream[CLIENT].held, *both;
	uint32_t n_held = held ? pool_buffer_len(held) : 0;
	size_t len;

	if (conn->backend->send_proxy == PROXY_NONE)
		return 0;
	both = pool_get(pool, MIN(n_held + HEADER_ROOM_BYTES, POOL_LARGE_BYTES));
	if (!both)
		return -ENOMEM;
	len = proxy_write(conn->backend->send_proxy, &conn->client, local_of(conn), false,
			  both->data, HEADER_ROOM_BYTES);
	if (len == 0 || len + n_held > both->size) {
		pool_put(pool, both);
		return -EMSGSIZE;
	}
	if (held) {
		memcpy(both->data + len, held->data + held->start, n_held);
		pool_put(pool, held);
	}
	both->end = (uint32_t)len + n_held;
	conn->stream[CLIENT].held = both;
	return 0;
}

/* Bytes to send as soon as it is connected; no more are read before. */
static bool has_first_bytes(const struct conn *conn)
{
	return conn->stream[CLIENT].held || conn->backend->send_proxy != PROXY_NONE;
}

static void connected(struct conn *conn)
{
	bool is_delayed = has_first_bytes(conn);

	backend_connected(conn->backend, conn->server,
			  conn->acceptor->now_ns - conn->state_since_ns);
	socket_tune_server(conn->fd[SERVER], conn->listener);
	if (put_header(conn) < 0) {
		conn_reject(conn, SPLICE_REJECT_RESOURCES);
		return;
	}
	conn_open(conn);
	if (is_delayed && conn->fd[SERVER] >= 0)
		socket_delay_ack(conn->fd[SERVER], false);
}

/* --- Failed --------------------------------------------------------------------------------------
 */

static void drop_server(struct conn *conn)
{
	acceptor_unwatch(conn, SERVER);
	if (conn->fd[SERVER] >= 0)
		(void)close(TAKE_FD(conn->fd[SERVER]));
	if (conn->server)
		backend_end(conn->backend, TAKE_PTR(conn->server));
}

/* Not the servers' fault alone, where there was no port to reach one by. Who has asked in HTTP is
 * answered in it; TLS has no alert for this. */
static void no_server(struct conn *conn)
{
	enum splice_reject why =
		conn->is_short_of_port ? SPLICE_REJECT_RESOURCES : SPLICE_REJECT_NO_BACKEND;

	if (!conn->sniff || conn->sniff->protocol != SNIFF_HTTP) {
		conn_reject(conn, why);
		return;
	}
	accept_count_reject(conn, why);
	conn_refuse(conn, 503);
}

static void try_another(struct conn *conn)
{
	drop_server(conn);
	if (conn->n_tried > conn->backend->n_retries || conn->n_tried == ARRAY_SIZE(conn->tried))
		no_server(conn);
	else
		try_next(conn);
}

static void failed(struct conn *conn)
{
	backend_failed(conn->backend, conn->server, conn->acceptor->now_ns);
	try_another(conn);
}

/* Our own shortage is no server's fault. */
static bool is_ours(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static bool has_waited(struct conn *conn)
{
	const uint64_t now_ns = conn->acceptor->now_ns;

	if (conn->short_since_ns == 0)
		conn->short_since_ns = now_ns;
	return now_ns - conn->short_since_ns >= conn->backend->connect_timeout_ns;
}

/* Has no server meanwhile, and no socket to one. */
static void retry_later(struct conn *conn)
{
	drop_server(conn);
	conn->n_tried--;
	if (!conn->is_watched[CLIENT])
		acceptor_watch(conn, CLIENT, 0);
	timers_arm(&conn->acceptor->timers, &conn->timer, conn->acceptor->now_ns + RETRY_NS);
}

/*
 * It waits, as those do that are not accepted meanwhile: they would only take what it needs. For no
 * longer than a server may.
 */
static void wait_for_room(struct conn *conn)
{
	if (has_waited(conn)) {
		conn_reject(conn, SPLICE_REJECT_RESOURCES);
		return;
	}
	conn->is_short = true;
	conn->acceptor->n_short++;
	accept_pause(conn->acceptor);
	retry_later(conn);
}

/* A local server whose queue is full says so, where TCP's drops the SYN: it is as slow, no worse,
 * and nobody else's business. */
static void wait_for_queue(struct conn *conn)
{
	if (!has_waited(conn)) {
		retry_later(conn);
		return;
	}
	conn->short_since_ns = 0; /* the next server's */
	failed(conn);
}

/* 0: connected. -EINPROGRESS. -errno. */
static int begin_connect(struct conn *conn)
{
	const struct server_state *server = conn->server;
	int fd = socket(server->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	conn->fd[SERVER] = fd;
	set_meta(conn, fd);
	if (has_first_bytes(conn))
		socket_delay_ack(fd, true);
	if (connect(fd, (const struct sockaddr *)&server->address, server->address_len) == 0)
		return 0;
	return -errno;
}

static uint64_t connect_deadline_ns(const struct conn *conn)
{
	return conn->state_since_ns + conn->backend->connect_timeout_ns;
}

static void arm_timer(struct conn *conn)
{
	uint64_t at_ns = connect_deadline_ns(conn);

	if (!conn->is_watched[CLIENT])
		at_ns = MIN(at_ns, conn->acceptor->now_ns + WATCH_CLIENT_AFTER_NS);
	timers_arm(&conn->acceptor->timers, &conn->timer, at_ns);
}

static void try_next(struct conn *conn)
{
	struct acceptor *acceptor = conn->acceptor;
	int i = choose(conn), r;

	if (i == -2)
		conn_reject(conn, SPLICE_REJECT_LIMIT);
	else if (i < 0)
		no_server(conn);
	if (i < 0)
		return;
	conn->server = conn->backend->servers[i].state;
	if (!backend_begin(conn->backend, conn->server)) {
		conn->server = NULL;
		conn_reject(conn, SPLICE_REJECT_LIMIT);
		return;
	}
	conn->tried[conn->n_tried++] = (uint16_t)i;
	conn->state_since_ns = acceptor->now_ns;
	r = begin_connect(conn);
	if (!is_ours(-r) && r != -EAGAIN)
		backend_tried(conn->backend, conn->server);
	if (r == 0) {
		connected(conn);
	} else if (r == -EINPROGRESS) {
		arm_timer(conn);
		acceptor_watch(conn, SERVER, EPOLLOUT);
	} else if (is_ours(-r)) {
		wait_for_room(conn);
	} else if (r == -EAGAIN) {
		wait_for_queue(conn);
	} else if (r == -EADDRNOTAVAIL) {
		/* Every port from here to that server is taken: no fault of its, no want of
		 * others. */
		conn->is_short_of_port = true;
		try_another(conn);
	} else {
		failed(conn);
	}
}

void connecting_begin(struct conn *conn)
{
	conn->state = CONN_CONNECTING;
	timers_disarm(&conn->acceptor->timers, &conn->timer);
	try_next(conn);
}

/* Nothing was sent on it yet, so that the error is a whole answer. */
static int error_of(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 ? errno : error;
}

void connecting_on_event(struct conn *conn, enum conn_side side, uint32_t events)
{
	/* Without ERR it has none: most connects cost no question. */
	int error = events & (EPOLLERR | EPOLLHUP) ? error_of(conn->fd[side]) : 0;

	if (side == CLIENT && !(events & (EPOLLERR | EPOLLHUP))) {
		/* As sniffing left it. Nothing but ERR and HUP: its bytes and its FIN can wait. */
		acceptor_watch(conn, CLIENT, 0);
		return;
	}
	if (side == CLIENT) {
		/* After its FIN (EPIPE), or a local socket's close (0): what it sent still counts.
		 */
		if (error != 0 && error != EPIPE)
			conn_reject(conn, SPLICE_REJECT_CLIENT_GONE);
		else
			conn_note_error(conn, CLIENT, EPIPE);
		return;
	}
	if (error) {
		failed(conn);
		return;
	}
	/* Connected, and perhaps at its end already: an event of the open state tells. */
	if (events & EPOLLOUT)
		connected(conn);
}

void connecting_on_timeout(struct conn *conn)
{
	if (conn->is_short) {
		conn->is_short = false;
		conn->acceptor->n_short--;
	}
	if (conn->fd[SERVER] < 0) { /* it has waited for what was short */
		try_next(conn);
		return;
	}
	if (conn->acceptor->now_ns >= connect_deadline_ns(conn)) {
		failed(conn);
		return;
	}
	if (!conn->is_watched[CLIENT])
		acceptor_watch(conn, CLIENT, 0);
	arm_timer(conn);
}
