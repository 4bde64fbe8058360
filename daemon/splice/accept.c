/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the listening socket to a connection: bounded per turn, admitted by limits, and paused, not
 * spinning, while there is nothing to accept with. Thread: acceptor.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "splice/acceptor.h"

#define ACCEPTS_PER_TURN 64
#define PAUSE_NS         (100 * NSEC_PER_MSEC)

/* Twice what a queue of ours holds (control/listening.c). */
#define ACCEPTS_OF_QUEUE 8192

/* --- Pausing -------------------------------------------------------------------------------------
 */

void accept_watch(struct acceptor *acceptor, struct listening *listening)
{
	/* A shared one is left to the others where this acceptor is out of service; its own, which
	 * the program no longer chooses, takes what the kernel's hash still brings. */
	bool want = !acceptor->is_paused && (acceptor->is_open || !listening->is_shared);
	struct epoll_event event = {
		.events = EPOLLIN | (listening->is_shared ? EPOLLEXCLUSIVE : 0),
		.data.u64 = (uintptr_t)listening | 2,
	};

	if (want == listening->is_watched)
		return;
	/* Added and taken out, never modified: EPOLLEXCLUSIVE allows no other. */
	if (epoll_ctl(acceptor->epoll_fd, want ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listening->fd,
		      &event) == 0)
		listening->is_watched = want;
	else if (want) /* ENOMEM, ENOSPC: tried again when accepting resumes */
		acceptor->resume_ns = acceptor->now_ns + PAUSE_NS;
}

static void watch_all(struct acceptor *acceptor)
{
	for (struct listening *l = acceptor->listening; l; l = l->next)
		accept_watch(acceptor, l);
}

void accept_pause(struct acceptor *acceptor)
{
	if (!acceptor->is_paused)
		counter_add(&acceptor->counters.n_accept_pauses, 1);
	acceptor->is_paused = true;
	acceptor->resume_ns = acceptor->now_ns + PAUSE_NS;
	pool_trim_pipes(&acceptor->pool);
	watch_all(acceptor);
}

void accept_resume(struct acceptor *acceptor)
{
	/* Those that are there go first. */
	if (acceptor->n_short > 0) {
		acceptor->resume_ns = acceptor->now_ns + PAUSE_NS;
		return;
	}
	acceptor->is_paused = false;
	acceptor->resume_ns = 0;
	watch_all(acceptor);
}

/* --- Admission -----------------------------------------------------------------------------------
 */

static bool is_in_prefix(const struct ip_endpoint *address, const struct splice_prefix *prefix)
{
	unsigned whole = prefix->len / 8, rest = prefix->len % 8;

	if (address->family != prefix->addr.family)
		return false;
	if (memcmp(address->addr.octet, prefix->addr.addr.octet, whole) != 0)
		return false;
	return rest == 0 ||
	       (address->addr.octet[whole] ^ prefix->addr.addr.octet[whole]) >> (8 - rest) == 0;
}

/* May it speak the PROXY protocol? A local socket's permissions have decided that already. */
static bool is_proxy(const struct listener_config *listener, const struct ip_endpoint *peer)
{
	if (peer->family == 0)
		return true;
	for (uint32_t i = 0; i < listener->n_proxy_from; i++)
		if (is_in_prefix(peer, &listener->proxy_from[i]))
			return true;
	return false;
}

bool accept_count_source(struct conn *conn)
{
	const struct listener_config *listener = conn->listener;

	if (listener->max_per_source == 0 || conn->client.family == 0)
		return true;
	if (!sources_add(conn->acceptor->splice->sources, listener->state->number, &conn->client,
			 listener->max_per_source))
		return false;
	conn->source = conn->client;
	conn->is_source_counted = true;
	return true;
}

/* What it counts against, counted; or the reason why not. */
static enum splice_reject admit(struct conn *conn)
{
	const struct listener_config *listener = conn->listener;
	struct listener_state *state = listener->state;
	uint32_t n = atomic_load_explicit(&state->n_active, memory_order_relaxed);

	/* n_active counts this one already. */
	if (listener->max_connections && n > listener->max_connections)
		return SPLICE_REJECT_LIMIT;
	if (listener->proxy_protocol != PROXY_NONE && !is_proxy(listener, &conn->peer))
		return SPLICE_REJECT_ACL;
	/* Behind a proxy, whoever its header names. */
	if (listener->proxy_protocol == PROXY_NONE && !accept_count_source(conn))
		return SPLICE_REJECT_SOURCE_LIMIT;
	return SPLICE_REJECT_N;
}

static void link_conn(struct conn *conn)
{
	struct acceptor *acceptor = conn->acceptor;

	conn->next = acceptor->conns;
	if (conn->next)
		conn->next->prev = conn;
	acceptor->conns = conn;
	acceptor->n_conns++;
	atomic_store_explicit(&acceptor->n_live, acceptor->n_conns, memory_order_relaxed);
	for (struct listening *l = acceptor->listening; l; l = l->next)
		if (l->load)
			__atomic_store_n(&l->load->n_live, acceptor->n_conns, __ATOMIC_RELAXED);
}

