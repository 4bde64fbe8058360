# SPDX-License-Identifier: GPL-2.0-or-later
"""
A bridge between real NICs, zero-copy where there is one: promiscuity, without which a NIC keeps
other stations' frames to itself, several queues and workers, and a third port that copies.

    tap0 10.9.0.1 ── n0 ─┐ bridge br ┌─ n1 ── tap1 10.9.0.2
                         └─ pc ── vc :c 10.9.0.3
"""
import pytest

from guest import SPREAD, wait_for
from routed import host, mac, ping, route_down, start_as_unit, tap_mac

GUESTS = {"virtio": {"kernel": "7.2"}, "igb": {"kernel": "7.2", "nic": "igb"}, "6.1": {"kernel": "6.1"}}
MODE = {"virtio": "zerocopy", "igb": "zerocopy", "6.1": "copy"}
STATIONS = {n: (f"10.9.0.{n + 1}", f"fd10:9::{n + 1}") for n in (0, 1, 2)}


@pytest.fixture
def switch(guest):
    for end in (0, 1):
        v4, v6 = STATIONS[end]
        host(guest, end, f"sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.tap{end}.disable_ipv6=0; "
                         f"ip addr flush dev tap{end}; ip addr add {v4}/24 dev tap{end}; "
                         f"ip -6 addr add {v6}/64 dev tap{end} nodad; ip neigh flush dev tap{end}")
    guest.run("modprobe tun; chmod 666 /dev/net/tun; ip addr flush dev n0; ip addr flush dev n1")
    yield guest
    guest.fresh()
    route_down(guest)


def config(a="", third=False):
    text = "frame_size = 4096\n[bridge br]\n" + "".join(
        f"[port {name}]\ninterface = {interface}\nforward = bridge br\nstall_timeout = 5s\n{more}\n"
        for name, interface, more in (("a", "n0", a), ("b", "n1", "")))
    return text + ("[port c]\ninterface = pc\nforward = bridge br\nstall_timeout = 5s\n" if third else "")


def promiscuity(guest, interface):
    words = guest.run(f"ip -d link show {interface}").split()
    return int(words[words.index("promiscuity") + 1])


def wait_bridge(guest):
    """A NIC that retrains its link may be up only after the daemon is ready."""
    wait_for(lambda: ping(guest, 0, STATIONS[1][0]), "frames cross", 40)


@pytest.mark.parametrize("booted", GUESTS.values(), indirect=True, ids=GUESTS)
class TestBridge:
    def test_switches_learns_and_listens_to_all(self, switch):
        before = [promiscuity(switch, name) for name in ("n0", "n1")]
        if switch.kernel == "6.1":
            start_as_unit(switch, config())
        else:
            switch.start(config())
        wait_bridge(switch)
        wanted = MODE[next(k for k, v in GUESTS.items() if v["kernel"] == switch.kernel
                           and v.get("nic", "virtio") == switch.nic)]
        assert [switch.port(p)["mode"] for p in "ab"] == [wanted, wanted]
        assert [promiscuity(switch, name) for name in ("n0", "n1")] == [n + 1 for n in before]
        for end in (0, 1):
            for address in STATIONS[1 - end]:
                assert ping(switch, end, address, 5) == 5, address
        fdb = {row["mac"]: row["port"] for row in switch.ctl_json("show fdb")["fdb"]}
        assert fdb[tap_mac(switch, 0)] == "a" and fdb[tap_mac(switch, 1)] == "b", fdb
        # Unknown, and for nobody's NIC: it crosses because both ports listen to everything.
        unknown = ("--dst-mac", "02:00:00:00:00:99", "--src-mac", tap_mac(switch, 0))
        switch.crosses("--count", 300, "--rate", 1000, "--idle-timeout", "2s", *unknown, *SPREAD)
        known = ("--dst-mac", tap_mac(switch, 1), "--src-mac", tap_mac(switch, 0))
        switch.crosses("--count", 300, "--rate", 1000, "--idle-timeout", "2s", *known, *SPREAD)
        metrics = switch.wait_quiet()
        if switch.nic == "virtio":  # igb hashes addresses, and these have one pair
            by_queue = metrics.by("sluice_queue_forwarded_packets_total", "queue", interface="n0")
            assert len(by_queue) == 4 and all(by_queue.values()), by_queue
        assert len(switch.ctl_json("show workers")["workers"]) > 1
        switch.stop()
        assert [promiscuity(switch, name) for name in ("n0", "n1")] == before

    def test_the_host_stays_reachable_on_its_port(self, switch):
        switch.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.n0.disable_ipv6=0; "
                   "ip addr add 10.9.0.254/24 dev n0; ip -6 addr add fd10:9::fe/64 dev n0 nodad")
        switch.start(config(a="take_host_traffic = yes"))
        wait_bridge(switch)
        for address in ("10.9.0.254", "fd10:9::fe"):
            assert ping(switch, 0, address, 3) == 3, address
        assert mac(switch, "n0") not in {row["mac"] for row in switch.ctl_json("show fdb")["fdb"]}
        switch.wait_quiet()

    def test_a_third_port_that_copies(self, switch):
        switch.run("ip netns add c; ip link add pc type veth peer name vc netns c; ip link set pc up; "
                   "ip netns exec c sysctl -qw net.ipv6.conf.all.disable_ipv6=1; ip -n c link set vc up; "
                   f"ip -n c addr add {STATIONS[2][0]}/24 dev vc; ethtool -K pc tx off 2>/dev/null; "
                   "ip netns exec c ethtool -K vc tx off", None)
        switch.start(config(third=True))
        wait_bridge(switch)
        assert switch.port("c")["mode"] == "copy"
        for end in (0, 1):
            assert ping(switch, end, STATIONS[2][0], 5) == 5
            assert ping(switch, end, STATIONS[1 - end][0], 5) == 5
        unknown = ("--dst-mac", "02:00:00:00:00:99", "--src-mac", tap_mac(switch, 0))
        received = int(switch.run("ip netns exec c cat /sys/class/net/vc/statistics/rx_packets"))
        switch.crosses("--count", 200, "--rate", 1000, "--idle-timeout", "2s", *unknown)
        got = int(switch.run("ip netns exec c cat /sys/class/net/vc/statistics/rx_packets")) - received
        assert got >= 200, "flooded to c as well"
        assert switch.metrics.total("sluice_queue_forwarded_packets_total", interface="n0") >= 200
        switch.wait_quiet()
        switch.stop()
