# SPDX-License-Identifier: GPL-2.0-or-later
"""
Nothing in sluiced may cut the operator off: when a worker stalls or the daemon ends, frames go to
the kernel (or are dropped where the port says so) within 150 ms, and come back when it does.

A host `h` with six interfaces: p0 - p1 and p2 - p3 are cross-connected, p4 is a port that passes,
p5 is none of sluiced's business. A probe (probe.py) says of each frame whether it crossed, was
answered by the host's kernel, or was lost.
"""
import signal
import time
from contextlib import ExitStack

import pytest

from lib import wait_for
from probe import Probe, hang, lane, settled, worker_tid

# When an XDP program comes to a veth or goes, the driver throws away what is in its ring
# (veth_napi_del, ptr_ring_cleanup): the frame of that moment, and no fault of ours.
VETH_CHANGE = 1
STALL_S = 0.150  # what the issue allows after a stall_timeout of 100 ms
RATE = 5000
COUNT = 5000

PORTS = """
[port {name}]
interface = {name}
forward = {forward}
on_failure = {on_failure}
stall_timeout = {stall}
take_host_traffic = yes
"""


def config(on_failure="pass", bpf_dir=None):
    text = f"[daemon]\nbpf_dir = {bpf_dir}\n" if bpf_dir else ""
    for name, forward, stall in (("p0", "xconnect p1", "100ms"), ("p1", "xconnect p0", "100ms"),
                                 ("p2", "xconnect p3", "5s"), ("p3", "xconnect p2", "5s"),
                                 ("p4", "pass", "100ms")):
        text += PORTS.format(name=name, forward=forward, stall=stall,
                             on_failure="pass" if forward == "pass" else on_failure)
    return text


@pytest.fixture
def host(net):
    net.ns("h"), net.ns("o")
    for i in range(6):
        lane(net, "o", f"o{i}", "h", f"p{i}")
    return settled(net, "h", "o")


class Probes:
    """One through the first group, one at the port that passes, one at the foreign interface."""

    def __init__(self, net, stack):
        start = stack.enter_context
        self.wire = start(Probe(net, ("o", "o0"), ("h", "p0"), ("o", "o1")))
        self.passing = start(Probe(net, ("o", "o4"), ("h", "p4"), interval_s=0.01))
        self.foreign = start(Probe(net, ("o", "o5"), ("h", "p5"), interval_s=0.01))
        self.begun = time.monotonic()

    def require_bystanders(self, program_changes=0):
        self.passing.require("answered", self.begun, lost=program_changes * VETH_CHANGE)
        self.foreign.require("answered", self.begun)


@pytest.fixture
def probes(host):
    with ExitStack() as stack:
        yield lambda: Probes(host, stack)


def verdicts(daemon, reason, interface="p0"):
    return daemon.metric("sluice_xdp_verdicts_total", interface=interface, reason=reason)


def fallback_outcome(on_failure):
    return {"pass": "answered", "drop": "lost"}[on_failure]


def start(net, on_failure, bpffs):
    return net.daemon("h", config(on_failure, bpffs if on_failure == "drop" else None))


def start_patient(net):
    """For what is not about stalls: a busy machine may keep a worker from its CPU for 100 ms."""
    return net.daemon("h", config().replace("100ms", "5s"))


# --- one hung worker -------------------------------------------------------------------------------

@pytest.mark.sanitizer
@pytest.mark.parametrize("on_failure", ["pass", "drop"])
def test_one_hung_worker(host, probes, bpffs, on_failure):
    """The other group loses nothing meanwhile: to the frame."""
    daemon = start(host, on_failure, bpffs)
    p = probes()
    p.wire.wait_for("crossed")
    with host.sink("o", "o3", "--expect", COUNT, "--idle-timeout", "5s") as sink:
        sender = host.popen("o", *host.gen_argv("send", "o2", "--count", COUNT, "--rate", RATE))
        hung_at = time.monotonic()
        with hang(worker_tid(daemon, "sluice-w0")):
            p.wire.wait_for(fallback_outcome(on_failure), hung_at + STALL_S)
            assert sender.wait(20) == 0
            resumed_at = time.monotonic()
        got = sink.result()
    assert got["received"] == COUNT and got["intact"] is True
    p.wire.wait_for("crossed")
    # Only now: what waits in a ring looks lost until the worker goes on.
    p.wire.require(fallback_outcome(on_failure), hung_at + STALL_S, resumed_at)
    p.require_bystanders()
    p.wire.stop()
    assert p.wire.counts() == {
        "crossed": verdicts(daemon, "redirect"),
        fallback_outcome(on_failure): verdicts(daemon, "stale")}
    assert verdicts(daemon, "stale", "p2") == verdicts(daemon, "no_socket", "p2") == 0
    assert verdicts(daemon, "redirect", "p2") == COUNT
    daemon.stop()


# --- the whole daemon --------------------------------------------------------------------------------

