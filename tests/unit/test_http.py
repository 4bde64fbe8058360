#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The metrics endpoint from outside: over unix, IPv4 and IPv6 loopback; broken, slow and many clients."""
import http.client
import os
import re
import socket
import sys
import time
import unittest

sys.dont_write_bytecode = True
from fake_daemon import DEADLINE, Daemon, DaemonCase, free_port, read_all, wait_for  # noqa: E402

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class HttpCase(DaemonCase):
    def connect(self, path=None):
        return super().connect(path or os.path.join(self.dir, "metrics.sock"))

    def http(self):
        connection = http.client.HTTPConnection("localhost", timeout=DEADLINE)
        connection.sock = self.connect()
        self.addCleanup(connection.close)
        return connection

    def request(self, method, path, body=None, headers=None, connection=None):
        connection = connection or self.http()
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response, response.read().decode()


class Pages(HttpCase):
    def test_metrics_are_prometheus_text(self):
        response, text = self.request("GET", "/metrics")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.getheader("Content-Type"), METRICS_TYPE)
        self.assertIn("\nsluice_ready 1\n", text)
        self.assertTrue(text.endswith("\n"))
        seconds = float(re.search(r"^sluice_scrape_duration_seconds (\S+)$", text, re.M).group(1))
        self.assertTrue(0 < seconds < 1, seconds)

    def test_health_and_readiness(self):
        self.assertEqual(self.request("GET", "/healthz")[0].status, 200)
        response, text = self.request("GET", "/readyz")
        self.assertEqual((response.status, text), (200, "2 ports forwarding\n"))
        self.flag("not-ready")
        response, text = self.request("GET", "/readyz")
        self.assertEqual((response.status, text), (503, "port wan: no carrier\n"))
        self.assertEqual(self.request("GET", "/healthz")[0].status, 200)
        self.assertIn("\nsluice_ready 0\n", self.request("GET", "/metrics")[1])

    def test_the_root_names_the_pages_and_others_are_404(self):
        response, text = self.request("GET", "/")
        self.assertEqual(response.status, 200)
        for path in re.findall(r"^(/\S+)", text, re.M):
            self.assertEqual(self.request("GET", path)[0].status, 200, path)
        for path in ("/metric", "/metrics/", "/%00", "/../metrics", "//metrics"):
            self.assertEqual(self.request("GET", path)[0].status, 404, path)
        self.assertEqual(self.request("GET", "/metrics?name[]=x")[0].status, 200)

    def test_head_is_get_without_the_text(self):
        response, text = self.request("HEAD", "/metrics")
        self.assertEqual((response.status, text), (200, ""))
        self.assertEqual(response.getheader("Content-Type"), METRICS_TYPE)
        self.assertGreater(int(response.getheader("Content-Length")), 10000)

    def test_other_methods_are_refused(self):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"):
            client = self.connect()
            client.sendall(b"%s /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789" % method.encode())
            head = client.recv(4096).decode()
            self.assertRegex(head, "^HTTP/1.1 405 ", method)
            self.assertIn("\r\nAllow: GET, HEAD\r\n", head)

    def test_a_connection_is_kept(self):
        connection = self.http()
        for _ in range(5):
            response, _ = self.request("GET", "/metrics", connection=connection)
            self.assertEqual(response.status, 200)
        # … with a body that nobody wants, too.
        self.assertEqual(self.request("GET", "/healthz", body=b"x" * 100, connection=connection)[0].status, 200)
        self.assertEqual(self.request("GET", "/healthz", connection=connection)[0].status, 200)

    def test_a_report_that_fails_is_503(self):
        self.flag("no-report")
        self.assertEqual(self.request("GET", "/metrics")[0].status, 503)
        self.assertEqual(self.request("GET", "/readyz")[0].status, 503)
        self.assertEqual(self.request("GET", "/healthz")[0].status, 200)

    def test_a_request_too_long_is_refused(self):
        self.assertEqual(self.request("GET", "/metrics", headers={"X": "x" * 3500})[0].status, 200)
        start = time.monotonic()
        for line in (b"GET /metrics HTTP/1.0\r\nX: " + b"x" * 5000, b"GET /" + b"x" * 6000 + b" HTTP/1.0",
                     b"GET /metrics HTTP/1.0\r\n" + b"X: y\r\n" * 2000, b"GET /" + b"x" * 200000):
            client = self.connect()
            try:
                client.sendall(line + b"\r\n\r\n")
            except BrokenPipeError:
                pass
            # Refused, or closed if the request has left no room for an answer.
            self.assertIn(read_all(client)[:12], (b"HTTP/1.0 431", b"HTTP/1.1 431", b"HTTP/1.0 414", b"HTTP/1.1 414", b""))
        self.assertLess(time.monotonic() - start, 2)
        self.assertEqual(self.request("GET", "/healthz")[0].status, 200)

    def test_nonsense_is_refused(self):
        # All at once: what could still become a request is given up after 5 seconds.
        clients = []
        for nonsense in (b"\0" * 100, b"GET\r\n\r\n", b"\r\n\r\n\r\n", b"GET /metrics FTP/9\r\n\r\n", os.urandom(2000)):
            clients.append(self.connect())
            clients[-1].sendall(nonsense)
            clients[-1].shutdown(socket.SHUT_WR)
        self.assertEqual(self.request("GET", "/healthz")[0].status, 200)
        for client in clients:
            self.assertNotIn(b" 200 ", read_all(client)[:20])

    def test_a_long_request_is_answered_at_once(self):
        start = time.monotonic()
        self.assertEqual(self.request("GET", "/healthz", headers={"X": "x" * 3500})[0].status, 200)
        self.assertLess(time.monotonic() - start, 0.2)


