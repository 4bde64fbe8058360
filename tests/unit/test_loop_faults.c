/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker against a kernel that errs: descriptors and completions that cannot be, wakeups that
 * fail. Nothing may be lost, sent twice or retried for ever.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loop_world.h"
#include "unit.h"

#define PAGE_BYTES ((size_t)sysconf(_SC_PAGESIZE))
#define SIZES(n)                                                     \
	{                                                            \
		.fill = (n), .rx = (n), .tx = (n), .completion = (n) \
	}

static struct world *world_of_two(void)
{
	return world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 4096});
}

/* The first packet was good, so that a turn which drops everything does not pass. */
static void expect_one_drop(struct world *w, enum drop_reason reason)
{
	const struct lane *in = &w->lanes[0];
	uint64_t n_forwarded = in->counters.forwarded, n_drops = world_drops(in);
	uint64_t n_reason = in->counters.drops[reason];

	assert_int_equal(fake_receive_n(&w->fakes[0], 1, 60), 1);
	assert_int_equal(world_turn(w), 2);
	assert_int_equal(in->counters.drops[reason], n_reason + 1);
	assert_int_equal(world_drops(in), n_drops + 1);
	assert_int_equal(in->counters.forwarded, n_forwarded + 1);
	world_settle(w);
	assert_int_equal(w->worker.umems[0].n_free + w->lanes[0].n_fill + w->lanes[1].n_fill, 4096);
}

static void test_an_address_out_of_range_is_dropped(void **state)
{
	static const uint64_t addrs[] = {4096ULL << 11, UINT64_MAX, 1ULL << 63, (1ULL << 43) + 256,
					 (4096ULL << 11) + 256};
	struct world *w = world_of_two();

	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		assert_true(fake_push_rx(&w->fakes[0], addrs[i], 60));
		expect_one_drop(w, DROP_INTERNAL);
	}
	assert_int_equal(w->lanes[0].n_fill, 512 - ARRAY_SIZE(addrs)); /* the good ones */
	world_free(w);
}

static void test_a_frame_that_was_not_given_to_fill_is_dropped(void **state)
{
	struct world *w = world_of_two();
	const struct umem *umem = &w->worker.umems[0];
	uint64_t in_tx;

	/* free */
	assert_true(fake_push_rx(&w->fakes[0], umem_frame_addr(umem, umem->free[0]), 60));
	expect_one_drop(w, DROP_INTERNAL);
	/* the other lane's */
	assert_true(fake_push_rx(&w->fakes[0], w->fakes[1].fill.addrs[0], 60));
	expect_one_drop(w, DROP_INTERNAL);
	/* being sent */
	w->fakes[1].wake_budget = 0;
	assert_true(fake_receive(&w->fakes[0], "", 1, 60, &in_tx));
	(void)world_turn(w);
	assert_true(fake_push_rx(&w->fakes[0], in_tx, 60));
	expect_one_drop(w, DROP_INTERNAL);
	world_free(w);
}

static void test_the_same_frame_received_twice_is_sent_once(void **state)
{
	struct world *w = world_of_two();
	uint64_t addr;

	assert_true(fake_receive(&w->fakes[0], "", 1, 60, &addr));
	assert_true(fake_push_rx(&w->fakes[0], addr, 60));
	assert_int_equal(world_turn(w), 2);
	assert_int_equal(w->fakes[1].n_sent, 1);
	assert_int_equal(w->lanes[0].counters.drops[DROP_INTERNAL], 1);
	assert_int_equal(w->lanes[0].counters.fill_taken, 1);
	/* Also when the first of the two was dropped: the frame is free once. */
	assert_true(fake_receive(&w->fakes[0], "", 1, 5, &addr));
	assert_true(fake_push_rx(&w->fakes[0], addr, 60));
	assert_int_equal(world_turn(w), 2);
	assert_int_equal(w->fakes[1].n_sent, 1);
	assert_int_equal(w->lanes[0].counters.drops[DROP_INTERNAL], 2);
	assert_int_equal(w->lanes[0].counters.drops[DROP_MALFORMED], 1);
	world_free(w);
}

