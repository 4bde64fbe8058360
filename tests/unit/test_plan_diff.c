/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The difference of two plans: what a change of the file or of an interface rebuilds, and above
 * all what it leaves alone. Two groups, wan–lan (0, 1) and c–d (2, 3); each row changes one thing.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/plan_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

enum { C = 2, D = 3, N_PORTS = 4 };

static void change_nothing(struct world *w)
{
}

static void change_drain_timeout(struct world *w)
{
	w->conf.daemon.drain_timeout_ns = 1;
}

static void change_link_state(struct world *w)
{
	w->links[WAN].is_up = w->links[WAN].has_carrier = false;
	w->links[WAN].xdp_prog_id = 7;
	w->links[WAN].tx_dropped = 99;
}

static void change_on_failure(struct world *w)
{
	w->ports[WAN].on_failure = CONF_FAIL_DROP;
}

static void change_stall_timeout(struct world *w)
{
	w->ports[WAN].stall_timeout_ns *= 2;
}

static void change_pass_control(struct world *w)
{
	w->ports[WAN].pass_control = true;
}

static void change_mode(struct world *w)
{
	w->ports[WAN].mode = CONF_MODE_COPY;
}

static void change_offloads(struct world *w)
{
	w->ports[WAN].offloads = CONF_OFFLOADS_CHECK;
}

static void change_busy_poll(struct world *w)
{
	w->ports[WAN].busy_poll_us = 20;
}

static void change_interface(struct world *w)
{
	memcpy(w->ports[WAN].interface, "eth9", 5);
	world_set_link(w, WAN, 4);
	w->links[WAN].ifindex = 19;
}

static void change_ifindex(struct world *w)
{
	w->links[WAN].ifindex = 77;
}

static void change_take_host_traffic(struct world *w)
{
	w->ports[WAN].take_host_traffic = true;
}

static void change_mtu(struct world *w)
{
	w->links[WAN].mtu = 1400;
}

static void change_address(struct world *w)
{
	w->links[WAN].address[5] = 1;
}

static void change_offload_on(struct world *w)
{
	w->links[WAN].offload_on[LINK_OFFLOAD_RX_VLAN] = true;
}

static void change_queue_count(struct world *w)
{
	world_set_link(w, WAN, 2);
}

static void change_queue_list(struct world *w)
{
	w->ports[WAN].queues = world_set((int[]){0, 1, 2, -1});
}

/* As many queues as before, but others: the numbers of workers, lanes and frames stay. */
static void change_to_other_queues(struct world *w)
{
	w->ports[WAN].queues = world_set((int[]){0, 1, 2, 4, -1});
	world_set_link(w, WAN, 5);
}

/* Still four workers, and the peer's sockets are as they were: but the memory is another. */
static void change_to_more_queues(struct world *w)
{
	world_set_link(w, WAN, 5);
}

static void change_workers(struct world *w)
{
	w->conf.daemon.workers = 2;
}

static void change_cpus(struct world *w)
{
	w->conf.daemon.cpus = world_set((int[]){5, 6, 7, -1});
	w->conf.daemon.workers = 4;
}

static void change_frames(struct world *w)
{
	w->conf.daemon.frames_per_worker = 1024;
}

static void change_frame_size(struct world *w)
{
	w->conf.daemon.frame_size_bytes = 4096;
}

static void change_huge_pages(struct world *w)
{
	w->conf.daemon.huge_pages = CONF_HUGE_ON;
}

static void change_node(struct world *w)
{
	w->links[WAN].numa_node = 0;
}

#define KKKK                                               \
	{                                                  \
		PLAN_KEEP, PLAN_KEEP, PLAN_KEEP, PLAN_KEEP \
	}
#define RKKK                                                  \
	{                                                     \
		PLAN_REBUILD, PLAN_KEEP, PLAN_KEEP, PLAN_KEEP \
	}
#define LKKK                                               \
	{                                                  \
		PLAN_LIVE, PLAN_KEEP, PLAN_KEEP, PLAN_KEEP \
	}
#define RRKK                                                     \
	{                                                        \
		PLAN_REBUILD, PLAN_REBUILD, PLAN_KEEP, PLAN_KEEP \
	}
#define RRRR                                                           \
	{                                                              \
		PLAN_REBUILD, PLAN_REBUILD, PLAN_REBUILD, PLAN_REBUILD \
	}

