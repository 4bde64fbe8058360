# SPDX-License-Identifier: GPL-2.0-or-later
"""
What a bridge does, case by case; bridge_rig.py runs them. KNOWN holds the cases in which Sluice is
not Linux's bridge, each with its reason.
"""
import os
import random

from scapy.contrib.igmp import IGMP
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, LLC, SNAP, STP, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from bridge_rig import (BROADCAST, PORT_MAC, PORTS, SMALL_MTU, SMALL_PORT, STATIC_MAC, STATIC_PORT,
                        Case, Link, Send)

HEAD = 14
TAG = 4
PAYLOAD = bytes(range(46))


def raw(dst, src, rest=b"", kind=0x88b6, size=60):
    """A frame of `size` bytes."""
    frame = bytes(Ether(dst=dst, src=src, type=kind)) + rest
    return frame + bytes((i * 7) & 255 for i in range(size - len(frame)))


def udp(dst, src, ip_dst="10.0.0.2", **fields):
    return bytes(Ether(dst=dst, src=src) / IP(src="10.0.0.1", dst=ip_dst, **fields) /
                 UDP(sport=1, dport=2) / Raw(PAYLOAD))


def tagged(dst, src, *tags, size=64):
    """tags: (ethertype of the tag, TCI), outermost first."""
    rest = b"".join(tci.to_bytes(2, "big") + kind.to_bytes(2, "big")
                    for tci, kind in zip([t for _, t in tags], [k for k, _ in tags[1:]] + [0x88b6]))
    return raw(dst, src, rest, kind=tags[0][0], size=size)


CASES = []
KNOWN = {}  # {name of the case: why Sluice differs}


def case(name, steps, known=None):
    CASES.append(Case(name, steps))
    if known:
        KNOWN[name] = known


def one(name, frame, known=None, learnt=True):
    """One frame, into port 0; then what was learnt of it is asked for from port 1."""
    def steps(x):
        return [Send(0, frame(x), learnt), Send(1, raw(x[0], x[1]))]
    case(name, steps, known)


def known_unicast(name, frame):
    """Frames from 0 to 2, both known."""
    case(name, lambda x: [Send(2, raw(BROADCAST, x[2])), Send(0, frame(x))])


# --- unicast -----------------------------------------------------------------------------------------

one("unknown unicast is flooded", lambda x: udp(x[9], x[0]))
known_unicast("known unicast leaves by one port", lambda x: udp(x[2], x[0]))
case("both directions become known", lambda x: [
    Send(0, udp(x[2], x[0])), Send(2, udp(x[0], x[2])), Send(0, udp(x[2], x[0]))])
case("all pairs", lambda x: [Send(i, raw(BROADCAST, x[i])) for i in PORTS] + [
    Send(i, raw(x[j], x[i], size=60 + 4 * i + j)) for i in PORTS for j in PORTS])
case("to its own port: nowhere", lambda x: [
    Send(0, raw(BROADCAST, x[0])), Send(0, raw(BROADCAST, x[4])), Send(0, raw(x[4], x[0]))])
case("to itself: nowhere", lambda x: [Send(0, raw(BROADCAST, x[0])), Send(0, raw(x[0], x[0]))])
case("to itself, first frame", lambda x: [Send(0, raw(x[0], x[0]))])
case("to itself, after it moved", lambda x: [Send(1, raw(BROADCAST, x[0])), Send(0, raw(x[0], x[0]))])
one("to the zero address", lambda x: raw("00:00:00:00:00:00", x[0]))
case("duplicates stay duplicates", lambda x: [
    Send(2, raw(BROADCAST, x[2])), Send(0, udp(x[2], x[0])), Send(0, udp(x[2], x[0])),
    Send(0, udp(x[2], x[0]))])

# --- moves -------------------------------------------------------------------------------------------

case("a station moves", lambda x: [
    Send(0, raw(BROADCAST, x[0])), Send(1, raw(BROADCAST, x[0])), Send(2, raw(x[0], x[2]))])
case("a station moves and comes back", lambda x: [
    Send(0, raw(BROADCAST, x[0])), Send(1, raw(x[9], x[0])), Send(0, raw(x[9], x[0])),
    Send(2, raw(x[0], x[2]))])
