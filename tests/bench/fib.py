# SPDX-License-Identifier: GPL-2.0-or-later
"""
tools/bench fib: TSC ticks per lookup in our forwarding tables and in DPDK's (rte_fib: dir24_8 for
IPv4, trie for IPv6, by dpdk-test-fib), on the same routes and addresses, in turn (A B C A B C …).

DPDK is measured twice: as it comes (dpdk), and with its AVX-512 lookup, which it takes only when
told to (dpdk512). Each of its figures and of ours comes from a process of its own, so that where
the tables lie in memory is drawn anew each time. Both get huge pages: ours are transparent ones,
DPDK's are reserved for the run where that is allowed.
"""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ratio import interval

HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
HUGE_PAGE_MIB = 2
IPV4_LIMIT_MIB = 64
# family -> (goal of DPDK's ticks ÷ ours, its table, megabytes for n routes, its table options)
FAMILIES = {
    4: (1.0, "dir24_8", lambda n: 256 + n // 500 // 2 * 2, lambda n: ["-e", "2", "-g", "32000"]),
    6: (1.5, "trie", lambda n: 512 + n // 100 // 2 * 2,
        lambda n: ["-6", "-e", "4", "-g", str(2 * n + 2000)]),
}


def add_arguments(parser):
    parser.add_argument("--pairs", type=int, default=9, help="measurements of each (default: 9)")
    parser.add_argument("--families", default="4,6", help="default: %(default)s")
    parser.add_argument("--routes", default="1000,100000,1000000",
                        help="table sizes (default: %(default)s)")
    parser.add_argument("--destinations", default="random,zipf", help="default: %(default)s")
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)),
                        help="default: the last one")
    parser.add_argument("--json", metavar="FILE", help="write everything measured (- = stdout)")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a goal is missed")


def _has_avx512():
    return "avx512f" in Path("/proc/cpuinfo").read_text(encoding="ascii")


