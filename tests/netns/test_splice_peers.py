# SPDX-License-Identifier: GPL-2.0-or-later
"""
With the programs that an operator has: nginx and HAProxy behind the daemon, curl, openssl s_client,
wrk, iperf3 and HAProxy in front of it. None of them may see an error, and each says itself what
it got: its certificate, its client's address, the sum of a file.
"""
import json
import re

import pytest

from lib import wait_for
from origin import certificate
from peers import haproxy, needs, nginx, pem, random_file, sha256
from splice_rig import CLIENT, FEW_ENGINES, FRONT, FULL, SERVER, Footprint, SpliceBench, settled

FILE_BYTES = (1 << 30) if FULL else (24 << 20)
SECONDS = 10 if FULL else 1
KEEP_ALIVE = 5000 if FULL else 300
# Beside CLIENT, for whom HAProxy speaks in its PROXY headers.
FAR = "10.7.1.77"

each_engine = pytest.mark.parametrize("engine", FEW_ENGINES)


def listener(name, port, keys, engine="auto"):
    return f"[listener {name}]\nbind = {FRONT}:{port}\nengine = {engine}\n{keys}\n"


def backend(name, port, keys="", scheme=SERVER):
    return f"[backend {name}]\nserver = s {scheme}:{port}\nhealth_check = off\n{keys}\n"


def curl(net, *argv, **kwargs):
    return net.run("a", "curl", "-sS", "--max-time", 20, *argv, **kwargs)


class Subject:
    """What splice_rig's settled() asks of a subject, of any configuration."""

    def __init__(self, daemon):
        self.daemon, self.pid = daemon, daemon.pid

    def conns(self):
        return int(self.daemon.metric("sluice_listener_connections_active"))

    def flows(self):
        return int(self.daemon.metric("sluice_splice_flows"))

    def parked(self):
        return int(self.daemon.metric("sluice_splice_parked_bytes"))


@pytest.fixture
def world(net):
    SpliceBench(net)
    yield net
    # Shown if the test failed: what nginx and HAProxy thought of it.
    for path in (*net.dir.glob("*/error.log"), *net.dir.glob("*/out")):
        print(path, path.read_text(errors="replace")[-2000:])


# --- Files, requests, bulk ------------------------------------------------------------------------


@each_engine
def test_downloads_and_requests(world, engine):
    """Large files by sum, hundreds of requests on one connection, and wrk's hundreds of thousands."""
    needs("wrk", "curl")
    root = world.dir / "www"
    root.mkdir()
    wanted = random_file(root / "large", FILE_BYTES)
    (root / "small").write_text("small\n")
    nginx(world, "b", "files", f"server {{ listen {SERVER}:8000 backlog=4096; root {root}; }}",
          f"{SERVER}:8000")
    daemon = world.daemon("box", listener("web", 80, "default = app", engine) +
                          backend("app", 8000))
    before = Footprint(daemon.pid)

    got = world.dir / "got"
    for i in range(2):
        curl(world, "-o", got, f"http://{FRONT}/large")
        assert sha256(got) == wanted, i
    if engine != "auto":
        wait_moved(daemon, engine, 1.5 * FILE_BYTES)

    said = curl(world, "-w", "%{http_code} %{num_connects}\n",
                f"http://{FRONT}/small?[1-{KEEP_ALIVE}]").stdout
    assert said == "small\n200 1\n" + (KEEP_ALIVE - 1) * "small\n200 0\n"

    said = world.run("a", "wrk", "-t", 1, "-c", 32, "-d", f"{SECONDS}s",
                     f"http://{FRONT}/small").stdout
    assert int(re.search(r"(\d+) requests in", said).group(1)) > 100, said
    assert "Socket errors" not in said and "Non-2xx" not in said, said
    assert daemon.metric("sluice_splice_truncations_total") == 0
    assert sum_of(daemon, "sluice_listener_connections_rejected_total") == 0
    assert sum_of(daemon, "sluice_backend_connection_failures_total") == 0
    settled(Subject(daemon), before)


