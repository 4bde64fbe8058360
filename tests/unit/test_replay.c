/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is recorded during a dump comes back for its own routes, in order. */
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "control/tables_thread.h"
#include "unit.h"

static struct rt_route route_of(uint32_t number, uint32_t metric)
{
	struct rt_route route = {.dst_len = 24, .table = RT_TABLE_MAIN, .metric = metric};

	memcpy(route.dst.octet, &number, sizeof(number));
	return route;
}

static void record(struct replay *replay, const struct rt_route *route, uint32_t sequence)
{
	_Alignas(struct nlmsghdr) char buffer[64] = {0};
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);

	nlh->nlmsg_seq = sequence;
	assert_true(replay_record(replay, route, nlh));
}

struct seen {
	uint32_t n, sequences[16];
};

static void note(const struct nlmsghdr *message, void *arg)
{
	struct seen *seen = arg;

	seen->sequences[seen->n++] = message->nlmsg_seq;
}

static struct seen run(const struct replay *replay, const struct rt_route *route)
{
	struct seen seen = {0};

	replay_run(replay, route, note, &seen);
	return seen;
}

static void test_notes_of_a_route_come_back_in_order_and_no_others(void **state)
{
	struct rt_route a = route_of(1, 0), a100 = route_of(1, 100), b = route_of(2, 0);
	struct replay *replay;
	struct seen seen;

	assert_int_equal(replay_new(&replay), 0);
	record(replay, &a, 1);
	record(replay, &b, 2);
	record(replay, &a, 3);
	record(replay, &a100, 4);
	record(replay, &a, 5);
	seen = run(replay, &a);
	assert_int_equal(seen.n, 3);
	assert_int_equal(seen.sequences[0], 1);
	assert_int_equal(seen.sequences[1], 3);
	assert_int_equal(seen.sequences[2], 5);
	assert_int_equal(run(replay, &a100).n, 1);
	replay_clear(replay);
	assert_int_equal(run(replay, &a).n, 0);
	record(replay, &a, 6);
	assert_int_equal(run(replay, &a).n, 1);
	replay_free(replay);
}

static void test_it_has_a_bound_and_says_so(void **state)
{
	_Alignas(struct nlmsghdr) char buffer[4096] = {0};
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct replay *replay;
	uint32_t n = 0;

	assert_int_equal(replay_new(&replay), 0);
	nlh->nlmsg_len = sizeof(buffer);
	for (; n < 100000; n++) {
		struct rt_route route = route_of(n, 0);

		if (!replay_record(replay, &route, nlh))
			break;
	}
	assert_in_range(n, 4000, 20000);
	assert_int_equal(replay_count(replay), n);
	replay_free(replay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notes_of_a_route_come_back_in_order_and_no_others),
		cmocka_unit_test(test_it_has_a_bound_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
