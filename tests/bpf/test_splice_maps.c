// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verdict and the maps of the splice plane under real sockets: every branch of the program, and
 * each byte of what goes through it.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "bpf_env.h"
#include "kern/splice_maps_internal.h"
#include "splice_env.h"
#include "util/clock.h"
#include "util/macros.h"

static struct splice_maps *maps;

static int setup(void **state)
{
	maps = splice_env_maps(256);
	return 0;
}

static int teardown(void **state)
{
	splice_maps_free(maps);
	return 0;
}

/* --- Branches ----------------------------------------------------------------------------------
 */

static void test_redirects_both_ways(void **state)
{
	_cleanup_(link_close) struct link link;

	link_open(&link, maps, 3);
	link_splice(&link);
	for (unsigned i = 0; i < 2; i++) {
		struct way *way = &link.way[i];

		for (unsigned n = 1; n <= 200; n++) {
			way_feed_all(way, way->n_sent + n);
			way_expect(way, way->n_sent, false);
		}
		assert_int_equal(way->flow->redirected, way->n_sent);
		assert_int_equal(way->flow->passed, 0);
		assert_int_equal(way->flow->n_skbs, 200);
		assert_true(way_is_taken(way));
	}
}

static void test_passes_by_wish_and_goes_on_in_the_kernel(void **state)
{
	_cleanup_(link_close) struct link link;
	struct way *way = &link.way[0];

	link_open(&link, maps, 0);
	link_splice(&link);
	link_wish(&link, SPLICE_RELAY);
	way_feed_all(way, 1000);
	env_wait_readable(way->source);
	assert_int_equal(way->flow->passed, 1000);

	/* Owed: the wish alone does not bring it back. */
	link_wish(&link, SPLICE_KERNEL);
	way_feed_all(way, 1500);
	way_expect(way, 1500, true);
	assert_int_equal(way->flow->passed, 1500);
	assert_int_equal(way->flow->redirected, 0);

	way_feed_all(way, 1600);
	way_expect(way, 1600, false);
	assert_int_equal(way->flow->redirected, 100);
	assert_int_equal(way->flow->n_toggles, 1);
}

/* What a socket passes queues behind what is redirected to it, charged to nobody: never both. */
static void test_passes_while_the_way_back_is_relayed(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(link_close) struct link link;
		struct way *way = &link.way[i], *back = &link.way[1 - i];

		link_open(&link, maps, i);
		link_splice(&link);
		__atomic_store_n(&back->flow->wish, SPLICE_RELAY, __ATOMIC_RELEASE);
		way_feed_all(back, 1000);
		env_wait_readable(back->source);
		way_feed_all(way, 500);
		env_wait_readable(way->source);
		assert_int_equal(way->flow->redirected, 0);
		assert_int_equal(way->flow->passed, 500);

		way_expect(way, 500, true);
		way_expect(back, 1000, true);
		assert_false(splice_is_owed(back->flow));
		way_feed_all(way, 600);
		way_expect(way, 600, false);
		assert_int_equal(way->flow->redirected, 100);
	}
}

/* Nobody reads at the server: credit ends, and all that was accepted arrives in the end. */
static void test_passes_for_want_of_credit(void **state)
{
	_cleanup_(link_close) struct link link;
	struct way *way = &link.way[0];
	uint64_t taken, n = 0;

	link_open(&link, maps, 0);
	link_splice(&link);
	for (unsigned idle = 0; idle < 1000; idle++) {
		way_feed(way, 32 << 10);
		if (way->n_sent != n)
			idle = 0;
		n = way->n_sent;
		(void)sched_yield();
	}
	assert_true(way->flow->n_credit_out > 0);
	assert_int_equal(splice_taken(way->sink, way->sink_base, &taken), 0);
	/* Never blocks: what was redirected is in the peer's TCP. */
	assert_true(way->flow->redirected - taken <= SPLICE_CREDIT_BYTES);
	way_expect(way, way->n_sent, true);
	assert_int_equal(way->flow->redirected + way->flow->passed, way->n_sent);
}

static void test_missing_peer_passes_and_is_counted(void **state)
{
	_cleanup_(link_close) struct link link;
	const uint32_t server_side = 1;
	uint8_t bytes[500];

	link_open(&link, maps, 0);
	link_splice(&link);
	assert_int_equal(bpf_map_delete_elem(maps->out_fd, &server_side), 0);
	way_feed_all(&link.way[0], 500);
	env_wait_readable(link.fd[A]);
	assert_int_equal(recv(link.fd[A], bytes, sizeof(bytes), 0), 500);
	assert_int_equal(link.way[0].flow->passed, 500);
	assert_int_equal(link.way[0].flow->redirected, 0);
}

static void test_another_generation_passes_uncounted(void **state)
{
	_cleanup_(link_close) struct link link;
	uint8_t bytes[500];

	link_open(&link, maps, 0);
	link_splice(&link);
	link.way[0].flow->generation++;
	way_feed_all(&link.way[0], 500);
	env_wait_readable(link.fd[A]);
	assert_int_equal(recv(link.fd[A], bytes, sizeof(bytes), 0), 500);
	assert_int_equal(link.way[0].flow->n_skbs, 0);
	link.way[0].flow->generation--;
}

static void test_bare_fin_harms_nobody(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(link_close) struct link link;
		struct way *way = &link.way[i], *back = &link.way[1 - i];
		char byte;

		link_open(&link, maps, 0);
		link_splice(&link);
		way_feed_all(way, 10);
		way_expect(way, 10, false);
		assert_int_equal(shutdown(way->from, SHUT_WR), 0);
		env_wait_readable(way->source);
		assert_int_equal(recv(way->source, &byte, 1, 0), 0);
		assert_int_equal(env_so_error(way->sink), 0);
		way_feed_all(back, 70000);
		way_expect(back, 70000, true);
		/* The FIN goes on, and the far end sees it behind the last byte. */
		while (!way->to_eof) {
			assert_true(way_relay(way));
			way_drain(way);
		}
		assert_int_equal(way->n_received, 10);
	}
}

/* --- Entering ----------------------------------------------------------------------------------
 */

static void test_bytes_that_wait_at_insertion_move(void **state)
{
	for (unsigned n = 0; n < 20; n++) {
		_cleanup_(link_close) struct link link;

		link_open(&link, maps, n);
		way_feed_all(&link.way[0], 500);
		way_feed_all(&link.way[1], 300);
		env_wait_readable(link.fd[A]);
		env_wait_readable(link.fd[B]);
		link_splice(&link);
		way_expect(&link.way[0], 500, false);
		way_expect(&link.way[1], 300, false);
	}
}

/* How many entries of a hash there are. */
static unsigned n_flow_of(void)
{
	uint64_t key, *last = NULL;
	unsigned n = 0;

	while (bpf_map_get_next_key(maps->flow_of_fd, last, &key) == 0) {
		last = &key;
		n++;
	}
	return n;
}

static void assert_nothing_left(void)
{
	uint64_t key;

	assert_int_equal(n_flow_of(), 0);
	assert_int_equal(bpf_map_get_next_key(maps->in_fd, NULL, &key), -ENOENT);
}

static void test_close_wait_is_refused_with_nothing_left(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(link_close) struct link link;
		char byte;

		link_open(&link, maps, 0);
		assert_int_equal(shutdown(link.way[i].from, SHUT_WR), 0);
		env_wait_readable(link.way[i].source);
		assert_int_equal(link_enter(&link), -EOPNOTSUPP);
		assert_nothing_left();
		/* As usable as before. */
		assert_int_equal(recv(link.way[i].source, &byte, 1, 0), 0);
		assert_int_equal(send(link.way[i].source, "x", 1, MSG_NOSIGNAL), 1);
		assert_int_equal(recv(link.way[i].from, &byte, 1, 0), 1);
	}
}

