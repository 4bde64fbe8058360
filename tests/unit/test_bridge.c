/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bridge in a worker, case by case, on fake rings; all at random in test_bridge_model.c. */
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "bridge_world.h"
#include "unit.h"

static const struct world_spec plenty = {.n_lanes = BRIDGE_PORTS, .n_frames = 8192};

/* A bridge that knows stations 0 … 3 behind the ports of the same number. */
static struct bridge_world *bridge_of(const struct world_spec *spec)
{
	struct bridge_world *b = bridge_new(spec);

	for (uint16_t i = 0; i < BRIDGE_PORTS; i++)
		assert_int_equal(fdb_put(b->fdb, station(i).octet, i, false, 1), 0);
	return b;
}

static struct bridge_world *bridge(void)
{
	return bridge_of(&plenty);
}

/* Changes one port of the set in use. */
#define CHANGE_PORT(b, port_, field_, value_)                     \
	do {                                                      \
		bridge_next_set(b)->ports[port_].field_ = value_; \
		world_publish((b)->w);                            \
	} while (0)

static void test_a_known_address_is_sent_to_its_port_alone(void **state)
{
	struct bridge_world *b = bridge();

	assert_int_equal(bridge_cross(b, 0, station(2), station(0)), 1U << 2);
	assert_int_equal(bridge_cross(b, 2, station(0), station(2)), 1U << 0);
	assert_int_equal(bridge_cross(b, 3, station(1), station(3)), 1U << 1);
	assert_int_equal(learn_waiting(b->w->worker.learn), 0);
	assert_int_equal(b->w->lanes[2].counters.replicated, 0);
	bridge_free(b);
}

static void test_an_unknown_address_is_flooded_until_it_is_learnt(void **state)
{
	struct bridge_world *b = bridge();

	assert_int_equal(bridge_cross(b, 1, station(9), station(1)), ALL_PORTS & ~2U);
	assert_int_equal(b->w->lanes[1].counters.forwarded, 1);
	assert_int_equal(b->w->lanes[0].counters.replicated + b->w->lanes[2].counters.replicated +
				 b->w->lanes[3].counters.replicated,
			 2);
	assert_int_equal(bridge_cross(b, 3, station(1), station(9)), 1U << 1);
	assert_int_equal(bridge_learn(b), 1);
	assert_int_equal(bridge_cross(b, 1, station(9), station(1)), 1U << 3);
	bridge_free(b);
}

static void test_a_station_that_moved_is_reported_and_followed(void **state)
{
	struct bridge_world *b = bridge();

	assert_int_equal(bridge_cross(b, 0, station(2), station(3)), 1U << 2);
	assert_int_equal(bridge_learn(b), 1);
	assert_int_equal(fdb_lookup(b->fdb, station(3).octet), 0);
	assert_int_equal(bridge_cross(b, 2, station(3), station(2)), 1U << 0);
	bridge_free(b);
}

static void test_broadcast_and_multicast_are_flooded(void **state)
{
	const struct bridge_mac groups[] = {
		broadcast,
		{{0x01, 0x00, 0x5e, 0, 0, 1}},
		{{0x33, 0x33, 0, 0, 0, 1}},
		{{0x01, 0x80, 0xc2, 0, 0, 0x10}},
		{{0x01, 0x80, 0xc2, 0, 1, 0x00}},
		{{0x03, 0x80, 0xc2, 0, 0, 0x00}},
	};
	struct bridge_world *b = bridge();

	for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
		assert_int_equal(bridge_cross(b, 0, groups[i], station(0)), ALL_PORTS & ~1U);
	assert_int_equal(b->n_handed, 0);
	bridge_free(b);
}

