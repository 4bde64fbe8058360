# SPDX-License-Identifier: GPL-2.0-or-later
"""
The bridge as its operator sees it: the keys of [bridge], limits, this host on a port, control frames,
reload. What it does with frames is in test_bridge_conformance.py; the network is bridge_rig.py's.
"""
import contextlib
import json
import random
import socket
import time

import pytest

import bridge_rig
from bridge_cases import raw
from bridge_rig import BROADCAST, PORT_MAC, PORTS, STATIC_MAC, STATIC_PORT, Macs, Rig, Sluice
from lib import wait_for
from probe import inside, packet_socket
from traffic import settled

X = Macs(1)
AGEING_S = 10  # the least that the key allows


@contextlib.contextmanager
def switch(net, ports=PORTS, **keys):
    bridge_rig.build(net)
    rig = Rig(net, Sluice(net, ports, **keys), ports)
    yield rig
    rig.taps.close()


def others(port):
    return [p for p in PORTS if p != port]


def drops(rig, reason):
    return rig.switch.daemon.metric("sluice_queue_drops_total", reason=reason)


def count(rig, port, wanted, deadline_s=5.0, more_s=0.05):
    """How many frames that `wanted` accepts come in on h`port`, until none has come for a while."""
    n, last = 0, time.monotonic()
    end = last + deadline_s
    while time.monotonic() < min(end, last + more_s):
        for out, frame in rig.taps.receive(0.01):
            if out == port and wanted(frame):
                n, last = n + 1, time.monotonic()
    return n


def test_what_is_silent_for_ageing_time_is_forgotten(net):
    with switch(net, bridge=f"ageing_time = {AGEING_S}s") as rig:
        rig.cross(0, raw(BROADCAST, X[0]), learnt=True)
        rig.cross(1, raw(BROADCAST, X[1]), learnt=True)
        silent_since = time.monotonic()

        def forgotten():
            assert rig.cross(1, raw(X[9], X[1])) == others(1)
            return X[0] not in rig.switch.fdb()
        wait_for(forgotten, f"{X[0]} is forgotten", AGEING_S + 4)
        assert time.monotonic() - silent_since > AGEING_S - 1
        assert rig.switch.fdb()[X[1]] == 1
        assert rig.switch.fdb()[STATIC_MAC] == STATIC_PORT
        assert rig.cross(1, raw(X[0], X[1])) == others(1)


def test_max_entries_bounds_the_table(net):
    with switch(net, bridge="max_entries = 16") as rig:
        for number in range(40):
            rig.cross(0, raw(BROADCAST, X[number]))
        # markers and the static entry are among them
        wait_for(lambda: len(rig.switch.rows()) == 16, "the table is full")
        known = rig.switch.fdb()
        unknown = next(X[n] for n in range(40) if X[n] not in known)
        assert rig.cross(1, raw(unknown, X[0])) == others(1)
        assert len(rig.switch.rows()) == 16


def test_learning_limit(net):
    with switch(net, bridge="learning_limit = 10") as rig:
        # what the markers have used up comes back in a second
        wait_for(lambda: len(rig.switch.rows()) >= 5, "markers are learnt")
        begun, before = time.monotonic(), len(rig.switch.rows())
        for number in range(100):
            rig.cross(0, raw(X[200], X[number]))
        learnt, seconds = len(rig.switch.rows()) - before, time.monotonic() - begun
        assert 0 < learnt <= 10 * (seconds + 1) + 1

        # Who goes on sending is learnt in the end.
        def all_learnt():
            for number in range(20):
                rig.cross(0, raw(X[200], X[number]))
            known = rig.switch.fdb()
            return all(X[number] in known for number in range(20))
        wait_for(all_learnt, "20 stations are learnt", 10)


