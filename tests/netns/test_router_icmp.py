# SPDX-License-Identifier: GPL-2.0-or-later
"""
What Linux answers across the daemon: with a strict rp_filter, and with a netfilter rule on the
port's name that handed-back frames must meet as if the port had received them.

Every answer here is also asked of the kernel alone by the conformance suite; these tests say what
an operator would try. There is one router for each kind of policy; a test leaves it as it was.
"""
import contextlib
import json
import re

import pytest

from lib import Net, run, wait_for
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


# r gives a neighbour up that does not answer after 0.6 s, not after 3 s.
NEIGHBOURS = tuple(f"net.ipv4.neigh.p{host}.retrans_time_ms=200" for host in "ab")


# An "unreachable" is charged twice to the address that it goes to, by ip_error() and by the limit for
# all errors, a second each; who asks once a second is not answered any more after a few. So one limit.
ONE_LIMIT = ("net.ipv4.icmp_ratemask=0", "net.ipv6.icmp.ratelimit=0")


def _start(routed, **sections):
    routed.sysctl("r", *NEIGHBOURS, *ONE_LIMIT)
    routed.start(**sections)
    routed.resolve()
    return routed


def plain(net):
    return _start(Routed(net))


def strict(net):
    return _start(Routed(net, sysctls=STRICT))


def netfilter(net):
    routed = Routed(net)
    net.run("r", "nft", "-f", "-", input=TABLE)
    return _start(routed, extra="[route]\nbypass_netfilter = yes\n")


def netfilter_obeyed(net):
    routed = Routed(net)
    net.run("r", "nft", "-f", "-", input=TABLE)
    return _start(routed)


@pytest.fixture(scope="module")
def routers():
    """routers(make): the router that make() builds, unless it is there, and forgotten after a failure."""
    made = {}

    def get(make):
        if make not in made:
            made[make] = make(Net(make.__name__))
        return made[make]

    def forget(make):
        made.pop(make).net.close()
    get.forget = forget
    yield get
    for make in list(made):
        forget(make)


@contextlib.contextmanager
def lent(request, routers, make):
    """One of the routers for one test. After a failure nobody knows in what state it is."""
    failed = request.session.testsfailed
    routed = routers(make)
    request.node.sluice_net = routed.net  # its daemon is reported after a failure
    yield routed
    if request.session.testsfailed > failed:
        routers.forget(make)
    else:
        routed.books()


@pytest.fixture(params=[plain, strict, netfilter, netfilter_obeyed], ids=lambda make: make.__name__)
def routed(request, routers):
    with lent(request, routers, request.param) as routed:
        yield routed


@pytest.fixture
def filtered(request, routers):
    with lent(request, routers, netfilter) as routed:
        yield routed


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


def mtu_said(routed, size, address):
    """What "a" is told, once it is told something, of a packet that must not be cut."""
    found = wait_for(lambda: re.search(r"mtu ?= ?(\d+)", said(
        routed, "a", "-M", "do", "-s", size, address)), f"{address} is too far for {size} bytes")
    return int(found.group(1))


def set_mtu(routed, mtu):
    """Of the link to b; nobody remembers what was said of another."""
    for ns, ifname in (("r", "pb"), ("b", "h0")):
        routed.net.ip(ns, "link", "set", ifname, "mtu", mtu)
    for family in ("-4", "-6"):
        routed.net.ip("a", family, "route", "flush", "cache")


def test_path_mtu_discovery(routed):
    set_mtu(routed, 1300)
    wait_for(lambda: routed.net.ping("a", routed.ip4("b")), "b answers again")
    assert mtu_said(routed, "1350", routed.ip4("b")) == 1300
    assert mtu_said(routed, "1350", routed.ip6("b")) == 1300
    # Without DF the router cuts it, and both ends still talk.
    assert "1 received" in said(routed, "a", "-M", "dont", "-s", "1350", routed.ip4("b"))
    set_mtu(routed, 1500)
    wait_for(lambda: "1 received" in said(routed, "a", "-M", "do", "-s", "1350", routed.ip4("b")),
             "it is as wide as it was")


def test_path_mtu_of_a_route(routed):
    """MTU of a route, less than that of every link: only the worker sees it."""
    net = routed.net
    net.ip("r", "route", "replace", "198.51.100.0/24", "via", routed.ip4("b"), "mtu", "1200")
    net.addr("b", "lo", "198.51.100.1/32")
    wait_for(lambda: net.ping("a", "198.51.100.1"), "the new route is taken")
    out = said(routed, "a", "-M", "do", "-s", "1250", "198.51.100.1")
    assert re.search(r"mtu ?= ?1200", out), out
    net.ip("b", "addr", "del", "198.51.100.1/32", "dev", "lo")
    net.ip("r", "route", "del", "198.51.100.0/24")


@pytest.mark.parametrize("kind, words", [
    ("unreachable", "Destination Host Unreachable"), ("prohibit", "Packet filtered")])
def test_unreachables(routed, kind, words):
    net = routed.net
    net.ip("r", "route", "add", kind, "203.0.113.0/24")
    wait_for(lambda: words in said(routed, "a", "203.0.113.1"), words)
    net.ip("r", "route", "del", kind, "203.0.113.0/24")


def test_no_route_and_no_neighbour(routed):
    wait_for(lambda: "Net Unreachable" in said(routed, "a", "192.0.2.77"), "net unreachable")
    wait_for(lambda: "Host Unreachable" in said(routed, "a", routed.ip4("b", 99)),
             "host unreachable", 10)


def test_redirect(routed):
    """The next hop is on the link that the packet came from."""
    net, addresses = routed.net, (("10.77.1.3/24", "h0"), ("192.0.2.1/32", "lo"))
    for address, ifname in addresses:
        net.addr("a", ifname, address)
    routed.sysctl("r", "net.ipv4.conf.all.send_redirects=1", "net.ipv4.conf.pa.send_redirects=1")
    routed.sysctl("a", "net.ipv4.conf.all.accept_redirects=1", "net.ipv4.conf.h0.accept_redirects=1")
    net.ip("r", "route", "add", "192.0.2.128/25", "via", "10.77.1.3")
    out = wait_for(lambda: (o := said(routed, "a", "192.0.2.129")) and "Redirect" in o and o,
                   "a redirect")
    assert "10.77.1.3" in out, out
    net.ip("r", "route", "del", "192.0.2.128/25")
    for address, ifname in addresses:
        net.ip("a", "addr", "del", address, "dev", ifname)
    net.ip("a", "route", "flush", "cache")


def test_handed_back_frames_meet_rules_on_the_port(filtered):
    routed, net = filtered, filtered.net

    def packets():
        rules = json.loads(run(*net.enter("r"), "nft", "-j", "list", "table", "inet", "seen").stdout)
        return [e["counter"]["packets"] for o in rules["nftables"] if "rule" in o
                for e in o["rule"]["expr"] if "counter" in e][0]
    before, back = packets(), routed.handed_back("a", reason="no_route")
    wait_for(lambda: "Net Unreachable" in said(routed, "a", "192.0.2.77"), "net unreachable")
    assert packets() > before
    assert routed.handed_back("a", reason="no_route") + routed.verdict("a", "no_gate") > back
