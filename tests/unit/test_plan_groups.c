/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plans of routers and bridges: which ports make a group, what their lanes say, what such a port
 * may be, and what a change of membership rebuilds. Four ports: wan, lan, c, d.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/plan_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

enum { C = 2, D = 3, N_PORTS = 4 };

static void set_forward(struct world *w, unsigned port, enum conf_forward forward, const char *name)
{
	struct conf_port *conf = &w->ports[port];

	conf->forward = forward;
	memset(conf->peer, 0, sizeof(conf->peer));
	memcpy(conf->peer, name, strlen(name));
}

/* Sixteen CPUs, so that no group takes another's. */
static void start(struct world *w)
{
	world_init(w);
	(void)world_add_pair(w, "c", "d");
	for (unsigned cpu = 0; cpu < 16; cpu++)
		w->topo.cpus[cpu].is_allowed = true;
	w->topo.n_cpus = 16;
}

static void start_router(struct world *w)
{
	start(w);
	for (unsigned port = 0; port < N_PORTS; port++)
		set_forward(w, port, CONF_FORWARD_ROUTE, "");
}

static void test_all_route_ports_are_one_group(void **state)
{
	struct world w;

	start(&w);
	set_forward(&w, LAN, CONF_FORWARD_ROUTE, "");
	set_forward(&w, D, CONF_FORWARD_ROUTE, "");
	set_forward(&w, WAN, CONF_FORWARD_PASS, "");
	set_forward(&w, C, CONF_FORWARD_BRIDGE, "b");
	(void)world_plan(&w, NULL);
	assert_int_equal(w.plan->n_groups, 2);
	assert_int_equal(w.plan->ports[WAN].group, PLAN_NONE);
	assert_int_equal(w.plan->ports[LAN].group, 0);
	assert_int_equal(w.plan->ports[C].group, 1);
	assert_int_equal(w.plan->ports[D].group, 0);
	for (unsigned port = 0; port < N_PORTS; port++)
		assert_int_equal(w.plan->ports[port].peer, PLAN_NONE);
	world_fini(&w);
}

static void test_each_bridge_is_a_group(void **state)
{
	struct world w;

	start(&w);
	set_forward(&w, WAN, CONF_FORWARD_BRIDGE, "x");
	set_forward(&w, LAN, CONF_FORWARD_BRIDGE, "y");
	set_forward(&w, C, CONF_FORWARD_BRIDGE, "x");
	set_forward(&w, D, CONF_FORWARD_BRIDGE, "y");
	world_plan_ok(&w, NULL);
	assert_int_equal(w.plan->n_groups, 2);
	assert_int_equal(w.plan->ports[WAN].group, w.plan->ports[C].group);
	assert_int_equal(w.plan->ports[LAN].group, w.plan->ports[D].group);
	assert_int_equal(world_count_notes(&w, PLAN_WARNING), 0);
	world_fini(&w);
}

/* A lane's number is what its queue divides to: a flow keeps one tx queue of each out port. */
static void test_lanes_carry_the_number_that_picks_their_out_lane(void **state)
{
	struct world w;

	start_router(&w);
	w.conf.daemon.workers = 2;
	world_set_link(&w, WAN, 5);
	world_set_link(&w, C, 2);
	world_plan_ok(&w, NULL);
	assert_int_equal(w.plan->n_workers, 2);
	for (uint32_t i = 0; i < w.plan->n_workers; i++) {
		const struct plan_worker *worker = &w.plan->workers[i];

		assert_int_equal(worker->n_lanes, i == 0 ? 3 + 2 + 1 + 2 : 2 + 2 + 1 + 2);
		for (uint32_t j = 0; j < worker->n_lanes; j++) {
			const struct plan_lane *lane = &worker->lanes[j];

			assert_int_equal(lane->queue % 2, i);
			assert_int_equal(lane->out_number, lane->queue / 2);
			assert_int_equal(lane->out_lane, PLAN_NONE);
			for (uint32_t k = 0; k < j; k++)
				assert_int_not_equal(worker->lanes[k].tag, lane->tag);
		}
	}
	world_fini(&w);
}

static void test_listed_queues_are_numbered_by_their_place(void **state)
{
	struct world w;

	start_router(&w);
	w.conf.daemon.workers = 1;
	w.ports[WAN].queues = world_set((int[]){1, 3, -1});
	world_plan_ok(&w, NULL);
	assert_int_equal(w.plan->workers[0].lanes[0].queue, 1);
	assert_int_equal(w.plan->workers[0].lanes[0].out_number, 0);
	assert_int_equal(w.plan->workers[0].lanes[1].queue, 3);
	assert_int_equal(w.plan->workers[0].lanes[1].out_number, 1);
	world_fini(&w);
}

