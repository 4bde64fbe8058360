# SPDX-License-Identifier: GPL-2.0-or-later
"""
The kernel's policy on Debian's kernels: 6.1 has no netfilter hook dump, the later ones have it as a
module; legacy tables are modules, too, and their list is root's alone while the daemon is not root.
"""
import pytest

from guest import wait_for
from routed import (ENDS, by_kernel, in_force, ping, ports, route_down, route_up, start_as_unit,
                    wait_by_worker)

GUESTS = {"6.1": {"kernel": "6.1"}, "6.12": {"kernel": "6.12"}, "7.2": {"kernel": "7.2"}}

NFT_CHAIN = "nft 'add table {0} t; add chain {0} t c {{ type filter hook {1} priority 0; policy accept; }}'"

# What it is, on, off, kinds in force meanwhile.
CASES = [
    ("an empty base chain", NFT_CHAIN.format("ip", "forward"), "nft delete table ip t", set()),
    ("a rule on the way", NFT_CHAIN.format("ip", "forward") + "; nft add rule ip t c ip saddr 10.99.0.0/16 drop",
     "nft delete table ip t", {"netfilter4"}),
    ("a rule for both", NFT_CHAIN.format("inet", "postrouting") + "; nft add rule inet t c meta mark 7 drop",
     "nft delete table inet t", {"netfilter4", "netfilter6"}),
    ("a rule that no forwarded packet meets", NFT_CHAIN.format("ip", "input")
     + "; nft add rule ip t c ip saddr 10.99.0.0/16 drop", "nft delete table ip t", set()),
    ("tracking by a rule elsewhere", NFT_CHAIN.format("ip", "output") + "; nft add rule ip t c ct state new accept",
     "nft delete table ip t", {"netfilter4"}),
    ("nat", "nft 'add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; "
     "add rule ip t c oifname \"x\" masquerade'", "nft delete table ip t", {"netfilter4"}),
    ("netdev ingress", "nft 'add table netdev t; add chain netdev t c { type filter hook ingress device n0 "
     "priority 0; }; add rule netdev t c meta mark 7 drop'", "nft delete table netdev t",
     {"netfilter4", "netfilter6"}),
    ("clsact alone", "tc qdisc add dev n0 clsact", "tc qdisc del dev n0 clsact", set()),
    ("a tc filter", "tc qdisc add dev n0 clsact; tc filter add dev n0 ingress protocol all u32 match u32 0 0 "
     "classid 1:1", "tc qdisc del dev n0 clsact", {"tc"}),
]

# They load modules, and their tables stay, empty, once they were asked for.
LEGACY = [
    ("an empty legacy table", "iptables-legacy -L -n >/dev/null; ip6tables-legacy -L -n >/dev/null", ":", set()),
    ("a legacy rule", "iptables-legacy -A FORWARD -s 10.99.0.0/16 -j DROP", "iptables-legacy -F FORWARD",
     {"netfilter4"}),
    ("a legacy policy", "ip6tables-legacy -P FORWARD DROP", "ip6tables-legacy -P FORWARD ACCEPT", {"netfilter6"}),
    ("legacy tracking elsewhere", "iptables-legacy -A OUTPUT -m conntrack --ctstate NEW -j ACCEPT",
     "iptables-legacy -F OUTPUT", {"netfilter4"}),
    ("legacy nat", "iptables-legacy -t nat -A POSTROUTING -o x -j MASQUERADE",
     "iptables-legacy -t nat -F POSTROUTING", {"netfilter4"}),
]
RULE_ON, RULE_OFF = "ip rule add pref 500 from 10.9.0.0/16 lookup 100", "ip rule del pref 500"


@pytest.fixture
def router(guest):
    route_up(guest)
    yield guest
    guest.fresh()
    route_down(guest)


def run_cases(guest, cases):
    for what, on, off, kinds in cases:
        guest.run(on)
        if not kinds:  # something that must be noticed tells when it has been looked at
            guest.run(RULE_ON)
        expected = kinds or {"rule4"}
        wait_for(lambda e=expected: in_force(guest) == e, f"{what}: {expected}")
        if "netfilter4" in kinds or "tc" in kinds:
            wait_for(lambda: by_kernel(guest, ENDS[1], count=1), f"{what}: the kernel's")
        guest.run(off + ("" if kinds else f"; {RULE_OFF}"))
        wait_for(lambda: in_force(guest) == set(), f"{what}: gone")
    wait_by_worker(guest, ENDS[1])
    guest.wait_quiet()
    guest.stop()


def start(guest, who):
    if who == "user":
        start_as_unit(guest, ports())
    else:
        guest.start(ports())
    assert in_force(guest) == set(), guest.daemon_log()


@pytest.mark.parametrize("booted", GUESTS.values(), indirect=True, ids=GUESTS)
class TestPolicy:
    @pytest.mark.parametrize("who", ["user", "root"])
    def test_asking_creates_no_tables_and_loads_no_modules(self, router, who):
        """Runs before the others: what they load stays loaded."""
        if who == "user":
            router.run("modprobe ip_tables; modprobe ip6_tables; ! lsmod | grep -q ^iptable_")
        start(router, who)
        # A refresh later, which this one is known to have brought.
        router.run(RULE_ON)
        wait_for(lambda: in_force(router) == {"rule4"}, "it has asked again")
        router.run(RULE_OFF)
        wait_for(lambda: in_force(router) == set(), "and again")
        tables = router.run("cat /proc/net/ip_tables_names /proc/net/ip6_tables_names; nft list tables")
        assert tables.strip() == ""
        modules = router.run("cut -d' ' -f1 /proc/modules").split()
        assert not {"iptable_nat", "iptable_filter", "ip6table_filter", "nf_conntrack"} & set(modules), modules

    @pytest.mark.parametrize("who", ["user", "root"])
    def test_what_comes_and_goes(self, router, who):
        start(router, who)
        wait_by_worker(router, ENDS[1])
        run_cases(router, CASES)

    def test_what_was_there_before_the_start(self, router):
        router.run(CASES[1][1])
        start_as_unit(router, ports())
        assert in_force(router) == {"netfilter4"}
        assert by_kernel(router, ENDS[1])
        router.run("nft delete table ip t")
        wait_for(lambda: in_force(router) == set(), "it is gone")
        assert ping(router, 0, ENDS[1], 3) == 3
        wait_by_worker(router, ENDS[1])

    def test_legacy_tables(self, router):
        """The last but one: its modules stay loaded."""
        start(router, "root")
        run_cases(router, LEGACY)

    def test_legacy_tables_as_user(self, router):
        """Without the hook dump, and with the tables' names root's alone, they may be anything."""
        router.run("modprobe iptable_filter; modprobe ip6table_filter")
        if router.kernel == "6.1":
            start_as_unit(router, ports())
            assert in_force(router) == {"netfilter4", "netfilter6"}
            assert "unknown iptables tables" in router.daemon_log()
            assert by_kernel(router, ENDS[1])
            return
        start(router, "user")
        run_cases(router, LEGACY)
