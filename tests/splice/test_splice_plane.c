/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The plane around connections: first bytes, backends, reload, drain. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/splice/plane_world.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

#define REQUEST "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"
#define STRANGE "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"

static struct world world;

/* --- First bytes ---------------------------------------------------------------------------------
 */

static void test_a_request_in_single_bytes_is_forwarded_once(void **state)
{
	int client, server;
	uint64_t n_timed = 0;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY,
						   .sniff = SPLICE_SNIFF_HTTP,
						   .has_no_default = true});
	client = world_connect(&world);
	for (size_t i = 0; i < strlen(REQUEST); i++)
		peer_send(client, REQUEST + i, 1);
	server = world_accept(&world, 0);
	peer_expect(server, REQUEST, strlen(REQUEST));
	assert_int_equal(world_counters(&world).n_bytes[SPLICE_COPY], strlen(REQUEST));
	peer_ping(client, server);
	peer_end_pair(client, server);
	for (unsigned i = 0; i < SPLICE_TIME_BUCKETS; i++)
		n_timed += atomic_load(&world.listener->sniff_time[i]);
	assert_int_equal(n_timed, 1);
	world_close(&world);
}

static void test_a_request_with_much_behind_it_arrives_whole(void **state)
{
	int client, server;

	world_open(&world, &(struct world_options){.engine = SPLICE_SPLICE,
						   .sniff = SPLICE_SNIFF_HTTP,
						   .send_proxy = PROXY_V2,
						   .has_no_default = true});
	client = world_connect(&world);
	peer_send(client, REQUEST, strlen(REQUEST));
	peer_send_pattern(client, 1, 0, 900000);
	peer_finish(client);
	server = world_accept(&world, 0);
	{
		uint8_t header[28];
		size_t n = 0;

		while (n < sizeof(header)) {
			ssize_t got = recv(server, header + n, sizeof(header) - n, 0);

			assert_true(got > 0);
			n += (size_t)got;
		}
		assert_memory_equal(header, "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 16);
	}
	peer_expect(server, REQUEST, strlen(REQUEST));
	peer_expect_pattern(server, 1, 0, 900000);
	peer_expect_eof(server);
	peer_close(server);
	peer_expect_eof(client);
	peer_close(client);
	world_close(&world);
}

static void test_whom_nobody_serves_reads_why(void **state)
{
	char answer[512];
	size_t n = 0;
	ssize_t got;
	int client;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY,
						   .sniff = SPLICE_SNIFF_HTTP,
						   .has_no_default = true});
	client = world_connect(&world);
	peer_send(client, STRANGE, strlen(STRANGE));
	/* More that nobody will read: the answer must arrive all the same. */
	peer_send_pattern(client, 1, 0, 500000);
	peer_finish(client);
	while ((got = recv(client, answer + n, sizeof(answer) - 1 - n, 0)) > 0)
		n += (size_t)got;
	assert_int_equal(got, 0);
	answer[n] = '\0';
	assert_memory_equal(answer, "HTTP/1.1 421 ", 13);
	peer_close(client);
	world_wait_rejected(&world, SPLICE_REJECT_NO_BACKEND, 1);
	world_close(&world);
}

static void test_broken_and_slow_first_bytes_are_rejected(void **state)
{
	int client;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY,
						   .sniff = SPLICE_SNIFF_HTTP,
						   .sniff_timeout_ns = 150 * NSEC_PER_MSEC});
	client = world_connect(&world);
	peer_send(client, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 37);
	peer_expect_reset(client);
	peer_close(client);
	world_wait_rejected(&world, SPLICE_REJECT_SNIFF_MALFORMED, 1);

	/* The time is absolute: a byte now and then does not help. */
	client = world_connect(&world);
	for (unsigned i = 0; i < 40; i++) {
		struct pollfd pollfd = {.fd = client, .events = POLLIN};

		(void)send(client, "GET / HTTP/1.1\r\nX: yyyyyyyyyyyyyyyyyyyyyyy" + i, 1,
			   MSG_NOSIGNAL);
		if (poll(&pollfd, 1, 20) == 1)
			break;
	}
	world_wait_rejected(&world, SPLICE_REJECT_SNIFF_TIMEOUT, 1);
	peer_close(client);

	client = world_connect(&world);
	peer_send(client, "GET", 3);
	peer_finish(client);
	peer_expect_reset(client);
	peer_close(client);
	world_wait_rejected(&world, SPLICE_REJECT_CLIENT_GONE, 1);
	world_close(&world);
}

