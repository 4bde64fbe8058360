/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of rtnetlink as values; see rtmsg.h. Everything is read through attribute tables: a
 * message is first taken apart, each attribute by its type, with the size that its table wants;
 * then put together. Pure, any thread.
 */
#include "control/rtmsg.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "util/macros.h"

/* The kernel says so where the high byte of a member's weight is one and not old padding (6.12). */
#ifndef NHA_OP_FLAG_RESP_GRP_RESVD_0
#define NHA_OP_FLAG_RESP_GRP_RESVD_0 (1U << 31)
#endif
#define NHA_OP_FLAGS_ID 14

#define MAX_TYPE 64

/* --- attributes --------------------------------------------------------------------------------
 */

/* Sizes by type: exact, or SIZE_ANY; 0: of no interest here. */
#define SIZE_ANY 0xff

struct attrs {
	const struct nlattr *by_type[MAX_TYPE];
};

static int take_attr(const struct nlattr *attr, const uint8_t *sizes, size_t n_sizes,
		     struct attrs *attrs)
{
	uint16_t type = mnl_attr_get_type(attr);

	if (type >= n_sizes || sizes[type] == 0)
		return 0;
	if (sizes[type] != SIZE_ANY && mnl_attr_get_payload_len(attr) != sizes[type])
		return -EBADMSG;
	attrs->by_type[type] = attr;
	return 0;
}

/* A run of attributes that must fill `len` bytes but for the padding of the last one. */
static int take_attrs(const void *start, size_t len, const uint8_t *sizes, size_t n_sizes,
		      struct attrs *ret_attrs)
{
	const char *pos = start;

	*ret_attrs = (struct attrs){0};
	while (len >= sizeof(struct nlattr)) {
		const struct nlattr *attr = (const void *)pos;
		size_t step;
		int r;

		if (attr->nla_len < sizeof(*attr) || attr->nla_len > len)
			return -EBADMSG;
		r = take_attr(attr, sizes, n_sizes, ret_attrs);
		if (r < 0)
			return r;
		step = MIN((size_t)MNL_ALIGN(attr->nla_len), len);
		pos += step;
		len -= step;
	}
	return len == 0 ? 0 : -EBADMSG;
}

static int take_nested(const struct nlattr *nest, const uint8_t *sizes, size_t n_sizes,
		       struct attrs *ret_attrs)
{
	return take_attrs(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), sizes,
			  n_sizes, ret_attrs);
}

static int take_message(const struct nlmsghdr *message, size_t header_bytes, const uint8_t *sizes,
			size_t n_sizes, struct attrs *ret_attrs)
{
	size_t len, skip = MNL_ALIGN(header_bytes);
	const char *payload = mnl_nlmsg_get_payload(message);

	if (message->nlmsg_len < MNL_NLMSG_HDRLEN)
		return -EBADMSG;
	len = mnl_nlmsg_get_payload_len(message);
	if (len < header_bytes)
		return -EBADMSG;
	skip = MIN(skip, len);
	return take_attrs(payload + skip, len - skip, sizes, n_sizes, ret_attrs);
}

static uint32_t u32_of(const struct attrs *attrs, uint16_t type)
{
	return attrs->by_type[type] ? mnl_attr_get_u32(attrs->by_type[type]) : 0;
}

static unsigned addr_bytes(bool is_ip6)
{
	return is_ip6 ? 16 : 4;
}

/* The attribute, if there, must be an address of the family. */
static int take_addr(const struct nlattr *attr, bool is_ip6, struct ip6_addr *ret_addr)
{
	struct ip6_addr addr = {0};

	if (attr) {
		if (mnl_attr_get_payload_len(attr) != addr_bytes(is_ip6))
			return -EBADMSG;
		memcpy(addr.octet, mnl_attr_get_payload(attr), addr_bytes(is_ip6));
	}
	*ret_addr = addr;
	return 0;
}

static int family_of(uint8_t family, bool *ret_is_ip6)
{
	if (family != AF_INET && family != AF_INET6)
		return -EBADMSG;
	*ret_is_ip6 = family == AF_INET6;
	return 0;
}

/* FNV-1a: what tells two routes apart that look alike to us; no secret. */
static uint32_t hash_bytes(uint32_t hash, const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ byte[i]) * 16777619U;
	return hash;
}