static void test_a_length_beyond_the_frame_is_dropped(void **state)
{
	struct world *w = world_of_two();
	struct worker_set *set = world_next_set(w);

	/* The MTU check must not be what stops it. */
	set->routes[0].max_len = UINT32_MAX;
	world_publish(w);
	assert_true(fake_receive(&w->fakes[0], "", 1, 2048 - FAKE_HEADROOM + 1, NULL));
	expect_one_drop(w, DROP_INTERNAL);
	assert_true(fake_receive(&w->fakes[0], "", 1, UINT32_MAX, NULL));
	expect_one_drop(w, DROP_INTERNAL);
	assert_int_equal(w->lanes[0].counters.fill_taken, 4);
	/* The longest that fits is forwarded. */
	assert_true(fake_receive(&w->fakes[0], "", 1, 2048 - FAKE_HEADROOM, NULL));
	assert_int_equal(world_turn(w), 1);
	assert_int_equal(w->lanes[0].counters.forwarded, 3);
	world_free(w);
}

static void test_a_runt_is_malformed(void **state)
{
	struct world *w = world_of_two();

	for (uint32_t len = 0; len < 14; len++) {
		assert_true(fake_receive(&w->fakes[0], "", 1, len, NULL));
		expect_one_drop(w, DROP_MALFORMED);
	}
	assert_true(fake_receive(&w->fakes[0], "", 1, 14, NULL));
	assert_int_equal(world_turn(w), 1);
	assert_int_equal(world_drops(&w->lanes[0]), 14);
	world_free(w);
}

static void test_the_mtu_allows_for_one_tag(void **state)
{
	static const struct {
		uint8_t types[6];
		uint32_t len;
		bool fits;
	} cases[] = {
		{{0x08, 0x00}, 1514, true},
		{{0x08, 0x00}, 1515, false},
		{{0x86, 0xdd}, 1518, false},
		{{0x81, 0x00, 0, 5, 0x08, 0x00}, 1515, true},
		{{0x81, 0x00, 0, 5, 0x08, 0x00}, 1518, true},
		{{0x81, 0x00, 0, 5, 0x08, 0x00}, 1519, false},
		{{0x88, 0xa8, 0, 5, 0x81, 0x00}, 1518, true},
		{{0x88, 0xa8, 0, 5, 0x81, 0x00}, 1519, false},
		{{0x88, 0xa8, 0, 5, 0x81, 0x00}, 1522, false},
		{{0x00, 0x81, 0, 5, 0x08, 0x00}, 1518, false},
	};
	struct world *w = world_of_two();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t n_forwarded = w->lanes[0].counters.forwarded;
		uint8_t head[18] = {0};

		memcpy(head + 12, cases[i].types, sizeof(cases[i].types));
		assert_true(fake_receive(&w->fakes[0], head, sizeof(head), cases[i].len, NULL));
		if (!cases[i].fits) {
			expect_one_drop(w, DROP_MTU);
			continue;
		}
		assert_int_equal(world_turn(w), 1);
		assert_int_equal(w->lanes[0].counters.forwarded, n_forwarded + 1);
		world_settle(w);
	}
	world_free(w);
}

static void test_a_bad_completion_frees_nothing(void **state)
{
	struct world *w = world_of_two();
	const struct umem *umem = &w->worker.umems[0];
	struct lane *out = &w->lanes[1];
	uint64_t other;

	/* Something is in tx of both lanes, else completions are not looked at. */
	w->fakes[0].wake_budget = 0;
	assert_true(fake_receive(&w->fakes[1], "", 1, 60, &other));
	(void)fake_receive_n(&w->fakes[0], 4, 60);
	(void)world_turn(w);
	assert_int_equal(out->n_tx, 4);
	(void)fake_push_completion(&w->fakes[1], 4096ULL << 11);
	(void)fake_push_completion(&w->fakes[1], UINT64_MAX);
	(void)fake_push_completion(&w->fakes[1], umem_frame_addr(umem, umem->free[0]));
	(void)fake_push_completion(&w->fakes[1], w->fakes[0].fill.addrs[20]);
	(void)fake_push_completion(&w->fakes[1], other);
	assert_int_equal(world_turn(w), 5);
	assert_int_equal(out->counters.bad_completions, 5);
	assert_int_equal(out->n_tx, 4);
	assert_int_equal(out->counters.tx_completed, 0);
	/* Twice the same: the second is bad. */
	assert_int_equal(fake_complete(&w->fakes[1], 1), 1);
	(void)fake_push_completion(&w->fakes[1], w->fakes[1].flying[0].addr);
	assert_int_equal(world_turn(w), 2);
	assert_int_equal(out->counters.bad_completions, 6);
	assert_int_equal(out->counters.tx_completed, 1);
	world_settle(w);
	assert_int_equal(out->n_tx, 0);
	world_free(w);
}

