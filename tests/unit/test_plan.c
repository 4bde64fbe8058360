/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The shape of plans: workers, lanes, frames (design.md §4.1). CPUs and nodes are in
 * test_plan_cpu.c, refusals in test_plan_check.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/sluice_abi.h"
#include "kern/umem.h"
#include "tests/unit/plan_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

/* --- What must hold of every plan ------------------------------------------------------------ */

static unsigned count_lanes(const struct plan_worker *w, uint32_t port)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < w->n_lanes; i++)
		n += w->lanes[i].port == port;
	return n;
}

/* Which of the worker's lanes of its port is this? */
static unsigned place_of(const struct plan_worker *w, uint32_t lane)
{
	unsigned place = 0;

	for (uint32_t i = 0; i < lane; i++)
		place += w->lanes[i].port == w->lanes[lane].port;
	return place;
}

static void check_lane(const struct plan *plan, const struct plan_worker *w, uint32_t lane)
{
	const struct plan_lane *l = &w->lanes[lane];
	const struct plan_port *p = &plan->ports[l->port];
	unsigned n_out = count_lanes(w, p->peer);

	assert_int_equal(p->group, w->group);
	assert_int_equal(p->queue_worker[l->queue], w->index);
	assert_in_range(l->tag, 0, UMEM_MAX_LANES - 1);
	for (uint32_t other = 0; other < lane; other++)
		assert_int_not_equal(w->lanes[other].tag, l->tag);
	if (n_out == 0) {
		assert_int_equal(l->out_lane, PLAN_NONE);
		return;
	}
	assert_in_range(l->out_lane, 0, w->n_lanes - 1);
	assert_int_equal(w->lanes[l->out_lane].port, p->peer);
	assert_int_equal(place_of(w, l->out_lane), place_of(w, lane) % n_out);
}

static void check_worker(const struct plan *plan, uint32_t worker)
{
	const struct plan_worker *w = &plan->workers[worker];
	uint32_t rings = 0;

	assert_int_equal(w->number, worker);
	assert_true(plan->cpus[w->cpu]);
	for (uint32_t port = 0; port < plan->n_ports; port++) {
		if (plan->ports[port].group == w->group && plan->ports[port].is_present)
			assert_in_range(count_lanes(w, port), 1, CONF_MAX_QUEUES);
	}
	for (uint32_t lane = 0; lane < w->n_lanes; lane++) {
		check_lane(plan, w, lane);
		rings += w->fill_size + w->tx_size;
	}
	assert_int_equal(round_down_pow2(w->fill_size), w->fill_size);
	assert_int_equal(w->rx_size, w->fill_size);
	assert_int_equal(w->completion_size, w->tx_size);
	assert_in_range(rings + 128, 0, w->n_frames);
}

/* Every lane is in exactly one worker, and the program's table says which. */
static void check_plan(const struct plan *plan)
{
	unsigned n_owned = 0, n_lanes = 0;
	uint64_t bytes = 0;

	for (uint32_t port = 0; port < plan->n_ports; port++) {
		const struct plan_port *p = &plan->ports[port];

		for (unsigned queue = 0; queue < CONF_MAX_QUEUES; queue++) {
			n_owned += p->queue_worker[queue] != SLUICE_NO_WORKER;
			if (p->queue_worker[queue] != SLUICE_NO_WORKER) {
				assert_in_range(queue, 0, p->n_queues - 1);
				assert_in_range(p->queue_worker[queue], 0, p->n_workers - 1);
			}
		}
	}
	for (uint32_t worker = 0; worker < plan->n_workers; worker++) {
		check_worker(plan, worker);
		n_lanes += plan->workers[worker].n_lanes;
		bytes += (uint64_t)plan->workers[worker].n_frames * plan->frame_size_bytes;
	}
	assert_int_equal(n_owned, n_lanes);
	assert_int_equal(plan->umem_bytes, bytes);
}

static void make(struct world *world)
{
	world_plan_ok(world, NULL);
	check_plan(world->plan);
}

