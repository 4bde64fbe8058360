/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random frames over a bridge whose rings fill up, whose memory runs out, whose ports go down and
 * whose stations move, against an oracle. Beside world_check() after every turn (frames conserved,
 * both identities): a frame leaves with its bytes, by ports that it may leave by, by each at most
 * once; a known one by no other than its station's.
 *
 * The seed is printed; SLUICE_SEED=N repeats a run.
 */
#include <stdlib.h>
#include <string.h>

#include "bridge_world.h"
#include "tests/unit/fib_world.h"
#include "unit.h"
#include "util/clock.h"

#define N_TURNS    20000
#define N_STATIONS 40
#define N_FLIGHT   65536 /* numbers of frames that can be told apart at once */

struct model {
	struct bridge_world *b;
	struct random random;
	uint32_t next;
	uint64_t n_left;
	struct flight {
		uint8_t in;
		uint16_t len;
		uint8_t may_leave; /* ports, as bits */
		uint8_t has_left;
		struct bridge_mac to, from;
	} flights[N_FLIGHT];
};

static bool one_in(struct model *m, uint32_t n)
{
	return random_below(&m->random, n) == 0;
}

static void check_sent(struct fake_lane *fake, uint64_t addr, uint32_t len, void *data)
{
	struct model *m = data;
	const uint8_t *frame = fake->memory->umem->area + addr;
	uint32_t port = (uint32_t)(fake - m->b->w->fakes), number;
	struct flight *flight;

	memcpy(&number, frame + 14, sizeof(number));
	assert_true(number < N_FLIGHT);
	flight = &m->flights[number];
	assert_int_equal(len, flight->len);
	assert_memory_equal(frame, flight->to.octet, 6);
	assert_memory_equal(frame + 6, flight->from.octet, 6);
	assert_int_equal(frame[len - 1], (uint8_t)number);
	assert_true(flight->may_leave & 1U << port);
	assert_false(flight->has_left & 1U << port);
	flight->has_left |= (uint8_t)(1U << port);
	m->n_left++;
}

static struct bridge_mac some_address(struct model *m)
{
	if (one_in(m, 4))
		return broadcast;
	return station((uint16_t)random_below(&m->random, N_STATIONS));
}

/* What the worker may do, as long as nothing changes before its next turn. */
static uint8_t ways_out(const struct model *m, uint32_t in, struct bridge_mac to)
{
	uint16_t port = fdb_lookup(m->b->fdb, to.octet);
	uint8_t ways = 0;

	for (uint32_t i = 0; i < BRIDGE_PORTS; i++) {
		if (i != in && m->b->w->worker.set->ports[i].can_send)
			ways |= (uint8_t)(1U << i);
	}
	return port == FDB_NO_PORT ? ways : ways & (uint8_t)(1U << port);
}

static void receive(struct model *m, uint32_t in)
{
	uint32_t number = m->next++ % N_FLIGHT;
	struct flight *flight = &m->flights[number];
	uint8_t frame[1514];

	flight->in = (uint8_t)in;
	flight->len = (uint16_t)(30 + random_below(&m->random, 1485));
	flight->to = some_address(m);
	flight->from = station((uint16_t)random_below(&m->random, N_STATIONS));
	flight->may_leave = ways_out(m, in, flight->to);
	flight->has_left = 0;
	memset(frame, (uint8_t)number, sizeof(frame));
	memcpy(frame, flight->to.octet, 6);
	memcpy(frame + 6, flight->from.octet, 6);
	memcpy(frame + 14, &number, sizeof(number));
	(void)fake_receive(&m->b->w->fakes[in], frame, sizeof(frame), flight->len, NULL);
}

static bool all_is_taken(const struct model *m)
{
	for (uint32_t i = 0; i < BRIDGE_PORTS; i++) {
		if (m->b->w->fakes[i].rx.producer != m->b->w->fakes[i].rx.consumer)
			return false;
	}
	return true;
}

static void play_kernel(struct model *m, uint32_t port)
{
	struct fake_lane *fake = &m->b->w->fakes[port];

	if (one_in(m, 5))
		fake->wake_budget = one_in(m, 2) ? random_below(&m->random, 20) : UINT32_MAX;
	if (one_in(m, 2))
		(void)fake_transmit(fake, random_below(&m->random, 100));
	if (one_in(m, 2))
		(void)fake_complete(fake, random_below(&m->random, 200));
}

static void change_ports(struct model *m)
{
	struct worker_set *set = bridge_next_set(m->b);

	for (uint32_t i = 0; i < BRIDGE_PORTS; i++)
		set->ports[i].can_send = !one_in(m, 4);
	world_publish(m->b->w);
}

static void run_model(uint64_t seed, const struct world_spec *spec)
{
	struct model *m = calloc(1, sizeof(*m));
	uint64_t n_sent = 0;

	assert_non_null(m);
	m->random.state = seed | 1;
	m->b = bridge_new(spec);
	for (uint32_t i = 0; i < BRIDGE_PORTS; i++) {
		m->b->w->fakes[i].on_sent = check_sent;
		m->b->w->fakes[i].on_sent_data = m;
	}
	for (unsigned turn = 0; turn < N_TURNS; turn++) {
		/* The oracle looks at the database now, the worker in its turn: nothing between. */
		if (all_is_taken(m)) {
			(void)bridge_learn(m->b);
			if (one_in(m, 50))
				change_ports(m);
			if (one_in(m, 100))
				(void)fdb_flush_port(m->b->fdb,
						     (uint16_t)random_below(&m->random, 4), true);
		}
		for (uint32_t i = 0; i < BRIDGE_PORTS; i++) {
			uint32_t n = random_below(&m->random, one_in(m, 10) ? 100 : 10);

			for (uint32_t j = 0; j < n; j++)
				receive(m, i);
			play_kernel(m, i);
		}
		(void)world_turn(m->b->w);
	}
	for (uint32_t i = 0; i < BRIDGE_PORTS; i++)
		m->b->w->fakes[i].wake_budget = UINT32_MAX;
	world_settle(m->b->w);
	for (uint32_t i = 0; i < BRIDGE_PORTS; i++)
		n_sent += m->b->w->lanes[i].counters.tx_packets;
	assert_int_equal(m->n_left, n_sent);
	assert_true(n_sent > N_TURNS);
	bridge_free(m->b);
	free(m);
}

static void test_random_frames(void **state)
{
	const struct world_spec specs[] = {
		{.n_lanes = 4, .n_frames = 8192},
		/* small rings, few frames, indices that wrap */
		{.n_lanes = 4, .n_frames = 600, .sizes = {128, 64, 64, 128, UINT32_MAX - 100000}},
		/* two memories; a completion ring smaller than tx */
		{.n_lanes = 4, .n_frames = 400, .n_umems = 2, .sizes = {128, 256, 128, 64, 7}},
	};
	struct random random = random_seeded(__func__, clock_now_ns());

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		run_model(random.state + 2 * i, &specs[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
