# SPDX-License-Identifier: GPL-2.0-or-later
"""
Listeners and backends as an operator has them: names, addresses, reloads, health, the end. Every
test runs the real daemon between a client's and the servers' namespaces.

    c (10.0.0.1) ── (10.0.0.2) d (10.0.1.1) ── (10.0.1.2) s
"""
import contextlib
import ipaddress
import os
import re
import select
import signal
import socket
import ssl

import pytest

from front import (CLIENT, FRONT, SERVER, backend, cgroup, connect, curl, get, is_refused,
                   is_turned_away, origins, rejected, wait_ended, who, wire)
from lib import run, wait_for
from origin import Origin, certificate

ENGINES = pytest.mark.parametrize("engine", ["auto", "copy", "splice", "sockmap"])


# --- Names ----------------------------------------------------------------------------------------


@ENGINES
def test_http_goes_by_the_host(wire, engine):
    config = f"""[listener web]
bind = {FRONT}:80
sniff = http
route = one.example -> one
route = *.two.example -> two
engine = {engine}
""" + backend("one", "one") + backend("two", "two", port=8001)
    with origins(wire, "one", "two"):
        daemon = wire.daemon("d", config)
        for host, name in (("one.example", "one"), ("ONE.example:80", "one"),
                           ("a.b.two.example", "two")):
            assert curl(wire, "-H", f"Host: {host}", f"http://{FRONT}/").stdout == f"{name}\n"
        other = curl(wire, "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: two.example",
                     f"http://{FRONT}/")
        assert other.stdout in ("404", "421")
        wait_for(lambda: rejected(daemon, "no_backend") == 1, "it was counted")
        wait_ended(daemon)
        assert daemon.metric("sluice_listener_connections_total", listener="web") == 4
        assert daemon.metric("sluice_backend_connections_total", backend="one") == 2
        assert daemon.metric("sluice_splice_truncations_total") == 0


@ENGINES
def test_tls_passes_through_by_sni(wire, engine):
    config = f"""[listener web]
bind = {FRONT}:443
sniff = tls
route = one.example -> one
route = two.example -> two
engine = {engine}
""" + backend("one", "one") + backend("two", "two", port=8001)
    names = ("one", "two")
    pairs = {name: certificate(wire.dir, f"{name}.example") for name in names}
    with contextlib.ExitStack() as stack:
        for i, name in enumerate(names):
            stack.enter_context(Origin(wire, "s", name, (SERVER, 8000 + i), tls=pairs[name]))
        daemon = wire.daemon("d", config)
        for name in names:
            # The server's own certificate is checked by name: nobody opened the TLS in between.
            context = ssl.create_default_context(cafile=pairs[name][0])
            with connect(wire, 443) as sock, \
                    context.wrap_socket(sock, server_hostname=f"{name}.example") as tls:
                assert get(tls, f"{name}.example") == name
        with connect(wire, 443) as sock, pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
            ssl._create_unverified_context().wrap_socket(sock, server_hostname="three.example")
        said = wire.run("c", "openssl", "s_client", "-connect", f"{FRONT}:443", "-servername",
                        "two.example", "-brief", input="", check=False)
        assert "CN = two.example" in said.stdout + said.stderr
        wait_for(lambda: rejected(daemon, "no_backend") == 1, "it was counted")


# --- Addresses ------------------------------------------------------------------------------------


def test_unix_listener_and_unix_server(wire):
    front, back = wire.dir / "front.sock", wire.dir / "back.sock"
    # What a dead daemon left behind is replaced.
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(front))
    stale.close()
    config = f"""[listener web]
bind = unix:{front}
default = app
[backend app]
server = a unix:{back}
"""
    with Origin(wire, "s", "unix", str(back)):
        daemon = wire.daemon("d", config)
        assert os.stat(front).st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(front))
            assert get(sock) == "unix"
        daemon.stop()
    assert not front.exists()


