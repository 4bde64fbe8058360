# SPDX-License-Identifier: GPL-2.0-or-later
"""
What Linux answers across the daemon: with a strict rp_filter, and with a netfilter rule on the
port's name that handed-back frames must meet as if the port had received them.

Every answer here is also asked of the kernel alone by the conformance suite; these tests say what
an operator would try.
"""
import json
import re

import pytest

from lib import run, wait_for
from routed import Routed

STRICT = ("net.ipv4.conf.all.rp_filter=1",)
TABLE = """
table inet seen {
	chain prerouting {
		type filter hook prerouting priority 0;
		iifname "pa" counter
	}
}
"""


def _plain(net):
    routed = Routed(net)
    routed.start()
    return routed


def _strict(net):
    routed = Routed(net, sysctls=STRICT)
    routed.start()
    return routed


def _netfilter(net):
    routed = Routed(net)
    net.run("r", "nft", "-f", "-", input=TABLE)
    routed.start(extra="[route]\nbypass_netfilter = yes\n")
    return routed


def _netfilter_obeyed(net):
    routed = Routed(net)
    net.run("r", "nft", "-f", "-", input=TABLE)
    routed.start()
    return routed


@pytest.fixture(params=[_plain, _strict, _netfilter, _netfilter_obeyed],
                ids=lambda make: make.__name__.strip("_"))
def routed(request, net):
    routed = request.param(net)
    routed.resolve()
    yield routed
    routed.books()


def said(routed, host, *argv):
    """What ping prints, its failures included."""
    done = routed.net.run(host, "ping", "-n", "-c", "1", "-W", "1", *argv, check=False)
    return done.stdout


def test_the_router_answers_on_every_address(routed):
    for host in ("a", "b"):
        for other in ("a", "b"):
            assert routed.net.ping(host, routed.ip4(other, 1)) == 1
            assert routed.net.ping(host, routed.ip6(other, 1)) == 1


def test_traceroute(routed):
    for target, hop in ((routed.ip4("b"), routed.ip4("a", 1)), (routed.ip6("b"), routed.ip6("a", 1))):
        out = said(routed, "a", "-t", "1", target)
        assert re.search(rf"From {hop} .*([Tt]ime to live exceeded|[Hh]op limit)", out), out
        assert "1 received" in said(routed, "a", "-t", "2", target)


def test_path_mtu_discovery(routed):
    net = routed.net
    for ns, ifname in (("r", "pb"), ("b", "h0")):
        net.ip(ns, "link", "set", ifname, "mtu", "1300")
    wait_for(lambda: routed.net.ping("a", routed.ip4("b")), "b answers again")
    out = wait_for(lambda: (m := re.search(r"mtu ?= ?(\d+)", said(
        routed, "a", "-M", "do", "-s", "1350", routed.ip4("b")))) and m, "fragmentation needed")
    assert out.group(1) == "1300"
    out = wait_for(lambda: (m := re.search(r"mtu ?= ?(\d+)", said(
        routed, "a", "-M", "do", "-s", "1350", routed.ip6("b")))) and m, "packet too big")
    assert out.group(1) == "1300"
    # Without DF the router cuts it, and both ends still talk.
    assert "1 received" in said(routed, "a", "-M", "dont", "-s", "1350", routed.ip4("b"))


def test_path_mtu_of_a_route(routed):
    """MTU of a route, less than that of every link: only the worker sees it."""
    net = routed.net
    net.ip("r", "route", "replace", "198.51.100.0/24", "via", routed.ip4("b"), "mtu", "1200")
    net.addr("b", "lo", "198.51.100.1/32")
    wait_for(lambda: net.ping("a", "198.51.100.1"), "the new route is taken")
    out = said(routed, "a", "-M", "do", "-s", "1250", "198.51.100.1")
    assert re.search(r"mtu ?= ?1200", out), out


@pytest.mark.parametrize("kind, words", [
    ("unreachable", "Destination Host Unreachable"), ("prohibit", "Packet filtered")])
def test_unreachables(routed, kind, words):
    net = routed.net
    net.ip("r", "route", "add", kind, "203.0.113.0/24")
    wait_for(lambda: words in said(routed, "a", "203.0.113.1"), words)


def test_no_route_and_no_neighbour(routed):
    wait_for(lambda: "Net Unreachable" in said(routed, "a", "192.0.2.77"), "net unreachable")
    wait_for(lambda: "Host Unreachable" in said(routed, "a", routed.ip4("b", 99)),
             "host unreachable", 10)


def test_redirect(routed):
    """The next hop is on the link that the packet came from."""
    net = routed.net
    net.addr("a", "h0", "10.77.1.3/24")
    net.addr("a", "lo", "192.0.2.1/32")
    routed.sysctl("r", "net.ipv4.conf.all.send_redirects=1", "net.ipv4.conf.pa.send_redirects=1")
    routed.sysctl("a", "net.ipv4.conf.all.accept_redirects=1", "net.ipv4.conf.h0.accept_redirects=1")
    net.ip("r", "route", "add", "192.0.2.128/25", "via", "10.77.1.3")
    out = wait_for(lambda: (o := said(routed, "a", "192.0.2.129")) and "Redirect" in o and o,
                   "a redirect")
    assert "10.77.1.3" in out, out


def test_handed_back_frames_meet_rules_on_the_port(net):
    routed = _netfilter(net)
    routed.resolve()

    def packets():
        rules = json.loads(run(*net.enter("r"), "nft", "-j", "list", "table", "inet", "seen").stdout)
        return [e["counter"]["packets"] for o in rules["nftables"] if "rule" in o
                for e in o["rule"]["expr"] if "counter" in e][0]
    before, back = packets(), routed.handed_back("a", reason="no_route")
    wait_for(lambda: "Net Unreachable" in said(routed, "a", "192.0.2.77"), "net unreachable")
    assert packets() > before
    assert routed.handed_back("a", reason="no_route") + routed.verdict("a", "no_gate") > back
    routed.books()
