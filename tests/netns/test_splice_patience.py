# SPDX-License-Identifier: GPL-2.0-or-later
"""
How long the plane waits for whom: idle_timeout, half_closed_timeout and user_timeout, for peers that
push to one which does not read, by every engine; and those that speak are left alone.
"""
import select
import time

import pytest

from splice_rig import (FEW_ENGINES, Footprint, Pairs, Sluiced, SpliceBench, how_it_ends,
                        settled)

STUCK, SPEAKING = 10, 3
STILL_S = 0.5


def push_until_stuck(pairs, others):
    """
    One end of each pushes, in turn the client's and the server's, until none takes any more; the
    others speak meanwhile, so that none of them is idle.
    Returns those and when they began. (What the last bytes fill is a buffer of its own kernel, or
    one that a later probe finds grown: when the plane got its last byte cannot be seen from here.)
    """
    began = time.monotonic()
    pushing = [pair[i % 2] for i, pair in enumerate(pairs)]
    for sock in pushing:
        sock.setblocking(False)
    while True:
        others.speak()
        _, ready, _ = select.select([], pushing, [], STILL_S)
        if not ready:
            break
        for sock in ready:
            try:
                sock.send(bytes(65536))
            except BlockingIOError:
                pass
    for sock in pushing:
        sock.settimeout(15)
    return pushing, began


def ends_while_others_speak(pairs, pushing, deadline_s):
    """When each pushing end was told of the end; the pairs speak all the time."""
    ended = {}
    give_up = time.monotonic() + deadline_s
    while len(ended) < len(pushing):
        assert time.monotonic() < give_up, f"{len(ended)} of {len(pushing)} were ended"
        pairs.speak()
        told, _, _ = select.select([s for s in pushing if s not in ended], [], [], 0.05)
        for sock in told:
            assert how_it_ends(sock) == (0, "reset")
            ended[sock] = time.monotonic()
    return ended


def stuck_and_speaking(bench, subject, engine):
    """(all pairs, of which the first STUCK are taken out and stuck)."""
    pairs = Pairs(bench, STUCK + SPEAKING)
    pairs.settle(subject, engine)
    stuck, pairs.pairs = pairs.pairs[:STUCK], pairs.pairs[STUCK:]
    return pairs, stuck


@pytest.mark.parametrize("engine", FEW_ENGINES)
@pytest.mark.parametrize("timeout", ["idle_timeout", "user_timeout"])
def test_stuck_pairs_are_ended(net, engine, timeout):
    """
    Window probes are no sign of life; a word now and then is. idle_timeout is ours and counted; by
    user_timeout the kernel ends the socket that is not taken from.
    """
    bench = SpliceBench(net)
    with bench.start(engine, kind=Sluiced, listener=f"{timeout} = 2s") as subject:
        before = Footprint(subject.pid)
        pairs, stuck = stuck_and_speaking(bench, subject, engine)
        pushing, began = push_until_stuck(stuck, pairs)
        ended = ends_while_others_speak(pairs, pushing, 15)
        assert min(ended.values()) - began >= 2
        # The other end reads what is on its way, and then knows that it was not all.
        for pair in stuck:
            for sock in pair:
                if sock not in pushing:
                    n, how = how_it_ends(sock)
                    assert how == "reset" and (n > 0 or timeout == "user_timeout")
                sock.close()
        assert subject.plane("killed") == (STUCK if timeout == "idle_timeout" else 0)
        pairs.speak()
        pairs.close()
        settled(subject, before)


@pytest.mark.parametrize("engine", FEW_ENGINES)
def test_half_closed_timeout(net, engine):
    """One side has said all, the other says nothing; while bytes come it is waited for."""
    bench = SpliceBench(net)
    with bench.start(engine, kind=Sluiced, listener="half_closed_timeout = 1s") as subject:
        before = Footprint(subject.pid)
        pairs, halves = stuck_and_speaking(bench, subject, engine)
        began = time.monotonic()
        for i, pair in enumerate(halves):
            pair[i % 2].shutdown(1)
            assert pair[1 - i % 2].recv(1) == b""
        answering, asked = halves[0][1], halves[0][0]
        while time.monotonic() - began < 2.5:
            answering.sendall(b"more")
            assert asked.recv(4) == b"more"
            pairs.speak()
            select.select([], [], [], 0.1)
        for i, pair in list(enumerate(halves))[1:]:
            assert how_it_ends(pair[i % 2]) == (0, "reset")
            # This one had its end before, and can say nothing more.
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                pair[1 - i % 2].sendall(b"more")
        assert subject.plane("killed") == STUCK - 1
        answering.close()
        assert how_it_ends(asked) == (0, "end")
        for pair in halves:
            for sock in pair:
                sock.close()
        pairs.close()
        settled(subject, before)
