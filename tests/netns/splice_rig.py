# SPDX-License-Identifier: GPL-2.0-or-later
"""
The bench of the splice plane's tests: clients, what splices, and servers, each in a namespace.

    a: va ──── wan [ box ] lan ──── vb :b
    10.7.1.2   10.7.1.1    10.7.2.1 10.7.2.2

What splices is the daemon with one listener (Sluiced), or the splice room alone (Plane: tests that
reach where the daemon's interface does not). SLUICE_SPLICE_SUBJECT=plane puts the room alone into
every test that does not need the daemon: a failure that stays is the room's, not control's.

    bench = SpliceBench(net)
    with bench.start("sockmap") as subject:
        report = bench.torture("--connections", 100)
        assert report["wrong"] == 0, report

The box also routes, so that the same torture runs with nothing between (through=DIRECT).
"""
import contextlib
import json
import os
import re
import select
import socket
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

from lib import COMMAND_DEADLINE_S, PYTHON, Deadline, binary, run, wait_for

FULL = os.environ.get("SLUICE_FULL") == "1"
SUBJECT = os.environ.get("SLUICE_SPLICE_SUBJECT", "daemon")
ENGINES = ("copy", "splice", "sockmap", "auto")
KERNEL_ENGINES = ("sockmap", "auto")
# Where the rules are the same code for all: what is held where differs most between these two.
FEW_ENGINES = ENGINES if FULL else ("splice", "sockmap")

CLIENT, FRONT, SERVER = "10.7.1.2", "10.7.1.1", "10.7.2.2"
ENDS = (("a", "va", CLIENT), ("box", "wan", FRONT), ("box", "lan", "10.7.2.1"), ("b", "vb", SERVER))
FRONT_PORT, SERVER_PORT = 9010, 8090
DIRECT = f"{SERVER}:{SERVER_PORT}"
THROUGH = f"{FRONT}:{FRONT_PORT}"
# A second listener with a server of its own, of the same plane.
OTHER_THROUGH, OTHER_DIRECT = f"{FRONT}:{FRONT_PORT + 1}", f"{SERVER}:{SERVER_PORT + 1}"
SETTLE_S = 20
# What malloc may keep of its own, pages that hold something still; not a share of what there was:
# buffers are given back to the kernel, all of them (daemon/splice/pool.h).
MEMORY_ALLOWANCE = 4 << 20

assert PYTHON  # the tests' own interpreter, for servers of theirs


def seed():
    """Of a torture run; SLUICE_SEED repeats one. It is in every report."""
    return int(os.environ.get("SLUICE_SEED", "0")) or int.from_bytes(os.urandom(4), "big")


def cpu_seconds(pid):
    """User and system time of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kworker_seconds():
    """What all kworkers have used: the kernel moves redirected bytes in them."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if "(kworker" in path.read_text(encoding="ascii"):
                total += cpu_seconds(path.parent.name)
    return total


_SS_LINE = re.compile(
    r"(?P<to_read>\d+)\s+(?P<to_send>\d+)\s.*skmem:\(r(?P<received>\d+),rb(?P<receive_limit>\d+),"
    r"t\d+,tb(?P<send_limit>\d+),f\d+,w(?P<queued>\d+),o\d+,bl(?P<backlog>\d+)")


class Queues:
    """
    What the kernel says of the TCP connections of a bench, by sock_diag: bytes in their queues, and
    the memory charged to them. At rest a byte that was sent and not received is in exactly one
    queue, or nowhere where a socket is charged for it: in user space, in a pipe or in a psock.
    """

    def __init__(self, net):
        self.sockets = []
        for ns in ("a", "box", "b"):
            for line in net.run(ns, "ss", "-HtnmO", "state", "established").stdout.splitlines():
                match = _SS_LINE.match(line.strip())
                assert match, line
                self.sockets.append(SimpleNamespace(
                    ns=ns, **{name: int(n) for name, n in match.groupdict().items()}))

    def bytes(self):
        """To be read, and to be sent or acknowledged."""
        return sum(s.to_read + s.to_send for s in self.sockets)

    def charged(self):
        return sum(s.received + s.queued + s.backlog for s in self.sockets)

    def most_charged(self):
        """The highest part that a socket has of what it may receive, and of what it may send."""
        return (max(s.received / s.receive_limit for s in self.sockets),
                max(s.queued / s.send_limit for s in self.sockets))


def _maps_of(pid):
    """{map name: id} of a process's BPF maps that know sockets."""
    wanted = {}
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="ascii").splitlines():
                if line.startswith("map_id:"):
                    number = int(line.split()[1])
                    shown = json.loads(run("bpftool", "-j", "map", "show", "id", number).stdout)
                    wanted[shown.get("name", "")] = number
    return {name: n for name, n in wanted.items() if name in ("splice_in", "splice_out", "flow_of")}


