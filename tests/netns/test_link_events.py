# SPDX-License-Identifier: GPL-2.0-or-later
"""
What happens to interfaces under a running daemon: the port concerned is back within a second or
says what is wrong with it, and the other wire loses not one frame.
"""
import json
import os
import re
import subprocess
import time

import pytest

from lib import PYTHON, Daemon, binary, run, wait_for
from hold import held
from rig import (WIRES, Stream, ask, assert_only_grows, both_ways, config, counters, crosses,
                 nothing_lost, ports, problem, prog_id, state, wait_followed, wait_no_status,
                 wait_state, wait_status, wires)

BACK_S = 1.0  # issue A: "port back within 1 s"


@pytest.fixture
def daemon(net):
    wires(net)
    return net.daemon("d", config())


def drops(daemon, interface, reason):
    return daemon.metric("sluice_queue_drops_total", interface=interface, reason=reason)


def rebinds(daemon, interface):
    return daemon.metric("sluice_interface_rebinds_total", interface=interface)


def wait_back(daemon, name):
    wait_state(daemon, name, "forwarding", BACK_S)
    wait_followed(daemon, name, "up, carrier", BACK_S)


def recreate(net, name, **veth):
    net.veth("a", f"{name}1", "d", f"{name}0", **veth)


# --- Up and down ---------------------------------------------------------------------------------

@pytest.mark.sanitizer
@pytest.mark.parametrize("ns, ifname, down", [("a", "l1", "up, no carrier"), ("d", "l0", "down.*")],
                         ids=["peer", "own"])
def test_link_down_is_counted_and_up_forwards_again(net, daemon, ns, ifname, down):
    both_ways(net)
    with nothing_lost(net, daemon):
        net.down(ns, ifname)
        wait_state(daemon, "l", "link_down")
        wait_status(daemon, "link_down")
        wait_followed(daemon, "l", down)
        # A wire whose other end is down: sent in, and every frame has a reason for being lost.
        net.gen("a", "send", "w1", "--count", "100", "--rate", "20k")
        wait_for(lambda: drops(daemon, "w0", "link_down") == 100, "100 drops, link_down")
        net.up(ns, ifname)
        wait_back(daemon, "l")
    both_ways(net)
    assert rebinds(daemon, "l0") == rebinds(daemon, "w0") == 0, "a flap needs no new socket"
    assert drops(daemon, "w0", "link_down") == 100
    assert ask(daemon, "drops")["drops"]["balanced"] is True


def test_twenty_flaps_under_traffic(net, daemon):
    with nothing_lost(net, daemon):
        stream = Stream(net, daemon, WIRES[0])
        for _ in range(20):
            net.down("a", "l1")
            net.up("a", "l1")
        _, got = stream.stop()
    wait_back(daemon, "l")
    assert got["duplicated"] == got["corrupted"] == got["reordered"] == 0
    assert got["received"] > 0
    both_ways(net)
    balanced = lambda: ask(daemon, "drops")["drops"]["balanced"]
    wait_for(balanced, "every loss has a counter")
    assert rebinds(daemon, "l0") == 0
    assert daemon.metric("sluice_umem_frames_lost") == 0


# --- Gone and back -------------------------------------------------------------------------------

@pytest.mark.sanitizer
def test_deleted_and_created_again(net, daemon):
    both_ways(net)
    before = counters(daemon)
    with nothing_lost(net, daemon):
        net.ip("d", "link", "del", "l0")
        wait_state(daemon, "l", "absent")
        wait_status(daemon, "interface l0 does not exist")
        assert state(daemon, "w") == "forwarding"
        assert daemon.metric("sluice_ready") == 0
        net.gen("a", "send", "w1", "--count", "50", "--rate", "20k")
        wait_for(lambda: drops(daemon, "w0", "link_down") == 50, "50 drops, link_down")
        recreate(net, "l")
        wait_back(daemon, "l")
        assert daemon.metric("sluice_ready") == 1
        both_ways(net)
    assert_only_grows(before, counters(daemon))
    assert (rebinds(daemon, "l0"), rebinds(daemon, "w0")) == (1, 0)
    assert daemon.metric("sluice_umem_frames_lost") == 0
    assert daemon.metric("sluice_umem_frames", state="quarantine") == 0
    wait_no_status(daemon, "DEGRADED")


