# SPDX-License-Identifier: GPL-2.0-or-later
"""
What became of a frame, moment by moment: probes every few milliseconds, each an echo request that
can cross to the far side, be answered by the host's kernel, or be seen no more. And the means to
hang one thread of a process.

    with Probe(net, ("a", "a0"), ("h", "p0"), ("b", "b0")) as probe:
        probe.wait_for("crossed")                      # the last 20 probes all crossed
        hung = time.monotonic()
        with hang(thread_id):
            probe.wait_for("answered")
            probe.require("answered", since=hung + 0.150)

lane() makes a link whose host end carries an address. Neighbours are permanent: ARP must not
decide what is measured.
"""
import contextlib
import ctypes
import json
import os
import select
import socket
import struct
import threading
import time
from collections import Counter

from lib import run, wait_for

ETH_P_ALL = 0x0003
ETH_P_IP = 0x0800
ECHO_REQUEST, ECHO_REPLY = 8, 0
INTERVAL_S = 0.005
SETTLE_S = 0.03  # after which a probe that nobody saw counts as lost
LAST_S = 0.2     # for the last ones to come in
RUN = 20         # like outcomes in a row that make a state
RECEIVE_BUFFER_BYTES = 1 << 20
SO_RCVBUFFORCE = 33

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def inside(net, ns):
    """A context: this thread is in a namespace; sockets made meanwhile stay there."""
    return net.inside(ns)


def packet_socket(net, ns, ifname, protocol):
    with inside(net, ns):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                             socket.htons(protocol))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.bind((ifname, 0))
        return sock


@contextlib.contextmanager
def arrivals(net, ns, ifname):
    """A function that says how many frames have come in on an interface so far."""
    with packet_socket(net, ns, ifname, ETH_P_ALL) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 * RECEIVE_BUFFER_BYTES)
        total = 0

        def count():
            nonlocal total
            while True:
                try:
                    _, (_, _, direction, *_) = sock.recvfrom(64)
                except BlockingIOError:
                    return total
                total += direction != socket.PACKET_OUTGOING
        yield count


# --- frames ------------------------------------------------------------------------------------

def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def _mac(text):
    return bytes.fromhex(text.replace(":", ""))


def echo_request(dst_mac, src_mac, dst_ip, src_ip, ident, seq):
    """An Ethernet frame of 60 bytes."""
    payload = bytes(18)
    head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, ident, seq)
    head = head[:2] + struct.pack("!H", _checksum(head + payload)) + head[4:]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(head) + len(payload), 0, 0, 64, 1, 0,
                     socket.inet_aton(src_ip), socket.inet_aton(dst_ip))
    ip = ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:]
    return _mac(dst_mac) + _mac(src_mac) + struct.pack("!H", ETH_P_IP) + ip + head + payload