def _entries(number):
    dumped = run("bpftool", "-j", "map", "dump", "id", number, check=False).stdout
    return sum("error" not in json.dumps(e.get("value", "")) or "No such" not in json.dumps(e)
               for e in json.loads(dumped or "[]"))


class Footprint:
    """What a process holds: descriptors, memory, entries of its socket maps."""

    def __init__(self, pid):
        links = []
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(os.readlink(path))
        self.pipes = sum(link.startswith("pipe:") for link in links)
        self.fds = len(links) - self.pipes
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        # Anonymous: RSS also has the pages of the flow table and of the program that were touched.
        self.memory = int(status.split("RssAnon:")[1].split()[0]) << 10
        # splice_out is an array of slots: its emptiness shows in flow_of and splice_in.
        self.entries = {name: _entries(n) for name, n in _maps_of(pid).items()
                        if name != "splice_out"}

    def excess(self, before):
        """What is more than before; empty when everything is back."""
        wrong = {}
        for name in ("fds", "pipes"):
            if getattr(self, name) > getattr(before, name):
                wrong[name] = (getattr(before, name), getattr(self, name))
        if self.memory > before.memory + MEMORY_ALLOWANCE:
            wrong["memory"] = (before.memory, self.memory)
        if any(self.entries.values()):
            wrong["map entries"] = self.entries
        return wrong

    def __repr__(self):
        return str(vars(self))


class Plane:
    """tests/splice/plane.c: the splice room alone."""

    is_daemon = False

    def __init__(self, bench, engine, acceptors=2, server=DIRECT, cpu=None, argv=()):
        bench.subject = self
        self._err = tempfile.TemporaryFile("w+")
        self.process = bench.net.popen(
            "box", binary("tests/splice/splice_plane"), "--listen", THROUGH, "--server", server,
            "--listen", OTHER_THROUGH, "--server", OTHER_DIRECT,
            "--engine", engine, "--acceptors", acceptors, *(["--cpu", cpu] if cpu is not None else []), *argv,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._err, text=True)
        first = self.process.stdout.readline()
        if first != "ready\n":
            self.process.wait(COMMAND_DEADLINE_S)
            self._err.seek(0)
            raise AssertionError(f"splice_plane: {first!r} {self._err.read()}")

    @property
    def pid(self):
        return self.process.pid

    def order(self, line):
        self.begin(line)
        return self.answer()

    def begin(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self):
        text = self.process.stdout.readline()
        assert text, f"splice_plane ended with {self.process.wait(COMMAND_DEADLINE_S)}"
        return json.loads(text)

    def conns(self):
        return self.order("report")["conns"]

    def flows(self):
        return sum(self.order("report")["flows"].values())

    def parked(self):
        return self.order("report")["parked"]

    def bytes(self, engine):
        return self.order("report")["bytes"][engine]

    def unawaited(self):
        return self.order("report")["unawaited"]

    def reload(self):
        self.order("reload")

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(COMMAND_DEADLINE_S) == 0


