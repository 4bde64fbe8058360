# SPDX-License-Identifier: GPL-2.0-or-later
"""
What happens to live flows while the plane changes under them: the KERNEL/RELAY word, acceptors, a
reload. Nothing may be lost, and no end may see what the other did not do.
"""
import pytest

from splice_rig import (ENGINES, FULL, KERNEL_ENGINES, Footprint, Plane, SpliceBench, assert_right,
                        settled)

CONNECTIONS = 3000 if FULL else 200
TOGGLES = 5000
TOGGLE_MS = 400


@pytest.mark.parametrize("engine", KERNEL_ENGINES)
def test_kernel_and_relay_in_turn(net, engine):
    """One insertion, and thousands of changes of the word, both ways, under load."""
    bench = SpliceBench(net)
    with bench.start(engine, kind=Plane) as plane:
        before = Footprint(plane.pid)
        toggles = 0
        for _ in range(20):
            run = bench.torture_begin("--connections", CONNECTIONS, "--max-bytes", 8 << 20,
                                      "--resets", 5)
            while run.poll() is None:
                toggles += plane.order(f"toggle {TOGGLE_MS}")["flips"]
            assert_right(bench.torture_end(run))
            if toggles >= TOGGLES:
                break
        assert toggles >= TOGGLES
        settled(plane, before)


@pytest.mark.parametrize("engine", ENGINES)
def test_acceptors_come_and_go(net, engine):
    """No connection is reset, whether accepted, queued or on its way, when an acceptor closes."""
    bench = SpliceBench(net)
    with bench.start(engine, kind=Plane, acceptors=3) as plane:
        before = Footprint(plane.pid)
        run = bench.torture_begin("--connections", 5 * CONNECTIONS, "--profile", "short",
                                  "--at-once", 64)
        turns = 0
        while run.poll() is None:
            plane.order(f"acceptor {turns % 3} close")
            plane.order(f"acceptor {turns % 3} open")
            turns += 1
        assert turns >= 10, "it was over too soon"
        assert_right(bench.torture_end(run))
        settled(plane, before)


@pytest.mark.parametrize("engine", ENGINES)
def test_reload_under_load(net, engine):
    bench = SpliceBench(net)
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        run = bench.torture_begin("--connections", CONNECTIONS, "--max-bytes", 4 << 20)
        reloads = 0
        while run.poll() is None:
            subject.reload()
            reloads += 1
        assert reloads >= 3
        assert_right(bench.torture_end(run))
        settled(subject, before)
