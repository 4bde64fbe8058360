/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where workers run: CPUs allowed, listed, isolated, shared and kept; nodes, and what is said of
 * interrupts (design.md §4.1).
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/plan_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

static void expect_cpus(struct world *world, const int *cpus)
{
	world_plan_ok(world, NULL);
	for (uint32_t i = 0; i < world->plan->n_workers; i++)
		assert_int_equal(world->plan->workers[i].cpu, cpus[i]);
	assert_int_equal(cpus[world->plan->n_workers], -1);
}

static void test_the_lowest_cpu_is_left_to_control(void **state)
{
	struct world world;

	world_init(&world);
	expect_cpus(&world, (int[]){1, 2, 3, 4, -1});
	world.topo.cpus[0].is_allowed = world.topo.cpus[2].is_allowed = false;
	expect_cpus(&world, (int[]){3, 4, 5, 6, -1});
	world_fini(&world);
}

static void test_listed_cpus_are_obeyed(void **state)
{
	struct world world;

	world_init(&world);
	world.conf.daemon.cpus = world_set((int[]){0, 5, 7, -1});
	expect_cpus(&world, (int[]){0, 5, 7, -1});
	world_fini(&world);
}

static void test_isolated_cpus_come_first(void **state)
{
	struct world world;

	world_init(&world);
	world.topo.cpus[4].is_isolated = world.topo.cpus[6].is_isolated = true;
	expect_cpus(&world, (int[]){4, 6, 1, 2, -1});
	world_fini(&world);
}

static void test_cpus_of_the_device_node_come_first(void **state)
{
	struct world world;

	world_init(&world);
	for (unsigned cpu = 0; cpu < 8; cpu++)
		world.topo.cpus[cpu].node = cpu >= 4;
	world.links[WAN].numa_node = world.links[LAN].numa_node = 1;
	world_set_link(&world, WAN, 2);
	world.links[WAN].numa_node = 1;
	expect_cpus(&world, (int[]){4, 5, -1});
	assert_int_equal(world.plan->workers[0].numa_node, 1);
	assert_int_equal(world_count_notes(&world, PLAN_WARNING), 0);
	/* An isolated CPU of the other node is preferred, and said to be remote. */
	world.topo.cpus[2].is_isolated = true;
	expect_cpus(&world, (int[]){2, 4, -1});
	world_expect_note(
		&world, PLAN_WARNING,
		"worker 0: CPU 2 is on node 0, its ports are on node 1: every frame crosses "
		"between them; allow it a CPU of node 1");
	world_fini(&world);
}

/* As in the guest of the lab: nodes of two CPUs, one NIC on each, and a CPU left for control. */
static void test_a_wire_between_nodes_uses_the_cpus_of_both(void **state)
{
	const int nodes[] = {1, 0, 1};
	struct world world;

	world_init(&world);
	for (unsigned cpu = 0; cpu < 8; cpu++)
		world.topo.cpus[cpu] = (struct topo_cpu){.is_allowed = cpu < 4, .node = cpu >= 2};
	world_set_link(&world, WAN, 4);
	world_set_link(&world, LAN, 4);
	world.links[WAN].numa_node = 0;
	world.links[LAN].numa_node = 1;
	world_plan_ok(&world, NULL);
	assert_int_equal(world.plan->n_workers, ARRAY_SIZE(nodes));
	for (unsigned i = 0; i < ARRAY_SIZE(nodes); i++) {
		assert_int_equal(world.plan->workers[i].numa_node, nodes[i]);
		assert_int_equal(world.topo.cpus[world.plan->workers[i].cpu].node, nodes[i]);
	}
	assert_int_equal(world_count_notes(&world, PLAN_WARNING), 0);
	world_fini(&world);
}

static void test_the_node_is_that_of_most_lanes(void **state)
{
	struct world world;

	world_init(&world);
	world_set_link(&world, WAN, 1);
	world_set_link(&world, LAN, 3);
	world.links[WAN].numa_node = 0;
	world.links[LAN].numa_node = 1;
	world_plan_ok(&world, NULL);
	assert_int_equal(world.plan->workers[0].numa_node, 1);
	assert_true(world.plan->workers[0].lanes[0].is_remote);
	assert_false(world.plan->workers[0].lanes[1].is_remote);
	assert_int_equal(world_count_notes(&world, PLAN_INFO), 2);
	assert_string_equal(
		world.notes.notes[1].text,
		"port wan: eth0 is on node 0, its lanes of worker 0 are remote (node 1)");
	/* Of equals the first; a port that does not know its node has no say. */
	world_set_link(&world, LAN, 1);
	world.links[LAN].numa_node = 1;
	world_plan_ok(&world, NULL);
	assert_int_equal(world.plan->workers[0].numa_node, 0);
	world.links[WAN].numa_node = -1;
	world_plan_ok(&world, NULL);
	assert_int_equal(world.plan->workers[0].numa_node, 1);
	world_fini(&world);
}

