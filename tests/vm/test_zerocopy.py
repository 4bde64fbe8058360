# SPDX-License-Identifier: GPL-2.0-or-later
"""Zero-copy, and zero-copy beside copy, on virtio-net of kernel 7.2 with two NUMA nodes."""
import re

import pytest

from guest import SPREAD, wait_for, wire

GUEST = {"kernel": "7.2", "nic": "virtio"}


def zerocopy(metrics, interface):
    return metrics.total("sluice_xsk_zerocopy", interface=interface)


def test_auto_is_zerocopy(guest):
    guest.start(wire())
    assert re.search(r"port a: forwarding n0 \(virtio_net\) to b, zerocopy mode, 4 queues",
                     guest.daemon_log())
    guest.crosses("--duration", "2s", "--rate", "5k", "--bidirectional", *SPREAD[:-1], "82-1514")
    metrics = guest.wait_quiet()
    for interface in ("n0", "n1"):
        assert zerocopy(metrics, interface) == 4
        for queue, n in metrics.by("sluice_queue_receive_packets_total", "queue",
                                   interface=interface).items():
            assert n > 0, f"{interface} queue {queue} received nothing"
        assert metrics.total("sluice_xsk_wakeups_total", interface=interface, ring="tx") > 0
    assert metrics.total("sluice_queue_copied_packets_total") == 0
    assert metrics.total("sluice_xsk_wakeup_failures_total") == 0
    guest.stop()
    assert guest.run("ethtool -k n0").count("rx-gro-hw: on") == 1, "offload not restored"


def test_trickle(guest):
    """Nothing waits for a batch to fill: one frame at a time, each through an idle daemon."""
    guest.start(wire())
    for reverse in (False, True):
        guest.crosses("--count", 20, "--rate", 10, "--idle-timeout", "2s", reverse=reverse)
    guest.wait_quiet()


@pytest.mark.parametrize("a, b, mode", [("zerocopy", "copy", ("zerocopy", "copy")),
                                        ("copy", "zerocopy", ("copy", "zerocopy")),
                                        ("zerocopy", "generic", ("zerocopy", "generic")),
                                        ("copy", "copy", ("copy", "copy")),
                                        ("copy", "generic", ("copy", "generic")),
                                        ("generic", "generic", ("generic", "generic"))])
def test_pair_of_modes(guest, a, b, mode):
    """Ports of different modes have two UMEMs and one counted copy; others none."""
    guest.start(wire(a={"mode": a}, b={"mode": b}))
    status = guest.ctl_json("status")["status"]["ports"]
    assert tuple(p["mode"] for p in status) == mode
    guest.crosses("--duration", "1s", "--rate", "2k", "--bidirectional",
                  "--idle-timeout", "2s", *SPREAD)
    metrics = guest.wait_quiet()
    forwarded = metrics.total("sluice_queue_forwarded_packets_total")
    copied = metrics.total("sluice_queue_copied_packets_total")
    assert copied == (forwarded if "zerocopy" in mode else 0), (copied, forwarded)
    guest.stop()


@pytest.mark.parametrize("b", ["zerocopy", "copy"])
def test_overload(guest, b):
    """As fast as the taps take them, most of which is lost there: nothing stays stuck, and then all is well."""
    guest.start(wire(b={"mode": b}))
    for burst in (64, 1000):
        guest.gen("--duration", "1s", "--burst", burst, "--bidirectional", "--idle-timeout", "2s",
                  *SPREAD, "--queues", "0-3", status=None)
        guest.wait_quiet()
        guest.crosses("--count", 400, "--rate", "2k", "--bidirectional", "--idle-timeout", "2s", *SPREAD)
    guest.wait_quiet()
    guest.stop()


def test_restarts_under_traffic(guest):
    """SIGTERM five times under traffic: every frame that was taken is forwarded or counted."""
    for _ in range(5):
        guest.start(wire())
        with guest.traffic("--rate", "3k", *SPREAD):
            before = guest.metrics.total("sluice_queue_receive_packets_total")
            wait_for(lambda: guest.metrics.total("sluice_queue_receive_packets_total") > before + 500,
                     "traffic flows")
            guest.stop()
        totals = re.findall(r"port (\w): received (\d+), forwarded (\d+), dropped (\d+); "
                            r"sent (\d+), confirmed (\d+)", guest.daemon_log())[-2:]
        for port, received, forwarded, dropped, sent, confirmed in totals:
            assert int(received) == int(forwarded) + int(dropped), (port, totals)
            assert sent == confirmed, (port, totals)
    guest.start(wire())
    guest.crosses("--count", 200, "--rate", "2k")


def test_kill_and_restart(guest):
    for _ in range(3):
        guest.start(wire())
        with guest.traffic("--rate", "3k", *SPREAD):
            guest.signal("KILL")
        guest.start(wire())
        guest.crosses("--count", 200, "--rate", "2k", "--bidirectional", *SPREAD)
        guest.wait_quiet()
        guest.stop()
    assert guest.run("bpftool prog show name sluice_redirect", None).strip() == ""


def test_link_flap(guest):
    guest.start(wire())
    guest.crosses("--count", 200, "--rate", "2k", *SPREAD)
    for interface in ("n0", "n1"):
        with guest.traffic("--rate", "2k", *SPREAD):
            guest.run(f"ip link set {interface} down")
            wait_for(lambda: guest.port("a" if interface == "n0" else "b")["state"] != "forwarding",
                     f"the daemon knows that {interface} is down")
            guest.run(f"ip link set {interface} up")
            wait_for(lambda: all(guest.port(p)["state"] == "forwarding" for p in "ab"), "both ports are back")
        guest.crosses("--count", 400, "--rate", "2k", "--bidirectional", "--idle-timeout", "2s", *SPREAD)
    guest.wait_quiet()
    guest.stop()
