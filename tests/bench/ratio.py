# SPDX-License-Identifier: GPL-2.0-or-later
"""
Medians and how far they can be trusted, with no assumption about how the figures are distributed.

The interval is between two order statistics: the k-th smallest and the k-th largest of n figures
enclose the true median unless fewer than k of them fall on one side of it, and each falls on
either side with probability 1/2. Nine pairs give the second smallest and largest at 96 %.
"""
from dataclasses import dataclass
from math import comb
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """The median of n figures, and bounds that enclose the true one with `confidence`."""
    median: float
    low: float
    high: float
    confidence: float
    n: int


def _confidence(n, k):
    return 1 - 2 * sum(comb(n, i) for i in range(k)) / 2 ** n


def interval(figures):
    """
    The narrowest interval of at least 95 %; of too few figures (five or less) the widest, whose
    confidence is then below that.
    """
    ordered = sorted(figures)
    n = len(ordered)
    k = max((k for k in range(1, (n + 1) // 2 + 1) if _confidence(n, k) >= CONFIDENCE), default=1)
    return Interval(median(ordered), ordered[k - 1], ordered[-k], _confidence(n, k), n)
