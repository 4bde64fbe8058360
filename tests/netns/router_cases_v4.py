# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv4: what a router looks at in a packet (RFC 1812 §4.2, §5; afxdp.md §5.1)."""
from scapy.contrib.igmp import IGMP
from scapy.layers.inet import (ICMP, IP, IPOption, IPOption_LSRR, IPOption_NOP, IPOption_RR,
                               IPOption_Router_Alert, IPOption_SSRR, IPOption_Timestamp)
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import GRE
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Raw

from router_frames import PAYLOAD, echo, edit, edit4, one, plain, searching, tcp, udp, v4
from router_topology import HOST_MAC, OTHER_MAC, ROUTER_MAC

BROADCAST_MAC = {"dst": "ff:ff:ff:ff:ff:ff"}
MULTICAST_MAC = {"dst": "01:00:5e:01:02:03"}


def with_checksum(x, wanted):
    """
    A packet whose header checksum is `wanted`: 0xffff is written for 0, where a receiver cannot
    tell them apart but an incremental update can (RFC 1624).
    """
    without_id = int.from_bytes(edit4(v4(x), 4, b"\0\0")[1][24:26], "big")
    sent = edit4(v4(x), 4, ((without_id - wanted) % 0xffff).to_bytes(2, "big"))
    assert int.from_bytes(sent[1][24:26], "big") == wanted
    return sent


def quoting(x, kind, code, wire="a", **inner):
    """An ICMP error about a packet that a host behind `wire` would have received."""
    about = IP(**{"src": x.v4("b"), "dst": x.v4(wire), "ttl": 60, **inner}) / udp()
    return ICMP(type=kind, code=code) / Raw(bytes(about))


def on_link(host):
    """Commands that make 10.1.0.HOST a known neighbour, to whom a redirect can be sent."""
    return (f"ip neigh replace 10.1.0.{host} lladdr {HOST_MAC['a']} dev a nud permanent",)


# --- payloads, lengths, padding ----------------------------------------------------------------------

PAYLOADS = [
    plain("v4 UDP", lambda x: v4(x)),
    plain("v4 UDP to c", lambda x: v4(x, to="c")),
    plain("v4 UDP from c to a", lambda x: v4(x, wire="c", to="a")),
    plain("v4 UDP without checksum", lambda x: v4(x, udp(chksum=0))),
    plain("v4 UDP wrong checksum goes on", lambda x: v4(x, udp(chksum=0x1234))),
    plain("v4 TCP SYN", lambda x: v4(x, tcp())),
    plain("v4 TCP with data and options", lambda x: v4(
        x, tcp(flags="PA", options=[("MSS", 1460), ("Timestamp", (1, 2))]) / Raw(PAYLOAD))),
    plain("v4 ICMP echo request", lambda x: v4(x, echo(x))),
    plain("v4 ICMP echo reply", lambda x: v4(x, ICMP(type=0, id=1, seq=1) / Raw(PAYLOAD))),
    plain("v4 SCTP", lambda x: v4(x, SCTP(sport=1, dport=2) / SCTPChunkInit())),
    plain("v4 GRE", lambda x: v4(x, GRE() / IP(src="192.0.2.1", dst="192.0.2.2") / udp())),
    plain("v4 ESP", lambda x: v4(x, ESP(spi=7, seq=1, data=PAYLOAD))),
    plain("v4 AH", lambda x: v4(x, AH(spi=7, seq=1, icv=bytes(12)) / udp())),
    plain("v4 in v4", lambda x: v4(x, IP(src="192.0.2.1", dst="192.0.2.2") / udp())),
    plain("v6 in v4", lambda x: v4(x, IPv6(src="2001:db8::1", dst="2001:db8::2") / udp())),
    plain("v4 protocol 253", lambda x: v4(x, Raw(PAYLOAD), proto=253)),
    plain("v4 VRRP unicast", lambda x: v4(x, Raw(PAYLOAD), proto=112)),
    plain("v4 OSPF unicast", lambda x: v4(x, Raw(PAYLOAD), proto=89)),
    plain("v4 BFD unicast through", lambda x: v4(x, udp(dport=3784), ttl=255)),
    plain("v4 protocol 0", lambda x: v4(x, Raw(PAYLOAD), proto=0)),
    plain("v4 no payload at all", lambda x: v4(x, Raw(b""), proto=253)),
    plain("v4 UDP no data", lambda x: v4(x, udp(b""))),
    plain("v4 one byte", lambda x: v4(x, Raw(b"x"), proto=253)),
    plain("v4 padded to 60", lambda x: v4(x, udp(b"tiny"), pad=14)),
    plain("v4 padded by 1", lambda x: v4(x, pad=1)),
    plain("v4 padded by 200, not zero", lambda x: ("a", v4(x)[1] + b"\xa5" * 200)),
    plain("v4 of 1400, the least MTU", lambda x: v4(x, udp(bytes(1372)))),
    plain("v4 of 1400, the least MTU, to c", lambda x: v4(x, udp(bytes(1372)), to="c")),
    one("v4 of 1401", lambda x: v4(x, udp(bytes(1373)))),
    one("v4 of 1500, the MTU", lambda x: v4(x, udp(bytes(1472)))),
    one("v4 of 1501 DF", lambda x: v4(x, udp(bytes(1473)), flags="DF")),
    one("v4 of 1504, MTU and a tag", lambda x: v4(x, udp(bytes(1476)))),
    one("v4 of 1514", lambda x: v4(x, udp(bytes(1486)))),
    one("v4 of 2000", lambda x: v4(x, udp(bytes(1972)))),
    one("v4 of 1300 padded to 1500", lambda x: v4(x, udp(bytes(1272)), pad=200, to="c")),
]

