"""What skl2onnx leaves out: indicators of missing numbers, and the target encoder for several classes.

It converts SimpleImputer(add_indicator=True) as if there were no indicators, without a word.
"""

import warnings
from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.operator_converters.common import concatenate_variables
from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer
from skl2onnx.operator_converters.target_encoder import convert_sklearn_target_encoder
from skl2onnx.shape_calculators.target_encoder import calculate_sklearn_target_encoder_output_shapes
from sklearn.impute import MissingIndicator, SimpleImputer

from pipeline.encoder import RoundedTargetEncoder
from training.onnx.graph import Graph


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
    found = _indicators(graph, graph.add("IsNaN", [given]), indicator)
    graph.add("Identity", [found], operator.outputs[0].full_name)


def _encoded_shape(operator: Any) -> None:
    encoder = operator.raw_operator
    calculate_sklearn_target_encoder_output_shapes(operator)
    operator.outputs[0].type = FloatTensorType([None, len(encoder.encodings_)])


def _encode(scope: Any, operator: Any, container: Any) -> None:
    """A column for each class of each text."""
    encoder, graph = operator.raw_operator, Graph(scope, container)
    if encoder.target_type_ != "multiclass":
        convert_sklearn_target_encoder(scope, operator, container)
        return
    if any(not isinstance(each.type, StringTensorType) for each in operator.inputs):
        raise ValueError("TargetEncoder of several classes takes numbers; only texts convert")
    given, classes, parts = concatenate_variables(scope, operator.inputs, container), len(encoder.classes_), []
    for number, values in enumerate(encoder.encodings_):
        feature, of_class = divmod(number, classes)
        column = graph.add("Gather", [given, graph.constant(np.array([feature]))], axis=1)
        keys = [str(text).encode() for text in encoder.categories_[feature]]
        options = {"keys_strings": keys, "values_floats": values.tolist()}
        options["default_float"] = float(encoder.target_mean_[of_class])
        parts.append(graph.add("LabelEncoder", [column], op_domain="ai.onnx.ml", op_version=2, **options))
    graph.add("Concat", parts, operator.outputs[0].full_name, axis=1)


def register() -> None:
    """Makes skl2onnx use these converters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there were others
        update_registered_converter(SimpleImputer, "AddedSimpleImputer", _imputed_shape, _impute)
        update_registered_converter(MissingIndicator, "AddedMissingIndicator", _indicated_shape, _indicate)
        update_registered_converter(RoundedTargetEncoder, "AddedTargetEncoder", _encoded_shape, _encode)
