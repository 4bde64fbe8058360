#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the tools that test: each must be able to say no."""
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests"))
import run_suites  # noqa: E402 (the path comes first)


def run(*command, **env):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                            env={**os.environ, **env})
    return result.returncode, result.stdout


class Scratch(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = scratch.name

    def write(self, path, text):
        path = os.path.join(self.dir, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def read(self, path):
        with open(os.path.join(self.dir, path), encoding="utf-8") as file:
            return file.read()


class Fmt(Scratch):
    def check(self, text):
        # Formatted by the rules of the tree, so the file's directory needs them.
        os.symlink(os.path.join(ROOT, ".clang-format"), os.path.join(self.dir, ".clang-format"))
        return run(os.path.join(ROOT, "tools/fmt"), "--check", self.write("a.c", text))

    def test_formatted_file_is_accepted(self):
        status, output = self.check("int one(void)\n{\n\treturn 1;\n}\n")
        self.assertEqual(status, 0, output)

    def test_other_braces_are_rejected(self):
        status, output = self.check("int one(void) {\n    return 1;\n}\n")
        self.assertEqual(status, 1, output)
        self.assertIn("1 badly formatted", output)


class Headers(Scratch):
    def check(self, text):
        self.write("daemon/util/a.h", "#pragma once\n" + text)
        return run(os.path.join(ROOT, "tools/check-headers"), self.dir)

    def test_header_that_includes_what_it_needs_is_accepted(self):
        status, output = self.check("#include <stdint.h>\nuint8_t one(void);\n")
        self.assertEqual(status, 0, output)

    def test_header_that_relies_on_its_includer_is_rejected(self):
        status, output = self.check("uint8_t one(void);\n")
        self.assertEqual(status, 1, output)
        self.assertIn("daemon/util/a.h: does not compile alone", output)

    def test_tree_without_headers_is_rejected(self):
        self.assertEqual(run(os.path.join(ROOT, "tools/check-headers"), self.dir)[0], 1)


class Bootstrap(Scratch):
    """Single functions, with every path they write pointed into the scratch directory."""

    def call(self, script):
        paths = "POLICY=%s/policy POLICY_SAVED=%s/saved BESIDE=%s/beside LOCAL=%s/local work=%s/work; mkdir -p $work\n"
        return run("bash", "-c", ". %s/tools/bootstrap; %s%s" % (ROOT, paths.replace("%s", self.dir), script))

    def test_names_what_is_missing_and_only_that(self):
        self.assertEqual(self.call("missing dpkg no-such-package-here bash"), (0, "no-such-package-here\n"))

    def test_check_fails_when_something_is_missing(self):
        status, output = self.call("BUILD_PACKAGES=(dpkg no-such-package-here); main --check build")
        self.assertEqual((status, output), (1, "bootstrap: missing: no-such-package-here\n"))

    def test_nothing_to_do_is_said_and_succeeds(self):
        self.assertEqual(self.call("BUILD_PACKAGES=(dpkg bash); main build"), (0, "bootstrap: nothing to do\n"))

    def test_policy_is_denied_and_the_old_one_comes_back(self):
        self.write("policy", "the old one\n")
        status, output = self.call('policy_deny; "$POLICY" || echo "start: $?"; policy_restore')
        self.assertEqual((status, output), (0, "start: 101\n"))
        self.assertEqual(self.read("policy"), "the old one\n")

    def test_policy_goes_when_there_was_none(self):
        self.assertEqual(self.call("policy_deny; policy_restore")[0], 0)
        self.assertFalse(os.path.exists(os.path.join(self.dir, "policy")))

    def test_policy_of_a_killed_run_is_repaired(self):
        self.write("policy", "left over\n")
        self.write("saved", "the old one\n")
        self.assertEqual(self.call("policy_deny; policy_restore")[0], 0)
        self.assertEqual(self.read("policy"), "the old one\n")

    def test_a_plan_that_upgrades_or_removes_is_refused(self):
        for plan, status in (("Inst new (1.0 Debian)", 0), ("Inst old [1.0] (1.1 Debian)", 1), ("Remv old [1.0]", 1)):
            got = self.call("apt_get() { echo '%s'; }; resolves x" % plan)[0]
            self.assertEqual(got, status, plan)

    def test_a_changed_package_ends_the_run(self):
        for after, status in (("a=1\\nb=1\\n", 0), ("a=2\\nb=1\\n", 1), ("b=1\\n", 1)):
            got = self.call("""listeners() { :; }; listeners >$work/listeners; disable_new_units() { :; }
                printf 'a=1\\n' >$work/installed; installed() { printf '%s'; }; check_promises""" % after)[0]
            self.assertEqual(got, status, after)

    def test_every_installed_package_is_pinned_where_it_is(self):
        self.assertEqual(self.call('write_pins "$work"')[0], 0)
        version = run("dpkg-query", "-W", "-f", "${Version}", "libc6")[1]
        self.assertIn("Package: libc6\nPin: version %s\nPin-Priority: 1001\n" % version, self.read("work/00-sluice-bootstrap"))

    def test_package_beside_the_system_is_found_in_local(self):
        self.write("deb/DEBIAN/control", "Package: libx-dev\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n")
        self.write("deb/usr/include/x/x.h", "int x;\n")
        os.makedirs(os.path.join(self.dir, "deb/usr/lib/here"))
        os.symlink("libc.so.6.9.9", os.path.join(self.dir, "deb/usr/lib/here/libc.so"))  # not this version here
        status, output = self.call('dpkg-deb -b %s/deb %s/x.deb >/dev/null; unpack_beside %s/x.deb; missing libx-dev'
                                   % ((self.dir,) * 3))
        self.assertEqual((status, output), (0, "bootstrap: unpacked beside the system: libx-dev (%s/beside/libx-dev)\n" % self.dir))
        self.assertEqual(self.read("local/include/x/x.h"), "int x;\n")
        self.assertTrue(os.path.exists(os.path.join(self.dir, "local/lib/here/libc.so")))


class Counting(Scratch):
    """run_suites.py: what is counted, and as what."""

    def program(self, result, stdout=""):
        tally = run_suites.Tally()
        run_suites.count_program(tally, "t", {"result": result, "stdout": stdout, "returncode": 1})
        return tally.passed, len(tally.failures), len(tally.skips)

    def test_plain_program(self):
        self.assertEqual(self.program("OK"), (1, 0, 0))
        self.assertEqual(self.program("FAIL"), (0, 1, 0))
        self.assertEqual(self.program("TIMEOUT"), (0, 1, 0))
        self.assertEqual(self.program("SKIP", "no root\n"), (0, 0, 1))

    def test_cmocka_program_counts_its_tests(self):
        stdout = "[       OK ] a\n[  SKIPPED ] b\n[       OK ] c\n"
        self.assertEqual(self.program("OK", stdout), (2, 0, 1))
        self.assertEqual(self.program("OK", "[  SKIPPED ] b\n"), (0, 0, 1))
        self.assertEqual(self.program("FAIL", stdout + "[  FAILED  ] d\n"), (2, 1, 1))

    def test_junit(self):
        path = self.write("r.xml", """<testsuites><testsuite>
            <testcase classname="t" name="a"/>
            <testcase classname="t" name="b"><skipped message="no veth"/></testcase>
            <testcase classname="t" name="c"><failure message="x">trace</failure><system-out>log</system-out></testcase>
            <testcase classname="t" name="d"><error message="set-up"/></testcase></testsuite></testsuites>""")
        tally = run_suites.Tally()
        run_suites.count_junit(tally, path)
        self.assertEqual((tally.passed, len(tally.failures)), (1, 2))
        self.assertEqual(tally.skips, [("t::b", "no veth")])
        self.assertIn("trace\nlog", tally.failures[0][1])

    def suite(self, tally, require_all):
        with mock.patch.dict(run_suites.SUITES, unit=lambda full: tally), \
             mock.patch.object(run_suites, "REQUIRE_ALL", require_all), \
             mock.patch.object(run_suites, "compile_all", lambda build: None), \
             contextlib.redirect_stdout(io.StringIO()) as output:
            status = run_suites.main(["unit"])
        return status, output.getvalue().rstrip().split("\n")[-1]

    def test_suite_that_ran_nothing_fails(self):
        self.assertEqual(self.suite(run_suites.Tally(), False), (1, "0 passed, 1 failed, 0 skipped"))

    def sanitize(self, empty, pytest_status=0):
        """The failures of suite `sanitize` when the parts in `empty` find no test, and say so as meson and pytest do."""
        def fake_run(command, env=None, limit_s=None):
            if "--suite" in command and command[-1] not in empty:
                self.write(command[command.index("-C") + 1] + "/meson-logs/testlog.json",
                           '{"name": "t", "result": "OK", "starttime": 1, "duration": 1}\n')
            if "pytest" in command:
                cases = "" if "pytest" in empty else '<testcase classname="t" name="a"/>'
                self.write(command[command.index("--junitxml") + 1], "<testsuite>%s</testsuite>" % cases)
                return pytest_status, "no tests ran"
            return 0, "No suitable tests defined."
        with mock.patch.object(run_suites, "BUILD", os.path.join(self.dir, "b")), \
             mock.patch.object(run_suites, "configure", lambda build, options: None), \
             mock.patch.object(run_suites.os, "geteuid", lambda: 0), \
             mock.patch.object(run_suites, "run", fake_run):
            os.makedirs(os.path.join(self.dir, "b-asan"), exist_ok=True)
            tally = run_suites.suite_sanitize(False)
        return tally.passed, [name.split()[-1] for name, _ in tally.failures]

    def test_part_of_a_suite_that_ran_nothing_fails(self):
        self.assertEqual(self.sanitize(()), (4, []))
        for part in "unit", "fuzz", "thread":
            self.assertEqual(self.sanitize([part]), (3, [part]))
        for status in 0, 5:
            self.assertEqual(self.sanitize(["pytest"], status), (3, ["tests/netns"]))

    def test_skip_is_a_failure_where_all_is_required(self):
        for require_all, expected in ((False, (0, "1 passed, 0 failed, 1 skipped")), (True, (1, "1 passed, 1 failed, 0 skipped"))):
            tally = run_suites.Tally()
            tally.passed = 1
            tally.skip("t", "no veth")
            self.assertEqual(self.suite(tally, require_all), expected)


if __name__ == "__main__":
    unittest.main()