static void test_many_silent_clients_hold_no_memory_and_nobody_up(void **state)
{
	enum { N = 500 };
	int clients[N], client, server;
	struct splice_flow_row row;

	world_open(&world,
		   &(struct world_options){.engine = SPLICE_COPY, .sniff = SPLICE_SNIFF_HTTP});
	for (unsigned i = 0; i < N; i++) {
		clients[i] = world_connect(&world);
		if (i % 2)
			peer_send(clients[i], "G", 1);
	}
	world_wait_u32(&world.listener->n_sniffing, N);
	client = world_connect(&world);
	peer_send(client, REQUEST, strlen(REQUEST));
	server = world_accept(&world, 0);
	peer_expect(server, REQUEST, strlen(REQUEST));
	peer_end_pair(client, server);
	world_wait_u32(&world.listener->n_active, N);
	/* A small buffer for whoever has sent something. Asking for flows is a turn of the thread's
	 * after which nothing happens. */
	assert_int_equal(splice_flows(world.splice, &row, 1), 1);
	assert_true(world.splice->acceptors[0]->pool.small.n_used <= N / 2);
	assert_int_equal(world.splice->acceptors[0]->pool.large.n_used, 0);
	/* … and one before it writes there again: ThreadSanitizer wants to see that. */
	assert_int_equal(splice_flows(world.splice, &row, 1), 1);
	for (unsigned i = 0; i < N; i++)
		peer_close(clients[i]);
	world_close(&world);
}

static void test_proxy_headers_come_only_from_whom_may_send_them(void **state)
{
	static const char header[] = "PROXY TCP4 192.0.2.9 192.0.2.1 1000 443\r\n";
	struct splice_flow_row row;
	int client, server;

	world_open(&world,
		   &(struct world_options){.engine = SPLICE_COPY, .proxy_protocol = PROXY_ANY});
	client = world_connect(&world);
	peer_expect_reset(client);
	peer_close(client);
	world_wait_rejected(&world, SPLICE_REJECT_ACL, 1);
	world_close(&world);

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY,
						   .proxy_protocol = PROXY_ANY,
						   .send_proxy = PROXY_V1,
						   .is_proxy_from_here = true});
	client = world_connect(&world);
	peer_send(client, "hello, no header\r\n", 18);
	peer_expect_reset(client);
	peer_close(client);
	world_wait_rejected(&world, SPLICE_REJECT_PROXY_HEADER, 1);

	client = world_connect(&world);
	for (size_t i = 0; i < strlen(header); i++)
		peer_send(client, header + i, 1);
	peer_send(client, "x", 1);
	server = world_accept(&world, 0);
	/* The addresses go on, the header itself does not. */
	peer_expect(server, header, strlen(header));
	peer_expect(server, "x", 1);
	peer_ping(client, server);
	assert_int_equal(splice_flows(world.splice, &row, 1), 1);
	assert_int_equal(row.client.family, 4);
	assert_int_equal(row.client.port, 1000);
	assert_memory_equal(row.client.addr.octet, "\xc0\x00\x02\x09", 4);
	assert_string_equal(row.state, "open");
	assert_string_equal(row.server, "s0");
	assert_int_equal(row.bytes[CLIENT], 5);
	assert_int_equal(row.bytes[SERVER], 4);
	peer_end_pair(client, server);
	world_close(&world);
}

/* --- Backends ------------------------------------------------------------------------------------
 */

