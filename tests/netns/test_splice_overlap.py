# SPDX-License-Identifier: GPL-2.0-or-later
"""
A client whose segments overlap, as retransmissions do that were cut anew, or got a FIN meanwhile. A
TCP's reader skips what it has had; a verdict is given whole segments, and must do it by itself.

The client is a few lines of TCP on a packet socket: what a real one sends again, and when, nobody
can order.
"""
import random
import socket
import struct

import pytest

from lib import wait_for
from splice_rig import (ENGINES, FRONT, FRONT_PORT, SERVER, SERVER_PORT, FULL, Footprint, SpliceBench,
                        seed, settled)
from test_splice_order import pattern, receive, receive_all

GHOST = "10.7.1.66"  # on the client's link; no kernel has it
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
WINDOW = 65535
ROUNDS = 400 if FULL else 40
WAIT_S = 5


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Ghost:
    """One connection, by hand. Sequence numbers are those of the data: byte 0 is number 0."""

    def __init__(self, bench, port):
        net = bench.net
        mac = net.mac("a", "va")
        net.ip("box", "neigh", "replace", GHOST, "lladdr", mac, "nud", "permanent", "dev", "wan")
        with net.inside("a"):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.sock.bind(("va", 0x0800))
        self.sock.settimeout(WAIT_S)
        self.ether = bytes.fromhex((net.mac("box", "wan") + mac).replace(":", "")) + b"\x08\x00"
        self.port, self.isn = port, 0xfffff000  # it wraps soon
        self.peer_next = 0
        self.send(SYN, -1)
        while True:
            flags, seq, ack, _ = self.receive()
            if flags & SYN and ack == 0:
                break
        self.peer_next = (seq + 1) & 0xffffffff
        self.send(ACK, 0)

    def send(self, flags, seq, data=b""):
        seq = (self.isn + 1 + seq) & 0xffffffff
        source, to = socket.inet_aton(GHOST), socket.inet_aton(FRONT)
        tcp = struct.pack("!HHIIBBHHH", self.port, FRONT_PORT, seq, self.peer_next, 5 << 4, flags,
                          WINDOW, 0, 0) + data
        total = checksum(source + to + struct.pack("!BBH", 0, 6, len(tcp)) + tcp)
        tcp = tcp[:16] + struct.pack("!H", total) + tcp[18:]
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0x4000, 64, 6, 0, source, to)
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        self.sock.send(self.ether + ip + tcp)

    def receive(self):
        """(flags, seq, bytes of ours acknowledged, length) of the next segment to us."""
        while True:
            frame = self.sock.recv(65536)
            ip = frame[14:]
            n = (ip[0] & 15) * 4
            if ip[9] != 6 or ip[16:20] != socket.inet_aton(GHOST):
                continue
            tcp = ip[n:struct.unpack("!H", ip[2:4])[0]]
            _, port, seq, ack, offset, flags = struct.unpack("!HHIIBB", tcp[:14])
            if port == self.port:
                acked = (ack - self.isn - 1) & 0xffffffff
                return flags, seq, acked, len(tcp) - (offset >> 4) * 4

    def wait_acked(self, n):
        """Everything up to byte n (a FIN is one) has been taken."""
        while self.receive()[2] != n:
            pass

    def take(self, n):
        """n bytes that the server sent: acknowledged."""
        self.peer_next = (self.peer_next + n) & 0xffffffff
        self.send(ACK, 0)

    def close(self):
        self.sock.close()


@pytest.fixture(params=ENGINES)
def world(request, net):
    """(bench, subject, server's listener)"""
    bench = SpliceBench(net)
    with bench.start(request.param) as subject:
        before = Footprint(subject.pid)
        with net.inside("b"):
            listener = socket.create_server((SERVER, SERVER_PORT))
        listener.settimeout(WAIT_S)
        yield bench, subject, listener
        listener.close()
        settled(subject, before)


def established(bench, listener, port):
    """Both ends, when the flow is in its engine."""
    ghost = Ghost(bench, port)
    ghost.send(ACK | PSH, 0, pattern(10))
    server = listener.accept()[0]
    server.settimeout(WAIT_S)
    assert receive(server, 10) == pattern(10)
    ghost.wait_acked(10)
    return ghost, server


def end(ghost, server, n):
    """The ghost has said FIN after n bytes; the server closes, and all is over."""
    server.close()
    while not ghost.receive()[0] & (FIN | RST):
        pass
    ghost.peer_next = (ghost.peer_next + 1) & 0xffffffff
    ghost.send(ACK, n + 1)
    ghost.close()


OVERLAPS = {
    "a part is new": [(10, 110), (60, 200)],
    "all but a byte is old": [(10, 1000), (11, 1001)],
    "out of order": [(500, 900), (700, 1300), (10, 600)],
    "many": [(10, 1400), (1400, 2800), (2800, 4200), (4200, 5600),
                                     (4150, 5601)],
    "old ones": [(10, 400), (10, 400), (10, 200), (200, 400)],
}


@pytest.mark.parametrize("overlap", OVERLAPS, ids=lambda name: name.replace(" ", "_"))
def test_segments_that_overlap(world, overlap):
    bench, _, listener = world
    data = pattern(6000)
    ghost, server = established(bench, listener, 30000)
    segments = OVERLAPS[overlap]
    for first, last in segments:
        ghost.send(ACK | PSH, first, data[first:last])
    n = max(last for _, last in segments)
    assert receive(server, n - 10) == data[10:n]
    # Then the last one once more, with the FIN that has come since: nothing of it is new.
    ghost.wait_acked(n)
    first = segments[-1][0]
    ghost.send(ACK | PSH | FIN, first, data[first:n])
    assert receive_all(server) == b""
    end(ghost, server, n)


def test_random_overlaps(world):
    """Many segments of random cut and order, each byte at least once."""
    bench, subject, listener = world
    chosen = seed()
    print("seed", chosen)
    rng = random.Random(chosen)
    for i in range(ROUNDS):
        ghost, server = established(bench, listener, 31000 + i)
        n, sent = rng.randrange(11, 12000), 10
        data = pattern(n, i)
        data = pattern(10) + data[10:]
        pieces = []
        while sent < n:
            first = max(10, sent - rng.choice((0, 0, 1, 700, 1400)))
            last = min(n, max(sent + 1, first + rng.randrange(1, 1401)))
            if last - first > 1400:
                first = last - 1400
            pieces.append((first, last))
            sent = last
        for k in range(0, len(pieces) - 1, 2):
            if rng.random() < 0.3:
                pieces[k], pieces[k + 1] = pieces[k + 1], pieces[k]
        for first, last in pieces:
            ghost.send(ACK | PSH, first, data[first:last])
        first, last = max(10, n - 1400), n
        ghost.send(ACK | PSH | FIN, first, data[first:last])
        assert receive_all(server) == data[10:], (i, pieces)
        end(ghost, server, n)
    wait_for(lambda: subject.conns() == 0, "all are over")
