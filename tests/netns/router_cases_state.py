# SPDX-License-Identifier: GPL-2.0-or-later
"""Routes of every type, neighbours, and what changes while frames flow."""
from scapy.layers.inet import IPOption_LSRR
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from router_cases_l2 import arp
from router_frames import echo, ether, host_unreachable, one, plain, udp, v4, v6
from router_rig import MARKS_WITHOUT_V4, Case, Do, Until
from router_topology import HOST_MAC, OTHER_MAC, restore_commands, wait_local

ARP_KEPT, NS_KEPT = frozenset({"arp", "host"}), frozenset({"ns", "host"})
BROADCAST_MAC = {"dst": "ff:ff:ff:ff:ff:ff"}


def sysctl(*settings):
    return ("sysctl -qw " + " ".join(f"net.{setting}" for setting in settings),)


def with_sysctls(name, frame, settings, defaults, make=one, **kwargs):
    """A case under other settings, which get their defaults again after it."""
    return make(name, frame, before=sysctl(*settings), after=sysctl(*defaults), **kwargs)


def both(name, octet, block, make=one, **kwargs):
    """The same special route of both families."""
    return [make(f"v4 {name}", lambda x: v4(x, dst=x.special4(octet)), **kwargs),
            make(f"v6 {name}", lambda x: v6(x, dst=x.special6(block)), **kwargs)]


# --- neighbours ------------------------------------------------------------------------------------------

def answers_arp(x, wire, frame):
    """Every host on the wire answers for itself."""
    if frame[12:14] != b"\x08\x06" or frame[20:22] != b"\0\1":
        return []
    asked = Ether(frame)[ARP]
    return [(wire, bytes(Ether(dst=asked.hwsrc, src=HOST_MAC[wire]) / ARP(
        op=2, hwsrc=HOST_MAC[wire], psrc=asked.pdst, hwdst=asked.hwsrc, pdst=asked.psrc)))]


def answers_ns(x, wire, frame):
    if frame[12:14] != b"\x86\xdd" or ICMPv6ND_NS not in Ether(frame):
        return []
    asked = Ether(frame)
    return [(wire, bytes(
        ether(wire) / IPv6(src=asked[ICMPv6ND_NS].tgt, dst=asked[IPv6].src, hlim=255)
        / ICMPv6ND_NA(tgt=asked[ICMPv6ND_NS].tgt, R=0, S=1, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=HOST_MAC[wire])))]


def is_udp4(frame):
    return frame[12:14] == b"\x08\x00" and frame[23] == 17


def is_udp6(frame):
    return frame[12:14] == b"\x86\xdd" and frame[20] == 17


def resolve(name, frame, seen, family, address, count=1, **kwargs):
    """The next hop is asked for, answers, and the packets follow; the next finds it known."""
    forget = (f"ip neigh flush {address} dev b",)
    answer, keep = (answers_arp, ARP_KEPT) if family == 4 else (answers_ns, NS_KEPT)
    return Case(name, lambda x: [frame(x)] * count + [Until("b", seen, count), Do(), frame(x)],
                answer=answer, keep=keep, before=forget, after=forget, **kwargs)


def never_answers(name, frame, address, keep, count=1):
    forget = (f"ip neigh flush {address} dev b",)
    return Case(name, lambda x: [frame(x)] * count + [Until(
        "a", host_unreachable(frame(x)), count)], keep=keep, before=forget, after=forget)


