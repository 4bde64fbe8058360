# SPDX-License-Identifier: GPL-2.0-or-later
"""
Can the generator be believed? What it sends is on the wire, and what is done to its frames on the
way is what the sink says. All later tests of loss and order stand on this.
"""
import os
import signal

import pytest

from lib import binary, run, wait_for

QUEUES = 4


@pytest.fixture
def pair(net):
    """va in a, vb in b, four queues; the sender is held back rather than made to lose."""
    net.ns("a"), net.ns("b")
    net.veth("a", "va", "b", "vb", queues=QUEUES)
    net.lossless("a", "va")
    net.lossless("b", "vb")
    return net


@pytest.fixture
def frames(pair):
    """A hundred captured frames of 64 bytes, one flow, numbered from 0."""
    send = ["send", "va", "--count", "100", "--size", "64", "--rate", "50k"]
    return pair.capture("b", "vb", 100, lambda: pair.gen("a", *send))


def judge(net, frames, expect, status=1):
    """What the sink says of frames played to it. It waits for them all or half a second."""
    with net.sink("b", "vb", "--expect", str(expect)) as sink:
        net.replay("a", "va", frames)
        return sink.result(status)


def by_queue(report):
    return [queue["received"] for queue in report["queues"]]


# --- what is sent arrives ------------------------------------------------------------------------

@pytest.mark.parametrize("queue", range(QUEUES))
def test_sent_is_received_on_exactly_the_queue(pair, queue):
    count = 1000 * (queue + 1)
    with pair.sink("b", "vb", "--expect", str(count)) as sink:
        sent = pair.gen("a", "send", "va", "--count", count, "--queue", queue, "--rate", "200k")
        got = sink.result()
    assert sent["sent"] == sent["offered"] == sent["device_tx_packets"] == count
    assert got["received"] == count and got["intact"] is True
    assert by_queue(got) == [count if q == queue else 0 for q in range(QUEUES)]


@pytest.mark.sanitizer
def test_all_sizes_on_all_queues_in_order(pair):
    count = 4 * 1455
    with pair.sink("b", "vb", "--expect", str(count)) as sink:
        pair.gen("a", "send", "va", "--count", count, "--queues", "0-3", "--flows", "8",
                 "--size", "60-1514", "--rate", "100k")
        got = sink.result()
    assert by_queue(got) == [1455] * QUEUES
    assert [flow["received"] for flow in got["flows"]] == [count // 8 + (f < count % 8)
                                                           for f in range(8)]
    assert got["bytes"] == 4 * sum(range(60, 1515))


@pytest.mark.sanitizer
def test_both_directions_in_one_process(pair):
    report = pair.gen_run("a", "va", "b", "vb", "--count", "5000", "--rate", "50k",
                          "--bidirectional", "--size", "imix")
    assert report["intact"] is True
    assert [d["sink"]["received"] for d in report["directions"]] == [5000, 5000]


def test_a_single_frame_is_not_held_back(pair):
    with pair.sink("b", "vb", "--expect", "1") as sink:
        pair.gen("a", "send", "va", "--count", "1")
        got = sink.result()
    assert got["received"] == 1
    assert 0 < got["latency_ns"]["min"] <= got["latency_ns"]["p999"] <= got["latency_ns"]["max"]
    assert got["latency_ns"]["max"] < 1e9


def test_pacing_never_goes_faster_than_asked(pair):
    with pair.sink("b", "vb") as sink:
        sent = pair.gen("a", "send", "va", "--duration", "300ms", "--rate", "20k")
        got = sink.result()
    assert 300 < sent["offered"] <= 20000 * 0.3 * 1.02 + 64
    assert got["received"] == sent["sent"] == sent["offered"]


def test_frames_that_are_not_ours_go_to_the_kernel(pair):
    pair.addr("a", "va", "10.77.0.1/24")
    pair.addr("b", "vb", "10.77.0.2/24")
    with pair.sink("b", "vb") as sink:
        assert pair.ping("a", "10.77.0.2", 3) == 3
        pair.gen("a", "send", "va", "--count", "10")
        assert sink.result()["received"] == 10


