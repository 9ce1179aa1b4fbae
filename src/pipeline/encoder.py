"""TargetEncoder with the numbers that serving will show the model."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import TargetEncoder


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
