# SPDX-License-Identifier: GPL-2.0-or-later
"""
A cross-connect is a wire: what goes in at one port comes out of the other, byte for byte, in
order, one queue per queue, and nothing else happens.
"""
import hashlib
import os
import select
import socket
import statistics
import threading
import time

import pytest

from lib import Daemon, binary, run, wait_for
from tap import Tap
from traffic import Books, Box, ask, frame, in_ns, settled

SIZES = 1514 - 60 + 1


def by_queue(report):
    return [queue["received"] for queue in report["queues"]]


def send_unequally(box, n_queues, reverse=False):
    """100 frames on queue 0, 200 on queue 1, …: a queue mistaken for another would show."""
    runs = []
    for q in range(n_queues):
        runs.append(box.cross_intact(100 * (q + 1), "--queue", q, "--rate", "50k",
                                     reverse=reverse))
    return runs


# --- queues --------------------------------------------------------------------------------------

@pytest.mark.parametrize("queues, workers", [(1, "auto"), (2, "2"), (4, "1"), (4, "4")])
def test_each_queue_goes_to_its_own(net, queues, workers):
    box = Box(net, queues=queues)
    daemon = box.start(daemon=f"workers = {workers}")
    for reverse in (False, True):
        for q, run_ in enumerate(send_unequally(box, queues, reverse)):
            wanted = [100 * (q + 1) if i == q else 0 for i in range(queues)]
            assert by_queue(run_.got) == wanted
    books = settled(daemon)
    wanted = {q: 100 * (q + 1) for q in range(queues)}
    for interface in ("wan", "lan"):
        for counter in ("receive", "forwarded", "transmit", "transmit_completed"):
            assert books.by_queue(f"{counter}_packets_total", interface) == wanted, counter
    assert len(ask(daemon, "show workers")["workers"]) == (1 if workers == "auto" else int(workers))


