# SPDX-License-Identifier: GPL-2.0-or-later
"""
The whole life of a pin: on_failure = drop holds an interface shut while nobody serves it, from
the first start until the configuration or the operator says otherwise, and not a moment longer.

A host `h`: p0 - p1 cross-connected with on_failure = drop, p2 a port that passes. bpf_dir is a
BPF file system of the test's own.
"""
import json
import os
import re
import stat
import time

import pytest

from lib import binary, run, wait_for
from probe import Probe, arrivals, lane, settled

FRAMES = 200
PINNED = ["heartbeat", "link", "prog", "verdicts", "xsks"]
DROP_PAIR = """
[port p0]
interface = p0
forward = xconnect p1
on_failure = drop
take_host_traffic = yes
{extra}
[port p1]
interface = p1
forward = xconnect p0
on_failure = drop
take_host_traffic = yes
{extra}
"""
PASS_PORT = "[port p2]\ninterface = p2\nforward = pass\n"


def config(bpf_dir, pair=True, on_failure="drop", extra="stall_timeout = 5s"):
    text = f"[daemon]\nbpf_dir = {bpf_dir}\n" + PASS_PORT
    if pair:
        text += DROP_PAIR.format(extra=extra).replace("= drop", f"= {on_failure}")
    return text


@pytest.fixture
def host(net):
    net.ns("h"), net.ns("o")
    for i in range(3):
        lane(net, "o", f"o{i}", "h", f"p{i}", queues=2 if i < 2 else 1)
    return settled(net, "h", "o")


@pytest.fixture
def wire(host):
    with Probe(host, ("o", "o0"), ("h", "p0"), ("o", "o1")) as probe:
        yield probe


def pins(bpffs):
    return sorted(str(path.relative_to(bpffs)) for path in bpffs.rglob("*")
                  if path.suffix != ".debug")  # the kernel's own


def pinned_link(bpffs, port="p0"):
    """What bpftool says of the pinned link: id and prog_id."""
    return json.loads(run("bpftool", "-j", "link", "show", "pinned",
                          bpffs / port / "link").stdout)


def program_on(net, interface, ns="h"):
    """Id of the XDP program on an interface, None if there is none."""
    return (net.link(ns, interface).get("xdp") or {}).get("prog", {}).get("id")


def detach(net, daemon, *argv, status=0):
    """`sluiced --detach` with the daemon's configuration file; what it says."""
    done = net.run("h", binary("daemon/sluiced"), "-c", daemon.config_path, "--detach", *argv,
                   check=False)
    assert done.returncode == status, f"{done.returncode}: {done.stderr}"
    return done.stderr


def refused(net, text, **kwargs):
    """Starts a daemon that must end with 1 and have nothing attached; its log."""
    daemon = net.daemon_not_started("h", text, **kwargs)
    daemon.start(ready=False)
    assert daemon.wait(20) == 1, daemon.log()
    return daemon.log()


def verdict_sum(daemon, interface="p0"):
    return daemon.metric("sluice_xdp_verdicts_total", interface=interface)


# --- it holds --------------------------------------------------------------------------------------

@pytest.mark.sanitizer
def test_pins_hold_across_sigterm_and_kill_and_are_adopted(host, bpffs, wire):
    """Watched throughout: not one frame reaches the kernel."""
    daemon = host.daemon("h", config(bpffs))
    assert pins(bpffs) == [p for port in ("p0", "p1")
                           for p in [port, *(f"{port}/{name}" for name in PINNED)]]
    for port in ("p0", "p1"):
        assert stat.S_IMODE((bpffs / port).stat().st_mode) == 0o700
    assert daemon.metric("sluice_interface_pinned", interface="p0") == 1
    assert daemon.metric("sluice_interface_pinned", interface="p2") == 0
    first = pinned_link(bpffs)
    assert first["prog_id"] == program_on(host, "p0")
    since = wire.wait_for("crossed")

    for end in (daemon.stop, daemon.kill):
        end()
        ended = pinned_link(bpffs)
        assert ended["id"] == first["id"]
        wire.wait_for("lost")
        before = program_on(host, "p0")
        daemon.start()
        adopted = pinned_link(bpffs)
        assert adopted["id"] == first["id"]
        assert adopted["prog_id"] == program_on(host, "p0") != before
        assert "port p0: took over the pinned program on p0" in daemon.log()
        assert pins(bpffs) == [p for port in ("p0", "p1")
                               for p in [port, *(f"{port}/{name}" for name in PINNED)]]
        wire.wait_for("crossed")

    assert set(wire.counts(since)) == {"crossed", "lost"}
    assert program_on(host, "p2")
    daemon.stop()


