# SPDX-License-Identifier: GPL-2.0-or-later
"""
Runs cases on the network of router_topology.py and compares two runs, wire by wire, byte by byte.

    case      frames put on wires, with commands in r before, between and after
    result    {wire: multiset of frames seen there}, noise left out and masked (router_masks.py)
    window    from the first frame until every marker has arrived where it must

Markers. The frames of one case may take three ways through r, each of which keeps its order: the
worker (AF_XDP in and out), the kernel (XDP_PASS), and the hand-back (worker, TAP, kernel). So behind
the frames of a case, on every wire that they came in by, follows one marker for each way and each
wire that it can lead to:

    fast     a plain UDP packet                                         to each other wire
    pass     the same with an IP option                                 to each other wire
    back     one longer than its route's MTU, fragmented by the kernel  to each other wire
    expired  one with TTL 1: an ICMP error                              to the wire it came from
    refused  as `back`, but must not be fragmented: an ICMP error       to the wire it came from
    fast6    as `fast`, of IPv6; instead, where r does not route IPv4   to each other wire
    echo     an echo request to r, for the same                         to the wire it came from

When all have arrived, whatever the case caused has arrived too, unless a timer of the kernel was to
cause it: such a case says what to wait for (Until).
"""
import errno
import itertools
import select
import socket
import struct
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field

import router_masks
from probe import inside
from router_topology import HOST_MAC, MTU, NUMBER, ROUTER_MAC, WIRES
from wire import PACKET_AUXDATA, PACKET_QDISC_BYPASS, SO_RCVBUFFORCE, SOL_PACKET, with_tag

ETH_P_ALL = 0x0003
RECEIVE_BUFFER_BYTES = 16 << 20
PACKET_IGNORE_OUTGOING = 23
WINDOW_DEADLINE_S = 5.0
MAGIC = b"slMARKer"
TOKEN_BYTES = 16
LONGEST_HEADER = 18  # of Ethernet, with one tag
TOKENS_TOO_LONG = 41  # with headers 684 bytes, where the route allows 600

ALL_MARKS = ("fast", "pass", "back", "expired", "refused")
MARKS_WITHOUT_V4 = ("echo", "fast6")
ONWARD_MARKS = ("fast", "pass", "back", "fast6")


# --- what a case is made of ------------------------------------------------------------------------

@dataclass(frozen=True)
class Until:
    """A step: wait until a frame that `seen` accepts has come in on a wire since the case began."""
    wire: str
    seen: object
    count: int = 1
    deadline_s: float = 3.0


@dataclass(frozen=True)
class Do:
    """A step: everything sent so far has had its effect; then commands in r, which may be none."""
    commands: tuple = ()


@dataclass(frozen=True)
class Case:
    """
    steps(x): frames as (wire, bytes), Until and Do, made with the Addresses `x` of the case.
    before, after: commands in r for a shell; "ip …" is done faster, "h: …" in h.
    answer(x, wire, frame): [(wire, frame), …] that a host says to a frame that it sees.
    """
    name: str
    steps: object
    before: tuple = ()
    after: tuple = ()
    answer: object = None
    marks: tuple = ALL_MARKS
    marked_wires: str = WIRES  # where markers can arrive
    keep: frozenset = frozenset({"host"})  # kinds of noise that this case is about
    kinds: frozenset = field(default_factory=frozenset)


# --- frames ------------------------------------------------------------------------------------------

def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def _ipv4(wire, src, dst, protocol, payload, ttl=64, options=b"", dont_fragment=False):
    head = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0,
                       20 + len(options) + len(payload), 0x4d4b, 0x4000 if dont_fragment else 0,
                       ttl, protocol, 0, socket.inet_aton(src), socket.inet_aton(dst)) + options
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return mac_bytes(ROUTER_MAC[wire]) + mac_bytes(HOST_MAC[wire]) + b"\x08\x00" + head + payload


