"""Graphs of ONNX: what is added to them, and what is looked up in a pipeline to know where."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.helper import make_node, make_tensor_value_info, np_dtype_to_tensor_dtype, set_model_props
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline

from pipeline.columns import MATRIX, MatrixColumn, to_metadata

Array = np.ndarray[Any, Any]


class Graph:
    """Adds nodes and constants to a step that skl2onnx converts. What they give goes by a name."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container

    def add(self, kind: str, inputs: list[str], output: str = "", **options: Any) -> str:
        made = output or str(self._scope.get_unique_variable_name(kind.lower()))
        self._container.add_node(kind, inputs, made, name=self._scope.get_unique_operator_name(kind), **options)
        return made

    def constant(self, values: np.ndarray | np.generic) -> str:
        values = np.asarray(values)
        name = str(self._scope.get_unique_variable_name("constant"))
        kind = np_dtype_to_tensor_dtype(values.dtype)
        self._container.add_initializer(name, kind, list(values.shape), values.ravel().tolist())
        return name


def fresh(model: onnx.ModelProto, name: str) -> str:
    """A name that nothing in the graph has, nor any column."""
    taken = {each.name for each in model.graph.input} | {each for node in model.graph.node for each in node.output}
    while name in taken:
        name += "_"
    return name


def last_step(estimator: BaseEstimator) -> BaseEstimator:
    if isinstance(estimator, Pipeline):
        return last_step(estimator.steps[-1][1])
    return last_step(estimator.regressor_) if isinstance(estimator, TransformedTargetRegressor) else estimator


def drop_unused(model: onnx.ModelProto) -> None:
    """Takes out the nodes and constants that no output needs, such as those that make labels, in place."""
    needed = {output.name for output in model.graph.output}
    for node in reversed(list(model.graph.node)):
        if needed.isdisjoint(node.output):
            model.graph.node.remove(node)
        else:
            needed.update(node.input)
    constants = [each for each in model.graph.initializer if each.name in needed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)


def feed_matrix(model: onnx.ModelProto, inputs: Sequence[tuple[list[MatrixColumn], Array | None]]) -> None:
    """Makes a matrix the one input of the model, out of which come the inputs that it has, in place.

    inputs: for each the columns of the matrix that it is, or the one that holds the number of its row in a table.
    """
    graph, columns, nodes, start = model.graph, [each for own, _ in inputs for each in own], [], 0
    width = sum(column.width for column in columns)

    def constant(values: Array) -> str:
        graph.initializer.append(numpy_helper.from_array(values, f"constant/{len(graph.initializer)}"))
        return str(graph.initializer[-1].name)

    for taken, (own, table) in zip(graph.input, inputs, strict=True):
        at = np.arange(start, start := start + sum(column.width for column in own))
        if table is not None:
            number, row = f"number/{at[0]}", f"row/{at[0]}"
            nodes.append(make_node("Gather", [MATRIX, constant(at[0])], [number], axis=1))
            nodes.append(make_node("Cast", [number], [row], to=onnx.TensorProto.INT64))
            nodes.append(make_node("Gather", [constant(table), row], [taken.name], axis=0))
        elif at.size == width:
            nodes.append(make_node("Identity", [MATRIX], [taken.name]))
        else:
            nodes.append(make_node("Gather", [MATRIX, constant(at)], [taken.name], axis=1))
    kept = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *kept])
    graph.input.append(make_tensor_value_info(MATRIX, onnx.TensorProto.FLOAT, [None, width]))
    set_model_props(model, {MATRIX: to_metadata(columns)})
