/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a plan refuses, word for word: each row spoils one thing and names the one error that must
 * come of it. The plan is there all the same, for printing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/plan_world.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

#define HOST_ADVICE                                                                   \
	"; cross-connecting it would cut this host off: move that elsewhere, or set " \
	"take_host_traffic = yes"
#define KIND_BELOW " it shares the interface below it with the host: make a port of that one"

static void set_address(struct world *w)
{
	w->links[WAN].host.n_addresses = 1;
}

static void set_addresses(struct world *w)
{
	w->links[WAN].host.n_addresses = 3;
}

static void set_default_route(struct world *w)
{
	w->links[WAN].host.has_default_route = true;
}

static void set_master(struct world *w)
{
	memcpy(w->links[WAN].host.master, "br0", 4);
}

static void set_macvlan_above(struct world *w)
{
	memcpy(w->links[WAN].upper, "mv0", 4);
	w->links[WAN].upper_host.n_addresses = 1;
}

static void set_route_above(struct world *w)
{
	memcpy(w->links[WAN].upper, "eth0.10", 8);
	w->links[WAN].upper_host.has_default_route = true;
}

static void set_kind(struct world *w, const char *kind)
{
	(void)snprintf(w->links[WAN].kind, sizeof(w->links[WAN].kind), "%s", kind);
}

