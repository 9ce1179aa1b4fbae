"""The search for the rate that an arm can still take. Pure.

Rates are doubled or halved until it lies between two of them, then narrowed. Also: what a step at one rate says.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perf.rule.rounds import MAX_CLIENT_CPU, Samples, quantile
from perf.verdict import Limits

NARROW = 1.1  # how far apart the two rates may be at the end
LOWEST = 1 / 16  # of the first rate; what breaks there is not looked for any further down
LATE = 0.1  # of the limit of p95: a load generator that is later than that by itself measures itself
ANSWERED = 0.95  # of the requests: by when they were answered, the rate is measured, lest one slow last answer decide


class Bracket(NamedTuple):
    """What has been tried, in requests a second; None: no such rate yet."""

    kept: float | None = None  # the highest that kept the limits
    broke: float | None = None  # the lowest that did not

    def after(self, rate: float, kept: bool) -> "Bracket":
        """With one more step. Raises ValueError where the rate lies outside."""
        if not (self.kept or 0.0) < rate < (self.broke or math.inf):
            raise ValueError(f"{rate} is no rate of {self}")
        return self._replace(kept=rate) if kept else self._replace(broke=rate)

    @property
    def closed(self) -> bool:
        return self.kept is not None and self.broke is not None and self.broke <= NARROW * self.kept


def next_rate(first: float, known: Bracket) -> float | None:
    """The rate to try next, starting with `first`; None where there is nothing more to find."""
    if known.broke is None:
        return first if known.kept is None else 2 * known.kept
    if known.kept is None:
        return known.broke / 2 if known.broke / 2 >= LOWEST * first else None
    return None if known.closed else math.sqrt(known.kept * known.broke)


def keeps(samples: Samples, intended: int, seconds: float, limits: Limits) -> bool:
    """Whether a step in which `intended` requests were due within `seconds` kept p95, errors and throughput."""
    if not samples.pair.size or samples.pair.size < intended or not _answers(samples, limits):
        return False
    ok = samples.ok
    p95 = quantile((samples.latency + 1000 * (samples.start - samples.due))[ok], 0.95)
    if p95 is None or (limits.p95_ms is not None and p95 > limits.p95_ms):
        return False
    # What the last answers take anyway does not count: of a short step it would be much.
    took = float(np.quantile(samples.start + samples.latency / 1000, ANSWERED) - np.min(samples.latency) / 1000)
    return limits.min_throughput is None or limits.min_throughput * took <= ANSWERED * seconds


def client_was_the_limit(samples: Samples, users: int, cpu: float, limits: Limits) -> bool:
    """Whether the load generator, which used `cpu` of one CPU, was too slow for a step, and not the arm.

    It is late with most requests then; with a few of them, that is a stall of the machine.
    """
    late = quantile(own_lateness(samples, users), 0.5)
    return cpu > MAX_CLIENT_CPU or (late is not None and 1000 * late > LATE * (limits.p95_ms or math.inf))


def own_lateness(samples: Samples, users: int) -> NDArray[np.float64]:
    """How much later than it could have each request was sent, in seconds: once due, and its user's last one answered.

    User u sends pair u and every `users`-th after it.
    """
    pairs = int(np.max(samples.pair)) + 1 if samples.pair.size else 0
    answered = np.full(pairs + users, -math.inf)  # the request of its user before pair n
    answered[samples.pair + users] = samples.start + samples.latency / 1000
    late: NDArray[np.float64] = samples.start - np.maximum(samples.due, answered[samples.pair])
    return late


def _answers(samples: Samples, limits: Limits) -> bool:
    errors = samples.ok.size - int(samples.ok.sum())
    return limits.max_error_rate is None or errors <= limits.max_error_rate * samples.ok.size
