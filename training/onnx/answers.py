"""What an estimator answers, and how far two answers are apart."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

TOLERANCE = 1e-6  # of a probability
RELATIVE_TOLERANCE = 1e-5  # in regression, to the value or the spread of all values; float32 sums hold no more

Array = np.ndarray[Any, Any]


def predict(estimator: BaseEstimator, frame: pd.DataFrame) -> Array:
    """Probabilities of shape (rows, classes), or values of shape (rows,)."""
    if hasattr(estimator, "classes_"):
        return np.asarray(estimator.predict_proba(frame), dtype=float)
    return np.asarray(estimator.predict(frame), dtype=float).reshape(-1)


def tolerance(expected: Array) -> float:
    """How much an answer may differ from this one."""
    return TOLERANCE if expected.ndim == 2 else RELATIVE_TOLERANCE


def spread(expected: Array) -> float:
    """The standard deviation of a regression's answers, which says what a small difference is; 1 for probabilities."""
    return (float(np.std(expected)) or 1.0) if expected.ndim == 1 else 1.0


def largest_difference(answer: Array, expected: Array, usual: float | None = None) -> float:
    """The largest difference between two answers: of probabilities absolute, of values relative.

    Relative to the value, or to `usual` where the value is smaller: by default the spread of the expected answers.
    """
    if expected.ndim == 1:
        answer = answer.reshape(-1)
    if answer.shape != expected.shape:
        return float("inf")
    usual = spread(expected) if usual is None else usual
    scale = np.maximum(usual, np.abs(expected)) if expected.ndim == 1 else 1.0
    return float(np.max(np.abs(answer - expected) / scale))
