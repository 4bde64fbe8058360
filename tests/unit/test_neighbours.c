/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Neighbours: which have an adjacency, that it is found, and what nexthops.c (a fake) is told. */
#include <linux/neighbour.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control/tables_internal.h"
#include "unit.h"

static unsigned n_told;
static struct adjacency *last_told;

void nexthops_neighbour_changed(struct nexthops *nexthops, uint32_t ifindex, bool is_ip6,
				const struct ip6_addr *addr, struct adjacency *adjacency)
{
	n_told++;
	last_told = adjacency;
}

static struct route_view view;
static struct limbo *limbo;
static struct link_table *links;
static struct neighbours *neighbours;

#define PORT_IFINDEX  4
#define OTHER_IFINDEX 5

static void put_link(uint32_t ifindex, uint8_t mac_end)
{
	struct rt_link link = {
		.ifindex = ifindex,
		.mtu = 1500,
		.is_up = true,
		.has_carrier = true,
		.has_mac = true,
		.mac = {2, 0, 0, 0, 0, mac_end},
	};

	assert_true(link_table_apply(links, &link) >= 0);
}

static int set_up(void **state)
{
	const struct tables_port ports[2] = {{0}, {.is_route = true, .ifindex = PORT_IFINDEX}};

	n_told = 0;
	last_told = NULL;
	if (limbo_new(&limbo) < 0 || link_table_new(&links) < 0 ||
	    neighbours_new(&view, links, NULL, limbo, &neighbours) < 0)
		return -1;
	link_table_set_ports(links, ports, 2);
	put_link(PORT_IFINDEX, 0xaa);
	put_link(OTHER_IFINDEX, 0xbb);
	return 0;
}

static int tear_down(void **state)
{
	neighbours_free(neighbours);
	link_table_free(links);
	limbo_free(limbo);
	return 0;
}

static struct rt_neighbour neighbour_of(uint32_t number, uint16_t state, uint8_t mac_end)
{
	struct rt_neighbour neighbour = {
		.ifindex = PORT_IFINDEX,
		.state = state,
		.has_mac = true,
		.mac = {6, 0, 0, 0, 0, mac_end},
	};

	memcpy(neighbour.addr.octet, &number, sizeof(number));
	return neighbour;
}

static struct adjacency *find(const struct rt_neighbour *neighbour)
{
	return adjacency_find(atomic_load(&view.adjacencies), neighbour->ifindex, neighbour->is_ip6,
			      &neighbour->addr);
}

static void test_a_resolved_neighbour_has_both_addresses_of_its_port(void **state)
{
	struct rt_neighbour neighbour = neighbour_of(1, NUD_REACHABLE, 0x11);
	const uint8_t header[12] = {6, 0, 0, 0, 0, 0x11, 2, 0, 0, 0, 0, 0xaa};
	struct adjacency *adjacency;

	neighbours_apply(neighbours, &neighbour, false);
	adjacency = find(&neighbour);
	assert_non_null(adjacency);
	assert_ptr_equal(adjacency, last_told);
	assert_memory_equal(adjacency->header, header, sizeof(header));
	assert_int_equal(adjacency->out_port, 1);
}

static void test_each_state_is_usable_or_not_as_the_kernel_has_it(void **state)
{
	static const struct {
		uint16_t state;
		bool is_usable;
	} cases[] = {
		{NUD_INCOMPLETE, false}, {NUD_REACHABLE, true}, {NUD_STALE, true},
		{NUD_DELAY, true},       {NUD_PROBE, true},     {NUD_FAILED, false},
		{NUD_NOARP, true},       {NUD_PERMANENT, true}, {NUD_NONE, false},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rt_neighbour neighbour = neighbour_of(1, cases[i].state, 0x11);

		neighbours_apply(neighbours, &neighbour, false);
		assert_int_equal(find(&neighbour) != NULL, cases[i].is_usable);
	}
}

