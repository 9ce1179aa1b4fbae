"""How much worse a version answers where a column is shuffled (Breiman, Machine Learning 45, 2001), two alike. Pure.

A column that tells what another one tells as well looks unimportant: its twin is left.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from training.quality.metrics import Answers, metrics

ROWS = 2_000, 100  # of the held-out ones, at most and at least
CELLS = 40_000  # rows that are asked in all, about
MOST = 200  # columns
SEED = 0
Array = np.ndarray[Any, Any]


def chosen(rows: int, columns: int) -> Array:
    """int: which of so many rows are asked."""
    count = min(rows, max(ROWS[1], min(ROWS[0], CELLS // max(1, columns))))
    return np.sort(np.random.default_rng(SEED).permutation(rows)[:count])


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are, and then again with each column shuffled, one after the other; nothing of too many."""
    names = list(frame.columns)
    if len(names) > MOST:
        return frame.head(0)
    order = np.random.default_rng(SEED).permutation(len(frame))
    columns = {}
    for at, name in enumerate(names):
        values = frame[name].to_numpy()
        parts = [values] * (len(names) + 1)
        parts[at + 1] = values[order]
        columns[name] = np.concatenate(parts)
    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()})


def losses(answers: Answers, given: Array, names: Sequence[str], metric: str, sign: int) -> dict[str, float]:
    """By column, by how much the metric is worse.

    answers: to the rows as they are, of which `given` is what is said of `shuffled`; sign: 1 where more is better.
    """
    rows = len(answers.truth)
    found = {}
    usual = metrics(answers._replace(given=given[:rows]))[metric]
    for at, name in enumerate(names, 1):
        found[name] = sign * (usual - metrics(answers._replace(given=given[at * rows : (at + 1) * rows]))[metric])
    return {name: loss for name, loss in found.items() if np.isfinite(loss)}
