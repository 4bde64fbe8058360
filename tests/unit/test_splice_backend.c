/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Choosing a server: shares, conditions, limits. */
#include <stdlib.h>
#include <string.h>

#include "net/maglev.h"
#include "splice/backend.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

#define N_SERVERS 4
#define NOW_NS    (1000 * NSEC_PER_SEC)

static struct backend_state backend_state;
static struct server_state states[N_SERVERS];
static struct backend_server servers[N_SERVERS];
static struct backend_config backend;
static struct backend_turn turn;

static void make(enum splice_balance balance, const uint16_t *weights)
{
	memset(&backend_state, 0, sizeof(backend_state));
	memset(states, 0, sizeof(states));
	memset(&turn, 0, sizeof(turn));
	for (unsigned i = 0; i < N_SERVERS; i++) {
		atomic_init(&states[i].is_up, true);
		servers[i] = (struct backend_server){&states[i], weights[i]};
	}
	backend = (struct backend_config){.state = &backend_state,
					  .balance = balance,
					  .servers = servers,
					  .n_servers = N_SERVERS,
					  .has_health_check = true,
					  .passive_fall = 2,
					  .passive_out_ns = NSEC_PER_SEC};
}

static int choose(uint64_t hash)
{
	return backend_choose(&backend, &turn, hash, NULL, 0, NOW_NS);
}

static void expect_shares(unsigned rounds, const unsigned *shares)
{
	unsigned n[N_SERVERS] = {0}, total = 0;

	for (unsigned i = 0; i < N_SERVERS; i++)
		total += shares[i];
	for (unsigned i = 0; i < rounds * total; i++) {
		int server = choose(0);

		assert_in_range(server, 0, N_SERVERS - 1);
		n[server]++;
	}
	for (unsigned i = 0; i < N_SERVERS; i++)
		assert_int_equal(n[i], rounds * shares[i]);
}

static void test_round_robin_gives_each_exactly_its_weight(void **state)
{
	make(SPLICE_ROUND_ROBIN, (const uint16_t[]){1, 2, 5, 0});
	expect_shares(1, (const unsigned[]){1, 2, 5, 0});
	expect_shares(100, (const unsigned[]){1, 2, 5, 0});
	make(SPLICE_ROUND_ROBIN, (const uint16_t[]){256, 1, 1, 3});
	expect_shares(3, (const unsigned[]){256, 1, 1, 3});
}

static void test_round_robin_takes_turns(void **state)
{
	make(SPLICE_ROUND_ROBIN, (const uint16_t[]){1, 1, 1, 1});
	for (int i = 0; i < 12; i++)
		assert_int_equal(choose(0), i % N_SERVERS);
}

/* What makes a server ineligible, one by one: it gets nothing, and the others their shares. */
static void exclude_down(void)
{
	atomic_store(&states[2].is_up, false);
}

static void exclude_draining(void)
{
	atomic_store(&states[2].is_draining, true);
}

static void exclude_marked(void)
{
	backend_failed(&backend, &states[2], NOW_NS - 1);
	assert_int_equal(atomic_load(&states[2].out_until_ns), 0);
	backend_failed(&backend, &states[2], NOW_NS - 1);
}

static void test_servers_that_are_out_get_nothing(void **state)
{
	void (*const exclude[])(void) = {exclude_down, exclude_draining, exclude_marked};
	const enum splice_balance balances[] = {SPLICE_ROUND_ROBIN, SPLICE_LEAST_CONNECTIONS};

	for (unsigned i = 0; i < ARRAY_SIZE(exclude); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(balances); j++) {
			make(balances[j], (const uint16_t[]){1, 1, 1, 1});
			exclude[i]();
			expect_shares(30, (const unsigned[]){1, 1, 0, 1});
		}
}

static void test_a_mark_ends_with_time_and_with_success(void **state)
{
	make(SPLICE_LEAST_CONNECTIONS, (const uint16_t[]){9, 1, 0, 0});
	backend_failed(&backend, &states[0], NOW_NS);
	backend_connected(&backend, &states[0], 1000);
	backend_failed(&backend, &states[0], NOW_NS);
	assert_int_equal(choose(0), 0); /* not twice in a row */
	backend_failed(&backend, &states[0], NOW_NS);
	assert_int_equal(choose(0), 1);
	assert_int_equal(backend_choose(&backend, &turn, 0, NULL, 0, NOW_NS + NSEC_PER_SEC), 0);
}

static void test_a_mark_keeps_nobody_from_the_only_server(void **state)
{
	const enum splice_balance balances[] = {SPLICE_ROUND_ROBIN, SPLICE_LEAST_CONNECTIONS};

	for (unsigned j = 0; j < ARRAY_SIZE(balances); j++) {
		make(balances[j], (const uint16_t[]){0, 0, 1, 0});
		exclude_marked();
		assert_int_equal(choose(0), 2);
		assert_int_equal(
			backend_choose(&backend, &turn, 0, (const uint16_t[]){2}, 1, NOW_NS), -1);
		exclude_draining();
		assert_int_equal(choose(0), -1);
	}
}

static void test_without_health_check_up_means_nothing(void **state)
{
	make(SPLICE_ROUND_ROBIN, (const uint16_t[]){1, 1, 1, 1});
	backend.has_health_check = false;
	exclude_down();
	expect_shares(5, (const unsigned[]){1, 1, 1, 1});
}

