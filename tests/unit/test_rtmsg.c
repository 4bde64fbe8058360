/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of rtnetlink: whole ones say what was put in; no truncated one is read past its end. */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/lwtunnel.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>

#include "control/rtmsg.h"
#include "tests/unit/unit.h"
#include "util/macros.h"

static _Alignas(struct nlmsghdr) char buffer[16384];

/* A message of a type with its own header, zeroed. */
static struct nlmsghdr *message_of(uint16_t type, size_t header_bytes, void *ret_header)
{
	struct nlmsghdr *message;
	void *header;

	memset(buffer, 0, sizeof(buffer));
	message = mnl_nlmsg_put_header(buffer);
	message->nlmsg_type = type;
	header = mnl_nlmsg_put_extra_header(message, header_bytes);
	memcpy(ret_header, &header, sizeof(header));
	return message;
}

static struct nlmsghdr *route_message(struct rtmsg **ret_rtm, int family, uint8_t dst_len)
{
	struct nlmsghdr *message = message_of(RTM_NEWROUTE, sizeof(**ret_rtm), ret_rtm);

	(*ret_rtm)->rtm_family = (uint8_t)family;
	(*ret_rtm)->rtm_dst_len = dst_len;
	(*ret_rtm)->rtm_type = RTN_UNICAST;
	(*ret_rtm)->rtm_protocol = RTPROT_STATIC;
	(*ret_rtm)->rtm_table = RT_TABLE_MAIN;
	return message;
}

static void put_addr(struct nlmsghdr *message, uint16_t type, const char *text)
{
	bool is_ip6 = strchr(text, ':');
	uint8_t addr[16];

	assert_int_equal(inet_pton(is_ip6 ? AF_INET6 : AF_INET, text, addr), 1);
	mnl_attr_put(message, type, is_ip6 ? 16 : 4, addr);
}

static void put_via(struct nlmsghdr *message, const char *text)
{
	struct {
		uint16_t family;
		uint8_t addr[16];
	} via = {.family = AF_INET6};

	assert_int_equal(inet_pton(AF_INET6, text, via.addr), 1);
	mnl_attr_put(message, RTA_VIA, sizeof(via), &via);
}

static void assert_addr(const struct ip6_addr *addr, const char *text)
{
	uint8_t want[16] = {0};

	assert_int_equal(inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, want), 1);
	assert_memory_equal(addr->octet, want, sizeof(want));
}

/* One path of RTA_MULTIPATH, in the nest that is open. */
static struct rtnexthop *begin_path(struct nlmsghdr *message, int ifindex, uint8_t hops)
{
	struct rtnexthop *path = mnl_nlmsg_get_payload_tail(message);

	*path = (struct rtnexthop){.rtnh_hops = hops, .rtnh_ifindex = ifindex};
	message->nlmsg_len += sizeof(*path);
	return path;
}

static void end_path(struct nlmsghdr *message, struct rtnexthop *path)
{
	path->rtnh_len = (uint16_t)((char *)mnl_nlmsg_get_payload_tail(message) - (char *)path);
}

/*
 * Every shorter message, in memory of exactly its size, so that a sanitizer sees what is read
 * behind it: refused, or read as something.
 */
static void assert_survives_truncation(const struct nlmsghdr *message,
				       int (*parse)(const struct nlmsghdr *message))
{
	for (uint32_t len = sizeof(*message); len < message->nlmsg_len; len++) {
		struct nlmsghdr *cut = malloc(len);
		int r;

		assert_non_null(cut);
		memcpy(cut, message, len);
		cut->nlmsg_len = len;
		r = parse(cut);
		assert_true(r == 0 || r == -EBADMSG);
		free(cut);
	}
}

static int parse_route(const struct nlmsghdr *message)
{
	struct rt_route route;

	return rtmsg_route(message, &route);
}

static int parse_object(const struct nlmsghdr *message)
{
	struct rt_nexthop_object object;

	return rtmsg_nexthop_object(message, &object);
}

static int parse_neighbour(const struct nlmsghdr *message)
{
	struct rt_neighbour neighbour;

	return rtmsg_neighbour(message, &neighbour);
}

static int parse_link(const struct nlmsghdr *message)
{
	struct rt_link link;

	return rtmsg_link(message, &link);
}