static void test_foreign_agent_is_busy_with_nothing_left(void **state)
{
	struct splice_maps *foreign = splice_env_maps(1);
	_cleanup_(link_close) struct link link;
	_cleanup_(link_close) struct link agents;

	link_open(&link, maps, 0);
	link_open(&agents, foreign, 0);
	/* The agent has this client's socket in a map with a verdict. */
	agents.fd[A] = link.fd[A];
	assert_int_equal(link_enter(&agents), 0);
	assert_int_equal(link_enter(&link), -EBUSY);
	assert_nothing_left();

	/* The server's only: the client's direction is spliced. */
	splice_leave(foreign, 0);
	agents.fd[A] = agents.fd[CLIENT];
	agents.fd[B] = link.fd[B];
	assert_int_equal(link_enter(&agents), 0);
	assert_int_equal(link_enter(&link), 1);
	splice_leave(foreign, 0);
	splice_leave(maps, 0);
	assert_nothing_left();
	agents.fd[A] = agents.fd[B] = -1;
	link_close(&agents);
	splice_maps_free(foreign);
	agents.maps = maps;
}

static void test_a_number_has_a_generation_per_connection(void **state)
{
	uint32_t generation = splice_flow(maps, 0)->generation;

	for (unsigned n = 1; n <= 3; n++) {
		_cleanup_(link_close) struct link link;

		link_open(&link, maps, 0);
		link_splice(&link);
		way_feed_all(&link.way[0], 100);
		way_expect(&link.way[0], 100, false);
		assert_int_equal(link.way[0].flow->generation, generation + n);
		assert_int_equal(link.way[0].flow->redirected, 100);
	}
	assert_nothing_left();
}

static void *read_all(void *arg)
{
	const int fd = *(const int *)arg;
	char bytes[4096];

	while (recv(fd, bytes, sizeof(bytes), 0) > 0)
		;
	return NULL;
}

/* A base is taken while what was sent before is being acknowledged. */
static void test_base_is_exact_under_acknowledgements(void **state)
{
	uint64_t n_sent = 0, base, first;
	char bytes[600] = "";
	pthread_t reader;
	int near, far;

	near = connect_pair(&far);
	assert_int_equal(splice_base(near, &first), 0);
	assert_int_equal(pthread_create(&reader, NULL, read_all, &far), 0);
	for (unsigned n = 0; n < 30000; n++) {
		assert_int_equal(send(near, bytes, sizeof(bytes), 0), sizeof(bytes));
		n_sent += sizeof(bytes);
		assert_int_equal(splice_base(near, &base), 0);
		assert_int_equal(base - first, n_sent);
	}
	assert_int_equal(shutdown(near, SHUT_WR), 0);
	assert_int_equal(pthread_join(reader, NULL), 0);
	env_reset(&near);
	env_reset(&far);
}

/* --- Ends --------------------------------------------------------------------------------------
 */

static void test_reset_is_seen_as_one(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(link_close) struct link link;
		char byte;

		link_open(&link, maps, 0);
		link_splice(&link);
		way_feed_all(&link.way[i], 1000);
		way_expect(&link.way[i], 1000, false);
		env_reset(&link.fd[i == 0 ? CLIENT : SERVER]);
		env_wait_readable(link.way[i].source);
		assert_int_equal(recv(link.way[i].source, &byte, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, ECONNRESET);
	}
}

/* Both half-close behind a bulk of bytes, with toggling: every byte, then the end. */
static void pump_to_the_end(struct link *link, uint64_t n_bytes, uint32_t *ret_n_rounds)
{
	uint64_t deadline_ns = clock_now_ns() + 50 * NSEC_PER_SEC;
	uint32_t round = 0;

	while (!link->way[0].to_eof || !link->way[1].to_eof) {
		round++;
		link_wish(link, round & 1 ? SPLICE_KERNEL : SPLICE_RELAY);
		for (unsigned i = 0; i < 2; i++) {
			struct way *way = &link->way[i];

			if (way->n_sent < n_bytes)
				way_feed(way, MIN(1 + round * 7919 % 9000, n_bytes - way->n_sent));
			else if (!way->is_ended)
				way->is_ended = shutdown(way->from, SHUT_WR) == 0;
			assert_true(way_relay(way));
			/* A reader that stops now and then. */
			if (round % 64 < 48)
				way_drain(way);
		}
		assert_true(clock_now_ns() < deadline_ns);
	}
	*ret_n_rounds = round;
}

