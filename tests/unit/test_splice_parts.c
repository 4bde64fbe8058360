/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the splice plane is made of: the timer wheel, the pools, the table of sources. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "splice/pool.h"
#include "splice/sources.h"
#include "splice/timers.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

#define TICK_NS (1ULL << TIMERS_TICK_SHIFT)

/* --- Timers --------------------------------------------------------------------------------------
 */

#define N_TIMERS 3000

struct alarm {
	struct timer timer;
	uint64_t due_ns; /* 0 = not armed */
	unsigned n_fired;
};

static struct timers timers;
static struct alarm alarms[N_TIMERS];
static uint64_t now_ns, random_state = 88172645463325252ULL;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

/* From below a tick to beyond the wheel (19 hours). */
static uint64_t any_delay(void)
{
	return next_random() % (1ULL << (next_random() % 48));
}

static void arm(struct alarm *alarm, uint64_t due_ns)
{
	alarm->due_ns = MAX(due_ns, 1);
	timers_arm(&timers, &alarm->timer, alarm->due_ns);
	assert_true(timer_is_armed(&alarm->timer));
}

static void on_fire(struct timer *timer, void *arg)
{
	struct alarm *alarm = (struct alarm *)timer;
	struct alarm *other = &alarms[next_random() % N_TIMERS];

	/* Never early. Lateness is what expect_none_due() sees. */
	assert_int_not_equal(alarm->due_ns, 0);
	assert_true(alarm->due_ns <= now_ns);
	assert_false(timer_is_armed(timer));
	alarm->due_ns = 0;
	alarm->n_fired++;
	(*(unsigned *)arg)++;
	if (next_random() % 4 == 0)
		arm(alarm, now_ns + any_delay());
	if (next_random() % 8 == 0) {
		timers_disarm(&timers, &other->timer);
		other->due_ns = 0;
	}
}

static uint64_t earliest(void)
{
	uint64_t first_ns = UINT64_MAX;

	for (unsigned i = 0; i < N_TIMERS; i++)
		if (alarms[i].due_ns)
			first_ns = MIN(first_ns, alarms[i].due_ns);
	return first_ns;
}

static void test_timers_fire_once_in_time_and_never_early(void **state)
{
	unsigned n_fired = 0, n_steps = 0;

	now_ns = 123456789 * NSEC_PER_SEC;
	timers_init(&timers, now_ns);
	memset(alarms, 0, sizeof(alarms));
	for (unsigned i = 0; i < N_TIMERS; i++)
		arm(&alarms[i], now_ns + any_delay());
	while (n_steps++ < 3000 && timers.n > 0) {
		uint64_t next_ns = timers_next_ns(&timers), first_ns = earliest();

		/* Waking then is soon enough for the first. */
		assert_true(next_ns <= (first_ns / TICK_NS + 2) * TICK_NS);
		now_ns = next_random() % 3 ? MAX(next_ns, now_ns) : now_ns + any_delay() / 16;
		timers_run(&timers, now_ns, on_fire, &n_fired);
		assert_true(earliest() > now_ns - TICK_NS);
	}
	assert_true(n_fired > N_TIMERS / 2);
	for (unsigned i = 0; i < N_TIMERS; i++)
		timers_disarm(&timers, &alarms[i].timer);
	assert_int_equal(timers.n, 0);
	assert_true(timers_next_ns(&timers) == UINT64_MAX);
}

static void test_a_moved_timer_fires_at_its_last_time_only(void **state)
{
	unsigned n_fired = 0;

	now_ns = 50 * NSEC_PER_SEC;
	timers_init(&timers, now_ns);
	memset(alarms, 0, sizeof(alarms));
	arm(&alarms[0], now_ns + NSEC_PER_SEC);
	arm(&alarms[0], now_ns + 100 * NSEC_PER_SEC);
	now_ns += 99 * NSEC_PER_SEC;
	timers_run(&timers, now_ns, on_fire, &n_fired);
	assert_int_equal(n_fired, 0);
	arm(&alarms[0], now_ns);
	now_ns += 2 * TICK_NS;
	timers_run(&timers, now_ns, on_fire, &n_fired);
	assert_int_equal(n_fired, 1);
}

/* --- Pools ---------------------------------------------------------------------------------------
 */

