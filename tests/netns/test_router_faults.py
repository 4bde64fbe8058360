# SPDX-License-Identifier: GPL-2.0-or-later
"""
What goes wrong around a router: a routing daemon in a frenzy, a netlink socket that overflows, a
next hop whose link goes, an address that comes and goes under traffic, a worker that stands still
meanwhile. Prefixes that nothing happens to lose no packet.
"""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from lib import binary, wait_for
from probe import hang
from routed import Routed, Steady
from traffic import SCALE_FULL, ask

STORM_S = 30 if SCALE_FULL else 3
STORM_PER_S = 10_000
BLOCK = 5_000  # prefixes of one storm; added and deleted in turn


def storm_batches(directory, via):
    """Two files for `ip -batch`: BLOCK routes added, the same deleted. /16 to /28, overlapping."""
    nets = [f"100.{i // 256 % 64 + 64}.{i % 256}.{(i * 16) % 256}/28" if i % 3 == 0 else
            f"100.{64 + i // 250 % 64}.{i % 250}.0/24" for i in range(BLOCK)]
    nets = list(dict.fromkeys(nets))
    paths = []
    for verb in ("add", "del"):
        path = directory / f"storm-{verb}"
        path.write_text("".join(f"route {verb} {n} via {via}\n" for n in nets))
        paths.append(path)
    return paths, len(nets)


class Storm:
    """Adds and deletes the block for ever; counts its changes."""

    SCRIPT = ("while :; do ip -force -batch {0} 2>/dev/null; echo; "
              "ip -force -batch {1} 2>/dev/null; echo; done")

    def __init__(self, routed):
        paths, self.block = storm_batches(routed.net.dir, routed.ip4("b"))
        self.log = open(routed.net.dir / "storm-log", "w+")
        self.process = routed.net.popen("r", "sh", "-c", self.SCRIPT.format(*paths),
                                        stdout=self.log, start_new_session=True)

    def changes(self):
        """One empty line was written per batch."""
        return os.path.getsize(self.log.name) * self.block

    def stop(self, routed):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()
        routed.net.ip("r", "route", "flush", "root", "100.64.0.0/10", check=False)


def rss_kib(daemon):
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def in_step(routed):
    """The tables know what the kernel knows: every IPv4 prefix of table main, and no other."""
    def known():
        rows = ask(routed.daemon, "show routes")["routes"]
        return {r["prefix"] for r in rows if r["table"] == 254 and "." in r["prefix"]}

    def kernel():
        rows = json.loads(routed.net.ip("r", "-j", "-4", "route", "show", "table", "main").stdout)
        return {r["dst"] if "/" in r["dst"] else f"{r['dst']}/32" for r in rows
                if r["dst"] != "default"}
    wait_for(lambda: known() == kernel() != set(), "the tables are the kernel's", 20)


@pytest.fixture
def routed(net):
    routed = Routed(net)
    routed.start()
    routed.resolve()
    return routed


@pytest.mark.sanitizer
def test_a_storm_of_routes_costs_stable_prefixes_nothing(routed):
    before = routed.daemon.metric("sluice_route_changes_total")
    redirected = routed.verdict("a", "redirect")
    with Steady(routed, "a", "b") as steady:
        storm, began = Storm(routed), time.monotonic()
        wait_for(lambda: steady.receive() and time.monotonic() - began > STORM_S,
                 "the storm is over", STORM_S + 10)
        changes, lasted = storm.changes(), time.monotonic() - began
        storm.stop(routed)
        sent, missing = steady.stop()
    assert missing == [], (len(missing), sent)
    assert changes / lasted > STORM_PER_S / 2, f"only {changes / lasted:.0f} changes/s were made"
    assert routed.daemon.metric("sluice_route_changes_total") > before
    # by the fast path, all of them but the first: the worker, not the kernel, forwarded them
    assert routed.verdict("a", "redirect") - redirected >= sent * 0.99
    in_step(routed)
    routed.books()
    print(f"{changes / lasted:.0f} changes/s, {sent} datagrams, none lost")


def test_the_watchdog_is_fed_through_a_storm(net):
    routed = Routed(net)
    # WATCHDOG_USEC for the daemon itself; fed three times in it
    routed.daemon = net.daemon_not_started("r", routed.config(), env={"WATCHDOG_USEC": "600000"})
    routed.daemon.start()
    storm = Storm(routed)
    try:
        fed = routed.daemon.notify_count("WATCHDOG=1")
        wait_for(lambda: routed.daemon.notify_count("WATCHDOG=1") >= fed + 8, "fed eight times", 4)
    finally:
        storm.stop(routed)
    assert "watchdog is not fed" not in routed.daemon.log()