# --- headers that lie --------------------------------------------------------------------------------

HEADERS = [
    one("v4 wrong checksum", lambda x: edit(v4(x), 24, b"\x12\x34")),
    one("v4 checksum off by one", lambda x: ("a", v4(x)[1][:25] + bytes([v4(x)[1][25] ^ 1])
                                              + v4(x)[1][26:])),
    plain("v4 checksum 0x0000", lambda x: with_checksum(x, 0)),
    one("v4 checksum 0xffff for 0x0000", lambda x: edit(with_checksum(x, 0), 24, b"\xff\xff")),
    plain("v4 checksum 0x00ff", lambda x: with_checksum(x, 0x00ff)),
    plain("v4 checksum 0xfeff, 0xffff after", lambda x: with_checksum(x, 0xfeff)),
    plain("v4 checksum 0xfefe", lambda x: with_checksum(x, 0xfefe)),
    plain("v4 checksum 0xff00", lambda x: with_checksum(x, 0xff00)),
    plain("v4 checksum 0xfffe", lambda x: with_checksum(x, 0xfffe)),
    one("v4 version 5", lambda x: edit4(v4(x), 0, b"\x55")),
    one("v4 version 6 in 0800", lambda x: edit4(v4(x), 0, b"\x65")),
    one("v4 version 0", lambda x: edit4(v4(x), 0, b"\x05")),
    one("v4 IHL 4", lambda x: edit4(v4(x), 0, b"\x44")),
    one("v4 IHL 0", lambda x: edit4(v4(x), 0, b"\x40")),
    one("v4 IHL 15 beyond the frame", lambda x: edit4(v4(x, udp(b"")), 0, b"\x4f")),
    one("v4 IHL 6 over the payload", lambda x: edit4(v4(x), 0, b"\x46")),
    one("v4 tot_len 0", lambda x: edit4(v4(x), 2, b"\0\0")),
    one("v4 tot_len 19", lambda x: edit4(v4(x), 2, b"\0\x13")),
    plain("v4 tot_len 20", lambda x: edit4(v4(x), 2, b"\0\x14")),
    one("v4 tot_len one more than the frame", lambda x: edit4(v4(x), 2, b"\0\x3d")),
    plain("v4 tot_len one less than the frame", lambda x: edit4(v4(x), 2, b"\0\x3b")),
    one("v4 tot_len 65535", lambda x: edit4(v4(x), 2, b"\xff\xff")),
    one("v4 cut in the header", lambda x: ("a", v4(x)[1][:33])),
    one("v4 only an Ethernet header", lambda x: ("a", v4(x)[1][:14])),
    one("v4 one byte behind Ethernet", lambda x: ("a", v4(x)[1][:15])),
    one("v4 cut in UDP", lambda x: ("a", v4(x)[1][:38])),
    plain("v4 header alone, UDP missing", lambda x: edit4(("a", v4(x)[1][:34]), 2, b"\0\x14")),
    plain("v4 UDP header half", lambda x: edit4(("a", v4(x)[1][:38]), 2, b"\0\x18")),
]