static void test_a_route_port_may_carry_the_host(void **state)
{
	struct world w;

	start_router(&w);
	w.links[WAN].host.n_addresses = 2;
	w.links[WAN].host.has_default_route = true;
	w.links[LAN].upper_host.n_addresses = 1;
	memcpy(w.links[C].host.master, "blue", 5);
	memcpy(w.links[C].host.master_kind, "vrf", 4);
	world_plan_ok(&w, NULL);
	assert_int_equal(world_count_notes(&w, PLAN_WARNING), 0);
	world_fini(&w);
}

static void test_a_route_port_has_no_other_master(void **state)
{
	struct world w;

	start_router(&w);
	memcpy(w.links[WAN].host.master, "br0", 4);
	memcpy(w.links[WAN].host.master_kind, "bridge", 7);
	assert_int_not_equal(world_plan(&w, NULL), 0);
	world_expect_note(&w, PLAN_ERROR,
			  "port wan: eth0 belongs to br0, a bridge, which receives its frames: "
			  "take it out, or make no port of it");
	world_fini(&w);
}

static void test_keys_and_ports_without_effect_are_named(void **state)
{
	struct world w;

	start_router(&w);
	w.ports[WAN].take_host_traffic = true;
	world_plan_ok(&w, NULL);
	world_expect_note(&w, PLAN_WARNING,
			  "port wan: take_host_traffic = yes has no effect with forward = route: "
			  "what is for this host stays its own");
	world_fini(&w);
	start_router(&w);
	set_forward(&w, D, CONF_FORWARD_BRIDGE, "alone");
	world_plan_ok(&w, NULL);
	world_expect_note(&w, PLAN_WARNING,
			  "port d: it is the only one with \"forward = bridge alone\": there is "
			  "nowhere to send what it receives");
	world_fini(&w);
}

static void start_bridge(struct world *w)
{
	start(w);
	set_forward(w, WAN, CONF_FORWARD_BRIDGE, "x");
	set_forward(w, LAN, CONF_FORWARD_BRIDGE, "x");
}

static void test_a_bridge_port_carries_the_host_only_if_asked(void **state)
{
	struct world w;

	start_bridge(&w);
	w.links[WAN].host.n_addresses = 1;
	assert_int_not_equal(world_plan(&w, NULL), 0);
	world_expect_note(&w, PLAN_ERROR,
			  "port wan: eth0 carries 1 address of this host; bridging it would leave "
			  "this host only what is for the interface's hardware address: move that "
			  "elsewhere, or set take_host_traffic = yes");
	w.ports[WAN].take_host_traffic = true;
	world_plan_ok(&w, NULL);
	assert_true(w.plan->ports[WAN].host_is_on_bridge);
	assert_true(w.plan->ports[LAN].host_is_on_bridge);
	assert_false(w.plan->ports[C].host_is_on_bridge);
	world_fini(&w);
}

/* --- Differences ----------------------------------------------------------------------------- */

static void drop_last_port(struct world *w)
{
	w->conf.n_ports--;
}

static void put_last_port_into_a_bridge(struct world *w)
{
	set_forward(w, D, CONF_FORWARD_BRIDGE, "y");
}

static void make_a_wire_of_the_last_two(struct world *w)
{
	set_forward(w, C, CONF_FORWARD_XCONNECT, "d");
	set_forward(w, D, CONF_FORWARD_XCONNECT, "c");
}

/* The same ports, one group before and after: but workers of a bridge are no router's. */
static void bridge_all(struct world *w)
{
	for (unsigned port = 0; port < N_PORTS; port++)
		set_forward(w, port, CONF_FORWARD_BRIDGE, "x");
}

static void limit_floods(struct world *w)
{
	w->ports[WAN].flood_limit = 100;
}

static const struct {
	const char *name;
	void (*change)(struct world *world);
	enum plan_action action; /* of wan */
	bool workers_go_on;
} rows[] = {
	{"a port less", drop_last_port, PLAN_REBUILD, false},
	{"a port elsewhere", put_last_port_into_a_bridge, PLAN_REBUILD, false},
	{"two ports elsewhere", make_a_wire_of_the_last_two, PLAN_REBUILD, false},
	{"another purpose", bridge_all, PLAN_REBUILD, false},
	{"flood_limit", limit_floods, PLAN_LIVE, true},
};