/* --- Workers and lanes ----------------------------------------------------------------------- */

static void test_workers_are_the_smallest_queue_count_or_the_cpus_less_one(void **state)
{
	static const struct {
		unsigned wan, lan, n_cpus, n_workers;
	} rows[] = {
		{1, 1, 8, 1}, {2, 2, 8, 2}, {4, 4, 8, 4},   {4, 1, 8, 1},   {3, 4, 8, 3},
		{4, 4, 1, 1}, {4, 4, 2, 1}, {4, 4, 3, 2},   {8, 8, 8, 7},   {5, 2, 8, 2},
		{7, 3, 3, 2}, {1, 9, 2, 1}, {64, 64, 5, 4}, {63, 63, 2, 1},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;

		world_init(&world);
		world_set_link(&world, WAN, rows[i].wan);
		world_set_link(&world, LAN, rows[i].lan);
		for (unsigned cpu = 0; cpu < 8; cpu++)
			world.topo.cpus[cpu].is_allowed = cpu < rows[i].n_cpus;
		make(&world);
		assert_int_equal(world.plan->n_workers, rows[i].n_workers);
		assert_int_equal(world.plan->ports[WAN].n_workers, rows[i].n_workers);
		world_fini(&world);
	}
}

static void test_worker_w_owns_queue_q_where_q_mod_W_is_w(void **state)
{
	struct world world;

	world_init(&world);
	world_set_link(&world, WAN, 5);
	world_set_link(&world, LAN, 3);
	make(&world);
	assert_int_equal(world.plan->n_workers, 3);
	for (unsigned queue = 0; queue < 5; queue++)
		assert_int_equal(world.plan->ports[WAN].queue_worker[queue], queue % 3);
	assert_int_equal(world.plan->ports[WAN].queue_worker[5], SLUICE_NO_WORKER);
	assert_int_equal(world.plan->ports[LAN].queue_worker[3], SLUICE_NO_WORKER);
	assert_int_equal(world.plan->ports[WAN].n_queues, 5);
	world_fini(&world);
}

/* wan has 6 queues, lan 2, two workers: wan's 0 2 4 and 1 3 5 leave by the one lane of each. */
static void test_the_out_lane_is_queue_div_W_mod_n(void **state)
{
	struct world world;
	const struct plan_worker *w;

	world_init(&world);
	world_set_link(&world, WAN, 8);
	world_set_link(&world, LAN, 4);
	world.conf.daemon.workers = 2;
	make(&world);
	w = &world.plan->workers[1];
	assert_int_equal(w->n_lanes, 6);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(w->lanes[i].port, WAN);
		assert_int_equal(w->lanes[i].queue, 1 + 2 * i);
		assert_int_equal(w->lanes[w->lanes[i].out_lane].queue, 1 + 2 * (i % 2));
	}
	assert_int_equal(w->lanes[w->lanes[4].out_lane].queue, 1);
	assert_int_equal(w->lanes[w->lanes[5].out_lane].queue, 3);
	world_fini(&world);
}

/* 0 and 2 are both even: by their own numbers one of two workers would get none of them. */
static void test_listed_queues_are_shared_out_by_their_place(void **state)
{
	struct world world;

	world_init(&world);
	world.ports[WAN].queues = world_set((int[]){0, 2, -1});
	make(&world);
	assert_int_equal(world.plan->n_workers, 2);
	assert_int_equal(world.plan->ports[WAN].queue_worker[0], 0);
	assert_int_equal(world.plan->ports[WAN].queue_worker[1], SLUICE_NO_WORKER);
	assert_int_equal(world.plan->ports[WAN].queue_worker[2], 1);
	assert_int_equal(world.plan->ports[WAN].n_queues, 4);
	world_fini(&world);
}

static void test_a_port_that_limits_its_group_is_named(void **state)
{
	struct world world;

	world_init(&world);
	world_set_link(&world, LAN, 2);
	make(&world);
	world_expect_note(
		&world, PLAN_INFO,
		"port lan: its 2 queues limit the group to 2 workers; its peer has 4 queues");
	world_fini(&world);
}