# --- TTL, TOS, options ---------------------------------------------------------------------------------

FIELDS = [
    one("v4 TTL 0", lambda x: v4(x, ttl=0)),
    one("v4 TTL 1", lambda x: v4(x, ttl=1)),
    plain("v4 TTL 2", lambda x: v4(x, ttl=2)),
    plain("v4 TTL 255", lambda x: v4(x, ttl=255)),
    one("v4 TTL 1 echo request (traceroute -I)", lambda x: v4(x, echo(x), ttl=1)),
    one("v4 TTL 1 to no route", lambda x: v4(x, ttl=1, dst="192.0.2.9")),
    one("v4 TTL 1 with a large payload", lambda x: v4(x, udp(bytes(1300)), ttl=1)),
    one("v4 TTL 1 TOS 0xc0", lambda x: v4(x, ttl=1, tos=0xc0)),
    one("v4 TTL 1 to r itself", lambda x: v4(x, echo(x), ttl=1, dst="10.1.0.1")),
    one("v4 TTL 0 to r itself", lambda x: v4(x, echo(x), ttl=0, dst="10.1.0.1")),
    plain("v4 all ECN values", lambda x: [v4(x, tos=tos) for tos in range(4)]),
    plain("v4 DSCP 46 and ECT", lambda x: v4(x, tos=0xba)),
    plain("v4 precedence 7", lambda x: v4(x, tos=0xe0)),
    plain("v4 DF", lambda x: v4(x, flags="DF")),
    plain("v4 the evil bit", lambda x: v4(x, flags="evil")),
    plain("v4 id 0", lambda x: v4(x, id=0)),
    one("v4 option NOP", lambda x: v4(x, options=[IPOption_NOP()] * 4)),
    one("v4 option router alert", lambda x: v4(x, options=[IPOption_Router_Alert()])),
    one("v4 option record route", lambda x: v4(
        x, options=[IPOption_RR(routers=["0.0.0.0"] * 3, pointer=4)])),
    one("v4 option record route, full", lambda x: v4(
        x, options=[IPOption_RR(routers=["1.2.3.4"], pointer=8)])),
    one("v4 option LSRR through r", lambda x: v4(
        x, dst="10.1.0.1", options=[IPOption_LSRR(routers=[x.v4("b")], pointer=4)])),
    one("v4 option LSRR in transit", lambda x: v4(
        x, options=[IPOption_LSRR(routers=[x.v4("c")], pointer=4)])),
    one("v4 option SSRR through r", lambda x: v4(
        x, dst="10.1.0.1", options=[IPOption_SSRR(routers=[x.v4("b")], pointer=4)])),
    one("v4 option timestamp, full", lambda x: v4(
        x, options=[IPOption_Timestamp(pointer=9, timestamp=1)])),
    one("v4 option unknown", lambda x: v4(
        x, options=[IPOption(copy_flag=1, optclass=0, option=30, value=b"ab")])),
    one("v4 option with a lying length", lambda x: edit4(v4(
        x, options=[IPOption_NOP()] * 4), 20, b"\x07\x27\x04\x00")),
    one("v4 options, all 40 bytes", lambda x: v4(x, options=[IPOption_NOP()] * 40)),
    one("v4 options and TTL 1", lambda x: v4(x, options=[IPOption_NOP()] * 4, ttl=1)),
]

# --- addresses -------------------------------------------------------------------------------------------


def _sources(*addresses):
    return [one(f"v4 source {a}", lambda x, a=a: v4(x, src=a)) for a in addresses]


def _destinations(*addresses):
    return [one(f"v4 destination {a}", lambda x, a=a: v4(x, dst=a)) for a in addresses]


ADDRESSES = [
    *_sources("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.200.0.1", "224.0.0.1", "239.1.1.1",
              "240.0.0.1", "255.255.255.255", "10.1.0.1", "10.2.0.1", "10.1.0.255", "10.2.0.255",
              "10.2.0.0", "169.254.1.1", "192.0.2.200", "10.210.9.9"),
    *_destinations("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.1.2.3", "224.0.0.1", "224.0.0.5",
                   "224.0.0.18", "239.255.1.1", "240.0.0.1", "255.255.255.255", "169.254.1.1",
                   "10.2.0.255", "10.1.0.255", "10.3.1.1", "10.250.0.1", "10.2.0.9",
                   "10.102.200.1", "10.102.200.128", "10.102.200.129",
                   "10.102.200.255", "192.0.2.1", "10.3.0.9"),
    # Once a broadcast address, since Linux 5.14 a host's: asked for, if nobody answers unreachable.
    searching("v4 destination 10.2.0.0", lambda x: v4(x, dst="10.2.0.0")),
    searching("v4 destination 10.1.0.0", lambda x: v4(x, dst="10.1.0.0")),
    one("v4 TTL 1 from 0.0.0.0", lambda x: v4(x, src="0.0.0.0", ttl=1)),
    one("v4 TTL 1 from r's own address", lambda x: v4(x, src="10.2.0.1", ttl=1)),
    one("v4 source and destination alike", lambda x: v4(x, src=x.v4("b"))),
    one("v4 to where it came from, source not on the link: no redirect", lambda x: v4(
        x, to="a", dst=x.v4("a", 2))),
    one("v4 to where it came from: redirect", lambda x: v4(x, src="10.1.0.101", dst=x.v4("a", 2)),
        before=on_link("101")),
    one("v4 to a neighbour on the same link: redirect", lambda x: v4(
        x, src="10.1.0.102", dst="10.1.0.9"), before=on_link("102")),
    one("v4 to where it came from, three times: redirects grow rare", lambda x: [v4(
        x, src="10.1.0.103", dst=x.v4("a", 2))] * 3, before=on_link("103")),
    one("v4 to where it came from, a fragment", lambda x: v4(
        x, src="10.1.0.104", dst=x.v4("a", 2), flags="MF"), before=on_link("104")),
    one("v4 to where it came from, no redirects wanted", lambda x: v4(
        x, src="10.1.0.105", dst=x.v4("a", 2)),
        before=on_link("105") + ("sysctl -qw net.ipv4.conf.a.send_redirects=0"
                                 " net.ipv4.conf.all.send_redirects=0",),
        after=("sysctl -qw net.ipv4.conf.a.send_redirects=1"
               " net.ipv4.conf.all.send_redirects=1",)),
    one("v4 to where it came from, TTL 1", lambda x: v4(x, to="a", dst=x.v4("a", 2), ttl=1)),
    one("v4 IGMP query", lambda x: v4(x, IGMP(type=0x11), dst="224.0.0.1", ttl=1,
                                      mac={"dst": "01:00:5e:00:00:01"})),
    one("v4 OSPF hello", lambda x: v4(x, Raw(PAYLOAD), proto=89, dst="224.0.0.5", ttl=1,
                                      mac={"dst": "01:00:5e:00:00:05"})),
    one("v4 VRRP", lambda x: v4(x, Raw(PAYLOAD), proto=112, dst="224.0.0.18", ttl=255,
                                mac={"dst": "01:00:5e:00:00:12"})),
    one("v4 PIM hello", lambda x: v4(x, Raw(PAYLOAD), proto=103, dst="224.0.0.13", ttl=1,
                                     mac={"dst": "01:00:5e:00:00:0d"})),
    one("v4 mDNS", lambda x: v4(x, udp(dport=5353), dst="224.0.0.251",
                                mac={"dst": "01:00:5e:00:00:fb"})),
    one("v4 multicast with TTL 64", lambda x: v4(x, dst="239.1.2.3", mac=MULTICAST_MAC)),
]

# --- link layer addresses under IPv4 -----------------------------------------------------------------------

