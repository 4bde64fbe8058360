# SPDX-License-Identifier: GPL-2.0-or-later
"""
What an operator is told of the splice plane: the flow log, STATUS and the journal, live flows, servers.
Its metrics have a file of their own.
"""
import contextlib
import json
import os
import re
import resource
import signal
import socket
import struct
from pathlib import Path

import pytest

from front import (SERVER, backend, cgroup, connect, ends, get, is_turned_away, origins, wait_ended, who,
                   wire)
from hold import WALL, held
from lib import wait_for

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
