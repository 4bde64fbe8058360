# SPDX-License-Identifier: GPL-2.0-or-later
"""
What people and systemd see of the programs: options and exit statuses of sluiced, sluicectl
against a live daemon, and READY, STATUS and WATCHDOG as the service manager receives them.
"""
import json
import os
import re
import socket
import stat
import subprocess

import pytest

from hold import held
from lib import Daemon, binary, parse_metrics, run, wait_for
from rig import (WIRES, ask, both_ways, config, port, ports, prog_id, state, wait_state, wait_status,
                 wires)
from unprivileged import as_user

EX_CONFIG = 78
SLUICED, SLUICECTL = "daemon/sluiced", "tools/ctl/sluicectl"


def sluiced(*argv, **kwargs):
    return run(binary(SLUICED), *argv, check=False, **kwargs)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "sluice.conf"
        path.write_text(text)
        return path
    return write


# --- sluiced: the file ---------------------------------------------------------------------------

@pytest.mark.sanitizer
def test_check_config_says_every_error_and_where(file):
    good = sluiced("-c", file(config()), "--check-config")
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    path = file("[daemon]\nworkrs = 2\n[port w]\ninterface = w0\nforward = xconnect nobody\n"
                "stall_timeout = 100\n[prot x]\n")
    bad = sluiced("-c", path, "-t")
    assert bad.returncode == EX_CONFIG and bad.stdout == ""
    lines = bad.stderr.splitlines()
    for line, words in ((2, ["[daemon] workrs", 'did you mean "workers"']),
                        (5, ["[port w] forward", "nobody"]), (6, ["[port w] stall_timeout"]),
                        (7, ["prot"])):
        assert any(text.startswith(f"{path}:{line}: ") and all(w in text for w in words)
                   for text in lines), (line, words, lines)


def test_a_file_that_is_not_there(tmp_path):
    for option in ("--check-config", "--dump-config", "--dry-run", None):
        done = sluiced("-c", tmp_path / "none", *([option] if option else []))
        assert done.returncode == EX_CONFIG, option
        assert f"{tmp_path}/none" in done.stderr and "No such file" in done.stderr


def test_dump_config_shows_origins(file):
    path = file("[daemon]\nworkers = 2\n[port w]\ninterface = w0\nforward = pass\n")
    done = sluiced("-c", path, "--dump-config")
    assert done.returncode == 0
    assert re.search(rf"(?m)^workers = 2 +; {path}:2$", done.stdout)
    assert re.search(r"(?m)^frame_size = 2048 +; default$", done.stdout)
    dump = json.loads(sluiced("-c", path, "--dump-config=json").stdout)
    assert dump["daemon"]["workers"] == {"value": 2, "origin": f"{path}:2"}
    # What was dumped is a configuration, and the same one.
    again = sluiced("-c", file(done.stdout), "--dump-config")
    strip = lambda text: re.sub(r" +;.*", "", text)
    assert strip(again.stdout) == strip(done.stdout)


def test_list_keys():
    rows = json.loads(sluiced("--list-keys=json").stdout)
    text = sluiced("--list-keys").stdout.splitlines()
    assert len(rows) == len(text) > 20
    stall = next(r for r in rows if (r["section"], r["key"]) == ("port", "stall_timeout"))
    assert (stall["default"], stall["reload"]) == ("100ms", "port")


@pytest.mark.parametrize("argv", [
    ["--bogus"], ["-c"], ["--list-keys=xml"], ["--dump-config=yaml"], ["extra"], ["--dry-run", "extra"],
], ids=" ".join)
def test_wrong_usage_ends_with_2(argv):
    done = sluiced(*argv)
    assert done.returncode == 2
    assert done.stdout == "" and "sluiced --help" in done.stderr


@pytest.mark.parametrize("argv", [
    ["--list-keys"], ["--list-keys=json"], ["--dump-config"], ["--dump-config=json"], ["--dry-run"],
    ["--help"], ["-V"], ["-VV"]], ids=" ".join)
def test_what_cannot_be_written_is_a_failure(file, argv):
    path = file("[port w]\ninterface = nosuch0\nforward = pass\n")
    with open("/dev/full", "w") as full:
        done = subprocess.run([binary(SLUICED), "-c", path, *argv], stdout=full, text=True,
                              stderr=subprocess.PIPE, timeout=30, check=False)
    assert done.returncode == 1
    assert "sluiced: cannot write to standard output\n" in done.stderr


