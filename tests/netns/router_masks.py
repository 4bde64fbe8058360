# SPDX-License-Identifier: GPL-2.0-or-later
"""
What two runs of the conformance suite may differ in, all of it: frames that r sends by itself at
moments of its own choosing (NOISE), and bytes that are not determined by what came in (MASKS). Each
with its reason. A case that is about a kind of noise keeps it (Case.keep).
"""
import socket
from collections import Counter

from router_topology import NUMBER, ROUTER_MAC

NOBODY_V4, NOBODY_V6 = bytes([10, 211]), bytes.fromhex("fd000211")  # the unreachable routes
ROUTER_MACS = {bytes.fromhex(mac.replace(":", "")) for mac in ROUTER_MAC.values()}
# Addresses of r, those of single cases included, as prefixes of octets.
OWN_V4 = tuple(socket.inet_aton(address) for address in (
    *(f"10.{n}.0.1" for n in NUMBER.values()), "10.3.1.0", "10.2.7.7", "10.247.0.1", "10.248.0.1",
    "0.0.0.0")) + (bytes([10, 241]), bytes([10, 242]))
INNER_TYPES = {4: b"\x08\x00", 41: b"\x86\xdd"}  # by IP protocol, the Ethernet type


def _is_v4(frame):
    return len(frame) >= 34 and frame[12:14] == b"\x08\x00" and frame[14] >> 4 == 4


def _is_v6(frame):
    return len(frame) >= 54 and frame[12:14] == b"\x86\xdd"


def _is_own_v4(frame):
    return _is_v4(frame) and frame[6:12] in ROUTER_MACS \
        and frame[26:30].startswith(OWN_V4)


def _icmp6_type(frame):
    """Of an ICMPv6 message, also behind the hop-by-hop header of MLD; None if it is none."""
    if not _is_v6(frame):
        return None
    if frame[20] == 58:
        return frame[54] if len(frame) > 54 else None
    if frame[20] == 0 and len(frame) > 62 and frame[54] == 58:
        return frame[62]
    return None


def _is_from_link_local_or_unspecified(frame):
    return frame[22:24] == b"\xfe\x80" or not any(frame[22:38])


def _envelope(frame):
    """
    Octets of outer IPv6 and segment routing header (RFC 8754), 0 if there are none: an answer of r to
    an address behind an `encap seg6` route goes out wrapped, and is compared as what it is within.
    """
    if not _is_v6(frame) or frame[6:12] not in ROUTER_MACS or frame[20] != 43 or len(frame) < 62:
        return 0
    return 48 + frame[55] * 8 if frame[54] in INNER_TYPES else 0


def _unwrapped(frame):
    envelope = _envelope(frame)
    return frame[:12] + INNER_TYPES[frame[54]] + frame[14 + envelope:] if envelope else frame


# (kind, why it may come at any time, is it one?)
NOISE = (
    ("arp", "neighbours are probed again when the kernel's timers say so",
     lambda f: f[12:14] == b"\x08\x06" and f[6:12] in ROUTER_MACS and f[20:22] == b"\x00\x01"),
    ("ns", "as arp", lambda f: _icmp6_type(f) == 135 and f[6:12] in ROUTER_MACS
     and f[21] == 255),
    ("mld", "groups are reported some random time after they were joined",
     lambda f: _icmp6_type(f) in (131, 132, 143) and _is_from_link_local_or_unspecified(f)),
    ("igmp", "as mld", lambda f: _is_own_v4(f) and f[23] == 2),
    ("host", "the sender hears of it when the search for a neighbour is over, by a timer",
     lambda f: _is_own_v4(f) and f[23] == 1 and f[34:36] == b"\x03\x01" and f[58:60] != NOBODY_V4
     or _icmp6_type(f) == 1 and f[55:56] == b"\x03" and f[86:90] != NOBODY_V6),
)


def _mask_own_id(frame):
    head = bytearray(frame)
    head[18:20] = head[24:26] = b"\0\0"
    return bytes(head)


def _has_timestamp_option(frame):
    return _is_v4(frame) and (frame[14] & 15) > 5 and 68 in frame[34:14 + (frame[14] & 15) * 4]


def _mask_options(frame):
    head = bytearray(frame)
    end = 14 + (frame[14] & 15) * 4
    head[24:26], head[34:end] = b"\0\0", bytes(end - 34)
    return bytes(head)


def _is_timestamp_reply(frame):
    return _is_own_v4(frame) and frame[14] == 0x45 and frame[23] == 1 and frame[34:35] == b"\x0e"


# (why the bytes may differ, does it apply?, what is compared instead)
MASKS = (
    ("the IP id of a packet that r makes is random, and with it the header's checksum",
     _is_own_v4, _mask_own_id),
    ("routers write the time of day into a timestamp option",
     _has_timestamp_option, _mask_options),
    ("r answers ICMP timestamp requests with the time of day",
     _is_timestamp_reply, lambda f: f[:36] + bytes(len(f) - 36)),
)

# Which member of a multipath group a flow takes is the business of the hash, whose seed is random
# in the kernel and in Sluice. Packets to these destinations are compared as if the wires of the
# members were one, without the MAC addresses.
MULTIPATH_V4 = (bytes([10, 216]), bytes([10, 229]))
MULTIPATH_V6 = (bytes.fromhex("fd000216"),)
MULTIPATH_WIRES = "bc"


def _takes_any_member(wire, frame):
    return wire in MULTIPATH_WIRES and (_is_v4(frame) and frame[30:32] in MULTIPATH_V4
                                        or _is_v6(frame) and frame[38:42] in MULTIPATH_V6)


def _masked(frame):
    inner, envelope = _unwrapped(frame), _envelope(frame)
    for _, applies, mask in MASKS:
        if applies(inner):
            inner = mask(inner)
    return frame[:14 + envelope] + inner[14:]


def _is_noise(frame, keep):
    return any(kind not in keep and matches(_unwrapped(frame)) for kind, _, matches in NOISE)


def result(seen, keep=frozenset()):
    """{wire: Counter of frames} to compare, of the (wire, frame) pairs that a case has caused."""
    wires = {}
    for wire, frame in seen:
        if _is_noise(frame, keep):
            continue
        frame = _masked(frame)
        if _takes_any_member(wire, frame):
            wire, frame = MULTIPATH_WIRES, bytes(12) + frame[12:]
        wires.setdefault(wire, Counter())[frame] += 1
    return wires
