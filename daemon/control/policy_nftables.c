/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nf_tables: base chains on the way of forwarded packets, flowtables of ports. A base chain with
 * no rule and the policy accept changes nothing. Nobody can jump to a base chain, so its use count
 * is the number of its rules. Where the hooks themselves cannot be listed, rules that switch
 * connection tracking on count wherever they stand: tracking then sees every packet.
 *
 * Names are at the mercy of whoever made them; policy_concern() escapes.
 */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#include "control/policy_internal.h"
#include "util/macros.h"

/* NF_NETDEV_EGRESS and NFTA_DEVICE_PREFIX are newer than some headers. */
#define NETDEV_EGRESS 1
#define DEVICE_PREFIX 2

/* Where a base chain is hooked in. */
struct nft_hook {
	uint32_t hooknum;
	uint64_t ports; /* among its devices */
};

struct nft {
	const struct policy *policy;
	struct policy_state *state;
};

static const char *string_of(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0 ? "?" : mnl_attr_get_str(attr);
}

static uint32_t u32_of(const struct nlattr *attr)
{
	return mnl_attr_validate(attr, MNL_TYPE_U32) < 0 ? 0 : ntohl(mnl_attr_get_u32(attr));
}

static uint64_t ports_by_prefix(const struct policy *policy, const struct nlattr *attr)
{
	const char *prefix = string_of(attr);
	uint64_t ports = 0;

	for (unsigned i = 0; i < ROUTE_MAX_PORTS; i++) {
		if (policy->ports[i].ifindex != 0 &&
		    strncmp(policy->ports[i].interface, prefix, strlen(prefix)) == 0)
			ports |= 1ULL << i;
	}
	return ports;
}

static uint64_t ports_of_devices(const struct policy *policy, const struct nlattr *devices)
{
	const struct nlattr *attr;
	uint64_t ports = 0;

	mnl_attr_for_each_nested (attr, devices) {
		if (mnl_attr_get_type(attr) == DEVICE_PREFIX)
			ports |= ports_by_prefix(policy, attr);
		else
			ports |= policy_port_by_name(policy, string_of(attr));
	}
	return ports;
}

/* The attribute of a chain. */
static struct nft_hook hook_of(const struct policy *policy, const struct nlattr *nested)
{
	struct nft_hook hook = {0};
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, nested) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type == NFTA_HOOK_HOOKNUM)
			hook.hooknum = u32_of(attr);
		else if (type == NFTA_HOOK_DEV)
			hook.ports |= policy_port_by_name(policy, string_of(attr));
		else if (type == NFTA_HOOK_DEVS)
			hook.ports |= ports_of_devices(policy, attr);
	}
	return hook;
}

/* Whose forwarded packets come by a chain that is hooked in there. */
static uint64_t ports_of(const struct policy *policy, uint8_t nfproto, const struct nft_hook *hook)
{
	switch (nfproto) {
	case NFPROTO_INET:
		if (hook->hooknum == NF_INET_INGRESS)
			return hook->ports;
		break;
	case NFPROTO_IPV4:
	case NFPROTO_IPV6:
		break;
	case NFPROTO_NETDEV:
		/* On egress it sees what any port sends there. */
		if (hook->hooknum == NETDEV_EGRESS)
			return hook->ports ? policy->all : 0;
		return hook->ports;
	default:
		return 0; /* bridge, arp */
	}
	return hook->hooknum == NF_INET_PRE_ROUTING || hook->hooknum == NF_INET_FORWARD ||
			       hook->hooknum == NF_INET_POST_ROUTING ?
		       policy->all :
		       0;
}

static const char *name_of_family(uint8_t nfproto)
{
	static const char *const names[] = {
		[NFPROTO_INET] = "inet",
		[NFPROTO_IPV4] = "ip",
		[NFPROTO_IPV6] = "ip6",
		[NFPROTO_NETDEV] = "netdev",
	};

	return nfproto < ARRAY_SIZE(names) && names[nfproto] ? names[nfproto] : "?";
}

static void take_chain(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const char *table = "?", *chain = "?";
	uint32_t policy = NF_ACCEPT, n_rules = 0;
	struct nft *nft = arg;
	struct nft_hook hook = {0};
	const struct nlattr *attr;
	bool is_base = false;
	char what[96];

	mnl_attr_for_each (attr, nlh, sizeof(*nfg)) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type == NFTA_CHAIN_TABLE)
			table = string_of(attr);
		else if (type == NFTA_CHAIN_NAME)
			chain = string_of(attr);
		else if (type == NFTA_CHAIN_POLICY)
			policy = u32_of(attr);
		else if (type == NFTA_CHAIN_USE)
			n_rules = u32_of(attr);
		if (type != NFTA_CHAIN_HOOK)
			continue;
		hook = hook_of(nft->policy, attr);
		is_base = true;
	}
	if (!is_base || (policy == NF_ACCEPT && n_rules == 0))
		return;
	(void)snprintf(what, sizeof(what), "nftables table %s %.30s chain %.30s",
		       name_of_family(nfg->nfgen_family), table, chain);
	policy_concern_netfilter(nft->state, nfg->nfgen_family,
				 ports_of(nft->policy, nfg->nfgen_family, &hook), what);
}

