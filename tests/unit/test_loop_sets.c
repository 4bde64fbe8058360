/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Between turns: taking up a new set, quarantine and its end, beats, the published frame states.
 */
#include <stdlib.h>
#include <string.h>

#include "kern/jiffies.h"
#include "loop_world.h"
#include "unit.h"

static struct world *world_of_two(void)
{
	return world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
}

static struct frame_states frames_of(struct world *w, uint32_t umem)
{
	struct frame_states states;

	w->worker.now_ns += NSEC_PER_MSEC;
	worker_housekeep(&w->worker);
	assert_true(worker_frames(&w->worker, umem, &states));
	return states;
}

static void test_a_removed_lane_leaves_its_frames_in_quarantine_until_reclaimed(void **state)
{
	struct world *w = world_of_two();
	struct worker_set *set;

	/* Lane 1 goes with 512 frames in fill and 20 in tx, 5 of them on their way. */
	w->fakes[1].wake_budget = 5;
	(void)fake_receive_n(&w->fakes[0], 20, 60);
	(void)world_turn(w);
	assert_int_equal(w->lanes[1].n_tx, 20);
	set = world_next_set(w);
	set->n_lanes = 1;
	set->routes[0].out = NULL;
	world_publish(w);
	world_check(w);
	assert_int_equal(w->worker.umems[0].n_quarantine, 532);
	assert_int_equal(frames_of(w, 0).quarantine, 532);
	assert_int_equal(frames_of(w, 0).lost, 0);

	/* Turns and further sets do not touch it. */
	(void)fake_receive_n(&w->fakes[0], 64, 60);
	(void)world_turn(w);
	(void)world_next_set(w);
	world_publish(w);
	assert_int_equal(w->worker.umems[0].n_quarantine, 532);

	fake_let_go(&w->fakes[1]);
	set = world_next_set(w);
	set->reclaim[0][0] = w->lanes[1].tag;
	set->n_reclaim[0] = 1;
	world_publish(w);
	world_check(w);
	assert_int_equal(w->worker.umems[0].n_quarantine, 0);
	assert_int_equal(w->worker.umems[0].n_free + w->lanes[0].n_fill, 4096);
	assert_int_equal(frames_of(w, 0).lost, 0);
	world_free(w);
}

static void test_a_rebuilt_lane_may_take_the_tag_that_its_own_set_reclaims(void **state)
{
	const struct fake_sizes sizes = {.fill = 256, .rx = 256, .tx = 256, .completion = 256};
	struct world *w = world_of_two();
	uint8_t tag = w->lanes[1].tag;
	struct worker_set *set;

	w->fakes[1].wake_budget = 3;
	(void)fake_receive_n(&w->fakes[0], 8, 60);
	(void)world_turn(w);
	fake_let_go(&w->fakes[1]);
	fake_lane_init(&w->fakes[2], &w->lanes[2], &w->memories[0], tag, &sizes);
	w->n_lanes = 3;
	set = world_next_set(w);
	set->routes[0].out = &w->lanes[2];
	set->routes[1].rx = &w->lanes[2];
	set->reclaim[0][0] = tag;
	set->n_reclaim[0] = 1;
	world_publish(w);
	world_check(w);
	assert_int_equal(w->worker.umems[0].n_quarantine, 0);
	(void)world_turn(w);
	assert_int_equal(w->lanes[2].n_fill, 256);
	(void)fake_receive_n(&w->fakes[0], 8, 60);
	assert_int_equal(world_turn(w), 8);
	assert_int_equal(w->fakes[2].n_sent, 8);
	world_settle(w);
	world_free(w);
}

static void test_quarantine_is_kept_for_each_umem(void **state)
{
	struct world *w =
		world_new(&(struct world_spec){.n_lanes = 4, .n_frames = 2048, .n_umems = 2});
	struct worker_set *set = world_next_set(w);

	/* Lanes 2 and 3 go: one in each UMEM. */
	set->n_lanes = 2;
	world_publish(w);
	world_check(w);
	assert_int_equal(frames_of(w, 0).quarantine, 512);
	assert_int_equal(frames_of(w, 1).quarantine, 512);
	set = world_next_set(w);
	set->reclaim[1][0] = w->lanes[3].tag;
	set->n_reclaim[1] = 1;
	world_publish(w);
	world_check(w);
	assert_int_equal(frames_of(w, 0).quarantine, 512);
	assert_int_equal(frames_of(w, 1).quarantine, 0);
	world_free(w);
}

static void test_a_set_with_the_same_lanes_disturbs_nothing(void **state)
{
	struct world *w = world_of_two();

	(void)fake_receive_n(&w->fakes[0], 100, 60);
	(void)world_turn(w);
	world_next_set(w)->routes[0].max_len = 9014;
	world_publish(w);
	assert_int_equal(world_turn(w), 36);
	assert_int_equal(w->fakes[1].n_sent, 100);
	assert_int_equal(w->worker.umems[0].n_quarantine, 0);
	world_free(w);
}

