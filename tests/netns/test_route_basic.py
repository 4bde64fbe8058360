# SPDX-License-Identifier: GPL-2.0-or-later
"""
A router of two ports from start to end: what it forwards, that it follows the kernel's tables and
its ports at run time, and that its start, reload, stop and death cost a running ping next to nothing,
for the kernel forwards whenever Sluice does not.
"""
import json
import struct

import pytest

from lib import wait_for
from probe import echo_request
from rig import state, wait_state
from router_rig import checksum
from routed import Routed, Steady
from traffic import ask

ETH_P_IP = 0x0800

# What a start, a reload or a stop may cost a flow of one packet a ms. The kernel takes over at
# once; but while an XDP program is put on a veth, its NAPI is switched and loses what is queued (61 ms
# were seen with ASan on a loaded machine).
GAP_MS = 100
MORTAL = "stall_timeout = 50ms\n"


@pytest.fixture(params=[1, 4], ids=["1 queue", "4 queues"])
def routed(request, net):
    routed = Routed(net, queues=request.param)
    routed.queues = request.param
    routed.start()
    routed.resolve()
    yield routed
    if routed.daemon.is_running():
        routed.books()


def arrived(routed, src, dst, count, *argv):
    """Frames that reached `dst` of `count` sent; the generator's CRC covers what a router changes."""
    net = routed.net
    with net.sink(dst, "h0", "--ethertype", "0x0800", "--expect", count, "--idle-timeout", "1s") as sink:
        sent = net.gen(src, "send", "h0", "--count", count, "--rate", "5k",
                       *routed.gen_words(src, dst), *argv)
        assert sent["sent"] == count, sent
        got = sink.stop(status=None) if wait_forwarded(routed, src, count) else None
    return sum(queue["received"] for queue in got["queues"]), got


def wait_forwarded(routed, host, count):
    return wait_for(lambda: routed.forwarded(host) - routed.mark >= count, "all are forwarded", 5)


def captured(routed, src, dst, frames):
    """What `dst` receives of frames that `src` sends, in order, and nothing that r says itself."""
    return routed.net.capture(dst, "h0", len(frames), lambda: routed.net.replay(src, "h0", frames),
                              ethertype=ETH_P_IP)


def udp(routed, src, dst, ttl=64, ident=0, payload=b"x" * 32, tos=0):
    """An Ethernet frame from one host to another, by the router."""
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 28 + len(payload), ident, 0x4000, ttl, 17, 0,
                     bytes(map(int, routed.ip4(src).split("."))),
                     bytes(map(int, routed.ip4(dst).split("."))))
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    macs = routed.net.mac("r", routed.port(src)), routed.net.mac(src, "h0")
    return b"".join(bytes.fromhex(m.replace(":", "")) for m in macs) + b"\x08\x00" + ip + \
        struct.pack("!HHHH", 4000, 4001, 8 + len(payload), 0) + payload


# --- packets ---------------------------------------------------------------------------------------

def test_ping_and_exact_counts(routed):
    """What is sent is forwarded by the workers, and arrives: each frame once, both ways."""
    for src, dst in (("a", "b"), ("b", "a")):
        routed.mark = routed.forwarded(src)
        n, got = arrived(routed, src, dst, 2000, "--queues", "all", "--flows", "16")
        assert n == 2000, got
        assert routed.forwarded(src) - routed.mark == 2000
        assert got["altered_l2"] == got["foreign"] == 0, got
    for src, dst in (("a", "b"), ("b", "a")):
        assert routed.net.ping(src, routed.ip4(dst), count=20) == 20
        assert routed.net.ping(src, routed.ip6(dst), count=20) == 20


def test_a_frame_is_changed_as_a_router_changes_it(routed):
    sent = [udp(routed, "a", "b", ttl=ttl, ident=ident, tos=0xb9)
            for ttl, ident in ((64, 1), (2, 2), (255, 0xffff), (17, 0x1234))]
    before = routed.forwarded("a")
    got = captured(routed, "a", "b", sent)
    macs = routed.net.mac("b", "h0"), routed.net.mac("r", "pb")
    for was, now in zip(sent, got):
        assert now[:12] == b"".join(bytes.fromhex(m.replace(":", "")) for m in macs)
        assert now[22] == was[22] - 1
        assert checksum(now[14:34]) == 0
        assert now[12:22] + now[23:24] + now[26:] == was[12:22] + was[23:24] + was[26:]
    assert routed.forwarded("a") - before == len(sent)


@pytest.mark.sanitizer
def test_the_first_packet_resolves_its_neighbour_by_hand_back(routed):
    routed.net.ip("r", "neigh", "flush", "dev", "pb")
    wait_for(lambda: ask(routed.daemon, "show neighbours") and
             not any(n.get("address") == routed.ip4("b") for n in
                     ask(routed.daemon, "show neighbours")["neighbours"]), "the tables forget b")
    assert routed.net.ping("a", routed.ip4("b"), count=3) == 3
    assert routed.handed_back("a", reason="neighbour") >= 1