static void test_few_cpus_are_named_as_the_limit(void **state)
{
	struct world world;

	world_init(&world);
	for (unsigned cpu = 2; cpu < 8; cpu++)
		world.topo.cpus[cpu].is_allowed = false;
	make(&world);
	world_expect_note(&world, PLAN_INFO,
			  "port wan: 4 queues, but 1 CPU for workers: 1 worker in its group");
	world_fini(&world);
}

static void test_a_pass_port_has_neither_group_nor_worker(void **state)
{
	struct world world;

	world_init(&world);
	world.ports[WAN].forward = world.ports[LAN].forward = CONF_FORWARD_PASS;
	make(&world);
	assert_int_equal(world.plan->n_workers, 0);
	assert_int_equal(world.plan->n_groups, 0);
	assert_int_equal(world.plan->umem_bytes, 0);
	assert_int_equal(world.plan->ports[WAN].group, PLAN_NONE);
	assert_int_equal(world.plan->ports[WAN].n_queues, 4);
	assert_int_equal(world.plan->ports[WAN].queue_worker[0], SLUICE_NO_WORKER);
	world_fini(&world);
}

/* --- Missing interfaces ---------------------------------------------------------------------- */

static void test_a_missing_interface_leaves_the_workers_of_its_group_as_they_are(void **state)
{
	struct world whole, half;

	world_init(&whole);
	make(&whole);
	world_init(&half);
	world_remove_link(&half, LAN);
	make(&half);
	world_expect_note(&half, PLAN_WARNING,
			  "port lan: there is no interface eth1; the port starts when it appears");
	assert_false(half.plan->ports[LAN].is_present);
	assert_int_equal(half.plan->ports[LAN].n_queues, 0);
	assert_int_equal(half.plan->n_workers, whole.plan->n_workers);
	for (uint32_t i = 0; i < half.plan->n_workers; i++) {
		const struct plan_worker *w = &half.plan->workers[i], *v = &whole.plan->workers[i];

		assert_int_equal(w->n_frames, v->n_frames);
		assert_int_equal(w->cpu, v->cpu);
		assert_int_equal(w->n_lanes, 1);
		assert_int_equal(w->lanes[0].tag, v->lanes[0].tag);
		assert_int_equal(w->lanes[0].out_lane, PLAN_NONE);
	}
	world_fini(&half);
	world_fini(&whole);
}

static void test_a_missing_port_with_a_list_counts_as_its_list(void **state)
{
	struct world world;

	world_init(&world);
	world_remove_link(&world, LAN);
	world.ports[LAN].queues = world_set((int[]){1, 3, -1});
	make(&world);
	assert_int_equal(world.plan->n_workers, 2);
	assert_int_equal(world.plan->workers[0].n_frames, (2 + 1) * 4096 + 128);
	world_fini(&world);
}

static void test_a_group_of_missing_interfaces_has_no_workers(void **state)
{
	struct world world;

	world_init(&world);
	world_remove_link(&world, WAN);
	world_remove_link(&world, LAN);
	make(&world);
	assert_int_equal(world.plan->n_workers, 0);
	assert_int_equal(world.plan->n_groups, 1);
	assert_int_equal(world_count_notes(&world, PLAN_WARNING), 2);
	world_fini(&world);
}

/* --- Frames ---------------------------------------------------------------------------------- */

static void test_frames_are_what_the_rings_hold_and_two_bursts(void **state)
{
	struct world world;

	world_init(&world);
	world_set_link(&world, WAN, 5);
	world_set_link(&world, LAN, 2);
	make(&world);
	/* Worker 0 owns wan 0 2 4 and lan 0; worker 1 wan 1 3 and lan 1. */
	assert_int_equal(world.plan->workers[0].n_frames, 4 * 4096 + 128);
	assert_int_equal(world.plan->workers[1].n_frames, 3 * 4096 + 128);
	assert_int_equal(world.plan->umem_bytes, (7 * 4096 + 256) * 2048);
	assert_int_equal(world.plan->workers[0].fill_size, 2048);
	world_fini(&world);
}

