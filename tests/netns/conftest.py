# SPDX-License-Identifier: GPL-2.0-or-later
"""
pytest's side of the netns suite: the `net` fixture, the honesty of skips, and what is printed
when a test fails.

With SLUICE_REQUIRE=all a skip is a failure. When every test of a run was skipped the exit status
is 77, which meson shows as a skip and not as a pass.
"""
import os
import re

import pytest

from lib import Net, ensure_bpffs, run

REQUIRE_ALL = os.environ.get("SLUICE_REQUIRE") == "all"
EXIT_SKIPPED = 77
SPLICE_FILE = re.compile(r"test_splice(_\w+)?\.py")
ROUTE_FILE = re.compile(r"test_(route|router|bridge|policy)(_\w+)?\.py")


def pytest_configure(config):
    config.addinivalue_line("markers", "sanitizer: also run with ASan and UBSan (tools/test)")


def pytest_addoption(parser):
    parser.addoption("--part", choices=("packet", "route", "splice"),
                     help="only the tests of routers, bridges and policy (route), of listeners "
                     "(splice), or only all others (packet)")


def _part_of(name):
    if SPLICE_FILE.fullmatch(name):
        return "splice"
    return "route" if ROUTE_FILE.fullmatch(name) else "packet"


def pytest_ignore_collect(collection_path, config):
    part, name = config.getoption("part"), collection_path.name
    if part and name.startswith("test_"):
        return _part_of(name) != part or None
    return None


@pytest.fixture(scope="session", autouse=True)
def root():
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces, XDP")
    ensure_bpffs()


@pytest.fixture
def net(request):
    """Namespaces and processes of one test, removed after it, however it ends."""
    label = re.sub(r"\W+", "", request.node.name.removeprefix("test_"))[:24]
    net = Net(label)
    request.node.sluice_net = net
    yield net
    net.close()


@pytest.fixture
def bpffs(net):
    """A BPF file system of the test's own, mode 0700, for bpf_dir."""
    path = net.dir / "bpf"
    path.mkdir()
    run("mount", "-t", "bpf", "-o", "mode=0700", "bpf", path)
    yield path
    run("umount", "-l", path)


def _fail_if_required(report):
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped although SLUICE_REQUIRE=all: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    _fail_if_required(report)
    net = getattr(item, "sluice_net", None)
    if report.failed and report.when == "call" and net:
        for daemon in net.daemons:
            report.sections.append((f"sluiced in {daemon.ns}", daemon.report()))


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    _fail_if_required((yield).get_result())


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    counts = {word: len(reporter.stats.get(word, [])) for word in ("passed", "skipped")}
    if exitstatus == pytest.ExitCode.OK and counts["skipped"] and not counts["passed"]:
        session.exitstatus = EXIT_SKIPPED
