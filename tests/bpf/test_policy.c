/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control/policy against a real kernel: in a namespace of its own each test switches one thing on
 * and off again with the operator's tools, asks, and holds the answer to what the kernel would do
 * with forwarded packets. What is notified must wake the poller within 100 ms.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "control/policy.h"
#include "control/policy_internal.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/macros.h"

#define EXIT_SKIPPED 77
#define WAKE_MS      100

#define PORT_A 1ULL /* pa, place 0 */
#define PORT_B 4ULL /* pb, place 2 */
#define BOTH   (PORT_A | PORT_B)

static struct policy *policy;
static struct policy_state state;
static struct policy_port ports[ROUTE_MAX_PORTS];
static bool has_no_events; /* of the kind under test: found by asking once a second */

static void __attribute__((format(printf, 1, 2))) sh(const char *fmt, ...)
{
	char command[512];
	va_list args;
	int status;

	va_start(args, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	status = system(command);
	if (status != 0)
		fail_msg("%s: status %d", command, status);
}

static int enter(void **test_state)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	sh("ip link add pa type veth peer name xa && ip link add pb type veth peer name xb");
	sh("for i in pa xa pb xb; do ip link set $i up; done");
	sh("echo 1 >/proc/sys/net/ipv4/ip_forward");
	sh("for i in all pa pb; do echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter; done");
	sh("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");
	memset(ports, 0, sizeof(ports));
	ports[0].ifindex = if_nametoindex("pa");
	ports[2].ifindex = if_nametoindex("pb");
	(void)snprintf(ports[0].interface, IF_NAMESIZE, "pa");
	(void)snprintf(ports[2].interface, IF_NAMESIZE, "pb");
	has_no_events = false;
	if (policy_open(&policy) < 0)
		return -1;
	policy_configure(policy, ports, RT_TABLE_MAIN, "", false);
	return 0;
}

static int leave(void **test_state)
{
	policy_close(policy);
	policy = NULL;
	return 0;
}

static void expect_state(enum policy_kind kind, uint64_t expected)
{
	for (unsigned i = 0; i < POLICY_N; i++) {
		uint64_t want = i == kind ? expected : 0;

		if (state.ports[i] != want)
			fail_msg("%s: ports %#llx (%s), expected %#llx", policy_names[i],
				 (unsigned long long)state.ports[i], state.what[i],
				 (unsigned long long)want);
		if (want != 0)
			assert_string_not_equal(state.what[i], "");
	}
}

/* Runs it; waits to be told, if this is told; asks. Nothing but `kind` may be in force. */
static void after(const char *command, enum policy_kind kind, uint64_t expected)
{
	int fds[POLICY_MAX_FDS];
	struct pollfd polls[POLICY_MAX_FDS];
	unsigned n = policy_fds(policy, fds);

	(void)policy_drain(policy);
	sh("%s", command);
	for (unsigned i = 0; i < n; i++)
		polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	if (!has_no_events) {
		assert_int_not_equal(poll(polls, n, WAKE_MS), 0);
		assert_true(policy_drain(policy));
	}
	policy_refresh(policy, &state);
	expect_state(kind, expected);
}

/* It must also be seen by one who comes later. */
static void restart(enum policy_kind kind, uint64_t expected)
{
	policy_close(policy);
	assert_int_equal(policy_open(&policy), 0);
	policy_configure(policy, ports, RT_TABLE_MAIN, "", false);
	policy_refresh(policy, &state);
	expect_state(kind, expected);
}

static void after_quiet(const char *command, enum policy_kind kind, uint64_t expected)
{
	has_no_events = true;
	after(command, kind, expected);
	has_no_events = false;
}

static void harmless(const char *command)
{
	after_quiet(command, POLICY_UNKNOWN, 0);
}

static void expect_what(enum policy_kind kind, const char *word)
{
	if (!strstr(state.what[kind], word))
		fail_msg("%s: '%s' does not name %s", policy_names[kind], state.what[kind], word);
}

static void test_nothing_is_in_force_on_a_plain_router(void **test_state)
{
	policy_refresh(policy, &state);
	expect_state(POLICY_UNKNOWN, 0);
	assert_int_equal(policy_routes(&state, 0), SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6);
	assert_int_equal(policy_rpf(policy, 0), ROUTE_RPF_OFF);
}

static void test_forwarding_of_a_port(void **test_state)
{
	after("echo 0 >/proc/sys/net/ipv4/conf/pb/forwarding", POLICY_FORWARDING4, PORT_B);
	assert_int_equal(policy_routes(&state, 2), SLUICE_ROUTES_IPV6);
	assert_int_equal(policy_routes(&state, 0), SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6);
	restart(POLICY_FORWARDING4, PORT_B);
	after("echo 1 >/proc/sys/net/ipv4/conf/pb/forwarding", POLICY_FORWARDING4, 0);
}

static void test_forwarding6_is_the_hosts(void **test_state)
{
	after("echo 0 >/proc/sys/net/ipv6/conf/all/forwarding", POLICY_FORWARDING6, BOTH);
	assert_int_equal(policy_routes(&state, 0), SLUICE_ROUTES_IPV4);
	restart(POLICY_FORWARDING6, BOTH);
	after("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding", POLICY_FORWARDING6, 0);
	/* Of one device it only says whether it acts as a router. */
	harmless("echo 0 >/proc/sys/net/ipv6/conf/pa/forwarding");
	after_quiet("echo 1 >/proc/sys/net/ipv6/conf/pa/disable_ipv6", POLICY_FORWARDING6, PORT_A);
}

static void test_a_port_may_forward_ipv6_alone(void **test_state)
{
	if (access("/proc/sys/net/ipv6/conf/all/force_forwarding", F_OK) < 0)
		skip();
	after("echo 0 >/proc/sys/net/ipv6/conf/all/forwarding", POLICY_FORWARDING6, BOTH);
	after_quiet("echo 1 >/proc/sys/net/ipv6/conf/pa/force_forwarding", POLICY_FORWARDING6,
		    PORT_B);
}

static void test_rp_filter_is_told_and_obeyed(void **test_state)
{
	after("echo 1 >/proc/sys/net/ipv4/conf/pa/rp_filter", POLICY_RP_FILTER, PORT_A);
	assert_int_equal(policy_rpf(policy, 0), ROUTE_RPF_STRICT);
	assert_int_equal(policy_rpf(policy, 2), ROUTE_RPF_OFF);
	assert_int_equal(policy_routes(&state, 0), SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6);
	after("echo 2 >/proc/sys/net/ipv4/conf/all/rp_filter", POLICY_RP_FILTER, BOTH);
	assert_int_equal(policy_rpf(policy, 0), ROUTE_RPF_LOOSE);
	restart(POLICY_RP_FILTER, BOTH);
	sh("echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter");
	after("echo 0 >/proc/sys/net/ipv4/conf/pa/rp_filter", POLICY_RP_FILTER, 0);
}

static void test_rules(void **test_state)
{
	static const struct {
		const char *rule;
		uint64_t ports;
	} cases[] = {
		{"from 10.0.0.0/8 lookup 100", BOTH},
		{"to 10.0.0.0/8 unreachable", BOTH},
		{"iif pa lookup 100", PORT_A},
		{"iif xa lookup 100", 0},
		{"iif lo lookup 100", 0},
		{"oif pa lookup 100", 0},
		{"uidrange 0-10 lookup 100", 0},
		{"fwmark 7 lookup 100", 0},
		{"not fwmark 7 lookup 100", BOTH},
		{"fwmark 0/0xff from 10.0.0.0/8 lookup 100", BOTH},
		{"ipproto tcp dport 80 lookup 100", BOTH},
		{"dsfield 0x10 lookup 100", BOTH},
		{"lookup 100", BOTH},
		{"from 10.0.0.0/8 lookup main", 0},
		{"lookup main suppress_prefixlength 0", 0},
		{"blackhole", BOTH},
		{"goto 32766", BOTH},
		{"nop", 0},
	};
	char command[256];

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(command, sizeof(command), "ip rule add pref 500 %s", cases[i].rule);
		print_message("%s\n", command);
		after(command, POLICY_RULE4, cases[i].ports);
		restart(POLICY_RULE4, cases[i].ports);
		after("ip rule del pref 500", POLICY_RULE4, 0);
	}
	after("ip -6 rule add pref 500 from 2001:db8::/32 lookup 100", POLICY_RULE6, BOTH);
	expect_what(POLICY_RULE6, "500");
	after("ip -6 rule del pref 500", POLICY_RULE6, 0);
	/* What comes after main is asked for what main does not have: and that is the kernel's. */
	harmless("ip rule add pref 40000 lookup 100");
}

/* The reply to a packet leaves as if it came in by the other port. */
static void test_a_rule_concerns_ports_that_check_sources(void **test_state)
{
	sh("echo 1 >/proc/sys/net/ipv4/conf/pb/rp_filter; ip rule add pref 500 iif pa lookup 100");
	policy_refresh(policy, &state);
	assert_int_equal(state.ports[POLICY_RULE4], BOTH);
}

static void test_another_table_has_to_be_reached(void **test_state)
{
	policy_configure(policy, ports, 100, "", false);
	policy_refresh(policy, &state);
	assert_int_equal(state.ports[POLICY_TABLE4], BOTH);
	assert_int_equal(state.ports[POLICY_TABLE6], BOTH);
	expect_what(POLICY_TABLE4, "100");
	sh("ip rule add pref 500 iif pa lookup 100; ip -6 rule add pref 500 lookup 100");
	policy_refresh(policy, &state);
	expect_state(POLICY_TABLE4, PORT_B);
	after("ip rule add pref 501 iif pb lookup 100", POLICY_TABLE4, 0);
	after("ip rule del pref 500", POLICY_TABLE4, PORT_A);
}

static void test_xfrm(void **test_state)
{
	after("ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir fwd", POLICY_XFRM4, BOTH);
	restart(POLICY_XFRM4, BOTH);
	after("ip xfrm policy flush", POLICY_XFRM4, 0);
	after("ip xfrm policy add src 2001:db8::/32 dst ::/0 dir out", POLICY_XFRM6, BOTH);
	after("ip xfrm policy flush", POLICY_XFRM6, 0);
	harmless("ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir in");
	sh("ip xfrm policy setdefault fwd block");
	policy_refresh(policy, &state);
	assert_int_equal(state.ports[POLICY_XFRM4], BOTH);
	assert_int_equal(state.ports[POLICY_XFRM6], BOTH);
}

static void test_nftables_by_hook(void **test_state)
{
	static const char *const seen[] = {"prerouting", "forward", "postrouting"};
	static const char *const unseen[] = {"input", "output"};
	char command[256];

	harmless("nft add table ip t");
	for (unsigned i = 0; i < ARRAY_SIZE(seen); i++) {
		(void)snprintf(command, sizeof(command),
			       "nft add chain ip t c '{ type filter hook %s priority 0; }'",
			       seen[i]);
		after(command, POLICY_NETFILTER4, 0);
		after("nft add rule ip t c counter", POLICY_NETFILTER4, BOTH);
		expect_what(POLICY_NETFILTER4, "table ip t chain c");
		restart(POLICY_NETFILTER4, BOTH);
		after("nft flush chain ip t c", POLICY_NETFILTER4, 0);
		after("nft add chain ip t c '{ policy drop; }'", POLICY_NETFILTER4, BOTH);
		after("nft delete chain ip t c", POLICY_NETFILTER4, 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(unseen); i++) {
		(void)snprintf(command, sizeof(command),
			       "nft add chain ip t c '{ type filter hook %s priority 0; }'"
			       " && nft add rule ip t c counter",
			       unseen[i]);
		after(command, POLICY_NETFILTER4, 0);
		after("nft delete chain ip t c", POLICY_NETFILTER4, 0);
	}
	after("nft add chain ip t plain && nft add rule ip t plain drop", POLICY_NETFILTER4, 0);
}

static void test_nftables_by_family(void **test_state)
{
	after("nft add table ip6 t && nft add chain ip6 t c"
	      " '{ type filter hook forward priority 0; policy drop; }'",
	      POLICY_NETFILTER6, BOTH);
	after("nft delete table ip6 t", POLICY_NETFILTER6, 0);
	sh("nft add table inet t && nft add chain inet t c"
	   " '{ type filter hook forward priority 0; policy drop; }'");
	policy_refresh(policy, &state);
	assert_int_equal(state.ports[POLICY_NETFILTER4], BOTH);
	assert_int_equal(state.ports[POLICY_NETFILTER6], BOTH);
	expect_what(POLICY_NETFILTER6, "table inet t chain c");
	sh("nft delete table inet t");
	harmless("nft add table bridge t && nft add chain bridge t c"
		 " '{ type filter hook forward priority 0; policy drop; }'");
}

static void test_nftables_of_devices(void **test_state)
{
	static const char chain[] = "nft add table %s t && nft add chain %s t c"
				    " '{ type filter hook %s device %s priority 0; }'"
				    " && nft add rule %s t c counter";

	sh(chain, "netdev", "netdev", "ingress", "pa", "netdev");
	policy_refresh(policy, &state);
	assert_int_equal(state.ports[POLICY_NETFILTER4], PORT_A);
	assert_int_equal(state.ports[POLICY_NETFILTER6], PORT_A);
	sh("nft delete table netdev t");
	sh(chain, "inet", "inet", "ingress", "pb", "inet");
	policy_refresh(policy, &state);
	assert_int_equal(state.ports[POLICY_NETFILTER4], PORT_B);
	sh("nft delete table inet t");
	sh(chain, "netdev", "netdev", "ingress", "xa", "netdev");
	policy_refresh(policy, &state);
	expect_state(POLICY_UNKNOWN, 0);
	sh("nft delete table netdev t");
	/* Anybody's packets may leave by it. */
	if (system("nft 'add table netdev t; add chain netdev t c"
		   " { type filter hook egress device pa priority 0; }' 2>/dev/null") == 0) {
		sh("nft add rule netdev t c counter");
		policy_refresh(policy, &state);
		assert_int_equal(state.ports[POLICY_NETFILTER4], BOTH);
	}
}

/* Tracking sees every packet once any rule wants it, also one for the host's own. */
static void test_connection_tracking(void **test_state)
{
	sh("nft add table ip t && nft add chain ip t c '{ type filter hook input priority 0; }'");
	after("nft add rule ip t c ct state established accept", POLICY_NETFILTER4, BOTH);
	after("nft delete table ip t", POLICY_NETFILTER4, 0);
	after_quiet("iptables-legacy -A INPUT -m conntrack --ctstate NEW -j DROP",
		    POLICY_NETFILTER4, BOTH);
	after_quiet("iptables-legacy -F INPUT", POLICY_NETFILTER4, 0);
	after("iptables-nft -A INPUT -m connbytes --connbytes 10 --connbytes-dir both"
	      " --connbytes-mode packets -j DROP",
	      POLICY_NETFILTER4, BOTH);
	after("iptables-nft -F INPUT", POLICY_NETFILTER4, 0);
}

static void test_bypass_netfilter(void **test_state)
{
	policy_configure(policy, ports, RT_TABLE_MAIN, "", true);
	sh("nft add table ip t && nft add chain ip t c"
	   " '{ type filter hook forward priority 0; policy drop; }'");
	policy_refresh(policy, &state);
	expect_state(POLICY_UNKNOWN, 0);
	assert_true(state.netfilter_bypassed);
	expect_what(POLICY_NETFILTER4, "chain c");
	sh("nft delete table ip t");
	policy_refresh(policy, &state);
	assert_false(state.netfilter_bypassed);
}

static void test_legacy_iptables(void **test_state)
{
	harmless("iptables-legacy -t filter -L -n >/dev/null && "
		 "iptables-legacy -t nat -L -n >/dev/null && "
		 "iptables-legacy -t mangle -L -n >/dev/null && "
		 "ip6tables-legacy -t filter -L -n >/dev/null");
	harmless("iptables-legacy -A INPUT -s 10.9.9.9 -j DROP");
	harmless("iptables-legacy -N own && iptables-legacy -A own -j DROP");
	after_quiet("iptables-legacy -P FORWARD DROP", POLICY_NETFILTER4, BOTH);
	expect_what(POLICY_NETFILTER4, "iptables table filter chain FORWARD");
	restart(POLICY_NETFILTER4, BOTH);
	after_quiet("iptables-legacy -P FORWARD ACCEPT", POLICY_NETFILTER4, 0);
	after_quiet("iptables-legacy -A FORWARD -s 10.9.9.9", POLICY_NETFILTER4, BOTH);
	after_quiet("iptables-legacy -F FORWARD", POLICY_NETFILTER4, 0);
	after_quiet("iptables-legacy -t mangle -A POSTROUTING -j TTL --ttl-inc 1",
		    POLICY_NETFILTER4, BOTH);
	expect_what(POLICY_NETFILTER4, "table mangle chain POSTROUTING");
	after_quiet("iptables-legacy -t mangle -F", POLICY_NETFILTER4, 0);
	after_quiet("ip6tables-legacy -P FORWARD DROP", POLICY_NETFILTER6, BOTH);
	after_quiet("ip6tables-legacy -P FORWARD ACCEPT", POLICY_NETFILTER6, 0);
}

/* Each asked for by name, which would create it if it were another one that stands there. */
static void test_a_legacy_table_is_known_by_its_priority(void **test_state)
{
	static const int32_t standing[] = {-450, -300, -150, 0, 50};
	static const int32_t others[] = {-400, -225, -200, -100, 1, 49, 100, 300, INT32_MAX};

	for (unsigned i = 0; i < ARRAY_SIZE(standing); i++) {
		assert_in_range(policy_xt_table(standing[i]), 0, 7);
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(policy_xt_table(standing[i]),
					     policy_xt_table(standing[j]));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(policy_xt_table(others[i]), -1);
}

static void test_asking_creates_no_legacy_table(void **test_state)
{
	sh("test -z \"$(cat /proc/net/ip_tables_names /proc/net/ip6_tables_names)\"");
	policy_refresh(policy, &state);
	sh("test -z \"$(cat /proc/net/ip_tables_names /proc/net/ip6_tables_names)\"");
	sh("iptables-legacy -t mangle -L -n >/dev/null");
	policy_refresh(policy, &state);
	sh("test \"$(cat /proc/net/ip_tables_names /proc/net/ip6_tables_names)\" = mangle");
}

static void test_pmtu(void **test_state)
{
	after_quiet("echo 1 >/proc/sys/net/ipv4/ip_forward_use_pmtu", POLICY_PMTU4, BOTH);
	after_quiet("echo 0 >/proc/sys/net/ipv4/ip_forward_use_pmtu", POLICY_PMTU4, 0);
}

/* ip6_forward() goes by the MTU of the device that a packet leaves by, whichever it came in by. */
static void test_mtu_of_ipv6_alone(void **test_state)
{
	harmless("ip link set pa mtu 1400");
	harmless("ip link set pa mtu 1500");
	after_quiet("echo 1300 >/proc/sys/net/ipv6/conf/pb/mtu", POLICY_MTU6, BOTH);
	expect_what(POLICY_MTU6, "net.ipv6.conf.pb.mtu = 1300");
	assert_int_equal(policy_routes(&state, 0), SLUICE_ROUTES_IPV4);
	restart(POLICY_MTU6, BOTH);
	after_quiet("echo 1500 >/proc/sys/net/ipv6/conf/pb/mtu", POLICY_MTU6, 0);
}

static void test_tc(void **test_state)
{
	static const char filter[] = "tc filter add dev %s %s protocol all u32 match u32 0 0"
				     " classid 1:1";
	char command[256];

	after("tc qdisc add dev pa clsact", POLICY_TC, 0);
	(void)snprintf(command, sizeof(command), filter, "pa", "ingress");
	after(command, POLICY_TC, PORT_A);
	expect_what(POLICY_TC, "ingress of pa");
	restart(POLICY_TC, PORT_A);
	after("tc filter del dev pa ingress", POLICY_TC, 0);
	(void)snprintf(command, sizeof(command), filter, "pa", "egress");
	after(command, POLICY_TC, BOTH);
	after("tc qdisc del dev pa clsact", POLICY_TC, 0);
	(void)snprintf(command, sizeof(command), filter, "pb", "ingress");
	sh("tc qdisc add dev pb ingress");
	after(command, POLICY_TC, PORT_B);
	after("tc qdisc del dev pb ingress", POLICY_TC, 0);
	after("tc qdisc add dev pa root pfifo", POLICY_TC, 0);
	after("tc qdisc replace dev pa root tbf rate 1mbit burst 10k latency 10ms", POLICY_TC,
	      BOTH);
	after("tc qdisc del dev pa root", POLICY_TC, 0);
	/* Of a device that is no port. */
	harmless("tc qdisc add dev xa root tbf rate 1mbit burst 10k latency 10ms");
}

/* BPF_LINK_CREATE by number: Debian 12's headers do not know tcx. */
static int attach_tcx(uint32_t ifindex, uint32_t attach_type)
{
	static const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_SCHED_CLS,
		.insns = (uintptr_t)code,
		.insn_cnt = ARRAY_SIZE(code),
		.license = (uintptr_t) "GPL",
	};
	_cleanup_close_ int prog = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	union bpf_attr link = {0};

	assert_true(prog >= 0);
	link.link_create.prog_fd = (uint32_t)prog;
	link.link_create.target_ifindex = ifindex;
	link.link_create.attach_type = attach_type;
	return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof(link));
}

static void test_tcx(void **test_state)
{
	int link = attach_tcx(ports[0].ifindex, 46);

	if (link < 0 && errno == EINVAL)
		skip();
	assert_true(link >= 0);
	policy_refresh(policy, &state);
	expect_state(POLICY_TC, PORT_A);
	expect_what(POLICY_TC, "tcx");
	close_fdp(&link);
	link = attach_tcx(ports[2].ifindex, 47);
	assert_true(link >= 0);
	policy_refresh(policy, &state);
	expect_state(POLICY_TC, BOTH);
	close_fdp(&link);
	policy_refresh(policy, &state);
	expect_state(POLICY_TC, 0);
}

static void test_a_vrf_that_the_port_is_not_in(void **test_state)
{
	policy_configure(policy, ports, 77, "red", false);
	policy_refresh(policy, &state);
	assert_int_equal(state.ports[POLICY_VRF], BOTH);
	assert_int_equal(state.ports[POLICY_TABLE4], BOTH);
	expect_what(POLICY_VRF, "red");
	assert_int_equal(policy_routes(&state, 0), 0);
}

static void test_a_refresh_costs_about_a_millisecond(void **test_state)
{
	uint64_t best_ns = UINT64_MAX;

	for (unsigned i = 0; i < 20; i++) {
		uint64_t start_ns = clock_now_ns();

		policy_refresh(policy, &state);
		best_ns = MIN(best_ns, clock_now_ns() - start_ns);
	}
	print_message("refresh: %.2f ms\n", (double)best_ns / NSEC_PER_MSEC);
	assert_in_range(best_ns, 1, 5 * NSEC_PER_MSEC);
}