def test_deleted_and_created_under_traffic_five_times(net, daemon):
    """Frames are in every ring when the device goes; none is lost for ever, none is given twice."""
    for _ in range(5):
        sender = net.popen("a", binary("tools/sluice-gen"), "send", "l1", "--duration", "60s",
                           "--rate", "20k", stdout=subprocess.DEVNULL)
        arrived = daemon.metric("sluice_queue_transmit_packets_total", interface="w0")
        wait_for(lambda: daemon.metric("sluice_queue_transmit_packets_total", interface="w0")
                 > arrived, "frames leave by w0")
        net.ip("d", "link", "del", "w0")
        wait_state(daemon, "w", "absent")
        recreate(net, "w")
        wait_back(daemon, "w")
        sender.terminate()
        sender.wait()
    both_ways(net)
    assert daemon.metric("sluice_umem_frames_lost") == 0
    assert daemon.metric("sluice_umem_frames", state="quarantine") == 0
    wait_for(lambda: ask(daemon, "drops")["drops"]["balanced"], "every loss has a counter")
    assert daemon.metric("sluice_queue_transmit_abandoned_packets_total", interface="w0") > 0


def test_frames_of_a_device_that_stays_away_are_free_again(net, daemon):
    """The kernel gave them back when it unbound the queue: nobody else will ask for them."""
    def frames(name):
        return daemon.metric("sluice_umem_frames", state=name)

    both_ways(net)
    sender = net.popen("a", binary("tools/sluice-gen"), "send", "w1", "--duration", "60s",
                       "--rate", "20k", stdout=subprocess.DEVNULL)
    arrived = daemon.metric("sluice_queue_transmit_packets_total", interface="l0")
    wait_for(lambda: daemon.metric("sluice_queue_transmit_packets_total", interface="l0")
             > arrived, "frames leave by l0")
    posted, free = frames("fill"), frames("free")
    net.ip("d", "link", "del", "l0")
    wait_state(daemon, "l", "absent")
    wait_for(lambda: frames("fill") < posted, "what was posted to l0 is not any more")
    wait_for(lambda: frames("quarantine") == 0, "no frame is kept back", 3.0)
    sender.terminate()
    sender.wait()
    assert frames("free") > free, "they are free, not forgotten"
    assert daemon.metric("sluice_umem_frames_lost") == 0
    assert state(daemon, "l") == "absent"


def test_both_ends_of_a_wire_deleted(net, daemon):
    with nothing_lost(net, daemon):
        net.ip("d", "link", "del", "l0")
        net.ip("d", "link", "del", "w0")
        wait_state(daemon, "l", "absent")
        wait_state(daemon, "w", "absent")
        recreate(net, "w")
        recreate(net, "l")
        wait_back(daemon, "w")
        wait_back(daemon, "l")
        both_ways(net)
    assert (rebinds(daemon, "l0"), rebinds(daemon, "w0")) == (1, 1)


def test_renamed_away_and_back(net, daemon):
    def rename(old, new):
        net.down("d", old)
        net.ip("d", "link", "set", old, "name", new)
        net.up("d", new)

    with nothing_lost(net, daemon):
        rename("l0", "other")
        wait_state(daemon, "l", "absent")
        wait_for(lambda: prog_id(net, "other") is None, "no program on the device of another name")
        rename("other", "l0")
        wait_back(daemon, "l")
        both_ways(net)
    assert rebinds(daemon, "l0") == 1


def test_another_device_takes_the_name(net, daemon):
    net.veth("a", "n1", "d", "n0")
    with nothing_lost(net, daemon):
        for ifname, new in (("l0", "old"), ("n0", "l0")):
            net.down("d", ifname)
            net.ip("d", "link", "set", ifname, "name", new)
            net.up("d", new)
        wait_for(lambda: rebinds(daemon, "l0") == 1, "the port is built again")
        wait_back(daemon, "l")
        crosses(net, "w1", "n1")
        crosses(net, "n1", "w1")
        wait_for(lambda: prog_id(net, "old") is None, "no program on the device that went")