static void test_buffers_come_back_empty_and_fit(void **state)
{
	struct pool pool = {.n_idle_pipes = 0};
	struct pool_buffer *small = pool_get(&pool, 1), *large;

	assert_int_equal(small->size, POOL_SMALL_BYTES);
	memset(small->data, 7, small->size);
	small->end = small->size;
	pool_put(&pool, small);
	assert_ptr_equal(pool_get(&pool, POOL_SMALL_BYTES), small);
	assert_int_equal(pool_buffer_len(small), 0);
	large = pool_get(&pool, POOL_SMALL_BYTES + 1);
	assert_int_equal(large->size, POOL_LARGE_BYTES);
	assert_int_equal(pool.small.n_used + pool.large.n_used, 2);
	pool_put(&pool, small);
	pool_put(&pool, large);
	assert_int_equal(pool.small.n_used + pool.large.n_used, 0);
	pool_fini(&pool);
}

static void test_idle_buffers_are_bounded(void **state)
{
	static struct pool_buffer *buffers[5000];
	struct pool pool = {.n_idle_pipes = 0};

	for (unsigned i = 0; i < ARRAY_SIZE(buffers); i++)
		buffers[i] = pool_get(&pool, i % 2 ? POOL_LARGE_BYTES : 1);
	for (unsigned i = 0; i < ARRAY_SIZE(buffers); i++)
		pool_put(&pool, buffers[i]);
	assert_true(pool.small.n_idle <= 1024 && pool.large.n_idle <= 256);
	assert_int_equal(pool.small.n_used + pool.large.n_used, 0);
	pool_fini(&pool);
}