static void test_link_local_groups_are_handed_back_and_never_forwarded(void **state)
{
	struct bridge_world *b = bridge();

	for (uint8_t last = 0; last <= 0x0f; last++) {
		const struct bridge_mac group = {{0x01, 0x80, 0xc2, 0, 0, last}};

		assert_int_equal(bridge_cross(b, 0, group, station(0)), 0);
		assert_int_equal(b->n_handed, last + 1);
		assert_int_equal(b->handed[last].reason, HANDBACK_LOCAL);
		assert_memory_equal(b->handed[last].bytes, group.octet, 6);
	}
	assert_int_equal(b->w->lanes[0].counters.handed_back[HANDBACK_LOCAL], 16);
	b->hand_back_result = DROP_HANDBACK_LIMIT;
	assert_int_equal(bridge_cross(b, 0, (struct bridge_mac){{0x01, 0x80, 0xc2}}, station(0)),
			 0);
	assert_int_equal(bridge_drops(b, 0, DROP_HANDBACK_LIMIT), 1);
	bridge_free(b);
}

static void test_a_frame_never_leaves_by_the_port_it_came_from(void **state)
{
	struct bridge_world *b = bridge();

	assert_int_equal(bridge_cross(b, 0, station(0), station(7)), 0);
	assert_int_equal(bridge_drops(b, 0, DROP_SAME_PORT), 1);
	/* It is learnt from all the same. */
	assert_int_equal(bridge_learn(b), 1);
	assert_int_equal(fdb_lookup(b->fdb, station(7).octet), 0);
	/* To itself, while it is new, and while it moves. */
	assert_int_equal(bridge_cross(b, 0, station(8), station(8)), 0);
	assert_int_equal(bridge_cross(b, 0, station(2), station(2)), 0);
	assert_int_equal(bridge_drops(b, 0, DROP_SAME_PORT), 3);
	assert_int_equal(bridge_learn(b), 2);
	bridge_free(b);
}

static void test_a_source_that_is_no_unicast_address_is_dropped(void **state)
{
	const struct bridge_mac sources[] = {
		{{0}}, broadcast, {{0x01, 0x00, 0x5e, 0, 0, 1}}, {{0x03, 0, 0, 0, 0, 1}}};
	struct bridge_world *b = bridge();

	for (unsigned i = 0; i < ARRAY_SIZE(sources); i++) {
		assert_int_equal(bridge_cross(b, 0, station(1), sources[i]), 0);
		assert_int_equal(bridge_drops(b, 0, DROP_SOURCE), i + 1);
	}
	assert_int_equal(learn_waiting(b->w->worker.learn), 0);
	bridge_free(b);
}

static void test_addresses_of_ports_are_this_hosts(void **state)
{
	const struct bridge_mac own = {{2, 0xff, 0, 0, 0, 3}};
	struct bridge_world *b = bridge();

	/* To it: handed back where it is, sent nowhere. */
	assert_int_equal(bridge_cross(b, 0, own, station(0)), 0);
	assert_int_equal(b->n_handed, 1);
	assert_ptr_equal(b->handed[0].port, &b->w->worker.set->ports[3]);
	assert_int_equal(b->handed[0].reason, HANDBACK_LOCAL);
	assert_int_equal(b->w->lanes[0].counters.handed_back[HANDBACK_LOCAL], 1);
	/* From it: forwarded, not learnt. */
	assert_int_equal(bridge_cross(b, 0, station(1), own), 1U << 1);
	assert_int_equal(learn_waiting(b->w->worker.learn), 0);
	bridge_free(b);
}

static void test_the_mtu_of_the_out_port_holds(void **state)
{
	struct bridge_world *b = bridge();

	CHANGE_PORT(b, 2, max_len, 1014);
	bridge_receive(b, 0, station(2), station(0), 1015, 1);
	(void)world_turn(b->w);
	assert_int_equal(bridge_drops(b, 0, DROP_MTU), 1);
	bridge_receive(b, 0, station(2), station(0), 1014, 1);
	(void)world_turn(b->w);
	assert_int_equal(b->n_sent, 1);
	/* Flooded: where it fits. */
	bridge_receive(b, 0, broadcast, station(0), 1015, 1);
	(void)world_turn(b->w);
	assert_int_equal(b->n_sent, 3);
	assert_int_equal(b->w->lanes[2].counters.copies_dropped, 1);
	/* Nowhere: for that reason. */
	bridge_receive(b, 0, broadcast, station(0), 1515, 1);
	(void)world_turn(b->w);
	assert_int_equal(b->n_sent, 3);
	assert_int_equal(bridge_drops(b, 0, DROP_MTU), 2);
	bridge_free(b);
}

