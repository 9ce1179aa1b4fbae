"""Estimates over rounds, with one-sided bounds, and how the error budgets are shared out among the decisions. Pure.

A round that something else disturbed can be off by far more than the rest differ by, so the mean is a trimmed one, and
its interval is Tukey and McLaughlin's (Sankhya A 25, 1963; Yuen, Biometrika 61, 1974): Student's t, with the variance
of the rounds after the trimmed ones were moved to the edge of the others.

Deciding more than once would find something in the end, so every decision spends a share of a fixed budget
(Bonferroni): 1 % for calling equal arms slower, 5 % for passing a candidate that is slower by `max_regression`.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.special import stdtrit  # scipy.stats takes half a second longer to import

FALSE_FAIL = 0.01
FALSE_PASS = 0.05
TRIMMED = 0.2  # of the rounds, at either end
FEW = 10  # rounds
WIDEST = math.log(1e6)  # of an interval, to either side; two rounds could else give one that no float holds
SANE = 1e-50, 1e50  # a figure beyond is none, in whatever unit, and ratios of such are beyond a float


class Estimate(NamedTuple):
    """Of a log or a share: the mean over rounds, with one-sided bounds."""

    mean: float
    low: float
    high: float
    error: float  # standard error of the mean


class Levels(NamedTuple):
    """What one decision may spend of the error budgets."""

    alpha: float  # for the lower bound, which fails
    beta: float  # for the upper bound, which passes
    last: bool


def levels_at(rounds: int, decide_after: Sequence[int]) -> Levels:
    """Of the decision that `rounds` rounds have reached or are on the way to."""
    n = len(decide_after)
    k = next((i for i, due in enumerate(decide_after) if rounds <= due), n - 1)
    # The first decision is the one with the fewest rounds, where a t interval is the most fragile: half a share of what
    # fails, and a full one of what passes, because most runs compare equals and should end there.
    fail = [0.5] + [1.0] * (n - 1)
    success = [1.0] * (n - 1) + [4 / 3]
    return Levels(FALSE_FAIL * fail[k] / sum(fail), FALSE_PASS * success[k] / sum(success), rounds >= decide_after[-1])


def estimate(values: Sequence[float], levels: Levels) -> Estimate | None:
    """Mean and bounds of figures, one for each round; None where there are fewer than two, or one is no number."""
    if len(values) < 2 or not all(math.isfinite(v) for v in values):
        return None
    n, cut = len(values), _cut(len(values))
    inside = [values[index] for index in middle(values)]
    h = len(inside)
    mean = fmean(inside)
    moved = [inside[0]] * cut + inside + [inside[-1]] * cut
    error = stdev(moved) * math.sqrt((n - 1) / (h * (h - 1)))
    low, high = (min(WIDEST, float(stdtrit(h - 1, 1 - level)) * error) for level in (levels.alpha, levels.beta))
    return Estimate(mean, mean - low, mean + high, error)


def middle(values: Sequence[float]) -> list[int]:
    """Which of the rounds the mean is of, by their figures, the smallest first: all but the trimmed ones."""
    cut = _cut(len(values))
    return sorted(range(len(values)), key=values.__getitem__)[cut : len(values) - cut]


def _cut(rounds: int) -> int:
    """How many rounds go at either end: none of a few, where what is left would say little about the noise."""
    return int(TRIMMED * rounds) if rounds >= FEW else 0


def log(value: float | None) -> float:
    return math.log(value) if value is not None and SANE[0] <= value <= SANE[1] else math.nan


def log_ratio(candidate: float | None, baseline: float | None) -> float:
    return log(candidate) - log(baseline)


def typical(values: Sequence[float | None], rounds: Sequence[int] | None = None) -> float | None:
    """What a figure was in most rounds, or in those that are named: their geometric mean, a trimmed one of all."""
    logs = [log(v) for v in values]
    if not logs or not all(map(math.isfinite, logs)):
        return None
    return math.exp(fmean(logs[index] for index in (middle(logs) if rounds is None else rounds)))
