/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's policy: sockets, what is asked in which order, and what is said of it. */
#include "control/policy.h"

#include <inttypes.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "control/policy_internal.h"
#include "util/log.h"
#include "util/macros.h"
#include "util/text.h"

#define LOG_DOMAIN "policy"

#define MAX_DUMP_ATTEMPTS    8
#define MAX_EVENTS_PER_DRAIN 256

#define POLICY_NAME(id, label, families, help)   [POLICY_##id] = #label,
#define POLICY_HELP(id, label, families, help)   [POLICY_##id] = (help),
#define POLICY_FAMILY(id, label, families, help) [POLICY_##id] = (families),
const char *const policy_names[POLICY_N] = {POLICY_KINDS(POLICY_NAME)};
const char *const policy_helps[POLICY_N] = {POLICY_KINDS(POLICY_HELP)};
const uint8_t policy_families[POLICY_N] = {POLICY_KINDS(POLICY_FAMILY)};

/* --- What the questions share ---------------------------------------------------------------- */

void policy_concern(struct policy_state *state, enum policy_kind kind, uint64_t ports,
		    const char *fmt, ...)
{
	char raw[sizeof(state->what[0])];
	va_list args;

	if (ports == 0)
		return;
	state->ports[kind] |= ports;
	if (state->what[kind][0] != '\0')
		return;
	va_start(args, fmt);
	(void)vsnprintf(raw, sizeof(raw), fmt, args);
	va_end(args);
	text_escape(raw, state->what[kind], sizeof(state->what[kind]));
}

uint64_t policy_port_by_name(const struct policy *policy, const char *interface)
{
	for (unsigned i = 0; i < ROUTE_MAX_PORTS; i++) {
		if (policy->ports[i].ifindex != 0 &&
		    strcmp(policy->ports[i].interface, interface) == 0)
			return 1ULL << i;
	}
	return 0;
}

uint64_t policy_port_by_index(const struct policy *policy, uint32_t ifindex)
{
	for (unsigned i = 0; i < ROUTE_MAX_PORTS && ifindex != 0; i++) {
		if (policy->ports[i].ifindex == ifindex)
			return 1ULL << i;
	}
	return 0;
}

int policy_dump(struct nl *nl, struct nlmsghdr *request,
		void (*fn)(const struct nlmsghdr *answer, void *arg), void (*reset)(void *arg),
		void *arg)
{
	int r = -EAGAIN;

	request->nlmsg_flags |= NLM_F_DUMP;
	for (unsigned i = 0; i < MAX_DUMP_ATTEMPTS && r == -EAGAIN; i++) {
		if (i > 0 && reset)
			reset(arg);
		r = nl_request(nl, request, fn, arg);
	}
	return r;
}

int policy_read_sysctl(const char *path, unsigned *ret_value)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file)
		return -errno;
	return fscanf(file, "%u", ret_value) == 1 ? 0 : -EBADMSG;
}

/* --- Sockets --------------------------------------------------------------------------------- */

/* One socket of notifications. Groups that this kernel does not have are not missed. */
static int open_events(struct policy *policy, int bus, const int *groups, unsigned n_groups)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, bus);

	if (fd < 0)
		return errno == EPROTONOSUPPORT ? 0 : -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	for (unsigned i = 0; i < n_groups; i++) {
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i],
			       sizeof(groups[i])) < 0 &&
		    errno != EINVAL && errno != ENOENT)
			return -errno;
	}
	policy->event_fds[policy->n_event_fds++] = TAKE_FD(fd);
	return 0;
}

static int open_all_events(struct policy *policy)
{
	static const int route_groups[] = {RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF,
					   RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_TC};
	static const int xfrm_groups[] = {XFRMNLGRP_POLICY};
	static const int netfilter_groups[] = {NFNLGRP_NFTABLES};
	int r;

	r = open_events(policy, NETLINK_ROUTE, route_groups, ARRAY_SIZE(route_groups));
	if (r == 0)
		r = open_events(policy, NETLINK_XFRM, xfrm_groups, ARRAY_SIZE(xfrm_groups));
	if (r == 0)
		r = open_events(policy, NETLINK_NETFILTER, netfilter_groups,
				ARRAY_SIZE(netfilter_groups));
	return r;
}