case("a station moves to the port of its peer", lambda x: [
    Send(0, raw(BROADCAST, x[0])), Send(1, raw(BROADCAST, x[1])), Send(1, raw(x[1], x[0])),
    Send(1, raw(x[0], x[1])), Send(2, raw(x[0], x[2]))])
case("two stations change places", lambda x: [
    Send(0, raw(BROADCAST, x[0])), Send(1, raw(BROADCAST, x[1])), Send(0, raw(BROADCAST, x[1])),
    Send(1, raw(BROADCAST, x[0])), Send(2, raw(x[0], x[2])), Send(2, raw(x[1], x[2]))])
case("many behind one port", lambda x: [Send(0, raw(BROADCAST, x[16 + i])) for i in range(20)] + [
    Send(1, raw(x[16 + i], x[1])) for i in range(20)])

# --- sources -------------------------------------------------------------------------------------------

for label, source in (("multicast", "01:00:5e:00:00:01"), ("broadcast", BROADCAST),
                      ("IPv6 multicast", "33:33:00:00:00:01"), ("local group", "03:00:00:00:00:01"),
                      ("zero", "00:00:00:00:00:00")):
    one(f"source is {label}, to a broadcast", lambda x, s=source: raw(BROADCAST, s), learnt=False)
    case(f"source is {label}, to a known station", lambda x, s=source: [
        Send(2, raw(BROADCAST, x[2])), Send(0, raw(x[2], s), learnt=False)])
one("source is the in port's address", lambda x: raw(BROADCAST, PORT_MAC[0]), learnt=False)
one("source is another port's address", lambda x: raw(BROADCAST, PORT_MAC[1]), learnt=False)
case("another port's address, as source and then as destination", lambda x: [
    Send(0, raw(x[9], PORT_MAC[2]), learnt=False), Send(1, raw(PORT_MAC[2], x[1]))])

# --- this host -----------------------------------------------------------------------------------------

one("to the in port's address", lambda x: udp(PORT_MAC[0], x[0]), learnt=False,
    known="passed by XDP: the worker does not learn from it")
one("to another port's address", lambda x: udp(PORT_MAC[2], x[0]))

# --- groups ------------------------------------------------------------------------------------------

for label, group in (("broadcast", BROADCAST), ("all hosts", "01:00:5e:00:00:01"),
                     ("an IPv4 group", "01:00:5e:01:02:03"), ("an IPv6 group", "33:33:00:01:00:02"),
                     ("a local group", "03:00:00:00:00:09"), ("CDP", "01:00:0c:cc:cc:cc"),
                     ("ISO 10589", "01:80:c2:00:00:14"), ("GVRP", "01:80:c2:00:00:21"),
                     ("01:80:c2:00:00:10", "01:80:c2:00:00:10"),
                     ("01:80:c2:00:01:00", "01:80:c2:00:01:00")):
    one(f"to {label}", lambda x, g=group: raw(g, x[0]))
one("IGMP report", lambda x: bytes(
    Ether(dst="01:00:5e:01:02:03", src=x[0]) /
    IP(src="10.0.0.1", dst="239.1.2.3", ttl=1, options=[b"\x94\x04\x00\x00"]) /
    IGMP(type=0x16, gaddr="239.1.2.3")))
case("a group after a report and no querier", lambda x: [
    Send(2, bytes(Ether(dst="01:00:5e:01:02:04", src=x[2]) / IP(src="10.0.0.3", dst="239.1.2.4", ttl=1)
                  / IGMP(type=0x16, gaddr="239.1.2.4"))),
    Send(0, udp("01:00:5e:01:02:04", x[0], "239.1.2.4"))])
one("neighbour solicitation", lambda x: bytes(
    Ether(dst="33:33:ff:00:00:02", src=x[0]) / IPv6(src="fe80::1", dst="ff02::1:ff00:2", hlim=255) /
    ICMPv6ND_NS(tgt="fe80::2") / ICMPv6NDOptSrcLLAddr(lladdr=x[0])))
for last in (0x01, 0x02, 0x03, 0x04, 0x08, 0x0d, 0x0e, 0x0f):
    one(f"to 01:80:c2:00:00:{last:02x}", lambda x, n=last: raw(f"01:80:c2:00:00:{n:02x}", x[0]),
        learnt=False,
        known=None if last == 1 else "passed by XDP: the worker does not learn from it")
