/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's thread, real, on fake rings: hand-over of sets, sleeping, stopping, pinning. The
 * fake kernel runs on the test's own thread, so that every ring has a peer on another one (TSan).
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loop_world.h"
#include "unit.h"
#include "util/clock.h"

#define DEADLINE_NS (10 * NSEC_PER_SEC)
#define N_SETS      10000

static uint64_t thread_cpu_ns(pthread_t thread)
{
	struct timespec ts;
	clockid_t clock;

	assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
	assert_int_equal(clock_gettime(clock, &ts), 0);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint32_t first_allowed_cpu(void)
{
	cpu_set_t allowed;
	uint32_t cpu = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	while (!CPU_ISSET(cpu, &allowed))
		cpu++;
	return cpu;
}

static struct world *started_world(uint64_t beat_interval_ns)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});

	w->worker.cpu = first_allowed_cpu();
	w->worker.beat_interval_ns = beat_interval_ns;
	assert_int_equal(worker_start(&w->worker), 0);
	return w;
}

static void stop_and_free(struct world *w)
{
	assert_int_equal(worker_stop(&w->worker, DEADLINE_NS), 0);
	assert_int_equal(worker_stop(&w->worker, DEADLINE_NS), 0); /* again: nothing to do */
	world_check(w);
	world_free(w);
}

/* Gives way to the worker, which may share our CPU; fails when it takes too long. */
static void wait_a_little(uint64_t start_ns)
{
	assert_true(clock_now_ns() - start_ns < DEADLINE_NS);
	(void)sched_yield();
}

static void wait_seen(struct world *w, uint64_t generation)
{
	uint64_t start_ns = clock_now_ns();

	while (worker_seen(&w->worker) < generation)
		wait_a_little(start_ns);
}

static void wait_sleeps(struct world *w, uint64_t n)
{
	uint64_t start_ns = clock_now_ns();

	while (counter_read(&w->worker.counters.sleeps) < n)
		wait_a_little(start_ns);
}

static void test_ten_thousand_sets_are_taken_up_under_load(void **state)
{
	struct world *w = started_world(NSEC_PER_MSEC);
	static struct worker_set sets[2];
	uint64_t n_received = 0, start_ns = clock_now_ns();
	unsigned n_sets;

	/* What the tests may touch while the worker runs: rings, sets, counters. */
	w->fakes[0].wake_budget = w->fakes[1].wake_budget = 0;
	fake_set_readable(&w->fakes[0], true);
	sets[0] = sets[1] = *w->worker.set;
	/* Each is two turns of the scheduler on a machine that is busy: then a tenth must do. */
	for (n_sets = 0; n_sets < N_SETS; n_sets++) {
		struct worker_set *set = &sets[n_sets % 2];
		uint64_t generation;

		/* Changed freely: the worker has let go of it. */
		memset(&set->routes[1], 0xa5, sizeof(set->routes[1]));
		set->routes[1] = (struct worker_route){
			.rx = &w->lanes[1], .out = &w->lanes[0], .max_len = 1514 + n_sets % 5};
		n_received += fake_receive_n(&w->fakes[0], n_sets % 8, 60);
		(void)fake_transmit(&w->fakes[1], 64);
		(void)fake_complete(&w->fakes[1], 64);
		generation = worker_publish(&w->worker, set);
		wait_seen(w, generation);
		assert_int_equal(worker_seen(&w->worker), generation);
		if (n_sets > N_SETS / 10 && clock_now_ns() - start_ns > DEADLINE_NS / 2)
			break;
	}
	print_message("%u sets, %llu packets\n", n_sets, (unsigned long long)n_received);
	assert_true(n_received > n_sets);
	fake_set_readable(&w->fakes[0], false);
	assert_int_equal(worker_stop(&w->worker, DEADLINE_NS), 0);
	world_settle(w);
	assert_int_equal(w->lanes[0].counters.rx_packets, n_received);
	assert_int_equal(w->lanes[1].counters.tx_completed, w->lanes[0].counters.forwarded);
	stop_and_free(w);
}