static void test_a_port_that_is_down_gets_nothing(void **state)
{
	struct bridge_world *b = bridge();

	CHANGE_PORT(b, 2, can_send, false);
	assert_int_equal(bridge_cross(b, 0, station(2), station(0)), 0);
	assert_int_equal(bridge_drops(b, 0, DROP_LINK_DOWN), 1);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 1U << 1 | 1U << 3);
	CHANGE_PORT(b, 3, n_lanes, 0);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 1U << 1);
	CHANGE_PORT(b, 1, is_member, false);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 0);
	assert_int_equal(bridge_drops(b, 0, DROP_NO_PORT), 1);
	/* What the database says of a port that is none of this set's is not known. */
	assert_int_equal(bridge_cross(b, 0, station(1), station(0)), 0);
	assert_int_equal(bridge_drops(b, 0, DROP_NO_PORT), 2);
	bridge_free(b);
}

static void test_a_full_tx_ring_costs_its_own_copies_only(void **state)
{
	const struct world_spec spec = {
		.n_lanes = BRIDGE_PORTS, .n_frames = 4096, .sizes = {512, 512, 64, 512, 0}};
	struct bridge_world *b = bridge_of(&spec);

	b->w->fakes[2].wake_budget = 0;
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(bridge_cross(b, 0, station(2), station(0)), 0);
	assert_int_equal(b->w->lanes[2].n_tx, 64);
	assert_int_equal(bridge_cross(b, 0, station(2), station(0)), 0);
	assert_int_equal(bridge_drops(b, 0, DROP_TX_RING_FULL), 1);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 1U << 1 | 1U << 3);
	assert_int_equal(b->w->lanes[2].counters.copies_dropped, 1);
	assert_int_equal(b->w->lanes[0].counters.forwarded, 65);
	CHANGE_PORT(b, 1, can_send, false);
	CHANGE_PORT(b, 3, can_send, false);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 0);
	assert_int_equal(bridge_drops(b, 0, DROP_TX_RING_FULL), 2);
	bridge_free(b);
}

static void test_copies_end_where_the_free_frames_end(void **state)
{
	/* 4 × 128 in the fill rings, and 10 */
	const struct world_spec spec = {
		.n_lanes = BRIDGE_PORTS, .n_frames = 522, .sizes = {128, 128, 128, 128, 0}};
	struct bridge_world *b = bridge_of(&spec);
	uint64_t n_copies = 0, n_dropped = 0;

	for (unsigned i = 0; i < 20; i++)
		bridge_receive(b, 0, broadcast, station(0), 60, (uint8_t)i);
	(void)world_turn(b->w);
	for (unsigned i = 0; i < BRIDGE_PORTS; i++) {
		n_copies += b->w->lanes[i].counters.replicated;
		n_dropped += b->w->lanes[i].counters.copies_dropped;
	}
	assert_int_equal(b->w->lanes[0].counters.forwarded, 20);
	assert_int_equal(n_copies, 10);
	assert_int_equal(n_dropped, 30);
	assert_int_equal(b->n_sent, 30);
	world_settle(b->w);
	bridge_free(b);
}

static void test_two_memories_cost_a_copy_and_lose_nothing(void **state)
{
	const struct world_spec spec = {.n_lanes = BRIDGE_PORTS, .n_frames = 4096, .n_umems = 2};
	struct bridge_world *b = bridge_of(&spec);

	assert_int_equal(bridge_cross(b, 0, station(1), station(0)), 1U << 1);
	assert_int_equal(b->w->lanes[1].counters.copied, 1);
	assert_int_equal(bridge_cross(b, 0, station(2), station(0)), 1U << 2);
	assert_int_equal(b->w->lanes[2].counters.copied, 0);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), ALL_PORTS & ~1U);
		assert_int_equal(bridge_cross(b, 3, broadcast, station(3)), ALL_PORTS & ~8U);
	}
	world_settle(b->w);
	bridge_free(b);
}

