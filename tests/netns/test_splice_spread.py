# SPDX-License-Identifier: GPL-2.0-or-later
"""
Which acceptor, which server, and that a connection is not lost when either is taken away: SYNs that
all come on one CPU, a daemon that takes an address over from another and gives it back, servers
that refuse, are silent or are killed, listeners and backends that change under load.
"""
import contextlib
import os
import signal
import socket
import threading

import pytest

from lib import wait_for
from peers import nginx
from splice_rig import (DIRECT, ENGINES, FRONT, FRONT_PORT, FULL, SERVER, SERVER_PORT, THROUGH,
                        Footprint, SpliceBench, Sluiced, assert_right, settled)

CONNECTIONS = 20000 if FULL else 1500
SPREAD = 600
ACCEPTORS = 4
WAIT_S = 10
# A server that failed its clients is left out for so long, whatever its health: a second kill in CI
# would wait for the end of that.
KILLS = 6 if FULL else 1
PASSIVE_OUT_S = 10

each_engine = pytest.mark.parametrize("engine", ENGINES)


def short(bench, connections=CONNECTIONS, **kwargs):
    return bench.torture_begin("--connections", connections, "--profile", "short", "--at-once", 64,
                               "--deadline", 300, **kwargs)


def assert_all(report, connections=CONNECTIONS):
    """Every one of them whole, both ways: none was refused or reset."""
    assert_right(report)
    assert report["refused"] == 0 and report["identical"] == 2 * connections, report


# --- Acceptors ------------------------------------------------------------------------------------


def echo_forever(listener):
    def serve(sock):
        with sock:
            while data := sock.recv(4096):
                sock.sendall(data)

    while True:
        try:
            sock = listener.accept()[0]
        except OSError:
            return
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def test_syns_of_one_cpu_are_spread(net):
    """Held connections, all SYNs on one CPU: no acceptor has more than twice another's."""
    bench = SpliceBench(net)
    with bench.start("copy", kind=Sluiced, acceptors=ACCEPTORS) as subject:
        before = Footprint(subject.pid)
        with net.inside("b"):
            listener = socket.create_server((SERVER, SERVER_PORT), backlog=1024)
        server = threading.Thread(target=echo_forever, args=(listener,), daemon=True)
        server.start()
        cpus, held = os.sched_getaffinity(0), []
        # A veth hands a packet over on the CPU that sent it.
        os.sched_setaffinity(0, {min(cpus)})
        try:
            for _ in range(SPREAD):
                with net.inside("a"):
                    sock = socket.create_connection((FRONT, FRONT_PORT), WAIT_S)
                held.append(sock)
                sock.sendall(b"here")
                assert sock.recv(4) == b"here"  # accepted, and counted
        finally:
            os.sched_setaffinity(0, cpus)
        got = [int(subject.daemon.metric("sluice_acceptor_connections", acceptor=f"acceptor-{i}"))
               for i in range(ACCEPTORS)]
        print("connections of each acceptor:", got)
        assert sum(got) == SPREAD
        assert max(got) <= 2 * min(got), got
        for sock in held:
            sock.close()
        listener.shutdown(socket.SHUT_RDWR)
        server.join(WAIT_S)
        listener.close()
        settled(subject, before)


def test_the_number_of_acceptors_needs_a_restart(net):
    """It is refused with its reason, and what runs goes on."""
    bench = SpliceBench(net)
    with bench.start("auto", kind=Sluiced, acceptors=4) as subject:
        load = short(bench, 300)
        subject.daemon.reload(subject.config.replace("acceptors = 4", "acceptors = 2"))
        assert "these keys need a restart of the daemon" in subject.daemon.log()
        assert "acceptors: 4 -> 2" in subject.daemon.log()
        assert subject.daemon.metric("sluice_config_last_reload_successful") == 0
        assert_all(bench.torture_end(load), 300)


@each_engine
def test_a_daemon_hands_its_address_back(net, engine):
    """
    Another daemon listens on the same address (SO_REUSEPORT of one user), and its program chooses
    from then on. It is stopped under load: its acceptors' sockets close, what had queued there and
    what is on its way migrates to the first's, what it had accepted is drained. Nobody is reset.
    """
    bench = SpliceBench(net)
    first = Sluiced(bench, engine)
    for acceptors in (ACCEPTORS, 1):
        before = accepted(first)
        second = Sluiced(bench, engine, acceptors=acceptors, daemon="drain_timeout = 60s")
        load = short(bench)
        wait_for(lambda: accepted(second) > 100, "the second is chosen", WAIT_S)
        assert accepted(first) == before
        assert load.poll() is None, "it was over too soon"
        second.stop()
        assert_all(bench.torture_end(load))
        assert accepted(first) > before
    first.stop()


def accepted(subject):
    return subject.daemon.metric("sluice_listener_connections_total", listener="web")


# --- Servers --------------------------------------------------------------------------------------


