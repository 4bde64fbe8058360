/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interfaces: what a message changes, which are ports, what a sync sweeps. */
#include <string.h>

#include "control/tables_internal.h"
#include "unit.h"

static struct link_table *links;

static int set_up(void **state)
{
	return link_table_new(&links);
}

static int tear_down(void **state)
{
	link_table_free(links);
	return 0;
}

static struct rt_link link_of(uint32_t ifindex, const char *name)
{
	struct rt_link link = {
		.ifindex = ifindex,
		.mtu = 1500,
		.is_up = true,
		.has_carrier = true,
		.has_mac = true,
		.mac = {2, 0, 0, 0, 0, (uint8_t)ifindex},
	};

	(void)snprintf(link.name, sizeof(link.name), "%s", name);
	return link;
}

static void test_a_message_tells_what_became_different(void **state)
{
	struct rt_link link = link_of(5, "eth0");

	assert_int_equal(link_table_apply(links, &link), LINK_CAME);
	assert_int_equal(link_table_apply(links, &link), 0);
	link.has_carrier = false;
	assert_int_equal(link_table_apply(links, &link), LINK_CHANGED_STATE);
	link.mtu = 9000;
	link.mac[5] = 99;
	assert_int_equal(link_table_apply(links, &link), LINK_CHANGED_MTU | LINK_CHANGED_MAC);
	(void)snprintf(link.name, sizeof(link.name), "wan");
	assert_int_equal(link_table_apply(links, &link), LINK_CHANGED_REST);
	assert_int_equal(link_table_find(links, 5)->mtu, 9000);
	assert_ptr_equal(link_table_find_name(links, "wan"), link_table_find(links, 5));
	assert_null(link_table_find_name(links, "eth0"));
}

static void test_links_of_one_chain_are_told_apart(void **state)
{
	struct rt_link a = link_of(3, "a"), b = link_of(3 + 256, "b"), c = link_of(3 + 512, "c");

	link_table_apply(links, &a);
	link_table_apply(links, &b);
	link_table_apply(links, &c);
	assert_true(link_table_gone(links, 3 + 256));
	assert_false(link_table_gone(links, 3 + 256));
	assert_string_equal(link_table_find(links, 3)->name, "a");
	assert_null(link_table_find(links, 3 + 256));
	assert_string_equal(link_table_find(links, 3 + 512)->name, "c");
}

static void test_a_port_is_known_before_and_after_its_link(void **state)
{
	struct tables_port ports[3] = {
		{.is_route = false, .ifindex = 7},
		{.is_route = true, .ifindex = 8},
		{.is_route = true, .ifindex = 0},
	};
	struct rt_link seven = link_of(7, "seven"), eight = link_of(8, "eight");

	link_table_apply(links, &seven);
	assert_true(link_table_set_ports(links, ports, 3));
	assert_false(link_table_set_ports(links, ports, 3));
	link_table_apply(links, &eight);
	assert_int_equal(link_table_find(links, 7)->port, LINK_NO_PORT);
	assert_int_equal(link_table_find(links, 8)->port, 1);
	ports[0].is_route = true;
	ports[1].ifindex = 9;
	assert_true(link_table_set_ports(links, ports, 3));
	assert_int_equal(link_table_find(links, 7)->port, 0);
	assert_int_equal(link_table_find(links, 8)->port, LINK_NO_PORT);
}

static unsigned n_swept;
static uint32_t swept;

static void count_swept(uint32_t ifindex, void *arg)
{
	assert_null(link_table_find(links, ifindex));
	swept = ifindex;
	n_swept++;
}

static void test_a_sync_sweeps_what_it_did_not_see(void **state)
{
	struct rt_link a = link_of(1, "a"), b = link_of(2, "b");

	n_swept = 0;
	link_table_apply(links, &a);
	link_table_apply(links, &b);
	link_table_begin_sync(links);
	link_table_apply(links, &b);
	link_table_end_sync(links, count_swept, NULL);
	assert_int_equal(n_swept, 1);
	assert_int_equal(swept, 1);
	assert_non_null(link_table_find(links, 2));
}

#define link_test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		link_test(test_a_message_tells_what_became_different),
		link_test(test_links_of_one_chain_are_told_apart),
		link_test(test_a_port_is_known_before_and_after_its_link),
		link_test(test_a_sync_sweeps_what_it_did_not_see),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
