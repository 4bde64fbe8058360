# SPDX-License-Identifier: GPL-2.0-or-later
"""
SIGHUP and `sluicectl reload`: what changed is built again and nothing else is touched; what is
refused changes nothing and says why. The wire that is not concerned loses not one frame.
"""
import contextlib
import os
import re
import time

import pytest

from lib import binary, wait_for
from rig import (WIRES, ask, assert_only_grows, both_ways, config, counters, crosses, nothing_lost,
                 port, ports, prog_id, state, wait_followed, wait_state, wait_status, wires)

EX_CONFIG = 78
PORTS = "wlxy"


@pytest.fixture
def daemon(net):
    wires(net)
    return net.daemon("d", config())


def programs(net):
    return {name: prog_id(net, f"{name}0") for name in PORTS}


def sockets(daemon):
    """The AF_XDP sockets and the maps of the daemon, by their inodes."""
    found = []
    for fd in os.listdir(f"/proc/{daemon.pid}/fd"):
        # That of a scrape that has just ended is listed and gone.
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{daemon.pid}/fd/{fd}"))
    return sorted(target for target in found if target.startswith("socket:"))


def threads(daemon):
    return sorted(os.listdir(f"/proc/{daemon.pid}/task"))


def rebinds(daemon):
    return {name: daemon.metric("sluice_interface_rebinds_total", interface=f"{name}0")
            for name in PORTS}


def reload(daemon, how, text=None):
    """Reloads by SIGHUP or by the control socket; returns when it is done."""
    if how == "signal":
        daemon.reload(text)
    else:
        if text is not None:
            daemon.configure(text)
        ask(daemon, "reload")


def reload_status(daemon):
    return ask(daemon, "status")["status"]["config"]


BOTH = pytest.mark.parametrize("how", ["signal", "socket"])


# --- Nothing to do -------------------------------------------------------------------------------

@pytest.mark.sanitizer
@BOTH
def test_without_a_change_nothing_is_touched(net, daemon, how):
    both_ways(net)
    before = programs(net), sockets(daemon), threads(daemon), counters(daemon)
    with nothing_lost(net, daemon, WIRES[0]):
        reload(daemon, how)
    assert programs(net) == before[0]
    assert set(sockets(daemon)) >= set(before[1])
    assert threads(daemon) == before[2]
    assert set(rebinds(daemon).values()) == {0}
    assert_only_grows(before[3], counters(daemon))
    assert daemon.metric("sluice_config_reloads_total") == 1
    assert daemon.metric("sluice_config_reload_failures_total") == 0


def test_order_of_words_and_comments_are_no_change(net, daemon):
    before = programs(net), threads(daemon)
    text = config().split("[port ")
    daemon.reload("; a remark\n" + "[port ".join([text[0], text[3], text[4], text[1], text[2]]))
    assert (programs(net), threads(daemon)) == before
    both_ways(net)
    both_ways(net, WIRES[1])


# --- One port ------------------------------------------------------------------------------------

@pytest.mark.sanitizer
@pytest.mark.parametrize("key, value", [
    ("on_failure", "drop"), ("stall_timeout", "3s"), ("pass_control", "yes"), ("mode", "copy"),
])
def test_only_the_changed_port_is_built_again(net, daemon, key, value):
    both_ways(net)
    before, totals = programs(net), counters(daemon)
    with nothing_lost(net, daemon):
        daemon.reload(config(w={key: value}))
        wait_state(daemon, "w", "forwarding")
        both_ways(net)
    after = programs(net)
    assert {name for name in PORTS if after[name] != before[name]} == {"w"}
    assert rebinds(daemon) == {"w": 1, "l": 0, "x": 0, "y": 0}
    assert_only_grows(totals, counters(daemon))
    assert reload_status(daemon)["last_reload_ok"] is True
    assert daemon.metric("sluice_umem_frames_lost") == 0
    if key == "on_failure":
        assert daemon.metric("sluice_interface_pinned", interface="w0") == 1
        daemon.reload(config())
        assert daemon.metric("sluice_interface_pinned", interface="w0") == 0
        daemon.stop()
        assert prog_id(net, "w0") is None, "a port that is no drop port any more leaves nothing"