def _ipv6(wire, src, dst, protocol, payload):
    head = struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64,
                       socket.inet_pton(socket.AF_INET6, src),
                       socket.inet_pton(socket.AF_INET6, dst))
    return mac_bytes(ROUTER_MAC[wire]) + mac_bytes(HOST_MAC[wire]) + b"\x86\xdd" + head + payload


def _udp(payload):
    return struct.pack("!HHHH", 4949, 4949, 8 + len(payload), 0) + payload


class Markers:
    """Makes markers, and knows one when it sees it, whole, cut or quoted in an ICMP error."""

    def __init__(self):
        self._seq = 0

    def of(self, wire, kind, out):
        """(token, frame) of a marker that comes in by `wire` and shows on `out`."""
        self._seq += 1
        token = MAGIC + struct.pack("!I4s", self._seq, f"{kind[0]}{wire}{out}.".encode())
        if kind == "fast6":
            return token, _ipv6(wire, f"fd00:{100 + NUMBER[wire]}:ffff::{self._seq & 0xffff:x}",
                                f"fd00:{100 + NUMBER[out]}:ffff::1", 17, _udp(token))
        src = f"10.{100 + NUMBER[wire]}.{201 + (self._seq >> 8) % 55}.{self._seq & 255}"
        far = out if out != wire else "b" if wire == "a" else "a"
        plain = f"10.{100 + NUMBER[far]}.255.1"
        narrow = f"10.{220 + NUMBER[far]}.0.1"
        if kind == "fast":
            return token, _ipv4(wire, src, plain, 17, _udp(token))
        if kind == "pass":
            return token, _ipv4(wire, src, plain, 17, _udp(token), options=b"\x01\x01\x01\x00")
        if kind == "expired":
            return token, _ipv4(wire, src, plain, 17, _udp(token), ttl=1)
        if kind == "echo":
            echo = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + token
            echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
            return token, _ipv4(wire, src, f"10.{NUMBER[wire]}.0.1", 1, echo)
        return token, _ipv4(wire, src, narrow, 17, _udp(token * TOKENS_TOO_LONG),
                            dont_fragment=kind == "refused")

    def round(self, wires, kinds, out_wires):
        """{(out wire, token): (in wire, frame)} of one round of markers behind frames on `wires`."""
        wanted = {}
        for wire in wires:
            for kind in kinds:
                outs = out_wires.replace(wire, "") if kind in ONWARD_MARKS else wire
                for out in outs:
                    token, frame = self.of(wire, kind, out)
                    wanted[out, token] = (wire, frame)
        return wanted


def token_in(frame):
    """The first whole token of a marker in a frame; b"" if only a piece; None if it is no marker."""
    at = frame.find(MAGIC)
    if at < 0:
        return None
    return frame[at:at + TOKEN_BYTES] if len(frame) >= at + TOKEN_BYTES else b""


# --- the wires ---------------------------------------------------------------------------------------

class Taps:
    """One packet socket on every wire end."""

    def __init__(self, net):
        self._poll = select.poll()
        self.socks, self._wire_of = {}, {}
        with inside(net, "h"):
            for wire in WIRES:
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                                     socket.htons(ETH_P_ALL))
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
                sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
                sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
                sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
                sock.bind((f"{wire}0", 0))
                self.socks[wire] = sock
                self._wire_of[sock.fileno()] = wire
                self._poll.register(sock, select.POLLIN)

    def send(self, wire, frame):
        """False: the wire does not take it, which is longer than r's MTU and a tag."""
        end = time.monotonic() + WINDOW_DEADLINE_S
        while True:
            try:
                return self.socks[wire].send(frame) == len(frame)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                if len(frame) > MTU[wire] + LONGEST_HEADER:
                    return False
                # the ring of a veth with XDP is full until its softirq has run
                assert time.monotonic() < end, f"wire {wire} does not take frames any more"

    def receive(self, timeout_s):
        """[(wire, frame)] of what has come in, waiting at most so long for the first."""
        found = []
        for fd, _ in self._poll.poll(max(0, timeout_s) * 1000):
            wire = self._wire_of[fd]
            while True:
                try:
                    frame, ancillary, _, _ = self.socks[wire].recvmsg(65536, 64)
                except BlockingIOError:
                    break
                except OSError as error:  # once after a wire end went down
                    if error.errno != errno.ENETDOWN:
                        raise
                    continue
                found.append((wire, with_tag(frame, ancillary)))
        return found

    def close(self):
        for sock in self.socks.values():
            sock.close()


