/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's turn on fake rings: what crosses, in what order, how far it goes when a ring is
 * full. Broken kernels are in test_loop_faults.c, set changes in test_loop_sets.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop_world.h"
#include "unit.h"

/* What left a lane, in order. */
struct sent_log {
	struct fake_packet packets[4096];
	uint32_t n;
};

static void log_sent(struct fake_lane *fake, uint64_t addr, uint32_t len, void *data)
{
	struct sent_log *log = data;

	(void)fake;
	assert_true(log->n < ARRAY_SIZE(log->packets));
	log->packets[log->n++] = (struct fake_packet){addr, len};
}

static void watch(struct fake_lane *fake, struct sent_log *log)
{
	log->n = 0;
	fake->on_sent = log_sent;
	fake->on_sent_data = log;
}

static void test_one_frame_leaves_in_the_turn_that_receives_it(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	static struct sent_log log;

	watch(&w->fakes[1], &log);
	assert_int_equal(fake_receive_n(&w->fakes[0], 1, 60), 1);
	assert_int_equal(world_turn(w), 1);
	/* The wakeup of the same turn made the fake kernel send it. */
	assert_int_equal(log.n, 1);
	assert_int_equal(w->fakes[1].n_wakes_tx, 1);
	assert_int_equal(w->lanes[1].counters.wakeups_tx, 1);
	world_free(w);
}

static void test_a_burst_crosses_in_order_with_address_and_length_kept(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	struct fake_packet given[150];
	static struct sent_log log;
	uint64_t n_bytes = 0;

	watch(&w->fakes[1], &log);
	for (uint32_t i = 0; i < ARRAY_SIZE(given); i++) {
		given[i].len = 60 + 9 * i;
		n_bytes += given[i].len;
		assert_true(
			fake_receive(&w->fakes[0], &i, sizeof(i), given[i].len, &given[i].addr));
	}
	assert_int_equal(world_turn(w), 64);
	assert_int_equal(log.n, 64);
	assert_int_equal(world_turn(w), 64);
	assert_int_equal(world_turn(w), 22);
	assert_int_equal(log.n, 150);
	for (uint32_t i = 0; i < ARRAY_SIZE(given); i++) {
		uint32_t mark;

		assert_int_equal(log.packets[i].addr, given[i].addr);
		assert_int_equal(log.packets[i].len, given[i].len);
		memcpy(&mark, w->worker.umems[0].area + given[i].addr, sizeof(mark));
		assert_int_equal(mark, i);
	}
	assert_int_equal(w->lanes[0].counters.rx_packets, 150);
	assert_int_equal(w->lanes[0].counters.forwarded, 150);
	assert_int_equal(w->lanes[0].counters.rx_bytes, n_bytes);
	assert_int_equal(w->lanes[1].counters.tx_bytes, n_bytes);
	assert_int_equal(w->lanes[1].counters.tx_packets, 150);
	assert_int_equal(world_drops(&w->lanes[0]), 0);
	/* 64, 64 and 22: the buckets of ≤ 64 and ≤ 32 */
	assert_int_equal(w->worker.counters.batch[6], 2);
	assert_int_equal(w->worker.counters.batch[5], 1);
	assert_int_equal(w->worker.counters.batch_packets, 150);
	world_free(w);
}

static void test_both_directions_cross_in_one_turn(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});

	(void)fake_receive_n(&w->fakes[0], 40, 60);
	(void)fake_receive_n(&w->fakes[1], 50, 1514);
	assert_int_equal(world_turn(w), 90);
	assert_int_equal(w->fakes[0].n_sent, 50);
	assert_int_equal(w->fakes[1].n_sent, 40);
	assert_int_equal(w->lanes[0].counters.tx_bytes, 50 * 1514);
	assert_int_equal(w->lanes[1].counters.tx_bytes, 40 * 60);
	world_settle(w);
	assert_int_equal(w->lanes[0].n_tx + w->lanes[1].n_tx, 0);
	world_free(w);
}

static void test_two_lanes_share_one_out_lane(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 3, .n_frames = 8192});
	static struct sent_log log;
	struct worker_set *set = world_next_set(w);
	uint64_t first;

	set->routes[0].out = set->routes[1].out = &w->lanes[2];
	world_publish(w);
	watch(&w->fakes[2], &log);
	assert_true(fake_receive(&w->fakes[0], "a", 1, 60, &first));
	(void)fake_receive_n(&w->fakes[0], 63, 60);
	(void)fake_receive_n(&w->fakes[1], 64, 61);
	assert_int_equal(world_turn(w), 128);
	assert_int_equal(log.n, 128);
	assert_int_equal(log.packets[0].addr, first);
	assert_int_equal(log.packets[63].len, 60);
	assert_int_equal(log.packets[64].len, 61);
	/* One wakeup for both bursts. */
	assert_int_equal(w->fakes[2].n_wakes_tx, 1);
	world_free(w);
}