class Sluiced:
    """The daemon with one listener and one backend."""

    is_daemon = True

    def __init__(self, bench, engine, acceptors=2, server=DIRECT, listener="", backend="",
                 daemon="", tail="", prefix=()):
        bench.subject = self
        self.config = (
            f"[daemon]\nacceptors = {acceptors}\n{daemon}\n"
            f"[listener web]\nbind = {THROUGH}\nengine = {engine}\ndefault = app\n"
            f"{listener}\n"
            f"[backend app]\nserver = s {server}\nhealth_check = off\n{backend}\n"
            f"[listener other]\nbind = {OTHER_THROUGH}\nengine = {engine}\ndefault = other\n"
            f"[backend other]\nserver = s {OTHER_DIRECT}\nhealth_check = off\n{tail}")
        self.daemon = bench.net.daemon("box", self.config, prefix=prefix)

    @property
    def pid(self):
        return self.daemon.pid

    def _sum(self, name, **labels):
        try:
            return int(self.daemon.metric(name, **labels))
        except KeyError:
            return 0

    def conns(self):
        return int(self.daemon.metric("sluice_listener_connections_active"))

    def flows(self):
        return int(self.daemon.metric("sluice_splice_flows"))

    def parked(self):
        return int(self.daemon.metric("sluice_splice_parked_bytes"))

    def bytes(self, engine):
        return self._sum("sluice_splice_bytes_total", mechanism=engine)

    def plane(self, name):
        """One of the plane's own counters."""
        return int(self.daemon.metric(f"sluice_splice_{name}_total"))

    def rejected(self, **labels):
        return self._sum("sluice_listener_connections_rejected_total", **labels)

    def unawaited(self):
        return int(self.daemon.metric("sluice_splice_unawaited_total"))

    def reload(self):
        self.daemon.reload(self.config)

    def stop(self):
        self.daemon.stop()


