"""TransformedTargetRegressor, which skl2onnx does not know: the regressor inside it, and the way back to the target.

What the regressor says is a float32; the way back is computed in float64.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from scipy.stats import norm
from skl2onnx import update_registered_converter
from skl2onnx._parse import _parse_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import TransformedTargetRegressor
from sklearn.preprocessing import FunctionTransformer, PowerTransformer, QuantileTransformer

from training.onnx.converters import STEPS
from training.onnx.graph import Graph

Array = np.ndarray[Any, Any]
NAME = "TransformedTarget"
BACK = {"Sub": "Add", "Add": "Sub", "Mul": "Div", "Div": "Mul"}
BOUND = 1e-7  # of QuantileTransformer: what is as near to 0 or 1 is the least or the greatest value
LARGEST, STEP = 8.5, 2.0**-8  # of the table of the normal distribution; cubic between its points, it misses 1e-13


def register() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there were others
        update_registered_converter(TransformedTargetRegressor, NAME, _shape, _convert, parser=_parse)


def _parse(scope: Any, model: TransformedTargetRegressor, inputs: list[Any], **_: object) -> list[Any]:
    operator = scope.declare_local_operator(NAME, model)
    operator.inputs = _parse_sklearn(scope, model.regressor_, inputs)
    operator.outputs.append(scope.declare_local_variable("target", FloatTensorType()))
    return list(operator.outputs)


def _shape(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, 1])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, container)
    given = graph.add("Cast", [operator.inputs[0].full_name], to=TensorProto.DOUBLE)
    graph.add("Cast", [_back(graph, given, operator.raw_operator.transformer_)], operator.outputs[0].full_name, to=1)


def _back(graph: Graph, x: str, step: Any) -> str:
    """What the step's inverse_transform makes of `x`, of shape (rows, 1) and in float64."""
    if type(step) in STEPS:
        if getattr(step, "clip", False):
            raise ValueError(f"{type(step).__name__}(clip=True) of a target")
        for operation, attribute, _ in reversed(STEPS[type(step)]):
            if (values := getattr(step, attribute, None)) is not None:
                x = graph.add(BACK[operation], [x, _number(graph, values.item())])
        return x
    if type(step) is FunctionTransformer and step.inverse_func is None:
        return x
    if type(step) is FunctionTransformer and step.inverse_func in FUNCTIONS:
        return FUNCTIONS[step.inverse_func](graph, x)
    if type(step) is PowerTransformer:
        x = _back(graph, x, step._scaler) if step.standardize else x
        return (_box_cox if step.method == "box-cox" else _yeo_johnson)(graph, x, float(step.lambdas_[0]))
    if type(step) is QuantileTransformer:
        return _quantile(graph, x, step)
    what = step.inverse_func if type(step) is FunctionTransformer else type(step)
    known = ", ".join(each.__name__ for each in FUNCTIONS)
    raise ValueError(f"the way back by {getattr(what, '__name__', what)}; of functions, NumPy's {known} are known")


# --- Functions. Each takes and gives the name of numbers in float64.


def _number(graph: Graph, value: float) -> str:
    return graph.constant(np.array(value, np.float64))


def _with(operation: str, number: float) -> Callable[[Graph, str], str]:
    return lambda graph, x: graph.add(operation, [x, _number(graph, number)])


def _expm1(graph: Graph, x: str) -> str:
    return _with("Sub", 1.0)(graph, graph.add("Exp", [x]))


FUNCTIONS: dict[Any, Callable[[Graph, str], str]] = {
    np.exp: lambda graph, x: graph.add("Exp", [x]),
    np.expm1: _expm1,
    np.log: lambda graph, x: graph.add("Log", [x]),
    np.log1p: lambda graph, x: graph.add("Log", [_with("Add", 1.0)(graph, x)]),
    np.square: lambda graph, x: graph.add("Mul", [x, x]),
    np.sqrt: lambda graph, x: graph.add("Sqrt", [x]),
    np.exp2: lambda graph, x: graph.add("Pow", [_number(graph, 2.0), x]),
    np.log2: lambda graph, x: _with("Div", np.log(2.0))(graph, graph.add("Log", [x])),
    np.log10: lambda graph, x: _with("Div", np.log(10.0))(graph, graph.add("Log", [x])),
}


def _box_cox(graph: Graph, x: str, power: float) -> str:
    if power == 0:
        return graph.add("Exp", [x])
    return _with("Pow", 1 / power)(graph, _with("Add", 1.0)(graph, _with("Mul", power)(graph, x)))


def _yeo_johnson(graph: Graph, x: str, power: float) -> str:
    """Two powers, of what is above zero and of what is below."""
    zero = _number(graph, 0.0)
    above = _box_cox(graph, graph.add("Max", [x, zero]), power if abs(power) >= np.spacing(1.0) else 0.0)
    mirrored = graph.add("Neg", [graph.add("Min", [x, zero])])
    below = _box_cox(graph, mirrored, 2 - power if abs(power - 2) > np.spacing(1.0) else 0.0)
    positive = graph.add("GreaterOrEqual", [x, zero])
    one = _number(graph, 1.0)
    return graph.add("Where", [positive, graph.add("Sub", [above, one]), graph.add("Sub", [one, below])])


def _quantile(graph: Graph, x: str, step: QuantileTransformer) -> str:
    if step.output_distribution == "normal":
        points = np.arange(-LARGEST, LARGEST + STEP, STEP)
        y, slope = norm.cdf(points), norm.pdf(points) * STEP
        rise = np.diff(y)
        cubic = [y[:-1], slope[:-1], 3 * rise - 2 * slope[:-1] - slope[1:], slope[:-1] + slope[1:] - 2 * rise]
        x = _piecewise(graph, x, -LARGEST, STEP, np.column_stack(cubic))
        for operation, bound, end in (("Less", BOUND, 0.0), ("Greater", 1 - BOUND, 1.0)):
            near = graph.add(operation, [x, _number(graph, bound)])
            x = graph.add("Where", [near, _number(graph, end), x])
    values = step.quantiles_[:, 0]
    return _piecewise(graph, x, 0.0, 1 / (len(values) - 1), np.column_stack([values[:-1], np.diff(values)]))


def _piecewise(graph: Graph, x: str, start: float, step: float, coefficients: Array) -> str:
    """A polynomial for each of some intervals of one length, the end values beyond them.

    coefficients: shape (intervals, degree + 1), the constant first, of what is left of x in units of `step`.
    """
    count = len(coefficients)
    units = _with("Div", step)(graph, _with("Sub", start)(graph, x))
    units = graph.add("Clip", [units, _number(graph, 0.0), _number(graph, float(count))])
    at = graph.add("Min", [graph.add("Floor", [units]), _number(graph, count - 1.0)])
    at = graph.add("Where", [graph.add("IsNaN", [at]), _number(graph, 0.0), at])  # what is left of x is NaN as well
    left, row = graph.add("Sub", [units, at]), graph.add("Cast", [at], to=TensorProto.INT64)
    parts = [graph.add("Gather", [graph.constant(np.ascontiguousarray(each)), row]) for each in coefficients.T]
    value = parts.pop()
    while parts:
        value = graph.add("Add", [graph.add("Mul", [value, left]), parts.pop()])
    return value
