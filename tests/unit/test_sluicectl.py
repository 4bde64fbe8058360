#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""sluicectl: exit statuses, what people see, JSON; against the real socket, and against a socket that misbehaves."""
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.dont_write_bytecode = True
from fake_daemon import DaemonCase  # noqa: E402

SLUICECTL = os.environ["SLUICECTL"]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def reasons(header):
    """The labels of the only list X(ID, label, …) in a header of the daemon."""
    with open(os.path.join(ROOT, "daemon", header), encoding="utf-8") as file:
        return re.findall(r"^\tX\([A-Z_0-9]+, (\w+), ", file.read(), re.MULTILINE)


DROP_REASONS = reasons("data/counters.h")
HANDBACK_REASONS = reasons("net/route.h")


def ctl(path, *args, **env):
    """(exit status, stdout, stderr)"""
    done = subprocess.run([SLUICECTL, "--socket", path, *args], capture_output=True, text=True, timeout=30, check=False,
                          env={**os.environ, **env})
    return done.returncode, done.stdout, done.stderr


class Answers(DaemonCase):
    def ctl(self, *args, **env):
        return ctl(self.control, *args, **env)

    def test_status_is_one_screen_and_its_exit_status_tells(self):
        status, out, err = self.ctl("status")
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, r"status: +ready: 2 ports forwarding")
        self.assertRegex(out, r'wan +et"h\\0 +forwarding +xconnect lan +copy +4/4')
        self.assertLess(out.count("\n"), 14)
        self.flag("not-ready")
        status, out, _ = self.ctl("status")
        self.assertEqual(status, 1)
        self.assertIn("wan: no carrier", out)
        self.assertEqual(self.ctl("status", "--json")[0], 1)

    def test_nothing_from_the_daemon_steers_the_terminal(self):
        self.flag("not-ready")
        self.assertNotIn("\x1b", self.ctl("status")[1])
        self.assertNotIn("\x1b", self.ctl("--json", "status")[1])

    def test_every_command_has_a_table_and_json(self):
        for words, key in ((["status"], "status"), (["show", "interfaces"], "interfaces"), (["show", "queues"], "queues"),
                           (["show", "workers"], "workers"), (["drops"], "drops"), (["metrics"], "text"),
                           (["reload"], "text"), (["reload", "--dry-run"], "text"), (["detach", "wan"], "port"),
                           (["attach", "*"], "port"), (["ping"], "version"), (["show", "config"], "config"),
                           (["plan"], "text"), (["show", "plan"], "text"), (["show", "listeners"], "listeners"),
                           (["show", "backends"], "backends"), (["show", "flows"], "flows"),
                           (["drain", "app/s1"], "server"), (["undrain", "app/s1"], "server")):
            status, out, err = self.ctl(*words)
            self.assertEqual((status, err), (0, ""), words)
            self.assertTrue(out.endswith("\n"), words)
            status, out, err = self.ctl(*words, "--json")
            self.assertEqual((status, err, out.count("\n")), (0, "", 1), words)
            answer = json.loads(out)
            self.assertEqual((answer["api"], answer["ok"]), (1, True))
            self.assertIn(key, answer)

    def test_status_names_the_policies_in_force(self):
        status, out, _ = self.ctl("status")
        self.assertEqual(status, 0)
        self.assertRegex(out, r"tables: +1,001 IPv4 and 1,002 IPv6 prefixes, 2019 neighbours\n")
        self.assertRegex(out, r"policy: +rule4: rule 500 \(ip rule\); to the kernel: lan\n")
        self.assertRegex(out, r"policy: +rp_filter: checked by the workers; on wan lan\n")
        policies = json.loads(self.ctl("--json", "status")[1])["status"]["policies"]
        self.assertEqual([(p["kind"], p["passes"], p["ports"]) for p in policies],
                         [("rp_filter", False, ["wan", "lan"]), ("rule4", True, ["lan"])])

    def test_listeners_backends_and_flows_are_shown(self):
        self.assertRegex(self.ctl("status")[1], r"splice: +2,001 of at most 2,002 connections, 2 acceptors, sockmap on")
        out = self.ctl("show", "listeners")[1]
        self.assertRegex(out, r"web +192\.0\.2\.1:443 unix:/x +tls +auto +2,201 +50,000 +2,202 +2,203 +22,145\n")
        self.assertIn("mail: rejected for source_limit: 2,311\n", out)
        out = self.ctl("show", "backends")[1]
        self.assertRegex(out, r"app +round_robin +s0 +10\.0\.0\.1:443 +up +1 +0 +2,440 ")
        self.assertRegex(out, r"app +round_robin +s1 +10\.0\.0\.2:443 +draining ")
        self.assertRegex(out, r"down +round_robin +s0 +10\.0\.0\.1:443 +down ")
        out = self.ctl("show", "flows", "--max", "2")[1].splitlines()
        self.assertEqual(len(out), 4)
        self.assertRegex(out[1], r"^web +192\.0\.2\.7:4000 +www\.example\.org +app/s1 +open +sockmap,copy +2\.0 KiB +7 B +"
                                 r"5 B +1\.2,56\.8ms +3,0 +1\.5s +0\.5s$")
        self.assertIn("there are more", out[3])
        self.assertEqual(self.ctl("drain", "app/s1")[1], "app/s1: draining\n")
        self.assertEqual(self.daemon.line(), "drain app/s1")
        self.assertEqual(self.ctl("undrain", "app/s1")[1], "app/s1: in service\n")
        status, _, err = self.ctl("drain", "app/s9")
        self.assertEqual((status, "no backend or server is called 'app/s9'" in err), (1, True))

    def test_tables_are_shown_and_bounded(self):
        out = self.ctl("show", "routes", "10.0.0.0/8", "--max", "3")[1].splitlines()
        self.assertEqual(len(out), 5)
        self.assertRegex(out[1], r"^10\.0\.0\.0/8 +unicast +254 +0 +via 10\.0\.0\.1 dev eth1 +resolved +yes$")
        self.assertIn("there are more", out[4])
        answer = json.loads(self.ctl("--json", "show", "routes")[1])
        self.assertEqual((len(answer["routes"]), answer["more"]), (1000, True))
        answer = json.loads(self.ctl("--json", "show", "routes", "--max", "1500")[1])
        self.assertEqual((len(answer["routes"]), answer["more"]), (1500, False))
        self.assertRegex(self.ctl("show", "neighbours")[1], r"10\.0\.0\.1 +eth1 +02:00:00:00:00:09 +reachable +yes")
        self.assertRegex(self.ctl("show", "fdb", "br")[1], r"br +02:00:00:00:00:09 +lan +no +7 s")
        for words, status, what in ((["show", "routes", "nonsense"], 2, "no address and no prefix"),
                                    (["show", "fdb", "other"], 1, "no bridge is called 'other'"),
                                    (["show", "routes", "--max", "0"], 2, "not a number"),
                                    (["show", "routes", "a", "b"], 2, "takes"), (["status", "--max", "3"], 2, "takes")):
            got, out, err = self.ctl(*words)
            self.assertEqual((got, out), (status, ""), words)
            self.assertIn(what, err)

    def explained(self, *words):
        status, out, err = self.ctl("--json", "explain", "packet", "wan", *words)
        self.assertEqual((status, err), (0, ""), words)
        return bytes.fromhex(json.loads(out)["explain"]["worker"]["out_frame"])

    def test_a_packet_is_built_and_explained(self):
        self.assertEqual(self.explained("00" * 14), bytes(14))
        frame = self.explained("src=10.1.0.1", "dst=10.2.0.2", "proto=tcp", "sport=258", "dport=772", "ttl=9", "len=100",
                               "dmac=02:aa:bb:cc:dd:ee")
        self.assertEqual((len(frame), frame[:6].hex(), frame[12:14].hex()), (114, "02aabbccddee", "0800"))
        self.assertEqual((frame[14], frame[16:18].hex(), frame[22], frame[23]), (0x45, "0064", 9, 6))
        self.assertEqual(frame[26:38].hex(), "0a0100010a02000201020304")
        words = sum(int.from_bytes(frame[i:i + 2], "big") for i in range(14, 34, 2))
        self.assertEqual((words & 0xffff) + (words >> 16), 0xffff, "the header's checksum")
        frame = self.explained("src=2001:db8::1", "dst=2001:db8::2", "dport=53", "smac=02:00:00:00:00:07")
        self.assertEqual((frame[:6], frame[6:12].hex(), frame[12:14].hex()), (bytes(6), "020000000007", "86dd"))
        self.assertEqual((frame[14] >> 4, frame[18:20].hex(), frame[20], frame[21]), (6, "0014", 17, 64))
        self.assertEqual(frame[56:58], (53).to_bytes(2, "big"))
        out = self.ctl("explain", "packet", "wan", "src=10.1.0.1", "dst=10.2.0.2")[1]
        self.assertRegex(out, r"program +redirect: redirect \(sent to the worker\)\nworker +forward\nleaves by +lan\n")

    def test_a_packet_that_cannot_be_is_refused(self):
        for words, status, what in ((["wan", "src=10.0.0.1"], 2, "dst="), (["wan", "00"], 2, "14 octets"),
                                    (["wan", "src=10.0.0.1", "dst=::1"], 2, "family"),
                                    (["wan", "src=a", "dst=10.0.0.1"], 2, "family"),
                                    (["wan", "src=10.0.0.1", "dst=10.0.0.2", "ttl=256"], 2, "no such value"),
                                    (["wan", "src=10.0.0.1", "dst=10.0.0.2", "len=5000"], 2, "no such value"),
                                    (["wan", "src=10.0.0.1", "dst=10.0.0.2", "tos=1"], 2, "known: src="),
                                    (["wan", "src=10.0.0.1", "dst=10.0.0.2", "dmac=1:2"], 2, "no such value"),
                                    (["nope", "00" * 14], 1, "no port is called 'nope'"),
                                    (["nope", "src=10.0.0.1", "dst=10.0.0.2"], 1, "no such port"), (["wan"], 2, "takes")):
            got, out, err = self.ctl("explain", "packet", *words)
            self.assertEqual((got, out), (status, ""), words)
            self.assertIn(what, err)

    def test_columns_are_aligned(self):
        for words in (["show", "interfaces"], ["show", "queues"], ["show", "workers"]):
            lines = self.ctl(*words)[1].splitlines()
            ends = [match.end() for match in re.finditer(r"\S+( \S+)*", lines[0])]
            # Number columns end where their title ends.
            for line in lines[1:]:
                self.assertIn(len(line), range(ends[-1] - 3, ends[-1] + 20))
                self.assertEqual(line.rstrip()[-1], line[-1])
        lines = self.ctl("show", "queues")[1].splitlines()
        self.assertEqual(len({len(line) for line in lines}), 1)
        self.assertEqual(len(lines), 9)
        self.assertRegex(lines[6], r"^lan +1 +sluice-w1 +zerocopy +2,546 +1,993 +345 +208 +2,000 +4 +6 +52 +62$")

    def test_a_reload_of_a_bad_file_is_78_with_all_lines(self):
        self.flag("reload-bad")
        status, out, err = self.ctl("reload")
        self.assertEqual((status, out), (78, ""))
        self.assertIn("sluice.conf:3: ", err)
        self.assertIn("sluice.conf:9: ", err)
        status, out, _ = self.ctl("reload", "--json")
        self.assertEqual((status, json.loads(out)["code"]), (78, "config"))
        os.unlink(os.path.join(self.dir, "reload-bad"))
        self.flag("reload-fails")
        self.assertEqual(self.ctl("reload")[0], 1)

    def test_changes_say_what_they_did(self):
        self.assertEqual(self.ctl("detach", "wan")[1], "port wan is detached\n")
        self.assertEqual(self.daemon.line(), "detach wan")
        self.assertEqual(self.ctl("attach", "*")[1], "every port is attached\n")
        self.assertEqual(self.daemon.line(), "attach *")
        self.assertEqual(self.ctl("reload", "--dry-run")[1], "port wan: rebuild\n")
        self.assertEqual(self.daemon.line(), "reload dry-run")
        status, _, err = self.ctl("detach", "nowhere")
        self.assertEqual(status, 1)
        self.assertIn("no port is called 'nowhere'", err)

    def test_metrics_are_the_page(self):
        out = self.ctl("metrics")[1]
        self.assertTrue(out.startswith("# HELP sluice_build_info "))
        self.assertIn("\nsluice_ready 1\n", out)

    def test_usage_errors_are_2(self):
        for words in ([], ["nonsense"], ["show"], ["show", "nonsense"], ["detach"], ["detach", "a", "b"], ["status", "x"],
                      ["--nonsense"], ["status", "--watch"], ["drops", "--once"], ["status", "--dry-run"],
                      ["top", "--count", "0"], ["top", "--count", "x"], ["--timeout", "-1", "ping"], ["top", "--json"],
                      ["--timeout", "1h", "ping"]):
            status, out, err = self.ctl(*words)
            self.assertEqual((status, out), (2, ""), words)
            self.assertTrue(err, words)
        self.assertEqual(self.ctl("--help")[0], 0)
        self.assertIn("sluicectl ", self.ctl("--version")[1])

    def test_top_shows_rates_in_plain_text(self):
        status, out, err = self.ctl("top", "--once")
        self.assertEqual((status, err), (0, ""))
        self.assertNotIn("\x1b", out)
        self.assertRegex(out, r"(?m)^lan +3 +sluice-w0 +0 pps +0 bit/s")
        self.assertRegex(out, r"(?m)^sluice-w2 +4 +0.0 %")

    def test_colour_only_on_a_terminal_and_if_wanted(self):
        self.assertNotIn("\x1b", self.ctl("status")[1])

        def on_terminal(*args, **env):
            ours, theirs = os.openpty()
            subprocess.run([SLUICECTL, "--socket", self.control, *args], stdout=theirs, timeout=30, check=False,
                           env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, **env})
            os.close(theirs)
            data = b""
            try:
                while True:
                    data += os.read(ours, 65536)
            except OSError:
                pass
            os.close(ours)
            return data

        self.assertIn(b"\x1b[32m", on_terminal("status"))
        self.assertNotIn(b"\x1b", on_terminal("status", NO_COLOR="1"))
        self.assertNotIn(b"\x1b", on_terminal("--no-color", "status"))


