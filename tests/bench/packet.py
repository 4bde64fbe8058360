# SPDX-License-Identifier: GPL-2.0-or-later
"""
tools/bench packet: frames per second through one queue, candidates in turn (A B C A B C …), and
the ratios of sluiced to each of the others, pair by pair.

The generator floods from CPU 0 in one long system call, the candidate works on CPU 1. The figure
is what came out at the far veth, counted there by an XDP program that drops.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import time
from pathlib import Path

from candidates import (BASELINE_ENV, CANDIDATE_CPU, CANDIDATES, GENERATOR_CPU, running,
                        wait_flowing)
from lib import ensure_bpffs, run
from ratio import interval

WARM_UP_S = 0.1
SYSCALL_WINDOW_S = 0.1
FLOOD_SPARE_S = 30.0  # the flood is ended by a signal; this only bounds it if nobody sends one
RSS_ALLOWANCE = 20 << 20
STARVED_TRIES = 20
UNDISTURBED_SHARE = 0.97  # of its CPU; a candidate that had less was not alone on it

# what is asked about -> (ours, candidates, {other candidate: what must hold of ours ÷ other})
FORWARDS = {
    "xconnect": ("sluiced", ["sluiced", "testpmd", "ceiling"], {
        "testpmd": ("interval reaches 1.0", lambda ratio: ratio["high"] >= 1.0),
        "ceiling": ("median ≥ 0.9", lambda ratio: ratio["median"] >= 0.9)}),
    "route": ("router", ["router", "sluiced", "linux"], {
        "sluiced": ("median ≥ 0.95", lambda ratio: ratio["median"] >= 0.95)}),
}
# Ethernet, IPv4, UDP and what a generated frame carries: sluice-gen's least with --ip
LEAST_BYTES = {"xconnect": 64, "route": 82}


def add_arguments(parser):
    parser.add_argument("--pairs", type=int, default=9, help="measurements of each (default: 9)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each one (default: 1)")
    parser.add_argument("--size", type=int,
                        help="frame size in bytes (default: 64, or with route 82)")
    parser.add_argument("--forward", choices=list(FORWARDS), default="xconnect")
    parser.add_argument("--routes", type=int, default=1000000,
                        help="with --forward route: routes in the box (default: %(default)s)")
    parser.add_argument("--candidates", metavar="LIST",
                        help="of " + ", ".join(CANDIDATES) + "; default: "
                        + "; ".join(f"{f}: {','.join(c)}" for f, (_, c, _) in FORWARDS.items()))
    parser.add_argument("--baseline", metavar="BUILD",
                        help="build directory of another version, candidate `baseline`")
    parser.add_argument("--json", metavar="FILE", help="write everything measured (- = stdout)")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a goal is missed")


def _count_syscalls(tid, seconds):
    """System calls of a thread in a while, by tracepoint; None if perf cannot."""
    if tid is None or not shutil.which("perf"):
        return None
    done = run("perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-t", tid, "--",
               "sleep", seconds, check=False)
    match = re.search(r"^(\d+),[^,]*,raw_syscalls:sys_enter", done.stderr, re.M)
    return int(match.group(1)) if match else None


def _offered(generator):
    """Ends the flood; frames per second that it handed to g0."""
    generator.send_signal(signal.SIGTERM)
    report = json.loads(generator.communicate(timeout=10)[0])
    return report["frames_per_second"]


def _cpu_ns(tid):
    """CPU time of a thread so far, softirqs that ran on it included."""
    return int(Path(f"/proc/{tid}/schedstat").read_text(encoding="ascii").split()[0])


def _is_starved(tid):
    """Would the thread run if it had a CPU? (It is asked for after it did not run for a while.)"""
    stat = Path(f"/proc/{tid}/stat").read_text(encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "R"


def _measure_rate(counter, tid, seconds):
    if tid is None:
        return {"fps": counter.rate(seconds)}
    for _ in range(STARVED_TRIES):
        start_ns, cpu_before_ns = time.monotonic_ns(), _cpu_ns(tid)
        fps = counter.rate(seconds)
        cpu_ns, wall_ns = _cpu_ns(tid) - cpu_before_ns, time.monotonic_ns() - start_ns
        if fps > 0:
            return {"fps": fps, "cpu_ns_per_packet": cpu_ns / (fps * wall_ns / 1e9),
                    "cpu_share": cpu_ns / wall_ns}
        # Nothing is a figure of the candidate only if it had a CPU to do something.
        assert cpu_ns == 0 and _is_starved(tid), f"nothing arrived in {seconds} s"
    raise AssertionError(f"the candidate did not get its CPU in {STARVED_TRIES} x {seconds} s")


def _measure_syscalls(counter, tid):
    counter.begin(SYSCALL_WINDOW_S)
    calls = _count_syscalls(tid, SYSCALL_WINDOW_S)
    fps = counter.end()
    if calls is None or fps == 0:
        return {}
    return {"syscalls_per_packet": calls / (fps * SYSCALL_WINDOW_S)}


def measure(candidate, seconds):
    """One start, one figure, one end."""
    counter = candidate.bench.counter
    with running(candidate):
        tid = candidate.worker_tid()
        generator = candidate.bench.flood(candidate.size, seconds + FLOOD_SPARE_S)
        wait_flowing(candidate)
        counter.rate(WARM_UP_S)
        result = _measure_rate(counter, tid, seconds)
        result |= _measure_syscalls(counter, tid)
        candidate.look()
        result["offered_fps"] = _offered(generator)
        result |= candidate.facts
    return result


def _measure_all(candidates, pairs, seconds):
    results = {candidate.name: [] for candidate in candidates}
    for pair in range(pairs):
        for candidate in candidates:
            result = measure(candidate, seconds)
            results[candidate.name].append(result)
            print(f"{pair + 1}/{pairs} {candidate.name:8} {result['fps'] / 1e6:.3f} Mpps, "
                  f"offered {result['offered_fps'] / 1e6:.3f}", file=sys.stderr, flush=True)
    return results


def _column(results, key):
    return [result[key] for result in results if key in result]


def _summary(results):
    fps, offered = _column(results, "fps"), _column(results, "offered_fps")
    summary = {"mpps": vars(interval(fps)) | {"min": min(fps), "max": max(fps)},
               "offered_mpps": interval(offered).median / 1e6,
               "mode": results[-1]["mode"]}
    for key in ("median", "low", "high", "min", "max"):
        summary["mpps"][key] /= 1e6
    for key in ("syscalls_per_packet", "cpu_ns_per_packet"):
        figures = _column(results, key)
        summary[key] = interval(figures).median if figures else None
    return summary


def _pair_ratios(above, below):
    pairs = [a / b for a, b in zip(above, below)]
    return vars(interval(pairs)) | {"pairs": pairs}


def _ratios(results, our_name, goals):
    """
    Ours ÷ each of the others, of the measurements that followed each other. By frames per
    second, and as a cross-check by CPU time per frame (inverted, so that more is better): the two
    agree on a quiet machine, and the second stays usable on a busy one.
    """
    ours = results[our_name]
    ratios = {}
    for name, theirs in results.items():
        if name == our_name:
            continue
        ratio = _pair_ratios(_column(ours, "fps"), _column(theirs, "fps"))
        if name in goals:
            goal, holds = goals[name]
            ratio |= {"goal": goal, "met": holds(ratio)}
        if "cpu_ns_per_packet" in theirs[0]:
            ratio["cpu_time"] = _pair_ratios(_column(theirs, "cpu_ns_per_packet"),
                                             _column(ours, "cpu_ns_per_packet"))
        ratios[name] = ratio
    return ratios


def _memory(results, our_name):
    rss = max(_column(results[our_name], "rss_bytes"))
    umem = max(_column(results[our_name], "umem_bytes"))
    memory = {"rss_bytes": rss, "umem_bytes": umem}
    if our_name == "sluiced":  # a router has its tables on top: tools/bench fib, rib
        memory |= {"goal": "RSS ≤ UMEM + 20 MiB", "met": rss <= umem + RSS_ALLOWANCE}
    return memory


def _verdict(entry):
    return f"{entry['goal']}: {'met' if entry['met'] else 'MISSED'}" if "goal" in entry else ""


def _figure(value, spec):
    return "-" if value is None else format(value, spec)


def _ratio(ratio):
    if ratio is None:
        return "-"
    return f"{ratio['median']:6.3f}  [{ratio['low']:.3f}, {ratio['high']:.3f}]"


def _print_table(report):
    print(f"{report['size']} B, one queue, generator on CPU {GENERATOR_CPU}, candidates on CPU "
          f"{CANDIDATE_CPU}, {report['pairs']} x {report['seconds']} s in turn, "
          f"Linux {os.uname().release}\n")
    print(f"{'':29}{'Mpps':>7}{'min':>7}{'max':>7}{'offered':>9}{'CPU ns':>8}{'syscalls':>10}"
          "  mode")
    for name, summary in report["candidates"].items():
        mpps = summary["mpps"]
        print(f"{CANDIDATES[name].title:29}{mpps['median']:7.3f}{mpps['min']:7.3f}"
              f"{mpps['max']:7.3f}{summary['offered_mpps']:9.3f}"
              f"{_figure(summary['cpu_ns_per_packet'], '.0f'):>8}"
              f"{_figure(summary['syscalls_per_packet'], '.4f'):>10}  {summary['mode']}")
    print("(offered: what the generator handed to the candidate's port; CPU time and system calls: "
          "of the\nforwarding thread, per frame that came out)\n")
    if report["ratios"]:
        print(f"{'':20}{'ratio':>6}  interval         by CPU time")
    ours = FORWARDS[report["forward"]][0]
    for name, ratio in report["ratios"].items():
        print(f"{ours:7} ÷ {name:10}{_ratio(ratio)}  {_ratio(ratio.get('cpu_time')):24}"
              f"  {_verdict(ratio)}")
    if report["ratios"]:
        print(f"(median of {ratio['n']} pairs, {ratio['confidence']:.0%} interval by order "
              "statistics)")
    if report["memory"]:
        memory = report["memory"]
        print(f"{ours} RSS {memory['rss_bytes'] / 2**20:.1f} MiB, UMEM "
              f"{memory['umem_bytes'] / 2**20:.1f} MiB  {_verdict(memory)}")
    if report["disturbed"]:
        print(f"NOT QUIET: in {report['disturbed']} measurements something else ran on CPU "
              f"{CANDIDATE_CPU}")
    for name, reason in report["skipped"].items():
        print(f"skipped: {name}: {reason}")


def _report(arguments, results, skipped):
    ours, _, goals = FORWARDS[arguments.forward]
    has_ours = ours in results
    return {
        "benchmark": "packet", "kernel": os.uname().release, "size": arguments.size,
        "forward": arguments.forward, "routes": arguments.routes,
        "pairs": arguments.pairs, "seconds": arguments.seconds,
        "generator_cpu": GENERATOR_CPU, "candidate_cpu": CANDIDATE_CPU,
        "candidates": {name: _summary(r) for name, r in results.items()},
        "ratios": _ratios(results, ours, goals) if has_ours else {},
        "memory": _memory(results, ours) if has_ours else None,
        "disturbed": sum(r.get("cpu_share", 1) < UNDISTURBED_SHARE
                         for of_one in results.values() for r in of_one),
        "skipped": skipped, "measurements": results,
    }


def _write_json(path, report):
    if path == "-":
        json.dump(report, sys.stdout, indent=1)
        print()
        return
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)


def _missed(report):
    entries = [*report["ratios"].values(), report["memory"] or {}]
    return [entry for entry in entries if entry.get("met") is False]


def main(arguments):
    names = (arguments.candidates or ",".join(FORWARDS[arguments.forward][1])).split(",")
    arguments.size = arguments.size or LEAST_BYTES[arguments.forward]
    unknown = [name for name in names if name not in CANDIDATES
               or arguments.forward not in CANDIDATES[name].forwards]
    if unknown or arguments.pairs < 1 or arguments.seconds <= 0:
        sys.exit(f"bench packet: no such candidate: {', '.join(unknown)}" if unknown else
                 "bench packet: --pairs and --seconds must be more than nothing")
    if os.geteuid() != 0 or not {GENERATOR_CPU, CANDIDATE_CPU} <= os.sched_getaffinity(0):
        sys.exit(f"bench packet: needs root and CPUs {GENERATOR_CPU} and {CANDIDATE_CPU}")
    if arguments.baseline:
        os.environ[BASELINE_ENV] = os.path.abspath(arguments.baseline)
    ensure_bpffs()
    skipped = {n: CANDIDATES[n].missing() for n in names if CANDIDATES[n].missing()}
    with contextlib.ExitStack() as stack:
        candidates = []
        for name in names:
            if name not in skipped:
                candidates.append(CANDIDATES[name](arguments.size, arguments.forward,
                                                   arguments.routes))
                stack.callback(candidates[-1].close)
        results = _measure_all(candidates, arguments.pairs, arguments.seconds)
    report = _report(arguments, results, skipped)
    if arguments.json:
        _write_json(arguments.json, report)
    if arguments.json != "-":
        _print_table(report)
    return 1 if arguments.strict and _missed(report) else 0
