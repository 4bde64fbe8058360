// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * When the tables may free what a worker has read (data/worker.h, Tables): what tables_seen says in
 * each state of a worker, and, with a real thread, that what is freed by it is never read. The test
 * plays the tables thread; what it frees it fills with a pattern first, which must never leave.
 * Runs under ThreadSanitizer, too.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "loop_world.h"
#include "net/fib_atomic.h"
#include "route_world.h"
#include "unit.h"
#include "util/clock.h"

#define DEADLINE_NS (20 * NSEC_PER_SEC)
#define N_CHANGES   20000
#define N_FRAMES    10000
#define POISON      0xdb

struct rig {
	struct world *w;
	struct route_world *routes;
	struct worker_port ports[WORKER_MAX_PORTS];
};

static struct rig *rig_new(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct worker_set *set;

	assert_non_null(rig);
	rig->w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	rig->routes = route_world_new();
	(void)route_world_via(rig->routes, 1, 1, 1500);
	route_world_add(rig->routes, "10.0.0.0/8", 1);
	set = world_next_set(rig->w);
	set->forward = WORKER_ROUTE;
	set->view = &rig->routes->view;
	set->ports = rig->ports;
	for (uint16_t p = 0; p < 2; p++) {
		set->routes[p] = (struct worker_route){.rx = &rig->w->lanes[p], .port = p};
		rig->ports[p] = (struct worker_port){
			.is_member = true,
			.can_send = true,
			.ifindex = ROUTE_WORLD_IFINDEX(p),
			.max_len = 1514,
			.handback_fd = -1,
			.n_lanes = 1,
			.lanes = {&rig->w->lanes[p]},
		};
		route_world_mac(p, rig->ports[p].mac);
	}
	world_publish(rig->w);
	return rig;
}

static void rig_free(struct rig *rig)
{
	world_free(rig->w);
	route_world_free(rig->routes);
	free(rig);
}

static uint64_t seen(struct rig *rig)
{
	return atomic_load_explicit(&rig->w->worker.tables_seen, memory_order_acquire);
}

static void set_generation(struct rig *rig, uint64_t generation)
{
	atomic_store_explicit(&rig->routes->view.generation, generation, memory_order_release);
}

static void test_a_worker_reads_from_its_first_turn_on(void **state)
{
	struct rig *rig = rig_new();

	set_generation(rig, 7);
	assert_int_equal(seen(rig), WORKER_NOT_READING); /* it has the set, and has not turned */
	(void)world_turn(rig->w);
	assert_int_equal(seen(rig), 7);
	set_generation(rig, 8);
	assert_int_equal(seen(rig), 7);
	(void)world_turn(rig->w);
	assert_int_equal(seen(rig), 8);
	worker_stop_reading(&rig->w->worker);
	assert_int_equal(seen(rig), WORKER_NOT_READING);
	(void)world_turn(rig->w);
	assert_int_equal(seen(rig), 8);
	rig_free(rig);
}

static void test_a_set_that_routes_nothing_reads_nothing(void **state)
{
	struct rig *rig = rig_new();
	struct worker_set *set;

	(void)world_turn(rig->w);
	assert_int_equal(seen(rig), 1);
	set = world_next_set(rig->w);
	set->forward = WORKER_WIRE;
	set->view = NULL;
	world_publish(rig->w);
	assert_int_equal(seen(rig), WORKER_NOT_READING);
	(void)world_turn(rig->w);
	assert_int_equal(seen(rig), WORKER_NOT_READING);
	set = world_next_set(rig->w);
	set->forward = WORKER_BRIDGE;
	world_publish(rig->w);
	rig->w->worker.now_ns = 42 * NSEC_PER_SEC + 999;
	(void)world_turn(rig->w);
	assert_int_equal(seen(rig), WORKER_NOT_READING);
	assert_int_equal(rig->w->worker.now_s, 42);
	rig_free(rig);
}

static void wait_a_little(uint64_t start_ns)
{
	assert_true(clock_now_ns() - start_ns < DEADLINE_NS);
	(void)sched_yield();
}

static void start(struct rig *rig, uint64_t spin_ns)
{
	uint64_t start_ns = clock_now_ns();
	cpu_set_t allowed;
	uint32_t cpu = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	while (!CPU_ISSET(cpu, &allowed))
		cpu++;
	rig->w->worker.cpu = cpu;
	rig->w->worker.beat_interval_ns = 10 * NSEC_PER_MSEC;
	rig->w->worker.spin_ns = spin_ns;
	/* the test sends and completes */
	rig->w->fakes[0].wake_budget = rig->w->fakes[1].wake_budget = 0;
	assert_int_equal(worker_start(&rig->w->worker), 0);
	while (atomic_load_explicit(&rig->w->worker.tid, memory_order_acquire) == 0)
		wait_a_little(start_ns);
}

static void test_a_worker_that_sleeps_or_has_ended_holds_nothing_up(void **state)
{
	struct rig *rig = rig_new();
	uint64_t start_ns = clock_now_ns();

	start(rig, NSEC_PER_SEC);
	while (seen(rig) != 1)
		wait_a_little(start_ns);
	assert_int_equal(worker_stop(&rig->w->worker, DEADLINE_NS), 0);
	assert_int_equal(seen(rig), WORKER_NOT_READING);
	start(rig, 0);
	while (counter_read(&rig->w->worker.counters.sleeps) < 3 || seen(rig) != WORKER_NOT_READING)
		wait_a_little(start_ns);
	assert_int_equal(worker_stop(&rig->w->worker, DEADLINE_NS), 0);
	rig_free(rig);
}

