#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Builds Sluice and runs its suites for tools/test, which see for the arguments.

Three kinds of result are brought under one count: meson's testlog.json (a cmocka program counts as the tests in it),
pytest's junit files, and builds that fail. A skip inside a program that passes is still a skip.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
BUILD = os.path.abspath(os.environ.get("SLUICE_BUILD", os.path.join(ROOT, "build")))
REQUIRE_ALL = os.environ.get("SLUICE_REQUIRE") == "all"
JOBS = str(os.cpu_count() or 2)
# The unit tests wait for timers, TCP's and the daemon's, more than half of their time.
SIDE_BY_SIDE = {"unit": str(2 * (os.cpu_count() or 2))}
TAIL_LINES = 40

# Seconds a suite may take on the 2-CPU development machine (design.md §7). Printed, not enforced: a test that hangs is
# ended by its own timeout, and pytest as a whole after PATIENCE times the budget.
BUDGET = {"check": 30, "unit": 30, "fuzz": 30, "bpf": 60, "service": 60, "netns": 240, "route": 300, "splice": 360, "sanitize": 180}
PATIENCE = 4

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Tally:
    """What a suite came to. Failures and skips keep a reason each."""

    def __init__(self):
        self.passed = 0
        self.failures = []  # (name, log)
        self.skips = []  # (name, reason)
        self.seconds = 0.0

    def fail(self, name, log):
        self.failures.append((name, log))

    def skip(self, name, reason):
        self.skips.append((name, reason.strip() or "no reason given"))

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips
        self.seconds += other.seconds

    def must_have_run(self, part):
        """Every part of a suite is asked, so that none can vanish behind the others' results."""
        if not (self.passed or self.failures or self.skips):
            self.fail(part, "no test ran")
        return self


def tail(text):
    return "\n".join(text.rstrip().split("\n")[-TAIL_LINES:])


def run(command, env=None, limit_s=None):
    """Runs to the end, or to the limit: then the whole process group is ended. Returns (status, output)."""
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               start_new_session=True)
    try:
        output, _ = process.communicate(timeout=limit_s)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # pytest's fixtures clean up on it
        try:
            output, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        return 124, output + "\nended after %d s" % limit_s
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise


# ---- builds -------------------------------------------------------------------------------------------------------------


def configure(build, options):
    """None, or why not. An existing build directory is kept: ninja configures again by itself when needed."""
    if os.path.exists(os.path.join(build, "build.ninja")):
        return None
    status, output = run(["/usr/bin/meson", "setup", build, ROOT, "--werror", *options])
    return output if status else None


def compile_all(build):
    problem = configure(build, [])
    if problem is None:
        status, output = run(["ninja", "-C", build, "-j", JOBS, "all", "meson-test-prereq"])
        problem = output if status else None
    return problem


# ---- meson --------------------------------------------------------------------------------------------------------------


def count_program(tally, name, entry):
    """One entry of testlog.json."""
    output = (entry.get("stdout") or "") + (entry.get("stderr") or "")
    result = entry["result"]
    passed = set(re.findall(r"^\[       OK \] (\S+)$", output, re.M))
    skipped = set(re.findall(r"^\[  SKIPPED \] (\S+)$", output, re.M))
    if result == "SKIP":
        tally.skip(name, tail(output).strip().rsplit("\n", 1)[-1])
        return
    for test in skipped:
        reasons = re.findall(r"^(?:skip|SKIP)\w*:? (.*)$", output, re.M)
        tally.skip("%s: %s" % (name, test), reasons[0] if reasons else "skip() in the program")
    tally.passed += len(passed - skipped)
    if result not in ("OK", "EXPECTEDFAIL"):
        tally.fail(name, "%s, status %s\n%s" % (result, entry.get("returncode"), tail(output)))
    elif not passed and not skipped:
        tally.passed += 1


def run_meson(build, suite, wrapper=(), env=None, slower=1):
    """
    One suite: of several in one run, those without a test would not show. `slower`: by how much the build's code
    is, of which the timeouts of the tests know nothing.
    """
    tally = Tally()
    part = "meson test -C %s --suite %s" % (build, suite)
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    command = [*wrapper, "/usr/bin/meson", "test", "-C", build, "--num-processes", SIDE_BY_SIDE.get(suite, JOBS),
               "--timeout-multiplier", str(slower), "--suite", suite]
    status, output = run(command, env)
    entries = []
    if os.path.exists(log):
        with open(log, encoding="utf-8", errors="replace") as file:
            entries = [json.loads(line) for line in file if line.strip()]
    for entry in entries:
        count_program(tally, entry["name"], entry)
    if entries:
        tally.seconds = max(e["starttime"] + e["duration"] for e in entries) - min(e["starttime"] for e in entries)
    if status and not tally.failures:
        tally.fail(part, tail(output))
    return tally.must_have_run(part)


# ---- pytest -------------------------------------------------------------------------------------------------------------


