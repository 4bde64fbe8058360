# SPDX-License-Identifier: GPL-2.0-or-later
"""
A front as an operator has it: the real daemon with listeners, between a client's and the servers' namespaces.

    c (10.0.0.1) ── (10.0.0.2) d (10.0.1.1) ── (10.0.1.2) s
"""
import contextlib
import socket

import pytest

from lib import run, wait_for
from origin import Origin

CLIENT, FRONT, BACK, SERVER = "10.0.0.1", "10.0.0.2", "10.0.1.1", "10.0.1.2"


@pytest.fixture
def wire(net):
    for name in "cds":
        net.ns(name)
    net.veth("c", "c0", "d", "d0")
    net.veth("d", "d1", "s", "s0")
    net.addr("c", "c0", f"{CLIENT}/24")
    net.addr("d", "d0", f"{FRONT}/24")
    net.addr("d", "d1", f"{BACK}/24")
    net.addr("s", "s0", f"{SERVER}/24")
    return net


@contextlib.contextmanager
def origins(net, *names, port=8000, **kwargs):
    """Servers called by their names, on ports from `port` on."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin(net, "s", name, (SERVER, port + i), **kwargs))
               for i, name in enumerate(names)]


def backend(name, *servers, port=8000, keys=""):
    """A backend of servers on ports from `port` on."""
    lines = "".join(f"server = {server} {SERVER}:{port + i}\n" for i, server in enumerate(servers))
    return f"[backend {name}]\n{lines}health_interval = 200ms\n{keys}"


def connect(net, port=80, address=FRONT, timeout_s=5):
    with net.inside("c"):
        return socket.create_connection((address, port), timeout_s)


def get(sock, host="x.example"):
    """One request on a connection; who answered."""
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return read_answer(sock)


def read_answer(sock):
    answer = b""
    while b"\r\n\r\n" not in answer or not answer.endswith(b"\n"):
        data = sock.recv(65536)
        assert data, f"the connection ended after {answer!r}"
        answer += data
    return answer.partition(b"\r\n\r\n")[2].decode().strip()


def who(net, port=80, host="x.example", address=FRONT):
    with connect(net, port, address) as sock:
        return get(sock, host)


def is_refused(net, port=80, address=FRONT):
    try:
        connect(net, port, address).close()
    except ConnectionRefusedError:
        return True
    return False


def curl(net, *argv, **kwargs):
    return net.run("c", "curl", "-sS", "--max-time", "5", *argv, **kwargs)


def rejected(daemon, reason):
    return daemon.metric("sluice_listener_connections_rejected_total", reason=reason)


def wait_ended(daemon):
    wait_for(lambda: daemon.metric("sluice_listener_connections_active") == 0,
             "no connection is left")


def is_turned_away(net, port):
    """The connection is accepted and ends without a byte, perhaps before connect(2) returns."""
    try:
        with connect(net, port) as sock:
            return ends(sock)
    except ConnectionResetError:
        return True


def ends(sock):
    """The connection ended without a byte: by FIN or RST."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def cgroup(net):
    """A cgroup2 of the test's own, for the daemon alone."""
    mount = net.dir / "cgroup2"
    mount.mkdir()
    run("mount", "-t", "cgroup2", "cgroup2", mount)
    own = mount / net.dir.name
    own.mkdir()
    yield own
    for daemon in net.daemons:
        if daemon.is_running():
            daemon.kill()
    own.rmdir()
    run("umount", mount)
