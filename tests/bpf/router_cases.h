/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fixtures of test_redirect.c for ports that route or bridge: frames, and for each the state of
 * the port and the verdict it must get. What the gate knows is in redirect_env.c.
 */
#pragma once

#include <linux/bpf.h>

#include "bpf/sluice_abi.h"
#include "redirect_env.h"
#include "verdict_cases.h"

/* --- Frames ---------------------------------------------------------------------------------- */

#define U16(n) (uint8_t)((n) >> 8), (uint8_t)(n)

/* Ethernet, then IPv4 with everything that the program looks at. */
#define IP4_FROM(size, first, len, ttl, ...)                                                    \
	{                                                                                       \
		size,                                                                           \
		{                                                                               \
			PORT_MAC, 0x02, 0, 0, 0, 0, 0x0b, 0x08, 0x00, first, 0, U16(len), 0x12, \
				0x34, 0x40, 0x00, ttl, 17, 0xab, 0xcd, 10, 0, 0, 1, __VA_ARGS__ \
		}                                                                               \
	}
#define IP4(...) (&(const struct frame)IP4_FROM(60, 0x45, 46, 64, __VA_ARGS__))
/* To 198.51.100.1, by size of the frame and what the header says. */
#define OURS4(size, first, len, ttl) \
	(&(const struct frame)IP4_FROM(size, first, len, ttl, 198, 51, 100, 1))

#define IP6_FROM(size, first, len, next, hops, ...)                                                \
	{                                                                                          \
		size,                                                                              \
		{                                                                                  \
			PORT_MAC, 0x02, 0, 0, 0, 0, 0x0b, 0x86, 0xdd, first, 0x01, 0x23, 0x45,     \
				U16(len), next, hops, 0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, \
				0, 0, 0, 0, 0, 0, 9, __VA_ARGS__                                   \
		}                                                                                  \
	}
#define IP6(...) (&(const struct frame)IP6_FROM(74, 0x60, 20, 17, 64, __VA_ARGS__))
/* To 2001:db8:1::99. */
#define DST6 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x99
#define OURS6(size, first, len, next, hops) \
	(&(const struct frame)IP6_FROM(size, first, len, next, hops, DST6))

#define WITH_FIRST6(next, type) (&(const struct frame)IP6_FROM(74, 0x60, 20, next, 255, DST6, type))
#define ICMP6(type)             WITH_FIRST6(58, type)

#define ROUTED(dst, ...)                                                                         \
	(&(const struct frame){60, {dst, 0x02, 0,   0,  0,   0,  0x0b, __VA_ARGS__, 0x45, 0,  0, \
				    46,  0,    0,   0,  0,   64, 17,   0,           0,    10, 0, \
				    0,   1,    198, 51, 100, 1}})
#define MAC(...) __VA_ARGS__
static const struct frame arp_cut = {14, {PORT_MAC, 0x02, 0, 0, 0, 0, 0x0b, 0x08, 0x06}};
/* A bridge does not look at what it carries. */
static const struct frame expired = {60, {0x02, 0,    0,    0, 0, 0x0c, 0x02, 0, 0, 0, 0, 0x0b,
					  0x08, 0x00, 0x46, 0, 0, 0,    0,    0, 0, 0, 0}};
#define BOTH (SLUICE_ROUTES_IPV4 | SLUICE_ROUTES_IPV6)

#define BROADCAST 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
#define ARP_FROM(size, dst, format, ...)                                          \
	(&(const struct frame){size, {dst,    0x02, 0, 0, 0, 0, 0x0b, 0x08, 0x06, \
				      format, 0x02, 0, 0, 0, 0, 0x0b, 10,   0,    \
				      0,      1,    0, 0, 0, 0, 0,    0,    __VA_ARGS__}})
#define ARP_FORMAT(hardware, protocol, hlen, plen, op) \
	U16(hardware), U16(protocol), hlen, plen, U16(op)