#define SET_KIND(name)                          \
	static void set_##name(struct world *w) \
	{                                       \
		set_kind(w, #name);             \
	}
SET_KIND(bond)
SET_KIND(bridge)
SET_KIND(ipvlan)
SET_KIND(ipvtap)
SET_KIND(macvlan)
SET_KIND(macvtap)
SET_KIND(team)
SET_KIND(vlan)
SET_KIND(vrf)
#undef SET_KIND

/* take_host_traffic is about the host, not about what can be cross-connected. */
static void set_willing_bond(struct world *w)
{
	w->ports[WAN].take_host_traffic = true;
	set_kind(w, "bond");
}

static void set_not_ethernet(struct world *w)
{
	w->links[WAN].is_ethernet = false;
}

static void set_mtu_1771(struct world *w)
{
	w->links[WAN].mtu = 1771;
}

static void set_mtu_9000(struct world *w)
{
	w->links[WAN].mtu = 9000;
}

static void set_mtu_3819_large_frames(struct world *w)
{
	w->conf.daemon.frame_size_bytes = 4096;
	w->links[WAN].mtu = 3819;
}

static void set_vlan_checked(struct world *w)
{
	w->links[WAN].offload_on[LINK_OFFLOAD_RX_VLAN] = true;
	w->ports[WAN].offloads = CONF_OFFLOADS_CHECK;
}

static void set_lro_fixed(struct world *w)
{
	w->links[WAN].offload_on[LINK_OFFLOAD_LRO] = true;
	w->links[WAN].offload_fixed[LINK_OFFLOAD_LRO] = true;
}

static void set_generic_gro_checked(struct world *w)
{
	w->links[WAN].offload_on[LINK_OFFLOAD_GRO] = true;
	w->ports[WAN].offloads = CONF_OFFLOADS_CHECK;
	w->ports[WAN].mode = CONF_MODE_GENERIC;
}

static void set_queue_4(struct world *w)
{
	w->ports[WAN].queues = world_set((int[]){1, 4, 5, -1});
}

static void set_two_tx_queues(struct world *w)
{
	w->links[WAN].n_tx_queues = 2;
}

static void set_300_queues(struct world *w)
{
	world_set_link(w, WAN, 300);
}

static void set_5_workers(struct world *w)
{
	world_set_link(w, LAN, 2);
	w->conf.daemon.workers = 5;
}

static void set_64_queues_on_one_worker(struct world *w)
{
	world_set_link(w, WAN, 64);
	w->conf.daemon.workers = 1;
}

static void set_cpu_9(struct world *w)
{
	w->topo.cpus[3].is_allowed = false;
	w->conf.daemon.cpus = world_set((int[]){1, 2, 4, 5, 9, -1});
}

static void set_many_cpus(struct world *w)
{
	w->conf.daemon.cpus = world_set((int[]){1, 2, 3, 4, 9, 10, 700, -1});
}

static void set_few_frames(struct world *w)
{
	world_set_link(w, WAN, 1);
	world_set_link(w, LAN, 1);
	w->conf.daemon.frames_per_worker = 383;
}

static void set_low_memlock(struct world *w)
{
	w->limits.memlock_bytes = 8 << 20;
	world_set_link(w, WAN, 1);
	world_set_link(w, LAN, 1);
	w->conf.daemon.frames_per_worker = 16384;
}

static void set_too_much_memory(struct world *w)
{
	w->limits.huge_bytes = 0;
	w->limits.available_bytes = 6ULL << 30;
	world_set_link(w, WAN, 1);
	world_set_link(w, LAN, 1);
	w->conf.daemon.frames_per_worker = 4194304;
}

static void set_few_huge_pages(struct world *w)
{
	w->limits.huge_bytes = 12 << 20;
	w->limits.available_bytes = 0;
	world_set_link(w, WAN, 1);
	world_set_link(w, LAN, 1);
	w->conf.daemon.frames_per_worker = 8193;
	w->conf.daemon.huge_pages = CONF_HUGE_ON;
}

static void set_half_a_wire(struct world *w)
{
	w->ports[LAN].forward = CONF_FORWARD_PASS;
}

static const struct {
	void (*spoil)(struct world *world);
	const char *text;
} rows[] = {
	{set_address, "port wan: eth0 carries 1 address of this host" HOST_ADVICE},
	{set_addresses, "port wan: eth0 carries 3 addresses of this host" HOST_ADVICE},
	{set_default_route, "port wan: a default route leaves by eth0" HOST_ADVICE},
	{set_master, "port wan: eth0 belongs to br0" HOST_ADVICE},
	{set_macvlan_above,
	 "port wan: mv0 (on top of eth0) carries 1 address of this host" HOST_ADVICE},
	{set_route_above,
	 "port wan: a default route leaves by eth0.10 (on top of eth0)" HOST_ADVICE},
	{set_low_memlock,
	 "packet memory needs 33554432 bytes locked, RLIMIT_MEMLOCK allows 8388608: set "
	 "LimitMEMLOCK= of the unit (ulimit -l) to 33554432 or more, give CAP_IPC_LOCK, or set "
	 "frames_per_worker to less"},
	{set_too_much_memory,
	 "packet memory needs 8192.0 MiB, the machine has 6144.0 MiB available: set "
	 "frames_per_worker or workers to less, or use fewer queues"},
	{set_few_huge_pages,
	 "huge_pages = on: packet memory needs 9 free huge pages of 2 MiB, there are 6: raise "
	 "vm.nr_hugepages by 3, or set huge_pages = auto"},
	{set_bond,
	 "port wan: eth0 is of kind bond: frames arrive on its members: make ports of those"},
	{set_willing_bond,
	 "port wan: eth0 is of kind bond: frames arrive on its members: make ports of those"},
	{set_team,
	 "port wan: eth0 is of kind team: frames arrive on its members: make ports of those"},
	{set_bridge,
	 "port wan: eth0 is of kind bridge: it is the host's own port of the bridge: make ports "
	 "of its members"},
	{set_ipvlan, "port wan: eth0 is of kind ipvlan:" KIND_BELOW},
	{set_ipvtap, "port wan: eth0 is of kind ipvtap:" KIND_BELOW},
	{set_macvlan, "port wan: eth0 is of kind macvlan:" KIND_BELOW},
	{set_macvtap, "port wan: eth0 is of kind macvtap:" KIND_BELOW},
	{set_vlan,
	 "port wan: eth0 is of kind vlan: its frames are those of the interface below it with a "
	 "tag: make a port of that one"},
	{set_vrf,
	 "port wan: eth0 is of kind vrf: it is a routing table, not a wire: make ports of its members"},
	{set_not_ethernet,
	 "port wan: eth0 is not an Ethernet interface, it cannot be cross-connected"},
	{set_mtu_1771, "port wan: MTU 1771 of eth0 is more than 1770, the most that frames of 2048 "
		       "bytes hold: set it to 1770 or less (ip link set eth0 mtu 1770), or set "
		       "frame_size = 4096"},
	{set_mtu_9000, "port wan: MTU 9000 of eth0 is more than 1770, the most that frames of 2048 "
		       "bytes hold: set it to 1770 or less (ip link set eth0 mtu 1770)"},
	{set_mtu_3819_large_frames,
	 "port wan: MTU 3819 of eth0 is more than 3818, the most that frames of 4096 bytes hold: set "
	 "it to 3818 or less (ip link set eth0 mtu 3818)"},
	{set_vlan_checked,
	 "port wan: rx-vlan-hw-parse of eth0 is on, VLAN tags would be lost: turn it off (ethtool -K "
	 "eth0 rx-vlan-hw-parse off), or set offloads = fix"},
	{set_lro_fixed, "port wan: rx-lro of eth0 is on, and its driver does not let it be turned "
			"off: frames would arrive merged"},
	{set_generic_gro_checked,
	 "port wan: rx-gro of eth0 is on, frames would arrive merged in generic mode: turn it off "
	 "(ethtool -K eth0 rx-gro off), or set offloads = fix"},
	{set_queue_4, "port wan: queues: there is no queue 4, eth0 has 4 receive queues: leave it "
		      "out, or add queues (ethtool -L)"},
	{set_two_tx_queues,
	 "port wan: queues: eth0 has 4 receive but 2 transmit queues, queue 2 could not send: make "
	 "them equal (ethtool -L), or name fewer queues"},
	{set_300_queues, "port wan: queues: eth0 has 300 receive queues, at most 256 can be used: "
			 "have fewer (ethtool -L), or set queues = 0-255"},
	{set_5_workers,
	 "[daemon] workers: 5 is more than the 2 queues of port lan (eth1), and every "
	 "worker needs one: set workers = 2 or less, or add queues (ethtool -L)"},
	{set_64_queues_on_one_worker,
	 "port wan: 64 queues are too many for 1 worker, which can own 63 of each port: set workers "
	 "= 2 or more, or name fewer queues"},
	{set_cpu_9, "[daemon] cpus: CPU 9 is not one that this process may use (0-2,4-7): change "
		    "cpus, or AllowedCPUs= and CPUAffinity= of the unit"},
	{set_many_cpus,
	 "[daemon] cpus: CPU 9 (and 2 more) is not one that this process may use (0-7): "
	 "change cpus, or AllowedCPUs= and CPUAffinity= of the unit"},
	{set_few_frames, "[daemon] frames_per_worker: 383 are too few for the 2 lanes of worker 0, "
			 "which need at least 384"},
};

static void test_each_refusal_has_its_reason_and_remedy(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct world world;

		world_init(&world);
		rows[i].spoil(&world);
		assert_int_equal(world_plan(&world, NULL), -EINVAL);
		world_expect_note(&world, PLAN_ERROR, rows[i].text);
		assert_non_null(world.plan);
		assert_int_equal(world.plan->n_ports, 2);
		free(world_text(world.plan, &world.notes));
		world_fini(&world);
	}
}

