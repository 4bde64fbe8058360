# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv6: what a router looks at in a packet (RFC 8200, 4443, 4861; afxdp.md §5.2)."""
from scapy.layers.inet import IP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest,
                                ICMPv6MLReport2, ICMPv6MLQuery, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA,
                                ICMPv6ND_Redirect, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig,
                                ICMPv6TimeExceeded, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                                IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Jumbo, PadN, RouterAlert)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import GRE
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Raw

from router_frames import PAYLOAD, edit, one, plain, searching, tcp, udp, v6
from router_topology import HOST_MAC, OTHER_MAC, ROUTER_MAC

ALL_NODES_MAC = {"dst": "33:33:00:00:00:01"}
LINK_LOCAL = "fe80::1"  # of the host on wire a


def echo(x, **fields):
    return ICMPv6EchoRequest(id=x.index + 1, seq=1, data=PAYLOAD, **fields)


def quoting(x, error, wire="a"):
    return error / Raw(bytes(IPv6(src=x.v6("b"), dst=x.v6(wire), hlim=60) / udp()))


# --- payloads, lengths, fields -------------------------------------------------------------------------

PAYLOADS = [
    plain("v6 UDP", lambda x: v6(x)),
    plain("v6 UDP to c", lambda x: v6(x, to="c")),
    plain("v6 UDP from c to a", lambda x: v6(x, wire="c", to="a")),
    plain("v6 UDP wrong checksum goes on", lambda x: v6(x, udp(chksum=0x1234))),
    plain("v6 UDP checksum 0", lambda x: v6(x, udp(chksum=0))),
    plain("v6 TCP SYN", lambda x: v6(x, tcp())),
    plain("v6 echo request", lambda x: v6(x, echo(x))),
    plain("v6 echo reply", lambda x: v6(x, ICMPv6EchoReply(id=1, data=PAYLOAD))),
    plain("v6 SCTP", lambda x: v6(x, SCTP(sport=1, dport=2) / SCTPChunkInit())),
    plain("v6 GRE", lambda x: v6(x, GRE() / IP(src="192.0.2.1", dst="192.0.2.2") / udp())),
    plain("v6 ESP", lambda x: v6(x, ESP(spi=7, seq=1, data=PAYLOAD))),
    plain("v6 in v6", lambda x: v6(x, IPv6(src="2001:db8::1", dst="2001:db8::2") / udp())),
    plain("v4 in v6", lambda x: v6(x, IP(src="192.0.2.1", dst="192.0.2.2") / udp())),
    plain("v6 OSPF unicast", lambda x: v6(x, Raw(PAYLOAD), nh=89)),
    plain("v6 VRRP unicast", lambda x: v6(x, Raw(PAYLOAD), nh=112)),
    plain("v6 protocol 253", lambda x: v6(x, Raw(PAYLOAD), nh=253)),
    plain("v6 no next header", lambda x: v6(x, Raw(b""), nh=59)),
    plain("v6 no next header, bytes behind", lambda x: v6(x, Raw(PAYLOAD), nh=59)),
    plain("v6 UDP header half", lambda x: v6(x, Raw(b"1234"), nh=17)),
    plain("v6 padded by 1", lambda x: v6(x, pad=1)),
    plain("v6 padded by 200", lambda x: v6(x, pad=200)),
    plain("v6 of 1400, the least MTU", lambda x: v6(x, udp(bytes(1352)))),
    plain("v6 of 1400, the least MTU, to c", lambda x: v6(x, udp(bytes(1352)), to="c")),
    one("v6 of 1401", lambda x: v6(x, udp(bytes(1353)))),
    one("v6 of 1401 to c", lambda x: v6(x, udp(bytes(1353)), to="c")),
    one("v6 of 1500, the MTU", lambda x: v6(x, udp(bytes(1452)))),
    one("v6 of 1501", lambda x: v6(x, udp(bytes(1453)))),
    one("v6 of 1300 padded to 1500 to c", lambda x: v6(x, udp(bytes(1252)), pad=200, to="c")),
    one("v6 too long for c, an error itself", lambda x: v6(
        x, quoting(x, ICMPv6DestUnreach()) / Raw(bytes(1300)), to="c")),
    one("v6 too long for c, hop limit 1", lambda x: v6(x, udp(bytes(1400)), to="c", hlim=1)),
    one("v6 route mtu 1300: 1300", lambda x: v6(x, udp(bytes(1252)), dst=x.special6(214))),
    one("v6 route mtu 1300: 1301", lambda x: v6(x, udp(bytes(1253)), dst=x.special6(214))),
    plain("v6 all ECN values", lambda x: [v6(x, tc=tc) for tc in range(4)]),
    plain("v6 traffic class 0xff", lambda x: v6(x, tc=0xff)),
    plain("v6 flow label", lambda x: v6(x, fl=0xabcde)),
    plain("v6 hop limit 2", lambda x: v6(x, hlim=2)),
    plain("v6 hop limit 255", lambda x: v6(x, hlim=255)),
    one("v6 hop limit 1", lambda x: v6(x, hlim=1)),
    one("v6 hop limit 0", lambda x: v6(x, hlim=0)),
    one("v6 hop limit 1, echo request", lambda x: v6(x, echo(x), hlim=1)),
    one("v6 hop limit 1, large", lambda x: v6(x, udp(bytes(1400)), hlim=1)),
    one("v6 hop limit 1 to no route", lambda x: v6(x, hlim=1, dst="2001:db8::9")),
    one("v6 hop limit 1 to r itself", lambda x: v6(x, echo(x), hlim=1, dst="fd00:1::1")),
    one("v6 hop limit 0 to r itself", lambda x: v6(x, echo(x), hlim=0, dst="fd00:1::1")),
]