static uint32_t hash_attr(uint32_t hash, const struct nlattr *attr)
{
	if (!attr)
		return hash_bytes(hash, "", 1);
	return hash_bytes(hash, mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
}

/* --- routes ------------------------------------------------------------------------------------
 */

static const uint8_t route_sizes[] = {
	[RTA_DST] = SIZE_ANY,
	[RTA_SRC] = SIZE_ANY,
	[RTA_OIF] = 4,
	[RTA_GATEWAY] = SIZE_ANY,
	[RTA_PRIORITY] = 4,
	[RTA_PREFSRC] = SIZE_ANY,
	[RTA_METRICS] = SIZE_ANY,
	[RTA_MULTIPATH] = SIZE_ANY,
	[RTA_TABLE] = 4,
	[RTA_VIA] = SIZE_ANY,
	[RTA_ENCAP_TYPE] = 2,
	[RTA_ENCAP] = SIZE_ANY,
	[RTA_NH_ID] = 4,
	[RTA_FLOW] = 4,
};
static const uint8_t metric_sizes[] = {[RTAX_MTU] = 4};

/* RTA_GATEWAY is of the route's family, RTA_VIA names its own. */
static int take_gateway(const struct attrs *attrs, bool is_ip6, struct rt_nexthop *nexthop)
{
	const struct nlattr *gateway = attrs->by_type[RTA_GATEWAY], *via = attrs->by_type[RTA_VIA];
	struct rtvia head;

	if (gateway) {
		nexthop->has_gateway = true;
		nexthop->gateway_is_ip6 = is_ip6;
		return take_addr(gateway, is_ip6, &nexthop->gateway);
	}
	if (!via)
		return 0;
	if (mnl_attr_get_payload_len(via) < sizeof(head))
		return -EBADMSG;
	memcpy(&head, mnl_attr_get_payload(via), sizeof(head));
	if (family_of((uint8_t)MIN(head.rtvia_family, UINT8_MAX), &nexthop->gateway_is_ip6) < 0 ||
	    mnl_attr_get_payload_len(via) != sizeof(head) + addr_bytes(nexthop->gateway_is_ip6))
		return -EBADMSG;
	nexthop->has_gateway = true;
	memcpy(nexthop->gateway.octet, (const char *)mnl_attr_get_payload(via) + sizeof(head),
	       addr_bytes(nexthop->gateway_is_ip6));
	return 0;
}

static int take_nexthop(const struct attrs *attrs, bool is_ip6, uint32_t ifindex, unsigned flags,
			struct rt_nexthop *ret_nexthop)
{
	*ret_nexthop = (struct rt_nexthop){
		.ifindex = ifindex,
		.weight = 1,
		.has_encap = attrs->by_type[RTA_ENCAP] || attrs->by_type[RTA_ENCAP_TYPE],
		.is_dead = flags & RTNH_F_DEAD,
		.is_linkdown = flags & RTNH_F_LINKDOWN,
	};
	return take_gateway(attrs, is_ip6, ret_nexthop);
}

static int take_multipath(const struct nlattr *multipath, struct rt_route *route)
{
	const char *pos = mnl_attr_get_payload(multipath);
	size_t len = mnl_attr_get_payload_len(multipath);

	while (len > 0) {
		struct rtnexthop head;
		struct rt_nexthop nexthop;
		struct attrs attrs;
		size_t step;

		if (len < sizeof(head))
			return -EBADMSG;
		memcpy(&head, pos, sizeof(head));
		if (head.rtnh_len < sizeof(head) || head.rtnh_len > len)
			return -EBADMSG;
		if (take_attrs(pos + sizeof(head), head.rtnh_len - sizeof(head), route_sizes,
			       ARRAY_SIZE(route_sizes), &attrs) < 0 ||
		    take_nexthop(&attrs, route->is_ip6, (uint32_t)head.rtnh_ifindex,
				 head.rtnh_flags, &nexthop) < 0)
			return -EBADMSG;
		nexthop.weight = (uint16_t)(head.rtnh_hops + 1);
		if (route->n_nexthops == RT_MAX_NEXTHOPS)
			route->too_many = true;
		else
			route->nexthops[route->n_nexthops++] = nexthop;
		step = MIN((size_t)RTNH_ALIGN(head.rtnh_len), len);
		pos += step;
		len -= step;
	}
	return route->n_nexthops > 0 ? 0 : -EBADMSG;
}

static int take_paths(const struct attrs *attrs, unsigned rtm_flags, struct rt_route *route)
{
	if (attrs->by_type[RTA_MULTIPATH])
		return take_multipath(attrs->by_type[RTA_MULTIPATH], route);
	if (!attrs->by_type[RTA_OIF] && !attrs->by_type[RTA_GATEWAY] && !attrs->by_type[RTA_VIA])
		return 0;
	route->n_nexthops = 1;
	return take_nexthop(attrs, route->is_ip6, u32_of(attrs, RTA_OIF), rtm_flags,
			    &route->nexthops[0]);
}

static int take_mtu(const struct nlattr *metrics, uint32_t *ret_mtu)
{
	struct attrs attrs;

	if (!metrics)
		return 0;
	if (take_nested(metrics, metric_sizes, ARRAY_SIZE(metric_sizes), &attrs) < 0)
		return -EBADMSG;
	*ret_mtu = u32_of(&attrs, RTAX_MTU);
	return 0;
}

static bool has_bits_behind(const struct ip6_addr *addr, unsigned len, unsigned max_len)
{
	for (unsigned bit = len; bit < max_len; bit++) {
		if (addr->octet[bit / 8] & (0x80 >> bit % 8))
			return true;
	}
	return false;
}

static int take_prefix(const struct attrs *attrs, const struct rtmsg *rtm, struct rt_route *route)
{
	unsigned max_len = 8 * addr_bytes(route->is_ip6);

	if (rtm->rtm_dst_len > max_len || rtm->rtm_src_len > max_len ||
	    (rtm->rtm_dst_len > 0 && !attrs->by_type[RTA_DST]) ||
	    take_addr(attrs->by_type[RTA_DST], route->is_ip6, &route->dst) < 0 ||
	    has_bits_behind(&route->dst, rtm->rtm_dst_len, max_len))
		return -EBADMSG;
	route->dst_len = rtm->rtm_dst_len;
	route->src_len = rtm->rtm_src_len;
	return 0;
}

/*
 * What the kernel tells two routes of a prefix apart by, besides what stands in struct rt_route; of
 * IPv6 members of one route, too, which may differ in their metrics.
 */
static uint32_t identity_of(const struct attrs *attrs, const struct rtmsg *rtm)
{
	uint32_t hash = hash_bytes(2166136261U, &rtm->rtm_src_len, 1);

	hash = hash_attr(hash, attrs->by_type[RTA_SRC]);
	hash = hash_attr(hash, attrs->by_type[RTA_METRICS]);
	if (rtm->rtm_family == AF_INET6)
		return hash;
	hash = hash_bytes(hash, &rtm->rtm_scope, 1);
	hash = hash_attr(hash, attrs->by_type[RTA_FLOW]);
	return hash_attr(hash, attrs->by_type[RTA_PREFSRC]);
}

int rtmsg_route(const struct nlmsghdr *message, struct rt_route *ret_route)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(message);
	struct rt_route route = {0};
	struct attrs attrs;

	if (take_message(message, sizeof(*rtm), route_sizes, ARRAY_SIZE(route_sizes), &attrs) < 0 ||
	    family_of(rtm->rtm_family, &route.is_ip6) < 0 || take_prefix(&attrs, rtm, &route) < 0)
		return -EBADMSG;
	route.tos = rtm->rtm_tos;
	route.type = rtm->rtm_type;
	route.protocol = rtm->rtm_protocol;
	route.table = attrs.by_type[RTA_TABLE] ? u32_of(&attrs, RTA_TABLE) : rtm->rtm_table;
	route.metric = u32_of(&attrs, RTA_PRIORITY);
	route.nhid = u32_of(&attrs, RTA_NH_ID);
	route.is_cached = rtm->rtm_flags & RTM_F_CLONED;
	route.identity = identity_of(&attrs, rtm);
	if (take_mtu(attrs.by_type[RTA_METRICS], &route.mtu) < 0 ||
	    take_paths(&attrs, rtm->rtm_flags, &route) < 0)
		return -EBADMSG;
	*ret_route = route;
	return 0;
}

