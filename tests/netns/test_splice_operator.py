# SPDX-License-Identifier: GPL-2.0-or-later
"""
What an operator is told of the splice plane: the flow log, live flows, and that every metric moves
when it must and says what happened.
"""
import contextlib
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from foreign import owned, socket_of
from front import (CLIENT, FRONT, SERVER, backend, cgroup, connect, ends, get, is_turned_away, origins,
                   rejected, wait_ended, who, wire)
from hold import WALL, held
from lib import run, wait_for
from origin import Origin

RST = struct.pack("ii", 1, 0)
LISTENER = "[listener web]\nbind = 10.0.0.2:80\ndefault = app\n"


def alone(cgroup):
    """Starts a program as the only one of a cgroup."""
    return "sh", "-c", f"echo $$ > {cgroup}/cgroup.procs && exec \"$@\"", "sh"


def flow_lines(daemon):
    """The flow log, each line as a dictionary."""
    lines = [line for line in daemon.log().splitlines() if line.startswith("flow: listener=")]
    return [dict(re.findall(r'(\w+)="?((?<==")[^"]*|[^ "]+)', line)) for line in lines]


# --- The flow log ---------------------------------------------------------------------------------


def test_a_line_has_what_tcp_did_after_close(wire, cgroup):
    """sock_ops' last record of each socket is in the line, the bytes lost after close(2) included."""
    config = "[daemon]\nflow_log = 1\n" + LISTENER + backend("app", "one", keys="health_check = off\n")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config, prefix=alone(cgroup))
        assert daemon.metric("sluice_splice_sockops_on") == 1
        with connect(wire) as sock:
            assert get(sock) == "one"
            flow, = daemon.ctl("show", "flows")["flows"]
            assert flow["client_by_sock_ops"] and flow["server_by_sock_ops"]
            assert flow["client_srtt_us"] > 0 and flow["server_srtt_us"] > 0
            # The client hears nothing any more: what is sent to it is sent again and again.
            wire.run("c", "nft", "add table inet deaf; "
                     "add chain inet deaf in { type filter hook input priority 0; policy drop; }")
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            wait_for(lambda: daemon.ctl("show", "flows")["flows"][0]["client_retransmits"] >= 2,
                     "retransmits are seen live, without a round trip")
            wire.run("c", "nft", "delete", "table", "inet", "deaf")
            assert sock.recv(100)
        wait_ended(daemon)
        wait_for(lambda: flow_lines(daemon), "there is a line")
        line, = flow_lines(daemon)
        assert line["tcp"] == "sock_ops" and line["end"] == "closed"
        n_client, n_server = map(int, line["retransmits"].split(","))
        assert n_client >= 2 and n_server == 0
        wait_for(lambda: daemon.metric("sluice_splice_sockets_closed_total") == 2, "both were told")
        assert daemon.metric("sluice_splice_retransmits_total") == n_client
        assert daemon.metric("sluice_splice_sock_ops_records_lost_total") == 0


def test_how_connections_end_and_one_in_so_many(wire):
    config = "[daemon]\nflow_log = 3\nacceptors = 1\n" + LISTENER + "idle_timeout = 1s\n" + \
        backend("app", "one", keys="health_check = off\n")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        for _ in range(9):
            assert who(wire) == "one"
        wait_ended(daemon)
        wait_for(lambda: len(flow_lines(daemon)) == 3, "one in three has a line")
        line = flow_lines(daemon)[0]
        assert line["tcp"] == "tcp_info"
        assert (line["listener"], line["backend"], line["server"], line["upstream"]) == \
            ("web", "app", "one", f"{SERVER}:8000")
        assert line["bytes"].split(",")[0] == str(len("GET / HTTP/1.1\r\nHost: x.example\r\n\r\n"))
        assert int(line["srtt_us"].split(",")[0]) > 0
        assert daemon.metric("sluice_splice_flow_log_records_total") == 3

        daemon.reload(config.replace("flow_log = 3", "flow_log = 1"))
        sock = connect(wire)
        assert get(sock) == "one"
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
        sock.close()
        wait_ended(daemon)
        assert flow_lines(daemon)[-1]["end"] == "reset by client"
        with connect(wire) as sock:
            assert ends(sock)
        wait_ended(daemon)
        assert flow_lines(daemon)[-1]["end"] == "idle"
        daemon.reload(config.replace("flow_log = 3", "flow_log = off"))
        assert who(wire) == "one"
        wait_ended(daemon)
        assert daemon.metric("sluice_splice_flow_log_records_total") == 5
        assert len(flow_lines(daemon)) == 5


