# SPDX-License-Identifier: GPL-2.0-or-later
"""
Both planes of one daemon at once, on the same ports: a router forwards frames between two ports by
AF_XDP, and listens on the address of one of them for connections whose server is behind the other.
The gate keeps them apart, and both are exact: each numbered datagram arrives, by a worker; 1,000
connections talk all the while, each message verified, and short ones come and go beside them. A
cross-connect of the same daemon runs, too.

    a: h0 ──── pa [ r: sluiced, listening on its own address ] pb ──── h0 :b
       x1 ──── x0 [         xconnect x ⇄ y                   ] y0 ──── y1
"""
import json
import subprocess

import pytest

from lib import COMMAND_DEADLINE_S, binary, wait_for
from routed import Routed, Steady
from splice_rig import FEW_ENGINES, FULL, assert_right, seed
from traffic import PATIENT, Books

FRONT_PORT, SERVER_PORT = 9010, 8090
CONNECTIONS = 1000
MESSAGES = 2  # a second, of each connection
SECONDS = 60 if FULL else 3
SHORT = 20000 if FULL else 300
CROSSING = 100000 if FULL else 4000
CROSSING_RATE = 1000
XCONNECT = "".join(f"[port {name}]\ninterface = {name}0\nforward = xconnect {peer}\n{PATIENT}"
                   for name, peer in ("xy", "yx"))


@pytest.fixture
def routed(net):
    routed = Routed(net)
    for host, name in (("a", "x"), ("b", "y")):
        net.veth(host, f"{name}1", "r", f"{name}0")
        net.lossless(host, f"{name}1")
        net.lossless("r", f"{name}0")
    return routed


def ends(routed, number):
    """Of the pair of listener and server `number`."""
    net = routed.net
    return ("--client-netns", f"/run/netns/{net.real('a')}",
            "--server-netns", f"/run/netns/{net.real('b')}",
            "--connect", f"{routed.ip4('a', 1)}:{FRONT_PORT + number}",
            "--listen", f"{routed.ip4('b')}:{SERVER_PORT + number}")


def begin(net, program, *argv):
    return net.popen("r", binary(f"tests/splice/{program}"), *argv, stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, text=True)


def crossing(net):
    """Numbered frames from x1 to y1, counted and verified by one process."""
    return net.popen("a", *net.gen_argv(
        "run", "x1", "y1", "--tx-netns", net.real("a"), "--rx-netns", net.real("b"),
        "--count", CROSSING, "--rate", CROSSING_RATE), stdout=subprocess.PIPE, text=True)


def ended(process, deadline_s=600):
    out, _ = process.communicate(timeout=deadline_s)
    assert process.returncode == 0, out
    return json.loads(out)


def active(daemon, **labels):
    return daemon.metric("sluice_listener_connections_active", **labels)


@pytest.mark.parametrize("engine", FEW_ENGINES)
def test_frames_and_connections_on_the_same_ports(routed, engine):
    net = routed.net
    daemon = routed.start(extra=XCONNECT + "".join(f"""[listener l{i}]
bind = {routed.ip4("a", 1)}:{FRONT_PORT + i}
engine = {engine}
default = b{i}
[backend b{i}]
server = s {routed.ip4("b")}:{SERVER_PORT + i}
health_check = off
""" for i in range(2)))
    routed.resolve()
    books = Books(daemon.metrics())
    forwarded = {host: routed.forwarded(host) for host in "ab"}

    talk = begin(net, "splice_load", "idle", *ends(routed, 0), "--connections", CONNECTIONS,
                 "--rate", MESSAGES, "--ms", 1000 * SECONDS)
    wait_for(lambda: active(daemon, listener="l0") == CONNECTIONS, "1,000 connections are open",
             COMMAND_DEADLINE_S)
    with Steady(routed, "a", "b") as forth, Steady(routed, "b", "a") as back:
        cross = crossing(net)
        short = begin(net, "splice_torture", *ends(routed, 1), "--seed", seed(), "--profile",
                      "short", "--connections", SHORT, "--at-once", 16)
        assert active(daemon, listener="l0") == CONNECTIONS
        talked = ended(talk)
        crossed = ended(cross)
        came_and_went = ended(short)
        sent = {"a": forth.stop(), "b": back.stop()}

    # Streams.
    assert talked["connections"] == CONNECTIONS and talked["errors"] == talked["wrong"] == 0, talked
    assert talked["messages"] > CONNECTIONS, talked
    assert_right(came_and_went)
    assert came_and_went["identical"] == 2 * SHORT
    # Numbered datagrams, each of them by a worker and none by the kernel.
    for host, (n, missing) in sent.items():
        assert n > 500 and not missing, (host, n, missing[:20])
        assert routed.forwarded(host) - forwarded[host] == n, host
    # Frames of the wire.
    assert crossed["intact"] is True, crossed
    # The connections' segments passed the gate, and were no worker's.
    after = Books(daemon.metrics())
    for host in "ab":
        passed = after.verdict(f"p{host}", "local") - books.verdict(f"p{host}", "local")
        assert passed > talked["messages"], (host, passed)
    routed.books()
    wait_for(lambda: active(daemon) == 0, "no connection is left")
    assert daemon.metric("sluice_splice_parked_bytes") == 0
