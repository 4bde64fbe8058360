#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make_hellos.py DIRECTORY

Writes first flights of real TLS clients, as they came off a socket, one file each: what test_sniff_tls and the fuzzer
read. Run inside a network namespace of its own (unshare -rn); the results are committed (tests/unit/data/hello), because
they are random and the clients of another machine are others. Post-quantum hellos are composed from a real one, since
no TLS library of Debian 12 makes them: same extensions, with the X25519MLKEM768 share, GREASE and ECH of today's browsers.
"""
import os
import socket
import ssl
import struct
import subprocess
import sys

GREASE = 0x1a1a
X25519MLKEM768, SECP256R1MLKEM768 = 0x11ec, 0x11eb


def first_flight(command):
    """What `command` sends to a port of ours ("@" in its words) before anybody answers: 0.5 s without more ends it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        listener.settimeout(10)
        client = subprocess.Popen([word.replace("@", port) for word in command], stdin=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        connection, _ = listener.accept()
        data = b""
        with connection:
            connection.settimeout(0.5)
            try:
                while chunk := connection.recv(65536):
                    data += chunk
            except TimeoutError:
                pass
        client.kill()
        client.wait()
    return data


def python_hello(name, **options):
    context = ssl.create_default_context()
    context.check_hostname = False
    for key, value in options.items():
        if key == "alpn":
            context.set_alpn_protocols(value)
        else:
            setattr(context, key, value)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def vector(n_bytes, data):
    return len(data).to_bytes(n_bytes, "big") + data


def extension(kind, data):
    return struct.pack(">H", kind) + vector(2, data)


def split(record):
    """One record -> (everything before the extensions, {type: body})"""
    body = record[5 + 4:]
    pos = 2 + 32
    pos += 1 + body[pos]
    pos += 2 + int.from_bytes(body[pos:pos + 2], "big")
    pos += 1 + body[pos]
    head, rest = body[:pos], body[pos + 2:]
    extensions = {}
    while rest:
        kind, size = struct.unpack(">HH", rest[:4])
        extensions[kind], rest = rest[4:4 + size], rest[4 + size:]
    return head, extensions


def records(hello, size=16384):
    message = b"\x01" + vector(3, hello)
    return b"".join(b"\x16\x03\x01" + vector(2, message[at:at + size]) for at in range(0, len(message), size))


def post_quantum(base, groups, padding=0, size=16384):
    """`base` with key shares of 1,216 bytes and more, GREASE first and last, and an outer ECH."""
    head, extensions = split(base)
    shares = struct.pack(">H", GREASE) + vector(2, b"\0")
    for group, n_bytes in groups:
        shares += struct.pack(">H", group) + vector(2, os.urandom(n_bytes))
    extensions[51] = vector(2, shares)
    extensions[0xfe0d] = b"\0\0\1\0\1\x42" + vector(2, os.urandom(32)) + vector(2, os.urandom(176))
    if padding:
        extensions[21] = bytes(padding)
    listed = b"".join(extension(kind, body) for kind, body in extensions.items())
    listed = extension(GREASE, b"") + listed + extension(GREASE + 0x1010, b"\0")
    return records(head + vector(2, listed), size)


def main(directory):
    os.makedirs(directory, exist_ok=True)
    s_client = ["openssl", "s_client", "-connect", "127.0.0.1:@", "-servername"]
    tls13 = python_hello("www.example.org", alpn=["h2", "http/1.1"])
    hellos = {
        "python-tls13": tls13,
        "python-tls12": python_hello("www.example.org", maximum_version=ssl.TLSVersion.TLSv1_2),
        "python-no-name": python_hello(None),
        "python-address": python_hello("192.0.2.7"),
        "openssl-tls12": first_flight([*s_client, "www.example.org", "-tls1_2"]),
        "openssl-upper-case": first_flight([*s_client, "WWW.Example.ORG", "-alpn", "h2"]),
        "openssl-no-middlebox": first_flight([*s_client, "www.example.org", "-no_middlebox"]),
        # its own fragments of the hello: 512 bytes is the least that it makes
        "openssl-fragments": first_flight([*s_client, "www.example.org", "-max_send_frag", "512", "-alpn",
                                           ",".join("protocol-%04d" % i for i in range(120))]),
        "curl": first_flight(["curl", "-sk", "--connect-to", "::127.0.0.1:@", "https://www.example.org/"]),
        "gnutls-git": first_flight(["git", "-c", "http.curloptResolve=www.example.org:@:127.0.0.1", "ls-remote",
                                    "https://www.example.org:@/x.git"]),
        "node": first_flight(["/usr/bin/node", "-e", "require('tls').connect({host: '127.0.0.1', port: @, "
                              "servername: 'www.example.org', ALPNProtocols: ['h2', 'http/1.1']}).on('error', () => 0)"]),
        "post-quantum": post_quantum(tls13, [(X25519MLKEM768, 1216), (29, 32)]),
        "post-quantum-records": post_quantum(tls13, [(X25519MLKEM768, 1216), (29, 32)], size=333),
        "post-quantum-16k": post_quantum(tls13, [(X25519MLKEM768, 1216), (SECP256R1MLKEM768, 1249), (29, 32)], 13100),
        "post-quantum-two-records": post_quantum(tls13, [(X25519MLKEM768, 1216), (29, 32)], 15300),
    }
    for name, data in hellos.items():
        assert data[:2] == b"\x16\x03" and data[5] == 1, name
        with open(os.path.join(directory, name), "wb") as file:
            file.write(data)
        print("%-26s %6d bytes" % (name, len(data)))


if __name__ == "__main__":
    main(sys.argv[1])