def test_moved_to_another_namespace_and_back(net, daemon):
    net.ns("else")
    with nothing_lost(net, daemon):
        net.ip("d", "link", "set", "l0", "netns", net.real("else"))
        wait_state(daemon, "l", "absent")
        net.ip("else", "link", "set", "l0", "netns", net.real("d"))
        net.up("d", "l0")
        wait_back(daemon, "l")
        both_ways(net)


def test_created_again_with_more_queues(net):
    wires(net)
    daemon = net.daemon("d", config())
    net.ip("d", "link", "del", "l0")
    wait_state(daemon, "l", "absent")
    with nothing_lost(net, daemon):
        recreate(net, "l", queues=4)
        wait_back(daemon, "l")
        assert ports(daemon)["l"]["queues_bound"] == 4
        for queue in range(4):
            crosses_from(net, "l1", "w1", queue)
        crosses(net, "w1", "l1")


def crosses_from(net, tx, rx, queue, count=100):
    with net.sink("a", rx, "--expect", count) as sink:
        net.gen("a", "send", tx, "--count", count, "--queue", queue, "--rate", "20k")
        assert sink.result()["intact"] is True


def test_missing_at_start(net):
    """READY waits for the interface, but not so long that the host would not come up without it."""
    wires(net, [WIRES[1], "w"])
    daemon = start_unready(net, config())
    wait_state(daemon, "l", "absent", 5.0)
    wait_status(daemon, "port l: interface l0 does not exist")
    both_ways(net, WIRES[1])
    assert daemon.metric("sluice_ready") == 0
    assert daemon.http("/readyz")[0] == 503
    assert "READY=1" not in [line for _, line in daemon.notified]
    wait_for(lambda: any(line.startswith("EXTEND_TIMEOUT_USEC=") for _, line in daemon.notified),
             "systemd is asked for time while an interface is waited for", 2.0)
    with nothing_lost(net, daemon):
        recreate(net, "l")
        daemon.wait_notified("READY=1", BACK_S + 0.5)
        both_ways(net)
    assert "DEGRADED" not in daemon.status()
    assert daemon.http("/readyz")[0] == 200


def test_still_missing_after_the_patience(net):
    wires(net, [WIRES[1], "w"])
    daemon = start_unready(net, config())
    begun = time.monotonic()
    daemon.wait_notified("READY=1", 10.0)
    assert time.monotonic() - begun > 3.0, "it waited"
    wait_status(daemon, "DEGRADED: ")
    assert daemon.metric("sluice_ready") == 0 and daemon.http("/readyz")[0] == 503
    both_ways(net, WIRES[1])


def start_unready(net, text):
    daemon = Daemon(net, "d", text).start(ready=False)
    wait_for(lambda: daemon.status() or not daemon.is_running(), "a first STATUS=", 10.0)
    assert daemon.is_running(), daemon.log()
    return daemon


# --- MTU -----------------------------------------------------------------------------------------

def send_sized(net, tx, size, count=10):
    net.gen("a", "send", tx, "--count", count, "--size", size, "--rate", "20k")


def test_a_new_mtu_is_obeyed(net, daemon):
    """The out port's MTU is the limit; it moves without a new socket."""
    net.ip("d", "link", "set", "l0", "mtu", "1000")
    wait_for(lambda: re.search(r"mtu +1000", ask(daemon, "show plan")["text"]), "the plan knows")
    with net.sink("a", "l1", "--expect", "10") as sink:
        send_sized(net, "w1", 1015)  # a byte more than 1000 + the Ethernet header
        wait_for(lambda: drops(daemon, "w0", "mtu") == 10, "10 drops, mtu")
        send_sized(net, "w1", 1014)
        assert sink.result()["intact"] is True
    net.ip("d", "link", "set", "l0", "mtu", "1500")
    wait_for(lambda: re.search(r"(?s)port l\n.*?mtu +1500", ask(daemon, "show plan")["text"]),
             "the plan knows")
    crosses(net, "w1", "l1")
    with net.sink("a", "l1", "--expect", "10") as sink:
        send_sized(net, "w1", 1514)
        assert sink.result()["intact"] is True
    assert rebinds(daemon, "l0") == 0


