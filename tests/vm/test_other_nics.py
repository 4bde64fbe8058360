# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers with native XDP but no zero-copy, and with neither."""
import pytest

from guest import wire

NICS = {"vmxnet3": "copy", "e1000e": "generic"}


@pytest.mark.parametrize("booted, mode", [({"kernel": "7.2", "nic": nic}, mode) for nic, mode in NICS.items()],
                         indirect=["booted"], ids=NICS)
def test_auto_takes_what_there_is(guest, mode):
    guest.start(wire())
    assert [guest.port(p)["mode"] for p in "ab"] == [mode, mode]
    assert ("has no native XDP, continuing in generic mode (slow)" in guest.daemon_log()) \
        == (mode == "generic")
    guest.wait_wire()
    guest.crosses("--count", 200, "--rate", 1000, "--bidirectional", "--idle-timeout", "2s")
    assert guest.wait_quiet().total("sluice_queue_copied_packets_total") == 0
    guest.stop()