def test_nothing_is_left_behind(pair):
    with pair.sink("b", "vb", "--expect", "1") as sink:
        assert pair.link("b", "vb")["xdp"]["prog"]["name"] == "gen_sink"
        pair.gen("a", "send", "va", "--count", "1")
        sink.result()
    wait_for(lambda: "xdp" not in pair.link("b", "vb"), "no program on vb")


@pytest.mark.parametrize("family, smallest", [("--ip", 82), ("--ip6", 102)])
def test_ip_frames_have_right_checksums(pair, family, smallest):
    from scapy.layers.l2 import Ether  # slow to import: only here
    sizes = f"{smallest}-{smallest + 49}"
    send = ["send", "va", "--count", "50", "--size", sizes, family, "--rate", "50k"]
    captured = pair.capture("b", "vb", 50, lambda: pair.gen("a", *send))
    for frame in captured:
        again = Ether(frame)
        layer = again
        while layer:
            for field in ("chksum", "len", "plen"):
                if field in layer.fields:
                    layer.delfieldval(field)
            layer = layer.payload
        assert bytes(again) == frame
    assert judge(pair, captured, 50, status=0)["received"] == 50


def test_tagged_frames_arrive_tagged(pair):
    with pair.sink("b", "vb", "--expect", "100") as sink:
        pair.gen("a", "send", "va", "--count", "100", "--vlan", "7", "--rate", "50k")
        got = sink.result()
    assert got["received"] == 100 and got["altered_l2"] == 0


# --- what goes wrong is said ---------------------------------------------------------------------

def test_captured_frames_replayed_are_intact(pair, frames):
    """The control of all tests below: the replay itself does no harm."""
    got = judge(pair, frames, 100, status=0)
    assert (got["received"], got["intact"]) == (100, True)


def test_loss_is_reported(pair, frames):
    got = judge(pair, frames[:10] + frames[13:90], 100)
    assert (got["received"], got["lost"]) == (87, 13)
    assert got["flows"][0]["lost"] == 3  # in the middle: visible without knowing how many to expect
    assert got["duplicated"] == got["reordered"] == got["corrupted"] == 0


def test_loss_in_the_middle_is_reported_without_expecting_a_number(pair, frames):
    got = judge(pair, frames[:10] + frames[13:], 0)
    assert (got["received"], got["lost"]) == (97, 3)


def test_duplicates_are_reported(pair, frames):
    got = judge(pair, frames + [frames[99], frames[5]], 100)
    assert (got["received"], got["unique"], got["duplicated"]) == (102, 100, 2)
    assert got["lost"] == got["reordered"] == 0


@pytest.mark.sanitizer
def test_reordering_is_reported(pair, frames):
    swapped = frames[:50] + [frames[51], frames[50]] + frames[52:]
    got = judge(pair, swapped, 100)
    assert (got["received"], got["reordered"], got["lost"]) == (100, 1, 0)
    got = judge(pair, frames[::-1], 100)
    assert (got["received"], got["reordered"], got["duplicated"]) == (100, 99, 0)


def test_every_damaged_byte_is_reported(pair, frames):
    """Frame i has byte i damaged; bytes 12 and 13 are the EtherType, by which the kernel gets it."""
    damaged = [bytearray(frame) for frame in frames[:64]]
    for i, frame in enumerate(damaged):
        frame[i] ^= 0x10
    got = judge(pair, damaged, 64)
    assert got["altered_l2"] == 12
    assert got["corrupted"] + got["wrong_length"] == 50
    assert got["wrong_length"] == 2  # the damaged length field looks like a cut frame
    assert (got["received"], got["lost"]) == (12, 52)


def test_a_wrong_length_is_reported(pair, frames):
    cut = [frame[:-1] for frame in frames[:5]] + [frame + b"\0" for frame in frames[5:10]]
    got = judge(pair, cut + frames[10:], 100)
    assert (got["received"], got["wrong_length"], got["lost"]) == (90, 10, 10)


