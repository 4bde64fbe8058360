# SPDX-License-Identifier: GPL-2.0-or-later
"""
Who speaks when, and in what pieces: the moments between accepting, sniffing, connecting and
entering the kernel, one by one, with blocking sockets whose every wait has a deadline.
"""
import contextlib
import socket
import ssl
import struct

import pytest

from lib import wait_for
from splice_rig import (DIRECT, ENGINES, FEW_ENGINES, FRONT, FRONT_PORT, SERVER, SERVER_PORT, Footprint,
                        SpliceBench, Sluiced, settled)

WAIT_S = 5
RESET = struct.pack("ii", 1, 0)
PIECES = 300


def pattern(n, salt=0):
    """n bytes of which each depends on its place."""
    return bytes((i * 131 + (i >> 8) * 17 + salt) & 0xff for i in range(n))


class Pair:
    """A client's socket and the server's socket behind the subject."""

    def __init__(self, bench):
        with bench.net.inside("b"):
            self.listener = socket.create_server((SERVER, SERVER_PORT), backlog=64)
        self.listener.settimeout(WAIT_S)
        self.bench = bench

    def client(self):
        with self.bench.net.inside("a"):
            sock = socket.create_connection((FRONT, FRONT_PORT), WAIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def server(self):
        sock = self.listener.accept()[0]
        sock.settimeout(WAIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def both(self):
        client = self.client()
        return client, self.server()


def receive(sock, n):
    data = b""
    while len(data) < n:
        piece = sock.recv(n - len(data))
        assert piece, f"the end came after {len(data)} of {n} bytes"
        data += piece
    return data


def receive_all(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def expect_end(sock):
    assert sock.recv(1) == b""


@pytest.fixture(params=ENGINES)
def subject(request, net):
    """(subject, Pair); at the end nothing may be left."""
    bench = SpliceBench(net)
    with bench.start(request.param) as running:
        before = Footprint(running.pid)
        pair = Pair(bench)
        yield running, pair
        settled(running, before)
        pair.listener.close()


def test_all_and_fin_before_the_answer(subject):
    """The client has said everything, and FIN, before a server exists for it: CLOSE_WAIT."""
    _, pair = subject
    for size in (1, 64, 5000, 200000):
        request, answer = pattern(size), pattern(size + 3, 7)
        client = pair.client()
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        server = pair.server()
        assert receive_all(server) == request
        server.sendall(answer)
        server.close()
        assert receive_all(client) == answer
        client.close()


def test_the_server_speaks_first(subject):
    """Like SMTP: the client waits for the greeting."""
    _, pair = subject
    client, server = pair.both()
    for i in range(50):
        server.sendall(b"220 %d" % i)
        assert receive(client, len(b"220 %d" % i)) == b"220 %d" % i
        client.sendall(b"EHLO %d" % i)
        assert receive(server, len(b"EHLO %d" % i)) == b"EHLO %d" % i
    server.close()
    expect_end(client)
    client.close()


def test_the_server_closes_first(subject):
    """Its FIN goes on; what the client still says arrives."""
    _, pair = subject
    client, server = pair.both()
    client.sendall(b"hello")
    assert receive(server, 5) == b"hello"
    server.sendall(b"bye")
    server.shutdown(socket.SHUT_WR)
    assert receive_all(client) == b"bye"
    late = pattern(100000)
    client.sendall(late)
    client.shutdown(socket.SHUT_WR)
    assert receive_all(server) == late
    client.close()
    server.close()


def test_bytes_wait_at_insertion(subject):
    """The promotion finds a full queue, again and again, of both sides at once."""
    _, pair = subject
    for size in (100, 3000, 70000, 400000):
        client, server = pair.both()
        forth, back = pattern(size, 1), pattern(size, 2)
        client.sendall(forth[:size // 2])
        server.sendall(back[:size // 2])
        client.sendall(forth[size // 2:])
        server.sendall(back[size // 2:])
        assert receive(server, size) == forth
        assert receive(client, size) == back
        client.close()
        expect_end(server)
        server.close()


def test_one_byte_at_a_time(subject):
    _, pair = subject
    client, server = pair.both()
    forth = pattern(PIECES)
    for i in range(PIECES):
        client.sendall(forth[i:i + 1])
    assert receive(server, PIECES) == forth
    for i in range(PIECES):
        server.sendall(forth[i:i + 1])
    assert receive(client, PIECES) == forth
    client.close()
    expect_end(server)
    server.close()


def test_keep_alive(subject):
    """Many requests and answers of changing size on one connection."""
    running, pair = subject
    client, server = pair.both()
    for i in range(400):
        request, answer = pattern(1 + i * 37 % 4000, i), pattern(1 + i * 113 % 9000, ~i)
        client.sendall(request)
        assert receive(server, len(request)) == request
        server.sendall(answer)
        assert receive(client, len(answer)) == answer
    assert running.conns() == 1
    client.close()
    expect_end(server)
    server.close()


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("size", [0, 10, 20000])
def test_a_reset_is_a_reset(subject, who, size):
    """And what came before it may arrive, whole or in part, never with a clean end."""
    _, pair = subject
    client, server = pair.both()
    source, sink = (client, server) if who == "client" else (server, client)
    # Both ways once, so that the flow is established whatever the engine.
    client.sendall(b"a")
    receive(server, 1)
    server.sendall(b"b")
    receive(client, 1)
    source.sendall(pattern(size))
    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    source.close()
    with pytest.raises(ConnectionResetError):
        receive_all(sink)
    sink.close()


def test_server_resets_after_the_client_has_half_closed(subject):
    """The 1 in 93 of the laboratory's prototype (splice-lab.md)."""
    _, pair = subject
    for size in (0, 1, 5000, 60000):
        client, server = pair.both()
        client.sendall(pattern(100))
        client.shutdown(socket.SHUT_WR)
        assert receive_all(server) == pattern(100)
        server.sendall(pattern(size))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        server.close()
        with pytest.raises(ConnectionResetError):
            receive_all(client)
        client.close()


def client_hello(name):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_hello_in_one_byte_segments(net, engine):
    """What was sniffed is forwarded, verbatim and once, and what follows goes by the engine."""
    bench = SpliceBench(net)
    with bench.start(engine, kind=Sluiced, server="10.7.2.2:1",
                     listener=f"sniff = tls\nroute = www.example.org -> named\n",
                     backend=f"[backend named]\nserver = s {DIRECT}\nhealth_check = off\n") as running:
        before = Footprint(running.pid)
        pair = Pair(bench)
        hello = client_hello("www.example.org")
        client = pair.client()
        for i in range(len(hello)):
            client.sendall(hello[i:i + 1])
        server = pair.server()
        assert receive(server, len(hello)) == hello
        for i in range(100):
            client.sendall(pattern(500, i))
            assert receive(server, 500) == pattern(500, i)
            server.sendall(pattern(700, i))
            assert receive(client, 700) == pattern(700, i)
        client.close()
        expect_end(server)
        server.close()
        pair.listener.close()
        settled(running, before)


FILL_BYTES = 32 << 20


def fill(sock):
    """Sends until no more is taken: every buffer on the way is full. How much it was."""
    n, piece = 0, pattern(1 << 16)
    sock.settimeout(0.3)
    while n < FILL_BYTES:
        try:
            n += sock.send(piece)
        except socket.timeout:
            return n
    raise AssertionError(f"{n} bytes were taken, and nobody reads")


@pytest.mark.parametrize("engine", FEW_ENGINES)
def test_what_counts_as_a_truncation(net, engine):
    """
    Only what somebody still waited for: an alarm hangs on this number (operations.md §2.4), and readers
    and senders give up every day. Where we end a connection, it is our doing.
    """
    bench = SpliceBench(net)
    with bench.start(engine, kind=Sluiced, listener="idle_timeout = 2s\n") as running:
        before = Footprint(running.pid)
        pair = Pair(bench)

        def truncations():
            return running.daemon.metric("sluice_splice_truncations_total")
        for who in ("reader", "sender"):
            client, server = pair.both()
            client.sendall(b"a")
            receive(server, 1)
            fill(server)
            first, second = (client, server) if who == "reader" else (server, client)
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            first.close()
            with pytest.raises(ConnectionResetError):
                receive_all(second)
                second.sendall(b"x")
            second.close()
            settled(running, before)
            assert truncations() == 0, who
        client, server = pair.both()
        client.sendall(b"a")
        receive(server, 1)
        # The plane got its last byte before our own socket did: the end may come while that fills.
        with contextlib.suppress(ConnectionResetError):
            fill(server)
        wait_for(lambda: truncations() == 1, "it is idle, and ended")
        with pytest.raises(ConnectionResetError):
            receive_all(client)
        client.close()
        server.close()
        settled(running, before)
        pair.listener.close()
