#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
tests/check/prometheus_test.py PRINT_PAGE ALERTS

Prometheus' own opinion: promtool takes the page that PRINT_PAGE prints and the alerts; and every family that an alert
names is on that page. Skips (77) without promtool.
"""
import re
import shutil
import subprocess
import sys

FAMILY = re.compile(r"\bsluice_[a-z0-9_]+")


def promtool(*args, page=None):
    done = subprocess.run(["promtool", "check", *args], input=page, text=True, capture_output=True, check=False)
    return done.returncode, done.stdout + done.stderr


def main(print_page, alerts):
    if not shutil.which("promtool"):
        print("promtool is not installed (tools/bootstrap test)")
        return 77
    bad = []
    page = subprocess.run([print_page], text=True, capture_output=True, check=True).stdout

    status, text = promtool("metrics", page=page)
    if status != 0 or text.strip():
        bad.append("promtool check metrics: " + text)
    # The control: what promtool must not like.
    status, text = promtool("metrics", page=page.replace("_total counter", "_total gauge", 1))
    if status == 0 and not text.strip():
        bad.append("promtool took a gauge called _total: it does not look")
    status, text = promtool("rules", alerts)
    if status != 0:
        bad.append("promtool check rules: " + text)

    families = set(re.findall(r"^# TYPE (\S+)", page, re.M))
    with open(alerts, encoding="utf-8") as file:
        lines = [line for line in file if not line.lstrip().startswith(("#", "- name", "summary", "description"))]
    named = set(FAMILY.findall("".join(lines)))
    if len(named) < 10:
        bad.append("only %d families are named by alerts" % len(named))
    bad += ["an alert names %s, which is not on the page" % name for name in sorted(named - families)]

    print("\n".join(bad) or "%d families, %d of them in alerts" % (len(families), len(named)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
