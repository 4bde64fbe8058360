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
from splice_rig import (ENGINES, FEW_ENGINES, OTHER_DIRECT, OTHER_THROUGH, Pairs, Sluiced, SpliceBench,
                        assert_right, how_it_ends)

PAIRS = 20


@pytest.mark.parametrize("engine", ENGINES)
def test_drain_lets_finish(net, engine):
    """New ones are refused, those that are there go on, and the last one's end is the daemon's."""
    bench = SpliceBench(net)
    subject = Sluiced(bench, engine, daemon="drain_timeout = 60s")
    pairs = Pairs(bench, PAIRS)
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


@pytest.mark.parametrize("engine", FEW_ENGINES)
def test_drain_resets_what_is_left(net, engine):
    """When the time is over, and not before; both ends of each are told."""
    bench = SpliceBench(net)
    subject = Sluiced(bench, engine, daemon="drain_timeout = 1500ms")
    pairs = Pairs(bench, PAIRS)
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


def test_systemd_waits_as_long_as_the_drain(net):
    """Told again and again, though nothing changes: TimeoutStopSec= is 30 s, a drain may be longer."""
    bench = SpliceBench(net)
    subject = Sluiced(bench, "copy", daemon="drain_timeout = 600s")
    pairs = Pairs(bench, 1)
    subject.daemon.signal(signal.SIGTERM)

    def extensions():
        return [at for at, line in subject.daemon.notified
                if line.startswith("EXTEND_TIMEOUT_USEC=")]

    wait_for(lambda: len(extensions()) >= 3, "it asks for more time, again and again")
    at = extensions()
    assert at[2] - at[0] < 5
    assert subject.daemon.status().endswith("1 connection left")
    pairs.close()
    assert subject.daemon.wait(5) == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_the_second_signal_does_not_wait(net, engine):
    bench = SpliceBench(net)
    subject = Sluiced(bench, engine, daemon="drain_timeout = 600s")
    pairs = Pairs(bench, PAIRS)
    pairs.settle(subject, engine)
    subject.daemon.signal(signal.SIGTERM)
    wait_for(pairs.is_refused, "new connections are refused")
    pairs.speak()
    subject.daemon.signal(signal.SIGTERM)
    for sock in pairs.sockets():
        assert how_it_ends(sock) == (0, "reset")
    assert subject.daemon.wait(5) == 0
    pairs.close()


@pytest.mark.parametrize("engine", FEW_ENGINES)
def test_killed(net, engine):
    """Every end sees a reset at once, whatever it does then; and a new daemon serves at once."""
    bench = SpliceBench(net)
    subject = Sluiced(bench, engine)
    pairs = Pairs(bench, PAIRS)
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
