# SPDX-License-Identifier: GPL-2.0-or-later
"""
The network of the conformance suite: a router `r` with three ports of Sluice (a, b, c) and one
interface that is none (d), and behind each a raw wire end in namespace `h`.

    h: a0 ═══ a ┐         ┌ b ═══ b0 :h
                ├─── r ───┤
    h: d0 ═══ d ┘         └ c ═══ c0 :h        c has MTU 1400, the others 1500

Wire ends have no address, no IPv6 and answer nothing: what a host says, the case says. On wire X
(n = 1…4) r is 10.n.0.1/24 and fd00:n::1/64, and behind the neighbour 10.n.0.2, fd00:n::2 lie
10.10n.0.0/16 and fd00:10n::/32: every case has an address of its own there to send from, for the
kernel's ICMP rate limit is by address. Two networks made by this file are alike to the last bit.
"""
from lib import run

WIRES = "abcd"
PORTS = "abc"
NUMBER = {wire: n for n, wire in enumerate(WIRES, 1)}
MTU = {"a": 1500, "b": 1500, "c": 1400, "d": 1500}
WIRE_END_MTU = 3000  # frames that are too long for r can be sent; XDP on r's end allows this much
ROUTER_MAC = {wire: f"02:00:00:00:0{n}:01" for wire, n in NUMBER.items()}
HOST_MAC = {wire: f"02:00:00:00:0{n}:02" for wire, n in NUMBER.items()}
OTHER_MAC = "02:00:00:00:0f:0f"

SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv6.conf.default.forwarding": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    # Every error is wanted. The limit per address stays on: at 0 the kernel's ip_error() counts
    # the answers against a bucket that never fills (spikes.md §7).
    "net.ipv4.icmp_msgs_per_sec": 1000000,
    "net.ipv4.icmp_msgs_burst": 1000000,
    "net.ipv6.icmp.ratelimit": 0,
    # Nor does an incomplete packet to r end in an error, in some other case's window.
    "net.ipv4.ipfrag_time": 3600,
    "net.ipv6.ip6frag_time": 3600,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.default.dad_transmits": 0,
    "net.ipv6.conf.default.router_solicitations": 0,
    "net.ipv6.conf.all.disable_ipv6": 0,
    "net.ipv6.conf.default.disable_ipv6": 0,
}

# A neighbour that does not answer is given up after 0.2 s, not 3 s. (Of each interface: the
# defaults are the first namespace's alone.)
NEIGHBOUR_SYSCTLS = {"retrans_time_ms": 200, "mcast_solicit": 1}


def wire_commands(wire):
    """ip -batch lines that give one of r's interfaces its addresses, neighbours and routes."""
    n, mac = NUMBER[wire], HOST_MAC[wire]
    lines = [f"addr replace 10.{n}.0.1/24 broadcast 10.{n}.0.255 dev {wire}",
             f"addr replace fd00:{n}::1/64 nodad dev {wire}"]
    lines += [f"neigh replace {address} lladdr {mac} dev {wire} nud permanent"
              for address in (f"10.{n}.0.2", f"10.{n}.0.9", f"fd00:{n}::2", f"fd00:{n}::9",
                              f"fe80::{n}")]
    lines += [f"route replace 10.{100 + n}.0.0/16 via 10.{n}.0.2 dev {wire}",
              f"route replace fd00:{100 + n}::/32 via fd00:{n}::2 dev {wire}",
              # The way of the markers that Sluice has to hand back: longer than this, and not
              # longer than any link allows.
              f"route replace 10.{220 + n}.0.0/16 via 10.{n}.0.2 dev {wire} mtu 600"]
    return lines + EXTRA.get(wire, [])


