# SPDX-License-Identifier: GPL-2.0-or-later
"""
The corners of routing tables and of what the kernel does on the way: local before main, routes that
are not what they look like, hooks beside netfilter. LOCAL_FIRST runs before and after the first
`ip rule`: until then the kernel keeps local and main in one trie (longest prefix first), from then
on in two (local first).
"""
from router_frames import echo, one, udp, v4, v6
from router_rig import Case, Do
from router_topology import HOST_MAC, wait_local


def routed(name, frame, *routes, **kwargs):
    """A case under routes (what follows `ip route add`), which are deleted after it."""
    return one(name, frame, before=tuple(f"ip route add {route}" for route in routes),
               after=tuple(f"ip route del {route}" for route in reversed(routes)), **kwargs)


def local_first(when):
    return [
        routed(f"v4 local prefix (AnyIP) {when}", lambda x: [
            v4(x, echo(x), dst=x.special4(241)), v4(x, dst=x.special4(241))],
            "local 10.241.0.0/16 dev lo"),
        routed(f"v4 source in a local prefix (AnyIP) {when}", lambda x: [
            v4(x, src=x.special4(241)), v4(x)], "local 10.241.0.0/16 dev lo"),
        routed(f"v6 local prefix (AnyIP) {when}", lambda x: [
            v6(x, dst=x.special6(241)), v6(x, hlim=1, dst=x.special6(241))],
            "local fd00:241::/32 dev lo"),
        routed(f"v4 local prefix, more specific in main, {when}", lambda x: v4(
            x, dst="10.242.5.5"), "local 10.242.0.0/16 dev lo",
            "10.242.5.0/24 via 10.2.0.2 dev b"),
        routed(f"v6 local prefix, more specific in main, {when}", lambda x: v6(
            x, dst="fd00:242:5::5"), "local fd00:242::/32 dev lo",
            "fd00:242:5::/48 via fd00:2::2 dev b"),
        routed(f"v4 unicast route in local, {when}", lambda x: [
            v4(x, dst="10.102.198.1"), v4(x, dst="10.102.198.2")],
            "10.102.198.1/32 via 10.3.0.2 dev c table local"),
        routed(f"v4 shorter unicast route in local, {when}", lambda x: v4(x, dst="10.243.5.5"),
               "10.243.0.0/16 via 10.3.0.2 dev c table local",
               "10.243.5.0/24 via 10.2.0.2 dev b"),
        routed(f"v6 unicast route in local, {when}", lambda x: v6(x, dst="fd00:102:fff1::1"),
               "fd00:102:fff1::/48 via fd00:3::2 dev c table local"),
        routed(f"v4 the same prefix in local and main, {when}", lambda x: v4(
            x, dst="10.243.6.6"), "10.243.6.0/24 via 10.2.0.2 dev b",
            "10.243.6.0/24 via 10.3.0.2 dev c table local"),
        routed(f"v4 throw in local, {when}", lambda x: v4(x, dst="10.243.7.7"),
               "throw 10.243.7.0/24 table local", "10.243.0.0/16 via 10.2.0.2 dev b"),
        routed(f"v4 route in table default, {when}", lambda x: v4(x, dst="10.244.1.1"),
               "10.244.0.0/16 via 10.2.0.2 dev b table default"),
        routed(f"v4 throw in main, route in default, {when}", lambda x: v4(x, dst="10.244.2.2"),
               "throw 10.244.2.0/24", "10.244.0.0/16 via 10.2.0.2 dev b table default"),
    ]


