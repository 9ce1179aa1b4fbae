"""`derive` as the first step of the registered scikit-learn pipeline, so that it takes the file's own columns too."""

from typing import Any, Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from pipeline.columns import Record, arrays, derived, infer, missing
from pipeline.contract import Column


class Derive(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Frame of the file's columns in (missing: NaN or None), frame of the model's columns out."""

    def fit(self, frame: pd.DataFrame, _target: object = None) -> Self:
        rows = derived(records(frame))
        columns = infer(rows)
        self.numbers_ = [column.name for column in columns if column.type == "number"]
        self.texts_ = [column.name for column in columns if column.type == "text"]
        self.gaps_ = [name for name in self.numbers_ if any(missing(row[name]) for row in rows)]
        return self

    @property
    def columns(self) -> list[Column]:
        return [Column(n, "number") for n in self.numbers_] + [Column(n, "text") for n in self.texts_]

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        columns = self.columns
        values = arrays(derived(records(frame)), columns)
        return pd.DataFrame({name: array[:, 0] for name, array in values.items()}, index=frame.index)


def records(frame: pd.DataFrame) -> list[Record]:
    """The rows of a frame of the file's columns, None where a cell is missing."""
    rows: list[Any] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows
