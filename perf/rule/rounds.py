"""From the requests of one round to its figures, and whether the round may count. Pure."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perf.verdict import Figures

# Share of the CPU that the host gave to others. Requests come in pairs, so both arms lose it alike: up to 37 %, which
# is as far as was recorded, it is noise that the interval holds, and dropping rounds for it costs verdicts
# (benchmarks/gate.md).
MAX_STEAL = 0.5
MAX_CLIENT_CPU = 0.85  # a load generator near its own limit measures itself
MIN_ACHIEVED = 0.95  # of the requests that the schedule asked for
MAX_IMBALANCE = 0.01  # between the arms' numbers of requests
FEWEST = 50  # requests of an arm in one round; a p95 of fewer is hardly more than the slowest of them
LONGEST = 1e9  # milliseconds; no latency is longer, nor negative, nor no number
BLAME = 0.6  # share of the users' waiting from which one arm is the cause of a schedule that was not kept


class Samples(NamedTuple):
    """The requests of one arm in one round. Times in seconds since the round began, latencies in milliseconds."""

    pair: NDArray[np.int64]
    due: NDArray[np.float64]
    start: NDArray[np.float64]
    latency: NDArray[np.float64]
    ok: NDArray[np.bool_]


class Spent(NamedTuple):
    """What one arm used in a round, warm-up included."""

    cpu_seconds: float
    memory_mb: float  # at the end
    grown_mb: float
    requests: int


def figures(
    samples: Samples, intended: int, seconds: float, ready_seconds: float, spent: Spent | None = None
) -> Figures:
    """What one arm did in a round for which `intended` requests within `seconds` were planned."""
    sane = _sane(samples)
    ok = samples.ok & sane
    answered = samples.latency[ok]
    late = 1000 * (samples.start - samples.due)[ok]
    pair = samples.pair[ok]
    ends = samples.start + np.where(sane, samples.latency, 0.0) / 1000
    end = float(np.max(ends)) if ends.size else seconds
    p50, p95, p99 = (quantile(answered, q) for q in (0.5, 0.95, 0.99))
    return Figures(
        intended=intended,
        count=samples.latency.size,
        errors=int(samples.latency.size - answered.size),
        target=intended / seconds,
        achieved=samples.latency.size / max(seconds, end),
        ready_seconds=ready_seconds,
        mean=float(answered.mean()) if answered.size else None,
        p50=p50,
        p95=p95,
        p99=p99,
        p95_due=quantile(answered + late, 0.95),
        longest=float(np.max(answered)) if answered.size else None,
        cpu_ms=1000 * spent.cpu_seconds / spent.requests if spent else None,
        memory_mb=spent.memory_mb if spent else None,
        grown_kb=1000 * spent.grown_mb / spent.requests if spent else None,
        p95_odd=quantile(answered[pair % 2 == 1], 0.95),
        p95_even=quantile(answered[pair % 2 == 0], 0.95),
    )


def quantile(values: NDArray[np.float64], q: float) -> float | None:
    return float(np.quantile(values, q)) if values.size else None


def long_enough(seconds: float, rate: float, requests: int, rounds: int) -> float:
    """The length of a round: `seconds`, or what it takes at `rate` for FEWEST, and for `rounds` to hold `requests`."""
    return max(seconds, math.ceil(requests / rounds) / rate, FEWEST / rate)


def blame(candidate: Samples, baseline: Samples) -> float:
    """The candidate's share of what users waited for, failed requests included: a time-out takes time as well."""
    return share(*(float(np.sum(of.latency, where=_sane(of))) for of in (candidate, baseline)))


def share(candidate: float, baseline: float) -> float:
    """The candidate's part of a sum; half of nothing."""
    return candidate / (candidate + baseline) if candidate + baseline else 0.5


def disturbance(
    candidate: Figures, baseline: Figures | None, client_cpu: float, steal: float | None, share: float
) -> str:
    """Why a round cannot count, or nothing. Never because of what the round found: only the machine is asked.

    A schedule that was not kept because the candidate took the users' time, its `share` as `blame` gives it, is a
    finding about the candidate.
    """
    if steal is not None and steal > MAX_STEAL:
        return f"the host gave {steal:.0%} of the CPU to others"
    if client_cpu > MAX_CLIENT_CPU:
        return f"the load generator used {client_cpu:.0%} of its CPU"
    if baseline is None:
        return ""
    if abs(candidate.count - baseline.count) > MAX_IMBALANCE * max(candidate.count, baseline.count):
        return f"candidate and baseline got {candidate.count} and {baseline.count} requests"
    kept_up = baseline.achieved >= MIN_ACHIEVED * baseline.target
    if not kept_up and share < BLAME:
        return f"only {baseline.achieved / baseline.target:.0%} of the requests were sent in time"
    return ""


def _sane(samples: Samples) -> NDArray[np.bool_]:
    """Which latencies are times at all."""
    sane: NDArray[np.bool_] = (samples.latency >= 0) & (samples.latency < LONGEST)
    return sane
