/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rtnetlink sockets of the tables: notifications by one, dumps by another, so that a burst of
 * the one never stands in the way of the other; and a third for what nobody waits for.
 *
 * Thread: tables, after rtnl_open() (control). Capabilities: CAP_NET_ADMIN for SO_RCVBUFFORCE.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "control/tables_thread.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/macros.h"

#define LOG_DOMAIN "tables"

/*
 * About 20 000 messages: 200 ms of `ip -batch`, which is more than any turn (spikes.md §9). Some
 * 830 bytes of it go for each.
 */
#define EVENT_BUFFER_BYTES (16 << 20)

/* Answers of a dump are there as soon as they are asked for; this is for a kernel that is not. */
#define DUMP_TIMEOUT_US 500000

/* Notifications between two looks at the clock. */
#define DRAIN_BURST 16

static int rtnl_socket(int type, int *ret_fd)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | type, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_events(struct rtnl *rtnl)
{
	static const int groups[] = {
		RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV6_ROUTE, RTNLGRP_NEIGH,       RTNLGRP_NEXTHOP,
	};
	int size_bytes = EVENT_BUFFER_BYTES;
	int r = rtnl_socket(SOCK_NONBLOCK, &rtnl->event_fd);

	if (r < 0)
		return r;
	/* Without CAP_NET_ADMIN as much as rmem_max allows: an overflow is only a resync. */
	if (setsockopt(rtnl->event_fd, SOL_SOCKET, SO_RCVBUFFORCE, &size_bytes,
		       sizeof(size_bytes)) < 0)
		(void)setsockopt(rtnl->event_fd, SOL_SOCKET, SO_RCVBUF, &size_bytes,
				 sizeof(size_bytes));
	for (unsigned i = 0; i < ARRAY_SIZE(groups); i++) {
		if (setsockopt(rtnl->event_fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i],
			       sizeof(groups[i])) < 0)
			return -errno;
	}
	return 0;
}

static int open_dumps(struct rtnl *rtnl)
{
	const struct timeval timeout = {.tv_usec = DUMP_TIMEOUT_US};
	int one = 1;
	int r = rtnl_socket(0, &rtnl->dump_fd);

	if (r < 0)
		return r;
	if (setsockopt(rtnl->dump_fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	/* Lets the kernel filter by table. */
	if (setsockopt(rtnl->dump_fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

int rtnl_open(struct rtnl *rtnl)
{
	int r;

	rtnl->event_fd = rtnl->dump_fd = rtnl->use_fd = -1;
	r = open_events(rtnl);
	if (r == 0)
		r = open_dumps(rtnl);
	if (r == 0)
		r = rtnl_socket(SOCK_NONBLOCK, &rtnl->use_fd);
	if (r < 0)
		rtnl_close(rtnl);
	return r;
}

void rtnl_close(struct rtnl *rtnl)
{
	close_fdp(&rtnl->event_fd);
	close_fdp(&rtnl->dump_fd);
	close_fdp(&rtnl->use_fd);
}

/*
 * One datagram of the kernel; 0: of somebody else, or cut off (-EMSGSIZE is then what it means).
 */
static ssize_t receive(struct rtnl *rtnl, int fd)
{
	struct sockaddr_nl from = {0};
	struct iovec iov = {.iov_base = rtnl->buffer, .iov_len = sizeof(rtnl->buffer)};
	struct msghdr msg = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	ssize_t n = recvmsg(fd, &msg, 0);

	if (n < 0)
		return -errno;
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return from.nl_pid == 0 ? n : 0;
}

/* --- Notifications ---------------------------------------------------------------------------- */

static void take_events(struct tables *tables, ssize_t n_bytes)
{
	const struct nlmsghdr *nlh = (const void *)tables->rtnl.buffer;
	int left = (int)n_bytes;

	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
		tables_apply(tables, nlh, false);
}

bool rtnl_drain(struct tables *tables, uint64_t until_ns)
{
	for (unsigned n = 1;; n++) {
		ssize_t n_bytes = receive(&tables->rtnl, tables->rtnl.event_fd);

		if (n_bytes == -EAGAIN)
			return true;
		if (n_bytes == -ENOBUFS || n_bytes == -EMSGSIZE) {
			tables->n_overflows++;
			log_notice(
				"notifications of the kernel were lost; reading everything anew");
			sync_want(tables);
		} else if (n_bytes > 0) {
			take_events(tables, n_bytes);
		}
		if (n % DRAIN_BURST == 0 && clock_now_ns() >= until_ns)
			return false;
	}
}

/* --- Dumps ------------------------------------------------------------------------------------ */

static void put_header(struct nlmsghdr *nlh, const struct rtnl_dump *dump)
{
	/* With strict checking the header is that of the type, and whole. */
	if (dump->type == RTM_GETLINK) {
		struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));

		ifi->ifi_family = AF_UNSPEC;
	} else if (dump->type == RTM_GETNEXTHOP) {
		struct nhmsg *nhm = mnl_nlmsg_put_extra_header(nlh, sizeof(*nhm));

		nhm->nh_family = AF_UNSPEC;
	} else if (dump->type == RTM_GETADDR) {
		struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

		ifa->ifa_family = dump->family;
	} else if (dump->type == RTM_GETNEIGH) {
		struct ndmsg *ndm = mnl_nlmsg_put_extra_header(nlh, sizeof(*ndm));

		ndm->ndm_family = dump->family;
	} else {
		struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));

		rtm->rtm_family = dump->family;
		mnl_attr_put_u32(nlh, RTA_TABLE, dump->table);
	}
}

int rtnl_dump_begin(struct rtnl *rtnl, const struct rtnl_dump *dump)
{
	_Alignas(struct nlmsghdr) char request[128];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(request);

	nlh->nlmsg_type = dump->type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++rtnl->sequence;
	put_header(nlh, dump);
	return send(rtnl->dump_fd, nlh, nlh->nlmsg_len, 0) < 0 ? -errno : 0;
}

/* Error of the request, or of the dump half-way (NLMSG_DONE carries a number, too). */
static int status_of(const struct nlmsghdr *nlh)
{
	const int *status = mnl_nlmsg_get_payload(nlh);

	return mnl_nlmsg_get_payload_len(nlh) >= sizeof(*status) && *status < 0 ? *status : 0;
}

/* 1: it was the last message of the dump. */
static int take_answer(struct tables *tables, const struct nlmsghdr *nlh)
{
	if (nlh->nlmsg_seq != tables->rtnl.sequence)
		return 0;
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		tables->sync.is_interrupted = true;
	if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR) {
		int r = status_of(nlh);

		/* -ENOENT: no such table; -EOPNOTSUPP: a kernel without IPv6, or next hops. */
		return r == 0 || r == -ENOENT || r == -EOPNOTSUPP || r == -EAFNOSUPPORT ? 1 : r;
	}
	if (nlh->nlmsg_type >= NLMSG_MIN_TYPE)
		tables_apply(tables, nlh, true);
	return 0;
}

int rtnl_dump_read(struct tables *tables, uint64_t until_ns)
{
	do {
		ssize_t n_bytes = receive(&tables->rtnl, tables->rtnl.dump_fd);
		const struct nlmsghdr *nlh = (const void *)tables->rtnl.buffer;
		int left = (int)n_bytes, r = 0;

		if (n_bytes < 0)
			return (int)n_bytes;
		for (; r == 0 && mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			r = take_answer(tables, nlh);
		if (r != 0)
			return r == 1 && tables->sync.is_interrupted ? -EINTR : r;
	} while (clock_now_ns() < until_ns);
	return 0;
}
