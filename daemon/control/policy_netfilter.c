/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Would netfilter see what is forwarded?
 *
 *   nf_tables            chains and flowtables, by its own dump     policy_nftables.c
 *   legacy x_tables      chains and policies, by getsockopt()       policy_xtables.c
 *   everything else      functions registered on the hooks: conntrack, defragmentation, IPVS, BPF …
 *
 * The third is the hook dump of nfnetlink (CONFIG_NETFILTER_NETLINK_HOOK: Debian 13 has it as a
 * module that is loaded by asking, Debian 12 does without). Without it connection tracking is
 * inferred from the rules that switch it on, and IPVS from its table; programs attached as BPF
 * links stay unseen.
 */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_hook.h>
#include <string.h>

#include "control/policy_internal.h"
#include "util/macros.h"

void policy_concern_netfilter(struct policy_state *state, uint8_t nfproto, uint64_t ports,
			      const char *what)
{
	if (nfproto != NFPROTO_IPV6)
		policy_concern(state, POLICY_NETFILTER4, ports, "%s", what);
	if (nfproto != NFPROTO_IPV4)
		policy_concern(state, POLICY_NETFILTER6, ports, "%s", what);
}

/* --- The hook dump --------------------------------------------------------------------------- */

struct hooks {
	struct policy_state *state;
	uint64_t ports;
	uint8_t nfproto;
	uint8_t *xtables; /* of this family; NULL = there are none */
};

static bool has_prefix(const char *function, const char *const *prefixes)
{
	for (; *prefixes; prefixes++) {
		if (strncmp(function, *prefixes, strlen(*prefixes)) == 0)
			return true;
	}
	return false;
}

/*
 * Functions that stand on a hook and leave forwarded packets as they are: NAT does nothing unless
 * connection tracking runs, which has functions of its own; AppArmor looks at packets of local
 * sockets only (Debian registers it in every namespace).
 */
static bool is_harmless_function(const char *function)
{
	static const char *const prefixes[] = {"nf_nat_", "apparmor_", NULL};

	return has_prefix(function, prefixes);
}

/* A table of x_tables is judged by its entries. */
static bool is_known_table(const struct hooks *hooks, const char *function, int32_t priority)
{
	static const char *const prefixes[] = {"ipt_do_table", "ip6t_do_table", "iptable_",
					       "ip6table_", NULL};
	int table = policy_xt_table(priority);

	if (!hooks->xtables || table < 0 || !has_prefix(function, prefixes))
		return false;
	*hooks->xtables |= (uint8_t)(1U << table);
	return true;
}

static bool is_nftables(const struct nlattr *info)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, info) {
		if (mnl_attr_get_type(attr) == NFNLA_HOOK_INFO_TYPE &&
		    mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			return ntohl(mnl_attr_get_u32(attr)) == NFNL_HOOK_TYPE_NFTABLES;
	}
	return false;
}

static void take_hook(const struct nlmsghdr *nlh, void *arg)
{
	const char *function = "?", *module = "the kernel";
	struct hooks *hooks = arg;
	const struct nlattr *attr;
	int32_t priority = INT32_MAX;
	char what[96];

	mnl_attr_for_each (attr, nlh, sizeof(struct nfgenmsg)) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type == NFNLA_HOOK_CHAIN_INFO && is_nftables(attr))
			return;
		if (type == NFNLA_HOOK_PRIORITY && mnl_attr_validate(attr, MNL_TYPE_U32) == 0)
			priority = (int32_t)ntohl(mnl_attr_get_u32(attr));
		if (mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
			continue;
		if (type == NFNLA_HOOK_FUNCTION_NAME)
			function = mnl_attr_get_str(attr);
		else if (type == NFNLA_HOOK_MODULE_NAME)
			module = mnl_attr_get_str(attr);
	}
	if (is_harmless_function(function) || is_known_table(hooks, function, priority))
		return;
	(void)snprintf(what, sizeof(what), "hook function %.40s of %.30s", function, module);
	policy_concern_netfilter(hooks->state, hooks->nfproto, hooks->ports, what);
}

