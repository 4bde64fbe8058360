# SPDX-License-Identifier: GPL-2.0-or-later
"""PROXY headers, in and out: who may send them, what is sent on, and who is counted by them."""
import contextlib
import socket
import struct

from front import CLIENT, FRONT, backend, connect, ends, get, is_turned_away, origins, rejected, wire
from lib import wait_for


def test_proxy_headers_in_and_out(wire):
    config = f"""[listener web]
bind = {FRONT}:80
proxy_protocol = any
proxy_from = {CLIENT}/32
default = v1
[listener web2]
bind = {FRONT}:81
proxy_protocol = v1
proxy_from = 192.0.2.0/24
default = v1
[listener web3]
bind = {FRONT}:82
default = v2
""" + backend("v1", "v1", keys="send_proxy = v1\nhealth_check = off\n") + \
        backend("v2", "v2", port=8001, keys="send_proxy = v2\nhealth_check = off\n")
    with origins(wire, "v1", "v2") as (v1, v2):
        daemon = wire.daemon("d", config)
        with connect(wire) as sock:
            sock.sendall(b"PROXY TCP4 203.0.113.7 203.0.113.8 4000 443\r\n")
            assert get(sock) == "v1"
        assert v1.seen[-1].head.startswith(b"PROXY TCP4 203.0.113.7 203.0.113.8 4000 443\r\nGET /")

        with connect(wire) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert ends(sock)
        wait_for(lambda: rejected(daemon, "proxy_header") == 1, "a missing header was counted")

        assert is_turned_away(wire, 81)
        wait_for(lambda: rejected(daemon, "acl") == 1, "a stranger was counted")

        with connect(wire, 82) as sock:
            port = sock.getsockname()[1]
            assert get(sock) == "v2"
        head = v2.seen[-1].head
        assert head.startswith(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11")
        assert head[16:28] == socket.inet_aton(CLIENT) + socket.inet_aton(FRONT) + \
            struct.pack("!HH", port, 82)


def test_a_source_behind_a_proxy_is_who_the_header_names(wire):
    config = f"""[listener web]
bind = {FRONT}:80
proxy_protocol = v1
proxy_from = {CLIENT}/32
max_connections_per_source = 1
default = app
""" + backend("app", "one")
    with origins(wire, "one"), contextlib.ExitStack() as stack:
        daemon = wire.daemon("d", config)
        for last in (7, 8):
            sock = stack.enter_context(connect(wire))
            sock.sendall(f"PROXY TCP4 203.0.113.{last} 203.0.113.1 4000 443\r\n".encode())
            assert get(sock) == "one"
        with connect(wire) as sock:
            sock.sendall(b"PROXY TCP4 203.0.113.8 203.0.113.1 4001 443\r\n")
            assert ends(sock)
        assert rejected(daemon, "source_limit") == 1
        # The proxy asks for itself.
        for _ in range(2):
            sock = stack.enter_context(connect(wire))
            sock.sendall(b"PROXY UNKNOWN\r\n")
            assert get(sock) == "one"
