# SPDX-License-Identifier: GPL-2.0-or-later
"""
The daemon where something is short or goes away: file descriptors, clients that never finish their
hello, a backend that is killed, and the packet plane at work on the same port.
"""
import contextlib
import os
import resource
import select
import socket

import pytest

from lib import wait_for
from splice_rig import (DIRECT, ENGINES, FRONT, FRONT_PORT, FULL, OTHER_DIRECT, OTHER_THROUGH,
                        Footprint, Sluiced, SpliceBench, assert_right, cpu_seconds, settled)

SLOW = 5000 if FULL else 500
CONNECTIONS = 1000 if FULL else 200
PAUSE_S = 2.0
ROUTED_FRAMES = 200000 if FULL else 20000


def held_connections(bench, n, first=b""):
    """n connections that say `first` and nothing more."""
    sockets = []
    with bench.net.inside("a"):
        for _ in range(n):
            sock = socket.create_connection((FRONT, FRONT_PORT), 10)
            sockets.append(sock)
            if first:
                sock.sendall(first)
    return sockets


def close_all(sockets):
    for sock in sockets:
        sock.close()


class Numbered:
    """Clients that say who they are, and the server that hears of those which were served."""

    def __init__(self, bench, n):
        with bench.net.inside("b"):
            self.server = socket.create_server(tuple_of(DIRECT), backlog=512)
        self.server.setblocking(False)
        self.clients = dict(enumerate(held_connections(bench, n)))
        for number, client in self.clients.items():
            client.sendall(bytes([number]))
        self.served = {}

    def n_served(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                peer = self.server.accept()[0]
                peer.settimeout(10)
                self.served[peer.recv(1)[0]] = peer
        return len(self.served)

    def echo(self):
        """Every one that was served still is."""
        for number, peer in self.served.items():
            self.clients[number].sendall(b"there?")
            assert peer.recv(6) == b"there?"
            peer.sendall(b"yes")
            assert self.clients[number].recv(3) == b"yes"

    def end(self, numbers):
        for number in numbers:
            self.clients.pop(number).close()
            self.served.pop(number).close()

    def close(self):
        close_all([*self.clients.values(), *self.served.values(), self.server])


@pytest.mark.parametrize("relief", ["more descriptors", "fewer connections"])
@pytest.mark.parametrize("engine", ["copy", "splice", "sockmap"])
def test_no_descriptors_left(net, engine, relief):
    """Accepting pauses, at no cost; who is there goes on, who waits is served when there are more."""
    bench = SpliceBench(net)
    with bench.start(engine, kind=Sluiced) as subject:
        before = Footprint(subject.pid)
        limits = resource.prlimit(subject.pid, resource.RLIMIT_NOFILE)
        room = before.fds + before.pipes + 100
        resource.prlimit(subject.pid, resource.RLIMIT_NOFILE, (room, limits[1]))
        load = Numbered(bench, 150)
        # Seen from outside: with no descriptor left nobody can ask the daemon anything.
        wait_for(lambda: len(os.listdir(f"/proc/{subject.pid}/fd")) >= room - 1, "none is left")
        wait_for(lambda: load.n_served() >= 40, "as many are served as can be")
        used = cpu_seconds(subject.pid)
        heard, _, _ = select.select(list(load.clients.values()), [], [], PAUSE_S)
        assert not heard, "one that waits was told something"
        used = cpu_seconds(subject.pid) - used
        assert used <= 0.03 * PAUSE_S, f"{used} s of CPU in {PAUSE_S} s for want of descriptors"
        assert 40 <= load.n_served() <= 50
        load.echo()
        if relief == "more descriptors":
            resource.prlimit(subject.pid, resource.RLIMIT_NOFILE, limits)
            wait_for(lambda: load.n_served() == 150, "all are served")
            load.echo()
        n_left = 150
        while n_left:
            wait_for(lambda: load.n_served() >= min(n_left, 40), "more of them are served")
            load.echo()
            n_left -= len(load.served)
            load.end(list(load.served))
        load.close()
        resource.prlimit(subject.pid, resource.RLIMIT_NOFILE, limits)
        assert subject.plane("accept_pauses") > 0
        assert subject.rejected() == 0
        settled(subject, before)


def tuple_of(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def test_slow_hellos(net):
    """They cost little memory and no one else's time, and are ended by sniff_timeout."""
    bench = SpliceBench(net)
    with bench.start("auto", kind=Sluiced, listener="sniff = tls\nsniff_timeout = 3s\n"
                     "max_connections = 10000\n") as subject:
        before = Footprint(subject.pid)
        # The first bytes of a hello that says it is long.
        slow = held_connections(bench, SLOW, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        wait_for(lambda: subject.conns() >= SLOW * 0.9, "they are being sniffed", 20)
        now = Footprint(subject.pid)
        assert now.memory - before.memory <= SLOW * (16 << 10) + (16 << 20), (before, now)
        report = bench.torture("--connections", CONNECTIONS, "--profile", "short",
                               through=OTHER_THROUGH, listen=OTHER_DIRECT)
        assert_right(report)
        wait_for(lambda: subject.conns() == 0, "they have been ended", 20)
        assert subject.rejected(listener="web", reason="sniff_timeout") == SLOW
        close_all(slow)
        settled(subject, before)


@pytest.mark.parametrize("engine", ENGINES)
def test_backend_killed_under_load(net, engine):
    """Every client learns of it by a reset; later ones are served when it is back."""
    bench = SpliceBench(net)
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        load = bench.load_begin("pingpong", "--connections", 100, "--ms", 20000)
        wait_for(lambda: subject.conns() == 100 and sum(
            subject.bytes(e) for e in ENGINES if e != "auto") > 100000, "it is under load", 20)
        load.kill()
        load.wait()
        wait_for(lambda: subject.conns() == 0, "all have ended", 20)
        assert_right(bench.torture("--connections", CONNECTIONS, "--max-bytes", 1 << 20))
        settled(subject, before)


PORTS = """
[port wan]
interface = wan
forward = route
stall_timeout = 5s
[port lan]
interface = lan
forward = route
stall_timeout = 5s
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_both_planes_on_one_port(net, engine):
    """Routed frames and spliced connections, at once, on the same interfaces; both exact."""
    bench = SpliceBench(net)
    for ns, ifname in (("a", "va"), ("box", "wan"), ("box", "lan"), ("b", "vb")):
        net.lossless(ns, ifname)
    with bench.start(engine, kind=Sluiced, tail=PORTS) as subject:
        before = Footprint(subject.pid)
        run = bench.torture_begin("--connections", CONNECTIONS, "--max-bytes", 1 << 20)
        mac = net.mac("box", "wan")
        sink = net.sink("b", "vb", "--idle-timeout", "20s", "--expect", ROUTED_FRAMES)
        with sink:
            sent = net.gen("a", "send", "va", "--count", ROUTED_FRAMES, "--rate", "5k", "--ip",
                           "--size", 128, "--src-ip", "10.7.1.2", "--dst-ip", "10.7.2.2",
                           "--dst-mac", mac, status=None, deadline_s=90)
            got = sink.result(status=None, deadline_s=60)
        assert got["received"] == sent["sent"] == ROUTED_FRAMES, (sent, got)
        assert got["corrupted"] == got["duplicated"] == 0, got
        assert_right(bench.torture_end(run))
        settled(subject, before)
