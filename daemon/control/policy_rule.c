/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One policy rule, and the walk through all of them. Pure; see policy_rule.h. */
#include "control/policy_rule.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "util/macros.h"

static int take_attr(const struct nlattr *attr, struct policy_rule *rule, uint32_t *io_mark,
		     uint32_t *io_mask)
{
	bool is_u32 = mnl_attr_get_payload_len(attr) == sizeof(uint32_t);

	switch (mnl_attr_get_type(attr)) {
	case FRA_IIFNAME:
		if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
			return -EBADMSG;
		(void)snprintf(rule->iif, sizeof(rule->iif), "%s", mnl_attr_get_str(attr));
		return 0;
	case FRA_OIFNAME:
	case FRA_UID_RANGE:
		rule->is_for_sockets = true;
		return 0;
	case FRA_TABLE:
		rule->table = is_u32 ? mnl_attr_get_u32(attr) : 0;
		return is_u32 ? 0 : -EBADMSG;
	case FRA_PRIORITY:
		rule->priority = is_u32 ? mnl_attr_get_u32(attr) : 0;
		return is_u32 ? 0 : -EBADMSG;
	case FRA_FWMARK:
		*io_mark = is_u32 ? mnl_attr_get_u32(attr) : 0;
		return is_u32 ? 0 : -EBADMSG;
	case FRA_FWMASK:
		*io_mask = is_u32 ? mnl_attr_get_u32(attr) : 0;
		return is_u32 ? 0 : -EBADMSG;
	case FRA_L3MDEV:
		rule->is_l3mdev = true;
		return 0;
	case FRA_SUPPRESS_PREFIXLEN: /* -1 = nothing */
	case FRA_SUPPRESS_IFGROUP:
		if (!is_u32)
			return -EBADMSG;
		rule->is_suppressing |= mnl_attr_get_u32(attr) != UINT32_MAX;
		return 0;
	case FRA_PROTOCOL: /* who made the rule */
	case FRA_FLOW:     /* realms: accounting */
	case FRA_PAD:
		return 0;
	default:
		/* FRA_SRC, FRA_DST, …, and what later kernels select by. */
		rule->has_selector = true;
		return 0;
	}
}

int policy_rule_parse(const struct nlmsghdr *message, struct policy_rule *ret_rule)
{
	const struct fib_rule_hdr *frh = mnl_nlmsg_get_payload(message);
	uint32_t mark = 0, mask = UINT32_MAX;
	struct policy_rule rule;
	const struct nlattr *attr;
	int r;

	if (mnl_nlmsg_get_payload_len(message) < sizeof(*frh))
		return -EBADMSG;
	rule = (struct policy_rule){
		.table = frh->table,
		.action = frh->action,
		.is_inverted = frh->flags & FIB_RULE_INVERT,
		.has_selector = frh->dst_len != 0 || frh->src_len != 0 || frh->tos != 0,
	};
	mnl_attr_for_each (attr, message, sizeof(*frh)) {
		r = take_attr(attr, &rule, &mark, &mask);
		if (r < 0)
			return r;
	}
	rule.has_mark = (mark & mask) != 0;
	*ret_rule = rule;
	return 0;
}

/*
 * Rules that no packet received by the port can meet. A packet bears a mark only if tc or
 * netfilter gave it one, and then policy has kept it from us already.
 */
static bool is_never_for(const struct policy_rule *rule, const char *interface, const char *vrf)
{
	if (rule->is_inverted)
		return false;
	if (rule->is_for_sockets || rule->has_mark)
		return true;
	/* A member's packets count as its VRF's, too. */
	return rule->iif[0] != '\0' && strcmp(rule->iif, interface) != 0 &&
	       (vrf[0] == '\0' || strcmp(rule->iif, vrf) != 0);
}

static bool is_sometimes(const struct policy_rule *rule)
{
	return rule->is_inverted || rule->has_selector;
}

enum policy_rule_fate policy_rule_walk(const struct policy_rule *rules, unsigned n,
				       const char *interface, const char *vrf, uint32_t table,
				       unsigned *ret_rule)
{
	for (unsigned i = 0; i < n; i++) {
		const struct policy_rule *rule = &rules[i];
		bool is_lookup = rule->action == FR_ACT_TO_TBL;

		*ret_rule = i;
		if (is_never_for(rule, interface, vrf) || rule->action == FR_ACT_NOP)
			continue;
		if (rule->is_l3mdev && vrf[0] == '\0')
			continue; /* looks up the VRF's table, and there is none */
		if (rule->is_l3mdev && is_lookup && !is_sometimes(rule))
			return POLICY_RULE_REACHED;
		/* A packet that finds nothing there, or nothing that is not suppressed, goes on
		 * to the next rule; `local` is in the FIB as well. */
		if (is_lookup && rule->table == RT_TABLE_LOCAL)
			continue;
		if (is_lookup && rule->table == table && !rule->is_l3mdev) {
			if (is_sometimes(rule) || rule->is_suppressing)
				continue;
			return POLICY_RULE_REACHED;
		}
		if (!is_sometimes(rule) && is_lookup && rule->iif[0] == '\0' &&
		    (rule->table == RT_TABLE_MAIN || rule->table == RT_TABLE_DEFAULT))
			return POLICY_RULE_MISSED;
		return POLICY_RULE_OTHER;
	}
	*ret_rule = n;
	return POLICY_RULE_MISSED;
}