# --- running -----------------------------------------------------------------------------------------

class Addresses:
    """The addresses and identities that one case has for itself."""

    def __init__(self, index):
        self.index = index

    def v4(self, wire, n=1):
        return f"10.{100 + NUMBER[wire]}.{self.index % 200}.{self.index // 200 * 60 + n}"

    def v6(self, wire, n=1):
        return f"fd00:{100 + NUMBER[wire]}:{self.index + 1:x}::{n}"

    def special4(self, second_octet, n=1):
        """In one of r's special routes: blackhole 210, unreachable 211, …"""
        return f"10.{second_octet}.{self.index % 200}.{n}"

    def special6(self, block, n=1):
        return f"fd00:{block}:{self.index + 1:x}::{n}"


class Kernel:
    """Linux alone."""
    name = "kernel"

    def __init__(self, net):
        pass

    def settle(self, commands):
        """
        Returns when whoever forwards has taken note of these commands and of what came before
        them, or has not in time: then with a text about it.
        """
        return ""

    def close(self):
        pass


class IpBatch:
    """iproute2 in a namespace, one process for all lines: started for each, it takes most of the time."""

    LAST = "link show dev lo"  # lo's second line says that it, and so all before it, has been done
    DONE = "link/loopback"

    def __init__(self, net, ns):
        self._net, self._ns, self._process, self._errors = net, ns, None, tempfile.TemporaryFile("w+")

    def run(self, lines):
        """Runs lines, each of which must succeed."""
        if not self._process:
            self._process = self._net.popen(self._ns, "stdbuf", "-oL", "ip", "-batch", "-", text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=self._errors)
        self._process.stdin.write("\n".join([*lines, self.LAST, ""]))
        self._process.stdin.flush()
        for said in self._process.stdout:
            if self.DONE in said:
                return
        self._process.wait()
        self._process = None
        self._errors.seek(0)
        raise AssertionError(f"ip -batch in {self._ns}: {lines}: {self._errors.read()}")

    def close(self):
        if self._process:
            self._process.stdin.close()
            self._process.wait()
        self._errors.close()


# Which words at the beginning of a command are left out, and which method of Rig does the rest.
COMMANDS = {"ip ": "_ip", "sysctl -qw ": "_sysctl", "h: ": "_shell_in_h", "": "_shell_in_r"}


def _place(command):
    """The key in COMMANDS. (ip -batch knows no options in a line.)"""
    return next(place for place in COMMANDS
                if command.startswith(place) and not command.startswith("ip -") or not place)