LINK = [
    one("v4 to somebody else's MAC", lambda x: v4(x, mac={"dst": OTHER_MAC})),
    one("v4 to the MAC of another port of r", lambda x: v4(x, mac={"dst": ROUTER_MAC["b"]})),
    one("v4 unicast in a broadcast frame", lambda x: v4(x, mac=BROADCAST_MAC)),
    one("v4 unicast in a multicast frame", lambda x: v4(x, mac=MULTICAST_MAC)),
    one("v4 unicast in a broadcast frame, TTL 1", lambda x: v4(x, mac=BROADCAST_MAC, ttl=1)),
    one("v4 to r in a broadcast frame", lambda x: v4(x, echo(x), dst="10.1.0.1",
                                                     mac=BROADCAST_MAC)),
    one("v4 closed port of r in a broadcast frame", lambda x: v4(x, dst="10.1.0.1",
                                                                 mac=BROADCAST_MAC)),
    one("v4 from r's own MAC", lambda x: v4(x, mac={"src": ROUTER_MAC["a"]})),
    plain("v4 from another host's MAC", lambda x: v4(x, mac={"src": OTHER_MAC})),
    one("v4 from a multicast MAC", lambda x: v4(x, mac={"src": "01:00:5e:00:00:01"})),
    one("v4 from MAC zero", lambda x: v4(x, mac={"src": "00:00:00:00:00:00"})),
    one("v4 to MAC zero", lambda x: v4(x, mac={"dst": "00:00:00:00:00:00"})),
    one("v4 to the sender's MAC", lambda x: v4(x, mac={"dst": HOST_MAC["a"]})),
]

# --- r's own addresses --------------------------------------------------------------------------------------

LOCAL = [
    one("v4 ping every address of r", lambda x: [
        v4(x, echo(x), dst=a, src=x.v4("a", 2 + i))
        for i, a in enumerate(["10.1.0.1", "10.2.0.1", "10.3.0.1", "10.3.1.0", "10.4.0.1"])]),
    one("v4 ping of 1400 and of 1500", lambda x: [
        v4(x, echo(x) / bytes(1340), dst="10.2.0.1"), v4(x, echo(x) / bytes(1440), dst="10.2.0.1")]),
    one("v4 ping with options", lambda x: v4(x, echo(x), dst="10.2.0.1",
                                             options=[IPOption_NOP()] * 4)),
    one("v4 ping broadcast of the link", lambda x: v4(x, echo(x), dst="10.1.0.255",
                                                      mac=BROADCAST_MAC)),
    one("v4 UDP to a closed port", lambda x: v4(x, dst="10.1.0.1")),
    one("v4 UDP to a closed port of the far address", lambda x: v4(x, dst="10.2.0.1")),
    one("v4 UDP to a closed port, wrong checksum", lambda x: v4(x, udp(chksum=1), dst="10.1.0.1")),
    one("v4 TCP SYN to a closed port", lambda x: v4(x, tcp(), dst="10.1.0.1")),
    one("v4 TCP ACK to a closed port", lambda x: v4(x, tcp(flags="A", ack=9), dst="10.2.0.1")),
    one("v4 TCP RST to a closed port", lambda x: v4(x, tcp(flags="R"), dst="10.1.0.1")),
    one("v4 unknown protocol to r", lambda x: v4(x, Raw(PAYLOAD), proto=253, dst="10.1.0.1")),
    one("v4 OSPF unicast to r", lambda x: v4(x, Raw(PAYLOAD), proto=89, dst="10.1.0.1")),
    one("v4 BFD to r", lambda x: v4(x, udp(dport=3784), dst="10.1.0.1", ttl=255)),
    one("v4 fragments to r", lambda x: [
        v4(x, Raw(whole[:16]), dst="10.1.0.1", proto=1, flags="MF")
        if part == 0 else v4(x, Raw(whole[16:]), dst="10.1.0.1", proto=1, frag=2)
        for whole in [bytes(echo(x))] for part in (0, 1)]),
]

# --- fragments and MTU -----------------------------------------------------------------------------------------