static void test_no_lane_starves_another(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});

	(void)fake_receive_n(&w->fakes[0], 512, 60);
	(void)fake_receive_n(&w->fakes[1], 1, 60);
	assert_int_equal(world_turn(w), 65);
	assert_int_equal(w->fakes[0].n_sent, 1);
	world_free(w);
}

static void test_empty_rings_cost_no_system_call(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});

	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(world_turn(w), 0);
	assert_int_equal(w->fakes[0].n_wakes_tx + w->fakes[0].n_wakes_rx, 0);
	assert_int_equal(w->fakes[1].n_wakes_tx + w->fakes[1].n_wakes_rx, 0);
	assert_int_equal(w->worker.counters.batch_packets, 0);
	assert_int_equal(w->lanes[0].n_fill, 512);
	world_free(w);
}

static void test_a_full_tx_ring_drops_and_gets_its_frames_back(void **state)
{
	const struct fake_sizes sizes = {.fill = 512, .rx = 512, .tx = 64, .completion = 512};
	struct world *w =
		world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096, .sizes = sizes});
	struct fake_lane *out = &w->fakes[1];

	out->wake_budget = 0; /* the kernel sends nothing */
	assert_int_equal(fake_receive_n(&w->fakes[0], 100, 60), 100);
	assert_int_equal(world_turn(w), 64);
	assert_int_equal(w->lanes[1].n_tx, 64);
	assert_int_equal(world_turn(w), 36);
	assert_int_equal(w->lanes[0].counters.drops[DROP_TX_RING_FULL], 36);
	assert_int_equal(w->lanes[0].counters.forwarded, 64);
	/* It recovers in the turn after the kernel took something. */
	assert_int_equal(fake_transmit(out, 10), 10);
	assert_int_equal(fake_receive_n(&w->fakes[0], 12, 60), 12);
	assert_int_equal(world_turn(w), 12);
	assert_int_equal(w->lanes[0].counters.forwarded, 74);
	assert_int_equal(w->lanes[0].counters.drops[DROP_TX_RING_FULL], 38);
	out->wake_budget = UINT32_MAX;
	world_settle(w);
	assert_int_equal(w->lanes[1].counters.tx_completed, 74);
	world_free(w);
}

static void test_a_full_tx_ring_gives_the_kernel_one_chance_before_dropping(void **state)
{
	const struct fake_sizes sizes = {.fill = 512, .rx = 512, .tx = 64, .completion = 512};
	struct world *w =
		world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096, .sizes = sizes});
	static const int script[] = {-EAGAIN};

	w->fakes[1].wake_budget = 0;
	w->fakes[1].wake_script = script;
	w->fakes[1].n_wake_script = 1;
	(void)fake_receive_n(&w->fakes[0], 64, 60);
	(void)world_turn(w);
	w->fakes[1].wake_budget = 64;
	(void)fake_receive_n(&w->fakes[0], 64, 60);
	assert_int_equal(world_turn(w), 64);
	assert_int_equal(world_drops(&w->lanes[0]), 0);
	world_free(w);
}

static void test_no_more_is_sent_than_the_completion_ring_can_take_back(void **state)
{
	const struct fake_sizes sizes = {.fill = 512, .rx = 512, .tx = 512, .completion = 32};
	struct world *w =
		world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096, .sizes = sizes});

	(void)fake_receive_n(&w->fakes[0], 64, 60);
	assert_int_equal(world_turn(w), 64);
	assert_int_equal(w->lanes[1].n_tx, 32);
	assert_int_equal(w->lanes[0].counters.drops[DROP_TX_RING_FULL], 32);
	/* Sent but not completed: still no room. */
	(void)fake_receive_n(&w->fakes[0], 5, 60);
	(void)world_turn(w);
	assert_int_equal(w->lanes[0].counters.drops[DROP_TX_RING_FULL], 37);
	assert_int_equal(fake_complete(&w->fakes[1], 3), 3);
	(void)fake_receive_n(&w->fakes[0], 5, 60);
	(void)world_turn(w);
	assert_int_equal(w->lanes[0].counters.drops[DROP_TX_RING_FULL], 39);
	assert_int_equal(w->lanes[1].n_tx, 32);
	world_free(w);
}