def test_every_address_of_the_router_answers(routed):
    for host in ("a", "b"):
        for other in ("a", "b"):
            assert routed.net.ping(host, routed.ip4(other, 1), count=3) == 3
            assert routed.net.ping(host, routed.ip6(other, 1), count=3) == 3


def test_promiscuity_is_not_held(routed):
    for host in ("a", "b"):
        assert routed.net.link("r", routed.port(host)).get("promiscuity", 0) == 0


# --- the kernel's tables ---------------------------------------------------------------------------

def reaches(routed, address):
    return routed.net.ping("a", address, timeout_s=0.2) == 1


def by_worker(routed, address):
    """Is an echo request to this address forwarded by a worker?"""
    before = routed.forwarded("a")
    return reaches(routed, address) and routed.forwarded("a") > before


@pytest.mark.sanitizer
def test_routes_are_followed(net):
    routed = Routed(net, hosts=("a", "b", "c"))
    routed.start()
    routed.resolve()
    for host in ("b", "c"):
        net.addr(host, "lo", "192.0.2.1/32")
    net.ip("r", "route", "add", "192.0.2.0/24", "via", routed.ip4("b"))
    wait_for(lambda: by_worker(routed, "192.0.2.1"), "a new route is taken by the worker")
    sent_c = routed.daemon.metric("sluice_queue_transmit_packets_total", interface="pc")
    net.ip("r", "route", "replace", "192.0.2.0/24", "via", routed.ip4("c"))
    wait_for(lambda: by_worker(routed, "192.0.2.1") and routed.daemon.metric(
        "sluice_queue_transmit_packets_total", interface="pc") > sent_c, "it leads to c now")
    net.ip("r", "route", "del", "192.0.2.0/24")
    wait_for(lambda: not reaches(routed, "192.0.2.1"), "it is gone")
    routed.books()


def test_another_table_by_reload(net):
    """[route] table is taken over at once, and no port is rebuilt for it."""
    routed = Routed(net)
    daemon = routed.start()
    routed.resolve()
    net.addr("b", "lo", "192.0.2.1/32")
    net.ip("r", "route", "add", "192.0.2.0/24", "via", routed.ip4("b"), "table", "100")
    net.ip("r", "rule", "add", "lookup", "100", "pref", "32765")
    rebuilt = daemon.metric("sluice_interface_rebinds_total")
    daemon.reload(routed.config(extra="[route]\ntable = 100\n"))
    wait_for(lambda: any("192.0.2.0/24" in json.dumps(r) for r in
                         ask(daemon, "show routes")["routes"]), "table 100 is followed")
    assert daemon.metric("sluice_interface_rebinds_total") == rebuilt
    routed.books()


# --- ports -----------------------------------------------------------------------------------------

def test_the_mac_of_a_port_is_followed(routed):
    """Both as the address that frames come to, and as the one that they leave with."""
    for port, host in (("pa", "a"), ("pb", "b")):
        routed.net.ip("r", "link", "set", port, "address", f"02:77:00:00:00:{ord(host):02x}")
        routed.net.ip(host, "neigh", "flush", "dev", "h0")
    wait_for(lambda: by_worker(routed, routed.ip4("b")), "forwarded by the worker again")
    got = captured(routed, "a", "b", [udp(routed, "a", "b")])
    assert got[0][6:12] == bytes.fromhex("027700000062")


def test_a_link_that_goes_and_comes(routed):
    routed.net.down("r", "pb")
    wait_state(routed.daemon, "b", "link_down")
    assert not reaches(routed, routed.ip4("b"))
    routed.net.up("r", "pb")
    routed.net.ip("r", "-6", "addr", "replace", f"{routed.ip6('b', 1)}/64", "dev", "pb", "nodad")
    wait_for(lambda: by_worker(routed, routed.ip4("b")), "forwarded by the worker again")


@pytest.mark.sanitizer
def test_a_device_that_goes_and_comes(net):
    routed = Routed(net)
    routed.start()
    routed.resolve()
    net.ip("r", "link", "del", "pb")
    wait_state(routed.daemon, "b", "absent")
    net.veth("b", "h0", "r", "pb")
    net.addr("r", "pb", f"{routed.ip4('b', 1)}/24")
    net.addr("b", "h0", f"{routed.ip4('b')}/24")
    net.ip("b", "route", "add", "default", "via", routed.ip4("b", 1))
    wait_state(routed.daemon, "b", "forwarding", 5)
    wait_for(lambda: by_worker(routed, routed.ip4("b")), "forwarded by the worker again")
    routed.books()


# --- life ------------------------------------------------------------------------------------------

def worst_gap_ms(sent_at, missing):
    """
    The longest that all datagrams were lost. By the clock, not by their number: a sender that did
    not run for a while makes up for it.
    """
    longest_s, first = 0, None
    for last, number in zip([None, *missing], missing):
        first = number if last != number - 1 else first
        longest_s = max(longest_s, sent_at[number] - sent_at[first])
    return longest_s * 1000


