# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/bench still runs: every candidate forwards, what it prints is there, nothing remains."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib import build_dir, run

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))
import ratio  # noqa: E402  pylint: disable=wrong-import-position

PREFIX = f"slbt{os.getpid()}x"


def bench(*argv):
    env = {**os.environ, "SLUICE_BUILD": str(build_dir()), "SLUICE_NS_PREFIX": PREFIX}
    return run(ROOT / "tools/bench", *argv, env=env, deadline_s=60)


def left_outside():
    """What DPDK keeps where it is not told otherwise, and what it would need to have changed."""
    mine = [path for path in Path("/run/dpdk").glob("*") if path.name == "rte" or PREFIX in path.name]
    return ({path.name: path.stat().st_mtime_ns for path in mine},
            Path("/proc/sys/vm/nr_hugepages").read_text())


def test_packet_benchmark_runs():
    before = left_outside()
    report = json.loads(bench("packet", "--pairs", "1", "--seconds", "0.2", "--json", "-").stdout)
    assert PREFIX not in run("ip", "netns").stdout
    assert left_outside() == before
    measured = report["measurements"]
    assert {"sluiced", "ceiling"} <= set(measured)
    for name, results in measured.items():
        assert results[0]["fps"] > 1000, f"{name}: {results}"
        assert results[0]["offered_fps"] > 1000, f"{name}: {results}"
    assert report["candidates"]["sluiced"]["mode"] == "native copy"
    assert report["candidates"]["ceiling"]["mode"] == "copy"
    assert report["ratios"]["ceiling"]["median"] == pytest.approx(
        measured["sluiced"][0]["fps"] / measured["ceiling"][0]["fps"])
    assert report["memory"]["met"], report["memory"]
    if report["skipped"]:
        pytest.skip(str(report["skipped"]))
    assert report["candidates"]["testpmd"]["mode"] == "native copy"


def test_unknown_benchmark_and_candidate_are_refused():
    for argv in (["nonsense"], ["packet", "--candidates", "sluiced,nonsense"]):
        done = subprocess.run([ROOT / "tools/bench", *argv], capture_output=True, text=True,
                              check=False, env={**os.environ, "SLUICE_BUILD": str(build_dir())})
        assert done.returncode != 0 and "nonsense" in done.stderr, done


def test_interval_is_between_order_statistics():
    nine = ratio.interval([5, 1, 9, 3, 7, 2, 8, 4, 6])
    assert (nine.median, nine.low, nine.high) == (5, 2, 8)
    assert nine.confidence == pytest.approx(1 - 2 * (1 + 9) / 2 ** 9)
    twenty = ratio.interval(range(1, 21))
    assert (twenty.median, twenty.low, twenty.high) == (10.5, 6, 15)
    assert ratio.interval([3]) == ratio.Interval(3, 3, 3, 0, 1)
    assert ratio.interval([1, 2, 3, 4, 5]).confidence < ratio.CONFIDENCE
