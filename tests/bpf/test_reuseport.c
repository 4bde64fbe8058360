// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which listening socket gets a connection: SYNs over a veth from a namespace of their own (those
 * of this host are the hash's), all from one CPU.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

#include "bpf_env.h"
#include "kern/reuseport.h"
#include "util/macros.h"

enum { N = 4, PORT = 7000, MAX_CONNS = 512 };

static int home_ns = -1, far_ns = -1;
static struct reuseport_group *group;
static int listeners[N];
static int clients[MAX_CONNS], accepted[MAX_CONNS];
static unsigned n_clients, n_accepted, got[N];

/* --- Surroundings ------------------------------------------------------------------------------
 */

static int open_own_ns(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY);

	assert_true(fd >= 0);
	return fd;
}

static void make_far_end(void)
{
	char path[64];

	home_ns = open_own_ns();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	far_ns = open_own_ns();
	env_run("ip", "link", "set", "lo", "up", NULL);
	assert_int_equal(setns(home_ns, CLONE_NEWNET), 0);
	env_run("ip", "link", "set", "lo", "up", NULL);
	env_make_veth("near", "far", 1);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), far_ns);
	env_run("ip", "link", "set", "far", "netns", path, NULL);
	env_run("ip", "addr", "add", "10.9.0.1/24", "dev", "near", NULL);
	assert_int_equal(setns(far_ns, CLONE_NEWNET), 0);
	env_run("ip", "addr", "add", "10.9.0.2/24", "dev", "far", NULL);
	env_run("ip", "link", "set", "far", "up", NULL);
	assert_int_equal(setns(home_ns, CLONE_NEWNET), 0);
}

static void stay_on_cpu(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

static int listen_at(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	const int one = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1024), 0);
	return fd;
}

/* Acceptor 0 runs on the CPU of the test, 1 on the next one, the others on none that has SYNs. */
static void add(uint32_t acceptor, int fd)
{
	struct splice_acceptor_load *load = reuseport_group_load(group, acceptor);

	load->cpu = acceptor % N == 0 ? 0 : 1000 + acceptor;
	load->node = 0;
	assert_int_equal(reuseport_group_add(group, acceptor, fd), 0);
}

static int setup(void **state)
{
	memset(got, 0, sizeof(got));
	n_clients = n_accepted = 0;
	assert_int_equal(reuseport_group_new(N, &group), 0);
	for (uint32_t a = 0; a < N; a++) {
		listeners[a] = listen_at(PORT);
		add(a, listeners[a]);
	}
	return 0;
}

static void close_by_reset(int *fd)
{
	const struct linger now = {.l_onoff = 1};

	if (*fd >= 0)
		(void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_fdp(fd);
}

static int teardown(void **state)
{
	for (unsigned i = 0; i < n_clients; i++)
		close_by_reset(&clients[i]);
	for (unsigned i = 0; i < n_accepted; i++)
		close_by_reset(&accepted[i]);
	for (unsigned a = 0; a < N; a++)
		close_fdp(&listeners[a]);
	reuseport_group_free(group);
	return 0;
}

/* --- Connections -------------------------------------------------------------------------------
 */

static void connect_to(const char *where, int ns)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd;

	assert_int_equal(inet_pton(AF_INET, where, &address.sin_addr), 1);
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(setns(home_ns, CLONE_NEWNET), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(fd, &fd, sizeof(fd), 0), sizeof(fd));
	clients[n_clients++] = fd;
}

/* What acceptors do: take all that is queued, and say how many they have. */
static void accept_all(void)
{
	for (unsigned a = 0; a < N; a++) {
		int fd;

		while (listeners[a] >= 0 && (fd = accept(listeners[a], NULL, NULL)) >= 0) {
			accepted[n_accepted++] = fd;
			got[a]++;
			__atomic_fetch_add(&reuseport_group_load(group, a)->n_live, 1,
					   __ATOMIC_RELAXED);
		}
	}
}

static void connect_from_far(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		connect_to("10.9.0.1", far_ns);
		accept_all();
	}
}

/* --- Tests -------------------------------------------------------------------------------------
 */

static void test_the_cpus_own_acceptor_comes_first(void **state)
{
	connect_from_far(8);
	assert_int_equal(got[0], 8);
}

static void test_syns_of_one_cpu_are_spread_with_little_skew(void **state)
{
	unsigned most = 0, least = UINT32_MAX;

	connect_from_far(400);
	for (unsigned a = 0; a < N; a++) {
		most = MAX(most, got[a]);
		least = MIN(least, got[a]);
	}
	print_message("of 400: %u %u %u %u\n", got[0], got[1], got[2], got[3]);
	assert_int_equal(got[0] + got[1] + got[2] + got[3], 400);
	assert_int_equal(most, got[0]);
	assert_true(most <= 2 * least);
}

