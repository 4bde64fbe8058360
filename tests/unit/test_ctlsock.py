#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket from outside: requests in every wrong form, slow and many clients, the socket file."""
import json
import os
import re
import socket
import stat
import sys
import time
import unittest

sys.dont_write_bytecode = True
from fake_daemon import DEADLINE, Daemon, DaemonCase, read_all, wait_for  # noqa: E402


class Requests(DaemonCase):
    def ask(self, request):
        client = self.connect()
        client.sendall(request)
        answer = read_all(client)
        self.assertEqual(answer.count(b"\n"), 1, answer[:200])
        self.assertTrue(answer.endswith(b"\n"))
        answer = json.loads(answer)
        self.assertEqual(answer["api"], 1)
        return answer

    def refused(self, request, code, pattern):
        answer = self.ask(request)
        self.assertFalse(answer["ok"])
        self.assertEqual(answer["code"], code)
        self.assertRegex(answer["error"], pattern)

    def test_every_verb_answers(self):
        for verb, key in (("ping", "version"), ("status", "status"), ("show interfaces", "interfaces"),
                          ("show queues", "queues"), ("show workers", "workers"), ("show plan", "text"),
                          ("show config", "config"), ("drops", "drops"), ("metrics", "text"), ("reload", "text"),
                          ("reload dry-run", "text"), ("attach wan", "port"), ("detach *", "port")):
            answer = self.ask(verb.encode() + b"\n")
            self.assertTrue(answer["ok"], verb)
            self.assertIn(key, answer, verb)

    def test_answers_tell_what_the_report_holds(self):
        status = self.ask(b"status\n")["status"]
        self.assertTrue(status["ready"])
        self.assertEqual([port["port"] for port in status["ports"]], ["wan", "lan"])
        self.assertEqual(status["ports"][0]["interface"], 'et"h\\0')
        queues = self.ask(b"show queues\n")["queues"]
        self.assertEqual(len(queues), 8)
        self.assertEqual(queues[5]["forwarded"], 1993)
        self.assertEqual(queues[5]["drops"]["mtu"], 11)
        self.assertEqual(queues[5]["xsk"]["rx_ring_full"], 52)
        workers = self.ask(b"show workers\n")["workers"]
        frames = workers[1]["frames"]
        self.assertEqual(frames["total"],
                         sum(frames[state] for state in ("free", "fill", "worker", "tx", "quarantine")))
        self.assertIn("sluice_ready 1\n", self.ask(b"metrics\n")["text"])
        self.assertEqual(self.ask(b"show config\n")["config"]["daemon"]["workers"], "auto")

    def test_blanks_do_not_matter(self):
        self.assertTrue(self.ask(b"  show \t queues  \n")["ok"])

    def test_what_follows_the_newline_is_not_read(self):
        self.assertEqual(self.ask(b"ping\ndetach *\n")["version"], self.ask(b"ping\n")["version"])
        self.assertNotIn("detach", self.daemon.logged())

    def test_unknown_verbs_are_refused_with_what_is_meant(self):
        self.refused(b"statsu\n", "usage", "did you mean 'status'")
        self.refused(b"xyzzy\n", "usage", "known: ping, status, show interfaces,.* detach PORT")
        self.refused(b"show queus\n", "usage", "did you mean 'queues'")
        self.refused(b"show\n", "usage", "known: show interfaces, ")

    def test_wrong_arguments_are_refused(self):
        self.refused(b"detach\n", "usage", r"usage: detach PORT\|\*")
        self.refused(b"detach a b\n", "usage", "usage: detach")
        self.refused(b"status now\n", "usage", "usage: status")
        self.refused(b"explain pakcet\n", "usage", "did you mean 'packet'")
        self.refused(b"explain packet wan\n", "usage", "usage: explain packet PORT HEX")
        for frame in (b"00" * 13, b"0" * 29, b"00" * 14 + b"zz", b"00" * 2000 + b"0"):
            self.refused(b"explain packet wan " + frame + b"\n", "usage", "14 octets")
        for bound in (b"0", b"", b"100001", b"-1", b"1x", b"99999999999999999999"):
            self.refused(b"show routes max=" + bound + b"\n", "usage", "100000")
        self.refused(b"show routes 10.0.0.0/8 192.0.2.0/24\n", "usage", "routes a prefix")
        self.refused(b"reload harder\n", "usage", "dry-run")
        self.refused(b"detach nowhere\n", "not_found", "'nowhere'")

    def test_what_is_no_request_is_refused(self):
        self.refused(b"\n", "usage", "empty")
        self.refused(b"   \n", "usage", "empty")
        self.refused(b"a b c d e f g h i\n", "usage", "more than 8 words")
        for bad in (b"\0", b"\x1b[31m", b"\x7f", b"\xc3\xa4", b"\r"):
            self.refused(b"detach " + bad + b"\n", "usage", "not printable ASCII")
        self.assertNotIn("\x1b", self.daemon.logged())

    def test_a_request_too_long_is_refused_at_4096_bytes(self):
        self.assertTrue(self.ask(b"ping" + b" " * 4091 + b"\n")["ok"])
        self.refused(b"ping" + b" " * 4092 + b"\n", "usage", "4096")
        self.refused(b"x" * 100000, "usage", "4096")

    def test_a_request_may_come_in_pieces(self):
        client = self.connect()
        for byte in b"show queues\n":
            client.send(bytes([byte]))
        self.assertTrue(json.loads(read_all(client))["ok"])

    def test_a_request_that_ends_without_newline_is_refused(self):
        client = self.connect()
        client.sendall(b"detach *")
        client.shutdown(socket.SHUT_WR)
        self.assertIn("no newline", json.loads(read_all(client))["error"])
        self.assertNotIn("detach", self.daemon.logged())

    def test_a_reload_says_why_it_was_refused(self):
        self.flag("reload-bad")
        self.refused(b"reload\n", "config", "(?s)conf:3: .*conf:9: ")
        os.unlink(os.path.join(self.dir, "reload-bad"))
        self.flag("reload-fails")
        self.refused(b"reload\n", "failed", "Input/output error")

    def test_changes_are_logged_with_the_peer_and_looks_are_not(self):
        self.ask(b"status\n")
        self.assertNotIn("uid=", self.daemon.logged())
        self.ask(b"detach wan\n")
        self.ask(b"detach nowhere\n")
        self.assertEqual(self.daemon.line(), "detach wan")
        peer = "uid=%d pid=%d" % (os.getuid(), os.getpid())
        self.assertRegex(self.daemon.logged(), re.escape(peer) + ": detach wan: done")
        self.assertRegex(self.daemon.logged(), re.escape(peer) + ": detach nowhere: refused")

    def test_requests_are_counted(self):
        self.ask(b"ping\n")
        self.ask(b"nonsense\n")
        page = self.ask(b"metrics\n")["text"]
        self.assertIn("sluice_control_requests_total 2\n", page)
        self.assertIn("sluice_control_request_failures_total 1\n", page)

    def test_a_report_that_fails_is_an_answer(self):
        self.flag("no-report")
        self.refused(b"status\n", "failed", "Input/output error")
        self.assertTrue(self.ask(b"ping\n")["ok"])


class Clients(DaemonCase):
    def ping(self):
        client = self.connect()
        client.sendall(b"ping\n")
        return json.loads(read_all(client))

    def test_twenty_clients_at_once_are_answered_or_turned_away(self):
        silent = [self.connect() for _ in range(16)]
        for _ in range(4):
            answer = json.loads(read_all(self.connect()))
            self.assertEqual((answer["ok"], answer["code"]), (False, "busy"))
        silent[7].sendall(b"ping\n")
        self.assertTrue(json.loads(read_all(silent[7]))["ok"])
        # Its slot is free again.
        self.assertTrue(self.ping()["ok"])

    def test_silent_and_slow_clients_end_after_five_seconds(self):
        before = self.daemon.n_fds()
        start = time.monotonic()
        silent = self.connect()
        partial = self.connect()
        partial.sendall(b"sta")
        slow = self.connect()
        slow.sendall(b"show plan\n")
        dripping = self.connect()
        # The answer is larger than the buffers, and others are served meanwhile.
        self.assertTrue(self.ping()["ok"])
        cpu = self.daemon.cpu_seconds()
        while time.monotonic() < start + 4:
            try:
                dripping.send(b"x")
            except BrokenPipeError:
                break
            time.sleep(0.2)
        self.assertEqual(self.daemon.n_fds(), before + 4)
        # Waiting for a slow reader costs no time.
        self.assertLess(self.daemon.cpu_seconds() - cpu, 0.5)
        wait_for(lambda: self.daemon.n_fds() == before, "end of the four clients", 3)
        self.assertGreater(time.monotonic() - start, 4.5)
        self.assertEqual(read_all(silent), b"")
        self.assertEqual(read_all(partial), b"")
        self.assertLess(len(read_all(slow)), 4 << 20)
        self.assertIn("did not read its answer", self.daemon.logged())
        self.assertIn("made no request", self.daemon.logged())

    def test_a_reader_that_takes_its_time_gets_everything(self):
        client = self.connect()
        client.sendall(b"show plan\n")
        data = b""
        while not data.endswith(b"\n"):
            data += client.recv(10000)
        self.assertEqual(len(json.loads(data)["text"]), 4 << 20)

    def test_clients_that_leave_at_any_moment_cost_nothing(self):
        before = self.daemon.n_fds()
        for request in (b"", b"sta", b"status\n", b"show plan\n", b"show plan\nmore"):
            client = self.connect()
            client.sendall(request)
            client.close()
        wait_for(lambda: self.daemon.n_fds() == before, "descriptors closed")
        self.assertTrue(self.ping()["ok"])