/* --- Wakeups --------------------------------------------------------------------------------- */

static void test_a_wakeup_that_leaves_packets_is_repeated_next_turn(void **state)
{
	static const int again[] = {-EAGAIN, -ENOBUFS};

	for (size_t i = 0; i < ARRAY_SIZE(again); i++) {
		const int script[] = {again[i], again[i], again[i]};
		struct world *w = world_of_two();
		struct fake_lane *out = &w->fakes[1];

		out->wake_script = script;
		out->n_wake_script = ARRAY_SIZE(script);
		out->wake_budget = 1;
		(void)fake_receive_n(&w->fakes[0], 4, 60);
		for (unsigned turn = 1; turn <= 3; turn++) {
			(void)world_turn(w);
			assert_int_equal(out->n_wakes_tx, turn); /* one a turn, no more */
			assert_true(out->lane->kick_pending);
			assert_true(worker_tx_is_pending(&w->worker));
		}
		assert_int_equal(out->lane->counters.wakeup_again, 3);
		assert_int_equal(out->lane->counters.wakeup_errors, 0);
		(void)world_turn(w);
		assert_false(worker_tx_is_pending(&w->worker));
		assert_int_equal(out->n_sent, 4);
		(void)world_turn(w);
		assert_int_equal(out->n_wakes_tx, 4); /* done: silence */
		assert_int_equal(out->lane->counters.wakeups_tx, 4);
		world_settle(w);
		world_free(w);
	}
}

static void test_a_device_that_drops_is_called_again_but_not_for_ever(void **state)
{
	int script[BURST + 10];
	struct world *w = world_of_two();
	struct fake_lane *out = &w->fakes[1];

	for (size_t i = 0; i < ARRAY_SIZE(script); i++)
		script[i] = -EBUSY;
	out->wake_script = script;
	out->n_wake_script = 3;
	out->wake_budget = 1;
	(void)fake_receive_n(&w->fakes[0], 4, 60);
	(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, 4); /* three drops and the call that got through */
	assert_int_equal(out->n_sent, 4);
	assert_false(worker_tx_is_pending(&w->worker));
	assert_int_equal(out->lane->counters.wakeup_again, 3);
	world_settle(w);
	world_free(w);

	w = world_of_two();
	out = &w->fakes[1];
	out->wake_script = script;
	out->n_wake_script = ARRAY_SIZE(script);
	out->wake_budget = 0; /* a kernel that says so and does nothing */
	(void)fake_receive_n(&w->fakes[0], 4, 60);
	(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, BURST);
	assert_true(worker_tx_is_pending(&w->worker));
	world_settle(w);
	world_free(w);
}

static void test_a_small_kernel_budget_gets_the_wakeups_that_a_burst_needs(void **state)
{
	static const int script[] = {-EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN};
	struct world *w = world_of_two();
	struct fake_lane *out = &w->fakes[1];

	out->lane->xsk.tx_budget = out->wake_budget = 32;
	out->lane->kicks_per_turn = 0;
	lane_init(out->lane);
	out->lane->n_fill = 512; /* as before lane_init() */
	assert_int_equal(out->lane->kicks_per_turn, 2);
	out->wake_script = script;
	out->n_wake_script = ARRAY_SIZE(script);
	(void)fake_receive_n(&w->fakes[0], 64, 60);
	(void)world_turn(w);
	assert_int_equal(out->n_sent, 64);
	assert_int_equal(out->n_wakes_tx, 2);
	(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, 4);
	(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, 5);
	(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, 5);
	world_settle(w);
	world_free(w);
}

