# SPDX-License-Identifier: GPL-2.0-or-later
"""
What every netns test stands on: namespaces and veth pairs that are gone afterwards, processes
that cannot outlive their test, and waiting for a state with a deadline instead of sleeping.

    def test_something(net):
        net.ns("a"), net.ns("b")
        net.veth("a", "va", "b", "vb", queues=4)
        net.addr("a", "va", "10.0.0.1/24")
        with net.sink("b", "vb", "--expect", "100") as sink:
            net.gen("a", "send", "va", "--count", "100", "--queue", "2")
            assert sink.result()["received"] == 100

        daemon = net.daemon("b", "[port p]\\ninterface = vb\\nforward = pass\\n")   # READY=1 seen
        assert daemon.metrics()[("sluice_ready", ())] == 1

Namespaces are entered with `nsenter --net=/run/netns/NAME`, never `ip netns exec`, which would
hide /sys/fs/bpf. Real names carry a prefix and this process's id, so that test runs side by side
do not meet; tests use the short ones.

Environment: SLUICE_BUILD = the meson build directory (required); SLUICE_NS_PREFIX = the first
letters of every namespace's name; SLUICE_KEEP=1 leaves namespaces up for a look by hand.
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import echo
import netlink

COMMAND_DEADLINE_S = 30
POLL_INTERVAL_S = 0.005
PYTHON = "/usr/bin/python3"
WIRE = Path(__file__).with_name("wire.py")


class Deadline(AssertionError):
    """A state that should have come did not."""


def wait_for(predicate, what, deadline_s=5.0):
    """Returns predicate()'s first true value; raises Deadline naming `what` if none comes."""
    end = time.monotonic() + deadline_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise Deadline(f"after {deadline_s} s still not: {what} (last value {value!r})")
        time.sleep(POLL_INTERVAL_S)


