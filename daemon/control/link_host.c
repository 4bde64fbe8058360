/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does an interface carry the host's own traffic? Its addresses, and whether a default route of
 * the main table leaves through it.
 *
 * The kernel filters by interface, so that routes by others cost us no messages. Where a full table
 * leaves by this one, the answer is read as far as it can still tell something: IPv4 routes come in
 * the order of their destinations, and an IPv6 dump ends where the default route was found. What is
 * left unread goes with its socket. Multipath routes and nexthop objects are resolved where they
 * are known (net/ipv4/fib_trie.c, fib_info_nh_uses_dev; net/ipv6/route.c, fib6_info_uses_dev).
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "control/link_internal.h"
#include "util/macros.h"

/* Inconsistent dumps are asked for again; a table in constant change gives its last answer. */
#define MAX_DUMP_ATTEMPTS 4

static void take_address(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct link *link = arg;

	if (nlh->nlmsg_type != RTM_NEWADDR || ifa->ifa_index != link->ifindex)
		return;
	/* Every interface that is up has a link-local IPv6 address: no sign of a host. */
	if (ifa->ifa_family == AF_INET6 && ifa->ifa_scope == RT_SCOPE_LINK)
		return;
	link->host.n_addresses++;
}

static int read_addresses(struct nl *route, int family, struct link *link)
{
	unsigned before = link->host.n_addresses;
	int r = -EAGAIN;

	for (int attempt = 0; r == -EAGAIN && attempt < MAX_DUMP_ATTEMPTS; attempt++) {
		_Alignas(struct nlmsghdr) char buffer[128];
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
		struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

		nlh->nlmsg_type = RTM_GETADDR;
		nlh->nlmsg_flags = NLM_F_DUMP;
		ifa->ifa_family = (unsigned char)family;
		ifa->ifa_index = link->ifindex;
		link->host.n_addresses = before;
		r = nl_request(route, nlh, take_address, link);
	}
	return r == -EAGAIN ? 0 : r;
}

struct route_search {
	struct link *link;
	bool is_over;
};

/* 0.0.0.0, of whatever length: the kernel's table begins with it (net/ipv4/fib_trie.c). */
static bool is_first_destination(const struct nlmsghdr *nlh)
{
	const struct nlattr *attr;

	mnl_attr_for_each (attr, nlh, sizeof(struct rtmsg)) {
		if (mnl_attr_get_type(attr) == RTA_DST)
			return mnl_attr_get_payload_len(attr) == sizeof(uint32_t) &&
			       mnl_attr_get_u32(attr) == 0;
	}
	return true;
}

static void take_route(const struct nlmsghdr *nlh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct route_search *search = arg;

	if (nlh->nlmsg_type != RTM_NEWROUTE)
		return;
	if (rtm->rtm_dst_len == 0 && rtm->rtm_type == RTN_UNICAST)
		search->link->host.has_default_route = search->is_over = true;
	else if (rtm->rtm_family == AF_INET && !is_first_destination(nlh))
		search->is_over = true;
}

static int read_default_route(int family, struct link *link)
{
	struct route_search search = {.link = link};
	_cleanup_(nl_close) struct nl route = {0};
	int r = nl_open(&route, NETLINK_ROUTE);

	if (r < 0)
		return r;
	r = -EAGAIN;
	for (int attempt = 0; r == -EAGAIN && !search.is_over && attempt < MAX_DUMP_ATTEMPTS;
	     attempt++) {
		_Alignas(struct nlmsghdr) char buffer[128];
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
		struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

		nlh->nlmsg_type = RTM_GETROUTE;
		nlh->nlmsg_flags = NLM_F_DUMP;
		rtm->rtm_family = (unsigned char)family;
		rtm->rtm_table = RT_TABLE_MAIN;
		mnl_attr_put_u32(nlh, RTA_OIF, link->ifindex);
		r = nl_request_until(&route, nlh, take_route, &search, &search.is_over);
	}
	return r == -EAGAIN ? 0 : r;
}

/*
 * Is this errno an empty answer? ENOENT: no route was ever put into that table. ENODEV: the
 * interface went meanwhile, which the caller learns as an event. EOPNOTSUPP, EAFNOSUPPORT: a
 * kernel without this family.
 */
static bool means_none(int r)
{
	return r == -ENOENT || r == -ENODEV || r == -EOPNOTSUPP || r == -EAFNOSUPPORT;
}

int link_read_host(struct nl *route, struct link *link)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (unsigned i = 0; i < ARRAY_SIZE(families); i++) {
		int r = read_addresses(route, families[i], link);

		if (r < 0 && !means_none(r))
			return r;
		r = read_default_route(families[i], link);
		if (r < 0 && !means_none(r))
			return r;
	}
	return 0;
}