static void test_partial_completions_are_taken_as_they_come(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	uint32_t n_left = 64;

	(void)fake_receive_n(&w->fakes[0], 64, 60);
	(void)world_turn(w);
	for (uint32_t n = 1; n_left > 0; n++) {
		n = MIN(n, n_left);
		assert_int_equal(fake_complete(&w->fakes[1], n), n);
		assert_int_equal(world_turn(w), n);
		n_left -= n;
		assert_int_equal(w->lanes[1].n_tx, n_left);
	}
	assert_int_equal(w->lanes[1].counters.tx_completed, 64);
	world_free(w);
}

static void test_reaping_is_bounded_in_one_turn(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});

	for (unsigned i = 0; i < 6; i++) {
		(void)fake_receive_n(&w->fakes[0], 64, 60);
		(void)world_turn(w);
	}
	assert_int_equal(fake_complete(&w->fakes[1], 384), 384);
	assert_int_equal(world_turn(w), 256);
	assert_int_equal(world_turn(w), 128);
	world_free(w);
}

static void test_the_fill_ring_is_kept_full_in_batches(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	struct lane *in = &w->lanes[0];

	(void)fake_receive_n(&w->fakes[0], 31, 60);
	(void)world_turn(w);
	assert_int_equal(in->n_fill, 481);
	(void)fake_receive_n(&w->fakes[0], 1, 60);
	(void)world_turn(w);
	assert_int_equal(in->n_fill, 512);
	world_free(w);
}

static void test_packets_waiting_in_rx_count_as_fill(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});

	/* 512 wait; each turn takes 64 and posts 64: never more than 512 are out. */
	assert_int_equal(fake_receive_n(&w->fakes[0], 512, 60), 512);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(world_turn(w), 64);
		assert_true(w->lanes[0].n_fill <= 512);
	}
	world_free(w);
}

static void test_a_starved_fill_ring_recovers_with_the_first_frame(void **state)
{
	const struct fake_sizes sizes = {.fill = 64, .rx = 64, .tx = 64, .completion = 64};
	struct world *w =
		world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 128, .sizes = sizes});

	/* Everything that lane 0 received sits in lane 1's tx ring, and nothing is free. */
	w->fakes[1].wake_budget = 0;
	assert_int_equal(fake_receive_n(&w->fakes[0], 64, 60), 64);
	assert_int_equal(world_turn(w), 64);
	assert_int_equal(w->worker.umems[0].n_free, 0);
	assert_int_equal(w->worker.umems[0].min_free, 0);
	assert_int_equal(w->lanes[0].n_fill, 0);
	assert_int_equal(fake_receive_n(&w->fakes[0], 1, 60), 0);
	(void)fake_transmit(&w->fakes[1], 1);
	(void)fake_complete(&w->fakes[1], 1);
	assert_int_equal(world_turn(w), 1);
	assert_int_equal(w->lanes[0].n_fill, 1);
	assert_int_equal(fake_receive_n(&w->fakes[0], 1, 60), 1);
	assert_int_equal(world_turn(w), 1);
	w->fakes[1].wake_budget = UINT32_MAX;
	world_settle(w);
	assert_int_equal(w->lanes[0].counters.rx_packets, 65);
	assert_int_equal(w->lanes[0].n_fill, 64);
	world_free(w);
}

static void test_ring_indices_wrap(void **state)
{
	const struct fake_sizes sizes = {
		.fill = 128, .rx = 128, .tx = 128, .completion = 128, .start = UINT32_MAX - 200};
	struct world *w =
		world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 1024, .sizes = sizes});
	static struct sent_log log;
	uint64_t addr[30];

	watch(&w->fakes[1], &log);
	for (unsigned round = 0; round < 20; round++) {
		log.n = 0;
		for (uint32_t i = 0; i < ARRAY_SIZE(addr); i++)
			assert_true(fake_receive(&w->fakes[0], &i, 4, 100 + i, &addr[i]));
		(void)fake_receive_n(&w->fakes[1], 30, 60);
		assert_int_equal(world_turn(w), 60);
		assert_int_equal(log.n, ARRAY_SIZE(addr));
		for (uint32_t i = 0; i < ARRAY_SIZE(addr); i++)
			assert_int_equal(log.packets[i].addr, addr[i]);
		world_settle(w);
	}
	assert_true(w->fakes[0].rx.producer < 1000);
	assert_true(w->fakes[1].completion.consumer < 1000);
	assert_int_equal(w->lanes[0].counters.forwarded, 600);
	assert_int_equal(world_drops(&w->lanes[0]), 0);
	world_free(w);
}