NEIGHBOURS = [
    resolve("v4 neighbour asked for and found", lambda x: v4(x, dst="10.2.0.61"), is_udp4, 4,
            "10.2.0.61"),
    resolve("v4 gateway asked for and found", lambda x: v4(x, dst=x.special4(228)), is_udp4, 4,
            "10.2.0.66"),
    resolve("v4 three packets wait for a neighbour", lambda x: v4(x, dst="10.2.0.62"), is_udp4, 4,
            "10.2.0.62", count=3),
    resolve("v6 neighbour asked for and found", lambda x: v6(x, dst="fd00:2::61"), is_udp6, 6,
            "fd00:2::61"),
    resolve("v6 gateway asked for and found", lambda x: v6(x, dst=x.special6(228)), is_udp6, 6,
            "fd00:2::66"),
    never_answers("v4 neighbour that does not answer", lambda x: v4(x, dst="10.2.0.63"),
                  "10.2.0.63", ARP_KEPT),
    never_answers("v4 gateway that does not answer", lambda x: v4(x, dst=x.special4(228)),
                  "10.2.0.66", ARP_KEPT),
    never_answers("v4 neighbour that does not answer, two packets",
                  lambda x: v4(x, dst="10.2.0.64"), "10.2.0.64", ARP_KEPT, 2),
    never_answers("v6 neighbour that does not answer", lambda x: v6(x, dst="fd00:2::63"),
                  "fd00:2::63", NS_KEPT),
    Case("v4 neighbour gets another MAC by command", lambda x: [
        v4(x, dst="10.2.0.67"),
        Do((f"ip neigh replace 10.2.0.67 lladdr {OTHER_MAC} dev b nud permanent",)),
        v4(x, dst="10.2.0.67")],
         before=(f"ip neigh replace 10.2.0.67 lladdr {HOST_MAC['b']} dev b nud permanent",),
         after=("ip neigh del 10.2.0.67 dev b",)),
    Case("v4 neighbour announces another MAC", lambda x: [
        v4(x, dst="10.2.0.68"), Do(),
        arp(sender="10.2.0.68", target="10.2.0.68", wire="b", src=OTHER_MAC), Do(),
        v4(x, dst="10.2.0.68")],
         before=(f"ip neigh replace 10.2.0.68 lladdr {HOST_MAC['b']} dev b nud reachable",
                 "sysctl -qw net.ipv4.neigh.b.locktime=0"),
         after=("ip neigh del 10.2.0.68 dev b",)),
    Case("v6 neighbour announces another MAC", lambda x: [
        v6(x, dst="fd00:2::68"), Do(),
        ("b", bytes(ether("b", src=OTHER_MAC) / IPv6(src="fd00:2::68", dst="fd00:2::1", hlim=255)
                    / ICMPv6ND_NA(tgt="fd00:2::68", R=0, S=0, O=1)
                    / ICMPv6NDOptDstLLAddr(lladdr=OTHER_MAC))), Do(),
        v6(x, dst="fd00:2::68")],
         before=(f"ip neigh replace fd00:2::68 lladdr {HOST_MAC['b']} dev b nud reachable",),
         after=("ip neigh del fd00:2::68 dev b",)),
    Case("v4 neighbour deleted, asked for again", lambda x: [
        v4(x, dst="10.2.0.69"), Do(("ip neigh del 10.2.0.69 dev b",)),
        v4(x, dst="10.2.0.69"), Until("b", is_udp4, 2)],
         answer=answers_arp, keep=ARP_KEPT,
         before=(f"ip neigh replace 10.2.0.69 lladdr {HOST_MAC['b']} dev b nud permanent",),
         after=("ip neigh flush 10.2.0.69 dev b",)),
    plain("v4 neighbour stale, still used", lambda x: v4(x, dst="10.2.0.70"),
          before=(f"ip neigh replace 10.2.0.70 lladdr {HOST_MAC['b']} dev b nud stale",),
          after=("ip neigh del 10.2.0.70 dev b",)),
]

# What becomes of the carrier, the kernel tells itself by a work item.
CARRIER_LOST = ("h: ip link set dev b0 down",
                "until ip link show dev b | grep -qE 'state (LOWERLAYER)?DOWN'; do :; done")
CARRIER_BACK = ("h: ip link set dev b0 up",
                "until ip link show dev b | grep -q 'state UP'; do :; done")

# --- routes of every type ----------------------------------------------------------------------------------

TABLE_100 = ("ip route add 10.102.0.0/16 via 10.3.0.2 dev c table 100",
             "ip route add fd00:102::/32 via fd00:3::2 dev c table 100")
NO_TABLE_100 = ("ip route del 10.102.0.0/16 table 100", "ip route del fd00:102::/32 table 100")