class Clients(HttpCase):
    def test_half_requests_and_slow_readers_end_and_harm_nobody(self):
        self.flag("big")
        size = len(self.request("GET", "/metrics")[1])
        self.assertGreater(size, 1 << 20)
        before = self.daemon.n_fds()
        start = time.monotonic()
        half = self.connect()
        half.sendall(b"GET /metrics HTTP/1.1\r\nHo")
        silent = self.connect()
        slow = self.connect()
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: self.daemon.n_fds() == before + 3, "three connections")
        cpu = self.daemon.cpu_seconds()
        self.assertEqual(self.request("GET", "/healthz")[0].status, 200)
        # Only the server's own timer can end these: nothing more is sent.
        wait_for(lambda: self.daemon.n_fds() <= before, "end of the connections", 12)
        self.assertGreater(time.monotonic() - start, 4)
        self.assertLess(self.daemon.cpu_seconds() - cpu, 1)
        self.assertNotIn(b" 200 ", read_all(half)[:20])
        self.assertNotIn(b" 200 ", read_all(silent)[:20])
        self.assertLess(len(read_all(slow)), size)

    def test_a_reader_that_takes_its_time_gets_everything(self):
        self.flag("big")
        client = self.connect()
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        data = b""
        while True:
            more = client.recv(20000)
            if not more:
                break
            data += more
        self.assertIn(b'interface="eth1",queue="255"', data)
        self.assertTrue(data.endswith(b"\n"))

    def test_more_than_64_connections_wait_their_turn(self):
        before = self.daemon.n_fds()
        idle = [self.connect() for _ in range(64)]
        wait_for(lambda: self.daemon.n_fds() == before + 64, "64 connections")
        waiting = self.connect()
        waiting.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        waiting.settimeout(0.3)
        with self.assertRaises(socket.timeout):
            waiting.recv(1)
        # It is served when one leaves, not when the others run out of their 5 seconds.
        idle[0].close()
        waiting.settimeout(2)
        self.assertIn(b" 200 ", read_all(waiting))

    def test_many_scrapes_leave_no_descriptor(self):
        self.request("GET", "/metrics")
        before = self.daemon.n_fds()
        for _ in range(100):
            client = self.connect()
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            client.close()
        wait_for(lambda: self.daemon.n_fds() <= before, "descriptors closed")
        self.assertEqual(self.request("GET", "/metrics")[0].status, 200)


class Loopback(unittest.TestCase):
    def scrape(self, family, host, text):
        import tempfile
        with tempfile.TemporaryDirectory() as directory:
            port = free_port(family, host)
            daemon = Daemon(directory + "/control", "%s:%d" % (text, port), directory)
            self.addCleanup(daemon.stop)
            self.assertEqual(daemon.first, "ready")
            for _ in range(2):
                connection = http.client.HTTPConnection(host, port, timeout=DEADLINE)
                connection.request("GET", "/metrics")
                response = connection.getresponse()
                self.assertEqual(response.status, 200)
                self.assertIn(b"sluice_ready 1", response.read())
                connection.close()
            second = Daemon(directory + "/control2", "%s:%d" % (text, port), directory)
            self.assertEqual(second.first, "failed: EADDRINUSE")
            second.stop()
            # The port is free at once, whatever is left in TIME_WAIT.
            self.assertEqual(daemon.stop(), 0)
            third = Daemon(directory + "/control", "%s:%d" % (text, port), directory)
            self.addCleanup(third.stop)
            self.assertEqual(third.first, "ready")

    def test_over_ipv4(self):
        self.scrape(socket.AF_INET, "127.0.0.1", "127.0.0.1")

    def test_over_ipv6(self):
        self.scrape(socket.AF_INET6, "::1", "[::1]")

    def test_other_addresses_are_refused(self):
        import tempfile
        with tempfile.TemporaryDirectory() as directory:
            for text, error in (("0.0.0.0:9733", "EADDRNOTAVAIL"), ("[::]:9733", "EADDRNOTAVAIL"),
                                ("192.0.2.1:9733", "EADDRNOTAVAIL"), ("127.0.0.1", "EINVAL"), ("127.0.0.1:", "EINVAL"),
                                ("127.0.0.1:65536", "EINVAL"), ("::1:80", "EINVAL"), ("[::1]80", "EINVAL"),
                                ("localhost:80", "EINVAL"), ("127.0.0.1:+80", "EINVAL"), ("", "EINVAL")):
                daemon = Daemon(directory + "/control", text, directory)
                self.assertEqual(daemon.first, "failed: " + error, text)
                daemon.stop()


if __name__ == "__main__":
    unittest.main()
