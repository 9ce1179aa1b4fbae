"""What the quality gate decides, and why. Pure: no file, no model, no clock.

The sentence of the latency gate holds here too: the same model does not fail; a loss of `tolerance` or more is caught;
what is surely less passes.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import norm

Array = np.ndarray[Any, Any]
Outcome = Literal["pass", "fail", "unsure"]

FAILING, PASSING = 0.01, 0.05  # how often the rule may be wrong: to fail the same model, to pass one that lost too much
LEAST = 0.1  # share of the tolerance: a loss that fails is surely above it


class Loss(NamedTuple):
    """How much worse than the champion, in the metric's own unit: positive is worse."""

    found: float
    surely: float  # it is above this, but for FAILING of the cases
    at_most: float  # it is below this, but for PASSING of the cases
    error: float  # standard error


class Decision(NamedTuple):
    outcome: Outcome
    rows: int  # held-out rows that it would take to be sure; 0: it is


def loss(found: float, resamples: Array) -> Loss:
    """From the loss as found, and that of resamples of the rows."""
    known = resamples[np.isfinite(resamples)]
    if not len(known) or not np.isfinite(found):
        return Loss(found, -np.inf, np.inf, np.inf)
    low, high = np.quantile(known, (FAILING, 1 - PASSING))
    return Loss(found, float(low), float(high), float(known.std()))


def decide(it: Loss, tolerance: float, rows: int) -> Decision:
    """Three outcomes. rows: that were held out."""
    if it.at_most < tolerance or it.at_most == it.surely == 0:  # the very same answers
        return Decision("pass", 0)
    if it.surely > LEAST * tolerance and it.found >= tolerance:
        return Decision("fail", 0)
    if not tolerance:  # then nothing is surely less: what is not surely worse passes
        return Decision("pass", 0)
    return Decision("unsure", _rows(it, tolerance, rows))


def _rows(it: Loss, tolerance: float, rows: int) -> int:
    """How many it would take, if the loss is as found: errors shrink as the square root of the rows grows."""
    if it.found < tolerance:
        room, level = tolerance - it.found, PASSING
    else:
        room, level = it.found - LEAST * tolerance, FAILING
    needed = rows * (norm.isf(level) * it.error / room) ** 2
    return int(np.ceil(needed)) if np.isfinite(needed) else 0
