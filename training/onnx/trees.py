"""Trees in ONNX with no rounding that could move a row across a threshold, or cents away.

skl2onnx rounds thresholds of histogram gradient boosting, and all leaves, to the nearest float32. A row on the wrong
side of one threshold was seen to change a probability by 0.028, and the float32 sum over the leaves of a regressor to
lose its sixth digit. Ten trees of a forest for either class were no tie, and the service named another class than
`predict`, which takes the first.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto, numpy_helper
from onnx.helper import make_attribute, make_node
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree import BaseDecisionTree

from training.onnx.graph import fresh, last_step

CLASSIFIERS = (RandomForestClassifier, ExtraTreesClassifier)
FORESTS = (*CLASSIFIERS, RandomForestRegressor, ExtraTreesRegressor)


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


def follow_missing(model: ModelProto, estimator: BaseEstimator) -> None:
    """Lets missing numbers take the branches that a forest or tree at the end of the pipeline learned, in place.

    skl2onnx sends all of them to the right.
    """
    last = last_step(estimator)
    nodes = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(nodes) != 1 or not isinstance(last, (*FORESTS, BaseDecisionTree)):
        return
    trees = [each.tree_ for each in (last.estimators_ if isinstance(last, FORESTS) else [last])]
    left = np.concatenate([tree.missing_go_to_left * (tree.children_left != -1) for tree in trees])
    name = "nodes_missing_value_tracks_true"
    kept = [attribute for attribute in nodes[0].attribute if attribute.name != name]
    del nodes[0].attribute[:]
    nodes[0].attribute.extend([*kept, make_attribute(name, left.astype(int).tolist())])


def sum_in_double(model: ModelProto, estimator: BaseEstimator) -> None:
    """Lets the trees of a regressor at the end of the pipeline sum their leaves in float64, in place."""
    trees = [node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor"]
    exact = _exact(last_step(estimator))
    if exact is None or len(trees) != 1:
        return
    (tree,) = trees
    kept = [attribute for attribute in tree.attribute if attribute.name not in {*exact, "nodes_hitrates"}]
    del tree.attribute[:]
    tree.attribute.extend([*kept, *_doubles(exact)])
    as_double = fresh(model, "as_double")
    cast = make_node("Cast", [tree.input[0]], [as_double], to=TensorProto.DOUBLE)
    tree.input[0] = as_double
    model.graph.node.insert(list(model.graph.node).index(tree), cast)


def _exact(estimator: BaseEstimator) -> dict[str, np.ndarray] | None:
    """Thresholds, leaves and what is added to them, in the order of nodes that skl2onnx has; None for no such trees."""
    if isinstance(estimator, HistGradientBoostingRegressor):
        nodes = np.concatenate([predictor.nodes for (predictor,) in estimator._predictors])
        leaf, thresholds, values = nodes["is_leaf"].astype(bool), nodes["num_threshold"], nodes["value"]
        base = np.ravel(estimator._baseline_prediction)
    elif isinstance(estimator, (RandomForestRegressor, ExtraTreesRegressor)) and estimator.n_outputs_ == 1:
        leaf, thresholds, values = _nodes([each.tree_ for each in estimator.estimators_])
        values, base = values / len(estimator.estimators_), np.zeros(0)
    elif isinstance(estimator, GradientBoostingRegressor) and isinstance(estimator.init_, DummyRegressor):
        leaf, thresholds, values = _nodes([each.tree_ for each in estimator.estimators_.ravel()])
        values, base = values * estimator.learning_rate, np.ravel(estimator.init_.constant_)
    else:
        return None
    exact = {"nodes_values": np.where(leaf, 0.0, thresholds), "target_weights": values[leaf]}
    return exact | ({"base_values": base} if base.size else {})


def _nodes(trees: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    leaf = np.concatenate([tree.children_left == -1 for tree in trees])
    thresholds = np.concatenate([tree.threshold for tree in trees])
    return leaf, thresholds, np.concatenate([tree.value.reshape(tree.node_count) for tree in trees])


def vote_in_double(model: ModelProto, estimator: BaseEstimator) -> None:
    """Lets a forest at the end of the pipeline count its votes, shares of classes, in float64, in place."""
    forest = last_step(estimator)
    nodes = [node for node in model.graph.node if node.op_type == "TreeEnsembleClassifier"]
    if len(nodes) != 1 or not isinstance(forest, CLASSIFIERS) or forest.n_outputs_ != 1:
        return
    trees, count = [each.tree_ for each in forest.estimators_], len(forest.classes_)
    leaf = np.concatenate([tree.children_left == -1 for tree in trees])
    numbers = np.concatenate([np.arange(tree.node_count) for tree in trees])[leaf]
    of = np.repeat(np.arange(len(trees)), [tree.node_count for tree in trees])[leaf]
    shares = np.concatenate([tree.value[:, 0, :] for tree in trees])[leaf] / len(trees)
    classes = np.arange(count)[-1:] if count == 2 else np.arange(count)  # of two, the second says all
    doubles = {
        "nodes_values": np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees])),
        "target_weights": shares[:, classes].ravel(),
    }
    integers = {
        "target_ids": np.tile(np.arange(len(classes)), len(shares)),
        "target_nodeids": np.repeat(numbers, len(classes)),
        "target_treeids": np.repeat(of, len(classes)),
    }
    (node,) = nodes
    given, (_, output) = node.input[0], node.output
    as_double, all_votes, other_votes = (fresh(model, name) for name in ("as_double", "all_votes", "other_votes"))
    votes = fresh(model, "votes") if count == 2 else output
    made = [
        make_node("Cast", [given], [as_double], to=TensorProto.DOUBLE),
        make_node("TreeEnsembleRegressor", [as_double], [votes], domain="ai.onnx.ml", n_targets=len(classes)),
    ]
    made[1].attribute.extend(
        attribute
        for attribute in node.attribute
        if attribute.name.startswith("nodes_") and attribute.name not in ("nodes_values", "nodes_hitrates")
    )
    made[1].attribute.extend(_doubles(doubles))
    for name, values in integers.items():
        made[1].attribute.append(make_attribute(name, values.tolist()))
    if count == 2:
        model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), all_votes))
        made.append(make_node("Sub", [all_votes, votes], [other_votes]))
        made.append(make_node("Concat", [other_votes, votes], [output], axis=1))
    at = list(model.graph.node).index(node)
    del model.graph.node[at]
    for n, each in enumerate(made):
        model.graph.node.insert(at + n, each)


def _doubles(attributes: Mapping[str, np.ndarray]) -> list[AttributeProto]:
    """Attributes of a TreeEnsemble in float64."""
    return [
        make_attribute(f"{name}_as_tensor", numpy_helper.from_array(values.astype(np.float64)))
        for name, values in attributes.items()
    ]