@contextlib.contextmanager
def _huge_pages(megabytes):
    """Reserves them for DPDK and gives them back; yields how many megabytes there are."""
    try:
        before = int(HUGE_PAGES.read_text(encoding="ascii"))
        HUGE_PAGES.write_text(str(before + megabytes // HUGE_PAGE_MIB), encoding="ascii")
    except OSError:
        yield 0
        return
    try:
        yield (int(HUGE_PAGES.read_text(encoding="ascii")) - before) * HUGE_PAGE_MIB
    finally:
        HUGE_PAGES.write_text(str(before), encoding="ascii")


class PeerFailed(Exception):
    """It could not be measured; ours still can."""


class Ours:
    name = "sluice"

    def __init__(self, config, program):
        self.command = [program, "--family", str(config["family"]),
                        "--routes", str(config["routes"]), "--destinations", config["destinations"]]
        self.cpu = config["cpu"]

    def measure(self):
        done = subprocess.run(["taskset", "-c", str(self.cpu), *self.command], check=True,
                              capture_output=True, text=True)
        return json.loads(done.stdout)


class Dpdk:
    def __init__(self, config, prefix, megabytes, is_vector):
        _, _, memory, table_options = FAMILIES[config["family"]]
        n = config["routes"]
        self.name = "dpdk512" if is_vector else "dpdk"
        # of huge pages it takes what it needs; of small ones it wants to be told
        pages = ["--in-memory"] if megabytes else ["--no-huge", "-m", str(memory(n))]
        eal = ["-l", str(config["cpu"]), *pages, "--no-pci", "--no-telemetry",
               "--file-prefix", f"slb{os.getpid()}"]
        # else it leaves a directory of that name below /run/dpdk
        self.env = {**os.environ, "RUNTIME_DIRECTORY": os.path.dirname(prefix)}
        if is_vector:
            eal.append("--force-max-simd-bitwidth=512")
        self.command = ["dpdk-test-fib", *eal, "--", "-f", f"{prefix}.routes",
                        "-t", f"{prefix}.addresses", *table_options(n)]
        if is_vector:
            self.command += ["-v", "v"]

    def measure(self):
        done = subprocess.run(self.command, check=False, capture_output=True, text=True,
                              env=self.env)
        lookup = re.findall(r"AVG FIB lookup ([\d.]+)", done.stdout)
        if done.returncode != 0 or not lookup:
            output = (done.stdout + done.stderr).strip().rsplit("\n", 1)[-1]
            raise PeerFailed(f"{' '.join(self.command)}: status {done.returncode}: {output}")
        adds = [int(n) for n in re.findall(r"AVG FIB add (\d+)", done.stdout)]
        return {"ticks": float(lookup[0]), "fill_ticks": sum(adds) / len(adds)}


def _measure(config, options, program, prefix):
    """All candidates of one table in turn; {name: [result]}."""
    subprocess.run([program, "--family", str(config["family"]), "--routes", str(config["routes"]),
                    "--destinations", config["destinations"], "--write", prefix], check=True)
    wanted = FAMILIES[config["family"]][2](config["routes"])
    with _huge_pages(wanted) as reserved:
        megabytes = wanted if reserved >= wanted else 0
        config["dpdk_huge_pages"] = bool(megabytes)
        candidates = [Ours(config, program)]
        if shutil.which("dpdk-test-fib"):
            candidates.append(Dpdk(config, prefix, megabytes, False))
            if _has_avx512():
                candidates.append(Dpdk(config, prefix, megabytes, True))
        results = {candidate.name: [] for candidate in candidates}
        for _ in range(options.pairs):
            for candidate in [c for c in candidates if c.name in results]:
                try:
                    results[candidate.name].append(candidate.measure())
                except PeerFailed as failure:
                    print(f"skipped: {candidate.name}: {failure}", file=sys.stderr)
                    del results[candidate.name]
    return results


def _summarise(config, results):
    ours = [result["ticks"] for result in results["sluice"]]
    per_ns = results["sluice"][0]["ticks_per_ns"]
    last = results["sluice"][-1]
    report = dict(config, ticks={n: vars(interval([r["ticks"] for r in rs]))
                                 for n, rs in results.items()},
                  lookups_per_s=per_ns * 1e9 / interval(ours).median, ratios={},
                  memory_mib=(last["lookup_bytes"] + last["control_bytes"]) / 2**20,
                  lookup_mib=last["lookup_bytes"] / 2**20, results=results)
    for key in ("fill_ns", "add_ns", "delete_ns"):
        report[key] = interval([r[key] for r in results["sluice"]]).median
    for name in results.keys() - {"sluice"}:
        ratio = interval([theirs["ticks"] / t for t, theirs in zip(ours, results[name])])
        goal = FAMILIES[config["family"]][0]
        report["ratios"][name] = vars(ratio) | {"goal": goal, "met": ratio.median >= goal}
        report[f"{name}_fill_ns"] = interval(
            [r["fill_ticks"] for r in results[name]]).median / per_ns
    return report


def _print_report(report):
    ticks = report["ticks"]
    print(f"IPv{report['family']} {report['routes']:>8} routes, {report['destinations']:6}  "
          f"{report['lookups_per_s'] / 1e6:6.1f} M lookups/s, ticks: " +
          ", ".join(f"{name} {t['median']:.1f} [{t['low']:.1f}, {t['high']:.1f}]"
                    for name, t in ticks.items()))
    for name, ratio in sorted(report["ratios"].items()):
        print(f"    {name:8} ÷ sluice {ratio['median']:.2f}  [{ratio['low']:.2f}, "
              f"{ratio['high']:.2f}] {ratio['confidence']:.0%} of {ratio['n']} pairs  goal ≥ "
              f"{ratio['goal']}: {'met' if ratio['met'] else 'MISSED'}")
    dpdk = f", dpdk add {report['dpdk_fill_ns']:.0f}" if "dpdk_fill_ns" in report else ""
    print(f"    memory {report['memory_mib']:.1f} MiB (lookup {report['lookup_mib']:.1f}); ns per "
          f"change: add {report['add_ns']:.0f}, delete {report['delete_ns']:.0f}, fill "
          f"{report['fill_ns']:.0f}{dpdk}", flush=True)


def _missed(reports):
    ratios = [ratio for report in reports for ratio in report["ratios"].values()]
    memory = [report for report in reports
              if report["family"] == 4 and report["memory_mib"] > IPV4_LIMIT_MIB]
    return [ratio for ratio in ratios if not ratio["met"]] + memory


def main(options, program):
    reports = []
    if not shutil.which("dpdk-test-fib"):
        print("skipped: dpdk: no dpdk-test-fib (Debian: dpdk-dev)")
    with tempfile.TemporaryDirectory(prefix="bench-fib-") as directory:
        for family in map(int, options.families.split(",")):
            for n_routes in map(int, options.routes.split(",")):
                for destinations in options.destinations.split(","):
                    config = {"family": family, "routes": n_routes, "cpu": options.cpu,
                              "destinations": destinations}
                    results = _measure(config, options, str(program), f"{directory}/table")
                    reports.append(_summarise(config, results))
                    if options.json != "-":
                        _print_report(reports[-1])
    if reports and options.json != "-":
        print(f"IPv4 memory ≤ {IPV4_LIMIT_MIB} MiB; DPDK on "
              f"{'huge' if reports[-1].get('dpdk_huge_pages') else 'small'} pages; CPU "
              f"{options.cpu}, {options.pairs} in turn")
    if options.json:
        with contextlib.ExitStack() as stack:
            file = sys.stdout if options.json == "-" else \
                stack.enter_context(open(options.json, "w", encoding="utf-8"))
            json.dump({"benchmark": "fib", "tables": reports}, file, indent=1)
    return 1 if options.strict and _missed(reports) else 0