static void test_half_a_wire_is_refused(void **state)
{
	struct world world;

	world_init(&world);
	set_half_a_wire(&world);
	assert_int_equal(world_plan(&world, NULL), -EINVAL);
	world_expect_note(&world, PLAN_ERROR,
			  "port wan: [port lan] does not answer with \"forward = xconnect wan\"");
	assert_int_equal(world.plan->n_workers, 0);
	world_fini(&world);
}

static void test_all_refusals_come_at_once(void **state)
{
	struct world world;

	world_init(&world);
	set_address(&world);
	set_default_route(&world);
	set_mtu_9000(&world);
	set_lro_fixed(&world);
	set_cpu_9(&world);
	assert_int_equal(world_plan(&world, NULL), -EINVAL);
	assert_int_equal(world_count_notes(&world, PLAN_ERROR), 5);
	world_fini(&world);
}

/* --- The other side of each rule: what must not be refused ----------------------------------- */

static void test_take_host_traffic_turns_refusals_into_facts(void **state)
{
	struct world world;

	world_init(&world);
	world.ports[WAN].take_host_traffic = true;
	set_address(&world);
	world_plan_ok(&world, NULL);
	world_expect_note(
		&world, PLAN_INFO,
		"port wan: eth0 carries 1 address of this host; its traffic is taken from "
		"this host (take_host_traffic = yes)");
	world_fini(&world);
}