static int parse_address(const struct nlmsghdr *message)
{
	struct rt_address address;

	return rtmsg_address(message, &address);
}

/* --- routes ------------------------------------------------------------------------------------
 */

static void test_a_route_says_what_was_put_in(void **state)
{
	struct rtmsg *rtm;
	struct nlmsghdr *message = route_message(&rtm, AF_INET, 24);
	struct nlattr *metrics;
	struct rt_route route;

	rtm->rtm_tos = 8;
	put_addr(message, RTA_DST, "192.0.2.0");
	put_addr(message, RTA_GATEWAY, "198.51.100.1");
	mnl_attr_put_u32(message, RTA_OIF, 7);
	mnl_attr_put_u32(message, RTA_PRIORITY, 50);
	mnl_attr_put_u32(message, RTA_TABLE, 1000);
	metrics = mnl_attr_nest_start(message, RTA_METRICS);
	mnl_attr_put_u32(message, RTAX_HOPLIMIT, 3);
	mnl_attr_put_u32(message, RTAX_MTU, 1400);
	mnl_attr_nest_end(message, metrics);
	assert_int_equal(rtmsg_route(message, &route), 0);
	assert_false(route.is_ip6);
	assert_addr(&route.dst, "192.0.2.0");
	assert_int_equal(route.dst_len, 24);
	assert_int_equal(route.tos, 8);
	assert_int_equal(route.table, 1000);
	assert_int_equal(route.metric, 50);
	assert_int_equal(route.mtu, 1400);
	assert_int_equal(route.nhid, 0);
	assert_false(route.is_cached);
	assert_int_equal(route.n_nexthops, 1);
	assert_int_equal(route.nexthops[0].ifindex, 7);
	assert_int_equal(route.nexthops[0].weight, 1);
	assert_true(route.nexthops[0].has_gateway);
	assert_false(route.nexthops[0].has_encap);
	assert_addr(&route.nexthops[0].gateway, "198.51.100.1");
	assert_survives_truncation(message, parse_route);
}

static void test_a_default_route_has_no_destination(void **state)
{
	struct rtmsg *rtm;
	struct nlmsghdr *message = route_message(&rtm, AF_INET6, 0);
	struct rt_route route;

	rtm->rtm_flags = RTM_F_CLONED | RTNH_F_DEAD | RTNH_F_LINKDOWN;
	mnl_attr_put_u32(message, RTA_OIF, 2);
	mnl_attr_put_u32(message, RTA_NH_ID, 99);
	assert_int_equal(rtmsg_route(message, &route), 0);
	assert_true(route.is_ip6);
	assert_int_equal(route.table, RT_TABLE_MAIN);
	assert_int_equal(route.nhid, 99);
	assert_true(route.is_cached);
	assert_false(route.nexthops[0].has_gateway);
	assert_true(route.nexthops[0].is_dead);
	assert_true(route.nexthops[0].is_linkdown);
}

static void test_paths_have_gateways_weights_and_encapsulations(void **state)
{
	struct rtmsg *rtm;
	struct nlmsghdr *message = route_message(&rtm, AF_INET, 8);
	struct nlattr *multipath, *encap;
	struct rtnexthop *path;
	struct rt_route route;

	put_addr(message, RTA_DST, "10.0.0.0");
	multipath = mnl_attr_nest_start(message, RTA_MULTIPATH);
	path = begin_path(message, 3, 0);
	put_addr(message, RTA_GATEWAY, "198.51.100.1");
	end_path(message, path);
	path = begin_path(message, 4, 255);
	path->rtnh_flags = RTNH_F_DEAD;
	put_via(message, "fe80::1");
	end_path(message, path);
	path = begin_path(message, 5, 9);
	mnl_attr_put_u16(message, RTA_ENCAP_TYPE, LWTUNNEL_ENCAP_MPLS);
	encap = mnl_attr_nest_start(message, RTA_ENCAP);
	mnl_attr_nest_end(message, encap);
	end_path(message, path);
	mnl_attr_nest_end(message, multipath);
	assert_int_equal(rtmsg_route(message, &route), 0);
	assert_int_equal(route.n_nexthops, 3);
	assert_int_equal(route.nexthops[0].weight, 1);
	assert_int_equal(route.nexthops[1].weight, 256);
	assert_true(route.nexthops[1].is_dead);
	assert_true(route.nexthops[1].gateway_is_ip6);
	assert_addr(&route.nexthops[1].gateway, "fe80::1");
	assert_true(route.nexthops[2].has_encap);
	assert_false(route.nexthops[2].has_gateway);
	assert_survives_truncation(message, parse_route);
}

