#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
unit_file_test.py UNIT SLUICED: is the unit without fault in systemd's own eyes, and closed enough?

What it is to be closed to is its exposure level, 0 (nothing) to 10 (root, unconfined). That it does not close out what
the daemon needs is the service suite's business.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

MAX_EXPOSURE = 2.5
EXIT_SKIPPED = 77


def analyze(*argv):
    done = subprocess.run(["systemd-analyze", *argv], capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout + done.stderr


def write_unit(source, path, sluiced, extra=""):
    """The unit with commands that exist before it is installed, for `verify` asks."""
    with open(source, encoding="utf-8") as file:
        text = re.sub(r"(?m)^(ExecStart|ExecReload)=\S+", lambda m: "%s=%s" % (m[1], sluiced), file.read())
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + extra)
    return path


def verify(path):
    status, output = analyze("verify", "--man=no", path)
    return status == 0 and not output.strip(), output


def exposure(path):
    status, output = analyze("security", "--offline=true", "--no-pager", "--threshold=%d" % (MAX_EXPOSURE * 10), path)
    match = re.search(r"exposure level for \S+: ([0-9.]+)", output)
    assert match, output
    return status == 0, float(match[1]), output


def lacks_tap(unit):
    """The lines without which the service cannot open /dev/net/tun, so that nothing is handed back; those missing."""
    with open(unit, encoding="utf-8") as file:
        lines = file.read().splitlines()
    needed = ["DeviceAllow=/dev/net/tun rw"]
    if "PrivateDevices=yes" in lines:
        needed.append("BindPaths=-/dev/net/tun")
    return [line for line in needed if line not in lines]


def main(unit, sluiced):
    assert not lacks_tap(unit), lacks_tap(unit)
    if not shutil.which("systemd-analyze"):
        print("skipped: systemd-analyze is not installed")
        return EXIT_SKIPPED
    with tempfile.TemporaryDirectory() as work:
        path = write_unit(unit, os.path.join(work, "sluiced.service"), sluiced)
        passed, output = verify(path)
        assert passed, "systemd-analyze verify:\n" + output
        passed, level, output = exposure(path)
        assert passed and level <= MAX_EXPOSURE, output
        print("exposure %.1f of at most %.1f" % (level, MAX_EXPOSURE))

        # The controls: a fault that verify knows, and a line that opens the unit.
        assert not verify(write_unit(unit, path, sluiced, "\n[Service]\nWatchdogSecs=10s\n"))[0]
        assert not exposure(write_unit(unit, path, sluiced, "\n[Service]\nUser=root\nProtectSystem=no\n"))[0]
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(os.path.abspath, sys.argv[1:])))
