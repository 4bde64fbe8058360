# SPDX-License-Identifier: GPL-2.0-or-later
"""
Exact to the byte, and the truth about every end: thousands of streams of random size, pace, buffers
and ends, through each engine (tests/splice/torture.c). A failure prints the recipe of the stream.

Control: nothing between the ends gives no wrong verdict, and HAProxy, which turns some resets into
clean ends, is caught.
"""
import shutil
import subprocess

import pytest

from lib import wait_for
from splice_rig import (DIRECT, ENGINES, FRONT_PORT, FULL, THROUGH, Footprint, SpliceBench,
                        assert_right, settled)

TRANSFERS = 10000 if FULL else 600
MAX_BYTES = 64 << 20 if FULL else 16 << 20
SHORT = 20000 if FULL else 2000
HAPROXY = """
global
    maxconn 4000
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen x
    bind {front}
    server s {server}
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_transfers(net, engine):
    bench = SpliceBench(net)
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        report = bench.torture("--connections", TRANSFERS, "--max-bytes", MAX_BYTES,
                               "--deadline", 1800 if FULL else 120)
        assert_right(report)
        assert report["aborted"] > 0 and report["own"] > 0, "no reset was tried"
        if engine != "auto":
            assert subject.bytes(engine) > report["bytes"] / 2, "another engine did the work"
        settled(subject, before)


@pytest.mark.parametrize("engine", ENGINES)
def test_many_resets(net, engine):
    """Half of all ends reset: the case that proxies disguise."""
    bench = SpliceBench(net)
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        assert_right(bench.torture("--connections", TRANSFERS // 2, "--max-bytes", 1 << 20,
                                   "--resets", 50, "--deadline", 600 if FULL else 60))
        settled(subject, before)


@pytest.mark.parametrize("engine", ENGINES)
def test_short_connections(net, engine):
    bench = SpliceBench(net)
    with bench.start(engine) as subject:
        before = Footprint(subject.pid)
        report = bench.torture("--connections", SHORT, "--profile", "short", "--at-once", 128,
                               "--deadline", 300)
        assert_right(report)
        assert report["identical"] == 2 * SHORT, report
        settled(subject, before)


def test_direct_has_no_wrong_verdict(net):
    """Of the judge: what TCP alone does is always right."""
    bench = SpliceBench(net)
    assert_right(bench.torture("--connections", TRANSFERS // 2, "--max-bytes", 4 << 20,
                               "--resets", 40, through=DIRECT))


def test_the_judge_sees_a_disguise(net):
    """Of the judge: HAProxy closes cleanly towards one side when the other resets."""
    if not shutil.which("haproxy"):
        pytest.skip("haproxy is not installed")
    bench = SpliceBench(net)
    config = net.dir / "haproxy.cfg"
    config.write_text(HAPROXY.format(front=THROUGH, server=DIRECT))
    net.popen("box", "haproxy", "-db", "-f", config, stdout=subprocess.DEVNULL,
              stderr=subprocess.DEVNULL)
    wait_for(lambda: f":{FRONT_PORT}" in net.run("box", "ss", "-ltnH").stdout, "haproxy listens")
    report = bench.torture("--connections", 150, "--max-bytes", 1 << 20, "--resets", 40)
    assert report["disguised"] > 0 and report["corrupt"] == 0, report