static void test_the_largest_mtu_is_accepted(void **state)
{
	struct world world;

	assert_int_equal(plan_max_mtu(2048), 1770);
	assert_int_equal(plan_max_mtu(4096), 3818);
	world_init(&world);
	world.links[WAN].mtu = 1770;
	world_plan_ok(&world, NULL);
	world.conf.daemon.frame_size_bytes = 4096;
	world.links[WAN].mtu = 3818;
	world_plan_ok(&world, NULL);
	world_fini(&world);
}

static void test_offloads_are_fixed_when_asked(void **state)
{
	struct world world;

	world_init(&world);
	world.links[WAN].offload_on[LINK_OFFLOAD_RX_STAG] = true;
	world_plan_ok(&world, NULL);
	world_expect_note(
		&world, PLAN_INFO,
		"port wan: rx-vlan-stag-hw-parse of eth0 is on, VLAN tags would be lost: it is "
		"turned off until a clean stop");
	for (unsigned i = 0; i < LINK_OFFLOAD_N; i++) {
		assert_int_equal(world.plan->ports[WAN].fix_offload[i], i == LINK_OFFLOAD_RX_STAG);
		assert_false(world.plan->ports[LAN].fix_offload[i]);
	}
	world_fini(&world);
}

static void test_gro_is_left_alone_before_native_xdp(void **state)
{
	struct world world;

	world_init(&world);
	world.links[WAN].offload_on[LINK_OFFLOAD_GRO] = true;
	world.ports[WAN].offloads = CONF_OFFLOADS_CHECK;
	world_plan_ok(&world, NULL);
	assert_int_equal(world.notes.n, 0);
	world_fini(&world);
}

/* A pass port takes nothing from the host: whatever it is, it may be. */
static void test_a_pass_port_may_be_anything(void **state)
{
	struct world world;

	world_init(&world);
	world.ports[WAN].forward = world.ports[LAN].forward = CONF_FORWARD_PASS;
	set_address(&world);
	set_default_route(&world);
	set_master(&world);
	set_bond(&world);
	set_mtu_9000(&world);
	set_lro_fixed(&world);
	set_two_tx_queues(&world);
	world_plan_ok(&world, NULL);
	assert_int_equal(world.notes.n, 0);
	world_fini(&world);
}

static void test_a_pass_port_is_told_that_it_cannot_drop(void **state)
{
	struct world world;

	world_init(&world);
	world.ports[WAN].forward = world.ports[LAN].forward = CONF_FORWARD_PASS;
	world.ports[WAN].on_failure = CONF_FAIL_DROP;
	world_plan_ok(&world, NULL);
	assert_int_equal(world.notes.n, 1);
	assert_int_equal(world.notes.notes[0].severity, PLAN_WARNING);
	assert_non_null(strstr(world.notes.notes[0].text, "on_failure = drop has no effect"));
	world_fini(&world);
}

static void test_a_list_makes_300_queues_usable(void **state)
{
	struct world world;

	world_init(&world);
	set_300_queues(&world);
	world.ports[WAN].queues = world_set((int[]){0, 255, -1});
	world_plan_ok(&world, NULL);
	assert_int_equal(world.plan->ports[WAN].queue_worker[255], 1);
	assert_int_equal(world.plan->ports[WAN].n_queues, 256);
	world_fini(&world);
}

static void test_as_many_workers_as_queues_are_accepted(void **state)
{
	struct world world;

	world_init(&world);
	world.conf.daemon.workers = 4;
	world_plan_ok(&world, NULL);
	assert_int_equal(world.plan->n_workers, 4);
	world_fini(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_refusal_has_its_reason_and_remedy),
		cmocka_unit_test(test_half_a_wire_is_refused),
		cmocka_unit_test(test_all_refusals_come_at_once),
		cmocka_unit_test(test_take_host_traffic_turns_refusals_into_facts),
		cmocka_unit_test(test_the_largest_mtu_is_accepted),
		cmocka_unit_test(test_offloads_are_fixed_when_asked),
		cmocka_unit_test(test_gro_is_left_alone_before_native_xdp),
		cmocka_unit_test(test_a_pass_port_may_be_anything),
		cmocka_unit_test(test_a_pass_port_is_told_that_it_cannot_drop),
		cmocka_unit_test(test_a_list_makes_300_queues_usable),
		cmocka_unit_test(test_as_many_workers_as_queues_are_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