# --- headers that lie, extension headers -----------------------------------------------------------------

HEADERS = [
    one("v6 version 4 in 86dd", lambda x: edit(v6(x), 14, b"\x40")),
    one("v6 version 7", lambda x: edit(v6(x), 14, b"\x70")),
    one("v6 payload_len 0", lambda x: edit(v6(x), 18, b"\0\0")),
    plain("v6 payload_len 0, nothing behind", lambda x: edit(("a", v6(x)[1][:54]), 18, b"\0\0")),
    one("v6 payload_len one more", lambda x: edit(v6(x), 18, b"\0\x29")),
    plain("v6 payload_len one less", lambda x: edit(v6(x), 18, b"\0\x27")),
    one("v6 payload_len 65535", lambda x: edit(v6(x), 18, b"\xff\xff")),
    one("v6 cut in the header", lambda x: ("a", v6(x)[1][:53])),
    one("v6 only an Ethernet header", lambda x: ("a", v6(x)[1][:14])),
    one("v6 hop-by-hop, padding", lambda x: v6(x, IPv6ExtHdrHopByHop(
        options=[PadN(optdata=b"\0" * 4)]) / udp())),
    one("v6 hop-by-hop, router alert", lambda x: v6(x, IPv6ExtHdrHopByHop(
        options=[RouterAlert(value=0)]) / udp())),
    one("v6 hop-by-hop, unknown: skip", lambda x: v6(x, Raw(bytes([17, 0, 0x1e, 4]) + bytes(4))
                                                     / udp(), nh=0)),
    one("v6 hop-by-hop, unknown: discard", lambda x: v6(
        x, Raw(bytes([17, 0, 0x5e, 4]) + bytes(4)) / udp(), nh=0)),
    one("v6 hop-by-hop, unknown: report", lambda x: v6(
        x, Raw(bytes([17, 0, 0x9e, 4]) + bytes(4)) / udp(), nh=0)),
    one("v6 hop-by-hop, unknown: report if unicast", lambda x: v6(
        x, Raw(bytes([17, 0, 0xde, 4]) + bytes(4)) / udp(), nh=0)),
    one("v6 hop-by-hop, jumbo", lambda x: v6(x, IPv6ExtHdrHopByHop(
        options=[Jumbo(jumboplen=70000)]) / udp(), plen=0)),
    one("v6 hop-by-hop beyond the packet", lambda x: v6(
        x, Raw(bytes([17, 200, 1, 4]) + bytes(4)), nh=0)),
    one("v6 hop-by-hop and hop limit 1", lambda x: v6(x, IPv6ExtHdrHopByHop(
        options=[PadN(optdata=b"\0" * 4)]) / udp(), hlim=1)),
    *[plain(f"v6 routing type {kind} in transit", lambda x, kind=kind: v6(
        x, IPv6ExtHdrRouting(type=kind, addresses=[x.v6("c")], segleft=1) / udp()))
      for kind in (0, 2, 3, 4, 253)],
    *[one(f"v6 routing type {kind} to r", lambda x, kind=kind: v6(
        x, IPv6ExtHdrRouting(type=kind, addresses=[x.v6("c")], segleft=1) / udp(),
        dst="fd00:1::1")) for kind in (0, 2, 4, 253)],
    plain("v6 destination options", lambda x: v6(x, IPv6ExtHdrDestOpt(
        options=[PadN(optdata=b"\0" * 4)]) / udp())),
    plain("v6 destination options, unknown: report", lambda x: v6(
        x, Raw(bytes([17, 0, 0x9e, 4]) + bytes(4)) / udp(), nh=60)),
    plain("v6 fragment, first", lambda x: v6(x, IPv6ExtHdrFragment(id=7, m=1) / udp())),
    plain("v6 fragment, middle", lambda x: v6(x, IPv6ExtHdrFragment(
        id=7, m=1, offset=5, nh=17) / Raw(PAYLOAD))),
    plain("v6 fragment, last", lambda x: v6(x, IPv6ExtHdrFragment(
        id=7, m=0, offset=9, nh=17) / Raw(PAYLOAD))),
    plain("v6 fragment, atomic", lambda x: v6(x, IPv6ExtHdrFragment(id=7) / udp())),
    plain("v6 fragments overlapping", lambda x: [
        v6(x, IPv6ExtHdrFragment(id=7, m=1) / udp()),
        v6(x, IPv6ExtHdrFragment(id=7, m=0, offset=1, nh=17) / Raw(PAYLOAD))]),
    one("v6 fragment, hop limit 1, not first", lambda x: v6(x, IPv6ExtHdrFragment(
        id=7, m=1, offset=5, nh=17) / Raw(PAYLOAD), hlim=1)),
    one("v6 fragment, hop limit 1, not first, ICMPv6", lambda x: v6(x, IPv6ExtHdrFragment(
        id=7, m=1, offset=5, nh=58) / Raw(PAYLOAD), hlim=1)),
    plain("v6 AH", lambda x: v6(x, AH(spi=7, seq=1, icv=bytes(12)) / udp())),
    plain("v6 chain of five headers", lambda x: v6(
        x, IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(type=4) / IPv6ExtHdrFragment(id=7)
        / IPv6ExtHdrDestOpt() / udp())),
    one("v6 TTL-like: error about a chain", lambda x: v6(
        x, IPv6ExtHdrDestOpt() / quoting(x, ICMPv6DestUnreach()), hlim=1)),
]

