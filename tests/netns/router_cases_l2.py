# SPDX-License-Identifier: GPL-2.0-or-later
"""What is not IP: everything here is the kernel's, and most of it must have no echo at all."""
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Dot3, LLC, SNAP, STP, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from router_frames import PAYLOAD, ether, one, udp, v4, v6
from router_topology import HOST_MAC, OTHER_MAC, ROUTER_MAC

BROADCAST = "ff:ff:ff:ff:ff:ff"


def raw(layer, wire="a"):
    return wire, bytes(layer)


def arp(op="who-has", dst=BROADCAST, sender="10.1.0.9", target="10.1.0.1", wire="a", src=None,
        **fields):
    src = src or HOST_MAC[wire]
    return raw(Ether(dst=dst, src=src) / ARP(**{
        "op": op, "hwsrc": src, "psrc": sender, "hwdst": "00:00:00:00:00:00", "pdst": target,
        **fields}), wire)


def inner4(x):
    return IP(src=x.v4("a"), dst=x.v4("b")) / udp()


def inner6(x):
    return IPv6(src=x.v6("a"), dst=x.v6("b")) / udp()


def slow(dst, kind, payload=PAYLOAD):
    return raw(Ether(dst=dst, src=HOST_MAC["a"], type=kind) / Raw(payload))


FRAMES = [
    one("l2 LLDP", lambda x: slow("01:80:c2:00:00:0e", 0x88cc)),
    one("l2 STP", lambda x: raw(Dot3(dst="01:80:c2:00:00:00", src=HOST_MAC["a"])
                                / LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP())),
    one("l2 LACP", lambda x: slow("01:80:c2:00:00:02", 0x8809, b"\x01\x01" + bytes(108))),
    one("l2 PAUSE", lambda x: slow("01:80:c2:00:00:01", 0x8808, b"\0\x01\xff\xff" + bytes(42))),
    one("l2 EAPOL", lambda x: slow("01:80:c2:00:00:03", 0x888e)),
    one("l2 IS-IS", lambda x: raw(Dot3(dst="01:80:c2:00:00:14", src=HOST_MAC["a"])
                                  / LLC(dsap=0xfe, ssap=0xfe, ctrl=3) / Raw(PAYLOAD))),
    one("l2 CDP", lambda x: raw(Dot3(dst="01:00:0c:cc:cc:cc", src=HOST_MAC["a"])
                                / LLC(dsap=0xaa, ssap=0xaa, ctrl=3) / SNAP(OUI=0xc, code=0x2000)
                                / Raw(PAYLOAD))),
    one("l2 SNAP with IPv4", lambda x: raw(
        Dot3(dst=ROUTER_MAC["a"], src=HOST_MAC["a"]) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3)
        / SNAP(code=0x0800) / inner4(x))),
    one("l2 802.3 length with IPv4", lambda x: raw(
        Dot3(dst=ROUTER_MAC["a"], src=HOST_MAC["a"]) / Raw(bytes(inner4(x))))),
    one("l2 802.1Q IPv4", lambda x: raw(ether(type=0x8100) / Dot1Q(vlan=5, type=0x800)
                                        / inner4(x))),
    one("l2 802.1Q IPv6", lambda x: raw(ether(type=0x8100) / Dot1Q(vlan=5, type=0x86dd)
                                        / inner6(x))),
    one("l2 802.1Q VLAN 0 (priority) IPv4", lambda x: raw(
        ether(type=0x8100) / Dot1Q(vlan=0, prio=5, type=0x800) / inner4(x))),
    one("l2 802.1Q VLAN 0 (priority) IPv6", lambda x: raw(
        ether(type=0x8100) / Dot1Q(vlan=0, type=0x86dd) / inner6(x))),
    one("l2 802.1ad IPv4", lambda x: raw(ether(type=0x88a8) / Dot1AD(vlan=5, type=0x800)
                                         / inner4(x))),
    one("l2 QinQ IPv4", lambda x: raw(ether(type=0x88a8) / Dot1AD(vlan=5, type=0x8100)
                                      / Dot1Q(vlan=6, type=0x800) / inner4(x))),
    one("l2 802.1Q cut", lambda x: ("a", bytes(ether(type=0x8100)) + b"\0\x05")),
    one("l2 PPPoE session IPv4", lambda x: raw(ether(type=0x8864) / PPPoE(sessionid=1)
                                               / PPP(proto=0x21) / inner4(x))),
    one("l2 PPPoE discovery", lambda x: slow(BROADCAST, 0x8863)),
    one("l2 MPLS IPv4", lambda x: raw(ether(type=0x8847) / MPLS(label=100, s=1, ttl=64)
                                      / inner4(x))),
    one("l2 MACsec", lambda x: slow(ROUTER_MAC["a"], 0x88e5)),
    one("l2 unknown ethertype", lambda x: slow(ROUTER_MAC["a"], 0x9999)),
    one("l2 ethertype 0", lambda x: slow(ROUTER_MAC["a"], 0)),
    one("l2 ethertype 0x8870, jumbo LLC", lambda x: slow(ROUTER_MAC["a"], 0x8870)),
    one("l2 loopback test", lambda x: slow(ROUTER_MAC["a"], 0x9000)),
    one("l2 IPv4 under ethertype 86dd", lambda x: raw(ether(type=0x86dd) / Raw(bytes(inner4(x))))),
    one("l2 IPv6 under ethertype 0800", lambda x: raw(ether(type=0x0800) / Raw(bytes(inner6(x))))),
    one("l2 no payload", lambda x: slow(ROUTER_MAC["a"], 0x9999, b"")),
    one("l2 slow protocol MAC with IPv4 in it", lambda x: v4(x, mac={
        "dst": "01:80:c2:00:00:0e"})),
    one("l2 slow protocol MAC with IPv6 in it", lambda x: v6(x, mac={
        "dst": "01:80:c2:00:00:0e"})),
]