static void test_a_change_of_members_replaces_the_workers(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world old, new;
		struct plan_diff diff;

		print_message("%s\n", rows[i].name);
		start_router(&old);
		world_plan_ok(&old, NULL);
		start_router(&new);
		rows[i].change(&new);
		world_plan_ok(&new, old.plan);
		assert_int_equal(plan_diff(old.plan, new.plan, &diff), 0);
		assert_string_equal(plan_action_names[diff.new_ports[WAN]],
				    plan_action_names[rows[i].action]);
		for (uint32_t w = 0; w < old.plan->n_workers; w++)
			assert_int_equal(diff.keep_old_worker[w], rows[i].workers_go_on);
		plan_diff_fini(&diff);
		world_fini(&new);
		world_fini(&old);
	}
}

static void test_another_group_leaves_the_router_alone(void **state)
{
	struct world old, new;
	struct plan_diff diff;

	start_bridge(&old);
	set_forward(&old, C, CONF_FORWARD_ROUTE, "");
	set_forward(&old, D, CONF_FORWARD_ROUTE, "");
	world_plan_ok(&old, NULL);
	start_bridge(&new);
	set_forward(&new, WAN, CONF_FORWARD_PASS, "");
	set_forward(&new, LAN, CONF_FORWARD_PASS, "");
	set_forward(&new, C, CONF_FORWARD_ROUTE, "");
	set_forward(&new, D, CONF_FORWARD_ROUTE, "");
	world_plan_ok(&new, old.plan);
	assert_int_equal(plan_diff(old.plan, new.plan, &diff), 0);
	assert_int_equal(diff.new_ports[WAN], PLAN_REBUILD);
	assert_int_equal(diff.new_ports[C], PLAN_KEEP);
	assert_int_equal(diff.new_ports[D], PLAN_KEEP);
	for (uint32_t w = 0; w < new.plan->n_workers; w++)
		assert_int_not_equal(diff.old_worker_of[w], PLAN_NONE);
	plan_diff_fini(&diff);
	world_fini(&new);
	world_fini(&old);
}

/* The host's first address on a bridge concerns every port of it, but no socket. */
static void test_the_host_comes_to_a_bridge(void **state)
{
	struct world old, new;
	struct plan_diff diff;

	start_bridge(&old);
	old.ports[WAN].take_host_traffic = true;
	world_plan_ok(&old, NULL);
	start_bridge(&new);
	new.ports[WAN].take_host_traffic = true;
	new.links[WAN].host.n_addresses = 1;
	world_plan_ok(&new, old.plan);
	assert_int_equal(plan_diff(old.plan, new.plan, &diff), 0);
	assert_int_equal(diff.new_ports[WAN], PLAN_LIVE);
	assert_int_equal(diff.new_ports[LAN], PLAN_LIVE);
	assert_int_equal(diff.new_ports[C], PLAN_KEEP);
	plan_diff_fini(&diff);
	world_fini(&new);
	world_fini(&old);
}

static void test_the_printed_plan(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct world w;

	start_bridge(&w);
	set_forward(&w, C, CONF_FORWARD_ROUTE, "");
	set_forward(&w, D, CONF_FORWARD_PASS, "");
	w.ports[WAN].take_host_traffic = true;
	w.links[WAN].host.n_addresses = 1;
	world_plan_ok(&w, NULL);
	text = world_text(w.plan, &w.notes);
	assert_non_null(strstr(text, "\n  lane         wan/0 (tag 0)\n"));
	assert_non_null(strstr(text, "\n  forward      bridge x\n  group        0\n"));
	assert_non_null(strstr(text, "\n  forward      route\n  group        1\n"));
	assert_non_null(strstr(text, "\n  forward      pass\n"));
	assert_non_null(
		strstr(text, "\n  host         an address of this host is on the bridge\n"));
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_route_ports_are_one_group),
		cmocka_unit_test(test_each_bridge_is_a_group),
		cmocka_unit_test(test_lanes_carry_the_number_that_picks_their_out_lane),
		cmocka_unit_test(test_listed_queues_are_numbered_by_their_place),
		cmocka_unit_test(test_a_route_port_may_carry_the_host),
		cmocka_unit_test(test_a_route_port_has_no_other_master),
		cmocka_unit_test(test_keys_and_ports_without_effect_are_named),
		cmocka_unit_test(test_a_bridge_port_carries_the_host_only_if_asked),
		cmocka_unit_test(test_a_change_of_members_replaces_the_workers),
		cmocka_unit_test(test_another_group_leaves_the_router_alone),
		cmocka_unit_test(test_the_host_comes_to_a_bridge),
		cmocka_unit_test(test_the_printed_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
