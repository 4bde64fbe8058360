# SPDX-License-Identifier: GPL-2.0-or-later
"""
Where the daemon listens, one kind of address after another, and what it says of those that it
cannot have. (test_splice_basic.py has the everyday ones.)
"""
import os
import socket

import pytest

from lib import PYTHON, run
from origin import Origin
from splice_rig import (DIRECT, ENGINES, FRONT, FRONT_PORT, SERVER, SERVER_PORT, Footprint,
                        SpliceBench, Sluiced, settled)
from test_splice_order import pattern, receive, receive_all

WAIT_S = 5
FRONT6, CLIENT6 = "2001:db8:7::1", "2001:db8:7::2"
IPPROTO_MPTCP, SOL_MPTCP, MPTCP_INFO = 262, 284, 1
APP = f"[backend app]\nserver = s {DIRECT}\nhealth_check = off\n"

each_engine = pytest.mark.parametrize("engine", ENGINES)


def config(bind, engine="auto"):
    return f"[listener web]\nbind = {bind}\nengine = {engine}\ndefault = app\n{APP}"


@pytest.fixture
def bench(net):
    bench = SpliceBench(net)
    for ns, ifname, address in (("a", "va", CLIENT6), ("box", "wan", FRONT6)):
        net.sysctl(ns, "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0",
                   f"net.ipv6.conf.{ifname}.disable_ipv6=0")
        net.addr(ns, ifname, f"{address}/64", nodad=True)
    return bench


def served(sock):
    """Both ways through an echoing origin, FIN both ways: more than one buffer holds."""
    data = pattern(300000)
    with sock:
        sock.settimeout(WAIT_S)
        got = b""
        for i in range(0, len(data), 20000):
            sock.sendall(data[i:i + 20000])
            got += receive(sock, 20000)
        sock.shutdown(socket.SHUT_WR)
        return got + receive_all(sock) == data


def echo(bench):
    return Origin(bench.net, "b", "echo", (SERVER, SERVER_PORT), raw=True)


# --- Addresses ------------------------------------------------------------------------------------


@each_engine
def test_ipv6_alone(bench, engine):
    net = bench.net
    with echo(bench):
        net.daemon("box", config(f"[{FRONT6}]:80", engine))
        with net.inside("a"):
            assert served(socket.create_connection((FRONT6, 80), WAIT_S))
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((FRONT, 80), WAIT_S)


@each_engine
def test_an_mptcp_client_falls_back(bench, engine):
    """The listener is TCP's alone: the client's MP_CAPABLE is not answered, and it goes on in TCP."""
    net = bench.net
    with bench.start(engine, kind=Sluiced) as subject, echo(bench):
        before = Footprint(subject.pid)
        with net.inside("a"):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        sock.settimeout(WAIT_S)
        sock.connect((FRONT, FRONT_PORT))
        sock.sendall(b"first")
        assert receive(sock, 5) == b"first"
        with pytest.raises(OSError):  # it is asked of MPTCP, and there is none any more
            sock.getsockopt(SOL_MPTCP, MPTCP_INFO, 256)
        assert served(sock)
        settled(subject, before)


@each_engine
def test_a_unix_listener_to_a_tcp_server(bench, engine):
    """Half of the pair cannot enter a sockmap: user space moves it, as exactly."""
    net, path = bench.net, bench.net.dir / "front.sock"
    with echo(bench):
        daemon = net.daemon("box", config(f"unix:{path}", engine))
        for _ in range(3):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(path))
            assert served(sock)
        assert daemon.metric("sluice_splice_truncations_total") == 0


# --- Sockets that were handed over ----------------------------------------------------------------

HAND_OVER = """
import os, sys
names, argv, fds = sys.argv[1], sys.argv[4:], [int(fd) for fd in sys.argv[2].split(",")]
for i, fd in enumerate(fds):  # they are above 3 + their number
    os.dup2(fd, 3 + i)
    os.set_inheritable(3 + i, True)
os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names,
                  LISTEN_PID=str(os.getpid() + int(sys.argv[3])))
os.execvp(argv[0], argv)
"""


def high(sock):
    """Its number above those that systemd's get."""
    fd = os.dup(sock.fileno())
    while fd < 32:
        fd = os.dup(fd)
    os.set_inheritable(fd, True)
    return fd