def echo_of(frame, ident):
    """(type, sequence number) of an echo request or reply with this identity, else None."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != 1:
        return None
    kind, _, _, got_ident, seq = struct.unpack_from("!BBHHH", frame, 34)
    return (kind, seq) if got_ident == ident else None


# --- links -------------------------------------------------------------------------------------

def addresses(ifname):
    """(the host's address on one of its interfaces, that of its neighbour there)."""
    net = int("".join(c for c in ifname if c.isdigit()) or 0)
    return f"10.9.{net}.1", f"10.9.{net}.2"


def lane(net, ns, ifname, host_ns, host_if, queues=1):
    """
    A veth pair whose host end has an address and knows its neighbour. As net.veth(), in a third
    of the commands; settled() waits for the carrier of all.
    """
    host, neighbour = addresses(host_if)
    host_mac, mac = (f"02:00:0a:09:{int(host.split('.')[2]):02x}:{end:02x}" for end in (1, 2))
    run("ip", "link", "add", ifname, "netns", net.real(ns), "address", mac,
        "numrxqueues", queues, "numtxqueues", queues, "type", "veth",
        "peer", "name", host_if, "netns", net.real(host_ns), "address", host_mac,
        "numrxqueues", queues, "numtxqueues", queues)
    plain = "ethtool -K {0} tx off gro off gso off && ip link set {0} up"
    net.run(ns, "sh", "-c", plain.format(ifname))
    net.run(host_ns, "sh", "-c", plain.format(host_if) + f" && ip addr add {host}/24 dev {host_if}"
            f" && ip neigh replace {neighbour} lladdr {mac} dev {host_if} nud permanent")


def settled(net, *namespaces):
    """Waits until every veth of these namespaces is up."""
    def up():
        links = [link for ns in namespaces for link in json.loads(
            net.ip(ns, "-j", "link", "show", "type", "veth").stdout)]
        return all(link["operstate"] == "UP" for link in links)
    wait_for(up, f"every link of {namespaces} is up")
    return net


# --- probes --------------------------------------------------------------------------------------

class Probe(threading.Thread):
    """
    Sends from `outside` (namespace, interface) to the host's address on `host`, and looks for
    replies there and for the requests themselves at `far`, if given. Entered: it runs; left: it
    is over and its outcomes can still be asked for.
    """

    _next_echo_id = 0x5100

    def __init__(self, net, outside, host, far=None, interval_s=INTERVAL_S):
        super().__init__(daemon=True, name=f"probe-{host[1]}")
        Probe._next_echo_id += 1
        self.label = f"{outside[1]}->{host[1]}"
        self._echo_id, self._interval_s = Probe._next_echo_id, interval_s
        self._near = packet_socket(net, *outside, ETH_P_ALL)
        self._far = packet_socket(net, *far, ETH_P_ALL) if far else None
        self._addresses = (net.mac(*host), net.mac(*outside), *addresses(host[1]))
        self.sent = []     # monotonic seconds, by sequence number
        self.seen = {}     # sequence number -> ["crossed" or "answered", …]: twice is a fault
        self._over = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        """Sends no more; what is on its way still counts. Twice is fine."""
        if self._over.is_set():
            return
        self._over.set()
        self.join()
        for sock in (self._near, self._far):
            if sock:
                sock.close()

    def run(self):
        socks = [s for s in (self._near, self._far) if s]
        due = time.monotonic()
        while not self._over.is_set():
            now = time.monotonic()
            if now >= due:
                self._send(now)
                due = max(due + self._interval_s, now)
            ready, _, _ = select.select(socks, [], [], max(0, due - time.monotonic()))
            for sock in ready:
                self._receive(sock)
        quiet_at = time.monotonic() + LAST_S
        while time.monotonic() < quiet_at:
            ready, _, _ = select.select(socks, [], [], quiet_at - time.monotonic())
            for sock in ready:
                self._receive(sock)

    def _send(self, now):
        frame = echo_request(*self._addresses, self._echo_id, len(self.sent))
        self.sent.append(now)
        try:
            self._near.send(frame)
        except OSError:  # a link that is down: then this one is lost
            pass

    def _receive(self, sock):
        while True:
            try:
                frame, (_, _, direction, *_) = sock.recvfrom(2048)
            except OSError:
                return
            echo = echo_of(frame, self._echo_id)
            if not echo or direction == socket.PACKET_OUTGOING:
                continue
            if echo[0] == (ECHO_REQUEST if sock is self._far else ECHO_REPLY):
                self.seen.setdefault(echo[1], []).append(
                    "crossed" if sock is self._far else "answered")

    # --- outcomes ------------------------------------------------------------------------------

    def outcomes(self, since=0.0, until=None):
        """[(second sent, "crossed" | "answered" | "lost" | "twice")], of probes that settled."""
        until = time.monotonic() - SETTLE_S if until is None and not self._over.is_set() else until
        found = []
        for seq, at in enumerate(list(self.sent)):
            if at >= since and (until is None or at <= until):
                seen = self.seen.get(seq, ["lost"])
                found.append((at, seen[0] if len(seen) == 1 else "twice"))
        return found

    def wait_for(self, outcome, since=None, deadline_s=5.0):
        """
        Waits until the latest probes, none older than `since` (now), all ended so; returns the
        second when the first of them was sent.
        """
        since = since or time.monotonic()

        def reached():
            last = self.outcomes(since)[-RUN:]
            return last[0][0] if len(last) == RUN and {o for _, o in last} == {outcome} else None
        return wait_for(reached, f"{self.label}: {RUN} probes in a row {outcome}", deadline_s)

    def require(self, outcome, since, until=None, at_least=RUN // 2, lost=0):
        """Every probe sent in this time ended so; but `lost` of them may have been lost."""
        found = self.outcomes(since, until)
        wrong = [(round(at - since, 4), o) for at, o in found if o != outcome]
        if len(wrong) <= lost and {o for _, o in wrong} <= {"lost"}:
            wrong = []
        assert not wrong, f"{self.label}: not all {outcome}, but (seconds after {since:.3f}): {wrong}"
        assert len(found) >= at_least, f"{self.label}: only {len(found)} probes were sent"

    def counts(self, since=0.0, until=None):
        return Counter(o for _, o in self.outcomes(since, until))


# --- threads that hang -----------------------------------------------------------------------------

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000

_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


@contextlib.contextmanager
def hang(tid):
    """One thread of another process stands still meanwhile, its siblings run on."""
    _check(_libc.ptrace(PTRACE_SEIZE, tid, None, None))
    _check(_libc.ptrace(PTRACE_INTERRUPT, tid, None, None))
    os.waitpid(tid, WALL)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # its process was ended meanwhile
            _check(_libc.ptrace(PTRACE_DETACH, tid, None, None))


def worker_tid(daemon, name):
    """Thread id of a worker, by the name that `top -H` shows."""
    for task in os.listdir(f"/proc/{daemon.pid}/task"):
        with open(f"/proc/{daemon.pid}/task/{task}/comm") as comm:
            if comm.read().strip() == name:
                return int(task)
    raise AssertionError(f"no thread {name}")