def test_flood_limit_of_a_port(net):
    with switch(net) as rig:
        rig.cross(1, raw(BROADCAST, X[1]), learnt=True)
        rig.cross(0, raw(BROADCAST, X[0]), learnt=True)
        rig.switch.daemon.reload(Sluice.config(port0={"flood_limit": 50}))
        begun = time.monotonic()
        for _ in range(500):
            rig.taps.send(0, raw(BROADCAST, X[0], size=99))
        arrived = count(rig, 2, lambda frame: len(frame) == 99)
        seconds = time.monotonic() - begun
        assert 50 <= arrived <= 50 * (seconds + 1) + 1
        wait_for(lambda: drops(rig, "flood_limit") == 500 - arrived, "the others are counted")
        # Neither what is known nor other ports are concerned.
        for _ in range(200):
            rig.taps.send(0, raw(X[1], X[0], size=98))
        assert count(rig, 1, lambda frame: len(frame) == 98) == 200
        for _ in range(200):
            rig.taps.send(1, raw(BROADCAST, X[1], size=97))
        assert count(rig, 2, lambda frame: len(frame) == 97) == 200


def test_a_station_that_moves_under_traffic_misses_nothing(net):
    """Each frame to it comes out once: where it was known to be at that moment, or is now."""
    with switch(net) as rig:
        rig.cross(0, raw(BROADCAST, X[0]), learnt=True)
        seen, sent = {}, 0

        def take():
            for port, frame in rig.taps.receive(0):
                if frame[12:14] == b"\x99\x99":
                    seen.setdefault(int.from_bytes(frame[14:18], "big"), []).append(port)
        for move in range(20):
            port = 2 + move % 2
            rig.taps.send(port, raw(X[0], X[5]))

            def moved():
                nonlocal sent
                for _ in range(10):
                    rig.taps.send(0, raw(X[5], X[0], sent.to_bytes(4, "big"), kind=0x9999))
                    sent += 1
                take()
                return rig.switch.fdb().get(X[5]) == port
            wait_for(moved, f"{X[5]} is behind port {port}")
        wait_for(lambda: take() or len(seen) == sent, "all frames have come out")
        for number, ports in seen.items():
            # Flooded at most before it was known anywhere.
            assert ports in ([2], [3]) or (sorted(ports) == [1, 2, 3] and number < 100), number


def test_link_local_groups_reach_the_kernel_and_no_other_wire(net):
    with switch(net) as rig:
        for last in (0x00, 0x02, 0x03, 0x0e):
            group = f"01:80:c2:00:00:{last:02x}"
            with packet_socket(net, "s", "p1", 0x0003) as sock:
                assert rig.cross(1, raw(group, X[1], size=77)) == []

                def arrived():
                    try:
                        frame = sock.recv(4096)
                    except BlockingIOError:
                        return False
                    return len(frame) == 77 and frame[:6] == bridge_rig.mac_bytes(group)
                wait_for(arrived, f"the kernel sees {group} on p1")
        assert rig.cross(1, raw("01:80:c2:00:00:01", X[1])) == []


@pytest.mark.sanitizer
def test_a_reload_that_adds_a_port_keeps_what_was_learnt(net):
    with switch(net, ports=PORTS[:3]) as rig:
        for port in PORTS[:3]:
            rig.cross(port, raw(BROADCAST, X[port]), learnt=True)
        before = rig.switch.fdb()
        rig.switch.daemon.reload(Sluice.config(PORTS))
        after = rig.switch.fdb()
        assert {mac: after.get(mac) for mac in before} == before
        rig.widen({3})
        assert rig.cross(0, raw(X[2], X[0])) == [2]
        assert rig.cross(3, raw(X[1], X[3]), learnt=True) == [1]
        assert rig.cross(0, raw(X[3], X[0])) == [3]
        # Places change, addresses do not.
        rig.switch.daemon.reload(Sluice.config(reversed(PORTS)))
        wait_for(lambda: rig.switch.fdb().get(X[0]) == 0, "the addresses are where they were")
        assert rig.cross(3, raw(X[2], X[3])) == [2]
        assert rig.cross(2, raw(X[3], X[2])) == [3]
        # What was behind a port that is gone is forgotten.
        rig.switch.daemon.reload(Sluice.config(PORTS[:3]))
        wait_for(lambda: X[3] not in rig.switch.fdb(), "port 3 is forgotten")