static void test_flood_limit_is_per_port_and_second(void **state)
{
	struct bridge_world *b = bridge();

	CHANGE_PORT(b, 0, flood_per_s, 10);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), ALL_PORTS & ~1U);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 0);
	assert_int_equal(bridge_cross(b, 0, station(9), station(0)), 0);
	assert_int_equal(bridge_drops(b, 0, DROP_FLOOD_LIMIT), 2);
	/* Others are not concerned, nor is what is known. */
	assert_int_equal(bridge_cross(b, 1, broadcast, station(1)), ALL_PORTS & ~2U);
	assert_int_equal(bridge_cross(b, 0, station(1), station(0)), 1U << 1);
	/* A tenth of a second is one frame, and what is left over is not lost. */
	b->w->worker.now_ns += 150 * NSEC_PER_MSEC;
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), ALL_PORTS & ~1U);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 0);
	b->w->worker.now_ns += 50 * NSEC_PER_MSEC;
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), ALL_PORTS & ~1U);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 0);
	/* An hour is not more than a second. */
	b->w->worker.now_ns += 3600 * NSEC_PER_SEC;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), ALL_PORTS & ~1U);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 0);
	bridge_free(b);
}

static void test_this_host_gets_groups_if_it_has_an_address(void **state)
{
	struct bridge_world *b = bridge();
	const struct lane_counters *counters = &b->w->lanes[0].counters;

	CHANGE_PORT(b, 0, floods_to_host, true);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), ALL_PORTS & ~1U);
	assert_int_equal(b->n_handed, 1);
	assert_int_equal(b->handed[0].reason, HANDBACK_FLOOD);
	assert_ptr_equal(b->handed[0].port, &b->w->worker.set->ports[0]);
	assert_memory_equal(b->handed[0].bytes, broadcast.octet, 6);
	assert_int_equal(counters->handback_copies, 1);
	assert_int_equal(bridge_cross(b, 0, station(9), station(0)), ALL_PORTS & ~1U);
	assert_int_equal(b->n_handed, 1);
	/* Nobody else is there: then that is its fate. */
	for (unsigned i = 1; i < BRIDGE_PORTS; i++)
		CHANGE_PORT(b, i, can_send, false);
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 0);
	assert_int_equal(counters->handed_back[HANDBACK_FLOOD], 1);
	assert_int_equal(counters->handback_copies, 1);
	b->hand_back_result = DROP_HANDBACK_FAILED;
	assert_int_equal(bridge_cross(b, 0, broadcast, station(0)), 0);
	assert_int_equal(bridge_drops(b, 0, DROP_NO_PORT), 1);
	bridge_free(b);
}

static uint64_t wakeups(const struct learn_ring *ring)
{
	uint64_t n = 0;
	ssize_t r = read(ring->eventfd, &n, sizeof(n));

	return r == sizeof(n) ? n : 0;
}

static void test_tables_are_woken_once_and_only_if_they_sleep(void **state)
{
	struct bridge_world *b = bridge();
	struct learn_ring *ring = b->w->worker.learn;

	(void)bridge_cross(b, 0, station(1), station(100));
	assert_int_equal(wakeups(ring), 0);
	assert_true(learn_want_wakeup(ring));
	assert_int_equal(bridge_learn(b), 1);
	assert_false(learn_want_wakeup(ring));
	for (uint16_t i = 0; i < 40; i++)
		bridge_receive(b, 0, station(1), station(200 + i), 60, 0);
	(void)world_turn(b->w);
	assert_int_equal(wakeups(ring), 1);
	(void)bridge_cross(b, 0, station(1), station(101));
	assert_int_equal(wakeups(ring), 0);
	assert_int_equal(bridge_learn(b), 41);
	bridge_free(b);
}

static void test_a_new_station_is_reported_once_a_burst(void **state)
{
	struct bridge_world *b = bridge();

	for (uint16_t i = 0; i < 64; i++)
		bridge_receive(b, 0, station(1), station(100), 60, 0);
	(void)world_turn(b->w);
	assert_int_equal(bridge_learn(b), 1);
	bridge_free(b);
}

