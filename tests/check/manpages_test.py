#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
tests/check/manpages_test.py SLUICED SLUICED_8 SLUICECTL SLUICECTL_8

The manual pages against the programs: what --help prints, the page documents, and the other way round; each page
documents the exit statuses that the program's usage names. If groff is there, it must have nothing to complain about.
"""
import re
import shutil
import subprocess
import sys

# A long option in a page: ".Fl -name" or ", -name"; in usage: "--name".
IN_PAGE = re.compile(r"(?:\.Fl|\bFl|,|\|) -([a-z][a-z-]+)")
IN_HELP = re.compile(r"--([a-z][a-z-]+)")
COMMAND_IN_HELP = re.compile(r"^  ([a-z]+(?: (?:interfaces|queues|workers|plan|config|routes|neighbours|fdb|packet|listeners|backends|flows))?)\b", re.M)


def help_of(program):
    return subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout


def read(path):
    with open(path, encoding="utf-8") as file:
        return "".join(line for line in file if not line.startswith('.\\"'))


def compare(name, page, usage):
    bad = []
    documented, known = set(IN_PAGE.findall(page)), set(IN_HELP.findall(usage))
    bad += ["%s: --%s is not in the manual page" % (name, option) for option in sorted(known - documented)]
    bad += ["%s: the manual page has --%s, --help has not" % (name, option) for option in sorted(documented - known)]
    if not known or not documented:
        bad.append("%s: no options found at all" % name)
    return bad


def check_format(path):
    if not shutil.which("groff"):
        print("groff is not installed: the pages are not formatted")
        return []
    done = subprocess.run(["groff", "-mdoc", "-Tutf8", "-ww", "-z", path], capture_output=True, text=True, check=False)
    return ["groff: " + line for line in done.stderr.splitlines()]


def main(sluiced, sluiced_8, sluicectl, sluicectl_8):
    ctl_usage, ctl_page = help_of(sluicectl), read(sluicectl_8)
    bad = compare("sluiced", read(sluiced_8), help_of(sluiced)) + compare("sluicectl", ctl_page, ctl_usage)

    commands = set(COMMAND_IN_HELP.findall(ctl_usage.split("options:")[0]))
    for command in sorted(commands):
        if not re.search(r"\bCm %s\b" % command, ctl_page):
            bad.append("sluicectl: the command %s is not in the manual page" % command)
    if len(commands) < 10:
        bad.append("sluicectl --help: only %d commands found" % len(commands))
    statuses = set(re.findall(r"\b(\d+) [a-z]", ctl_usage.split("exit status:")[1]))
    documented = set(re.findall(r"^\.It (\d+)$", ctl_page, re.M))
    if statuses != documented:
        bad.append("sluicectl: exit statuses %s in --help, %s in the page" % (sorted(statuses), sorted(documented)))

    bad += check_format(sluiced_8) + check_format(sluicectl_8)
    print("\n".join(bad) or "%d commands, both pages in step" % len(commands))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
