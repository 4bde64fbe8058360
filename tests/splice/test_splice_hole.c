/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hole of design.md §5.5, opened on purpose, and what closes it (splice/engine_sockmap.c): a
 * worker of the kernel that is late, one that is blocked. No flow is ended, and every byte arrives.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "kern/splice_maps.h"
#include "tests/splice/plane_world.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

#define BOUND        (256u << 10)
#define PUSHED_BYTES (16u << 20) /* many times the bound */
#define REAL_TIME_NS (800 * NSEC_PER_MSEC)
#define FEW_BYTES    100
#define WORKER_CPU   0
#define ACCEPTOR_CPU 1

static struct world world;

static void open_world(void)
{
	world_open(&world, &(struct world_options){.engine = SPLICE_SOCKMAP,
						   .max_flow_parked_bytes = BOUND});
}

/* The credit rule would not know of a bound that the host sets. */
static void expect_no_bound_of_unsent(int fd)
{
	uint32_t bound = 0;
	socklen_t size = sizeof(bound);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bound, &size), 0);
	assert_int_equal(bound, UINT32_MAX);
}

/* Both directions are in the kernel: the first messages may still have been relayed. */
static void spliced_pair(int *ret_client, int *ret_server, const struct splice_flow *flows[2])
{
	uint64_t until_ns = clock_now_ns() + WORLD_WAIT_MS * NSEC_PER_MSEC;

	world_pair(&world, ret_client, ret_server);
	for (unsigned side = 0; side < 2; side++)
		flows[side] = splice_flow(world.maps, side);
	do {
		assert_true(clock_now_ns() < until_ns);
		peer_ping(*ret_client, *ret_server);
	} while (!flows[CLIENT]->in_kernel || !flows[SERVER]->in_kernel);
	for (unsigned side = 0; side < 2; side++)
		expect_no_bound_of_unsent(world.splice->acceptors[0]->conns->fd[side]);
}

static void run_on(pthread_t thread, unsigned first_cpu, unsigned last_cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (unsigned cpu = first_cpu; cpu <= last_cpu; cpu++)
		CPU_SET(cpu, &cpus);
	if (pthread_setaffinity_np(thread, sizeof(cpus), &cpus) != 0) {
		print_message("needs CPUs %u and %u\n", WORKER_CPU, ACCEPTOR_CPU);
		exit(77);
	}
}

/* Nothing else runs on this CPU then, a worker of the kernel neither, until it waits. */
static void set_real_time(bool is_on)
{
	const struct sched_param param = {.sched_priority = is_on ? 1 : 0};

	if (sched_setscheduler(0, is_on ? SCHED_FIFO : SCHED_OTHER, &param) < 0) {
		print_message("needs CAP_SYS_NICE\n");
		exit(77);
	}
}

/* As much as goes of so many bytes, without ever waiting. */
static uint64_t push(int fd, const uint8_t *data, uint64_t len, uint64_t until_ns)
{
	uint64_t n = 0;

	while (n < len && clock_now_ns() < until_ns) {
		ssize_t sent =
			send(fd, data + n, MIN(len - n, 64u << 10), MSG_NOSIGNAL | MSG_DONTWAIT);

		assert_true(sent > 0 || errno == EAGAIN);
		n += sent > 0 ? (uint64_t)sent : 0;
	}
	return n;
}

/*
 * Bytes of the server are redirected, and their worker gets no CPU until set_real_time(false), or
 * the time that is returned. They may still be passed, when ksoftirqd had something to do: then
 * again.
 */
static uint64_t redirect_in_real_time(int client, int server, const struct splice_flow *flow)
{
	for (;;) {
		uint64_t redirected = splice_redirected(flow);

		set_real_time(true);
		peer_send_pattern(server, 2, 0, FEW_BYTES);
		if (splice_redirected(flow) == redirected + FEW_BYTES)
			return clock_now_ns() + REAL_TIME_NS;
		set_real_time(false);
		peer_expect_pattern(client, 2, 0, FEW_BYTES);
	}
}

/*
 * A few bytes for the client wait for a worker that gets no CPU; meanwhile all that the client
 * sends and the server does not read is passed, behind them and charged to nobody.
 */
static void test_a_late_worker_ends_no_flow(void **state)
{
	_cleanup_free_ uint8_t *data = malloc(PUSHED_BYTES);
	const struct splice_flow *flows[2];
	uint64_t until_ns, n;
	int client, server;

	assert_non_null(data);
	pattern_fill(data, PUSHED_BYTES, 1, 0);
	open_world();
	spliced_pair(&client, &server, flows);
	run_on(pthread_self(), WORKER_CPU, WORKER_CPU);
	run_on(world.splice->acceptors[0]->thread, ACCEPTOR_CPU, ACCEPTOR_CPU);

	until_ns = redirect_in_real_time(client, server, flows[SERVER]);
	n = push(client, data, PUSHED_BYTES, until_ns);
	while (world_counters(&world).n_fallbacks[SPLICE_FALLBACK_PARKED] == 0 &&
	       clock_now_ns() < until_ns)
		; /* not waiting is the point */
	set_real_time(false);
	run_on(pthread_self(), WORKER_CPU, ACCEPTOR_CPU);

	/* The hole was open: no socket's buffer holds that much. */
	assert_true(n > 4 * BOUND);
	assert_int_equal(world_counters(&world).n_fallbacks[SPLICE_FALLBACK_PARKED], 1);
	peer_expect_pattern(client, 2, 0, FEW_BYTES);
	peer_expect_pattern(server, 1, 0, n);
	peer_ping(client, server);
	assert_int_equal(world_counters(&world).n_killed, 0);
	peer_end_pair(client, server);
	world_close(&world);
}

/*
 * The credit rule keeps a worker from being blocked by what it knows; then the kernel takes send
 * buffer back, as it does when TCP's memory is short. By the plainer rule, so that it is certain.
 */
static void test_a_blocked_worker_is_let_through(void **state)
{
	const struct splice_verdict_config config = {.credit_bytes = SPLICE_CREDIT_BYTES,
						     .rule = SPLICE_CREDIT_W};
	const struct splice_flow *flows[2];
	int client, server, prog_fd = -1, small = 1;
	uint64_t n, m;

	open_world();
	assert_int_equal(splice_maps_load_verdict(world.maps, &config, &prog_fd), 0);
	assert_int_equal(splice_maps_swap_verdict(world.maps, prog_fd), 0);
	assert_int_equal(close(prog_fd), 0);
	spliced_pair(&client, &server, flows);
	/* An end's fd is the acceptor's; this test has the same process. */
	assert_int_equal(setsockopt(world.splice->acceptors[0]->conns->fd[CLIENT], SOL_SOCKET,
				    SO_SNDBUF, &small, sizeof(small)),
			 0);
	m = peer_fill(server, 2);
	assert_int_equal(world_counters(&world).n_fallbacks[SPLICE_FALLBACK_PARKED], 0);
	/* All that it has pours in, as long as the hole is open: this would not come to an end. */
	n = peer_fill(client, 1);
	assert_true(n > 4 * BOUND);
	assert_int_equal(world_counters(&world).n_fallbacks[SPLICE_FALLBACK_PARKED], 1);
	peer_expect_pattern(client, 2, 0, m);
	peer_expect_pattern(server, 1, 0, n);
	peer_ping(client, server);
	assert_int_equal(world_counters(&world).n_killed, 0);
	peer_end_pair(client, server);
	world_close(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_late_worker_ends_no_flow),
		cmocka_unit_test(test_a_blocked_worker_is_let_through),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
