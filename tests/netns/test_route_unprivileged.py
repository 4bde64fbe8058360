# SPDX-License-Identifier: GPL-2.0-or-later
"""
Routing as the service's user does it: with three capabilities, and without the files of root that
tell of legacy iptables.
"""
from lib import wait_for
from routed import Routed
from unprivileged import as_user, prepare

THREE = ("net_admin", "net_raw", "bpf")
NAMES = ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names")


def legacy_tables(net):
    return [net.run("r", "cat", name).stdout.split() for name in NAMES]


def start(net, routed, extra):
    routed.daemon = prepare(net, routed.config("frames_per_worker = 1024", extra=extra),
                            as_user(*THREE), ns="r").start()
    routed.resolve()
    return routed.daemon


def rounds(routed):
    """The policy has been asked for again, twice: by something that nobody announces."""
    for value in (1, 0):
        routed.sysctl("r", f"net.ipv4.ip_forward_use_pmtu={value}")
        wait_for(lambda: routed.daemon.metric("sluice_policy_bypass", kind="pmtu4") == value,
                 "a round of asking")


def is_fast(routed):
    before = routed.forwarded("a")
    assert routed.net.ping("a", routed.ip4("b"), 5) == 5
    return routed.forwarded("a") >= before + 5


def test_no_legacy_table_is_created(net):
    routed = Routed(net)
    assert legacy_tables(net) == [[], []]
    daemon = start(net, routed, "")
    rounds(routed)
    assert legacy_tables(net) == [[], []]
    if "unknown iptables tables" in daemon.log():  # a kernel without the hook dump
        for family in (4, 6):
            assert daemon.metric("sluice_policy_bypass", kind=f"netfilter{family}") == 1
        assert not is_fast(routed)
    else:
        wait_for(lambda: is_fast(routed), "the workers forward")
    routed.books()


def test_a_table_that_stands_is_left_alone(net):
    routed = Routed(net)
    net.run("r", "iptables-legacy", "-t", "mangle", "-L", "-n")
    before = legacy_tables(net)
    assert before == [["mangle"], []]
    start(net, routed, "")
    rounds(routed)
    assert legacy_tables(net) == before
    routed.books()


def test_bypass_netfilter_routes_without_knowing(net):
    routed = Routed(net)
    start(net, routed, "[route]\nbypass_netfilter = yes\n")
    wait_for(lambda: is_fast(routed), "the workers forward")
    assert legacy_tables(net) == [[], []]
    routed.books()
