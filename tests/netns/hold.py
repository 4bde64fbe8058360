# SPDX-License-Identifier: GPL-2.0-or-later
"""
Holding one thread of a process by ptrace, while the others run on: SIGSTOP would stop them all.

    with held(tid):      # stopped when the block begins, running when it has ended
"""
import contextlib
import ctypes
import os

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_DETACH = 17
WALL = 0x40000000  # __WALL: also threads that are not their group's leader

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request, tid):
    if _libc.ptrace(request, tid, None, None) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {tid}")


@contextlib.contextmanager
def held(tid):
    """Must be entered and left by the same thread of the test: ptrace belongs to threads."""
    _ptrace(PTRACE_SEIZE, tid)
    _ptrace(PTRACE_INTERRUPT, tid)
    os.waitpid(tid, WALL)
    try:
        yield
    finally:
        _ptrace(PTRACE_DETACH, tid)