static void test_a_pipe_with_bytes_is_not_lent_again(void **state)
{
	struct pool pool = {.n_idle_pipes = 0};
	int pipe[2], again[2], first;
	char c;

	assert_int_equal(pool_get_pipe(&pool, pipe), 0);
	first = pipe[0];
	pool_put_pipe(&pool, pipe, true);
	assert_int_equal(pipe[0], -1);
	assert_int_equal(pool_get_pipe(&pool, pipe), 0);
	assert_int_equal(pipe[0], first);
	assert_int_equal(write(pipe[1], "x", 1), 1);
	pool_put_pipe(&pool, pipe, false);
	assert_int_equal(pool.n_idle_pipes, 0);
	assert_int_equal(pool_get_pipe(&pool, again), 0);
	assert_int_equal(read(again[0], &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
	pool_put_pipe(&pool, again, true);
	pool_fini(&pool);
	assert_int_equal(pool.n_used_pipes, 0);
}

/* Takes n of each at once and gives them back. */
static void use(struct pool *pool, unsigned n)
{
	struct pool_buffer *buffers[2][60];
	int pipes[60][2];

	for (unsigned i = 0; i < n; i++) {
		buffers[0][i] = pool_get(pool, 1);
		buffers[1][i] = pool_get(pool, POOL_LARGE_BYTES);
		assert_int_equal(pool_get_pipe(pool, pipes[i]), 0);
	}
	for (unsigned i = 0; i < n; i++) {
		pool_put(pool, buffers[0][i]);
		pool_put(pool, buffers[1][i]);
		pool_put_pipe(pool, pipes[i], true);
	}
}

static void assert_idle(const struct pool *pool, unsigned n)
{
	assert_int_equal(pool->small.n_idle, n);
	assert_int_equal(pool->large.n_idle, n);
	assert_int_equal(pool->n_idle_pipes, n);
}

static void test_what_was_idle_all_the_time_goes_back(void **state)
{
	struct pool pool = {.n_idle_pipes = 0};

	use(&pool, 60);
	pool_trim(&pool); /* they were needed since the last one */
	assert_idle(&pool, 60);
	use(&pool, 20);
	use(&pool, 5);
	pool_trim(&pool); /* 40 were not */
	assert_idle(&pool, 20);
	use(&pool, 20);
	pool_trim(&pool);
	assert_idle(&pool, 20);
	pool_trim(&pool);
	assert_idle(&pool, 0);
	pool_fini(&pool);
}

static void test_no_pipe_is_an_error_not_a_crash(void **state)
{
	struct rlimit limit, none;
	struct pool pool = {.n_idle_pipes = 0};
	int pipe[2] = {-1, -1};

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(pool_get_pipe(&pool, pipe), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(pipe[0], -1);
	assert_int_equal(pool.n_used_pipes, 0);
}

/* --- Sources -------------------------------------------------------------------------------------
 */

static struct ip_endpoint address(uint32_t number)
{
	struct ip_endpoint endpoint = {.family = 4, .port = (uint16_t)next_random()};

	memcpy(endpoint.addr.octet, &number, sizeof(number));
	return endpoint;
}

static void test_sources_are_counted_exactly(void **state)
{
	static unsigned n[2][500];
	struct sources *sources;
	unsigned n_there = 0;

	assert_int_equal(sources_new(1000, &sources), 0);
	for (unsigned i = 0; i < 200000; i++) {
		uint32_t listener = next_random() % 2, who = (uint32_t)(next_random() % 500);
		struct ip_endpoint source = address(who);

		if (next_random() % 2 && n[listener][who]) {
			sources_remove(sources, listener, &source);
			n_there -= --n[listener][who] == 0;
		} else {
			bool is_let_in = sources_add(sources, listener, &source, 3);

			assert_int_equal(is_let_in, n[listener][who] < 3);
			n[listener][who] += is_let_in;
			n_there += is_let_in && n[listener][who] == 1;
		}
		assert_true(i % 1000 || sources_count(sources) == n_there);
	}
	for (unsigned i = 0; i < 1000; i++) {
		struct ip_endpoint source = address(i % 500);

		while (n[i / 500][i % 500]) {
			sources_remove(sources, i / 500, &source);
			n[i / 500][i % 500]--;
		}
	}
	assert_int_equal(sources_count(sources), 0);
	sources_free(sources);
}

/* A host may have any address of its /64, and use them all. */
static void test_an_ipv6_source_is_a_64(void **state)
{
	struct ip_endpoint source = {.family = 6, .addr.octet = {0x20, 0x01, 0x0d, 0xb8}};
	struct sources *sources;

	assert_int_equal(sources_new(100, &sources), 0);
	for (unsigned i = 0; i < 4; i++) {
		source.addr.octet[8 + i] = (uint8_t)(i + 1);
		assert_int_equal(sources_add(sources, 1, &source, 2), i < 2);
	}
	source.addr.octet[7] = 1;
	assert_true(sources_add(sources, 1, &source, 2));
	assert_int_equal(sources_count(sources), 2);
	sources_remove(sources, 1, &source);
	source.addr.octet[7] = 0;
	source.addr.octet[15] = 9;
	sources_remove(sources, 1, &source);
	sources_remove(sources, 1, &source);
	assert_int_equal(sources_count(sources), 0);
	sources_free(sources);
}

static void test_a_full_table_of_sources_refuses(void **state)
{
	struct sources *sources;
	unsigned n_in = 0;

	assert_int_equal(sources_new(100, &sources), 0);
	for (uint32_t i = 0; i < 100000; i++) {
		struct ip_endpoint source = address(i);

		if (!sources_add(sources, 1, &source, 1))
			continue;
		n_in++;
		assert_true(i >= 100 || n_in == i + 1);
	}
	assert_in_range(n_in, 100, 2000);
	assert_int_equal(sources_count(sources), n_in);
	sources_free(sources);
}

static void *add_and_remove(void *arg)
{
	struct ip_endpoint source = {.family = 6};

	for (unsigned i = 0; i < 20000; i++) {
		source.addr.octet[7] = (uint8_t)(i % 7);
		if (sources_add(arg, 1, &source, 2))
			sources_remove(arg, 1, &source);
	}
	return NULL;
}

static void test_sources_are_shared(void **state)
{
	struct sources *sources;
	pthread_t threads[3];

	assert_int_equal(sources_new(100, &sources), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_and_remove, sources), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(sources_count(sources), 0);
	sources_free(sources);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers_fire_once_in_time_and_never_early),
		cmocka_unit_test(test_a_moved_timer_fires_at_its_last_time_only),
		cmocka_unit_test(test_buffers_come_back_empty_and_fit),
		cmocka_unit_test(test_idle_buffers_are_bounded),
		cmocka_unit_test(test_a_pipe_with_bytes_is_not_lent_again),
		cmocka_unit_test(test_what_was_idle_all_the_time_goes_back),
		cmocka_unit_test(test_no_pipe_is_an_error_not_a_crash),
		cmocka_unit_test(test_sources_are_counted_exactly),
		cmocka_unit_test(test_an_ipv6_source_is_a_64),
		cmocka_unit_test(test_a_full_table_of_sources_refuses),
		cmocka_unit_test(test_sources_are_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
