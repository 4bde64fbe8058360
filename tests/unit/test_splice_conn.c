/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A connection with something left to do is always waited for: every order in which a turn of the
 * acceptor may bring its events, looks and notes, one call at a time. No thread: the test takes the
 * acceptor's part, and the engine's where the case is rare.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "splice/acceptor.h"
#include "splice/engine.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

#define WAIT_MS 5000

static struct splice splice;
static struct acceptor acceptor;
static struct listener_state listener_state;
static struct listener_config listener;
static struct splice_config config;
static int client, server; /* the peers' ends */

static void wait_for(int fd, short events)
{
	struct pollfd pollfd = {.fd = fd, .events = events};

	assert_int_equal(poll(&pollfd, 1, WAIT_MS), 1);
}

/* A TCP connection: the peer's end, and ours. */
static void make_pair(int *ret_peer, int *ret_ours)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listening, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
	*ret_peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*ret_peer, (struct sockaddr *)&address, len), 0);
	*ret_ours = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(*ret_ours >= 0);
	assert_int_equal(close(listening), 0);
}

static void reset(int *fd)
{
	const struct linger linger = {.l_onoff = 1};

	assert_int_equal(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	close_fdp(fd);
}

static struct conn *open_conn(void)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	assert_non_null(conn);
	memset(&splice, 0, sizeof(splice));
	memset(&listener_state, 0, sizeof(listener_state));
	config = (struct splice_config){.refs = 2};
	listener = (struct listener_config){.state = &listener_state, .engine = SPLICE_COPY};
	acceptor = (struct acceptor){.splice = &splice,
				     .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
				     .now_ns = clock_now_ns()};
	timers_init(&acceptor.timers, acceptor.now_ns);
	conn->acceptor = &acceptor;
	conn->config = &config;
	conn->listener = &listener;
	conn->peer.family = 4; /* TCP's ends, not a unix socket's */
	for (enum conn_side from = CLIENT; from <= SERVER; from++) {
		conn->stream[from].pipe[0] = conn->stream[from].pipe[1] = -1;
		conn->stream[from].counted_as = SPLICE_ENGINE_N;
	}
	make_pair(&client, &conn->fd[CLIENT]);
	make_pair(&server, &conn->fd[SERVER]);
	acceptor.conns = conn;
	acceptor.n_conns = splice.n_conns = listener_state.n_active = 1;
	conn_open(conn);
	assert_int_equal(conn->state, CONN_OPEN);
	return conn;
}

static void close_conn(struct conn *conn)
{
	conn_abort(conn, "the test ends");
	free(conn);
	close_fdp(&client);
	close_fdp(&server);
	close_fdp(&acceptor.epoll_fd);
	pool_fini(&acceptor.pool);
}

/* The looks that are due, until there are none. */
static void look(struct conn *conn)
{
	for (unsigned i = 0; i < 100 && conn->state == CONN_OPEN && conn->is_soon; i++) {
		acceptor.now_ns = conn->soon_ns;
		conn_on_soon(conn);
	}
}

static void expect_reset(int fd)
{
	char byte;

	wait_for(fd, POLLIN);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNRESET);
}

/*
 * The client ends while the server resets: sending the FIN on finds the server's socket dead, which
 * is then unwatched, and to be read without an event. A note of the verdict about the client's last
 * bytes comes in the same turn.
 */
static void test_a_note_leaves_the_dead_side_to_be_read(void **state)
{
	struct conn *conn = open_conn();

	assert_int_equal(shutdown(client, SHUT_WR), 0);
	wait_for(conn->fd[CLIENT], POLLRDHUP);
	reset(&server);
	wait_for(conn->fd[SERVER], POLLERR);
	conn_on_event(conn, CLIENT, EPOLLIN | EPOLLRDHUP);
	assert_true(conn->stream[CLIENT].fin_seen);
	assert_false(conn->stream[CLIENT].fin_sent);
	assert_true(conn->is_dead[SERVER]);
	assert_false(conn->is_watched[SERVER]);
	assert_true(conn->is_soon);
	conn_on_passed(conn, CLIENT);
	look(conn);
	assert_int_equal(conn->state, CONN_CLOSED);
	expect_reset(client);
	close_conn(conn);
}

/* --- An engine that says what it is told to ------------------------------------------------------
 */

static enum pump says[2], said[2]; /* … when it is asked next; when it was asked */
static unsigned n_pumps[2];
static bool is_drained;

static enum pump fake_pump(struct conn *conn, enum conn_side from)
{
	conn->stream[from].is_ordering = says[from] == PUMP_ORDER;
	n_pumps[from]++;
	said[from] = says[from];
	return said[from];
}