static void test_more_paths_than_we_take_are_said_to_be(void **state)
{
	struct rtmsg *rtm;
	struct nlmsghdr *message = route_message(&rtm, AF_INET, 0);
	struct nlattr *multipath = mnl_attr_nest_start(message, RTA_MULTIPATH);
	struct rt_route route;

	for (int i = 1; i <= RT_MAX_NEXTHOPS + 1; i++)
		end_path(message, begin_path(message, i, 0));
	mnl_attr_nest_end(message, multipath);
	assert_int_equal(rtmsg_route(message, &route), 0);
	assert_true(route.too_many);
	assert_int_equal(route.n_nexthops, RT_MAX_NEXTHOPS);
}

static void test_what_the_kernel_tells_apart_has_another_identity(void **state)
{
	static const char *const sources[] = {"192.0.2.1", "192.0.2.2"};
	uint32_t identities[3];

	for (size_t i = 0; i < ARRAY_SIZE(identities); i++) {
		struct rtmsg *rtm;
		struct nlmsghdr *message = route_message(&rtm, AF_INET, 0);
		struct rt_route route;

		put_addr(message, RTA_PREFSRC, sources[i % 2]);
		rtm->rtm_scope = i == 2 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
		assert_int_equal(rtmsg_route(message, &route), 0);
		identities[i] = route.identity;
	}
	assert_int_not_equal(identities[0], identities[1]);
	assert_int_not_equal(identities[0], identities[2]);
}

static void test_bad_routes_are_refused(void **state)
{
	struct nlattr *multipath;
	struct rtnexthop *path;
	struct nlmsghdr *message;
	struct rtmsg *rtm;

	message = route_message(&rtm, AF_INET, 33);
	put_addr(message, RTA_DST, "10.0.0.0");
	assert_int_equal(parse_route(message), -EBADMSG);
	message = route_message(&rtm, AF_INET, 8); /* no destination */
	assert_int_equal(parse_route(message), -EBADMSG);
	message = route_message(&rtm, AF_INET, 8);
	put_addr(message, RTA_DST, "10.0.0.1"); /* bits behind the prefix */
	assert_int_equal(parse_route(message), -EBADMSG);
	message = route_message(&rtm, AF_INET6, 8);
	put_addr(message, RTA_DST, "10.0.0.0");
	assert_int_equal(parse_route(message), -EBADMSG);
	message = route_message(&rtm, AF_MPLS, 0);
	assert_int_equal(parse_route(message), -EBADMSG);
	message = route_message(&rtm, AF_INET, 0);
	mnl_attr_put_u16(message, RTA_OIF, 1);
	assert_int_equal(parse_route(message), -EBADMSG);
	message = route_message(&rtm, AF_INET, 0);
	put_addr(message, RTA_GATEWAY, "fe80::1");
	assert_int_equal(parse_route(message), -EBADMSG);
	message = route_message(&rtm, AF_INET, 0);
	multipath = mnl_attr_nest_start(message, RTA_MULTIPATH);
	path = begin_path(message, 3, 0);
	path->rtnh_len = sizeof(*path) - 1;
	mnl_attr_nest_end(message, multipath);
	assert_int_equal(parse_route(message), -EBADMSG);
	path->rtnh_len = sizeof(*path) + 4;
	assert_int_equal(parse_route(message), -EBADMSG);
}

/* --- the others --------------------------------------------------------------------------------
 */