def test_an_mtu_that_does_not_fit_is_named_and_forwarding_goes_on(net, daemon):
    with nothing_lost(net, daemon, WIRES[0]):
        net.ip("d", "link", "set", "l0", "mtu", "1771")
        wait_status(daemon, "MTU 1771 of l0 is more than 1770")
        assert daemon.metric("sluice_degraded") == 1
        net.ip("d", "link", "set", "l0", "mtu", "1770")
        wait_no_status(daemon, "MTU")
    wait_for(lambda: re.search(r"mtu +1770", ask(daemon, "show plan")["text"]), "the plan knows")
    assert daemon.metric("sluice_degraded") == 0
    assert rebinds(daemon, "l0") == 0


# --- What makes an interface unfit ---------------------------------------------------------------

def add_address(net):
    net.addr("d", "l0", "192.0.2.1/24")


def add_master(net):
    net.ip("d", "link", "add", "br7", "type", "bridge")
    net.ip("d", "link", "set", "l0", "master", "br7")


@pytest.mark.parametrize("add, remove, text", [
    (add_address, ["addr", "flush", "dev", "l0"], "l0 carries 1 address of this host"),
    (add_master, ["link", "set", "l0", "nomaster"], "l0 belongs to br7"),
], ids=["address", "master"])
def test_host_traffic_on_a_running_port_is_named(net, daemon, add, remove, text):
    with nothing_lost(net, daemon, WIRES[0]):
        add(net)
        wait_status(daemon, text)
        assert daemon.status().startswith("DEGRADED")
        assert daemon.metric("sluice_degraded") == 1
        assert state(daemon, "l") == "forwarding"
        assert text in problem(daemon, "l")
        net.ip("d", *remove)
        wait_no_status(daemon, text)
        assert problem(daemon, "l") == ""
    assert daemon.metric("sluice_degraded") == 0
    assert len(re.findall(text, daemon.log())) <= 2, "once as an error and once in the status"


@pytest.mark.parametrize("in_one_plan", [True, False], ids=["at-once", "later"])
def test_a_new_device_that_is_unfit_is_not_called_missing(net, daemon, in_one_plan):
    """It is there, and refused: only that is said, until it goes, too."""
    if not in_one_plan:
        net.ip("d", "link", "del", "l0")
        wait_state(daemon, "l", "absent")
    with held(daemon.pid):
        if in_one_plan:
            net.ip("d", "link", "del", "l0")
        recreate(net, "l")
        add_address(net)
    wait_state(daemon, "l", "failed")
    assert "l0 carries 1 address of this host" in problem(daemon, "l")
    wait_status(daemon, "l0 carries 1 address")
    assert "does not exist" not in daemon.status()
    if in_one_plan:
        assert "does not exist" not in daemon.log()
    net.ip("d", "link", "del", "l0")
    wait_state(daemon, "l", "absent")
    assert problem(daemon, "l") == "interface l0 does not exist; waiting for it"
    recreate(net, "l")
    wait_back(daemon, "l")
    both_ways(net)


def test_an_unfit_port_still_follows_its_link(net, daemon):
    """An address is no reason to send into a link that is down."""
    add_address(net)
    wait_status(daemon, "carries 1 address")
    net.down("a", "l1")
    wait_state(daemon, "l", "link_down")
    wait_followed(daemon, "l", "up, no carrier")
    net.gen("a", "send", "w1", "--count", "100", "--rate", "20k")
    wait_for(lambda: drops(daemon, "w0", "link_down") == 100, "100 drops, link_down")
    net.up("a", "l1")
    wait_back(daemon, "l")
    both_ways(net)


# --- Offloads, channels --------------------------------------------------------------------------

def features(net, ifname):
    return net.ethtool("d", "-k", ifname).stdout


VLAN = "rx-vlan-offload: on"


def test_an_offload_switched_on_is_switched_off_again(net, daemon):
    assert VLAN not in features(net, "l0")
    with nothing_lost(net, daemon, WIRES[0]):
        for n in (2, 3):
            net.ethtool("d", "-K", "l0", "rxvlan", "on")
            wait_for(lambda: VLAN not in features(net, "l0"), "rxvlan is off again", 1.0)
            daemon.wait_log(rf"(?s)(port l: switched offload rx-vlan-hw-parse of l0 off.*){{{n}}}")
    daemon.stop()
    assert VLAN in features(net, "l0"), "restored at a clean stop"