static void test_the_next_server_is_tried_and_the_bad_one_marked(void **state)
{
	int client, server;

	world_open(&world,
		   &(struct world_options){.engine = SPLICE_COPY, .n_servers = 2, .n_retries = 1});
	close_fdp(&world.server_fds[0]);
	for (unsigned i = 0; i < 8; i++) {
		client = world_connect(&world);
		server = world_accept(&world, 1);
		peer_ping(client, server);
		peer_end_pair(client, server);
		world_wait_no_conns(&world);
	}
	/* Three failures in a row took it out: it was not asked again. */
	assert_int_equal(atomic_load(&world.servers[0]->n_failures), 3);
	assert_true(atomic_load(&world.servers[0]->out_until_ns) > clock_now_ns());
	close_fdp(&world.server_fds[1]);
	client = world_connect(&world);
	peer_expect_reset(client);
	peer_close(client);
	world_wait_rejected(&world, SPLICE_REJECT_NO_BACKEND, 1);
	world_close(&world);
}

static void test_a_server_that_does_not_answer_is_given_up(void **state)
{
	int client, fds[4];

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY,
						   .connect_timeout_ns = 200 * NSEC_PER_MSEC});
	assert_int_equal(listen(world.server_fds[0], 0), 0);
	fill_queue(fds, ARRAY_SIZE(fds), world.servers[0]);
	client = world_connect(&world);
	peer_send(client, "x", 1);
	peer_expect_reset(client);
	peer_close(client);
	world_wait_rejected(&world, SPLICE_REJECT_NO_BACKEND, 1);
	assert_int_equal(atomic_load(&world.servers[0]->n_failures), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		peer_close(fds[i]);
	world_close(&world);
}

static void test_a_client_that_leaves_while_connecting_is_noticed(void **state)
{
	int client, fds[4];

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	assert_int_equal(listen(world.server_fds[0], 0), 0);
	fill_queue(fds, ARRAY_SIZE(fds), world.servers[0]);
	client = world_connect(&world);
	world_wait_u32(&world.backend->n_active, 1);
	peer_send(client, "x", 1);
	peer_reset(client);
	world_wait_rejected(&world, SPLICE_REJECT_CLIENT_GONE, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		peer_close(fds[i]);
	world_close(&world);
}

/* --- Life ----------------------------------------------------------------------------------------
 */

static void test_reload_touches_nothing_that_is_there(void **state)
{
	int client, server, other, other_server;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY, .n_acceptors = 2});
	world_pair(&world, &client, &server);
	for (unsigned i = 0; i < 50; i++) {
		world.options.max_connections = 1 + i;
		world_reload(&world);
		peer_ping(client, server);
	}
	world.options.max_connections = 1;
	world_reload(&world);
	other = world_connect(&world);
	peer_expect_reset(other);
	peer_close(other);
	world.options.max_connections = 0;
	world_reload(&world);
	world_pair(&world, &other, &other_server);
	peer_ping(other, other_server);
	peer_ping(client, server);
	peer_end_pair(other, other_server);
	peer_end_pair(client, server);
	world_close(&world);
}

static void test_a_removed_listener_loses_nobody_in_its_queue(void **state)
{
	enum { N = 40 };
	int clients[N], servers[N];

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	for (unsigned i = 0; i < N; i++)
		clients[i] = world_connect(&world);
	assert_int_equal(splice_remove_listener(world.splice, world.listener->number), 0);
	for (unsigned i = 0; i < N; i++)
		servers[i] = world_accept(&world, 0);
	assert_int_equal(atomic_load(&world.listener->n_accepted), N);
	{
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		assert_int_equal(connect(fd, (struct sockaddr *)&world.address, world.address_len),
				 -1);
		assert_int_equal(errno, ECONNREFUSED);
		peer_close(fd);
	}
	for (unsigned i = 0; i < N; i++)
		peer_close(clients[i]);
	for (unsigned i = 0; i < N; i++) {
		peer_expect_eof(servers[i]);
		peer_close(servers[i]);
	}
	world_close(&world);
}