def test_mac_control_frames_pass_only_after_pass_control(net, daemon):
    """The reloaded key is in force: LLDP goes over the wire, then to the kernel."""
    verdict = {"interface": "w0", "reason": "control"}
    lldp = ["send", "w1", "--count", "10", "--dst-mac", "01:80:c2:00:00:0e", "--rate", "20k"]
    net.gen("a", *lldp)
    assert daemon.metric("sluice_xdp_verdicts_total", **verdict) == 0
    daemon.reload(config(w={"pass_control": "yes"}))
    net.gen("a", *lldp)
    wait_for(lambda: daemon.metric("sluice_xdp_verdicts_total", **verdict) == 10, "10 verdicts")


def test_reload_under_traffic_twenty_times(net, daemon):
    """Every reload rebuilds w; nothing of what was counted is forgotten, nothing leaks."""
    totals = counters(daemon)
    n_threads, n_sockets = len(threads(daemon)), len(sockets(daemon))
    with nothing_lost(net, daemon):
        sender = net.popen("a", binary("tools/sluice-gen"), "send", "l1", "--duration", "60s",
                           "--rate", "20k", stdout=open(os.devnull, "w"))
        for n in range(20):
            daemon.reload(config(w={"stall_timeout": f"{4 - n % 2}s"}))
            now = counters(daemon)
            assert_only_grows(totals, now)
            totals = now
        sender.terminate()
        sender.wait()
    wait_state(daemon, "w", "forwarding")
    both_ways(net)
    assert rebinds(daemon) == {"w": 20, "l": 0, "x": 0, "y": 0}
    # At most: at the start the connection that was asked for counters may not have been closed yet.
    wait_for(lambda: len(threads(daemon)) <= n_threads and len(sockets(daemon)) <= n_sockets,
             "no thread and no socket is left over")
    assert daemon.metric("sluice_umem_frames_lost") == 0
    assert daemon.metric("sluice_umem_frames", state="quarantine") == 0
    wait_for(lambda: ask(daemon, "drops")["drops"]["balanced"], "every loss has a counter")


# --- Ports come and go ---------------------------------------------------------------------------

def test_a_pair_is_removed_and_added(net, daemon):
    both_ways(net)
    n_threads = len(threads(daemon))
    with nothing_lost(net, daemon):
        daemon.reload(config(w=None, l=None))
        assert sorted(ports(daemon)) == ["x", "y"]
        assert prog_id(net, "w0") is None and prog_id(net, "l0") is None
        assert net.link("d", "w0")["promiscuity"] == 0
        assert "rx-vlan-offload: on" in net.ethtool("d", "-k", "w0").stdout, "offloads restored"
        assert len(threads(daemon)) == n_threads - 1
        daemon.reload(config())
        assert sorted(ports(daemon)) == sorted(PORTS)
        wait_state(daemon, "w", "forwarding")
        both_ways(net)
    assert len(threads(daemon)) == n_threads


def test_all_ports_are_removed_and_added(net, daemon):
    daemon.reload("[daemon]\n")
    assert ports(daemon) == {}
    assert set(programs(net).values()) == {None}
    daemon.reload(config())
    both_ways(net)
    both_ways(net, WIRES[1])


def test_another_interface(net, daemon):
    net.veth("a", "n1", "d", "n0")
    with nothing_lost(net, daemon):
        daemon.reload(config(l={"interface": "n0"}))
        wait_state(daemon, "l", "forwarding")
        assert prog_id(net, "l0") is None
        crosses(net, "w1", "n1")
        crosses(net, "n1", "w1")


VLAN = "rx-vlan-offload: on"


def test_offloads_of_an_interface_that_is_left_are_restored(net, daemon):
    """Another interface; and none at all, for a port that passes."""
    def vlan(ifname):
        return VLAN in net.ethtool("d", "-k", ifname).stdout
    net.veth("a", "n1", "d", "n0")
    assert not vlan("l0") and not vlan("x0") and vlan("n0")
    daemon.reload(config(l={"interface": "n0"}, x={"forward": "pass"}, y={"forward": "pass"}))
    assert vlan("l0") and vlan("x0") and not vlan("n0")
    daemon.stop()
    assert all(vlan(f"{name}0") for name in (*PORTS, "n"))


