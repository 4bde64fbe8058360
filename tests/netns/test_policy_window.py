# SPDX-License-Identifier: GPL-2.0-or-later
"""
How long packets still go by the old policy: from the return of the operator's command, which made
the kernel forward nothing of this kind any more, to the sending of the last datagram that arrived
all the same. Prints the window of each command; it is announced by the kernel, so it is the time of
being woken and of asking anew (a millisecond or two), never that of the next round of asking.
"""
import socket
import struct
import threading
import time

import pytest

from lib import wait_for
from probe import inside
from routed import Routed

# The window that is usual, and the worst: a loaded machine may take that long to run the thread.
ANNOUNCED_MS = (25, 250)
POLLED_MS = (1500, 1500)  # not announced: asked for once a second
INTERVAL_S = 0.0005
PORT = 34002
DROP = """
table inet window {
	chain forward { type filter hook forward priority 0; policy drop; }
}
"""


class Flow(threading.Thread):
    """Numbered datagrams at a steady pace over IPv4 or IPv6, and when each was sent."""

    def __init__(self, routed, family):
        super().__init__(daemon=True)
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        self.address = (routed.ip4 if family == 4 else routed.ip6)("b")
        with inside(routed.net, "a"):
            self.tx = socket.socket(kind, socket.SOCK_DGRAM)
        with inside(routed.net, "b"):
            self.rx = socket.socket(kind, socket.SOCK_DGRAM)
            self.rx.bind(("0.0.0.0" if family == 4 else "::", PORT))
        self.rx.setblocking(False)
        self.sent_at, self.last = [], -1
        self._over = threading.Event()

    def run(self):
        due = time.monotonic()
        while not self._over.is_set():
            self.sent_at.append(time.monotonic())
            try:
                self.tx.sendto(struct.pack("!I", len(self.sent_at) - 1), (self.address, PORT))
            except OSError:
                pass  # what ICMP says of an earlier one
            due = max(due + INTERVAL_S, time.monotonic() - 0.01)
            self._over.wait(max(0, due - time.monotonic()))

    def receive(self):
        """The number of the last one that arrived."""
        while True:
            try:
                self.last = max(self.last, struct.unpack("!I", self.rx.recv(64)[:4])[0])
            except BlockingIOError:
                return self.last

    def window_ms(self, returned, quiet_s=0.3):
        """From then on until the last that arrived, once nothing has arrived for quiet_s."""
        seen, since = self.receive(), time.monotonic()

        def is_quiet():
            nonlocal seen, since
            if self.receive() != seen:
                seen, since = self.last, time.monotonic()
            return time.monotonic() - since > quiet_s
        wait_for(is_quiet, "nothing arrives any more", 10)
        return max(0.0, (self.sent_at[seen] - returned) * 1000)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self._over.set()
        self.join()
        self.tx.close()
        self.rx.close()


def sysctl(name, off, on):
    return ["sysctl", "-qw", f"{name}={off}"], ["sysctl", "-qw", f"{name}={on}"]


# name, family, the command, what takes it back, the window that is allowed
COMMANDS = [
    ("nft chain", 4, (["nft", "-f", "-"], ["nft", "delete", "table", "inet", "window"]), ANNOUNCED_MS),
    ("ip rule", 4, (["ip", "rule", "add", "iif", "pa", "priority", "9", "blackhole"],
                    ["ip", "rule", "del", "priority", "9"]), ANNOUNCED_MS),
    ("XFRM policy", 4, (["ip", "xfrm", "policy", "add", "src", "0.0.0.0/0", "dst", "0.0.0.0/0",
                         "dir", "fwd", "action", "block"], ["ip", "xfrm", "policy", "flush"]), ANNOUNCED_MS),
    ("IPv4 forwarding of all", 4, sysctl("net.ipv4.conf.all.forwarding", 0, 1), ANNOUNCED_MS),
    ("IPv4 forwarding of the port", 4, sysctl("net.ipv4.conf.pa.forwarding", 0, 1), ANNOUNCED_MS),
    ("IPv6 forwarding of all", 6, sysctl("net.ipv6.conf.all.forwarding", 0, 1), ANNOUNCED_MS),
    ("IPv6 off on the port", 6, sysctl("net.ipv6.conf.pa.disable_ipv6", 1, 0), ANNOUNCED_MS),
    ("legacy iptables (polled)", 4, (["iptables-legacy", "-P", "FORWARD", "DROP"],
                                     ["iptables-legacy", "-P", "FORWARD", "ACCEPT"]), POLLED_MS),
]


@pytest.fixture
def routed(net):
    routed = Routed(net)
    routed.start()
    routed.resolve()
    return routed


def is_fast(routed, flow):
    """The workers forward the flow, and it arrives."""
    before, last = routed.forwarded("a"), flow.receive()
    return wait_for(lambda: routed.forwarded("a") > before + 20 and flow.receive() > last + 20,
                    "the workers forward", 10)


@pytest.mark.parametrize("name, family, commands, allowed_ms", COMMANDS,
                         ids=[row[0].replace(" ", "-") for row in COMMANDS])
def test_window(routed, name, family, commands, allowed_ms):
    windows = []
    come, go = commands
    with Flow(routed, family) as flow:
        is_fast(routed, flow)
        for _ in range(3 if allowed_ms == ANNOUNCED_MS else 1):
            routed.net.run("r", *come, input=DROP if come[0] == "nft" else None)
            returned = time.monotonic()
            windows.append(flow.window_ms(returned))
            routed.net.run("r", *go)
            if "disable_ipv6" in go[-1]:
                routed.net.ip("r", "addr", "add", f"{routed.ip6('a', 1)}/64", "dev", "pa", "nodad")
            is_fast(routed, flow)
    print(f"{name}: packets went by the old policy for "
          + ", ".join(f"{ms:.1f}" for ms in windows) + " ms after the command returned")
    usual_ms, worst_ms = allowed_ms
    assert sorted(windows)[len(windows) // 2] <= usual_ms and max(windows) <= worst_ms, windows


def test_ipv6_off_is_noticed_on_a_port_without_addresses(net):
    routed = Routed(net)
    net.ip("r", "-6", "route", "add", f"{routed.ip6('b')}/128", "dev", "pb")
    routed.start()
    routed.resolve()
    net.ip("r", "-6", "addr", "flush", "dev", "pb")
    wait_for(lambda: "inet6" not in net.ip("r", "addr", "show", "dev", "pb").stdout, "no address")
    routed.net.run("r", "sysctl", "-qw", "net.ipv6.conf.pb.disable_ipv6=1")
    began = time.monotonic()
    wait_for(lambda: routed.daemon.metric("sluice_policy_bypass", kind="forwarding6"), "noticed", 2)
    assert time.monotonic() - began < 0.5
