# SPDX-License-Identifier: GPL-2.0-or-later
"""
Coming and going under traffic: restarts in a row, what a stop leaves behind (nothing), whether
each frame of that moment is accounted for, and meeting somebody else on the interface.
"""
import contextlib
import json
import os
import re
import signal
import subprocess

import pytest

from lib import binary, run, wait_for
from probe import Probe, lane, settled

PAIR = """
[port p0]
interface = p0
forward = xconnect p1
take_host_traffic = yes
{extra}
[port p1]
interface = p1
forward = xconnect p0
take_host_traffic = yes
{extra}
"""
# Two MiB of packet memory: the second daemon in a row that leaked it would still start within a
# memlock limit of 8 MiB, the fourth would not.
FRAMES_PER_WORKER = 1024
MEMLOCKED = ["setpriv", "--bounding-set", "-ipc_lock", "prlimit", "--memlock=8388608"]


def config(daemon="", extra=""):
    return f"[daemon]\n{daemon}\n" + PAIR.format(extra=extra)


@pytest.fixture
def host(net):
    net.ns("h"), net.ns("o")
    for i in range(2):
        lane(net, "o", f"o{i}", "h", f"p{i}")
    return settled(net, "h", "o")


@pytest.fixture
def traffic(host):
    """Frames both ways at 2 × 5000 a second until the end of the test."""
    for interface in ("o0", "o1"):
        host.popen("o", *host.gen_argv("send", interface, "--rate", "5k", "--duration", "60s",
                                       "--count", "1G"))


# --- what the kernel holds ----------------------------------------------------------------------------

OBJECT_ID = re.compile(r"(?m)^(prog|map|link)_id:\s+(\d+)")


def objects_of(daemon):
    """{("prog" | "map" | "link", id)}: what the daemon's fds stand for."""
    found = set()
    for fd in os.listdir(f"/proc/{daemon.pid}/fdinfo"):
        with contextlib.suppress(FileNotFoundError), \
                open(f"/proc/{daemon.pid}/fdinfo/{fd}") as info:
            found |= {(kind, int(number)) for kind, number in OBJECT_ID.findall(info.read())}
    return found


def wait_gone(objects):
    """The kernel frees them a grace period or two after the last reference."""
    def left():
        return {(kind, o["id"]) for kind in ("prog", "map", "link")
                for o in json.loads(run("bpftool", "-j", kind, "show").stdout or "[]")} & objects
    wait_for(lambda: not left(), f"{len(objects)} BPF objects are gone")


def sockets_in(net, ns="h"):
    """How many AF_XDP sockets there are in a namespace, open or not yet quite gone."""
    protocols = net.run(ns, "cat", "/proc/self/net/protocols").stdout
    return int(re.search(r"(?m)^XDP\s+\d+\s+(\d+)", protocols).group(1))