static int open_requests(struct policy *policy)
{
	int r;

	r = nl_open(&policy->route, NETLINK_ROUTE);
	if (r < 0)
		return r;
	r = nl_open(&policy->xfrm, NETLINK_XFRM);
	if (r < 0 && r != -EPROTONOSUPPORT)
		return r;
	r = nl_open(&policy->netfilter, NETLINK_NETFILTER);
	if (r < 0 && r != -EPROTONOSUPPORT)
		return r;
	for (unsigned i = 0; i < ARRAY_SIZE(policy->inet_fds); i++) {
		policy->inet_fds[i] =
			socket(i == 0 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (policy->inet_fds[i] < 0 && errno != EAFNOSUPPORT)
			return -errno;
	}
	return 0;
}

int policy_open(struct policy **ret_policy)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	int r;

	if (!policy)
		return -ENOMEM;
	policy->inet_fds[0] = policy->inet_fds[1] = -1;
	r = open_requests(policy);
	if (r == 0)
		r = open_all_events(policy);
	if (r < 0) {
		policy_close(policy);
		return r;
	}
	*ret_policy = policy;
	return 0;
}

void policy_close(struct policy *policy)
{
	if (!policy)
		return;
	for (unsigned i = 0; i < policy->n_event_fds; i++)
		close_fdp(&policy->event_fds[i]);
	close_fdp(&policy->inet_fds[0]);
	close_fdp(&policy->inet_fds[1]);
	nl_close(&policy->netfilter);
	nl_close(&policy->xfrm);
	nl_close(&policy->route);
	free(policy);
}

void policy_configure(struct policy *policy, const struct policy_port ports[ROUTE_MAX_PORTS],
		      uint32_t table, const char *vrf, bool bypass_netfilter)
{
	memcpy(policy->ports, ports, sizeof(policy->ports));
	policy->all = 0;
	for (unsigned i = 0; i < ROUTE_MAX_PORTS; i++)
		policy->all |= (uint64_t)(ports[i].ifindex != 0) << i;
	policy->table = table;
	(void)snprintf(policy->vrf, sizeof(policy->vrf), "%s", vrf);
	policy->bypass_netfilter = bypass_netfilter;
}

unsigned policy_fds(const struct policy *policy, int fds[POLICY_MAX_FDS])
{
	memcpy(fds, policy->event_fds, policy->n_event_fds * sizeof(fds[0]));
	return policy->n_event_fds;
}

/* What a notification says is not looked at: everything is asked anew. So an overflow, which is
 * an error of the socket once, is only one more reason to ask. */
bool policy_drain(struct policy *policy)
{
	char byte;
	bool is_due = false;

	for (unsigned i = 0; i < policy->n_event_fds; i++) {
		for (unsigned n = 0; n < MAX_EVENTS_PER_DRAIN; n++) {
			if (recv(policy->event_fds[i], &byte, sizeof(byte), MSG_TRUNC) < 0 &&
			    errno != ENOBUFS)
				break;
			is_due = true;
		}
	}
	return is_due;
}

/* --- Asking ---------------------------------------------------------------------------------- */

static int judge_pmtu(struct policy *policy, struct policy_state *io_state)
{
	unsigned value = 0;
	int r = policy_read_sysctl("/proc/sys/net/ipv4/ip_forward_use_pmtu", &value);

	if (value != 0)
		policy_concern(io_state, POLICY_PMTU4, policy->all,
			       "net.ipv4.ip_forward_use_pmtu = %u", value);
	return r == -ENOENT ? 0 : r;
}

