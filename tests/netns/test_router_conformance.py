# SPDX-License-Identifier: GPL-2.0-or-later
"""
The router against the kernel: the same frames on the same network, once forwarded by Linux alone
and once by Sluice, must put the same frames on every wire (router_rig.py tells how).
"""
import os

import pytest

import router_cases_l2
import router_cases_state
import router_cases_v4
import router_cases_v6
import router_topology
from lib import Net
from router_rig import Kernel, Rig, differences

CASES = [case for module in (router_cases_v4, router_cases_v6, router_cases_l2, router_cases_state)
         for case in module.CASES]


@pytest.fixture(scope="module")
def one_cpu():
    """Frames keep their order only on one CPU: each has a receive queue of its own."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def run_kernel(label, cases=CASES):
    net = Net(label)
    try:
        rig = Rig(router_topology.build(net), Kernel())
        return rig.run_all(cases)
    finally:
        net.close()


@pytest.fixture(scope="module")
def kernel_results(one_cpu):
    return run_kernel("kernel")


def test_kernel_against_kernel(kernel_results):
    again = run_kernel("again")
    assert differences(kernel_results, again, ("first", "second")) == {}
