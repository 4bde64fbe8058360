# SPDX-License-Identifier: GPL-2.0-or-later
"""igb of kernel 7.2: zero-copy, true RSS, and a link that is retrained whenever a program is attached."""
import pytest

from guest import wire

GUEST = {"kernel": "7.2", "nic": "igb"}
# Fewer than the NIC's 256 descriptors: a guest that is not scheduled for a while loses none.
PACED = ("--count", 200, "--rate", 1000, "--bidirectional", "--idle-timeout", "2s")


def start(guest, config):
    guest.start(config)
    guest.wait_wire()


@pytest.mark.parametrize("a, b, modes", [("auto", "auto", ["zerocopy", "zerocopy"]),
                                         ("auto", "copy", ["zerocopy", "copy"]),
                                         ("copy", "generic", ["copy", "generic"])])
def test_modes(guest, a, b, modes):
    start(guest, wire(a={"mode": a}, b={"mode": b}))
    assert [guest.port(p)["mode"] for p in "ab"] == modes
    guest.crosses(*PACED)
    metrics = guest.wait_quiet()
    forwarded = metrics.total("sluice_queue_forwarded_packets_total")
    is_mixed = "zerocopy" in modes and "copy" in modes
    assert metrics.total("sluice_queue_copied_packets_total") == (forwarded if is_mixed else 0)
    guest.stop()
    assert guest.run("ethtool -k n0").count("rx-vlan-offload: on") == 1, "offload not restored"


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
