# SPDX-License-Identifier: GPL-2.0-or-later
"""
The splice plane on Debian's kernels, as the unit runs it: by its capabilities alone sockmap is off
and said to be, and all is served; with CAP_PERFMON, which the unit file tells to add, it is on.
"""
import contextlib
import os
import re
import socket
import ssl
import sys
import tempfile
from pathlib import Path

import pytest

from routed import ENDS, inside, route_down, route_up
from spliced import (ENGINES, FRONT6, SERVER, SERVER6, Namespaces, as_unit, assert_right, moved,
                     splice_config, start_spliced, status, torture, unit_capabilities, wait_settled)

sys.path.append(str(Path(__file__).parents[1] / "netns"))
from origin import Origin, certificate  # noqa: E402

# A small machine, so that several fit beside other work: TCP memory is then some 70 MB in all.
SMALL = {"cpus_per_node": 1, "mib_per_node": 448, "life_s": 1800, "programs": (
    "tests/bpf/test_splice_maps", "tests/bpf/test_reuseport", "tests/bpf/test_sockops",
    "tests/splice/test_splice_rules", "tests/splice/test_splice_plane", "tests/splice/test_splice_random",
    "tests/splice/splice_torture")}
GUESTS = {kernel: {"kernel": kernel, **SMALL} for kernel in ("6.1", "6.12", "7.2")}
kernels = pytest.mark.parametrize("booted", GUESTS.values(), indirect=True, ids=GUESTS)
engines = pytest.mark.parametrize("engine", ENGINES)
# What the unit file says to add for `engine = sockmap`.
DROP_IN = ("cap_perfmon",)
# Of each run; an emulated CPU takes a minute for so many.
TRANSFERS = int(os.environ.get("SLUICE_TRANSFERS", "200"))
MIXED = ("--connections", TRANSFERS, "--max-bytes", 1 << 18, "--at-once", 16)
PROGRAM_DEADLINE_S = 400


@pytest.fixture
def box(guest):
    route_up(guest)
    yield guest
    guest.fresh()
    route_down(guest)


@kernels
class TestPrograms:
    """The C tests of the kernel's side and of the room, in the guest's kernel."""

    # Some of them let 16 streams stand still with full buffers, 160 MB: TCP must be allowed so much.
    ROOM = "echo '100000 200000 300000' >/proc/sys/net/ipv4/tcp_mem; "

    @pytest.mark.parametrize("name", ["test_splice_maps", "test_reuseport", "test_sockops"])
    def test_of_the_kernels_side(self, guest, name):
        out = guest.run(f"{self.ROOM} SLUICE_EMULATED=1 {name} 2>&1", None, PROGRAM_DEADLINE_S)
        assert "FAILED" not in out and re.search(r"PASSED.* [1-9]\d* test", out), out

    @pytest.mark.parametrize("name", ["test_splice_rules", "test_splice_plane", "test_splice_random"])
    def test_of_the_room(self, guest, name):
        """As the unit's user, with what sockmap needs."""
        words = as_unit(unit_capabilities(guest.build) | set(DROP_IN))
        out = guest.run(f"{self.ROOM} SPLICE_TRANSFERS=600 {words} {name} 2>&1", None, PROGRAM_DEADLINE_S)
        assert "FAILED" not in out and re.search(r"PASSED.* [1-9]\d* test", out), out


