"""Steps of a fitted pipeline: the first one, which calls `derive`, and target encodings that float32 holds."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import TargetEncoder

from pipeline.bundle import Column
from pipeline.columns import Record, Value, arrays, derived, infer, missing


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
    """Frame of the file's columns in (missing: NaN or None), frame of the model's columns out."""

    def fit(self, frame: pd.DataFrame, target: object = None) -> Self:
        self.fit_transform(frame, target)
        return self

    def fit_transform(self, frame: pd.DataFrame, _target: object = None) -> pd.DataFrame:
        rows = derived(records(frame))
        columns = infer(rows)
        self.numbers_ = [column.name for column in columns if column.type == "number"]
        self.texts_ = [column.name for column in columns if column.type == "text"]
        self.gaps_ = [name for name in self.numbers_ if any(missing(row[name]) for row in rows)]
        return self._table(rows, frame.index)

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return self._table(derived(records(frame)), frame.index)

    @property
    def columns(self) -> list[Column]:
        return [Column(n, "number") for n in self.numbers_] + [Column(n, "text") for n in self.texts_]

    def _table(self, rows: list[dict[str, Value]], index: pd.Index) -> pd.DataFrame:
        return pd.DataFrame({name: array[:, 0] for name, array in arrays(rows, self.columns).items()}, index=index)


def records(frame: pd.DataFrame) -> list[Record]:
    """The rows of a frame of the file's columns, None where a cell is missing."""
    rows: list[Any] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows
