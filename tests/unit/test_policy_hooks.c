/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which functions on netfilter's hooks count. The answers of the hook dump are made here: the
 * machines that run the tests may have kernels without it.
 */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_hook.h>
#include <string.h>

#include "control/policy_internal.h"
#include "unit.h"
#include "util/macros.h"

static struct policy policy = {.all = 3, .netfilter = {.socket = (void *)&policy}};
static struct policy_state state;

/* What stands on the hook (nfproto, hooknum); nothing elsewhere. */
static struct {
	uint8_t nfproto;
	uint32_t hooknum;
	const char *function;
	const char *device;
	int32_t priority;
	bool is_nft;
	int error;
} world;
static struct policy_hooks told; /* to the judge of x_tables */

int __wrap_policy_dump(struct nl *nl, struct nlmsghdr *request,
		       void (*fn)(const struct nlmsghdr *answer, void *arg),
		       void (*reset)(void *arg), void *arg);
int __wrap_policy_judge_xtables(struct policy *p, struct policy_state *io_state,
				const struct policy_hooks *hooks);

static void answer(void (*fn)(const struct nlmsghdr *answer, void *arg), void *arg)
{
	_Alignas(struct nlmsghdr) char buffer[512];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct nlattr *nest;

	mnl_nlmsg_put_extra_header(nlh, sizeof(struct nfgenmsg));
	mnl_attr_put_strz(nlh, NFNLA_HOOK_FUNCTION_NAME, world.function);
	mnl_attr_put_strz(nlh, NFNLA_HOOK_MODULE_NAME, "some_module");
	mnl_attr_put_u32(nlh, NFNLA_HOOK_PRIORITY, htonl((uint32_t)world.priority));
	if (world.is_nft) {
		nest = mnl_attr_nest_start(nlh, NFNLA_HOOK_CHAIN_INFO);
		mnl_attr_put_u32(nlh, NFNLA_HOOK_INFO_TYPE, htonl(NFNL_HOOK_TYPE_NFTABLES));
		mnl_attr_nest_end(nlh, nest);
	}
	fn(nlh, arg);
}

int __wrap_policy_dump(struct nl *nl, struct nlmsghdr *request,
		       void (*fn)(const struct nlmsghdr *answer, void *arg),
		       void (*reset)(void *arg), void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(request);
	const char *device = NULL;
	const struct nlattr *attr;
	uint32_t hooknum = UINT32_MAX;

	if (request->nlmsg_type >> 8 != NFNL_SUBSYS_HOOK)
		return 0; /* nf_tables knows nothing */
	if (world.error)
		return world.error;
	mnl_attr_for_each (attr, request, sizeof(*nfg)) {
		if (mnl_attr_get_type(attr) == NFNLA_HOOK_HOOKNUM)
			hooknum = ntohl(mnl_attr_get_u32(attr));
		else if (mnl_attr_get_type(attr) == NFNLA_HOOK_DEV)
			device = mnl_attr_get_str(attr);
	}
	if (nfg->nfgen_family == world.nfproto && hooknum == world.hooknum &&
	    (!world.device || (device && strcmp(device, world.device) == 0)))
		answer(fn, arg);
	return 0;
}

int __wrap_policy_judge_xtables(struct policy *p, struct policy_state *io_state,
				const struct policy_hooks *hooks)
{
	told = *hooks;
	return 0;
}

static void judge(uint8_t nfproto, uint32_t hooknum, const char *function)
{
	world.nfproto = nfproto;
	world.hooknum = hooknum;
	world.function = function;
	state = (struct policy_state){0};
	assert_int_equal(policy_judge_netfilter(&policy, &state), 0);
	assert_true(told.is_known);
}

static int setup(void **test_state)
{
	memset(&world, 0, sizeof(world));
	for (unsigned i = 0; i < 2; i++) {
		policy.ports[i].ifindex = 7 + i;
		(void)snprintf(policy.ports[i].interface, IF_NAMESIZE, "eth%u", i);
	}
	return 0;
}

static void test_what_forwarded_packets_meet_counts(void **test_state)
{
	static const uint32_t hooks[] = {NF_INET_PRE_ROUTING, NF_INET_FORWARD,
					 NF_INET_POST_ROUTING};

	for (unsigned i = 0; i < ARRAY_SIZE(hooks); i++) {
		judge(NFPROTO_IPV4, hooks[i], "ipv4_conntrack_in");
		assert_int_equal(state.ports[POLICY_NETFILTER4], 3);
		assert_int_equal(state.ports[POLICY_NETFILTER6], 0);
		assert_string_equal(state.what[POLICY_NETFILTER4],
				    "hook function ipv4_conntrack_in of some_module");
		judge(NFPROTO_IPV6, hooks[i], "ip_vs_forward_icmp_v6");
		assert_int_equal(state.ports[POLICY_NETFILTER4], 0);
		assert_int_equal(state.ports[POLICY_NETFILTER6], 3);
	}
}