static void test_a_lane_out_of_the_set_belongs_to_control(void **state)
{
	struct world *w = started_world(NSEC_PER_MSEC);
	static struct worker_set without, with;

	with = *w->worker.set;
	for (unsigned i = 0; i < 200; i++) {
		struct lane *lane = &w->lanes[1];
		uint8_t tag = lane->tag;
		uint64_t generation;

		without = with;
		without.n_lanes = 1;
		without.routes[0].out = NULL;
		without.n_reclaim[0] = 0;
		generation = worker_publish(&w->worker, &without);
		wait_seen(w, generation);
		/* Ours now: TSan would tell if the worker still looked. */
		fake_lane_fini(&w->fakes[1]);
		fake_lane_init(&w->fakes[1], lane, &w->memories[0], tag,
			       &(struct fake_sizes){512, 512, 512, 512, i * 77});
		with.reclaim[0][0] = tag;
		with.n_reclaim[0] = 1;
		generation = worker_publish(&w->worker, &with);
		wait_seen(w, generation);
	}
	assert_int_equal(worker_stop(&w->worker, DEADLINE_NS), 0);
	/* Counters began anew with each lane_init(), so only the frames are compared. */
	assert_int_equal(w->worker.umems[0].n_quarantine, 0);
	assert_int_equal(w->worker.umems[0].n_free + w->lanes[0].n_fill + w->lanes[1].n_fill, 4096);
	world_free(w);
}

/* A worker that does nothing but publish: as often in a second as a real one does in an hour. */
static void *publish_without_end(void *arg)
{
	struct world *w = arg;

	while (!atomic_load_explicit(&w->worker.stop, memory_order_relaxed)) {
		struct umem *umem = &w->worker.umems[0];

		/* All of it moves from one state to another, and back. */
		umem->n_quarantine = umem->n_frames - umem->n_quarantine;
		umem->n_free = umem->n_frames - umem->n_quarantine;
		w->lanes[0].n_fill = w->lanes[1].n_fill = 0;
		w->worker.now_ns += NSEC_PER_MSEC;
		worker_housekeep(&w->worker);
	}
	return NULL;
}

static void test_frame_states_are_one_cut_while_the_worker_writes(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	uint64_t start_ns = clock_now_ns();
	unsigned n_read = 0, n_quarantined = 0, n_beats = 0;
	uint64_t first_beat = worker_beat(&w->worker);
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, publish_without_end, w), 0);
	/* Until each state was seen often, in many rounds of the other thread. */
	while (n_quarantined < 20000 || n_read - n_quarantined < 20000 || n_beats < 100000) {
		struct frame_states states;

		n_beats = (unsigned)(worker_beat(&w->worker) - first_beat);
		assert_true(clock_now_ns() - start_ns < DEADLINE_NS);
		if (!worker_frames(&w->worker, 0, &states))
			continue;
		n_read++;
		n_quarantined += states.quarantine > 0;
		if (states.quarantine + states.free + states.fill + states.tx != 4096 ||
		    states.lost != 0)
			fail_msg("torn: free %u, quarantine %u", states.free, states.quarantine);
	}
	atomic_store_explicit(&w->worker.stop, true, memory_order_relaxed);
	assert_int_equal(pthread_join(thread, NULL), 0);
	world_free(w);
}

static void test_an_idle_worker_sleeps_and_still_beats(void **state)
{
	const uint64_t interval_ns = 10 * NSEC_PER_MSEC;
	struct world *w = started_world(interval_ns);
	uint64_t start_ns, cpu_ns, n_sleeps, beats, wall_ns;

	wait_sleeps(w, 3);
	start_ns = clock_now_ns();
	cpu_ns = thread_cpu_ns(w->worker.thread);
	n_sleeps = counter_read(&w->worker.counters.sleeps);
	beats = worker_beat(&w->worker);
	wait_sleeps(w, n_sleeps + 55);
	wall_ns = clock_now_ns() - start_ns;
	cpu_ns = thread_cpu_ns(w->worker.thread) - cpu_ns;
	assert_true(wall_ns > 500 * NSEC_PER_MSEC); /* it slept its full time */
	assert_true(worker_beat(&w->worker) - beats >= 54);
	assert_true(cpu_ns < wall_ns / 50);
	stop_and_free(w);
}

static void test_a_packet_ends_the_sleep(void **state)
{
	struct world *w = started_world(25 * NSEC_PER_MSEC);
	uint64_t start_ns, best_ns = UINT64_MAX;

	w->fakes[1].wake_budget = 0;
	for (unsigned i = 0; i < 20; i++) {
		uint64_t n_before = counter_read(&w->lanes[1].counters.tx_packets);

		wait_sleeps(w, counter_read(&w->worker.counters.sleeps) + 1);
		start_ns = clock_now_ns();
		assert_int_equal(fake_receive_n(&w->fakes[0], 1, 60), 1);
		fake_set_readable(&w->fakes[0], true);
		while (counter_read(&w->lanes[1].counters.tx_packets) == n_before)
			wait_a_little(start_ns);
		best_ns = MIN(best_ns, clock_now_ns() - start_ns);
		fake_set_readable(&w->fakes[0], false);
	}
	assert_true(best_ns < 5 * NSEC_PER_MSEC);
	stop_and_free(w);
}

static void test_a_busy_worker_never_sleeps(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	uint64_t start_ns = clock_now_ns(), n_seen = 0;

	w->worker.cpu = first_allowed_cpu();
	w->worker.beat_interval_ns = NSEC_PER_MSEC;
	/* Longer than we may be off the CPU between two packets on a loaded machine. */
	w->worker.spin_ns = 2 * NSEC_PER_SEC;
	w->fakes[1].wake_budget = 0;
	assert_int_equal(fake_receive_n(&w->fakes[0], 8, 60), 8);
	assert_int_equal(worker_start(&w->worker), 0);
	while (n_seen < 2000) {
		(void)fake_receive_n(&w->fakes[0], 8, 60);
		(void)fake_transmit(&w->fakes[1], 64);
		(void)fake_complete(&w->fakes[1], 64);
		n_seen = counter_read(&w->lanes[1].counters.tx_completed);
		wait_a_little(start_ns);
	}
	assert_int_equal(counter_read(&w->worker.counters.sleeps), 0);
	assert_true(counter_read(&w->worker.counters.busy_ns) > 0);
	stop_and_free(w);
}

static void test_packets_that_wait_for_the_kernel_shorten_the_sleep(void **state)
{
	static int again[100000];
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	uint64_t start_ns;

	for (size_t i = 0; i < ARRAY_SIZE(again); i++)
		again[i] = -EAGAIN;
	w->worker.cpu = first_allowed_cpu();
	w->worker.beat_interval_ns = 500 * NSEC_PER_MSEC;
	w->fakes[1].wake_budget = 0;
	w->fakes[1].wake_script = again;
	w->fakes[1].n_wake_script = ARRAY_SIZE(again);
	(void)fake_receive_n(&w->fakes[0], 1, 60);
	start_ns = clock_now_ns();
	assert_int_equal(worker_start(&w->worker), 0);
	wait_sleeps(w, 10);
	assert_true(clock_now_ns() - start_ns < 2 * NSEC_PER_SEC); /* not 10 × 500 ms */
	assert_int_equal(worker_stop(&w->worker, DEADLINE_NS), 0);
	w->fakes[1].n_wake_script = 0;
	w->fakes[1].wake_budget = UINT32_MAX;
	world_settle(w);
	stop_and_free(w);
}

static void test_it_stops_within_its_longest_sleep(void **state)
{
	struct world *w = started_world(25 * NSEC_PER_MSEC);

	wait_sleeps(w, 1);
	assert_int_equal(worker_stop(&w->worker, DEADLINE_NS), 0);
	assert_false(w->worker.is_started);
	world_free(w);
}

