# SPDX-License-Identifier: GPL-2.0-or-later
"""
Other people's programs at both ends of the splice plane: nginx and HAProxy as servers, HAProxy in
front. Each is one process in the foreground, of which nothing is left when its Net closes.

    with open("page", "w") as file: ...
    nginx(net, "b", "one", f"server {{ listen {SERVER}:8000; root {net.dir}; }}", f"{SERVER}:8000")
"""
import shutil
import subprocess

import pytest

from lib import Deadline, run, wait_for

NGINX = """
daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log {dir}/error.log info;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    {servers}
}}
"""

HAPROXY = """
global
    maxconn 4000
defaults
    timeout connect 5s
    timeout client 60s
    timeout server 60s
"""


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed (tools/bootstrap test)")


def _start(net, ns, directory, argv, addresses):
    with open(directory / "out", "wb") as out:
        process = net.popen(ns, *argv, stdout=out, stderr=out)

    def is_up():
        assert process.poll() is None, (directory / "out").read_text()
        listening = net.run(ns, "ss", "-Hltn").stdout.split()
        return all(address in listening for address in addresses)
    try:
        wait_for(is_up, f"{argv[0]} listens on {addresses}")
    except Deadline as late:
        raise AssertionError(f"{late}\n{(directory / 'out').read_text()}") from None
    return process


def nginx(net, ns, name, servers, *addresses):
    """Its process, once it listens on all of the addresses."""
    needs("nginx")
    directory = net.dir / f"nginx-{name}"
    directory.mkdir()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(dir=directory, servers=servers))
    return _start(net, ns, directory,
                  ("nginx", "-c", config, "-e", directory / "error.log", "-p", directory), addresses)


def haproxy(net, ns, name, sections, *addresses):
    needs("haproxy")
    directory = net.dir / f"haproxy-{name}"
    directory.mkdir()
    config = directory / "haproxy.cfg"
    config.write_text(HAPROXY + sections)
    return _start(net, ns, directory, ("haproxy", "-db", "-f", config), addresses)


def pem(cert, key):
    """Certificate and key in one file, as HAProxy wants them."""
    path = cert.with_suffix(".pem")
    path.write_text(cert.read_text() + key.read_text())
    return path


def random_file(path, n_bytes):
    """Its sha256 sum."""
    run("dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={n_bytes >> 20}")
    return sha256(path)


def sha256(path):
    return run("sha256sum", path).stdout.split()[0]
