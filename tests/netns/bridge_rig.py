# SPDX-License-Identifier: GPL-2.0-or-later
"""
Runs cases on a switch of four ports, once Linux's bridge and once Sluice, and says which frames came
out on every wire and where each address was learnt.

    ns "h"   h0   h1   h2   h3        no addresses, no IPv6: what is seen on these was forwarded
             ║    ║    ║    ║  veth
    ns "s"   p0   p1   p2   p3        the switch; p3's MTU is 1000

Frames are sent one at a time. Behind each, by the same port, goes a marker: a broadcast from an
address that is always behind that port. When it has come out of every other port that is up, all
that the frame caused has come out before it, because each port is one queue and one worker. Then
follows a wait until the source is where it has to be: Linux learns while it forwards, Sluice a
moment later, and that moment is not what is compared.

Addresses of a case are its own (Macs), so cases do not see what others left behind.
"""
import errno
import re
import select
import socket
import struct
from collections import Counter
from dataclasses import dataclass

import netlink
from lib import wait_for
from probe import inside
from rig import ask
from wire import PACKET_AUXDATA, PACKET_QDISC_BYPASS, SO_RCVBUFFORCE, SOL_PACKET, with_tag

PORTS = range(4)
PORT_MAC = [f"02:ff:00:00:00:0{i}" for i in PORTS]
SMALL_PORT, SMALL_MTU = 3, 1000
STATIC_MAC, STATIC_PORT = "02:5a:00:00:00:02", 2
BROADCAST = "ff:ff:ff:ff:ff:ff"

ETH_P_ALL = 0x0003
ETH_P_LOCAL_EXPERIMENT = 0x88b5
PACKET_IGNORE_OUTGOING = 23
RECEIVE_BUFFER_BYTES = 16 << 20
MAGIC = b"slMARKer"
DEADLINE_S = 5.0


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def mac_text(octets):
    return octets.hex(":")


class Macs:
    """The addresses of one case: x[0] … x[3], and more by any other number."""

    def __init__(self, case_number):
        self._stem = f"02:00:{case_number >> 8:02x}:{case_number & 255:02x}:00"

    def __getitem__(self, number):
        return f"{self._stem}:{number:02x}"


# --- what a case is made of ------------------------------------------------------------------------

@dataclass(frozen=True)
class Send:
    """A frame into a port. learnt=False: its source is not to be learnt there."""
    port: int
    frame: bytes
    learnt: bool = True


@dataclass(frozen=True)
class Link:
    """The switch's own end of a port, or (far) the station's, is set up or down."""
    port: int
    up: bool
    far: bool = False


@dataclass(frozen=True)
class Case:
    name: str
    steps: object  # steps(x) -> [Send | Link, …]; x: Macs


# --- switches --------------------------------------------------------------------------------------

def build(net):
    """The network, with nothing that forwards yet."""
    net.ns("h"), net.ns("s")
    for i in PORTS:
        net.veth("h", f"h{i}", "s", f"p{i}", up=False)
        net.ip("s", "link", "set", f"p{i}", "address", PORT_MAC[i])
        net.ip("h", "link", "set", f"h{i}", "mtu", 3000)
        for ns, ifname in (("h", f"h{i}"), ("s", f"p{i}")):
            net.up(ns, ifname)
    net.ip("s", "link", "set", f"p{SMALL_PORT}", "mtu", SMALL_MTU)
    for i in PORTS:
        net.wait_carrier("h", f"h{i}")
        net.wait_carrier("s", f"p{i}")


