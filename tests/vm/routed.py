# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest that routes, or bridges, between this machine's two namespaces.

    tap0 10.1.0.2 fd10:1::2 ── n0 .1 [ guest ] n1 .1 ── tap1 10.2.0.2 fd10:2::2, and 192.0.2.1 on lo

Routers get a default route on both sides. Addresses skip DAD unless a test is about it.
"""
import contextlib
import ctypes
import random
import re
import select
import socket
import struct
import subprocess
import time
from pathlib import Path

from guest import wait_for

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PING_INTERVAL_S, PING_DEADLINE_S = 0.02, 3.0

ENDS = ("10.1.0.2", "10.2.0.2")
ENDS6 = ("fd10:1::2", "fd10:2::2")
BEHIND = "192.0.2.1"    # on lo of NS1; routes to it are the tests'
SYSCTLS = ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
           "net.ipv4.conf.n0.rp_filter=0", "net.ipv4.conf.n1.rp_filter=0",
           "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0",
           "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.n0.disable_ipv6=0",
           "net.ipv6.conf.n1.disable_ipv6=0")


def host(guest, end, command, status=0):
    """Shell text in the namespace of tap0 or tap1; its output."""
    done = subprocess.run(["nsenter", f"--net=/run/netns/{guest.netns[end]}", "sh", "-ec", command],
                          capture_output=True, text=True, timeout=40, check=False)
    assert status in (None, done.returncode), f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def guest_up(guest):
    guest.run("modprobe tun; chmod 666 /dev/net/tun; "  # as kmod-static-nodes and udev do
              f"sysctl -qw {' '.join(SYSCTLS)}; ip link set n0 up; ip link set n1 up; "
              + "; ".join(f"ip addr replace 10.{i + 1}.0.1/24 dev n{i}; "
                          f"ip -6 addr replace fd10:{i + 1}::1/64 dev n{i} nodad" for i in (0, 1)))


def route_up(guest):
    """Addresses, forwarding, default routes; no daemon."""
    guest_up(guest)
    for end, tap in enumerate(("tap0", "tap1")):
        host(guest, end, f"sysctl -qw net.ipv6.conf.{tap}.disable_ipv6=0 net.ipv6.conf.all.disable_ipv6=0 "
                         f"net.ipv6.conf.lo.disable_ipv6=0; ip link set lo up; "
                         f"ip addr replace {ENDS[end]}/24 dev {tap}; "
                         f"ip -6 addr replace {ENDS6[end]}/64 dev {tap} nodad; "
                         f"ip route replace default via 10.{end + 1}.0.1; "
                         f"ip -6 route replace default via fd10:{end + 1}::1; ip route flush cache")
    host(guest, 1, f"ip addr replace {BEHIND}/32 dev lo")


def route_down(guest):
    """Back to what the tests of a wire expect: no address, no IPv6, no VRF, no netfilter."""
    guest.run("ip link del vrf0 2>/dev/null; ip link del n0.7 2>/dev/null; ip link del pc 2>/dev/null; "
              "ip netns del c 2>/dev/null; nft flush ruleset 2>/dev/null; "
              "for i in n0 n1; do tc qdisc del dev $i clsact 2>/dev/null; ip link set $i nomaster; "
              "ip addr flush dev $i; ip neigh flush dev $i; done; ip route flush table 100; "
              "ip nexthop flush 2>/dev/null; ip route flush 192.0.2.1/32; "
              "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_forward=0", None)
    for end, tap in enumerate(("tap0", "tap1")):
        host(guest, end, f"ip addr flush dev {tap}; sysctl -qw net.ipv6.conf.all.disable_ipv6=1", None)


CAPABILITIES = "-all,+net_admin,+net_raw,+bpf"
# As the unit runs it: a user with three capabilities, none of them CAP_PERFMON.
AS_UNIT = ("prlimit --memlock=unlimited -- setpriv --reuid=61234 --regid=61234 --clear-groups "
           f"--bounding-set={CAPABILITIES} --inh-caps={CAPABILITIES} --ambient-caps={CAPABILITIES} "
           "--no-new-privs env PATH=$PATH LD_LIBRARY_PATH=/mnt/share/lib")


def start_as_unit(guest, config):
    guest.run("chmod 1777 /run; mkdir -p /run/sluice; chmod 777 /run/sluice")
    guest.start(config, prefix=AS_UNIT)
    effective = guest.run("grep CapEff /proc/$(cat /run/sluiced.pid)/status")
    assert int(effective.split()[1], 16) == 1 << 12 | 1 << 13 | 1 << 39, effective


def ports(a="", b="", extra=""):
    return (f"[port a]\ninterface = n0\nforward = route\nstall_timeout = 5s\n{a}\n"
            f"[port b]\ninterface = n1\nforward = route\nstall_timeout = 5s\n{b}\n{extra}\n")


@contextlib.contextmanager
def inside(guest, end):
    """This thread is in NS0 or NS1 meanwhile; sockets made here stay there."""
    with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{guest.netns[end]}", "rb") as there:
        assert LIBC.setns(there.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert LIBC.setns(home.fileno(), CLONE_NEWNET) == 0


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def echo_request(is_ip6, ident, sequence):
    def packed(value):
        return struct.pack("!BBHHH", 128 if is_ip6 else 8, 0, value, ident, sequence) + bytes(32)
    return packed(0 if is_ip6 else checksum(packed(0)))  # of ICMPv6 the kernel computes it


def ping(guest, end, address, count=1, deadline_s=PING_DEADLINE_S):
    """
    How many of `count` echo requests from NS0 or NS1 were answered before the deadline. ping(8) gives
    the last ones twice the longest round trip, which a guest that waits for its CPU exceeds.
    """
    is_ip6 = ":" in address
    family, protocol = (socket.AF_INET6, 58) if is_ip6 else (socket.AF_INET, 1)
    with inside(guest, end):
        sock = socket.socket(family, socket.SOCK_RAW, protocol)
    ident, answered = random.randrange(1 << 16), set()
    with sock:
        sock.connect((address, 0))
        begun = time.monotonic()
        n_sent = 0
        while len(answered) < count and time.monotonic() < begun + deadline_s:
            if n_sent < count and time.monotonic() >= begun + n_sent * PING_INTERVAL_S:
                with contextlib.suppress(OSError):  # an ICMP error about an earlier one
                    sock.send(echo_request(is_ip6, ident, n_sent))
                n_sent += 1
            if not select.select([sock], [], [], PING_INTERVAL_S)[0]:
                continue
            with contextlib.suppress(OSError):
                data = sock.recv(4096)[0 if is_ip6 else 20:]
                kind, _, _, its, sequence = struct.unpack_from("!BBHHH", data)
                if (kind, its) == (129 if is_ip6 else 0, ident):
                    answered.add(sequence)
    return len(answered)


def forwarded(guest, interface):
    return guest.metrics.total("sluice_queue_forwarded_packets_total", interface=interface)


def handed_back(guest, interface, reason):
    return guest.metrics.total("sluice_handed_back_total", interface=interface, reason=reason)


def by_worker(guest, address, end=0):
    """Is an echo request answered, and was it a worker that forwarded it?"""
    before = forwarded(guest, f"n{end}")
    return ping(guest, end, address, deadline_s=1) == 1 and forwarded(guest, f"n{end}") > before


def wait_by_worker(guest, *addresses, end=0):
    for address in addresses or (ENDS + ENDS6)[1 - end::2]:
        wait_for(lambda: by_worker(guest, address, end), f"a worker forwards to {address}", 30)


def by_kernel(guest, address, end=0, count=3):
    """All are answered, and no worker had a hand in the requests."""
    before = forwarded(guest, f"n{end}")
    return ping(guest, end, address, count) == count and forwarded(guest, f"n{end}") == before


def in_force(guest):
    return {dict(labels)["kind"] for (name, labels), value in guest.metrics.series.items()
            if name == "sluice_policy_bypass" and value == 1}


def mac(guest, interface):
    return guest.run(f"cat /sys/class/net/{interface}/address").strip()


def tap_mac(guest, end):
    return re.search(r"link/ether (\S+)", host(guest, end, f"ip link show tap{end}")).group(1)


def flow_words(guest, end=0, dst_mac=None, family=4):
    """sluice-gen's words for UDP from one end to the other, by the router."""
    of_family = ENDS if family == 4 else ENDS6
    return ["--ip" if family == 4 else "--ip6", "--src-ip", of_family[end], "--dst-ip", of_family[1 - end],
            "--dst-mac", dst_mac or mac(guest, f"n{end}"), "--src-mac", tap_mac(guest, end),
            "--size", 128, "--idle-timeout", "2s"]


def routed_count(guest, count, *words, end=0, family=4):
    """sluice-gen through the router: what arrived of `count`, and how many a worker forwarded."""
    before = forwarded(guest, f"n{end}")
    report = guest.gen("--count", count, "--rate", 1000, *flow_words(guest, end, family=family), *words,
                       reverse=bool(end), status=None)
    [direction] = report["directions"]
    return direction["sink"]["received"], forwarded(guest, f"n{end}") - before


def share_file(guest, name, text):
    """A file that the guest sees as /mnt/ctl/NAME."""
    path = Path(guest.ctl) / name
    path.write_text(text)
    return f"/mnt/ctl/{name}"
