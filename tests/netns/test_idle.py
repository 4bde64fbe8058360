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

from lib import binary, wait_for
from traffic import PATIENT, VOID_RUNS, Books, Box, ask, frame, settled, waited_for_cpu_s

WATCH_S = 2.5
LONGEST_SLEEP_S = 0.025  # WORKER_SLEEP_MAX_NS: while the generator is held up, as often as this
MIB = 1 << 20


def cpu_s(pid):
    """utime + stime of a process, of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def involuntary_switches(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("nonvoluntary_ctxt_switches:")[1].split()[0])


def shares_of_a_cpu(daemons):
    """Of a stretch of time; the stretch is what is measured, so it is waited for."""
    turns = [_turns(daemon) for daemon in daemons]
    begun, used = time.monotonic(), [cpu_s(daemon.pid) for daemon in daemons]
    while time.monotonic() - begun < WATCH_S:
        time.sleep(begun + WATCH_S - time.monotonic())
    seconds = time.monotonic() - begun
    used = [cpu_s(daemon.pid) - before for daemon, before in zip(daemons, used)]
    for daemon, before in zip(daemons, turns):
        assert all(now > then for now, then in zip(_turns(daemon), before)), "it was not alive"
    return [s / seconds for s in used]


def sleeps(daemon):
    return daemon.metric("sluice_worker_sleeps_total")


def sleeps_per_second(daemons, stretch_s=1.0):
    """Of their workers, all at once, in a stretch of time that is waited for."""
    before, begun = [sleeps(daemon) for daemon in daemons], time.monotonic()
    while time.monotonic() - begun < stretch_s:
        time.sleep(begun + stretch_s - time.monotonic())
    seconds = time.monotonic() - begun
    return [(sleeps(daemon) - then) / seconds for daemon, then in zip(daemons, before)]


def _turns(daemon):
    return [worker["turns"] for worker in ask(daemon, "show workers")["workers"]]


def test_an_idle_daemon_costs_nothing(net):
    """One as it is by default, two with a heart that beats ten times as fast, one that worked."""
    boxes = []
    for i, (queues, workers, port) in enumerate(((1, 1, "stall_timeout = 100ms\n"),
                                                 (1, 1, "stall_timeout = 10ms\n"),
                                                 (4, 2, "stall_timeout = 10ms\n"),
                                                 (2, 2, PATIENT))):
        boxes.append(Box(net, queues, hosts=((f"a{i}", f"va{i}"), (f"b{i}", f"vb{i}")),
                         ports=(f"wan{i}", f"lan{i}")))
        boxes[i].start(daemon=f"workers = {workers}", port=port)
    boxes[3].no_loss_behind().cross_both_ways_intact(5000, "--queues", "all", "--rate", "20k")
    for box in boxes:
        settled(box.daemon)
    shares = shares_of_a_cpu([box.daemon for box in boxes])
    assert max(shares) < 0.02, shares
    # And they are awake at once: what was asleep has not gone stale.
    for i, box in enumerate(boxes):
        assert box.play([frame()]) == [frame()]
        assert settled(box.daemon).verdict(f"wan{i}", "stale") == 0


def test_the_heart_beats_as_fast_as_patience_is_short(net):
    """An idle worker sleeps for a quarter of stall_timeout, and 25 ms at most."""
    boxes = []
    for i, timeout in enumerate(("10ms", "10s")):
        boxes.append(Box(net, hosts=((f"a{i}", f"va{i}"), (f"b{i}", f"vb{i}")),
                         ports=(f"wan{i}", f"lan{i}")))
        boxes[i].start(daemon="workers = 1", port=f"stall_timeout = {timeout}\n")
        settled(boxes[i].daemon)
    daemons = [box.daemon for box in boxes]
    for _ in range(VOID_RUNS):
        waited = waited_for_cpu_s(daemons[0])
        quick, slow = sleeps_per_second(daemons)
        # Void only on proof: it was ready to run, and others ran.
        if quick >= 150 or waited_for_cpu_s(daemons[0]) - waited < 0.1:
            break
    assert quick >= 150, "400 if the machine has nothing else to do"
    assert slow < 100, "40"


def received(daemon):
    return Books(daemon.metrics()).queue("receive_packets_total", "wan")


def sleeps_in_a_flood(box):
    """(sleeps of the worker, most that it may have had) while 100,000 frames came."""
    daemon, begun = box.daemon, received(box.daemon)
    flood = box.net.popen("a", binary("tools/sluice-gen"), "send", "va", "--flood", "--duration",
                          "60s", "--cpu", "0", stdout=subprocess.DEVNULL)
    wait_for(lambda: received(daemon) > begun + 2000, "the flood is there", 20)
    before, pauses, then = Books(daemon.metrics()), involuntary_switches(flood.pid), time.monotonic()
    wait_for(lambda: received(daemon) >= begun + 100_000, "enough of it", 50)
    after, pauses = Books(daemon.metrics()), involuntary_switches(flood.pid) - pauses
    seconds = time.monotonic() - then
    assert flood.poll() is None
    flood.terminate()
    assert flood.wait(30) == 0
    sleeps = [books.sum("sluice_worker_sleeps_total") for books in (before, after)]
    return sleeps[1] - sleeps[0], pauses + seconds / LONGEST_SLEEP_S


def test_a_busy_worker_does_not_sleep(net):
    """It sleeps only when its generator does: when somebody else has that one's CPU."""
    box = Box(net)
    box.start()
    sleeps, allowed = sleeps_in_a_flood(box)
    assert sleeps <= allowed
    settled(box.daemon)


@pytest.mark.parametrize("queues, workers, frames", [(1, 1, "auto"), (4, 2, "auto"),
                                                     (1, 1, "65536")])
def test_memory_is_that_of_the_packets(net, queues, workers, frames):
    box = Box(net, queues=queues).no_loss_behind()
    # Huge pages, where some are free, come in 2 MiB and are in no resident set.
    daemon = box.start(daemon=f"workers = {workers}\nframes_per_worker = {frames}\n"
                              "huge_pages = off", port=PATIENT)
    box.cross_intact(5000, "--queues", "all", "--rate", "20k")
    for _ in range(50):
        daemon.metrics()
    books = settled(daemon)
    umem = books.sum("sluice_umem_size_bytes")
    assert umem == books.sum("sluice_umem_size_frames") * 2048
    assert umem <= books.sum("process_resident_memory_bytes") + MIB  # it is in there
    assert books.sum("process_resident_memory_bytes") <= umem + 20 * MIB