static void test_toggling_under_load_loses_nothing(void **state)
{
	const uint64_t n_bytes = 16 << 20;
	_cleanup_(link_close) struct link link;
	uint32_t n_toggles[2] = {}, round;

	for (uint32_t conn = 0; n_toggles[0] < 5000 || n_toggles[1] < 5000; conn++) {
		link_open(&link, maps, conn % 256);
		link_splice(&link);
		pump_to_the_end(&link, n_bytes, &round);
		for (unsigned i = 0; i < 2; i++) {
			const struct way *way = &link.way[i];

			assert_int_equal(way->n_received, n_bytes);
			assert_int_equal(way->flow->redirected + way->flow->passed, n_bytes);
			assert_int_equal(way->flow->consumed, way->flow->passed);
			assert_true(way->flow->redirected > 0 && way->flow->passed > 0);
			n_toggles[i] += way->flow->n_toggles;
		}
		link_close(&link);
	}
	print_message("toggles: %u %u\n", n_toggles[0], n_toggles[1]);
	link_open(&link, maps, 0);
}

/* --- Events, swap ------------------------------------------------------------------------------
 */

static void count_event(const struct splice_event *event, void *arg)
{
	unsigned *n = arg;

	assert_int_equal(event->kind, SPLICE_EVENT_PASSED);
	n[event->side]++;
}

static void test_a_note_when_bytes_begin_to_be_owed(void **state)
{
	_cleanup_(link_close) struct link link;
	struct way *way = &link.way[0];
	unsigned n[512] = {};

	link_open(&link, maps, 7);
	link_splice(&link);
	way_feed_all(way, 100);
	way_expect(way, 100, false);
	assert_int_equal(splice_events_drain(maps, 0, count_event, n), 0);

	link_wish(&link, SPLICE_RELAY);
	way_feed_all(way, 200);
	env_wait_readable(splice_events_fd(maps, 0));
	way_feed_all(way, 300);
	env_wait_readable(way->source);
	assert_int_equal(splice_events_drain(maps, 0, count_event, n), 1);
	assert_int_equal(n[14], 1);
	way_expect(way, 300, true);
	way_feed_all(way, 400);
	env_wait_readable(splice_events_fd(maps, 0));
	assert_int_equal(splice_events_drain(maps, 0, count_event, n), 1);

	/* Of a connection that is gone: not told. */
	way_expect(way, 400, true);
	way_feed_all(way, 500);
	env_wait_readable(splice_events_fd(maps, 0));
	way->flow->generation++;
	assert_int_equal(splice_events_drain(maps, 0, count_event, n), 1);
	assert_int_equal(n[14], 2);
	way->flow->generation--;
}

static void test_another_verdict_under_live_flows(void **state)
{
	const struct splice_verdict_config pass_all = {.credit_bytes = 0};
	_cleanup_(link_close) struct link link;
	_cleanup_close_ int other = -1;
	struct way *way = &link.way[0];
	uint64_t redirected;

	assert_int_equal(splice_maps_load_verdict(maps, &pass_all, &other), 0);
	link_open(&link, maps, 0);
	link_splice(&link);
	for (unsigned n = 0; n < 200; n++) {
		assert_int_equal(splice_maps_swap_verdict(maps, n % 2 ? -1 : other), 0);
		redirected = way->flow->redirected;
		way_feed_all(way, way->n_sent + 5000);
		way_expect(way, way->n_sent, true);
		assert_int_equal(way->flow->redirected - redirected, n % 2 ? 5000 : 0);
	}
}

/* --- Memory ------------------------------------------------------------------------------------
 */

/* "TCP: … mem N" of sockstat, in bytes. */
static uint64_t tcp_memory(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/net/sockstat", "re");
	unsigned long n_pages = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "TCP:", 4) == 0)
			assert_int_equal(sscanf(strstr(line, "mem"), "mem %lu", &n_pages), 1);
	}
	return n_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t free_memory(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/meminfo", "re");
	unsigned long kib = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemFree: %lu kB", &kib) == 1)
			break;
	}
	return kib << 10;
}