EXTRA = {
    "a": ["route replace fd00:231::/32 via fe80::1 dev a"],
    "b": [
        "neigh replace 10.250.0.1 lladdr 02:00:00:00:02:02 dev b nud permanent",
        "neigh replace fd00:250::1 lladdr 02:00:00:00:02:02 dev b nud permanent",
        "route replace 10.250.0.1/32 dev b",
        "route replace fd00:250::1/128 dev b",
        "route replace 10.102.200.128/25 via 10.2.0.2 dev b",
        "route replace fd00:102:c8:80::/57 via fd00:2::2 dev b",
        "route replace 10.214.0.0/16 via 10.2.0.2 dev b mtu 700",
        "route replace 10.215.0.0/16 via 10.2.0.2 dev b mtu lock 700",
        "route replace fd00:214::/32 via fd00:2::2 dev b mtu 1300",
        "nexthop replace id 10 via 10.2.0.2 dev b",
        "nexthop replace id 11 group 10",
        "nexthop replace id 20 via fd00:2::2 dev b",
        "route replace 10.217.0.0/16 nhid 10",
        "route replace 10.218.0.0/16 nhid 11",
        "route replace fd00:217::/32 nhid 20",
        "route replace 10.220.0.0/16 via inet6 fd00:2::2 dev b",
        "route replace 10.226.0.0/16 via 10.2.0.2 dev b",
        "route replace fd00:227::/32 via fd00:2::2 dev b",
        "route replace 10.228.0.0/16 via 10.2.0.66 dev b",
        "route replace fd00:228::/32 via fd00:2::66 dev b",
        "route replace fd00:229::/32 via fe80::2 dev b",
        "route replace 10.225.0.0/16 encap seg6 mode encap segs fd00:2::9 dev b",
        "route replace fd00:225::/32 encap seg6 mode encap segs fd00:2::9 dev b",
    ],
    "c": [
        "addr replace 10.3.1.0/31 dev c",
        "addr replace fd00:3:1::/127 nodad dev c",
        "neigh replace 10.3.1.1 lladdr 02:00:00:00:03:02 dev c nud permanent",
        "neigh replace fd00:3:1::1 lladdr 02:00:00:00:03:02 dev c nud permanent",
        "route replace 10.102.200.0/24 via 10.3.0.2 dev c",
        "route replace 10.102.200.129/32 via 10.3.0.2 dev c",
        "route replace fd00:102:c8::/48 via fd00:3::2 dev c",
        "route replace fd00:102:c8:81::1/128 via fd00:3::2 dev c",
        "route replace 10.226.0.0/16 tos 0x10 via 10.3.0.2 dev c",
        "route replace fd00:227::/32 from fd00:101:ffff::/48 via fd00:3::2 dev c",
    ],
}

SHARED = [
    "route replace blackhole 10.210.0.0/16",
    "route replace unreachable 10.211.0.0/16",
    "route replace prohibit 10.212.0.0/16",
    "route replace throw 10.213.0.0/16",
    "route replace blackhole fd00:210::/32",
    "route replace unreachable fd00:211::/32",
    "route replace prohibit fd00:212::/32",
    "route replace throw fd00:213::/32",
    "route replace 10.216.0.0/16 nexthop via 10.2.0.2 dev b nexthop via 10.3.0.2 dev c",
    "route replace fd00:216::/32 nexthop via fd00:2::2 dev b nexthop via fd00:3::2 dev c",
    "nexthop replace id 12 blackhole",
    "nexthop replace id 13 via 10.3.0.2 dev c",
    "nexthop replace id 14 group 10,3/13,1",
    "route replace 10.219.0.0/16 nhid 12",
    "route replace 10.229.0.0/16 nhid 14",
]


def wait_local(address):
    """A shell command: an IPv6 address that was added is r's only when a work item has run."""
    return f"until ip -6 route show table local | grep -q 'local {address} '; do :; done"


def wait_wire(wire):
    """Shell commands: one of r's interfaces is ready, down to its addresses."""
    n = NUMBER[wire]
    return (f"until ip link show dev {wire} | grep -q 'state UP'; do :; done",
            wait_local(f"fe80::ff:fe00:{n}01"), wait_local(f"fd00:{n}::1"))


def restore_commands(wire):
    """For a case's `after`: r's interface is up again, with all that it lost when it went down."""
    return (f"ip link set dev {wire} up",
            *(f"ip {line}" for line in wire_commands(wire) + SHARED), *wait_wire(wire))


def batch(net, ns, lines):
    """Runs iproute2 lines in a namespace, each of which must succeed."""
    net.ip(ns, "-batch", "-", input="\n".join(lines) + "\n")


def build(net):
    """r with all of it, h with the wire ends; returns when every link is up."""
    net.ns("r"), net.ns("h")
    net.run("r", "sysctl", "-qw", *(f"{key}={value}" for key, value in SYSCTLS.items()))
    for wire in WIRES:
        run("ip", "link", "add", "name", wire, "netns", net.real("r"), "address", ROUTER_MAC[wire],
            "mtu", MTU[wire], "type", "veth", "peer", "name", f"{wire}0", "netns", net.real("h"),
            "address", HOST_MAC[wire], "mtu", WIRE_END_MTU)
        net.run("r", "sysctl", "-qw", *(f"net.{family}.neigh.{wire}.{key}={value}"
                                        for family in ("ipv4", "ipv6")
                                        for key, value in NEIGHBOUR_SYSCTLS.items()))
        for ns, ifname in (("r", wire), ("h", f"{wire}0")):
            net.run(ns, "sh", "-c", f"ethtool -K {ifname} tx off gro off gso off"
                                    f" && ip link set dev {ifname} up")
    batch(net, "r", [line for wire in WIRES for line in wire_commands(wire)] + SHARED)
    net.run("r", "sh", "-ec", "\n".join(line for wire in WIRES for line in wait_wire(wire)))
    return net