/* --- next-hop objects --------------------------------------------------------------------------
 */

static const uint8_t object_sizes[] = {
	[NHA_ID] = 4,           [NHA_GROUP] = SIZE_ANY,   [NHA_BLACKHOLE] = SIZE_ANY,
	[NHA_OIF] = 4,          [NHA_GATEWAY] = SIZE_ANY, [NHA_ENCAP_TYPE] = 2,
	[NHA_ENCAP] = SIZE_ANY, [NHA_FDB] = SIZE_ANY,     [NHA_OP_FLAGS_ID] = 4,
};

/* NHA_BLACKHOLE and NHA_FDB are flags without a payload, which SIZE_ANY lets be. */
static int take_group(const struct attrs *attrs, struct rt_nexthop_object *object)
{
	const struct nlattr *group = attrs->by_type[NHA_GROUP];
	const char *pos = mnl_attr_get_payload(group);
	size_t len = mnl_attr_get_payload_len(group);
	bool has_high = u32_of(attrs, NHA_OP_FLAGS_ID) & NHA_OP_FLAG_RESP_GRP_RESVD_0;

	if (len == 0 || len % sizeof(struct nexthop_grp) != 0)
		return -EBADMSG;
	object->is_group = true;
	for (; len > 0; pos += sizeof(struct nexthop_grp), len -= sizeof(struct nexthop_grp)) {
		struct nexthop_grp grp;
		uint8_t high;

		memcpy(&grp, pos, sizeof(grp));
		/* weight_high, which older headers call resvd1 */
		high = has_high ? (uint8_t)pos[offsetof(struct nexthop_grp, weight) + 1] : 0;
		if (object->n_members == RT_MAX_NEXTHOPS) {
			object->too_many = true;
			return 0;
		}
		object->members[object->n_members].id = grp.id;
		object->members[object->n_members++].weight =
			(uint16_t)MIN((high << 8 | grp.weight) + 1U, UINT16_MAX);
	}
	return 0;
}

