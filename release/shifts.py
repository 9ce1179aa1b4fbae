"""Where p95 shifted for good: in one step, or little by little.

Each change along a chain is a measurement of its own, so it is the changes that are searched. Their product is a random
walk: of simulated histories of 12 to 40 versions without any shift, a search for steps in the product (PELT) found some
in 73 to 100 of 100, and CAPA (Fisch, Eckley & Fearnhead, 2022) on the changes in 2 to 4. CAPA knows that no change is
zero, and looks for single ones that are not (a step) and for stretches whose mean is not (a creeping loss).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skchange.detectors import CAPA, PELT
from skchange.interval_scorers import L2Cost, L2Saving
from skchange.penalties import bic_penalty, chi2_penalty

FEWEST = 8  # versions: fewer do not show what is noise
LEAST_NOISE = 0.01  # no load test of a few minutes is more exact than that
CREEPING = 3  # changes in a row at least


class Shift(NamedTuple):
    """From one version to another, by their places in the series. `size`: of the log of p95, over all of it."""

    first: int
    last: int
    size: float

    @property
    def step(self) -> bool:
        return self.last - self.first == 1


def noise(values: Sequence[float], errors: Sequence[float] = ()) -> float:
    """The standard deviation of what is measured when nothing changes: the larger of two estimates.

    `errors`: what each load test says of its own; rounds of one run do not know how runs differ, and the values do.
    """
    own = math.sqrt(float(np.mean(np.square(errors)))) if errors else 0.0
    return max(own, _spread(np.asarray(values)), LEAST_NOISE)


def _spread(values: NDArray[np.float64]) -> float:
    """Qn of Rousseeuw & Croux (1993): a standard deviation from the distances of pairs, deaf to up to half of them."""
    n = len(values)
    if n < 2:
        return 0.0
    first, second = np.triu_indices(n, 1)
    half = n // 2 + 1
    near = np.sort(np.abs(values[first] - values[second]))[half * (half - 1) // 2 - 1]
    small = {2: 0.399, 3: 0.994, 4: 0.512, 5: 0.844, 6: 0.611, 7: 0.857, 8: 0.669, 9: 0.872}
    return 2.2219 * float(near) * small.get(n, n / (n + (1.4 if n % 2 else 3.8)))


def in_changes(changes: Sequence[float], spread: float) -> list[Shift]:
    """The shifts in a chain, from the logs of its changes. `spread`: their noise."""
    # CAPA leaves out the first CREEPING - 1 values as steps, so there are as many zeros before ours.
    before = CREEPING - 1
    scaled = np.concatenate([np.zeros(before), changes])[:, None] / spread
    penalty = chi2_penalty(len(changes))
    detector = CAPA(
        segment_saving=L2Saving(baseline_mean=0.0),
        segment_penalty=penalty,
        point_penalty=penalty,
        min_segment_length=CREEPING,
        max_segment_length=len(scaled),
        include_point_anomalies=True,
    )
    found = []
    for begin, end in detector.fit(scaled).predict_segment_anomalies(scaled):
        first, last = max(0, int(begin) - before), int(end) - before
        found.append(Shift(first, last, float(np.sum(changes[first:last]))))
    return found


def in_levels(levels: Sequence[float]) -> list[Shift]:
    """The steps in logs of p95 that were measured on one machine, each by itself."""
    scaled = np.asarray(levels)[:, None] / (noise(np.diff(levels).tolist()) / math.sqrt(2))
    detector = PELT(cost=L2Cost(), penalty=3 * bic_penalty(len(levels)), min_segment_length=2)
    borders = [0, *(int(place) for place in detector.fit(scaled).predict(scaled)), len(levels)]
    means = [float(np.mean(levels[begin:end])) for begin, end in pairwise(borders)]
    return [
        Shift(place - 1, place, after - before)
        for place, (before, after) in zip(borders[1:-1], pairwise(means), strict=True)
    ]