static void test_few_frames_make_small_rings(void **state)
{
	static const struct {
		uint32_t frames, ring_size;
	} rows[] = {
		{384, 64},    {639, 64},    {640, 128},   {4223, 512},
		{4224, 1024}, {8319, 1024}, {8320, 2048}, {100000, 2048},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;

		world_init(&world);
		world_set_link(&world, WAN, 1);
		world_set_link(&world, LAN, 1);
		world.conf.daemon.frames_per_worker = rows[i].frames;
		make(&world);
		assert_int_equal(world.plan->workers[0].n_frames, rows[i].frames);
		assert_int_equal(world.plan->workers[0].fill_size, rows[i].ring_size);
		assert_int_equal(world_count_notes(&world, PLAN_INFO), rows[i].ring_size < 2048);
		world_fini(&world);
	}
}

/* --- The same again -------------------------------------------------------------------------- */

static void test_the_same_input_gives_the_equal_plan(void **state)
{
	struct world world;
	struct plan *first;
	struct plan_notes first_notes;
	_cleanup_free_ char *a = NULL, *b = NULL;

	world_init(&world);
	(void)world_add_pair(&world, "c", "d");
	world_set_link(&world, LAN, 3);
	world.links[WAN].numa_node = 1;
	make(&world);
	first = TAKE_PTR(world.plan);
	first_notes = world.notes;
	world.notes = (struct plan_notes){0};
	make(&world);
	a = world_text(first, &first_notes);
	b = world_text(world.plan, &world.notes);
	assert_string_equal(a, b);
	assert_memory_equal(first->ports, world.plan->ports,
			    first->n_ports * sizeof(*first->ports));
	for (uint32_t i = 0; i < first->n_workers; i++) {
		struct plan_worker *v = &first->workers[i], *w = &world.plan->workers[i];

		assert_memory_equal(v->lanes, w->lanes, v->n_lanes * sizeof(*v->lanes));
		assert_memory_equal(v, w, offsetof(struct plan_worker, lanes));
	}
	plan_notes_fini(&first_notes);
	plan_free(first);
	world_fini(&world);
}

/* --- Any world ------------------------------------------------------------------------------- */

/* xorshift64: the same worlds in every run. */
static unsigned draw(uint64_t *seed, unsigned n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (unsigned)(*seed % n);
}

static void draw_port(struct world *world, unsigned port, uint64_t *seed)
{
	unsigned n_queues = 1 + draw(seed, draw(seed, 8) ? 8 : 70);

	world_set_link(world, port, n_queues);
	world->links[port].n_tx_queues += draw(seed, 2);
	world->links[port].numa_node = (int)draw(seed, 4) - 1;
	if (draw(seed, 6) == 0) {
		world->ports[port].queues = (struct conf_set){.bits = {1 + draw(seed, 255)}};
		world->links[port].n_rx_queues = world->links[port].n_tx_queues = 8;
	}
	if (draw(seed, 6) == 0)
		world_remove_link(world, port);
}

static void draw_world(struct world *world, uint64_t *seed)
{
	unsigned n_allowed = 1 + draw(seed, 8);

	world_init(world);
	(void)world_add_pair(world, "c", "d");
	(void)world_add_pair(world, "e", "f");
	world->conf.daemon.workers = draw(seed, 3) ? 0 : 1 + draw(seed, 3);
	world->conf.daemon.frames_per_worker = draw(seed, 2) ? 0 : 400 + draw(seed, 20000);
	for (unsigned cpu = 0; cpu < 8; cpu++)
		world->topo.cpus[cpu] = (struct topo_cpu){.is_allowed = cpu < n_allowed,
							  .is_isolated = draw(seed, 4) == 0,
							  .node = (int)draw(seed, 3) - 1};
	for (unsigned port = 0; port < world->conf.n_ports; port++)
		draw_port(world, port, seed);
}