def during(routed, action, src="a", dst="b"):
    """What happens inside costs a flow of a packet per ms no more than GAP_MS."""
    with Steady(routed, src, dst) as flow:
        wait_for(lambda: flow.receive() > 50, "datagrams arrive")
        action(flow)
        sent = flow.sent
        wait_for(lambda: flow.sent > sent + 100 and flow.receive() and max(flow.got) > sent,
                 "datagrams arrive again")
        sent, missing = flow.stop()
    assert worst_gap_ms(flow.sent_at, missing) <= GAP_MS, (sent, len(missing), missing[:5])
    return sent, missing


def test_start_stop_and_death_under_traffic(net):
    """
    A killed process takes its time to die, the more so on a busy machine: until its sockets are closed
    it is sent frames that nobody reads. What ends that is its beat: stall_timeout bounds the gap.
    """
    routed = Routed(net)
    wait_for(lambda: net.ping("a", routed.ip4("b")), "the kernel forwards")
    daemon = net.daemon_not_started("r", routed.config(port=MORTAL))
    routed.daemon = daemon
    during(routed, lambda flow: daemon.start())
    wait_for(lambda: by_worker(routed, routed.ip4("b")), "the worker forwards")
    routed.books()
    during(routed, lambda flow: daemon.stop())
    during(routed, lambda flow: daemon.start())
    during(routed, lambda flow: daemon.kill())
    during(routed, lambda flow: daemon.start())
    routed.books()


@pytest.mark.sanitizer
def test_a_port_comes_and_goes_by_reload(net):
    """The others are rebuilt, since the group is another; the kernel forwards meanwhile."""
    routed = Routed(net, hosts=("a", "b", "c"))
    without_c = routed.config().replace("[port c]\ninterface = pc\nforward = route",
                                        "[port c]\ninterface = pc\nforward = pass")
    daemon = routed.daemon = net.daemon("r", without_c)
    routed.resolve()
    assert state(daemon, "c") == "passing"
    during(routed, lambda flow: daemon.reload(routed.config()))
    assert state(daemon, "c") == "forwarding"
    wait_for(lambda: by_worker(routed, routed.ip4("c")), "to c by the worker")
    routed.books()
    during(routed, lambda flow: daemon.reload(without_c))
    assert state(daemon, "c") == "passing"
    assert reaches(routed, routed.ip4("c"))
    wait_for(lambda: by_worker(routed, routed.ip4("b")), "to b by the worker")
    routed.books()


def test_nothing_is_left_behind(net):
    routed = Routed(net)
    before = {link["ifname"] for link in json.loads(net.ip("r", "-j", "link").stdout)}
    daemon = routed.start()
    routed.resolve()
    taps = {link["ifname"] for link in json.loads(net.ip("r", "-j", "link").stdout)} - before
    assert len(taps) == 2, taps
    for tap in taps:
        assert net.ip("r", "-j", "-6", "addr", "show", "dev", tap).stdout.strip() in ("[]", "[{}]"), tap
    daemon.stop()
    assert {link["ifname"] for link in json.loads(net.ip("r", "-j", "link").stdout)} == before
    for host in ("a", "b"):
        assert "xdp" not in net.link("r", routed.port(host))


def test_an_interface_without_native_xdp_is_refused(net):
    net.ns("r")
    net.ip("r", "link", "add", "d0", "type", "ifb")
    net.up("r", "d0")
    daemon = net.daemon_not_started("r", "[port p]\ninterface = d0\nforward = route\n")
    daemon.start(ready=False)
    assert daemon.wait() == 1
    assert "has no native XDP, and generic XDP cannot route" in daemon.log()
    assert "xdp" not in net.link("r", "d0")


def test_without_a_tun_device_the_port_is_refused(net):
    routed = Routed(net)
    daemon = net.daemon_not_started(
        "r", routed.config(), prefix=("unshare", "-m", "sh", "-c",
                                      'mount -t tmpfs none /dev/net && exec "$0" "$@"'))
    daemon.start(ready=False)
    assert daemon.wait() == 1
    assert "there is no /dev/net/tun" in daemon.log()
    for host in ("a", "b"):
        assert "xdp" not in net.link("r", routed.port(host))
    assert net.ping("a", routed.ip4("b"), count=3, timeout_s=2) >= 1


def test_ping_probes_do_not_belong_to_the_router(net):
    """A frame to another MAC is not forwarded, whoever sees it."""
    routed = Routed(net)
    routed.start()
    routed.resolve()
    before = routed.forwarded("a")
    stray = echo_request("02:00:00:00:00:99", net.mac("a", "h0"), routed.ip4("b"), routed.ip4("a"),
                         7, 1)
    seen = net.capture("b", "h0", 1, lambda: net.replay("a", "h0", [stray, udp(routed, "a", "b")]),
                       ethertype=ETH_P_IP)
    assert seen[0][23] == 17
    assert routed.forwarded("a") == before + 1
    assert routed.verdict("a", "not_routed") >= 1
    routed.books()
