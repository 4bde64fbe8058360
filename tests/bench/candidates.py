# SPDX-License-Identifier: GPL-2.0-or-later
"""
What tools/bench packet compares: each candidate forwards from p0 to p1 (the ceiling: sends on p1)
of its own bench, on CANDIDATE_CPU, and is started anew for each measurement.

With --forward route the frames are IPv4 with random destinations, and the box has as many routes as
--routes says, all by a neighbour at f0.

The bench, once per candidate so that no candidate waits for another's queues to be released:

    gen: g0 ──── p0 :box: p1 ──── f0 :far
    flood        candidate        count and drop in XDP
    CPU 0        CPU 1            in the softirq of the CPU that sends: CPU 1
"""
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from lib import Daemon, Deadline, Net, binary, run, wait_for

GENERATOR_CPU = 0
CANDIDATE_CPU = 1
STOP_DEADLINE_S = 10
ROUTES_DEADLINE_S = 300  # a million by ip -batch take 20 s on an idle machine
BASELINE_ENV = "SLUICE_BENCH_BASELINE"

SYS_PIDFD_GETFD = 438  # on every architecture; Python 3.11 has no name for it
SO_DOMAIN = 39
AF_XDP, SOL_XDP, XDP_OPTIONS, XDP_OPTIONS_ZEROCOPY = 44, 283, 8, 1

_libc = ctypes.CDLL(None, use_errno=True)


class Counter:
    """`bench_port count`: counts and drops in XDP what arrives on an interface."""

    def __init__(self, net, ns, ifname):
        self.process = net.popen(ns, "taskset", "-c", GENERATOR_CPU,
                                 binary("tests/bench/bench_port"), "count", ifname,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n", f"bench_port count {ifname} ended"

    def begin(self, seconds):
        self.process.stdin.write(f"{round(seconds * 1000)}\n")
        self.process.stdin.flush()

    def end(self):
        """Frames per second since begin()."""
        frames, ns = map(int, self.process.stdout.readline().split())
        return frames / ns * 1e9

    def rate(self, seconds):
        self.begin(seconds)
        return self.end()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(STOP_DEADLINE_S)


class Bench(Net):
    """Namespaces, links and the counter at the far end."""

    FRAMES = ()

    def __init__(self, label):
        super().__init__(label)
        for name in ("gen", "box", "far"):
            self.ns(name)
        self.veth("gen", "g0", "box", "p0")
        self.veth("box", "p1", "far", "f0")
        self.counter = Counter(self, "far", "f0")

    def flood(self, size, seconds):
        """Starts the generator: one long system call on its CPU. Ends by itself or by a signal."""
        return self.popen("gen", binary("tools/sluice-gen"), "send", "g0", "--flood", "--size",
                          size, "--duration", f"{round(seconds * 1000)}ms", "--cpu",
                          GENERATOR_CPU, "--json", *self.FRAMES, stdout=subprocess.PIPE, text=True)

    def attach_mode(self, ifname):
        """How an XDP program is attached, from the kernel."""
        xdp = (self.link("box", ifname) or {}).get("xdp", {})
        return {1: "native", 2: "generic", 3: "offload"}.get(xdp.get("mode"), "none")


class RoutedBench(Bench):
    """
    The same wires; p0 is the router's, and everything but its own networks goes by f0. The routes
    are those of tools/bench fib (lengths as in BGP), and a default for what they leave out.
    """

    MAC = "02:00:00:00:01:00"
    FRAMES = ("--ip", "--src-ip", "10.1.0.2", "--dst-ip", "128.0.0.0", "--dst-random", 30,
              "--dst-mac", MAC)

    def __init__(self, label, routes):
        super().__init__(label)
        self.ip("box", "link", "set", "p0", "address", self.MAC)
        self.run("box", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                 "net.ipv4.conf.p0.rp_filter=0")
        self.addr("box", "p0", "10.1.0.1/24")
        self.addr("box", "p1", "10.2.0.1/24")
        self.ip("box", "neigh", "replace", "10.2.0.2", "lladdr", self.mac("far", "f0"), "dev", "p1",
                "nud", "permanent")
        self.ip("box", "route", "add", "default", "via", "10.2.0.2")
        if routes:
            self._load(routes)

    def _load(self, routes):
        prefix = self.dir / "fib"
        run(binary("tests/bench/bench_fib"), "--family", 4, "--routes", routes, "--write", prefix,
            deadline_s=ROUTES_DEADLINE_S)
        batch = self.dir / "batch"
        with open(f"{prefix}.routes", encoding="ascii") as lines, \
                open(batch, "w", encoding="ascii") as out:
            for line in lines:
                net = line.split()[0]
                if not net.startswith(("0.", "10.", "127.")) and not net.endswith("/0"):
                    out.write(f"route replace {net} via 10.2.0.2\n")
        self.ip("box", "-force", "-batch", batch, check=False, deadline_s=ROUTES_DEADLINE_S)


def bind_modes(pid):
    """
    How the AF_XDP sockets of a process are bound, as the kernel says: their descriptors are
    borrowed, because not every kernel has sock_diag for them.
    """
    modes = set()
    pidfd = os.pidfd_open(pid)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if not os.readlink(link).startswith("socket:"):
            continue
        fd = _libc.syscall(SYS_PIDFD_GETFD, pidfd, int(link.name), 0)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        # The family is asked below: Python's own way, getsockname(), AF_XDP has not got.
        with socket.socket(AF_XDP, socket.SOCK_RAW, 0, fileno=fd) as borrowed:
            if borrowed.getsockopt(socket.SOL_SOCKET, SO_DOMAIN) == AF_XDP:
                flags = borrowed.getsockopt(SOL_XDP, XDP_OPTIONS)
                modes.add("zerocopy" if flags & XDP_OPTIONS_ZEROCOPY else "copy")
    os.close(pidfd)
    return modes


class Candidate:
    """One competitor. start() returns when frames would be forwarded; stop() leaves nothing."""

    name = ""
    title = ""
    receives = True  # False: nothing is forwarded, p0 only keeps the generator's CPU as busy
    routes = False   # needs the routes of the bench, where frames are to be routed
    forwards = ("xconnect",)

    def __init__(self, size, forward="xconnect", n_routes=0):
        self.size = size
        self.forward = forward
        self.bench = Bench(self.name) if forward == "xconnect" else \
            RoutedBench(self.name, n_routes if self.routes else 0)
        self.facts = {}
        self.process = None

    @staticmethod
    def missing():
        """Why it cannot run here, or None."""
        return None

    def start(self):
        raise NotImplementedError

    def worker_tid(self):
        """The thread that forwards, whose system calls are counted; None if there is none."""
        return self.process.pid

    def look(self):
        """Called while frames flow: what is worth saying beside the figure, into self.facts."""
        modes = bind_modes(self.process.pid)
        if self.receives:
            modes |= {self.bench.attach_mode(port) for port in ("p0", "p1")}
        self.facts["mode"] = " ".join(sorted(modes, reverse=True))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_DEADLINE_S)

    def close(self):
        self.bench.close()


