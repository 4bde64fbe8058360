# SPDX-License-Identifier: GPL-2.0-or-later
"""
Peers that do not read: what waits is bounded by socket buffers and credit, in the kernel's memory
and not only in our counters; they cost no CPU; others are unharmed; and when they read at last,
every byte is there.

The kernel's memory is asked for by sock_diag. What a psock queues is charged to nobody and shown
nowhere, so it is measured by what is missing: bytes that were sent and not received are in some
socket's queue, or user space has them, or a psock. At rest that is exact, to the byte.
"""
import json
import select

import pytest

from lib import COMMAND_DEADLINE_S, wait_for
from splice_rig import (ENGINES, FEW_ENGINES, FULL, OTHER_DIRECT, OTHER_THROUGH, Footprint, Plane, Queues,
                        Sluiced, SpliceBench, assert_right, cpu_seconds, kworker_seconds, settled)

BUFFER = 512 << 10
SMALL_BUFFER = 128 << 10  # where there are many
CREDIT = 256 << 10  # SPLICE_CREDIT_BYTES
HELD, PIPE = 64 << 10, 256 << 10  # POOL_LARGE_BYTES, POOL_PIPE_BYTES
# What no socket's buffer holds, of one direction.
PARKED = {"copy": HELD, "splice": PIPE + HELD, "sockmap": CREDIT + HELD, "auto": CREDIT + HELD}
# TCP takes one skb more than fits.
OVERSHOOT = 128 << 10
MANY = 1000
SECONDS = 3
MAX_KWORKERS = 0.05  # seconds of CPU a second
REST_LOOKS = 8


def bench_with_bounded_buffers(net, limit=BUFFER):
    """So that the bound of a flow is known."""
    bench = SpliceBench(net)
    for ns in ("a", "box", "b"):
        net.sysctl(ns, f"net.ipv4.tcp_rmem=4096 65536 {limit}",
                   f"net.ipv4.tcp_wmem=4096 65536 {limit}")
    return bench


def stuck(bench, connections, *argv):
    """The load, and what it says when nothing moves any more."""
    load = bench.load_begin("stuck", "--connections", connections, *argv)
    line = load.stdout.readline()
    assert line, f"splice_load ended with {load.wait(COMMAND_DEADLINE_S)}"
    return load, json.loads(line)


def read_all(load):
    """Everything that was taken arrives, and is right. The load's last words."""
    load.stdin.write("read\n")
    load.stdin.flush()
    report = json.loads(load.stdout.readline())
    assert report["wrong"] == 0 and report["errors"] == 0, report
    assert report["received_by_servers"] == report["sent_by_clients"], report
    assert report["received_by_clients"] == report["sent_by_servers"], report
    load.stdin.close()
    load.wait(COMMAND_DEADLINE_S)
    return report


def at_rest(net, subject):
    """(the queues, what the plane says is parked) once neither has changed for REST_LOOKS looks."""
    seen = []

    def is_still():
        queues = Queues(net)
        seen.append((queues.bytes(), subject.parked(), queues))
        return len(seen) > REST_LOOKS and len({look[:2] for look in seen[-REST_LOOKS:]}) == 1
    wait_for(is_still, "nothing moves any more", COMMAND_DEADLINE_S)
    return seen[-1][2], seen[-1][1]


def missing(queues, report):
    """
    Bytes that no socket's buffer holds: those in no queue, and those that are told as to be read but
    are more than may be received. (Passed bytes wait in a psock, too.)
    """
    uncharged = sum(max(0, s.to_read - s.receive_limit) for s in queues.sockets if s.ns == "box")
    return report["sent_by_clients"] + report["sent_by_servers"] - queues.bytes() + uncharged


@pytest.mark.parametrize("way", ["one", "both"])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_waits_is_bounded(net, engine, way):
    """way = both: both sides push and neither reads, the hole of design.md §5.5."""
    bench = bench_with_bounded_buffers(net)
    connections = 50
    directions = connections * (2 if way == "both" else 1)
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        load, _ = stuck(bench, connections, *(["--both"] if way == "both" else []))
        queues, parked = at_rest(net, subject)
        unread = missing(queues, read_all(load))
        print(f"parked {parked}, charged {queues.charged()}, {queues.most_charged()}")
        assert len(queues.sockets) == 4 * connections
        assert unread == parked, "what is said to be parked is not what is"
        assert 0 < parked <= directions * PARKED[engine]
        for socket in queues.sockets:
            assert socket.receive_limit <= BUFFER and socket.send_limit <= BUFFER, socket
            assert socket.received <= socket.receive_limit + OVERSHOOT, socket
            assert socket.queued <= socket.send_limit + OVERSHOOT, socket
        settled(subject, before)


