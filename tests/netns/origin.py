# SPDX-License-Identifier: GPL-2.0-or-later
"""
A server that says who it is: what stands behind sluiced in the splice tests.

    with Origin(net, "s", "one", ("10.0.1.2", 80)) as one:
        ...                         # GET → 200, "one\n"; keep-alive
        one.seen[-1].head           # the first bytes of the latest connection, as they came

With tls=(cert, key) it speaks TLS. With raw=True it echoes instead.
"""
import socket
import ssl
import threading
from pathlib import Path

from lib import run


PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"


class Seen:
    """A connection that the origin got."""

    def __init__(self, peer):
        self.peer = peer
        self.head = b""  # of the latest request; a PROXY header is before it
        self.ended = None  # "eof", or the error


class Origin:
    def __init__(self, net, ns, name, address, tls=None, raw=False):
        self.name, self.raw, self.seen, self.address = name, raw, [], address
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if tls:
            self._tls.load_cert_chain(*tls)
        self._net, self._ns = net, ns
        self._listener = self._thread = None

    def __enter__(self):
        family = socket.AF_UNIX if isinstance(self.address, str) else \
            socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        if family == socket.AF_UNIX:
            Path(self.address).unlink(missing_ok=True)
        with self._net.inside(self._ns):
            self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(self.address)
        self._listener.listen(256)
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        """Nobody listens any more; connections that are there go on."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._thread.join()
            self._listener.close()
            self._listener = None

    def _accept(self, listener):
        while True:
            try:
                conn, peer = listener.accept()
            except OSError:
                return
            seen = Seen(peer)
            threading.Thread(target=self._serve, args=(conn, seen), daemon=True).start()

    def _serve(self, conn, seen):
        try:
            with (self._tls.wrap_socket(conn, server_side=True) if self._tls else conn) as sock:
                self.seen.append(seen)
                (self._echo if self.raw else self._answer)(sock, seen)
            seen.ended = "eof"
        except OSError as error:
            seen.ended = error

    def _echo(self, sock, seen):
        while data := sock.recv(65536):
            seen.head = seen.head or data
            sock.sendall(data)

    def _answer(self, sock, seen):
        pending = header = b""
        while data := sock.recv(65536):
            pending += data
            if pending.startswith(PROXY_V2) and len(pending) >= 16:
                n_bytes = 16 + int.from_bytes(pending[14:16], "big")
                header, pending = pending[:n_bytes], pending[n_bytes:]
            while not PROXY_V2.startswith(pending[:12]) and b"\r\n\r\n" in pending:
                head, _, pending = pending.partition(b"\r\n\r\n")
                seen.head = header + head
                body = self.name.encode() + b"\n"
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def certificate(directory, name):
    """(certificate, key) of its own signature."""
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-subj", f"/CN={name}", "-days", "2", "-keyout", key, "-out", cert)
    return cert, key