int rtmsg_nexthop_object(const struct nlmsghdr *message, struct rt_nexthop_object *ret_object)
{
	const struct nhmsg *nhm = mnl_nlmsg_get_payload(message);
	struct rt_nexthop_object object = {.nexthop.weight = 1};
	struct attrs attrs;

	if (take_message(message, sizeof(*nhm), object_sizes, ARRAY_SIZE(object_sizes), &attrs) <
		    0 ||
	    u32_of(&attrs, NHA_ID) == 0)
		return -EBADMSG;
	object.id = u32_of(&attrs, NHA_ID);
	object.is_blackhole = attrs.by_type[NHA_BLACKHOLE];
	object.is_fdb = attrs.by_type[NHA_FDB];
	object.is_ip6 = nhm->nh_family == AF_INET6;
	object.nexthop.ifindex = u32_of(&attrs, NHA_OIF);
	object.nexthop.has_encap = attrs.by_type[NHA_ENCAP] || attrs.by_type[NHA_ENCAP_TYPE];
	object.nexthop.is_dead = nhm->nh_flags & RTNH_F_DEAD;
	object.nexthop.is_linkdown = nhm->nh_flags & RTNH_F_LINKDOWN;
	if (attrs.by_type[NHA_GROUP] && take_group(&attrs, &object) < 0)
		return -EBADMSG;
	if (attrs.by_type[NHA_GATEWAY]) {
		object.nexthop.has_gateway = true;
		if (family_of(nhm->nh_family, &object.nexthop.gateway_is_ip6) < 0 ||
		    take_addr(attrs.by_type[NHA_GATEWAY], object.is_ip6, &object.nexthop.gateway) <
			    0)
			return -EBADMSG;
	}
	*ret_object = object;
	return 0;
}

/* --- neighbours, links, addresses --------------------------------------------------------------
 */

static const uint8_t neighbour_sizes[] = {[NDA_DST] = SIZE_ANY, [NDA_LLADDR] = SIZE_ANY};

int rtmsg_neighbour(const struct nlmsghdr *message, struct rt_neighbour *ret_neighbour)
{
	const struct ndmsg *ndm = mnl_nlmsg_get_payload(message);
	struct rt_neighbour neighbour = {0};
	const struct nlattr *mac;
	struct attrs attrs;

	if (take_message(message, sizeof(*ndm), neighbour_sizes, ARRAY_SIZE(neighbour_sizes),
			 &attrs) < 0 ||
	    family_of(ndm->ndm_family, &neighbour.is_ip6) < 0 || !attrs.by_type[NDA_DST] ||
	    take_addr(attrs.by_type[NDA_DST], neighbour.is_ip6, &neighbour.addr) < 0)
		return -EBADMSG;
	neighbour.ifindex = (uint32_t)ndm->ndm_ifindex;
	neighbour.state = ndm->ndm_state;
	neighbour.flags = ndm->ndm_flags;
	mac = attrs.by_type[NDA_LLADDR];
	if (mac && mnl_attr_get_payload_len(mac) == sizeof(neighbour.mac)) {
		neighbour.has_mac = true;
		memcpy(neighbour.mac, mnl_attr_get_payload(mac), sizeof(neighbour.mac));
	}
	*ret_neighbour = neighbour;
	return 0;
}