def _thread_named(pid, name):
    """The thread of a process by its name, or None."""
    for line in run("ps", "-L", "-o", "tid=,comm=", "-p", pid).stdout.splitlines():
        tid, comm = line.split(None, 1)
        if comm == name:
            return int(tid)
    return None


class Sluiced(Candidate):
    """The daemon with its defaults; only the CPU is named."""

    name = "sluiced"
    title = "sluiced, xconnect"
    forwards = ("xconnect", "route")
    CONFIG = (f"[daemon]\ncpus = {CANDIDATE_CPU}\n"
              "[port a]\ninterface = p0\nforward = xconnect b\ntake_host_traffic = yes\n"
              "[port b]\ninterface = p1\nforward = xconnect a\ntake_host_traffic = yes\n")

    def __init__(self, *args):
        super().__init__(*args)
        self.daemon = Daemon(self.bench, "box", self.CONFIG)

    def start(self):
        self.daemon.start()
        self.process = self.daemon.process

    def worker_tid(self):
        metrics = self.daemon.metrics()
        names = {dict(labels)["worker"] for name, labels in metrics if name == "sluice_worker_info"}
        assert len(names) == 1, f"one queue has one worker, not {names}"
        return _thread_named(self.process.pid, names.pop())

    def look(self):
        super().look()
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        self.facts["rss_bytes"] = 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))
        self.facts["umem_bytes"] = int(self.daemon.metric("sluice_umem_size_bytes"))

    def stop(self):
        self.daemon.stop()


class Router(Sluiced):
    """The daemon as a router, on the kernel's own table."""

    name = "router"
    title = "sluiced, route"
    routes = True
    forwards = ("route",)
    CONFIG = (f"[daemon]\ncpus = {CANDIDATE_CPU}\n"
              "[port a]\ninterface = p0\nforward = route\n"
              "[port b]\ninterface = p1\nforward = route\n")


class Baseline(Sluiced):
    """The daemon of another build directory: what a change to the code is worth."""

    name = "baseline"
    title = "sluiced of --baseline"
    forwards = ("xconnect",)

    @staticmethod
    def missing():
        return None if os.environ.get(BASELINE_ENV) else "no --baseline BUILD given"

    def start(self):
        ours = os.environ["SLUICE_BUILD"]
        os.environ["SLUICE_BUILD"] = os.environ[BASELINE_ENV]
        try:
            super().start()
        finally:
            os.environ["SLUICE_BUILD"] = ours


