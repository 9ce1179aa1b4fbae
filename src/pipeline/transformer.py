"""Steps of a fitted pipeline: the first one, which calls `derive`, and target encodings that float32 holds."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import TargetEncoder

from pipeline.bundle import Column
from pipeline.columns import Record, Value, arrays, derived, infer

FILE = 1 << 40  # what a frame's index counts further by with each file, where the rows are of several
ROWS = 2_000  # derived at once: as dicts of Python's own numbers, they take twenty times the memory


class RoundedTargetEncoder(TargetEncoder):  # type: ignore[misc]
    """scikit-learn's TargetEncoder, each number rounded to what a float32 holds.

    Texts that stand for the same mean differ in the last digits of a float64, and trees then learn to tell them apart,
    which is no knowledge, and which a service on float32 could not repeat.
    """

    def transform(self, X: Any) -> Any:
        return _rounded(super().transform(X))

    def fit_transform(self, X: Any, y: Any, **params: Any) -> Any:
        return _rounded(super().fit_transform(X, y, **params))


def round_target_encoders(estimator: BaseEstimator) -> None:
    """Makes each TargetEncoder in an unfitted estimator a rounded one, in place."""
    for part in (estimator, *estimator.get_params(deep=True).values()):
        if type(part) is TargetEncoder:
            part.__class__ = RoundedTargetEncoder


def _rounded(values: Any) -> Any:
    return values.astype(np.float32).astype(np.float64)


class Derive(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Frame of the file's columns in (missing: NaN or None), frame of the model's columns out.

    A column in which fitting saw a missing value may be left out: MLflow's signature calls it optional.
    """

    optional_: tuple[str, ...] = ()  # of a model that was fitted when there was no such attribute

    def fit(self, frame: pd.DataFrame, target: object = None) -> Self:
        self.fit_transform(frame, target)
        return self

    def fit_transform(self, frame: pd.DataFrame, _target: object = None) -> pd.DataFrame:
        self.optional_ = tuple(name for name in frame.columns if frame[name].isna().any())
        known: dict[str, Any] = {}
        made = _joined((arrays(rows, infer(rows, known, places)) for rows, places in _derived(frame)), len(frame))
        self.numbers_ = [name for name in made if known.get(name) != "text"]
        self.texts_ = [name for name in made if known.get(name) == "text"]
        table = self._table(made, frame.index)
        self.gaps_ = [name for name in self.numbers_ if table[name].isna().any()]
        return table

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        whole = frame.assign(**{name: None for name in self.optional_ if name not in frame.columns})
        made = _joined((arrays(rows, self.columns) for rows, _ in _derived(whole)), len(frame))
        return self._table(made, frame.index)

    @property
    def columns(self) -> list[Column]:
        return [Column(n, "number") for n in self.numbers_] + [Column(n, "text") for n in self.texts_]

    def _table(self, made: dict[str, Any], index: pd.Index) -> pd.DataFrame:
        nothing = np.zeros(0, np.float32)  # of a frame without rows
        columns = {column.name: made.get(column.name, nothing) for column in self.columns}
        return pd.DataFrame(columns, index=index, copy=False)


def _joined(parts: Iterable[dict[str, Any]], rows: int) -> dict[str, Any]:
    """Columns of so many rows, out of those of some rows each, which are gone at once."""
    joined: dict[str, Any] = {}
    start = 0
    for part in parts:
        for name, values in part.items():
            is_text = values.dtype == object
            # A column of texts is one of numbers as long as None alone stands in it, in these rows or those before.
            if name not in joined or (is_text and joined[name].dtype != object):
                joined[name] = np.full(rows, "" if is_text else np.nan, values.dtype)
            if joined[name].dtype == values.dtype:
                joined[name][start : start + len(values)] = values[:, 0]
        start += len(values)
    return joined


def _derived(frame: pd.DataFrame) -> Iterator[tuple[list[dict[str, Value]], list[str]]]:
    """Derived rows, some at a time, with the place of each, for messages."""
    name = str(frame.index.name or "")
    for start in range(0, len(frame), ROWS):
        part = frame.iloc[start : start + ROWS]
        places = [_place(name, n) for n in part.index]
        yield derived(records(part), places), places


def _place(unit: str, number: int) -> str:
    if not unit:
        return f"row {number}"
    file, row = divmod(number, FILE)
    return f"{unit} {row} of {f'file {file} of the data' if file else 'the data file'}"


def records(frame: pd.DataFrame) -> list[Record]:
    """The rows of a frame of the file's columns, None where a cell is missing."""
    names = list(frame.columns)
    columns = [_values(column) for _, column in frame.items()]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pd.Series) -> list[Any]:
    if column.dtype.kind == "M":
        return [when and when.to_pydatetime() for when in column.astype(object).where(column.notna(), None)]
    values: list[Any] = column.tolist()
    gaps = column.isna().to_numpy()
    if gaps.any():
        return [None if missing else value for value, missing in zip(values, gaps.tolist(), strict=True)]
    return values