/* -EOPNOTSUPP: this kernel tells nothing of this hook. */
static int dump_hook(struct policy *policy, struct hooks *hooks, uint32_t hooknum,
		     const char *interface)
{
	_Alignas(struct nlmsghdr) char buffer[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *nfg;
	int r;

	nlh->nlmsg_type = NFNL_SUBSYS_HOOK << 8 | NFNL_MSG_HOOK_GET;
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = hooks->nfproto;
	nfg->version = NFNETLINK_V0;
	mnl_attr_put_u32(nlh, NFNLA_HOOK_HOOKNUM, htonl(hooknum));
	if (interface)
		mnl_attr_put_strz(nlh, NFNLA_HOOK_DEV, interface);
	r = policy_dump(&policy->netfilter, nlh, take_hook, NULL, hooks);
	if (policy_is_absent(r))
		return -EOPNOTSUPP;
	/* Nothing registered, or the port has just gone. */
	return r == -ENOENT || r == -ENODEV ? 0 : r;
}

/* -EOPNOTSUPP: this kernel tells nothing of hooks. */
static int judge_hooks(struct policy *policy, struct policy_state *io_state,
		       struct policy_hooks *ret_hooks)
{
	static const uint32_t forwarding[] = {NF_INET_PRE_ROUTING, NF_INET_FORWARD,
					      NF_INET_POST_ROUTING};
	static const uint8_t nfprotos[] = {NFPROTO_IPV4, NFPROTO_IPV6};
	int r;

	for (unsigned i = 0; i < ARRAY_SIZE(nfprotos); i++) {
		struct hooks hooks = {io_state, policy->all, nfprotos[i], &ret_hooks->xtables[i]};

		for (unsigned j = 0; j < ARRAY_SIZE(forwarding); j++) {
			r = dump_hook(policy, &hooks, forwarding[j], NULL);
			if (r < 0)
				return r;
		}
	}
	for (uint64_t left = policy->all; left != 0; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);
		struct hooks hooks = {io_state, 1ULL << i, NFPROTO_NETDEV, NULL};

		/* Egress hooks of devices cannot be asked about; what nf_tables has there can. */
		r = dump_hook(policy, &hooks, NF_NETDEV_INGRESS, policy->ports[i].interface);
		if (r < 0 && r != -EOPNOTSUPP)
			return r;
	}
	return 0;
}

/* --- Without it ------------------------------------------------------------------------------ */

bool policy_xt_tracks(const char *name)
{
	static const char *const names[] = {
		"CONNMARK",  "CONNSECMARK", "CT",        "DNAT",      "MASQUERADE",
		"NETMAP",    "REDIRECT",    "SNAT",      "SYNPROXY",  "TPROXY",
		"cluster",   "connbytes",   "connlabel", "connlimit", "connmark",
		"conntrack", "helper",      "socket",    "state",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

/* Three lines of heading, then one per service or server. */
static int judge_ipvs(struct policy *policy, struct policy_state *io_state)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/thread-self/net/ip_vs", "re");
	unsigned n_lines = 0;
	char line[256];

	if (!file)
		return errno == ENOENT ? 0 : -errno;
	while (n_lines <= 3 && fgets(line, sizeof(line), file))
		n_lines++;
	if (n_lines > 3)
		policy_concern_netfilter(io_state, NFPROTO_INET, policy->all, "IPVS services");
	return 0;
}

int policy_judge_netfilter(struct policy *policy, struct policy_state *io_state)
{
	struct policy_hooks hooks = {0};
	int r;

	/* Without nfnetlink there is neither nf_tables nor a dump. */
	if (!policy->netfilter.socket)
		return policy_judge_xtables(policy, io_state, &hooks);
	r = judge_hooks(policy, io_state, &hooks);
	if (r < 0 && r != -EOPNOTSUPP)
		return r;
	hooks.is_known = r == 0;
	r = policy_judge_nftables(policy, io_state, hooks.is_known);
	if (r < 0)
		return r;
	r = policy_judge_xtables(policy, io_state, &hooks);
	if (r < 0 || hooks.is_known)
		return r;
	return judge_ipvs(policy, io_state);
}