class Testpmd(Candidate):
    """DPDK's forwarder on net_af_xdp, main lcore 0, forwarding lcore 1, no busy polling."""

    name = "testpmd"
    title = "dpdk-testpmd, net_af_xdp, io"
    # Busy polling has no effect on veth; asked for, it would cost a system call per empty poll.
    # A burst of 64 and rings of 2048, as ours; its own defaults are 32 and 1024/2048.
    EAL = ("-l", f"{GENERATOR_CPU},{CANDIDATE_CPU}", "--main-lcore", GENERATOR_CPU, "--no-huge",
           "-m", 256, "--no-pci", "--no-telemetry", "--log-level", "error")
    FORWARD = ("--forward-mode=io", "--auto-start", "--nb-cores=1", "--burst=64", "--rxd=2048",
               "--txd=2048", "--total-num-mbufs=32768", "--no-lsc-interrupt")
    READY = "Press enter to exit"

    @staticmethod
    def missing():
        return None if shutil.which("dpdk-testpmd") else "dpdk-testpmd is not installed (dpdk-dev)"

    def start(self):
        vdevs = [f"--vdev=net_af_xdp{i},iface=p{i},start_queue=0,queue_count=1,busy_budget=0"
                 for i in (0, 1)]
        self.process = self.bench.popen(
            # stdbuf: into a pipe it would keep READY to itself
            "box", "stdbuf", "-oL", "dpdk-testpmd", *self.EAL, *vdevs, "--", *self.FORWARD,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "RUNTIME_DIRECTORY": str(self.bench.dir)})
        said = []
        for line in self.process.stdout:
            said.append(line)
            if self.READY in line:
                return
        raise AssertionError("dpdk-testpmd ended before it forwarded:\n" + "".join(said[-20:]))

    def worker_tid(self):
        return _thread_named(self.process.pid, f"rte-worker-{CANDIDATE_CPU}")

    def stop(self):
        self.process.stdin.write("\n")  # SIGTERM would kill it by itself in the end
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait(STOP_DEADLINE_S)


class Ceiling(Candidate):
    """
    AF_XDP that only sends. The generator floods p0 all the same, where XDP drops it, so that the
    other CPU and the caches they share are as busy as in the other runs.
    """

    name = "ceiling"
    title = "AF_XDP tx only (ceiling)"
    receives = False
    forwards = ("xconnect", "route")

    def start(self):
        self.drop = Counter(self.bench, "box", "p0")
        self.process = self.bench.popen("box", binary("tests/bench/bench_port"), "send", "p1",
                                        CANDIDATE_CPU, self.size, stdout=subprocess.PIPE,
                                        text=True)
        assert self.process.stdout.readline() == "ready\n", "bench_port send ended"

    def stop(self):
        super().stop()
        self.drop.stop()


class Kernel(Candidate):
    """The kernel; GRO gives p0 the NAPI that the generator needs, RPS moves the work to CPU 1."""

    def start(self):
        net = self.bench
        net.ethtool("box", "-K", "p0", "gro", "on")
        # /sys shows the interfaces of the namespace that mounted it.
        net.run("box", "unshare", "--mount", "sh", "-c",
                "mount -t sysfs sysfs /sys && "
                f"echo {1 << CANDIDATE_CPU:x} >/sys/class/net/p0/queues/rx-0/rps_cpus")

    def worker_tid(self):
        return None

    def look(self):
        self.facts["mode"] = "kernel"

    def stop(self):
        pass


class Linux(Kernel):
    """Linux as a router, on the same table."""

    name = "linux"
    title = "Linux forwarding, RPS"
    routes = True
    forwards = ("route",)


class Bridge(Kernel):
    """The Linux bridge."""

    name = "bridge"
    title = "Linux bridge, RPS"

    def start(self):
        super().start()
        net = self.bench
        net.ip("box", "link", "add", "br0", "type", "bridge")
        for port in ("p0", "p1"):
            net.ip("box", "link", "set", port, "master", "br0")
        net.up("box", "br0")
        wait_for(lambda: "state forwarding" in net.run("box", "bridge", "link").stdout,
                 "the bridge forwards")

    def stop(self):
        self.bench.ip("box", "link", "del", "br0")


CANDIDATES = {kind.name: kind for kind in (Sluiced, Router, Baseline, Testpmd, Ceiling, Bridge,
                                        Linux)}


@contextlib.contextmanager
def running(candidate):
    candidate.start()
    try:
        yield candidate
    finally:
        candidate.stop()


def wait_flowing(candidate, deadline_s=10.0):
    """Frames arrive at the far end: a candidate may need a moment after it says it is ready."""
    try:
        wait_for(lambda: candidate.bench.counter.rate(0.02) > 0, f"{candidate.name} forwards",
                 deadline_s)
    except Deadline as late:
        raise AssertionError(str(late)) from None
