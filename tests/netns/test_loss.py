# SPDX-License-Identifier: GPL-2.0-or-later
"""
Below capacity nothing is lost, above it nothing is lost without a counter, and after it the next
frame crosses as if nothing had been.
"""
import json
import re
import signal
import subprocess

import pytest

from lib import binary, wait_for
from traffic import (SCALE_FULL, SINK_RING, VOID_RUNS, Books, Box, Crossing, ask, intact, settled,
                     waited_for_cpu_s)

PACED = 300_000 if SCALE_FULL else 120_000
PIECES = 17 if SCALE_FULL else 1  # 5.1 million with SLUICE_FULL, each piece to the last frame
PACED_DEADLINE_S = 120
AFTERWARDS = 20_000
FLOOD = "2s"


def device_losses(net, ns, ifname):
    """
    What veth lost of frames sent by XDP to `ifname`, before the program there saw them. (Frames
    of sockets it counts as tx_dropped of the sending end, which the generator subtracts.)
    """
    out = net.ethtool(ns, "-S", ifname).stdout
    return sum(int(line.split(":")[1]) for line in out.splitlines()
               if "tx_queue_" in line and line.strip().split(":")[0].endswith("xdp_xmit_errors"))


def check_drops_agree(daemon):
    """`sluicectl --json drops` says what the metrics page says."""
    books = settled(daemon)
    drops = daemon.ctl("drops")["drops"]
    assert drops["balanced"] is True, drops
    for port in drops["ports"]:
        i = port["interface"]
        assert port["verdicts"]["redirect"] == books.verdict(i, "redirect")
        assert port["received"] == books.queue("receive_packets_total", i)
        assert port["forwarded"] == books.queue("forwarded_packets_total", i)
        assert port["transmitted"] == books.queue("transmit_packets_total", i)
        assert port["completed"] == books.queue("transmit_completed_packets_total", i)
        assert port["dropped"] == books.drops(i)
        assert port["in_tx"] == port["rx_waiting"] == 0
        by_place = port["lost_by_place"]
        assert by_place["worker"] == books.drops(i)
        assert by_place["socket"] == sum(
            books.sum(f"sluice_xsk_{name}_total", interface=i)
            for name in ("rx_dropped", "rx_ring_full"))
        assert by_place["transmit"] == books.sum("sluice_interface_transmit_dropped_total",
                                                 interface=i)
        assert by_place["xdp"] == books.sum("sluice_xdp_packets_total", interface=i,
                                            action="drop")
        assert port["lost"] == sum(by_place.values())
        assert sum(loss["packets"] for loss in port["losses"] if loss["counted"]) == port["lost"]
    return books


# --- below capacity ------------------------------------------------------------------------------