class Rig:
    """A network, what forwards in it, and the results of the cases that ran there."""

    def __init__(self, net, engine):
        self.net, self.engine, self.taps, self.markers = net, engine, Taps(net), Markers()
        self._batch = IpBatch(net, "r")
        self._seen = []   # (wire, frame) of the case that runs, markers left out
        self._tokens = set()  # (wire, token) that have arrived
        self._answered = False

    def close(self):
        self.taps.close()
        self._batch.close()
        self.engine.close()

    def _commands(self, commands):
        for place, lines in itertools.groupby(commands, _place):
            getattr(self, COMMANDS[place])([line.removeprefix(place) for line in lines])

    def _ip(self, lines):
        self._batch.run(lines)

    def _sysctl(self, lines):
        self.net.sysctl("r", *(setting for line in lines for setting in line.split()))

    def _shell_in_h(self, lines):
        self.net.run("h", "sh", "-ec", "\n".join(lines))

    def _shell_in_r(self, lines):
        self.net.run("r", "sh", "-ec", "\n".join(lines))

    def _settle(self, commands):
        missed = self.engine.settle(commands)
        if missed:
            self._seen.append(("a", f"({missed}: {commands})".encode()))

    def _pump(self, timeout_s, answer=None):
        for wire, frame in self.taps.receive(timeout_s):
            token = token_in(frame)
            if token is not None:
                self._tokens.add((wire, token))
                continue
            self._seen.append((wire, frame))
            for reply in answer(wire, frame) if answer else ():
                self.taps.send(*reply)
                self._answered = True

    def _until(self, step, answer):
        end = time.monotonic() + step.deadline_s
        while sum(w == step.wire and bool(step.seen(f)) for w, f in self._seen) < step.count:
            left = end - time.monotonic()
            if left < 0:
                self._seen.append((step.wire, b"(what the case waits for has not come)"))
                return
            self._pump(left, answer)

    def _close_window(self, wires, case, answer):
        """Markers, until a round of them brought nothing that a host answered."""
        while True:
            self._answered = False
            wanted = self.markers.round(wires, case.marks, case.marked_wires)
            for wire, frame in wanted.values():
                self.taps.send(wire, frame)
            end = time.monotonic() + WINDOW_DEADLINE_S
            while missing := wanted.keys() - self._tokens:
                left = end - time.monotonic()
                if left < 0:
                    self._seen += [(out, b"(no marker " + token + b")") for out, token in missing]
                    return
                self._pump(left, answer)
            if not self._answered:
                return

    def frames(self, frames):
        """Sends (wire, frame) pairs and returns {wire: Counter} of what they caused at once."""
        return self.run(Case("frames", lambda x: frames, keep=frozenset()), 0)

    def run(self, case, index):
        x = Addresses(index)
        answer = (lambda wire, frame: case.answer(x, wire, frame)) if case.answer else None
        self._seen, self._tokens = [], set()
        self._commands(case.before)
        self._settle(case.before)
        wires = set()
        try:
            for step in case.steps(x):
                if isinstance(step, Do):
                    self._close_window(sorted(wires), case, answer)
                    self._commands(step.commands)
                    self._settle(("frames",) + step.commands)
                elif isinstance(step, Until):
                    self._until(step, answer)
                else:
                    wires.add(step[0])
                    if not self.taps.send(*step):
                        self._seen.append((step[0], b"(the wire did not take a frame)"))
            self._close_window(sorted(wires), case, answer)
        finally:
            self._commands(case.after)
            self._settle(case.after)
        return router_masks.result(self._seen, case.keep)

    def run_all(self, cases):
        """{name: result} of cases, in order; their numbers choose their addresses."""
        return {case.name: self.run(case, index) for index, case in cases}


# --- comparing -----------------------------------------------------------------------------------------

def _describe(frame):
    from scapy.layers import inet6, l2  # only for a difference: costs a tenth of a second
    assert inet6
    return f"{l2.Ether(frame).summary() if len(frame) >= 14 else ''} [{len(frame)}] {frame.hex()}"


def difference(one, two, names=("kernel", "other")):
    """Text of what differs between two results, "" if nothing does."""
    lines = []
    for wire in sorted(one.keys() | two.keys()):
        left, right = one.get(wire, Counter()), two.get(wire, Counter())
        for name, extra in ((names[0], left - right), (names[1], right - left)):
            lines += [f"  {wire}: only {name}, {count}x: {_describe(frame)}"
                      for frame, count in sorted(extra.items())]
    return "\n".join(lines)


def differences(one, two, names=("kernel", "other")):
    """{case: text} of the cases of `two` whose results differ from those in `one`."""
    found = {name: difference(one[name], two[name], names) for name in two}
    return {name: text for name, text in found.items() if text}