def test_help_and_versions():
    text = sluiced("--help")
    assert text.returncode == 0 and text.stderr == ""
    for option in ("--config", "--check-config", "--dry-run", "--dump-config", "--list-keys", "--detach",
                   "--version"):
        assert option in text.stdout
    default = re.search(r"default (\S+)\)", text.stdout).group(1)
    assert os.path.isabs(default), "a service has no working directory worth the name"
    short = sluiced("-V")
    assert re.fullmatch(r"sluiced \d+\.\d+\.\d+ \(\w+\)\n", short.stdout)
    long = sluiced("-VV")
    assert long.returncode == 0 and long.stdout.startswith(short.stdout)
    for word in ("libbpf", "libxdp", "inih", "libmnl", "libsystemd", "AF_XDP sockets", "RLIMIT_MEMLOCK",
                 f"Linux {os.uname().release}"):
        assert word in long.stdout


@pytest.mark.sanitizer
def test_dry_run_prints_the_plan_and_touches_nothing(net):
    wires(net, WIRES[:1], queues=2)
    path = net.dir / "sluice.conf"
    path.write_text(port("w", "l") + port("l", "w", queues="0"))
    os.chmod(net.dir, 0o755)
    for prefix in ([], as_user()):
        done = net.run("d", *prefix, binary(SLUICED), "-c", path, "--dry-run", check=False)
        assert done.returncode == 0, done.stderr
        for line in (r"workers +1", r"lane +w/1 -> l/0 .*", r"has queues +2 rx, 2 tx", r"driver +veth",
                     r"memory +[\d.]+ MiB"):
            assert re.search(rf"(?m)^ *{line}$", done.stdout), (line, done.stdout)
    assert prog_id(net, "w0") is None
    net.addr("d", "l0", "10.7.0.1/24")
    done = net.run("d", binary(SLUICED), "-c", path, "--dry-run", check=False)
    assert done.returncode == 1
    assert re.search(r"(?m)^ +error +port l: l0 carries 1 address of this host", done.stdout)


# --- sluicectl -----------------------------------------------------------------------------------

def ctl(daemon, *argv, prefix=()):
    return daemon.net.run("d", *prefix, binary(SLUICECTL), "--socket", daemon.control_path, *argv,
                          check=False)


SHOWS = [["status"], ["show", "interfaces"], ["show", "queues"], ["show", "workers"], ["show", "plan"],
         ["show", "config"], ["plan"], ["drops"], ["metrics"], ["ping"]]


def test_every_view_with_and_without_json(net):
    wires(net)
    daemon = net.daemon("d", config())
    both_ways(net)
    for argv in SHOWS:
        plain, as_json = ctl(daemon, *argv), ctl(daemon, "--json", *argv)
        assert (plain.returncode, as_json.returncode) == (0, 0), (argv, plain, as_json)
        assert plain.stdout.strip() and plain.stderr == as_json.stderr == ""
        assert "\033" not in plain.stdout, "no colour into a pipe"
        answer = json.loads(as_json.stdout)
        assert answer["ok"] is True and answer["api"] == 1
        assert as_json.stdout.count("\n") == 1, "one line"
    assert all(f"{name}0" in ctl(daemon, "status").stdout for name in "wlxy")
    shown = json.loads(ctl(daemon, "--json", "show", "config").stdout)["config"]
    assert shown["daemon"]["control_socket"]["value"] == str(daemon.control_path)
    drops = ctl(daemon, "--json", "drops")
    assert json.loads(drops.stdout)["drops"]["balanced"] is True
    page = parse_metrics(ctl(daemon, "metrics").stdout)
    assert page[("sluice_ready", ())] == 1


def test_detach_and_attach(net):
    wires(net)
    daemon = net.daemon("d", config())
    for argv in (["detach", "w"], ["--json", "detach", "w"]):
        assert ctl(daemon, *argv).returncode == 0
    assert state(daemon, "w") == "detached"
    assert ctl(daemon, "status").returncode == 1, "not as configured"
    net.gen("a", "send", "w1", "--count", "20", "--rate", "20k")
    wait_for(lambda: daemon.metric("sluice_xdp_verdicts_total", interface="w0", reason="detached") == 20,
             "20 frames to the kernel")
    assert ctl(daemon, "attach", "w").returncode == 0
    both_ways(net)
    assert ctl(daemon, "detach", "*").returncode == 0
    assert {p["state"] for p in ports(daemon).values()} == {"detached"}
    assert ctl(daemon, "attach", "*").returncode == 0
    both_ways(net, WIRES[1])
    unknown = ctl(daemon, "detach", "nobody")
    assert unknown.returncode == 1 and "no port is called 'nobody'" in unknown.stderr
    assert re.search(r"uid=0 pid=\d+: detach w: done", daemon.log())


