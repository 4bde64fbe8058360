/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of the host: what the gate (a fake here) and the workers are told of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "control/tables_internal.h"
#include "unit.h"
#include "util/macros.h"

/* --- A gate that remembers -------------------------------------------------------------------- */

static struct {
	uint32_t addr_be, group;
} gate4[16];
static unsigned n_gate4, n_gate6, max_gate4;

int gate_add_local4(struct gate *gate, uint32_t addr_be, uint32_t group)
{
	for (unsigned i = 0; i < n_gate4; i++) {
		if (gate4[i].addr_be == addr_be) {
			gate4[i].group = group;
			return 0;
		}
	}
	if (n_gate4 == max_gate4)
		return -ENOSPC;
	gate4[n_gate4].addr_be = addr_be;
	gate4[n_gate4++].group = group;
	return 0;
}

int gate_delete_local4(struct gate *gate, uint32_t addr_be)
{
	for (unsigned i = 0; i < n_gate4; i++) {
		if (gate4[i].addr_be == addr_be) {
			gate4[i] = gate4[--n_gate4];
			return 0;
		}
	}
	return -ENOENT;
}

int gate_add_local6(struct gate *gate, const uint8_t addr[16], uint32_t group)
{
	n_gate6++;
	return 0;
}

int gate_delete_local6(struct gate *gate, const uint8_t addr[16])
{
	n_gate6--;
	return 0;
}

/* --- World ------------------------------------------------------------------------------------ */

static struct route_view view;
static struct limbo *limbo;
static struct locals *locals;

static int set_up(void **state)
{
	n_gate4 = n_gate6 = 0;
	max_gate4 = 16;
	return limbo_new(&limbo) < 0 || locals_new(&view, NULL, limbo, &locals) < 0;
}

static int tear_down(void **state)
{
	locals_free(locals);
	limbo_free(limbo);
	return 0;
}

static struct ip6_addr addr_of(const char *text)
{
	struct ip6_addr addr = {{0}};

	assert_int_equal(inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, &addr), 1);
	return addr;
}

static void route(const char *addr, uint32_t ifindex, bool is_delete)
{
	const bool is_ip6 = strchr(addr, ':');
	struct rt_route r = {
		.is_ip6 = is_ip6,
		.dst = addr_of(addr),
		.dst_len = is_ip6 ? 128 : 32,
		.type = RTN_LOCAL,
		.table = RT_TABLE_LOCAL,
		.n_nexthops = 1,
		.nexthops = {{.ifindex = ifindex}},
	};

	locals_route(locals, &r, is_delete);
}

static void address(const char *addr, uint32_t ifindex, bool is_delete)
{
	struct rt_address a = {
		.is_ip6 = strchr(addr, ':'), .ifindex = ifindex, .addr = addr_of(addr)};

	locals_address(locals, &a, is_delete);
}

static const struct route_locals *published(void)
{
	locals_publish(locals);
	return atomic_load(&view.locals);
}

static uint32_t slot_of(const char *addr)
{
	struct ip6_addr a = addr_of(addr);

	return (uint32_t)a.octet[0] << 16 | (uint32_t)a.octet[1] << 8 | a.octet[2];
}

/* --- Tests ------------------------------------------------------------------------------------ */

static void test_an_address_is_local_by_its_route_alone(void **state)
{
	address("192.0.2.1", 5, false);
	assert_int_equal(n_gate4, 0);
	route("192.0.2.1", 5, false);
	assert_int_equal(n_gate4, 1);
	assert_int_equal(gate4[0].group, SLUICE_NO_GROUP);
	address("192.0.2.1", 5, true);
	assert_int_equal(n_gate4, 1);
	route("192.0.2.1", 5, true);
	assert_int_equal(n_gate4, 0);
	assert_int_equal(published()->n, 0);
}

static void test_one_told_twice_goes_with_one_word_and_one_of_two_devices_stays(void **state)
{
	route("192.0.2.1", 5, false);
	route("192.0.2.1", 5, false);
	route("192.0.2.1", 6, false);
	route("192.0.2.1", 5, true);
	assert_int_equal(published()->n, 1);
	route("192.0.2.1", 6, true);
	assert_int_equal(published()->n, 0);
}

static void test_workers_see_a_sorted_list_and_its_filter(void **state)
{
	const struct route_locals *list;
	const char *const addrs[] = {"203.0.113.77", "10.0.0.1", "192.0.2.200", "203.0.113.191",
				     "2001:db8::1"};

	for (unsigned i = 0; i < ARRAY_SIZE(addrs); i++)
		route(addrs[i], 3, false);
	list = published();
	assert_int_equal(list->n, 4);
	assert_int_equal(list->addr[0], 0x0a000001);
	assert_int_equal(list->addr[1], 0xc00002c8);
	assert_int_equal(list->addr[2], 0xcb00714d);
	assert_int_equal(list->addr[3], 0xcb0071bf);
	assert_true(list->filter[0] == 1ULL << 1);
	assert_true(list->filter[1] == 1ULL << (77 - 64));
	assert_true(list->filter[2] == 1ULL << (191 - 128));
	assert_true(list->filter[3] == 1ULL << (200 - 192));
	assert_int_equal(n_gate6, 1);
	/* Nothing changed: the same object, and nothing more retired. */
	assert_ptr_equal(published(), list);
}