static void test_only_neighbours_of_route_ports_with_a_mac_count(void **state)
{
	struct rt_neighbour other = neighbour_of(1, NUD_REACHABLE, 0x11);
	struct rt_neighbour nameless = neighbour_of(2, NUD_REACHABLE, 0x11);
	struct rt_neighbour proxy = neighbour_of(3, NUD_PERMANENT, 0x11);
	uint64_t n[2];

	other.ifindex = OTHER_IFINDEX;
	nameless.has_mac = false;
	proxy.flags = NTF_PROXY;
	neighbours_apply(neighbours, &other, false);
	neighbours_apply(neighbours, &nameless, false);
	neighbours_apply(neighbours, &proxy, false);
	assert_null(find(&other));
	assert_null(find(&nameless));
	assert_null(find(&proxy));
	neighbours_count(neighbours, n);
	assert_int_equal(n[0] + n[1], 0);
	assert_int_equal(n_told, 0);
}

static void test_a_new_mac_is_a_new_object_and_the_old_waits(void **state)
{
	struct rt_neighbour neighbour = neighbour_of(1, NUD_REACHABLE, 0x11);
	struct adjacency *old;

	neighbours_apply(neighbours, &neighbour, false);
	old = find(&neighbour);
	/* Another state is no news to workers. */
	neighbour.state = NUD_STALE;
	neighbours_apply(neighbours, &neighbour, false);
	assert_ptr_equal(find(&neighbour), old);
	assert_int_equal(n_told, 1);
	neighbour.mac[5] = 0x22;
	neighbours_apply(neighbours, &neighbour, false);
	assert_ptr_not_equal(find(&neighbour), old);
	assert_int_equal(old->header[5], 0x11);
	assert_int_equal(find(&neighbour)->header[5], 0x22);
	assert_int_equal(limbo_bytes(limbo), sizeof(struct adjacency));
}

static void test_failing_deletion_and_a_port_that_is_no_longer_one_take_it_out(void **state)
{
	struct rt_neighbour neighbour = neighbour_of(1, NUD_REACHABLE, 0x11);

	neighbours_apply(neighbours, &neighbour, false);
	neighbour.state = NUD_FAILED;
	neighbours_apply(neighbours, &neighbour, false);
	assert_null(find(&neighbour));
	assert_null(last_told);
	neighbour.state = NUD_REACHABLE;
	neighbours_apply(neighbours, &neighbour, false);
	assert_non_null(last_told);
	neighbours_apply(neighbours, &neighbour, true);
	assert_null(last_told);
	neighbours_apply(neighbours, &neighbour, false);
	link_table_set_ports(links, NULL, 0);
	neighbours_link_changed(neighbours, 0);
	assert_null(find(&neighbour));
	assert_null(last_told);
}

static void test_the_ports_own_new_mac_makes_its_adjacencies_anew(void **state)
{
	struct rt_neighbour neighbour = neighbour_of(1, NUD_REACHABLE, 0x11);

	neighbours_apply(neighbours, &neighbour, false);
	put_link(PORT_IFINDEX, 0xcc);
	neighbours_link_changed(neighbours, PORT_IFINDEX);
	assert_int_equal(find(&neighbour)->header[11], 0xcc);
}

static void test_many_come_and_go_and_each_is_found(void **state)
{
	const uint32_t n = 3000;
	uint64_t count[2];
	size_t n_tables_bytes = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct rt_neighbour neighbour = neighbour_of(i, NUD_STALE, (uint8_t)i);

		neighbours_apply(neighbours, &neighbour, false);
	}
	/* Nothing but tables that became too small: each waits for the workers. */
	for (uint32_t cells = (atomic_load(&view.adjacencies)->mask + 1) / 2; cells >= 64;
	     cells /= 2)
		n_tables_bytes += sizeof(struct adjacency_table) + cells * sizeof(void *);
	assert_true(limbo_bytes(limbo) > 0 && limbo_bytes(limbo) <= n_tables_bytes);
	/* Every second one goes, many times over: cells of the removed must not fill the table. */
	for (uint32_t round = 0; round < 5; round++) {
		for (uint32_t i = 0; i < n; i += 2) {
			struct rt_neighbour neighbour =
				neighbour_of(i + round * n, NUD_STALE, (uint8_t)i);
			struct rt_neighbour next =
				neighbour_of(i + (round + 1) * n, NUD_STALE, (uint8_t)i);

			neighbours_apply(neighbours, &neighbour, true);
			neighbours_apply(neighbours, &next, false);
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		struct rt_neighbour neighbour =
			neighbour_of(i % 2 ? i : i + 5 * n, NUD_STALE, (uint8_t)i);

		assert_non_null(find(&neighbour));
		assert_int_equal(find(&neighbour)->header[5], (uint8_t)i);
	}
	neighbours_count(neighbours, count);
	assert_int_equal(count[0], n);
	assert_true(atomic_load(&view.adjacencies)->mask + 1 >= 2 * n);
	assert_true(atomic_load(&view.adjacencies)->mask + 1 <= 8 * n);
}