/* rules after netconf: what rp_filter looks up goes by rules, too. */
static const struct {
	const char *name;
	int (*judge)(struct policy *policy, struct policy_state *io_state);
} questions[] = {
	{"forwarding and rp_filter (netconf)", policy_judge_netconf},
	{"rules", policy_judge_rules},
	{"VRF membership", policy_judge_vrf},
	{"XFRM policies", policy_judge_xfrm},
	{"netfilter", policy_judge_netfilter},
	{"ip_forward_use_pmtu", judge_pmtu},
	{"IPv6 MTUs", policy_judge_mtu6},
	{"tc filters", policy_judge_tc},
};

/* "eth0, eth1 and 3 more" */
static void list_ports(const struct policy *policy, uint64_t ports, char *buf, size_t size)
{
	size_t used = 0;
	unsigned n_left = (unsigned)__builtin_popcountll(ports);

	buf[0] = '\0';
	for (unsigned i = 0; i < ROUTE_MAX_PORTS; i++) {
		char name[TEXT_ESCAPED_BYTES(IF_NAMESIZE)];

		if (!(ports >> i & 1))
			continue;
		text_escape(policy->ports[i].interface, name, sizeof(name));
		if (used + sizeof(name) + sizeof(" and 64 more") > size) {
			(void)snprintf(buf + used, size - used, " and %u more", n_left);
			return;
		}
		used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? ", " : "", name);
		n_left--;
	}
}

static void log_kind(const struct policy *policy, const struct policy_state *before,
		     const struct policy_state *now, unsigned kind)
{
	bool is_same = before->ports[kind] == now->ports[kind] &&
		       strcmp(before->what[kind], now->what[kind]) == 0;
	char names[256];

	if (is_same)
		return;
	if (now->ports[kind] == 0) {
		if (before->ports[kind] != 0)
			log_notice("%s: gone", policy_names[kind]);
		return;
	}
	list_ports(policy, now->ports[kind], names, sizeof(names));
	if (policy_families[kind] == 0)
		log_info("%s: %s (%s)", policy_names[kind], now->what[kind], names);
	else
		log_warning("%s: %s: packets of %s pass to the kernel", policy_names[kind],
			    now->what[kind], names);
}

static void log_changes(const struct policy *policy, const struct policy_state *before,
			const struct policy_state *now)
{
	for (unsigned kind = 0; kind < POLICY_N; kind++)
		log_kind(policy, before, now, kind);
	if (now->netfilter_bypassed && !before->netfilter_bypassed)
		log_warning(
			"netfilter: %s: does not see what is forwarded (bypass_netfilter = yes)",
			now->what[POLICY_NETFILTER4][0] ? now->what[POLICY_NETFILTER4] :
							  now->what[POLICY_NETFILTER6]);
	else if (!now->netfilter_bypassed && before->netfilter_bypassed)
		log_notice("netfilter: nothing is bypassed any more");
}

static void bypass_netfilter(struct policy_state *state)
{
	state->netfilter_bypassed =
		(state->ports[POLICY_NETFILTER4] | state->ports[POLICY_NETFILTER6]) != 0;
	state->ports[POLICY_NETFILTER4] = 0;
	state->ports[POLICY_NETFILTER6] = 0;
}

void policy_refresh(struct policy *policy, struct policy_state *ret_state)
{
	struct policy_state state = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(questions) && policy->all != 0; i++) {
		int r = questions[i].judge(policy, &state);

		if (r < 0)
			policy_concern(&state, POLICY_UNKNOWN, policy->all,
				       "asking the kernel about %s: %s", questions[i].name,
				       strerrordesc_np(-r));
	}
	if (policy->bypass_netfilter)
		bypass_netfilter(&state);
	log_changes(policy, &policy->state, &state);
	policy->state = state;
	*ret_state = state;
}

uint64_t policy_routes(const struct policy_state *state, unsigned port)
{
	uint64_t routes = POLICY_BOTH;

	for (unsigned kind = 0; kind < POLICY_N; kind++) {
		if (state->ports[kind] >> port & 1)
			routes &= ~(uint64_t)policy_families[kind];
	}
	return routes;
}

enum route_rpf policy_rpf(const struct policy *policy, unsigned port)
{
	return policy->rpf[port];
}