def wait_moved(daemon, engine, n_bytes):
    """The kernel's last bytes of a flow are counted when it ends, perhaps after its client did."""
    wait_for(lambda: daemon.metric("sluice_splice_bytes_total", mechanism=engine) > n_bytes,
             f"{engine} has done the work")


def sum_of(daemon, name):
    """0 where it has no series: some have one only from the first event on."""
    try:
        return daemon.metric(name)
    except KeyError:
        return 0


@each_engine
def test_bulk_both_ways(world, engine):
    needs("iperf3")
    daemon = world.daemon("box", listener("bulk", 5201, "default = bulk", engine) +
                          backend("bulk", 5201))
    before = Footprint(daemon.pid)
    for way in ((), ("-R",)):
        server = world.popen("b", "iperf3", "-s", "-1", "-B", SERVER)
        wait_for(lambda: f"{SERVER}:5201" in world.run("b", "ss", "-Hltn").stdout,
                 "iperf3 listens")
        said = json.loads(world.run("a", "iperf3", "-c", FRONT, "-P", 4, "-t", SECONDS, "-J",
                                    *way, deadline_s=60).stdout)
        assert "error" not in said, said["error"]
        sent, received = (said["end"][which]["bytes"] for which in ("sum_sent", "sum_received"))
        assert received > (10 << 20) and received <= sent
        assert server.wait(10) == 0
    if engine != "auto":
        wait_moved(daemon, engine, received)
    settled(Subject(daemon), before)


# --- Names ----------------------------------------------------------------------------------------


@each_engine
def test_tls_by_sni_to_two_servers(world, engine):
    """
    The certificate that a client gets proves who answered: both are signed by themselves, so that
    neither serves for the other, and nobody could have opened the TLS between.
    """
    needs("nginx", "haproxy", "openssl", "curl")
    one, two = (certificate(world.dir, f"{name}.example") for name in ("one", "two"))
    wanted = random_file(world.dir / "large", FILE_BYTES)
    nginx(world, "b", "tls", f"""server {{
        listen {SERVER}:8443 ssl http2;
        ssl_certificate {one[0]}; ssl_certificate_key {one[1]};
        ssl_protocols TLSv1.2 TLSv1.3;
        root {world.dir};
        location = / {{ return 200 "nginx for $ssl_server_name by $ssl_alpn_protocol\\n"; }}
    }}""", f"{SERVER}:8443")
    haproxy(world, "b", "tls", f"""
frontend tls
    mode http
    bind {SERVER}:8444 ssl crt {pem(*two)} alpn http/1.1
    http-request return status 200 content-type text/plain lf-string "haproxy for %[ssl_fc_sni]\\n"
""", f"{SERVER}:8444")
    daemon = world.daemon("box", "[daemon]\nflow_log = 1\n" + listener(
        "tls", 443, "sniff = tls\nroute = one.example -> one\nroute = *.one.example -> one\n"
        "route = two.example -> two\n", engine) + backend("one", 8443) + backend("two", 8444))
    before = Footprint(daemon.pid)

    def ask(name, cert, *argv, path="", **kwargs):
        return curl(world, "--resolve", f"{name}:443:{FRONT}", "--cacert", cert, *argv,
                    f"https://{name}/{path}", **kwargs)

    assert ask("one.example", one[0]).stdout == "nginx for one.example by h2\n"
    assert ask("one.example", one[0], "--http1.1").stdout == "nginx for one.example by http/1.1\n"
    assert ask("two.example", two[0]).stdout == "haproxy for two.example\n"
    assert ask("two.example", one[0], check=False).returncode == 60, "the other's certificate"
    for version in ("--http2", "--http1.1"):
        ask("one.example", one[0], version, "-o", world.dir / "got", path="large")
        assert sha256(world.dir / "got") == wanted

    # What it is told of: the names that were read, and what ALPN offered.
    daemon.wait_log(r"name=one\.example alpn=h2,http/1\.1 backend=one")
    daemon.wait_log(r"name=two\.example alpn=h2,http/1\.1 backend=two")

    # A name that nobody serves, and none at all.
    unknown = ask("three.example", one[0], check=False)
    assert unknown.returncode == 35 and "unrecognized name" in unknown.stderr, unknown.stderr
    for words in (("-servername", "three.example"), ("-noservername",)):
        said = s_client(world, *words)
        assert said.returncode == 1 and "SSL alert number 112" in said.stderr, said.stderr
    assert daemon.metric("sluice_listener_connections_rejected_total", reason="no_backend") == 3

    # The oldest and the newest TLS, chosen by the client alone.
    for version in ("-tls1_2", "-tls1_3"):
        said = s_client(world, "-servername", "one.example", version, "-alpn", "h2,http/1.1")
        assert said.returncode == 0 and "CN = one.example" in said.stdout, said.stderr
        assert "ALPN protocol: h2" in said.stdout
    said = s_client(world, "-servername", "two.example", "-alpn", "h2,http/1.1")
    assert "CN = two.example" in said.stdout and "ALPN protocol: http/1.1" in said.stdout
    assert daemon.metric("sluice_splice_truncations_total") == 0
    settled(Subject(daemon), before)