@pytest.mark.parametrize("wan, lan, workers", [(4, 2, 2), (4, 2, 1), (3, 1, 1), (2, 4, 2)])
def test_unequal_numbers_of_queues(net, wan, lan, workers):
    """The out queue of design.md §4.1: own lanes of the out port, index (queue div W) mod n."""
    box = Box(net, queues=wan, queues_b=lan)
    daemon = box.start(daemon=f"workers = {workers}")
    for n_in, n_out, reverse in ((wan, lan, False), (lan, wan, True)):
        for q, run_ in enumerate(send_unequally(box, n_in, reverse)):
            lanes = [o for o in range(n_out) if o % workers == q % workers]
            out = lanes[q // workers % len(lanes)]
            assert by_queue(run_.got) == [100 * (q + 1) if i == out else 0 for i in range(n_out)]
    assert all(n > 0 for n in settled(daemon).by_queue("receive_packets_total", "wan").values())
    # All of the larger side's queues at once meet on the smaller side's; each flow keeps its order.
    box.cross_intact(8000, "--queues", "all", "--flows", "16", "--rate", "20k")


def test_queues_of_a_list_are_used_and_the_others_are_the_kernels(net):
    box = Box(net, queues=4)
    daemon = box.start(port="stall_timeout = 5s\nqueues = 0,2\n")
    for q in (0, 2):
        assert by_queue(box.cross_intact(50, "--queue", q).got)[q] == 50
    for q in (1, 3):
        seen = net.capture("box", "wan", 40, lambda q=q: net.gen(
            "a", "send", "va", "--count", "40", "--queue", q))
        assert len(seen) == 40
    books = settled(daemon)
    assert books.verdict("wan", "no_worker") == 80
    assert books.by_queue("receive_packets_total", "wan") == {0: 50, 2: 50}
    assert books.by_queue("transmit_packets_total", "lan") == {0: 50, 2: 50}


# --- frames --------------------------------------------------------------------------------------

@pytest.mark.sanitizer
def test_all_sizes_both_ways_at_once(net):
    box = Box(net, queues=2).no_loss_behind()
    box.start(daemon="workers = 2")
    runs = box.cross_both_ways_intact(4 * SIZES, "--queues", "all", "--flows", "8",
                                      "--size", "60-1514", "--rate", "10k")
    for run_ in runs:
        assert run_.got["bytes"] == 4 * sum(range(60, 1515))
        assert run_.delta("queue", "receive_bytes_total", run_.into) == run_.got["bytes"]
        assert run_.delta("queue", "transmit_bytes_total", run_.out) == run_.got["bytes"]


CONTROL = [f"01:80:c2:00:00:{last:02x}" for last in range(16) if last != 1]
PAUSE = "01:80:c2:00:00:01"

WIRE_FRAMES = {
    "unknown ethertype": [frame(ethertype=0x9999), frame(ethertype=0xffff, length=1514)],
    "broadcast": [frame(dst="ff:ff:ff:ff:ff:ff"), frame(dst="ff:ff:ff:ff:ff:ff", ethertype=0x0806)],
    "multicast": [frame(dst="01:00:5e:00:00:fb", ethertype=0x0800), frame(dst="33:33:00:00:00:01"),
                  frame(dst="01:80:c2:00:00:10"), frame(dst="01:00:0c:cc:cc:cd")],
    "802.3 LLC": [frame(ethertype=3, payload=b"\x42\x42\x03"), frame(ethertype=1500, length=1514,
                                                                    payload=b"\xaa\xaa\x03")],
    "tagged": [frame(tags=[(0x8100, 7)]), frame(tags=[(0x8100, 0xefff)], length=1518),
               frame(tags=[(0x8100, 0)])],
    "QinQ": [frame(tags=[(0x88a8, 100), (0x8100, 7)], length=1514),
             frame(tags=[(0x8100, 1), (0x8100, 2), (0x8100, 3)])],
    "runts": [frame(length=length) for length in (14, 15, 33, 59)],
    "looks like the host's": [frame(ethertype=0x0800), frame(ethertype=0x86dd)],
    "control, as a wire does": [frame(dst=dst) for dst in CONTROL],
}


@pytest.mark.sanitizer
def test_frames_of_every_kind_cross_unchanged(net):
    box = Box(net)
    box.start()
    for kind, frames in WIRE_FRAMES.items():
        for reverse in (False, True):
            assert box.play(frames, reverse) == frames, kind
    books = settled(box.daemon)
    total = sum(map(len, WIRE_FRAMES.values()))
    for interface in ("wan", "lan"):
        assert books.verdicts(interface) == books.verdict(interface, "redirect") == total


def test_tagged_frames_of_the_generator_arrive_tagged(net):
    box = Box(net)
    box.start()
    assert box.cross_intact(500, "--vlan", "7", "--rate", "20k").got["altered_l2"] == 0


@pytest.mark.parametrize("pass_control", ["no", "yes"])
def test_pause_is_never_forwarded_and_control_is_as_configured(net, pass_control):
    box = Box(net)
    daemon = box.start(wan=f"pass_control = {pass_control}\n")
    control = [frame(dst=dst) for dst in CONTROL] + [frame(dst="01:80:c2:00:00:0e",
                                                           ethertype=0x88cc)]
    last = frame(ethertype=0x9999)
    pause = [frame(dst=PAUSE, ethertype=0x8808)] * 5 + [frame(dst=PAUSE)]
    if pass_control == "no":
        assert box.play(pause + control + [last], expect=len(control) + 1) == control + [last]
    else:
        assert box.play(pause + [last], expect=1) == [last]
        seen = net.capture("box", "wan", len(control),
                           lambda: net.replay("a", "va", pause + control))
        assert seen == control
        assert box.play([last]) == [last]  # and nothing else came before it
    books = settled(daemon)
    assert books.verdict("wan", "pause") == (6 if pass_control == "no" else 12)
    assert books.verdict("wan", "control") == (len(control) if pass_control == "yes" else 0)
    assert books.verdicts("wan") == books.verdict("wan", "redirect") + \
        books.verdict("wan", "pause") + books.verdict("wan", "control")


# --- MTU -----------------------------------------------------------------------------------------

def test_the_mtu_of_the_out_port_is_the_limit(net):
    """MTU + 14 untagged, 4 more with a tag; longer frames are dropped and counted, exactly."""
    box = Box(net)
    net.ip("box", "link", "set", "lan", "mtu", 1400)
    daemon = box.start()
    tag = [(0x8100, 7)]
    fit = [frame(length=1413), frame(length=1414), frame(tags=tag, length=1418),
           frame(tags=[(0x88a8, 9)], length=1418), frame(tags=tag, length=1415)]
    long = [frame(length=1415), frame(length=1418), frame(length=1514),
            frame(tags=tag, length=1419), frame(tags=tag + tag, length=1422)]
    mixed = [frames for pair in zip(long, fit) for frames in pair]
    assert box.play(mixed, expect=len(fit)) == fit
    assert settled(daemon).drops("wan", reason="mtu") == len(long)
    # The other way the MTU is 1500; veth itself lets 1418 bytes through to a lan of MTU 1400.
    assert box.play(long[:2], reverse=True) == long[:2]
    books = settled(daemon)
    assert books.drops("lan") == 0 and books.drops("wan") == len(long)


def test_the_mtu_is_followed_at_run_time(net):
    box = Box(net)
    daemon = box.start()
    assert box.play([frame(length=1514)]) == [frame(length=1514)]
    net.ip("box", "link", "set", "lan", "mtu", 1200)

    def drops_long():
        net.replay("a", "va", [frame(length=1215)])
        return Books(daemon.metrics()).drops("wan", reason="mtu") > 0
    wait_for(drops_long, "the new MTU is obeyed", 5)
    assert box.play([frame(length=1214)]) == [frame(length=1214)]
    settled(daemon)


# --- hosts talking through the box ---------------------------------------------------------------

@pytest.fixture
def hosts(net):
    box = Box(net, queues=2).no_loss_behind()
    net.addr("a", "va", "10.9.0.1/24")
    net.addr("b", "vb", "10.9.0.2/24")
    box.start(daemon="workers = 2")
    return box


def test_ping_crosses(net, hosts):
    assert net.ping("a", "10.9.0.2", count=20) == 20
    assert net.ping("b", "10.9.0.1", count=20) == 20
    settled(hosts.daemon)


def test_udp_crosses_with_right_checksums(net, hosts):
    receiver = in_ns(net, "b", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sender = in_ns(net, "a", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with receiver, sender:
        receiver.bind(("10.9.0.2", 7777))
        receiver.settimeout(5)
        for length in (0, 1, 2, 17, 18, 19, 511, 1471, 1472):
            sent = os.urandom(length)
            sender.sendto(sent, ("10.9.0.2", 7777))
            assert receiver.recv(2048) == sent


def test_tcp_crosses_both_ways(net, hosts):
    n_bytes = 8 << 20
    listener = in_ns(net, "b", lambda: socket.create_server(("10.9.0.2", 7778)))
    digests = {}

    def transfer(name, sock):
        data = os.urandom(1 << 16)
        sent, received = hashlib.sha256(), hashlib.sha256()
        n_sent = n_received = 0
        sock.setblocking(False)
        while n_sent < n_bytes or n_received < n_bytes:
            readable, writable, _ = select.select([sock], [sock] if n_sent < n_bytes else [], [],
                                                  30)
            assert readable or writable, f"{name} stands still: {n_sent} {n_received}"
            if readable:
                got = sock.recv(1 << 16)
                assert got, f"{name}: closed early"
                received.update(got)
                n_received += len(got)
            if writable:
                offset = n_sent % len(data)
                n = sock.send(data[offset:offset + min(len(data), n_bytes - n_sent)])
                sent.update(data[offset:offset + n])
                n_sent += n
        digests[name] = (sent.hexdigest(), received.hexdigest())
    client = in_ns(net, "a", lambda: socket.create_connection(("10.9.0.2", 7778), timeout=10))
    server, _ = listener.accept()
    with listener, client, server:
        threads = [threading.Thread(target=transfer, args=pair)
                   for pair in (("client", client), ("server", server))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert digests["client"] == digests["server"][::-1]
    assert settled(hosts.daemon).verdict("wan", "redirect") > n_bytes / 1448


# --- time ----------------------------------------------------------------------------------------

def test_a_single_frame_waits_for_no_other(net):
    """The next frame is sent when the last has come out: nothing waits for a batch to fill."""
    box = Box(net, queues=2)
    box.start(daemon="workers = 2")

    def open_socket(ifname):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b6))
        sock.bind((ifname, 0x88b6))
        sock.settimeout(5)
        return sock
    sender = in_ns(net, "a", lambda: open_socket("va"))
    receiver = in_ns(net, "b", lambda: open_socket("vb"))
    times_s = []
    with sender, receiver:
        for i in range(200):
            data = frame(payload=i.to_bytes(2, "big"))
            begun = time.monotonic()
            sender.send(data)
            assert receiver.recv(2048) == data
            times_s.append(time.monotonic() - begun)
    # The worker's longest sleep is 25 ms, a forgotten wakeup would cost a good part of it.
    assert statistics.median(times_s) < 0.005, sorted(times_s)[-20:]
    assert settled(box.daemon).queue("receive_packets_total", "wan") == 200


# --- modes and memory ----------------------------------------------------------------------------

def mode_of(daemon, interface):
    return {port["interface"]: port["mode"]
            for port in ask(daemon, "status")["status"]["ports"]}[interface]


@pytest.mark.parametrize("mode", ["auto", "copy"])
def test_native_copy_mode(net, mode):
    box = Box(net, queues=2)
    daemon = box.start(port=f"mode = {mode}\nstall_timeout = 5s\n")
    assert mode_of(daemon, "wan") == mode_of(daemon, "lan") == "copy"
    box.cross_intact(2000, "--queues", "all", "--rate", "20k")


def refused(net, config, status=1):
    """The log of a daemon that does not start."""
    daemon = Daemon(net, "box", config).start(ready=False)
    assert daemon.wait(20) == status, daemon.log()
    return daemon.log()


def test_zerocopy_is_refused_where_there_is_none(net):
    box = Box(net)
    log = refused(net, box.config(wan="mode = zerocopy\n"))
    assert ("port wan: mode = zerocopy: driver veth of wan does not offer it; "
            "set mode = copy or auto") in log
    assert all("xdp" not in net.link("box", name) for name in ("wan", "lan"))


TAPS = "".join(f"[port {p}]\ninterface = {p}\nforward = xconnect {q}\nmode = generic\n"
               "stall_timeout = 5s\n" for p, q in (("wan", "lan"), ("lan", "wan")))


@pytest.mark.parametrize("queues", [1, 3])
def test_generic_mode_on_a_tap(net, queues):
    """A tap receives on the queue whose fd is written to, in generic mode too."""
    net.ns("box")
    with Tap(net, "box", "wan", queues) as wan, Tap(net, "box", "lan", queues) as lan:
        daemon = net.daemon("box", TAPS)
        assert mode_of(daemon, "wan") == mode_of(daemon, "lan") == "generic"
        for into, out, name in ((wan, lan, "wan"), (lan, wan, "lan")):
            for q in range(queues):
                frames = [frame(payload=bytes([q, i]), length=60 + 97 * i) for i in range(15)]
                for data in frames:
                    into.send(q, data)
                assert out.receive(len(frames)) == {q: frames}
            books = settled(daemon)
            assert books.by_queue("receive_packets_total", name) == {q: 15 for q in range(queues)}


def test_long_frames_in_large_buffers(net):
    box = Box(net, mtu=3000)
    daemon = box.start(daemon="frame_size = 4096")
    box.cross_intact(2000, "--size", "2900-3014", "--rate", "10k")
    assert settled(daemon).queue("transmit_packets_total", "lan") == 2000


def test_an_mtu_that_does_not_fit_the_buffers_is_refused_with_the_number(net):
    box = Box(net, mtu=3000)
    log = refused(net, box.config())
    assert ("MTU 3000 of wan is more than 1770, the most that frames of 2048 bytes hold: set it to "
            "1770 or less (ip link set wan mtu 1770), or set frame_size = 4096") in log


def test_the_longest_mtu_that_fits_really_fits(net):
    box = Box(net, mtu=1770)
    box.start()
    longest = [frame(length=1784), frame(tags=[(0x8100, 1)], length=1788)]
    assert box.play(longest) == longest


def test_huge_pages_that_are_not_there_are_named(net):
    free = int(next(line.split()[1] for line in open("/proc/meminfo")
                    if line.startswith("HugePages_Free")))
    frames = 65536 * (1 + free // 64)
    box = Box(net)
    log = refused(net, box.config(daemon=f"huge_pages = on\nframes_per_worker = {frames}"))
    needed = frames * 2048 // (2 << 20)
    assert (f"packet memory needs {needed} free huge pages of 2 MiB, there are {free}: raise "
            f"vm.nr_hugepages by {needed - free}, or set huge_pages = auto") in log


def test_few_frames_are_enough(net):
    """Rings of 64: bursts may overflow them, which is counted; frames still never get lost."""
    box = Box(net, queues=3).no_loss_behind()
    daemon = box.start(daemon="workers = 1\nframes_per_worker = 896")
    run_ = box.cross(3000, "--queues", "all", "--rate", "2k", "--burst", "1")
    assert run_.got["received"] + sum(run_.daemon_losses().values()) + run_.sink_losses() == 3000
    assert run_.got["received"] > 0
    assert settled(daemon).sum("sluice_umem_size_frames") == 896
    too_few = run(*net.enter("box"), binary("daemon/sluiced"), "--dry-run", "-c", _file(
        daemon, box.config(daemon="workers = 1\nframes_per_worker = 895")), check=False)
    assert too_few.returncode != 0
    assert "895 are too few for the 6 lanes of worker 0, which need at least 896" in \
        too_few.stdout + too_few.stderr


def _file(daemon, text):
    path = daemon.dir / "other.conf"
    path.write_text(text)
    return path