one("BPDU", lambda x: bytes(Dot3(dst="01:80:c2:00:00:00", src=x[0], len=38) /
                            LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP()), learnt=False,
    known="Linux forwards BPDUs while STP is off; Sluice gives all 01:80:c2:00:00:0x to the kernel")

# --- protocols ---------------------------------------------------------------------------------------

one("ARP request", lambda x: bytes(Ether(dst=BROADCAST, src=x[0]) /
                                   ARP(hwsrc=x[0], psrc="10.0.0.1", pdst="10.0.0.2")))
known_unicast("ARP reply, 42 bytes", lambda x: bytes(
    Ether(dst=x[2], src=x[0]) / ARP(op=2, hwsrc=x[0], psrc="10.0.0.1", pdst="10.0.0.2")))
known_unicast("TTL 0", lambda x: udp(x[2], x[0], ttl=0))
known_unicast("bad IP checksum", lambda x: udp(x[2], x[0], chksum=0x1234))
known_unicast("IP options", lambda x: udp(x[2], x[0], options=[b"\x94\x04\x00\x00"]))
known_unicast("a fragment", lambda x: udp(x[2], x[0], flags="MF", frag=0))
known_unicast("martian source", lambda x: bytes(
    Ether(dst=x[2], src=x[0]) / IP(src="127.0.0.1", dst="0.0.0.0") / ICMP()))
known_unicast("IPv6", lambda x: bytes(Ether(dst=x[2], src=x[0]) /
                                      IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=1) /
                                      UDP(sport=1, dport=2)))
for kind in (0x0000, 0x05dd, 0x0600, 0x8100 ^ 1, 0x8847, 0x8863, 0x8864, 0x888e, 0x88cc, 0x8808,
             0x9999, 0xffff):
    known_unicast(f"ethertype {kind:#06x}", lambda x, k=kind: raw(x[2], x[0], kind=k))
known_unicast("LLC", lambda x: bytes(Dot3(dst=x[2], src=x[0], len=46) / LLC(dsap=0xe0, ssap=0xe0, ctrl=3)
                                     / Raw(PAYLOAD[:43])))
known_unicast("SNAP", lambda x: bytes(Dot3(dst=x[2], src=x[0], len=46) / LLC(dsap=0xaa, ssap=0xaa, ctrl=3)
                                      / SNAP(OUI=0xc, code=0x2000) / Raw(PAYLOAD[:38])))
known_unicast("a length field that lies", lambda x: raw(x[2], x[0], kind=1400))

# --- tags: vlan_filtering = 0 knows no VLANs -----------------------------------------------------------

TAGS = {"VLAN 10": [(0x8100, 10)], "priority tag": [(0x8100, 0xe000)], "VLAN 4095": [(0x8100, 4095)],
        "QinQ": [(0x88a8, 5), (0x8100, 6)], "two C-tags": [(0x8100, 7), (0x8100, 8)]}
for label, tags in TAGS.items():
    one(f"{label}, broadcast", lambda x, t=tags: tagged(BROADCAST, x[0], *t))
    known_unicast(f"{label}, known", lambda x, t=tags: tagged(x[2], x[0], *t))
case("learnt with a tag, reached without and with another", lambda x: [
    Send(0, tagged(BROADCAST, x[0], (0x8100, 10))), Send(1, raw(x[0], x[1])),
    Send(2, tagged(x[0], x[2], (0x8100, 11)))])

# --- lengths -------------------------------------------------------------------------------------------

for size in (14, 15, 42, 59, 60, 64, 65, 1000, 1513, 1514):
    known_unicast(f"{size} bytes", lambda x, n=size: raw(x[2], x[0], size=n))
    one(f"{size} bytes, flooded", lambda x, n=size: raw(x[9], x[0], size=n))
GIANT = "Linux lets four bytes more than the MTU and a tag pass, from before tags were accelerated"
for size in (SMALL_MTU + HEAD - 1, SMALL_MTU + HEAD, SMALL_MTU + HEAD + TAG, SMALL_MTU + HEAD + TAG + 1,
             1400):
    known = GIANT if size == SMALL_MTU + HEAD + TAG else None
    case(f"{size} bytes to the small port", lambda x, n=size: [
        Send(SMALL_PORT, raw(BROADCAST, x[3])), Send(0, raw(x[3], x[0], size=n))], known)
    case(f"{size} bytes to all ports", lambda x, n=size: [Send(0, raw(BROADCAST, x[0], size=n))], known)
