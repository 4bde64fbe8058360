# SPDX-License-Identifier: GPL-2.0-or-later
"""
A multi-queue tap whose other end is this process: what is written to fd q arrives on receive
queue q, exactly, in native and in generic mode; what the interface sends comes out of the fds.
"""
import fcntl
import os
import select
import struct
import time

from lib import wait_for
from traffic import in_ns

TUNSETIFF = 0x400454ca
IFF_TAP, IFF_NO_PI, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x0100


class Tap:
    def __init__(self, net, ns, ifname, queues):
        self._net, self._ns, self.ifname = net, ns, ifname
        self.fds = in_ns(net, ns, lambda: [self._open() for _ in range(queues)])

    def _open(self):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", self.ifname.encode(), flags))
        return fd

    def __enter__(self):
        self._net.ethtool(self._ns, "-K", self.ifname, "gro", "off")
        self._net.up(self._ns, self.ifname)
        wait_for(lambda: "LOWER_UP" in self._net.link(self._ns, self.ifname)["flags"],
                 f"{self.ifname} has a carrier")
        return self

    def __exit__(self, *exc):
        for fd in self.fds:
            os.close(fd)

    def send(self, queue, frame):
        assert os.write(self.fds[queue], frame) == len(frame)

    def receive(self, count, deadline_s=5.0):
        """{queue: [frame, …]} of the next `count` frames."""
        frames, end = {}, time.monotonic() + deadline_s
        while sum(map(len, frames.values())) < count:
            ready, _, _ = select.select(self.fds, [], [], max(0, end - time.monotonic()))
            assert ready, f"only {frames} came out of {self.ifname}"
            for fd in ready:
                frames.setdefault(self.fds.index(fd), []).append(os.read(fd, 65536))
        return frames
