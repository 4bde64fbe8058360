# SPDX-License-Identifier: GPL-2.0-or-later
"""
A daemon between two hosts, and the books of every frame that enters it.

    a: va ──── wan [ box: sluiced ] lan ──── vb :b

A frame that is missing is looked for in the counters of whoever had it, in the order of the path:

    generator sent  = XDP verdicts of the in port + what the device lost before XDP
    redirected      = received + XDP_STATISTICS rx_dropped + rx_ring_full
    received        = forwarded + Σ handed back{reason} + Σ drops{reason}   (per queue)
    transmitted     = completed + pending                            (per queue)
    completed       = the sink's own counts + tx_dropped of the out port

Only what these books put on the daemon's side is the daemon's loss. This machine has two CPUs, and
others use them, so a run may be void, and is then repeated a few times: when the sink could not
keep up, which its own socket's counters say; or when a fill ring ran dry while the worker waited
for its CPU for longer than the ring lasts, which the scheduler says.
"""
import json
import os
import socket

from lib import wait_for

SCALE_FULL = os.environ.get("SLUICE_FULL") == "1"
SETTLE_DEADLINE_S = 10
VOID_RUNS = 3
SINK_RING = "16384"
RING = 2048  # frames of a fill ring (control/plan_worker.c, DEFAULT_RING_SIZE)
FIRST = ("nice", "-n", "-20")
# Of the loss tests: they are about frames, and this machine stops processes for tens of ms.
PATIENT = "stall_timeout = 5s\n"


def in_ns(net, ns, function):
    """function()'s result; it runs in a namespace, and the sockets it opens stay there."""
    with net.inside(ns):
        return function()


def ask(daemon, request):
    """The control socket's answer to one request line."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(daemon.control_path))
        sock.sendall(f"{request}\n".encode())
        with sock.makefile() as answer:
            return json.loads(answer.read())


# --- the books -----------------------------------------------------------------------------------

class Books:
    """One scrape, by interface and queue."""

    def __init__(self, metrics):
        self.series = metrics

    def sum(self, name, **labels):
        wanted = {key: str(value) for key, value in labels.items()}.items()
        return int(sum(value for (series, pairs), value in self.series.items()
                       if series == name and wanted <= dict(pairs).items()))

    def queue(self, name, interface, **labels):
        return self.sum(f"sluice_queue_{name}", interface=interface, **labels)

    def by_queue(self, name, interface):
        return {int(dict(pairs)["queue"]): int(value)
                for (series, pairs), value in self.series.items()
                if series == f"sluice_queue_{name}" and dict(pairs)["interface"] == interface}

    def verdict(self, interface, reason):
        return self.sum("sluice_xdp_verdicts_total", interface=interface, reason=reason)

    def verdicts(self, interface):
        return self.sum("sluice_xdp_verdicts_total", interface=interface)

    def drops(self, interface, **labels):
        return self.queue("drops_total", interface, **labels)

    def interfaces(self):
        return sorted({dict(pairs)["interface"] for (series, pairs) in self.series
                       if series == "sluice_xsk_bound"})

    def errors(self):
        """What does not add up; empty when every identity of design.md §4.5 holds."""
        wrong, total = [], {"forwarded": 0, "transmit": 0}

        def equal(what, left, right):
            if left != right:
                wrong.append(f"{what}: {left} != {right}")
        for i in self.interfaces():
            equal(f"{i}: redirected = received + lost by the socket + waiting + abandoned",
                  self.verdict(i, "redirect"),
                  self.queue("receive_packets_total", i) +
                  self.sum("sluice_xsk_rx_dropped_total", interface=i) +
                  self.sum("sluice_xsk_rx_ring_full_total", interface=i) +
                  self.queue("receive_waiting_packets", i) +
                  self.queue("receive_abandoned_packets_total", i))
            for q in self.by_queue("receive_packets_total", i):
                equal(f"{i} queue {q}: received = forwarded + handed back + drops",
                      self.queue("receive_packets_total", i, queue=q),
                      self.queue("forwarded_packets_total", i, queue=q) +
                      self.sum("sluice_handed_back_total", interface=i, queue=q) +
                      self.drops(i, queue=q))
                equal(f"{i} queue {q}: transmitted = completed + pending + abandoned",
                      self.queue("transmit_packets_total", i, queue=q),
                      self.queue("transmit_completed_packets_total", i, queue=q) +
                      self.queue("transmit_pending_packets", i, queue=q) +
                      self.queue("transmit_abandoned_packets_total", i, queue=q))
            total["forwarded"] += self.queue("forwarded_packets_total", i) + \
                self.queue("replicated_packets_total", i)
            total["transmit"] += self.queue("transmit_packets_total", i)
            equal(f"{i}: bad completions", self.sum("sluice_xsk_bad_completions_total",
                                                    interface=i), 0)
            equal(f"{i}: internal", self.drops(i, reason="internal"), 0)
        equal("forwarded = transmitted", total["forwarded"], total["transmit"])
        equal("frames: sum of the states = size", self.sum("sluice_umem_frames"),
              self.sum("sluice_umem_size_frames"))
        equal("frames lost", self.sum("sluice_umem_frames_lost"), 0)
        return wrong

    def in_flight(self):
        return self.sum("sluice_queue_receive_waiting_packets") + \
            self.sum("sluice_queue_transmit_pending_packets") + \
            self.sum("sluice_umem_frames", state="tx")


def settled(daemon, deadline_s=SETTLE_DEADLINE_S):
    """The books once nothing is on its way any more; they must balance then, exactly."""
    last = []

    def quiet():
        books = Books(daemon.metrics())
        last.append((books.errors(), books.in_flight()))
        return books if last[-1] == ([], 0) else None
    try:
        return wait_for(quiet, "the books balance", deadline_s)
    except AssertionError as late:
        raise AssertionError(f"{late}: {last[-1]}") from None


def waited_for_cpu_s(daemon):
    """How long the daemon's workers were ready to run and did not, all in all."""
    waited_ns = 0
    for worker in ask(daemon, "show workers")["workers"]:
        path = f"/proc/{daemon.pid}/task/{worker['tid']}/schedstat"
        with open(path, encoding="ascii") as file:
            waited_ns += int(file.read().split()[1])
    return waited_ns / 1e9