static void test_a_slot_holds_an_address_until_its_last_is_gone(void **state)
{
	route("10.1.2.3", 3, false);
	route("10.1.2.4", 3, false);
	assert_true(locals_in_slot24(locals, slot_of("10.1.2.0")));
	assert_false(locals_in_slot24(locals, slot_of("10.1.3.0")));
	route("10.1.2.3", 3, true);
	assert_true(locals_in_slot24(locals, slot_of("10.1.2.0")));
	route("10.1.2.4", 3, true);
	assert_false(locals_in_slot24(locals, slot_of("10.1.2.0")));
}

static void test_an_address_on_a_bridge_port_carries_its_group(void **state)
{
	struct tables_port port = {.bridge = 0, .group = 9, .ifindex = 5};

	route("192.0.2.1", 1, false);
	address("192.0.2.1", 5, false);
	assert_int_equal(gate4[0].group, SLUICE_NO_GROUP);
	locals_set_groups(locals, &port, 1);
	assert_int_equal(gate4[0].group, 9);
	port.bridge = UINT32_MAX;
	locals_set_groups(locals, &port, 1);
	assert_int_equal(gate4[0].group, SLUICE_NO_GROUP);
}

static void test_a_sync_takes_out_what_it_did_not_see(void **state)
{
	route("192.0.2.1", 5, false);
	route("192.0.2.2", 5, false);
	locals_begin_sync(locals);
	route("192.0.2.2", 5, false);
	assert_int_equal(published()->n, 2);
	locals_end_sync(locals);
	assert_int_equal(published()->n, 1);
	assert_int_equal(n_gate4, 1);
}

static void test_what_the_gate_refuses_is_counted_until_it_is_gone(void **state)
{
	max_gate4 = 1;
	route("192.0.2.1", 5, false);
	route("192.0.2.2", 5, false);
	assert_int_equal(locals_n_refused(locals), 1);
	/* The worker knows it all the same. */
	assert_int_equal(published()->n, 2);
	route("192.0.2.2", 5, true);
	assert_int_equal(locals_n_refused(locals), 0);
}

static void test_a_local_prefix_is_the_fibs_to_know(void **state)
{
	struct rt_route loopback = {
		.dst = addr_of("127.0.0.0"), .dst_len = 8, .type = RTN_LOCAL, .table = 255};
	struct rt_route broadcast = {
		.dst = addr_of("10.0.0.255"), .dst_len = 32, .type = RTN_BROADCAST, .table = 255};

	locals_route(locals, &loopback, false);
	locals_route(locals, &broadcast, false);
	assert_int_equal(n_gate4, 0);
	assert_int_equal(published()->n, 0);
}

static struct rt_route prefix(const char *addr, uint8_t len)
{
	return (struct rt_route){.dst = addr_of(addr),
				 .is_ip6 = strchr(addr, ':'),
				 .dst_len = len,
				 .type = RTN_LOCAL,
				 .table = RT_TABLE_LOCAL};
}

static void test_local_prefixes_are_counted_and_are_no_addresses(void **state)
{
	const struct rt_route wide = prefix("10.0.0.0", 8), near = prefix("10.0.0.0", 31),
			      all = prefix("0.0.0.0", 0), loopback = prefix("127.0.0.0", 8),
			      other = prefix("fd00::", 64);

	locals_begin_sync(locals);
	locals_route(locals, &loopback, false);
	locals_route(locals, &other, false);
	assert_int_equal(locals_n_prefixes4(locals), 0);
	locals_route(locals, &wide, false);
	locals_route(locals, &wide, false);
	locals_route(locals, &near, false);
	locals_route(locals, &all, false);
	assert_int_equal(locals_n_prefixes4(locals), 3);
	assert_int_equal(published()->n, 0);
	route("10.0.0.0", 1, false);
	assert_int_equal(published()->n, 1);
	assert_int_equal(locals_n_prefixes4(locals), 3);
	locals_route(locals, &wide, true);
	locals_route(locals, &wide, true);
	locals_route(locals, &all, true);
	assert_int_equal(locals_n_prefixes4(locals), 1);
	assert_int_equal(published()->n, 1);
	locals_begin_sync(locals);
	route("10.0.0.0", 1, false);
	locals_end_sync(locals);
	assert_int_equal(locals_n_prefixes4(locals), 0);
	assert_int_equal(published()->n, 1);
}

static void test_a_device_has_an_address_or_none(void **state)
{
	address("10.0.0.1", 3, false);
	address("fd00::1", 4, false);
	route("10.0.0.2", 4, false);
	assert_true(locals_has_address4(locals, 3));
	assert_false(locals_has_address4(locals, 4));
	address("10.0.0.1", 3, true);
	assert_false(locals_has_address4(locals, 3));
}

#define locals_test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		locals_test(test_an_address_is_local_by_its_route_alone),
		locals_test(test_one_told_twice_goes_with_one_word_and_one_of_two_devices_stays),
		locals_test(test_workers_see_a_sorted_list_and_its_filter),
		locals_test(test_a_slot_holds_an_address_until_its_last_is_gone),
		locals_test(test_an_address_on_a_bridge_port_carries_its_group),
		locals_test(test_a_sync_takes_out_what_it_did_not_see),
		locals_test(test_what_the_gate_refuses_is_counted_until_it_is_gone),
		locals_test(test_a_local_prefix_is_the_fibs_to_know),
		locals_test(test_local_prefixes_are_counted_and_are_no_addresses),
		locals_test(test_a_device_has_an_address_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
