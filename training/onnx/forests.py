"""Forests of classifiers in ONNX whose votes are counted in float64, as scikit-learn counts them.

skl2onnx has each leaf's share of the forest in float32. Ten trees for either class were no tie then, and the service
named another class than `predict`, which takes the first.
"""

import numpy as np
import onnx
from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from training.onnx.graph import allow_doubles, fresh, last_step

CLASSIFIERS = (RandomForestClassifier, ExtraTreesClassifier)


def vote_in_double(model: onnx.ModelProto, estimator: BaseEstimator) -> None:
    """Makes a forest at the end of the pipeline one of regressors on the shares of its classes, in place."""
    forest = last_step(estimator)
    found = [node for node in model.graph.node if node.op_type == "TreeEnsembleClassifier"]
    if len(found) != 1 or not isinstance(forest, CLASSIFIERS) or forest.n_outputs_ != 1:
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
    (node,) = found
    given, (_, output) = node.input[0], node.output
    as_double, all_votes, other_votes = (fresh(model, name) for name in ("as_double", "all_votes", "other_votes"))
    votes = fresh(model, "votes") if count == 2 else output
    made = [
        onnx.helper.make_node("Cast", [given], [as_double], to=onnx.TensorProto.DOUBLE),
        onnx.helper.make_node(
            "TreeEnsembleRegressor", [as_double], [votes], domain="ai.onnx.ml", n_targets=len(classes)
        ),
    ]
    made[1].attribute.extend(
        attribute
        for attribute in node.attribute
        if attribute.name.startswith("nodes_") and attribute.name not in ("nodes_values", "nodes_hitrates")
    )
    for name, values in doubles.items():
        tensor = onnx.numpy_helper.from_array(values.astype(np.float64))
        made[1].attribute.append(onnx.helper.make_attribute(f"{name}_as_tensor", tensor))
    for name, values in integers.items():
        made[1].attribute.append(onnx.helper.make_attribute(name, values.tolist()))
    if count == 2:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), all_votes))
        made.append(onnx.helper.make_node("Sub", [all_votes, votes], [other_votes]))
        made.append(onnx.helper.make_node("Concat", [other_votes, votes], [output], axis=1))
    at = list(model.graph.node).index(node)
    del model.graph.node[at]
    for n, each in enumerate(made):
        model.graph.node.insert(at + n, each)
    allow_doubles(model)
