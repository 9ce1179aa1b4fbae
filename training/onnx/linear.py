"""Linear models in ONNX in float64, where scikit-learn computes in that.

In float32, large terms of opposite signs leave few digits of their sum. scikit-learn has that, too, where all columns
are numbers, and to be exact is to keep it.
"""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._base import LinearModel

from training.onnx.graph import last_step
from training.onnx.scalers import DTYPE


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