static void test_more_workers_than_cpus_share_them_evenly(void **state)
{
	struct world world;

	world_init(&world);
	world.conf.daemon.workers = 4;
	world.conf.daemon.cpus = world_set((int[]){1, 2, -1});
	expect_cpus(&world, (int[]){1, 2, 1, 2, -1});
	world_expect_note(
		&world, PLAN_WARNING,
		"4 workers share 2 CPUs and slow each other down: set workers to less, or "
		"allow more CPUs");
	world_fini(&world);
}

static void test_one_cpu_is_shared_with_control(void **state)
{
	struct world world;

	world_init(&world);
	for (unsigned cpu = 0; cpu < 8; cpu++)
		world.topo.cpus[cpu].is_allowed = cpu == 3;
	expect_cpus(&world, (int[]){3, -1});
	world_expect_note(
		&world, PLAN_WARNING,
		"CPU 3 is the only one that this process may use: workers share it with the "
		"control thread");
	world_fini(&world);
}

static void test_interrupts_beside_a_worker_are_named(void **state)
{
	struct world world;

	world_init(&world);
	world_set_link(&world, WAN, 1);
	world_set_link(&world, LAN, 1);
	world.links[WAN].n_irqs = 2;
	world.links[WAN].irqs[0] = (struct link_irq){.irq = 40, .cpu = 0};
	world.links[WAN].irqs[1] = (struct link_irq){.irq = 41, .cpu = 1};
	world_plan_ok(&world, NULL);
	world_expect_note(
		&world, PLAN_INFO,
		"port wan: interrupt 41 of eth0 fires on CPU 1, where a worker runs: move it "
		"(/proc/irq/41/smp_affinity_list)");
	world.links[WAN].irqs[0].cpu = 1;
	world_plan_ok(&world, NULL);
	world_expect_note(&world, PLAN_INFO,
			  "port wan: 2 interrupts of eth0, the first is 40, fire on CPU 1, where a "
			  "worker runs: move them (/proc/irq/40/smp_affinity_list)");
	world_fini(&world);
}

static void test_workers_keep_their_cpus_when_a_group_goes(void **state)
{
	struct world before, after;

	world_init(&before);
	(void)world_add_pair(&before, "c", "d");
	world_plan_ok(&before, NULL);
	assert_int_equal(before.plan->workers[4].cpu, 5);
	/* Both interfaces of the first group are gone, as when a veth pair is deleted. */
	world_init(&after);
	(void)world_add_pair(&after, "c", "d");
	world_remove_link(&after, WAN);
	world_remove_link(&after, LAN);
	world_plan_ok(&after, before.plan);
	assert_int_equal(after.plan->n_workers, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(after.plan->workers[i].cpu, before.plan->workers[4 + i].cpu);
	/* Other CPUs for workers are a wish to move. */
	after.conf.daemon.cpus = world_set((int[]){1, 2, 3, 5, 6, -1});
	world_plan_ok(&after, before.plan);
	assert_int_equal(after.plan->workers[0].cpu, 1);
	world_fini(&after);
	world_fini(&before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_lowest_cpu_is_left_to_control),
		cmocka_unit_test(test_listed_cpus_are_obeyed),
		cmocka_unit_test(test_isolated_cpus_come_first),
		cmocka_unit_test(test_cpus_of_the_device_node_come_first),
		cmocka_unit_test(test_a_wire_between_nodes_uses_the_cpus_of_both),
		cmocka_unit_test(test_the_node_is_that_of_most_lanes),
		cmocka_unit_test(test_more_workers_than_cpus_share_them_evenly),
		cmocka_unit_test(test_one_cpu_is_shared_with_control),
		cmocka_unit_test(test_interrupts_beside_a_worker_are_named),
		cmocka_unit_test(test_workers_keep_their_cpus_when_a_group_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
