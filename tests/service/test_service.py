# SPDX-License-Identifier: GPL-2.0-or-later
"""
sluiced under real systemd, as the user sluice with three capabilities and everything that the unit closes: does it
start, forward, reload, refuse, come back and go, and does the operator learn why?
"""
import os
import pwd
import signal
import socket
import stat
import time
from pathlib import Path

import pytest

from host import FORWARD, FRAMES, PORTS, UNIT
from lib import run, wait_for

# linux/capability.h: CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF
CAPABILITIES = 1 << 12 | 1 << 13 | 1 << 39
NO_CAPABILITIES = 0
SECCOMP_FILTER = 2
LOG_ERR, LOG_WARNING, LOG_NOTICE = 3, 4, 5
EX_CONFIG = 78
CTL_PERMISSION = 4

DROP = FORWARD.replace("xconnect lan", "xconnect lan\non_failure = drop")


def test_unit_is_without_fault(host):
    assert not run("systemd-analyze", "verify", UNIT).stderr


def test_starts_and_says_what_it_is(host):
    host.start()
    status = host.show("StatusText")
    assert status.startswith("2 of 2 ports up: wan (wan, copy, "), status
    assert "lan (lan, copy, " in status and "DEGRADED" not in status
    assert host.said("ready", LOG_NOTICE)
    assert not any(level <= LOG_WARNING for level, _ in host.journal()), host.describe()


def test_frames_cross_and_are_counted(host):
    host.start()
    host.cross()
    for port in PORTS:
        series = f'sluice_queue_forwarded_packets_total{{interface="{port}",queue="0"}}'
        assert host.metric(series) == FRAMES


def test_runs_as_sluice_with_three_capabilities(host):
    host.start()
    host.cross()  # the state while it works, not before
    uid = str(pwd.getpwnam("sluice").pw_uid)
    tasks = host.tasks()
    assert len(tasks) >= 2, "a control thread and a worker"
    for task in tasks:
        assert task["Uid"].split() == [uid] * 4 and task["Groups"].split() in ([], [task["Gid"].split()[0]])
        for kind in "CapEff", "CapPrm", "CapBnd", "CapAmb":
            assert int(task[kind], 16) == CAPABILITIES, f"{task['Name']}: {kind} {task[kind]}"
        assert task["NoNewPrivs"] == "1" and int(task["Seccomp"]) == SECCOMP_FILTER


def test_filter_allows_what_placement_needs(host):
    """What the daemon shrugs off when it fails: pinning to a CPU, and memory whose node it knows."""
    host.start()
    worker = next(task for task in host.tasks() if task["Name"] == "sluice-w0")
    assert len(worker["Cpus_allowed"].replace(",", "").strip("0")) == 1, worker["Cpus_allowed"]
    assert host.metric('sluice_worker_pinned{worker="sluice-w0"}') == 1
    assert host.metric('sluice_worker_info{worker="sluice-w0",interface="wan",queue="0",'
                       f'cpu="{worker["Cpus_allowed_list"]}",numa_node="0"}}') == 1


def test_control_socket_is_for_the_group(host):
    host.start()
    path = Path("/run/sluice/control.sock")
    assert path.owner() == path.group() == "sluice" and stat.S_IMODE(path.stat().st_mode) == 0o660
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    member = ["setpriv", "--reuid=nobody", "--regid=sluice", "--clear-groups"]
    assert run(*nobody, "sluicectl", "status", check=False).returncode == CTL_PERMISSION
    assert run(*member, "sluicectl", "status").stdout


# --- reload ----------------------------------------------------------------------------------------

def test_reload_takes_over_a_good_file(host):
    host.start()
    pid = host.pid
    run("ip", "link", "add", "extra", "type", "veth", "peer", "name", "extra-peer")
    try:
        run("ip", "link", "set", "extra", "up")
        host.configure(FORWARD + "[port extra]\ninterface = extra\nforward = pass\n")
        host.systemctl("reload", UNIT)
        assert host.pid == pid
        assert [port["port"] for port in host.status()["ports"]] == ["wan", "lan", "extra"]
        assert host.program("extra") and host.show("StatusText").startswith("3 of 3 ports up")
        host.cross()
    finally:
        run("ip", "link", "delete", "extra")


