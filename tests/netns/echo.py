# SPDX-License-Identifier: GPL-2.0-or-later
"""
Echo requests, and how many are answered. Not ping(8): once that has had one answer it waits for the
others no longer than twice the slowest so far or its interval, whatever -W says. With the intervals of tests
that is 10 ms, and a host that did not run for so long has "lost" the last packet.
"""
import itertools
import os
import select
import socket
import struct
import time

PAYLOAD = bytes(range(48))
IDENTITY = struct.Struct("!HH")  # identifier, sequence number: the second word of an echo
ECHO, ECHO_REPLY, ECHO6, ECHO6_REPLY = 8, 0, 128, 129
ERRORS4 = (3, 11, 12)  # they quote the request with its IP header
HEADER6 = 40

_identifiers = itertools.count(os.getpid())


def _checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def _request(family, identifier, seq):
    kind = ECHO if family == socket.AF_INET else ECHO6  # the kernel fills in the checksum of ICMPv6
    body = IDENTITY.pack(identifier, seq) + PAYLOAD
    head = struct.pack("!BBH", kind, 0, 0)
    if family == socket.AF_INET:
        head = struct.pack("!BBH", kind, 0, _checksum(head + body))
    return head + body


def _heard(family, packet):
    """((identifier, sequence number), whether it is an answer) of what is said to a request."""
    if family == socket.AF_INET:
        packet = packet[(packet[0] & 15) * 4:]
    if len(packet) < 8:
        return None, False
    kind, quoted = packet[0], packet[8:]
    if kind == (ECHO_REPLY if family == socket.AF_INET else ECHO6_REPLY):
        return IDENTITY.unpack_from(packet, 4), True
    is_error = kind in ERRORS4 if family == socket.AF_INET else kind < ECHO6
    if not is_error or not quoted:
        return None, False
    at = (quoted[0] & 15) * 4 if family == socket.AF_INET else HEADER6
    return (IDENTITY.unpack_from(quoted, at + 4) if len(quoted) >= at + 8 else None), False


def ping(address, count=1, interval_s=0.01, timeout_s=1.0):
    """
    Sends `count` requests from the namespace that this thread is in. How many are answered within
    timeout_s of the last; an ICMP error is no answer, and is not waited for any longer.
    """
    family, _, _, _, target = socket.getaddrinfo(address, None, flags=socket.AI_NUMERICHOST)[0]
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    identifier = next(_identifiers) & 0xffff
    answered, refused = set(), set()
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol) as sock:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        due, sent = time.monotonic(), 0
        while len(answered) + len(refused - answered) < count:
            now = time.monotonic()
            if now >= due:
                if sent == count:
                    break
                try:
                    sock.sendto(_request(family, identifier, sent), target)
                except OSError:  # no route, say
                    refused.add(sent)
                sent += 1
                due = now + (interval_s if sent < count else timeout_s)
            if not poll.poll(max(0, due - time.monotonic()) * 1000):
                continue
            identity, is_answer = _heard(family, sock.recv(65536))
            if identity and identity[0] == identifier:
                (answered if is_answer else refused).add(identity[1])
    return len(answered)
