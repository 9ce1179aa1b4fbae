"""What skl2onnx leaves out, or rounds otherwise than scikit-learn.

Missing numbers: it converts SimpleImputer(add_indicator=True) as if there were no indicators, without a word.

Scalers: it multiplies by the reciprocal of the scale, in float32. What comes out may differ in the last digit. A tree
behind the scaler then takes the other branch for rows beside a threshold: answers that differ by 0.05 were seen on
ordinary rows. Here the operations are scikit-learn's own, in its order and in the types that NumPy computes them in.

Linear models: in float32, large terms of opposite signs leave few digits of their sum. scikit-learn has that, too,
where all columns are numbers, and to be exact is to keep it.
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from onnx import ModelProto, TensorProto, helper, numpy_helper
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.operator_converters.common import concatenate_variables
from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer
from skl2onnx.operator_converters.target_encoder import convert_sklearn_target_encoder
from skl2onnx.shape_calculators.target_encoder import calculate_sklearn_target_encoder_output_shapes
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._base import LinearModel
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from pipeline.transformer import RoundedTargetEncoder
from training.onnx import own
from training.onnx.graph import Graph, last_step

DTYPE = "_input_dtype"
TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}
# What each does, in order: operation, fitted attribute, and whether the attribute is rounded to the input's type first.
STEPS: dict[type[BaseEstimator], list[tuple[str, str, bool]]] = {
    StandardScaler: [("Sub", "mean_", True), ("Div", "scale_", True)],
    MinMaxScaler: [("Mul", "scale_", False), ("Add", "min_", False)],
    RobustScaler: [("Sub", "center_", False), ("Div", "scale_", False)],
    MaxAbsScaler: [("Div", "scale_", False)],
}


def register() -> None:
    """Makes skl2onnx use these converters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there were others
        update_registered_converter(SimpleImputer, "AddedSimpleImputer", _imputed_shape, _impute)
        update_registered_converter(MissingIndicator, "AddedMissingIndicator", _indicated_shape, _indicate)
        shape, convert = calculate_sklearn_target_encoder_output_shapes, convert_sklearn_target_encoder
        update_registered_converter(RoundedTargetEncoder, "RoundedTargetEncoder", shape, convert)
        update_registered_converter(KBinsDiscretizer, "ExactKBinsDiscretizer", _binned_shape, _bin)
        for scaler in STEPS:
            update_registered_converter(scaler, f"Exact{scaler.__name__}", _scaled_shape, _scale)


# --- Missing numbers


def _of_numbers(operator: Any) -> bool:
    """Whether NaN is what is missing, in numbers."""
    missing = operator.raw_operator.missing_values
    return (
        isinstance(missing, float) and np.isnan(missing) and not isinstance(operator.inputs[0].type, StringTensorType)
    )


def _kept(imputer: SimpleImputer) -> np.ndarray:
    """The columns that it does not drop for being empty."""
    return np.flatnonzero(~np.isnan(imputer.statistics_.astype(float)))


def _imputed_shape(operator: Any) -> None:
    imputer = operator.raw_operator
    if not _of_numbers(operator):
        operator.outputs[0].type = type(operator.inputs[0].type)([None, imputer.n_features_in_])
        return
    indicators = imputer.indicator_.features_.size if imputer.add_indicator else 0
    operator.outputs[0].type = FloatTensorType([None, _kept(imputer).size + indicators])


def _impute(scope: Any, operator: Any, container: Any) -> None:
    imputer = operator.raw_operator
    if not _of_numbers(operator):
        if imputer.add_indicator:
            raise ValueError("SimpleImputer(add_indicator=True) of other values than NaN")
        convert_sklearn_imputer(scope, operator, container)
        return
    graph, kept = Graph(scope, container), _kept(imputer)
    given = graph.add("Cast", [concatenate_variables(scope, operator.inputs, container)], to=TensorProto.FLOAT)
    missing = graph.add("IsNaN", [given])
    numbers = graph.add("Where", [missing, graph.constant(imputer.statistics_.astype(np.float32)), given])
    if kept.size < imputer.n_features_in_:
        numbers = graph.add("Gather", [numbers, graph.constant(kept)], axis=1)
    parts = [numbers]
    if imputer.add_indicator and imputer.indicator_.features_.size:
        parts.append(_indicators(graph, missing, imputer.indicator_))
    graph.add("Concat", parts, operator.outputs[0].full_name, axis=1)