def test_totals_are_carried_over(host, bpffs):
    """To the frame: redirected by one daemon, dropped by none, redirected by the next."""
    daemon = host.daemon("h", config(bpffs, extra="stall_timeout = 100ms"))
    host.gen("o", "send", "o0", "--count", FRAMES, "--rate", "20k")
    wait_for(lambda: verdict_sum(daemon) == FRAMES, "all frames have a verdict")
    daemon.stop()
    host.gen("o", "send", "o0", "--count", FRAMES, "--rate", "20k")
    daemon.start()
    host.gen("o", "send", "o0", "--count", FRAMES, "--rate", "20k")
    wait_for(lambda: verdict_sum(daemon) == 3 * FRAMES, "all frames have a verdict")
    by_reason = {dict(labels)["reason"]: value for (name, labels), value in
                 daemon.metrics().items()
                 if name == "sluice_xdp_verdicts_total" and dict(labels)["interface"] == "p0"}
    assert by_reason["redirect"] == 2 * FRAMES
    assert by_reason["stale"] + by_reason["no_socket"] == FRAMES
    # A rebuild of the port within one daemon does not lose or double them either.
    daemon.reload(config(bpffs, extra="stall_timeout = 200ms"))
    assert verdict_sum(daemon) == 3 * FRAMES
    # Nor does a life with another on_failure in between.
    daemon.reload(config(bpffs, on_failure="pass"))
    assert verdict_sum(daemon) == 3 * FRAMES
    daemon.reload(config(bpffs))
    daemon.reload(config(bpffs, extra="stall_timeout = 200ms"))
    assert verdict_sum(daemon) == 3 * FRAMES
    daemon.stop()


def test_queue_of_no_worker_passes_whatever_happens(host, bpffs):
    """`drop` is for the queues that the plan gave to a worker; queue 1 was always the kernel's."""
    daemon = host.daemon("h", config(bpffs, extra="stall_timeout = 5s\nqueues = 0"))

    def passed(queue):
        """The frames, of FRAMES sent to p0 on a queue, that the kernel of the host got."""
        with arrivals(host, "h", "p0") as count:
            host.gen("o", "send", "o0", "--count", FRAMES, "--queue", queue, "--rate", "20k")
            if queue == 1:
                wait_for(lambda: count() == FRAMES, "the frames passed")
            return count()
    assert passed(1) == FRAMES and passed(0) == 0
    daemon.kill()
    assert passed(1) == FRAMES and passed(0) == 0
    daemon.start()
    assert daemon.metric("sluice_xdp_verdicts_total", interface="p0",
                         reason="no_worker") == 2 * FRAMES
    daemon.stop()
    assert passed(1) == FRAMES and passed(0) == 0


# --- it ends ---------------------------------------------------------------------------------------

CHANGES = {
    "changed_to_pass": lambda bpffs: config(bpffs, on_failure="pass"),
    "removed": lambda bpffs: config(bpffs, pair=False),
}


@pytest.mark.parametrize("change,how", [
    ("changed_to_pass", "reload"), ("changed_to_pass", "restart"),
    ("removed", "reload"), ("removed", "restart_after_kill")])