def test_paced_frames_are_not_lost(net):
    box = Box(net, queues=2).no_loss_behind()
    daemon = box.start()
    for _ in range(PIECES):
        run = box.cross_intact(PACED, "--queues", "all", "--flows", "16", "--rate", "100k",
                               deadline_s=PACED_DEADLINE_S)
        assert len(run.got["flows"]) == 16
        for flow in run.got["flows"]:
            assert (flow["received"], flow["lost"], flow["reordered"]) == (PACED // 16, 0, 0)
    assert settled(daemon).queue("transmit_completed_packets_total", "lan") >= PACED * PIECES
    check_drops_agree(daemon)


def test_paced_frames_are_not_lost_both_ways(net):
    box = Box(net, queues=2).no_loss_behind()
    daemon = box.start()
    box.cross_both_ways_intact(PACED // 3, "--queues", "all", "--flows", "16", "--rate", "50k",
                               "--size", "imix", deadline_s=PACED_DEADLINE_S)
    check_drops_agree(daemon)


def test_without_a_qdisc_every_loss_is_the_kernels_and_counted(net):
    """A veth pair that cannot push back drops what its peer does not take: tx_dropped, exactly."""
    box = Box(net)
    daemon = box.start()
    run = box.cross(50_000, "--rate", "50k")
    assert set(run.daemon_losses()) <= {"tx_dropped"}
    assert run.got["received"] + run.sink_losses() + run.daemon_losses().get("tx_dropped", 0) == \
        run.sent["sent"]
    check_drops_agree(daemon)


# --- above capacity ------------------------------------------------------------------------------

def flood(box, ends):
    """Floods each of the ports `ends` at once for FLOOD; {port: frames offered}."""
    processes = {}
    for into in ends:
        ns, ifname = box.peer[into]
        processes[into] = box.net.popen(
            ns, binary("tools/sluice-gen"), "send", ifname, "--flood", "--duration", FLOOD,
            "--flows", "8", "--cpu", "0", "--json", stdout=subprocess.PIPE, text=True)
    return {into: json.loads(process.communicate(timeout=60)[0])["offered"]
            for into, process in processes.items()}


@pytest.mark.parametrize("ends, qdisc", [(("wan",), False), (("wan",), True),
                                         (("wan", "lan"), False)],
                         ids=["one-way", "one-way-pfifo", "both-ways"])
def test_overload_is_counted_to_the_frame_and_over_at_once(net, ends, qdisc):
    box = Box(net, queues=2)
    if qdisc:
        box.no_loss_behind()
    daemon = box.start(daemon="workers = 2")
    before = settled(daemon)
    lost_before = {i: device_losses(net, *box.peer[i]) for i in ends}
    # One way, somebody looks at what comes out; both ways, that would take the CPUs.
    # It does not go home when a worker that waits for its CPU is silent for half a second.
    sink = net.sink("b", "vb", "--ring", SINK_RING, "--idle-timeout", "60s") if len(ends) == 1 \
        else None
    offered = flood(box, ends)
    after = settled(daemon)
    got = sink.stop(status=None) if sink else None
    for i in ends:
        run = Crossing(None, None, before, after, box.way(i == "lan"))
        lost_by_device = device_losses(net, *box.peer[i]) - lost_before[i]
        assert run.delta("verdicts", i) + lost_by_device == offered[i]
        # Far above capacity, or this test shows nothing; but the worker never stands still.
        assert lost_by_device + sum(run.daemon_losses().values()) > 1000
        assert run.delta("queue", "transmit_completed_packets_total", run.out) > 10_000
        assert run.delta("verdict", i, "redirect") == run.delta("verdicts", i)
        if qdisc:
            assert "tx_dropped" not in run.daemon_losses()
        if got:
            run.got = got
            run.check_out()
            run.check_undamaged()
    check_drops_agree(daemon)
    assert ask(daemon, "status")["status"]["degraded"] is False
    # At once: the first frame after the flood too.
    box.no_loss_behind()
    box.cross_both_ways_intact(AFTERWARDS, "--queues", "all", "--flows", "4", "--rate", "20k")


def test_what_is_on_its_way_when_the_daemon_is_stopped_still_arrives(net):
    """Its last words count as exactly as its metrics: everything received went somewhere."""
    box = Box(net, queues=2).no_loss_behind()
    daemon = box.start(daemon="workers = 2")
    with net.sink("b", "vb", "--ring", SINK_RING, "--idle-timeout", "5s") as sink:
        sender = net.popen("a", binary("tools/sluice-gen"), "send", "va", "--duration", "30s",
                           "--queues", "all", "--rate", "40k", stdout=subprocess.DEVNULL)
        wait_for(lambda: Books(daemon.metrics()).queue("receive_packets_total", "wan") > 5000,
                 "frames cross")
        daemon.stop()
        sender.send_signal(signal.SIGTERM)
        sender.wait(10)
        got = sink.stop(status=None)
    wan, lan = ({name: int(n) for name, n in re.findall(
        r"(?<!not )(received|forwarded|dropped|sent|confirmed) (\d+)",
        re.search(rf"port {port}: (.*\bconfirmed .*)", daemon.log()).group(1))}
        for port in ("wan", "lan"))
    assert wan["received"] > 5000
    assert wan["received"] == wan["forwarded"] + wan["dropped"]
    assert wan["forwarded"] == lan["sent"] == lan["confirmed"]
    lost = got["kernel"]["rx_dropped"] + got["kernel"]["rx_ring_full"]
    assert got["received"] + lost == lan["confirmed"]
    assert (got["duplicated"], got["reordered"], got["corrupted"]) == (0, 0, 0)
    # A wire that loses only its end: no hole in a flow, unless somebody counted it.
    assert got["lost"] == 0 or lost > 0 or wan["dropped"] > 0
    assert "not confirmed" not in daemon.log()


# --- a peer that does not take its frames --------------------------------------------------------

@pytest.mark.parametrize("how", ["sink stopped", "nobody there", "link down"])
def test_a_blocked_peer_does_not_stall_the_other_group(net, how):
    box = Box(net).no_loss_behind()
    other = Box(net, hosts=(("c", "vc"), ("d", "vd")), ports=("west", "east")).no_loss_behind()
    box.daemon = other.daemon = daemon = net.daemon("box", box.config() +
                                                    other.config().replace("[daemon]\n", ""))
    if how == "sink stopped":
        net.sink("b", "vb", "--ring", "64").process.send_signal(signal.SIGSTOP)
    elif how == "link down":
        net.down("b", "vb")
        wait_for(lambda: Books(daemon.metrics()).sum("sluice_interface_up", interface="lan") == 0,
                 "the daemon knows that lan is down")
    sender = net.popen("a", binary("tools/sluice-gen"), "send", "va", "--duration", "60s",
                       "--rate", "20k", stdout=subprocess.DEVNULL)
    wait_for(lambda: Books(daemon.metrics()).queue("receive_packets_total", "wan") > 1000,
             "frames come in at wan")
    run, = intact([lambda: cross_beside(other, 20_000)] * VOID_RUNS)
    assert run.delta("queue", "receive_packets_total", "wan") > 1000  # they came all the while
    sender.send_signal(signal.SIGTERM)
    sender.wait(10)
    books = settled(daemon)
    assert books.drops("west") == books.drops("east") == 0
    assert (books.drops("wan") > 1000) == (how == "link down")
    assert books.drops("wan") == books.drops("wan", reason="link_down")
    assert books.verdicts("wan") == books.verdict("wan", "redirect")
    check_drops_agree(daemon)


def cross_beside(box, count):
    """Crosses a box while another group of its daemon is never quiet, so that nothing settles."""
    before, waited_s = Books(box.daemon.metrics()), waited_for_cpu_s(box.daemon)
    into, out = box.ports
    ns, ifname = box.peer[into]
    with box.net.sink(*box.peer[out], "--expect", count, "--ring", SINK_RING, "--idle-timeout",
                      "1s") as sink:
        sent = box.net.gen(ns, "send", ifname, "--count", count, "--rate", "20k")
        got = sink.result(status=None)
    return [Crossing(sent, got, before, Books(box.daemon.metrics()), (into, out),
                     waited_for_cpu_s(box.daemon) - waited_s)]
