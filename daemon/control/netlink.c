/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests on a netlink socket; see netlink.h. */
#include "control/netlink.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "util/macros.h"

int nl_open(struct nl *nl, int bus)
{
	int one = 1, r;

	*nl = (struct nl){.socket = mnl_socket_open2(bus, SOCK_CLOEXEC)};
	if (!nl->socket)
		return -errno;
	if (mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		goto fail;
	/* Dumps filter by table and interface in the kernel; 4.20 and later, so never refused. */
	if (bus == NETLINK_ROUTE &&
	    mnl_socket_setsockopt(nl->socket, NETLINK_GET_STRICT_CHK, &one, sizeof(one)) < 0)
		goto fail;
	return 0;
fail:
	r = -errno;
	nl_close(nl);
	return r;
}

void nl_close(struct nl *nl)
{
	if (nl->socket)
		(void)mnl_socket_close(nl->socket);
	nl->socket = NULL;
}

struct collect {
	uint32_t sequence;
	void (*fn)(const struct nlmsghdr *answer, void *arg);
	void *arg;
	bool is_done;
	bool is_interrupted;
	int error;
};

static void take_message(struct collect *c, const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_seq != c->sequence || c->is_done)
		return;
	if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
		c->is_interrupted = true;
	if (nlh->nlmsg_type == NLMSG_ERROR) {
		c->is_done = true;
		c->error = mnl_nlmsg_get_payload_len(nlh) >= sizeof(*err) ? err->error : -EBADMSG;
	} else if (nlh->nlmsg_type == NLMSG_DONE) {
		/* A dump that failed half-way says so here. */
		const int *status = mnl_nlmsg_get_payload(nlh);

		c->is_done = true;
		if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(*status) && *status < 0)
			c->error = *status;
	} else if (nlh->nlmsg_type >= NLMSG_MIN_TYPE && c->fn) {
		c->fn(nlh, c->arg);
	}
}

int nl_request(struct nl *nl, struct nlmsghdr *request,
	       void (*fn)(const struct nlmsghdr *answer, void *arg), void *arg)
{
	return nl_request_until(nl, request, fn, arg, NULL);
}

int nl_request_until(struct nl *nl, struct nlmsghdr *request,
		     void (*fn)(const struct nlmsghdr *answer, void *arg), void *arg,
		     const bool *is_enough)
{
	struct collect c = {.sequence = ++nl->sequence, .fn = fn, .arg = arg};
	_Alignas(struct nlmsghdr) char buffer[NL_BUFFER_BYTES];

	request->nlmsg_seq = c.sequence;
	request->nlmsg_flags |= NLM_F_REQUEST;
	if ((request->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		request->nlmsg_flags |= NLM_F_ACK;
	if (mnl_socket_sendto(nl->socket, request, request->nlmsg_len) < 0)
		return -errno;
	while (!c.is_done && !(is_enough && *is_enough)) {
		ssize_t n = mnl_socket_recvfrom(nl->socket, buffer, sizeof(buffer));
		const struct nlmsghdr *nlh = (const void *)buffer;
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left))
			take_message(&c, nlh);
	}
	if (c.error == 0 && c.is_interrupted)
		return -EAGAIN;
	return c.error;
}

struct nlmsghdr *nl_genl_message(void *buffer, uint16_t family, uint8_t command, uint8_t version)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *genl;

	nlh->nlmsg_type = family;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = command;
	genl->version = version;
	return nlh;
}

struct resolve {
	const char *group;
	uint16_t family_id;
	uint32_t group_id;
};

static void take_group(struct resolve *res, const struct nlattr *group)
{
	const struct nlattr *attr;
	const char *name = NULL;
	uint32_t id = 0;

	mnl_attr_for_each_nested (attr, group) {
		if (mnl_attr_get_type(attr) == CTRL_ATTR_MCAST_GRP_NAME)
			name = mnl_attr_get_str(attr);
		else if (mnl_attr_get_type(attr) == CTRL_ATTR_MCAST_GRP_ID)
			id = mnl_attr_get_u32(attr);
	}
	if (name && res->group && strcmp(name, res->group) == 0)
		res->group_id = id;
}

static void take_family(const struct nlmsghdr *nlh, void *arg)
{
	struct resolve *res = arg;
	const struct nlattr *attr, *group;

	mnl_attr_for_each (attr, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID)
			res->family_id = mnl_attr_get_u16(attr);
		if (mnl_attr_get_type(attr) != CTRL_ATTR_MCAST_GROUPS)
			continue;
		mnl_attr_for_each_nested (group, attr)
			take_group(res, group);
	}
}

int nl_genl_resolve(struct nl *nl, const char *family, const char *group, uint16_t *ret_family,
		    uint32_t *ret_group)
{
	_Alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *nlh = nl_genl_message(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	struct resolve res = {.group = group};
	int r;

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, family);
	r = nl_request(nl, nlh, take_family, &res);
	if (r < 0)
		return r;
	if (res.family_id == 0)
		return -ENOENT;
	*ret_family = res.family_id;
	if (ret_group)
		*ret_group = res.group_id;
	return 0;
}
