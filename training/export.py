"""The fitted estimator as ONNX, proven row by row against scikit-learn; where that fails, as joblib, saying why."""

import copy
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import joblib
import numpy as np
import onnxruntime
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import BaseEstimator

from pipeline.contract import Column
from training.exact_trees import floor_thresholds, sum_in_double

TOLERANCE = 1e-6  # in probability; in regression relative to the value, or absolute below 1
OPSET = {"": 21, "ai.onnx.ml": 3}

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


def convert(estimator: BaseEstimator, columns: Sequence[Column], name: str) -> bytes:
    """ONNX bytes: an input of shape (rows, 1) for each column, one output, `probabilities` or `value`."""
    types = {"number": FloatTensorType, "text": StringTensorType}
    inputs = [(column.name, types[column.type]([None, 1])) for column in columns]
    classifier = hasattr(estimator, "classes_")
    floored = copy.deepcopy(estimator)
    floor_thresholds(floored)
    options = {id(floored): {"zipmap": False}} if classifier else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own code draws NumPy's deprecation warnings
        model = to_onnx(floored, name=name, initial_types=inputs, options=options, target_opset=OPSET)
    output = model.graph.output[-1]  # a classifier's first one is the label, which follows from the probabilities
    new = "probabilities" if classifier else "value"
    for node in model.graph.node:
        node.output[:] = [new if n == output.name else n for n in node.output]
        node.input[:] = [new if n == output.name else n for n in node.input]
    output.name = new
    del model.graph.output[:-1]
    sum_in_double(model, estimator)
    opsets = sorted(
        model.opset_import, key=lambda opset: opset.domain
    )  # else in the order of a set: not the same bytes
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return bytes(model.SerializeToString(deterministic=True))


def run(model: bytes, rows: Mapping[str, Array]) -> Array:
    """The output of an ONNX model for arrays of shape (rows, 1) by column."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(rows))[0])


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