class Handed:
    """A daemon that finds sockets where systemd puts them, as LISTEN_PID says, or another's."""

    def __init__(self, net, text, names, socks, wrong_pid=0):
        fds = [high(sock) for sock in socks]
        self.daemon = net.daemon_not_started("box", text)
        words = [*net.enter("box"), PYTHON, "-c", HAND_OVER, names, ",".join(map(str, fds)),
                 str(wrong_pid)]
        self.argv = [*words, str(net_binary()), "-c", str(self.daemon.config_path)]
        self.fds = fds

    def run(self):
        return run(*self.argv, check=False, pass_fds=self.fds)


def net_binary():
    return os.path.join(os.environ["SLUICE_BUILD"], "daemon/sluiced")


def listening(bench, address):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with bench.net.inside("box"):
        return socket.create_server(address, family=family)


def test_sockets_by_name(bench):
    """Two of one name, one of another, one that nobody asks for; IPv4 and IPv6."""
    net = bench.net
    socks = [listening(bench, address) for address in (
        (FRONT, 80), (FRONT6, 80), (FRONT, 81), (FRONT, 82))]
    text = config("fd:web") + "[listener other]\nbind = fd:other\ndefault = app\n"
    handed = Handed(net, text, "web:web:other:spare", socks)
    with echo(bench):
        daemon = handed.daemon
        env = {**os.environ, "NOTIFY_SOCKET": str(daemon.dir / "notify.sock")}
        with open(daemon.log_path, "ab") as log:
            daemon.process = net.popen("box", *handed.argv[len(net.enter("box")):], stdout=log,
                                       stderr=log, env=env, pass_fds=handed.fds)
        daemon.wait_notified("READY=1")
        for address in ((FRONT, 80), (FRONT6, 80), (FRONT, 81)):
            with net.inside("a"):
                assert served(socket.create_connection(address, WAIT_S)), address
        count = {name: daemon.metric("sluice_listener_connections_total", listener=name)
                 for name in ("web", "other")}
        assert count == {"web": 2, "other": 1}
        daemon.stop()
    # They are systemd's, and stay: a client may wait there for the next daemon.
    with net.inside("a"):
        socket.create_connection((FRONT, 80), WAIT_S).close()


@pytest.mark.parametrize("names, wrong_pid, message", [
    ("other", 0, "fd:web: systemd handed over no socket of that name"),
    ("web", 1, "fd:web: systemd handed over no socket of that name"),
], ids=["another's name", "another's pid"])
def test_a_socket_that_is_not_ours(bench, names, wrong_pid, message):
    with listening(bench, (FRONT, 80)) as sock:
        done = Handed(bench.net, config("fd:web"), names, [sock], wrong_pid).run()
    assert done.returncode == 1 and message in done.stderr, done.stderr


# --- What cannot be had ---------------------------------------------------------------------------


def refusal(bench, bind):
    daemon = bench.net.daemon_not_started("box", config(bind))
    daemon.start(ready=False)
    status = daemon.wait()
    return status, daemon.log()


def test_paths_that_cannot_be_had(bench):
    base = bench.net.dir
    (base / "file").write_text("not a socket")
    alive = socket.socket(socket.AF_UNIX)
    alive.bind(str(base / "alive"))
    alive.listen()
    with alive:
        for path, why in ((base / "missing" / "x", "No such file or directory"),
                          (base / "file", "there is a file that is no socket"),
                          (base / "alive", "another program listens there")):
            status, log = refusal(bench, f"unix:{path}")
            assert status == 1 and f"cannot listen on unix:{path}: {why}" in log, log
    # Neither was touched.
    assert (base / "file").read_text() == "not a socket" and (base / "alive").is_socket()


@pytest.mark.parametrize("bind", [f"[{FRONT6}]:80", "[::]:80"])
def test_an_ipv6_address_that_is_taken(bench, bind):
    with listening(bench, (FRONT6, 80)):
        status, log = refusal(bench, bind)
    assert status == 1 and f"cannot listen on {bind}: another program listens there" in log, log


@pytest.mark.parametrize("bind", ["10.7.1.1", "10.7.1.1:0", "10.7.1.1:65536", "unix:", "unix:relative",
                                  "[::1:80", "fd:", "example.org:80"])
def test_addresses_that_are_none(bench, bind):
    """Exit status 78, with the line of the file."""
    daemon = bench.net.daemon_not_started("box", config(bind))
    daemon.start(ready=False)
    assert daemon.wait() == 78
    assert f"[listener web] bind: " in daemon.log()
    assert daemon.config_path.name in daemon.log()
