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
import router_cases_tables
import router_cases_v4
import router_cases_v6
import router_topology
from lib import Net
from router_frames import PLAIN
from router_mutants import hunt, mutants
from router_rig import Addresses, Kernel, Rig, differences
from router_sluice import Sluice
from router_topology import PORTS
from traffic import SCALE_FULL

CASES = list(enumerate(
    router_cases_v4.CASES + router_cases_v6.CASES + router_cases_l2.CASES
    + router_cases_tables.CASES + router_cases_state.CASES
    + router_cases_tables.CASES_AFTER_RULES))
PLAIN_CASES = [(number, case) for number, case in CASES if PLAIN <= case.kinds]
# With rp_filter on, or a chain in the way, everything but what is about such settings itself; in a
# hurry, every case of frames alone.
UNSET_CASES = [(number, case) for number, case in CASES
               if not any("rp_filter" in line or line.startswith("nft") for line in case.before)
               and (SCALE_FULL or not case.before)]
MUTANTS = 50_000 if SCALE_FULL else 2_000
NAMES = ("kernel", "sluice")

RP_FILTER = ["sysctl -qw net.ipv4.conf.all.rp_filter=1"]
NFT_COUNTER = ["nft 'add table inet t'",
               "nft 'add chain inet t f { type filter hook forward priority 0; }'",
               *(f"nft 'add rule inet t f iifname \"{port}\" counter accept'" for port in PORTS)]


@pytest.fixture(scope="module", autouse=True)
def one_cpu():
    """Frames keep their order on one CPU alone: the kernel has a queue of them for each."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield allowed
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def rig(request, one_cpu):
    """rig(engine, commands): a network of its own, with commands run in r, then an engine in it."""
    with contextlib.ExitStack() as stack:
        def make(engine=Kernel, commands=(), **kwargs):
            net = Net(f"conform{len(nets)}")
            nets.append(net)
            request.node.sluice_net = net  # the last one's daemon is reported after a failure
            stack.callback(net.close)
            router_topology.build(net)
            if commands:
                net.run("r", "sh", "-ec", "\n".join(commands))
            # a daemon started on one CPU would find only that
            os.sched_setaffinity(0, one_cpu)
            started = engine(net, **kwargs)
            os.sched_setaffinity(0, {min(one_cpu)})
            made = Rig(net, started)
            stack.callback(made.close)
            return made
        nets = []
        yield make


_kernel_results = []


def kernel_results(rig):
    """Of all cases, by Linux alone: run once, for all tests that compare with it."""
    if not _kernel_results:
        _kernel_results.append(rig().run_all(CASES))
    return _kernel_results[0]


def mutant_seed():
    """
    New ones are looked for by SLUICE_FULL; else they are the same each time. Printed with a failure;
    SLUICE_SEED repeats it.
    """
    seed = int(os.environ.get("SLUICE_SEED", random.randrange(1 << 32) if SCALE_FULL else 20261120))
    print(f"SLUICE_SEED={seed}")
    return seed


def no_difference(one, two, names=NAMES):
    found = differences(one, two, names)
    text = "\n".join(f"{case}\n{what}" for case, what in found.items())
    assert not found, f"{len(found)} of {len(two)} cases differ:\n{text}"


# --- the controls ----------------------------------------------------------------------------------

def test_every_case_has_a_name_of_its_own():
    assert len({case.name for _, case in CASES}) == len(CASES) >= 120


def test_kernel_against_kernel(rig):
    no_difference(kernel_results(rig), rig().run_all(CASES), ("first", "second"))


def test_plain_cases_show_frames(rig):
    """What is to go through AF_XDP is forwarded by the kernel, each frame of it."""
    shown = kernel_results(rig)
    assert [case.name for _, case in PLAIN_CASES if not shown[case.name]] == []


def test_kernel_against_kernel_mutated(rig):
    assert hunt(rig(), rig(), mutants(CASES, MUTANTS, mutant_seed())) == []


@pytest.mark.parametrize("fault", ["ttl", "checksum", "nexthop"])
def test_seeded_fault(rig, fault):
    faulty = rig(Sluice, program=f"tests/netns/sluiced_fault_{fault}")
    results = faulty.run_all(PLAIN_CASES)
    found = differences(kernel_results(rig), results, NAMES)
    assert len(found) > len(PLAIN_CASES) // 4, found
    assert all("no marker" not in text for text in found.values()), found


# --- Sluice --------------------------------------------------------------------------------------------

def test_sluice_against_kernel(rig):
    sluice = rig(Sluice)
    before = sluice.engine.books()
    plain = sluice.run_all(PLAIN_CASES)
    after = sluice.engine.books()
    no_difference(kernel_results(rig), plain)
    # They came out right: now, that Sluice did it. A frame each at least, and every marker `fast`.
    forwarded = sum(after.queue("forwarded_packets_total", port)
                    - before.queue("forwarded_packets_total", port) for port in PORTS)
    assert forwarded >= sum(len(case.steps(Addresses(number)))
                            for number, case in PLAIN_CASES)
    no_difference(kernel_results(rig), sluice.run_all(CASES))
    # The markers that had to be handed back were: the third way of router_rig.py was a way.
    assert sluice.engine.books().sum("sluice_handed_back_total", reason="mtu") >= len(CASES)


@pytest.mark.sanitizer
def test_sluice_against_kernel_mutated(rig):
    kernel, sluice = rig(), rig(Sluice)
    assert hunt(kernel, sluice, mutants(CASES, MUTANTS, mutant_seed())) == []
    sluice.engine.books()


@pytest.mark.parametrize("settings", [RP_FILTER, NFT_COUNTER], ids=["rp_filter", "nft"])
def test_sluice_against_kernel_with(rig, settings):
    kernel, sluice = rig(commands=settings), rig(Sluice, settings)
    no_difference(kernel.run_all(UNSET_CASES), sluice.run_all(UNSET_CASES))
    sluice.engine.books()