static void test_another_node_is_the_last_resort(void **state)
{
	reuseport_group_load(group, 0)->node = 0;
	for (uint32_t a = 1; a < N; a++)
		reuseport_group_load(group, a)->node = a == 2 ? 0 : 1;
	reuseport_group_close(group, 0);
	connect_from_far(40);
	assert_int_equal(got[2], 40);
	reuseport_group_close(group, 2);
	connect_from_far(40);
	assert_int_equal(got[1] + got[3], 40);
	assert_int_equal(got[1], got[3]);
}

static void test_a_closed_acceptor_gets_nothing_more(void **state)
{
	reuseport_group_close(group, 0);
	connect_from_far(90);
	assert_int_equal(got[0], 0);
	assert_int_equal(got[1], 30);
	assert_int_equal(got[2], 30);
	reuseport_group_open(group, 0);
	connect_from_far(8);
	assert_int_equal(got[0], 8);
}

static void test_a_socket_that_is_gone_is_passed_over(void **state)
{
	/* Its line still says open: the slot is empty, ENOENT, the next. */
	close_fdp(&listeners[0]);
	connect_from_far(30);
	assert_int_equal(got[1] + got[2] + got[3], 30);
	/* Nobody open: the kernel's hash. */
	for (uint32_t a = 0; a < N; a++)
		reuseport_group_close(group, a);
	connect_from_far(60);
	assert_int_equal(got[1] + got[2] + got[3], 90);
}

static void test_a_closing_listeners_queue_migrates(void **state)
{
	int value;

	for (uint32_t a = 1; a < N; a++)
		reuseport_group_close(group, a);
	for (unsigned i = 0; i < 60; i++)
		connect_to("10.9.0.1", far_ns);
	for (uint32_t a = 1; a < N; a++)
		reuseport_group_open(group, a);
	reuseport_group_close(group, 0);
	close_fdp(&listeners[0]);
	accept_all();
	assert_int_equal(n_accepted, 60);
	/* Nobody was reset, and what they had sent is there. */
	for (unsigned i = 0; i < n_accepted; i++) {
		assert_int_equal(recv(accepted[i], &value, sizeof(value), 0), sizeof(value));
		assert_int_equal(send(clients[i], "x", 1, MSG_NOSIGNAL), 1);
	}
	/* n_live stands still while the queue moves: all of it to one of the others. */
	assert_int_equal(got[1] + got[2] + got[3], 60);
}

static void test_a_host_talking_to_itself_is_the_hashs(void **state)
{
	unsigned n_used = 0;

	for (unsigned i = 0; i < 100; i++) {
		connect_to(i % 2 ? "127.0.0.1" : "10.9.0.1", home_ns);
		accept_all();
	}
	for (unsigned a = 0; a < N; a++)
		n_used += got[a] > 8;
	assert_int_equal(n_used, N);
	/* Not the rule's first choice, which would hold all of the first eight of a CPU. */
	assert_true(got[0] < 50);
}

static void test_a_generation_takes_over(void **state)
{
	const uint32_t first = SPLICE_MAX_ACCEPTORS;
	int successor = listen_at(PORT), fd;

	add(first, successor);
	connect_from_far(4);
	assert_int_equal(got[0], 4);
	assert_int_equal(reuseport_group_set_generation(group, 1, first, 1), 0);
	connect_from_far(20);
	assert_int_equal(n_accepted, 4);
	for (unsigned i = 0; i < 20; i++) {
		fd = accept(successor, NULL, NULL);
		assert_true(fd >= 0);
		accepted[n_accepted++] = fd;
	}
	/* And back. */
	assert_int_equal(reuseport_group_set_generation(group, 0, 0, N), 0);
	connect_from_far(4);
	assert_int_equal(got[0], 8);
	assert_int_equal(reuseport_group_set_generation(group, 2, 2 * first, 1), -EINVAL);
	close_fdp(&successor);
}

static void test_a_socket_is_in_one_group(void **state)
{
	struct reuseport_group *other = NULL;
	_cleanup_close_ int not_listening = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(reuseport_group_new(1, &other), 0);
	assert_int_equal(reuseport_group_add(other, 0, listeners[0]), -EBUSY);
	assert_int_equal(reuseport_group_add(other, 0, not_listening), -EINVAL);
	reuseport_group_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_cpus_own_acceptor_comes_first, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_syns_of_one_cpu_are_spread_with_little_skew,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_node_is_the_last_resort, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_closed_acceptor_gets_nothing_more, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_socket_that_is_gone_is_passed_over, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_closing_listeners_queue_migrates, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_host_talking_to_itself_is_the_hashs, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_generation_takes_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_socket_is_in_one_group, setup, teardown),
	};

	env_enter();
	stay_on_cpu(0);
	make_far_end();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
