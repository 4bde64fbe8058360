# SPDX-License-Identifier: GPL-2.0-or-later
"""
Hosts around a router: the bench of the router's tests about neighbours, faults and ICMP.

    a: h0 ──── pa [ r: sluiced ] pb ──── h0 :b          10.77.N.1 / fd77:N::1 is r's, .2 the host's

N is the number of the host, from 1. Every host has h0 alone and a default route by r. The daemon's
ports are called like its hosts. There is no DAD.
"""
import contextlib
import json
import socket
import struct
import threading
import time

from lib import Deadline, wait_for
from probe import inside
from traffic import PATIENT, settled

FORWARDING = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
              "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")


# Without the wait for DAD, of one or two seconds: r asks for neighbours from its link-local address.
IPV6 = ("net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.dad_transmits=0",
        "net.ipv6.conf.default.router_solicitations=0",
        "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0")

IP_RECVERR = 11  # ICMP errors are told to sockets that are not connected, too


class Routed:
    """Namespaces and links; start() puts the daemon in."""

    def __init__(self, net, hosts=("a", "b"), queues=1, sysctls=()):
        self.net, self.hosts, self.daemon = net, list(hosts), None
        net.ns("r")
        self.sysctl("r", *IPV6, *FORWARDING, *sysctls)
        for host in hosts:
            self._add_host(host, queues)

    def _add_host(self, host, queues):
        net, port = self.net, self.port(host)
        net.ns(host)
        self.sysctl(host, *IPV6)
        net.veth(host, "h0", "r", port, queues=queues)
        net.lossless(host, "h0")
        net.lossless("r", port)
        for ns, ifname, end in (("r", port, 1), (host, "h0", 2)):
            net.addr(ns, ifname, f"{self.ip4(host, end)}/24")
            net.addr(ns, ifname, f"{self.ip6(host, end)}/64", nodad=True)
        net.ip(host, "route", "add", "default", "via", self.ip4(host, 1))
        net.ip(host, "-6", "route", "add", "default", "via", self.ip6(host, 1))

    def sysctl(self, ns, *settings):
        self.net.sysctl(ns, *settings)

    @staticmethod
    def port(host):
        return f"p{host}"

    def ip4(self, host, end=2):
        return f"10.77.{self.hosts.index(host) + 1}.{end}"

    def ip6(self, host, end=2):
        return f"fd77:{self.hosts.index(host) + 1}::{end}"

    def config(self, daemon="", port=PATIENT, extra="", **of_port):
        return f"[daemon]\n{daemon}\n" + "".join(
            f"[port {host}]\ninterface = {self.port(host)}\nforward = route\n{port}"
            f"{of_port.get(host, '')}\n" for host in self.hosts) + extra

    def start(self, **sections):
        self.daemon = self.net.daemon("r", self.config(**sections))
        return self.daemon

    # --- traffic -------------------------------------------------------------------------------

    def resolve(self):
        """Every host has talked to every other, so that nobody needs ARP or ND any more."""
        for host in self.hosts:
            for other in self.hosts:
                if other != host:
                    wait_for(lambda: self.net.ping(host, self.ip4(other)), f"{host} → {other}")
                    wait_for(lambda: self.net.ping(host, self.ip6(other)), f"{host} → {other}, 6")

    def gen_words(self, src, dst, dst_ip=None):
        """sluice-gen's words for UDP over IPv4 from one host to another's."""
        return ["--ip", "--src-ip", self.ip4(src), "--dst-ip", dst_ip or self.ip4(dst),
                "--dst-mac", self.net.mac("r", self.port(src)),
                "--src-mac", self.net.mac(src, "h0")]

    def forwarded(self, host):
        return self.daemon.metric("sluice_queue_forwarded_packets_total",
                                  interface=self.port(host))

    def handed_back(self, host, **labels):
        return self.daemon.metric("sluice_handed_back_total", interface=self.port(host), **labels)

    def verdict(self, host, reason):
        return self.daemon.metric("sluice_xdp_verdicts_total", interface=self.port(host),
                                  reason=reason)

    def books(self):
        """They must balance, exactly, once nothing is on its way."""
        return settled(self.daemon)

    def neighbour(self, host, family=4):
        """The state of r's neighbour entry for a host, "" if there is none."""
        addr = self.ip4(host) if family == 4 else self.ip6(host)
        found = json.loads(self.net.ip("r", "-j", "neigh", "show", addr, "dev",
                                       self.port(host)).stdout or "[]")
        return found[0]["state"][0] if found and found[0].get("state") else ""

    def prefixes(self, family="ipv4"):
        return self.daemon.metric("sluice_fib_prefixes", family=family)


class Steady(threading.Thread):
    """
    UDP datagrams from one host to an address at a steady pace, each with its number, and who got
    them: what a test of loss needs when the traffic must last as long as something else does.
    """

    PORT = 34001

    def __init__(self, routed, src, dst, address=None, interval_s=0.001):
        super().__init__(daemon=True)
        net, self.interval_s = routed.net, interval_s
        self.address = address or routed.ip4(dst)
        with inside(net, src):
            self.tx = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.tx.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        with inside(net, dst):
            self.rx = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.rx.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            self.rx.bind(("0.0.0.0", self.PORT))
        self.rx.setblocking(False)
        self.sent, self.sent_at = 0, []  # monotonic seconds, by number
        self.refused = {}  # errno of an ICMP error -> monotonic seconds of the first
        self.got = set()
        self._over = threading.Event()

    def run(self):
        due = time.monotonic()
        while not self._over.is_set():
            try:
                self.tx.sendto(struct.pack("!I", self.sent), (self.address, self.PORT))
                self.sent_at.append(time.monotonic())
                self.sent += 1
            except OSError as error:  # ICMP's, about an earlier one; this one was not sent
                self.refused.setdefault(error.errno, time.monotonic())
            due += self.interval_s
            self._over.wait(max(0, due - time.monotonic()))

    def receive(self):
        """How many have arrived so far."""
        while True:
            try:
                self.got.add(struct.unpack("!I", self.rx.recv(64)[:4])[0])
            except BlockingIOError:
                return len(self.got)

    def stop(self):
        """(sent, missing numbers); the last ones get a second to arrive."""
        self._over.set()
        self.join()
        with contextlib.suppress(Deadline):
            wait_for(lambda: self.receive() >= self.sent, "the last ones", 1.0)
        self.tx.close()
        self.rx.close()
        return self.sent, sorted(set(range(self.sent)) - self.got)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        if self.is_alive():
            self.stop()
