/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XFRM (IPsec): policies for what is forwarded, and what is done with packets that have none. */
#include <linux/xfrm.h>
#include <string.h>

#include "control/policy_internal.h"

struct xfrm_answer {
	bool is_found[2]; /* IPv4, IPv6 */
	bool is_blocking;
};

static void reset(void *arg)
{
	struct xfrm_answer *answer = arg;

	answer->is_found[0] = answer->is_found[1] = false;
}

static void take_policy(const struct nlmsghdr *nlh, void *arg)
{
	const struct xfrm_userpolicy_info *info = mnl_nlmsg_get_payload(nlh);
	struct xfrm_answer *answer = arg;

	if (nlh->nlmsg_type != XFRM_MSG_NEWPOLICY || mnl_nlmsg_get_payload_len(nlh) < sizeof(*info))
		return;
	/* Directions beyond are those of sockets. */
	if (info->dir != XFRM_POLICY_FWD && info->dir != XFRM_POLICY_OUT)
		return;
	answer->is_found[0] |= info->sel.family != AF_INET6;
	answer->is_found[1] |= info->sel.family != AF_INET;
}

static void take_default(const struct nlmsghdr *nlh, void *arg)
{
	const struct xfrm_userpolicy_default *def = mnl_nlmsg_get_payload(nlh);
	struct xfrm_answer *answer = arg;

	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(*def))
		answer->is_blocking =
			def->fwd == XFRM_USERPOLICY_BLOCK || def->out == XFRM_USERPOLICY_BLOCK;
}

static int ask(struct policy *policy, struct xfrm_answer *answer)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	int r;

	nlh->nlmsg_type = XFRM_MSG_GETPOLICY;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct xfrm_userpolicy_id));
	r = policy_dump(&policy->xfrm, nlh, take_policy, reset, answer);
	if (r < 0)
		return r;
	nlh = mnl_nlmsg_put_header(buffer);
	nlh->nlmsg_type = XFRM_MSG_GETDEFAULT;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct xfrm_userpolicy_default));
	r = nl_request(&policy->xfrm, nlh, take_default, answer);
	return policy_is_absent(r) ? 0 : r;
}

int policy_judge_xfrm(struct policy *policy, struct policy_state *io_state)
{
	struct xfrm_answer answer = {0};
	int r;

	if (!policy->xfrm.socket)
		return 0;
	r = ask(policy, &answer);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < 2; i++) {
		if (answer.is_blocking)
			policy_concern(io_state, i == 0 ? POLICY_XFRM4 : POLICY_XFRM6, policy->all,
				       "the default XFRM policy is block");
		else if (answer.is_found[i])
			policy_concern(io_state, i == 0 ? POLICY_XFRM4 : POLICY_XFRM6, policy->all,
				       "XFRM policies (ip xfrm policy)");
	}
	return 0;
}