def test_old_frames_of_another_run_are_foreign(pair, frames):
    run_id = int.from_bytes(frames[0][18:22], "big")
    with pair.sink("b", "vb", "--expect", "10", "--only-run", str(run_id ^ 1 or 2)) as sink:
        pair.replay("a", "va", frames)
        pair.gen("a", "send", "va", "--count", "10", "--run", str(run_id ^ 1 or 2))
        got = sink.result()
    assert (got["received"], got["foreign"]) == (10, 100)


def test_a_sink_that_stops_reading_loses_what_its_ring_cannot_hold(pair):
    ring = 64
    with pair.sink("b", "vb", "--expect", "10000", "--ring", str(ring)) as sink:
        sink.process.send_signal(signal.SIGSTOP)
        pair.gen("a", "send", "va", "--count", "10000", "--queue", "1", "--rate", "100k")
        sink.process.send_signal(signal.SIGCONT)
        got = sink.result(status=1)
    assert by_queue(got) == [0, ring, 0, 0]
    assert (got["received"], got["lost"]) == (ring, 10000 - ring)
    assert got["kernel"]["rx_dropped"] + got["kernel"]["rx_ring_full"] == 10000 - ring


def test_frames_above_the_mtu_are_refused_by_the_device(pair):
    sent = pair.gen("a", "send", "va", "--count", "20", "--length", "1519", status=1)
    assert (sent["offered"], sent["dropped"], sent["sent"]) == (20, 20, 0)
    assert sent["device_tx_dropped"] == 20


def test_runts_arrive_and_are_no_frames(pair):
    with pair.sink("b", "vb") as sink:
        pair.gen("a", "send", "va", "--count", "20", "--length", "14")
        got = sink.result(status=1)
    assert (got["received"], got["wrong_length"]) == (0, 20)


def test_a_sink_that_saw_nothing_is_not_content(pair):
    with pair.sink("b", "vb", "--duration", "50ms") as sink:
        assert sink.result(status=1)["received"] == 0


# --- flood mode ----------------------------------------------------------------------------------

def test_flood_stamps_every_frame_and_loss_is_counted(pair):
    cpu = max(os.sched_getaffinity(0))
    with pair.sink("b", "vb", "--expect", "200000") as sink:
        sent = pair.gen("a", "send", "va", "--flood", "--count", "200k", "--flows", "7",
                        "--flow-base", "3", "--cpu", str(cpu))
        got = sink.result(status=None)
    assert sent["offered"] == 200000
    assert got["received"] + got["lost"] == 200000
    assert got["received"] >= 10000
    assert got["corrupted"] == got["duplicated"] == got["reordered"] == got["wrong_length"] == 0
    assert [flow["flow"] for flow in got["flows"]] == list(range(3, 10))
    assert by_queue(got) == [got["received"] if q == cpu % QUEUES else 0 for q in range(QUEUES)]


@pytest.mark.sanitizer
def test_flood_ends_after_its_duration(pair):
    with pair.sink("b", "vb") as sink:
        sent = pair.gen("a", "send", "va", "--flood", "--duration", "50ms")
        got = sink.result(status=None)
    assert 0.05 <= sent["seconds"] < 2
    assert 0 < got["received"] <= sent["offered"]


# --- exit status ---------------------------------------------------------------------------------

def test_wrong_use_and_refusals_have_their_exit_status(pair):
    generator = binary("tools/sluice-gen")
    assert run(generator, "--help").stdout.startswith("sluice-gen")
    assert run(generator, "send", check=False).returncode == 2
    assert run(generator, "send", "nosuch0", "--count", "1", check=False).returncode == 3
    with pair.sink("b", "vb", "--queue", "2", "--expect", "1"):
        second = pair.run("b", generator, "sink", "vb", check=False)
        assert second.returncode == 3 and "vb" in second.stderr