FRAGMENTS = [
    plain("v4 first fragment", lambda x: v4(x, flags="MF")),
    plain("v4 middle fragment", lambda x: v4(x, Raw(PAYLOAD), proto=17, flags="MF", frag=4)),
    plain("v4 last fragment", lambda x: v4(x, Raw(PAYLOAD), proto=17, frag=8)),
    plain("v4 all fragments, last first", lambda x: [
        v4(x, Raw(PAYLOAD), proto=17, frag=8), v4(x, Raw(PAYLOAD), proto=17, flags="MF", frag=4),
        v4(x, flags="MF")]),
    plain("v4 overlapping fragments", lambda x: [
        v4(x, flags="MF"), v4(x, Raw(PAYLOAD), proto=17, flags="MF", frag=2)]),
    plain("v4 tiny fragment", lambda x: v4(x, Raw(b"12345678"), proto=6, flags="MF")),
    plain("v4 fragment of no bytes", lambda x: v4(x, Raw(b""), proto=17, flags="MF")),
    plain("v4 fragment beyond 65535", lambda x: v4(x, Raw(PAYLOAD), proto=17, frag=0x1fff)),
    plain("v4 DF and MF", lambda x: v4(x, flags="DF+MF")),
    one("v4 fragment, TTL 1, first", lambda x: v4(x, flags="MF", ttl=1)),
    one("v4 fragment, TTL 1, not first", lambda x: v4(x, Raw(PAYLOAD), proto=17, frag=8, ttl=1)),
    one("v4 fragment not first to unreachable", lambda x: v4(
        x, Raw(PAYLOAD), proto=17, frag=8, dst=x.special4(211))),
    one("v4 too long for c, DF", lambda x: v4(x, udp(bytes(1373)), to="c", flags="DF")),
    one("v4 too long for c, fragmented", lambda x: v4(x, udp(bytes(1400)), to="c")),
    one("v4 too long for c, a fragment itself", lambda x: v4(
        x, Raw(bytes(1440)), proto=17, to="c", flags="MF", frag=100)),
    one("v4 too long for c, DF, to r's far side unreachable", lambda x: v4(
        x, udp(bytes(1400)), dst=x.special4(211), flags="DF")),
    one("v4 too long for c, options copied or not", lambda x: v4(
        x, udp(bytes(1400)), to="c",
        options=[IPOption_Router_Alert(), IPOption_RR(routers=["0.0.0.0"], pointer=4)])),
    one("v4 too long for c, TTL 1", lambda x: v4(x, udp(bytes(1400)), to="c", flags="DF", ttl=1)),
    one("v4 route mtu 700: 700", lambda x: v4(x, udp(bytes(672)), dst=x.special4(214))),
    one("v4 route mtu 700: 701", lambda x: v4(x, udp(bytes(673)), dst=x.special4(214))),
    one("v4 route mtu 700: 701 DF", lambda x: v4(x, udp(bytes(673)), dst=x.special4(214),
                                                 flags="DF")),
    one("v4 route mtu lock 700: 701 DF", lambda x: v4(x, udp(bytes(673)), dst=x.special4(215),
                                                      flags="DF")),
    one("v4 route mtu 700: 690 padded to 800", lambda x: v4(
        x, udp(bytes(662)), dst=x.special4(214), pad=100)),
    one("v4 too long, an ICMP error itself", lambda x: v4(
        x, quoting(x, 3, 3) / Raw(bytes(1400)), to="c", flags="DF")),
]

# --- ICMP errors about what --------------------------------------------------------------------------------------

ERRORS = [
    plain("v4 ICMP unreachable in transit", lambda x: v4(x, quoting(x, 3, 3))),
    plain("v4 ICMP frag needed in transit", lambda x: v4(x, ICMP(
        type=3, code=4, nexthopmtu=1200) / Raw(PAYLOAD))),
    plain("v4 ICMP time exceeded in transit", lambda x: v4(x, quoting(x, 11, 0))),
    plain("v4 ICMP redirect in transit", lambda x: v4(x, ICMP(
        type=5, code=1, gw="10.1.0.9") / Raw(PAYLOAD))),
    one("v4 TTL 1 ICMP error: none about it", lambda x: v4(x, quoting(x, 3, 3), ttl=1)),
    one("v4 TTL 1 ICMP echo reply", lambda x: v4(x, ICMP(type=0) / Raw(PAYLOAD), ttl=1)),
    one("v4 TTL 1 ICMP unknown type", lambda x: v4(x, ICMP(type=99) / Raw(PAYLOAD), ttl=1)),
    one("v4 TTL 1 ICMP cut", lambda x: v4(x, Raw(b"\x08"), proto=1, ttl=1)),
    one("v4 ICMP error to unreachable: none", lambda x: v4(
        x, quoting(x, 3, 3), dst=x.special4(211))),
    one("v4 ICMP redirect to r", lambda x: v4(x, ICMP(type=5, code=1, gw="10.1.0.9") / Raw(bytes(
        IP(src="10.1.0.1", dst=x.v4("b")) / udp())), dst="10.1.0.1")),
    one("v4 TTL 1 over and over from one source", lambda x: [v4(x, ttl=1)] * 12),
]

CASES = PAYLOADS + HEADERS + FIELDS + ADDRESSES + LINK + LOCAL + FRAGMENTS + ERRORS
