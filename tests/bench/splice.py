# SPDX-License-Identifier: GPL-2.0-or-later
"""
tools/bench splice: what TCP costs through sluiced, by engine, HAProxy, HAProxy with splice, nginx,
and nothing, measured in turn (A B C A B C …), and the ratios pair by pair.

  pingpong  64 B at a time on each of 64 connections: messages a second, CPU time of a message
  bulk1     one connection, bulk16 sixteen: Gb/s, CPU time of a gigabyte
  idle      1,000 connections, 5 messages a second on each: CPU time of a message
  churn     new connections a second, one message and its echo on each

CPU time is all that the candidate's CPU did meanwhile, softirqs and kworkers included: what a
SCHED_IDLE counter there could not have (splice-lab.md D4).
"""
import contextlib
import json
import os
import sys

from lib import Net, ensure_bpffs
from ratio import interval
from splice_candidates import (CANDIDATE_CPU, CANDIDATES, LOAD_CPU, OURS, Wires, use_room)

# name -> (mode of splice_load, its options, figure, unit, bytes or messages that CPU is of)
WORKLOADS = {
    "pingpong": ("pingpong", ("--connections", 64, "--size", 64), "rate", "messages/s"),
    "bulk1": ("bulk", ("--connections", 1), "gbps", "Gb/s"),
    "bulk16": ("bulk", ("--connections", 16), "gbps", "Gb/s"),
    "idle": ("idle", ("--connections", 1000, "--size", 64, "--rate", 5), "rate", "messages/s"),
    "churn": ("churn", ("--connections", 32, "--size", 64), "rate", "connections/s"),
}


def _at_least(n):
    return f"≥ {n}", lambda ratio: ratio["median"] >= n


def _at_most(n):
    return f"≤ {n}", lambda ratio: ratio["median"] <= n


# workload -> figure -> (the other, what must hold of ours ÷ the other, what we are after)
GOALS = {
    "pingpong": {"speed": ("haproxy", _at_least(1.05), "goal 1.3"),
                 "cpu": ("haproxy", _at_most(0.9), "goal 0.7")},
    "bulk1": {"speed": ("haproxy-splice", _at_least(1.0), ""),
              "cpu": ("haproxy-splice", _at_most(0.95), "")},
    "bulk16": {"speed": ("haproxy-splice", _at_least(1.0), ""),
               "cpu": ("haproxy-splice", _at_most(0.95), "")},
    "idle": {"cpu": ("haproxy", _at_most(0.9), "")},
    "churn": {"speed": ("haproxy", _at_least(0.9), "")},
}


def add_arguments(parser):
    parser.add_argument("--pairs", type=int, default=9, help="measurements of each (default: 9)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each one (default: 1)")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), metavar="LIST",
                        help="of " + ", ".join(WORKLOADS) + " (default: all)")
    parser.add_argument("--candidates", default=",".join(CANDIDATES), metavar="LIST",
                        help="of " + ", ".join(CANDIDATES) + " (default: all)")
    parser.add_argument("--room", action="store_true",
                        help="the splice room alone (tests/splice/plane.c), not the daemon")
    parser.add_argument("--json", metavar="FILE", help="write everything measured (- = stdout)")
    parser.add_argument("--strict", action="store_true", help="exit 1 if engine auto misses a goal")


def _measure(candidate, workload, seconds):
    """One start, one measurement, one stop."""
    mode, options, figure, _ = WORKLOADS[workload]
    candidate.start()
    try:
        report = candidate.wires.load(mode, *options, "--ms", round(seconds * 1000), "--cpu",
                                      LOAD_CPU, "--soak-cpu", CANDIDATE_CPU,
                                      through=candidate.through)
    finally:
        candidate.stop()
    units = report["bytes"] / 1e9 if mode == "bulk" else report["messages"]
    assert units > 0, f"{candidate.name}: {workload}: nothing moved: {report}"
    # Of a gigabyte: ms; of a message: µs.
    scale = 1e3 if mode == "bulk" else 1e6
    return report | {"speed": report[figure], "cpu": report["busy"] * report["seconds"] * scale / units}