def _indicators(graph: Graph, missing: str, indicator: MissingIndicator) -> str:
    chosen = graph.add("Gather", [missing, graph.constant(indicator.features_.astype(np.int64))], axis=1)
    return graph.add("Cast", [chosen], to=TensorProto.FLOAT)


def _indicated_shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, operator.raw_operator.features_.size])


def _indicate(scope: Any, operator: Any, container: Any) -> None:
    indicator, graph = operator.raw_operator, Graph(scope, container)
    if not _of_numbers(operator):
        raise ValueError("MissingIndicator of other values than NaN")
    if indicator.error_on_new:
        raise ValueError("MissingIndicator(error_on_new=True) refuses rows, which ONNX cannot")
    given = graph.add("Cast", [concatenate_variables(scope, operator.inputs, container)], to=TensorProto.FLOAT)
    indicators = _indicators(graph, graph.add("IsNaN", [given]), indicator)
    graph.add("Identity", [indicators], operator.outputs[0].full_name)


# --- Bins


def _binned_shape(operator: Any) -> None:
    binner = operator.raw_operator
    count = binner.n_features_in_ if binner.encode == "ordinal" else int(binner.n_bins_.sum())
    operator.outputs[0].type = FloatTensorType([None, count])


def _bin(scope: Any, operator: Any, container: Any) -> None:
    """The number of a bin is how many edges are not above. To a float32, an edge is the first float32 not below it."""
    binner, graph = operator.raw_operator, Graph(scope, container)
    inner = [edges[1:-1] for edges in binner.bin_edges_]
    edges = np.full((len(inner), max(map(len, inner))), np.inf, np.float32)
    for row, exact in zip(edges, inner, strict=True):
        nearest = exact.astype(np.float32)
        row[: len(exact)] = np.where(nearest < exact, np.nextafter(nearest, np.float32(np.inf)), nearest)
    given = graph.add("Cast", [concatenate_variables(scope, operator.inputs, container)], to=TensorProto.FLOAT)
    last = graph.constant(np.array([2], np.int64))
    passed = graph.add("GreaterOrEqual", [graph.add("Unsqueeze", [given, last]), graph.constant(edges)])
    bins = graph.add("ReduceSum", [graph.add("Cast", [passed], to=TensorProto.FLOAT), last], keepdims=0)
    if binner.encode != "ordinal":
        of = graph.constant(np.repeat(np.arange(len(inner)), binner.n_bins_))
        own = graph.constant(np.concatenate([np.arange(count) for count in binner.n_bins_]).astype(np.float32))
        hit = graph.add("Equal", [graph.add("Gather", [bins, of], axis=1), own])
        bins = graph.add("Cast", [hit], to=TensorProto.FLOAT)
    graph.add("Identity", [bins], operator.outputs[0].full_name)


# --- Scalers and linear models


def note_dtypes(part: Any, given: Any) -> None:
    """Notes in each scaler and linear model which type of numbers it is given, by letting `given` go through.

    In a transformer of the user's, how many it gives.
    """
    if isinstance(part, Pipeline):
        for _, step in part.steps[:-1]:
            note_dtypes(step, given)
            given = given if step in (None, "passthrough") else step.transform(given)
        note_dtypes(part.steps[-1][1], given)
    elif isinstance(part, ColumnTransformer):
        for name, step, _ in part.transformers_:
            columns = part._transformer_to_input_indices[name]
            if not isinstance(step, str) and len(columns):
                note_dtypes(step, given.iloc[:, columns] if isinstance(given, pd.DataFrame) else given[:, columns])
    elif isinstance(part, TransformedTargetRegressor):
        note_dtypes(part.regressor_, given)
    elif hasattr(part, own.METHOD):
        own.note_width(part, given)
    elif isinstance(part, (*STEPS, LinearModel, LogisticRegression)):
        setattr(part, DTYPE, np.result_type(*given.dtypes) if isinstance(given, pd.DataFrame) else given.dtype)


