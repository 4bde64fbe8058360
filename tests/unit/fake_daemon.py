# SPDX-License-Identifier: GPL-2.0-or-later
"""A running fake_daemon in a scratch directory, for unittest cases that talk to it."""
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest

FAKE_DAEMON = os.environ["FAKE_DAEMON"]
DEADLINE = 10


def wait_for(condition, what, seconds=DEADLINE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError("no %s within %s s" % (what, seconds))


def free_port(family=socket.AF_INET, host="127.0.0.1"):
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class Daemon:
    """A process and what it has said; stopped by stop()."""

    def __init__(self, control, listen, state):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([FAKE_DAEMON, control, listen, state], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.first = self.process.stdout.readline().strip()

    def line(self):
        return self.process.stdout.readline().strip()

    def logged(self):
        if self.log.closed:
            return ""
        self.log.seek(0)
        return self.log.read()

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid, encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def n_fds(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.stdin.close()
        status = self.process.wait(DEADLINE)
        self.process.stdout.close()
        self.log.close()
        return status


class DaemonCase(unittest.TestCase):
    listen = "unix:metrics.sock"

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.dir = scratch.name
        self.control = os.path.join(self.dir, "control.sock")
        listen = self.listen.replace("unix:", "unix:%s/" % self.dir)
        self.daemon = Daemon(self.control, listen, self.dir)
        self.addCleanup(self.stop_daemon, self.daemon)
        self.assertEqual(self.daemon.first, "ready")

    def stop_daemon(self, daemon):
        """A sanitizer that finds something, leaks among it, ends the process with another status than 0."""
        logged = daemon.logged()
        status = daemon.stop()
        if status not in (0, -signal.SIGKILL):
            self.fail("fake_daemon ended with %s:\n%s" % (status, logged[-5000:]))

    def flag(self, name):
        with open(os.path.join(self.dir, name), "w", encoding="ascii"):
            pass

    def connect(self, path=None):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(client.close)
        # With a timeout it would not wait for room in the backlog.
        client.connect(path or self.control)
        client.settimeout(DEADLINE)
        return client


def read_all(client):
    """Until the end; a reset after the data is an end, too."""
    data = b""
    try:
        while True:
            more = client.recv(65536)
            if not more:
                break
            data += more
    except ConnectionResetError:
        pass
    return data