@kernels
class TestTheUnit:
    """Its capabilities and no other: no CAP_PERFMON."""

    @engines
    def test_serves_without_sockmap_and_says_so(self, box, engine):
        start_spliced(box, splice_config(engine))
        metrics = box.metrics
        assert metrics.total("sluice_splice_selftest_passed") == 0
        assert metrics.total("sluice_splice_sockmap_on") == 0
        assert metrics.total("sluice_degraded") == 1
        assert "sockmap is off: CAP_PERFMON is missing: add it to AmbientCapabilities= and " \
               "CapabilityBoundingSet= of the unit" in status(box)
        assert "libbpf" not in box.daemon_log()
        assert_right(torture(box, *MIXED))
        wait_settled(box)
        assert moved(box)["sockmap"] == 0 and sum(moved(box).values()) > 0
        box.stop()

    def test_spreads_by_bpf_and_follows_sockets(self, box):
        """The other two programs do not need it."""
        start_spliced(box, splice_config("copy"))
        assert "chosen by the kernel's hash" not in box.daemon_log(), "the kernel took the program"
        assert box.metrics.total("sluice_splice_sockops_on") == 1
        assert_right(torture(box, "--connections", 100, "--profile", "short", "--at-once", 8))
        wait_settled(box)
        assert box.metrics.total("sluice_splice_sockets_closed_total") >= 200
        box.stop()


@kernels
class TestWithSockmap:
    """The unit's capabilities and CAP_PERFMON."""

    @engines
    def test_every_byte_and_every_end(self, box, engine):
        start_spliced(box, splice_config(engine), DROP_IN)
        assert box.metrics.total("sluice_splice_selftest_passed") == 1
        assert box.metrics.total("sluice_splice_sockmap_on") == 1
        assert "sockmap is off" not in status(box)
        report = torture(box, *MIXED)
        assert_right(report)
        assert report["aborted"] > 0 and report["own"] > 0, "no reset was tried"
        if engine != "auto":
            assert moved(box)[engine] > report["bytes"] / 2, "another engine did the work"
        assert_right(torture(box, "--connections", TRANSFERS // 2, "--max-bytes", 1 << 16, "--resets", 50,
                             "--at-once", 16))
        wait_settled(box)
        box.stop()

    @engines
    def test_ipv6_and_short_connections(self, box, engine):
        start_spliced(box, splice_config(engine).replace(f"s {SERVER}", f"s {SERVER6}"), DROP_IN)
        report = torture(box, "--connections", TRANSFERS, "--profile", "short", "--at-once", 32, through=FRONT6,
                         listen=SERVER6)
        assert_right(report)
        assert report["identical"] == 2 * TRANSFERS, report
        wait_settled(box)
        box.stop()


def greet(guest, context, name):
    """Over TLS to the listener: who answers under this name."""
    with inside(guest, 0):
        sock = socket.create_connection(("10.1.0.1", 9010), 20)
    with sock, context.wrap_socket(sock, server_hostname=name) as tls:
        answer = b""
        for _ in range(20):
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            answer = b""
            while not (b"\r\n\r\n" in answer and answer.endswith(b"\n")):
                data = tls.recv(65536)
                assert data, f"the connection ended after {answer!r}"
                answer += data
        return answer.partition(b"\r\n\r\n")[2].decode().strip()


@kernels
@pytest.mark.parametrize("drop_in", [(), DROP_IN], ids=["unit", "perfmon"])
@engines
def test_tls_goes_by_its_name(box, drop_in, engine):
    listener = "bind = 10.1.0.1:9010\nsniff = tls\nroute = one.example -> one\nroute = two.example -> two\n"
    tail = "".join(f"[backend {name}]\nserver = s {ENDS[1]}:{port}\nhealth_check = off\n"
                   for name, port in (("one", 8001), ("two", 8002)))
    config = splice_config(engine, listener, tail=tail).replace("default = app\n", "")
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        for i, name in enumerate(("one", "two")):
            pair = certificate(Path(directory), f"{name}.example")
            stack.enter_context(Origin(Namespaces(box), 1, name, (ENDS[1], 8001 + i), tls=pair))
        start_spliced(box, config, drop_in)
        for name in ("one", "two"):
            # The server's own certificate is checked by name: nobody opened the TLS in between.
            context = ssl.create_default_context(cafile=Path(directory) / f"{name}.example.crt")
            assert greet(box, context, f"{name}.example") == name
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
            greet(box, ssl._create_unverified_context(), "three.example")
        wait_settled(box)
        box.stop()