/* --- the tables thread, in small ---------------------------------------------------------------
 */

/* What one change puts in the place of the one before. */
struct generation {
	struct nexthop hop;
	struct adjacency adjacency;
	struct route_locals locals;
};

static struct generation *publish(struct rig *rig, uint64_t generation)
{
	struct generation *next = aligned_alloc(CACHE_LINE_BYTES, sizeof(*next));
	struct route_view *view = &rig->routes->view;

	assert_non_null(next);
	memset(next, 0, sizeof(*next));
	next->hop = rig->routes->hops[1];
	next->adjacency = rig->routes->adjacencies[1];
	next->hop.adjacency = &next->adjacency;
	atomic_store_explicit(&view->nexthops[1], &next->hop, memory_order_release);
	atomic_store_explicit(&view->locals, &next->locals, memory_order_release);
	atomic_store_explicit(&view->generation, generation, memory_order_seq_cst);
	FIB_FENCE(memory_order_seq_cst);
	return next;
}

/* The network's side of the lanes: what came in, and what goes out. */
static void serve_lanes(struct rig *rig, unsigned n_frames)
{
	static uint8_t frame[64];
	uint32_t len = frame_make(frame, "192.0.2.9", "10.0.0.9", 26);

	for (unsigned i = 0; i < n_frames; i++)
		(void)fake_receive(&rig->w->fakes[0], frame, len, len, NULL);
	(void)fake_transmit(&rig->w->fakes[1], 64);
	(void)fake_complete(&rig->w->fakes[1], 64);
}

/*
 * Frames come whether or not the worker has the CPU: where each change takes a round of the
 * scheduler, a ring full of them waits for it, instead of a few.
 */
static void retire(struct rig *rig, struct generation *old, uint64_t generation)
{
	uint64_t start_ns = clock_now_ns();

	/* NOT_READING is the largest of all */
	while (seen(rig) < generation) {
		wait_a_little(start_ns);
		serve_lanes(rig, 1);
	}
	memset(old, POISON, sizeof(*old));
	free(old);
}

static void check_not_freed(struct fake_lane *fake, uint64_t addr, uint32_t len, void *data)
{
	const uint8_t *frame = fake->memory->umem->area + addr;
	uint64_t *n_sent = data;

	assert_int_equal(len, 14 + 20 + 26);
	for (unsigned i = 0; i < 12; i++)
		assert_int_not_equal(frame[i], POISON);
	(*n_sent)++;
}

/* As much as makes the test one: what happened, not how long it took. */
static bool is_enough(const struct rig *rig, uint64_t n_sent, uint64_t n_sleeps)
{
	return n_sent > N_FRAMES / 10 && counter_read(&rig->w->worker.counters.sleeps) >= n_sleeps;
}

static void run_changes(struct rig *rig, uint64_t n_sleeps)
{
	struct generation *current = publish(rig, 2);
	uint64_t start_ns = clock_now_ns(), generation, n_sent = 0;

	rig->w->fakes[1].on_sent = check_not_freed;
	rig->w->fakes[1].on_sent_data = &n_sent;
	for (generation = 3;
	     generation < N_CHANGES || n_sent < N_FRAMES || !is_enough(rig, n_sent, n_sleeps);
	     generation++) {
		struct generation *old = current;
		uint64_t lasted_ns = clock_now_ns() - start_ns;

		/* On a machine that is busy a tenth must do, but that much there has to be. */
		if (lasted_ns > DEADLINE_NS / 4 && is_enough(rig, n_sent, n_sleeps))
			break;
		assert_true(lasted_ns < DEADLINE_NS);
		serve_lanes(rig, generation % 4);
		current = publish(rig, generation);
		retire(rig, old, generation);
	}
	assert_int_equal(worker_stop(&rig->w->worker, DEADLINE_NS), 0);
	print_message("%llu changes, %llu frames, %llu sleeps\n", (unsigned long long)generation,
		      (unsigned long long)n_sent,
		      (unsigned long long)rig->w->worker.counters.sleeps);
	(void)fake_transmit(&rig->w->fakes[1], UINT32_MAX);
	route_world_set_locals(rig->routes, (const char *const[]){NULL});
	free(current);
}

static void test_what_is_freed_is_never_read_by_a_busy_worker(void **state)
{
	struct rig *rig = rig_new();

	start(rig, 10 * NSEC_PER_SEC);
	run_changes(rig, 0);
	rig_free(rig);
}

/* It looks for work, finds none, sleeps, and is woken at once: reading and not, all the time. */
static void test_what_is_freed_is_never_read_by_one_that_wakes(void **state)
{
	struct rig *rig = rig_new();

	fake_set_readable(&rig->w->fakes[0], true);
	start(rig, 0);
	run_changes(rig, 101);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_worker_reads_from_its_first_turn_on),
		cmocka_unit_test(test_a_set_that_routes_nothing_reads_nothing),
		cmocka_unit_test(test_a_worker_that_sleeps_or_has_ended_holds_nothing_up),
		cmocka_unit_test(test_what_is_freed_is_never_read_by_a_busy_worker),
		cmocka_unit_test(test_what_is_freed_is_never_read_by_one_that_wakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
