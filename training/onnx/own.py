"""Transformers of the user's, which bring what they do in ONNX beside it: a method `onnx_transform`.

docs/your-own-model.md says how to write one. Whether it says the same as `transform` is compared as for any model.
"""

from typing import Any

from onnx import TensorProto
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.operator_converters.common import concatenate_variables
from sklearn.base import BaseEstimator

from training.onnx.graph import Graph

METHOD = "onnx_transform"
WIDTH = "_output_width"


def register(estimator: BaseEstimator) -> None:
    """Makes skl2onnx know those in an estimator."""
    for part in estimator.get_params(deep=True).values():
        if (kind := type(part)) is not type and hasattr(kind, METHOD):
            update_registered_converter(kind, f"Own{kind.__module__}.{kind.__name__}", _shape, _convert)


def note_width(step: Any, given: Any) -> None:
    """Notes in such a step how many columns come out of it."""
    setattr(step, WIDTH, step.transform(given).shape[1])


def _shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, getattr(operator.raw_operator, WIDTH)])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    graph, step = Graph(scope, container), operator.raw_operator
    given = concatenate_variables(scope, operator.inputs, container)
    try:
        made = getattr(step, METHOD)(graph, graph.add("Cast", [given], to=TensorProto.FLOAT))
    except Exception as error:
        what = f"{METHOD} of {type(step).__name__} failed with {type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(what) from error
    if not isinstance(made, str):
        kind = type(made).__name__
        raise TypeError(f"{METHOD} of {type(step).__name__} returns {kind}; expected what graph.add gives")
    graph.add("Cast", [made], operator.outputs[0].full_name, to=TensorProto.FLOAT)
