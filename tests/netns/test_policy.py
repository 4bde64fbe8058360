# SPDX-License-Identifier: GPL-2.0-or-later
"""
The kernel's policy, switched on and off under a running router and before its start: the metric
names it in time, the status says what it is, and the port's own program passes what it concerns.
"""
import time

import pytest

from lib import wait_for

CONFIG = "".join(f"[port {p}]\ninterface = {p}\nforward = route\nstall_timeout = 5s\n" for p in ("pa", "pb"))

# What is not notified is asked for once a second.
NOTICED_S = 1.2

# kind, on, off; each command in the router's namespace.
CASES = [
    ("forwarding4", "echo 0 >/proc/sys/net/ipv4/conf/pa/forwarding", "echo 1 >/proc/sys/net/ipv4/conf/pa/forwarding"),
    ("forwarding6", "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding", "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"),
    ("rule4", "ip rule add pref 500 from 10.9.0.0/16 lookup 100", "ip rule del pref 500"),
    ("rule6", "ip -6 rule add pref 500 from 2001:db8:9::/48 lookup 100", "ip -6 rule del pref 500"),
    ("xfrm4", "ip xfrm policy add src 10.8.0.0/16 dst 10.7.0.0/16 dir fwd", "ip xfrm policy flush"),
    ("xfrm6", "ip xfrm policy add src 2001:db8::/32 dst ::/0 dir out", "ip xfrm policy flush"),
    ("netfilter4", "nft 'add table ip t; add chain ip t c { type filter hook forward priority 0; policy drop; }'",
     "nft delete table ip t"),
    ("netfilter6", "ip6tables-legacy -A FORWARD -s 2001:db8:9::1 -j DROP", "ip6tables-legacy -F FORWARD"),
    ("pmtu4", "echo 1 >/proc/sys/net/ipv4/ip_forward_use_pmtu", "echo 0 >/proc/sys/net/ipv4/ip_forward_use_pmtu"),
    ("mtu6", "echo 1280 >/proc/sys/net/ipv6/conf/pb/mtu", "echo 1500 >/proc/sys/net/ipv6/conf/pb/mtu"),
    ("tc", "tc qdisc add dev pa clsact && tc filter add dev pa ingress protocol all u32 match u32 0 0 classid 1:1",
     "tc qdisc del dev pa clsact"),
]
PACKETS = {4: ("10.1.0.2", "10.2.0.2"), 6: ("2001:db8:1::2", "2001:db8:2::2")}


@pytest.fixture
def router(net):
    for name in ("a", "r", "b"):
        net.ns(name)
    net.veth("a", "h0", "r", "pa")
    net.veth("r", "pb", "b", "h0")
    sh(net, "for i in pa pb; do echo 0 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done;"
            "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding;"
            "ip address add 10.1.0.1/24 dev pa; ip address add 10.2.0.1/24 dev pb;"
            "ip address add 2001:db8:1::1/64 dev pa nodad; ip address add 2001:db8:2::1/64 dev pb nodad")
    return net


def sh(net, command):
    net.run("r", "sh", "-ec", command)


def ipv(kind):
    return [6] if kind.endswith("6") else [4] if kind.endswith("4") else [4, 6]


def packet(net, version):
    """A packet from pa's neighbour, in hexadecimal."""
    src, dst = PACKETS[version]
    from scapy.all import IP, IPv6, UDP, Ether
    ip = IP(src=src, dst=dst, flags="DF") if version == 4 else IPv6(src=src, dst=dst)
    return bytes(Ether(src=net.mac("a", "h0"), dst=net.mac("r", "pa")) / ip / UDP(dport=9)).hex()


def verdict(net, daemon, version):
    return daemon.control(f"explain packet pa {packet(net, version)}")["explain"]["xdp"]["verdict"]


def in_force(daemon):
    return {dict(labels)["kind"] for (name, labels), value in daemon.metrics().items()
            if name == "sluice_policy_bypass" and value == 1}


def noticed(daemon, kinds):
    """Waits until exactly these are in force; how long that took from now."""
    begun = time.monotonic()
    wait_for(lambda: in_force(daemon) == kinds, f"in force: {kinds or 'nothing'}", NOTICED_S)
    return time.monotonic() - begun


@pytest.mark.sanitizer
@pytest.mark.parametrize("kind, on, off", CASES, ids=[case[0] for case in CASES])
def test_policy_that_comes_and_goes(router, kind, on, off):
    daemon = router.daemon("r", CONFIG)
    wait_for(lambda: all(verdict(router, daemon, v) == "redirect" for v in (4, 6)), "both families are redirected")
    assert in_force(daemon) == set()
    sh(router, on)
    noticed(daemon, {kind})
    for version in (4, 6):
        wanted = "policy" if version in ipv(kind) else "redirect"
        wait_for(lambda v=version, w=wanted: verdict(router, daemon, v) == w, f"IPv{version}: {wanted}")
    status = daemon.control("status")["status"]
    assert [p["kind"] for p in status["policies"] if p["passes"]] == [kind]
    assert f"passing by policy {kind} on " in status["text"]
    assert not status["degraded"]
    sh(router, off)
    noticed(daemon, set())
    wait_for(lambda: all(verdict(router, daemon, v) == "redirect" for v in (4, 6)), "both families again")


@pytest.mark.parametrize("kind, on", [case[:2] for case in CASES], ids=[case[0] for case in CASES])
def test_policy_that_was_there_before_the_start(router, kind, on):
    sh(router, on)
    daemon = router.daemon("r", CONFIG)
    assert in_force(daemon) == {kind}
    for version in ipv(kind):
        assert verdict(router, daemon, version) == "policy"


def test_bypass_netfilter_lifts_netfilter_alone(router):
    for kind, on, _ in CASES:
        if kind in ("netfilter4", "netfilter6", "rule6"):
            sh(router, on)
    daemon = router.daemon("r", CONFIG + "[route]\nbypass_netfilter = yes\n")
    assert in_force(daemon) == {"rule6"}
    assert daemon.metric("sluice_policy_netfilter_bypassed") == 1
    assert "netfilter is bypassed" in daemon.control("status")["status"]["text"]
    wait_for(lambda: verdict(router, daemon, 4) == "redirect", "IPv4 is redirected past netfilter")
