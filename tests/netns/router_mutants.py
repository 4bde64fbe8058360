# SPDX-License-Identifier: GPL-2.0-or-later
"""
Frames that nobody would write down: random damage to the frames of the cases, and the search for
the one in a batch over which two routers disagree.

Every mutant starts from addresses of its own, so that the kernel's rate limit of ICMP errors, which
is by address and by the clock, does not decide what is seen.
"""
import random

from router_frames import edit4
from router_rig import ALL_MARKS, Addresses, difference
from router_topology import NUMBER, PORTS, WIRES

BATCH = 250
LONGEST = 1514
ODD_BYTES = (0x00, 0x01, 0x02, 0x3f, 0x40, 0x45, 0x60, 0x7f, 0x80, 0xe0, 0xfe, 0xff)
HEADERS_END = 78  # Ethernet, IPv6, an extension header, UDP
SOURCES = 200


class MutantAddresses(Addresses):
    """The addresses of the n-th mutant."""

    def v4(self, wire, n=1):
        return f"10.{100 + NUMBER[wire]}.{self.index % SOURCES}.{self.index // SOURCES % 250 + n}"


# From a neighbour, of which there are few: redirects are limited by who they go to, so that the clock
# would decide which of its mutants gets one.
LIMITED = {"v6 to where it came from: redirect"}


def seeds(cases):
    """What makes a frame, of every case that is one frame and needs nothing else."""
    return [case.steps for _, case in cases
            if not (case.before or case.after or case.answer) and case.marks == ALL_MARKS
            and case.name not in LIMITED
            and case.marked_wires == WIRES and len(case.steps(Addresses(0))) == 1
            and case.steps(Addresses(0))[0][0] in PORTS]


def _place(rng, frame):
    """Where to do damage: mostly in the headers, of them mostly behind the MAC addresses."""
    if rng.random() < 0.1:
        return rng.randrange(len(frame))
    return min(rng.randrange(12, HEADERS_END) if rng.random() < 0.9 else rng.randrange(12),
               len(frame) - 1)


def _flip(rng, frame):
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        frame[_place(rng, frame)] ^= 1 << rng.randrange(8)


def _odd_byte(rng, frame):
    frame[_place(rng, frame)] = rng.choice(ODD_BYTES)


def _odd_word(rng, frame):
    at = _place(rng, frame) & ~1
    payload = max(len(frame) - 14, 0)  # a frame that was cut may be all header
    frame[at:at + 2] = rng.choice((0, 1, 20, 40, 0x7fff, 0xffff, payload, len(frame),
                                   rng.randrange(65536))).to_bytes(2, "big")


def _truncate(rng, frame):
    del frame[rng.randrange(min(14, len(frame)), len(frame) + 1):]


def _extend(rng, frame):
    frame += rng.randbytes(rng.choice((1, 2, 6, 18, 46, 200)))


def _insert(rng, frame):
    at = _place(rng, frame)
    frame[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8)))


def _remove(rng, frame):
    at = _place(rng, frame)
    del frame[at:min(at + rng.choice((1, 2, 4, 8)), len(frame) - 1)]


def _hop_limit(rng, frame):
    for at in (21, 22):
        if len(frame) > at and rng.random() < 0.5:
            frame[at] = rng.choice((0, 1, 2, 255))


DAMAGE = (_flip, _flip, _flip, _odd_byte, _odd_byte, _odd_word, _odd_word, _truncate, _extend,
          _insert, _remove, _hop_limit)


def mutants(cases, count, seed):
    """`count` damaged frames as (wire, bytes)."""
    rng, makers = random.Random(seed), seeds(cases)
    for index in range(count):
        wire, frame = rng.choice(makers)(MutantAddresses(index))[0]
        frame = bytearray(frame)
        for _ in range(rng.choice((1, 1, 2, 3))):
            rng.choice(DAMAGE)(rng, frame)
        frame = (bytes(frame) + bytes(14))[:max(14, min(len(frame), LONGEST))]
        # damage behind a checksum that is wrong would not be looked at
        if frame[12:14] == b"\x08\x00" and len(frame) >= 34 and rng.random() < 0.8:
            _, frame = edit4((wire, frame), 0, b"")
        yield wire, frame


def hunt(one, two, frames, most=20):
    """
    Has two rigs forward frames, batch by batch; text about each frame that they treat differently,
    at most so many, and about a batch that differs where none of its frames does alone.
    """
    found, frames = [], list(frames)
    for start in range(0, len(frames), BATCH):
        batch = frames[start:start + BATCH]
        text = difference(one.frames(batch), two.frames(batch))
        if not text:
            continue
        alone = []
        for wire, frame in batch:
            single = difference(one.frames([(wire, frame)]), two.frames([(wire, frame)]))
            if single:
                alone.append(f"on {wire} {frame.hex()}:\n{single}")
        found += alone or [f"frames {start}… differ together, none alone:\n{text}"]
        if len(found) >= most:
            break
    return found
