# SPDX-License-Identifier: GPL-2.0-or-later
"""
slow_hellos.py HOST PORT N: clients that hold a listener up, or try to. Every other one says nothing,
the rest a byte of a long ClientHello ten times a second. When all have been ended: a JSON object,
`seconds` that each had from its connect.
"""
import contextlib
import json
import resource
import select
import socket
import sys
import time

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
ROUND_S = 0.1


def main():
    host, port, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    poll = select.poll()
    live, began, seconds = {}, {}, []
    for _ in range(n):
        try:
            sock = socket.create_connection((host, port), 30)
        except ConnectionResetError:
            seconds.append(0)
            continue
        sock.setblocking(False)
        live[sock.fileno()], began[sock.fileno()] = sock, time.monotonic()
        poll.register(sock, select.POLLIN)
    rounds, due = 0, time.monotonic()
    while live:
        for fd, _ in poll.poll(max(0, due - time.monotonic()) * 1000):
            seconds.append(round(time.monotonic() - began[fd], 3))
            poll.unregister(fd)
            live.pop(fd).close()
        if time.monotonic() >= due:
            due, rounds = time.monotonic() + ROUND_S, rounds + 1
            for fd, sock in list(live.items()):
                if fd % 2 and rounds <= len(HELLO):
                    with contextlib.suppress(OSError):
                        sock.send(HELLO[rounds - 1:rounds])
    print(json.dumps({"seconds": seconds}))


main()