class SpliceBench:
    """Namespaces, links, and the programs at both ends."""

    def __init__(self, net):
        self.net = net
        self.subject = None  # the latest
        for name in ("a", "box", "b"):
            net.ns(name)
        # With offloads: the splice plane is about bytes, and 64 KiB segments are what it gets.
        net.veth("a", "va", "box", "wan", offloads=True)
        net.veth("box", "lan", "b", "vb", offloads=True)
        for ns, ifname, address in ENDS:
            net.addr(ns, ifname, f"{address}/24")
        # A tiny receive buffer drops segments, and TCP's timer doubles from 200 ms: six times are 12 s
        # in which nothing moves, with nothing between the ends, too. (40 ms: a delayed ACK.)
        for ns, ifname, address in ENDS:
            net.ip(ns, "route", "replace", f"{address.rpartition('.')[0]}.0/24", "dev", ifname,
                   "proto", "kernel", "scope", "link", "src", address, "rto_min", "50ms")
        net.ip("a", "route", "add", "default", "via", FRONT, "rto_min", "50ms")
        net.ip("b", "route", "add", "default", "via", "10.7.2.1", "rto_min", "50ms")
        net.sysctl("box", "net.ipv4.ip_forward=1")

    @contextlib.contextmanager
    def start(self, engine, kind=None, **kwargs):
        """The subject, running; at the end it must stop by itself, and well."""
        kind = kind or (Plane if SUBJECT == "plane" else Sluiced)
        subject = kind(self, engine, **kwargs)
        yield subject
        assert subject.unawaited() == 0, "a connection lost its wakeup: see daemon/splice/conn.c"
        subject.stop()

    def ends(self, through, listen):
        return ("--client-netns", f"/run/netns/{self.net.real('a')}", "--server-netns",
                f"/run/netns/{self.net.real('b')}", "--connect", through, "--listen", listen)

    def torture_begin(self, *argv, through=THROUGH, listen=DIRECT):
        """Starts a run; torture_end() has its report."""
        words = ["--seed", seed()] if "--seed" not in argv else []
        return self.net.popen("box", binary("tests/splice/splice_torture"), *self.ends(through, listen),
                              *words, *argv, stdout=subprocess.PIPE, text=True)

    @staticmethod
    def torture_end(process, deadline_s=600):
        out, _ = process.communicate(timeout=deadline_s)
        assert process.returncode in (0, 1), process.returncode
        return json.loads(out)

    def torture(self, *argv, **kwargs):
        return self.torture_end(self.torture_begin(*argv, **kwargs))

    def load_begin(self, mode, *argv, through=THROUGH, listen=DIRECT):
        return self.net.popen("box", binary("tests/splice/splice_load"), mode,
                              *self.ends(through, listen), *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def load(self, mode, *argv, **kwargs):
        process = self.load_begin(mode, *argv, **kwargs)
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, (process.returncode, out, self.told())
        return json.loads(out)

    def told(self):
        """What the subject has to say, for the message of a failure."""
        subject = self.subject
        return subject.order("report") if isinstance(subject, Plane) else ""


class Pairs:
    """Connections through the plane, a socket at each end, that have spoken enough to settle."""

    def __init__(self, bench, n):
        self.bench = bench
        host, port = DIRECT.rsplit(":", 1)
        with bench.net.inside("b"):
            self.listening = socket.create_server((host, int(port)), backlog=512)
        self.listening.settimeout(10)
        self.pairs = [self.open() for _ in range(n)]

    def open(self):
        with self.bench.net.inside("a"):
            client = socket.create_connection((FRONT, FRONT_PORT), 10)
        client.sendall(b"hello")
        server = self.listening.accept()[0]
        server.settimeout(10)
        assert server.recv(5, socket.MSG_WAITALL) == b"hello"
        return client, server

    def speak(self, times=1):
        for client, server in self.pairs:
            for _ in range(times):
                for source, sink in ((client, server), (server, client)):
                    source.sendall(b"word")
                    assert sink.recv(4, socket.MSG_WAITALL) == b"word"

    def settle(self, subject, engine):
        """Spoken until the engine is what it will be: in the kernel, for sockmap."""
        self.speak(50)
        if engine == "sockmap":
            self.speak(50)
            wait_for(lambda: subject.bytes("sockmap") >= 2 * 4 * 50 * len(self.pairs),
                     "the kernel moves them")

    def is_refused(self):
        """A new one. (One that is not is ended at both ends, or reset in a queue that is closed.)"""
        with self.bench.net.inside("a"):
            try:
                client = socket.create_connection((FRONT, FRONT_PORT), 5)
            except (ConnectionRefusedError, ConnectionResetError):
                return True
        with client:
            told = select.select([self.listening, client], [], [], 10)[0]
        assert told, "neither served nor reset"
        if self.listening in told:
            self.listening.accept()[0].close()
        return False

    def sockets(self):
        return [sock for pair in self.pairs for sock in pair]

    def close(self):
        for sock in [*self.sockets(), self.listening]:
            sock.close()


def how_it_ends(sock):
    """(bytes before the end, "reset" or "end")."""
    n = 0
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            n += len(data)
        return n, "end"
    return n, "reset"


def settled(subject, before, deadline_s=SETTLE_S):
    """Nothing is left of any flow: connections, descriptors, memory, map entries."""
    last = []

    def empty():
        last[:] = [subject.conns(), subject.flows(), subject.parked()]
        return not any(last)

    def back():
        # The daemon is not asked meanwhile: that takes a descriptor of its own for a moment.
        last[:] = [Footprint(subject.pid).excess(before)]
        return not last[0]
    try:
        wait_for(empty, "no connection, flow or parked byte is left", deadline_s)
        wait_for(back, "everything is back at the start", deadline_s)
    except Deadline as late:
        raise AssertionError(f"{late}: {last}") from None


def assert_right(report):
    """Every stream identical or seen as aborted; the recipe of what was not is in the message."""
    assert report["wrong"] == 0, json.dumps(report, indent=1)[:6000]
    assert report["identical"] > 0, report