known_unicast(f"{1500 + HEAD + TAG} bytes with a tag", lambda x: tagged(
    x[2], x[0], (0x8100, 10), size=1500 + HEAD + TAG))

for size in (SMALL_MTU + HEAD + TAG, SMALL_MTU + HEAD + TAG + 1, SMALL_MTU + HEAD + 2 * TAG,
             SMALL_MTU + HEAD + 2 * TAG + 1):
    case(f"{size} bytes with a tag to the small port", lambda x, n=size: [
        Send(SMALL_PORT, raw(BROADCAST, x[3])), Send(0, tagged(x[3], x[0], (0x8100, 10), size=n))],
        GIANT if SMALL_MTU + HEAD + TAG < size <= SMALL_MTU + HEAD + 2 * TAG else None)

# --- static entries ------------------------------------------------------------------------------------

case("to a static entry", lambda x: [Send(0, raw(STATIC_MAC, x[0]))])
case("to a static entry from its port", lambda x: [Send(STATIC_PORT, raw(STATIC_MAC, x[2]))])
case("a static entry does not move", lambda x: [
    Send(0, raw(x[9], STATIC_MAC), learnt=False), Send(1, raw(STATIC_MAC, x[1]))])

# --- links -----------------------------------------------------------------------------------------------

for label, far in (("down", False), ("without carrier", True)):
    case(f"to a port that went {label}", lambda x, far=far: [
        Send(1, raw(BROADCAST, x[1])), Link(1, False, far), Send(0, raw(x[1], x[0])),
        Link(1, True, far), Send(0, raw(x[1], x[0]))])
    case(f"flooded while a port is {label}", lambda x, far=far: [
        Link(1, False, far), Send(0, raw(BROADCAST, x[0])), Link(1, True, far),
        Send(0, raw(BROADCAST, x[0]))])
    case(f"a static entry of a port that is {label}", lambda x, far=far: [
        Link(STATIC_PORT, False, far), Send(0, raw(STATIC_MAC, x[0])), Link(STATIC_PORT, True, far),
        Send(0, raw(STATIC_MAC, x[0]))])
case("a station reappears elsewhere after its port went down", lambda x: [
    Send(1, raw(BROADCAST, x[1])), Link(1, False), Send(2, raw(x[9], x[1])), Send(0, raw(x[1], x[0])),
    Link(1, True)])

# --- at random -------------------------------------------------------------------------------------------

RANDOM_STEPS = 1000 if os.environ.get("SLUICE_FULL") else 100
GROUPS = (BROADCAST, "01:00:5e:00:00:05", "33:33:00:00:00:05", "01:80:c2:00:00:10")
BAD_SOURCES = (BROADCAST, "00:00:00:00:00:00", "01:00:5e:00:00:05")


def random_step(x, rng):
    """Few stations, so that they are known, move, and talk to each other and to themselves."""
    port = rng.choice(PORTS)
    stations = [x[n] for n in range(8)]
    own = [mac for n, mac in enumerate(PORT_MAC) if n != port]  # its own: see KNOWN
    dst = rng.choice(stations * 4 + list(GROUPS) * 2 + own + [STATIC_MAC, x[99]])
    src = rng.choice(stations * 6 + list(BAD_SOURCES) + PORT_MAC)
    tags = rng.choice(([], [], [], *TAGS.values()))
    # Between what fits the small port and what does not: see GIANT.
    large = SMALL_MTU + HEAD if port == SMALL_PORT else 1514
    size = rng.choice((60, 61, 300, SMALL_MTU + HEAD, large))
    frame = tagged(dst, src, *tags, size=max(size, 64)) if tags else raw(dst, src, size=size)
    return Send(port, frame, src in stations)


for seed in range(3):
    case(f"at random, seed {seed}", lambda x, seed=seed: [
        random_step(x, rng) for rng in [random.Random(seed)] for _ in range(RANDOM_STEPS)])