# --- one run of the generator --------------------------------------------------------------------

class Crossing:
    """What one run did: the generator's and the sink's reports, the books before and after."""

    def __init__(self, sent, got, before, after, way, waited_s=0):
        self.sent, self.got, self.before, self.after = sent, got, before, after
        self.into, self.out = way
        self.waited_s = waited_s

    def delta(self, method, *args, **labels):
        return getattr(self.after, method)(*args, **labels) - \
            getattr(self.before, method)(*args, **labels)

    def daemon_losses(self):
        """{where: frames} of everything that the daemon's side lost, zeros left out."""
        xsk = {name: self.delta("sum", f"sluice_xsk_{name}_total", interface=self.into)
               for name in ("rx_dropped", "rx_ring_full")}
        drops = {f"drop {reason}": self.delta("drops", self.into, reason=reason)
                 for reason in ("malformed", "mtu", "link_down", "tx_ring_full",
                                "umem_exhausted", "internal")}
        verdicts = {f"xdp {reason}": self.delta("verdict", self.into, reason)
                    for reason in ("pause", "malformed", "stale", "no_socket", "internal",
                                   "detached", "no_worker", "control")}
        out = {"tx_dropped": self.delta("sum", "sluice_interface_transmit_dropped_total",
                                        interface=self.out)}
        return {k: v for k, v in {**xsk, **drops, **verdicts, **out}.items() if v}

    def sink_losses(self):
        kernel = self.got["kernel"]
        return kernel["rx_dropped"] + kernel["rx_ring_full"]

    def void_because(self):
        """Why this run says nothing of the daemon; "" if it does."""
        if self.sink_losses():
            return f"the sink could not keep up: {self.got['kernel']}"
        ring_lasts_s = RING / self.sent["frames_per_second"]
        if set(self.daemon_losses()) == {"rx_dropped"} and self.waited_s > ring_lasts_s:
            return (f"the workers waited {self.waited_s:.3f} s for their CPU, the ring lasts "
                    f"{ring_lasts_s:.3f} s: {self.daemon_losses()}")
        return ""

    def check_intact(self):
        assert self.daemon_losses() == {}, (self.daemon_losses(), self.waited_s, self.sent,
                                            self.got)
        assert self.got["received"] == self.sent["offered"] and self.got["intact"] is True, self.got

    def check_path(self, others=0):
        """Every frame of the run is in the books of exactly one; `others` entered beside it."""
        assert self.delta("verdicts", self.into) == self.sent["sent"] + others
        self.check_out()

    def check_out(self):
        """All that the out port sent has arrived, or was lost by the sink or by the veth pair."""
        arrived = sum(self.got[k] for k in ("received", "corrupted", "wrong_length", "altered_l2",
                                            "stale", "foreign"))
        assert self.delta("queue", "transmit_completed_packets_total", self.out) == \
            arrived + self.sink_losses() + self.daemon_losses().get("tx_dropped", 0), \
            (self.sent, self.got, self.daemon_losses())

    def check_undamaged(self):
        for damage in ("duplicated", "reordered", "corrupted", "wrong_length", "altered_l2",
                       "stale"):
            assert self.got[damage] == 0, (damage, self.got)


