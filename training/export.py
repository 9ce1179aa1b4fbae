"""The fitted estimator as ONNX, proven row by row against scikit-learn; where that fails, by skops, saying why."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import onnxruntime
import pandas as pd
import skops.io
from sklearn.base import BaseEstimator

from pipeline import matrix
from pipeline.contract import Column
from training.convert import convert
from training.hard_rows import Rows, hard_rows

TOLERANCE = 1e-6  # in probability; in regression relative to the value, or absolute below 1

Array = np.ndarray[Any, Any]


class Exported(NamedTuple):
    runtime: Literal["onnx", "sklearn"]
    model: bytes
    reason: str  # why not ONNX
    difference: float  # the largest between ONNX and scikit-learn on the rows compared; NaN where it did not convert


def export(
    estimator: BaseEstimator, columns: Sequence[Column], rows: Mapping[str, Array], expected: Array, name: str
) -> Exported:
    """The model that serves, and how it was chosen.

    rows: held-out arrays of shape (rows, 1) by column; expected: scikit-learn's own answer on them, probabilities of
    shape (rows, classes) or values of shape (rows,).
    """
    try:
        model = convert(estimator, columns, _frame(rows).head(3), name)
        answer = run(model, rows)
        hardest = _on_hard_rows(estimator, model, columns, rows)
    except Exception as error:  # a converter may fail in any way; the reason is reported, and scikit-learn serves
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Exported(
            "sklearn", skops.io.dumps(estimator), f"it does not convert to ONNX: {first[:200]}", float("nan")
        )
    difference = largest_difference(answer, expected)
    if not difference <= TOLERANCE:
        reason = f"ONNX differs from scikit-learn by {difference:.1e} on a held-out row (tolerance {TOLERANCE:g})"
        return Exported("sklearn", skops.io.dumps(estimator), reason, difference)
    if not hardest <= TOLERANCE:
        reason = f"ONNX differs from scikit-learn by {hardest:.1e} on a hard row (tolerance {TOLERANCE:g})"
        return Exported("sklearn", skops.io.dumps(estimator), reason, hardest)
    return Exported("onnx", model, "", max(difference, hardest))


def _on_hard_rows(
    estimator: BaseEstimator, model: bytes, columns: Sequence[Column], rows: Mapping[str, Array]
) -> float:
    """The largest difference on rows where one is likeliest; those that scikit-learn refuses are left out."""

    def answer(some: Rows) -> Array:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # at the ends of float32, numbers overflow
            warnings.simplefilter("ignore")
            return predict(estimator, _frame(some))

    differences = [0.0]
    for some in hard_rows(answer, rows, columns):
        try:
            expected = answer(some)
        except ValueError:
            continue
        finite = np.isfinite(expected).reshape(len(expected), -1).all(axis=1)
        if finite.any():
            differences.append(largest_difference(run(model, some)[finite], expected[finite]))
    return max(differences)


def run(model: bytes, rows: Mapping[str, Array]) -> Array:
    """The output of an ONNX model for arrays of shape (rows, 1) by column."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    columns = matrix.decode(session.get_modelmeta().custom_metadata_map)
    feed = {matrix.INPUT: matrix.join(columns, rows)} if columns else dict(rows)
    return np.asarray(session.run(None, feed)[0])


def largest_difference(answer: Array, expected: Array) -> float:
    """The largest difference between two answers: absolute, or relative where the expected value is beyond 1."""
    if expected.ndim == 1:
        answer = answer.reshape(-1)
    if answer.shape != expected.shape:
        return float("inf")
    return float(np.max(np.abs(answer - expected) / np.maximum(1.0, np.abs(expected))))


def predict(estimator: BaseEstimator, frame: pd.DataFrame) -> Array:
    """Probabilities of shape (rows, classes), or values of shape (rows,)."""
    if hasattr(estimator, "classes_"):
        return np.asarray(estimator.predict_proba(frame), dtype=float)
    return np.asarray(estimator.predict(frame), dtype=float).reshape(-1)


def _frame(rows: Mapping[str, Array]) -> pd.DataFrame:
    return pd.DataFrame({name: values[:, 0] for name, values in rows.items()})