class Drops(DaemonCase):
    """The loss balance, number by number; the synthetic report of report_world.c holds every identity."""

    def drops(self):
        status, out, _ = ctl(self.control, "drops", "--json")
        self.assertEqual(status, 0)
        return json.loads(out)["drops"]

    def test_the_balance_adds_up(self):
        drops = self.drops()
        self.assertTrue(drops["balanced"])
        for port in drops["ports"]:
            self.assertTrue(port["balanced"])
            self.assertEqual({i["name"] for i in port["identities"]}, {"handover", "ingress", "egress"})
            self.assertTrue(all(i["left"] == i["right"] > 0 and i["difference"] == 0 for i in port["identities"]))
            self.assertEqual(port["seen"], sum(port["verdicts"].values()))
            self.assertEqual(port["received"], port["forwarded"] + port["handed_back"] + port["dropped"])
            self.assertEqual(port["handed_back"], sum(port["handed_back_by_reason"].values()))
            self.assertEqual(port["handed_back"], 4 * sum(range(30, 30 + len(HANDBACK_REASONS))))
            self.assertEqual(port["handed_back_by_reason"].keys(), set(HANDBACK_REASONS))
            self.assertEqual(port["transmitted"], port["forwarded"] + port["replicated"])
            self.assertEqual(port["lost"], sum(port["lost_by_place"].values()))
            for place, lost in port["lost_by_place"].items():
                self.assertEqual(lost, sum(loss["packets"] for loss in port["losses"]
                                           if loss["place"] == place and loss["counted"]), place)
        self.assertEqual(drops["lost"], sum(port["lost"] for port in drops["ports"]))
        lan = drops["ports"][1]
        self.assertEqual(lan["lost_by_place"]["nic"], 302 + 312)
        self.assertEqual(lan["lost_by_place"]["worker"], 4 * sum(range(10, 10 + len(DROP_REASONS))))
        self.assertEqual(lan["lost_by_place"]["socket"], 4 * (21 + 51) + 12)
        self.assertEqual(lan["lost_by_place"]["transmit"], 322 + 4 * 7 + 6)

    def test_a_fallback_is_a_loss_only_where_it_drops(self):
        wan, lan = self.drops()["ports"]
        self.assertNotIn("stale", [loss["reason"] for loss in wan["losses"]])
        self.assertIn("stale", [loss["reason"] for loss in lan["losses"]])
        for port in (wan, lan):
            self.assertNotIn("redirect", [loss["reason"] for loss in port["losses"]])

    def test_what_the_kernel_got_is_said_with_its_reason(self):
        wan, lan = self.drops()["ports"]
        self.assertEqual(wan["passed"]["stale"], wan["verdicts"]["stale"])
        self.assertNotIn("stale", lan["passed"])
        for port in (wan, lan):
            actions = sum(port["passed"].values()) + port["verdicts"]["redirect"] + port["lost_by_place"]["xdp"]
            self.assertEqual(port["seen"], actions, "redirected, passed or lost: nothing else happens to a frame")
        text = ctl(self.control, "drops")[1]
        self.assertRegex(text, r"to the kernel: stale +%d\n" % wan["passed"]["stale"])
        self.assertRegex(text, r"handed back: neighbour +%d\n" % wan["handed_back_by_reason"]["neighbour"])

    def test_every_loss_has_a_remedy(self):
        for port in self.drops()["ports"]:
            self.assertGreater(len(port["losses"]), 15)
            for loss in port["losses"]:
                self.assertGreater(len(loss["remedy"]), 10, loss)
                self.assertGreater(len(loss["meaning"]), 10, loss)

    def test_books_that_do_not_balance_say_by_how_much(self):
        self.flag("unbalanced")
        drops = self.drops()
        self.assertFalse(drops["balanced"])
        self.assertEqual([port["balanced"] for port in drops["ports"]], [True, False])
        off = [(i["name"], i["difference"]) for i in drops["ports"][1]["identities"] if not i["balanced"]]
        self.assertEqual(off, [("ingress", -7)])
        self.assertEqual([(i["name"], i["difference"]) for i in drops["identities"] if not i["balanced"]], [("crossing", 7)])
        out = ctl(self.control, "drops")[1]
        self.assertIn("do not balance", out)
        self.assertIn("ingress is off by -7", out)


