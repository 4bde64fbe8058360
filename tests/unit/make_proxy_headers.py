#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make_proxy_headers.py DIRECTORY

Writes PROXY headers of HAProxy and nginx as a backend of theirs sees them, followed by the client's "hello\\r\\n", one
file each: what test_proxy_header and the fuzzer read. A client connects from 127.0.0.1 or ::1, port 40000; each server
line of HAProxy has a port of its own. Run inside a network namespace of its own, as root (unshare -n).
"""
import os
import socket
import subprocess
import sys
import tempfile
import time

CLIENT_PORT = 40000
HELLO = b"hello\r\n"

# name: (address, options of the server line)
HAPROXY = {
    "haproxy-v1-ip4": ("127.0.0.1", "send-proxy"),
    "haproxy-v1-ip6": ("::1", "send-proxy"),
    "haproxy-v2-ip4": ("127.0.0.1", "send-proxy-v2"),
    "haproxy-v2-ip6": ("::1", "send-proxy-v2"),
    "haproxy-v2-crc-ip4": ("127.0.0.1", "send-proxy-v2 proxy-v2-options crc32c"),
    "haproxy-v2-crc-ip6": ("::1", "send-proxy-v2 proxy-v2-options crc32c"),
    "haproxy-v2-crc-unique-id": ("127.0.0.1", "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    "haproxy-v2-crc-ssl": ("127.0.0.1", "send-proxy-v2-ssl-cn proxy-v2-options crc32c,ssl-cipher,cert-key,cert-sig"),
}
CHECK = "haproxy-v2-local"


def write_haproxy(path):
    lines = ["global", "  log stderr local0 err", "defaults", "  mode tcp", "  timeout connect 5s", "  timeout client 5s",
             "  timeout server 5s", "  unique-id-format %[rand,hex]"]
    for i, (name, (address, options)) in enumerate(HAPROXY.items()):
        lines += ["listen %s" % name, "  bind %s:%d" % (address, 10000 + i),
                  "  server s 127.0.0.1:%d %s" % (20000 + i, options)]
    lines += ["backend check", "  server s 127.0.0.1:29000 send-proxy-v2 check check-send-proxy inter 200ms", ""]
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines))


def write_nginx(path, directory):
    with open(path, "w", encoding="ascii") as file:
        file.write("""
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid %s/pid; error_log stderr;
events { worker_connections 64; }
stream {
  server { listen 127.0.0.1:11000; proxy_pass 127.0.0.1:21000; proxy_protocol on; }
  server { listen [::1]:11001; proxy_pass 127.0.0.1:21001; proxy_protocol on; }
}
""" % directory)


def connect(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    deadline = time.monotonic() + 10
    while True:
        client = socket.socket(family)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.bind((address, CLIENT_PORT))
        try:
            client.connect((address, port))
            return client
        except ConnectionRefusedError:
            client.close()
            if time.monotonic() > deadline:
                raise


def capture(address, port, backend_port):
    with socket.create_server(("127.0.0.1", backend_port)) as listener, connect(address, port) as client:
        client.sendall(HELLO)
        listener.settimeout(10)
        connection, _ = listener.accept()
        data = b""
        with connection:
            connection.settimeout(10)
            while not data.endswith(HELLO):
                data += connection.recv(4096)
    return data


def capture_check():
    """HAProxy's own connection: it sends LOCAL and closes."""
    with socket.create_server(("127.0.0.1", 29000)) as listener:
        listener.settimeout(10)
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    data = connection.recv(4096)
                except ConnectionResetError:
                    continue
            if data:
                return data


def main(directory):
    os.makedirs(directory, exist_ok=True)
    captured = {}
    with tempfile.TemporaryDirectory() as scratch:
        write_haproxy(scratch + "/haproxy.cfg")
        write_nginx(scratch + "/nginx.conf", scratch)
        children = [subprocess.Popen(["haproxy", "-db", "-q", "-f", scratch + "/haproxy.cfg"]),
                    subprocess.Popen(["nginx", "-p", scratch, "-c", scratch + "/nginx.conf"])]
        try:
            for i, (name, (address, _)) in enumerate(HAPROXY.items()):
                captured[name] = capture(address, 10000 + i, 20000 + i)
            captured[CHECK] = capture_check()
            captured["nginx-v1-ip4"] = capture("127.0.0.1", 11000, 21000)
            captured["nginx-v1-ip6"] = capture("::1", 11001, 21001)
        finally:
            for child in children:
                child.terminate()
                child.wait()
    for name, data in captured.items():
        with open(os.path.join(directory, name), "wb") as file:
            file.write(data)
        print("%-26s %s" % (name, data))


if __name__ == "__main__":
    main(sys.argv[1])
