# SPDX-License-Identifier: GPL-2.0-or-later
"""
The bench of the tests about events, reload and the command line: a daemon with two wires, so that
something can happen to the first while the second must not lose a frame.

    ns "a"   w1 ═ veth ═ w0 ┐            ┌ l0 ═ veth ═ l1   ns "a"
                            └─ sluiced ──┘
             x1 ═ veth ═ x0 ┐    ns "d"  ┌ y0 ═ veth ═ y1
                            └────────────┘

Ports are called w, l, x, y. Their stall_timeout is 5 s: on a machine that others use too, a worker
may wait for its CPU longer than the default 100 ms, and its frames would pass to the kernel.
"""
import contextlib
import json
import re
import socket
import subprocess

from lib import COMMAND_DEADLINE_S, Deadline, binary, wait_for

WIRES = (("w", "l"), ("x", "y"))
RATE = "4k"


def port(name, peer, interface=None, **keys):
    """The text of a [port] section; forward = xconnect `peer` unless it is None."""
    keys = {"interface": interface or f"{name}0",
            "forward": f"xconnect {peer}" if peer else "pass",
            "stall_timeout": "5s", **keys}
    return f"[port {name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())


def config(daemon="", **changes):
    """All four ports; config(w={"on_failure": "drop"}) changes keys of one, config(x=None) omits it."""
    text = f"[daemon]\n{daemon}\n"
    for wire in WIRES:
        for name, peer in (wire, wire[::-1]):
            if changes.get(name, {}) is not None:
                text += port(name, peer, **changes.get(name, {}))
    return text


def wires(net, wanted=WIRES, **veth):
    """The namespaces and veth pairs, no daemon yet."""
    net.ns("a"), net.ns("d")
    for name in (n for wire in wanted for n in wire):
        net.veth("a", f"{name}1", "d", f"{name}0", **veth)


def ask(daemon, line, ok=True):
    """One request to the control socket, without sluicectl between; the whole answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(COMMAND_DEADLINE_S)
        sock.connect(str(daemon.control_path))
        sock.sendall(line.encode() + b"\n")
        text = b"".join(iter(lambda: sock.recv(65536), b""))
    answer = json.loads(text)
    assert ok is None or answer["ok"] is ok, answer
    return answer


def ports(daemon):
    """{port name: what `status` says of it}"""
    return {p["port"]: p for p in ask(daemon, "status")["status"]["ports"]}


def state(daemon, name):
    return ports(daemon)[name]["state"]


def problem(daemon, name):
    return ports(daemon)[name]["problem"]


def wait_state(daemon, name, wanted, deadline_s=1.0):
    wait_for(lambda: state(daemon, name) == wanted, f"port {name} is {wanted}", deadline_s)


def wait_followed(daemon, name, wanted, deadline_s=1.0):
    """
    Waits until the daemon has acted on a link's state ("up, carrier"). What `status` says of a
    link is read from the kernel at that moment, a few ms before workers know.
    """
    pattern = re.compile(rf"^port {name}\n(?:  .*\n)*?  link +{wanted}$", re.MULTILINE)
    wait_for(lambda: pattern.search(ask(daemon, "show plan")["text"]),
             f"port {name}'s link is {wanted}", deadline_s)


def wait_status(daemon, text, deadline_s=2.0):
    """Waits until the STATUS= line that systemd was told last has `text` in it."""
    wait_for(lambda: text in daemon.status(), f"STATUS has {text!r}: {daemon.status()!r}", deadline_s)


def wait_no_status(daemon, text, deadline_s=2.0):
    wait_for(lambda: text not in daemon.status(), f"STATUS lacks {text!r}", deadline_s)


def prog_id(net, ifname, ns="d"):
    """The id of the XDP program on an interface; None if there is none."""
    return (net.link(ns, ifname) or {}).get("xdp", {}).get("prog", {}).get("id")


def counters(daemon):
    """Every series whose name says that it only grows."""
    return {key: value for key, value in daemon.metrics().items() if key[0].endswith("_total")}


def assert_only_grows(before, after):
    """Nothing that was counted is forgotten: not by a rebuild, not by a reload."""
    for key, value in before.items():
        if key in after:
            assert after[key] >= value, f"{key} went from {value} to {after[key]}"
        else:
            assert value == 0, f"{key} was {value} and is gone"


def crosses(net, tx, rx, *argv, count=200):
    """Sends `count` frames into one end of a wire and has every one of them at the other."""
    report = net.gen_run("a", tx, "a", rx, "--count", count, "--rate", "20k",
                         "--idle-timeout", "3s", *argv)
    assert report["intact"] is True


def both_ways(net, wire=WIRES[0]):
    one, other = (f"{name}1" for name in wire)
    crosses(net, one, other)
    crosses(net, other, one)


class Stream:
    """Paced frames over a wire, sent in the background until stop(), and judged at the other end."""

    def __init__(self, net, daemon, wire=WIRES[1], rate=RATE):
        self.daemon, self.out = daemon, f"{wire[1]}0"
        into = {"interface": f"{wire[0]}0", "reason": "redirect"}
        before = daemon.metric("sluice_xdp_verdicts_total", **into)
        self.completed = self._completed()
        self.sink = net.sink("a", f"{wire[1]}1", "--idle-timeout", "60s")
        self.sender = net.popen("a", binary("tools/sluice-gen"), "send", f"{wire[0]}1",
                                "--duration", "60s", "--rate", rate, "--json",
                                stdout=subprocess.PIPE, text=True)
        wait_for(lambda: daemon.metric("sluice_xdp_verdicts_total", **into) > before,
                 f"frames arrive on {wire[0]}0")

    def _completed(self):
        return self.daemon.metric("sluice_queue_transmit_completed_packets_total", interface=self.out)

    def stop(self):
        """The reports of sender and sink, when what was sent has arrived or a second has passed."""
        assert self.sender.poll() is None, "the sender ended by itself"
        self.sender.terminate()
        out, _ = self.sender.communicate(timeout=COMMAND_DEADLINE_S)
        sent = json.loads(out)
        with contextlib.suppress(Deadline):
            wait_for(lambda: self._completed() >= self.completed + sent["offered"], "arrival", 1.0)
        return sent, self.sink.stop(status=None)


@contextlib.contextmanager
def nothing_lost(net, daemon, wire=WIRES[1], rate=RATE):
    """What happens inside costs the wire no frame, and happens while frames are on their way."""
    stream = Stream(net, daemon, wire, rate)
    yield
    sent, got = stream.stop()
    assert sent["sent"] == sent["offered"] > 0, sent
    assert got["intact"] is True, got
    assert got["received"] == sent["offered"], got
