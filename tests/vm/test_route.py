# SPDX-License-Identifier: GPL-2.0-or-later
"""Routing by VRFs, by next-hop objects and between real NICs' queues, on each kernel."""
import re

import pytest

from guest import wait_for
from routed import (BEHIND, ENDS, ENDS6, by_kernel, by_worker, flow_words, forwarded, handed_back, host,
                    in_force, ping, ports, route_down, route_up, routed_count, share_file,
                    start_as_unit, wait_by_worker)

GUESTS = {"6.1": {"kernel": "6.1"}, "6.12": {"kernel": "6.12"}, "7.2": {"kernel": "7.2"}}
kernels = pytest.mark.parametrize("booted", GUESTS.values(), indirect=True, ids=GUESTS)


@pytest.fixture
def router(guest):
    route_up(guest)
    yield guest
    guest.fresh()
    route_down(guest)


def add_vrf(guest, *members):
    """vrf0 with table 100. Membership takes IPv6 addresses away; route_up() puts them back."""
    guest.run("[ -d /sys/module/vrf ] || insmod /mnt/share/vrf.ko; "
              "ip link add vrf0 type vrf table 100; ip link set vrf0 up; "
              "ip route replace unreachable default metric 4278198272 vrf vrf0; "
              + "".join(f"ip link set {name} master vrf0; " for name in members))
    route_up(guest)


VRF = "[route]\ntable = vrf0\n"


@kernels
class TestVrf:
    def test_its_table_is_followed_and_main_is_not(self, router):
        add_vrf(router, "n0", "n1")
        router.run(f"ip route add blackhole {BEHIND}/32 table main; "
                   f"ip route add {BEHIND}/32 via {ENDS[1]} vrf vrf0")
        router.start(ports(extra=VRF))
        try:
            assert in_force(router) == set()
            wait_by_worker(router)
            wait_by_worker(router, BEHIND)
            assert routed_count(router, 300) == (300, 300)
            assert routed_count(router, 300, family=6) == (300, 300)
            # A route of main that the VRF does not have leads nowhere.
            router.run(f"ip route del {BEHIND}/32 vrf vrf0; ip route replace {BEHIND}/32 via {ENDS[1]} dev n1")
            wait_for(lambda: not by_worker(router, BEHIND), "the route is gone")
            before = forwarded(router, "n0")
            assert ping(router, 0, BEHIND, 3, deadline_s=1) == 0
            assert forwarded(router, "n0") == before
            for address in ("10.1.0.1", "10.2.0.1", "fd10:1::1", "fd10:2::1"):
                assert ping(router, 0, address, 2) == 2, address
            router.wait_quiet()
            router.stop()
        finally:
            router.run(f"ip route flush {BEHIND}/32 table main")

    def test_a_port_outside_passes_and_joins_at_run_time(self, router):
        add_vrf(router, "n0")
        router.start(ports(extra=VRF))
        wait_for(lambda: in_force(router) == {"vrf"}, "policy vrf")
        status = router.ctl_json("status")["status"]["text"]
        assert re.search(r"passing by policy vrf on 1 port: the port is not in VRF vrf0", status), status
        assert ping(router, 1, "10.2.0.1", 3) == 3, "n1 reaches the host in main"
        assert ping(router, 0, ENDS[1], 2, deadline_s=1) == 0, "the two do not reach each other"
        router.run("ip link set n1 master vrf0")
        route_up(router)
        wait_for(lambda: in_force(router) == set(), "n1 is in the VRF")
        wait_by_worker(router)
        router.run("ip link set n1 nomaster")
        route_up(router)
        wait_for(lambda: in_force(router) == {"vrf"}, "and out again")
        assert ping(router, 1, "10.2.0.1", 3) == 3
        router.wait_quiet()

    def test_ports_in_a_vrf_unasked_pass(self, router):
        """[route] follows main: a VRF's packets are the kernel's."""
        add_vrf(router, "n0", "n1")
        router.start(ports())
        wait_for(lambda: in_force(router) == {"vrf"}, "policy vrf")
        assert by_kernel(router, ENDS[1]) and by_kernel(router, ENDS6[1])
        router.run("ip link set n0 nomaster; ip link set n1 nomaster")
        route_up(router)
        wait_for(lambda: in_force(router) == set(), "out of it")
        wait_by_worker(router)

    def test_a_vrf_that_comes_late_and_goes(self, router):
        router.start(ports(extra=VRF))
        wait_for(lambda: "vrf" in in_force(router), "there is no vrf0")
        assert by_kernel(router, ENDS[1])
        add_vrf(router, "n0", "n1")
        wait_for(lambda: in_force(router) == set(), "there is")
        wait_by_worker(router)
        router.run("ip link del vrf0")
        route_up(router)
        wait_for(lambda: "vrf" in in_force(router), "there is none again")
        assert by_kernel(router, ENDS[1])
        router.wait_quiet()


