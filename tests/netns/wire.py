# SPDX-License-Identifier: GPL-2.0-or-later
"""
Frames off a wire and onto it, by AF_PACKET; run inside a namespace by lib.py.

    wire.py capture IF N [TYPE]  prints `ready`, then N frames that came in, one in hexadecimal a
                                 line; with TYPE only those of this EtherType
    wire.py replay IF            sends the lines of standard input
"""
import socket
import struct
import sys

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_QDISC_BYPASS = 20  # transmit queue 0 for every frame, so that their order holds
PACKET_AUXDATA = 8
TP_STATUS_VLAN_VALID = 1 << 4
RECEIVE_BUFFER_BYTES = 16 << 20
SO_RCVBUFFORCE = 33


def open_socket(ifname):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    sock.bind((ifname, 0))
    return sock


def with_tag(frame, ancillary):
    """The kernel takes the outermost tag out of a frame that comes in: this puts it back."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", data[:20])
            if status & TP_STATUS_VLAN_VALID:
                return frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
    return frame


def capture(ifname, count, ethertype=None):
    sock = open_socket(ifname)
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    print("ready", flush=True)
    frames = []
    while len(frames) < count:
        frame, ancillary, _, (_, _, direction, *_) = sock.recvmsg(65536, 64)
        frame = with_tag(frame, ancillary)
        if direction != socket.PACKET_OUTGOING and \
                ethertype in (None, int.from_bytes(frame[12:14], "big")):
            frames.append(frame)
    print("\n".join(frame.hex() for frame in frames))


def replay(ifname):
    sock = open_socket(ifname)
    sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    for line in sys.stdin:
        frame = bytes.fromhex(line)
        assert sock.send(frame) == len(frame)


if __name__ == "__main__":
    if sys.argv[1] == "capture":
        capture(sys.argv[2], int(sys.argv[3]), *(int(t, 0) for t in sys.argv[4:]))
    else:
        replay(sys.argv[2])