def _scaled_shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, operator.raw_operator.n_features_in_])


def _scale(scope: Any, operator: Any, container: Any) -> None:
    scaler, graph = operator.raw_operator, Graph(scope, container)
    dtype = np.dtype(getattr(scaler, DTYPE, np.float32))
    name = graph.add("Cast", [operator.inputs[0].full_name], to=TYPES[dtype])
    for operation, attribute, rounded in STEPS[type(scaler)]:
        values = getattr(scaler, attribute, None)
        if values is None or (attribute == "mean_" and not scaler.with_mean):  # it has a mean for its variance, too
            continue
        # In place on an array of float32, NumPy computes with float64 and rounds once.
        inner = dtype if rounded else np.dtype(np.float64)
        if inner != dtype:
            name = graph.add("Cast", [name], to=TYPES[inner])
        name = graph.add(operation, [name, graph.constant(values.astype(inner))])
        if inner != dtype:
            name = graph.add("Cast", [name], to=TYPES[dtype])
    if getattr(scaler, "clip", False):
        ends = getattr(scaler, "feature_range", (-1.0, 1.0))
        name = graph.add("Clip", [name, *(graph.constant(np.array(end, dtype)) for end in ends)])
    graph.add("Cast", [name], operator.outputs[0].full_name, to=TensorProto.FLOAT)


def multiply_in_double(model: ModelProto, estimator: BaseEstimator) -> None:
    """Lets a linear model at the end of the pipeline compute in float64, in place."""
    last, graph = last_step(estimator), model.graph
    if getattr(last, DTYPE, None) != np.float64:
        return
    classifier = isinstance(last, LogisticRegression)
    if not classifier and not (isinstance(last, LinearModel) and np.ndim(last.coef_) == 1):
        return
    answer = graph.output[0].name
    kind = "LinearClassifier" if classifier else "LinearRegressor"
    # skl2onnx normalises the probabilities of several classes, which a softmax has done already.
    ends = [node for node in graph.node if node.op_type == "Normalizer" and answer in node.output]
    before = {name for node in ends for name in node.input} or {answer}
    products = [node for node in graph.node if node.op_type == kind and before & set(node.output)]
    if len(products) != 1:
        return
    coefficients = np.atleast_2d(last.coef_)
    source, linear = products[0].input[0], "exact_linear" if classifier else answer
    nodes = [
        helper.make_node("Cast", [source], ["exact_input"], to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["exact_input", "exact_coefficients"], ["exact_product"]),
        helper.make_node("Add", ["exact_product", "exact_intercept"], [linear]),
    ]
    constants = {"exact_coefficients": coefficients.T, "exact_intercept": np.ravel(last.intercept_)}
    if classifier and len(coefficients) > 1:
        nodes.append(helper.make_node("Softmax", [linear], [answer], axis=1))
    elif classifier:
        constants["exact_one"] = np.array(1.0)
        nodes.append(helper.make_node("Sigmoid", [linear], ["exact_second"]))
        nodes.append(helper.make_node("Sub", ["exact_one", "exact_second"], ["exact_first"]))
        nodes.append(helper.make_node("Concat", ["exact_first", "exact_second"], [answer], axis=1))
    kept = [node for node in graph.node if node not in [*products, *ends]]
    del graph.node[:]
    graph.node.extend(kept + nodes)
    graph.initializer.extend(numpy_helper.from_array(v.astype(np.float64), name) for name, v in constants.items())
    graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