/* A running daemon meets one world after another; each plan is sound, and stable once made. */
static void test_any_world_gives_a_sound_plan(void **state)
{
	uint64_t seed = 0x5157ce;
	unsigned n_sound = 0;

	for (unsigned i = 0; i < 3000; i++) {
		struct world world, again;
		struct plan_diff diff;

		draw_world(&world, &seed);
		if (world_plan(&world, NULL) == 0) {
			check_plan(world.plan);
			n_sound++;
		}
		again = world;
		again.plan = NULL;
		again.notes = (struct plan_notes){0};
		(void)world_plan(&again, world.plan);
		assert_int_equal(plan_diff(world.plan, again.plan, &diff), 0);
		assert_true(diff.is_empty);
		plan_diff_fini(&diff);
		world_fini(&again);
		world_fini(&world);
	}
	/* Not mostly refusals. */
	assert_in_range(n_sound, 1000, 3000);
}

static void test_the_printed_plan(void **state)
{
	static const char expected[] =
		"plan\n"
		"  ports        2\n"
		"  groups       1\n"
		"  workers      1\n"
		"  cpus         1-7\n"
		"  memory       16.2 MiB\n"
		"\n"
		"worker 0 (group 0, index 0)\n"
		"  cpu          1\n"
		"  node         unknown\n"
		"  frames       8320 of 2048 bytes\n"
		"  memory       16.2 MiB\n"
		"  rings        fill 2048, rx 2048, tx 2048, completion 2048\n"
		"  lane         wan/0 -> lan/0 (tag 0)\n"
		"  lane         lan/0 -> wan/0 (tag 1)\n"
		"\n"
		"port wan\n"
		"  interface    eth0\n"
		"  ifindex      10\n"
		"  driver       nic\n"
		"  link         up, carrier\n"
		"  mtu          1500\n"
		"  node         unknown\n"
		"  has queues   1 rx, 1 tx\n"
		"  forward      xconnect lan\n"
		"  group        0\n"
		"  mode         auto\n"
		"  queues       0\n"
		"  on_failure   pass\n"
		"\n";
	struct world world;
	_cleanup_free_ char *text = NULL;

	world_init(&world);
	world_set_link(&world, WAN, 1);
	world_set_link(&world, LAN, 1);
	world.links[LAN].offload_on[LINK_OFFLOAD_RX_VLAN] = true;
	make(&world);
	text = world_text(world.plan, &world.notes);
	if (strncmp(text, expected, strlen(expected)) != 0)
		assert_string_equal(text, expected);
	assert_non_null(strstr(text, "\nport lan\n"));
	assert_non_null(strstr(text, "\n  turns off    rx-vlan-hw-parse\n"));
	assert_non_null(strstr(text, "\nnotes\n  info         port lan: rx-vlan-hw-parse"));
	world_fini(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_workers_are_the_smallest_queue_count_or_the_cpus_less_one),
		cmocka_unit_test(test_worker_w_owns_queue_q_where_q_mod_W_is_w),
		cmocka_unit_test(test_the_out_lane_is_queue_div_W_mod_n),
		cmocka_unit_test(test_listed_queues_are_shared_out_by_their_place),
		cmocka_unit_test(test_a_port_that_limits_its_group_is_named),
		cmocka_unit_test(test_few_cpus_are_named_as_the_limit),
		cmocka_unit_test(test_a_pass_port_has_neither_group_nor_worker),
		cmocka_unit_test(
			test_a_missing_interface_leaves_the_workers_of_its_group_as_they_are),
		cmocka_unit_test(test_a_missing_port_with_a_list_counts_as_its_list),
		cmocka_unit_test(test_a_group_of_missing_interfaces_has_no_workers),
		cmocka_unit_test(test_frames_are_what_the_rings_hold_and_two_bursts),
		cmocka_unit_test(test_few_frames_make_small_rings),
		cmocka_unit_test(test_the_same_input_gives_the_equal_plan),
		cmocka_unit_test(test_any_world_gives_a_sound_plan),
		cmocka_unit_test(test_the_printed_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