static bool fake_is_drained(const struct conn *conn, enum conn_side from)
{
	return is_drained;
}

/* As those of the sockmap engine: nothing helps where the order is waited for. */
static uint32_t fake_source_events(const struct conn *conn, enum conn_side from)
{
	return conn->stream[from].is_ordering ? 0 : EPOLLRDHUP;
}

static uint32_t fake_sink_events(const struct conn *conn, enum conn_side from)
{
	return said[from] == PUMP_FULL ? EPOLLOUT : 0;
}

static uint64_t fake_parked(const struct conn *conn, enum conn_side from)
{
	return 0;
}

static void fake_leave(struct conn *conn, enum conn_side from)
{
}

static const struct engine engine_fake = {
	.id = SPLICE_COPY,
	.name = "fake",
	.pump = fake_pump,
	.is_drained = fake_is_drained,
	.source_events = fake_source_events,
	.sink_events = fake_sink_events,
	.parked = fake_parked,
	.leave = fake_leave,
};

static struct conn *open_fake(enum pump client_says, enum pump server_says)
{
	struct conn *conn = open_conn();

	conn->stream[CLIENT].engine = conn->stream[SERVER].engine = &engine_fake;
	says[CLIENT] = client_says;
	says[SERVER] = server_says;
	is_drained = true;
	said[CLIENT] = said[SERVER] = PUMP_EMPTY;
	n_pumps[CLIENT] = n_pumps[SERVER] = 0;
	return conn;
}

/* What may come about `side` while the other direction waits to be looked at. */
static void note(struct conn *conn, enum conn_side side)
{
	conn_on_passed(conn, side);
}

static void readable(struct conn *conn, enum conn_side side)
{
	conn_on_event(conn, side, EPOLLIN);
}

static void half_closed(struct conn *conn, enum conn_side side)
{
	conn_on_event(conn, side, EPOLLRDHUP);
}

static void writable(struct conn *conn, enum conn_side side)
{
	conn_on_event(conn, conn_other(side), EPOLLOUT);
}

static void (*const comings[])(struct conn *conn, enum conn_side side) = {note, readable,
									  half_closed, writable};

/* Bytes wait for others to be taken first, which no event tells. */
static void test_what_comes_of_one_side_leaves_the_order_of_the_other(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(comings); i++)
		for (enum conn_side from = CLIENT; from <= SERVER; from++) {
			enum conn_side other = conn_other(from);
			struct conn *conn = open_fake(PUMP_EMPTY, PUMP_EMPTY);
			unsigned n;

			says[from] = PUMP_ORDER;
			conn_on_passed(conn, from);
			assert_int_equal(conn->epoll_events[from], 0);
			assert_true(conn->is_soon);
			comings[i](conn, other);
			assert_true(conn->is_soon);
			n = n_pumps[from];
			says[from] = PUMP_EMPTY;
			look(conn);
			assert_true(n_pumps[from] > n);
			assert_false(conn->is_soon);
			assert_int_equal(conn->epoll_events[from], EPOLLRDHUP);
			close_conn(conn);
		}
}

/* A dead source tells nothing more, however little or much it has. */
static void test_what_comes_of_one_side_leaves_the_end_of_the_other(void **state)
{
	const enum pump answers[] = {PUMP_EMPTY, PUMP_MORE, PUMP_ORDER};

	for (unsigned i = 0; i < ARRAY_SIZE(comings); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(answers); j++) {
			struct conn *conn = open_fake(PUMP_EOF, answers[j]);

			is_drained = false;
			conn_on_event(conn, SERVER, EPOLLERR | EPOLLHUP);
			assert_false(conn->is_watched[SERVER]);
			assert_true(conn->is_soon);
			comings[i](conn, CLIENT);
			assert_true(conn->is_soon);
			says[SERVER] = PUMP_SOURCE;
			look(conn);
			assert_int_equal(conn->state, CONN_CLOSED);
			expect_reset(client);
			close_conn(conn);
		}
}

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252ULL;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Something that will call again: what run() promises. */
static bool is_waited_for(const struct conn *conn, enum conn_side from)
{
	enum conn_side to = conn_other(from);

	return conn->is_soon || conn->stream[from].fin_sent || conn->is_dead[to] ||
	       (conn->is_watched[from] && conn->epoll_events[from]) ||
	       (conn->is_watched[to] && conn->epoll_events[to] & EPOLLOUT);
}

