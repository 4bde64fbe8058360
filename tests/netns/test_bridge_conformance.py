# SPDX-License-Identifier: GPL-2.0-or-later
"""
The bridge against the kernel's: the same frames into the same four ports, once switched by Linux and
once by Sluice, must come out of the same ports and be learnt behind the same (bridge_rig.py tells
how). What is not the same is in bridge_cases.KNOWN, with its reason, and nothing else is.
"""
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

import bridge_cases
import bridge_rig
from lib import Net

IGMP_OF_BR0 = bytes.fromhex("01005e000016") + bridge_rig.mac_bytes(bridge_rig.PORT_MAC[0])


@pytest.fixture(scope="module", autouse=True)
def one_cpu():
    """Frames keep their order only on one CPU: each has a receive queue of its own."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def run(label, make_switch, cases=bridge_cases.CASES):
    net = Net(label)
    try:
        bridge_rig.build(net)
        return bridge_rig.run_all(net, make_switch(net), cases)
    except AssertionError as error:
        for daemon in net.daemons:
            error.add_note(daemon.report())
        raise
    finally:
        net.close()


@pytest.fixture(scope="module")
def linux_runs(one_cpu):
    """
    {name: results} of Linux's bridge, at the same time: what they do is to wait, for Linux tells a bridge
    that a port has lost its carrier once a second (linkwatch).
    """
    switches = {"linux": bridge_rig.Linux, "again": bridge_rig.Linux,
                "snooping": lambda net: bridge_rig.Linux(net, snooping=1)}
    with ThreadPoolExecutor() as pool:
        started = {name: pool.submit(run, name, make) for name, make in switches.items()}
    return {name: future.result() for name, future in started.items()}


@pytest.fixture(scope="module")
def linux_results(linux_runs):
    return linux_runs["linux"]


def test_linux_against_linux(linux_results, linux_runs):
    assert bridge_rig.differences(linux_results, linux_runs["again"], ("first", "second")) == {}


def test_a_switch_with_a_fault_is_caught(linux_results):
    def hairpin(net):
        switch = bridge_rig.Linux(net)
        net.run("s", "bridge", "link", "set", "dev", "p0", "hairpin", "on")
        return switch
    wanted = {case.name for case in bridge_cases.CASES if "nowhere" in case.name}
    cases = [case for case in bridge_cases.CASES if case.name in wanted]
    faulty = run("faulty", hairpin, cases)
    assert set(bridge_rig.differences(faulty, linux_results, ("faulty", "right"))) == wanted


def test_snooping_without_a_querier_floods_as_well(linux_results, linux_runs):
    """Sluice does not snoop: it is a bridge with mcast_snooping = 0, and as good as one with 1."""
    snooping = linux_runs["snooping"]
    for out, _ in snooping.values():
        for frames in out.values():
            for frame in [f for f in frames if f.startswith(IGMP_OF_BR0)]:
                del frames[frame]  # what br0 itself reports
    assert bridge_rig.differences(linux_results, snooping, ("off", "on")) == {}


def test_sluice_against_linux(linux_results):
    results = run("sluice", bridge_rig.Sluice)
    found = bridge_rig.differences(linux_results, results, ("Linux", "Sluice"))
    new = {name: text for name, text in found.items() if name not in bridge_cases.KNOWN}
    assert new == {}, "\n".join(f"{name}:\n{text}" for name, text in new.items())
    assert set(found) == set(bridge_cases.KNOWN), "differences that are none any more"