static void test_an_acceptor_out_of_service_takes_no_new_ones(void **state)
{
	int client, server;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY, .n_acceptors = 2});
	assert_int_equal(splice_set_acceptor(world.splice, 0, false), 0);
	for (unsigned i = 0; i < 50; i++) {
		world_pair(&world, &client, &server);
		peer_ping(client, server);
		assert_int_equal(atomic_load(&world.splice->acceptors[0]->n_live), 0);
		peer_end_pair(client, server);
	}
	assert_int_equal(splice_set_acceptor(world.splice, 0, true), 0);
	assert_int_equal(splice_set_acceptor(world.splice, 1, false), 0);
	world_wait_no_conns(&world);
	world_pair(&world, &client, &server);
	assert_int_equal(atomic_load(&world.splice->acceptors[0]->n_live), 1);
	peer_end_pair(client, server);
	world_close(&world);
}

static void test_drain_lets_finish_then_resets(void **state)
{
	int client, server, other, other_server;
	struct sockaddr_storage address;
	int fd;

	world_open(&world, &(struct world_options){.engine = SPLICE_SPLICE});
	address = world.address;
	world_pair(&world, &client, &server);
	world_pair(&world, &other, &other_server);
	splice_drain(world.splice, clock_now_ns() + 400 * NSEC_PER_MSEC);
	peer_ping(client, server);
	peer_end_pair(client, server);
	assert_false(splice_is_drained(world.splice));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, world.address_len), -1);
	peer_close(fd);
	peer_expect_reset(other);
	peer_expect_reset(other_server);
	peer_close(other);
	peer_close(other_server);
	world_wait_no_conns(&world);
	assert_int_equal(world_counters(&world).n_killed, 1);
	world_close(&world);
}

/* It has all been given to TCP, and the reset takes from there what the far end had no room for. */
static void test_what_a_reset_takes_from_tcp_is_counted(void **state)
{
	const int small = 4096;
	uint64_t until_ns = clock_now_ns() + WORLD_WAIT_MS * NSEC_PER_MSEC;
	int client, server;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	assert_int_equal(
		setsockopt(world.server_fds[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	world_pair(&world, &client, &server);
	peer_send_pattern(client, 1, 0, 30000);
	while (world_counters(&world).n_bytes[SPLICE_COPY] < 30000)
		assert_true(clock_now_ns() < until_ns);
	peer_send(server, "x", 1); /* when it has arrived the turn is over */
	peer_expect(client, "x", 1);
	assert_int_equal(world_counters(&world).parked_bytes, 0);
	splice_drain(world.splice, 1);
	peer_expect_reset(client);
	world_wait_no_conns(&world);
	assert_int_equal(world_counters(&world).n_truncations, 1);
	peer_close(client);
	peer_close(server);
	world_close(&world);
}

/* Nothing is missing: the far end has it all. */
static void test_a_reset_that_takes_nothing_is_no_truncation(void **state)
{
	int client, server;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	world_pair(&world, &client, &server);
	peer_ping(client, server);
	peer_finish(client);
	peer_expect_eof(server);
	splice_drain(world.splice, 1);
	peer_expect_reset(client);
	world_wait_no_conns(&world);
	assert_int_equal(world_counters(&world).n_truncations, 0);
	peer_close(client);
	peer_close(server);
	world_close(&world);
}

static void test_a_local_listener_is_shared(void **state)
{
	int clients[20], servers[20];

	world_open(&world, &(struct world_options){
				   .engine = SPLICE_SPLICE, .is_unix = true, .n_acceptors = 2});
	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
		world_pair(&world, &clients[i], &servers[i]);
		peer_ping(clients[i], servers[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(clients); i++) {
		/* close() of a local socket is no half-close: what it sent still arrives. */
		peer_send_pattern(clients[i], 1, 0, 50000);
		peer_close(clients[i]);
		peer_expect_pattern(servers[i], 1, 0, 50000);
		peer_expect_eof(servers[i]);
		peer_close(servers[i]);
	}
	world_close(&world);
}

static void test_other_sockets_are_refused(void **state)
{
	int fd;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY});
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	if (fd >= 0)
		assert_int_equal(splice_add_socket(world.splice, 1, 0, fd, NULL, false),
				 -EPROTONOSUPPORT);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(splice_add_socket(world.splice, 1, 0, fd, NULL, false), -EPROTONOSUPPORT);
	world_close(&world);
}

static void test_ended_connections_are_told_of(void **state)
{
	struct splice_flow_record records[8];
	struct pollfd pollfd;
	uint32_t n = 0;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY, .flow_log_every = 2});
	pollfd = (struct pollfd){.fd = splice_records_fd(world.splice), .events = POLLIN};
	for (unsigned i = 0; i < 6; i++) {
		int client, server;

		world_pair(&world, &client, &server);
		peer_ping(client, server);
		peer_end_pair(client, server);
		world_wait_no_conns(&world);
	}
	while (n < 3) {
		assert_int_equal(poll(&pollfd, 1, WORLD_WAIT_MS), 1);
		n += splice_records_drain(world.splice, records + n, 8 - n);
	}
	assert_int_equal(splice_records_drain(world.splice, records, 8), 0);
	assert_int_equal(poll(&pollfd, 1, 0), 0);
	for (unsigned i = 0; i < n; i++) {
		assert_string_equal(records[i].how, "closed");
		assert_int_equal(records[i].row.bytes[CLIENT], 4);
		assert_string_equal(records[i].row.backend, "app");
	}
	world_close(&world);
}

