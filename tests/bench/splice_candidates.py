# SPDX-License-Identifier: GPL-2.0-or-later
"""
What tools/bench splice compares. Each is started anew for each measurement, on CANDIDATE_CPU; the
clients and servers (tests/splice/load.c) have LOAD_CPU, and so have the softirqs of their ends,
while those of the candidate's own interfaces are steered to its CPU by RPS.

    a: va ──── wan [ candidate ] lan ──── vb :b
    CPU 0            CPU 1               CPU 0
"""
import shutil
import signal
import subprocess

from lib import Deadline, wait_for
from splice_rig import DIRECT, FRONT_PORT, THROUGH, Plane, Sluiced, SpliceBench

LOAD_CPU, CANDIDATE_CPU = 0, 1
STOP_DEADLINE_S = 15
HAPROXY = """
global
    nbthread 1
    maxconn 5000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen x
    bind {front} backlog 4096
    {option}
    server s {server}
"""
NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
pid {dir}/nginx.pid;
error_log {dir}/nginx.err;
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
events {{ worker_connections 9000; }}
stream {{ server {{ listen {front} backlog=4096; proxy_pass {server}; proxy_timeout 1h;
                   proxy_half_close on; }} }}
"""


class Wires(SpliceBench):
    """The bench with softirqs where they belong."""

    def __init__(self, net):
        super().__init__(net)
        for ns, ifname, cpu in (("a", "va", LOAD_CPU), ("b", "vb", LOAD_CPU),
                                ("box", "wan", CANDIDATE_CPU), ("box", "lan", CANDIDATE_CPU)):
            # GRO gives a veth its NAPI; /sys shows the namespace that mounted it.
            net.ethtool(ns, "-K", ifname, "gro", "on")
            net.run(ns, "unshare", "--mount", "sh", "-c", "mount -t sysfs sysfs /sys && echo "
                    f"{1 << cpu:x} >/sys/class/net/{ifname}/queues/rx-0/rps_cpus")
        for ns in ("a", "box", "b"):
            net.sysctl(ns, "net.ipv4.tcp_tw_reuse=1", "net.ipv4.ip_local_port_range=1024 65000",
                       "net.core.somaxconn=4096")


class Candidate:
    """One competitor: start() returns when it accepts; stop() leaves nothing."""

    name = title = ""
    through = THROUGH

    def __init__(self, wires):
        self.wires = wires

    @staticmethod
    def missing():
        """Why it cannot run here, or None."""
        return None

    def start(self):
        raise NotImplementedError

    def stop(self):
        raise NotImplementedError


class Direct(Candidate):
    """Nothing between: the box routes. The ceiling."""

    name, title, through = "direct", "direct TCP (ceiling)", DIRECT

    def start(self):
        pass

    def stop(self):
        pass


class _Process(Candidate):
    def command(self):
        raise NotImplementedError

    def start(self):
        net = self.wires.net
        words = net.dir / f"{self.name}.err"
        with words.open("wb") as stderr:
            self.process = net.popen("box", "taskset", "-c", CANDIDATE_CPU, *self.command(),
                                     stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            wait_for(lambda: f":{FRONT_PORT}" in net.run("box", "ss", "-ltnH").stdout,
                     f"{self.name} listens")
        except Deadline as e:
            raise Deadline(f"{e}\n{words.read_text()}") from None

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_DEADLINE_S)
        net = self.wires.net
        wait_for(lambda: f":{FRONT_PORT}" not in net.run("box", "ss", "-ltnH").stdout,
                 f"{self.name} is gone")


class Haproxy(_Process):
    name, title, option = "haproxy", "HAProxy", ""

    @staticmethod
    def missing():
        return None if shutil.which("haproxy") else "haproxy is not installed"

    def command(self):
        path = self.wires.net.dir / f"{self.name}.cfg"
        path.write_text(HAPROXY.format(front=THROUGH, server=DIRECT, option=self.option))
        return "haproxy", "-db", "-f", path


class HaproxySplice(Haproxy):
    name, title, option = "haproxy-splice", "HAProxy, splice", "option splice-auto"


class Nginx(_Process):
    name, title = "nginx", "nginx stream"

    @staticmethod
    def missing():
        return None if shutil.which("nginx") else "nginx is not installed"

    def command(self):
        path = self.wires.net.dir / "nginx.conf"
        path.write_text(NGINX.format(front=THROUGH, server=DIRECT, dir=self.wires.net.dir))
        return "nginx", "-c", path

    def stop(self):
        # Its worker goes with it only if it is asked.
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_DEADLINE_S)


class _Ours(Candidate):
    """The daemon with its defaults, or the splice room alone with --room."""

    engine = "auto"
    room = False

    def start(self):
        kind, words = (Plane, {"cpu": CANDIDATE_CPU}) if self.room else \
            (Sluiced, {"daemon": f"cpus = {CANDIDATE_CPU}"})
        self.subject = kind(self.wires, self.engine, acceptors=1, **words)

    def stop(self):
        self.subject.stop()


class Auto(_Ours):
    name, title, engine = "auto", "sluiced, engine auto", "auto"


class Copy(_Ours):
    name, title, engine = "copy", "sluiced, engine copy", "copy"


class Splice(_Ours):
    name, title, engine = "splice", "sluiced, engine splice", "splice"


class Sockmap(_Ours):
    name, title, engine = "sockmap", "sluiced, engine sockmap", "sockmap"


CANDIDATES = {kind.name: kind for kind in (Auto, Sockmap, Splice, Copy, Haproxy, HaproxySplice,
                                          Nginx, Direct)}
OURS = ("auto", "sockmap", "splice", "copy")


def use_room():
    _Ours.room = True
