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
import socket
import subprocess

from lib import COMMAND_DEADLINE_S, binary, wait_for

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


def wait_state(daemon, name, wanted, deadline_s=1.0):
    wait_for(lambda: state(daemon, name) == wanted, f"port {name} is {wanted}", deadline_s)


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


def crosses(net, tx, rx, count=200, **kwargs):
    """Sends `count` frames into one end of a wire and has every one of them at the other."""
    report = net.gen_run("a", tx, "a", rx, "--count", count, "--rate", "20k", **kwargs)
    assert report["intact"] is True


def both_ways(net, wire=WIRES[0]):
    one, other = (f"{name}1" for name in wire)
    crosses(net, one, other)
    crosses(net, other, one)


class Stream:
    """Paced frames over a wire in the background, judged when they have all been sent."""

    def __init__(self, net, daemon, wire=WIRES[1], seconds=2.0, rate=RATE):
        self.process = net.popen(
            "a", binary("tools/sluice-gen"), "run", f"{wire[0]}1", f"{wire[1]}1", "--tx-netns",
            net.real("a"), "--rx-netns", net.real("a"), "--duration", f"{int(seconds * 1000)}ms",
            "--rate", rate, "--json", stdout=subprocess.PIPE, text=True)
        labels = {"interface": f"{wire[0]}0", "reason": "redirect"}
        before = daemon.metric("sluice_xdp_verdicts_total", **labels)
        wait_for(lambda: daemon.metric("sluice_xdp_verdicts_total", **labels) > before,
                 f"frames arrive on {wire[0]}0")

    def is_running(self):
        return self.process.poll() is None

    def result(self):
        out, _ = self.process.communicate(timeout=COMMAND_DEADLINE_S)
        assert self.process.returncode in (0, 1), out
        return json.loads(out)


@contextlib.contextmanager
def nothing_lost(net, daemon, wire=WIRES[1], seconds=2.0, rate=RATE):
    """What happens inside costs the wire no frame, and happens while frames are on their way."""
    stream = Stream(net, daemon, wire, seconds, rate)
    yield stream
    assert stream.is_running(), "the stream ended before what it should have suffered"
    report = stream.result()
    [direction] = report["directions"]
    assert report["intact"] is True, direction
    assert direction["sink"]["received"] == direction["send"]["offered"] > 0
