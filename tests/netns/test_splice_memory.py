# SPDX-License-Identifier: GPL-2.0-or-later
"""
Peers that do not read: what waits is bounded by socket buffers and credit, in the kernel's memory
and not only in our counters; they cost no CPU; others are unharmed; and when they read at last,
every byte is there.
"""
import json
import select

import pytest

from lib import COMMAND_DEADLINE_S
from splice_rig import (ENGINES, FULL, OTHER_DIRECT, OTHER_THROUGH, Footprint, SpliceBench,
                        assert_right, cpu_seconds, kworker_seconds, mem_available, settled,
                        tcp_memory)

BUFFER = 512 << 10
CREDIT = 256 << 10
HELD = 512 << 10  # in user space: a buffer or a pipe
# One direction: two sockets' send buffers and two receive buffers, what is held, and the credit.
BOUND = 4 * BUFFER + HELD + CREDIT
MANY = 1000
WATCH_S = 2.0


def bench_with_bounded_buffers(net):
    """So that the bound of a flow is known."""
    bench = SpliceBench(net)
    for ns in ("a", "box", "b"):
        net.sysctl(ns, f"net.ipv4.tcp_rmem=4096 65536 {BUFFER}",
                   f"net.ipv4.tcp_wmem=4096 65536 {BUFFER}")
    return bench


def stuck(bench, connections, *argv):
    """The load, and what it says when nothing moves any more."""
    load = bench.load_begin("stuck", "--connections", connections, *argv)
    line = load.stdout.readline()
    assert line, f"splice_load ended with {load.wait(COMMAND_DEADLINE_S)}"
    return load, json.loads(line)


def read_all(load):
    """Everything that was taken arrives, and is right."""
    load.stdin.write("read\n")
    load.stdin.flush()
    report = json.loads(load.stdout.readline())
    assert report["wrong"] == 0 and report["errors"] == 0, report
    assert report["received_by_servers"] == report["sent_by_clients"], report
    assert report["received_by_clients"] == report["sent_by_servers"], report
    load.stdin.close()
    load.wait(COMMAND_DEADLINE_S)


@pytest.mark.parametrize("way", ["one", "both"])
@pytest.mark.parametrize("engine", ENGINES)
def test_what_waits_is_bounded(net, engine, way):
    """way = both: both sides push and neither reads, the hole of design.md §5.5."""
    bench = bench_with_bounded_buffers(net)
    connections = 50
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        tcp = tcp_memory()
        load, report = stuck(bench, connections, *(["--both"] if way == "both" else []))
        ways = 2 if way == "both" else 1
        sent = report["sent_by_clients"] + report["sent_by_servers"]
        assert sent <= connections * ways * BOUND, (sent, report)
        assert subject.parked() <= connections * ways * (BUFFER + HELD + CREDIT)
        # Charged memory counts whole pages and skb heads: at most twice the bytes and a little.
        assert tcp_memory() - tcp <= 2 * connections * ways * BOUND
        # What a psock queues is charged to nobody, and shows only here: what comes back when all is
        # read, in a moment, so that other processes' changes are few (the allowance).
        held = mem_available()
        read_all(load)
        held = mem_available() - held
        print(f"sent {sent >> 20} MiB, TCP's {tcp_memory() - tcp >> 20}, freed {held >> 20} MiB")
        assert held <= 2 * connections * ways * BOUND + (256 << 20)
        settled(subject, before)


@pytest.mark.parametrize("engine", ENGINES)
def test_stuck_peers_burn_nothing(net, engine):
    bench = bench_with_bounded_buffers(net)
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        load, report = stuck(bench, MANY)
        assert report["connections"] == MANY, report
        busy = cpu_seconds(subject.pid), kworker_seconds()
        assert not select.select([load.stdout], [], [], WATCH_S)[0], "the load ended"
        used = cpu_seconds(subject.pid) - busy[0]
        workers = kworker_seconds() - busy[1]
        assert used <= 0.05 * WATCH_S, f"{used} s of CPU in {WATCH_S} s for peers that are stuck"
        assert workers <= 0.15 * WATCH_S, f"kworkers used {workers} s in {WATCH_S} s"
        load.stdin.close()
        load.wait(COMMAND_DEADLINE_S)
        settled(subject, before)


@pytest.mark.parametrize("engine", ENGINES)
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