@pytest.mark.parametrize("engine", ["copy", "splice"])
def test_a_unix_clients_close_is_no_reset(wire, engine):
    """Its server has time for what was asked, and an answer is reset as by a closed TCP socket."""
    front = wire.dir / "front.sock"
    config = f"[listener web]\nbind = unix:{front}\nengine = {engine}\ndefault = app\n" + \
        backend("app", "one", keys="health_check = off\n")
    with wire.inside("s"):
        listener = socket.create_server((SERVER, 8000))
    listener.settimeout(5)
    daemon = wire.daemon("d", config)
    for answers in (False, True):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(front))
            client.sendall(b"x" * 50000)
        server = listener.accept()[0]
        poll = select.poll()
        poll.register(server, 0)
        with server:
            assert poll.poll(500) == [], "it was reset"
            assert len(server.recv(60000, socket.MSG_WAITALL)) == 50000
            assert server.recv(1) == b""
            if answers:
                server.sendall(b"too late")
                assert [events for _, events in poll.poll(5000)] == [select.POLLERR | select.POLLHUP]
        wait_ended(daemon)
        assert daemon.metric("sluice_splice_resets_total") == answers
    assert daemon.metric("sluice_splice_truncations_total") == 0
    listener.close()


@pytest.mark.parametrize("v4_too", [False, True])
def test_dual_stack(wire, v4_too):
    for ns in "cd":
        wire.sysctl(ns, "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0")
    wire.addr("c", "c0", "2001:db8::1/64", nodad=True)
    wire.addr("d", "d0", "2001:db8::2/64", nodad=True)
    v4 = "bind = 0.0.0.0:80\n" if v4_too else ""
    config = f"[listener web]\n{v4}bind = [::]:80\ndefault = app\n" + \
        backend("app", "one", keys="send_proxy = v1\nhealth_check = off\n")
    with origins(wire, "one") as (one,):
        wire.daemon("d", config)
        assert who(wire) == "one"
        # IPv4 is IPv4, whatever the socket is.
        assert one.seen[-1].head.startswith(f"PROXY TCP4 {CLIENT} {FRONT} ".encode())
        assert who(wire, address="2001:db8::2") == "one"
        words = one.seen[-1].head.decode().split()
        assert words[1] == "TCP6"
        assert [ipaddress.ip_address(word) for word in words[2:4]] == \
            [ipaddress.ip_address("2001:db8::1"), ipaddress.ip_address("2001:db8::2")]
        listening = wire.run("d", "ss", "-Hltn", "sport = :80").stdout
        assert ("0.0.0.0:80" in listening) == v4_too


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_socket_of_systemd(wire, kind):
    path = wire.dir / "activated.sock"
    address = f"{FRONT}:80" if kind == "tcp" else path
    config = "[listener web]\nbind = fd:web\ndefault = app\n" + backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon_not_started(
            "d", config, prefix=("systemd-socket-activate", "-l", address, "--fdname=web",
                                 "-E", "NOTIFY_SOCKET"))
        daemon.start(ready=False)
        # The first connection starts it, and is the first that it serves.
        def client():
            if kind == "tcp":
                return connect(wire)
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(5)
            sock.connect(str(path))
            return sock
        wait_for(lambda: is_listening(wire, kind, path), "systemd-socket-activate listens")
        with client() as sock:
            assert get(sock) == "one"
            daemon.wait_notified("READY=1")
            # Without its bind the socket stays systemd's; with it, it is served again.
            daemon.reload("[backend app]\nserver = a 10.0.1.2:8000\n")
            daemon.reload(config)
            assert get(sock) == "one"
        with client() as sock:
            assert get(sock) == "one"


def is_listening(net, kind, path):
    if kind == "tcp":
        return ":80" in net.run("d", "ss", "-Hltn").stdout
    return path.exists() and str(path) in net.run("d", "ss", "-Hlxn").stdout


def test_an_fd_that_nobody_handed_over(wire):
    daemon = wire.daemon_not_started("d", "[listener web]\nbind = fd:web\ndefault = app\n" +
                                     backend("app", "one"))
    daemon.start(ready=False)
    assert daemon.wait() == 1
    assert re.search("fd:web: systemd handed over no socket of that name", daemon.log())


