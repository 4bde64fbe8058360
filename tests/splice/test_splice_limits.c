/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits of connections, and what happens where something is short: waiting, at no cost. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/splice/plane_world.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

static struct world world;

/* What the acceptors' accept4() says instead of accepting; 0: it accepts. */
static _Atomic int accept_error;

int __real_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	int error = flags & SOCK_NONBLOCK ? atomic_load(&accept_error) : 0;

	if (error == 0)
		return __real_accept4(fd, address, len, flags);
	errno = error;
	return -1;
}

/* What their connect() says; the test's own sockets block. */
static _Atomic int connect_error;

int __real_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	int error = fcntl(fd, F_GETFL) & O_NONBLOCK ? atomic_load(&connect_error) : 0;

	if (error == 0)
		return __real_connect(fd, address, len);
	errno = error;
	return -1;
}

static void test_limits_hold_and_let_go(void **state)
{
	const struct {
		struct world_options options;
		enum splice_reject reason;
	} cases[] = {
		{{.max_connections = 2}, SPLICE_REJECT_LIMIT},
		{{.max_per_source = 2}, SPLICE_REJECT_SOURCE_LIMIT},
		{{.max_backend_connections = 2}, SPLICE_REJECT_LIMIT},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world_options options = cases[i].options;
		int client[3], server[3];

		options.engine = SPLICE_COPY;
		options.n_acceptors = 2;
		world_open(&world, &options);
		world_pair(&world, &client[0], &server[0]);
		world_pair(&world, &client[1], &server[1]);
		client[2] = world_connect(&world);
		peer_expect_reset(client[2]);
		peer_close(client[2]);
		world_wait_rejected(&world, cases[i].reason, 1);
		peer_end_pair(client[0], server[0]);
		world_wait_u32(&world.listener->n_active, 1);
		world_pair(&world, &client[2], &server[2]);
		peer_ping(client[2], server[2]);
		peer_ping(client[1], server[1]);
		peer_end_pair(client[1], server[1]);
		peer_end_pair(client[2], server[2]);
		world_close(&world);
	}
}

static void test_too_many_for_the_plane_wait_in_the_queue(void **state)
{
	int client[3], server[3];

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY, .max_conns = 2});
	world_pair(&world, &client[0], &server[0]);
	world_pair(&world, &client[1], &server[1]);
	client[2] = world_connect(&world);
	assert_true(world_turns_while_quiet(&world, world.server_fds[0], POLLIN, 300) < 15);
	peer_end_pair(client[0], server[0]);
	server[2] = world_accept(&world, 0);
	peer_ping(client[2], server[2]);
	peer_end_pair(client[1], server[1]);
	peer_end_pair(client[2], server[2]);
	world_close(&world);
}

static void test_without_file_descriptors_accepting_waits_and_goes_on(void **state)
{
	struct rlimit limit, low;
	int client[4], server[4];

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	world_pair(&world, &client[0], &server[0]);
	peer_ping(client[0], server[0]);
	client[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)client[1] + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(connect(client[1], (struct sockaddr *)&world.address, world.address_len),
			 0);
	assert_true(world_turns_while_quiet(&world, world.server_fds[0], POLLIN, 400) < 15);
	assert_true(world_counters(&world).n_accept_pauses > 0);
	peer_ping(client[0], server[0]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	server[1] = world_accept(&world, 0);
	peer_ping(client[1], server[1]);
	peer_end_pair(client[0], server[0]);
	peer_end_pair(client[1], server[1]);
	world_close(&world);
}

/* Each is ours, not the connection's: it stays in the queue, and is served when it is over. */
static void test_whatever_is_short_accepting_waits(void **state)
{
	const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};

	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		int client, server, other, other_server;

		world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
		world_pair(&world, &client, &server);
		atomic_store(&accept_error, errors[i]);
		other = world_connect(&world);
		assert_true(world_turns_while_quiet(&world, world.server_fds[0], POLLIN, 300) < 15);
		assert_true(world_counters(&world).n_accept_pauses > 0);
		peer_ping(client, server);
		atomic_store(&accept_error, 0);
		other_server = world_accept(&world, 0);
		peer_ping(other, other_server);
		peer_end_pair(other, other_server);
		peer_end_pair(client, server);
		world_close(&world);
	}
}

