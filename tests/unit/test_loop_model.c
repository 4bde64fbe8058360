/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many random turns against a simple oracle. The fake kernel receives, sends and completes at
 * random and errs in every way that test_loop_faults.c knows; sets change, lanes go and come back.
 *
 * What the oracle demands, beside world_check() after every turn:
 *   - a packet that was received whole leaves at most once, by the right lane, with its bytes, and
 * in the order of its lane;
 *   - each bad descriptor is counted by its reason, and nothing else is;
 *   - all the rest is forwarded or dropped for a reason that the situation allows.
 *
 * The seed is printed; SLUICE_SEED=N repeats a run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loop_world.h"
#include "unit.h"

#define N_TURNS         100000
#define MAX_WAKE_ERRORS 8

/* The bytes that a good packet carries after its Ethernet header. */
struct mark {
	uint32_t lane;
	uint32_t len;
	uint64_t seq;
};

struct model {
	struct world *w;
	uint64_t random;
	uint64_t next_seq[WORLD_LANES];
	uint64_t last_sent[WORLD_LANES];     /* seq of the latest packet of lane i that left */
	uint64_t n_bad[WORLD_LANES][DROP_N]; /* injected, or lost with a lane */
	uint64_t n_bad_completions[WORLD_LANES];
	uint64_t n_sent;
	uint32_t out_of[WORLD_LANES];
	int wake_errors[WORLD_LANES][MAX_WAKE_ERRORS];
};

/* xorshift64*; the test needs repeatable, not good. */
static uint32_t random_below(struct model *m, uint32_t n)
{
	m->random ^= m->random >> 12;
	m->random ^= m->random << 25;
	m->random ^= m->random >> 27;
	return (uint32_t)((m->random * 2685821657736338717ULL) >> 33) % n;
}

static bool one_in(struct model *m, uint32_t n)
{
	return random_below(m, n) == 0;
}

static void check_sent(struct fake_lane *fake, uint64_t addr, uint32_t len, void *data)
{
	struct model *m = data;
	struct mark mark;

	memcpy(&mark, fake->memory->umem->area + addr + 14, sizeof(mark));
	assert_true(mark.lane < m->w->n_lanes);
	assert_int_equal(mark.len, len);
	assert_ptr_equal(fake, &m->w->fakes[m->out_of[mark.lane]]);
	assert_true(mark.seq > m->last_sent[mark.lane]);
	m->last_sent[mark.lane] = mark.seq;
	m->n_sent++;
}

static void receive_good(struct model *m, uint32_t lane)
{
	uint8_t head[14 + sizeof(struct mark)] = {0};
	struct mark mark = {.lane = lane, .len = 30 + random_below(m, 1485)};

	mark.seq = ++m->next_seq[lane];
	head[12] = 8;
	memcpy(head + 14, &mark, sizeof(mark));
	(void)fake_receive(&m->w->fakes[lane], head, sizeof(head), mark.len, NULL);
}

static void receive_bad(struct model *m, uint32_t lane)
{
	static const struct {
		uint32_t len;
		enum drop_reason reason;
	} kinds[] = {
		{0, DROP_MALFORMED}, {13, DROP_MALFORMED},  {1515, DROP_MTU},
		{1600, DROP_MTU},    {1793, DROP_INTERNAL}, {UINT32_MAX, DROP_INTERNAL},
	};
	uint32_t kind = random_below(m, ARRAY_SIZE(kinds));
	bool out_is_up = m->w->worker.set->routes[lane].out;

	if (fake_receive(&m->w->fakes[lane], "", 1, kinds[kind].len, NULL))
		m->n_bad[lane][out_is_up ? kinds[kind].reason : DROP_LINK_DOWN]++;
}

/* Will the next peek ask the kernel, rather than finish what it saw the last time? */
static bool is_all_taken(const struct xsk_ring_cons *ring)
{
	return ring->cached_prod == ring->cached_cons;
}

