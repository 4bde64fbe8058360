# SPDX-License-Identifier: GPL-2.0-or-later
"""
Running the daemon as somebody else, or as root with less.

    Daemon(net, "d", text, prefix=as_user("net_admin", "net_raw", "bpf"))   # exactly these
    Daemon(net, "d", text, prefix=root_without("net_raw"))
"""
import os

from lib import Daemon

UID = 61234  # nobody's: its RLIMIT_MEMLOCK is used by nobody else


def as_user(*capabilities):
    wanted = ",".join(["-all", *(f"+{c}" for c in capabilities)])
    return ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
            f"--bounding-set={wanted}", f"--inh-caps={wanted}", f"--ambient-caps={wanted}"]


def root_without(*capabilities):
    lost = ",".join(f"-{c}" for c in capabilities)
    return ["setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}"]


def with_memlock(limit_bytes, prefix):
    """A limit on locked memory; lowered before the capabilities that would lift it are gone."""
    return ["prlimit", f"--memlock={limit_bytes}:{limit_bytes}", "--", *prefix]


def prepare(net, text, prefix, ns="d"):
    """A daemon that has not been started, whose directory everybody may use."""
    daemon = Daemon(net, ns, text, prefix=prefix)
    for path in (net.dir, daemon.dir):
        os.chmod(path, 0o755)
    os.chown(daemon.dir, UID, UID)
    os.chmod(daemon.dir / "notify.sock", 0o666)
    return daemon


def ends(daemon):
    """Starts a daemon that must not get far; its exit status."""
    return daemon.start(ready=False).wait()
