# SPDX-License-Identifier: GPL-2.0-or-later
"""
Sluice as what forwards in the network of router_topology.py: a, b, c are its ports, d is not. And
when it has taken note of a command, which no sleep can tell:

    routes, neighbours, addresses   the kernel tells in order: when a route that was added behind
                                    them is known, they are
    links                           `show plan` says of each port what `ip link` says
    policy                          sluice_policy_bypass or _ports differ from the start, or
                                    are the same again
"""
import json
import re
import time

from probe import inside
from router_topology import PORTS
from traffic import settled

NOTE_DEADLINE_S = 5.0
POLL_S = 0.001
PORT = "[port {0}]\ninterface = {0}\nforward = route\nstall_timeout = 5s\n"

# Commands that bring policy (design.md §4.9) which Sluice has to leave to the kernel, and those
# that take it away.
POLICY_COMES = re.compile(
    r"nft .*add rule (?!ip n p udp dport 2048 drop)|rule add|xfrm policy add"
    r"|(ipv4\.conf\.(a|b|all)|ipv6\.conf\.all)\.forwarding=0|ip_forward_use_pmtu=1"
    r"|ipv6\.conf\.b\.mtu=1300"
    r"|\.rp_filter=[12]|disable_ipv6=1")
POLICY_GOES = re.compile(
    r"nft flush|rule del|xfrm policy del|\.forwarding=1|ip_forward_use_pmtu=0|\.rp_filter=0"
    r"|disable_ipv6=0|ipv6\.conf\.b\.mtu=1500")
LINK = re.compile(r"link set")


class Sluice:
    """The daemon in r. `program` is another build of it."""
    name = "sluice"

    def __init__(self, net, program="daemon/sluiced", route=""):
        self.net = net
        config = "".join(PORT.format(port) for port in PORTS) + f"[route]\n{route}"
        self.daemon = net.daemon("r", config, program=program)
        from pyroute2 import IPRoute  # it looks at the namespace when it is opened
        with inside(net, "r"):
            self._route = IPRoute()
        self._out = self._route.link_lookup(ifname="d")[0]
        self._fences = 0
        self._quiet = self._policy()

    def close(self):
        self._route.close()

    # --- what it has taken note of -----------------------------------------------------------------

    def _text(self, request):
        return json.dumps(self.daemon.control(request))

    def _policy(self):
        return {key: value for key, value in self.daemon.metrics().items()
                if key[0] in ("sluice_policy_bypass", "sluice_policy_ports")}

    def _knows_fence(self, dst):
        return dst in self._text(f"show routes {dst}/32")

    def _fence(self):
        self._fences += 1
        dst = f"203.0.113.{self._fences % 256}"
        self._route.route("add", dst=f"{dst}/32", gateway="10.4.0.2", oif=self._out)
        try:
            return self._comes(lambda: self._knows_fence(dst), f"the route to {dst}")
        finally:
            self._route.route("del", dst=f"{dst}/32", gateway="10.4.0.2", oif=self._out)

    def _links_agree(self):
        plan = self.daemon.control("show plan")["text"]
        for link in json.loads(self.net.ip("r", "-j", "link", "show", "type", "veth").stdout):
            block = re.search(rf"^port {link['ifname']}\n((?:  .*\n)*)", plan, re.MULTILINE)
            if not block:
                continue
            is_up, carrier = "UP" in link["flags"], "LOWER_UP" in link["flags"]
            wanted = f"{'up' if is_up else 'down'}, {'carrier' if carrier else 'no carrier'}"
            if not re.search(rf"^  link +{wanted}$", block[1], re.MULTILINE) or \
                    not re.search(rf"^  mtu +{link['mtu']}$", block[1], re.MULTILINE):
                return False
        return True

    @staticmethod
    def _comes(is_there, what):
        """"" once it is there, else a text about what has not come."""
        end = time.monotonic() + NOTE_DEADLINE_S
        while not is_there():
            if time.monotonic() > end:
                return f"sluiced has not taken note: {what}. "
            time.sleep(POLL_S)
        return ""

    def settle(self, commands):
        """Waits until it has taken note of these commands; a text about what it has not."""
        if not commands:
            return ""
        text, missed = "\n".join(commands), self._fence()
        if LINK.search(text):
            missed += self._comes(self._links_agree, "a link") + self._fence()
        if POLICY_GOES.search(text):
            missed += self._comes(lambda: self._policy() == self._quiet, "policy is gone")
        elif POLICY_COMES.search(text):
            missed += self._comes(lambda: self._policy() != self._quiet, "policy has come")
        return missed

    # --- what it did ---------------------------------------------------------------------------------

    def books(self):
        """The books of all frames, which must balance."""
        return settled(self.daemon)
