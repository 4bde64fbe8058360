# SPDX-License-Identifier: GPL-2.0-or-later
"""
Another BPF agent, as a service mesh has one: it puts a socket of somebody else's process into a
sockmap of its own, with a verdict that passes everything.
"""
import contextlib
import ctypes
import os
import socket
import struct

SYS_BPF, SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 321, 434, 438  # x86-64; the latter two everywhere
if os.uname().machine == "aarch64":
    SYS_BPF = 280
MAP_CREATE, MAP_UPDATE_ELEM, PROG_LOAD, PROG_ATTACH = 0, 2, 5, 8
MAP_TYPE_SOCKMAP, PROG_TYPE_SK_SKB, ATTACH_SK_SKB_VERDICT = 15, 14, 38
RETURN_SK_PASS = struct.pack("<BBhi", 0xb7, 0, 0, 1) + struct.pack("<BBhi", 0x95, 0, 0, 0)

_libc = ctypes.CDLL(None, use_errno=True)


def _syscall(number, *args):
    result = _libc.syscall(number, *(ctypes.c_long(arg) for arg in args))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


def _bpf(command, *words):
    """Words of union bpf_attr: (size in bytes, value)."""
    attr = b"".join(value.to_bytes(size, "little") for size, value in words).ljust(144, b"\0")
    buffer = ctypes.create_string_buffer(attr, len(attr))
    return _syscall(SYS_BPF, command, ctypes.addressof(buffer), len(attr))


def _pointer(data):
    buffer = ctypes.create_string_buffer(data, len(data))
    return buffer, ctypes.addressof(buffer)


def socket_of(pid, peer):
    """A copy of the process's socket whose far end is `peer`."""
    pidfd = _syscall(SYS_PIDFD_OPEN, pid, 0)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                    continue
                sock = socket.socket(fileno=_syscall(SYS_PIDFD_GETFD, pidfd, int(name), 0))
                with contextlib.suppress(OSError):
                    if sock.getpeername() == peer:
                        return sock
                sock.close()
    finally:
        os.close(pidfd)
    raise AssertionError(f"{pid} has no connection with {peer}")


@contextlib.contextmanager
def owned(sock):
    """The socket is in a foreign sockmap."""
    insns, license_ = _pointer(RETURN_SK_PASS), _pointer(b"GPL\0")
    prog = _bpf(PROG_LOAD, (4, PROG_TYPE_SK_SKB), (4, 2), (8, insns[1]), (8, license_[1]))
    sockmap = _bpf(MAP_CREATE, (4, MAP_TYPE_SOCKMAP), (4, 4), (4, 4), (4, 1))
    try:
        _bpf(PROG_ATTACH, (4, sockmap), (4, prog), (4, ATTACH_SK_SKB_VERDICT))
        key, value = _pointer(struct.pack("=I", 0)), _pointer(struct.pack("=I", sock.fileno()))
        _bpf(MAP_UPDATE_ELEM, (8, sockmap), (8, key[1]), (8, value[1]))
        yield
    finally:
        os.close(sockmap)
        os.close(prog)