int main(void)
{
#define policy_test(fn) cmocka_unit_test_setup_teardown(fn, enter, leave)
	static const struct CMUnitTest tests[] = {
		policy_test(test_nothing_is_in_force_on_a_plain_router),
		policy_test(test_forwarding_of_a_port),
		policy_test(test_forwarding6_is_the_hosts),
		policy_test(test_a_port_may_forward_ipv6_alone),
		policy_test(test_rp_filter_is_told_and_obeyed),
		policy_test(test_rules),
		policy_test(test_a_rule_concerns_ports_that_check_sources),
		policy_test(test_another_table_has_to_be_reached),
		policy_test(test_xfrm),
		policy_test(test_nftables_by_hook),
		policy_test(test_nftables_by_family),
		policy_test(test_nftables_of_devices),
		policy_test(test_connection_tracking),
		policy_test(test_bypass_netfilter),
		policy_test(test_legacy_iptables),
		policy_test(test_a_legacy_table_is_known_by_its_priority),
		policy_test(test_asking_creates_no_legacy_table),
		policy_test(test_pmtu),
		policy_test(test_mtu_of_ipv6_alone),
		policy_test(test_tc),
		policy_test(test_tcx),
		policy_test(test_a_vrf_that_the_port_is_not_in),
		policy_test(test_a_refresh_costs_about_a_millisecond),
	};

	if (geteuid() != 0 || system("command -v nft iptables-legacy >/dev/null") != 0) {
		(void)printf("skipped: needs root, nft and iptables-legacy\n");
		return EXIT_SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
