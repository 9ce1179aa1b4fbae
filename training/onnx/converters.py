"""What skl2onnx leaves out: indicators of missing numbers.

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

from pipeline.transformer import RoundedTargetEncoder
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
    indicators = _indicators(graph, graph.add("IsNaN", [given]), indicator)
    graph.add("Identity", [indicators], operator.outputs[0].full_name)


def register() -> None:
    """Makes skl2onnx use these converters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there were others
        update_registered_converter(SimpleImputer, "AddedSimpleImputer", _imputed_shape, _impute)
        update_registered_converter(MissingIndicator, "AddedMissingIndicator", _indicated_shape, _indicate)
        shape, convert = calculate_sklearn_target_encoder_output_shapes, convert_sklearn_target_encoder
        update_registered_converter(RoundedTargetEncoder, "RoundedTargetEncoder", shape, convert)