def test_offloads_of_ports_that_were_removed_after_a_crash_are_restored(net, daemon):
    """The record outlives kill -9, and a second daemon's start that fails does not touch it."""
    assert VLAN not in features(net, "x0")
    second = net.daemon_not_started("d", config(f"control_socket = {daemon.control_path}"))
    assert second.start(ready=False).wait(10.0) == 1
    assert VLAN not in features(net, "x0")
    daemon.kill()
    daemon.configure(config(x=None, y=None))
    daemon.start()
    assert VLAN in features(net, "x0") and VLAN not in features(net, "w0")
    daemon.stop()
    assert VLAN in features(net, "w0")


def test_offloads_are_restored_after_a_start_that_fails(net):
    """They go off before attaching, which fails: this MTU does not fit a page with its headroom."""
    wires(net, mtu=3700)
    daemon = net.daemon_not_started("d", config("frame_size = 4096"))
    assert daemon.start(ready=False).wait(10.0) == 1
    assert "switched offload rx-vlan-hw-parse of w0 off" in daemon.log()
    assert VLAN in features(net, "w0") and not prog_id(net, "w0")


def test_an_offload_is_only_checked_where_so_configured(net):
    wires(net)
    for name in "wlxy":
        net.ethtool("d", "-K", f"{name}0", "rxvlan", "off")
        net.ethtool("d", "-K", f"{name}0", "rx-vlan-stag-hw-parse", "off")
    daemon = net.daemon("d", config(l={"offloads": "check"}))
    with nothing_lost(net, daemon, WIRES[0]):
        net.ethtool("d", "-K", "l0", "rxvlan", "on")
        wait_status(daemon, "rx-vlan-hw-parse of l0 is on")
        assert daemon.metric("sluice_degraded") == 1
        assert VLAN in features(net, "l0")
        net.ethtool("d", "-K", "l0", "rxvlan", "off")
        wait_no_status(daemon, "rx-vlan")
    assert daemon.metric("sluice_degraded") == 0


def channels(net, ifname, n):
    return net.run("d", "ethtool", "-L", ifname, "rx", n, "tx", n, check=False)


def test_channels(net):
    """The kernel keeps queues that are bound; more of them are an event that has a name."""
    wires(net, queues=2)
    for name in "wl":
        net.run("a", "ethtool", "-L", f"{name}1", "rx", 2, "tx", 1)
        net.run("d", "ethtool", "-L", f"{name}0", "rx", 1, "tx", 1)
    daemon = net.daemon("d", config())
    assert ports(daemon)["l"]["queues_bound"] == 1
    with nothing_lost(net, daemon):
        assert channels(net, "x0", 1).returncode != 0, "queue 1 of x0 is bound"
        assert channels(net, "l0", 2).returncode == 0
        wait_for(lambda: ports(daemon)["l"]["queues_bound"] == 2, "two queues of l0 are bound", BACK_S)
        daemon.wait_log(r"port l: l0 has 2 receive and 2 transmit queues now, had 1 and 1")
        wait_back(daemon, "l")
        for one, other in (("w1", "l1"), ("l1", "w1")):
            crosses(net, one, other, "--queues", "0")


# --- The program, the CPUs, the notifications ----------------------------------------------------

def xdp_link(net, ifname):
    """The id of the BPF link that holds the program to an interface."""
    prog = prog_id(net, ifname)
    links = json.loads(net.run("d", "bpftool", "-j", "link").stdout)
    [found] = [link["id"] for link in links if link["type"] == "xdp" and link["prog_id"] == prog]
    return found


@pytest.mark.parametrize("on_failure", ["pass", "drop"])
def test_a_program_taken_off_is_attached_again(net, on_failure):
    wires(net)
    daemon = net.daemon("d", config(l={"on_failure": on_failure}))
    before = prog_id(net, "l0")
    with nothing_lost(net, daemon):
        net.run("d", "bpftool", "link", "detach", "id", xdp_link(net, "l0"))
        wait_for(lambda: prog_id(net, "l0") not in (None, before), "a program again", 2.0)
        wait_back(daemon, "l")
        both_ways(net)
    daemon.wait_log("port l: the XDP program was taken off l0")
    assert ports(daemon)["l"]["problem"] == ""
    assert rebinds(daemon, "x0") == rebinds(daemon, "w0") == 0
    pinned = on_failure == "drop"
    assert daemon.metric("sluice_interface_pinned", interface="l0") == pinned
    daemon.stop()
    assert (prog_id(net, "l0") is not None) == pinned
    run(binary("daemon/sluiced"), "-c", daemon.config_path, "--detach", check=False)
    assert prog_id(net, "l0") is None


