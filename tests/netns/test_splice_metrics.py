# SPDX-License-Identifier: GPL-2.0-or-later
"""
The metrics of the splice plane: what happens moves its counter, once, and no other that is watched; and
every series is there from the first scrape.
"""
import contextlib
import os
import signal
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from foreign import owned, socket_of
from front import (SERVER, backend, connect, ends, get, is_turned_away, origins, wait_ended, who, wire)
from lib import wait_for

LISTENER = "[listener web]\nbind = 10.0.0.2:80\ndefault = app\n"
RST = struct.pack("ii", 1, 0)

# Each of these stands still unless a case says otherwise.
WATCHED = ("sluice_listener_connections_total", "sluice_listener_connections_rejected_total",
           "sluice_splice_fallbacks_total", "sluice_splice_truncations_total", "sluice_splice_killed_total",
           "sluice_splice_promotions_total", "sluice_splice_accept_pauses_total",
           "sluice_backend_connections_total", "sluice_backend_connection_failures_total")


class Moves:
    """What the watched counters have moved by since this was made."""

    def __init__(self, daemon):
        self._daemon = daemon
        self._before = self._counters()

    def _counters(self):
        counters = {}
        for (name, labels), value in self._daemon.metrics().items():
            if name in WATCHED:
                # Which listener or backend is not what is asked here.
                words = [text for key, text in labels if key not in ("listener", "backend")]
                key = " ".join([name.removeprefix("sluice_").removesuffix("_total"), *words])
                counters[key] = counters.get(key, 0) + value
        return counters

    def __call__(self):
        now = self._counters()
        return {key: int(now[key] - n) for key, n in self._before.items() if now[key] != n}


def served(wire):
    assert who(wire) == "one"


def turned_away(wire):
    assert is_turned_away(wire, 80)


def second_is_turned_away(wire):
    with connect(wire) as sock:
        assert get(sock) == "one"
        assert is_turned_away(wire, 80)


def silent(wire):
    with connect(wire) as sock:
        assert ends(sock)


def says(*parts):
    """A client that says this and is not served."""
    def provoke(wire):
        with connect(wire) as sock:
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    sock.sendall(part)
                while sock.recv(4096):
                    pass
    return provoke


def leaves(wire):
    with connect(wire) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)


def sends_and_ends_at_once(wire):
    """Its FIN is there before anybody accepts it: it can not be put into a socket map."""
    daemon = wire.daemons[0]
    with connect(wire) as warm:
        assert get(warm) == "one"
        daemon.signal(signal.SIGSTOP)
        sock = connect(wire)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        daemon.signal(signal.SIGCONT)
        with sock:
            assert sock.recv(4096).endswith(b"one\n")
            assert sock.recv(1) == b""


def many_messages(wire):
    with connect(wire) as sock:
        for _ in range(300):
            assert get(sock) == "one"


def idle(wire):
    with connect(wire) as sock:
        assert get(sock) == "one"
        assert ends(sock)


def half_closed(wire):
    """The server takes the client's end, and says nothing for ever."""
    with wire.inside("s"):
        server = socket.create_server((SERVER, 7999))
    with server, connect(wire) as sock:
        sock.sendall(b"x")
        sock.shutdown(socket.SHUT_WR)
        assert ends(sock)


def unanswered(wire):
    """The server hears nothing."""
    wire.run("s", "nft", "add table inet deaf; "
             "add chain inet deaf in { type filter hook input priority 0; tcp dport 7999 drop; }")
    turned_away(wire)


def short_of_ports(wire):
    """The only port to the server from here is taken, and stays so."""
    with wire.inside("d"):
        taken = socket.socket()
    with taken:
        wire.sysctl("d", "net.ipv4.ip_local_port_range=40000 40000")
        taken.connect((SERVER, 8000))
        turned_away(wire)


def one_has_no_port(wire):
    """To one of two servers: who comes to it goes to the other, and nobody waits."""
    with wire.inside("d"):
        taken = socket.socket()
    with wire.inside("s"):
        other = socket.create_server((SERVER, 8002))
    with other, taken:
        wire.sysctl("d", "net.ipv4.ip_local_port_range=40000 40000")
        taken.connect((SERVER, 8000))
        with connect(wire):
            other.accept()[0].close()


def many_on_one_cpu(wire):
    """Their SYNs come by one CPU, so that its acceptor takes more than its half of the places."""
    cpus = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, cpus)
        os.sched_setaffinity(0, {min(cpus)})
        for sock in [stack.enter_context(connect(wire)) for _ in range(16)]:
            assert get(sock) == "one"
        assert is_turned_away(wire, 80)