class Misbehaving(unittest.TestCase):
    """A server of our own that does what a daemon should not."""

    def setUp(self):
        import tempfile
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.path = os.path.join(scratch.name, "sock")

    def serve(self, answer):
        """Gives each client `answer` and closes; None: keeps silent."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(self.path)
        server.listen()
        kept = []

        def run():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                if answer is None:
                    kept.append(client)
                    continue
                client.recv(4096)
                client.sendall(answer)
                client.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def stop():
            server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()
            for client in kept:
                client.close()

        self.addCleanup(stop)

    def test_not_running_is_3(self):
        status, _, err = ctl(self.path, "status")
        self.assertEqual(status, 3)
        self.assertIn("not running", err)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(self.path)
        self.assertEqual(ctl(self.path, "status")[0], 3)

    def test_not_allowed_is_4(self):
        if os.getuid() != 0:
            self.skipTest("needs root, to become somebody else")
        self.serve(b"")
        os.chmod(os.path.dirname(self.path), 0o755)
        os.chmod(self.path, 0o660)
        nobody = 65534
        done = subprocess.run([SLUICECTL, "--socket", self.path, "status"], capture_output=True, text=True, timeout=30,
                              check=False, user=nobody, group=nobody, extra_groups=[])
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("not allowed", done.stderr)

    def test_a_silent_daemon_is_5_in_time(self):
        self.serve(None)
        start = time.monotonic()
        status, _, err = ctl(self.path, "--timeout", "1", "status")
        self.assertEqual(status, 5)
        self.assertIn("in time", err)
        self.assertTrue(0.9 < time.monotonic() - start < 3)

    def test_a_full_backlog_is_5_in_time(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(self.path)
            server.listen(0)
            first = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.addCleanup(first.close)
            first.connect(self.path)
            self.assertEqual(ctl(self.path, "--timeout", "1", "status")[0], 5)

    def test_answers_that_are_none_are_1(self):
        for number, answer in enumerate((b"", b"{}\n", b"hello\n", b'{"api": 2, "ok": true}\n', b'{"api": 1, "ok": tr', b"[1]\n")):
            self.path += str(number)
            self.serve(answer)
            status, out, err = ctl(self.path, "ping")
            self.assertEqual((status, out), (1, ""), answer)
            self.assertTrue(err.startswith("sluicectl: "), answer)

    def test_an_answer_without_what_was_asked_for_is_1(self):
        words = {"status": ["status"], "queues": ["show", "queues"], "workers": ["show", "workers"],
                 "interfaces": ["show", "interfaces"], "drops": ["drops"], "text": ["metrics"], "config": ["show", "config"]}
        for number, (part, argv) in enumerate(words.items()):
            for wrong in (None, 5, True, [] if part in ("status", "drops", "config") else {}):
                self.path += str(number)
                answer = {"api": 1, "ok": True} if wrong is None else {"api": 1, "ok": True, part: wrong}
                self.serve(json.dumps(answer).encode() + b"\n")
                for options in ([], ["--json"]):
                    status, out, err = ctl(self.path, *options, *argv)
                    self.assertEqual((status, out), (1, ""), answer)
                    self.assertEqual(err, f'sluicectl: the answer is not one of sluiced: no "{part}" in it\n')

    def test_what_cannot_be_written_is_1(self):
        self.serve(b'{"api": 1, "ok": true, "status": {"ready": true}, "version": "1", "text": "x"}\n')
        for argv in (["--help"], ["--version"], ["status"], ["--json", "status"], ["ping"], ["metrics"]):
            with open("/dev/full", "w") as full:
                done = subprocess.run([SLUICECTL, "--socket", self.path, *argv], stdout=full, stderr=subprocess.PIPE,
                                      text=True, timeout=30, check=False)
            self.assertEqual((done.returncode, done.stderr), (1, "sluicectl: cannot write to standard output\n"), argv)

    def test_an_answer_of_an_older_daemon_is_shown_as_far_as_it_goes(self):
        self.serve(b'{"api": 1, "ok": true, "status": {"ready": true}, "queues": [{"port": "wan", "drops": 7}, {}],'
                   b' "workers": [{}], "interfaces": [{}, 3], "drops": {"ports": [{}]}, "text": "",'
                   b' "config": {}}\n')
        for words in (["status"], ["show", "queues"], ["show", "workers"], ["show", "interfaces"], ["drops"], ["metrics"],
                      ["show", "config"], ["top", "--once"], ["ping"], ["detach", "wan"]):
            status, _, err = ctl(self.path, *words)
            self.assertEqual((status, err), (0, ""), words)

    def test_refusals_have_their_statuses(self):
        for code, status in (("usage", 2), ("config", 78), ("permission", 4), ("busy", 1), ("not_found", 1), ("new", 1)):
            self.path += code
            self.serve(json.dumps({"api": 1, "ok": False, "code": code, "error": "because"}).encode() + b"\n")
            got, _, err = ctl(self.path, "ping")
            self.assertEqual((got, err), (status, "sluicectl: because\n"))


if __name__ == "__main__":
    unittest.main()
