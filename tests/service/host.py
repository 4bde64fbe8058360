# SPDX-License-Identifier: GPL-2.0-or-later
"""sluiced.service as an operator sees it: systemctl, the journal, /proc, the interfaces; and frames over the wire."""
import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
from pathlib import Path

from lib import run, wait_for

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000

UNIT = "sluiced.service"
CONFIG = Path("/etc/sluice/sluice.conf")
DROP_INS = Path("/run/systemd/system/sluiced.service.d")
PINS = Path("/sys/fs/bpf/sluice")  # as this root user sees it; the service has it at /run/sluice/bpf
PORTS = ("wan", "lan")

# RLIMIT_MEMLOCK of a container may be 8 MiB: 1024 frames are 2 MiB.
FORWARD = """\
[daemon]
frames_per_worker = 1024

[port wan]
interface = wan
forward = xconnect lan
stall_timeout = 5s

[port lan]
interface = lan
forward = xconnect wan
stall_timeout = 5s
"""

# Fewer than a ring of these ports holds (128): none is lost, however long a busy machine lets a worker wait.
FRAMES = 100
RATE_FPS = 5000


class Host:
    def __init__(self):
        self._cursor = self._journal_cursor()

    # --- systemd -----------------------------------------------------------------------------------

    def systemctl(self, *argv, check=True):
        return run("systemctl", "--no-pager", *argv, check=check)

    def show(self, name):
        """A property of the unit, e.g. MainPID."""
        return self.systemctl("show", "--value", "-p", name, UNIT).stdout.strip()

    @property
    def pid(self):
        return int(self.show("MainPID"))

    def configure(self, config):
        CONFIG.write_text(config)

    def start(self, config=FORWARD):
        self.configure(config)
        self.systemctl("start", UNIT)
        assert self.show("ActiveState") == "active"

    def refuse_to_start(self, config):
        """Starts with a configuration that must not run."""
        self.configure(config)
        assert self.systemctl("start", UNIT, check=False).returncode != 0
        assert self.pid == 0

    def drop_in(self, text):
        DROP_INS.mkdir(parents=True, exist_ok=True)
        (DROP_INS / "test.conf").write_text(f"[Service]\n{text}\n")
        self.systemctl("daemon-reload")

    def wait_restarted(self, old_pid, deadline_s=10.0):
        """Until another process has said READY=1."""
        def is_back():
            return self.pid not in (0, old_pid) and self.show("ActiveState") == "active"
        wait_for(is_back, f"{UNIT} is active again, and not as {old_pid}", deadline_s)

    def reset(self):
        """Whatever a test did: stopped, nothing pinned, the unit as installed."""
        self.systemctl("stop", UNIT, check=False)
        run("sluiced", "--detach")
        self.systemctl("reset-failed", UNIT, check=False)
        if DROP_INS.exists():
            shutil.rmtree(DROP_INS)
            self.systemctl("daemon-reload")

    # --- the journal -------------------------------------------------------------------------------

    def _journal_cursor(self):
        shown = run("journalctl", "--no-pager", "-n", "0", "--show-cursor").stdout
        return shown.rpartition("-- cursor: ")[2].strip()

    def journal(self):
        """What the unit's processes and systemd said of it in this test: [(priority, message)]"""
        run("journalctl", "--sync")
        lines = run("journalctl", "--no-pager", "-o", "json", "-u", UNIT,
                    f"--after-cursor={self._cursor}").stdout.splitlines()
        entries = [json.loads(line) for line in lines]
        return [(int(entry["PRIORITY"]), entry["MESSAGE"]) for entry in entries]

    def said(self, text, priority=None):
        return any(text in message and priority in (None, level)
                   for level, message in self.journal())

    def describe(self):
        return (self.systemctl("status", "-n", "0", UNIT, check=False).stdout
                + "\n".join(f"<{level}> {message}" for level, message in self.journal()))

    # --- the process -------------------------------------------------------------------------------

    def tasks(self):
        """What /proc/PID/task/TID/status says of every thread: [{key: value}]"""
        def fields(path):
            lines = path.read_text().splitlines()
            return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        return [fields(task / "status") for task in Path(f"/proc/{self.pid}/task").iterdir()]

    def kill(self, signum=signal.SIGKILL):
        pid = self.pid
        os.kill(pid, signum)
        return pid

    @contextlib.contextmanager
    def hung_worker(self):
        """Stops one worker's thread, and no other, until the process is killed."""
        name = "sluice-w0"
        pid = self.pid
        tid = next(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()
                   if (task / "comm").read_text().strip() == name)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.ptrace(PTRACE_SEIZE, tid, None, None) == 0, os.strerror(ctypes.get_errno())
        assert libc.ptrace(PTRACE_INTERRUPT, tid, None, None) == 0
        _, status = os.waitpid(tid, WALL)
        assert os.WIFSTOPPED(status)
        yield pid
        # A traced thread is its tracer's to bury: before that its process does not end.
        wait_for(lambda: os.waitpid(tid, WALL | os.WNOHANG)[0], f"{name} is killed", 10.0)

    # --- the interfaces ----------------------------------------------------------------------------

    def link(self, port):
        return json.loads(run("ip", "-j", "-d", "link", "show", "dev", port).stdout)[0]

    def program(self, port):
        """The id of the XDP program on a port, 0 if there is none."""
        return self.link(port).get("xdp", {}).get("prog", {}).get("id", 0)

    def promiscuity(self, port):
        return self.link(port)["promiscuity"]

    def pins(self):
        """Everything in the pin directory: {path below it: owner}"""
        return {str(path.relative_to(PINS)): pwd.getpwuid(path.lstat().st_uid).pw_name
                for path in sorted(PINS.rglob("*"))}

    def is_program_loaded(self, program):
        return run("bpftool", "prog", "show", "id", program, check=False).returncode == 0

    # --- frames ------------------------------------------------------------------------------------

    def cross(self):
        """Numbered frames both ways at once: every one must arrive, once, intact, in order."""
        done = run("sluice-gen", "run", "eth0", "eth0", "--tx-netns", "left", "--rx-netns", "right",
                   "--bidirectional", "--count", FRAMES, "--rate", RATE_FPS, "--idle-timeout", "5s",
                   "--json", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads(done.stdout)
        assert report["intact"] is True and len(report["directions"]) == 2, report
        for direction in report["directions"]:
            assert direction["send"]["sent"] == direction["sink"]["received"] == FRAMES, report

    # --- sluicectl ---------------------------------------------------------------------------------

    def status(self):
        return json.loads(run("sluicectl", "--json", "status").stdout)["status"]

    def metric(self, series):
        """One number of a scrape, by the series as it is printed."""
        page = run("curl", "-sS", "--max-time", "5", "http://127.0.0.1:9733/metrics").stdout
        return next(float(line.rpartition(" ")[2]) for line in page.splitlines()
                    if line.rpartition(" ")[0] == series)