def test_pin_goes_with_the_configuration(host, bpffs, wire, change, how):
    daemon = host.daemon("h", config(bpffs))
    wire.wait_for("crossed")
    if how == "reload":
        daemon.reload(CHANGES[change](bpffs))
    else:
        (daemon.stop if how == "restart" else daemon.kill)()
        wire.wait_for("lost")
        daemon.configure(CHANGES[change](bpffs))
        daemon.start()
        assert "port p0: removing the pin of an earlier run, which still held its interface" \
            in daemon.log()
    assert pins(bpffs) == []
    wire.wait_for("crossed" if change == "changed_to_pass" else "answered")
    if change == "removed":
        assert program_on(host, "p0") is None
    daemon.stop()
    wire.wait_for("answered")
    assert program_on(host, "p0") is None


@pytest.mark.sanitizer
def test_detach_without_a_daemon(host, bpffs, wire):
    daemon = host.daemon("h", config(bpffs))
    daemon.kill()
    wire.wait_for("lost")
    assert "port nosuch: no pins found" in detach(host, daemon, "nosuch", status=1)
    assert detach(host, daemon, "p0") == "life: port p0: detached\n"
    wire.wait_for("answered")
    assert program_on(host, "p0") is None and program_on(host, "p1")
    assert "port p0: no pins found" in detach(host, daemon, "p0", status=1)
    assert detach(host, daemon) == "life: port p1: detached\n"
    assert program_on(host, "p1") is None and pins(bpffs) == []
    assert detach(host, daemon) == ""
    daemon.start()
    wire.wait_for("crossed")
    daemon.stop()


@pytest.mark.parametrize("then", ["start", "detach"])
def test_device_deleted_while_nobody_served_it(host, bpffs, then):
    """The pin outlives its device; it is known as defunct and in nobody's way."""
    daemon = host.daemon("h", config(bpffs))
    daemon.kill()
    host.ip("o", "link", "del", "o0")
    assert "p0/link" in pins(bpffs)
    lane(host, "o", "o0", "h", "p0", queues=2)
    settled(host, "h", "o")
    if then == "detach":
        assert detach(host, daemon, "p0") == \
            "life: port p0: detached (its interface was already gone)\n"
        assert not (bpffs / "p0").exists()
    daemon.start()
    assert "took over the pinned program on p1" in daemon.log()
    assert "took over the pinned program on p0" not in daemon.log()
    with Probe(host, ("o", "o0"), ("h", "p0"), ("o", "o1")) as wire:
        wire.wait_for("crossed")
        daemon.stop()
        wire.wait_for("lost")
    detach(host, daemon)
    assert pins(bpffs) == []


@pytest.mark.parametrize("lacks", ["prog", "all_but_link"])
def test_incomplete_pins_are_named_and_removed_by_detach(host, bpffs, wire, lacks):
    """What would prove them ours is gone; as the directory is, they are not a trap for ever."""
    daemon = host.daemon("h", config(bpffs))
    daemon.kill()
    for name in ["prog"] if lacks == "prog" else set(PINNED) - {"link"}:
        (bpffs / "p0" / name).unlink()
    daemon.start(ready=False)
    assert daemon.wait(20) == 1
    log = daemon.log()
    assert f"port p0: cannot attach to p0: the pins in {bpffs}/p0 are incomplete, and what they " \
        "hold stays in force; `sluiced -c FILE --detach p0` removes them\n" in log
    for name in ("p0", "p1"):
        assert f"port {name}: a program that was pinned before stays on {name}" in log
    assert "nothing stays" not in log
    wire.wait_for("lost")
    assert detach(host, daemon, "p0") == "life: port p0: detached\n"
    assert program_on(host, "p0") is None and not (bpffs / "p0").exists()
    wire.wait_for("answered")
    daemon.start()
    wire.wait_for("crossed")
    daemon.stop()


def test_incomplete_pins_in_a_directory_open_to_others_are_left_alone(host, bpffs):
    daemon = host.daemon("h", config(bpffs))
    daemon.stop()
    (bpffs / "p0" / "prog").unlink()
    (bpffs / "p0").chmod(0o755)
    assert "port p0: cannot remove its pins: what is in" in detach(host, daemon, "p0", status=1)
    assert (bpffs / "p0" / "link").exists() and program_on(host, "p0")