TLS = "sniff = tls\nsniff_timeout = 200ms\n"
HTTP = "sniff = http\nsniff_timeout = 2s\n"
NOBODY = "10.0.1.2:7999"
ACCEPTED = {"listener_connections": 1}
REACHED = {**ACCEPTED, "backend_connections": 1}
TWICE = {"listener_connections": 2, "backend_connections": 1}


def refused_for(reason):
    return {"listener_connections_rejected " + reason: 1}


# name: (of the listener, of the backend, what is done, what moves)
CASES = {
    "served": ("", "", served, REACHED),
    "limit": ("max_connections = 1\n", "", second_is_turned_away, TWICE | refused_for("limit")),
    "limit of the backend": ("", "max_connections = 1\n", second_is_turned_away,
                             TWICE | refused_for("limit")),
    "source_limit": ("max_connections_per_source = 1\n", "", second_is_turned_away,
                     TWICE | refused_for("source_limit")),
    "acl": ("proxy_protocol = v1\nproxy_from = 192.0.2.0/24\n", "", turned_away,
            ACCEPTED | refused_for("acl")),
    "proxy_header": ("proxy_protocol = v1\nproxy_from = 10.0.0.0/8\n", "",
                     says(b"PROXY TCP4 10.0.0.1 10.0.0.300 1 2\r\n"),
                     ACCEPTED | refused_for("proxy_header")),
    "sniff_timeout": (TLS, "", silent, ACCEPTED | refused_for("sniff_timeout")),
    "sniff_oversize": (HTTP, "", says(b"GET / HTTP/1.1\r\n", *[b"X-%05d: %01000d\r\n" % (i, i) for i in range(70)]),
                       ACCEPTED | refused_for("sniff_oversize")),
    "sniff_malformed": (HTTP, "", says(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
                        ACCEPTED | refused_for("sniff_malformed")),
    "sniff_malformed tls": (TLS, "", says(b"\x16\x03\x01\x00\x04\x07\x00\x00\x00"),
                            ACCEPTED | refused_for("sniff_malformed")),
    "no_backend": (HTTP + "route = other.example -> app\ndefault = none\n", "",
                   says(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ACCEPTED | refused_for("no_backend")),
    "client_gone": (HTTP, "", leaves, ACCEPTED | refused_for("client_gone")),
    "refused by the server": ("", f"server = !! {NOBODY}\nretries = 0\n", turned_away,
                              REACHED | refused_for("no_backend") | {"backend_connection_failures": 1}),
    "no answer": ("", f"server = !! {NOBODY}\nretries = 0\nconnect_timeout = 200ms\n", unanswered,
                  REACHED | refused_for("no_backend") | {"backend_connection_failures": 1}),
    "tried again": ("", f"server = !! {NOBODY}\nserver = one 10.0.1.2:8000\n", served,
                    {"listener_connections": 1, "backend_connections": 2, "backend_connection_failures": 1}),
    "idle": ("idle_timeout = 1s\n", "", idle, REACHED | {"splice_killed": 1}),
    "half-closed": ("half_closed_timeout = 1s\n", f"server = !! {NOBODY}\n", half_closed,
                    REACHED | {"splice_killed": 1}),
    "close_wait": ("engine = sockmap\n", "", sends_and_ends_at_once,
                   {"listener_connections": 2, "backend_connections": 2, "splice_promotions": 2,
                    "splice_fallbacks close_wait": 1}),
    "resources": ("", "", short_of_ports, REACHED | refused_for("resources")),
    "no_slot": ("engine = sockmap\nmax_connections = 16\n", "", many_on_one_cpu,
                # 9 places each: 16, and one for each acceptor to turn somebody away
                {"listener_connections": 17, "backend_connections": 16, "splice_promotions": 18,
                 "splice_fallbacks no_slot": 7} | refused_for("limit")),
    "no port": ("", f"server = one {SERVER}:8000\nserver = two {SERVER}:8002\n", one_has_no_port,
                {"listener_connections": 1, "backend_connections": 2}),
    "promoted": ("engine = auto\n", "", many_messages, REACHED | {"splice_promotions": 2}),
    "kept in user space": ("engine = copy\n", "", many_messages, REACHED),
}


@pytest.mark.parametrize("name", CASES)
def test_what_happens_is_counted_once_and_nothing_else(wire, name):
    listener, server, provoke, expected = CASES[name]
    if "default" in listener:
        listener = LISTENER.replace("default = app\n", "") + listener
    else:
        listener = LISTENER + listener
    keys = "health_check = off\n" + server.replace("!!", "gone")
    config = listener + (backend("app", keys=keys) if "server" in server else backend("app", "one", keys=keys))
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        moves = Moves(daemon)
        assert moves() == {}
        provoke(wire)
        wait_ended(daemon)
        assert moves() == expected


def test_a_download_that_its_client_gives_up_is_no_loss_of_ours(wire):
    """The alert on truncations is critical: what a client does not want any more must not set it off."""
    config = LISTENER + "engine = !!\n" + backend("app", "one", keys="health_check = off\n")
    with wire.inside("s"):
        server = socket.create_server((SERVER, 8000))
    with server:
        daemon = wire.daemon("d", config.replace("!!", "copy"))
        for engine in ("copy", "splice", "sockmap"):
            daemon.reload(config.replace("!!", engine))
            moves = Moves(daemon)
            sock = connect(wire)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            sock.sendall(b"x")
            peer, _ = server.accept()
            assert peer.recv(1) == b"x"
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    peer.send(bytes(65536))
            wait_for(lambda: daemon.ctl("show", "flows")["flows"][0]["bytes_out"] > 0, "it flows")
            sock.close()
            wait_ended(daemon)
            peer.close()
            got = moves()
            assert "splice_truncations" not in got, engine


def test_a_socket_of_another_agent_stays_in_user_space(wire):
    """A service mesh has it in a sockmap of its own: normal, counted, and as correct."""
    config = LISTENER + backend("app", "one", keys="health_check = off\n")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        moves = Moves(daemon)
        with connect(wire) as sock:
            assert get(sock) == "one"
            with socket_of(daemon.pid, sock.getsockname()) as theirs, owned(theirs):
                for _ in range(300):
                    assert get(sock) == "one"
            flow, = daemon.ctl("show", "flows")["flows"]
            assert flow["engine_in"] == flow["engine_out"] == "copy"
        wait_ended(daemon)
        assert moves() == REACHED | {"splice_fallbacks busy": 1}


def test_bursts_that_run_out_of_credit_are_relayed(wire):
    """Each burst is more than the server's side takes at once, and is waited for: KERNEL, RELAY, KERNEL, …"""
    config = LISTENER + "engine = sockmap\n" + backend("app", "one", keys="health_check = off\n")
    burst = bytes(1 << 20)
    with wire.inside("s"):
        server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    server.bind((SERVER, 8000))
    server.listen()
    with server:
        daemon = wire.daemon("d", config)
        moves = Moves(daemon)
        with connect(wire, timeout_s=30) as sock, ThreadPoolExecutor(1) as thread:
            peer = None
            # It takes many soon after one another: on a busy machine perhaps not the first ones.
            for _ in range(2000):
                sent = thread.submit(sock.sendall, burst)
                peer = peer or server.accept()[0]
                assert len(receive(peer, len(burst))) == len(burst)
                sent.result()
                if "splice_fallbacks credit" in moves():
                    break
            peer.close()
        wait_ended(daemon)
        assert moves() == REACHED | {"splice_promotions": 2, "splice_fallbacks credit": 1}


def receive(sock, n):
    data = bytearray()
    while len(data) < n:
        got = sock.recv(n - len(data))
        assert got
        data += got
    return data


@pytest.mark.parametrize("engine", ["copy", "splice"])
def test_what_we_give_up_ourselves_is_a_truncation(wire, engine):
    """The control of the download above: both ends are there, and idle_timeout ends it with bytes undelivered."""
    config = LISTENER + f"engine = {engine}\nidle_timeout = 1s\n" + \
        backend("app", "one", keys="health_check = off\n")
    with wire.inside("s"):
        server = socket.create_server((SERVER, 8000))
    with server:
        daemon = wire.daemon("d", config)
        moves = Moves(daemon)
        with connect(wire, timeout_s=30) as sock, ThreadPoolExecutor(1) as thread:
            peer, _ = server.accept()
            sent = thread.submit(sock.sendall, bytes(64 << 20))
            with peer:
                wait_for(lambda: daemon.metric("sluice_splice_parked_bytes") > 0, "bytes are parked")
                wait_ended(daemon)
                got = moves()
                assert got["splice_truncations"] == 1 == got["splice_killed"]
                with pytest.raises(ConnectionResetError):
                    while peer.recv(1 << 16):
                        pass
            with pytest.raises(ConnectionResetError):
                sent.result()
        assert daemon.metric("sluice_splice_parked_bytes") == 0


# operations.md §2.4, 47 to 62: type, labels.
FAMILIES = {
    "sluice_listener_connections_total": ("counter", "listener"),
    "sluice_listener_connections_rejected_total": ("counter", "listener reason"),
    "sluice_listener_connections_active": ("gauge", "listener"),
    "sluice_listener_sniffing": ("gauge", "listener"),
    "sluice_listener_sniff_duration_seconds": ("histogram", "listener"),
    "sluice_splice_flows": ("gauge", "mechanism"),
    "sluice_splice_bytes_total": ("counter", "mechanism"),
    "sluice_splice_parked_bytes": ("gauge", ""),
    "sluice_splice_fallbacks_total": ("counter", "reason"),
    "sluice_splice_truncations_total": ("counter", ""),
    "sluice_splice_selftest_passed": ("gauge", ""),
    "sluice_backend_up": ("gauge", "backend"),
    "sluice_backend_connections_total": ("counter", "backend"),
    "sluice_backend_connection_failures_total": ("counter", "backend"),
    "sluice_backend_connections_active": ("gauge", "backend"),
    "sluice_backend_connect_duration_seconds": ("histogram", "backend"),
}
LABELS = {
    "mechanism": {"sockmap", "splice", "copy"},
    "reason": {"limit", "source_limit", "acl", "sniff_timeout", "sniff_oversize", "sniff_malformed", "proxy_header",
               "no_backend"},
}


def test_every_series_is_there_from_the_first_scrape(wire):
    config = LISTENER + HTTP + backend("app", "one", keys="health_check = off\n")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        page = daemon.http("/metrics")[2]
        series = daemon.metrics()
        for name, (kind, labels) in FAMILIES.items():
            assert f"\n# TYPE {name} {kind}\n" in page and f"\n# HELP {name} " in page, name
            suffix = "_count" if kind == "histogram" else ""
            mine = [dict(pairs) for family, pairs in series if family == name + suffix]
            assert mine and all(set(pairs) == set(labels.split()) for pairs in mine), name
            for label in LABELS:
                if label in labels and "fallbacks" not in name:
                    assert LABELS[label] <= {pairs[label] for pairs in mine}, name
        with connect(wire) as silent_one, connect(wire) as sock:
            assert get(sock) == "one"
            wait_for(lambda: daemon.metric("sluice_listener_sniffing") == 1, "one has said nothing yet")
            assert daemon.metric("sluice_listener_connections_active", listener="web") == 2
            assert daemon.metric("sluice_backend_connections_active", backend="app") == 1
            assert daemon.metric("sluice_splice_flows") == 2
            assert daemon.metric("sluice_listener_sniff_duration_seconds_count") == 1
            assert daemon.metric("sluice_backend_connect_duration_seconds_count") == 1
            assert get(silent_one) == "one"
        wait_ended(daemon)
        assert daemon.metric("sluice_listener_sniff_duration_seconds_count") == 2
        assert daemon.metric("sluice_splice_flows") == daemon.metric("sluice_backend_connections_active") == 0
        done = subprocess.run(["promtool", "check", "metrics"], input=daemon.http("/metrics")[2], text=True,
                              capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_kernel_that_fails_the_self_test(wire):
    """Then there is no sockmap, which is said everywhere, and connections are served all the same."""
    config = LISTENER + "engine = sockmap\n" + backend("app", "one", keys="health_check = off\n")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config, program="tests/netns/sluiced_fault_kick")
        why = "the self-test failed (bytes queued at insertion): Connection timed out"
        assert f"; sockmap is off: {why}" in daemon.status()
        assert "sockmap is off, connections are served by splice(2) and copying: " + why in daemon.log()
        assert daemon.metric("sluice_splice_selftest_passed") == 0 == daemon.metric("sluice_splice_sockmap_on")
        assert daemon.metric("sluice_degraded") == 1
        moves = Moves(daemon)
        many_messages(wire)
        wait_ended(daemon)
        assert moves() == REACHED
        assert daemon.metric("sluice_splice_bytes_total", mechanism="sockmap") == 0
        # Whom it does not concern is not degraded by it.
        daemon.reload(config.replace("sockmap", "splice"))
        assert daemon.metric("sluice_degraded") == 0
