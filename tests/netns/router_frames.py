# SPDX-License-Identifier: GPL-2.0-or-later
"""
The words in which cases are written: frames as (wire, bytes) with everything but the point of the
case filled in, and short forms of Case.
"""
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from router_rig import Case, Until, checksum
from router_topology import HOST_MAC, ROUTER_MAC

PAYLOAD = bytes(range(32))
PLAIN = frozenset({"plain"})  # must have gone through AF_XDP


def ether(wire="a", **fields):
    return Ether(**{"dst": ROUTER_MAC[wire], "src": HOST_MAC[wire], **fields})


def udp(payload=PAYLOAD, **fields):
    return UDP(**{"sport": 1024, "dport": 2048, **fields}) / Raw(payload)


def v4(x, upper=None, wire="a", to="b", mac=None, pad=0, **fields):
    """An IPv4 packet from behind `wire` to behind `to`."""
    fields = {"src": x.v4(wire), "dst": x.v4(to), "id": 0x5a5a, "ttl": 64, **fields}
    frame = ether(wire, **(mac or {})) / IP(**fields) / (udp() if upper is None else upper)
    return wire, bytes(frame) + bytes(pad)


def v6(x, upper=None, wire="a", to="b", mac=None, pad=0, **fields):
    """An IPv6 packet from behind `wire` to behind `to`."""
    fields = {"src": x.v6(wire), "dst": x.v6(to), "hlim": 64, **fields}
    frame = ether(wire, **(mac or {})) / IPv6(**fields) / (udp() if upper is None else upper)
    return wire, bytes(frame) + bytes(pad)


def edit(sent, at, value):
    """Overwrites bytes of a frame; offsets count from the Ethernet header."""
    wire, frame = sent
    return wire, frame[:at] + value + frame[at + len(value):]


def edit4(sent, at, value):
    """Overwrites bytes of the IPv4 header and makes its checksum right again."""
    wire, frame = edit(sent, 14 + at, value)
    size = max(20, (frame[14] & 15) * 4)
    head = frame[14:24] + b"\0\0" + frame[26:14 + size]
    return wire, frame[:24] + checksum(head).to_bytes(2, "big") + frame[26:]


def one(name, frame, **kwargs):
    """A case of one frame, or a list of them."""
    def steps(x):
        made = frame(x)
        return made if isinstance(made, list) else [made]
    return Case(name, steps, **kwargs)


def plain(name, frame, **kwargs):
    """A case whose frames the kernel forwards unchanged: so must AF_XDP."""
    return one(name, frame, kinds=PLAIN, **kwargs)


def host_unreachable(sent):
    """Is a frame the news that nobody has the destination of `sent`?"""
    wanted = IP_HEADER[sent[1][12:14]](sent[1])

    def seen(frame):
        if frame[12:14] == b"\x08\x00":
            return frame[34:36] == b"\x03\x01" and frame[42:62] == wanted
        return frame[54:56] == b"\x01\x03" and frame[62:102] == wanted
    return seen


def _quoted4(frame):
    """The IPv4 header as an error quotes it: one hop later."""
    return edit4(("", frame), 8, bytes([frame[22] - 1]))[1][14:34]


def _quoted6(frame):
    return frame[14:21] + bytes([frame[21] - 1]) + frame[22:54]


IP_HEADER = {b"\x08\x00": _quoted4, b"\x86\xdd": _quoted6}


def searching(name, frame, **kwargs):
    """A case of one frame whose next hop r asks for in vain; its sender hears of that."""
    def steps(x):
        sent = frame(x)
        return [sent, Until(sent[0], host_unreachable(sent))]
    return Case(name, steps, **kwargs)


def echo(x, **fields):
    return ICMP(type=8, id=x.index + 1, seq=1, **fields) / Raw(PAYLOAD)


def tcp(**fields):
    return TCP(**{"sport": 1024, "dport": 2048, "flags": "S", "seq": 1, **fields})