static void test_tried_servers_are_not_tried_again(void **state)
{
	const uint16_t tried[] = {0, 1, 3};
	const enum splice_balance balances[] = {SPLICE_ROUND_ROBIN, SPLICE_LEAST_CONNECTIONS};

	for (unsigned j = 0; j < ARRAY_SIZE(balances); j++) {
		make(balances[j], (const uint16_t[]){1, 1, 1, 1});
		for (unsigned i = 0; i < 10; i++)
			assert_int_equal(backend_choose(&backend, &turn, 0, tried, 3, NOW_NS), 2);
		atomic_store(&states[2].is_up, false);
		assert_int_equal(backend_choose(&backend, &turn, 0, tried, 3, NOW_NS), -1);
	}
}

static void test_least_connections_by_weight(void **state)
{
	unsigned n[N_SERVERS] = {0};

	make(SPLICE_LEAST_CONNECTIONS, (const uint16_t[]){1, 2, 3, 4});
	for (unsigned i = 0; i < 100; i++) {
		int server = choose(0);

		assert_true(server >= 0);
		assert_true(backend_begin(&backend, &states[server]));
		n[server]++;
	}
	for (unsigned i = 0; i < N_SERVERS; i++)
		assert_in_range(n[i], 10 * (i + 1) - 1, 10 * (i + 1) + 1);
	/* Whoever loses connections gets the next ones. */
	for (unsigned i = 0; i < 5; i++)
		backend_end(&backend, &states[1]);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(choose(0), 1);
		assert_true(backend_begin(&backend, &states[1]));
	}
}

static void test_least_connections_among_equals_takes_turns(void **state)
{
	make(SPLICE_LEAST_CONNECTIONS, (const uint16_t[]){1, 1, 1, 1});
	expect_shares(10, (const unsigned[]){1, 1, 1, 1});
}

static void test_maglev_keeps_the_others_when_one_is_out(void **state)
{
	static uint16_t table[1009];
	int before[2000];
	unsigned n[N_SERVERS] = {0};

	make(SPLICE_MAGLEV, (const uint16_t[]){1, 1, 1, 1});
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		table[i] = (uint16_t)(i * 7 % N_SERVERS);
	backend.maglev = table;
	backend.maglev_size = ARRAY_SIZE(table);
	for (unsigned i = 0; i < ARRAY_SIZE(before); i++) {
		before[i] = choose(i * 0x9e3779b97f4a7c15ULL);
		assert_int_equal(before[i], choose(i * 0x9e3779b97f4a7c15ULL));
	}
	atomic_store(&states[1].is_up, false);
	for (unsigned i = 0; i < ARRAY_SIZE(before); i++) {
		int now = choose(i * 0x9e3779b97f4a7c15ULL);

		assert_int_not_equal(now, 1);
		if (before[i] != 1)
			assert_int_equal(now, before[i]);
		else
			n[now]++;
	}
	/* Its share goes to all of the others. */
	assert_true(n[0] > 50 && n[2] > 50 && n[3] > 50);
	for (unsigned i = 0; i < N_SERVERS; i++)
		atomic_store(&states[i].is_up, i == 3);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(choose(i), 3);
	atomic_store(&states[3].is_up, false);
	assert_int_equal(choose(1), -1);
}

static void test_backend_limit_is_exact(void **state)
{
	make(SPLICE_ROUND_ROBIN, (const uint16_t[]){1, 1, 1, 1});
	backend.max_connections = 2;
	assert_true(backend_begin(&backend, &states[0]));
	assert_int_not_equal(choose(0), -2);
	assert_true(backend_begin(&backend, &states[1]));
	assert_int_equal(choose(0), -2);
	assert_false(backend_begin(&backend, &states[2]));
	assert_int_equal(atomic_load(&backend_state.n_active), 2);
	assert_int_equal(atomic_load(&states[2].n_active), 0);
	backend_end(&backend, &states[0]);
	assert_int_not_equal(choose(0), -2);
}

static void test_times_are_counted_where_they_belong(void **state)
{
	make(SPLICE_ROUND_ROBIN, (const uint16_t[]){1, 1, 1, 1});
	backend_connected(&backend, &states[0], 100 * NSEC_PER_USEC);
	backend_connected(&backend, &states[0], 100 * NSEC_PER_USEC + 1);
	backend_connected(&backend, &states[0], UINT64_MAX / 4);
	assert_int_equal(atomic_load(&backend_state.connect_time[0]), 1);
	assert_int_equal(atomic_load(&backend_state.connect_time[1]), 1);
	assert_int_equal(atomic_load(&backend_state.connect_time[SPLICE_TIME_BUCKETS - 1]), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_robin_gives_each_exactly_its_weight),
		cmocka_unit_test(test_round_robin_takes_turns),
		cmocka_unit_test(test_servers_that_are_out_get_nothing),
		cmocka_unit_test(test_a_mark_ends_with_time_and_with_success),
		cmocka_unit_test(test_a_mark_keeps_nobody_from_the_only_server),
		cmocka_unit_test(test_without_health_check_up_means_nothing),
		cmocka_unit_test(test_tried_servers_are_not_tried_again),
		cmocka_unit_test(test_least_connections_by_weight),
		cmocka_unit_test(test_least_connections_among_equals_takes_turns),
		cmocka_unit_test(test_maglev_keeps_the_others_when_one_is_out),
		cmocka_unit_test(test_backend_limit_is_exact),
		cmocka_unit_test(test_times_are_counted_where_they_belong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