static void test_an_object_says_what_was_put_in(void **state)
{
	struct nhmsg *nhm;
	struct nlmsghdr *message = message_of(RTM_NEWNEXTHOP, sizeof(*nhm), &nhm);
	struct rt_nexthop_object object;

	nhm->nh_family = AF_INET6;
	nhm->nh_flags = RTNH_F_DEAD;
	mnl_attr_put_u32(message, NHA_ID, 12);
	mnl_attr_put_u32(message, NHA_OIF, 3);
	put_addr(message, NHA_GATEWAY, "fe80::2");
	assert_int_equal(rtmsg_nexthop_object(message, &object), 0);
	assert_int_equal(object.id, 12);
	assert_true(object.nexthop.gateway_is_ip6);
	assert_true(object.nexthop.is_dead);
	assert_addr(&object.nexthop.gateway, "fe80::2");
	assert_false(object.is_group || object.is_blackhole || object.is_fdb);
	assert_survives_truncation(message, parse_object);
	mnl_attr_put(message, NHA_FDB, 0, NULL);
	mnl_attr_put(message, NHA_BLACKHOLE, 0, NULL);
	mnl_attr_put_u16(message, NHA_ENCAP_TYPE, LWTUNNEL_ENCAP_MPLS);
	assert_int_equal(rtmsg_nexthop_object(message, &object), 0);
	assert_true(object.is_blackhole && object.is_fdb && object.nexthop.has_encap);
}

static void test_a_group_has_weights_of_one_byte_or_two(void **state)
{
	const struct nexthop_grp members[] = {{.id = 1, .weight = 2}, {.id = 9, .resvd1 = 1}};
	struct nhmsg *nhm;
	struct nlmsghdr *message = message_of(RTM_NEWNEXTHOP, sizeof(*nhm), &nhm);
	struct rt_nexthop_object object;

	mnl_attr_put_u32(message, NHA_ID, 12);
	mnl_attr_put(message, NHA_GROUP, sizeof(members), members);
	assert_int_equal(rtmsg_nexthop_object(message, &object), 0);
	assert_true(object.is_group);
	assert_int_equal(object.n_members, 2);
	assert_int_equal(object.members[0].id, 1);
	assert_int_equal(object.members[0].weight, 3);
	assert_int_equal(object.members[1].weight, 1); /* old padding */
	assert_survives_truncation(message, parse_object);
	mnl_attr_put_u32(message, 14, 1U << 31); /* NHA_OP_FLAGS */
	assert_int_equal(rtmsg_nexthop_object(message, &object), 0);
	assert_int_equal(object.members[1].weight, 257);
	message = message_of(RTM_NEWNEXTHOP, sizeof(*nhm), &nhm);
	mnl_attr_put(message, NHA_GROUP, sizeof(members), members);
	assert_int_equal(parse_object(message), -EBADMSG); /* no id */
}

static void test_a_neighbour_says_what_was_put_in(void **state)
{
	static const uint8_t mac[] = {2, 0, 0, 0, 0, 1}, lladdr_of_ib[20] = {0};
	struct ndmsg *ndm;
	struct nlmsghdr *message = message_of(RTM_NEWNEIGH, sizeof(*ndm), &ndm);
	struct rt_neighbour neighbour;

	ndm->ndm_family = AF_INET;
	ndm->ndm_ifindex = 4;
	ndm->ndm_state = NUD_STALE;
	ndm->ndm_flags = NTF_ROUTER;
	put_addr(message, NDA_DST, "192.0.2.9");
	mnl_attr_put(message, NDA_LLADDR, sizeof(mac), mac);
	assert_int_equal(rtmsg_neighbour(message, &neighbour), 0);
	assert_int_equal(neighbour.ifindex, 4);
	assert_int_equal(neighbour.state, NUD_STALE);
	assert_int_equal(neighbour.flags, NTF_ROUTER);
	assert_addr(&neighbour.addr, "192.0.2.9");
	assert_true(neighbour.has_mac);
	assert_memory_equal(neighbour.mac, mac, sizeof(mac));
	assert_survives_truncation(message, parse_neighbour);
	mnl_attr_put(message, NDA_LLADDR, sizeof(lladdr_of_ib), lladdr_of_ib);
	assert_int_equal(rtmsg_neighbour(message, &neighbour), 0);
	assert_false(neighbour.has_mac);
	ndm->ndm_family = AF_BRIDGE;
	assert_int_equal(parse_neighbour(message), -EBADMSG);
}

static struct nlmsghdr *link_message(struct ifinfomsg **ret_ifi)
{
	static const uint8_t mac[] = {2, 0, 0, 0, 0, 1};
	struct nlmsghdr *message = message_of(RTM_NEWLINK, sizeof(**ret_ifi), ret_ifi);

