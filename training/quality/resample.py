"""How sure the metrics of held-out rows are, and those of two versions that answered the same rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from training.quality.metrics import Answers, Values, measure

RESAMPLES = 2000
CELLS = 1_000_000  # counts that are held at a time
STEPS = 4_096  # of a curve: finer ones move an interval in its fourth digit, and take most of the time
Array = np.ndarray[Any, Any]


def resampled(answers: Sequence[Answers], units: Array, seed: int, resamples: int = RESAMPLES) -> list[Values]:
    """Metrics of resamples of the rows, by answer: the same resamples, so that they can be subtracted.

    The paired bootstrap (Efron, 1979), by scipy.stats. units: (rows,), whole numbers from 0: rows of one unit, such as
    of one customer, go into a resample together.
    """
    measures = [measure(each, STEPS) for each in answers]
    once = np.ones((1, len(units)), np.int64)
    known = [each(once) for each in measures]
    # A coarser curve is off by the same in every resample.
    off = [
        {name: value - known[n][name] for name, value in measure(each)(once).items()} for n, each in enumerate(answers)
    ]
    count = int(units.max()) + 1
    in_order = np.array_equal(units, np.arange(count))

    def values(picked: Array, axis: int) -> Array:
        assert axis == -1  # noqa: S101  scipy's promise to a statistic
        several = np.atleast_2d(picked) + np.arange(picked.size // count)[:, None] * count
        counts = np.bincount(several.ravel(), minlength=several.size).reshape(-1, count)
        counts = counts if in_order else np.take(counts, units, axis=1)
        found = [each(counts) for each in measures]
        rows = np.array([value for each in found for value in each.values()])
        return rows if picked.ndim > 1 else rows[:, 0]

    done = bootstrap(
        (np.arange(count),),
        values,
        n_resamples=resamples,
        batch=max(1, CELLS // len(units)),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    rows = iter(done.bootstrap_distribution)
    return [{name: next(rows) + apart for name, apart in each.items()} for each in off]
