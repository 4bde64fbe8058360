# SPDX-License-Identifier: GPL-2.0-or-later
"""
The few things that every test does to its links, asked of the kernel without a process for each: a
network of two hosts cost fifty of `ip`, `ethtool` and `tc`, and on a busy machine a second.

All of it concerns the network namespace that the calling thread is in (inside()).
"""
import contextlib
import ctypes
import fcntl
import ipaddress
import os
import socket
import struct

CLONE_NEWNET = 0x40000000

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETNEIGH, RTM_NEWQDISC = 16, 18, 20, 30, 36
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG = struct.Struct("=IHHII")  # length, type, flags, sequence, port
IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, change
IFADDR = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
TCMSG = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info
NDMSG = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
ATTR = struct.Struct("=HH")
IFLA_IFNAME, IFLA_OPERSTATE = 3, 16
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFA_F_NODAD = 0x02
NDA_LLADDR, NDA_MASTER = 2, 9
NUD_PERMANENT = 0x80
AF_BRIDGE = 7
TCA_KIND = 1
TC_H_ROOT = 0xffffffff
IFF_UP = 1
IF_OPER_UP = 6

SIOCETHTOOL, SIOCGIFHWADDR = 0x8946, 0x8927
ETHTOOL_STXCSUM, ETHTOOL_SGSO, ETHTOOL_SGRO = 0x17, 0x24, 0x2c

_libc = ctypes.CDLL(None, use_errno=True)


def _setns(handle):
    if _libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@contextlib.contextmanager
def inside(path):
    """This thread is in a namespace meanwhile; sockets made here stay there."""
    with open("/proc/thread-self/ns/net") as home, open(path) as there:
        _setns(there)
        try:
            yield
        finally:
            _setns(home)


def sysctl(*settings):
    """What `sysctl -w KEY=VALUE…` does."""
    for setting in settings:
        key, value = setting.split("=", 1)
        with open("/proc/sys/" + key.replace(".", "/"), "w", encoding="ascii") as file:
            file.write(value)


def _attr(kind, value):
    return ATTR.pack(ATTR.size + len(value), kind) + value + bytes(-len(value) % 4)


def _attrs(data):
    while len(data) >= ATTR.size:
        length, kind = ATTR.unpack_from(data)
        yield kind, data[ATTR.size:length]
        data = data[(length + 3) & ~3:]


def _request(kind, flags, body):
    """One request; the payload of what it is answered with, OSError if that is an error."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        sock.send(NLMSG.pack(NLMSG.size + len(body), kind, NLM_F_REQUEST | flags, 1, 0) + body)
        answer = sock.recv(65536)
    length, kind, *_ = NLMSG.unpack_from(answer)
    answer = answer[NLMSG.size:length]
    if kind == NLMSG_ERROR:
        error = -struct.unpack_from("=i", answer)[0]
        if error:
            raise OSError(error, os.strerror(error))
    return answer


def _dump(kind, body):
    """The payload of every message of an answer in parts."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        sock.send(NLMSG.pack(NLMSG.size + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
        while True:
            data = sock.recv(65536)
            while data:
                length, answer, *_ = NLMSG.unpack_from(data)
                if answer == NLMSG_DONE:
                    return
                assert answer != NLMSG_ERROR, data[:length].hex()
                yield data[NLMSG.size:length]
                data = data[(length + 3) & ~3:]


def up(ifname):
    index = socket.if_nametoindex(ifname)
    _request(RTM_NEWLINK, NLM_F_ACK, IFINFO.pack(0, 0, index, IFF_UP, IFF_UP))


def is_up(ifname):
    """Operational: its queues are running."""
    name = _attr(IFLA_IFNAME, ifname.encode() + b"\0")
    link = _request(RTM_GETLINK, 0, IFINFO.pack(0, 0, 0, 0, 0) + name)
    return dict(_attrs(link[IFINFO.size:]))[IFLA_OPERSTATE][0] == IF_OPER_UP


def add_address(ifname, address, nodad=False):
    """What `ip address add ADDRESS/LENGTH dev IFNAME [nodad]` does."""
    interface = ipaddress.ip_interface(address)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    body = IFADDR.pack(family, interface.network.prefixlen, IFA_F_NODAD if nodad else 0, 0,
                       socket.if_nametoindex(ifname))
    packed = interface.packed
    _request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
             body + _attr(IFA_LOCAL, packed) + _attr(IFA_ADDRESS, packed))


def replace_qdisc(ifname, kind):
    """What `tc qdisc replace dev IFNAME root KIND` does."""
    _request(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
             TCMSG.pack(0, socket.if_nametoindex(ifname), 0, TC_H_ROOT, 0)
             + _attr(TCA_KIND, kind.encode() + b"\0"))


def bridge_entries():
    """{(bridge, MAC): port} of what bridges here have learnt or were told, their own left out."""
    found, names = {}, dict(socket.if_nameindex())
    for message in _dump(RTM_GETNEIGH, NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0)):
        _, index, state, *_ = NDMSG.unpack_from(message)
        attrs = dict(_attrs(message[NDMSG.size:]))
        if NDA_MASTER in attrs and not state & NUD_PERMANENT:
            bridge = names.get(struct.unpack("=I", attrs[NDA_MASTER])[0])
            found[bridge, attrs[NDA_LLADDR].hex(":")] = names.get(index)
    return found


def _interface_ioctl(ifname, request, argument=0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, request, struct.pack("16sP16x", ifname.encode(), argument))


def mac(ifname):
    """Six bytes."""
    return _interface_ioctl(ifname, SIOCGIFHWADDR)[18:24]


def no_offloads(ifname):
    """What `ethtool -K IFNAME tx off gro off gso off` does."""
    for command in (ETHTOOL_STXCSUM, ETHTOOL_SGRO, ETHTOOL_SGSO):
        value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
        _interface_ioctl(ifname, SIOCETHTOOL, ctypes.addressof(value))
