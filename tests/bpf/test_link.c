/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control/link on real devices: what is read of veth, tap and their masters, and what can be set.
 * What is told when they change is in test_link_events.c.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link_env.h"
#include "util/macros.h"

ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);
static unsigned n_netlink_reads;

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size)
{
	n_netlink_reads++;
	return __real_mnl_socket_recvfrom(nl, buf, size);
}

/* --- What a link is -------------------------------------------------------------------------- */

static void test_a_missing_interface_is_a_value(void **state)
{
	struct link link = read_link("nothing0");

	assert_false(link.exists);
	assert_string_equal(link.name, "nothing0");
	assert_int_equal(link.numa_node, -1);
	assert_int_equal(link.ifindex, 0);
}

static void test_an_alternative_name_is_not_the_name(void **state)
{
	sh("ip link add va type veth peer name vb");
	sh("ip link property add dev va altname other");
	assert_false(read_link("other").exists);
	assert_true(read_link("va").exists);
}

static void test_a_veth_tells_what_it_is(void **state)
{
	static const uint8_t address[6] = {2, 0, 0, 0, 0, 0x17};
	struct link link;

	sh("ip link add va address 02:00:00:00:00:17 mtu 1400 type veth peer name vb");
	link = read_link("va");
	assert_true(link.exists);
	assert_int_equal(link.ifindex, if_nametoindex("va"));
	assert_memory_equal(link.address, address, sizeof(address));
	assert_int_equal(link.mtu, 1400);
	assert_true(link.is_ethernet);
	assert_string_equal(link.kind, "veth");
	assert_string_equal(link.driver, "veth");
	assert_int_equal(link.numa_node, -1);
	assert_int_equal(link.xdp_prog_id, 0);
	assert_false(link.is_up);
	assert_false(link.has_carrier);
	sh("ip link set va up && ip link set vb up");
	link = read_link("va");
	assert_true(link.is_up);
	assert_true(link.has_carrier);
	sh("ip link set vb down");
	assert_false(read_link("va").has_carrier);
	assert_false(read_link("lo").is_ethernet);
}

static void expect_queues(const char *name, unsigned n_rx, unsigned n_tx)
{
	struct link link = read_link(name);

	assert_int_equal(link.n_rx_queues, n_rx);
	assert_int_equal(link.n_tx_queues, n_tx);
}

/* rtnetlink tells the queues that were allocated: for `few`, as many as the machine has CPUs. */
static void test_queues_of_a_veth_are_those_in_use(void **state)
{
	sh("ip link add va numrxqueues 4 numtxqueues 3 type veth"
	   " peer name vb numrxqueues 2 numtxqueues 4");
	sh("ip link add few type veth peer name other");
	expect_queues("va", 4, 3);
	expect_queues("vb", 2, 4);
	expect_queues("few", 1, 1);
	sh("ethtool -L va rx 2 tx 1");
	expect_queues("va", 2, 1);
	/* A kernel without ethtool netlink says the same by ioctl. */
	links->ethtool.ethtool_family = 0;
	expect_queues("va", 2, 1);
	expect_queues("vb", 2, 4);
}

/* All four ways to ask, each alone; rtnetlink would say 256. */
static void expect_tap_queues(struct link link, unsigned n)
{
	unsigned n_rx = 0, n_tx = 0;
	struct link by_sysfs = link;

	assert_int_equal(link.n_rx_queues, n);
	assert_int_equal(link.n_tx_queues, n);
	assert_int_not_equal(links->ethtool.ethtool_family, 0);
	assert_int_equal(ethtool_channels(&links->ethtool, link.ifindex, "tap4", &n_rx, &n_tx), 0);
	assert_int_equal(n_rx, n);
	assert_int_equal(n_tx, n);
	n_rx = n_tx = 0;
	assert_int_equal(ethtool_ioctl_channels(links->ethtool.ioctl_fd, "tap4", &n_rx, &n_tx), 0);
	assert_int_equal(n_rx, n);
	assert_int_equal(n_tx, n);
	n_rx = n_tx = 0;
	assert_int_equal(ethtool_netdev_queues(&links->ethtool, link.ifindex, &n_rx, &n_tx), 0);
	assert_int_equal(n_rx, n);
	assert_int_equal(n_tx, n);
	by_sysfs.n_rx_queues = by_sysfs.n_tx_queues = 0;
	assert_true(link_sysfs_read(link_env_sysfs, "/proc", true, &by_sysfs));
	assert_int_equal(by_sysfs.n_rx_queues, n);
	assert_int_equal(by_sysfs.n_tx_queues, n);
}

static void test_queues_of_a_tap_are_those_that_are_open(void **state)
{
	unsigned n_rx, n_tx;
	int fds[4];

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		struct ifreq request = {.ifr_name = "tap4",
					.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE};

		fds[i] = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
		assert_in_range(fds[i], 0, 1 << 20);
		assert_int_equal(ioctl(fds[i], TUNSETIFF, &request), 0);
	}
	expect_queues("tap4", 4, 4);
	assert_int_equal(
		ethtool_netdev_queues(&links->ethtool, if_nametoindex("tap4"), &n_rx, &n_tx),
		-EOPNOTSUPP); /* it is down */
	sh("ip link set tap4 up");
	expect_tap_queues(read_link("tap4"), 4);
	assert_string_equal(read_link("tap4").driver, "tun");
	assert_string_equal(read_link("tap4").kind, "tun");
	close_fdp(&fds[3]);
	expect_tap_queues(read_link("tap4"), 3);
	for (unsigned i = 0; i < 3; i++)
		close_fdp(&fds[i]);
}

/* A bridge has no channels: the netdev family tells, or sysfs, or what rtnetlink allocated. */
static void test_queues_of_a_device_without_channels(void **state)
{
	unsigned n_rx, n_tx;

	sh("ip link add d3 numrxqueues 2 numtxqueues 3 type bridge && ip link set d3 up");
	assert_int_equal(
		ethtool_channels(&links->ethtool, if_nametoindex("d3"), "d3", &n_rx, &n_tx),
		-EOPNOTSUPP);
	expect_queues("d3", 2, 3);
	links->ethtool.netdev_family = 0;
	expect_queues("d3", 2, 3);
	links->sysfs_root = "/nonexistent";
	expect_queues("d3", 2, 3);
}

static void test_a_program_on_the_interface_is_seen(void **state)
{
	static const struct bpf_insn pass[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT},
	};
	static const uint32_t modes[] = {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "pass", "GPL", pass, ARRAY_SIZE(pass), NULL);
	int ifindex;

	assert_in_range(fd, 0, 1 << 20);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	sh("ip link add va type veth peer name vb");
	ifindex = (int)if_nametoindex("va");
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(bpf_xdp_attach(ifindex, fd, modes[i], NULL), 0);
		assert_int_equal(read_link("va").xdp_prog_id, info.id);
		assert_int_equal(bpf_xdp_detach(ifindex, modes[i], NULL), 0);
	}
	assert_int_equal(read_link("va").xdp_prog_id, 0);
	close_fdp(&fd);
}

/* In a child, since capabilities do not come back. */
static int read_as_nobody(void)
{
	struct links *own;
	struct link link;

	if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
		return 1;
	if (links_open(&own) < 0 || link_read(own, "va", &link) < 0)
		return 2;
	if (!link.exists || link.n_rx_queues != 4 || link.host.n_addresses != 1 ||
	    strcmp(link.driver, "veth") != 0 || link.offload_fixed[LINK_OFFLOAD_GRO])
		return 3;
	if (links_ethtool_event_fd(own) < 0)
		return 4;
	return link_set_offload(own, link.ifindex, LINK_OFFLOAD_RX_VLAN, false) == -EPERM ? 0 : 5;
}

static void test_reading_needs_no_capability(void **state)
{
	pid_t child;
	int status;

	sh("ip link add va numrxqueues 4 numtxqueues 4 type veth peer name vb");
	sh("ip addr add 10.0.0.1/24 dev va");
	child = fork();
	assert_int_not_equal(child, -1);
	if (child == 0)
		_exit(read_as_nobody());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* --- The host on it -------------------------------------------------------------------------- */

static void test_addresses_are_counted_but_link_local_ones(void **state)
{
	sh("ip link add va type veth peer name vb");
	sh("ip link set va up && ip link set vb up");
	assert_int_equal(read_link("va").host.n_addresses, 0);
	sh("ip addr add fe80::17/64 dev va nodad");
	assert_int_equal(read_link("va").host.n_addresses, 0);
	sh("ip addr add 10.0.0.1/24 dev va && ip addr add 169.254.1.1/16 dev va");
	sh("ip addr add 2001:db8::1/64 dev va nodad");
	assert_int_equal(read_link("va").host.n_addresses, 3);
	assert_int_equal(read_link("vb").host.n_addresses, 0);
	sh("ip addr del 10.0.0.1/24 dev va");
	assert_int_equal(read_link("va").host.n_addresses, 2);
}

static void expect_default_route(const char *how, bool on_va, bool on_vb)
{
	print_message("%s\n", how);
	assert_int_equal(read_link("va").host.has_default_route, on_va);
	assert_int_equal(read_link("vb").host.has_default_route, on_vb);
}

static void test_default_routes_are_found_however_they_are_made(void **state)
{
	sh("ip link add va type veth peer name vb");
	sh("ip link set va up && ip link set vb up");
	expect_default_route("no route", false, false);
	sh("ip route add 10.0.0.0/8 dev va && ip route add 0.0.0.0/1 dev va");
	expect_default_route("not default", false, false);
	sh("ip route add default dev va table 100");
	expect_default_route("another table", false, false);
	sh("ip route add blackhole default metric 5");
	expect_default_route("blackhole", false, false);
	sh("ip route add local default dev va table main");
	expect_default_route("local", false, false);
	sh("ip route del local default dev va table main");
	sh("ip route add default dev va");
	expect_default_route("dev", true, false);
	sh("ip route del default dev va");
	sh("ip route add default nexthop dev va nexthop dev vb");
	expect_default_route("multipath", true, true);
	sh("ip route del default nexthop dev va nexthop dev vb");
	expect_default_route("deleted", false, false);
	sh("ip nexthop add id 7 dev vb && ip route add default nhid 7");
	expect_default_route("nexthop object", false, true);
	sh("ip route del default nhid 7");
	sh("ip -6 route add default dev va");
	expect_default_route("IPv6", true, false);
}

/* A full table by this interface is not read to its end to learn that it has no default route. */
static void test_a_full_table_is_not_read(void **state)
{
	unsigned before;

	sh("ip link add va type veth peer name vb && ip link set va up");
	sh("i=0; while [ $i -lt 20000 ]; do echo route add 10.$((i/250)).$((i%%250)).0/24 dev va; "
	   "i=$((i+1)); done | ip -batch -");
	before = n_netlink_reads;
	assert_false(read_link("va").host.has_default_route);
	assert_in_range(n_netlink_reads - before, 5, 20);
	sh("ip route add default dev va");
	assert_true(read_link("va").host.has_default_route);
}

static void test_a_master_is_named(void **state)
{
	sh("ip link add br0 type bridge && ip link add va type veth peer name vb");
	assert_string_equal(read_link("va").host.master, "");
	sh("ip link set va master br0");
	assert_string_equal(read_link("va").host.master, "br0");
	assert_string_equal(read_link("va").kind, "veth");
	assert_string_equal(read_link("br0").kind, "bridge");
}

/* The kernel takes nearly every byte as part of a name. */
static void test_names_of_other_devices_are_fit_to_print(void **state)
{
	sh("ip link add va type veth peer name vb && ip link set va up");
	sh("n=$(printf 'br\\033[31m\\377'); ip link add \"$n\" type bridge && "
	   "ip link set va master \"$n\"");
	assert_string_equal(read_link("va").host.master, "br\\x1b[31m\\xff");
	sh("ip link set va nomaster && n=$(printf 'mv\\302\\205') && "
	   "ip link add \"$n\" link va type macvlan && ip link set \"$n\" up && "
	   "ip addr add 192.0.2.1/24 dev \"$n\"");
	assert_string_equal(read_link("va").upper, "mv\\xc2\\x85");
}

static void expect_upper(const char *interface, const char *upper)
{
	struct link link = read_link(interface);

	assert_string_equal(link.upper, upper);
	assert_int_equal(link_host_is_there(&link.upper_host), upper[0] != '\0');
	assert_false(link_host_is_there(&link.host));
}

static void test_a_host_on_a_stacked_device_is_found(void **state)
{
	sh("ip link add va type veth peer name vb && ip link set va up && ip link set vb up");
	sh("ip link add mv1 link va type macvlan && ip link add mv0 link va type macvlan");
	expect_upper("va", "");
	sh("ip addr add 192.0.2.1/24 dev mv0");
	expect_upper("va", ""); /* it is down */
	sh("ip link set mv0 up");
	expect_upper("va", "mv0");
	assert_int_equal(read_link("va").upper_host.n_addresses, 1);
	expect_upper("vb", "");
	sh("ip link del mv0 && ip link set mv1 up && ip route add default dev mv1");
	expect_upper("va", "mv1");
	assert_true(read_link("va").upper_host.has_default_route);
	sh("ip route del default dev mv1 && ip link add br0 type bridge");
	expect_upper("va", "");
	sh("ip link set mv1 master br0");
	expect_upper("va", "mv1");
	assert_string_equal(read_link("va").upper_host.master, "br0");
}

/* Its IFLA_LINK is an index of the other namespace, which here is also one of ours. */
static void test_a_device_stacked_elsewhere_is_not_ours(void **state)
{
	int elsewhere, here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	sh("ip link add va index 77 type veth peer name vb");
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	elsewhere = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	sh("ip link add wa index 77 type veth peer name wb && ip link set wa up");
	sh("ip link add mv0 link wa type macvlan && ip link set mv0 netns /proc/%d/fd/%d",
	   (int)getpid(), here);
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	sh("ip link set mv0 up && ip addr add 192.0.2.1/24 dev mv0");
	assert_int_equal(read_link("mv0").host.n_addresses, 1);
	expect_upper("va", "");
	close_fdp(&elsewhere);
	close_fdp(&here);
}

/* --- sysfs ----------------------------------------------------------------------------------- */

/* The test's own tree, as of a virtio interface: node and interrupts are the parent's. */
static void test_node_and_interrupts_are_read_one_level_up_for_virtio(void **state)
{
	char tree[] = "/tmp/sluice-sysfs-XXXXXX";
	struct link link = {.name = "n1",
			    .exists = true,
			    .ifindex = 5,
			    .is_ethernet = true,
			    .address = {2, 0, 0, 0, 0, 9},
			    .numa_node = -1};

	assert_non_null(mkdtemp(tree));
	sh("cd %s && mkdir -p class/net pci/msi_irqs pci/virtio1/net/n1/queues/rx-0 "
	   "pci/virtio1/net/n1/queues/tx-0 irq/40 irq/9 && ln -s ../../pci/virtio1/net/n1 "
	   "class/net/n1 && ln -s ../.. pci/virtio1/net/n1/device && echo 5 > class/net/n1/ifindex "
	   "&& echo 02:00:00:00:00:09 > class/net/n1/address && echo 1 > pci/numa_node && "
	   "touch pci/msi_irqs/40 pci/msi_irqs/9 && echo 2-3 > irq/40/effective_affinity_list && "
	   "echo 6 > irq/9/smp_affinity_list",
	   tree);
	assert_true(link_sysfs_read(tree, tree, true, &link));
	assert_int_equal(link.numa_node, 1);
	assert_int_equal(link.n_rx_queues, 1);
	assert_int_equal(link.n_irqs, 2);
	assert_int_equal(link.irqs[0].irq, 9);
	assert_int_equal(link.irqs[0].cpu, 6);
	assert_int_equal(link.irqs[1].irq, 40);
	assert_int_equal(link.irqs[1].cpu, 2);
	/* As of a physical one, and one that does not know its node. */
	sh("echo 3 > %s/pci/virtio1/numa_node", tree);
	assert_true(link_sysfs_read(tree, tree, false, &link));
	assert_int_equal(link.numa_node, 3);
	sh("echo -1 > %s/pci/virtio1/numa_node", tree);
	assert_true(link_sysfs_read(tree, tree, false, &link));
	assert_int_equal(link.numa_node, -1);
	sh("rm -r %s", tree);
}

/* /sys of another namespace has the name too, but another device under it. */
static void test_a_foreign_sysfs_is_not_believed(void **state)
{
	char tree[] = "/tmp/sluice-sysfs-XXXXXX";
	struct link link;

	sh("ip link add va address 02:00:00:00:00:09 type veth peer name vb");
	link = read_link("va");
	assert_non_null(mkdtemp(tree));
	sh("mkdir -p %s/class/net/va/device && echo 1 > %s/class/net/va/device/numa_node", tree,
	   tree);
	sh("echo 02:00:00:00:00:09 > %s/class/net/va/address", tree);
	sh("echo %u > %s/class/net/va/ifindex", link.ifindex + 1, tree);
	assert_false(link_sysfs_read(tree, tree, true, &link));
	assert_int_equal(link.numa_node, -1);
	sh("echo %u > %s/class/net/va/ifindex", link.ifindex, tree);
	sh("echo 02:00:00:00:00:08 > %s/class/net/va/address", tree);
	assert_false(link_sysfs_read(tree, tree, true, &link));
	sh("echo 02:00:00:00:00:09 > %s/class/net/va/address", tree);
	assert_true(link_sysfs_read(tree, tree, true, &link));
	assert_int_equal(link.numa_node, 1);
	sh("rm -r %s", tree);
}

/* --- Offloads and promiscuity ---------------------------------------------------------------- */

static void switch_offload(enum link_offload offload)
{
	uint32_t ifindex = if_nametoindex("va");

	assert_int_equal(link_set_offload(links, ifindex, offload, true), 0);
	assert_true(read_link("va").offload_on[offload]);
	assert_int_equal(link_set_offload(links, ifindex, offload, false), 0);
	assert_false(read_link("va").offload_on[offload]);
	assert_int_equal(link_set_offload(links, ifindex, offload, true), 0);
	assert_true(read_link("va").offload_on[offload]);
}

static void test_offloads_are_switched_and_read_back(void **state)
{
	uint16_t family = links->ethtool.ethtool_family;

	sh("ip link add va type veth peer name vb");
	assert_int_not_equal(family, 0);
	for (unsigned by_ioctl = 0; by_ioctl < 2; by_ioctl++) {
		links->ethtool.ethtool_family = by_ioctl ? 0 : family;
		switch_offload(LINK_OFFLOAD_RX_VLAN);
		switch_offload(LINK_OFFLOAD_GRO);
		assert_false(read_link("va").offload_fixed[LINK_OFFLOAD_RX_VLAN]);
		assert_true(read_link("va").offload_fixed[LINK_OFFLOAD_LRO]);
		assert_int_equal(
			link_set_offload(links, if_nametoindex("va"), LINK_OFFLOAD_LRO, true),
			-EOPNOTSUPP);
	}
}

/* ethtool(8) is the judge of both ways. */
static void test_netlink_and_ioctl_agree(void **state)
{
	static const char *const names[] = {"va", "br0", "lo"};
	uint16_t family = links->ethtool.ethtool_family;

	sh("ip link add va type veth peer name vb && ip link add br0 type bridge");
	sh("ethtool -K va rx-vlan-stag-hw-parse off rx-vlan-hw-parse on");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct link a, b;

		links->ethtool.ethtool_family = family;
		a = read_link(names[i]);
		links->ethtool.ethtool_family = 0;
		b = read_link(names[i]);
		assert_memory_equal(a.offload_on, b.offload_on, sizeof(a.offload_on));
		assert_memory_equal(a.offload_fixed, b.offload_fixed, sizeof(a.offload_fixed));
		for (unsigned offload = 0; offload < LINK_OFFLOAD_N; offload++)
			sh("ethtool -k %s | grep -q '%s: %s%s'", names[i],
			   offload == LINK_OFFLOAD_LRO     ? "large-receive-offload" :
			   offload == LINK_OFFLOAD_GRO     ? "generic-receive-offload" :
			   offload == LINK_OFFLOAD_RX_VLAN ? "rx-vlan-offload" :
							     link_offload_names[offload],
			   a.offload_on[offload] ? "on" : "off",
			   a.offload_fixed[offload] ? " \\[fixed\\]" : "$");
	}
	assert_true(read_link("va").offload_on[LINK_OFFLOAD_RX_VLAN]);
	assert_false(read_link("va").offload_on[LINK_OFFLOAD_RX_STAG]);
}

