/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Notifications about interfaces, from rtnetlink and ethtool netlink, turned into "read this
 * interface again". Which fact changed is not passed on: the reader compares values, so that a
 * lost or doubled notification is never wrong, only late.
 *
 * A filter in the kernel drops every route that is not a default route before it takes room in
 * the socket: a router's routing daemon may change 100 000 of them a second (spikes.md §9).
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "control/link_internal.h"
#include "util/macros.h"

/* About 1200 link messages: more than the interfaces of a host flapping at once. */
#define EVENT_BUFFER_BYTES (1 << 20)

/* Per call of links_drain(): bounds the turn of the event loop. */
#define MAX_EVENTS_PER_DRAIN 256
#define MAX_NAMES_PER_DRAIN  64

/* Offset in a route message of struct rtmsg's rtm_dst_len. */
#define DST_LEN_OFFSET (NLMSG_HDRLEN + offsetof(struct rtmsg, rtm_dst_len))

/* BPF loads big-endian, netlink is in host order: constants are swapped instead. */
#define HOST_16(n) __builtin_bswap16(n)
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "else HOST_16(n) is n");

static int drop_ordinary_routes(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, HOST_16(RTM_NEWROUTE), 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, HOST_16(RTM_DELROUTE), 0, 2),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, DST_LEN_OFFSET),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {.len = ARRAY_SIZE(code), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ?
		       -errno :
		       0;
}

int link_events_open(int *ret_fd)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				     RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
	int size_bytes = EVENT_BUFFER_BYTES;
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	int r;

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	/* Without CAP_NET_ADMIN as much as rmem_max allows: an overflow is only a re-read. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size_bytes, sizeof(size_bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size_bytes, sizeof(size_bytes));
	r = drop_ordinary_routes(fd);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < ARRAY_SIZE(groups); i++) {
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i],
			       sizeof(groups[i])) < 0)
			return -errno;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* What one call gathers: each name once, or everything. */
struct changes {
	struct links *links;
	char names[MAX_NAMES_PER_DRAIN][IF_NAMESIZE];
	unsigned n_names;
	bool is_everything;
};

static void change_name(struct changes *changes, const char *name)
{
	for (unsigned i = 0; i < changes->n_names; i++) {
		if (strcmp(changes->names[i], name) == 0)
			return;
	}
	if (changes->n_names == MAX_NAMES_PER_DRAIN) {
		changes->is_everything = true;
		return;
	}
	(void)snprintf(changes->names[changes->n_names++], IF_NAMESIZE, "%s", name);
}

static struct known_link *find_known(struct links *links, uint32_t ifindex)
{
	for (unsigned i = 0; i < links->n_known; i++) {
		if (links->known[i].ifindex == ifindex)
			return &links->known[i];
	}
	return NULL;
}

/* What happens to a device that is stacked on an interface is told of that one, too. */
static void change_below(struct changes *changes, uint32_t ifindex)
{
	for (unsigned i = 0; i < changes->links->n_uppers; i++) {
		if (changes->links->uppers[i].ifindex == ifindex)
			change_name(changes, changes->links->uppers[i].name);
	}
}

/* A device that has just been stacked on something known. */
static void change_lower(struct changes *changes, uint32_t lower)
{
	const struct known_link *known = find_known(changes->links, lower);

	if (known)
		change_name(changes, known->name);
	change_below(changes, lower);
}

/* The message carries the new name only: who knew the interface by another is told that too. */
static void take_link(struct changes *changes, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct known_link *known = find_known(changes->links, (uint32_t)ifi->ifi_index);
	const struct nlattr *attr;

	if (known)
		change_name(changes, known->name);
	change_below(changes, (uint32_t)ifi->ifi_index);
	mnl_attr_for_each (attr, nlh, sizeof(*ifi)) {
		const char *name = mnl_attr_get_payload(attr);

		if (mnl_attr_get_type(attr) == IFLA_LINK)
			change_lower(changes, mnl_attr_get_u32(attr));
		if (mnl_attr_get_type(attr) != IFLA_IFNAME)
			continue;
		change_name(changes, name);
		if (known)
			(void)snprintf(known->name, sizeof(known->name), "%s", name);
	}
}

static void take_address(struct changes *changes, const struct nlmsghdr *nlh)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct known_link *known = find_known(changes->links, ifa->ifa_index);

	/* An interface that nobody has read is nobody's. */
	if (known)
		change_name(changes, known->name);
	change_below(changes, ifa->ifa_index);
}

/* Which interface a default route left by before is not told: it may be any that has been read. */
static void take_default_route(struct changes *changes)
{
	for (unsigned i = 0; i < changes->links->n_known; i++)
		change_name(changes, changes->links->known[i].name);
}

static void take_event(struct changes *changes, const struct nlmsghdr *nlh)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		take_link(changes, nlh);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		take_address(changes, nlh);
		break;
	case RTM_NEWROUTE: /* a default route, by the filter */
	case RTM_DELROUTE:
		take_default_route(changes);
		break;
	default:
		break;
	}
}

static void take_ethtool_event(struct changes *changes, const struct nlmsghdr *nlh)
{
	const char *name = ethtool_event_interface(nlh);

	if (name)
		change_name(changes, name);
}

/* Returns the number of messages taken; 0 when the socket is empty. */
static int drain(int fd, struct changes *changes,
		 void (*take)(struct changes *changes, const struct nlmsghdr *nlh))
{
	_Alignas(struct nlmsghdr) char buffer[NL_BUFFER_BYTES];
	int n_events = 0;

	while (fd >= 0 && n_events < MAX_EVENTS_PER_DRAIN) {
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		const struct nlmsghdr *nlh = (const void *)buffer;
		int left = (int)n;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0 && errno != ENOBUFS)
			return -errno;
		n_events++;
		if (n < 0) {
			changes->is_everything = true;
			continue;
		}
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			take(changes, nlh);
	}
	return n_events;
}

int links_drain(struct links *links, void (*fn)(const char *interface, void *arg), void *arg)
{
	struct changes changes = {.links = links};
	int n_route = drain(links->event_fd, &changes, take_event);
	int n_ethtool = drain(links->ethtool.event_fd, &changes, take_ethtool_event);

	if (changes.is_everything)
		fn(NULL, arg);
	for (unsigned i = 0; i < changes.n_names && !changes.is_everything; i++)
		fn(changes.names[i], arg);
	if (n_route < 0)
		return n_route;
	return n_ethtool < 0 ? n_ethtool : n_route + n_ethtool;
}