static void test_acceptors_beat(void **state)
{
	static struct splice_report report;
	uint64_t before, until_ns = clock_now_ns() + WORLD_WAIT_MS * NSEC_PER_MSEC;

	world_open(&world, &(struct world_options){.engine = SPLICE_COPY, .n_acceptors = 2});
	splice_report(world.splice, &report);
	before = report.acceptors[1].beat;
	while (report.acceptors[1].beat == before) {
		(void)poll(NULL, 0, 10);
		splice_report(world.splice, &report);
		assert_true(clock_now_ns() < until_ns);
	}
	assert_int_equal(report.n_acceptors, 2);
	assert_true(report.acceptors[0].tid > 0);
	world_close(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_in_single_bytes_is_forwarded_once),
		cmocka_unit_test(test_a_request_with_much_behind_it_arrives_whole),
		cmocka_unit_test(test_whom_nobody_serves_reads_why),
		cmocka_unit_test(test_broken_and_slow_first_bytes_are_rejected),
		cmocka_unit_test(test_many_silent_clients_hold_no_memory_and_nobody_up),
		cmocka_unit_test(test_proxy_headers_come_only_from_whom_may_send_them),
		cmocka_unit_test(test_the_next_server_is_tried_and_the_bad_one_marked),
		cmocka_unit_test(test_a_server_that_does_not_answer_is_given_up),
		cmocka_unit_test(test_a_client_that_leaves_while_connecting_is_noticed),
		cmocka_unit_test(test_reload_touches_nothing_that_is_there),
		cmocka_unit_test(test_a_removed_listener_loses_nobody_in_its_queue),
		cmocka_unit_test(test_an_acceptor_out_of_service_takes_no_new_ones),
		cmocka_unit_test(test_drain_lets_finish_then_resets),
		cmocka_unit_test(test_what_a_reset_takes_from_tcp_is_counted),
		cmocka_unit_test(test_a_reset_that_takes_nothing_is_no_truncation),
		cmocka_unit_test(test_a_local_listener_is_shared),
		cmocka_unit_test(test_other_sockets_are_refused),
		cmocka_unit_test(test_ended_connections_are_told_of),
		cmocka_unit_test(test_acceptors_beat),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
