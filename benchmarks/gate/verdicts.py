"""Recorded rounds judged: by the gate itself, and by what others do. Pure.

Rounds are cut into runs that share none, in order of time, so the verdicts are independent as far as rounds are.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from benchmarks.gate.recorded import ARMS, EDGES, Recorded
from perf.rule.judge import judge, spare
from perf.verdict import Limits

LEVEL = 0.01  # of Mann and Whitney's test
PAUSE = 60.0  # s; longer between two rounds, and they are of two recordings


class Run(NamedTuple):
    """One verdict."""

    outcome: str  # pass, fail, inconclusive
    rounds: int
    seconds: float
    headline: str = ""
    detectable: float | None = None  # the smallest slow-down that it would have shown in 95 of 100 cases


def gate(rounds: Sequence[Recorded], limits: Limits, decide_after: Sequence[int], cost: float) -> Iterator[Run]:
    """Runs of the gate, each on the rounds after those of the one before. `cost`: seconds for a round."""
    start = 0
    while start < len(rounds):
        for end in range(start + 1, len(rounds) + 1):
            dropped = sum(bool(each.round.dropped) for each in rounds[start:end])
            if end - start - dropped not in decide_after and dropped <= spare(decide_after):
                continue  # between two decide_after nothing is decided
            judged = judge([each.round for each in rounds[start:end]], limits, decide_after)
            if judged.outcome != "continue":
                yield Run(judged.outcome, end - start, (end - start) * cost, judged.headline, judged.detectable)
                break
        else:
            return  # the rest is too short for a verdict
        start = end


def cost_of(rounds: Sequence[Recorded]) -> float:
    """What a round takes with both restarts, in seconds: the median distance of two that follow each other."""
    return float(np.median([b.at - a.at for a, b in pairwise(rounds) if b.at - a.at < PAUSE]))


# --- What others do: each takes some rounds at a time, and fails or passes.

Rule = Callable[[Sequence[Recorded], Sequence[Recorded], float], float]  # by how much it finds the candidate slower


def pooled(rounds: Sequence[Recorded], arm: int) -> NDArray[np.int64]:
    """The requests of one arm in all rounds, as one histogram."""
    return np.sum([each.requests[arm] for each in rounds], axis=0, dtype=np.int64)


def p95(histogram: NDArray[np.int64]) -> float:
    """In milliseconds, interpolated within the bin."""
    reached = np.concatenate([[0], np.cumsum(histogram)]) / histogram.sum()
    return float(np.interp(0.95, reached, EDGES))


def as_locust_rounds(milliseconds: float) -> float:
    """To whole milliseconds below 100, to tens below 1,000: locust/stats.py."""
    if milliseconds < 100:
        return float(round(milliseconds))
    return float(round(milliseconds, -1)) if milliseconds < 1000 else float(round(milliseconds, -2))


def fixed(now: Sequence[Recorded], _: Sequence[Recorded], usual: float) -> float:
    """p95 against what it usually is here."""
    return p95(pooled(now, 0)) / usual - 1


def stored(now: Sequence[Recorded], before: Sequence[Recorded], _: float) -> float:
    """p95 against what the run before has stored of its own version."""
    return p95(pooled(now, 0)) / p95(pooled(before, 1)) - 1


def sequential(now: Sequence[Recorded], _: Sequence[Recorded], __: float) -> float:
    """In one run, the baseline first, then the candidate."""
    half = len(now) // 2
    return p95(pooled(now[half:], 0)) / p95(pooled(now[:half], 1)) - 1


def rounded(now: Sequence[Recorded], _: Sequence[Recorded], __: float) -> float:
    """Both at once, by the p95 that Locust prints."""
    candidate, baseline = (as_locust_rounds(p95(pooled(now, arm))) for arm in range(len(ARMS)))
    return candidate / max(baseline, 1.0) - 1


def mann_whitney(now: Sequence[Recorded], _: Sequence[Recorded], __: float) -> float:
    """Both at once, by a rank test on all requests as if they were independent: infinite where it is significant."""
    x, y = pooled(now, 0), pooled(now, 1)
    n, m, ties = x.sum(), y.sum(), x + y
    below = np.cumsum(y) - y
    u = float(np.sum(x * (below + y / 2)))
    total = n + m
    spread = n * m / 12 * (total + 1 - float(np.sum(ties**3 - ties)) / (total * (total - 1)))
    return math.inf if (u - n * m / 2) / math.sqrt(spread) > ndtri(1 - LEVEL) else -math.inf


ALTERNATIVES: dict[str, tuple[Rule, float]] = {  # with the slow-down at which each fails
    "fixed limit, 20 % above the usual p95": (fixed, 0.20),
    "p95 against the stored run before, ± 10 %": (stored, 0.10),
    "baseline, then candidate, ± 10 %": (sequential, 0.10),
    "Locust's own p95, both at once, ± 10 %": (rounded, 0.10),
    "Mann-Whitney on all requests, p < 0.01": (mann_whitney, 0.0),
}


def excesses(rule: Rule, rounds: Sequence[Recorded], length: int, usual: float) -> list[float]:
    """By how much a rule finds the candidate slower in each run of `length` rounds; the first has nothing before it."""
    count = 2 * length if rule is sequential else length  # so that each arm has as many requests as with the others
    runs = [rounds[at : at + count] for at in range(0, len(rounds) - count + 1, count)]
    return [rule(now, before, usual) for before, now in pairwise(runs)]