static struct conn *new_conn(struct acceptor *acceptor, const struct listening *listening, int fd,
			     const struct sockaddr_storage *address)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	struct splice_config *config = acceptor->config;

	if (!conn)
		return NULL;
	conn->acceptor = acceptor;
	conn->config = config;
	splice_config_ref(config);
	conn->listener = listening->config;
	conn->fd[CLIENT] = fd;
	conn->fd[SERVER] = -1;
	for (enum conn_side side = CLIENT; side <= SERVER; side++) {
		conn->stream[side].pipe[0] = conn->stream[side].pipe[1] = -1;
		conn->stream[side].counted_as = SPLICE_ENGINE_N;
	}
	conn->accepted_ns = conn->state_since_ns = acceptor->now_ns;
	conn->client = conn->peer = endpoint_of(address);
	conn->is_logged =
		config->flow_log_every && acceptor->n_for_log++ % config->flow_log_every == 0;
	atomic_fetch_add_explicit(&conn->listener->state->n_active, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&acceptor->splice->n_conns, 1, memory_order_relaxed);
	link_conn(conn);
	return conn;
}

/* Its options are the listening socket's, if that had them when it was made. */
static void tune(struct conn *conn, struct listening *listening)
{
	if (conn->peer.family == 0 || (!listening->is_shared && listening->n_untuned == 0))
		return;
	if (listening->n_untuned > 0)
		listening->n_untuned--;
	socket_tune(conn->fd[CLIENT], conn->listener);
}

static void start(struct acceptor *acceptor, struct listening *listening, int fd,
		  const struct sockaddr_storage *address)
{
	enum splice_reject why_not;
	struct conn *conn;

	if (!listening->config) {
		socket_close_by_reset(fd);
		return;
	}
	atomic_fetch_add_explicit(&listening->config->state->n_accepted, 1, memory_order_relaxed);
	conn = new_conn(acceptor, listening, fd, address);
	if (!conn) {
		atomic_fetch_add_explicit(
			&listening->config->state->n_rejected[SPLICE_REJECT_RESOURCES], 1,
			memory_order_relaxed);
		socket_close_by_reset(fd);
		return;
	}
	why_not = admit(conn);
	if (why_not != SPLICE_REJECT_N) {
		conn_reject(conn, why_not);
		return;
	}
	tune(conn, listening);
	sniffing_begin(conn);
}

/* accept4() says what is wrong with one connection, or with us (true). */
static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* False: the queue is empty, or accepting is paused. */
static bool accept_one(struct acceptor *acceptor, struct listening *listening)
{
	struct splice *splice = acceptor->splice;
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(address);
	int fd;

	if (atomic_load_explicit(&splice->n_conns, memory_order_relaxed) >= splice->max_conns) {
		accept_pause(acceptor);
		return false;
	}
	fd = accept4(listening->fd, (struct sockaddr *)&address, &len,
		     SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		start(acceptor, listening, fd, &address);
		return true;
	}
	if (is_shortage(errno))
		accept_pause(acceptor);
	/* The rest is one connection's own end: ECONNABORTED, EPROTO, EHOSTUNREACH, … */
	return errno != EAGAIN && errno != EINVAL && errno != EBADF && !acceptor->is_paused;
}

void accept_turn(struct acceptor *acceptor, struct listening *listening)
{
	for (unsigned i = 0; i < ACCEPTS_PER_TURN && !acceptor->is_paused; i++)
		if (!accept_one(acceptor, listening))
			return;
}

void accept_all(struct acceptor *acceptor, struct listening *listening)
{
	for (unsigned i = 0; i < ACCEPTS_OF_QUEUE; i++)
		if (!accept_one(acceptor, listening))
			return;
}

/* --- The end -------------------------------------------------------------------------------------
 */

void accept_count_reject(const struct conn *conn, enum splice_reject reason)
{
	atomic_fetch_add_explicit(&conn->listener->state->n_rejected[reason], 1,
				  memory_order_relaxed);
}

void conn_reject(struct conn *conn, enum splice_reject reason)
{
	static const char *const why[] = {
#define SPLICE_REJECT_WHY(id, label, help) [SPLICE_REJECT_##id] = help,
		SPLICE_REJECTS(SPLICE_REJECT_WHY)
#undef SPLICE_REJECT_WHY
	};

	accept_count_reject(conn, reason);
	conn_abort(conn, why[reason]);
}

void accept_conn_closed(struct conn *conn)
{
	struct acceptor *acceptor = conn->acceptor;
	struct listener_state *state = conn->listener->state;

	if (conn->is_sniff_counted)
		atomic_fetch_sub_explicit(&state->n_sniffing, 1, memory_order_relaxed);
	conn->is_sniff_counted = false;
	if (conn->is_source_counted)
		sources_remove(acceptor->splice->sources, state->number, &conn->source);
	conn->is_source_counted = false;
	if (conn->is_short)
		acceptor->n_short--;
	if (conn->server)
		backend_end(conn->backend, TAKE_PTR(conn->server));
	free(TAKE_PTR(conn->sniff));
	atomic_fetch_sub_explicit(&state->n_active, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&acceptor->splice->n_conns, 1, memory_order_relaxed);

	if (conn->prev)
		conn->prev->next = conn->next;
	else
		acceptor->conns = conn->next;
	if (conn->next)
		conn->next->prev = conn->prev;
	acceptor->n_conns--;
	atomic_store_explicit(&acceptor->n_live, acceptor->n_conns, memory_order_relaxed);
	for (struct listening *l = acceptor->listening; l; l = l->next)
		if (l->load)
			__atomic_store_n(&l->load->n_live, acceptor->n_conns, __ATOMIC_RELAXED);
	/* Events of this turn may still name it. */
	conn->next = acceptor->graveyard;
	acceptor->graveyard = conn;
	/* File descriptors are free again: resumed at the end of the turn. */
	if (acceptor->is_paused)
		acceptor->resume_ns = acceptor->now_ns;
}
