"""From records to the arrays that a model is fed: the one way, for training and serving alike."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from model.data import derive
from pipeline.contract import Column

Value = float | str | None
Record = Mapping[str, Value]


class DeriveError(ValueError):
    """`model.data.derive` failed on a record, or answered with other columns than on the first one."""


def derived(records: Iterable[Record]) -> list[dict[str, Value]]:
    """`model.data.derive` of each record. Raises DeriveError, with the number of the row (from 0)."""
    rows = []
    for number, record in enumerate(records):
        try:
            rows.append(derive(record))
        except Exception as error:
            raise DeriveError(f"derive (src/model/data.py) failed on row {number}: {error!r}") from error
        if type(rows[number]) is not dict:
            kind = type(rows[number]).__name__
            raise DeriveError(f"derive (src/model/data.py) gives {kind} for row {number}; expected a dict of columns")
        if rows[number].keys() != rows[0].keys():
            odd = ", ".join(sorted(rows[number].keys() ^ rows[0].keys()))
            raise DeriveError(f"derive (src/model/data.py) gives row {number} other columns than row 0: {odd}")
    return rows


def missing(value: Value) -> bool:
    """Whether a derived value is none: None, or NaN."""
    return value is None or value != value  # noqa: PLR0124


def infer(rows: Sequence[Record]) -> list[Column]:
    """Names and types of the columns in derived rows: text where any value is a str, number otherwise."""
    return [Column(name, "text" if any(isinstance(row[name], str) for row in rows) else "number") for name in rows[0]]


def arrays(rows: Sequence[Record], columns: Sequence[Column]) -> dict[str, np.ndarray[Any, Any]]:
    """One array of shape (rows, 1) for each column: float32 (missing: NaN) or objects of type str (missing: "").

    float32, in training too, so that the model learns from the very numbers that serving will show it.
    """
    count = len(rows)
    result: dict[str, np.ndarray[Any, Any]] = {}
    for name, kind in ((column.name, column.type) for column in columns):
        values = [row[name] for row in rows]
        if kind == "number":
            # numpy reads None as NaN where the dtype is a float's
            result[name] = np.array(values, dtype=np.float32).reshape(count, 1)
        else:
            texts = np.empty((count, 1), dtype=object)
            texts[:, 0] = ["" if value is None else value for value in values]
            result[name] = texts
    return result
