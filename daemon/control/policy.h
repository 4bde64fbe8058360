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

#include "bpf/sluice_abi.h"
#include "net/route.h"

/*
 * X(ID, label, families, help). `families`: SLUICE_ROUTES_* that are the kernel's on the ports
 * concerned; 0 = obeyed by the worker, and only told.
 */
#define POLICY_BOTH (SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6)
#define POLICY_KINDS(X)                                                                        \
	X(FORWARDING4, forwarding4, SLUICE_ROUTES_IPV4, "IPv4 forwarding is off on the port")  \
	X(FORWARDING6, forwarding6, SLUICE_ROUTES_IPV6, "IPv6 forwarding is off")              \
	X(RP_FILTER, rp_filter, 0, "IPv4 sources are checked, by the worker")                  \
	X(RULE4, rule4, SLUICE_ROUTES_IPV4, "an IPv4 rule (ip rule) decides by more than dst") \
	X(RULE6, rule6, SLUICE_ROUTES_IPV6, "an IPv6 rule (ip -6 rule) decides by more")       \
	X(XFRM4, xfrm4, SLUICE_ROUTES_IPV4, "an XFRM policy for IPv4 forwarded or sent")       \
	X(XFRM6, xfrm6, SLUICE_ROUTES_IPV6, "an XFRM policy for IPv6 forwarded or sent")       \
	X(NETFILTER4, netfilter4, SLUICE_ROUTES_IPV4, "netfilter sees forwarded IPv4")         \
	X(NETFILTER6, netfilter6, SLUICE_ROUTES_IPV6, "netfilter sees forwarded IPv6")         \
	X(PMTU4, pmtu4, SLUICE_ROUTES_IPV4, "net.ipv4.ip_forward_use_pmtu is on")              \
	X(MTU6, mtu6, SLUICE_ROUTES_IPV6, "net.ipv6.conf.*.mtu is below a port's own MTU")     \
	X(TABLE4, table4, SLUICE_ROUTES_IPV4, "no IPv4 rule leads to the table configured")    \
	X(TABLE6, table6, SLUICE_ROUTES_IPV6, "no IPv6 rule leads to the table configured")    \
	X(VRF, vrf, POLICY_BOTH, "the port is not in the VRF configured, or in one unasked")   \
	X(TC, tc, POLICY_BOTH, "tc would see the packets: a filter, or a queue that shapes")   \
	X(TABLES_FULL, tables_full, POLICY_BOTH, "a stalled worker holds up the tables")       \
	X(UNKNOWN, unknown, POLICY_BOTH, "the kernel could not be asked")

#define POLICY_ID(id, label, families, help) POLICY_##id,
enum policy_kind { POLICY_KINDS(POLICY_ID) POLICY_N };
#undef POLICY_ID

extern const char *const policy_names[POLICY_N];
extern const char *const policy_helps[POLICY_N];
extern const uint8_t policy_families[POLICY_N];

struct policy_state {
	/* Which ports each kind concerns now: bit by place in the plan. */
	uint64_t ports[POLICY_N];
	/* A word for the operator about each, e.g. "table inet filter chain forward"; "" = none. */
	char what[POLICY_N][96];
	/* Found, and forwarded past it by bypass_netfilter = yes: no ports, but `what` tells. */
	bool netfilter_bypassed;
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

/*
 * Readable when policy_drain() has something to do; up to POLICY_MAX_FDS, returns how many. What is
 * notified: netconf, rules, XFRM policies, nftables, tc.
 */
#define POLICY_MAX_FDS 4
unsigned policy_fds(const struct policy *policy, int fds[POLICY_MAX_FDS]);

/* Drains notifications, bounded; true: policy_refresh() is due (the caller bounds how often). */
bool policy_drain(struct policy *policy);

/*
 * Asks the kernel about everything, and logs what changed. Also to be called once a second: hooks
 * of legacy iptables, BPF and modules, and some sysctls announce nothing. A question that fails is
 * POLICY_UNKNOWN for all ports. TABLES_FULL is never set here. ~1 ms on a quiet host.
 */
void policy_refresh(struct policy *policy, struct policy_state *ret_state);

/* What follows for a port: SLUICE_ROUTES_* that may be redirected. Pure. */
uint64_t policy_routes(const struct policy_state *state, unsigned port);

/* The IPv4 source check of a port, as of the last refresh: max(all, port) of rp_filter. */
enum route_rpf policy_rpf(const struct policy *policy, unsigned port);
