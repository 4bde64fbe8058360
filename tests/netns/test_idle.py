# SPDX-License-Identifier: GPL-2.0-or-later
"""
What a daemon costs: nothing when there is nothing to do, no sleep when there is, and no memory
beside the packets'.
"""
import os
import subprocess
import time
from pathlib import Path

import pytest

from lib import binary
from traffic import PATIENT, Books, Box, ask, settled

WATCH_S = 2.5
MIB = 1 << 20


def cpu_s(pid):
    """utime + stime of a process, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def involuntary_switches(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("nonvoluntary_ctxt_switches:")[1].split()[0])


def share_of_a_cpu(daemon):
    """Of a stretch of time; the stretch is what is measured, so it is waited for."""
    begun, used = time.monotonic(), cpu_s(daemon.pid)
    beats = ask(daemon, "show workers")["workers"]
    while time.monotonic() - begun < WATCH_S:
        time.sleep(begun + WATCH_S - time.monotonic())
    used, seconds = cpu_s(daemon.pid) - used, time.monotonic() - begun
    later = ask(daemon, "show workers")["workers"]
    for before, after in zip(beats, later):
        assert after["turns"] > before["turns"], "it was not alive"
    return used / seconds


@pytest.mark.parametrize("queues, workers, port", [
    (1, 1, "stall_timeout = 100ms\n"), (1, 1, "stall_timeout = 10ms\n"),
    (4, 2, "stall_timeout = 10ms\n")], ids=["default", "10ms", "two workers, 10ms"])
def test_an_idle_daemon_costs_nothing(net, queues, workers, port):
    box = Box(net, queues=queues)
    daemon = box.start(daemon=f"workers = {workers}", port=port)
    settled(daemon)
    assert share_of_a_cpu(daemon) < 0.02
    # And it is awake at once: what was asleep has not gone stale.
    assert box.play([bytes(12) + b"\x88\xb6" + bytes(46)])
    assert settled(daemon).verdict("wan", "stale") == 0


def test_a_daemon_that_worked_is_idle_again(net):
    box = Box(net, queues=2).no_loss_behind()
    daemon = box.start(daemon="workers = 2")
    box.cross_both_ways_intact(5000, "--queues", "all", "--rate", "20k")
    settled(daemon)
    assert share_of_a_cpu(daemon) < 0.02


def test_a_busy_worker_does_not_sleep(net):
    """It sleeps only when its generator does: when somebody else has that one's CPU."""
    box = Box(net)
    daemon = box.start()
    flood = net.popen("a", binary("tools/sluice-gen"), "send", "va", "--flood", "--duration", "2s",
                      "--cpu", "0", stdout=subprocess.DEVNULL)
    received = settled_received(daemon)
    while settled_received(daemon) < received + 10_000:
        assert flood.poll() is None
    before, pauses = Books(daemon.metrics()), involuntary_switches(flood.pid)
    while settled_received(daemon) < received + 200_000:
        assert flood.poll() is None
    pauses = involuntary_switches(flood.pid) - pauses
    after = Books(daemon.metrics())
    assert flood.wait(30) == 0
    assert after.sum("sluice_worker_sleeps_total") - before.sum("sluice_worker_sleeps_total") <= \
        pauses
    settled(daemon)


def settled_received(daemon):
    return Books(daemon.metrics()).queue("receive_packets_total", "wan")


@pytest.mark.parametrize("queues, workers, frames", [(1, 1, "auto"), (4, 2, "auto"),
                                                     (1, 1, "65536")])
def test_memory_is_that_of_the_packets(net, queues, workers, frames):
    box = Box(net, queues=queues).no_loss_behind()
    daemon = box.start(daemon=f"workers = {workers}\nframes_per_worker = {frames}", port=PATIENT)
    box.cross_intact(5000, "--queues", "all", "--rate", "20k")
    for _ in range(50):
        daemon.metrics()
    books = settled(daemon)
    umem = books.sum("sluice_umem_size_bytes")
    assert umem == books.sum("sluice_umem_size_frames") * 2048
    assert umem <= books.sum("process_resident_memory_bytes") + MIB  # it is in there
    assert books.sum("process_resident_memory_bytes") <= umem + 20 * MIB