def fds_of(daemon):
    """What its fds are, once five looks in a row agree: some are open for a moment only."""
    seen = []

    def look():
        names = []
        for fd in os.listdir(f"/proc/{daemon.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                names.append(re.sub(r"\d+", "", os.readlink(f"/proc/{daemon.pid}/fd/{fd}")))
        seen.append(sorted(names))
        return len(seen) >= 5 and all(names == seen[-1] for names in seen[-5:])
    wait_for(look, "the daemon's fds are steady")
    return seen[-1]


def rss_kib(daemon):
    with open(f"/proc/{daemon.pid}/smaps_rollup") as rollup:
        return int(re.search(r"(?m)^Private_Dirty:\s+(\d+)", rollup.read()).group(1))


def state_of(net, interface, ns="h"):
    """What a daemon changes about an interface and must put back."""
    link = net.link(ns, interface)
    offloads = net.ethtool(ns, "-k", interface).stdout
    return {"xdp": link.get("xdp"), "promiscuity": link["promiscuity"], "flags": link["flags"],
            "mtu": link["mtu"], "offloads": offloads}


# --- restarts in a row -----------------------------------------------------------------------------------

@pytest.mark.parametrize("end,times", [("stop", 20), ("kill", 10)])
def test_restarts_in_a_row(host, traffic, end, times):
    """
    Each one is ready at once, though its predecessor may still be dying, and nothing is left of
    any: no program, map, link, socket or pinned memory.
    """
    before = {name: state_of(host, name) for name in ("p0", "p1")}
    daemon = host.daemon_not_started(
        "h", config(f"frames_per_worker = {FRAMES_PER_WORKER}"), prefix=MEMLOCKED)
    objects, fds = set(), None
    for _ in range(times):
        daemon.start()
        assert "forwarding p0" in daemon.log()
        objects |= objects_of(daemon)
        fds = fds or fds_of(daemon)
        assert fds_of(daemon) == fds
        getattr(daemon, end)()
    # program, link, xsks, heartbeat, verdicts, read-only data: of each port, each time
    assert len(objects) >= times * 2 * 6
    wait_gone(objects)
    wait_for(lambda: sockets_in(host) == 0, "no AF_XDP socket is left")
    if end == "kill":  # offloads are put back by the next clean stop
        daemon.start()
        daemon.stop()
    assert {name: state_of(host, name) for name in ("p0", "p1")} == before


def test_reloads_in_a_row(host, traffic):
    """Twenty rebuilds of a pair of ports: memory, fds and objects stay what they were."""
    texts = [config(extra=f"stall_timeout = {ms}ms") for ms in (200, 300)]
    daemon = host.daemon("h", texts[0])
    objects = set()
    for i in range(20):
        objects |= objects_of(daemon)
        daemon.reload(texts[(i + 1) % 2])
        if i == 4:
            fds, dirty_kib = fds_of(daemon), rss_kib(daemon)
    assert fds_of(daemon) == fds
    assert rss_kib(daemon) - dirty_kib <= 256
    wait_gone(objects - objects_of(daemon))
    assert sockets_in(host) == 2
    assert daemon.metric("sluice_interface_rebinds_total", interface="p0") == 20
    assert daemon.metric("sluice_umem_frames_lost") == 0
    daemon.stop()


# --- one stop ------------------------------------------------------------------------------------------

TOTALS = re.compile(r"port (\w+): not received (\d+), received (\d+), forwarded (\d+), "
                    r"dropped (\d+); sent (\d+), confirmed (\d+)")


def totals_of(daemon):
    """{port: (not received, received, forwarded, dropped, sent, confirmed)} as it said at its end."""
    return {port: tuple(map(int, numbers)) for port, *numbers in TOTALS.findall(daemon.log())}


def verdicts_of(daemon, port):
    text = re.search(rf"port {port}: XDP verdicts: (.*)", daemon.log()).group(1)
    return {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", text)}


@pytest.mark.sanitizer
@pytest.mark.parametrize("on_failure", ["pass", "drop"])
def test_sigterm_under_traffic_loses_no_frame_uncounted(host, bpffs, on_failure):
    daemon = host.daemon("h", config(f"bpf_dir = {bpffs}", f"on_failure = {on_failure}"))
    host.lossless("h", "p1")  # or the device may drop after its confirmation
    with host.sink("o", "o1", "--idle-timeout", "2s") as sink:
        sender = host.popen("o", *host.gen_argv("send", "o0", "--rate", "50k", "--count", "1G"),
                            stdout=subprocess.PIPE, text=True)
        wait_for(lambda: daemon.metric("sluice_queue_forwarded_packets_total", interface="p0")
                 > 5000, "traffic flows")
        daemon.stop()
        sender.send_signal(signal.SIGTERM)
        sent = json.loads(sender.communicate(timeout=20)[0])["sent"]
        got = sink.result(status=None)
    verdicts, totals = verdicts_of(daemon, "p0"), totals_of(daemon)
    missed, received, forwarded, dropped, _, _ = totals["p0"]
    assert verdicts["redirect"] == missed + received
    assert received == forwarded + dropped
    assert forwarded == totals["p1"][4] == totals["p1"][5]
    assert forwarded == got["received"] + got["kernel"]["rx_dropped"] + got["kernel"]["rx_ring_full"]
    assert got["duplicated"] == got["corrupted"] == got["reordered"] == 0
    assert 5000 < got["received"] < sent


@pytest.mark.sanitizer
def test_clean_stop_leaves_no_trace(host, bpffs):
    before = {name: state_of(host, name) for name in ("p0", "p1")}
    assert "rx-vlan-offload: on" in before["p0"]["offloads"]
    daemon = host.daemon_not_started("h", config(f"bpf_dir = {bpffs}"))
    files = set(os.listdir(daemon.dir)) | {"log"}
    daemon.start()
    objects = objects_of(daemon)
    during = state_of(host, "p0")
    assert during["xdp"] and during["promiscuity"] == 1 and sockets_in(host) == 2
    assert "rx-vlan-offload: off" in during["offloads"]
    assert daemon.control_path.is_socket()
    daemon.stop()
    assert {name: state_of(host, name) for name in ("p0", "p1")} == before
    assert set(os.listdir(daemon.dir)) == files
    assert [p for p in os.listdir(bpffs) if not p.endswith(".debug")] == []
    assert sockets_in(host) == 0
    wait_gone(objects)


# --- somebody else -------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode,flag", [("native", "xdpdrv"), ("generic", "xdpgeneric")])
def test_foreign_program(host, bpffs, mode, flag):
    path = bpffs / "theirs"
    run("bpftool", "prog", "load", binary("tools/gen/gen.bpf.o"), path, "type", "xdp")
    host.run("h", "bpftool", "net", "attach", flag, "pinned", path, "dev", "p0")
    theirs = host.link("h", "p0")["xdp"]
    prog = json.loads(run("bpftool", "-j", "prog", "show", "pinned", path).stdout)
    daemon = host.daemon_not_started("h", config()).start(ready=False)
    assert daemon.wait() == 1
    off = {"native": "xdp", "generic": "xdpgeneric"}[mode]
    assert f"engine: port p0: cannot attach to p0: another XDP program is there: id {prog['id']} " \
           f"({prog['name']}), {mode} mode; it is left alone. Remove it (`ip link set dev p0 " \
           f"{off} off`, or stop its owner) or take the port out of the configuration\n" \
        in daemon.log()
    assert host.link("h", "p0")["xdp"] == theirs
    assert not host.link("h", "p1").get("xdp")
    assert host.link("h", "p0")["promiscuity"] == host.link("h", "p1")["promiscuity"] == 0


def test_second_daemon(host):
    """On the control socket: at once. On the interface: after the patience due to the dying."""
    first = host.daemon("h", config(extra="stall_timeout = 5s"))
    with Probe(host, ("o", "o0"), ("h", "p0"), ("o", "o1")) as wire:
        since = wire.wait_for("crossed")
        before = objects_of(first)
        same_socket = host.daemon_not_started(
            "h", config(f"control_socket = {first.control_path}")).start(ready=False)
        assert same_socket.wait() == 1
        assert f"life: control socket {first.control_path}: Address already in use\n" \
            in same_socket.log()
        same_port = host.daemon_not_started("h", config()).start(ready=False)
        assert same_port.wait() == 1
        prog_ids = [host.link("h", port)["xdp"]["prog"]["id"] for port in ("p0", "p1")]
        assert all(("prog", prog_id) in before for prog_id in prog_ids)
        # Whichever port's patience ends first.
        assert any(f"another XDP program is there: id {prog_id} (sluice_redirect), native mode"
                   in same_port.log() for prog_id in prog_ids)
        assert first.control("ping")["ok"] is True
        assert objects_of(first) == before
        wire.wait_for("crossed")
        wire.require("crossed", since)
    assert state_of(host, "p0")["promiscuity"] == 1
    assert "rx-vlan-offload: off" in state_of(host, "p0")["offloads"]
    first.stop()


def test_start_waits_for_a_dying_predecessor(host, traffic):
    """Its queues are busy and its program is there for up to 195 ms after kill -9: no failure."""
    daemon = host.daemon("h", config())
    daemon.process.send_signal(signal.SIGKILL)
    successor = host.daemon("h", daemon.config_path.read_text().replace("daemon0", "daemon1"))
    daemon.wait()
    assert "cannot" not in successor.log()
    successor.stop()
