# SPDX-License-Identifier: GPL-2.0-or-later
"""
A cross-connected interface takes frames that are not addressed to it. veth has no MAC filter that
would show whether it does: so IFLA_PROMISCUITY is read, before, during and after.
"""
import pytest

from lib import wait_for

CONFIG = """
[port p0]
interface = p0
forward = xconnect p1
[port p1]
interface = p1
forward = xconnect p0
[port p2]
interface = p2
forward = pass
"""


@pytest.fixture
def host(net):
    net.ns("h"), net.ns("o")
    for i in range(3):
        net.veth("o", f"o{i}", "h", f"p{i}")
    return net


def promiscuity(net):
    return [net.link("h", f"p{i}")["promiscuity"] for i in range(3)]


@pytest.mark.sanitizer
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_promiscuity_ends_with_the_daemon(host, end):
    assert promiscuity(host) == [0, 0, 0]
    daemon = host.daemon("h", CONFIG)
    assert promiscuity(host) == [1, 1, 0]
    getattr(daemon, end)()
    # A membership of a socket: the kernel ends it, even after kill -9.
    wait_for(lambda: promiscuity(host) == [0, 0, 0], "no promiscuity is left")
    daemon.start()
    assert promiscuity(host) == [1, 1, 0]
    daemon.stop()
    assert promiscuity(host) == [0, 0, 0]


def test_promiscuity_of_others_is_theirs(host):
    """Ours is counted beside an administrator's, and goes alone."""
    host.ip("h", "link", "set", "p0", "promisc", "on")
    daemon = host.daemon("h", CONFIG)
    assert promiscuity(host) == [2, 1, 0]
    daemon.stop()
    assert promiscuity(host) == [1, 0, 0]


def test_promiscuity_follows_the_configuration(host):
    daemon = host.daemon("h", CONFIG)
    passing = CONFIG.replace("xconnect p0", "pass").replace("xconnect p1", "pass")
    daemon.reload(passing)
    assert promiscuity(host) == [0, 0, 0]
    daemon.reload(CONFIG)
    assert promiscuity(host) == [1, 1, 0]
    daemon.reload(CONFIG + "stall_timeout = 200ms\n")  # p2 alone is rebuilt
    assert promiscuity(host) == [1, 1, 0]
    daemon.stop()