def test_the_next_hops_link_goes_and_comes(routed):
    net = routed.net
    net.ip("r", "route", "add", "198.51.100.0/24", "via", routed.ip4("b"))
    net.addr("b", "lo", "198.51.100.1/32")
    wait_for(lambda: net.ping("a", "198.51.100.1"), "the route is taken")
    for _ in range(3):
        net.down("r", "pb")
        wait_for(lambda: not net.ping("a", routed.ip4("b"), timeout_s=0.2), "b is gone")
        net.up("r", "pb")
        net.wait_carrier("r", "pb")
        # Linux has forgotten it with the link, so it must be put back by the operator
        net.ip("r", "route", "replace", "198.51.100.0/24", "via", routed.ip4("b"))
        wait_for(lambda: net.ping("a", "198.51.100.1", timeout_s=0.2), "b is back", 10)
    routed.books()


def test_routes_that_vanish_silently_with_a_link_are_noticed(routed):
    """Linux drops IPv4 routes with their link and tells nobody (spikes.md): no stale next hop."""
    net = routed.net
    net.ip("r", "route", "add", "198.51.100.0/24", "via", routed.ip4("b"))
    wait_for(lambda: "198.51.100.0" in json.dumps(ask(routed.daemon, "show routes")), "it is seen")
    net.down("r", "pb")
    wait_for(lambda: "198.51.100.0" not in json.dumps(ask(routed.daemon, "show routes")),
             "it is gone", 5)
    net.up("r", "pb")
    routed.books()


def test_an_address_comes_and_goes_under_traffic(net):
    routed = Routed(net)
    routed.start()
    routed.resolve()
    net.ip("r", "route", "add", "198.51.100.0/24", "via", routed.ip4("b"))
    net.addr("b", "lo", "198.51.100.1/32")
    wait_for(lambda: net.ping("a", "198.51.100.1"), "b answers for it")
    net.run("a", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
    with Steady(routed, "a", "b", address="198.51.100.1") as steady:
        wait_for(lambda: steady.receive() > 10, "datagrams arrive")
        net.addr("r", "lo", "198.51.100.1/32")
        there = time.monotonic()
        seen = steady.receive()

        def quiet():
            nonlocal seen, there
            now = steady.receive()
            if now != seen:
                seen, there = now, time.monotonic()
            return time.monotonic() - there > 0.1
        wait_for(quiet, "the router itself has the address now", 2)
        net.ip("r", "addr", "del", "198.51.100.1/32", "dev", "lo")
        wait_for(lambda: steady.receive() > seen + 10, "datagrams arrive at b again", 2)
        steady.stop()
    routed.books()


def test_a_stalled_worker_in_a_storm_bounds_memory(net):
    """It hangs in the middle of a turn, so that whatever is retired may still be in its hands."""
    routed = Routed(net, queues=2)
    routed.start(daemon="workers = 2\ncpus = 0-1")
    routed.resolve()
    workers = ask(routed.daemon, "show workers")["workers"]
    assert len(workers) == 2
    before = rss_kib(routed.daemon)
    # A frame every 17 us: less than a worker looks for work before it sleeps (50 us).
    flood = net.popen("a", binary("tools/sluice-gen"), "send", "h0", "--rate", "60k", "--burst", "1",
                      "--duration", "60s", "--queue", "0", *routed.gen_words("a", "b"),
                      stdout=subprocess.DEVNULL)
    wait_for(lambda: routed.forwarded("a") > 1000, "frames flow")
    storm = Storm(routed)
    try:
        with hang(workers[0]["tid"]):
            peak, end = 0, time.monotonic() + STORM_S

            def seen():
                nonlocal peak
                peak = max(peak, routed.daemon.metric("sluice_fib_retired_bytes"))
                return time.monotonic() > end
            wait_for(seen, "the storm is over", STORM_S + 10)
            assert routed.net.ping("b", routed.ip4("a", 1), timeout_s=1)
    finally:
        storm.stop(routed)
        flood.kill()
    assert 0 < peak < 64 << 20, peak
    assert rss_kib(routed.daemon) - before < 128 << 10
    wait_for(lambda: routed.daemon.metric("sluice_fib_retired_bytes") < 1 << 20,
             "what was retired is reclaimed", 10)
    in_step(routed)
    wait_for(lambda: routed.net.ping("a", routed.ip4("b")), "it routes")