def test_reload_refuses_a_bad_file_and_says_why(host):
    host.start()
    pid, programs = host.pid, [host.program(port) for port in PORTS]
    host.configure(FORWARD.replace("forward = xconnect wan", "forwrad = xconnect wan"))
    assert host.systemctl("reload", UNIT, check=False).returncode != 0

    reason = "sluice.conf:11: [port lan] forwrad: "
    shown = host.systemctl("status", UNIT).stdout
    assert reason in shown and "did you mean" in shown, shown
    assert host.said(reason, LOG_ERR)
    assert host.show("ActiveState") == "active" and host.pid == pid
    assert [host.program(port) for port in PORTS] == programs
    assert host.status()["config"]["last_reload_ok"] is False
    host.cross()


# --- the daemon ends, or does not ---------------------------------------------------------------------

def test_killed_comes_back(host):
    host.start()
    host.wait_restarted(host.kill(signal.SIGKILL))
    assert host.show("NRestarts") == "1"
    host.cross()


def test_stopped_process_is_killed_by_the_watchdog(host):
    host.drop_in("WatchdogSec=1s")
    host.start()
    host.wait_restarted(host.kill(signal.SIGSTOP))
    assert host.said("Watchdog timeout")
    host.cross()


def test_one_hung_worker_is_enough_for_the_watchdog(host):
    # A link event may make the control thread wait 1 s for the worker (TAKE_UP_NS, control/live.h)
    # before it speaks: a limit of 1 s would end the daemon with nothing said.
    host.drop_in("WatchdogSec=3s")
    host.start()
    with host.hung_worker() as pid:
        pass
    host.wait_restarted(pid)
    # Whichever notices first: the watchdog's timer, or a link event that had news for the worker and waited for it.
    assert (host.said("the thread sluice-w0 has not moved", LOG_WARNING)
            or host.said("worker 0: does not respond, abandoning it", LOG_ERR)), host.describe()
    assert host.said("Watchdog timeout")
    host.cross()


def test_watchdog_leaves_a_healthy_daemon_alone(host):
    """The control of the two before: the same limit, and traffic for longer than it."""
    host.drop_in("WatchdogSec=1s")
    host.start()
    pid = host.pid
    end = time.monotonic() + 2
    while time.monotonic() < end:
        host.cross()
    assert host.pid == pid and host.show("NRestarts") == "0"


def test_bad_file_at_start_is_final(host):
    host.refuse_to_start(FORWARD.replace("interface = lan", "interfaec = lan"))
    assert host.show("ExecMainStatus") == str(EX_CONFIG)
    assert host.show("Result") == "exit-code" and host.show("NRestarts") == "0"
    assert host.show("ActiveState") == "failed", "it is not tried again"
    assert host.said("sluice.conf:10: [port lan] interfaec: ", LOG_ERR), host.describe()
    assert [host.program(port) for port in PORTS] == [0, 0]


def test_stop_leaves_nothing(host):
    before = run("ethtool", "--show-features", "wan").stdout
    host.start()
    host.cross()
    programs = [host.program(port) for port in PORTS]
    assert all(programs) and [host.promiscuity(port) for port in PORTS] == [1, 1]
    host.systemctl("stop", UNIT)
    assert host.show("Result") == "success" and host.show("ExecMainStatus") == "0"
    assert [host.program(port) for port in PORTS] == [0, 0]
    assert [host.promiscuity(port) for port in PORTS] == [0, 0]
    assert run("ethtool", "--show-features", "wan").stdout == before
    assert host.pins() == {} and not os.path.exists("/run/sluice")
    for program in programs:
        wait_for(lambda id=program: not host.is_program_loaded(id), f"program {program} is gone")


# --- what a user without root meets ---------------------------------------------------------------------

@pytest.mark.parametrize("end", ["stop", "kill"])
def test_drop_holds_while_the_daemon_is_away(host, end):
    host.start(DROP)
    host.cross()
    pins = host.pins()
    assert {"wan", "wan/link", "wan/prog"} <= set(pins) and set(pins.values()) == {"sluice"}, pins
    assert not any(path.startswith("lan") for path in pins), "lan is not to drop"
    if end == "stop":
        host.systemctl("stop", UNIT)
    else:
        host.drop_in("Restart=no")
        host.kill()
        wait_for(lambda: host.show("ActiveState") == "failed", "the service has ended")
    assert host.program("wan") and not host.program("lan")

    host.systemctl("start", UNIT)  # adopts what it finds
    host.cross()
    host.systemctl("stop", UNIT)
    run("sluiced", "--detach", "wan")
    assert host.program("wan") == 0 and host.pins() == {}


