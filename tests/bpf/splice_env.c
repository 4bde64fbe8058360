// SPDX-License-Identifier: GPL-2.0-or-later
/* Connections and the smallest user space of a spliced one; see splice_env.h. */
#include "splice_env.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "bpf_env.h"
#include "util/clock.h"
#include "util/macros.h"

static uint8_t pattern(uint64_t seed, uint64_t i)
{
	uint64_t word = (i >> 3) * 0x9e3779b97f4a7c15ULL ^ seed;

	word ^= word >> 29;
	return (uint8_t)(word >> 8 * (i & 7));
}

static uint64_t deadline(void)
{
	return clock_now_ns() + 20 * NSEC_PER_SEC;
}

static void check_deadline(uint64_t deadline_ns, const struct way *way)
{
	if (clock_now_ns() > deadline_ns)
		fail_msg("late: sent %lu received %lu relayed %lu; redirected %lu passed %lu "
			 "consumed %lu",
			 way->n_sent, way->n_received, way->n_relayed,
			 (unsigned long)way->flow->redirected, (unsigned long)way->flow->passed,
			 (unsigned long)way->flow->consumed);
}

void splice_env_enter(void)
{
	env_enter();
	env_run("ip", "link", "set", "lo", "up", NULL);
}

struct splice_maps *splice_env_maps(uint32_t n_conns)
{
	const struct splice_maps_spec spec = {.n_conns = n_conns, .n_acceptors = 1};
	struct splice_maps *maps = NULL;

	assert_int_equal(splice_maps_new(&spec, &maps), 0);
	return maps;
}

/* Returns the active end. */
int connect_pair(int *ret_passive)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	_cleanup_close_ int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int active = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(address);
	const int one = 1;

	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(connect(active, (struct sockaddr *)&address, sizeof(address)), 0);
	*ret_passive = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*ret_passive >= 0);
	(void)setsockopt(active, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(*ret_passive, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return active;
}

void link_open(struct link *link, struct splice_maps *maps, uint32_t conn)
{
	*link = (struct link){.maps = maps, .client_side = 2 * conn};
	link->fd[CLIENT] = connect_pair(&link->fd[A]);
	link->fd[B] = connect_pair(&link->fd[SERVER]);
	for (unsigned i = 0; i < 2; i++) {
		struct way *way = &link->way[i];

		way->from = link->fd[i == 0 ? CLIENT : SERVER];
		way->source = link->fd[i == 0 ? A : B];
		way->sink = link->fd[i == 0 ? B : A];
		way->to = link->fd[i == 0 ? SERVER : CLIENT];
		way->seed = (2 * conn + i + 1) * 0xd1342543de82ef95ULL;
		way->flow = splice_flow(maps, link->client_side + i);
	}
}

int link_enter(struct link *link)
{
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(splice_base(link->way[i].sink, &link->way[i].sink_base), 0);
	return splice_enter(link->maps, link->client_side, (int[]){link->fd[A], link->fd[B]});
}

void link_wish(struct link *link, enum splice_wish wish)
{
	for (unsigned i = 0; i < 2; i++)
		__atomic_store_n(&link->way[i].flow->wish, wish, __ATOMIC_RELEASE);
}

void link_splice(struct link *link)
{
	assert_int_equal(link_enter(link), 0);
	link_wish(link, SPLICE_KERNEL);
	(void)splice_kick(link->fd[A]);
	(void)splice_kick(link->fd[B]);
}

void env_reset(int *fd)
{
	const struct linger now = {.l_onoff = 1};

	if (*fd >= 0)
		(void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_fdp(fd);
}

void link_close(struct link *link)
{
	splice_leave(link->maps, link->client_side);
	for (unsigned i = 0; i < N_SOCKETS; i++)
		env_reset(&link->fd[i]);
}

/* --- Bytes -------------------------------------------------------------------------------------
 */

void way_feed(struct way *way, size_t n)
{
	uint8_t bytes[64 << 10];
	ssize_t sent;

	n = MIN(n, sizeof(bytes));
	for (size_t i = 0; i < n; i++)
		bytes[i] = pattern(way->seed, way->n_sent + i);
	sent = send(way->from, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN)
		fail_msg("send: %s", strerror(errno));
	way->n_sent += sent > 0 ? (uint64_t)sent : 0;
}

void way_drain(struct way *way)
{
	uint8_t bytes[64 << 10];
	ssize_t n = recv(way->to, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		fail_msg("recv: %s", strerror(errno));
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != pattern(way->seed, way->n_received + (uint64_t)i))
			fail_msg("byte %lu is wrong", way->n_received + (uint64_t)i);
	}
	way->n_received += n > 0 ? (uint64_t)n : 0;
	if (n == 0)
		way->to_eof = true;
}

bool way_is_taken(const struct way *way)
{
	uint64_t taken;

	return splice_taken(way->sink, way->sink_base, &taken) == 0 &&
	       taken == splice_redirected(way->flow) + way->n_relayed;
}

/* False: nothing was read, or an error. */
static bool fill(struct way *way, int *error)
{
	char byte;
	ssize_t n;

	if (!splice_is_owed(way->flow)) {
		n = recv(way->source, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		*error = n < 0 && errno != EAGAIN ? errno : 0;
		if (n == 0 && !splice_is_owed(way->flow))
			way->source_eof = true;
		return false;
	}
	if (!way_is_taken(way))
		return false;
	n = recv(way->source, way->held, sizeof(way->held), MSG_DONTWAIT);
	*error = n < 0 && errno != EAGAIN ? errno : 0;
	if (n <= 0)
		return false;
	way->n_held = (size_t)n;
	way->held_at = 0;
	return true;
}

bool way_relay(struct way *way)
{
	int error = 0;
	ssize_t n;

	if (way->source_eof && !way->sink_shut && way_is_taken(way)) {
		assert_int_equal(shutdown(way->sink, SHUT_WR), 0);
		way->sink_shut = true;
	}
	if (way->source_eof)
		return true;
	if (way->n_held == 0 && !fill(way, &error)) {
		errno = error;
		return error == 0;
	}
	n = send(way->sink, way->held + way->held_at, way->n_held, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN;
	way->held_at += (size_t)n;
	way->n_held -= (size_t)n;
	way->n_relayed += (uint64_t)n;
	(void)splice_consume(way->flow, (uint64_t)n);
	return true;
}

void way_feed_all(struct way *way, uint64_t n)
{
	uint64_t deadline_ns = deadline();

	while (way->n_sent < n) {
		way_feed(way, n - way->n_sent);
		check_deadline(deadline_ns, way);
	}
}

void way_expect(struct way *way, uint64_t n, bool is_relayed)
{
	uint64_t deadline_ns = deadline();

	while (way->n_received < n) {
		if (is_relayed)
			assert_true(way_relay(way));
		way_drain(way);
		(void)sched_yield();
		check_deadline(deadline_ns, way);
	}
	assert_int_equal(way->n_received, n);
}

void env_wait_readable(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&poller, 1, ENV_DEADLINE_MS), 1);
}

int env_so_error(int fd)
{
	int error = 0;
	socklen_t size = sizeof(error);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
	return error;
}