@pytest.mark.parametrize("what, message", [
    ("mptcp", "MPTCP cannot be spliced"),
    ("udp", "no stream socket"),
    ("idle", "does not listen"),
])
def test_an_fd_that_cannot_be_served_is_refused(wire, what, message):
    kind, protocol = {"mptcp": (socket.SOCK_STREAM, 262), "udp": (socket.SOCK_DGRAM, 0),
                      "idle": (socket.SOCK_STREAM, 0)}[what]
    with wire.inside("d"):
        sock = socket.socket(socket.AF_INET, kind, protocol)
    sock.bind((FRONT, 80))
    if what == "mptcp":
        sock.listen()
    # The shell puts it where systemd does, and says so to its own process id.
    hand_over = f"exec 3<&{sock.fileno()}; LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID=$$ exec \"$@\""
    daemon = wire.daemon_not_started("d", "[listener web]\nbind = fd:web\ndefault = app\n" +
                                     backend("app", "one"))
    argv = [*wire.enter("d"), "bash", "-c", hand_over, "bash",
            os.path.join(os.environ["SLUICE_BUILD"], "daemon/sluiced"), "-c", daemon.config_path]
    with sock:
        done = run(*argv, check=False, pass_fds=(sock.fileno(),))
    assert done.returncode == 1
    assert message in done.stderr


def test_an_address_that_is_taken(wire):
    with wire.inside("d"):
        taken = socket.create_server((FRONT, 80))
    config = "[listener web]\nbind = 10.0.0.2:80\ndefault = app\n" + backend("app", "one")
    with taken:
        daemon = wire.daemon_not_started("d", config)
        daemon.start(ready=False)
        assert daemon.wait() == 1
        assert "cannot listen on 10.0.0.2:80: another program listens there" in daemon.log()
        # At a reload the old configuration goes on, wholly.
        other = config.replace("10.0.0.2:80", "10.0.0.2:81")
        with origins(wire, "one"):
            daemon = wire.daemon("d", other)
            daemon.reload(other.replace("default", "bind = 10.0.0.2:80\ndefault") + "retries = 1\n")
            assert daemon.metric("sluice_config_last_reload_successful") == 0
            assert "cannot listen on 10.0.0.2:80" in daemon.log()
            assert who(wire, 81) == "one"


def test_an_address_that_comes_later(wire):
    config = "[listener web]\nbind = 10.0.0.9:80\ndefault = app\n" + backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        assert "10.0.0.9:80 is not an address of this host now" in daemon.log()
        wire.addr("d", "d0", "10.0.0.9/24")
        assert who(wire, address="10.0.0.9") == "one"


# --- Reload ---------------------------------------------------------------------------------------


def test_a_reload_leaves_connections_alone(wire):
    one, two = backend("app", "one"), backend("app", "two", port=8001)
    listener = "[listener web]\nbind = 10.0.0.2:80\nbind = 10.0.0.2:81\ndefault = app\n"
    with origins(wire, "one", "two"):
        daemon = wire.daemon("d", listener + one)
        with connect(wire) as old, connect(wire, 81) as old_too:
            assert get(old) == get(old_too) == "one"
            daemon.reload(listener.replace(":81", ":82") + two)
            # Those that are there stay where they are, the one whose address is gone included.
            assert get(old) == get(old_too) == "one"
            assert who(wire) == who(wire, 82) == "two"
            assert is_refused(wire, 81)
            # The same sockets under another name.
            daemon.reload(listener.replace(":81", ":82").replace("web", "www") + two)
            assert get(old) == get(old_too) == "one"
            assert who(wire) == who(wire, 82) == "two"
            # No listener is left.
            daemon.reload("")
            assert get(old) == get(old_too) == "one"
            assert is_refused(wire, 80) and is_refused(wire, 82)
            daemon.reload(listener + one)
            assert who(wire) == "one"
        assert daemon.metric("sluice_config_last_reload_successful") == 1


