# SPDX-License-Identifier: GPL-2.0-or-later
"""
pytest's side of the service suite, in the container that tests/service/boot starts: two hosts on two wires, the
service with its defaults before each test, and one line per passed test in the form that tools/test counts.

    left: eth0 ---- wan [ the container: sluiced.service ] lan ---- eth0: right
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "netns"))

from host import Host  # noqa: E402  needs the path
from lib import run  # noqa: E402


@pytest.fixture(scope="session")
def wires():
    """Both wires; no IPv6, whose chatter would be counted; a sender is held back rather than made to lose."""
    run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    for host, port in ("left", "wan"), ("right", "lan"):
        run("ip", "netns", "add", host)
        run("nsenter", f"--net=/run/netns/{host}", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
        run("ip", "link", "set", port, "up")
        run("ip", "-n", host, "link", "set", "eth0", "up")
        run("tc", "qdisc", "replace", "dev", port, "root", "pfifo")
        run("tc", "-n", host, "qdisc", "replace", "dev", "eth0", "root", "pfifo")


@pytest.fixture
def host(wires, request):
    """The container as an operator has it: the unit as installed, a configuration that forwards, not started."""
    host = Host()
    request.node.sluice_host = host
    host.reset()
    yield host
    host.reset()


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        print(f"\n[       OK ] {report.nodeid.split('::')[-1]}")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    host = getattr(item, "sluice_host", None)
    if report.failed and host:
        report.sections.append(("systemctl status, journal of this test", host.describe()))
