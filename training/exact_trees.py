"""Histogram gradient boosting in ONNX with no rounding that could move a row across a threshold, or cents away.

skl2onnx rounds thresholds and leaves to the nearest float32. A row on the wrong side of one threshold was seen to
change a probability by 0.028, and the float32 sum over the leaves of a regressor to lose its sixth digit.
"""

import numpy as np
import onnx
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.pipeline import Pipeline


def floor_thresholds(part: object) -> None:
    """Makes each threshold the largest float32 that is not above it, in place, wherever in `part` trees are.

    The inputs are float32, and for a float32 x, x <= t holds exactly where x <= floor(t) does. The other trees of
    scikit-learn skl2onnx treats in this way by itself.
    """
    if isinstance(part, (list, tuple)):
        for each in part:
            floor_thresholds(each)
    elif isinstance(part, dict):
        floor_thresholds(list(part.values()))
    elif isinstance(part, TreePredictor):
        exact = part.nodes["num_threshold"]
        nearest = exact.astype(np.float32)
        part.nodes["num_threshold"] = np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    elif isinstance(part, BaseEstimator):
        floor_thresholds(vars(part))


def sum_in_double(model: onnx.ModelProto, estimator: BaseEstimator) -> None:
    """Lets a histogram gradient boosting regressor at the end of the pipeline sum its leaves in float64, in place."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    trees = [node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor"]
    if not isinstance(estimator, HistGradientBoostingRegressor) or len(trees) != 1:
        return
    nodes = np.concatenate([predictor.nodes for (predictor,) in estimator._predictors])
    leaf = nodes["is_leaf"].astype(bool)
    exact = {
        "nodes_values": np.where(leaf, 0.0, nodes["num_threshold"]),
        "target_weights": nodes["value"][leaf],
        "base_values": np.ravel(estimator._baseline_prediction),
    }
    (tree,) = trees
    kept = [attribute for attribute in tree.attribute if attribute.name not in {*exact, "nodes_hitrates"}]
    doubles = [
        onnx.helper.make_attribute(f"{name}_as_tensor", onnx.numpy_helper.from_array(values.astype(np.float64)))
        for name, values in exact.items()
    ]
    del tree.attribute[:]
    tree.attribute.extend(kept + doubles)
    cast = onnx.helper.make_node("Cast", [tree.input[0]], ["as_double"], to=onnx.TensorProto.DOUBLE)
    tree.input[0] = "as_double"
    model.graph.node.insert(list(model.graph.node).index(tree), cast)
    for opset in model.opset_import:
        if opset.domain == "ai.onnx.ml":
            opset.version = max(opset.version, 3)  # the first with attributes in float64