@kernels
class TestRouter:
    def test_nexthop_objects_and_groups(self, router):
        router.start(ports())
        wait_by_worker(router)
        router.run(f"ip nexthop add id 1 via {ENDS[1]} dev n1; ip route add {BEHIND}/32 nhid 1")
        wait_by_worker(router, BEHIND)
        router.run("ip nexthop add id 2 blackhole; ip route replace 192.0.2.1/32 nhid 2")
        wait_for(lambda: ping(router, 0, BEHIND, deadline_s=1) == 0, "blackhole")
        before = forwarded(router, "n0")
        assert ping(router, 0, BEHIND, 3, deadline_s=1) == 0 and forwarded(router, "n0") == before
        router.run("ip nexthop add id 10 group 1; ip route replace 192.0.2.1/32 nhid 10")
        wait_by_worker(router, BEHIND)
        router.run("ip nexthop del id 1")
        wait_for(lambda: ping(router, 0, BEHIND, deadline_s=1) == 0, "a group whose only member is gone")
        router.wait_quiet()

    def test_forwards_unprivileged_and_hands_back(self, router):
        """As the unit runs it, without CAP_PERFMON."""
        start_as_unit(router, ports())
        assert in_force(router) == set(), router.daemon_log()
        wait_by_worker(router)
        assert routed_count(router, 300) == (300, 300)
        router.run("ip neigh flush dev n1")
        assert ping(router, 0, ENDS[1], 3) == 3
        wait_for(lambda: handed_back(router, "n0", "neighbour") >= 1, "its neighbour was asked for")
        router.wait_quiet()
        router.stop()

    def test_hand_back_from_a_nic(self, router):
        """What the kernel must say, it says: resolution, frag needed, time exceeded, unreachable."""
        router.start(ports())
        wait_by_worker(router)
        for family, address in ((4, ENDS[1]), (6, ENDS6[1])):
            router.run(f"ip -{family} neigh flush dev n1")
            assert ping(router, 0, address, 3) == 3
        assert handed_back(router, "n0", "neighbour") >= 2
        router.run(f"ip route add {BEHIND}/32 via {ENDS[1]} mtu 1300")
        wait_by_worker(router, BEHIND)
        out = host(router, 0, f"ping -n -c 2 -W 2 -M do -s 1400 {BEHIND}", None)
        assert re.search(r"mtu.{0,3}1300", out), out
        assert handed_back(router, "n0", "mtu") >= 1
        host(router, 0, "ip route flush cache")
        out = host(router, 0, f"ping -n -c 2 -i 0.5 -W 2 -M dont -s 1400 {BEHIND}", None)
        assert "2 received" in out, f"Linux fragments: {out}"
        for address, hop in ((ENDS[1], "10.1.0.1"), (ENDS6[1], "fd10:1::1")):
            out = host(router, 0, f"ping -n -c 1 -W 2 -t 1 {address}", None)
            assert re.search(rf"From {hop}.*(Time to live|Hop limit|Time exceeded)", out), out
        # In a /24 that has a route, so that the gate leaves it to the worker.
        out = host(router, 0, "ping -n -c 1 -W 2 192.0.2.77", None)
        assert re.search("From 10.1.0.1.*Net Unreachable", out), out
        assert handed_back(router, "n0", "no_route") >= 1
        router.wait_quiet()


RA_DAEMON = """\
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
index = socket.if_nametoindex("n0")
group = socket.inet_pton(socket.AF_INET6, "ff02::2") + struct.pack("@I", index)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
open("/run/ra.ready", "w").close()
while True:
    data, source = s.recvfrom(2048)
    if data[0] != 133:
        continue
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 3600, 1800, 0) + \
        socket.inet_pton(socket.AF_INET6, "fd10:5::")
    s.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix, ("ff02::1", 0, 0, index))
"""


