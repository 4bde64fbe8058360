/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files behind control/policy.h share. Each policy_judge_*() asks the kernel one question
 * and adds what it finds to the state: 0, or -errno, which makes all ports pass. What the kernel
 * was built without is nothing found, no error.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/netlink.h"
#include "control/policy.h"
#include "control/policy_rule.h"

struct policy {
	struct nl route, xfrm, netfilter; /* xfrm, netfilter: closed = not in this kernel */
	int event_fds[POLICY_MAX_FDS];
	unsigned n_event_fds;
	int inet_fds[2]; /* IPv4, IPv6: for getsockopt() of ip_tables; -1 = not in this kernel */

	struct policy_port ports[ROUTE_MAX_PORTS];
	uint64_t all; /* places that have a port */
	uint32_t table;
	char vrf[IF_NAMESIZE];
	bool bypass_netfilter;

	struct policy_state state; /* of the last refresh */
	enum route_rpf rpf[ROUTE_MAX_PORTS];
};

/* Adds ports to a kind; the first reason is the one that is told. Escapes names. */
void policy_concern(struct policy_state *state, enum policy_kind kind, uint64_t ports,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Bit of the port with this interface; 0 = none. */
uint64_t policy_port_by_name(const struct policy *policy, const char *interface);
uint64_t policy_port_by_index(const struct policy *policy, uint32_t ifindex);

/* A dump, begun anew (reset(arg)) as long as it is interrupted; bounded. */
int policy_dump(struct nl *nl, struct nlmsghdr *request,
		void (*fn)(const struct nlmsghdr *answer, void *arg), void (*reset)(void *arg),
		void *arg);

/* An unsigned number out of /proc/sys/net; -ENOENT: this kernel does not have it. */
int policy_read_sysctl(const char *path, unsigned *ret_value);

/* What the hook dump of nfnetlink tells the other judges of netfilter. */
struct policy_hooks {
	bool is_known;      /* this kernel has it, and may be asked */
	uint8_t xtables[2]; /* IPv4, IPv6: legacy tables that stand, by bit of policy_xt_table() */
};

/* "Built without", in the words of the various netlink families. */
static inline bool policy_is_absent(int r)
{
	return r == -EOPNOTSUPP || r == -EPROTONOSUPPORT || r == -EAFNOSUPPORT || r == -EINVAL;
}

int policy_judge_netconf(struct policy *policy, struct policy_state *io_state);
int policy_judge_mtu6(struct policy *policy, struct policy_state *io_state);
int policy_judge_rules(struct policy *policy, struct policy_state *io_state);
int policy_judge_vrf(struct policy *policy, struct policy_state *io_state);
int policy_judge_xfrm(struct policy *policy, struct policy_state *io_state);
int policy_judge_nftables(struct policy *policy, struct policy_state *io_state, bool has_hooks);
int policy_judge_xtables(struct policy *policy, struct policy_state *io_state,
			 const struct policy_hooks *hooks);
int policy_judge_netfilter(struct policy *policy, struct policy_state *io_state);
int policy_judge_tc(struct policy *policy, struct policy_state *io_state);

/* Which legacy table a function of its kind on a hook is of; -1: of none that is known. */
int policy_xt_table(int32_t priority);

/* Matches and targets of x_tables that switch connection tracking on, wherever they stand. */
bool policy_xt_tracks(const char *name);

/* The netfilter kinds of an address family (NFPROTO_*) in a kernel's answer. */
void policy_concern_netfilter(struct policy_state *state, uint8_t nfproto, uint64_t ports,
			      const char *what);