class Linux:
    """
    Snooping, STP and hairpin off, vlan_filtering too (where the kernel has it, 0 is its default).
    bridge-nf-call-* lets iptables, and with it a check of IP headers, see bridged frames: off.
    """

    def __init__(self, net, snooping=0):
        self.net = net
        net.ip("s", "link", "add", "br0", "type", "bridge", "stp_state", 0, "forward_delay", 0,
               "mcast_snooping", snooping)
        for table in ("iptables", "ip6tables", "arptables"):
            net.run("s", "sysctl", "-qw", f"net.bridge.bridge-nf-call-{table}=0")
        net.ip("s", "link", "set", "br0", "up")
        for i in PORTS:
            net.ip("s", "link", "set", f"p{i}", "master", "br0")
        net.run("s", "bridge", "fdb", "add", STATIC_MAC, "dev", f"p{STATIC_PORT}", "master",
                "static", "sticky")

    def fdb(self):
        """{address: port} of what was learnt or is static."""
        with self.net.inside("s"):
            return {mac: int(port.removeprefix("p"))
                    for (_, mac), port in netlink.bridge_entries().items()}

    def wait_link(self, port, up):
        def is_so():
            text = self.net.run("s", "bridge", "link", "show", "dev", f"p{port}").stdout
            return ("state forwarding" in text) is up
        wait_for(is_so, f"Linux's bridge has seen p{port} {'up' if up else 'down'}")


class Sluice:
    """The same ports in a daemon. `bridge`: keys of its section; `port0` …: keys of a port."""

    def __init__(self, net, ports=PORTS, **keys):
        self.net = net
        self.daemon = net.daemon("s", self.config(ports, **keys))

    @staticmethod
    def config(ports=PORTS, bridge="", **port_keys):
        text = f"[bridge br]\nstatic = {STATIC_MAC} {port_name(STATIC_PORT)}\n{bridge}\n"
        for port in ports:
            keys = {"interface": f"p{port}", "forward": "bridge br", "stall_timeout": "5s",
                    **port_keys.get(port_name(port), {})}
            text += f"[port {port_name(port)}]\n"
            text += "".join(f"{key} = {value}\n" for key, value in keys.items())
        return text

    def rows(self):
        """What `show fdb` says, a row for each address."""
        return ask(self.daemon, "show fdb br")["fdb"]

    def fdb(self):
        return {row["mac"]: int(row["port"].removeprefix("port")) for row in self.rows()}

    def wait_link(self, port, up):
        """Down: nothing but static entries leads there either."""
        def is_so():
            text = ask(self.daemon, "show plan")["text"]
            is_up = re.search(rf"(?m)^port {port_name(port)}\n(?:  .*\n)*?  link +up, carrier$", text)
            return bool(is_up) is up and (up or not any(
                row["port"] == port_name(port) and not row["static"] for row in self.rows()))
        wait_for(is_so, f"Sluice has seen p{port} {'up' if up else 'down'}")


def port_name(number):
    return f"port{number}"


# --- the wires ---------------------------------------------------------------------------------------

class Taps:
    def __init__(self, net):
        self._poll = select.poll()
        self._socks, self._port_of = [], {}
        with inside(net, "h"):
            for port in PORTS:
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                                     socket.htons(ETH_P_ALL))
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
                for option in (PACKET_AUXDATA, PACKET_IGNORE_OUTGOING, PACKET_QDISC_BYPASS):
                    sock.setsockopt(SOL_PACKET, option, 1)
                sock.bind((f"h{port}", 0))
                self._socks.append(sock)
                self._port_of[sock.fileno()] = port
                self._poll.register(sock, select.POLLIN)

    def send(self, port, frame):
        try:
            self._socks[port].send(frame)
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.ENETDOWN):
                raise

    def receive(self, timeout_s):
        """[(port, frame)]"""
        found = []
        for fd, _ in self._poll.poll(timeout_s * 1000):
            port = self._port_of[fd]
            while True:
                try:
                    frame, ancillary, _, _ = self._socks[port].recvmsg(65536, 64)
                except OSError as error:
                    if error.errno == errno.EAGAIN:
                        break
                    if error.errno != errno.ENETDOWN:  # told once, when its interface goes down
                        raise
                    continue
                found.append((port, with_tag(frame, ancillary)))
        return found

    def close(self):
        for sock in self._socks:
            sock.close()