def test_totals_stay_with_the_interface_that_a_port_leaves(net, daemon):
    """Carried along, they would be counted twice there, and go backwards when the port returns."""
    def of(ifname):
        return {(name, labels): value for (name, labels), value in counters(daemon).items()
                if dict(labels).get("interface") == ifname and "fill" not in name and name.startswith((
                    "sluice_queue_", "sluice_xdp_", "sluice_interface_rebinds"))}
    net.veth("a", "n1", "d", "n0")
    both_ways(net)
    wait_for(lambda: any(of("l0").values()), "l0 has counted")
    daemon.reload(config(l={"interface": "n0"}))
    wait_state(daemon, "l", "forwarding")
    assert not of("l0") and of("n0") and not any(of("n0").values()), of("n0")
    assert re.search(r"port l: .*received 200, forwarded 200", daemon.log())
    crosses(net, "w1", "n1")
    crosses(net, "n1", "w1")
    assert daemon.metric("sluice_xdp_verdicts_total", interface="n0", reason="redirect") == 200
    # What the other ports have counted is as it was.
    assert daemon.metric("sluice_xdp_verdicts_total", interface="w0", reason="redirect") == 400


def test_wires_are_crossed_over(net, daemon):
    """Two ports change places: w leads to y now, and x to l."""
    daemon.reload(config(l={"interface": "y0"}, y={"interface": "l0"}))
    for name in PORTS:
        wait_state(daemon, name, "forwarding")
    crosses(net, "w1", "y1")
    crosses(net, "x1", "l1")
    crosses(net, "l1", "x1")


def test_an_interface_that_does_not_exist_yet(net, daemon):
    with nothing_lost(net, daemon):
        daemon.reload(config(l={"interface": "n0"}))
        wait_state(daemon, "l", "absent")
        wait_status(daemon, "interface n0 does not exist")
        net.veth("a", "n1", "d", "n0")
        wait_state(daemon, "l", "forwarding")
        wait_followed(daemon, "l", "up, carrier")
        crosses(net, "w1", "n1")


def test_a_port_changes_to_pass(net, daemon):
    text = "[daemon]\n" + port("w", None) + port("l", None) + config(w=None, l=None).split("\n", 1)[1]
    with nothing_lost(net, daemon):
        daemon.reload(text)
        assert (state(daemon, "w"), state(daemon, "l")) == ("passing", "passing")
        net.addr("a", "w1", "10.9.0.1/24")
        net.addr("d", "w0", "10.9.0.2/24")
        assert net.ping("a", "10.9.0.2", 3) == 3
        net.ip("d", "addr", "flush", "dev", "w0")
        daemon.reload(config())
        both_ways(net)


# --- Refused -------------------------------------------------------------------------------------

def assert_refused(net, daemon, text, *lines):
    """A reload that must change nothing: asked by the tool, dry and in earnest, and by signal."""
    before = programs(net), threads(daemon), rebinds(daemon)
    failures = daemon.metric("sluice_config_reload_failures_total")
    sha = reload_status(daemon)["sha256"]
    with nothing_lost(net, daemon, WIRES[0]):
        daemon.configure(text)
        for argv in (["reload", "--dry-run"], ["reload"]):
            done = daemon.ctl(*argv, check=False)
            said = done.stdout + done.stderr
            for line in lines:
                assert line in said, said
            assert done.returncode == EX_CONFIG
        daemon.reload()
    assert (programs(net), threads(daemon), rebinds(daemon)) == before
    status = reload_status(daemon)
    assert status["last_reload_ok"] is False and lines[0] in status["last_reload_error"]
    assert status["sha256"] == sha and status["differs_from_file"] is True
    assert daemon.metric("sluice_config_reload_failures_total") == failures + 2
    assert daemon.metric("sluice_config_last_reload_successful") == 0
    assert daemon.metric("sluice_config_differs_from_file") == 1
    assert daemon.metric("sluice_ready") == 1
    daemon.reload(config())
    assert daemon.metric("sluice_config_last_reload_successful") == 1
    assert daemon.metric("sluice_config_differs_from_file") == 0
    assert reload_status(daemon)["last_reload_error"] == ""