/* Both sides push for a second, nobody reads: the senders stop, and nothing grows any more. */
static void test_stuck_peers_stop_their_senders(void **state)
{
	enum { N = 8 };
	static struct link links[N];
	const uint64_t free_before = free_memory();
	/* 32,000 looks at every way: tests/vm's emulated CPU, shared with others, takes minutes. */
	const uint64_t patience_ns = (getenv("SLUICE_EMULATED") ? 300 : 30) * NSEC_PER_SEC;
	uint64_t deadline_ns = clock_now_ns() + patience_ns, n_sent = 0, n_before, waits = 0;
	unsigned quiet = 0;

	for (unsigned i = 0; i < N; i++) {
		link_open(&links[i], maps, i);
		link_splice(&links[i]);
	}
	/* User space does its duty: it relays what the sinks take. */
	while (quiet < 2000) {
		n_before = n_sent;
		n_sent = 0;
		for (unsigned i = 0; i < 2 * N; i++) {
			struct way *way = &links[i / 2].way[i % 2];

			way_feed(way, 64 << 10);
			assert_true(way_relay(way));
			n_sent += way->n_sent;
		}
		quiet = n_sent == n_before ? quiet + 1 : 0;
		assert_true(clock_now_ns() < deadline_ns);
	}
	for (unsigned i = 0; i < 2 * N; i++) {
		const struct way *way = &links[i / 2].way[i % 2];
		uint64_t taken;

		assert_int_equal(splice_taken(way->sink, way->sink_base, &taken), 0);
		waits += way->flow->redirected + way->n_relayed - taken;
		assert_true(way->flow->redirected + way->n_relayed - taken <= SPLICE_CREDIT_BYTES);
	}
	print_message("%u ways: accepted %.1f MB each, in psocks %lu bytes, sockstat %.1f MB, "
		      "MemFree −%.1f MB\n",
		      2 * N, (double)n_sent / (2 * N) / 1e6, waits, (double)tcp_memory() / 1e6,
		      ((double)free_before - (double)free_memory()) / 1e6);
	/* Four buffers of at most tcp_rmem/tcp_wmem, and the credit. */
	assert_true(n_sent / (2 * N) < (64u << 20));

	/* All of it arrives when somebody reads. */
	for (unsigned i = 0; i < 2 * N; i++)
		way_expect(&links[i / 2].way[i % 2], links[i / 2].way[i % 2].n_sent, true);
	for (unsigned i = 0; i < N; i++)
		link_close(&links[i]);
}

static void test_selftest_is_passed_in_time(void **state)
{
	const char *what = "";
	uint64_t best_ns = UINT64_MAX, started_ns, took_ns;

	for (unsigned n = 0; n < 5; n++) {
		started_ns = clock_now_ns();
		if (splice_selftest(&what) < 0)
			fail_msg("self-test: %s", what);
		took_ns = clock_now_ns() - started_ns;
		best_ns = MIN(best_ns, took_ns);
	}
	print_message("self-test: %.1f ms\n", (double)best_ns / 1e6);
	/* Of an emulated CPU's (tests/vm) time nothing can be said. */
	if (!getenv("SLUICE_EMULATED"))
		assert_true(best_ns < 100 * NSEC_PER_MSEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_redirects_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passes_by_wish_and_goes_on_in_the_kernel,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_passes_while_the_way_back_is_relayed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_passes_for_want_of_credit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_peer_passes_and_is_counted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_another_generation_passes_uncounted, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_bare_fin_harms_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes_that_wait_at_insertion_move, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_close_wait_is_refused_with_nothing_left, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_foreign_agent_is_busy_with_nothing_left, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_number_has_a_generation_per_connection,
						setup, teardown),
		cmocka_unit_test(test_base_is_exact_under_acknowledgements),
		cmocka_unit_test_setup_teardown(test_reset_is_seen_as_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_toggling_under_load_loses_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_note_when_bytes_begin_to_be_owed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_another_verdict_under_live_flows, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_stuck_peers_stop_their_senders, setup,
						teardown),
		cmocka_unit_test(test_selftest_is_passed_in_time),
	};

	splice_env_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