@pytest.mark.parametrize("booted", [GUESTS["7.2"]], indirect=True, ids=["7.2"])
class TestHostOfItsPorts:
    """What a router's own kernel does on its ports, with the daemon in between."""

    def test_solicitations_are_answered(self, router):
        path = share_file(router, "ra.py", RA_DAEMON)
        router.run(f"python3 {path} >/dev/null 2>&1 & echo $! >/run/ra.pid; "
                   "until [ -e /run/ra.ready ]; do sleep 0.1; done")
        router.start(ports())
        host(router, 0, "sysctl -qw net.ipv6.conf.tap0.accept_ra=2 net.ipv6.conf.tap0.autoconf=1; "
                        "ip link set tap0 down; ip link set tap0 up")
        wait_for(lambda: "fd10:5::" in host(router, 0, "ip -6 addr show dev tap0"), "an RS got its RA", 30)
        router.run("kill $(cat /run/ra.pid); rm -f /run/ra.ready")
        router.wait_quiet()

    def test_duplicate_addresses_are_found(self, router):
        router.start(ports())
        host(router, 0, "ip -6 addr add fd10:1::99/64 dev tap0 nodad")
        router.run("ip -6 addr add fd10:1::98/64 dev n0; ip -6 addr add fd10:1::99/64 dev n0")
        wait_for(lambda: "fd10:1::99/64 scope global dadfailed" in router.run("ip -6 addr show dev n0"),
                 "the one that NS0 has is a duplicate")
        wait_for(lambda: re.search("fd10:1::98/64 scope global *\n", router.run("ip -6 addr show dev n0")),
                 "the other is not")
        router.wait_quiet()

    def test_tagged_frames_pass_to_a_vlan_of_a_port(self, router):
        router.run("modprobe 8021q; ip link add link n0 name n0.7 type vlan id 7; ip link set n0.7 up; "
                   "ip addr add 10.7.0.1/24 dev n0.7")
        router.start(ports())
        wait_by_worker(router)
        before = forwarded(router, "n0")

        def counts():
            return [int(n) for n in router.run("cat /sys/class/net/n0.7/statistics/rx_packets; awk '/^Ip: [0-9]/ "
                                               "{print $7}' /proc/net/snmp").split()]
        base = counts()
        # The sink looks for tagged frames, and these leave untagged: the guest's kernel counts them.
        router.gen("--count", 100, "--rate", 1000, *flow_words(router), "--vlan", 7, status=None)
        wait_for(lambda: all(now - was >= 100 for now, was in zip(counts(), base)), "the kernel forwarded them")
        assert forwarded(router, "n0") == before, "tagged frames are the kernel's"
        router.run("ip link del n0.7")
        router.wait_quiet()


MODES = {"virtio": [("zerocopy", "zerocopy"), ("zerocopy", "copy"), ("copy", "copy")],
         "igb": [("zerocopy", "zerocopy"), ("zerocopy", "copy")]}


@pytest.mark.parametrize("booted, a, b", [({"kernel": "7.2", "nic": nic}, a, b)
                                          for nic, pairs in MODES.items() for a, b in pairs],
                         indirect=["booted"], ids=[f"{nic}-{a}-{b}" for nic, p in MODES.items() for a, b in p])
class TestModes:
    def test_counts_hand_back_and_filters(self, router, a, b):
        # igb cuts longer frames in zero-copy mode unless buffers are big (test_igb.py).
        router.start("frame_size = 4096\n" + ports(a=f"mode = {a}", b=f"mode = {b}"))
        wait_by_worker(router)
        assert [router.port(p)["mode"] for p in "ab"] == [a, b]
        assert len(router.ctl_json("show workers")["workers"]) > 1, "one worker tests less"
        copied = router.metrics.total("sluice_queue_copied_packets_total")
        for end in (0, 1):
            for family in (4, 6):
                assert routed_count(router, 200, end=end, family=family) == (200, 200), (end, family)
        copied = router.metrics.total("sluice_queue_copied_packets_total") - copied
        assert (copied >= 800) is (a != b) and (copied == 0) is (a == b), copied
        router.run("ip neigh flush dev n1")
        assert ping(router, 0, ENDS[1], 3) == 3
        assert handed_back(router, "n0", "neighbour") >= 1
        router.run(f"ip route add {BEHIND}/32 via {ENDS[1]} mtu 1300")
        wait_by_worker(router, BEHIND)
        assert re.search(r"mtu.{0,3}1300", host(router, 0, f"ping -n -c 2 -W 2 -M do -s 1400 {BEHIND}", None))
        host(router, 0, "ip route flush cache")
        check_filter(router)
        router.wait_quiet()
        router.stop()


def check_filter(guest):
    """No promiscuity: the NIC itself keeps out what is for others, and lets in what is for groups."""
    for name in ("n0", "n1"):
        assert "promiscuity 0 " in guest.run(f"ip -d link show {name}")

    def seen():
        return guest.metrics.total("sluice_xdp_verdicts_total", interface="n0")
    before, was_forwarded = seen(), forwarded(guest, "n0")
    report = guest.gen("--count", 100, "--rate", 1000, *flow_words(guest, dst_mac="02:00:00:00:00:99"),
                       status=None)
    assert report["directions"][0]["sink"]["received"] == 0
    assert forwarded(guest, "n0") == was_forwarded
    assert seen() < before + 100, "the NIC let other stations' frames in"
