# SPDX-License-Identifier: GPL-2.0-or-later
"""
The daemon where something is short or goes away: file descriptors, clients that never finish their
hello, a backend that is killed, and the packet plane at work on the same port.
"""
import contextlib
import json
import os
import resource
import select
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from lib import PYTHON, wait_for
from splice_rig import (DIRECT, ENGINES, FEW_ENGINES, FRONT, FRONT_PORT, FULL, OTHER_DIRECT, OTHER_THROUGH,
                        Footprint, Sluiced, SpliceBench, assert_right, cpu_seconds, settled)

SLOW_HELLOS = Path(__file__).with_name("slow_hellos.py")
SLOW = 5000 if FULL else 500
HELLOS = 200 if FULL else 60
PER_SLOW = 4 << 10  # bytes of the daemon's, of all that are being sniffed in the mean
LATE_S = 2.0 if FULL else 1.0
CONNECTIONS = 1000 if FULL else 200
PAUSE_S = 2.0


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


def client_hello(name):
    """As OpenSSL says it."""
    out = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


class Slow:
    """
    Clients in a process of their own that say nothing (every other one) or a byte of a long hello
    a time, until they are ended: `report` has how long each had, in seconds from its connect.
    """

    def __init__(self, bench, n):
        self.process = bench.net.popen("a", PYTHON, SLOW_HELLOS, FRONT, FRONT_PORT, n,
                                       stdout=subprocess.PIPE, text=True)

    def report(self, deadline_s=60):
        out, _ = self.process.communicate(timeout=deadline_s)
        assert self.process.returncode == 0
        return json.loads(out)


def hello_times(bench, server, hello, n):
    """Seconds from connect() until the server has the whole hello, of n connections in turn."""
    times = []
    for _ in range(n):
        began = time.monotonic()
        with bench.net.inside("a"):
            client = socket.create_connection((FRONT, FRONT_PORT), 10)
        client.sendall(hello)
        peer = server.accept()[0]
        peer.settimeout(10)
        assert peer.recv(len(hello), socket.MSG_WAITALL) == hello
        times.append(time.monotonic() - began)
        peer.close()
        client.close()
    return times


def test_slow_hellos(net):
    """They cost little memory and no one else's time, and are ended by sniff_timeout."""
    bench = SpliceBench(net)
    hello = client_hello("www.example.org")
    with net.inside("b"):
        server = socket.create_server(tuple_of(DIRECT), backlog=512)
    server.settimeout(10)
    with bench.start("auto", kind=Sluiced, listener="sniff = tls\nsniff_timeout = 6s\n"
                     "max_connections = 10000\n") as subject:
        before = Footprint(subject.pid)
        alone = hello_times(bench, server, hello, HELLOS)
        slow = Slow(bench, SLOW)
        wait_for(lambda: subject.conns() == SLOW, "they are being sniffed", 20)
        beside = hello_times(bench, server, hello, HELLOS)
        # The half that sends has a buffer of a page each; for all there is what a connection is.
        memory = Footprint(subject.pid).memory - before.memory
        cpu = cpu_seconds(subject.pid)
        report = bench.torture("--connections", CONNECTIONS, "--profile", "short",
                               through=OTHER_THROUGH, listen=OTHER_DIRECT)
        assert_right(report)
        times = slow.report()["seconds"]
        server.close()
        print(f"alone {sorted(alone)[HELLOS // 2] * 1e3:.2f} ms, "
              f"beside {sorted(beside)[HELLOS // 2] * 1e3:.2f} ms, {memory // SLOW} bytes each, "
              f"CPU {cpu_seconds(subject.pid) - cpu:.2f} s, {min(times)} to {max(times)} s")
        assert sorted(beside)[HELLOS // 2] <= 2 * sorted(alone)[HELLOS // 2] + 0.003
        assert memory <= SLOW * PER_SLOW + (2 << 20)
        assert len(times) == SLOW
        assert 5.9 <= min(times) and max(times) <= 6 + LATE_S
        assert subject.rejected(listener="web", reason="sniff_timeout") == SLOW
        assert subject.rejected() == SLOW
        settled(subject, before)


@pytest.mark.parametrize("limit, reason", [("max_connections = 100", "limit"),
                                           ("max_connections_per_source = 100", "source_limit")])
def test_limits_under_slow_hellos(net, limit, reason):
    """Past the limit they are reset at once, and hold nobody else up."""
    bench = SpliceBench(net)
    with bench.start("auto", kind=Sluiced, listener=f"sniff = tls\nsniff_timeout = 4s\n{limit}\n"
                     ) as subject:
        before = Footprint(subject.pid)
        slow = Slow(bench, SLOW)
        wait_for(lambda: subject.rejected(reason=reason) == SLOW - 100, "the rest is turned away")
        assert subject.conns() == 100
        assert_right(bench.torture("--connections", 100, "--profile", "short",
                                   through=OTHER_THROUGH, listen=OTHER_DIRECT))
        times = sorted(slow.report()["seconds"])
        # 100 had their time; of the others, none had a part of it.
        assert times[-100] >= 3.9 and times[-101] <= 2, times[-110:]
        assert subject.rejected(reason="sniff_timeout") == 100
        settled(subject, before)


def test_more_slow_hellos_than_descriptors(net):
    """The plane takes what it has descriptors for, and the rest waits; it can still be asked."""
    bench = SpliceBench(net)
    with bench.start("copy", kind=Sluiced, prefix=("prlimit", "--nofile=500:500"),
                     listener="sniff = tls\nsniff_timeout = 3s\n") as subject:
        before = Footprint(subject.pid)
        most = int(subject.daemon.metric("sluice_splice_connections_max"))
        assert 100 <= most <= 200
        assert "RLIMIT_NOFILE (500) allows" in subject.daemon.log()
        slow = Slow(bench, most + 50)
        wait_for(lambda: subject.conns() == most, "as many as can be are being sniffed")
        assert Footprint(subject.pid).fds < 500 - 20
        times = sorted(slow.report()["seconds"])
        # Those that had to wait had their whole time then.
        assert subject.rejected(reason="sniff_timeout") == subject.rejected() == most + 50
        assert times[0] >= 2.9 and times[-50] >= 5
        assert_right(bench.torture("--connections", 100, "--profile", "short", "--at-once", 8,
                                   through=OTHER_THROUGH, listen=OTHER_DIRECT))
        settled(subject, before)


@pytest.mark.parametrize("engine", FEW_ENGINES)
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
