# SPDX-License-Identifier: GPL-2.0-or-later
"""
Where virtio_net has no zero-copy: Debian's older kernels (EOPNOTSUPP), which also take no more than 32
frames a wakeup, and a device that does without the DMA API (EINVAL). The daemon copies, and says so.
"""
import pytest

from guest import wire

GUESTS = {"6.1": {"kernel": "6.1"}, "6.12": {"kernel": "6.12"},
          "no-iommu": {"kernel": "7.2", "env": {"VNET": "iommu_platform=off"}}}


@pytest.mark.parametrize("booted", GUESTS.values(), indirect=True, ids=GUESTS)
class TestCopyOnly:
    def test_says_what_the_kernel_lacks(self, guest):
        wanted = "yes" if guest.kernel == "7.2" else "no: "
        out = guest.run("sluiced -VV")
        assert f"tx budget of a wakeup (XDP_MAX_TX_SKB_BUDGET)    {wanted}" in out, out

    def test_zerocopy_is_refused_by_name(self, guest):
        guest.start(wire(a={"mode": "zerocopy"}), ready=False)
        guest.wait_end(status=1)
        assert "port a: mode = zerocopy: driver virtio_net of n0 does not offer it; " \
               "set mode = copy or auto" in guest.daemon_log()
        assert "prog/xdp" not in guest.run("ip -d link show")

    def test_auto_copies_and_bursts_do_not_stall(self, guest):
        guest.start(wire())
        assert [guest.port(p)["mode"] for p in "ab"] == ["copy", "copy"]
        for _ in range(3):
            guest.crosses("--count", 3000, "--rate", "3k", "--burst", 250, "--idle-timeout", "2s",
                          "--bidirectional")
        metrics = guest.wait_quiet()
        assert metrics.total("sluice_queue_copied_packets_total") == 0
        if guest.kernel != "7.2":
            # EAGAIN: the kernel took 32 and more were waiting. Without it nothing was put to the test.
            assert metrics.total("sluice_xsk_wakeup_retries_total") > 0
        guest.stop()
