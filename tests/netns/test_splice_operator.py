# SPDX-License-Identifier: GPL-2.0-or-later
"""
What an operator is told of the splice plane: the flow log, live flows, and that every metric moves
when it must and says what happened.
"""
import contextlib
import json
import re
import resource
import socket
import struct
import time

import pytest

from front import (CLIENT, FRONT, SERVER, backend, cgroup, connect, ends, get, is_turned_away, origins,
                   rejected, wait_ended, who, wire)
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
