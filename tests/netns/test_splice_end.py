# SPDX-License-Identifier: GPL-2.0-or-later
"""
The end of the daemon under live connections: SIGTERM, twice, and SIGKILL. Those that may finish do,
those that may not are told so by RST, never by an end that looks clean, and never by silence.
"""
import contextlib
import select
import signal
import socket
import time

import pytest

from lib import wait_for
from splice_rig import (DIRECT, ENGINES, FRONT, FRONT_PORT, OTHER_DIRECT, OTHER_THROUGH, Sluiced,
                        SpliceBench, assert_right)

PAIRS = 20


class Pairs:
    """Connections through the plane, a socket at each end, that have spoken enough to settle."""

    def __init__(self, bench, n=PAIRS):
        self.bench = bench
        host, port = DIRECT.rsplit(":", 1)
        with bench.net.inside("b"):
            self.listening = socket.create_server((host, int(port)), backlog=512)
        self.listening.settimeout(10)
        self.pairs = [self.open() for _ in range(n)]

    def open(self):
        with self.bench.net.inside("a"):
            client = socket.create_connection((FRONT, FRONT_PORT), 10)
        client.sendall(b"hello")
        server = self.listening.accept()[0]
        server.settimeout(10)
        assert server.recv(5, socket.MSG_WAITALL) == b"hello"
        return client, server

    def speak(self, times=1):
        for client, server in self.pairs:
            for _ in range(times):
                for source, sink in ((client, server), (server, client)):
                    source.sendall(b"word")
                    assert sink.recv(4, socket.MSG_WAITALL) == b"word"

    def settle(self, subject, engine):
        """Spoken until the engine is what it will be: in the kernel, for sockmap."""
        self.speak(50)
        if engine == "sockmap":
            self.speak(50)
            wait_for(lambda: subject.bytes("sockmap") >= 2 * 4 * 50 * len(self.pairs),
                     "the kernel moves them")

    def is_refused(self):
        """A new one. (One that is not is ended at both ends.)"""
        with self.bench.net.inside("a"):
            try:
                socket.create_connection((FRONT, FRONT_PORT), 5).close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True
        self.listening.accept()[0].close()
        return False

    def sockets(self):
        return [sock for pair in self.pairs for sock in pair]

    def close(self):
        for sock in [*self.sockets(), self.listening]:
            sock.close()


def how_it_ends(sock):
    """(bytes before the end, "reset" or "end")."""
    n = 0
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            n += len(data)
        return n, "end"
    return n, "reset"


@pytest.mark.parametrize("engine", ENGINES)
def test_drain_lets_finish(net, engine):
    """New ones are refused, those that are there go on, and the last one's end is the daemon's."""
    bench = SpliceBench(net)
    subject = Sluiced(bench, engine, daemon="drain_timeout = 60s")
    pairs = Pairs(bench)
    pairs.settle(subject, engine)
    subject.daemon.signal(signal.SIGTERM)
    wait_for(pairs.is_refused, "new connections are refused")
    pairs.speak()
    # Half in each order of ending; in the kernel nobody is told of bytes, only of the end.
    for i, pair in enumerate(pairs.pairs):
        first, last = pair if i % 2 else reversed(pair)
        first.sendall(b"last words")
        first.shutdown(socket.SHUT_WR)
        assert how_it_ends(last) == (10, "end")
        last.sendall(b"answer")
        last.close()
        assert how_it_ends(first) == (6, "end")
        assert subject.daemon.is_running() or i == PAIRS - 1
    assert subject.daemon.wait(5) == 0
    pairs.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_drain_resets_what_is_left(net, engine):
    """When the time is over, and not before; both ends of each are told."""
    bench = SpliceBench(net)
    subject = Sluiced(bench, engine, daemon="drain_timeout = 1500ms")
    pairs = Pairs(bench)
    pairs.settle(subject, engine)
    began = time.monotonic()
    subject.daemon.signal(signal.SIGTERM)
    for sock in pairs.sockets():
        assert how_it_ends(sock) == (0, "reset")
    took = time.monotonic() - began
    assert 1.4 <= took <= 2.5, took
    assert subject.daemon.wait(5) == 0
    assert f"{PAIRS} connections were reset" in subject.daemon.log()
    pairs.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_second_signal_does_not_wait(net, engine):
    bench = SpliceBench(net)
    subject = Sluiced(bench, engine, daemon="drain_timeout = 600s")
    pairs = Pairs(bench)
    pairs.settle(subject, engine)
    subject.daemon.signal(signal.SIGTERM)
    wait_for(pairs.is_refused, "new connections are refused")
    pairs.speak()
    subject.daemon.signal(signal.SIGTERM)
    for sock in pairs.sockets():
        assert how_it_ends(sock) == (0, "reset")
    assert subject.daemon.wait(5) == 0
    pairs.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_killed(net, engine):
    """Every end sees a reset at once, whatever it does then; and a new daemon serves at once."""
    bench = SpliceBench(net)
    subject = Sluiced(bench, engine)
    pairs = Pairs(bench)
    pairs.settle(subject, engine)
    # Some are silent; some have ended one way; some push to a peer that does not read.
    for i, (client, server) in enumerate(pairs.pairs):
        if i % 4 == 1:
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
        elif i % 4 >= 2:
            sock = (client, server)[i % 2]
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while select.select([], [sock], [], 0.1)[1]:
                    sock.send(bytes(65536))
            sock.settimeout(10)
    subject.daemon.kill()
    for i, (client, server) in enumerate(pairs.pairs):
        ends = how_it_ends(client), how_it_ends(server)
        # A server whose client has ended had its clean end before, and nothing else is due to it.
        assert ends[0][1] == "reset", (i, ends)
        assert ends[1][1] == "reset" or i % 4 == 1, (i, ends)
    pairs.close()
    subject.daemon.start()
    assert_right(bench.torture("--connections", 50, "--profile", "short", through=OTHER_THROUGH,
                               listen=OTHER_DIRECT))
    subject.stop()