	(*ret_ifi)->ifi_index = 4;
	(*ret_ifi)->ifi_type = ARPHRD_ETHER;
	(*ret_ifi)->ifi_flags = IFF_UP;
	mnl_attr_put_strz(message, IFLA_IFNAME, "vrf-red");
	mnl_attr_put_u32(message, IFLA_MTU, 1500);
	mnl_attr_put(message, IFLA_ADDRESS, sizeof(mac), mac);
	return message;
}

static void test_a_link_says_what_was_put_in(void **state)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *message = link_message(&ifi);
	struct nlattr *info, *data;
	struct rt_link link;

	mnl_attr_put_u32(message, IFLA_MASTER, 9);
	mnl_attr_put_u8(message, IFLA_CARRIER, 1);
	info = mnl_attr_nest_start(message, IFLA_LINKINFO);
	mnl_attr_put_strz(message, IFLA_INFO_KIND, "vrf");
	data = mnl_attr_nest_start(message, IFLA_INFO_DATA);
	mnl_attr_put_u32(message, IFLA_VRF_TABLE, 1000);
	mnl_attr_nest_end(message, data);
	mnl_attr_nest_end(message, info);
	assert_int_equal(rtmsg_link(message, &link), 0);
	assert_int_equal(link.ifindex, 4);
	assert_string_equal(link.name, "vrf-red");
	assert_string_equal(link.kind, "vrf");
	assert_int_equal(link.vrf_table, 1000);
	assert_int_equal(link.mtu, 1500);
	assert_int_equal(link.master, 9);
	assert_true(link.is_up && link.has_carrier && link.has_mac);
	assert_survives_truncation(message, parse_link);
}

static void test_only_messages_about_links_are_links(void **state)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *message = link_message(&ifi);
	struct rt_link link;

	assert_int_equal(rtmsg_link(message, &link), 0);
	assert_false(link.has_carrier);
	ifi->ifi_flags |= IFF_RUNNING;
	assert_int_equal(rtmsg_link(message, &link), 0);
	assert_true(link.has_carrier);
	assert_string_equal(link.kind, "");
	ifi->ifi_type = ARPHRD_INFINIBAND;
	assert_int_equal(rtmsg_link(message, &link), 0);
	assert_false(link.has_mac);
	ifi->ifi_family = AF_BRIDGE;
	assert_int_equal(parse_link(message), -EBADMSG);
	ifi->ifi_family = AF_UNSPEC;
	mnl_attr_put_strz(message, IFLA_IFNAME, "a-name-that-is-too-long");
	assert_int_equal(parse_link(message), -EBADMSG);
}

static void test_an_address_is_the_local_one(void **state)
{
	struct ifaddrmsg *ifa;
	struct nlmsghdr *message = message_of(RTM_NEWADDR, sizeof(*ifa), &ifa);
	struct rt_address address;

	ifa->ifa_family = AF_INET;
	ifa->ifa_prefixlen = 31;
	ifa->ifa_index = 5;
	put_addr(message, IFA_ADDRESS, "192.0.2.1"); /* the peer's */
	assert_int_equal(rtmsg_address(message, &address), 0);
	assert_addr(&address.addr, "192.0.2.1");
	put_addr(message, IFA_LOCAL, "192.0.2.0");
	assert_int_equal(rtmsg_address(message, &address), 0);
	assert_addr(&address.addr, "192.0.2.0");
	assert_int_equal(address.ifindex, 5);
	assert_int_equal(address.len, 31);
	assert_survives_truncation(message, parse_address);
	ifa->ifa_prefixlen = 33;
	assert_int_equal(parse_address(message), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_route_says_what_was_put_in),
		cmocka_unit_test(test_a_default_route_has_no_destination),
		cmocka_unit_test(test_paths_have_gateways_weights_and_encapsulations),
		cmocka_unit_test(test_more_paths_than_we_take_are_said_to_be),
		cmocka_unit_test(test_what_the_kernel_tells_apart_has_another_identity),
		cmocka_unit_test(test_bad_routes_are_refused),
		cmocka_unit_test(test_an_object_says_what_was_put_in),
		cmocka_unit_test(test_a_group_has_weights_of_one_byte_or_two),
		cmocka_unit_test(test_a_neighbour_says_what_was_put_in),
		cmocka_unit_test(test_a_link_says_what_was_put_in),
		cmocka_unit_test(test_only_messages_about_links_are_links),
		cmocka_unit_test(test_an_address_is_the_local_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
