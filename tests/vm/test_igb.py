# SPDX-License-Identifier: GPL-2.0-or-later
"""
igb of kernel 7.2: zero-copy, true RSS, and a link that is retrained whenever a program is attached.
Zero-copy needs frames of 4096 bytes: the NIC is told the size of a buffer in KiB, rounded down.
"""
import pytest

from guest import wire

GUEST = {"kernel": "7.2", "nic": "igb"}
# Fewer than the NIC's 256 descriptors: a guest that is not scheduled for a while loses none.
PACED = ("--count", 200, "--rate", 1000, "--bidirectional", "--idle-timeout", "2s")
BIG = "frame_size = 4096"


def start(guest, config):
    guest.start(config)
    guest.wait_wire()


@pytest.mark.parametrize("a, b, modes", [("auto", "auto", ["zerocopy", "zerocopy"]),
                                         ("auto", "copy", ["zerocopy", "copy"]),
                                         ("copy", "generic", ["copy", "generic"])])
def test_modes(guest, a, b, modes):
    start(guest, wire(BIG, a={"mode": a}, b={"mode": b}))
    assert [guest.port(p)["mode"] for p in "ab"] == modes
    guest.crosses(*PACED)
    metrics = guest.wait_quiet()
    forwarded = metrics.total("sluice_queue_forwarded_packets_total")
    is_mixed = "zerocopy" in modes and "copy" in modes
    assert metrics.total("sluice_queue_copied_packets_total") == (forwarded if is_mixed else 0)
    guest.stop()
    assert guest.run("ethtool -k n0").count("rx-vlan-offload: on") == 1, "offload not restored"


@pytest.mark.parametrize("daemon, mode", [("", "copy"), (BIG, "zerocopy")])
def test_long_frames_arrive_whole(guest, daemon, mode):
    """With frames of 2048 bytes 1792 are left behind the headroom, and the NIC would be told 1024."""
    start(guest, wire(daemon))
    assert [guest.port(p)["mode"] for p in "ab"] == [mode, mode]
    assert ("would cut what is longer than 1024 bytes in two" in guest.daemon_log()) is (mode == "copy")
    for size in (1024, 1025, 1514):
        guest.crosses(*PACED, "--size", size)
    guest.wait_quiet()
    guest.stop()


def test_zerocopy_that_would_cut_is_refused_by_name(guest):
    guest.start(wire(a={"mode": "zerocopy"}), ready=False)
    guest.wait_end(status=1)
    assert "mode = zerocopy: driver igb of n0 would cut what is longer than 1024 bytes in two; " \
           "set frame_size = 4096" in guest.daemon_log()


def test_rss_spreads(guest):
    """The device hashes addresses: flows of 16 of them come to every queue, and none gets lost."""
    start(guest, wire())
    before = guest.wait_quiet().by("sluice_queue_receive_packets_total", "queue", interface="n0")
    for i in range(16):
        guest.crosses("--count", 20, "--rate", 1000, "--ip", "--size", 128, "--idle-timeout", "2s",
                      "--src-ip", f"198.18.{i}.{7 * i + 1}")
    after = guest.wait_quiet().by("sluice_queue_receive_packets_total", "queue", interface="n0")
    received = {queue: after[queue] - before[queue] for queue in after}
    assert sum(received.values()) == 16 * 20 and len(received) == 4
    assert all(received.values()), received