ARPS = [
    one("arp request for r", lambda x: arp()),
    one("arp request for r from an unknown host", lambda x: arp(sender="10.1.0.201"),
        after=("ip neigh flush 10.1.0.201 dev a",)),
    one("arp request for r from another network", lambda x: arp(sender=x.v4("a"))),
    one("arp request for r, unicast", lambda x: arp(dst=ROUTER_MAC["a"])),
    one("arp request for r, to somebody else's MAC", lambda x: arp(dst=OTHER_MAC)),
    one("arp request for r's address of another port", lambda x: arp(target="10.2.0.1")),
    one("arp request for another host", lambda x: arp(target="10.1.0.77")),
    one("arp request for a host behind r", lambda x: arp(target=x.v4("b"))),
    one("arp probe for r's address", lambda x: arp(sender="0.0.0.0")),
    one("arp announcement of r's address", lambda x: arp(sender="10.1.0.1")),
    one("arp gratuitous", lambda x: arp(sender="10.1.0.202", target="10.1.0.202")),
    one("arp reply unsolicited", lambda x: arp("is-at", dst=ROUTER_MAC["a"], sender="10.1.0.203",
                                               hwdst=ROUTER_MAC["a"])),
    one("arp request padded to 60", lambda x: ("a", arp()[1] + bytes(18))),
    one("arp request cut", lambda x: ("a", arp()[1][:40])),
    one("arp request of wrong hardware type", lambda x: arp(hwtype=6)),
    one("arp request from a broadcast MAC", lambda x: arp(hwsrc=BROADCAST)),
    one("rarp", lambda x: raw(Ether(dst=BROADCAST, src=HOST_MAC["a"], type=0x8035) / ARP(op=3))),
    one("arp request for a host behind r, proxy_arp", lambda x: arp(target=x.v4("b")),
        before=("sysctl -qw net.ipv4.conf.a.proxy_arp=1 net.ipv4.neigh.a.proxy_delay=0",),
        after=("sysctl -qw net.ipv4.conf.a.proxy_arp=0",)),
    one("arp request for r's other address, arp_ignore 1", lambda x: arp(target="10.2.0.1"),
        before=("sysctl -qw net.ipv4.conf.a.arp_ignore=1",),
        after=("sysctl -qw net.ipv4.conf.a.arp_ignore=0",)),
]

CASES = FRAMES + ARPS
