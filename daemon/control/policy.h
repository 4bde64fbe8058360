/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel would do with a packet besides forwarding it unchanged (design.md §4.9). While
 * anything of it concerns a family or a port, its packets pass to the kernel.
 *
 * A kind that can be narrowed is obeyed rather than passed: rp_filter is checked by the worker
 * (net/route.h, enum route_rpf), a route with an encapsulation is one prefix of the FIB, a rule for
 * an interface that is no route port concerns nobody here.
 *
 * Thread: tables. Syscalls: netlink (route, xfrm, netfilter), reading /proc/sys/net of the daemon's
 * namespace. CAP_NET_ADMIN. This room logs changes.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/route.h"

/*
 * X(ID, label, is_global, help). `passes`: what it concerns is the kernel's; else it is obeyed by
 * the worker and only told.
 */
#define POLICY_KINDS(X)                                                                      \
	X(FORWARDING4, forwarding4,                                                          \
	  "IPv4 forwarding is off on the port (net.ipv4.conf.*.forwarding)")                 \
	X(FORWARDING6, forwarding6, "IPv6 forwarding is off (net.ipv6.conf.all.forwarding)") \
	X(RP_FILTER, rp_filter, "IPv4 sources are checked, by the worker")                   \
	X(RULE4, rule4, "an IPv4 rule (ip rule) other than the default ones")                \
	X(RULE6, rule6, "an IPv6 rule (ip -6 rule) other than the default ones")             \
	X(XFRM, xfrm, "an XFRM policy for forwarded or outgoing packets")                    \
	X(NETFILTER4, netfilter4, "netfilter would see forwarded IPv4 packets")              \
	X(NETFILTER6, netfilter6, "netfilter would see forwarded IPv6 packets")              \
	X(PMTU4, pmtu4, "net.ipv4.ip_forward_use_pmtu is on")                                \
	X(TABLE, table, "no rule leads from a port to the table configured")                 \
	X(VRF, vrf, "the port is not in the VRF configured, or in one that is not")          \
	X(TC, tc, "a tc filter on the port's ingress")                                       \
	X(TABLES_FULL, tables_full, "a stalled worker holds up the tables")                  \
	X(UNKNOWN, unknown, "the kernel could not be asked")

#define POLICY_ID(id, label, help) POLICY_##id,
enum policy_kind { POLICY_KINDS(POLICY_ID) POLICY_N };
#undef POLICY_ID

extern const char *const policy_names[POLICY_N];
extern const char *const policy_helps[POLICY_N];

struct policy_state {
	/* Which ports each kind concerns now: bit by place in the plan. */
	uint64_t ports[POLICY_N];
	/* A word for the operator about each, e.g. "table inet filter chain forward"; "" = none. */
	char what[POLICY_N][96];
	bool netfilter_bypassed; /* found, and forwarded past it by bypass_netfilter = yes */
};

struct policy_port {
	uint32_t ifindex; /* 0 = no route port at this place */
	char interface[IF_NAMESIZE];
};

struct policy;

/* Opens the sockets and subscribes. -errno. */
int policy_open(struct policy **ret_policy);
void policy_close(struct policy *policy);

/* What is judged; `ports` by place in the plan, copied. `table`: see tables_config. */
void policy_configure(struct policy *policy, const struct policy_port ports[ROUTE_MAX_PORTS],
		      uint32_t table, const char *vrf, bool bypass_netfilter);

/* Readable when policy_drain() has something to do; up to POLICY_MAX_FDS, returns how many. */
#define POLICY_MAX_FDS 4
unsigned policy_fds(const struct policy *policy, int fds[POLICY_MAX_FDS]);

/* Drains notifications, bounded; true: policy_refresh() is due, soon (the caller debounces). */
bool policy_drain(struct policy *policy);

/*
 * Asks the kernel about everything, and logs what changed. Also to be called once a second: hooks
 * of legacy iptables, BPF and modules, and tc filters, announce nothing. A question that fails is
 * POLICY_UNKNOWN for all ports. ~1 ms on a quiet host.
 */
void policy_refresh(struct policy *policy, struct policy_state *ret_state);

/* What follows for a port: SLUICE_ROUTES_* that may be redirected. Pure. */
uint64_t policy_routes(const struct policy_state *state, unsigned port);

/* The IPv4 source check of a port, as of the last refresh: max(all, port) of rp_filter. */
enum route_rpf policy_rpf(const struct policy *policy, unsigned port);
