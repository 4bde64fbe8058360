#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The test of tools/check-rooms: the good tree passes; each bad fixture, laid over the good tree, is rejected by the
rule it is named after ("RULE" or "RULE-variant") and by no other; and every rule has at least one bad fixture.
"""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
FIXTURES = os.path.join(HERE, "fixtures")
CHECK_ROOMS = os.path.join(HERE, "..", "..", "tools", "check-rooms")


def run(*args):
    result = subprocess.run([CHECK_ROOMS, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return result.returncode, result.stdout


def rules():
    return [line.split()[0] for line in run("--list-rules")[1].splitlines()]


def rule_of(fixture):
    """The longest rule that the fixture's name begins with."""
    return max((rule for rule in rules() if fixture == rule or fixture.startswith(rule + "-")), key=len, default=None)


class Rooms(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.tree = os.path.join(scratch.name, "tree")
        shutil.copytree(os.path.join(FIXTURES, "good"), self.tree)

    def test_good_tree_is_accepted(self):
        status, output = run(self.tree)
        self.assertEqual(status, 0, output)

    def test_empty_tree_is_not_accepted(self):
        empty = os.path.join(self.tree, "empty")
        os.makedirs(os.path.join(empty, "daemon"))
        self.assertEqual(run(empty)[0], 1)

    def test_in_a_checkout_git_says_what_is_ours(self):
        subprocess.run(["git", "init", "-q", self.tree], check=True)
        for directory, files in (("b", [".gitignore", "bad.c"]), ("daemon/out", [".gitignore", "bad.c"]),
                                 ("daemon/util/new", ["bad.c"])):
            os.makedirs(os.path.join(self.tree, directory))
            for name in files:
                with open(os.path.join(self.tree, directory, name), "w", encoding="utf-8") as out:
                    out.write("*\n")  # ignores everything, as meson's build trees do; and is no licence
        status, output = run(self.tree)
        self.assertEqual(re.findall(r"^(\S+):\d+: ([\w-]+): ", output, re.M), [("daemon/util/new/bad.c", "spdx")])
        self.assertEqual(status, 1)

    def test_every_rule_has_a_bad_fixture(self):
        shown = {rule_of(name) for name in os.listdir(os.path.join(FIXTURES, "bad"))}
        self.assertEqual(shown, set(rules()))


def reject(fixture):
    def test(self):
        shutil.copytree(os.path.join(FIXTURES, "bad", fixture), self.tree, dirs_exist_ok=True)
        status, output = run(self.tree)
        named = set(re.findall(r"^\S+:\d+: ([\w-]+): ", output, re.M))
        self.assertEqual((status, named), (1, {rule_of(fixture)}), output)
    return test


for name in sorted(os.listdir(os.path.join(FIXTURES, "bad"))):
    setattr(Rooms, "test_rejects_" + name.replace("-", "_"), reject(name))

if __name__ == "__main__":
    unittest.main()