def s_client(net, *argv):
    return net.run("a", "openssl", "s_client", "-connect", f"{FRONT}:443", *argv, input="",
                   check=False, errors="replace")


def test_a_live_flow_shows_its_alpn(world):
    needs("nginx", "openssl")
    cert, key = certificate(world.dir, "one.example")
    nginx(world, "b", "tls", f"server {{ listen {SERVER}:8443 ssl http2; ssl_certificate {cert};"
          f" ssl_certificate_key {key}; }}", f"{SERVER}:8443")
    daemon = world.daemon("box", listener("tls", 443, "sniff = tls\ndefault = one\n") +
                          backend("one", 8443))
    client = world.popen("a", "openssl", "s_client", "-connect", f"{FRONT}:443", "-servername",
                         "one.example", "-alpn", "h2,spdy/3", "-quiet", stdin=-1, stderr=-3,
                         stdout=-3)
    wait_for(lambda: [flow["state"] for flow in daemon.ctl("show", "flows")["flows"]] == ["open"],
             "the flow is open")
    flow, = daemon.ctl("show", "flows")["flows"]
    assert (flow["name"], flow["alpn"], flow["ech"]) == ("one.example", "h2,spdy/3", False)
    client.stdin.close()


@each_engine
def test_http_by_host_to_two_servers(world, engine):
    needs("nginx", "haproxy", "curl")
    nginx(world, "b", "web", f"""server {{ listen {SERVER}:8000;
        location / {{ return 200 "nginx for $host\\n"; }} }}""", f"{SERVER}:8000")
    haproxy(world, "b", "web", f"""
frontend web
    mode http
    bind {SERVER}:8001
    http-request return status 200 content-type text/plain lf-string "haproxy for %[req.hdr(host)]\\n"
""", f"{SERVER}:8001")
    daemon = world.daemon("box", listener(
        "web", 80, "sniff = http\nroute = one.example -> one\nroute = *.two.example -> two\n",
        engine) + backend("one", 8000) + backend("two", 8001))

    def ask(host, *argv):
        return curl(world, "-H", f"Host:{host}", "-w", "%{http_code}", *argv,
                    f"http://{FRONT}/").stdout

    for _ in range(3):
        assert ask(" one.example") == "nginx for one.example\n200"
        assert ask(" ONE.example:80") == "nginx for one.example\n200"
        assert ask(" www.two.example") == "haproxy for www.two.example\n200"
    # By a proxy's request line; a name is named there, too.
    assert curl(world, "-x", f"http://{FRONT}:80", "http://one.example/").stdout == \
        "nginx for one.example\n"
    # 421: a name that is not served here; 404: no name at all.
    told = {"421": ask(" three.example"), "404": ask("", "--http1.0")}
    for code, text in told.items():
        body = text.removesuffix(code)
        assert text.endswith(code) and 0 < len(body) < 200 and body.isprintable() or \
            body.endswith("\n"), (code, text)
        assert code in body or "erv" in body or "ound" in body, text
    # The body of a request that is refused does not turn the answer into a reset.
    big = world.dir / "big"
    big.write_bytes(bytes(256 << 10))
    assert ask(" three.example", "-H", "Expect:", "--data-binary", f"@{big}").endswith("421")
    assert daemon.metric("sluice_listener_connections_rejected_total", reason="no_backend") == 3