def test_keys_of_the_whole_daemon_need_a_restart(net, daemon):
    assert_refused(net, daemon, config("frame_size = 4096\nframes_per_worker = 16384"),
                   "[daemon] frame_size: 2048 -> 4096",
                   "[daemon] frames_per_worker: auto -> 16384",
                   "need a restart of the daemon")


def test_every_error_of_a_file_is_returned(net, daemon):
    assert_refused(net, daemon, config("workrs = 2", w={"mode": "fast"}, x={"stall_timeout": "1ns"}),
                   "[daemon] workrs: unknown key",
                   "[port w] mode:", "[port x] stall_timeout:")


def test_an_interface_of_the_host_is_refused(net, daemon):
    net.veth("a", "n1", "d", "n0")
    net.addr("d", "n0", "10.9.0.2/24")
    assert_refused(net, daemon, config(l={"interface": "n0"}),
                   "port l: n0 carries 1 address of this host")
    assert prog_id(net, "n0") is None


def test_a_missing_file_is_refused(net, daemon):
    before = programs(net)
    daemon.config_path.unlink()
    done = daemon.ctl("reload", check=False)
    assert done.returncode == EX_CONFIG and "No such file" in done.stdout + done.stderr
    assert programs(net) == before
    daemon.reload(config())
    assert reload_status(daemon)["last_reload_ok"] is True


def test_a_foreign_program_is_left_alone_and_the_port_comes_when_it_goes(net, daemon):
    net.veth("a", "n1", "d", "n0")
    with nothing_lost(net, daemon):
        sink = net.sink("d", "n0", "--idle-timeout", "60s")
        foreign = prog_id(net, "n0")
        daemon.configure(config(l={"interface": "n0"}))
        done = daemon.ctl("reload", check=False)
        wait_state(daemon, "l", "failed", 8.0)
        assert f"id {foreign}" in ports(daemon)["l"]["problem"], ports(daemon)["l"]
        assert prog_id(net, "n0") == foreign
        assert done.returncode in (0, 1)
        sink.stop(status=None)
        wait_state(daemon, "l", "forwarding", 3.0)
        crosses(net, "w1", "n1")


# --- Dry run, what systemd is told ---------------------------------------------------------------

def test_dry_run_says_what_would_be_done_and_does_nothing(net, daemon):
    before = programs(net), counters(daemon)[("sluice_config_reloads_total", ())]
    seen = len(daemon.notified)
    assert daemon.ctl("reload", "--dry-run")["text"] == "nothing to do"
    daemon.configure(config(w={"stall_timeout": "2s"}, x=None, y=None) + port("n", "m") + port("m", "n"))
    text = daemon.ctl("reload", "--dry-run")["text"]
    for line in ("port w: rebuild", "port x: remove", "port y: remove", "port n: add", "port m: add"):
        assert line in text.splitlines(), text
    assert "port l" not in text
    assert (programs(net), counters(daemon)[("sluice_config_reloads_total", ())]) == before
    assert not [line for _, line in daemon.notified[seen:] if line.startswith(("RELOADING", "READY"))]
    assert reload_status(daemon)["differs_from_file"] is True


@pytest.mark.sanitizer
@BOTH
def test_systemd_is_told_of_the_reload(net, daemon, how):
    begun_us = time.monotonic_ns() // 1000
    seen = len(daemon.notified)
    reload(daemon, how, config(w={"stall_timeout": "2s"}))
    wait_for(lambda: any(line == "READY=1" for _, line in daemon.notified[seen:]), "READY=1")
    lines = [line for _, line in daemon.notified[seen:]]
    at = lines.index("RELOADING=1")
    stamp = re.fullmatch(r"MONOTONIC_USEC=(\d+)", lines[at + 1])
    assert stamp, "in the same datagram"
    assert begun_us <= int(stamp.group(1)) <= time.monotonic_ns() // 1000
    assert "READY=1" in lines[at + 2:]
    assert lines.count("RELOADING=1") == 1