class SocketFile(DaemonCase):
    def test_the_mode_is_the_policy(self):
        mode = os.stat(self.control).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o660)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.dir, "metrics.sock")).st_mode), 0o660)

    def test_the_mode_does_not_depend_on_the_umask(self):
        old = os.umask(0o177)
        try:
            other = Daemon(self.control + "2", "unix:%s/metrics2" % self.dir, self.dir)
        finally:
            os.umask(old)
        self.addCleanup(other.stop)
        self.assertEqual(stat.S_IMODE(os.stat(self.control + "2").st_mode), 0o660)

    def test_a_living_socket_is_left_alone(self):
        other = Daemon(self.control, "unix:%s/other" % self.dir, self.dir)
        self.assertEqual(other.first, "failed: EADDRINUSE")
        self.assertEqual(other.stop(), 1)
        other = Daemon(self.control + "2", "unix:%s/metrics.sock" % self.dir, self.dir)
        self.assertEqual(other.first, "failed: EADDRINUSE")
        other.stop()
        client = self.connect()
        client.sendall(b"ping\n")
        self.assertTrue(json.loads(read_all(client))["ok"])

    def test_a_stale_socket_is_replaced(self):
        self.daemon.process.kill()
        self.daemon.process.wait(DEADLINE)
        self.assertTrue(os.path.exists(self.control))
        other = Daemon(self.control, "unix:%s/metrics.sock" % self.dir, self.dir)
        self.assertEqual(other.first, "ready")
        client = self.connect()
        client.sendall(b"ping\n")
        self.assertTrue(json.loads(read_all(client))["ok"])
        self.assertEqual(other.stop(), 0)
        self.assertFalse(os.path.exists(self.control))

    def test_what_is_no_socket_is_never_removed(self):
        path = os.path.join(self.dir, "precious")
        self.flag("precious")
        other = Daemon(path, "unix:%s/other" % self.dir, self.dir)
        self.assertEqual(other.first, "failed: EEXIST")
        other.stop()
        self.assertTrue(os.path.isfile(path))

    def test_a_successor_keeps_its_file_when_the_old_daemon_ends(self):
        os.unlink(self.control)
        os.unlink(os.path.join(self.dir, "metrics.sock"))
        other = Daemon(self.control, "unix:%s/metrics.sock" % self.dir, self.dir)
        self.addCleanup(other.stop)
        self.assertEqual(other.first, "ready")
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon = other
        client = self.connect()
        client.sendall(b"ping\n")
        self.assertTrue(json.loads(read_all(client))["ok"])

    def test_a_path_too_long_is_refused(self):
        other = Daemon(os.path.join(self.dir, "x" * 100), "unix:%s/other" % self.dir, self.dir)
        self.assertEqual(other.first, "failed: ENAMETOOLONG")
        other.stop()


if __name__ == "__main__":
    unittest.main()