# --- addresses ---------------------------------------------------------------------------------------------


def _sources(*addresses):
    return [one(f"v6 source {a}", lambda x, a=a: v6(x, src=a)) for a in addresses]


def _destinations(*addresses):
    return [one(f"v6 destination {a}", lambda x, a=a: v6(x, dst=a)) for a in addresses]


ADDRESSES = [
    *_sources("::", "::1", "::ffff:10.101.0.1", "::10.101.0.1", "fe80::1", "fe80::9999", "ff02::1",
              "ff0e::1", "fec0::1", "fd00:1::1", "fd00:2::1", "64:ff9b::10.1.1.1", "2001:db8::1",
              "2002:a00:1::1", "fd00:210:9::9"),
    *[searching(f"v6 destination {a}", lambda x, a=a: v6(x, dst=a))
      for a in ("fe80::2", "fe80::9999")],
    *_destinations("::", "::1", "::ffff:10.102.0.1", "::10.102.0.1", "ff01::1", "ff02::1", "ff02::2", "ff02::5", "ff05::2", "ff0e::1", "fec0::1",
                   "fd00:2::", "fd00:3:1::1", "fd00:250::1", "fd00:2::9", "fd00:102:c8::1",
                   "fd00:102:c8:80::1", "fd00:102:c8:81::1", "fd00:102:c8:81::2",
                   "fd00:102:c8:ff::1", "2001:db8::1", "fd00:229:1::1", "fd00:3::9"),
    one("v6 link-local source, hop limit 1", lambda x: v6(x, src=LINK_LOCAL, hlim=1)),
    one("v6 link-local source, too long", lambda x: v6(x, udp(bytes(1400)), src=LINK_LOCAL,
                                                       to="c")),
    one("v6 link-local source to unreachable", lambda x: v6(x, src=LINK_LOCAL,
                                                            dst=x.special6(211))),
    one("v6 to where it came from: redirect", lambda x: v6(
        x, src="fd00:1::9", dst=x.special6(231))),
    one("v6 to where it came from, gateway not link-local: no redirect", lambda x: v6(
        x, to="a", src="fd00:1::9", dst=x.v6("a", 2))),
    one("v6 to where it came from, source beyond", lambda x: v6(x, to="a", dst=x.v6("a", 2))),
    one("v6 to a neighbour on the same link", lambda x: v6(x, src="fd00:1::2", dst="fd00:1::9")),
    one("v6 hop limit 1 to where it came from", lambda x: v6(
        x, src="fd00:1::9", dst=x.v6("a", 2), hlim=1)),
    one("v6 to somebody else's MAC", lambda x: v6(x, mac={"dst": OTHER_MAC})),
    one("v6 to the MAC of another port of r", lambda x: v6(x, mac={"dst": ROUTER_MAC["b"]})),
    one("v6 unicast in a broadcast frame", lambda x: v6(x, mac={"dst": "ff:ff:ff:ff:ff:ff"})),
    one("v6 unicast in a multicast frame", lambda x: v6(x, mac=ALL_NODES_MAC)),
    one("v6 hop limit 1 in a multicast frame", lambda x: v6(x, mac=ALL_NODES_MAC, hlim=1)),
    one("v6 too long in a multicast frame", lambda x: v6(x, udp(bytes(1400)), to="c",
                                                         mac=ALL_NODES_MAC)),
    one("v6 from r's own MAC", lambda x: v6(x, mac={"src": ROUTER_MAC["a"]})),
]

