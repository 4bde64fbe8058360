/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does the host live on a device that is stacked on an interface (VLAN, macvlan, …)? Such a device
 * names what is below it by IFLA_LINK. So does a veth its peer, which is beside it; and where
 * IFLA_LINK_NETNSID is there, too, the index belongs to another network namespace.
 *
 * All devices are listed for it, without their statistics; addresses and routes are asked for only
 * of those that are stacked on this one, up to the first that carries the host.
 */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "control/link_internal.h"
#include "util/macros.h"

#define MAX_DUMP_ATTEMPTS 4

struct stacked {
	char name[IF_NAMESIZE];
	uint32_t ifindex;
	uint32_t lower;
	uint32_t master; /* 0 = none */
	bool is_up;
	bool is_above; /* the interface in question */
};

struct stack {
	struct stacked *devices;
	unsigned n;
	int error;
};

static void stack_done(struct stack *stack)
{
	free(stack->devices);
}

static bool is_beside(const struct nlattr *info)
{
	static const char *const peer_kinds[] = {"veth", "netkit", "vxcan"};
	const struct nlattr *attr;

	mnl_attr_for_each_nested (attr, info) {
		if (mnl_attr_get_type(attr) != IFLA_INFO_KIND)
			continue;
		for (unsigned i = 0; i < ARRAY_SIZE(peer_kinds); i++) {
			if (strcmp(mnl_attr_get_str(attr), peer_kinds[i]) == 0)
				return true;
		}
	}
	return false;
}

static void take_stacked(const struct nlmsghdr *nlh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct stacked device = {
		.ifindex = (uint32_t)ifi->ifi_index,
		.is_up = ifi->ifi_flags & IFF_UP,
	};
	struct stack *stack = arg;
	const struct nlattr *attr;
	struct stacked *devices;

	mnl_attr_for_each (attr, nlh, sizeof(*ifi)) {
		uint16_t type = mnl_attr_get_type(attr);

		if (type == IFLA_LINK_NETNSID || (type == IFLA_LINKINFO && is_beside(attr)))
			return;
		if (type == IFLA_IFNAME)
			(void)snprintf(device.name, sizeof(device.name), "%.15s",
				       mnl_attr_get_str(attr));
		else if (type == IFLA_LINK)
			device.lower = mnl_attr_get_u32(attr);
		else if (type == IFLA_MASTER)
			device.master = mnl_attr_get_u32(attr);
	}
	if (nlh->nlmsg_type != RTM_NEWLINK || device.lower == 0)
		return;
	devices = reallocarray(stack->devices, stack->n + 1, sizeof(*devices));
	if (!devices) {
		stack->error = -ENOMEM;
		return;
	}
	stack->devices = devices;
	devices[stack->n++] = device;
}

static int list_stacked(struct nl *route, struct stack *stack)
{
	int r = -EAGAIN;

	for (int attempt = 0; r == -EAGAIN && attempt < MAX_DUMP_ATTEMPTS; attempt++) {
		_Alignas(struct nlmsghdr) char buffer[128];
		struct nlmsghdr *nlh = mnl_nlmsg_put_header(buffer);

		nlh->nlmsg_type = RTM_GETLINK;
		nlh->nlmsg_flags = NLM_F_DUMP;
		(void)mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
		mnl_attr_put_u32(nlh, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
		stack->n = 0;
		r = nl_request(route, nlh, take_stacked, stack);
	}
	if (r < 0 && r != -EAGAIN)
		return r;
	return stack->error;
}

static bool is_above(const struct stack *stack, uint32_t lower, uint32_t ifindex)
{
	for (unsigned i = 0; i < stack->n; i++) {
		if (stack->devices[i].is_above && stack->devices[i].ifindex == lower)
			return true;
	}
	return lower == ifindex;
}

/* A VLAN may lie on a macvlan on the interface: until a pass finds no more. */
static void mark_above(struct stack *stack, uint32_t ifindex)
{
	for (bool is_new = true; is_new;) {
		is_new = false;
		for (unsigned i = 0; i < stack->n; i++) {
			struct stacked *device = &stack->devices[i];

			if (device->is_above || !is_above(stack, device->lower, ifindex))
				continue;
			device->is_above = true;
			is_new = true;
		}
	}
}

/* What is down is not reached by; when it comes up, that is an event (links_learn_upper). */
static int read_host_of(struct links *links, const struct stacked *device,
			struct link_host *ret_host)
{
	struct link link = {.ifindex = device->ifindex};
	int r;

	if (!device->is_up)
		return 0;
	if (device->master != 0)
		link_read_master(links, device->master, &link.host);
	r = link_read_host(&links->route, &link);
	if (r < 0)
		return r;
	*ret_host = link.host;
	return 0;
}

int link_read_upper(struct links *links, struct link *link)
{
	_cleanup_(stack_done) struct stack stack = {0};
	int r = list_stacked(&links->route, &stack);

	if (r < 0)
		return r;
	mark_above(&stack, link->ifindex);
	links_forget_uppers(links, link->name);
	for (unsigned i = 0; i < stack.n; i++) {
		const struct stacked *device = &stack.devices[i];

		if (!device->is_above)
			continue;
		r = links_learn_upper(links, device->ifindex, link->name);
		if (r < 0)
			return r;
		if (link_host_is_there(&link->upper_host))
			continue;
		r = read_host_of(links, device, &link->upper_host);
		if (r < 0)
			return r;
		if (link_host_is_there(&link->upper_host))
			text_escape(device->name, link->upper, sizeof(link->upper));
	}
	return 0;
}