/* Its flows outlive the rule that added them. */
static void take_flowtable(const struct nlmsghdr *nlh, void *arg)
{
	const char *name = "?";
	struct nft *nft = arg;
	const struct nlattr *attr, *hook;
	uint64_t ports = 0;
	char what[96];

	mnl_attr_for_each (attr, nlh, sizeof(struct nfgenmsg)) {
		if (mnl_attr_get_type(attr) == NFTA_FLOWTABLE_NAME)
			name = string_of(attr);
		if (mnl_attr_get_type(attr) != NFTA_FLOWTABLE_HOOK)
			continue;
		mnl_attr_for_each_nested (hook, attr) {
			if (mnl_attr_get_type(hook) == NFTA_FLOWTABLE_HOOK_DEVS)
				ports |= ports_of_devices(nft->policy, hook);
		}
	}
	(void)snprintf(what, sizeof(what), "nftables flowtable %.40s", name);
	policy_concern_netfilter(nft->state, NFPROTO_NETDEV, ports, what);
}

/* --- Rules that track connections ------------------------------------------------------------ */

static bool object_tracks(const struct nlattr *data)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, data) {
		if (mnl_attr_get_type(attr) == NFTA_OBJREF_IMM_TYPE)
			return u32_of(attr) != NFT_OBJECT_COUNTER &&
			       u32_of(attr) != NFT_OBJECT_QUOTA && u32_of(attr) != NFT_OBJECT_LIMIT;
	}
	return false;
}

static bool compat_tracks(const struct nlattr *data)
{
	const struct nlattr *attr;

	_Static_assert((int)NFTA_MATCH_NAME == (int)NFTA_TARGET_NAME, "one look for both");
	mnl_attr_for_each_nested (attr, data) {
		if (mnl_attr_get_type(attr) == NFTA_MATCH_NAME)
			return policy_xt_tracks(string_of(attr));
	}
	return true;
}

static bool expression_tracks(const struct nlattr *expression)
{
	static const char *const names[] = {"connlimit", "ct",     "flow_offload", "masq",  "nat",
					    "redir",     "socket", "synproxy",     "tproxy"};
	const struct nlattr *attr, *data = NULL;
	const char *name = "?";

	mnl_attr_for_each_nested (attr, expression) {
		if (mnl_attr_get_type(attr) == NFTA_EXPR_NAME)
			name = string_of(attr);
		else if (mnl_attr_get_type(attr) == NFTA_EXPR_DATA)
			data = attr;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	if (data && strcmp(name, "objref") == 0)
		return object_tracks(data);
	if (data && (strcmp(name, "match") == 0 || strcmp(name, "target") == 0))
		return compat_tracks(data);
	return false;
}

static void take_rule(const struct nlmsghdr *nlh, void *arg)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	const char *table = "?", *chain = "?";
	const struct nlattr *attr, *expression;
	struct nft *nft = arg;
	bool is_tracking = false;
	char what[96];

	mnl_attr_for_each (attr, nlh, sizeof(*nfg)) {
		if (mnl_attr_get_type(attr) == NFTA_RULE_TABLE)
			table = string_of(attr);
		else if (mnl_attr_get_type(attr) == NFTA_RULE_CHAIN)
			chain = string_of(attr);
		if (mnl_attr_get_type(attr) != NFTA_RULE_EXPRESSIONS)
			continue;
		mnl_attr_for_each_nested (expression, attr)
			is_tracking |= expression_tracks(expression);
	}
	if (!is_tracking)
		return;
	(void)snprintf(what, sizeof(what), "conntrack by nftables table %s %.24s chain %.24s",
		       name_of_family(nfg->nfgen_family), table, chain);
	policy_concern_netfilter(nft->state, nfg->nfgen_family, nft->policy->all, what);
}

/* --- Asking ---------------------------------------------------------------------------------- */

static int dump(struct policy *policy, uint8_t type,
		void (*fn)(const struct nlmsghdr *answer, void *arg), struct nft *nft)
{
	_Alignas(struct nlmsghdr) char buffer[64];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = NFPROTO_UNSPEC;
	nfg->version = NFNETLINK_V0;
	/* What an interrupted dump told existed a moment ago: it makes packets pass until the
	 * next refresh, no more. */
	return policy_dump(&policy->netfilter, nlh, fn, NULL, nft);
}

int policy_judge_nftables(struct policy *policy, struct policy_state *io_state, bool has_hooks)
{
	struct nft nft = {policy, io_state};
	int r;

	r = dump(policy, NFT_MSG_GETCHAIN, take_chain, &nft);
	if (policy_is_absent(r))
		return 0;
	if (r == 0)
		r = dump(policy, NFT_MSG_GETFLOWTABLE, take_flowtable, &nft);
	if (r < 0 || has_hooks)
		return r;
	/* Once tracking is known to run, or the packets pass anyway, the rules add nothing. */
	if (io_state->ports[POLICY_NETFILTER4] == policy->all &&
	    io_state->ports[POLICY_NETFILTER6] == policy->all)
		return 0;
	return dump(policy, NFT_MSG_GETRULE, take_rule, &nft);
}