def test_the_measure_sees_a_naive_redirect(net):
    """The control: a verdict that parks what it likes is caught by what the others stand on."""
    bench = bench_with_bounded_buffers(net)
    with bench.start("sockmap", kind=Plane, argv=("--credit", 32 << 20, "--max-parked-per-flow",
                                                  1 << 30)) as subject:
        before = Footprint(subject.pid)
        load, _ = stuck(bench, 4)
        queues, parked = at_rest(net, subject)
        unread = missing(queues, read_all(load))
        assert unread == parked > 4 * 10 * PARKED["sockmap"]
        settled(subject, before)


@pytest.mark.parametrize("engine", FEW_ENGINES)
def test_stuck_peers_burn_nothing(net, engine):
    """Neither the process, nor the kernel's workers, nor the softirq: those run when frames come."""
    bench = bench_with_bounded_buffers(net, SMALL_BUFFER)
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        load, report = stuck(bench, MANY, "--both")
        assert report["connections"] == MANY, report
        frames = n_frames(net)
        process, workers = quietest_second(subject, load)
        frames = n_frames(net) - frames
        print(f"{process:.2f} s of process, {workers:.2f} s of kworkers, {frames} frames")
        assert process <= 0.02, f"{process} s of CPU a second for stuck peers"
        # A probe of each closed window, and its answer; they come ever more seldom.
        assert frames <= 16 * MANY, frames
        load.stdin.close()
        load.wait(COMMAND_DEADLINE_S)
        settled(subject, before)
        if workers > MAX_KWORKERS:
            # All kworkers of the host are counted: are they another's?
            others = quietest_second(subject, load)[1]
            assert workers - others <= MAX_KWORKERS, f"kworkers used {workers} s a second for " \
                f"stuck peers, {others} without"


def quietest_second(subject, load):
    """
    (the process, all kworkers): seconds of CPU in that second of several in which it was least. What
    others do comes and goes; what is burnt is burnt always.
    """
    seconds = []
    for _ in range(SECONDS):
        busy = cpu_seconds(subject.pid), kworker_seconds()
        if load.poll() is None:
            assert not select.select([load.stdout], [], [], 1)[0], "the load ended"
        else:
            select.select([], [], [], 1)
        seconds.append((cpu_seconds(subject.pid) - busy[0], kworker_seconds() - busy[1]))
    return tuple(min(column) for column in zip(*seconds))


def n_frames(net):
    """That the box has received from both sides."""
    return sum(net.link("box", ifname)["stats64"]["rx"]["packets"] for ifname in ("wan", "lan"))


@pytest.mark.parametrize("engine", ["copy", "splice"])
def test_all_together_have_a_bound(net, engine):
    """max_parked: past it those that hold most are ended, and no more of them than it takes."""
    bench = bench_with_bounded_buffers(net)
    connections, bound = 50, 1 << 20
    with bench.start(engine, kind=Sluiced, daemon=f"max_parked = {bound}") as subject:
        before = Footprint(subject.pid)
        load, _ = stuck(bench, connections, "--both")
        queues, parked = at_rest(net, subject)
        killed = subject.plane("killed")
        assert bound // 4 < parked <= bound
        assert 0 < killed < connections
        assert len(queues.sockets) == 4 * (connections - killed)
        load.stdin.write("read\n")
        load.stdin.flush()
        report = json.loads(load.stdout.readline())
        assert report["wrong"] == 0 and report["errors"] >= killed, report
        load.stdin.close()
        load.wait(COMMAND_DEADLINE_S)
        settled(subject, before)


@pytest.mark.parametrize("engine", FEW_ENGINES)
def test_others_pass_stuck_peers(net, engine):
    """The same acceptors, another listener."""
    bench = bench_with_bounded_buffers(net)
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        load, _ = stuck(bench, 200, "--both")
        assert_right(bench.torture("--connections", 1000 if FULL else 100, "--max-bytes", 1 << 20,
                                   "--resets", 0, through=OTHER_THROUGH, listen=OTHER_DIRECT))
        read_all(load)
        settled(subject, before)