static void test_of_two_sets_published_at_once_the_last_one_counts(void **state)
{
	static struct worker_set sets[2];
	struct world *w = world_of_two();
	uint64_t seen = worker_seen(&w->worker);

	sets[0] = sets[1] = *w->worker.set;
	assert_int_equal(worker_publish(&w->worker, &sets[0]), seen + 1);
	assert_int_equal(worker_publish(&w->worker, &sets[1]), seen + 2);
	assert_int_equal(worker_seen(&w->worker), seen);
	worker_take_set(&w->worker);
	assert_int_equal(worker_seen(&w->worker), seen + 2);
	assert_ptr_equal(w->worker.set, &sets[1]);
	world_free(w);
}

static void test_every_line_beats_at_most_once_a_millisecond(void **state)
{
	static uint64_t lines[WORKER_MAX_BEATS];
	struct world *w = world_of_two();
	struct worker_set *set = world_next_set(w);
	uint64_t start_ns, beats;

	for (unsigned i = 0; i < WORKER_MAX_BEATS; i++)
		set->beats[i] = &lines[i];
	set->n_beats = WORKER_MAX_BEATS;
	world_publish(w);
	start_ns = w->worker.now_ns;
	beats = worker_beat(&w->worker);
	/* A new line must not look stale until the next beat is due. */
	for (unsigned i = 0; i < WORKER_MAX_BEATS; i++)
		assert_int_equal(lines[i], jiffies_at(0, w->worker.tick_ns, start_ns));
	for (uint64_t us = 1; us <= 10000; us++) {
		w->worker.now_ns = start_ns + us * NSEC_PER_USEC;
		worker_housekeep(&w->worker);
		assert_int_equal(worker_beat(&w->worker), beats + us / 1000);
	}
	for (unsigned i = 0; i < WORKER_MAX_BEATS; i++)
		assert_int_equal(lines[i],
				 jiffies_at(0, w->worker.tick_ns, start_ns + 10 * NSEC_PER_MSEC));
	assert_int_equal(w->worker.beat_at_ns, start_ns + 10 * NSEC_PER_MSEC);
	world_free(w);
}

/* In jiffies, from the origin that control last handed over; a count of its own for the watchdog.
 */
static void test_a_beat_is_the_time_of_the_turn_in_jiffies(void **state)
{
	const uint64_t origin_ns = WORLD_NS - (1ULL << 32) * 4 * NSEC_PER_MSEC - 1;
	struct world *w = world_of_two();
	uint64_t beats = worker_beat(&w->worker);

	w->worker.tick_ns = 4 * NSEC_PER_MSEC;
	w->worker.jiffies_origin_ns = origin_ns; /* before the clock's zero: modulo 2^64 */
	for (uint64_t ms = 1; ms <= 40; ms++) {
		w->worker.now_ns = WORLD_NS + ms * NSEC_PER_MSEC;
		worker_housekeep(&w->worker);
		assert_int_equal(w->beat_line, (1ULL << 32) + ms / 4 + 1);
		assert_int_equal(worker_beat(&w->worker), beats + ms);
	}
	w->worker.jiffies_origin_ns += w->worker.tick_ns;
	w->worker.now_ns += NSEC_PER_MSEC;
	worker_housekeep(&w->worker);
	assert_int_equal(w->beat_line, (1ULL << 32) + 10);
	world_free(w);
}

static void test_the_published_states_are_those_of_the_frames(void **state)
{
	struct world *w = world_of_two();
	struct frame_states states;

	w->fakes[1].wake_budget = 0;
	(void)fake_receive_n(&w->fakes[0], 30, 60);
	(void)world_turn(w);
	states = frames_of(w, 0);
	assert_int_equal(states.free, 4096 - 1024);
	assert_int_equal(states.fill, 1024 - 30);
	assert_int_equal(states.tx, 30);
	assert_int_equal(states.worker, 0);
	assert_int_equal(states.quarantine, 0);
	assert_int_equal(states.min_free, 4096 - 1024);
	assert_int_equal(states.lost, 0);
	/* A frame that vanishes is seen. */
	w->worker.umems[0].n_free--;
	assert_int_equal(frames_of(w, 0).lost, 1);
	w->worker.umems[0].n_free += 2;
	assert_int_equal(frames_of(w, 0).lost, -1);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_removed_lane_leaves_its_frames_in_quarantine_until_reclaimed),
		cmocka_unit_test(test_a_rebuilt_lane_may_take_the_tag_that_its_own_set_reclaims),
		cmocka_unit_test(test_quarantine_is_kept_for_each_umem),
		cmocka_unit_test(test_a_set_with_the_same_lanes_disturbs_nothing),
		cmocka_unit_test(test_of_two_sets_published_at_once_the_last_one_counts),
		cmocka_unit_test(test_every_line_beats_at_most_once_a_millisecond),
		cmocka_unit_test(test_a_beat_is_the_time_of_the_turn_in_jiffies),
		cmocka_unit_test(test_the_published_states_are_those_of_the_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