static void test_reports_beyond_the_ring_are_counted(void **state)
{
	struct bridge_world *b = bridge();
	struct learn_ring *ring = b->w->worker.learn;

	for (uint16_t i = 0; i < LEARN_RING_CELLS + 10; i++) {
		bridge_receive(b, 0, station(0), station(1000 + i), 60, 0);
		(void)world_turn(b->w);
	}
	assert_int_equal(ring->n_dropped, 10);
	assert_int_equal(bridge_learn(b), LEARN_RING_CELLS);
	(void)bridge_cross(b, 0, station(1), station(9999));
	assert_int_equal(bridge_learn(b), 1);
	assert_int_equal(fdb_lookup(b->fdb, station(9999).octet), 0);
	bridge_free(b);
}

#define N_REPORTS 100000U

/* As a worker does: a burst at a time, and again what found no room. */
static void *report_all(void *arg)
{
	struct learn_ring *ring = arg;
	const uint64_t one = 1;

	for (uint32_t i = 0; i < N_REPORTS;) {
		for (uint32_t n = 0; n < i % 7 + 1 && i < N_REPORTS; n++)
			i += learn_push(ring, i);
		if (learn_submit(ring))
			(void)!write(ring->eventfd, &one, sizeof(one));
	}
	return NULL;
}

static void test_no_report_and_no_wakeup_is_lost(void **state)
{
	struct learn_ring *ring = NULL;
	uint32_t next = 0;
	pthread_t thread;

	assert_int_equal(learn_ring_new(&ring), 0);
	assert_int_equal(pthread_create(&thread, NULL, report_all, ring), 0);
	while (next < N_REPORTS) {
		struct pollfd fd = {.fd = ring->eventfd, .events = POLLIN};
		uint32_t n = learn_waiting(ring);

		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(learn_peek(ring, i), next++);
		learn_done(ring, n);
		if (next == N_REPORTS || learn_want_wakeup(ring))
			continue;
		assert_int_equal(poll(&fd, 1, 20000), 1);
		(void)wakeups(ring);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	learn_ring_free(ring);
}

static void test_several_lanes_of_a_port_are_chosen_by_queue(void **state)
{
	struct bridge_world *b = bridge();
	struct worker_set *set = bridge_next_set(b);

	/* Lane 3 is port 2's second. */
	set->ports[3].is_member = false;
	set->ports[2].n_lanes = 2;
	set->ports[2].lanes[1] = &b->w->lanes[3];
	set->routes[1].out_number = 1;
	set->routes[0].out_number = 2;
	world_publish(b->w);
	assert_int_equal(bridge_cross(b, 1, station(2), station(1)), 1U << 3);
	assert_int_equal(bridge_cross(b, 0, station(2), station(0)), 1U << 2);
	bridge_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_known_address_is_sent_to_its_port_alone),
		cmocka_unit_test(test_an_unknown_address_is_flooded_until_it_is_learnt),
		cmocka_unit_test(test_a_station_that_moved_is_reported_and_followed),
		cmocka_unit_test(test_broadcast_and_multicast_are_flooded),
		cmocka_unit_test(test_link_local_groups_are_handed_back_and_never_forwarded),
		cmocka_unit_test(test_a_frame_never_leaves_by_the_port_it_came_from),
		cmocka_unit_test(test_a_source_that_is_no_unicast_address_is_dropped),
		cmocka_unit_test(test_addresses_of_ports_are_this_hosts),
		cmocka_unit_test(test_the_mtu_of_the_out_port_holds),
		cmocka_unit_test(test_a_port_that_is_down_gets_nothing),
		cmocka_unit_test(test_a_full_tx_ring_costs_its_own_copies_only),
		cmocka_unit_test(test_copies_end_where_the_free_frames_end),
		cmocka_unit_test(test_two_memories_cost_a_copy_and_lose_nothing),
		cmocka_unit_test(test_flood_limit_is_per_port_and_second),
		cmocka_unit_test(test_this_host_gets_groups_if_it_has_an_address),
		cmocka_unit_test(test_tables_are_woken_once_and_only_if_they_sleep),
		cmocka_unit_test(test_a_new_station_is_reported_once_a_burst),
		cmocka_unit_test(test_reports_beyond_the_ring_are_counted),
		cmocka_unit_test(test_no_report_and_no_wakeup_is_lost),
		cmocka_unit_test(test_several_lanes_of_a_port_are_chosen_by_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