static void test_calls_are_bounded_when_the_ring_is_full_and_stays_so(void **state)
{
	const struct fake_sizes sizes = SIZES(64);
	struct world *w =
		world_new(&(struct world_spec){.n_lanes = 2, .n_frames = 1024, .sizes = sizes});
	static int script[1000];
	struct fake_lane *out = &w->fakes[1];

	for (size_t i = 0; i < ARRAY_SIZE(script); i++)
		script[i] = -EAGAIN;
	out->wake_script = script;
	out->n_wake_script = ARRAY_SIZE(script);
	out->wake_budget = 0;
	for (unsigned turn = 1; turn <= 100; turn++) {
		(void)fake_receive_n(&w->fakes[0], 64, 60);
		(void)world_turn(w);
		/* one when the burst finds no room, one at the end of the turn */
		assert_true(out->n_wakes_tx <= 2 * turn);
	}
	assert_int_equal(w->lanes[0].counters.drops[DROP_TX_RING_FULL], 99 * 64);
	out->n_wake_script = 0;
	out->wake_budget = UINT32_MAX;
	world_settle(w);
	assert_int_equal(out->lane->counters.tx_completed, 64);
	world_free(w);
}

static void test_a_port_that_is_down_is_not_asked_again_until_something_changes(void **state)
{
	static const int script[] = {-ENETDOWN, -ENXIO};
	struct world *w = world_of_two();
	struct fake_lane *out = &w->fakes[1];

	out->wake_script = script;
	out->n_wake_script = ARRAY_SIZE(script);
	out->wake_budget = 0;
	(void)fake_receive_n(&w->fakes[0], 3, 60);
	for (unsigned i = 0; i < 10; i++)
		(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, 1);
	assert_int_equal(out->lane->counters.wakeup_errors, 1);
	assert_false(worker_tx_is_pending(&w->worker));
	/* Another packet for it: asked again. */
	(void)fake_receive_n(&w->fakes[0], 1, 60);
	(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, 2);
	/* The link comes back: control publishes a set, and what waited leaves without new traffic.
	 */
	out->wake_budget = UINT32_MAX;
	(void)world_next_set(w);
	world_publish(w);
	(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, 3);
	assert_int_equal(out->n_sent, 4);
	world_settle(w);
	world_free(w);
}

static void test_a_missing_out_port_drops_and_keeps_the_frames(void **state)
{
	struct world *w = world_of_two();

	world_next_set(w)->routes[0].out = NULL;
	world_publish(w);
	(void)fake_receive_n(&w->fakes[0], 10, 60);
	(void)fake_push_rx(&w->fakes[0], UINT64_MAX, 60);
	assert_int_equal(world_turn(w), 11);
	assert_int_equal(w->lanes[0].counters.drops[DROP_LINK_DOWN], 10);
	assert_int_equal(w->lanes[0].counters.drops[DROP_INTERNAL], 1);
	assert_int_equal(w->lanes[0].counters.forwarded, 0);
	assert_int_equal(w->lanes[0].counters.rx_bytes, 11 * 60);
	world_free(w);
}

static void test_zero_copy_is_woken_only_when_it_asks(void **state)
{
	struct world *w = world_of_two();
	struct fake_lane *out = &w->fakes[1];

	out->lane->xsk.is_zerocopy = true;
	fake_need_wakeup(&out->tx, false);
	(void)fake_receive_n(&w->fakes[0], 8, 60);
	(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, 0);
	/* It fell asleep with packets left: the worker still watches. */
	assert_true(worker_tx_is_pending(&w->worker));
	fake_need_wakeup(&out->tx, true);
	out->wake_budget = 4;
	(void)world_turn(w);
	assert_int_equal(out->n_wakes_tx, 1);
	assert_true(worker_tx_is_pending(&w->worker));
	(void)world_turn(w);
	assert_int_equal(out->n_sent, 8);
	(void)fake_complete(out, 8);
	(void)world_turn(w);
	assert_false(worker_tx_is_pending(&w->worker));
	world_free(w);
}

