"""Which rows are held out: by a hash of the row, of its group, or by time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pipeline import values
from pipeline.schema import Data
from training.cells import Numerals
from training.source.rows import DataError

Array = np.ndarray[Any, Any]


def by_hash(hashes: Array, holdout: float, target: pd.Series | None) -> Array:
    """bool, a row each. target: of a classification, of whose classes each part gets one, where there are two."""
    held_out = hashes < np.uint64(holdout * 2**64)
    labels = np.empty(0, object) if target is None else target.to_numpy()
    for name in pd.unique(labels):
        rows = np.flatnonzero(labels == name)
        if np.unique(hashes[rows]).size < 2:
            continue
        if not held_out[rows].any():
            held_out[hashes == hashes[rows].min()] = True
        elif held_out[rows].all():
            held_out[hashes == hashes[rows].max()] = False
    return held_out


def by_time(data: Data, cells: pd.Series, holdout: float, place: Callable[[int], str]) -> Array:
    """bool, a row each: the newest, all of one moment together; rows without a time are learned from.

    place: where a row stands, by the index. Raises DataError.
    """
    when = moments(data, cells, place)
    known = np.sort(when[np.isfinite(when)])
    starts = np.unique(known)[1:]  # where the newest part may begin: not at the very first
    if not len(starts):
        raise DataError(f"column {data.time!r}: one moment in all rows, so none is newer (data.time)")
    shares = (len(known) - np.searchsorted(known, starts)) / len(when)
    begins = float(starts[np.argmin(np.abs(shares - holdout))])
    return np.asarray(when >= begins)  # NaN is no later


def moments(data: Data, cells: pd.Series, place: Callable[[int], str]) -> Array:
    """float64: numbers as they are, dates as seconds; NaN where there is none."""
    if cells.dtype == float:
        return cells.to_numpy()
    plain = Numerals(data.decimal, data.thousands).plain(cells.tolist())
    numbers = pd.to_numeric(pd.Series(plain, cells.index, object), errors="coerce")
    if numbers.notna().sum() == cells.notna().sum():
        return numbers.to_numpy(float)
    form, found = data.date_formats.get(data.time, ""), np.full(len(cells), np.nan)
    for row, (number, cell) in enumerate(cells.items()):
        if cell is None:
            continue
        try:
            when = values.date(cell, form) if isinstance(cell, str) else cell
        except ValueError as error:
            where = f"{place(int(str(number)))}, column {data.time!r}"
            raise DataError(f"{where}: {cell[:50]!r} is no time; {error} (data.time)") from None
        found[row] = (when - EPOCH).total_seconds()
    return found


EPOCH = values.date("1970-01-01")