def test_detach_while_a_daemon_runs_is_refused(host, bpffs, wire):
    daemon = host.daemon("h", config(bpffs))
    before = program_on(host, "p0")
    said = detach(host, daemon, "p0", status=1)
    assert f"a running sluiced keeps its pins in {bpffs}" in said
    assert "`sluicectl detach p0`" in said
    assert program_on(host, "p0") == before and (bpffs / "p0" / "link").exists()
    wire.wait_for("crossed")
    daemon.stop()
    assert detach(host, daemon, "p0") == "life: port p0: detached\n"


def test_bpf_dir_removed_while_in_use_is_made_again(host, bpffs, wire):
    daemon = host.daemon("h", config(bpffs / "made"))
    for path in sorted((bpffs / "made").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (bpffs / "made").rmdir()
    daemon.reload(config(bpffs / "made", extra="stall_timeout = 4s"))
    wait_for(lambda: all((bpffs / "made" / port / "link").exists() for port in ("p0", "p1")),
             "the pins are there again")
    wire.wait_for("crossed")
    daemon.kill()
    wire.wait_for("lost")
    daemon.start()
    assert "took over the pinned program on p0" in daemon.log()
    daemon.stop()


def test_asking_for_features_makes_no_directory(host, tmp_path):
    """In a mount namespace of its own, with a BPF file system that nobody has used."""
    script = "mount -t bpf -o mode=0700 bpf /sys/fs/bpf && \"$1\" -VV && ls -A /sys/fs/bpf >&2"
    done = run("unshare", "--mount", "sh", "-c", script, "sh", binary("daemon/sluiced"))
    assert "sluice" not in done.stderr
    assert re.search(r"(?m)^.*pin.*yes", done.stdout), done.stdout


# --- what is not ours --------------------------------------------------------------------------------

@pytest.fixture
def foreign(bpffs):
    """Pins a program that is not sluiced's."""
    def pin(path):
        run("bpftool", "prog", "load", binary("tools/gen/gen.bpf.o"), path, "type", "xdp")
    return pin


def test_foreign_program_in_a_port_directory_is_refused(host, bpffs, foreign):
    (bpffs / "p0").mkdir(mode=0o700)
    foreign(bpffs / "p0" / "prog")
    log = refused(host, config(bpffs))
    assert "port p0: cannot attach to p0: what is pinned in " \
           f"{bpffs}/p0 is not sluiced's; move it away or set bpf_dir" in log
    assert pins(bpffs) == ["p0", "p0/prog"]
    for interface in ("p0", "p1", "p2"):
        assert program_on(host, interface) is None


def test_foreign_things_in_bpf_dir_are_left_alone(host, bpffs, foreign):
    foreign(bpffs / "theirs")
    (bpffs / "dir").mkdir()
    foreign(bpffs / "dir" / "prog")
    (bpffs / "empty").mkdir()
    daemon = host.daemon("h", config(bpffs))
    daemon.stop()
    assert "port dir: cannot remove its pins" in detach(host, daemon, status=1)
    assert pins(bpffs) == ["dir", "dir/prog", "empty", "theirs"]


# --- bpf_dir -------------------------------------------------------------------------------------------

NEEDS = "on_failure = drop needs a bpf file system for its pins: none at {dir}; mount one " \
        "(`mount -t bpf bpf /sys/fs/bpf`) or set bpf_dir"
NOT_OURS = "on_failure = drop: the pin directory ({dir}) belongs to somebody else or is open to " \
           "others; it must be ours and mode 0700"
BAD_DIRS = {
    "missing": (NEEDS, lambda bpffs, tmp: tmp / "nowhere"),
    "not_bpffs": (NEEDS, lambda bpffs, tmp: tmp),
    "below_a_missing_one": (NEEDS, lambda bpffs, tmp: bpffs / "a" / "b"),
    "wrong_owner": (NOT_OURS, lambda bpffs, tmp: made(bpffs / "theirs", 0o700, 65534)),
    "open_to_the_group": (NOT_OURS, lambda bpffs, tmp: made(bpffs / "open", 0o750, 0)),
}


def made(path, mode, uid):
    path.mkdir()
    path.chmod(mode)
    os.chown(path, uid, -1)
    return path


@pytest.mark.parametrize("kind", BAD_DIRS)
def test_bad_bpf_dir(host, bpffs, kind):
    message, make = BAD_DIRS[kind]
    path = make(bpffs, host.dir)
    before = pins(bpffs)
    assert "engine: port p0: " + message.format(dir=path) + "\n" in refused(host, config(path))
    assert pins(bpffs) == before
    for interface in ("p0", "p1", "p2"):
        assert program_on(host, interface) is None


def test_bpf_dir_is_made_if_its_parent_is_there(host, bpffs):
    daemon = host.daemon("h", config(bpffs / "made"))
    assert stat.S_IMODE((bpffs / "made").stat().st_mode) == 0o700
    assert (bpffs / "made" / "p0" / "link").exists()
    daemon.stop()


def test_bpf_dir_is_not_touched_without_a_drop_port(host, bpffs):
    daemon = host.daemon("h", config(bpffs / "made", on_failure="pass"))
    daemon.stop()
    detach(host, daemon)
    assert pins(bpffs) == []


def test_bpf_dir_of_another_daemon(host, bpffs, wire):
    """Two daemons would take each other's pins for those of an earlier run."""
    daemon = host.daemon("h", config(bpffs))
    wire.wait_for("crossed")
    begun = time.monotonic()
    host.ns("g"), lane(host, "o", "o8", "g", "p8"), lane(host, "o", "o9", "g", "p9")
    other = config(bpffs).replace("p0", "p8").replace("p1", "p9").replace(PASS_PORT, "")
    second = host.daemon_not_started("g", other).start(ready=False)
    assert second.wait(20) == 1
    assert f"port p8: another sluiced keeps its pins in {bpffs}; give each a bpf_dir of its own" \
        in second.log()
    # The same ports, another control socket: it must not take over what is alive.
    second = host.daemon_not_started("h", config(bpffs)).start(ready=False)
    assert second.wait(20) == 1
    # One without drop ports does not need the directory, and leaves what is in it alone.
    third = host.daemon("g", f"[daemon]\nbpf_dir = {bpffs}\n[port p8]\ninterface = p8\n"
                        "forward = pass\n")
    third.stop()
    assert pins(bpffs) == [p for port in ("p0", "p1")
                           for p in [port, *(f"{port}/{name}" for name in PINNED)]]
    wire.wait_for("crossed")
    wire.require("crossed", begun)
    daemon.stop()


# --- a start that fails ----------------------------------------------------------------------------------

def test_failed_start_leaves_no_new_pin(host, bpffs, foreign, wire):
    """But one that was there before goes on holding: it failed shut, it stays shut."""
    foreign(bpffs / "theirs")
    run("nsenter", f"--net=/run/netns/{host.real('h')}", "bpftool", "net", "attach", "xdpdrv",
        "pinned", bpffs / "theirs", "dev", "p1")
    log = refused(host, config(bpffs))
    assert re.search(r"port p1: cannot attach to p1: another XDP program is there: id \d+", log)
    assert pins(bpffs) == ["theirs"]
    assert program_on(host, "p0") is None
    host.ip("h", "link", "set", "p1", "xdpdrv", "off")
    daemon = host.daemon("h", config(bpffs))
    wire.wait_for("crossed")
    daemon.kill()
    detach(host, daemon, "p1")
    run("nsenter", f"--net=/run/netns/{host.real('h')}", "bpftool", "net", "attach", "xdpdrv",
        "pinned", bpffs / "theirs", "dev", "p1")
    refused(host, config(bpffs))
    assert (bpffs / "p0" / "link").exists() and program_on(host, "p0")
    wire.wait_for("lost")
    detach(host, daemon)