static void test_the_receive_side_is_woken_when_it_asks_and_the_answer_is_counted(void **state)
{
	struct world *w = world_of_two();
	struct fake_lane *in = &w->fakes[0];

	fake_need_wakeup(&in->fill, true);
	(void)world_turn(w);
	assert_int_equal(in->n_wakes_rx, 1);
	assert_int_equal(in->lane->counters.wakeups_rx, 1);
	assert_int_equal(in->lane->counters.wakeup_errors, 0);
	in->wake_rx_result = -ENETDOWN;
	(void)world_turn(w);
	assert_int_equal(in->lane->counters.wakeups_rx, 2);
	assert_int_equal(in->lane->counters.wakeup_errors, 1);
	/* Busy polling with nothing there is no error. */
	in->wake_rx_result = -EAGAIN;
	fake_need_wakeup(&in->fill, false);
	in->lane->polls_rx = true;
	(void)world_turn(w);
	assert_int_equal(in->lane->counters.wakeups_rx, 3);
	assert_int_equal(in->lane->counters.wakeup_errors, 1);
	/* With packets there is no need. */
	(void)fake_receive_n(in, 1, 60);
	(void)world_turn(w);
	assert_int_equal(in->n_wakes_rx, 3);
	world_free(w);
}

/* --- What control can see in the middle of a turn --------------------------------------------- */

static struct release {
	struct world *world;
	uint32_t *consumer; /* the index of an rx ring, alone on a page that cannot be written */
	unsigned n_seen;
	uint64_t n_unconfirmed; /* packets of the out lane then */
} release;

static void on_release(int signum, siginfo_t *info, void *context)
{
	const struct lane_counters *out = &release.world->lanes[1].counters;

	if (info->si_addr != release.consumer ||
	    mprotect(release.consumer, PAGE_BYTES, PROT_READ | PROT_WRITE) < 0)
		_exit(EXIT_FAILURE);
	release.n_seen++;
	release.n_unconfirmed = counter_read(&out->tx_packets) - counter_read(&out->tx_completed);
}

/*
 * Control takes a lane for drained when nothing waits in rx and all of tx is completed
 * (control/engine_close.c): a packet that leaves rx must be in the tx count already. The store that
 * releases it traps, so that the test sees what control could see at that very moment.
 */
static void test_a_packet_counts_as_sent_before_it_leaves_the_rx_ring(void **state)
{
	const struct sigaction on_trap = {.sa_sigaction = on_release, .sa_flags = SA_SIGINFO};
	struct world *w = world_of_two();
	uint32_t **view = &w->lanes[0].xsk.rx.consumer, *home = *view;
	struct sigaction before;

	release = (struct release){.world = w};
	release.consumer =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(release.consumer, MAP_FAILED);
	assert_int_equal(fake_receive_n(&w->fakes[0], 20, 60), 20);
	w->fakes[1].wake_budget = 0;
	*release.consumer = *home;
	*view = release.consumer;
	assert_int_equal(sigaction(SIGSEGV, &on_trap, &before), 0);
	assert_int_equal(mprotect(release.consumer, PAGE_BYTES, PROT_READ), 0);
	(void)worker_turn(&w->worker);
	assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
	*home = *release.consumer;
	*view = home;
	assert_int_equal(release.n_seen, 1);
	assert_int_equal(release.n_unconfirmed, 20);
	world_check(w);
	assert_int_equal(munmap(release.consumer, PAGE_BYTES), 0);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_address_out_of_range_is_dropped),
		cmocka_unit_test(test_a_frame_that_was_not_given_to_fill_is_dropped),
		cmocka_unit_test(test_the_same_frame_received_twice_is_sent_once),
		cmocka_unit_test(test_a_length_beyond_the_frame_is_dropped),
		cmocka_unit_test(test_a_runt_is_malformed),
		cmocka_unit_test(test_the_mtu_allows_for_one_tag),
		cmocka_unit_test(test_a_bad_completion_frees_nothing),
		cmocka_unit_test(test_a_wakeup_that_leaves_packets_is_repeated_next_turn),
		cmocka_unit_test(test_a_device_that_drops_is_called_again_but_not_for_ever),
		cmocka_unit_test(test_a_small_kernel_budget_gets_the_wakeups_that_a_burst_needs),
		cmocka_unit_test(test_calls_are_bounded_when_the_ring_is_full_and_stays_so),
		cmocka_unit_test(
			test_a_port_that_is_down_is_not_asked_again_until_something_changes),
		cmocka_unit_test(test_a_missing_out_port_drops_and_keeps_the_frames),
		cmocka_unit_test(test_zero_copy_is_woken_only_when_it_asks),
		cmocka_unit_test(
			test_the_receive_side_is_woken_when_it_asks_and_the_answer_is_counted),
		cmocka_unit_test(test_a_packet_counts_as_sent_before_it_leaves_the_rx_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