def test_reloads_lose_no_connection_of_an_address_that_stays(wire):
    """Addresses come and go beside it, while clients connect all the time."""
    listener = "[listener web]\nbind = 10.0.0.2:80\ndefault = app\n"
    more = listener.replace("default", "bind = 10.0.0.2:81\ndefault")
    with origins(wire, "one"):
        daemon = wire.daemon("d", listener + backend("app", "one"))
        for i in range(20):
            daemon.configure((more if i % 2 == 0 else listener) + backend("app", "one"))
            seen = daemon.notify_count("READY=1")
            daemon.signal(signal.SIGHUP)
            n = 0
            while daemon.notify_count("READY=1") == seen or n < 5:
                assert who(wire) == "one"
                n += 1
        assert daemon.metric("sluice_config_reloads_total") == 20
        assert daemon.metric("sluice_config_reload_failures_total") == 0


def test_dry_run_says_what_would_change(wire):
    config = "[listener web]\nbind = 10.0.0.2:80\ndefault = app\n" + backend("app", "one")
    daemon = wire.daemon("d", config)
    daemon.configure(config.replace("app", "other").replace("80\n", "80\nsniff_timeout = 2s\n", 1))
    text = daemon.ctl("reload", "--dry-run")["text"]
    for line in ("[listener web] sniff_timeout: 5s -> 2s", "[listener web] default: app -> other",
                 "backend other: add", "backend app: remove"):
        assert line in text
    assert daemon.metric("sluice_config_reloads_total") == 0


# --- Health ---------------------------------------------------------------------------------------


def is_up(daemon, server):
    return daemon.metric("sluice_backend_server_up", backend="app", server=server) == 1


def test_servers_that_go_and_come(wire):
    config = "[listener web]\nbind = 10.0.0.2:80\ndefault = app\n" + \
        backend("app", "one", "two", keys="health_rise = 2\nhealth_fall = 2\nretries = 0\n")
    with origins(wire, "one", "two") as (one, two):
        daemon = wire.daemon("d", config)
        assert {who(wire) for _ in range(4)} == {"one", "two"}
        two.stop()
        wait_for(lambda: not is_up(daemon, "two"), "two is down")
        daemon.wait_log("server app/two is down: Connection refused")
        assert {who(wire) for _ in range(4)} == {"one"}
        assert daemon.metric("sluice_backend_up", backend="app") == 1
        one.stop()
        wait_for(lambda: daemon.metric("sluice_backend_up", backend="app") == 0, "both are down")
        wait_for(lambda: "backend app has no server that is up" in daemon.status(), "STATUS has it")
        assert is_turned_away(wire, 80)
        wait_for(lambda: rejected(daemon, "no_backend") == 1, "it was counted")
        with one, two:
            wait_for(lambda: is_up(daemon, "one") and is_up(daemon, "two"), "both are back")
            assert {who(wire) for _ in range(4)} == {"one", "two"}
            servers = daemon.ctl("show", "backends")["backends"][0]["servers"]
            assert all(server["state"] == "up" and server["check_failures"] >= 2
                       for server in servers)


def test_a_server_that_is_drained(wire):
    config = "[listener web]\nbind = 10.0.0.2:80\ndefault = app\n" + backend("app", "one", "two")
    with origins(wire, "one", "two"):
        daemon = wire.daemon("d", config)
        with connect(wire) as first, connect(wire) as second:
            by_name = {get(sock): sock for sock in (first, second)}
            daemon.ctl("drain", "app/one")
            assert {who(wire) for _ in range(4)} == {"two"}
            assert get(by_name["one"]) == "one"
            daemon.reload()
            assert {who(wire) for _ in range(4)} == {"two"}
            daemon.ctl("undrain", "app")
            assert {who(wire) for _ in range(4)} == {"one", "two"}
        assert daemon.ctl("drain", "app/three", check=False).returncode == 1


# --- The end --------------------------------------------------------------------------------------


