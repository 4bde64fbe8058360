# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest that splices, as its unit runs the daemon. Clients and servers are in it, too, in namespaces:
all TCP is then its kernel's, and no tap is between, which loses and reorders.

    a: va 10.7.1.2 ── wan 10.7.1.1:9010 [ guest ] lan 10.7.2.1 ── vb 10.7.2.2:8090 :b

The capabilities are read from the unit file of the build, so that a change of it is tested; what a
drop-in adds to them is the test's word.
"""
import json
import os
import re
from pathlib import Path

from guest import wait_for
from routed import inside

ENGINES = ("copy", "splice", "sockmap", "auto")
FRONT, SERVER = "10.7.1.1:9010", "10.7.2.2:8090"
FRONT6, SERVER6 = "[fd17:1::1]:9010", "[fd17:2::2]:8090"
CGROUP = "/sys/fs/cgroup/sluiced"
NUMBER_OF = {"cap_net_bind_service": 10, "cap_net_admin": 12, "cap_net_raw": 13, "cap_perfmon": 38, "cap_bpf": 39}
UNIT_UID = 61234
TORTURE_DEADLINE_S = 400
# Up to 6.1 a tiny receive buffer drops what its window promised, and the timer of the sender doubles.
HANG_S = 100


def unit_capabilities(build):
    """{cap_net_admin, …}: what the unit grants, which is also what it bounds."""
    text = (Path(build) / "systemd/sluiced.service").read_text()
    ambient, bounding = (set(re.search(rf"(?m)^{key}=(.*)$", text).group(1).lower().split())
                         for key in ("AmbientCapabilities", "CapabilityBoundingSet"))
    assert ambient == bounding, (ambient, bounding)
    return ambient


def as_unit(capabilities):
    """Shell words: a user of its own with these capabilities, alone in a cgroup, no new privileges."""
    names = ",".join(["-all", *(f"+{name.removeprefix('cap_')}" for name in sorted(capabilities))])
    return (f"prlimit --memlock=unlimited --nofile=1048576 -- setpriv --reuid={UNIT_UID} --regid={UNIT_UID} "
            f"--clear-groups --bounding-set={names} --inh-caps={names} --ambient-caps={names} "
            "--no-new-privs env PATH=$PATH LD_LIBRARY_PATH=/mnt/share/lib")


# Again before each test: route_down() takes IPv6 away, and its addresses with it.
WIRE = """
modprobe veth
sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0
wire() { # namespace, its end, our end, number
	[ -e /run/netns/$1 ] || { ip netns add $1; ip link add $3 type veth peer $2 netns $1; }
	ip netns exec $1 sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.$2.disable_ipv6=0
	sysctl -qw net.ipv6.conf.$3.disable_ipv6=0
	ip link set $3 up; ip -n $1 link set lo up; ip -n $1 link set $2 up
	ip addr replace 10.7.$4.1/24 dev $3; ip -6 addr replace fd17:$4::1/64 dev $3 nodad
	ip -n $1 addr replace 10.7.$4.2/24 dev $2; ip -n $1 -6 addr replace fd17:$4::2/64 dev $2 nodad
}
wire a va wan 1
wire b vb lan 2
"""


def splice_config(engine, listener="", backend="", tail=""):
    return (f"acceptors = 2\n[listener web]\nbind = {FRONT}\nbind = {FRONT6}\nengine = {engine}\n"
            f"default = app\n{listener}\n"
            f"[backend app]\nserver = s {SERVER}\nhealth_check = off\n{backend}\n{tail}")


def start_spliced(guest, config, drop_in=()):
    """The unit's user with its capabilities and those of a drop-in, and no other."""
    capabilities = unit_capabilities(guest.build) | set(drop_in)
    guest.run(f"chmod 1777 /run; mkdir -p -m 777 /run/sluice; mkdir -p {CGROUP}")
    guest.run(WIRE)
    alone = f"sh -c 'echo $$ >{CGROUP}/cgroup.procs && exec \"$@\"' sh "
    guest.start(config, prefix=alone + as_unit(capabilities))
    effective = guest.run("grep CapEff /proc/$(cat /run/sluiced.pid)/status").split()[1]
    assert int(effective, 16) == sum(1 << NUMBER_OF[name] for name in capabilities), effective


def status(guest):
    return guest.ctl_json("status")["status"]["text"]


def moved(guest):
    """{mechanism: bytes}"""
    return guest.metrics.by("sluice_splice_bytes_total", "mechanism")


def torture(guest, *argv, through=FRONT, listen=SERVER):
    """splice_torture's report."""
    seed = int(os.environ.get("SLUICE_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    guest.run(WIRE)
    out = guest.run(
        "splice_torture --client-netns /run/netns/a --server-netns /run/netns/b "
        f"--connect {through} --listen {listen} --seed {seed} --deadline {TORTURE_DEADLINE_S} --hang {HANG_S} "
        + " ".join(map(str, argv)), None, TORTURE_DEADLINE_S + 60)
    assert out.startswith("{"), out
    return json.loads(out)


def assert_right(report):
    """Every stream identical or seen as aborted; the recipe of what was not is in the message."""
    assert report["wrong"] == 0, json.dumps(report, indent=1)[:6000]
    assert report["identical"] > 0, report


def wait_settled(guest):
    """Nothing is left of any connection."""
    def empty():
        metrics = guest.metrics
        names = ("sluice_listener_connections_active", "sluice_splice_flows", "sluice_splice_parked_bytes")
        return not any(metrics.total(name) for name in names)
    wait_for(empty, "no connection, flow or parked byte is left", 60)


class Namespaces:
    """What tests/netns/origin.py asks of a Net: NS0 and NS1 by their numbers."""

    def __init__(self, guest):
        self._guest = guest

    def inside(self, end):
        return inside(self._guest, end)