#define ARP(...) ARP_FROM(60, MAC(BROADCAST), ARP_FORMAT(1, 0x0800, 6, 4, 1), __VA_ARGS__)

#define SOLICITED 0x33, 0x33, 0xff, 0, 0, 1
#define NS_FROM(size, dst, first, next, type, ...)                                             \
	(&(const struct frame){                                                                \
		size, {dst, 0x02, 0,  0,    0,    0,    0x0b, 0x86, 0xdd, first,      0,    0, \
		       0,   0,    32, next, 255,  0xfe, 0x80, 0,    0,    0,          0,    0, \
		       0,   0,    0,  0,    0,    0,    0,    0,    9,    0xff,       0x02, 0, \
		       0,   0,    0,  0,    0,    0,    0,    0,    1,    0xff,       0,    0, \
		       1,   type, 0,  0xab, 0xcd, 0,    0,    0,    0,    __VA_ARGS__}})
#define NS(...)      NS_FROM(86, MAC(SOLICITED), 0x60, 58, 135, __VA_ARGS__)
#define LOCAL6(last) 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, last

/* --- Cases ----------------------------------------------------------------------------------- */

/* clang-format off */
#define ROUTE(X, id, frame, verdict, ...) \
	X(id, frame, verdict, XDP_PASS, .is_route = true, ##__VA_ARGS__)
#define SENT(X, id, frame, ...) \
	X(id, frame, REDIRECT, XDP_REDIRECT, .is_route = true, ##__VA_ARGS__)
#define BRIDGE(X, id, frame, verdict, action, ...) \
	X(id, frame, verdict, action, .is_bridge = true, ##__VA_ARGS__)
#define SWITCHED(X, id, frame, ...) \
	X(id, frame, REDIRECT, XDP_REDIRECT, .is_bridge = true, ##__VA_ARGS__)

#define ROUTE_CASES(X)                                                                             \
	SENT(X, ip4, OURS4(60, 0x45, 46, 64))                                                      \
	SENT(X, ip4_second_queue, OURS4(60, 0x45, 46, 64), .queue = 1)                             \
	SENT(X, ip4_only_a_header, OURS4(34, 0x45, 20, 64))                                        \
	SENT(X, ip4_padded, OURS4(60, 0x45, 20, 64))                                               \
	SENT(X, ip4_ttl_2, OURS4(60, 0x45, 46, 2))                                                 \
	SENT(X, ip4_ttl_255, OURS4(60, 0x45, 46, 255))                                             \
	SENT(X, ip4_of_the_mtu, OURS4(1514, 0x45, 1500, 64))                                       \
	SENT(X, ip4_without_ipv6, OURS4(60, 0x45, 46, 64), .without = SLUICE_ROUTES_IPV6)           \
	SENT(X, ip4_to_a_local_that_is_ours, IP4(198, 51, 100, 9))                                 \
	SENT(X, ip4_mixed, IP4(203, 0, 113, 4))                                                    \
	SENT(X, ip4_lowest, IP4(0, 0, 0, 1))                                                       \
	SENT(X, ip4_below_loopback, IP4(126, 255, 255, 255))                                       \
	SENT(X, ip4_above_loopback, IP4(128, 0, 0, 0))                                             \
	SENT(X, ip4_below_multicast, IP4(223, 255, 255, 255))                                      \
	ROUTE(X, ip4_ttl_1, OURS4(60, 0x45, 46, 1), CARE)                                          \
	ROUTE(X, ip4_ttl_0, OURS4(60, 0x45, 46, 0), CARE)                                          \
	ROUTE(X, ip4_ihl_4, OURS4(60, 0x44, 46, 64), CARE)                                         \
	ROUTE(X, ip4_ihl_6, OURS4(60, 0x46, 46, 64), CARE)                                         \
	ROUTE(X, ip4_ihl_0, OURS4(60, 0x40, 46, 64), CARE)                                         \
	ROUTE(X, ip4_ihl_15, OURS4(90, 0x4f, 70, 64), CARE)                                        \
	ROUTE(X, ip4_version_5, OURS4(60, 0x55, 46, 64), CARE)                                     \
	ROUTE(X, ip4_version_6, OURS4(60, 0x65, 46, 64), CARE)                                     \
	ROUTE(X, ip4_no_header, OURS4(14, 0x45, 46, 64), CARE)                                     \
	ROUTE(X, ip4_cut_header, OURS4(33, 0x45, 20, 64), CARE)                                    \
	ROUTE(X, ip4_length_19, OURS4(60, 0x45, 19, 64), CARE)                                     \
	ROUTE(X, ip4_length_0, OURS4(60, 0x45, 0, 64), CARE)                                       \
	SENT(X, ip4_longer_than_the_frame, OURS4(60, 0x45, 47, 64))                                \
	ROUTE(X, ip4_longest, OURS4(60, 0x45, 65535, 64), CARE, .max_packet_len = 65534)           \
	ROUTE(X, ip4_above_the_mtu, OURS4(1515, 0x45, 1501, 64), CARE)                             \
	SENT(X, ip4_above_the_mtu_by_padding, OURS4(1515, 0x45, 1500, 64))                         \
	SENT(X, ip4_of_a_larger_mtu, OURS4(1515, 0x45, 1501, 64), .max_packet_len = 1501)          \
	ROUTE(X, ip4_of_a_smaller_mtu, OURS4(60, 0x45, 46, 64), CARE, .max_packet_len = 45)        \
	ROUTE(X, ip4_unspecified, IP4(0, 0, 0, 0), CARE)                                           \
	ROUTE(X, ip4_loopback_first, IP4(127, 0, 0, 0), CARE)                                      \
	ROUTE(X, ip4_loopback_last, IP4(127, 255, 255, 255), CARE)                                 \
	ROUTE(X, ip4_multicast, IP4(224, 0, 0, 5), CARE)                                           \
	ROUTE(X, ip4_reserved, IP4(240, 0, 0, 1), CARE)                                            \
	ROUTE(X, ip4_broadcast, IP4(255, 255, 255, 255), CARE)                                     \
	ROUTE(X, ip4_pass, IP4(192, 0, 2, 7), NO_GATE)                                             \
	ROUTE(X, ip4_local_in_pass, IP4(192, 0, 2, 1), NO_GATE)                                    \
	ROUTE(X, ip4_below_ours, IP4(198, 51, 99, 255), NO_GATE)                                   \
	ROUTE(X, ip4_above_ours, IP4(198, 51, 101, 0), NO_GATE)                                    \
	ROUTE(X, ip4_local, IP4(203, 0, 113, 1), LOCAL)                                            \
	ROUTE(X, ip4_local_of_no_group, IP4(203, 0, 113, 2), LOCAL)                                \
	ROUTE(X, ip4_policy, OURS4(60, 0x45, 46, 64), POLICY, .without = SLUICE_ROUTES_IPV4)        \
	ROUTE(X, ip4_policy_first, OURS4(14, 0x45, 46, 0), POLICY, .without = SLUICE_ROUTES_IPV4)   \
                                                                                                   \
	SENT(X, ip6, OURS6(74, 0x60, 20, 17, 64))                                                  \
	SENT(X, ip6_only_a_header, OURS6(54, 0x60, 0, 59, 64))                                     \
	SENT(X, ip6_padded, OURS6(74, 0x60, 0, 59, 64))                                            \
	SENT(X, ip6_traffic_class, OURS6(74, 0x6f, 20, 17, 64))                                    \
	SENT(X, ip6_hops_2, OURS6(74, 0x60, 20, 17, 2))                                            \
	SENT(X, ip6_fragment, OURS6(74, 0x60, 20, 44, 64))                                         \
	SENT(X, ip6_routing_header, OURS6(74, 0x60, 20, 43, 64))                                   \
	SENT(X, ip6_of_the_mtu, OURS6(1514, 0x60, 1460, 17, 64))                                   \
	SENT(X, ip6_without_ipv4, OURS6(74, 0x60, 20, 17, 64), .without = SLUICE_ROUTES_IPV4)       \
	SENT(X, ip6_by_32, IP6(0x20, 0x01, 0x0d, 0xb9, 0xff, 0xff, [53] = 9))                      \
	SENT(X, ip6_by_16, IP6(0x24, 0x00, 0xff, 0xff, 0xff, 0xff, [53] = 9))                      \
	SENT(X, ip6_nat64, IP6(0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1))      \
	SENT(X, ip6_above_link_local, IP6(0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1))   \
	SENT(X, ip6_below_link_local, IP6(0xfe, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1))   \
	ROUTE(X, ip6_hops_1, OURS6(74, 0x60, 20, 17, 1), CARE)                                     \
	ROUTE(X, ip6_hops_0, OURS6(74, 0x60, 20, 17, 0), CARE)                                     \
	ROUTE(X, ip6_version_4, OURS6(74, 0x45, 20, 17, 64), CARE)                                 \
	ROUTE(X, ip6_version_7, OURS6(74, 0x70, 20, 17, 64), CARE)                                 \
	ROUTE(X, ip6_hop_by_hop, OURS6(74, 0x60, 20, 0, 64), CARE)                                 \
	ROUTE(X, ip6_jumbo, OURS6(74, 0x60, 0, 0, 64), CARE)                                       \
	ROUTE(X, ip6_no_header, OURS6(14, 0x60, 0, 59, 64), CARE)                                  \
	ROUTE(X, ip6_cut_header, OURS6(53, 0x60, 0, 59, 64), CARE)                                 \
	SENT(X, ip6_echo, ICMP6(128))                                                              \
	SENT(X, ip6_mld_report, ICMP6(132))                                                        \
	ROUTE(X, ip6_router_solicitation, ICMP6(133), CARE)                                        \
	ROUTE(X, ip6_neighbour_solicitation, ICMP6(135), CARE)                                     \
	ROUTE(X, ip6_redirect, ICMP6(137), CARE)                                                   \
	SENT(X, ip6_renumbering, ICMP6(138))                                                       \
	SENT(X, ip6_udp_that_begins_alike, WITH_FIRST6(17, 135))                                 \
	SENT(X, ip6_longer_than_the_frame, OURS6(74, 0x60, 21, 17, 64))                            \
	ROUTE(X, ip6_longest, OURS6(74, 0x60, 65535, 17, 64), CARE, .max_packet_len = 65574)       \
	ROUTE(X, ip6_above_the_mtu, OURS6(1515, 0x60, 1461, 17, 64), CARE)                         \
	SENT(X, ip6_above_the_mtu_by_padding, OURS6(1515, 0x60, 1460, 17, 64))                     \
	ROUTE(X, ip6_unspecified, IP6(0), CARE)                                                    \
	ROUTE(X, ip6_loopback, IP6(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), CARE)          \
	ROUTE(X, ip6_mapped, IP6(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1), CARE)    \
	ROUTE(X, ip6_link_local, IP6(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), CARE)  \
	ROUTE(X, ip6_link_local_last, IP6(0xfe, 0xbf, 0xff, 0xff, 0xff, 0xff), CARE)               \
	ROUTE(X, ip6_multicast, IP6(0xff, 0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), CARE)   \
	ROUTE(X, ip6_not_in_48, IP6(0x20, 0x01, 0x0d, 0xb8, 0, 3), NO_GATE)                        \
	ROUTE(X, ip6_not_in_32, IP6(0x20, 0x01, 0x0d, 0xba), NO_GATE)                              \
	ROUTE(X, ip6_not_in_16, IP6(0x24, 0x01), NO_GATE)                                          \
	ROUTE(X, ip6_local_behind_no_gate, IP6(0x20, 0x01, 0x0d, 0xb8, 0, 2, [53] = 1), NO_GATE)   \
	ROUTE(X, ip6_local, IP6(LOCAL6(1)), LOCAL)                                                 \
	ROUTE(X, ip6_local_of_no_group, IP6(LOCAL6(2)), LOCAL)                                     \
	ROUTE(X, ip6_policy, OURS6(74, 0x60, 20, 17, 64), POLICY, .without = SLUICE_ROUTES_IPV6)    \
	ROUTE(X, ip6_policy_first, OURS6(14, 0x60, 0, 0, 0), POLICY, .without = BOTH)                  \
                                                                                                   \
	ROUTE(X, route_broadcast, ROUTED(MAC(BROADCAST), 0x08, 0x00), NOT_ROUTED)                  \
	ROUTE(X, route_multicast, ROUTED(MAC(0x01, 0x00, 0x5e, 0, 0, 5), 0x08, 0x00), NOT_ROUTED)  \
	ROUTE(X, route_foreign_0, ROUTED(MAC(0x06, 0, 0, 0, 0, 0x0a), 0x08, 0x00), NOT_ROUTED)     \
	ROUTE(X, route_foreign_3, ROUTED(MAC(0x02, 0, 0, 1, 0, 0x0a), 0x08, 0x00), NOT_ROUTED)     \
	ROUTE(X, route_foreign_5, ROUTED(MAC(0x02, 0, 0, 0, 0, 0x0b), 0x08, 0x00), NOT_ROUTED)     \
	ROUTE(X, route_zero_mac, ROUTED(MAC(0, 0, 0, 0, 0, 0), 0x08, 0x00), NOT_ROUTED)            \
	ROUTE(X, route_arp, ROUTED(MAC(PORT_MAC), 0x08, 0x06), NOT_ROUTED)                         \
	ROUTE(X, route_dot1q, ROUTED(MAC(PORT_MAC), 0x81, 0x00, 0x00, 0x64, 0x08, 0x00), NOT_ROUTED) \
	ROUTE(X, route_priority_tag, ROUTED(MAC(PORT_MAC), 0x81, 0x00, 0, 0, 8, 0), NOT_ROUTED)    \
	ROUTE(X, route_dot1ad, ROUTED(MAC(PORT_MAC), 0x88, 0xa8, 0x00, 0x64, 0x08, 0x00), NOT_ROUTED) \
	ROUTE(X, route_mpls, ROUTED(MAC(PORT_MAC), 0x88, 0x47), NOT_ROUTED)                        \
	ROUTE(X, route_length_field, ROUTED(MAC(PORT_MAC), 0x00, 0x2e), NOT_ROUTED)                \
	ROUTE(X, route_only_ethernet, &arp_cut, NOT_ROUTED)                                        \
	ROUTE(X, route_stp, &stp, CONTROL)                                                         \
	ROUTE(X, route_pause, &mac_pause, CONTROL)                                                 \
	ROUTE(X, route_lldp, &lldp, CONTROL)                                                       \
	ROUTE(X, route_without_policy, &lldp, CONTROL, .without = BOTH)                                \
	ROUTE(X, route_detached, OURS4(60, 0x45, 46, 64), DETACHED, .is_detached = true)           \
	ROUTE(X, route_detached_pause, &mac_pause, DETACHED, .is_detached = true)                  \
	ROUTE(X, route_detached_drop, OURS4(60, 0x45, 46, 64), DETACHED, .is_detached = true,      \
	      .drops = true, .never_beat = true, .has_no_socket = true)                            \
	ROUTE(X, route_unowned_queue, OURS4(60, 0x45, 46, 64), NO_WORKER, .queue = 2)              \
	ROUTE(X, route_stale, OURS4(60, 0x45, 46, 64), STALE, .never_beat = true)                  \
	ROUTE(X, route_stale_ip6, OURS6(74, 0x60, 20, 17, 64), STALE, .never_beat = true)          \
	ROUTE(X, route_no_socket, OURS4(60, 0x45, 46, 64), NO_SOCKET, .has_no_socket = true)       \
	X(route_stale_drop, OURS4(60, 0x45, 46, 64), STALE, XDP_DROP, .is_route = true,            \
	  .drops = true, .never_beat = true)                                                       \
	X(route_no_socket_drop, OURS6(74, 0x60, 20, 17, 64), NO_SOCKET, XDP_DROP,                  \
	  .is_route = true, .drops = true, .has_no_socket = true)                                  \
	ROUTE(X, stale_drop_keeps_the_host, IP4(203, 0, 113, 1), LOCAL, .drops = true,             \
	      .never_beat = true)                                                                  \
	ROUTE(X, stale_drop_keeps_arp, &broadcast, NOT_ROUTED, .drops = true, .never_beat = true)  \
	ROUTE(X, stale_drop_keeps_control, &lldp, CONTROL, .drops = true, .never_beat = true)

#define BRIDGE_CASES(X)                                                                            \
	SWITCHED(X, br_unicast, ROUTED(MAC(0x02, 0, 0, 0, 0, 0x0c), 0x08, 0x00))                   \
	SWITCHED(X, br_broadcast, ROUTED(MAC(BROADCAST), 0x08, 0x00))                              \
	SWITCHED(X, br_multicast, &multicast)                                                      \
	SWITCHED(X, br_dot1q, ROUTED(MAC(BROADCAST), 0x81, 0x00, 0x00, 0x64, 0x08, 0x06))          \
	SWITCHED(X, br_only_ethernet, ROUTED(MAC(0x02, 0, 0, 0, 0, 0x0c), 0x88, 0xb5))             \
	SWITCHED(X, br_ttl_0, &expired)                                                             \
	SWITCHED(X, br_past_control_range, &near_10)                                               \
	SWITCHED(X, br_gate_plays_no_part, ROUTED(MAC(0x02, 0, 0, 0, 0, 0x0c), 0x08, 0x00),        \
		 .without = BOTH)                                                                      \
	BRIDGE(X, br_stp, &stp, CONTROL, XDP_PASS)                                                 \
	BRIDGE(X, br_lldp, &lldp, CONTROL, XDP_PASS)                                               \
	BRIDGE(X, br_pause, &mac_pause, PAUSE, XDP_DROP)                                           \
	BRIDGE(X, br_to_port, OURS4(60, 0x45, 46, 64), LOCAL, XDP_PASS)                            \
	BRIDGE(X, br_to_port_tagged, ROUTED(MAC(PORT_MAC), 0x81, 0x00, 0, 100), LOCAL, XDP_PASS)   \
	BRIDGE(X, br_to_port_stale, OURS4(60, 0x45, 46, 64), LOCAL, XDP_PASS, .drops = true,       \
	       .never_beat = true)                                                                 \
                                                                                                   \
	BRIDGE(X, arp_for_us, ARP(203, 0, 113, 1), LOCAL, XDP_PASS)                                \
	BRIDGE(X, arp_reply_to_all, ARP_FROM(60, MAC(BROADCAST),                                   \
	       ARP_FORMAT(1, 0x0800, 6, 4, 2), 203, 0, 113, 1), LOCAL, XDP_PASS)                   \
	BRIDGE(X, arp_unpadded, ARP_FROM(42, MAC(BROADCAST), ARP_FORMAT(1, 0x0800, 6, 4, 1),       \
	       203, 0, 113, 1), LOCAL, XDP_PASS)                                                   \
	BRIDGE(X, arp_stale, ARP(203, 0, 113, 1), LOCAL, XDP_PASS, .drops = true,                  \
	       .never_beat = true)                                                                 \
	BRIDGE(X, arp_detached, ARP(203, 0, 113, 1), DETACHED, XDP_PASS, .is_detached = true)      \
	SWITCHED(X, arp_cut, ARP_FROM(41, MAC(BROADCAST), ARP_FORMAT(1, 0x0800, 6, 4, 1),          \
		 203, 0, 113, 1))                                                                  \
	SWITCHED(X, arp_for_another, ARP(203, 0, 113, 4))                                          \
	SWITCHED(X, arp_for_us_elsewhere, ARP(203, 0, 113, 2))                                     \
	SWITCHED(X, arp_for_us_on_another_bridge, ARP(203, 0, 113, 3))                             \
	SWITCHED(X, arp_to_a_station, ARP_FROM(60, MAC(0x02, 0, 0, 0, 0, 0x0c),                    \
		 ARP_FORMAT(1, 0x0800, 6, 4, 1), 203, 0, 113, 1))                                  \
	SWITCHED(X, arp_of_another_hardware, ARP_FROM(60, MAC(BROADCAST),                          \
		 ARP_FORMAT(6, 0x0800, 6, 4, 1), 203, 0, 113, 1))                                  \
	SWITCHED(X, arp_of_another_protocol, ARP_FROM(60, MAC(BROADCAST),                          \
		 ARP_FORMAT(1, 0x86dd, 6, 4, 1), 203, 0, 113, 1))                                  \
	SWITCHED(X, arp_of_another_length, ARP_FROM(60, MAC(BROADCAST),                            \
		 ARP_FORMAT(1, 0x0800, 8, 4, 1), 203, 0, 113, 1))                                  \
	SWITCHED(X, rarp, ROUTED(MAC(BROADCAST), 0x80, 0x35))                                      \
                                                                                                   \
	BRIDGE(X, ns_for_us, NS(LOCAL6(1)), LOCAL, XDP_PASS)                                       \
	BRIDGE(X, ns_without_option, NS_FROM(78, MAC(SOLICITED), 0x60, 58, 135, LOCAL6(1)), LOCAL, \
	       XDP_PASS)                                                                           \
	BRIDGE(X, ns_of_a_class, NS_FROM(86, MAC(SOLICITED), 0x6e, 58, 135, LOCAL6(1)), LOCAL,     \
	       XDP_PASS)                                                                           \
	BRIDGE(X, ns_stale, NS(LOCAL6(1)), LOCAL, XDP_PASS, .drops = true, .never_beat = true)     \
	SWITCHED(X, ns_cut, NS_FROM(77, MAC(SOLICITED), 0x60, 58, 135, LOCAL6(1)))                 \
	SWITCHED(X, ns_for_another, NS(LOCAL6(4)))                                                 \
	SWITCHED(X, ns_for_us_elsewhere, NS(LOCAL6(2)))                                            \
	SWITCHED(X, ns_for_us_on_another_bridge, NS(LOCAL6(3)))                                    \
	SWITCHED(X, ns_to_a_station, NS_FROM(86, MAC(0x02, 0, 0, 0, 0, 0x0c), 0x60, 58, 135,       \
		 LOCAL6(1)))                                                                       \
	SWITCHED(X, ns_behind_an_extension, NS_FROM(86, MAC(SOLICITED), 0x60, 60, 135, LOCAL6(1))) \
	SWITCHED(X, na, NS_FROM(86, MAC(SOLICITED), 0x60, 58, 136, LOCAL6(1)))                     \
	SWITCHED(X, ns_of_version_4, NS_FROM(86, MAC(SOLICITED), 0x40, 58, 135, LOCAL6(1)))        \
                                                                                                   \
	BRIDGE(X, br_detached, &broadcast, DETACHED, XDP_PASS, .is_detached = true)                \
	BRIDGE(X, br_unowned_queue, &broadcast, NO_WORKER, XDP_PASS, .queue = 2)                   \
	BRIDGE(X, br_stale, &broadcast, STALE, XDP_PASS, .never_beat = true)                       \
	BRIDGE(X, br_stale_drop, &broadcast, STALE, XDP_DROP, .never_beat = true, .drops = true)   \
	BRIDGE(X, br_no_socket, &broadcast, NO_SOCKET, XDP_PASS, .has_no_socket = true)
/* clang-format on */