class Rig:
    def __init__(self, net, switch, ports=PORTS):
        self.net, self.switch, self.taps = net, switch, Taps(net)
        self._up = set(ports)
        self._token = 0
        self._seen = []
        self._try_all()

    # --- markers ---

    def _marker(self, port):
        self._token += 1
        token = MAGIC + struct.pack("!I", self._token)
        head = b"\xff" * 6 + mac_bytes(f"02:4d:4b:00:00:{port:02x}")
        return token, head + struct.pack("!H", ETH_P_LOCAL_EXPERIMENT) + token.ljust(46, b"\0")

    def _take(self, timeout_s, missing):
        """Notes what comes in; strikes the markers off `missing`, a set of (port, token)."""
        for port, frame in self.taps.receive(timeout_s):
            if frame[14:22] == MAGIC:
                missing.discard((port, frame[14:26]))
            else:
                self._seen.append((port, frame))

    def _close_window(self, port):
        token, frame = self._marker(port)
        missing = {(other, token) for other in self._up - {port}}
        self.taps.send(port, frame)

        def none_missing():
            self._take(0.002, missing)
            return not missing
        wait_for(none_missing, f"the marker of port {port} is on all other wires: {missing}",
                 DEADLINE_S)

    def _try_all(self):
        """After a change of links: until a marker from every port comes out of every other one."""
        for port in self._up:
            missing = {}

            def arrived():
                token, frame = self._marker(port)
                for other in self._up - {port}:
                    missing.setdefault(other, set()).add((other, token))
                self.taps.send(port, frame)
                before = {other: len(marks) for other, marks in missing.items()}
                everything = set().union(*missing.values())
                self._take(0.005, everything)
                for other in list(missing):
                    missing[other] &= everything
                    if len(missing[other]) < before[other]:
                        del missing[other]
                        self._up_seen.add((port, other))
                return all((port, other) in self._up_seen for other in self._up - {port})
            self._up_seen = set()
            wait_for(arrived, f"port {port} reaches all ports that are up", DEADLINE_S)
            self._close_window(port)

    # --- steps ---

    def _send(self, step):
        self.taps.send(step.port, step.frame)
        if step.port not in self._up:
            return
        self._close_window(step.port)
        if step.learnt:
            source = mac_text(step.frame[6:12])
            wait_for(lambda: self.switch.fdb().get(source) == step.port,
                     f"{source} is learnt behind port {step.port}", DEADLINE_S)

    def _link(self, step):
        ns, ifname = ("h", f"h{step.port}") if step.far else ("s", f"p{step.port}")
        self.net.ip(ns, "link", "set", ifname, "up" if step.up else "down")
        (self._up.add if step.up else self._up.discard)(step.port)
        self.switch.wait_link(step.port, step.up)
        self._try_all()

    def cross(self, port, frame, learnt=False):
        """Ports by which a frame came out, sorted, and once for each time."""
        self._seen = []
        self._send(Send(port, frame, learnt))
        return sorted(out for out, _ in self._seen)

    def widen(self, ports):
        """More ports than before take part."""
        self._up |= set(ports)
        self._try_all()

    def run(self, case, number):
        """({port: multiset of frames that came out of it}, {address of the case: port})"""
        x = Macs(number)
        self._seen = []
        for step in case.steps(x):
            (self._send if isinstance(step, Send) else self._link)(step)
        out = {port: Counter(f for p, f in self._seen if p == port) for port in PORTS}
        stem = x[0][:-2]
        learnt = {mac: port for mac, port in self.switch.fdb().items() if mac.startswith(stem)}
        return out, learnt


def run_all(net, switch, cases):
    rig = Rig(net, switch)
    try:
        return {case.name: rig.run(case, number) for number, case in enumerate(cases, 1)}
    finally:
        rig.taps.close()


def differences(one, other, names):
    """{case: text}: what is on a wire, or learnt, in one run and not in the other."""
    found = {}
    for case, (out, learnt) in one.items():
        other_out, other_learnt = other[case]
        text = ""
        for port in PORTS:
            for name, frames in ((names[0], out[port] - other_out[port]),
                                 (names[1], other_out[port] - out[port])):
                for frame, count in frames.items():
                    text += f"port {port}: only {name}, {count} ×: {len(frame)} bytes " \
                            f"{frame[:40].hex()}\n"
        if learnt != other_learnt:
            text += f"learnt by {names[0]}: {learnt}\nlearnt by {names[1]}: {other_learnt}\n"
        if text:
            found[case] = text
    return found