class Box:
    """
    Two hosts and two ports of the box between them. start() puts a daemon into the box; a second
    Box of the same test shares the namespace "box" and is given the daemon that serves it too.
    """

    def __init__(self, net, queues=1, queues_b=None, mtu=None,
                 hosts=(("a", "va"), ("b", "vb")), ports=("wan", "lan")):
        self.net, self.ports, self.daemon = net, ports, None
        self.peer = dict(zip(ports, hosts))
        for ns in {"box", *(ns for ns, _ in hosts)}:
            if ns not in net.names:
                net.ns(ns)
        for port, n in zip(ports, (queues, queues_b or queues)):
            ns, ifname = self.peer[port]
            net.veth(ns, ifname, "box", port, queues=n, mtu=mtu)
            # The generator is held back, so that it sends what it is asked to.
            net.lossless(ns, ifname)

    def no_loss_behind(self):
        """The daemon too is held back by a full ring of the veth pair, and loses nothing."""
        for port in self.ports:
            self.net.lossless("box", port)
        return self

    def config(self, daemon="", port=PATIENT, **of_port):
        """Of the daemon, of both ports, and of each by its name."""
        text = f"[daemon]\n{daemon}\n"
        for name, other in (self.ports, self.ports[::-1]):
            text += (f"[port {name}]\ninterface = {name}\nforward = xconnect {other}\n"
                     f"{port}{of_port.get(name, '')}\n")
        return text

    def start(self, **sections):
        """Ahead of the other processes of this machine, as if the workers had their own CPUs."""
        self.daemon = self.net.daemon("box", self.config(**sections), prefix=FIRST)
        return self.daemon

    def way(self, reverse):
        """(in port, out port)"""
        return self.ports[::-1] if reverse else self.ports

    def cross(self, count, *argv, reverse=False, sink=(), status=None, deadline_s=120):
        """Sends `count` frames through the box and returns when they are all accounted for."""
        into, out = self.way(reverse)
        before, waited_s = settled(self.daemon), waited_for_cpu_s(self.daemon)
        with self.net.sink(*self.peer[out], "--expect", count, "--ring", SINK_RING,
                           "--idle-timeout", "1s", *sink) as process:
            sent = self.net.gen(*_send(self.peer[into], count, argv), status=None,
                                deadline_s=deadline_s)
            got = process.result(status=status, deadline_s=deadline_s)
        run = Crossing(sent, got, before, settled(self.daemon), (into, out),
                       waited_for_cpu_s(self.daemon) - waited_s)
        run.check_path()
        run.check_undamaged()
        return run

    def cross_intact(self, count, *argv, **kwargs):
        """The same, and all of them arrive."""
        return intact([lambda: [self.cross(count, *argv, **kwargs)]] * VOID_RUNS)[0]

    def cross_both_ways(self, count, *argv, deadline_s=120):
        """A generator and a sink at each end, at once; the two Crossings."""
        before, waited_s = settled(self.daemon), waited_for_cpu_s(self.daemon)
        ends = [word for port in self.ports for word in self.peer[port]]
        report = self.net.gen_run(*ends, "--count", count, "--ring", SINK_RING,
                                  "--idle-timeout", "1s", "--bidirectional", *argv, status=None,
                                  deadline_s=deadline_s)
        after, waited_s = settled(self.daemon), waited_for_cpu_s(self.daemon) - waited_s
        runs = [Crossing(direction["send"], direction["sink"], before, after, self.way(reverse),
                         waited_s)
                for reverse, direction in zip((False, True), report["directions"])]
        for run in runs:
            run.check_path()
            run.check_undamaged()
        return runs

    def cross_both_ways_intact(self, count, *argv, **kwargs):
        return intact([lambda: self.cross_both_ways(count, *argv, **kwargs)] * VOID_RUNS)

    def play(self, frames, reverse=False, expect=None):
        """Plays frames into one port, one queue; what came out of the other, in order."""
        into, out = self.way(reverse)
        (ns_in, if_in), (ns_out, if_out) = self.peer[into], self.peer[out]
        return self.net.capture(ns_out, if_out, len(frames) if expect is None else expect,
                                lambda: self.net.replay(ns_in, if_in, frames))


def intact(attempts):
    """The Crossings of the first attempt that is not void; nothing of theirs was lost."""
    for attempt in attempts:
        runs = attempt()
        reasons = [run.void_because() for run in runs]
        if not any(reasons):
            for run in runs:
                run.check_intact()
            return runs
        print("void:", reasons)
    raise AssertionError(f"{len(attempts)} runs were void, the last one: {reasons}")


def _send(peer, count, argv):
    ns, ifname = peer
    return [ns, "send", ifname, "--count", count, *argv]


def frame(dst="02:00:00:00:00:0b", src="02:00:00:00:00:0a", ethertype=0x88b6, tags=(), payload=b"",
          length=60):
    """An Ethernet frame; `tags` are (TPID, TCI) from the outside in; padded with a pattern."""
    data = bytes.fromhex(dst.replace(":", "")) + bytes.fromhex(src.replace(":", ""))
    for tpid, tci in tags:
        data += tpid.to_bytes(2, "big") + tci.to_bytes(2, "big")
    data += ethertype.to_bytes(2, "big") + payload
    return data + bytes((i * 7 + len(data)) & 0xff for i in range(max(0, length - len(data))))