def test_sigterm_waits_for_connections(wire):
    config = "[daemon]\ndrain_timeout = 60s\n[listener web]\nbind = 10.0.0.2:80\ndefault = app\n" + \
        backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        with connect(wire) as sock:
            assert get(sock) == "one"
            daemon.signal(signal.SIGTERM)
            wait_for(lambda: daemon.status() == "stopping, 1 connection left", "STATUS says it")
            assert is_refused(wire)
            assert daemon.metric("sluice_draining") == 1
            assert daemon.http("/readyz")[0] == 503
            assert get(sock) == "one"
        assert daemon.wait() == 0


@pytest.mark.parametrize("how", ["timeout", "second signal"])
def test_what_is_left_is_reset(wire, how):
    timeout = "300ms" if how == "timeout" else "60s"
    config = f"[daemon]\ndrain_timeout = {timeout}\n" \
        "[listener web]\nbind = 10.0.0.2:80\ndefault = app\n" + \
        backend("app", "one", keys="health_check = off\n")
    with origins(wire, "one") as (one,):
        daemon = wire.daemon("d", config)
        with connect(wire) as sock:
            assert get(sock) == "one"
            daemon.signal(signal.SIGTERM)
            if how == "second signal":
                wait_for(lambda: "left" in daemon.status(), "it waits")
                daemon.signal(signal.SIGTERM)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert daemon.wait() == 0
        wait_for(lambda: isinstance(one.seen[-1].ended, ConnectionResetError),
                 "the server was told so, too")


# --- What it says ---------------------------------------------------------------------------------


FAMILIES = """listener_connections_total listener_connections_rejected_total
listener_connections_active listener_sniffing listener_sniff_duration_seconds_count splice_flows
splice_bytes_total splice_parked_bytes splice_fallbacks_total splice_truncations_total
splice_selftest_passed backend_up backend_connections_total backend_connection_failures_total
backend_connections_active backend_connect_duration_seconds_count""".split()


@ENGINES
def test_metrics_flows_and_the_flow_log(wire, engine):
    config = f"""[daemon]
flow_log = 1
[listener web]
bind = 10.0.0.2:80
sniff = http
default = app
engine = {engine}
""" + backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        wait_for(lambda: daemon.status().startswith("1 listener;"), "STATUS counts it")
        assert daemon.metric("sluice_splice_selftest_passed") == 1
        with connect(wire) as sock:
            for _ in range(50):
                assert get(sock, "some.example") == "one"
            flow, = daemon.ctl("show", "flows")["flows"]
            assert (flow["name"], flow["backend"], flow["server"], flow["state"]) == \
                ("some.example", "app", "one", "open")
            assert flow["client"] == "%s:%u" % sock.getsockname()
            assert flow["upstream"] == f"{SERVER}:8000"
            if engine != "auto":
                assert flow["engine_in"] == engine
            mechanism = flow["engine_in"]
            assert daemon.metric("sluice_splice_flows", mechanism=mechanism) >= 1
        wait_ended(daemon)
        names = {name for name, _ in daemon.metrics()}
        assert not {f"sluice_{name}" for name in FAMILIES} - names
        bytes_in = len(b"GET / HTTP/1.1\r\nHost: some.example\r\n\r\n") * 50
        daemon.wait_log(rf"listener=web client={CLIENT}:\d+ name=some.example alpn=- backend=app server=one "
                        rf"upstream={SERVER}:8000 engine=\S+ bytes={bytes_in},\d+ .* end=\"closed\"")
        assert daemon.metric("sluice_splice_bytes_total") > bytes_in
        listener, = daemon.ctl("show", "listeners")["listeners"]
        assert (listener["accepted"], listener["active"]) == (1, 0)


def test_sock_ops_in_a_cgroup_of_its_own(wire, cgroup):
    config = "[listener web]\nbind = 10.0.0.2:80\ndefault = app\n" + backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config, prefix=(
            "sh", "-c", f"echo $$ > {cgroup}/cgroup.procs && exec \"$@\"", "sh"))
        assert daemon.metric("sluice_splice_sockops_on") == 1
        assert who(wire) == "one"
        wait_for(lambda: daemon.metric("sluice_splice_sockets_closed_total") >= 2,
                 "the client's and the server's sockets have their last records")
        assert "sock_ops" not in daemon.status()