@pytest.mark.parametrize("on_failure", ["pass", "drop"])
def test_sigstop_and_sigcont(host, probes, bpffs, on_failure):
    daemon = start(host, on_failure, bpffs)
    p = probes()
    p.wire.wait_for("crossed")
    stopped_at = time.monotonic()
    daemon.signal(signal.SIGSTOP)
    p.wire.wait_for(fallback_outcome(on_failure), stopped_at + STALL_S)
    continued_at = time.monotonic()
    daemon.signal(signal.SIGCONT)
    crossing_at = p.wire.wait_for("crossed")
    assert crossing_at - continued_at < 1
    p.wire.require(fallback_outcome(on_failure), stopped_at + STALL_S, continued_at)
    p.require_bystanders()
    p.wire.stop()
    # What waited in the rx ring meanwhile was forwarded late, not lost. Counted from the start: a
    # busy machine may have kept the worker from its CPU for 100 ms before, too.
    assert p.wire.counts() == {
        "crossed": verdicts(daemon, "redirect"),
        fallback_outcome(on_failure): verdicts(daemon, "stale")}
    daemon.stop()


@pytest.mark.sanitizer
@pytest.mark.parametrize("on_failure", ["pass", "drop"])
def test_kill(host, probes, bpffs, on_failure):
    daemon = start(host, on_failure, bpffs)
    p = probes()
    p.wire.wait_for("crossed")
    killed_at = time.monotonic()
    daemon.kill()
    p.wire.wait_for(fallback_outcome(on_failure), killed_at + STALL_S)
    restarted_at = time.monotonic()
    p.wire.require(fallback_outcome(on_failure), killed_at + STALL_S, restarted_at,
                   lost=VETH_CHANGE)
    if on_failure == "drop":
        assert p.wire.counts(killed_at, restarted_at)["answered"] == 0
    daemon.start()
    p.wire.wait_for("crossed")
    assert p.wire.counts(restarted_at)["twice"] == 0
    p.require_bystanders(program_changes=2)
    if on_failure == "drop":
        assert p.wire.counts()["answered"] == 0
    daemon.stop()


@pytest.mark.parametrize("on_failure", ["pass", "drop"])
def test_sigterm(host, probes, bpffs, on_failure):
    """A clean stop falls back at once: no stall has to be noticed first."""
    daemon = start(host, on_failure, bpffs)
    p = probes()
    p.wire.wait_for("crossed")
    stopping_at = time.monotonic()
    daemon.stop()
    stopped_at = time.monotonic()
    p.wire.wait_for(fallback_outcome(on_failure))
    p.wire.require(fallback_outcome(on_failure), stopped_at)
    # While it stopped, each frame either still crossed or already fell back: with `pass` none is lost.
    counts = p.wire.counts(stopping_at)
    assert counts["twice"] == 0
    if on_failure == "pass":
        assert counts["lost"] <= VETH_CHANGE
    else:
        assert counts["answered"] == 0
    p.require_bystanders(program_changes=1)


# --- queues that were silent when it happened ---------------------------------------------------------

SILENT = 100     # frames that come after the silence
MARGIN_S = STALL_S - 0.100


class Silence:
    """Two ports of two queues, a worker for each queue, and not a frame but those of a test."""

    def __init__(self, net, stall, on_failure, bpffs):
        net.ns("h"), net.ns("o")
        for i in range(2):
            lane(net, "o", f"o{i}", "h", f"p{i}", queues=2)
        settled(net, "h", "o")
        text = f"[daemon]\nworkers = 2\nbpf_dir = {bpffs}\n" + "".join(
            PORTS.format(name=name, forward=f"xconnect {peer}", on_failure=on_failure, stall=stall)
            for name, peer in (("p0", "p1"), ("p1", "p0")))
        self.net, self.daemon = net, net.daemon("h", text)
        self.stall_s = {"100ms": 0.1, "2s": 2.0}[stall]

    def queue_of(self, worker):
        queues = {q["queue"] for q in self.daemon.control("show queues")["queues"]
                  if q["port"] == "p0" and q["worker"] == worker}
        assert len(queues) == 1
        return queues.pop()

    def send(self, queues="0-1"):
        self.net.gen("o", "send", "o0", "--count", SILENT, "--rate", "1k", "--queues", queues)

    def cross(self):
        """Both queues forward: of some round every frame arrives. (A busy machine may spoil one.)"""
        def crossed():
            with self.net.sink("o", "o1", "--expect", SILENT, "--idle-timeout", "1s") as sink:
                self.send()
                return sink.result(status=None)["received"] == SILENT
        wait_for(crossed, f"{SILENT} frames in a row cross", deadline_s=10)

    def outlast(self, since):
        """stall_timeout after `since` and the 50 ms that the issue grants; nothing is sent."""
        wait_for(lambda: time.monotonic() > since + self.stall_s + MARGIN_S,
                 "stall_timeout is over", deadline_s=2 * self.stall_s + 1)

    def judged(self):
        """{reason: frames that came in on p0}, in one scrape."""
        found = {dict(labels)["reason"]: value
                 for (name, labels), value in self.daemon.metrics().items()
                 if name == "sluice_xdp_verdicts_total" and dict(labels)["interface"] == "p0"}
        return {reason: found[reason] for reason in ("redirect", "stale", "no_socket")}


