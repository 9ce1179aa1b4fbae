"""The fitted estimator as ONNX, proven row by row against scikit-learn; where that fails, as joblib, saying why."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import joblib
import numpy as np
import onnxruntime
import pandas as pd
from sklearn.base import BaseEstimator

from pipeline import matrix
from pipeline.contract import Column
from training.convert import convert

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
        model = convert(estimator, columns, name)
        answer = run(model, rows)
    except Exception as error:  # a converter may fail in any way; the reason is reported, and joblib serves
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Exported("sklearn", _joblib(estimator), f"it does not convert to ONNX: {first[:200]}", float("nan"))
    difference = largest_difference(answer, expected)
    if not difference <= TOLERANCE:
        reason = f"ONNX differs from scikit-learn by {difference:.1e} on a held-out row (tolerance {TOLERANCE:g})"
        return Exported("sklearn", _joblib(estimator), reason, difference)
    return Exported("onnx", model, "", difference)


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


def _joblib(estimator: BaseEstimator) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()