def _measure_all(candidates, workload, pairs, seconds):
    results = {candidate.name: [] for candidate in candidates}
    for i in range(pairs):
        for candidate in candidates:
            results[candidate.name].append(_measure(candidate, workload, seconds))
        print(f"\r{workload} {i + 1}/{pairs} ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return results


def _column(measurements, key):
    return [m[key] for m in measurements]


def _ratio(results, ours, other, key):
    # The counter that soaks up what is left of a CPU saw nothing missing: too short a measurement.
    pairs = [a / b for a, b in zip(_column(results[ours], key), _column(results[other], key)) if b > 0]
    assert pairs, f"{other} took no CPU time: measure for longer (--seconds)"
    return vars(interval(pairs)) | {"pairs": pairs}


def _judge(results, workload):
    """{ours: {figure: ratio}} for the figures that have a goal."""
    judged = {}
    for ours in (name for name in OURS if name in results):
        for key, (other, (text, holds), after) in GOALS[workload].items():
            if other not in results:
                continue
            ratio = _ratio(results, ours, other, key)
            judged.setdefault(ours, {})[key] = ratio | {
                "other": other, "goal": text, "after": after, "met": holds(ratio)}
    return judged


def _print_workload(workload, results, judged):
    mode, _, _, unit = WORKLOADS[workload]
    cpu_unit = "ms/GB" if mode == "bulk" else "us each"
    print(f"\n{workload:26}{unit:>14}{'min':>10}{'max':>10}{'CPU ' + cpu_unit:>14}"
          f"{'p50 us':>9}{'p99':>9}{'p99.9':>9}")
    for name, measurements in results.items():
        speed, cpu = _column(measurements, "speed"), _column(measurements, "cpu")
        times = [interval(_column(measurements, key)).median if key in measurements[0] else None
                 for key in ("p50_us", "p99_us", "p999_us")]
        print(f"{CANDIDATES[name].title:26}{interval(speed).median:14.4g}{min(speed):10.4g}"
              f"{max(speed):10.4g}{interval(cpu).median:14.2f}"
              + "".join(f"{'-':>9}" if t is None else f"{t:9.0f}" for t in times))
    for ours, figures in judged.items():
        for key, ratio in figures.items():
            print(f"  {ours:8}÷ {ratio['other']:15}{key:6}{ratio['median']:7.3f}  "
                  f"[{ratio['low']:.3f}, {ratio['high']:.3f}]  {ratio['goal']}: "
                  f"{'met' if ratio['met'] else 'MISSED'}"
                  + (f" ({ratio['after']})" if ratio["after"] else ""))


def _check(arguments):
    names = arguments.candidates.split(",")
    workloads = arguments.workloads.split(",")
    unknown = [n for n in names if n not in CANDIDATES] + [w for w in workloads if w not in WORKLOADS]
    if unknown or arguments.pairs < 1 or arguments.seconds <= 0:
        sys.exit(f"bench splice: no such: {', '.join(unknown)}" if unknown else
                 "bench splice: --pairs and --seconds must be more than nothing")
    if os.geteuid() != 0 or not {LOAD_CPU, CANDIDATE_CPU} <= os.sched_getaffinity(0):
        sys.exit(f"bench splice: needs root and CPUs {LOAD_CPU} and {CANDIDATE_CPU}")
    return names, workloads


def main(arguments):
    names, workloads = _check(arguments)
    if arguments.room:
        use_room()
    ensure_bpffs()
    skipped = {n: CANDIDATES[n].missing() for n in names if CANDIDATES[n].missing()}
    report = {"benchmark": "splice", "kernel": os.uname().release, "pairs": arguments.pairs,
              "seconds": arguments.seconds, "room": arguments.room, "skipped": skipped,
              "workloads": {}}
    with contextlib.closing(Net("bench")) as net:
        wires = Wires(net)
        candidates = [CANDIDATES[n](wires) for n in names if n not in skipped]
        for workload in workloads:
            results = _measure_all(candidates, workload, arguments.pairs, arguments.seconds)
            judged = _judge(results, workload)
            report["workloads"][workload] = {"measurements": results, "ratios": judged}
            if arguments.json != "-":
                _print_workload(workload, results, judged)
    for name, reason in skipped.items():
        print(f"skipped: {name}: {reason}", file=sys.stderr)
    if arguments.json:
        with (open(arguments.json, "w", encoding="utf-8") if arguments.json != "-"
              else contextlib.nullcontext(sys.stdout)) as file:
            json.dump(report, file, indent=1)
    missed = any(not ratio["met"] for w in report["workloads"].values()
                 for ratio in w["ratios"].get("auto", {}).values())
    return 1 if arguments.strict and missed else 0