ROUTES = [
    routed("v4 broadcast by a route of its own", lambda x: [
        v4(x, dst="10.245.0.9"), v4(x, dst="10.245.0.10")],
        "broadcast 10.245.0.9/32 dev b table local", "10.245.0.0/24 via 10.2.0.2 dev b"),
    one("v4 broadcast address of an unusual place", lambda x: [
        v4(x, dst=f"10.2.8.{last}") for last in (77, 255)],
        before=("ip addr add 10.2.8.1/24 broadcast 10.2.8.77 dev b",
                f"ip neigh replace 10.2.8.255 lladdr {HOST_MAC['b']} dev b nud permanent"),
        after=("ip neigh del 10.2.8.255 dev b", "ip addr del 10.2.8.1/24 dev b")),
    one("v4 address without broadcast", lambda x: v4(x, dst="10.2.9.255"),
        before=("ip addr add 10.2.9.1/24 dev b",
                f"ip neigh replace 10.2.9.255 lladdr {HOST_MAC['b']} dev b nud permanent"),
        after=("ip neigh del 10.2.9.255 dev b", "ip addr del 10.2.9.1/24 dev b")),
    one("v4 address with a peer", lambda x: [v4(x, dst="10.246.0.2"), v4(x, dst="10.247.0.1")],
        before=("ip addr add 10.247.0.1 peer 10.246.0.2/32 dev b",
                f"ip neigh replace 10.246.0.2 lladdr {HOST_MAC['b']} dev b nud permanent"),
        after=("ip neigh del 10.246.0.2 dev b", "ip addr del 10.247.0.1 peer 10.246.0.2/32 dev b")),
    one("v4 address of r on loopback", lambda x: [v4(x, dst="10.248.0.1"), v4(x, dst="10.248.0.2")],
        before=("ip addr add 10.248.0.1/32 dev lo",), after=("ip addr del 10.248.0.1/32 dev lo",)),
    one("v6 address of r on loopback", lambda x: [
        v6(x, dst="fd00:248::1"), v6(x, dst="fd00:248::2")],
        before=("ip addr add fd00:248::1/128 dev lo", wait_local("fd00:248::1")),
        after=("ip addr del fd00:248::1/128 dev lo",)),
    one("v4 gateway on the link by word (onlink)", lambda x: v4(x, dst="10.249.0.1"),
        before=("ip route add 10.249.0.0/16 via 192.0.2.66 dev b onlink",
                f"ip neigh replace 192.0.2.66 lladdr {HOST_MAC['b']} dev b nud permanent"),
        after=("ip route del 10.249.0.0/16", "ip neigh del 192.0.2.66 dev b")),
    routed("v4 route with attributes that do not concern forwarding", lambda x: v4(
        x, dst="10.249.1.1"),
        "10.249.1.0/24 via 10.2.0.2 dev b src 10.3.0.1 advmss 500 hoplimit 9 window 100 proto bgp"),
    routed("v6 route with a hop limit of its own", lambda x: v6(x, dst="fd00:249:1::1"),
           "fd00:249:1::/48 via fd00:2::2 dev b hoplimit 9"),
    routed("v4 route mtu greater than the link's", lambda x: v4(
        x, udp(bytes(1380)), dst="10.249.2.1", flags="DF"), "10.249.2.0/24 via 10.3.0.2 dev c mtu 9000"),
    routed("v4 routes of two metrics, the better is blackhole", lambda x: v4(
        x, dst="10.249.3.1"), "blackhole 10.249.3.0/24 metric 5",
        "10.249.3.0/24 via 10.2.0.2 dev b metric 10"),
    routed("v6 routes of two metrics, the better is unreachable", lambda x: v6(
        x, dst="fd00:249:3::1"), "unreachable fd00:249:3::/48 metric 5",
        "fd00:249:3::/48 via fd00:2::2 dev b metric 10"),
    routed("v6 multicast route in local does not make unicast of it", lambda x: v6(
        x, dst="ff0e::77", mac={"dst": "33:33:00:00:00:77"}),
        "multicast ff0e::/16 dev b table local"),
    Case("v4 resilient group", lambda x: [v4(x, dst="10.249.4.1")],
         before=("ip nexthop add id 40 group 10 type resilient buckets 8",
                 "ip route add 10.249.4.0/24 nhid 40"),
         after=("ip route del 10.249.4.0/24", "ip nexthop del id 40")),
    Case("v4 group loses one of two members", lambda x: [
        v4(x, dst="10.249.5.1"), Do(("ip nexthop replace id 41 group 10",)),
        *[v4(x, udp(sport=port), dst="10.249.5.1") for port in range(4000, 4008)]],
        before=("ip nexthop add id 41 group 10", "ip route add 10.249.5.0/24 nhid 41"),
        after=("ip route del 10.249.5.0/24", "ip nexthop del id 41")),
    Case("v4 nexthop object deleted, its routes with it", lambda x: [
        v4(x, dst="10.249.6.1"), Do(("ip nexthop del id 42",)), v4(x, dst="10.249.6.1")],
        before=("ip nexthop add id 42 via 10.2.0.2 dev b", "ip route add 10.249.6.0/24 nhid 42")),
    Case("v4 neighbour of many states", lambda x: [
        v4(x, dst="10.2.0.71"),
        Do((f"ip neigh replace 10.2.0.71 lladdr {HOST_MAC['b']} dev b nud noarp",)),
        v4(x, dst="10.2.0.71"),
        Do((f"ip neigh replace 10.2.0.71 lladdr {HOST_MAC['b']} dev b nud delay",)),
        v4(x, dst="10.2.0.71")],
        before=(f"ip neigh replace 10.2.0.71 lladdr {HOST_MAC['b']} dev b nud reachable",),
        after=("ip neigh del 10.2.0.71 dev b",)),
    Case("v4 a thousand routes at once", lambda x: [
        v4(x, dst="10.251.3.200"), Do(tuple(
            f"ip route add 10.251.{n // 250}.{n % 250}/32 via 10.3.0.2 dev c" for n in range(1000))),
        v4(x, dst="10.251.3.200"), v4(x, dst="10.251.0.0"), Do(("ip route flush root 10.251.0.0/16",)),
        v4(x, dst="10.251.3.200")]),
]

HOOKS = [
    one("nft: drop at the egress of the out port", lambda x: [v4(x), v4(x, udp(dport=2049))],
        before=("nft 'add table netdev n'",
                "nft 'add chain netdev n p { type filter hook egress device \"b\" priority 0; }'",
                "nft 'add rule netdev n p udp dport 2048 drop'"),
        after=("nft flush ruleset",)),
    one("v6 forwarding forced on a port alone", lambda x: [v6(x), v6(x, wire="c")],
        before=("sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.a.force_forwarding=1",),
        after=("sysctl -qw net.ipv6.conf.a.force_forwarding=0 net.ipv6.conf.all.forwarding=1",)),
]

CASES = local_first("one trie") + ROUTES
CASES_AFTER_RULES = local_first("two tries") + HOOKS
