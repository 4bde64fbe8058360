/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forwarding and the source check, as the kernel's per-device configuration has them. */
#include <errno.h>
#include <inttypes.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "control/policy_internal.h"
#include "util/macros.h"

struct netconf {
	const struct policy *policy;
	uint64_t known;      /* ports that the family knows */
	uint64_t forwarding; /* ports with it on */
	bool all_forwarding;
	uint32_t all_rpf;
	uint32_t rpf[ROUTE_MAX_PORTS];
};

static void reset(void *arg)
{
	struct netconf *conf = arg;

	*conf = (struct netconf){.policy = conf->policy};
}

static void take_netconf(const struct nlmsghdr *nlh, void *arg)
{
	struct netconf *conf = arg;
	const struct nlattr *attr;
	uint32_t ifindex = 0, forwarding = 0, rpf = 0;
	uint64_t port;

	mnl_attr_for_each (attr, nlh, sizeof(struct netconfmsg)) {
		if (mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
			continue;
		if (mnl_attr_get_type(attr) == NETCONFA_IFINDEX)
			ifindex = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == NETCONFA_FORWARDING)
			forwarding = mnl_attr_get_u32(attr);
		else if (mnl_attr_get_type(attr) == NETCONFA_RP_FILTER)
			rpf = mnl_attr_get_u32(attr);
	}
	if (ifindex == (uint32_t)NETCONFA_IFINDEX_ALL) {
		conf->all_forwarding = forwarding != 0;
		conf->all_rpf = rpf;
		return;
	}
	port = policy_port_by_index(conf->policy, ifindex);
	if (port == 0)
		return;
	conf->known |= port;
	if (forwarding != 0)
		conf->forwarding |= port;
	conf->rpf[__builtin_ctzll(port)] = rpf;
}

static int dump_netconf(struct policy *policy, uint8_t family, struct netconf *ret_conf)
{
	_Alignas(struct nlmsghdr) char buffer[64];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct netconfmsg *ncm;

	*ret_conf = (struct netconf){.policy = policy};
	nlh->nlmsg_type = RTM_GETNETCONF;
	ncm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ncm));
	ncm->ncm_family = family;
	return policy_dump(&policy->route, nlh, take_netconf, reset, ret_conf);
}

/* A value that no kernel knows yet is obeyed as the strictest. */
static enum route_rpf rpf_of(uint32_t value)
{
	return value <= ROUTE_RPF_LOOSE ? (enum route_rpf)value : ROUTE_RPF_STRICT;
}

static int judge_ipv4(struct policy *policy, struct policy_state *io_state)
{
	struct netconf conf;
	uint64_t checked = 0;
	int r = dump_netconf(policy, AF_INET, &conf);

	for (unsigned i = 0; i < ROUTE_MAX_PORTS; i++) {
		/* Not asked, not known: the strict check can only hand back too much. */
		policy->rpf[i] = r == 0 ? rpf_of(MAX(conf.all_rpf, conf.rpf[i])) : ROUTE_RPF_STRICT;
		checked |= (uint64_t)(policy->rpf[i] != ROUTE_RPF_OFF) << i;
	}
	if (r < 0)
		return r;
	policy_concern(io_state, POLICY_RP_FILTER, checked & policy->all,
		       "net.ipv4.conf.*.rp_filter, checked by the workers");
	policy_concern(io_state, POLICY_FORWARDING4, policy->all & ~conf.forwarding & conf.known,
		       "net.ipv4.conf.*.forwarding = 0");
	policy_concern(io_state, POLICY_FORWARDING4, policy->all & ~conf.known,
		       "IPv4 is not configured on the port");
	return 0;
}

/* Since 6.17 a device may forward although the host does not; netconf does not tell (6.18). */
static int read_port_sysctl(const struct policy_port *port, const char *name, unsigned *ret_value)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", port->interface, name);
	return policy_read_sysctl(path, ret_value);
}

static int judge_ipv6_port(struct policy *policy, struct policy_state *io_state, unsigned i,
			   bool all_forwarding)
{
	const struct policy_port *port = &policy->ports[i];
	unsigned is_disabled = 0, is_forced = 0;
	int r = read_port_sysctl(port, "disable_ipv6", &is_disabled);

	/* It has just gone or changed its name: the tables hear of it on their own. */
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (is_disabled)
		policy_concern(io_state, POLICY_FORWARDING6, 1ULL << i,
			       "net.ipv6.conf.%s.disable_ipv6 = 1", port->interface);
	if (all_forwarding)
		return 0;
	r = read_port_sysctl(port, "force_forwarding", &is_forced);
	if (!is_forced)
		policy_concern(io_state, POLICY_FORWARDING6, 1ULL << i,
			       "net.ipv6.conf.all.forwarding = 0");
	return r == -ENOENT ? 0 : r;
}

static int judge_ipv6(struct policy *policy, struct policy_state *io_state)
{
	struct netconf conf;
	int r = dump_netconf(policy, AF_INET6, &conf);

	if (policy_is_absent(r))
		r = 0; /* no IPv6 in this kernel: conf knows no port */
	if (r < 0)
		return r;
	policy_concern(io_state, POLICY_FORWARDING6, policy->all & ~conf.known,
		       "IPv6 is not configured on the port");
	for (uint64_t left = policy->all & conf.known; left != 0 && r == 0; left &= left - 1)
		r = judge_ipv6_port(policy, io_state, (unsigned)__builtin_ctzll(left),
				    conf.all_forwarding);
	return r;
}

/* 0: the device is not there. */
static unsigned link_mtu(int fd, const struct policy_port *port)
{
	struct ifreq request = {0};

	memcpy(request.ifr_name, port->interface, sizeof(request.ifr_name));
	return ioctl(fd, SIOCGIFMTU, &request) == 0 ? (unsigned)request.ifr_mtu : 0;
}

/*
 * IPv6 has an MTU of its own per device, the link's until the operator or a router advertisement
 * lowers it; ip6_forward() goes by that of the device that the packet leaves by. What follows a
 * change of the link's MTU at once is no concern, so that one is looked at before and behind.
 */
static int judge_mtu6_port(const struct policy *policy, struct policy_state *io_state, int fd,
			   const struct policy_port *port)
{
	unsigned before = link_mtu(fd, port), mtu6 = UINT32_MAX;
	int r = read_port_sysctl(port, "mtu", &mtu6);

	if (mtu6 < MIN(before, link_mtu(fd, port)))
		policy_concern(io_state, POLICY_MTU6, policy->all, "net.ipv6.conf.%s.mtu = %u",
			       port->interface, mtu6);
	return r == -ENOENT ? 0 : r;
}

int policy_judge_mtu6(struct policy *policy, struct policy_state *io_state)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? -errno : 0;

	for (uint64_t left = policy->all; left != 0 && r == 0; left &= left - 1)
		r = judge_mtu6_port(policy, io_state, fd, &policy->ports[__builtin_ctzll(left)]);
	return r;
}

int policy_judge_netconf(struct policy *policy, struct policy_state *io_state)
{
	int r4 = judge_ipv4(policy, io_state);
	int r6 = judge_ipv6(policy, io_state);

	return r4 < 0 ? r4 : r6;
}