def test_exit_statuses(net, tmp_path):
    wires(net, WIRES)
    daemon = net.daemon("d", config())
    assert ctl(daemon, "status").returncode == 0
    assert ctl(daemon, "frobnicate").returncode == 2
    assert ctl(daemon, "detach").returncode == 2
    assert ctl(daemon, "status", "--dry-run").returncode == 2
    net.ip("d", "link", "del", "l0")
    wait_state(daemon, "l", "absent")
    for json_or_not in ([], ["--json"]):
        degraded = ctl(daemon, *json_or_not, "status")
        assert degraded.returncode == 1 and "absent" in degraded.stdout
    for path in (net.dir, daemon.dir):
        os.chmod(path, 0o755)  # so that it is the socket's own mode that refuses
    denied = ctl(daemon, "status", prefix=as_user())
    assert denied.returncode == 4 and "not allowed" in denied.stderr
    os.chmod(daemon.control_path, 0o666)
    assert ctl(daemon, "status", prefix=as_user()).returncode == 1
    daemon.stop()
    gone = ctl(daemon, "status")
    assert gone.returncode == 3 and "not running" in gone.stderr
    assert ctl(daemon, "ping").returncode == 3


def test_a_daemon_that_does_not_answer(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        done = run(binary(SLUICECTL), "--socket", path, "--timeout", "1", "ping", check=False)
    assert done.returncode == 5 and done.stderr


def test_socket_mode_and_a_second_daemon(net):
    wires(net, WIRES[:1])
    text = port("w", "l") + port("l", "w")
    daemon = net.daemon("d", text)
    assert stat.S_IMODE(os.stat(daemon.control_path).st_mode) == 0o660
    before = prog_id(net, "w0")
    second = net.run("d", binary(SLUICED), "-c", daemon.config_path, check=False)
    assert second.returncode == 1
    assert re.search(r"control socket .*in use", second.stderr), second.stderr
    assert prog_id(net, "w0") == before
    both_ways(net)
    daemon.kill()
    assert daemon.control_path.exists()
    daemon.start()
    both_ways(net)
    daemon.stop()
    assert not daemon.control_path.exists()


# --- What systemd is told ------------------------------------------------------------------------

def test_ready_is_said_when_all_is_bound_and_not_before(net):
    """Another socket holds a queue at first: there is patience, and no READY."""
    wires(net)
    holder = net.popen("d", binary("tools/sluice-gen"), "send", "l0", "--rate", "100", "--duration",
                       "60s", stdout=subprocess.DEVNULL)
    wait_for(lambda: net.link("d", "l0")["stats64"]["tx"]["packets"] > 0, "queue 0 of l0 is held")
    daemon = Daemon(net, "d", config()).start(ready=False)
    daemon.wait_log(r"port x: forwarding")
    wait_state(daemon, "l", "rebuilding")
    assert daemon.metric("sluice_ready") == 0
    assert daemon.http("/readyz")[0] == 503 and daemon.http("/healthz")[0] == 200
    assert not any(line == "READY=1" for _, line in daemon.notified)
    holder.terminate()
    holder.wait()
    daemon.wait_notified("READY=1", 3.0)
    bound = {key: value for key, value in daemon.metrics().items() if key[0] == "sluice_xsk_bound"}
    assert len(bound) == 4 and set(bound.values()) == {1}
    both_ways(net)
    assert [line for _, line in daemon.notified].count("READY=1") == 1


def test_an_interface_that_stays_taken_ends_the_start(net):
    wires(net)
    net.sink("d", "l0", "--idle-timeout", "60s")
    foreign = prog_id(net, "l0")
    daemon = Daemon(net, "d", config()).start(ready=False)
    assert daemon.wait(10.0) == 1
    assert f"another XDP program is there: id {foreign}" in daemon.log()
    assert "giving up, what this start attached is taken off" in daemon.log()
    assert [prog_id(net, f"{name}0") for name in "wlxy"] == [None, foreign, None, None]


@pytest.mark.parametrize("mode", ["auto", "zerocopy"])
def test_a_driver_is_not_blamed_for_a_limit_of_ours(net, mode):
    """Asking the driver for zero-copy takes packet memory, too; that it was refused is no answer."""
    wires(net)
    keys = {"mode": mode}
    daemon = Daemon(net, "d", config(w=keys, l=keys, x=None, y=None), prefix=[
        "setpriv", "--bounding-set", "-ipc_lock", "prlimit", "--memlock=65536"]).start(ready=False)
    assert daemon.wait(10.0) == 1
    assert re.search(r"packet memory needs \d+ bytes locked, RLIMIT_MEMLOCK allows 65536: set "
                     r"LimitMEMLOCK= of the unit", daemon.log())
    assert "does not offer" not in daemon.log() and "continuing" not in daemon.log()


def starts_with_files(net, limit):
    """A daemon with so many open files allowed, two wires to forward; its exit status, its log."""
    daemon = Daemon(net, "d", config("huge_pages = auto"), prefix=["prlimit", f"--nofile={limit}"])
    daemon.start(ready=False)
    wait_for(lambda: not daemon.is_running() or daemon.notify_count("READY=1"), "an outcome", 15.0)
    status = daemon.stop() if daemon.is_running() else daemon.wait()
    return status, daemon.log()


def test_too_few_open_files_are_named_with_the_need(net):
    """Wherever in the start it is that they run out: nothing else is blamed."""
    wires(net)
    n_failed = 0
    for limit in (18, 20, 24, 30, 36, 42, 48):
        status, log = starts_with_files(net, f"{limit}:{limit}")
        need = re.search(rf"the plan needs (\d+) open files, RLIMIT_NOFILE allows {limit};", log)
        assert status == 1, (limit, log)
        if need:
            n_failed += 1
            assert f"too many open files: RLIMIT_NOFILE allows {limit}" in log, log
            assert not re.search(r"Invalid argument|hugepages|capability", log), log
    assert n_failed >= 4
    # What it says that it needs is enough, and the soft limit is in nobody's way.
    for limit in (need.group(1) + ":" + need.group(1), f"24:{need.group(1)}"):
        status, log = starts_with_files(net, limit)
        assert status in (0, None) and "open files" not in log, log


def test_status_says_mode_and_queues_of_each_port(net):
    wires(net, queues=2)
    daemon = net.daemon("d", config())
    wait_for(daemon.status, "a STATUS= after READY=1")
    assert daemon.status().startswith(
        "4 of 4 ports up: w (w0, copy, 2 queues, forwarding), l (l0, copy, 2 queues, forwarding)")
    sha = ask(daemon, "status")["status"]["config"]["sha256"]
    assert daemon.status().endswith(f"config {sha[:8]}")
    daemon.stop()
    assert any(line == "STOPPING=1" for _, line in daemon.notified)


def watchdogs(daemon):
    return sum(line == "WATCHDOG=1" for _, line in daemon.notified)


def test_watchdog_is_fed_only_while_every_worker_moves(net):
    wires(net)
    daemon = net.daemon("d", config(), env={"WATCHDOG_USEC": "300000"})
    wait_for(lambda: watchdogs(daemon) >= 3, "WATCHDOG=1 three times", 2.0)
    tid = next(w["tid"] for w in ask(daemon, "show workers")["workers"])
    with held(tid):
        silence = lambda: len(re.findall("the watchdog is not fed", daemon.log()))
        wait_for(silence, "it is noticed", 2.0)
        seen = watchdogs(daemon)
        wait_for(lambda: silence() >= 5, "it goes on being noticed", 3.0)
        assert watchdogs(daemon) == seen
        assert ask(daemon, "ping")["ok"] is True, "only the worker hangs"
        wait_status(daemon, "does not respond", 3.0)
        assert ctl(daemon, "status").returncode == 1
    wait_for(lambda: watchdogs(daemon) > seen, "WATCHDOG=1 again", 2.0)
    both_ways(net)


def test_no_watchdog_where_none_is_asked_for(net):
    wires(net, WIRES[:1])
    daemon = net.daemon("d", port("w", "l") + port("l", "w"))
    daemon.reload()
    daemon.stop()
    assert watchdogs(daemon) == 0