/*
 * A descriptor of a frame that is not in this lane's fill. It must meet the worker before the frame
 * can rightly get there, so only if all of the rx ring is taken in the next turn.
 */
static void receive_foreign(struct model *m, uint32_t lane)
{
	struct fake_lane *fake = &m->w->fakes[lane];
	const struct umem *umem = fake->memory->umem;
	uint32_t frame = random_below(m, umem->n_frames + 2);

	if (fake->rx.producer - fake->rx.consumer >= BURST || !is_all_taken(&fake->lane->xsk.rx))
		return;
	if (frame < umem->n_frames && umem->owner[frame] == FRAME_FILL(fake->lane->tag))
		return;
	if (fake_push_rx(fake, umem_frame_addr(umem, frame), 60))
		m->n_bad[lane][DROP_INTERNAL]++;
}

/* A completion of a frame that is not in this lane's tx; it is only looked at if something is. */
static void complete_foreign(struct model *m, uint32_t lane)
{
	struct fake_lane *fake = &m->w->fakes[lane];
	const struct umem *umem = fake->memory->umem;
	uint32_t frame = random_below(m, umem->n_frames + 2);
	uint32_t n_waiting = fake->completion.producer - fake->completion.consumer;

	/* All taken in the next turn, and not by the last chance of a full ring after new packets.
	 */
	if (fake->lane->n_tx == 0 || n_waiting >= 200 ||
	    !is_all_taken(&fake->lane->xsk.completion) ||
	    n_waiting + fake->n_flying + (fake->tx.producer - fake->tx.consumer) >=
		    fake->completion.size - 1)
		return;
	if (frame < umem->n_frames && umem->owner[frame] == FRAME_TX(fake->lane->tag))
		return;
	if (fake_push_completion(fake, umem_frame_addr(umem, frame)))
		m->n_bad_completions[lane]++;
}

static void script_wakeups(struct model *m, uint32_t lane)
{
	static const int results[] = {0, -EAGAIN, -ENOBUFS, -EBUSY, -ENETDOWN};
	struct fake_lane *fake = &m->w->fakes[lane];

	for (unsigned i = 0; i < MAX_WAKE_ERRORS; i++)
		m->wake_errors[lane][i] = results[random_below(m, ARRAY_SIZE(results))];
	fake->wake_script = m->wake_errors[lane];
	fake->n_wake_script = random_below(m, MAX_WAKE_ERRORS + 1);
	fake->wake_budget = one_in(m, 3) ? random_below(m, 32) : UINT32_MAX;
	fake->wake_rx_result = one_in(m, 2) ? -ENETDOWN : 0;
	fake_need_wakeup(&fake->tx, !one_in(m, 4));
	fake_need_wakeup(&fake->fill, one_in(m, 4));
}

static void play_kernel(struct model *m, uint32_t lane)
{
	struct fake_lane *fake = &m->w->fakes[lane];
	uint32_t n = one_in(m, 2) ? random_below(m, 8) : random_below(m, 130);

	for (uint32_t i = 0; i < n; i++) {
		if (one_in(m, 50))
			receive_bad(m, lane);
		else
			receive_good(m, lane);
	}
	if (one_in(m, 20))
		receive_foreign(m, lane);
	if (one_in(m, 2))
		(void)fake_transmit(fake, random_below(m, 100));
	if (one_in(m, 2))
		(void)fake_complete(fake, random_below(m, 200));
	if (one_in(m, 20))
		complete_foreign(m, lane);
	if (one_in(m, 10))
		script_wakeups(m, lane);
}

/* Ports go down and come back: an out lane is missing, or routes change places. */
static void change_set(struct model *m)
{
	struct worker_set *set = world_next_set(m->w);

	for (uint32_t i = 0; i < set->n_lanes; i++) {
		/* The oracle knows where a bad frame goes only if it is all taken before. */
		if (m->w->fakes[i].rx.producer != m->w->fakes[i].rx.consumer)
			return;
	}
	for (uint32_t i = 0; i < set->n_lanes; i++)
		set->routes[i].out = one_in(m, 5) ? NULL : &m->w->lanes[m->out_of[i]];
	world_publish(m->w);
}