def count_junit(tally, path):
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        name = "%s::%s" % (case.get("classname", "").replace(".", "/"), case.get("name"))
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        if problem is not None:
            captured = "".join(case.findtext(part) or "" for part in ("system-out", "system-err"))
            tally.fail(name, tail((problem.text or problem.get("message") or "") + "\n" + captured))
        elif case.find("skipped") is not None:
            tally.skip(name, case.find("skipped").get("message") or "")
        else:
            tally.passed += 1


def run_pytest(build, name, args, limit_s, env=None):
    tally = Tally()
    if os.geteuid() != 0:
        tally.skip(name, "needs root")
        return tally
    report = os.path.join(build, name + ".xml")
    if os.path.exists(report):
        os.remove(report)
    start = time.monotonic()
    status, output = run(["/usr/bin/python3", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", report,
                          *args, "tests/netns"], {"SLUICE_BUILD": build, **(env or {})}, limit_s)
    tally.seconds = time.monotonic() - start
    if os.path.exists(report):
        count_junit(tally, report)
    part = " ".join(["pytest", *args, "tests/netns"])
    if status not in (0, 77) and not tally.failures:  # 77: all skipped, see conftest.py
        tally.fail(part, "status %d\n%s" % (status, tail(output)))
    return tally.must_have_run(part)


# ---- suites -------------------------------------------------------------------------------------------------------------


def suite_meson(name):
    return lambda full: run_meson(BUILD, name)


def suite_pytest(name, part):
    """tests/netns in two parts, each with a budget of its own; conftest.py says which file is in which."""
    return lambda full: run_pytest(BUILD, name, ["--part=" + part], None if full else PATIENCE * BUDGET[name])


def suite_sanitize(full):
    """ASan and UBSan on unit, fuzz and the netns tests marked `sanitizer`; TSan on what meson tags `thread`."""
    tally = Tally()
    asan, tsan = BUILD + "-asan", BUILD + "-tsan"
    for build, sanitizers in (asan, "address,undefined"), (tsan, "thread"):
        problem = configure(build, ["-Db_sanitize=" + sanitizers, "-Db_lundef=false"])
        if problem is not None:
            tally.fail("meson setup " + build, tail(problem))
    if tally.failures:
        return tally
    status, output = run(["ninja", "-C", asan, "-j", JOBS])
    if status:
        tally.fail("ninja -C " + asan, tail(output))
        return tally
    for suite in "unit", "fuzz":
        tally.add(run_meson(asan, suite, env=SANITIZER_ENV, slower=2))
    tally.add(run_pytest(asan, "sanitizer", ["-m", "sanitizer"], PATIENCE * BUDGET["sanitize"], SANITIZER_ENV))
    # gcc 12's TSan does not know the address layout that newer kernels randomise to.
    # fib6 computes for 2 s without it, for 24 s with it.
    tally.add(run_meson(tsan, "thread", ["setarch", "--addr-no-randomize"], SANITIZER_ENV, slower=4))
    return tally


SUITES = {
    "check": suite_meson("check"),
    "unit": suite_meson("unit"),
    "fuzz": suite_meson("fuzz"),
    "bpf": suite_meson("bpf"),
    "service": suite_meson("service"),
    "netns": suite_pytest("netns", "packet"),
    "route": suite_pytest("route", "route"),
    "splice": suite_pytest("splice", "splice"),
    "sanitize": suite_sanitize,
}


def run_suite(name, full):
    tally = SUITES[name](full).must_have_run(name)
    if REQUIRE_ALL:
        for test, reason in tally.skips:
            tally.fail(test, "skipped, and SLUICE_REQUIRE=all: " + reason)
        tally.skips = []
    return tally


def report(name, tally):
    over = "   OVER BUDGET" if tally.seconds > BUDGET[name] else ""
    print("%-9s %4d passed %3d failed %3d skipped %7.1f s of %3d s%s"
          % (name, tally.passed, len(tally.failures), len(tally.skips), tally.seconds, BUDGET[name], over))
    for test, reason in tally.skips:
        print("  skipped %s: %s" % (test, reason))
    for test, log in tally.failures:
        print("  FAILED %s\n%s" % (test, "\n".join("    | " + line for line in log.split("\n"))))
    sys.stdout.flush()


def mount_bpffs():
    with open("/proc/mounts", encoding="utf-8") as file:
        if any(line.split()[1:3] == ["/sys/fs/bpf", "bpf"] for line in file):
            return
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=False)


def main(args):
    full = "--full" in args
    names = [arg for arg in args if arg != "--full"] or list(SUITES)
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        sys.exit("test: no such suite: %s (there are: %s)" % (" ".join(unknown), " ".join(SUITES)))
    if full:
        os.environ["SLUICE_FULL"] = "1"

    total = Tally()
    mount_bpffs()
    start = time.monotonic()
    problem = compile_all(BUILD)
    print("build     %.1f s in %s" % (time.monotonic() - start, BUILD))
    if problem is not None:
        print(tail(problem))
        total.fail("build", problem)
    else:
        for name in names:
            tally = run_suite(name, full)
            report(name, tally)
            total.add(tally)
    print("%d passed, %d failed, %d skipped" % (total.passed, len(total.failures), len(total.skips)))
    return 1 if total.failures or total.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
