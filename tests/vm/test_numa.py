# SPDX-License-Identifier: GPL-2.0-or-later
"""Two nodes with a NIC on each: where workers and their packet memory go, huge pages, queues, busy polling."""
import re

from guest import SPREAD, section, wire

GUEST = {"kernel": "7.2", "nic": "virtio"}
HUGE = "/sys/devices/system/node/node{}/hugepages/hugepages-2048kB/nr_hugepages"


def umem_nodes(guest):
    """{node: pages} of the packet memory as the kernel has it."""
    text = guest.run("grep sluice-umem /proc/$(cat /run/sluiced.pid)/numa_maps")
    pages = {}
    for node, n in re.findall(r" N(\d+)=(\d+)", text):
        pages[int(node)] = pages.get(int(node), 0) + int(n)
    return pages


def worker_nodes(metrics):
    return {dict(labels)["worker"]: dict(labels) for name, labels in metrics.series
            if name == "sluice_worker_info"}


def test_pair_across_nodes(guest):
    """
    A wire from node 0 to node 1: half of the lanes are remote, whatever one does, and the plan says
    so; but no worker is away from its memory. (CPU 0 is left to the control thread.)
    """
    guest.configure(wire())
    plan = guest.run("sluiced -c /mnt/ctl/sluice.conf --dry-run")
    workers = re.findall(r"cpu +(\d)\n +node +(\d)\n", plan)
    assert sorted(workers) == [("1", "0"), ("2", "1"), ("3", "1")], plan
    assert plan.count(", remote)") == plan.count("lane ") / 2 > 0, plan
    assert "every frame crosses" not in plan, plan
    assert re.search(r"interrupts? .*of n0.* on CPU [123], where a worker runs: move", plan), plan
    guest.start(wire())
    assert sorted(umem_nodes(guest)) == [0, 1]


def test_each_node_by_itself(guest):
    """A port of its own on each node: its worker and its memory are there."""
    guest.run("ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; "
              "ethtool -K v0 gro off; ethtool -K v1 gro off")
    try:
        guest.start("[daemon]\nworkers = 1\n" + section("c", "d", "n1") + section("d", "c", "v0"))
        assert list(umem_nodes(guest)) == [1]
        info = worker_nodes(guest.metrics)
        assert all(labels["cpu"] in ("2", "3") for labels in info.values()), info
        assert all(labels["numa_node"] == "1" for labels in info.values()), info
        guest.stop()
    finally:
        guest.run("ip link del v0")


def test_huge_pages(guest):
    guest.run(f"echo 64 >{HUGE.format(0)}; echo 64 >{HUGE.format(1)}")
    try:
        guest.start(wire("huge_pages = on\nframe_size = 4096\n"))
        assert guest.metrics.total("sluice_umem_huge_pages") > 0
        guest.crosses("--count", 400, "--rate", "2k", *SPREAD[:-1], "82-1514")
        guest.wait_quiet()
        guest.stop()
        free = guest.run("grep HugePages_Free /proc/meminfo")
        assert free.split()[-1] == "128", free
    finally:
        guest.run(f"echo 0 >{HUGE.format(0)}; echo 0 >{HUGE.format(1)}")


def test_huge_pages_missing(guest):
    guest.start(wire("huge_pages = on\n"), ready=False)
    guest.wait_end(status=1)
    assert "raise vm.nr_hugepages or set huge_pages = auto" in guest.daemon_log()
    guest.fresh()
    guest.run(f"echo 64 >{HUGE.format(1)}")     # of the other node: auto falls back
    try:
        guest.start(wire("huge_pages = auto\nworkers = 1\ncpus = 1\n"))
        assert guest.metrics.total("sluice_umem_huge_pages") == 0
        assert list(umem_nodes(guest)) == [0]
        guest.stop()
    finally:
        guest.run(f"echo 0 >{HUGE.format(1)}")


def test_queue_count_is_held(guest):
    guest.start(wire())
    out = guest.run("ethtool -L n0 combined 2 2>&1", None)
    assert "AF_XDP" in out or "Invalid argument" in out, out
    guest.crosses("--count", 200, "--rate", "2k", *SPREAD)
    guest.stop()
    guest.run("ethtool -L n0 combined 2")
    try:
        guest.start(wire())
        assert guest.port("a")["queues"] == 2, guest.port("a")
        assert "port a: its 2 queues limit the group to 2 workers" in guest.daemon_log()
    finally:
        guest.fresh()
        guest.run("ethtool -L n0 combined 4")


def test_busy_poll(guest):
    guest.start(wire(a={"busy_poll": "50us"}, b={"busy_poll": "50us"}))
    metrics = guest.metrics
    assert metrics.total("sluice_xsk_busy_poll_active") == 8
    before = metrics.total("sluice_xsk_wakeups_total", ring="rx")
    guest.crosses("--duration", "1s", "--rate", "2k", "--bidirectional", "--idle-timeout", "2s",
                  *SPREAD)
    assert guest.wait_quiet().total("sluice_xsk_wakeups_total", ring="rx") > before + 100
    assert "busy_poll has no effect" not in guest.daemon_log()
    guest.stop()