@each_engine
def test_servers_that_cannot_be_connected_to(net, engine):
    """
    One refuses, one is unreachable, one is silent; only the fourth serves. A client sees none of it:
    no byte of its own had been taken, and the next server is tried.
    """
    bench = SpliceBench(net)
    net.ip("box", "route", "add", "unreachable", "10.99.0.1/32")
    net.ip("box", "neigh", "add", "10.7.2.99", "lladdr", "02:00:00:00:00:99", "dev", "lan")
    with bench.start(engine, kind=Sluiced, server="10.7.2.2:1",
                     backend=f"server = away 10.99.0.1:80\nserver = silent 10.7.2.99:80\n"
                     f"server = good {DIRECT}\nretries = 3\nconnect_timeout = 100ms\n") as subject:
        before = Footprint(subject.pid)
        assert_all(bench.torture_end(short(bench)))
        failed = subject.daemon.metric("sluice_backend_connection_failures_total", backend="app")
        assert failed >= 3, "the others were never tried"
        assert subject.rejected(listener="web") == 0
        settled(subject, before)


@each_engine
def test_a_server_is_killed_under_load(net, engine):
    """
    SIGKILL to one of two, again and again: connections that it had are reset, as its death does
    without us; each request that begins afterwards succeeds at once, by the other.
    """
    bench = SpliceBench(net)

    def start(i):
        return nginx(net, "b", f"{i}-{len(started)}", f"""server {{ listen {SERVER}:{8100 + i};
            location / {{ return 200 "{i}\\n"; }} }}""", f"{SERVER}:{8100 + i}")
    started = []
    for i in range(2):
        started.append(start(i))
    with contextlib.closing(Killed(net, engine)) as subject:
        over, failures, kills, served = threading.Event(), [], [], {"0": 0, "1": 0}
        clients = [threading.Thread(target=ask_all_the_time, args=(net, over, kills, failures, served))
                   for _ in range(4)]
        for client in clients:
            client.start()
        try:
            for turn in range(KILLS):
                enough = {who: n + 20 for who, n in served.items()}
                wait_for(lambda: all(served[who] >= n for who, n in enough.items()) or failures,
                         "both serve", PASSIVE_OUT_S + WAIT_S)
                i = turn % 2
                kills.append(turn)
                started[i].send_signal(signal.SIGKILL)
                started[i].wait()
                kills.append(turn)
                enough = served[str(1 - i)] + 50
                wait_for(lambda: served[str(1 - i)] >= enough or failures, "the other serves", WAIT_S)
                if turn + 1 < KILLS:
                    started[i] = replace(started, start, i)
                    wait_for(subject.is_up, "it is back", WAIT_S)
        finally:
            over.set()
            for client in clients:
                client.join()
        assert not failures, failures[:5]
        assert subject.daemon.metric("sluice_splice_truncations_total") == 0


def replace(started, start, i):
    started.append(None)  # a name of its own
    return start(i)


class Killed:
    """The daemon with two servers whose health is looked at often."""

    def __init__(self, net, engine):
        self.daemon = net.daemon("box", f"""[listener web]
bind = {THROUGH}
engine = {engine}
default = app
[backend app]
server = s {SERVER}:8100
server = t {SERVER}:8101
retries = 1
health_interval = 100ms
health_rise = 1
""")

    def is_up(self):
        return all(self.daemon.metric("sluice_backend_server_up", backend="app", server=server) == 1
                   for server in "st")

    def close(self):
        self.daemon.stop()


def ask_all_the_time(net, over, kills, failures, served):
    while not over.is_set():
        n_kills = len(kills)
        try:
            with net.inside("a"):
                sock = socket.create_connection((FRONT, FRONT_PORT), WAIT_S)
            with sock:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: sock.recv(4096), b""))
            who = answer.decode()[-2:].strip()
            served[who] += 1
        except (OSError, KeyError) as error:
            # Odd: a server is being killed. Otherwise none died since the request began.
            if len(kills) == n_kills and n_kills % 2 == 0:
                failures.append((n_kills, repr(error)))


# --- Changes --------------------------------------------------------------------------------------


@each_engine
def test_listeners_and_backends_change_under_load(net, engine):
    """Addresses come and go at the listener, which is renamed; the backend is another; none is lost."""
    bench = SpliceBench(net)
    with bench.start(engine, kind=Sluiced) as subject:
        before = Footprint(subject.pid)
        with net.inside("b"):
            listener = socket.create_server((SERVER, SERVER_PORT + 1))
        with net.inside("a"):
            old = socket.create_connection((FRONT, FRONT_PORT + 1), WAIT_S)
        server = listener.accept()[0]
        versions = [
            subject.config,
            subject.config.replace(f"bind = {THROUGH}", f"bind = {THROUGH}\nbind = {FRONT}:9300"),
            subject.config.replace(f"bind = {THROUGH}", f"bind = {THROUGH}\nbind = {FRONT}:9301")
            .replace("default = app", "default = app2").replace("[backend app]", "[backend app2]"),
            subject.config.replace("[listener web]", "[listener renamed]")
            .replace("server = s", "server = renamed"),
        ]
        load = short(bench, 2 * CONNECTIONS)
        turns = 0
        while load.poll() is None:
            turns += 1
            subject.daemon.reload(versions[turns % len(versions)])
            for one, other in ((old, server), (server, old)):
                one.sendall(b"still here")
                assert other.recv(64) == b"still here"
        assert_all(bench.torture_end(load), 2 * CONNECTIONS)
        assert turns >= len(versions), "it was over too soon"
        assert subject.daemon.metric("sluice_config_reload_failures_total") == 0
        for sock in (old, server, listener):
            sock.close()
        subject.reload()
        settled(subject, before)
