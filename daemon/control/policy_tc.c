/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tc on the ports. XDP runs before it, so a filter that the kernel's forwarding would have met,
 * coming in or going out, would not see what is redirected; and a queue that shapes would not
 * shape it, since AF_XDP sends past the queueing disciplines.
 */
#include <linux/bpf.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/syscall.h>

#include "control/policy_internal.h"
#include "util/macros.h"

/* Since 6.6; not in Debian 12's headers. */
#define TCX_INGRESS 46
#define TCX_EGRESS  47

struct qdiscs {
	struct policy *policy;
	struct policy_state *state;
	uint64_t has_ingress; /* ports with ingress or clsact */
	uint64_t has_egress;  /* ports with clsact */
};

/* Those that only queue: what they would do is share the link out, which they do not see empty. */
static bool is_plain(const char *kind)
{
	static const char *const kinds[] = {
		"bfifo",           "codel",  "fq",   "fq_codel", "fq_pie", "mq",
		"mqprio",          "multiq", "noop", "noqueue",  "pfifo",  "pfifo_fast",
		"pfifo_head_drop", "pie",    "prio", "sfq",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i], kind) == 0)
			return true;
	}
	return false;
}

static void reset(void *arg)
{
	struct qdiscs *qdiscs = arg;

	qdiscs->has_ingress = qdiscs->has_egress = 0;
}

static void take_qdisc(const struct nlmsghdr *nlh, void *arg)
{
	const struct tcmsg *tcm = mnl_nlmsg_get_payload(nlh);
	struct qdiscs *qdiscs = arg;
	uint64_t port = policy_port_by_index(qdiscs->policy, (uint32_t)tcm->tcm_ifindex);
	const char *kind = NULL;
	const struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWQDISC || port == 0)
		return;
	mnl_attr_for_each (attr, nlh, sizeof(*tcm)) {
		if (mnl_attr_get_type(attr) == TCA_KIND &&
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			kind = mnl_attr_get_str(attr);
	}
	if (!kind)
		return;
	if (strcmp(kind, "clsact") == 0)
		qdiscs->has_egress |= port;
	if (strcmp(kind, "clsact") == 0 || strcmp(kind, "ingress") == 0)
		qdiscs->has_ingress |= port;
	else if (!is_plain(kind))
		policy_concern(qdiscs->state, POLICY_TC, qdiscs->policy->all, "qdisc %s on %s",
			       kind, qdiscs->policy->ports[__builtin_ctzll(port)].interface);
}

static void take_filter(const struct nlmsghdr *nlh, void *arg)
{
	bool *is_found = arg;

	*is_found |= nlh->nlmsg_type == RTM_NEWTFILTER;
}

static int has_filter(struct policy *policy, uint32_t ifindex, uint32_t parent, bool *ret_found)
{
	_Alignas(struct nlmsghdr) char buffer[64];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct tcmsg *tcm;
	int r;

	*ret_found = false;
	nlh->nlmsg_type = RTM_GETTFILTER;
	tcm = mnl_nlmsg_put_extra_header(nlh, sizeof(*tcm));
	tcm->tcm_ifindex = (int)ifindex;
	tcm->tcm_parent = parent;
	r = policy_dump(&policy->route, nlh, take_filter, NULL, ret_found);
	/* The device or its qdisc has just gone. */
	return r == -ENODEV || r == -EINVAL || r == -ENOENT ? 0 : r;
}

/* A program of tcx; a kernel without it has none. */
static int has_tcx(uint32_t ifindex, uint32_t attach_type, bool *ret_found)
{
	union bpf_attr attr = {0};

	attr.query.target_fd = ifindex;
	attr.query.attach_type = attach_type;
	*ret_found = false;
	if (syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)) < 0)
		return errno == EINVAL || errno == ENODEV || errno == ENOENT ||
				       errno == EOPNOTSUPP ?
			       0 :
			       -errno;
	*ret_found = attr.query.prog_cnt != 0;
	return 0;
}

/* `ports`: whose packets the filters of this side of a port would have seen. */
static int judge_side(struct qdiscs *qdiscs, unsigned port, bool is_egress, bool has_qdisc,
		      uint64_t ports)
{
	const struct policy_port *device = &qdiscs->policy->ports[port];
	const char *side = is_egress ? "egress" : "ingress";
	bool is_found = false;
	int r = 0;

	if (has_qdisc)
		r = has_filter(
			qdiscs->policy, device->ifindex,
			TC_H_MAKE(TC_H_CLSACT, is_egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS),
			&is_found);
	if (r < 0)
		return r;
	if (is_found)
		policy_concern(qdiscs->state, POLICY_TC, ports, "tc filter on %s of %s", side,
			       device->interface);
	r = has_tcx(device->ifindex, is_egress ? TCX_EGRESS : TCX_INGRESS, &is_found);
	if (is_found)
		policy_concern(qdiscs->state, POLICY_TC, ports, "tcx program on %s of %s", side,
			       device->interface);
	return r;
}

int policy_judge_tc(struct policy *policy, struct policy_state *io_state)
{
	_Alignas(struct nlmsghdr) char buffer[64];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct qdiscs qdiscs = {.policy = policy, .state = io_state};
	int r;

	nlh->nlmsg_type = RTM_GETQDISC;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct tcmsg));
	r = policy_dump(&policy->route, nlh, take_qdisc, reset, &qdiscs);
	if (r < 0)
		return policy_is_absent(r) ? 0 : r;
	for (uint64_t left = policy->all; left != 0; left &= left - 1) {
		unsigned i = (unsigned)__builtin_ctzll(left);

		r = judge_side(&qdiscs, i, false, qdiscs.has_ingress >> i & 1, 1ULL << i);
		if (r == 0)
			r = judge_side(&qdiscs, i, true, qdiscs.has_egress >> i & 1, policy->all);
		if (r < 0)
			return r;
	}
	return 0;
}