# --- PROXY ----------------------------------------------------------------------------------------


def test_proxy_headers_of_haproxy_and_nginx(world):
    """
    Each of HAProxy's two headers in, with everything that its second version can carry, and each of
    ours out, to nginx and to HAProxy: who is behind all must know the one who is before all.
    """
    needs("nginx", "haproxy", "curl")
    world.addr("a", "va", f"{FAR}/24")
    nginx(world, "b", "proxied", f"""server {{ listen {SERVER}:8000 proxy_protocol;
        location / {{ return 200 "$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port\\n"; }}
    }}""", f"{SERVER}:8000")
    haproxy(world, "b", "proxied", f"""
frontend proxied
    mode http
    bind {SERVER}:8001 accept-proxy
    http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port] %[dst]:%[dst_port]\\n"
""", f"{SERVER}:8001")
    haproxy(world, "a", "before", "".join(f"""
listen l{port}
    mode tcp
    bind {CLIENT}:{port}
    server s {FRONT}:{to} {words}
""" for port, to, words in (
        (9001, 81, "send-proxy"), (9002, 82, "send-proxy"),
        (9003, 81, "send-proxy-v2 proxy-v2-options crc32c,authority,unique-id"),
        (9004, 82, "send-proxy-v2 proxy-v2-options crc32c"))), *(
            f"{CLIENT}:{port}" for port in range(9001, 9005)))
    config = "".join(
        listener(f"in{port}", port, "proxy_protocol = any\nproxy_from = 10.7.1.2/32\n"
                 f"default = out{port}") + f"[backend out{port}]\nsend_proxy = {version}\n"
        f"server = nginx {SERVER}:8000\nserver = haproxy {SERVER}:8001\nhealth_check = off\n"
        for port, version in ((81, "v1"), (82, "v2")))
    # And nothing before us: the header is our own word.
    config += "".join(
        listener(f"own{port}", port, f"default = out{backend_of}")
        for port, backend_of in ((83, 81), (84, 82)))
    daemon = world.daemon("box", config)
    for at, front in [(CLIENT, port) for port in range(9001, 9005)] + [(FRONT, 83), (FRONT, 84)]:
        for _ in range(4):  # both servers, twice
            text = curl(world, "--interface", FAR, "-w", "%{local_port}", f"http://{at}:{front}/").stdout
            said, port = text.split("\n")
            assert said == f"{FAR}:{port} {at}:{front}", front
    # curl's own header.
    assert curl(world, "--interface", CLIENT, "--haproxy-protocol",
                f"http://{FRONT}:81/").stdout.startswith(f"{CLIENT}:")
    # Whoever may not speak it is turned away, and whoever must and does not.
    for address, words in ((FAR, ["--haproxy-protocol"]), (CLIENT, [])):
        turned = curl(world, "--interface", address, *words, f"http://{FRONT}:81/", check=False)
        # 7: the reset came before connect(2) had returned.
        assert turned.returncode in (7, 52, 56), turned.stderr
    for reason in ("acl", "proxy_header"):
        assert daemon.metric("sluice_listener_connections_rejected_total", reason=reason) == 1