def test_cpus_taken_away_are_named(net, daemon):
    assert os.cpu_count() >= 2
    run("taskset", "-p", "-c", "0", daemon.pid)
    daemon.wait_log(r"CPUs that this service may use changed from 0-1 to 0\b", 3.0)
    wait_for(lambda: re.search(r"cpu +0\n", ask(daemon, "show plan")["text"]), "workers on CPU 0", 3.0)
    wait_for(lambda: all(p["state"] == "forwarding" for p in ports(daemon).values()), "all back", 3.0)
    both_ways(net)
    tids = [w["tid"] for w in ask(daemon, "show workers")["workers"]]
    for tid in tids:
        assert "list: 0" in run("taskset", "-p", "-c", tid).stdout


def test_cpus_asked_for_and_taken_away_are_named_in_the_status(net):
    wires(net)
    daemon = net.daemon("d", config(daemon="cpus = 1"))
    run("taskset", "-p", "-c", "0", daemon.pid)
    wait_status(daemon, "cpus", 3.0)
    assert daemon.status().startswith("DEGRADED")
    both_ways(net)
    run("taskset", "-p", "-c", "0-1", daemon.pid)
    wait_no_status(daemon, "DEGRADED", 3.0)


def strangers(net):
    for i in range(0, 8, 2):
        net.ip("d", "link", "add", f"st{i}", "type", "veth", "peer", "name", f"st{i + 1}")


def storm(n):
    """Link and address changes of a device that is nobody's port, as fast as ip can make them."""
    lines = []
    for i in range(n):
        lines += [f"link set st{i % 8} mtu {1000 + i % 400}",
                  f"addr add 10.{i % 200}.{i // 200 % 250}.1/32 dev st{i % 8}"]
    return "\n".join(lines) + "\n"


def test_a_storm_of_events_of_other_devices(net, daemon):
    strangers(net)
    with nothing_lost(net, daemon):
        net.run("d", "ip", "-batch", "-", input=storm(4000))
        ask(daemon, "ping")
    net.down("a", "l1")
    wait_state(daemon, "l", "link_down")
    net.up("a", "l1")
    wait_back(daemon, "l")
    both_ways(net)


def test_an_overflow_of_notifications_is_made_good(net, daemon):
    """While the control thread is held, more happens than its socket has room for."""
    strangers(net)
    with held(daemon.pid):
        net.down("a", "l1")
        net.ip("d", "link", "del", "y0")
        net.run("d", "ip", "-batch", "-", input=storm(4000))
        net.up("a", "l1")
    wait_state(daemon, "y", "absent")
    wait_back(daemon, "l")
    assert daemon.metric("sluice_netlink_resyncs_total") >= 1
    recreate(net, "y")
    wait_back(daemon, "y")
    both_ways(net)
    both_ways(net, WIRES[1])


# A default route comes or goes every 2 ms: it concerns every port. In real time, for on a busy
# machine the trickle would have gaps in which the daemon plans after all.
TRICKLE = """
import itertools, os, time
from pyroute2 import IPRoute
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
with IPRoute() as ip:
    for command in itertools.cycle(("replace", "del")):
        ip.route(command, dst="default", gateway="198.51.100.2")
        time.sleep(0.002)
"""


def test_a_port_is_followed_while_events_trickle_in(net, daemon):
    """A change must not wait until the others end."""
    strangers(net)
    net.addr("d", "st0", "198.51.100.1/24")
    net.up("d", "st0")
    trickle = net.popen("d", PYTHON, "-c", TRICKLE)
    wait_for(lambda: "default" in net.ip("d", "route").stdout, "routes come and go")
    net.down("a", "l1")
    wait_followed(daemon, "l", "up, no carrier", BACK_S)
    assert trickle.poll() is None
    assert daemon.metric("sluice_netlink_resyncs_total") == 0, "nothing has overflowed"