static void check_counts(const struct model *m)
{
	static const bool is_exact[DROP_N] = {
		[DROP_MALFORMED] = true, [DROP_MTU] = true, [DROP_INTERNAL] = true};

	for (uint32_t i = 0; i < m->w->n_lanes; i++) {
		const struct lane *lane = &m->w->lanes[i];
		uint32_t n_waiting = m->w->fakes[i].rx.producer - m->w->fakes[i].rx.consumer;

		for (unsigned d = 0; d < DROP_N && n_waiting == 0; d++) {
			if (is_exact[d])
				assert_int_equal(lane->counters.drops[d], m->n_bad[i][d]);
		}
		assert_true(lane->counters.bad_completions <= m->n_bad_completions[i]);
	}
}

static uint64_t run_model(uint64_t seed, const struct world_spec *spec)
{
	struct model *m = calloc(1, sizeof(*m));
	uint64_t n_sent, n_forwarded = 0;

	assert_non_null(m);
	m->random = seed * 2 + 1;
	m->w = world_new(spec);
	for (uint32_t i = 0; i < m->w->n_lanes; i++) {
		m->w->fakes[i].on_sent = check_sent;
		m->w->fakes[i].on_sent_data = m;
		m->out_of[i] = (uint32_t)(m->w->worker.set->routes[i].out - m->w->lanes);
	}
	for (unsigned turn = 0; turn < N_TURNS / 4; turn++) {
		for (uint32_t i = 0; i < m->w->n_lanes; i++)
			play_kernel(m, i);
		if (one_in(m, 50))
			change_set(m);
		(void)world_turn(m->w);
		check_counts(m);
	}
	for (uint32_t i = 0; i < m->w->n_lanes; i++) {
		m->w->fakes[i].n_wake_script = 0;
		m->w->fakes[i].wake_budget = UINT32_MAX;
	}
	world_settle(m->w);
	check_counts(m);
	for (uint32_t i = 0; i < m->w->n_lanes; i++) {
		const struct lane *lane = &m->w->lanes[i];

		assert_int_equal(lane->n_tx, 0);
		assert_true(lane->xsk.fill.size - lane->n_fill < lane->refill_batch);
		assert_int_equal(lane->counters.bad_completions, m->n_bad_completions[i]);
		n_forwarded += lane->counters.forwarded;
	}
	n_sent = m->n_sent;
	assert_int_equal(n_sent, n_forwarded);
	world_free(m->w);
	free(m);
	return n_sent;
}

static void test_random_turns(void **state)
{
	const struct world_spec specs[] = {
		/* plenty of everything */
		{.n_lanes = 2, .n_frames = 4096},
		/* four lanes; small rings, few frames, indices that wrap */
		{.n_lanes = 4, .n_frames = 640, .sizes = {128, 64, 64, 128, UINT32_MAX - 100000}},
		/* two UMEMs and a completion ring smaller than tx */
		{.n_lanes = 4, .n_frames = 600, .n_umems = 2, .sizes = {128, 256, 128, 64, 7}},
		/* three lanes: two send to lane 0 */
		{.n_lanes = 3, .n_frames = 2048, .sizes = {256, 128, 128, 256, UINT32_MAX}},
	};
	const char *seed_text = getenv("SLUICE_SEED");
	uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		uint64_t n_sent;

		printf("seed %llu, world %zu: ", (unsigned long long)seed, i);
		(void)fflush(stdout);
		n_sent = run_model(seed + i, &specs[i]);
		printf("%llu packets left\n", (unsigned long long)n_sent);
		assert_true(n_sent > N_TURNS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