ROUTES = [
    *both("blackhole", 210, 210), *both("unreachable", 211, 211), *both("prohibit", 212, 212),
    *both("throw", 213, 213),
    *both("multipath", 216, 216),
    *both("nexthop object", 217, 217, make=plain),
    one("v4 nexthop group of one", lambda x: v4(x, dst=x.special4(218))),
    one("v4 nexthop blackhole", lambda x: v4(x, dst=x.special4(219))),
    one("v4 nexthop group, weighted", lambda x: [
        v4(x, udp(sport=port), dst=x.special4(229)) for port in range(2000, 2032)]),
    plain("v4 gateway of IPv6", lambda x: v4(x, dst=x.special4(220))),
    *both("lwtunnel seg6", 225, 225),
    one("v4 through an interface that is no port", lambda x: v4(x, to="d")),
    one("v6 through an interface that is no port", lambda x: v6(x, to="d")),
    one("v4 from an interface that is no port", lambda x: v4(x, wire="d")),
    one("v6 from an interface that is no port", lambda x: v6(x, wire="d")),
    one("v4 route by TOS", lambda x: [v4(x, dst=x.special4(226), tos=tos)
                                      for tos in (0, 0x10, 0x12, 0x14, 0x20, 0x30)]),
    one("v6 route by source", lambda x: [
        v6(x, dst=x.special6(227)), v6(x, dst=x.special6(227), src="fd00:101:ffff::1")]),
    *[one(f"{family} {kind} in a broadcast frame", lambda x, octet=octet, make=make: make(
        x, dst=x.special4(octet) if make is v4 else x.special6(octet), mac=BROADCAST_MAC))
      for family, make in (("v4", v4), ("v6", v6))
      for kind, octet in (("unreachable", 211), ("prohibit", 212))],
    one("v4 prohibit, TTL 1", lambda x: v4(x, dst=x.special4(212), ttl=1)),
    one("v6 default route", lambda x: v6(x, dst="2001:db8:7::7"),
        before=("ip route add default via fd00:3::2 dev c",),
        after=("ip route del default via fd00:3::2 dev c",)),
    one("v4 default route", lambda x: v4(x, dst="192.0.2.77"),
        before=("ip route add default via 10.3.0.2 dev c",), after=("ip route del default",)),
    one("v4 default route, throw in the way", lambda x: v4(x, dst=x.special4(213)),
        before=("ip route add default via 10.3.0.2 dev c",), after=("ip route del default",)),
    one("v4 default route and martians", lambda x: [
        v4(x, dst="0.1.2.3"), v4(x, dst="127.0.0.9"), v4(x, dst="240.1.2.3"),
        v4(x, dst="255.255.255.255"), v4(x, dst="169.254.9.9")],
        before=("ip route add default via 10.3.0.2 dev c",), after=("ip route del default",)),
    one("v6 default route and martians", lambda x: [
        v6(x, dst=dst) for dst in ("::", "::1", "::ffff:1.2.3.4", "fec0::1", "::1.2.3.4")],
        before=("ip route add default via fd00:3::2 dev c",),
        after=("ip route del default via fd00:3::2 dev c",)),
    Case("v4 route changes its gateway", lambda x: [
        v4(x, dst=x.special4(232)), Do(("ip route replace 10.232.0.0/16 via 10.3.0.2 dev c",)),
        v4(x, dst=x.special4(232)), Do(("ip route del 10.232.0.0/16",)),
        v4(x, dst=x.special4(232))],
        before=("ip route add 10.232.0.0/16 via 10.2.0.2 dev b",)),
    Case("v6 route changes its gateway", lambda x: [
        v6(x, dst=x.special6(232)), Do(("ip route replace fd00:232::/32 via fd00:3::2 dev c",)),
        v6(x, dst=x.special6(232)), Do(("ip route del fd00:232::/32",)),
        v6(x, dst=x.special6(232))],
        before=("ip route add fd00:232::/32 via fd00:2::2 dev b",)),
    Case("v4 more specific route comes and goes", lambda x: [
        v4(x, to="c"), Do((f"ip route add {x.v4('c')}/32 via 10.2.0.2 dev b",)), v4(x, to="c"),
        Do((f"ip route del {x.v4('c')}/32",)), v4(x, to="c")]),
    Case("v4 route turns blackhole and back", lambda x: [
        v4(x, dst=x.special4(232)), Do(("ip route replace blackhole 10.232.0.0/16",)),
        v4(x, dst=x.special4(232)), Do(("ip route replace 10.232.0.0/16 via 10.2.0.2 dev b",)),
        v4(x, dst=x.special4(232))],
        before=("ip route add 10.232.0.0/16 via 10.2.0.2 dev b",),
        after=("ip route del 10.232.0.0/16",)),
    one("v4 two metrics, the lower wins", lambda x: v4(x, dst=x.special4(232)),
        before=("ip route add 10.232.0.0/16 via 10.2.0.2 dev b metric 20",
                "ip route add 10.232.0.0/16 via 10.3.0.2 dev c metric 10"),
        after=("ip route del 10.232.0.0/16 metric 20", "ip route del 10.232.0.0/16 metric 10")),
    Case("v4 nexthop object changes under its routes", lambda x: [
        v4(x, dst=x.special4(217)), Do(("ip nexthop replace id 10 via 10.3.0.2 dev c",)),
        v4(x, dst=x.special4(217)), v4(x, dst=x.special4(218))],
        after=("ip nexthop replace id 10 via 10.2.0.2 dev b",)),
    Case("v4 multipath loses a member to ignore_routes_with_linkdown", lambda x: [
        v4(x, udp(sport=port), dst=x.special4(216)) for port in range(3000, 3016)],
        before=sysctl("ipv4.conf.all.ignore_routes_with_linkdown=1") + (
            *CARRIER_LOST,),
        after=sysctl("ipv4.conf.all.ignore_routes_with_linkdown=0") + (
            *CARRIER_BACK,), marked_wires="acd"),
    Case("v4 carrier of the out port lost", lambda x: [v4(x)], before=CARRIER_LOST,
         after=CARRIER_BACK, marked_wires="acd"),
    Case("out port down", lambda x: [v4(x), v6(x), v4(x, dst="10.2.0.1"), v4(x, dst="10.2.0.9")],
         before=("ip link set dev b down",), after=restore_commands("b"), marked_wires="acd"),
    Case("out port was down", lambda x: [v4(x), v6(x), v4(x, to="c"), v6(x, to="c")]),
    Case("v4 MTU of the out port shrinks and grows", lambda x: [
        v4(x, udp(bytes(1300)), flags="DF"), Do(("ip link set dev b mtu 1300",)),
        v4(x, udp(bytes(1300)), flags="DF"), v6(x, udp(bytes(1300))), v4(x, udp(bytes(1200))),
        Do(("ip link set dev b mtu 1500",)),
        v4(x, udp(bytes(1300)), flags="DF"), v6(x, udp(bytes(1300)))],
        after=("ip link set dev b mtu 1500",)),
    Case("address added and removed", lambda x: [
        v4(x, echo(x), dst="10.2.7.7"), v6(x, dst="fd00:2:7::7"),
        Do(("ip addr add 10.2.7.7/32 dev b", "ip addr add fd00:2:7::7/128 nodad dev b",
            wait_local("fd00:2:7::7"))),
        v4(x, echo(x), dst="10.2.7.7"), v6(x, dst="fd00:2:7::7"),
        Do(("ip addr del 10.2.7.7/32 dev b", "ip addr del fd00:2:7::7/128 dev b")),
        v4(x, echo(x), dst="10.2.7.7"), v6(x, dst="fd00:2:7::7")],
        before=("ip route add 10.2.7.0/24 via 10.2.0.2 dev b",
                "ip route add fd00:2:7::/48 via fd00:2::2 dev b"),
        after=("ip route del 10.2.7.0/24", "ip route del fd00:2:7::/48")),
]