@pytest.mark.parametrize("engine", ("copy", "splice", "sockmap"))
@pytest.mark.parametrize("ns, side", (("c", "client"), ("s", "server")))
def test_silence_is_not_called_a_reset(wire, engine, ns, side):
    """The peer is gone without a word: keepalive ends the connection, and nobody has sent a reset."""
    config = "[daemon]\nflow_log = 1\n" + LISTENER + \
        f"engine = {engine}\nkeepalive = 1s\nuser_timeout = 1s\n" + \
        backend("app", "one", keys="health_check = off\n")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        with connect(wire, timeout_s=20) as sock:
            assert get(sock) == "one"
            wire.run(ns, "nft", "add table inet deaf; "
                     "add chain inet deaf in { type filter hook input priority 0; policy drop; }")
            wait_for(lambda: flow_lines(daemon), "it has ended", 20)
        assert flow_lines(daemon)[-1]["end"] == f"no answer from {side}"


def test_a_listener_that_is_gone_keeps_its_name(wire):
    config = "[daemon]\nflow_log = 1\n" + LISTENER + backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        with connect(wire) as sock:
            assert get(sock) == "one"
            daemon.reload("[daemon]\nflow_log = 1\n")
            flow, = daemon.ctl("show", "flows")["flows"]
            assert flow["listener"] == "web"
        wait_for(lambda: flow_lines(daemon), "there is a line")
        assert flow_lines(daemon)[0]["listener"] == "web"


def test_the_last_connections_are_logged_at_the_end(wire):
    config = "[daemon]\nflow_log = 1\ndrain_timeout = 100ms\n" + LISTENER + backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                assert get(stack.enter_context(connect(wire))) == "one"
            daemon.stop()
        lines = flow_lines(daemon)
        assert len(lines) == 20 and {line["end"] for line in lines} == {"drained"}


def test_a_stop_is_told_while_it_waits(wire):
    config = "[daemon]\ndrain_timeout = 20s\n" + LISTENER + backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        with connect(wire) as sock:
            assert get(sock) == "one"
            daemon.signal(signal.SIGTERM)
            wait_for(lambda: daemon.control("status")["status"]["draining"], "it drains")
            text = daemon.control("status")["status"]["text"]
            assert text.startswith("stopping, 1 connection left, 1 listener closed")
            assert "1 connection has 20000 ms to end" in daemon.log()
        assert daemon.wait() == 0


def test_room_for_connections_is_told_once_and_why(wire):
    def listener(n):
        return f"{LISTENER}max_connections = {n}\n" + backend("app", "one", keys="health_check = off\n")

    def room_lines():
        return [line.partition(" connections, ")[2] for line in daemon.log().splitlines()
                if line.startswith("splice: listeners may have ")]

    daemon = wire.daemon("d", listener(100))
    daemon.reload(listener(90))
    assert not room_lines()
    daemon.reload(listener(200))
    daemon.reload(listener(200) + "connect_timeout = 4s\n")
    assert len(room_lines()) == 1 and room_lines()[0].endswith(": a restart makes more")
    daemon.stop()

    # What the open files do not allow no restart brings.
    daemon = wire.daemon("d", listener(3000000))
    assert "RLIMIT_NOFILE" in daemon.log()
    daemon.reload(listener(3000000) + "connect_timeout = 4s\n")
    assert not room_lines()
    daemon.reload(listener(4000000))
    assert [line.partition(": ")[2] for line in room_lines()] == \
        ["a higher LimitNOFILE= and a restart make more"]