static void test_what_local_packets_meet_does_not(void **test_state)
{
	judge(NFPROTO_IPV4, NF_INET_LOCAL_IN, "nf_confirm");
	assert_int_equal(state.ports[POLICY_NETFILTER4], 0);
	judge(NFPROTO_IPV6, NF_INET_LOCAL_OUT, "ipv6_conntrack_local");
	assert_int_equal(state.ports[POLICY_NETFILTER6], 0);
}

static void test_what_is_judged_elsewhere_or_harmless_does_not(void **test_state)
{
	static const char *const functions[] = {"apparmor_ip_postroute", "ipt_do_table",
						"ip6t_do_table", "iptable_filter_hook",
						"nf_nat_ipv4_out"};

	for (unsigned i = 0; i < ARRAY_SIZE(functions); i++) {
		judge(NFPROTO_IPV4, NF_INET_POST_ROUTING, functions[i]);
		assert_int_equal(state.ports[POLICY_NETFILTER4], 0);
	}
	world.is_nft = true;
	judge(NFPROTO_IPV4, NF_INET_FORWARD, "nft_do_chain_ipv4");
	assert_int_equal(state.ports[POLICY_NETFILTER4], 0);
}

/* By name they are told apart no more: each has its priority. */
static void test_legacy_tables_that_stand_are_told_by_their_priority(void **test_state)
{
	static const int32_t priorities[] = {-450, -300, -150, 0, 50};
	uint8_t seen = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(priorities); i++) {
		world.priority = priorities[i];
		judge(NFPROTO_IPV4, NF_INET_PRE_ROUTING, "ipt_do_table");
		assert_int_equal(state.ports[POLICY_NETFILTER4], 0);
		assert_int_equal(told.xtables[0], 1 << policy_xt_table(priorities[i]));
		assert_int_equal(told.xtables[0] & seen, 0);
		assert_int_equal(told.xtables[1], 0);
		seen |= told.xtables[0];
		judge(NFPROTO_IPV6, NF_INET_FORWARD, "ip6table_mangle_hook");
		assert_int_equal(told.xtables[0], 0);
		assert_int_equal(told.xtables[1], 1 << policy_xt_table(priorities[i]));
	}
	world.priority = -7; /* of a table that nobody here knows */
	judge(NFPROTO_IPV4, NF_INET_FORWARD, "ipt_do_table");
	assert_int_equal(state.ports[POLICY_NETFILTER4], 3);
	assert_int_equal(told.xtables[0], 0);
	judge(NFPROTO_IPV4, NF_INET_FORWARD, "nf_nat_ipv4_out");
	assert_int_equal(told.xtables[0], 0);
}

static void test_ingress_of_a_device_is_its_ports(void **test_state)
{
	world.device = "eth1";
	judge(NFPROTO_NETDEV, NF_NETDEV_INGRESS, "nf_flow_offload_inet_hook");
	assert_int_equal(state.ports[POLICY_NETFILTER4], 2);
	assert_int_equal(state.ports[POLICY_NETFILTER6], 2);
}

static void test_a_kernel_without_the_dump_is_asked_otherwise(void **test_state)
{
	world.error = -EINVAL;
	assert_int_equal(policy_judge_netfilter(&policy, &state), 0);
	assert_false(told.is_known);
}

static void test_a_dump_that_fails_is_told(void **test_state)
{
	world.error = -EPERM;
	assert_int_equal(policy_judge_netfilter(&policy, &state), -EPERM);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_what_forwarded_packets_meet_counts, setup),
		cmocka_unit_test_setup(test_what_local_packets_meet_does_not, setup),
		cmocka_unit_test_setup(test_what_is_judged_elsewhere_or_harmless_does_not, setup),
		cmocka_unit_test_setup(test_legacy_tables_that_stand_are_told_by_their_priority,
				       setup),
		cmocka_unit_test_setup(test_ingress_of_a_device_is_its_ports, setup),
		cmocka_unit_test_setup(test_a_kernel_without_the_dump_is_asked_otherwise, setup),
		cmocka_unit_test_setup(test_a_dump_that_fails_is_told, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