def test_static_entries_are_reloaded(net):
    with switch(net) as rig:
        assert [row for row in rig.switch.rows() if row["static"]] == [
            {"bridge": "br", "mac": STATIC_MAC, "port": bridge_rig.port_name(STATIC_PORT),
             "static": True}]
        text = Sluice.config().replace(f"static = {STATIC_MAC} port2",
                                       f"static = {X[7]} port1\nstatic = {X[8]} port3")
        rig.switch.daemon.reload(text)
        assert rig.cross(0, raw(X[7], X[0])) == [1]
        assert rig.cross(0, raw(X[8], X[0])) == [3]
        assert rig.cross(0, raw(STATIC_MAC, X[0])) == others(0)


@pytest.mark.sanitizer
def test_after_a_storm_the_books_balance(net):
    """Random frames from all ports at once, some rings full, links flapping: every frame has a fate."""
    rng = random.Random(7)
    with switch(net, port0={"flood_limit": 2000}) as rig:
        addresses = [X[n] for n in range(30)] + [BROADCAST, "01:00:5e:01:02:03", STATIC_MAC,
                                                 "01:80:c2:00:00:0e", *PORT_MAC]
        for turn in range(60):
            for _ in range(100):
                rig.taps.send(rng.choice(PORTS), raw(rng.choice(addresses), rng.choice(addresses),
                                                     size=rng.choice((60, 200, 1100, 1514))))
            if turn % 20 == 10:
                net.ip("s", "link", "set", "p3", "down")
            if turn % 20 == 15:
                net.ip("s", "link", "set", "p3", "up")
            rig.taps.receive(0)
        settled(rig.switch.daemon)


# --- this host -----------------------------------------------------------------------------------------

def hosts(net):
    """Stations 10.9.0.10 + i behind each port; the switch has 10.9.0.1 on p0."""
    net.ns("s")
    for i in PORTS:
        net.ns(f"st{i}")
        net.veth(f"st{i}", "e0", "s", f"p{i}")
        net.addr(f"st{i}", "e0", f"10.9.0.{10 + i}/24")
    net.addr("s", "p0", "10.9.0.1/24")
    return net.daemon("s", Sluice.config(port0={"take_host_traffic": "yes"}))


def test_stations_reach_each_other(net):
    hosts(net)
    for i in PORTS:
        for j in others(i):
            assert net.ping(f"st{i}", f"10.9.0.{10 + j}", count=3, timeout_s=5) == 3, (i, j)


def test_this_host_is_reached_on_its_port_and_by_routes_on_the_others(net):
    """
    Linux sends from p0 by p0's wire, not into the switch: stations behind other ports need a route of
    their own on this host. Their requests, to whatever address they know, arrive in any case.
    """
    hosts(net)
    assert net.ping("st0", "10.9.0.1", count=3, timeout_s=5) == 3
    for i in others(0):
        net.ip("s", "route", "add", f"10.9.0.{10 + i}/32", "dev", f"p{i}", "src", "10.9.0.1")
        assert net.ping(f"st{i}", "10.9.0.1", count=3, timeout_s=5) == 3
        assert net.ping("s", f"10.9.0.{10 + i}", count=3, timeout_s=5) == 3


def test_this_host_gets_broadcasts_of_all_ports(net):
    hosts(net)
    with inside(net, "s"):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", 4747))
    sock.setblocking(False)
    for i in PORTS:
        with inside(net, f"st{i}"):
            out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"e0")
            out.sendto(f"from {i}".encode(), ("255.255.255.255", 4747))
            out.close()

        def arrived():
            try:
                return sock.recv(100) == f"from {i}".encode()
            except BlockingIOError:
                return False
        wait_for(arrived, f"this host gets the broadcast of port {i}")
        with pytest.raises(BlockingIOError):
            sock.recv(100)  # once
    sock.close()


def test_show_fdb_by_sluicectl(net):
    with switch(net) as rig:
        rig.cross(2, raw(BROADCAST, X[2]), learnt=True)
        done = rig.switch.daemon.ctl("show", "fdb", check=False)
        assert done.returncode == 0, done.stderr
        assert X[2] in json.dumps(json.loads(done.stdout))
