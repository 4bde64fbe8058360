# SPDX-License-Identifier: GPL-2.0-or-later
"""
A throw-away guest of the lab (vm.sh, QEMU under TCG) with a daemon in it and both its NICs wired to
this machine: what the tests in tests/vm stand on.

    with Guest(lab, build, kernel="7.2", nic="virtio") as guest:
        guest.start("[port a]\\ninterface = n0\\n…")
        guest.crosses("--count", 500)            # tap0 → n0 → sluiced → n1 → tap1
        assert guest.metrics.total("sluice_rx_packets_total") >= 500

    netns NS0: tap0 ─ n0 (node 0) ┐  guest  ┌ n1 (node 1) ─ tap1 :netns NS1

The guest runs an agent that takes commands from a directory both sides see (9p); the NICs' host ends
are taps in namespaces that vm.sh made and removes. Nothing is timed: TCG says nothing about speed.
"""
import contextlib
import json
import lzma
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

BOOT_DEADLINE_S = 60
COMMAND_DEADLINE_S = 40
EXTRA_PROGRAMS = ("/usr/sbin/nft", "/usr/sbin/xtables-legacy-multi")  # not in the lab's image
EXTRA_MODULES = ("drivers/net/vrf",)
XTABLES = Path("/usr/lib/x86_64-linux-gnu/xtables")
LIFE_S = 900            # vm.sh ends the guest after this, whatever becomes of us
HOST_LIBRARIES = re.compile(r"/(libc|ld-linux[^/]*|libm)\.so")

SPREAD = ("--ip", "--flows", 64, "--size", 128)  # over all queues: the tap picks one by hash

HOST_SCRIPT = """\
for ns in "$NS0" "$NS1"; do
	ip netns exec "$ns" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
done
echo "$NS0 $NS1" >"$OUT/netns.new" && mv "$OUT/netns.new" "$OUT/netns"
until [ -e "$OUT/stop" ] || ! kill -0 "$SLUICE_TEST_PID" 2>/dev/null; do sleep 0.1; done
"""

# One command at a time: cmd.N appears, its output goes to out.N, then rc.N appears.
AGENT = """\
export PATH=/mnt/share:$PATH LD_LIBRARY_PATH=/mnt/share/lib XTABLES_LIBDIR=/mnt/share/xtables
sysctl -qw net.ipv6.conf.all.disable_ipv6=1
ip link set n0 up; ip link set n1 up
mkfifo /tmp/never; exec 9<>/tmp/never
touch /mnt/ctl/ready
n=0
until [ -e /mnt/ctl/stop ]; do
	if [ -e /mnt/ctl/cmd.$n ]; then
		bash /mnt/ctl/cmd.$n >/mnt/ctl/out.$n 2>&1 </dev/null 9<&-
		echo $? >/mnt/ctl/rc.new; mv /mnt/ctl/rc.new /mnt/ctl/rc.$n
		n=$((n + 1))
	else
		read -t 0.05 -u 9
	fi
done
"""


def wait_for(predicate, what, deadline_s=20.0):
    """The first true value of predicate(); AssertionError naming `what` if none comes."""
    end = time.monotonic() + deadline_s
    while not (value := predicate()):
        assert time.monotonic() < end, f"after {deadline_s} s still not: {what} ({value!r})"
        time.sleep(0.05)
    return value


class Metrics:
    """One scrape: {(name, labels): value}."""

    def __init__(self, text):
        self.series = {}
        for name, labels, value in re.findall(r"(?m)^(\w+)(?:\{(.*)\})? (\S+)$", text):
            self.series[name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))] = float(value)

    def total(self, name, **labels):
        """The sum of the series with these labels; the series must exist."""
        wanted = set(labels.items())
        found = [v for (n, have), v in self.series.items() if n == name and wanted <= have]
        assert found, f"no series {name} {labels}"
        return sum(found)

    def by(self, name, label, **labels):
        """{value of label: sum}"""
        values = {dict(have)[label] for n, have in self.series if n == name}
        return {v: self.total(name, **{label: v}, **labels) for v in sorted(values)}


def section(name, peer, interface, **keys):
    keys = {"interface": interface, "forward": f"xconnect {peer}", "stall_timeout": "5s", **keys}
    return f"[port {name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def wire(daemon="", a=None, b=None):
    """n0 and n1 as a wire of ports a and b, with further keys for each."""
    return f"{daemon}\n" + section("a", "b", "n0", **(a or {})) + section("b", "a", "n1", **(b or {}))