# --- settings ------------------------------------------------------------------------------------------------

SETTINGS = [
    with_sysctls("v4 forwarding off at the in port", lambda x: [v4(x), v6(x), v4(x, ttl=1)],
                 ["ipv4.conf.a.forwarding=0"], ["ipv4.conf.a.forwarding=1"], marks=MARKS_WITHOUT_V4),
    with_sysctls("v4 forwarding off at the out port", lambda x: v4(x),
                 ["ipv4.conf.b.forwarding=0"], ["ipv4.conf.b.forwarding=1"]),
    with_sysctls("v6 forwarding off at the in port", lambda x: v6(x),
                 ["ipv6.conf.a.forwarding=0"], ["ipv6.conf.a.forwarding=1"]),
    with_sysctls("v6 forwarding off everywhere", lambda x: [v4(x), v6(x), v6(x, hlim=1)],
                 ["ipv6.conf.all.forwarding=0"], ["ipv6.conf.all.forwarding=1"]),
    with_sysctls("v4 forwarding off everywhere", lambda x: [v4(x), v6(x), v4(x, ttl=1)],
                 ["ipv4.conf.all.forwarding=0"], ["ipv4.conf.all.forwarding=1"],
                 marks=MARKS_WITHOUT_V4),
    *[with_sysctls(f"v4 rp_filter {mode}, {name}", lambda x, src=src: v4(
        x, **({"src": src(x)} if src else {})),
        [f"ipv4.conf.a.rp_filter={mode}"], ["ipv4.conf.a.rp_filter=0"])
      for mode in (1, 2)
      for name, src in (("right source", None), ("wrong source", lambda x: x.v4("c")),
                        ("unknown source", lambda x: "192.0.2.55"),
                        ("blackhole source", lambda x: x.special4(210)),
                        ("source behind both ports", lambda x: x.special4(216)))],
    one("v4 rp_filter 1, source by a default route elsewhere", lambda x: v4(x, src="192.0.2.55"),
        before=sysctl("ipv4.conf.a.rp_filter=1") + ("ip route add default via 10.3.0.2 dev c",),
        after=sysctl("ipv4.conf.a.rp_filter=0") + ("ip route del default",)),
    one("v4 rp_filter 1, source by a default route here", lambda x: v4(x, src="192.0.2.55"),
        before=sysctl("ipv4.conf.a.rp_filter=1") + ("ip route add default via 10.1.0.2 dev a",),
        after=sysctl("ipv4.conf.a.rp_filter=0") + ("ip route del default",)),
    one("v4 rp_filter 2, source by a default route elsewhere", lambda x: v4(x, src="192.0.2.55"),
        before=sysctl("ipv4.conf.a.rp_filter=2") + ("ip route add default via 10.3.0.2 dev c",),
        after=sysctl("ipv4.conf.a.rp_filter=0") + ("ip route del default",)),
    with_sysctls("v4 LSRR where source routes are accepted", lambda x: v4(
        x, dst="10.1.0.1", options=[IPOption_LSRR(routers=[x.v4("b")], pointer=4)]),
        ["ipv4.conf.all.accept_source_route=1", "ipv4.conf.a.accept_source_route=1"],
        ["ipv4.conf.all.accept_source_route=0", "ipv4.conf.a.accept_source_route=0"]),
    with_sysctls("v4 own source where accept_local", lambda x: v4(x, src="10.2.0.1"),
                 ["ipv4.conf.a.accept_local=1"], ["ipv4.conf.a.accept_local=0"]),
    with_sysctls("v4 loopback source where route_localnet", lambda x: v4(x, src="127.0.0.5"),
                 ["ipv4.conf.a.route_localnet=1"], ["ipv4.conf.a.route_localnet=0"]),
    with_sysctls("v4 directed broadcast where bc_forwarding", lambda x: v4(x, dst="10.2.0.255"),
                 ["ipv4.conf.all.bc_forwarding=1", "ipv4.conf.a.bc_forwarding=1"],
                 ["ipv4.conf.all.bc_forwarding=0", "ipv4.conf.a.bc_forwarding=0"]),
    with_sysctls("v4 errors from the inbound interface", lambda x: v4(x, wire="c", to="a", ttl=1),
                 ["ipv4.icmp_errors_use_inbound_ifaddr=1"],
                 ["ipv4.icmp_errors_use_inbound_ifaddr=0"]),
    with_sysctls("v4 route mtu where ip_forward_use_pmtu", lambda x: v4(
        x, udp(bytes(673)), dst=x.special4(214), flags="DF"),
        ["ipv4.ip_forward_use_pmtu=1"], ["ipv4.ip_forward_use_pmtu=0"]),
    with_sysctls("v6 mtu of the device, below the link's", lambda x: v6(x, udp(bytes(1300))),
                 ["ipv6.conf.b.mtu=1300"], ["ipv6.conf.b.mtu=1500"]),
    with_sysctls("v4 multicast forwarding asked for, no daemon", lambda x: v4(
        x, dst="239.1.2.3", mac={"dst": "01:00:5e:01:02:03"}), ["ipv4.conf.a.bc_forwarding=0"],
        ["ipv4.conf.a.bc_forwarding=0"]),
    one("v6 proxy ND", lambda x: v6(
        x, ICMPv6ND_NS(tgt="fd00:1::55"), src="fd00:1::9", dst="ff02::1:ff00:55", hlim=255,
        mac={"dst": "33:33:ff:00:00:55"}),
        before=sysctl("ipv6.conf.a.proxy_ndp=1", "ipv6.neigh.a.proxy_delay=0") + (
            "ip neigh add proxy fd00:1::55 dev a",),
        after=sysctl("ipv6.conf.a.proxy_ndp=0") + ("ip neigh del proxy fd00:1::55 dev a",)),
    one("v6 NS to a proxied neighbour itself", lambda x: v6(
        x, ICMPv6ND_NS(tgt="fd00:2::2"), src="fd00:1::2", dst="fd00:2::2", hlim=255),
        before=sysctl("ipv6.conf.all.proxy_ndp=1") + ("ip neigh add proxy fd00:2::2 dev a",),
        after=sysctl("ipv6.conf.all.proxy_ndp=0") + ("ip neigh del proxy fd00:2::2 dev a",)),
    one("v6 to a proxied neighbour", lambda x: v6(x, wire="b", to="a", dst="fd00:1::2"),
        before=sysctl("ipv6.conf.b.proxy_ndp=1") + ("ip neigh add proxy fd00:1::2 dev b",),
        after=sysctl("ipv6.conf.b.proxy_ndp=0") + ("ip neigh del proxy fd00:1::2 dev b",)),
    one("v6 off at the in port", lambda x: [v4(x), v6(x)],
        before=sysctl("ipv6.conf.a.disable_ipv6=1"),
        after=sysctl("ipv6.conf.a.disable_ipv6=0") + restore_commands("a")),
]