/* A security module says so before it looks at the queue, and says it each time. */
static void test_an_error_that_stays_keeps_no_listener(void **state)
{
	int client;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	atomic_store(&accept_error, EPERM);
	client = world_connect(&world);
	assert_int_equal(splice_remove_listener(world.splice, world.listener->number), 0);
	atomic_store(&accept_error, 0);
	peer_expect_reset(client);
	peer_close(client);
	world_close(&world);
}

/* One descriptor: for the client, and none to connect with. */
static int connect_with_one_left(struct rlimit *ret_before)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int next = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct rlimit low;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, ret_before), 0);
	low = *ret_before;
	low.rlim_cur = (rlim_t)next + 1;
	peer_close(next);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&world.address, world.address_len), 0);
	return fd;
}

static void test_without_one_to_connect_with_it_waits_and_goes_on(void **state)
{
	struct rlimit limit;
	int client, server;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	client = connect_with_one_left(&limit);
	assert_true(world_turns_while_quiet(&world, world.server_fds[0], POLLIN, 400) < 15);
	assert_true(world_counters(&world).n_accept_pauses > 0);
	assert_int_equal(atomic_load(&world.listener->n_accepted), 1);
	assert_int_equal(atomic_load(&world.servers[0]->n_failures), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	server = world_accept(&world, 0);
	peer_ping(client, server);
	peer_end_pair(client, server);
	assert_int_equal(atomic_load(&world.listener->n_rejected[SPLICE_REJECT_RESOURCES]), 0);
	/* Accepting goes on, too. */
	world_pair(&world, &client, &server);
	peer_end_pair(client, server);
	world_close(&world);
}

static void test_without_one_to_connect_with_it_waits_no_longer_than_for_a_server(void **state)
{
	struct rlimit limit;
	int client, server;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY,
						   .connect_timeout_ns = 300 * NSEC_PER_MSEC});
	client = connect_with_one_left(&limit);
	peer_expect_reset(client);
	world_wait_rejected(&world, SPLICE_REJECT_RESOURCES, 1);
	assert_int_equal(atomic_load(&world.servers[0]->n_failures), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	peer_close(client);
	world_pair(&world, &client, &server);
	peer_end_pair(client, server);
	world_close(&world);
}

/* A local server's queue is full: it is waited for, and clients of others are accepted. */
static void test_a_full_queue_is_waited_for(void **state)
{
	int clients[6], server;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	atomic_store(&connect_error, EAGAIN);
	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
		clients[i] = world_connect(&world);
	world_wait_u32(&world.listener->n_active, ARRAY_SIZE(clients));
	assert_true(world_turns_while_quiet(&world, world.server_fds[0], POLLIN, 300) < 40);
	assert_int_equal(world_counters(&world).n_accept_pauses, 0);
	atomic_store(&connect_error, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++)
		peer_send(clients[i], "x", 1);
	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
		server = world_accept(&world, 0);
		peer_expect(server, "x", 1);
		peer_close(server);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
		peer_expect_eof(clients[i]);
		peer_close(clients[i]);
	}
	assert_int_equal(atomic_load(&world.servers[0]->n_failures), 0);
	world_close(&world);
}

/* One that stays full is a failure like one that does not answer. */
static void test_a_full_queue_is_waited_for_no_longer_than_an_answer(void **state)
{
	int client;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY,
						   .connect_timeout_ns = 300 * NSEC_PER_MSEC});
	atomic_store(&connect_error, EAGAIN);
	client = world_connect(&world);
	world_wait_rejected(&world, SPLICE_REJECT_NO_BACKEND, 1);
	atomic_store(&connect_error, 0);
	peer_expect_reset(client);
	peer_close(client);
	assert_int_equal(atomic_load(&world.servers[0]->n_failures), 1);
	world_close(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits_hold_and_let_go),
		cmocka_unit_test(test_too_many_for_the_plane_wait_in_the_queue),
		cmocka_unit_test(test_without_file_descriptors_accepting_waits_and_goes_on),
		cmocka_unit_test(test_whatever_is_short_accepting_waits),
		cmocka_unit_test(test_an_error_that_stays_keeps_no_listener),
		cmocka_unit_test(test_without_one_to_connect_with_it_waits_and_goes_on),
		cmocka_unit_test(
			test_without_one_to_connect_with_it_waits_no_longer_than_for_a_server),
		cmocka_unit_test(test_a_full_queue_is_waited_for),
		cmocka_unit_test(test_a_full_queue_is_waited_for_no_longer_than_an_answer),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