def test_dry_run_shows_listeners(wire):
    daemon = wire.daemon_not_started("d", "[daemon]\nacceptors = 1\n[listener web]\n"
                                     "bind = 10.0.0.2:80\nbind = unix:/run/x\ndefault = app\n" +
                                     backend("app", "one"))
    done = wire.run("d", os.path.join(os.environ["SLUICE_BUILD"], "daemon/sluiced"), "-c",
                    daemon.config_path, "--dry-run")
    assert re.search(r"acceptors: 1, on CPU \d+.*; up to \d+ connections", done.stdout)
    assert "listener web: 10.0.0.2:80 unix:/run/x\n" in done.stdout
    assert ":80" not in wire.run("d", "ss", "-Hltn").stdout


def test_limits(wire):
    config = "[listener web]\nbind = 10.0.0.2:80\nmax_connections_per_source = 2\ndefault = app\n" + \
        "[listener all]\nbind = 10.0.0.2:81\nmax_connections = 1\ndefault = app\n" + \
        backend("app", "one")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config)
        with connect(wire) as first, connect(wire) as second:
            assert get(first) == get(second) == "one"
            assert is_turned_away(wire, 80)
            assert rejected(daemon, "source_limit") == 1
        with connect(wire, 81) as first:
            assert get(first) == "one"
            assert is_turned_away(wire, 81)
            assert rejected(daemon, "limit") == 1


def test_no_server_is_said_in_http(wire):
    config = f"[listener web]\nbind = {FRONT}:80\nsniff = http\ndefault = app\n" + \
        backend("app", "one", keys="health_check = off\n")
    daemon = wire.daemon("d", config)
    for _ in range(5):  # marked as failed meanwhile, it is asked all the same
        said = curl(wire, "-o", "/dev/null", "-w", "%{http_code}", f"http://{FRONT}/")
        assert said.stdout == "503"
    assert rejected(daemon, "no_backend") == 5
    with origins(wire, "one"):
        assert who(wire) == "one"


def test_without_capabilities(wire):
    """A listener on a high port needs none: sockmap is off, and says why."""
    config = "[listener web]\nbind = 10.0.0.2:8080\nengine = sockmap\ndefault = app\n" + \
        backend("app", "one")
    drop = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    with origins(wire, "one"):
        daemon = wire.daemon("d", config, prefix=drop)
        assert who(wire, 8080) == "one"
        assert daemon.metric("sluice_splice_selftest_passed") == 0
        assert daemon.metric("sluice_splice_sockmap_on") == 0
        assert daemon.metric("sluice_degraded") == 1
        assert "sockmap is off: CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON are missing" in \
            daemon.status()
        daemon.stop()
        daemon.configure(config.replace("8080", "80"))
        daemon.start(ready=False)
        assert daemon.wait() == 1
        assert "CAP_NET_BIND_SERVICE is missing: it is needed for listening on 10.0.0.2:80" in \
            daemon.log()


@ENGINES
def test_with_the_units_capabilities(wire, engine):
    """Three, and not CAP_PERFMON: it is named, and not by the kernel's hundred lines of registers."""
    config = f"[listener web]\nbind = 10.0.0.2:8080\nengine = {engine}\ndefault = app\n" + \
        backend("app", "one")
    wanted = "-all,+net_admin,+net_raw,+bpf"
    with origins(wire, "one"):
        daemon = wire.daemon("d", config, prefix=("setpriv", f"--bounding-set={wanted}",
                                                  f"--inh-caps={wanted}"))
        assert who(wire, 8080) == "one"
        assert daemon.metric("sluice_splice_selftest_passed") == 0
        assert daemon.metric("sluice_splice_sockmap_on") == 0
        assert "sockmap is off: CAP_PERFMON is missing: add it to AmbientCapabilities= and " \
            "CapabilityBoundingSet= of the unit" in daemon.status()
        assert "libbpf" not in daemon.log()
        assert "kernel's hash" not in daemon.log(), "the program that spreads is taken"
        daemon.stop()