def difference(after, before):
    return {reason: after[reason] - before[reason] for reason in after}


@pytest.mark.parametrize("on_failure", ["pass", "drop"])
@pytest.mark.parametrize("stall", ["100ms", "2s"])
def test_silent_queues_fall_back_from_the_first_frame(net, bpffs, stall, on_failure):
    """The daemon was stopped while nothing came in: no frame is given to it to find that out."""
    s = Silence(net, stall, on_failure, bpffs)
    s.cross()
    before = s.judged()
    stopped_at = time.monotonic()
    s.daemon.signal(signal.SIGSTOP)
    s.outlast(stopped_at)
    s.send()
    s.daemon.signal(signal.SIGCONT)
    assert difference(s.judged(), before) == {"redirect": 0, "stale": SILENT, "no_socket": 0}
    s.cross()
    s.daemon.stop()


@pytest.mark.parametrize("stall", ["100ms", "2s"])
def test_silent_queue_of_one_hung_worker_falls_back_from_the_first_frame(net, bpffs, stall):
    s = Silence(net, stall, "pass", bpffs)
    s.cross()
    before = s.judged()
    hung_queue = s.queue_of("sluice-w0")
    with hang(worker_tid(s.daemon, "sluice-w0")):
        s.outlast(time.monotonic())
        s.send(hung_queue)
        hung = s.judged()
        assert difference(hung, before) == {"redirect": 0, "stale": SILENT, "no_socket": 0}
        s.send(s.queue_of("sluice-w1"))
        other = difference(s.judged(), hung)
        assert other["redirect"] + other["stale"] == SILENT
        if stall == "2s":  # a busy machine may keep a worker from its CPU for 100 ms
            assert other["redirect"] == SILENT
    s.cross()
    s.daemon.stop()


# --- the operator's switch ----------------------------------------------------------------------------

@pytest.mark.sanitizer
def test_detach_and_attach_are_instant(host, probes):
    daemon = start_patient(host)
    p = probes()
    p.wire.wait_for("crossed")
    detached_at = time.monotonic()
    assert daemon.control("detach p0") == {"api": 1, "ok": True, "port": "p0", "state": "detached"}
    answered_at = time.monotonic()
    p.wire.wait_for("answered")
    attached_at = time.monotonic()
    assert daemon.metric("sluice_interface_state", interface="p0", state="detached") == 1
    assert daemon.control("attach p0")["ok"] is True
    crossing_at = time.monotonic()
    p.wire.wait_for("crossed")
    p.wire.require("crossed", crossing_at)
    # Only now: the answer to the latest probe may have been on its way.
    p.wire.require("answered", answered_at, attached_at)
    assert verdicts(daemon, "detached") >= p.wire.counts(answered_at, attached_at)["answered"]
    # The one port only; and no frame of either moment was lost or doubled.
    assert verdicts(daemon, "detached", "p1") == 0
    assert set(p.wire.counts(detached_at)) == {"answered", "crossed"}
    p.require_bystanders()
    daemon.stop()


def test_detach_survives_a_rebuild_but_not_a_restart(host, probes):
    """It is the wish of an operator who talks to this daemon, not configuration."""
    daemon = start_patient(host)
    p = probes()
    assert daemon.control("detach *")["ok"] is True
    p.wire.wait_for("answered")
    daemon.reload(config().replace("100ms", "4s"))
    since = time.monotonic()
    p.wire.wait_for("answered")
    p.wire.require("answered", since)
    daemon.stop()
    daemon.start()
    p.wire.wait_for("crossed")
    daemon.stop()


# --- a worker that hangs for long ------------------------------------------------------------------

def test_reload_around_a_hung_worker(host, probes):
    """
    A worker that hangs is left out when its port is rebuilt: the port falls back and says so, and
    the watchdog is fed no more. When the thread wakes up after all, the lanes that were left to it
    are closed, and the port is built as the reload wanted it, with no restart.
    """
    daemon = host.daemon("h", config(), env={"WATCHDOG_USEC": "300000"})
    daemon.wait_notified("WATCHDOG=1")
    p = probes()
    p.wire.wait_for("crossed")
    with hang(worker_tid(daemon, "sluice-w0")):
        daemon.configure(config().replace("100ms", "200ms"))
        daemon.control("reload")
        assert "worker 0: does not respond, abandoning it; its queues fall back" in daemon.log()
        p.wire.wait_for("answered")
        daemon.wait_log("the watchdog is not fed")
    daemon.wait_log("worker 0: responds again")
    p.wire.wait_for("crossed")
    fed = daemon.notify_count("WATCHDOG=1")
    wait_for(lambda: daemon.notify_count("WATCHDOG=1") > fed + 1, "the watchdog is fed again")
    wait_for(lambda: daemon.metric("sluice_degraded") == 0, "all is well")
    p.require_bystanders(program_changes=4)  # a reload, and the attempts that followed
    daemon.stop()