def check_identities(metrics):
    """Both of design.md §4.5, per queue, and every frame of every worker has an owner."""
    received, total = metrics.series, metrics.total
    for (name, labels) in list(received):
        if name != "sluice_queue_receive_packets_total":
            continue
        where = dict(labels)
        assert total(name, **where) == (total("sluice_queue_forwarded_packets_total", **where)
                                        + total("sluice_queue_drops_total", **where)
                                        + total("sluice_handed_back_total", **where)), where
        assert total("sluice_queue_transmit_packets_total", **where) == (
            total("sluice_queue_transmit_completed_packets_total", **where)
            + total("sluice_queue_transmit_pending_packets", **where)), where
    assert total("sluice_umem_frames_lost") == 0
    assert total("sluice_xsk_bad_completions_total") == 0


class Guest:
    def __init__(self, lab, build, kernel="7.2", nic="virtio", queues=4, env=None, cpus_per_node=2,
                 mib_per_node=640, programs=(), life_s=LIFE_S):
        """`programs` of the build, beside the daemon's own, are on the guest's PATH."""
        self.lab, self.build = Path(lab), Path(build)
        self.kernel, self.nic, self.programs = kernel, nic, programs
        self.argv = ["-k", kernel, "-n", nic, "-q", str(queues), "-t", str(life_s),
                     "-c", str(cpus_per_node), "-m", str(mib_per_node)]
        # On a busy machine 6.1 finds that no timer interrupt came, and panics ("IO-APIC + timer").
        self.env = {**os.environ, "LAB": str(lab), "SLUICE_TEST_PID": str(os.getpid()),
                    "KARGS": "no_timer_check", **(env or {})}
        self.n_commands = 0

    # --- life ----------------------------------------------------------------------------------

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix=f"sluice-vm{os.getpid()}-"))
        self.ctl, share = self.dir / "ctl", self.dir / "share"
        self.ctl.mkdir()
        self._fill(share)
        (self.dir / "host.sh").write_text(HOST_SCRIPT)
        (share / "agent").write_text(AGENT)
        self.log = open(self.dir / "vm.log", "w+")
        self.vm = subprocess.Popen(
            [self.lab / "vm.sh", *self.argv, "-d", share, "-o", self.ctl, "-H", self.dir / "host.sh",
             "--", "bash ./agent"], stdout=self.log, stderr=self.log, env=self.env)
        try:
            wait_for(lambda: (self.ctl / "netns").exists() or self.vm.poll() is not None,
                     "the guest is up", BOOT_DEADLINE_S)
            assert self.vm.poll() is None, (self.dir / "vm.log").read_text()
        except BaseException:
            self.__exit__()
            raise
        self.netns = (self.ctl / "netns").read_text().split()
        return self

    def _fill(self, share):
        """Our programs and what they link to, except libc: the lab's userland is this machine's."""
        (share / "lib").mkdir(parents=True)
        ours = [self.build / p for p in ("daemon/sluiced", "tools/ctl/sluicectl", *self.programs)]
        for program in ours + [Path(p) for p in EXTRA_PROGRAMS if os.path.exists(p)]:
            shutil.copy(program, share)
            out = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
            for library in re.findall(r"=> (/\S+)", out):
                if not HOST_LIBRARIES.search(library):
                    shutil.copy(library, share / "lib")
        for name in ("iptables-legacy", "ip6tables-legacy"):
            (share / name).symlink_to("xtables-legacy-multi")
        if XTABLES.exists():
            shutil.copytree(XTABLES, share / "xtables")
        self._fill_modules(share)

    def _fill_modules(self, share):
        """What build-modules.sh of the lab leaves out of the image, to be loaded with insmod."""
        for module in EXTRA_MODULES:
            for path in self.lab.glob(f"kern/**/lib/modules/{self.kernel}.*/kernel/{module}.ko*"):
                raw = path.read_bytes()
                data = lzma.decompress(raw) if path.suffix == ".xz" else raw
                (share / f"{Path(module).name}.ko").write_bytes(data)

    def __exit__(self, *exc):
        (self.ctl / "stop").touch()
        try:
            self.vm.wait(15)
        except subprocess.TimeoutExpired:
            self.vm.terminate()     # vm.sh removes its namespaces on the way out
            self.vm.wait(15)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- commands ------------------------------------------------------------------------------

    def run(self, command, status=0, deadline_s=COMMAND_DEADLINE_S):
        """Runs shell text in the guest; its output. `status` None accepts any."""
        n, self.n_commands = self.n_commands, self.n_commands + 1
        (self.ctl / "cmd.new").write_text(command + "\n")
        (self.ctl / "cmd.new").rename(self.ctl / f"cmd.{n}")
        wait_for(lambda: (self.ctl / f"rc.{n}").exists() or self.vm.poll() is not None,
                 f"`{command}` ends in the guest", deadline_s)
        assert self.vm.poll() is None, f"the guest died of `{command}`"
        out, got = (self.ctl / f"out.{n}").read_text(), int((self.ctl / f"rc.{n}").read_text())
        assert status in (None, got), f"`{command}`: exit status {got}\n{out}\n{self.daemon_log()}"
        return out

    def configure(self, config):
        text = re.sub(r"(?m)^\[daemon\]\n", "", config)
        own = "[daemon]\ncontrol_socket = /run/sluice.sock\nmetrics_listen = off\n"
        (self.ctl / "sluice.conf").write_text(own + text)

    def start(self, config, ready=True, prefix=""):
        """Starts sluiced, by way of `prefix`, and waits until it is ready."""
        self.configure(config)
        self.run("{ " + prefix + " sluiced -v -c /mnt/ctl/sluice.conf; echo $? >/run/sluiced.rc; } >>/mnt/ctl/log 2>&1 & "
                 "until pgrep -x sluiced >/run/sluiced.pid; do :; done")
        if ready:
            self.wait_ready()

    def wait_ready(self):
        self.run("until [ -S /run/sluice.sock ] && sluicectl --socket /run/sluice.sock ping; do "
                 "kill -0 $(cat /run/sluiced.pid) || exit 1; read -t 0.1 </dev/zero; sleep 0.1; done "
                 ">/dev/null 2>&1")

    def signal(self, name, wait=True):
        self.run(f"p=$(cat /run/sluiced.pid); kill -{name} $p; "
                 + ("while kill -0 $p 2>/dev/null; do sleep 0.1; done" if wait else ""))

    def wait_end(self, status):
        """The daemon ends by itself, with this exit status."""
        got = self.run("until [ -s /run/sluiced.rc ]; do sleep 0.1; done; cat /run/sluiced.rc")
        assert int(got) == status, self.daemon_log()

    def stop(self):
        """SIGTERM, and the exit status is 0; what is left of us on the NICs is nothing."""
        self.signal("TERM")
        self.wait_end(0)
        assert "prog/xdp" not in self.run("ip -d link show"), "a program is still attached"

    def fresh(self):
        """Ends whatever daemon runs, and forgets its log."""
        self.run("p=$(cat /run/sluiced.pid 2>/dev/null) && kill -KILL $p 2>/dev/null; "
                 "while kill -0 $p 2>/dev/null; do sleep 0.1; done; "
                 "rm -f /run/sluiced.pid /run/sluiced.rc /run/sluice.sock /mnt/ctl/log; "
                 "ip link set n0 up; ip link set n1 up")

    def daemon_log(self):
        path = self.ctl / "log"
        return path.read_text() if path.exists() else ""

    # --- looking -------------------------------------------------------------------------------

    def ctl_json(self, words):
        return json.loads(self.run(f"sluicectl --socket /run/sluice.sock --json {words}", None))

    def port(self, name):
        return {p["port"]: p for p in self.ctl_json("status")["status"]["ports"]}[name]

    @property
    def metrics(self):
        return Metrics(self.run("sluicectl --socket /run/sluice.sock metrics"))

    # --- traffic -------------------------------------------------------------------------------

    def gen(self, *argv, reverse=False, status=0):
        """sluice-gen from tap0 to tap1, or back; its report of the (only) direction."""
        ends = [("tap0", self.netns[0]), ("tap1", self.netns[1])][::-1 if reverse else 1]
        done = subprocess.run(
            [self.build / "tools/sluice-gen", "run", ends[0][0], ends[1][0], "--tx-netns", ends[0][1],
             "--rx-netns", ends[1][1], "--json", *map(str, argv)], capture_output=True, text=True,
            timeout=COMMAND_DEADLINE_S, check=False)
        assert status in (None, done.returncode), \
            f"sluice-gen: {done.returncode}\n{done.stdout}{done.stderr}\n{self.daemon_log()}"
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def traffic(self, *argv):
        """Frames into n0 while the body runs; what becomes of them is the body's business."""
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.netns[0]}", self.build / "tools/sluice-gen", "send",
             "tap0", "--duration", "200s", *map(str, argv)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
            assert process.poll() is None, "the generator ended by itself"
        finally:
            process.terminate()
            process.wait(10)

    def crosses(self, *argv, **kwargs):
        """All of it arrives, whole, once and in order."""
        for direction in self.gen(*argv, **kwargs)["directions"]:
            assert direction["sink"]["received"] == direction["send"]["offered"] > 0, direction

    def wait_wire(self, deadline_s=40.0):
        """READY=1 comes when all is bound; the link of a NIC that retrains may go only after that."""
        wait_for(lambda: self.gen("--count", 20, "--rate", 1000, "--bidirectional", status=None)["intact"],
                 "frames cross", deadline_s)
        assert [self.port(p)["state"] for p in "ab"] == ["forwarding"] * 2

    def wait_quiet(self):
        """The counters once every frame that was submitted is completed; checks both identities."""
        def settled():
            metrics = self.metrics
            return metrics.total("sluice_queue_transmit_pending_packets") == 0 and metrics
        metrics = wait_for(settled, "no frame is waiting to be sent")
        check_identities(metrics)
        return metrics
