# SPDX-License-Identifier: GPL-2.0-or-later
"""
The router against the kernel: the same frames on the same network, once forwarded by Linux alone
and once by Sluice, must put the same frames on every wire (router_rig.py tells how).
"""
import contextlib
import os
import random

import pytest

import router_cases_l2
import router_cases_state
import router_cases_v4
import router_cases_v6
import router_topology
from lib import Net
from router_mutants import hunt, mutants
from router_rig import Kernel, Rig, differences
from traffic import SCALE_FULL

CASES = [case for module in (router_cases_v4, router_cases_v6, router_cases_l2, router_cases_state)
         for case in module.CASES]
MUTANTS = 50_000 if SCALE_FULL else 2_000
NAMES = ("kernel", "sluice")


@pytest.fixture(scope="module", autouse=True)
def one_cpu():
    """Frames keep their order on one CPU alone: the kernel has a queue of them for each."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@contextlib.contextmanager
def rig(label, engine=Kernel):
    """A network of its own with an engine in it."""
    net = Net(label)
    try:
        made = Rig(router_topology.build(net), engine())
        yield made
        made.close()
    finally:
        net.close()


@pytest.fixture(scope="module")
def kernel_results(one_cpu):
    with rig("kernel") as kernel:
        return kernel.run_all(CASES)


def mutant_seed():
    """Printed with a failure; SLUICE_SEED repeats it."""
    seed = int(os.environ.get("SLUICE_SEED", random.randrange(1 << 32)))
    print(f"SLUICE_SEED={seed}")
    return seed


def test_every_case_has_a_name_of_its_own():
    assert len({case.name for case in CASES}) == len(CASES) >= 120


def test_kernel_against_kernel(kernel_results):
    with rig("again") as again:
        assert differences(kernel_results, again.run_all(CASES), ("first", "second")) == {}


def test_kernel_against_kernel_mutated():
    with rig("one") as one, rig("two") as two:
        assert hunt(one, two, mutants(CASES, MUTANTS, mutant_seed())) == []
