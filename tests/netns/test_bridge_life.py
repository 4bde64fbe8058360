# SPDX-License-Identifier: GPL-2.0-or-later
"""
A bridge of three hosts in the hands of an operator: reloads that move its ports about, its keys
taken over at once, an address of the host that comes and goes. What it does to frames is in
test_bridge_conformance.py.

    a: h0 ──── pa ┐
    b: h0 ──── pb ┼ [ r: sluiced ]        hosts are 10.88.0.1, .2, .3
    c: h0 ──── pc ┘
"""
import json

import pytest

from lib import wait_for
from rig import ask, state
from routed import Steady
from traffic import PATIENT, settled

HOSTS = "abc"
OTHER = "[port x]\ninterface = px\nforward = pass\n"


def ip4(host):
    return f"10.88.0.{HOSTS.index(host) + 1}"


def port(host, **keys):
    return f"[port {host}]\ninterface = p{host}\nforward = bridge office\n{PATIENT}" + \
        "".join(f"{key} = {value}\n" for key, value in keys.items())


def config(hosts=HOSTS, before="", after="", **keys):
    return before + "".join(port(host, **keys.get(host, {})) for host in hosts) + after


class Bridged:
    def __init__(self, net, queues=1, **sections):
        self.net = net
        net.ns("r")
        for host in HOSTS:
            net.ns(host)
            net.veth(host, "h0", "r", f"p{host}", queues=queues)
            net.lossless(host, "h0")
            net.lossless("r", f"p{host}")
            net.addr(host, "h0", f"{ip4(host)}/24")
        self.daemon = net.daemon("r", config(**sections))

    def ip4(self, host):
        """For Steady."""
        return ip4(host)

    def all_talk(self, hosts=HOSTS):
        for host in hosts:
            for other in hosts:
                if host != other:
                    wait_for(lambda: self.net.ping(host, ip4(other)), f"{host} → {other}")

    def books(self):
        return settled(self.daemon)

    def entries(self):
        """{mac: port} of what the bridge knows."""
        return {row["mac"]: row["port"] for row in ask(self.daemon, "show fdb")["fdb"]}

    def taps(self):
        return [link["ifname"] for link in json.loads(self.net.ip("r", "-j", "link").stdout)
                if link["ifname"].startswith("sluice")]


@pytest.fixture(params=[1, 4], ids=["1 queue", "4 queues"])
def bridged(request, net):
    bridged = Bridged(net, queues=request.param)
    bridged.all_talk()
    yield bridged
    bridged.books()


def test_hosts_talk_and_promiscuity_is_held(bridged):
    for host in HOSTS:
        assert bridged.net.link("r", f"p{host}")["promiscuity"] == 1
        for other in HOSTS.replace(host, ""):
            assert bridged.net.ping(host, ip4(other), count=20) == 20
    assert bridged.taps() == []


def test_reloads_that_move_its_ports_lose_nothing(bridged):
    """A pass port before, between and behind: places shift, the workers and what is learnt stay."""
    net, daemon = bridged.net, bridged.daemon
    net.ns("x")
    net.veth("x", "h0", "r", "px")
    rebuilt = daemon.metric("sluice_interface_rebinds_total")
    with Steady(bridged, "a", "b") as flow:
        wait_for(lambda: flow.receive() > 50, "datagrams arrive")
        for text in (config(before=OTHER), config(after=OTHER), config(before=OTHER), config()):
            daemon.reload(text)
            sent = flow.sent
            wait_for(lambda: flow.receive() and max(flow.got) > sent + 50, "datagrams arrive")
        sent, missing = flow.stop()
    assert missing == [], (sent, missing[:10])
    assert daemon.metric("sluice_interface_rebinds_total") == rebuilt
    bridged.all_talk()


def test_a_port_leaves_and_comes_back(net):
    """What was forwarded to it goes with it out of the books, so these are not asked."""
    bridged = Bridged(net)
    daemon = bridged.daemon
    bridged.all_talk()
    daemon.reload(config(hosts="ab"))
    bridged.all_talk("ab")
    assert not net.ping("a", ip4("c"), timeout_s=0.2)
    daemon.reload(config())
    assert state(daemon, "c") == "forwarding"
    bridged.all_talk()


@pytest.mark.sanitizer
def test_keys_are_taken_over_at_once(net):
    bridged = Bridged(net)
    daemon = bridged.daemon
    bridged.all_talk()
    rebuilt = daemon.metric("sluice_interface_rebinds_total")
    mac = "02:88:00:00:00:99"
    daemon.reload(config(after=f"[bridge office]\nmax_entries = 64\nageing_time = 10s\n"
                               f"static = {mac} c\n"))
    wait_for(lambda: bridged.entries().get(mac) == "c", "the static entry")
    bridged.all_talk()
    daemon.reload(config(a={"flood_limit": 1}))
    wait_for(lambda: mac not in bridged.entries(), "the static entry is gone")
    before = daemon.metric("sluice_queue_drops_total", interface="pa", reason="flood_limit")
    net.run("a", "ping", "-n", "-q", "-b", "-c", "50", "-i", "0.005", "-W", "0.1", "10.88.0.255",
            check=False)
    assert daemon.metric("sluice_queue_drops_total", interface="pa",
                         reason="flood_limit") >= before + 40
    assert daemon.metric("sluice_interface_rebinds_total") == rebuilt
    bridged.books()


@pytest.mark.sanitizer
def test_the_host_on_its_bridge(net):
    """A TAP per port while an address is there, none before and after; no port is rebuilt."""
    hosted = {host: {"take_host_traffic": "yes"} for host in HOSTS}
    bridged = Bridged(net, **hosted)
    daemon = bridged.daemon
    bridged.all_talk()
    rebuilt = daemon.metric("sluice_interface_rebinds_total")
    assert bridged.taps() == []
    net.addr("r", "pa", "10.88.0.100/24")
    wait_for(lambda: len(bridged.taps()) == len(HOSTS), "a TAP per port")
    assert net.ping("a", "10.88.0.100", count=3) == 3
    bridged.all_talk()
    net.ip("r", "addr", "del", "10.88.0.100/24", "dev", "pa")
    wait_for(lambda: bridged.taps() == [], "no TAP")
    bridged.all_talk()
    assert daemon.metric("sluice_interface_rebinds_total") == rebuilt
    bridged.books()


def test_an_address_that_nobody_allowed_is_reported(net):
    bridged = Bridged(net)
    bridged.all_talk()
    net.addr("r", "pa", "10.88.0.100/24")
    wait_for(lambda: "bridging it would leave this host only" in
             next(p["problem"] for p in ask(bridged.daemon, "status")["status"]["ports"]
                  if p["port"] == "a"), "the port says what is wrong")
    bridged.all_talk()
    bridged.books()


def test_nothing_is_left_behind(bridged):
    net = bridged.net
    bridged.books()
    bridged.daemon.stop()
    for host in HOSTS:
        assert net.link("r", f"p{host}")["promiscuity"] == 0
        assert "xdp" not in net.link("r", f"p{host}")
    bridged.daemon.start()
    bridged.all_talk()