def test_a_second_signal_resets_and_tells_it(wire):
    config = "[daemon]\nflow_log = 1\ndrain_timeout = 60s\n" + LISTENER + backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        with connect(wire) as sock:
            assert get(sock) == "one"
            daemon.signal(signal.SIGTERM)
            wait_for(lambda: "1 connection has 60000 ms to end" in daemon.log(), "it drains")
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() == 0
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert "1 connection was reset" in daemon.log()
        line, = flow_lines(daemon)
        assert line["end"] == "drained"


# --- An acceptor that hangs -----------------------------------------------------------------------


def acceptor_tids(daemon):
    tids = []
    for task in Path(f"/proc/{daemon.pid}/task").iterdir():
        if (task / "comm").read_text(encoding="ascii").startswith("acceptor-"):
            tids.append(int(task.name))
    return sorted(tids)


def stat_words(daemon):
    """From its state on; the last one is the exit status, as of waitpid(2)."""
    return Path(f"/proc/{daemon.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()


def test_a_listener_that_a_hung_acceptor_does_not_take(wire):
    """Refused while it hangs; complete with the next reload, on every acceptor; an end without a crash."""
    config = "[daemon]\nacceptors = 2\ndrain_timeout = 100ms\n" + LISTENER + \
        backend("app", "one", keys="health_check = off\n")
    more = config.replace("default", "bind = 10.0.0.2:81\ndefault")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        tids = acceptor_tids(daemon)
        assert len(tids) == 2
        with held(tids[1]):
            daemon.reload(more)
            assert daemon.metric("sluice_config_last_reload_successful") == 0
            assert "cannot serve 10.0.0.2:81: Connection timed out" in daemon.log()
        daemon.reload(more)
        assert daemon.metric("sluice_config_last_reload_successful") == 1
        assert len(wire.run("d", "ss", "-Hltn", "sport = :81").stdout.splitlines()) == 2
        for _ in range(20):
            assert who(wire, 81) == who(wire, 80) == "one"
        # The process ends all the same, and not by SIGSEGV: seen in its leader, since the thread that is
        # held keeps the rest of it until it is let go.
        with contextlib.suppress(ProcessLookupError), held(tids[0]):
            daemon.signal(signal.SIGTERM)
            wait_for(lambda: stat_words(daemon)[0] == "Z", "it has ended", 15)
            assert int(stat_words(daemon)[-1]) & 0x7f == 0, "killed by a signal"
        os.waitpid(tids[0], WALL)
        assert daemon.wait() in (0, 1)


# --- The self-test --------------------------------------------------------------------------------


def test_the_self_test_is_quick(wire):
    """Of five starts the best: others run on this machine, too."""
    config = LISTENER + backend("app", "one", keys="health_check = off\n")
    daemon, took_s = wire.daemon("d", config), []
    for i in range(5):
        if i > 0:
            daemon.stop()
            daemon.start()
        assert daemon.metric("sluice_splice_selftest_passed") == 1
        took_s.append(daemon.metric("sluice_splice_selftest_duration_seconds"))
    assert 0 < min(took_s) < 0.1, took_s


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


# --- Live flows -----------------------------------------------------------------------------------


def test_thousands_of_flows_are_shown_bounded(wire):
    n_flows = 3000
    config = "[daemon]\nacceptors = 2\n" + LISTENER + backend("app", "one", keys="health_check = off\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with origins(wire, "one", raw=True), contextlib.ExitStack() as stack:
            daemon = wire.daemon("d", config)
            for _ in range(n_flows):
                stack.enter_context(connect(wire))
            wait_for(lambda: daemon.metric("sluice_listener_connections_active") == n_flows, "all are there")
            answer = daemon.ctl("show", "flows")
            assert len(answer["flows"]) == 1000 and answer["more"]
            answer = daemon.ctl("show", "flows", "--max", "100000")
            assert len(answer["flows"]) == n_flows and not answer["more"]
            assert len({flow["client"] for flow in answer["flows"]}) == n_flows
            assert len(json.dumps(answer)) < n_flows * 700
            assert len(daemon.ctl("show", "flows", "--max", "7")["flows"]) == 7
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- Backends -------------------------------------------------------------------------------------


def shown_servers(daemon):
    return {server["name"]: server for server in daemon.ctl("show", "backends")["backends"][0]["servers"]}


def test_a_reload_keeps_what_is_known_of_servers(wire):
    config = LISTENER + backend("app", "one", "two", "three", keys="health_fall = 2\nhealth_rise = 100\n")
    with origins(wire, "one", "two", "three") as (_, two, _):
        daemon = wire.daemon("d", config)
        wait_for(lambda: shown_servers(daemon)["two"]["checks"] > 0, "two was checked")
        two.stop()
        wait_for(lambda: shown_servers(daemon)["two"]["state"] == "down", "two is down")
        daemon.ctl("drain", "app/three")
        with two:
            before = shown_servers(daemon)
            daemon.reload(config.replace("health_rise = 100", "health_rise = 99\nretries = 1"))
            after = shown_servers(daemon)
            # It answers again; but 99 checks in a row are what brings it back.
            assert {name: server["state"] for name, server in after.items()} == \
                {"one": "up", "two": "down", "three": "draining"}
            assert after["two"]["check_failures"] >= before["two"]["check_failures"] >= 2
            assert {who(wire) for _ in range(6)} == {"one"}
            # At another address it is another server, of which nothing is known.
            daemon.reload(config.replace(f"two {SERVER}:8001", f"two {SERVER}:8000"))
            assert shown_servers(daemon)["two"]["state"] == "up"
            assert shown_servers(daemon)["three"]["state"] == "draining"


def test_failed_connects_take_a_server_out_until_a_check_succeeds(wire):
    config = LISTENER + backend("app", "one", keys="health_fall = 100\nretries = 0\n")
    with origins(wire, "one") as (one,):
        daemon = wire.daemon("d", config)
        # The first check alone decides what a server is at first.
        wait_for(lambda: shown_servers(daemon)["one"]["checks"] > 0, "it was checked")
        one.stop()
        for _ in range(3):
            assert is_turned_away(wire, 80)
        assert shown_servers(daemon)["one"]["state"] == "failing"
        assert daemon.metric("sluice_backend_up", backend="app") == 0
        assert daemon.metric("sluice_backend_connection_failures_total") == 3
        assert is_turned_away(wire, 80)
        assert daemon.metric("sluice_backend_connections_total") == 4, "there is no other to try"
        with one:
            # 10 s is what it would take without.
            wait_for(lambda: shown_servers(daemon)["one"]["state"] == "up", "a check found it", 5)
            assert who(wire) == "one"


def test_weights_and_maglev(wire):
    config = f"[daemon]\nacceptors = 1\n{LISTENER}[backend app]\nhealth_check = off\nbalance = !!\n" \
        f"server = one {SERVER}:8000 weight=3\nserver = two {SERVER}:8001\n"
    with origins(wire, "one", "two"):
        daemon = wire.daemon("d", config.replace("!!", "round_robin"))
        names = [who(wire) for _ in range(8)]
        assert (names.count("one"), names.count("two")) == (6, 2)
        daemon.reload(config.replace("!!", "maglev"))
        assert daemon.ctl("show", "backends")["backends"][0]["balance"] == "maglev"
        first = who(wire)
        assert {who(wire) for _ in range(10)} == {first}, "a client meets the same server again"
        daemon.ctl("drain", f"app/{first}")
        assert {who(wire) for _ in range(3)} == {"one", "two"} - {first}
        daemon.ctl("undrain", f"app/{first}")
        assert who(wire) == first


# --- Metrics --------------------------------------------------------------------------------------

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


def test_lines_that_nobody_could_write_are_counted(wire):
    config = "[daemon]\nacceptors = 1\nflow_log = 1\n" + LISTENER + \
        backend("app", "one", keys="health_check = off\n")
    n_conns = 400
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        with held(daemon.pid):
            for _ in range(n_conns):
                assert who(wire) == "one"
        wait_ended(daemon)
        assert daemon.metric("sluice_splice_flow_log_records_total") == n_conns
        n_lost = daemon.metric("sluice_splice_flow_log_records_lost_total")
        assert 0 < n_lost < n_conns
        wait_for(lambda: len(flow_lines(daemon)) == n_conns - n_lost, "the others have their lines")


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
