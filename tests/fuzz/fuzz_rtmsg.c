/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes are a message or -EBADMSG, and what is accepted keeps within the bounds that its users
 * rely on. The input is a netlink message with its header, whose length is made right: the socket
 * sees to that.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/rtmsg.h"
#include "util/macros.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert() this stays in a release build, and it names what broke. */
static void require(bool holds, const char *what)
{
	if (holds)
		return;
	(void)fprintf(stderr, "fuzz_rtmsg: %s\n", what);
	abort();
}

static bool is_accepted(int r)
{
	require(r == 0 || r == -EBADMSG, "neither a message nor refused");
	return r == 0;
}

static bool has_bit(const struct ip6_addr *addr, unsigned bit)
{
	return addr->octet[bit / 8] & (0x80 >> bit % 8);
}

static void check_route(const struct nlmsghdr *message)
{
	struct rt_route route;

	if (!is_accepted(rtmsg_route(message, &route)))
		return;
	require(route.dst_len <= (route.is_ip6 ? 128 : 32), "a prefix longer than an address");
	for (unsigned bit = route.dst_len; bit < 128; bit++)
		require(!has_bit(&route.dst, bit), "bits behind the prefix");
	require(route.n_nexthops <= RT_MAX_NEXTHOPS, "too many paths");
	for (uint32_t i = 0; i < route.n_nexthops; i++)
		require(route.nexthops[i].weight >= 1 && route.nexthops[i].weight <= 256,
			"a weight out of range");
}

static void check_object(const struct nlmsghdr *message)
{
	struct rt_nexthop_object object;

	if (!is_accepted(rtmsg_nexthop_object(message, &object)))
		return;
	require(object.id != 0, "an object without an id");
	require(object.n_members <= RT_MAX_NEXTHOPS, "too many members");
	require(object.is_group == (object.n_members > 0), "a group without members");
	for (uint32_t i = 0; i < object.n_members; i++)
		require(object.members[i].weight >= 1, "a weight of nothing");
}

static void check_others(const struct nlmsghdr *message)
{
	struct rt_neighbour neighbour;
	struct rt_link link;
	struct rt_address address;

	(void)is_accepted(rtmsg_neighbour(message, &neighbour));
	if (is_accepted(rtmsg_link(message, &link))) {
		require(memchr(link.name, '\0', sizeof(link.name)), "a name without an end");
		require(memchr(link.kind, '\0', sizeof(link.kind)), "a kind without an end");
		require(link.ifindex > 0, "a link without a number");
	}
	if (is_accepted(rtmsg_address(message, &address)))
		require(address.len <= (address.is_ip6 ? 128 : 32), "an address with a long mask");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ struct nlmsghdr *message = NULL;

	if (size < sizeof(*message) || size > UINT32_MAX)
		return 0;
	/* exactly as large, so that a sanitizer sees what is read behind it */
	message = malloc(size);
	require(message != NULL, "no memory");
	memcpy(message, data, size);
	message->nlmsg_len = (uint32_t)size;
	check_route(message);
	check_object(message);
	check_others(message);
	return 0;
}