static void test_a_sync_takes_out_what_it_did_not_see(void **state)
{
	struct rt_neighbour a = neighbour_of(1, NUD_STALE, 1), b = neighbour_of(2, NUD_STALE, 2);

	neighbours_apply(neighbours, &a, false);
	neighbours_apply(neighbours, &b, false);
	neighbours_begin_sync(neighbours);
	neighbours_apply(neighbours, &b, false);
	assert_non_null(find(&a));
	neighbours_end_sync(neighbours);
	assert_null(find(&a));
	assert_non_null(find(&b));
}

/* A datagram stands for the kernel; messages in it are counted by their lengths. */
static unsigned n_messages(int fd)
{
	char buffer[65536];
	ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

	return n < 0 ? 0 : (unsigned)n / 40 + (n % 40 != 0);
}

static void test_the_kernel_is_told_of_stale_ones_at_once_and_of_others_in_time(void **state)
{
	struct rt_neighbour stale = neighbour_of(1, NUD_STALE, 1);
	struct rt_neighbour reachable = neighbour_of(2, NUD_REACHABLE, 2);
	struct rt_neighbour probed = neighbour_of(3, NUD_PROBE, 3);
	struct rt_neighbour idle = neighbour_of(4, NUD_STALE, 4);
	const uint64_t start_ns = 100 * NSEC_PER_SEC;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	neighbours_apply(neighbours, &stale, false);
	neighbours_apply(neighbours, &reachable, false);
	neighbours_apply(neighbours, &probed, false);
	neighbours_apply(neighbours, &idle, false);
	find(&stale)->used = find(&reachable)->used = find(&probed)->used = 1;
	assert_int_equal(neighbours_keep_alive(neighbours, fds[0], start_ns), 2);
	assert_true(n_messages(fds[1]) >= 2);
	assert_int_equal(find(&stale)->used + find(&reachable)->used + find(&probed)->used, 0);
	/* Nobody used them since. */
	assert_int_equal(neighbours_keep_alive(neighbours, fds[0], start_ns + NSEC_PER_SEC), 0);
	find(&stale)->used = find(&reachable)->used = 1;
	assert_int_equal(neighbours_keep_alive(neighbours, fds[0], start_ns + NSEC_PER_SEC), 1);
	find(&reachable)->used = 1;
	assert_int_equal(neighbours_keep_alive(neighbours, fds[0], start_ns + 3 * NSEC_PER_SEC), 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

#define neighbour_test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		neighbour_test(test_a_resolved_neighbour_has_both_addresses_of_its_port),
		neighbour_test(test_each_state_is_usable_or_not_as_the_kernel_has_it),
		neighbour_test(test_only_neighbours_of_route_ports_with_a_mac_count),
		neighbour_test(test_a_new_mac_is_a_new_object_and_the_old_waits),
		neighbour_test(test_failing_deletion_and_a_port_that_is_no_longer_one_take_it_out),
		neighbour_test(test_the_ports_own_new_mac_makes_its_adjacencies_anew),
		neighbour_test(test_many_come_and_go_and_each_is_found),
		neighbour_test(test_a_sync_takes_out_what_it_did_not_see),
		neighbour_test(test_the_kernel_is_told_of_stale_ones_at_once_and_of_others_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