# --- r's own addresses, ICMPv6 -------------------------------------------------------------------------------

LOCAL = [
    one("v6 ping every address of r", lambda x: [
        v6(x, echo(x), dst=a, src=x.v6("a", 2 + i)) for i, a in enumerate([
            "fd00:1::1", "fd00:2::1", "fd00:3::1", "fd00:3:1::", "fd00:4::1"])]),
    one("v6 ping r's link-local address", lambda x: v6(
        x, echo(x), src=LINK_LOCAL, dst="fe80::ff:fe00:101")),
    searching("v6 ping r's link-local address of another link", lambda x: v6(
        x, echo(x), src=LINK_LOCAL, dst="fe80::ff:fe00:201")),
    one("v6 ping all nodes", lambda x: v6(x, echo(x), src=LINK_LOCAL, dst="ff02::1",
                                          mac=ALL_NODES_MAC)),
    one("v6 ping all routers", lambda x: v6(x, echo(x), src=LINK_LOCAL, dst="ff02::2",
                                            mac={"dst": "33:33:00:00:00:02"})),
    one("v6 ping the subnet-router anycast address", lambda x: v6(x, echo(x), dst="fd00:1::")),
    one("v6 UDP to a closed port", lambda x: v6(x, dst="fd00:1::1")),
    one("v6 UDP to a closed port, checksum 0", lambda x: v6(x, udp(chksum=0), dst="fd00:1::1")),
    one("v6 TCP SYN to a closed port", lambda x: v6(x, tcp(), dst="fd00:2::1")),
    one("v6 unknown protocol to r", lambda x: v6(x, Raw(PAYLOAD), nh=253, dst="fd00:1::1")),
    one("v6 OSPF to r", lambda x: v6(x, Raw(PAYLOAD), nh=89, src=LINK_LOCAL, dst="ff02::5",
                                     hlim=1, mac={"dst": "33:33:00:00:00:05"})),
    one("v6 BFD to r", lambda x: v6(x, udp(dport=3784), dst="fd00:1::1", hlim=255)),
    one("v6 unknown destination option to r", lambda x: v6(
        x, Raw(bytes([17, 0, 0x9e, 4]) + bytes(4)) / udp(), nh=60, dst="fd00:1::1")),
    one("v6 hop limit 1, ICMPv6 error: none about it", lambda x: v6(
        x, quoting(x, ICMPv6DestUnreach()), hlim=1)),
    plain("v6 ICMPv6 errors in transit", lambda x: [
        v6(x, quoting(x, error)) for error in (
            ICMPv6DestUnreach(), ICMPv6PacketTooBig(mtu=1280), ICMPv6TimeExceeded())]),
    one("v6 ICMPv6 informational unknown, hop limit 1", lambda x: v6(
        x, Raw(b"\xc8\0\0\0" + PAYLOAD), nh=58, hlim=1)),
    one("v6 ICMPv6 error unknown, hop limit 1", lambda x: v6(
        x, Raw(b"\x64\0\0\0" + PAYLOAD), nh=58, hlim=1)),
    plain("v6 ND types in transit with hop limit 64", lambda x: [
        v6(x, ICMPv6ND_NS(tgt="fd00:2::1")), v6(x, ICMPv6ND_NA(tgt="fd00:2::1")),
        v6(x, ICMPv6ND_RA())]),
]

