/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the plane's sockets are told, and how few segments they need: over loopback, by the sockets
 * themselves. The acceptors are threads of this process, so their descriptors are ours. */
#include <dirent.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/splice/plane_world.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

static struct world world;

/* --- Finding them --------------------------------------------------------------------------------
 */

static bool is_same(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
	return a->sin_family == AF_INET && b->sin_family == AF_INET && a->sin_port == b->sin_port &&
	       a->sin_addr.s_addr == b->sin_addr.s_addr;
}

static bool is_far_end(int fd, const struct sockaddr_in *own)
{
	struct sockaddr_in peer = {};
	socklen_t len = sizeof(peer);

	return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && is_same(&peer, own);
}

/* The plane's descriptor at the other end of ours; -1: it has none yet. */
static int find_far_end(int fd)
{
	struct sockaddr_in own = {};
	socklen_t len = sizeof(own);
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	int found = -1;

	assert_non_null(dir);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &len), 0);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.' && is_far_end(atoi(entry->d_name), &own))
			found = atoi(entry->d_name);
	}
	(void)closedir(dir);
	return found;
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static void expect_kept_alive(int fd, int idle_s)
{
	assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), idle_s);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 15);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
}

static void expect_tuned(int fd)
{
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
}

/* --- Options -------------------------------------------------------------------------------------
 */

static void test_a_clients_socket_has_the_listeners_options(void **state)
{
	int client, server, fd;

	/* More than those that are tuned one by one. */
	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	for (unsigned i = 0; i < 100; i++) {
		world_pair(&world, &client, &server);
		fd = find_far_end(client);
		assert_true(fd >= 0);
		expect_tuned(fd);
		expect_kept_alive(fd, 60);
		peer_end_pair(client, server);
	}
	world_close(&world);
}

static void test_a_servers_socket_is_kept_alive_when_it_lasts(void **state)
{
	const uint64_t until_ns = clock_now_ns() + WORLD_WAIT_MS * NSEC_PER_MSEC;
	int client, server, fd;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	world_pair(&world, &client, &server);
	/* Tuned when it is connected, which the server may learn first. */
	peer_ping(client, server);
	fd = find_far_end(server);
	assert_true(fd >= 0);
	expect_tuned(fd);
	while (option(fd, SOL_SOCKET, SO_KEEPALIVE) == 0 ||
	       option(fd, IPPROTO_TCP, TCP_KEEPCNT) != 4) {
		assert_true(clock_now_ns() < until_ns);
		(void)poll(NULL, 0, 10);
	}
	expect_kept_alive(fd, 60);
	peer_end_pair(client, server);
	world_close(&world);
}

/* One that was queued under the configuration before is served under this one, and has its options.
 */
static void check_queued(uint64_t keepalive_ns, int is_on, int idle_s)
{
	int client[3], server[3];

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY, .max_conns = 1});
	world_pair(&world, &client[0], &server[0]);
	client[1] = world_connect(&world);
	world.options.keepalive_ns = keepalive_ns;
	world_reload(&world);
	client[2] = world_connect(&world);
	for (unsigned i = 1; i < ARRAY_SIZE(client); i++) {
		int fd;

		peer_end_pair(client[i - 1], server[i - 1]);
		server[i] = world_accept(&world, 0);
		fd = find_far_end(client[i]);
		assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), is_on);
		if (is_on)
			expect_kept_alive(fd, idle_s);
	}
	/* The one before keeps what it has; it is gone. */
	peer_end_pair(client[2], server[2]);
	world_close(&world);
}

static void test_queued_ones_have_the_options_of_a_reload(void **state)
{
	check_queued(90 * NSEC_PER_SEC, 1, 90);
	check_queued(UINT64_MAX, 0, 0);
}

/* --- Segments ------------------------------------------------------------------------------------
 */

static struct tcp_info info_of(int fd)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info;
}

/* What the server sends is acknowledged at once: its second segment may wait for that (Nagle). */
static void expect_quick_acks(int server)
{
	const uint64_t until_ns = clock_now_ns() + WORLD_WAIT_MS * NSEC_PER_MSEC;
	int fd = find_far_end(server);

	while (option(fd, IPPROTO_TCP, TCP_QUICKACK) == 0) {
		assert_true(clock_now_ns() < until_ns);
		(void)poll(NULL, 0, 1);
	}
}

/* Two to open: the SYN, and an ACK that brings the bytes. */
static void test_bytes_that_are_there_open_the_servers_connection(void **state)
{
	int client, server;

	world_open(&world,
		   &(struct world_options){.engine = SPLICE_COPY, .sniff = SPLICE_SNIFF_HTTP});
	client = world_connect(&world);
	peer_send(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
	server = world_accept(&world, 0);
	peer_expect(server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27);
	assert_int_equal(info_of(server).tcpi_segs_in, 2);
	expect_quick_acks(server);
	peer_ping(client, server);
	peer_end_pair(client, server);
	world_close(&world);
}

/* Nobody has to wait for bytes that do not come. */
static void test_a_server_that_speaks_first_is_not_kept_waiting(void **state)
{
	int client, server;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	client = world_connect(&world);
	server = world_accept(&world, 0);
	assert_int_equal(info_of(server).tcpi_segs_in, 2);
	assert_int_equal(info_of(server).tcpi_data_segs_in, 0);
	peer_send(server, "220 hello\r\n", 11);
	peer_expect(client, "220 hello\r\n", 11);
	peer_end_pair(client, server);
	world_close(&world);
}

/* The answer lies there with its FIN: the client gets both in one segment, and nothing twice. */
static void test_last_bytes_take_the_end_along(void **state)
{
	uint32_t n_segments;
	int client, server;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY, .max_conns = 1});
	world_pair(&world, &client, &server);
	peer_ping(client, server);
	n_segments = info_of(client).tcpi_segs_in;
	/* On loopback a sender's softirq wakes the acceptor; both must be there when it reads. */
	assert_int_equal(setsockopt(server, IPPROTO_TCP, TCP_CORK, &(int){1}, sizeof(int)), 0);
	peer_send(server, "answer", 6);
	peer_finish(server);
	peer_expect(client, "answer", 6);
	peer_expect_eof(client);
	assert_int_equal(info_of(client).tcpi_segs_in, n_segments + 1);
	peer_close(client);
	peer_expect_eof(server);
	peer_close(server);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_clients_socket_has_the_listeners_options),
		cmocka_unit_test(test_a_servers_socket_is_kept_alive_when_it_lasts),
		cmocka_unit_test(test_queued_ones_have_the_options_of_a_reload),
		cmocka_unit_test(test_bytes_that_are_there_open_the_servers_connection),
		cmocka_unit_test(test_a_server_that_speaks_first_is_not_kept_waiting),
		cmocka_unit_test(test_last_bytes_take_the_end_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