def run(*argv, check=True, deadline_s=COMMAND_DEADLINE_S, **kwargs):
    """Runs a command to its end; its output is in the exception if it fails."""
    argv = [str(a) for a in argv]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=deadline_s, check=False,
                          **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)}: exit status {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def build_dir():
    build = os.environ.get("SLUICE_BUILD")
    if not build or not Path(build, "build.ninja").exists():
        raise AssertionError("SLUICE_BUILD must name the meson build directory")
    return Path(build)


def binary(relative):
    """A program of the build directory: a missing one is a failure, never a skip."""
    path = build_dir() / relative
    assert path.exists(), f"{path} is not built"
    return path


def ensure_bpffs(path="/sys/fs/bpf"):
    if run("stat", "-f", "-c", "%T", path).stdout.strip() != "bpf_fs":
        run("mount", "-t", "bpf", "bpf", path)


class Net:
    """The namespaces, links and processes of one test; close() removes all of them."""

    def __init__(self, label=""):
        prefix = os.environ.get("SLUICE_NS_PREFIX", "slt")
        self._stem = f"{prefix}{os.getpid()}" + (f"-{label}" if label else "")
        self.dir = Path(tempfile.mkdtemp(prefix=f"{self._stem}-"))
        self._namespaces = []
        self.names = []  # of the namespaces, as the test calls them
        self._processes = []
        self.daemons = []

    # --- namespaces and links ------------------------------------------------------------------

    def ns(self, name):
        """A new namespace with loopback up and IPv6 off (its chatter would be in every count)."""
        real = self.real(name)
        run("ip", "netns", "add", real)
        self._namespaces.append(real)
        self.names.append(name)
        with self.inside(name):
            netlink.sysctl("net.ipv6.conf.all.disable_ipv6=1",
                           "net.ipv6.conf.default.disable_ipv6=1")
            netlink.up("lo")
        return real

    def real(self, name):
        return f"{self._stem}-{name}"

    def inside(self, ns):
        """A context: this thread is in the namespace, and sockets made meanwhile stay there."""
        return netlink.inside(f"/run/netns/{self.real(ns)}")

    def enter(self, ns):
        """The words that go before a command to run it in a namespace."""
        return ["nsenter", f"--net=/run/netns/{self.real(ns)}", "--"]

    def run(self, ns, *argv, **kwargs):
        return run(*self.enter(ns), *argv, **kwargs)

    def ip(self, ns, *argv, **kwargs):
        return self.run(ns, "ip", *argv, **kwargs)

    def veth(self, ns_a, if_a, ns_b, if_b, queues=1, mtu=None, queues_b=None, up=True,
             offloads=False):
        """
        A pair with `queues` rx and tx queues at each end (`queues_b` at the second, if it
        differs). Unless `offloads`: checksums are complete and no frame is merged or cut, so that
        the wire shows what was sent.
        """
        queues_b = queues_b or queues
        size = ("mtu", mtu) if mtu else ()
        run("ip", "link", "add", if_a, "netns", self.real(ns_a), *size,
            "numrxqueues", queues, "numtxqueues", queues, "type", "veth",
            "peer", "name", if_b, "netns", self.real(ns_b), *size,
            "numrxqueues", queues_b, "numtxqueues", queues_b)
        for ns, ifname in ((ns_a, if_a), (ns_b, if_b)):
            with self.inside(ns):
                if not offloads:
                    netlink.no_offloads(ifname)
                if up:
                    netlink.up(ifname)
        if up:
            self.wait_carrier(ns_a, if_a)
            self.wait_carrier(ns_b, if_b)

    def lossless(self, ns, ifname):
        """
        A queueing discipline on a sending veth end: a full ring then holds the sender back
        (AF_XDP sees EAGAIN), where without one the frame would be dropped.
        """
        with self.inside(ns):
            netlink.replace_qdisc(ifname, "pfifo")

    def ethtool(self, ns, *argv):
        return self.run(ns, "ethtool", *argv)

    def sysctl(self, ns, *settings):
        """Each as "net.ipv4.ip_forward=1"."""
        with self.inside(ns):
            netlink.sysctl(*settings)

    def addr(self, ns, ifname, address, nodad=False):
        with self.inside(ns):
            netlink.add_address(ifname, address, nodad)

    def up(self, ns, ifname):
        with self.inside(ns):
            netlink.up(ifname)

    def down(self, ns, ifname):
        self.ip(ns, "link", "set", ifname, "down")

    def link(self, ns, ifname):
        """iproute2's description of a link, with statistics; None if there is no such link."""
        done = self.ip(ns, "-j", "-d", "-s", "link", "show", "dev", ifname, check=False)
        return json.loads(done.stdout)[0] if done.returncode == 0 else None

    def mac(self, ns, ifname):
        with self.inside(ns):
            return netlink.mac(ifname).hex(":")

    def wait_carrier(self, ns, ifname, deadline_s=5.0):
        with self.inside(ns):
            wait_for(lambda: netlink.is_up(ifname), f"{ifname} in {ns} is up", deadline_s)

    def ping(self, ns, address, count=1, interval_s=0.01, timeout_s=1):
        """How many of `count` echo requests were answered."""
        with self.inside(ns):
            return echo.ping(address, count, interval_s, timeout_s)

    # --- processes -----------------------------------------------------------------------------

    def popen(self, ns, *argv, **kwargs):
        """A process in a namespace; it is killed at the end of the test if it still lives."""
        process = subprocess.Popen([*self.enter(ns), *map(str, argv)], **kwargs)
        self._processes.append(process)
        return process

    def gen_argv(self, *argv):
        """sluice-gen's words for popen(), with a report on standard output."""
        return [binary("tools/sluice-gen"), *argv, "--json"]

    def gen(self, ns, *argv, status=0, deadline_s=COMMAND_DEADLINE_S):
        """Runs sluice-gen to its end; its report. `status` None accepts 0 and 1 (damage)."""
        done = self.run(ns, binary("tools/sluice-gen"), *argv, "--json", check=False,
                        deadline_s=deadline_s)
        return _gen_report(argv, done, status)

    def gen_run(self, ns_a, if_a, ns_b, if_b, *argv, status=0, deadline_s=COMMAND_DEADLINE_S):
        """`sluice-gen run` from if_a to if_b in one process; its report of both directions."""
        argv = ["run", if_a, if_b, "--tx-netns", self.real(ns_a), "--rx-netns", self.real(ns_b),
                *argv]
        done = run(binary("tools/sluice-gen"), *argv, "--json", check=False, deadline_s=deadline_s)
        return _gen_report(argv, done, status)

    def sink(self, ns, ifname, *argv):
        """Starts a sink; returns when it is bound to every queue. Use as a context."""
        return Sink(self, ns, ifname, argv)

    def capture(self, ns, ifname, count, action, ethertype=None, deadline_s=COMMAND_DEADLINE_S):
        """
        Runs action() and returns the next `count` frames that came in on an interface, as bytes,
        as they were on the wire, tags included; only those of an EtherType, if one is given.
        """
        only = [hex(ethertype)] if ethertype is not None else []
        process = self.popen(ns, PYTHON, WIRE, "capture", ifname, count, *only,
                             stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        action()
        out, _ = process.communicate(timeout=deadline_s)
        assert process.returncode == 0
        return [bytes.fromhex(line) for line in out.split()]

    def replay(self, ns, ifname, frames):
        """Sends frames as they are, in order, on transmit queue 0."""
        self.run(ns, PYTHON, WIRE, "replay", ifname,
                 input="".join(f"{frame.hex()}\n" for frame in frames))

    def daemon(self, ns, config, **kwargs):
        """Starts sluiced in a namespace and waits for READY=1."""
        return Daemon(self, ns, config, **kwargs).start()

    def daemon_not_started(self, ns, config, **kwargs):
        """A Daemon whose start is the test."""
        return Daemon(self, ns, config, **kwargs)

    def close(self):
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        for daemon in self.daemons:
            daemon.close()
        if os.environ.get("SLUICE_KEEP"):
            return
        for real in self._namespaces:
            run("ip", "netns", "del", real, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


def _gen_report(argv, done, status, out=None):
    out = done.stdout if out is None else out
    expected = (0, 1) if status is None else (status,)
    assert done.returncode in expected, \
        f"sluice-gen {argv}: exit status {done.returncode}, not {expected}\n{out}" \
        f"{getattr(done, 'stderr', '') or ''}"
    return json.loads(out)


class Sink:
    """A running `sluice-gen sink`."""

    def __init__(self, net, ns, ifname, argv):
        self._err = tempfile.TemporaryFile("w+")
        self.process = net.popen(ns, binary("tools/sluice-gen"), "sink", ifname, "--json", *argv,
                                 stdout=subprocess.PIPE, stderr=self._err, text=True)
        first = self.process.stdout.readline().strip()
        assert first == "ready", f"sluice-gen sink {ifname}: {first!r}\n{self._errors()}"

    def _errors(self):
        self.process.wait(COMMAND_DEADLINE_S)
        self._err.seek(0)
        return self._err.read()

    def result(self, status=0, deadline_s=COMMAND_DEADLINE_S):
        """Waits for the sink's own end; its report. `status` None accepts 0 and 1."""
        out, _ = self.process.communicate(timeout=deadline_s)
        return _gen_report(["sink"], self.process, status, out)

    def stop(self, status=0):
        self.process.send_signal(signal.SIGTERM)
        return self.result(status)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._err.close()


class Daemon:
    """
    One sluiced under test: configuration file, notify socket, log, metrics, control socket.

    `config` is the file's text; control_socket and metrics_listen are put into its [daemon]
    section unless it names them. After stop() or kill() the same object may be started again.
    """

    def __init__(self, net, ns, config, argv=(), env=None, prefix=(), program="daemon/sluiced"):
        self.net, self.ns, self.argv, self.env, self.prefix = net, ns, argv, env or {}, prefix
        self.program = program  # in the build directory
        self.dir = Path(tempfile.mkdtemp(prefix=f"daemon{len(net.daemons)}-", dir=net.dir))
        self.config_path = self.dir / "sluice.conf"
        self.control_path = self.dir / "control.sock"
        self.log_path = self.dir / "log"
        self.configure(config)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self.dir / "notify.sock"))
        self.notified = []  # (monotonic seconds, "KEY=value") in order of arrival
        # Read at once: ten unread datagrams fill the queue, and the daemon would wait for us.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.process = None
        net.daemons.append(self)

    # --- configuration -------------------------------------------------------------------------

    def configure(self, config):
        """Writes the configuration file; a running daemon learns of it by reload()."""
        own = {"control_socket": self.control_path,
               "metrics_listen": f"unix:{self.dir / 'metrics.sock'}"}
        lines = "".join(f"{key} = {value}\n" for key, value in own.items()
                        if not re.search(rf"(?m)^\s*{key}\s*=", config))
        if not re.search(r"(?m)^\[daemon\]", config):
            config = "[daemon]\n" + config
        config = re.sub(r"(?m)^\[daemon\].*\n", lambda m: m.group(0) + lines, config, count=1)
        self.config_path.write_text(config)
        match = re.search(r"(?m)^\s*metrics_listen\s*=\s*(\S+)", config)
        self.metrics_listen = match.group(1)

    # --- life ----------------------------------------------------------------------------------

    def start(self, ready=True, deadline_s=10.0):
        self.notified.clear()
        env = {**os.environ, "NOTIFY_SOCKET": str(self.dir / "notify.sock"), **self.env}
        env.pop("JOURNAL_STREAM", None)
        with open(self.log_path, "ab") as log:
            self.process = self.net.popen(self.ns, *self.prefix, binary(self.program), "-c",
                                          self.config_path, *self.argv, stdout=log, stderr=log,
                                          env=env)
        if ready:
            self.wait_notified("READY=1", deadline_s)
        return self

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def signal(self, signum):
        self.process.send_signal(signum)

    def wait(self, deadline_s=10.0):
        """The exit status, once it has ended by itself or by a signal sent before."""
        wait_for(lambda: not self.is_running(), "sluiced ended", deadline_s)
        return self.process.returncode

    def stop(self, status=0, deadline_s=20.0):
        self.signal(signal.SIGTERM)
        got = self.wait(deadline_s)
        assert got == status, f"sluiced: exit status {got}\n{self.log()}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def reload(self, config=None, deadline_s=10.0):
        """SIGHUP, after writing `config` if given; returns when READY=1 follows RELOADING=1."""
        if config is not None:
            self.configure(config)
        seen = len(self.notified)
        self.signal(signal.SIGHUP)

        def done():
            later = [text for _, text in self.notified[seen:]]
            return "RELOADING=1" in later and "READY=1" in later[later.index("RELOADING=1"):]
        wait_for(done, "RELOADING=1, then READY=1", deadline_s)

    # --- what it says --------------------------------------------------------------------------

    def _listen(self):
        while datagram := self._notify.recv(65536).decode():
            now = time.monotonic()
            self.notified += [(now, line) for line in datagram.splitlines()]

    def wait_notified(self, line, deadline_s=10.0):
        """Waits for a notify line, e.g. READY=1; fails at once if the daemon ends before it."""
        def seen():
            found = any(text == line for _, text in self.notified)
            assert found or self.is_running(), \
                f"sluiced ended with {self.process.returncode} before {line}\n{self.log()}"
            return found
        try:
            wait_for(seen, line, deadline_s)
        except Deadline as late:
            raise Deadline(f"{late}\n{self.log()}") from None

    def notify_count(self, line):
        """How often it has said a notify line since its start."""
        return sum(text == line for _, text in self.notified)

    def status(self):
        """The latest STATUS= text, "" if there was none."""
        texts = [t for _, t in self.notified if t.startswith("STATUS=")]
        return texts[-1][len("STATUS="):] if texts else ""

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, pattern, deadline_s=5.0):
        return wait_for(lambda: re.search(pattern, self.log()), f"log has /{pattern}/", deadline_s)

    # --- metrics and control -------------------------------------------------------------------

    def http(self, path="/metrics", deadline_s=5.0):
        """(status code, headers in lower case, body) of a GET to the metrics endpoint."""
        try:
            with self._metrics_socket(deadline_s) as sock:
                connection = http.client.HTTPConnection("localhost")
                connection.sock = sock
                connection.request("GET", path)
                answer = connection.getresponse()
                body = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"GET {path} of {self.metrics_listen}: {error!r}") from error
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body

    def _metrics_socket(self, deadline_s):
        where = self.metrics_listen
        if where.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(deadline_s)
            sock.connect(where[len("unix:"):])
            return sock
        host, _, number = where.rpartition(":")
        with self.net.inside(self.ns):
            return socket.create_connection((host.strip("[]"), int(number)), deadline_s)

    def metrics(self):
        """{(name, ((label, value), …sorted)): number} of one scrape."""
        code, _, body = self.http("/metrics")
        assert code == 200, f"/metrics: {code}\n{body}"
        return parse_metrics(body)

    def metric(self, name, **labels):
        """The sum over all series of `name` that have these labels; KeyError if there is none."""
        wanted = {key: str(value) for key, value in labels.items()}
        found = [value for (series, pairs), value in self.metrics().items()
                 if series == name and wanted.items() <= dict(pairs).items()]
        if not found:
            raise KeyError(f"no series {name} {wanted}")
        return sum(found)

    def ctl(self, *argv, check=True):
        """sluicectl's JSON answer, or with check=False the finished process."""
        done = self.net.run(self.ns, binary("tools/ctl/sluicectl"), "--socket", self.control_path,
                            "--json", *argv, check=check)
        return json.loads(done.stdout) if check else done

    def control(self, request, deadline_s=10.0):
        """One request line on the control socket, the answer as it is; sluicectl not needed."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(deadline_s)
            sock.connect(str(self.control_path))
            sock.sendall(request.encode() + b"\n")
            with sock.makefile("rb") as answer:
                return json.loads(answer.read())

    def report(self):
        """Everything worth reading after a failed test."""
        config = self.config_path.read_text() if self.config_path.exists() else "no file"
        text = f"--- config ---\n{config}\n--- log ---\n{self.log()}\n"
        text += "--- notified ---\n" + "\n".join(f"{t:.3f} {line}" for t, line in self.notified)
        if self.process and self.is_running():
            try:
                text += f"\n--- metrics ---\n{self.http()[2]}"
            except (AssertionError, subprocess.TimeoutExpired) as error:
                text += f"\n--- metrics ---\n{error}"
        elif self.process:
            text += f"\n--- ended with {self.process.returncode} ---"
        return text

    def close(self):
        self._notify.shutdown(socket.SHUT_RD)
        self._listener.join()
        self._notify.close()


_SERIES = re.compile(r'^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+\d+)?$')
_LABEL = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')


def parse_metrics(text):
    """The text format 0.0.4; a line that does not fit it is an error."""
    series = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = _SERIES.match(line)
        assert match, f"not a series: {line!r}"
        labels = tuple(sorted(_LABEL.findall(match.group(2) or "")))
        key = (match.group(1), labels)
        assert key not in series, f"series twice: {line!r}"
        series[key] = float(match.group(3))
    return series
