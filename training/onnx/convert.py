"""A fitted estimator as ONNX bytes, by skl2onnx, with the columns of the model by name and no rounding that matters."""

import copy
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from onnx import ModelProto, TensorProto
from onnx.compose import add_prefix
from onnx.helper import make_node, make_opsetid, make_tensor_value_info
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import Pipeline

from pipeline.bundle import Column
from training.onnx import converters, ensembles, own, targets
from training.onnx.graph import drop_unused, feed_matrix
from training.onnx.one_matrix import NotLookups, sources
from training.onnx.texts import by_column
from training.onnx.trees import floor_thresholds, follow_missing, sum_in_double, vote_in_double

OPSET = {"": 21, "ai.onnx.ml": 3}
converters.register()
targets.register()
WORDS = {"StringNormalizer", "Tokenizer", "TfIdfVectorizer"}
TYPES = {"number": FloatTensorType, "text": StringTensorType}


def convert(
    estimator: BaseEstimator,
    columns: Sequence[Column],
    sample: pd.DataFrame,
    name: str,
    refusing: Collection[str] = (),
) -> bytes:
    """ONNX bytes with one output, `probabilities` or `value`. Raises ValueError, and whatever a converter raises.

    The input is one matrix (see one_matrix.py), or, where that cannot be, one of shape (rows, 1) for each column.
    sample: a few rows such as it was fitted on. refusing: the text columns in which it takes only what it knows.
    """
    ensembles.register()
    own.register(estimator)
    floored = copy.deepcopy(estimator)
    floor_thresholds(floored)
    _ready_votes(floored)
    converters.note_dtypes(floored, sample)
    floored = by_column(floored, sample, columns)
    why = ""
    try:
        within = floored.regressor_ if isinstance(floored, TransformedTargetRegressor) else floored
        inputs = sources(within, columns, refusing)
    except NotLookups as error:
        why = str(error)
        by_name = isinstance(_first_step(estimator), ColumnTransformer)
        model = _apart(floored, columns, name) if by_name else _joined(floored, columns, name)
    else:
        types = [(f"input{n}", FloatTensorType([None, source.width])) for n, source in enumerate(inputs)]
        model = _prefixed(_converted(floored, types, name), ())
        feed_matrix(model, inputs)
    if WORDS & {node.op_type for node in model.graph.node}:
        what = "ONNX would cut and fold its texts as the locale of a machine has it, unlike scikit-learn"
        raise ValueError(f"{why}; {what}" if why else what)
    _keep_answer(model, hasattr(estimator, "predict_proba"))
    follow_missing(model, estimator)
    sum_in_double(model, estimator)
    vote_in_double(model, estimator)
    converters.multiply_in_double(model, floored)
    drop_unused(model)
    versions = {"ai.onnx.ml": 3}  # the first with trees in float64
    for opset in model.opset_import:
        versions[opset.domain] = max(opset.version, versions.get(opset.domain, 0))
    del model.opset_import[:]  # they are in the order of a set, and equal models have other bytes
    model.opset_import.extend(make_opsetid(*each) for each in sorted(versions.items()))
    return bytes(model.SerializeToString(deterministic=True))


def _ready_votes(estimator: BaseEstimator) -> None:
    """Makes each VotingClassifier in it one that the converter takes, with the same answers, in place."""
    for part in (estimator, *estimator.get_params(deep=True).values()):
        if isinstance(part, VotingClassifier):
            part.flatten_transform = False  # of `transform`, which nobody calls
            part.weights = None if part.weights is None else np.asarray(part.weights, float)


def _first_step(estimator: BaseEstimator) -> BaseEstimator:
    if isinstance(estimator, Pipeline):
        return _first_step(estimator.steps[0][1])
    return _first_step(estimator.regressor_) if isinstance(estimator, TransformedTargetRegressor) else estimator


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
    """The model of an estimator that takes a matrix of texts, behind a node that joins the columns to one."""
    if any(column.type == "number" for column in columns):
        first = type(_first_step(estimator)).__name__
        raise ValueError(f"{first} takes numbers and texts at once; a ColumnTransformer would take them apart")
    model = _prefixed(_converted(estimator, [("columns", StringTensorType([None, len(columns)]))], name), columns)
    graph, (joined,) = model.graph, model.graph.input
    del graph.input[:]
    graph.input.extend(make_tensor_value_info(column.name, TensorProto.STRING, [None, 1]) for column in columns)
    graph.node.insert(0, make_node("Concat", [column.name for column in columns], [joined.name], axis=1))
    return model


def _prefixed(model: ModelProto, columns: Sequence[Column]) -> ModelProto:
    """The model with other names for all that is in it than the columns have."""
    prefix = "model/"
    while any(column.name.startswith(prefix) for column in columns):
        prefix += "/"
    return add_prefix(model, prefix)


def _converted(estimator: BaseEstimator, inputs: Sequence[tuple[str, Any]], name: str) -> ModelProto:
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
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
