# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the daemon may and may not do: with exactly its three capabilities it forwards, with one less
it says which, why and what to do, and leaves nothing behind.
"""
import re

import pytest

from lib import wait_for
from rig import WIRES, both_ways, config, port, prog_id, state, wait_followed, wait_state, wires
from unprivileged import UID, as_user, ends, prepare, root_without, with_memlock

THREE = ("net_admin", "net_raw", "bpf")
WHY = {
    "net_admin": "attaching XDP programs, creating the XSKMAP and switching offloads",
    "bpf": "loading the XDP program and its maps",
    "net_raw": "AF_XDP sockets and promiscuous mode",
}
SMALL = "frames_per_worker = 1024"  # 2 MiB for each of two workers: RLIMIT_MEMLOCK is 8 MiB


def pair(**keys):
    return port("w", "l", **keys) + port("l", "w", **keys)


def pass_ports():
    return port("w", None) + port("l", None)


def assert_untouched(net, daemon):
    for name in "wl":
        assert prog_id(net, f"{name}0") is None
        assert net.link("d", f"{name}0")["promiscuity"] == 0
        assert "rx-vlan-offload: on" in net.ethtool("d", "-k", f"{name}0").stdout
    assert not daemon.control_path.exists()
    assert not any(line == "READY=1" for _, line in daemon.notified)


@pytest.mark.sanitizer
@pytest.mark.parametrize("missing", THREE)
@pytest.mark.parametrize("who", ["user", "root"])
def test_without_a_capability_it_says_which(net, missing, who):
    wires(net, WIRES[:1])
    # CAP_SYS_ADMIN would stand for CAP_BPF.
    prefix = as_user(*(c for c in THREE if c != missing)) if who == "user" else \
        root_without(missing, "sys_admin")
    daemon = prepare(net, pair(), prefix)
    assert ends(daemon) == 1
    way_round = ", or use only `forward = pass` ports" if missing == "net_raw" else ""
    assert (f"capability CAP_{missing.upper()} is missing: it is needed for {WHY[missing]}; run as "
            f"root, or add it to AmbientCapabilities= and CapabilityBoundingSet= of the unit"
            f"{way_round}\n") in daemon.log()
    assert len(re.findall("is missing: it is needed", daemon.log())) == 1
    assert_untouched(net, daemon)


def test_without_any_all_are_named_at_once(net):
    wires(net, WIRES[:1])
    daemon = prepare(net, pair(), as_user())
    assert ends(daemon) == 1
    for capability in THREE:
        assert re.search(rf"(?m)^\w+: capability CAP_{capability.upper()} is missing",
                         daemon.log())
    assert_untouched(net, daemon)


def test_with_exactly_three_it_forwards(net):
    wires(net)
    daemon = prepare(net, config(SMALL), as_user(*THREE)).start()
    status = open(f"/proc/{daemon.pid}/status", encoding="ascii").read()
    assert re.search(rf"(?m)^Uid:\s+{UID}\s", status)
    effective = int(re.search(r"(?m)^CapEff:\s+(\w+)", status).group(1), 16)
    assert effective == 1 << 12 | 1 << 13 | 1 << 39, "CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF"
    for wire in WIRES:
        both_ways(net, wire)
    assert "CAP_PERFMON is missing" in daemon.log(), "it is said what it costs"
    assert net.link("d", "w0")["promiscuity"] >= 1
    net.ip("d", "link", "del", "l0")
    net.veth("a", "l1", "d", "l0")
    wait_state(daemon, "l", "forwarding", 2.0)
    wait_followed(daemon, "l", "up, carrier")
    daemon.reload(config(SMALL, w={"pass_control": "yes"}))
    both_ways(net)
    daemon.stop()
    assert prog_id(net, "w0") is None
    assert "rx-vlan-offload: on" in net.ethtool("d", "-k", "w0").stdout


def test_sys_admin_stands_for_bpf(net):
    wires(net, WIRES[:1])
    prepare(net, pair(), root_without("bpf", "perfmon")).start()
    both_ways(net)


@pytest.mark.parametrize("who", ["user", "root"])
def test_too_little_locked_memory_is_named_with_its_number(net, who):
    wires(net, WIRES[:1])
    prefix = as_user(*THREE) if who == "user" else root_without("ipc_lock", "sys_resource")
    daemon = prepare(net, pair(), with_memlock(1 << 20, prefix))
    assert ends(daemon) == 1
    found = re.search(r"packet memory needs (\d+) bytes locked, RLIMIT_MEMLOCK allows (\d+): set "
                      r"LimitMEMLOCK= of the unit \(ulimit -l\) to \d+ or more, give CAP_IPC_LOCK, or "
                      r"set frames_per_worker to less", daemon.log())
    assert found, daemon.log()
    assert int(found.group(2)) == 1 << 20
    assert int(found.group(1)) == 8320 * 2048, "what --dry-run says, too"
    assert_untouched(net, daemon)


def test_ipc_lock_lifts_the_limit(net):
    wires(net, WIRES[:1])
    prepare(net, pair(), with_memlock(1 << 20, as_user(*THREE, "ipc_lock"))).start()
    both_ways(net)


def test_pass_ports_need_no_raw_socket(net):
    wires(net, WIRES[:1])
    daemon = prepare(net, pass_ports(), as_user("net_admin", "bpf")).start()
    assert state(daemon, "w") == "passing"
    net.addr("a", "w1", "10.8.0.1/24")
    net.addr("d", "w0", "10.8.0.2/24")
    assert net.ping("a", "10.8.0.2", 3) == 3
    assert daemon.metric("sluice_xdp_verdicts_total", interface="w0", reason="pass_port") >= 3


def test_a_reload_that_needs_more_than_there_is_is_refused(net):
    wires(net, WIRES[:1])
    daemon = prepare(net, pass_ports(), as_user("net_admin", "bpf")).start()
    before = prog_id(net, "w0")
    daemon.configure(pair())
    done = daemon.ctl("reload", check=False)
    assert done.returncode == 1 and "CAP_NET_RAW" in done.stdout + done.stderr
    assert (state(daemon, "w"), prog_id(net, "w0")) == ("passing", before)


def test_without_ports_none_is_needed(net):
    net.ns("d")
    daemon = prepare(net, "[daemon]\n", as_user()).start()
    # READY=1 is one datagram, STATUS= the next.
    wait_for(lambda: daemon.status().startswith("0 of 0 ports up"), "STATUS= follows READY=1")
    assert daemon.metric("sluice_ready") == 1
    daemon.stop()


def test_a_worker_whose_thread_cannot_be_started_is_no_worker(net):
    """Its port must not say that it forwards: every frame would fall back, or be dropped, unseen."""
    wires(net, WIRES[:1])
    limit = ["prlimit", "--nproc=1:1", "--"]  # the main thread is one
    user = as_user(*THREE)
    daemon = prepare(net, "[daemon]\n" + SMALL + "\n" + pair(), [*limit, *user])
    assert ends(daemon) == 1
    assert ("its thread cannot be started: Resource temporarily unavailable; raise TasksMax= of the "
            "unit") in daemon.log()
    assert "forwarding" not in daemon.log()
    assert_untouched(net, daemon)