static void expect_promiscuity(unsigned n)
{
	sh("ip -d link show va | grep -q 'promiscuity %u '", n);
}

static void test_promiscuity_lasts_as_long_as_its_fd(void **state)
{
	uint32_t ifindex;
	int fd = -1;
	pid_t child;
	int ready[2], status;
	char byte;

	sh("ip link add va type veth peer name vb");
	ifindex = if_nametoindex("va");
	expect_promiscuity(0);
	assert_int_equal(link_hold_promiscuous(ifindex, &fd), 0);
	expect_promiscuity(1);
	close_fdp(&fd);
	expect_promiscuity(0);

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	assert_int_not_equal(child, -1);
	if (child == 0) {
		if (link_hold_promiscuous(ifindex, &fd) == 0)
			(void)!write(ready[1], "", 1);
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	expect_promiscuity(1);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	expect_promiscuity(0);
	close_fdp(&ready[0]);
	close_fdp(&ready[1]);
	assert_int_equal(link_hold_promiscuous(ifindex + 1000, &fd), -ENODEV);
}

static void test_flags_and_mtu_are_read_with_the_counters(void **state)
{
	struct link link;

	sh("ip link add va type veth peer name vb && ip link set va up && ip link set vb up");
	link = read_link("va");
	assert_true(link.is_up && link.has_carrier);
	sh("ip link set vb down && ip link set va mtu 1400");
	assert_int_equal(link_read_stats(links, link.ifindex, &link), 0);
	assert_true(link.is_up);
	assert_false(link.has_carrier);
	assert_int_equal(link.mtu, 1400);
	sh("ip link set va down");
	assert_int_equal(link_read_stats(links, link.ifindex, &link), 0);
	assert_false(link.is_up);
}

static void test_counters_are_read_alone(void **state)
{
	struct link link;

	sh("ip link add va type veth peer name vb && ip link set va up && ip link set vb up");
	sh("ip addr add 10.0.0.1/24 dev va");
	link = read_link("va");
	link.tx_dropped = 12345;
	assert_int_equal(link_read_stats(links, link.ifindex, &link), 0);
	assert_int_not_equal(link.tx_dropped, 12345);
	assert_int_equal(link.host.n_addresses, 1);
	assert_int_equal(link_read_stats(links, link.ifindex + 1000, &link), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		link_test(test_a_missing_interface_is_a_value),
		link_test(test_an_alternative_name_is_not_the_name),
		link_test(test_a_veth_tells_what_it_is),
		link_test(test_queues_of_a_veth_are_those_in_use),
		link_test(test_queues_of_a_tap_are_those_that_are_open),
		link_test(test_queues_of_a_device_without_channels),
		link_test(test_a_program_on_the_interface_is_seen),
		link_test(test_reading_needs_no_capability),
		link_test(test_addresses_are_counted_but_link_local_ones),
		link_test(test_default_routes_are_found_however_they_are_made),
		link_test(test_a_full_table_is_not_read),
		link_test(test_a_master_is_named),
		link_test(test_names_of_other_devices_are_fit_to_print),
		link_test(test_a_host_on_a_stacked_device_is_found),
		link_test(test_a_device_stacked_elsewhere_is_not_ours),
		link_test(test_node_and_interrupts_are_read_one_level_up_for_virtio),
		link_test(test_a_foreign_sysfs_is_not_believed),
		link_test(test_offloads_are_switched_and_read_back),
		link_test(test_netlink_and_ioctl_agree),
		link_test(test_promiscuity_lasts_as_long_as_its_fd),
		link_test(test_counters_are_read_alone),
		link_test(test_flags_and_mtu_are_read_with_the_counters),
	};

	return link_env_run(tests, ARRAY_SIZE(tests));
}