def test_memory_beyond_the_limit_is_named(host):
    """A limit that root in a container cannot lift is what an operator has who took LimitMEMLOCK= out."""
    host.drop_in("LimitMEMLOCK=4M\nRestart=no")
    host.refuse_to_start(FORWARD.replace("= 1024", "= 4096"))
    wanted, limit = 4096 * 2048, 4 << 20
    assert host.said(f"packet memory needs {wanted} bytes locked, RLIMIT_MEMLOCK allows {limit}: "
                     "set LimitMEMLOCK=", LOG_ERR), host.describe()
    assert [host.program(port) for port in PORTS] == [0, 0]
    host.systemctl("reset-failed", UNIT)
    host.start(FORWARD)  # 2 MiB fit
    host.cross()


@pytest.mark.parametrize("missing", ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"])
def test_missing_capability_is_named(host, missing):
    left = " ".join({"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"} - {missing})
    host.drop_in(f"AmbientCapabilities=\nAmbientCapabilities={left}\n"
                 f"CapabilityBoundingSet=\nCapabilityBoundingSet={left}\nRestart=no")
    host.refuse_to_start(FORWARD)
    assert host.said(f"capability {missing} is missing", LOG_ERR), host.describe()
    assert [host.program(port) for port in PORTS] == [0, 0]


# --- listeners -------------------------------------------------------------------------------------------

LISTENER = """\
[listener web]
bind = 127.0.0.1:!!
default = app

[backend app]
server = a 127.0.0.1:8000
health_check = off
"""
SHIPPED = Path("/usr/share/sluice")


def exchange(port):
    """A message through the listener and back, byte by byte what was sent."""
    with socket.create_server(("127.0.0.1", 8000)) as server, \
            socket.create_connection(("127.0.0.1", port), 5) as client:
        for i in range(20):
            client.sendall(b"request %d" % i)
            if i == 0:
                peer, _ = server.accept()
                peer.settimeout(5)
            assert peer.recv(100) == b"request %d" % i
            peer.sendall(b"answer %d" % i)
            assert client.recv(100) == b"answer %d" % i
        peer.close()


def test_listener_with_the_unit_as_it_is(host):
    """Three capabilities: no port below 1024, and no splicing in the kernel; both are said."""
    host.refuse_to_start(LISTENER.replace("!!", "443"))
    assert host.said("capability CAP_NET_BIND_SERVICE is missing: it is needed for listening on 127.0.0.1:443",
                     LOG_ERR), host.describe()
    host.systemctl("reset-failed", UNIT)
    host.start(LISTENER.replace("!!", "8443"))
    assert "sockmap is off: " in host.show("StatusText") and "CAP_PERFMON" in host.show("StatusText")
    assert host.metric("sluice_splice_sockmap_on") == 0 == host.metric("sluice_splice_selftest_passed")
    exchange(8443)


def test_listener_with_the_drop_in_that_is_shipped(host):
    host.drop_in((SHIPPED / "listeners.conf").read_text().partition("[Service]\n")[2])
    host.start(LISTENER.replace("!!", "443"))
    status = host.show("StatusText")
    assert status.startswith("1 listener; config "), f"sockmap and sock_ops are on: {status}"
    exchange(443)
    wait_for(lambda: host.metric("sluice_splice_sockets_closed_total") == 2, "sock_ops saw both sockets")
    assert host.metric("sluice_splice_selftest_passed") == 1
    wanted = CAPABILITIES | 1 << 10 | 1 << 38  # CAP_NET_BIND_SERVICE, CAP_PERFMON
    for task in host.tasks():
        assert int(task["CapEff"], 16) == int(task["CapBnd"], 16) == wanted
    # The cgroup is still the daemon's alone when reload has run in it.
    host.systemctl("reload", UNIT)
    exchange(443)


def test_listener_whose_port_systemd_opens(host):
    """The shipped socket unit: no capability, and a client that comes during a restart is served after it."""
    unit = Path("/run/systemd/system/sluice-web.socket")
    unit.write_text((SHIPPED / "sluice-web.socket").read_text())
    try:
        host.systemctl("daemon-reload")
        assert not run("systemd-analyze", "verify", unit).stderr
        host.configure(LISTENER.replace("127.0.0.1:!!", "fd:web"))
        host.systemctl("start", unit.name)
        host.systemctl("start", UNIT)
        exchange(443)
        host.systemctl("stop", UNIT)
        with socket.create_connection(("127.0.0.1", 443), 5) as early, \
                socket.create_server(("127.0.0.1", 8000)) as server:
            # Its connection starts the service, if nobody does.
            early.sendall(b"early")
            server.settimeout(10)
            peer, _ = server.accept()
            assert peer.recv(100) == b"early"
            peer.close()
    finally:
        host.systemctl("stop", unit.name, UNIT, check=False)
        unit.unlink()
        host.systemctl("daemon-reload")
