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
from onnx import ModelProto
from onnx.compose import add_prefix
from onnx.helper import make_node, make_tensor_value_info
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from pipeline.contract import Column
from training.exact_trees import floor_thresholds, sum_in_double

TOLERANCE = 1e-6  # in probability; in regression relative to the value, or absolute below 1
OPSET = {"": 21, "ai.onnx.ml": 3}
TYPES = {"number": FloatTensorType, "text": StringTensorType}

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
    floored = copy.deepcopy(estimator)
    floor_thresholds(floored)
    by_name = isinstance(_first_step(estimator), ColumnTransformer)
    model = _apart(floored, columns, name) if by_name else _joined(floored, columns, name)
    _keep_answer(model, hasattr(estimator, "classes_"))
    sum_in_double(model, estimator)
    # Else they are in the order of a set, and equal models have other bytes.
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return bytes(model.SerializeToString(deterministic=True))


def _first_step(estimator: BaseEstimator) -> BaseEstimator:
    return _first_step(estimator.steps[0][1]) if isinstance(estimator, Pipeline) else estimator


def _apart(estimator: BaseEstimator, columns: Sequence[Column], name: str) -> ModelProto:
    """The model of an estimator that begins with a ColumnTransformer, which takes columns by name; changes it."""
    # The converter knows letters, digits and underscores only, and a few names that it uses itself.
    plain = [f"column{number}" for number, _ in enumerate(columns)]
    first = _first_step(estimator)
    positions = first._transformer_to_input_indices
    first.transformers_ = [
        (each, step, plain[positions[each][0]] if isinstance(chosen, str) else [plain[p] for p in positions[each]])
        for each, step, chosen in first.transformers_
    ]
    inputs = [(made, TYPES[column.type]([None, 1])) for made, column in zip(plain, columns, strict=True)]
    model = _prefixed(_converted(estimator, inputs, name), columns)
    names = {made.name: column.name for made, column in zip(model.graph.input, columns, strict=True)}
    for made in model.graph.input:
        made.name = names[made.name]
    for node in model.graph.node:
        node.input[:] = [names.get(each, each) for each in node.input]
    return model


def _joined(estimator: BaseEstimator, columns: Sequence[Column], name: str) -> ModelProto:
    """The model of an estimator that takes a matrix, behind a node that joins the columns to one."""
    (kind,) = {column.type for column in columns}  # numbers and texts do not fit in one matrix
    inputs = [("columns", TYPES[kind]([None, len(columns)]))]
    model = _prefixed(_converted(estimator, inputs, name), columns)
    graph, (matrix,) = model.graph, model.graph.input
    element = matrix.type.tensor_type.elem_type
    del graph.input[:]
    graph.input.extend(make_tensor_value_info(column.name, element, [None, 1]) for column in columns)
    graph.node.insert(0, make_node("Concat", [column.name for column in columns], [matrix.name], axis=1))
    return model


def _prefixed(model: ModelProto, columns: Sequence[Column]) -> ModelProto:
    """The model with other names for all that is in it than the columns have."""
    prefix = "model/"
    while any(column.name.startswith(prefix) for column in columns):
        prefix += "/"
    return add_prefix(model, prefix)


def _converted(estimator: BaseEstimator, inputs: Sequence[tuple[str, Any]], name: str) -> ModelProto:
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own code draws NumPy's deprecation warnings
        model: ModelProto = to_onnx(estimator, name=name, initial_types=inputs, options=options, target_opset=OPSET)
    return model


def _keep_answer(model: ModelProto, classifier: bool) -> None:
    """Leaves one output, under its own name. A classifier's first one is the label; it follows from probabilities."""
    output = model.graph.output[-1]
    new = "probabilities" if classifier else "value"
    while new in {each.name for each in model.graph.input}:
        new += "_"
    for node in model.graph.node:
        node.output[:] = [new if n == output.name else n for n in node.output]
        node.input[:] = [new if n == output.name else n for n in node.input]
    output.name = new
    del model.graph.output[:-1]


def run(model: bytes, rows: Mapping[str, Array]) -> Array:
    """The output of an ONNX model for arrays of shape (rows, 1) by column."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
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