static const struct {
	const char *name;
	void (*change)(struct world *world);
	enum plan_action ports[N_PORTS];
	bool groups_go_on[2];
} rows[] = {
	{"nothing", change_nothing, KKKK, {true, true}},
	{"drain_timeout", change_drain_timeout, KKKK, {true, true}},
	{"link state", change_link_state, KKKK, {true, true}},
	{"on_failure", change_on_failure, RKKK, {true, true}},
	{"stall_timeout", change_stall_timeout, RKKK, {true, true}},
	{"pass_control", change_pass_control, RKKK, {true, true}},
	{"mode", change_mode, RKKK, {true, true}},
	{"offloads", change_offloads, RKKK, {true, true}},
	{"busy_poll", change_busy_poll, RKKK, {true, true}},
	{"interface", change_interface, RKKK, {true, true}},
	{"interface made anew", change_ifindex, RKKK, {true, true}},
	{"take_host_traffic", change_take_host_traffic, LKKK, {true, true}},
	{"MTU", change_mtu, LKKK, {true, true}},
	{"address", change_address, LKKK, {true, true}},
	{"offload turned on", change_offload_on, LKKK, {true, true}},
	{"queue count", change_queue_count, RRKK, {false, true}},
	{"queue list", change_queue_list, RRKK, {false, true}},
	{"workers", change_workers, RRRR, {false, false}},
	{"cpus", change_cpus, RRRR, {false, false}},
	{"frames_per_worker", change_frames, RRRR, {false, false}},
	{"frame_size", change_frame_size, RRRR, {false, false}},
	{"huge_pages", change_huge_pages, RRRR, {false, false}},
	{"node", change_node, RRKK, {false, true}},
};

static void start(struct world *world)
{
	world_init(world);
	(void)world_add_pair(world, "c", "d");
	/* A CPU for each, so that no change of one group is one of the other's CPUs. */
	for (unsigned cpu = 0; cpu < 16; cpu++)
		world->topo.cpus[cpu].is_allowed = true;
	world->topo.n_cpus = 16;
}

static void expect_workers(const struct plan *new, const struct plan_diff *diff, bool go_on,
			   uint32_t group)
{
	for (uint32_t i = 0; i < new->n_workers; i++) {
		if (new->workers[i].group != group)
			continue;
		assert_int_equal(diff->rebuild_worker[i], !go_on);
		assert_int_equal(diff->old_worker_of[i] != PLAN_NONE, go_on);
		if (go_on)
			assert_true(diff->keep_old_worker[diff->old_worker_of[i]]);
	}
}

static void test_a_change_rebuilds_what_it_concerns_and_no_more(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		bool is_nothing = true;
		struct world old, new;
		struct plan_diff diff;

		print_message("%s\n", rows[i].name);
		start(&old);
		world_plan_ok(&old, NULL);
		start(&new);
		rows[i].change(&new);
		world_plan_ok(&new, old.plan);
		assert_int_equal(plan_diff(old.plan, new.plan, &diff), 0);
		for (unsigned port = 0; port < N_PORTS; port++) {
			assert_string_equal(plan_action_names[diff.new_ports[port]],
					    plan_action_names[rows[i].ports[port]]);
			assert_int_equal(diff.old_ports[port], rows[i].ports[port]);
			assert_int_equal(diff.old_of[port], port);
			is_nothing &= rows[i].ports[port] == PLAN_KEEP;
		}
		expect_workers(new.plan, &diff, rows[i].groups_go_on[0], 0);
		expect_workers(new.plan, &diff, rows[i].groups_go_on[1], 1);
		assert_int_equal(diff.is_empty, is_nothing);
		plan_diff_fini(&diff);
		world_fini(&new);
		world_fini(&old);
	}
}

/* One lane more for worker 0 is memory more: it alone is replaced, with the sockets on it. */
static void test_another_queue_replaces_the_worker_that_gets_it(void **state)
{
	struct world old, new;
	struct plan_diff diff;

	start(&old);
	world_plan_ok(&old, NULL);
	start(&new);
	change_to_more_queues(&new);
	world_plan_ok(&new, old.plan);
	assert_int_equal(plan_diff(old.plan, new.plan, &diff), 0);
	assert_true(diff.rebuild_worker[0]);
	assert_false(diff.keep_old_worker[0]);
	for (unsigned i = 1; i < new.plan->n_workers; i++)
		assert_int_equal(diff.old_worker_of[i], i);
	assert_int_equal(diff.new_ports[WAN], PLAN_REBUILD);
	assert_int_equal(diff.new_ports[LAN], PLAN_REBUILD);
	assert_int_equal(diff.new_ports[C], PLAN_KEEP);
	plan_diff_fini(&diff);
	world_fini(&new);
	world_fini(&old);
}

