/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of rtnetlink as values. Pure: what a message says, nothing looked up. Attributes are
 * input: lengths are checked, what is not understood is left out or makes the message -EBADMSG.
 *
 * Addresses of either family are a struct ip6_addr; IPv4 takes its first four octets, the rest is
 * 0.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/wire.h"

struct nlmsghdr;

/* The kernel's own limit is higher; a route with more members is the kernel's. */
#define RT_MAX_NEXTHOPS 64

struct rt_nexthop {
	uint32_t ifindex;
	bool has_gateway;
	bool gateway_is_ip6; /* also of an IPv4 route (RTA_VIA, RFC 5549) */
	struct ip6_addr gateway;
	uint16_t weight; /* 1 … 256 */
	bool has_encap;  /* lwtunnel */
	bool is_dead;    /* RTNH_F_DEAD */
	bool is_linkdown;
};

struct rt_route {
	bool is_ip6;
	struct ip6_addr dst;
	uint8_t dst_len;
	uint8_t src_len; /* IPv6 source-specific routes */
	uint8_t tos;
	uint8_t type;     /* RTN_* */
	uint8_t protocol; /* RTPROT_* */
	uint32_t table;
	uint32_t metric;   /* RTA_PRIORITY */
	uint32_t mtu;      /* RTAX_MTU; 0 = none */
	uint32_t nhid;     /* next-hop object; 0 = none: nexthops[] says */
	uint32_t identity; /* hash of what else tells routes of a prefix apart: metrics; scope,
			    * preferred source (IPv4); source prefix (IPv6) */
	bool is_cached;    /* RTM_F_CLONED: an exception, not a route */
	bool too_many;     /* more than RT_MAX_NEXTHOPS */
	uint32_t n_nexthops;
	struct rt_nexthop nexthops[RT_MAX_NEXTHOPS];
};

struct rt_nexthop_object {
	uint32_t id;
	bool is_blackhole, is_fdb;
	bool is_group, too_many;
	uint32_t n_members;
	struct {
		uint32_t id;
		uint16_t weight;
	} members[RT_MAX_NEXTHOPS];
	bool is_ip6;
	struct rt_nexthop nexthop;
};

struct rt_neighbour {
	uint32_t ifindex;
	bool is_ip6;
	struct ip6_addr addr;
	uint16_t state; /* NUD_* */
	uint8_t flags;  /* NTF_* */
	bool has_mac;
	uint8_t mac[6];
};

struct rt_link {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	uint32_t mtu;
	bool is_up, has_carrier;
	bool has_mac;
	uint8_t mac[6];
	uint32_t master;
	char kind[16];
	uint32_t vrf_table; /* of kind "vrf"; 0 = none */
};

struct rt_address {
	bool is_ip6;
	uint32_t ifindex;
	struct ip6_addr addr; /* IFA_LOCAL, else IFA_ADDRESS */
	uint8_t len;
};

/* Each: 0, or -EBADMSG. The type of the message has been looked at by the caller. */
int rtmsg_route(const struct nlmsghdr *message, struct rt_route *ret_route);
int rtmsg_nexthop_object(const struct nlmsghdr *message, struct rt_nexthop_object *ret_object);
int rtmsg_neighbour(const struct nlmsghdr *message, struct rt_neighbour *ret_neighbour);
int rtmsg_link(const struct nlmsghdr *message, struct rt_link *ret_link);
int rtmsg_address(const struct nlmsghdr *message, struct rt_address *ret_address);
