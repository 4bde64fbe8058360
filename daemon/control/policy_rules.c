/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Do packets of a port find their route in the table that the FIB holds? Rules and VRFs. */
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "control/policy_internal.h"
#include "util/macros.h"

struct rules {
	struct policy_rule *rules;
	unsigned n;
	int error;
};

static void rules_done(struct rules *rules)
{
	free(rules->rules);
}

static void reset(void *arg)
{
	struct rules *rules = arg;

	rules->n = 0;
	rules->error = 0;
}

static void take_rule(const struct nlmsghdr *nlh, void *arg)
{
	struct rules *rules = arg;
	struct policy_rule *grown;
	int r;

	if (nlh->nlmsg_type != RTM_NEWRULE)
		return;
	/* Room for twice as many whenever a power of two is full. */
	if ((rules->n & (rules->n - 1)) == 0) {
		grown = reallocarray(rules->rules, MAX(2 * rules->n, 8u), sizeof(*grown));
		if (!grown) {
			rules->error = -ENOMEM;
			return;
		}
		rules->rules = grown;
	}
	r = policy_rule_parse(nlh, &rules->rules[rules->n]);
	if (r < 0)
		rules->error = r;
	else
		rules->n++;
}

static int dump_rules(struct policy *policy, uint8_t family, struct rules *rules)
{
	_Alignas(struct nlmsghdr) char buffer[64];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct fib_rule_hdr *frh;
	int r;

	nlh->nlmsg_type = RTM_GETRULE;
	frh = mnl_nlmsg_put_extra_header(nlh, sizeof(*frh));
	frh->family = family;
	r = policy_dump(&policy->route, nlh, take_rule, reset, rules);
	return r < 0 ? r : rules->error;
}

static void judge_port(const struct policy *policy, struct policy_state *io_state, bool is_ip6,
		       const struct rules *rules, unsigned port)
{
	enum policy_kind rule_kind = is_ip6 ? POLICY_RULE6 : POLICY_RULE4;
	enum policy_kind table_kind = is_ip6 ? POLICY_TABLE6 : POLICY_TABLE4;
	unsigned which;

	switch (policy_rule_walk(rules->rules, rules->n, policy->ports[port].interface, policy->vrf,
				 policy->table, &which)) {
	case POLICY_RULE_REACHED:
		break;
	case POLICY_RULE_OTHER:
		policy_concern(io_state, rule_kind, 1ULL << port, "rule %u (ip %srule)",
			       rules->rules[which].priority, is_ip6 ? "-6 " : "");
		break;
	case POLICY_RULE_MISSED:
		if (policy->vrf[0] != '\0')
			policy_concern(io_state, table_kind, 1ULL << port,
				       "no rule leads to VRF %s", policy->vrf);
		else
			policy_concern(io_state, table_kind, 1ULL << port,
				       "no rule leads to table %u", policy->table);
		break;
	}
}

/*
 * The kernel looks a source up as if the reply came from the port that the packet leaves by, so
 * what the rules do to one route port is of interest to every port that checks sources.
 */
static void judge_sources(struct policy_state *io_state)
{
	uint64_t checking = io_state->ports[POLICY_RP_FILTER];

	if (io_state->ports[POLICY_RULE4] != 0)
		policy_concern(io_state, POLICY_RULE4, checking, "rules");
	if (io_state->ports[POLICY_TABLE4] != 0)
		policy_concern(io_state, POLICY_TABLE4, checking, "rules");
}

static int judge_family(struct policy *policy, struct policy_state *io_state, bool is_ip6)
{
	_cleanup_(rules_done) struct rules rules = {0};
	int r = dump_rules(policy, is_ip6 ? AF_INET6 : AF_INET, &rules);

	if (r < 0 && !policy_is_absent(r))
		return r;
	/* A kernel without rules looks into local and main. */
	if (r < 0 && policy->table == RT_TABLE_MAIN && policy->vrf[0] == '\0')
		return 0;
	for (uint64_t left = policy->all; left != 0; left &= left - 1)
		judge_port(policy, io_state, is_ip6, &rules, (unsigned)__builtin_ctzll(left));
	return 0;
}

int policy_judge_rules(struct policy *policy, struct policy_state *io_state)
{
	int r4 = judge_family(policy, io_state, false);
	int r6 = judge_family(policy, io_state, true);

	judge_sources(io_state);
	return r4 < 0 ? r4 : r6;
}

/* --- VRF ------------------------------------------------------------------------------------- */

struct membership {
	uint32_t master;
	bool is_vrf;
};

static void take_link(const struct nlmsghdr *nlh, void *arg)
{
	struct membership *member = arg;
	const struct nlattr *attr, *info;

	if (nlh->nlmsg_type != RTM_NEWLINK)
		return;
	mnl_attr_for_each (attr, nlh, sizeof(struct ifinfomsg)) {
		if (mnl_attr_get_type(attr) == IFLA_MASTER)
			member->master = mnl_attr_get_u32(attr);
		if (mnl_attr_get_type(attr) != IFLA_LINKINFO)
			continue;
		mnl_attr_for_each_nested (info, attr) {
			if (mnl_attr_get_type(info) == IFLA_INFO_SLAVE_KIND)
				member->is_vrf = mnl_attr_get_payload_len(info) >= 3 &&
						 memcmp(mnl_attr_get_payload(info), "vrf", 3) == 0;
		}
	}
}

static int judge_membership(struct policy *policy, struct policy_state *io_state, unsigned port,
			    uint32_t vrf_ifindex)
{
	_Alignas(struct nlmsghdr) char buffer[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct membership member = {0};
	struct ifinfomsg *ifi;
	int r;

	nlh->nlmsg_type = RTM_GETLINK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	ifi->ifi_index = (int)policy->ports[port].ifindex;
	mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	r = nl_request(&policy->route, nlh, take_link, &member);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	if (policy->vrf[0] == '\0' && member.is_vrf)
		policy_concern(io_state, POLICY_VRF, 1ULL << port,
			       "the port is in a VRF, and [route] names none");
	else if (policy->vrf[0] != '\0' && (!member.is_vrf || member.master != vrf_ifindex))
		policy_concern(io_state, POLICY_VRF, 1ULL << port, "the port is not in VRF %s",
			       policy->vrf);
	return 0;
}

int policy_judge_vrf(struct policy *policy, struct policy_state *io_state)
{
	uint32_t vrf_ifindex = policy->vrf[0] != '\0' ? if_nametoindex(policy->vrf) : 0;
	int r = 0;

	for (uint64_t left = policy->all; left != 0 && r == 0; left &= left - 1)
		r = judge_membership(policy, io_state, (unsigned)__builtin_ctzll(left),
				     vrf_ifindex);
	return r;
}