static void test_a_queue_exchanged_for_another_replaces_its_worker(void **state)
{
	struct world old, new;
	struct plan_diff diff;

	start(&old);
	world_set_link(&old, WAN, 5);
	old.ports[WAN].queues = world_set((int[]){0, 1, 2, 3, -1});
	world_plan_ok(&old, NULL);
	start(&new);
	change_to_other_queues(&new);
	world_plan_ok(&new, old.plan);
	assert_int_equal(plan_diff(old.plan, new.plan, &diff), 0);
	for (unsigned i = 0; i < new.plan->n_workers; i++)
		assert_int_equal(diff.rebuild_worker[i], i == 3);
	assert_int_equal(diff.new_ports[WAN], PLAN_REBUILD);
	assert_int_equal(diff.new_ports[LAN], PLAN_REBUILD);
	assert_int_equal(diff.new_ports[C], PLAN_KEEP);
	plan_diff_fini(&diff);
	world_fini(&new);
	world_fini(&old);
}

static void go_and_come_back(int wan_node, int lan_node)
{
	struct world with, without;
	struct plan_diff diff;

	start(&with);
	with.links[WAN].numa_node = wan_node;
	with.links[LAN].numa_node = lan_node;
	world_plan_ok(&with, NULL);
	start(&without);
	without.links[WAN].numa_node = wan_node;
	world_remove_link(&without, LAN);
	world_plan_ok(&without, with.plan);

	assert_int_equal(plan_diff(with.plan, without.plan, &diff), 0);
	assert_int_equal(diff.old_ports[LAN], PLAN_REMOVE);
	assert_int_equal(diff.new_ports[LAN], PLAN_KEEP);
	assert_int_equal(diff.new_ports[WAN], PLAN_LIVE); /* its frames now go nowhere */
	assert_int_equal(diff.new_ports[C], PLAN_KEEP);
	expect_workers(without.plan, &diff, true, 0);
	expect_workers(without.plan, &diff, true, 1);
	assert_false(diff.is_empty);
	plan_diff_fini(&diff);

	assert_int_equal(plan_diff(without.plan, with.plan, &diff), 0);
	assert_int_equal(diff.old_ports[LAN], PLAN_KEEP);
	assert_int_equal(diff.new_ports[LAN], PLAN_ADD);
	assert_int_equal(diff.new_ports[WAN], PLAN_LIVE);
	expect_workers(with.plan, &diff, true, 0);
	expect_workers(with.plan, &diff, true, 1);
	plan_diff_fini(&diff);

	assert_int_equal(plan_diff(without.plan, without.plan, &diff), 0);
	assert_true(diff.is_empty);
	plan_diff_fini(&diff);
	world_fini(&without);
	world_fini(&with);
}

static void test_an_interface_goes_and_comes_back(void **state)
{
	go_and_come_back(-1, -1);
	/* A wire between nodes: the workers stay where they were. */
	go_and_come_back(0, 1);
	go_and_come_back(1, 1);
}

/* Both ends of a veth pair go at once: the group has no workers, the other notices nothing. */
static void test_a_whole_group_goes_and_comes_back(void **state)
{
	struct world with, without;
	struct plan_diff diff;

	start(&with);
	world_plan_ok(&with, NULL);
	start(&without);
	world_remove_link(&without, WAN);
	world_remove_link(&without, LAN);
	world_plan_ok(&without, with.plan);
	assert_int_equal(plan_diff(with.plan, without.plan, &diff), 0);
	assert_int_equal(diff.old_ports[WAN], PLAN_REMOVE);
	assert_int_equal(diff.old_ports[C], PLAN_KEEP);
	for (unsigned i = 0; i < 4; i++) {
		assert_false(diff.keep_old_worker[i]);
		assert_int_equal(diff.old_worker_of[i], 4 + i);
	}
	plan_diff_fini(&diff);

	world_fini(&with);
	world_plan_ok(&with, without.plan);
	assert_int_equal(plan_diff(without.plan, with.plan, &diff), 0);
	assert_int_equal(diff.new_ports[WAN], PLAN_ADD);
	assert_int_equal(diff.new_ports[D], PLAN_KEEP);
	expect_workers(with.plan, &diff, false, 0);
	expect_workers(with.plan, &diff, true, 1);
	plan_diff_fini(&diff);
	world_fini(&without);
	world_fini(&with);
}

/* The file loses its first two sections: c and d move up, and go on. */
static void test_a_group_removed_before_another_leaves_it_alone(void **state)
{
	struct world both, one;
	struct plan_diff diff;

	start(&both);
	world_plan_ok(&both, NULL);
	start(&one);
	for (unsigned i = 0; i < 2; i++) {
		one.ports[i] = one.ports[2 + i];
		one.links[i] = one.links[2 + i];
	}
	one.conf.n_ports = 2;
	world_plan_ok(&one, both.plan);
	assert_int_equal(plan_diff(both.plan, one.plan, &diff), 0);
	assert_int_equal(diff.old_ports[WAN], PLAN_REMOVE);
	assert_int_equal(diff.old_ports[LAN], PLAN_REMOVE);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(diff.new_ports[i], PLAN_KEEP);
		assert_int_equal(diff.old_ports[2 + i], PLAN_KEEP);
		assert_int_equal(diff.old_of[i], 2 + i);
	}
	expect_workers(one.plan, &diff, true, 0);
	assert_int_equal(diff.old_worker_of[0], 4);
	assert_false(diff.is_empty);
	plan_diff_fini(&diff);
	/* And back: added before it. */
	assert_int_equal(plan_diff(one.plan, both.plan, &diff), 0);
	assert_int_equal(diff.new_ports[WAN], PLAN_ADD);
	assert_int_equal(diff.new_ports[C], PLAN_KEEP);
	expect_workers(both.plan, &diff, false, 0);
	expect_workers(both.plan, &diff, true, 1);
	plan_diff_fini(&diff);
	world_fini(&one);
	world_fini(&both);
}

static void test_ports_that_change_partners_are_rebuilt(void **state)
{
	static const char *const peers[N_PORTS] = {"c", "d", "wan", "lan"};
	struct world old, new;
	struct plan_diff diff;

	start(&old);
	world_plan_ok(&old, NULL);
	start(&new);
	for (unsigned port = 0; port < N_PORTS; port++)
		(void)snprintf(new.ports[port].peer, CONF_NAME_BYTES, "%s", peers[port]);
	world_plan_ok(&new, old.plan);
	assert_int_equal(plan_diff(old.plan, new.plan, &diff), 0);
	for (unsigned port = 0; port < N_PORTS; port++)
		assert_int_equal(diff.new_ports[port], PLAN_REBUILD);
	for (unsigned i = 0; i < old.plan->n_workers; i++)
		assert_false(diff.keep_old_worker[i]);
	plan_diff_fini(&diff);
	world_fini(&new);
	world_fini(&old);
}

static void test_from_nothing_all_is_added(void **state)
{
	struct world world, nothing;
	struct plan_diff diff;

	start(&world);
	world_plan_ok(&world, NULL);
	world_init(&nothing);
	nothing.conf.n_ports = 0;
	world_plan_ok(&nothing, NULL);
	assert_int_equal(plan_diff(nothing.plan, world.plan, &diff), 0);
	for (unsigned port = 0; port < N_PORTS; port++)
		assert_int_equal(diff.new_ports[port], PLAN_ADD);
	expect_workers(world.plan, &diff, false, 0);
	plan_diff_fini(&diff);
	assert_int_equal(plan_diff(world.plan, nothing.plan, &diff), 0);
	assert_int_equal(diff.old_ports[D], PLAN_REMOVE);
	assert_false(diff.keep_old_worker[7]);
	plan_diff_fini(&diff);
	world_fini(&nothing);
	world_fini(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_change_rebuilds_what_it_concerns_and_no_more),
		cmocka_unit_test(test_another_queue_replaces_the_worker_that_gets_it),
		cmocka_unit_test(test_a_queue_exchanged_for_another_replaces_its_worker),
		cmocka_unit_test(test_an_interface_goes_and_comes_back),
		cmocka_unit_test(test_a_whole_group_goes_and_comes_back),
		cmocka_unit_test(test_a_group_removed_before_another_leaves_it_alone),
		cmocka_unit_test(test_ports_that_change_partners_are_rebuilt),
		cmocka_unit_test(test_from_nothing_all_is_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