static void step(struct conn *conn)
{
	static const enum pump answers[] = {PUMP_EMPTY, PUMP_FULL, PUMP_MORE, PUMP_ORDER, PUMP_EOF};
	static const uint32_t events[] = {EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLERR, EPOLLHUP};
	enum conn_side side = next_random() % 2;

	/* An end is rare, or there is nothing before it. */
	says[CLIENT] = answers[next_random() % (next_random() % 8 ? 4 : 5)];
	says[SERVER] = answers[next_random() % (next_random() % 8 ? 4 : 5)];
	is_drained = next_random() % 2;
	if (next_random() % 3 == 0)
		conn_on_passed(conn, side);
	else if (next_random() % 2 && conn->is_soon)
		conn_on_soon(conn);
	else
		conn_on_event(conn, side, events[next_random() % (next_random() % 8 ? 3 : 5)]);
}

static void test_whatever_comes_someone_will_look_again(void **state)
{
	unsigned n_steps = 0;

	for (unsigned i = 0; i < 500; i++) {
		struct conn *conn = open_fake(PUMP_EMPTY, PUMP_EMPTY);

		for (unsigned j = 0; j < 100 && conn->state == CONN_OPEN; j++, n_steps++) {
			step(conn);
			if (conn->state != CONN_OPEN)
				break;
			assert_true(is_waited_for(conn, CLIENT));
			assert_true(is_waited_for(conn, SERVER));
		}
		close_conn(conn);
	}
	assert_true(n_steps > 5000);
}

/* --- Time ----------------------------------------------------------------------------------------
 */

static void advance(struct conn *conn, uint64_t ns)
{
	acceptor.now_ns += ns;
	if (conn->timer.deadline_ns <= acceptor.now_ns)
		conn_on_timeout(conn);
}

/* The half-closed time begins with the end of a side, not with the last byte before it. */
static void test_an_end_after_silence_has_its_time(void **state)
{
	static const struct {
		uint32_t events;
		enum pump says;
	} ends[] = {{EPOLLRDHUP, PUMP_EOF}, {EPOLLERR | EPOLLHUP, PUMP_FULL}};

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		struct conn *conn = open_fake(PUMP_EMPTY, PUMP_EMPTY);

		listener.idle_timeout_ns = 3600 * NSEC_PER_SEC;
		listener.half_closed_timeout_ns = 60 * NSEC_PER_SEC;
		is_drained = false; /* the server takes nothing for a while */
		advance(conn, 600 * NSEC_PER_SEC);
		says[CLIENT] = ends[i].says;
		conn_on_event(conn, CLIENT, ends[i].events);
		assert_true(timer_is_armed(&conn->timer));
		advance(conn, 59 * NSEC_PER_SEC);
		assert_int_equal(conn->state, CONN_OPEN);
		advance(conn, 2 * NSEC_PER_SEC);
		assert_int_equal(conn->state, CONN_CLOSED);
		assert_string_equal(conn->how, "half-closed for too long");
		close_conn(conn);
	}
}

/* A server that reads nothing acknowledges nothing; a thousand of these must not burn a CPU. */
static void test_acknowledgements_are_waited_for_with_patience(void **state)
{
	struct conn *conn = open_fake(PUMP_EMPTY, PUMP_EMPTY);
	uint64_t until_ns = acceptor.now_ns + 10 * NSEC_PER_SEC;
	static const char bytes[65536];
	unsigned n_looks = 0;

	while (send(conn->fd[SERVER], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	says[CLIENT] = PUMP_EOF;
	conn_on_event(conn, CLIENT, EPOLLRDHUP);
	assert_true(conn->stream[CLIENT].fin_sent);
	says[SERVER] = PUMP_FULL;
	conn_on_event(conn, CLIENT, EPOLLERR | EPOLLHUP);
	for (; acceptor.now_ns < until_ns; n_looks++) {
		assert_int_equal(conn->state, CONN_OPEN);
		assert_true(conn->is_soon);
		acceptor.now_ns = conn->soon_ns;
		conn_on_soon(conn);
	}
	assert_true(n_looks < 60);
	close_conn(conn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_note_leaves_the_dead_side_to_be_read),
		cmocka_unit_test(test_what_comes_of_one_side_leaves_the_order_of_the_other),
		cmocka_unit_test(test_what_comes_of_one_side_leaves_the_end_of_the_other),
		cmocka_unit_test(test_whatever_comes_someone_will_look_again),
		cmocka_unit_test(test_an_end_after_silence_has_its_time),
		cmocka_unit_test(test_acknowledgements_are_waited_for_with_patience),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