/* The engine stops a worker to give it another UMEM, and starts it again. */
static void test_a_stopped_worker_can_be_started_again(void **state)
{
	struct world *w = started_world(NSEC_PER_MSEC);
	uint64_t n_crossed = 0;

	w->fakes[1].wake_budget = 0;
	for (unsigned i = 0; i < 20; i++) {
		uint64_t start_ns = clock_now_ns(), beats = worker_beat(&w->worker);

		n_crossed += fake_receive_n(&w->fakes[0], 5, 60);
		while (counter_read(&w->lanes[1].counters.tx_packets) < n_crossed ||
		       worker_beat(&w->worker) == beats)
			wait_a_little(start_ns);
		assert_int_equal(worker_stop(&w->worker, DEADLINE_NS), 0);
		assert_int_equal(w->worker.tid, 0);
		world_check(w);
		assert_int_equal(worker_start(&w->worker), 0);
	}
	assert_int_equal(n_crossed, 100);
	stop_and_free(w);
}

/* What hangs: a wakeup that does not return until the test says so. */
static pthread_mutex_t hang = PTHREAD_MUTEX_INITIALIZER;

static void hang_on_sent(struct fake_lane *fake, uint64_t addr, uint32_t len, void *data)
{
	(void)fake, (void)addr, (void)len, (void)data;
	(void)pthread_mutex_lock(&hang);
	(void)pthread_mutex_unlock(&hang);
}

static void test_a_hung_worker_is_given_up_on_in_time(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	uint64_t start_ns;

	w->worker.cpu = first_allowed_cpu();
	w->fakes[1].on_sent = hang_on_sent;
	(void)fake_receive_n(&w->fakes[0], 1, 60);
	assert_int_equal(pthread_mutex_lock(&hang), 0);
	assert_int_equal(worker_start(&w->worker), 0);
	start_ns = clock_now_ns();
	/* On the ring, so it is in the wakeup now or will be. */
	while (counter_read(&w->lanes[1].counters.tx_packets) == 0)
		wait_a_little(start_ns);
	start_ns = clock_now_ns();
	assert_int_equal(worker_stop(&w->worker, 50 * NSEC_PER_MSEC), -ETIMEDOUT);
	assert_true(clock_now_ns() - start_ns >= 50 * NSEC_PER_MSEC);
	assert_true(w->worker.is_started);
	assert_int_equal(pthread_mutex_unlock(&hang), 0);
	stop_and_free(w);
}

static void test_it_runs_on_its_cpu_under_its_name(void **state)
{
	struct world *w = started_world(NSEC_PER_MSEC);
	cpu_set_t set;
	char name[16];

	wait_sleeps(w, 1);
	assert_int_equal(w->worker.start_error, 0);
	assert_true(w->worker.tid > 0);
	assert_int_equal(pthread_getaffinity_np(w->worker.thread, sizeof(set), &set), 0);
	assert_int_equal(CPU_COUNT(&set), 1);
	assert_true(CPU_ISSET(w->worker.cpu, &set));
	assert_int_equal(pthread_getname_np(w->worker.thread, name, sizeof(name)), 0);
	assert_string_equal(name, "test");
	stop_and_free(w);
}

static void test_a_cpu_that_cannot_be_had_is_reported_and_the_worker_runs(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});

	w->worker.cpu = 8000; /* NR_CPUS is at most 8192; nobody has that many here */
	w->worker.beat_interval_ns = NSEC_PER_MSEC;
	assert_int_equal(worker_start(&w->worker), 0);
	wait_sleeps(w, 1);
	assert_int_equal(w->worker.start_error, EINVAL);
	stop_and_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ten_thousand_sets_are_taken_up_under_load),
		cmocka_unit_test(test_a_lane_out_of_the_set_belongs_to_control),
		cmocka_unit_test(test_frame_states_are_one_cut_while_the_worker_writes),
		cmocka_unit_test(test_an_idle_worker_sleeps_and_still_beats),
		cmocka_unit_test(test_a_packet_ends_the_sleep),
		cmocka_unit_test(test_a_busy_worker_never_sleeps),
		cmocka_unit_test(test_packets_that_wait_for_the_kernel_shorten_the_sleep),
		cmocka_unit_test(test_it_stops_within_its_longest_sleep),
		cmocka_unit_test(test_a_stopped_worker_can_be_started_again),
		cmocka_unit_test(test_a_hung_worker_is_given_up_on_in_time),
		cmocka_unit_test(test_it_runs_on_its_cpu_under_its_name),
		cmocka_unit_test(test_a_cpu_that_cannot_be_had_is_reported_and_the_worker_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