static const uint8_t link_sizes[] = {
	[IFLA_ADDRESS] = SIZE_ANY, [IFLA_IFNAME] = SIZE_ANY,   [IFLA_MTU] = 4,
	[IFLA_MASTER] = 4,         [IFLA_LINKINFO] = SIZE_ANY, [IFLA_CARRIER] = 1,
};
static const uint8_t info_sizes[] = {[IFLA_INFO_KIND] = SIZE_ANY, [IFLA_INFO_DATA] = SIZE_ANY};
static const uint8_t vrf_sizes[] = {[IFLA_VRF_TABLE] = 4};

/* A string that fits with its end; the end may be missing in the message. */
static int take_text(const struct nlattr *attr, char *ret_text, size_t size)
{
	size_t len = strnlen(mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));

	if (len >= size)
		return -EBADMSG;
	memcpy(ret_text, mnl_attr_get_payload(attr), len);
	ret_text[len] = '\0';
	return 0;
}

static int take_linkinfo(const struct nlattr *linkinfo, struct rt_link *link)
{
	struct attrs info, vrf;

	if (take_nested(linkinfo, info_sizes, ARRAY_SIZE(info_sizes), &info) < 0)
		return -EBADMSG;
	if (!info.by_type[IFLA_INFO_KIND])
		return 0;
	/* A kind with a longer name is none that we know. */
	if (take_text(info.by_type[IFLA_INFO_KIND], link->kind, sizeof(link->kind)) < 0 ||
	    strcmp(link->kind, "vrf") != 0 || !info.by_type[IFLA_INFO_DATA])
		return 0;
	if (take_nested(info.by_type[IFLA_INFO_DATA], vrf_sizes, ARRAY_SIZE(vrf_sizes), &vrf) < 0)
		return -EBADMSG;
	link->vrf_table = u32_of(&vrf, IFLA_VRF_TABLE);
	return 0;
}

int rtmsg_link(const struct nlmsghdr *message, struct rt_link *ret_link)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(message);
	const struct nlattr *mac;
	struct rt_link link = {0};
	struct attrs attrs;

	if (take_message(message, sizeof(*ifi), link_sizes, ARRAY_SIZE(link_sizes), &attrs) < 0)
		return -EBADMSG;
	/* AF_BRIDGE: a port of a bridge came or went, not the link. */
	if (ifi->ifi_family != AF_UNSPEC || ifi->ifi_index <= 0 || !attrs.by_type[IFLA_IFNAME] ||
	    take_text(attrs.by_type[IFLA_IFNAME], link.name, sizeof(link.name)) < 0)
		return -EBADMSG;
	link.ifindex = (uint32_t)ifi->ifi_index;
	link.mtu = u32_of(&attrs, IFLA_MTU);
	link.master = u32_of(&attrs, IFLA_MASTER);
	link.is_up = ifi->ifi_flags & IFF_UP;
	link.has_carrier = attrs.by_type[IFLA_CARRIER] ?
				   mnl_attr_get_u8(attrs.by_type[IFLA_CARRIER]) != 0 :
				   (ifi->ifi_flags & IFF_RUNNING) != 0;
	mac = attrs.by_type[IFLA_ADDRESS];
	if (mac && ifi->ifi_type == ARPHRD_ETHER &&
	    mnl_attr_get_payload_len(mac) == sizeof(link.mac)) {
		link.has_mac = true;
		memcpy(link.mac, mnl_attr_get_payload(mac), sizeof(link.mac));
	}
	if (attrs.by_type[IFLA_LINKINFO] && take_linkinfo(attrs.by_type[IFLA_LINKINFO], &link) < 0)
		return -EBADMSG;
	*ret_link = link;
	return 0;
}

static const uint8_t address_sizes[] = {[IFA_ADDRESS] = SIZE_ANY, [IFA_LOCAL] = SIZE_ANY};

int rtmsg_address(const struct nlmsghdr *message, struct rt_address *ret_address)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(message);
	struct rt_address address = {0};
	const struct nlattr *addr;
	struct attrs attrs;

	if (take_message(message, sizeof(*ifa), address_sizes, ARRAY_SIZE(address_sizes), &attrs) <
		    0 ||
	    family_of(ifa->ifa_family, &address.is_ip6) < 0 ||
	    ifa->ifa_prefixlen > 8 * addr_bytes(address.is_ip6))
		return -EBADMSG;
	addr = attrs.by_type[IFA_LOCAL] ? attrs.by_type[IFA_LOCAL] : attrs.by_type[IFA_ADDRESS];
	if (!addr || take_addr(addr, address.is_ip6, &address.addr) < 0)
		return -EBADMSG;
	address.ifindex = ifa->ifa_index;
	address.len = ifa->ifa_prefixlen;
	*ret_address = address;
	return 0;
}