ND = [
    one("v6 NS for r, unicast", lambda x: v6(x, ICMPv6ND_NS(tgt="fd00:1::1") / ICMPv6NDOptSrcLLAddr(
        lladdr=HOST_MAC["a"]), src="fd00:1::9", dst="fd00:1::1", hlim=255)),
    one("v6 NS for r, solicited-node", lambda x: v6(
        x, ICMPv6ND_NS(tgt="fd00:1::1") / ICMPv6NDOptSrcLLAddr(lladdr=HOST_MAC["a"]),
        src="fd00:1::9", dst="ff02::1:ff00:1", hlim=255, mac={"dst": "33:33:ff:00:00:01"})),
    one("v6 NS for r's link-local address", lambda x: v6(
        x, ICMPv6ND_NS(tgt="fe80::ff:fe00:101") / ICMPv6NDOptSrcLLAddr(lladdr=HOST_MAC["a"]),
        src=LINK_LOCAL, dst="ff02::1:ff00:101", hlim=255, mac={"dst": "33:33:ff:00:01:01"})),
    one("v6 NS for r with hop limit 254", lambda x: v6(
        x, ICMPv6ND_NS(tgt="fd00:1::1"), src="fd00:1::9", dst="fd00:1::1", hlim=254)),
    one("v6 NS, duplicate address detection of r's address", lambda x: v6(
        x, ICMPv6ND_NS(tgt="fd00:1::1"), src="::", dst="ff02::1:ff00:1", hlim=255,
        mac={"dst": "33:33:ff:00:00:01"})),
    one("v6 NS for another host", lambda x: v6(
        x, ICMPv6ND_NS(tgt="fd00:1::77"), src="fd00:1::9", dst="ff02::1:ff00:77", hlim=255,
        mac={"dst": "33:33:ff:00:00:77"})),
    one("v6 NA unsolicited", lambda x: v6(
        x, ICMPv6ND_NA(tgt="fd00:1::9", R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=OTHER_MAC),
        src="fd00:1::9", dst="ff02::1", hlim=255, mac=ALL_NODES_MAC)),
    one("v6 RS", lambda x: v6(x, ICMPv6ND_RS(), src=LINK_LOCAL, dst="ff02::2", hlim=255,
                              mac={"dst": "33:33:00:00:00:02"})),
    one("v6 RA is not for routers", lambda x: [
        v6(x, ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="2001:db8:5::", prefixlen=64),
           src=LINK_LOCAL, dst="ff02::1", hlim=255, mac=ALL_NODES_MAC), v6(x)]),
    one("v6 redirect is not for routers", lambda x: [
        v6(x, ICMPv6ND_Redirect(tgt="fe80::1", dst=x.v6("b")), src=LINK_LOCAL, dst="fd00:1::1",
           hlim=255), v6(x)]),
    one("v6 MLD query", lambda x: v6(
        x, IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLQuery(mrd=1), src=LINK_LOCAL,
        dst="ff02::1", hlim=1, mac=ALL_NODES_MAC)),
    one("v6 MLDv2 report", lambda x: v6(
        x, IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6MLReport2(), src=LINK_LOCAL,
        dst="ff02::16", hlim=1, mac={"dst": "33:33:00:00:00:16"})),
]

CASES = PAYLOADS + HEADERS + ADDRESSES + LOCAL + ND