static void test_unlike_modes_copy_every_byte_between_the_umems(void **state)
{
	struct world *w =
		world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 2048, .n_umems = 2});
	static struct sent_log log;
	uint8_t bytes[1514];
	uint64_t addr;

	watch(&w->fakes[1], &log);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + 3);
	assert_true(fake_receive(&w->fakes[0], bytes, sizeof(bytes), sizeof(bytes), &addr));
	memset(bytes, 0x55, 60);
	assert_true(fake_receive(&w->fakes[0], bytes, sizeof(bytes), 60, &addr));
	assert_int_equal(world_turn(w), 2);
	assert_int_equal(log.n, 2);
	assert_int_equal(log.packets[0].len, 1514);
	assert_int_equal(log.packets[1].len, 60);
	assert_memory_equal(w->worker.umems[1].area + log.packets[1].addr, bytes, 60);
	for (unsigned i = 0; i < 60; i++)
		bytes[i] = (uint8_t)(i * 7 + 3);
	assert_memory_equal(w->worker.umems[1].area + log.packets[0].addr, bytes, sizeof(bytes));
	assert_int_equal(w->lanes[1].counters.copied, 2);
	assert_int_equal(w->lanes[0].n_fill, 510);
	world_settle(w);
	world_free(w);
}

static void test_an_exhausted_target_umem_drops_and_is_seen_in_min_free(void **state)
{
	const struct fake_sizes sizes = {.fill = 128, .rx = 128, .tx = 128, .completion = 128};
	struct world *w = world_new(
		&(struct world_spec){.n_lanes = 2, .n_frames = 138, .n_umems = 2, .sizes = sizes});

	w->fakes[1].wake_budget = 0;
	assert_int_equal(w->worker.umems[1].n_free, 10);
	assert_int_equal(fake_receive_n(&w->fakes[0], 14, 60), 14);
	assert_int_equal(world_turn(w), 14);
	assert_int_equal(w->lanes[0].counters.forwarded, 10);
	assert_int_equal(w->lanes[0].counters.drops[DROP_UMEM_EXHAUSTED], 4);
	assert_int_equal(w->lanes[1].counters.copied, 10);
	/* The low-water mark is what an operator sizes the memory by. */
	assert_int_equal(w->worker.umems[1].min_free, 0);
	w->fakes[1].wake_budget = UINT32_MAX;
	world_settle(w);
	assert_int_equal(w->worker.umems[1].n_free, 10);
	world_free(w);
}

static void test_residence_is_sampled_once_in_a_while(void **state)
{
	struct world *w = world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
	uint64_t n_samples = 0;

	for (unsigned i = 0; i < 2 * RESIDENCE_SAMPLE; i++) {
		w->worker.now_ns = 0; /* long ago: the last bucket */
		(void)fake_receive_n(&w->fakes[0], 1, 60);
		(void)worker_turn(&w->worker);
		(void)fake_complete(&w->fakes[1], 1);
	}
	for (unsigned i = 0; i < RESIDENCE_BUCKETS; i++)
		n_samples += w->worker.counters.residence[i];
	assert_int_equal(n_samples, 2);
	assert_int_equal(w->worker.counters.residence[RESIDENCE_BUCKETS - 1], 2);
	world_check(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_frame_leaves_in_the_turn_that_receives_it),
		cmocka_unit_test(test_a_burst_crosses_in_order_with_address_and_length_kept),
		cmocka_unit_test(test_both_directions_cross_in_one_turn),
		cmocka_unit_test(test_two_lanes_share_one_out_lane),
		cmocka_unit_test(test_no_lane_starves_another),
		cmocka_unit_test(test_empty_rings_cost_no_system_call),
		cmocka_unit_test(test_a_full_tx_ring_drops_and_gets_its_frames_back),
		cmocka_unit_test(test_a_full_tx_ring_gives_the_kernel_one_chance_before_dropping),
		cmocka_unit_test(test_no_more_is_sent_than_the_completion_ring_can_take_back),
		cmocka_unit_test(test_partial_completions_are_taken_as_they_come),
		cmocka_unit_test(test_reaping_is_bounded_in_one_turn),
		cmocka_unit_test(test_the_fill_ring_is_kept_full_in_batches),
		cmocka_unit_test(test_packets_waiting_in_rx_count_as_fill),
		cmocka_unit_test(test_a_starved_fill_ring_recovers_with_the_first_frame),
		cmocka_unit_test(test_ring_indices_wrap),
		cmocka_unit_test(test_unlike_modes_copy_every_byte_between_the_umems),
		cmocka_unit_test(test_an_exhausted_target_umem_drops_and_is_seen_in_min_free),
		cmocka_unit_test(test_residence_is_sampled_once_in_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