# --- policy ----------------------------------------------------------------------------------------------------


def rule(name, frame, selector, target="table 100 pref 500", family="", **kwargs):
    return one(f"rule: {name}", frame, before=TABLE_100 + (
        f"ip {family}rule add {selector} {target}",), after=(
        f"ip {family}rule del {selector} {target}",) + NO_TABLE_100, **kwargs)


def nft(name, frame, *rules, **kwargs):
    return one(f"nft: {name}", frame, before=tuple(f"nft '{line}'" for line in rules),
               after=("nft flush ruleset",), **kwargs)


FORWARD = ("add table inet t", "add chain inet t f { type filter hook forward priority 0; }")

POLICY = [
    rule("from", lambda x: [v4(x, src="10.101.199.7"), v4(x)], "from 10.101.199.7"),
    rule("iif", lambda x: [v4(x), v4(x, wire="c")], "iif a dport 2048"),
    rule("tos", lambda x: [v4(x, tos=0x10), v4(x)], "tos 0x10"),
    rule("dport", lambda x: [v4(x), v4(x, udp(dport=2049))], "ipproto udp dport 2049"),
    rule("prohibit", lambda x: [v4(x, src="10.101.199.8"), v4(x)], "from 10.101.199.8",
         "pref 500 prohibit"),
    rule("blackhole", lambda x: [v4(x, src="10.101.199.9"), v4(x)], "from 10.101.199.9",
         "pref 500 blackhole"),
    rule("of IPv6 by source", lambda x: [v6(x, src="fd00:101:fff0::7"), v6(x)],
         "from fd00:101:fff0::7", family="-6 "),
    nft("drop by iifname", lambda x: [v4(x), v4(x, udp(dport=2049)), v4(x, wire="c")],
        *FORWARD, "add rule inet t f iifname \"a\" udp dport 2048 drop"),
    nft("drop of IPv6 by iifname", lambda x: [v6(x), v4(x), v6(x, udp(dport=2049))],
        *FORWARD, "add rule inet t f iifname \"a\" meta nfproto ipv6 udp dport 2048 drop"),
    nft("reject", lambda x: [v4(x), v6(x)],
        *FORWARD, "add rule inet t f udp dport 2048 reject with icmpx type admin-prohibited"),
    nft("accept and count", lambda x: [v4(x), v6(x), v4(x, ttl=1)],
        *FORWARD, "add rule inet t f iifname \"a\" counter accept"),
    nft("masquerade", lambda x: v4(x), "add table ip n",
        "add chain ip n p { type nat hook postrouting priority 100; }",
        "add rule ip n p oifname \"b\" udp dport 2048 masquerade"),
    nft("destination NAT", lambda x: v4(x), "add table ip n",
        "add chain ip n p { type nat hook prerouting priority -100; }",
        "add rule ip n p iifname \"a\" udp dport 2048 dnat to 10.103.9.9"),
    nft("raw drop in prerouting", lambda x: [v4(x), v4(x, udp(dport=2049))], "add table ip n",
        "add chain ip n p { type filter hook prerouting priority -300; }",
        "add rule ip n p iifname \"a\" udp dport 2048 drop"),
    nft("drop in postrouting", lambda x: [v4(x), v4(x, udp(dport=2049))], "add table ip n",
        "add chain ip n p { type filter hook postrouting priority 0; }",
        "add rule ip n p oifname \"b\" udp dport 2048 drop"),
    nft("drop at the device's ingress", lambda x: [v4(x), v4(x, udp(dport=2049))],
        "add table netdev n",
        "add chain netdev n p { type filter hook ingress device \"a\" priority 0; }",
        "add rule netdev n p udp dport 2048 drop"),
    nft("drop in input does not concern forwarding", lambda x: [v4(x), v4(x, dst="10.1.0.1")],
        "add table ip n", "add chain ip n p { type filter hook input priority 0; }",
        "add rule ip n p udp dport 2048 drop"),
    nft("TTL set while forwarding", lambda x: v4(x), "add table ip n",
        "add chain ip n p { type filter hook forward priority 0; }",
        "add rule ip n p udp dport 2048 ip ttl set 7"),
    nft("mark chooses the table", lambda x: [v4(x), v4(x, udp(dport=2049))], "add table ip n",
        "add chain ip n p { type filter hook prerouting priority -150; }",
        "add rule ip n p udp dport 2048 meta mark set 7"),
    one("rule: fwmark", lambda x: [v4(x), v4(x, udp(dport=2049))],
        before=TABLE_100 + ("ip rule add fwmark 7 table 100 pref 500", "nft 'add table ip n'",
                            "nft 'add chain ip n p { type filter hook prerouting priority -150; }'",
                            "nft 'add rule ip n p udp dport 2048 meta mark set 7'"),
        after=("ip rule del fwmark 7 table 100 pref 500", "nft flush ruleset") + NO_TABLE_100),
    one("xfrm: block of forwarded packets", lambda x: [v4(x, src="10.101.199.21"), v4(x)],
        before=("ip xfrm policy add src 10.101.199.21/32 dir fwd action block",),
        after=("ip xfrm policy del src 10.101.199.21/32 dir fwd",)),
    one("xfrm: block on the way out", lambda x: [v4(x, src="10.101.199.22"), v4(x)],
        before=("ip xfrm policy add src 10.101.199.22/32 dir out action block",),
        after=("ip xfrm policy del src 10.101.199.22/32 dir out",)),
    one("xfrm: block of IPv6", lambda x: [v6(x, src="fd00:101:fff0::23"), v6(x)],
        before=("ip xfrm policy add src fd00:101:fff0::23/128 dir fwd action block",),
        after=("ip xfrm policy del src fd00:101:fff0::23/128 dir fwd",)),
    plain("after all policy is gone", lambda x: [v4(x), v6(x)]),
]

CASES = NEIGHBOURS + ROUTES + SETTINGS + POLICY
