"""Fitted LightGBM, XGBoost and CatBoost models as plain trees: what each library keeps, in one form.

Each library compares, sums and treats missing numbers in its own way. LightGBM and CatBoost sum leaves in float64,
XGBoost in float32, one tree after the other. LightGBM compares in float64; a float32 row is exact there.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Link = Literal["identity", "exp", "sigmoid", "softmax", "square"]  # square: of what is summed, with its sign


class Tree(NamedTuple):
    """One entry a node, the root first. A leaf has no children: both are -1."""

    feature: Array
    threshold: Array  # goes left: not above it, or below it (Ensemble.below)
    left: Array
    right: Array
    missing_left: Array  # bool: where a missing number goes
    value: Array  # shape (nodes, targets): what a leaf adds


class Ensemble(NamedTuple):
    """link(base + the sum of the leaves), by target."""

    trees: list[Tree]
    link: Link
    dtype: type[np.floating[Any]]  # in which thresholds are compared and leaves summed
    base: Array | None = None  # shape (targets,)
    below: bool = False  # left means x < threshold; otherwise x <= threshold
    missing: float = float("nan")  # a number that stands for a missing one besides NaN
    zeros: Array | None = None  # bool, shape (features,): where zero stands for a missing number


def read(model: Any) -> Ensemble:
    """The trees of a fitted model of one of the three. Raises ValueError where they do not say all of its answer."""
    return READERS[type(model).__module__.partition(".")[0]](model)


# --- LightGBM


ZERO = float(np.float32(1e-35))  # what LightGBM takes for zero, of either sign
LIGHTGBM: dict[str, Link] = {
    "binary": "sigmoid",
    "cross_entropy": "sigmoid",
    "multiclass": "softmax",
    "multiclassova": "sigmoid",
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "identity"),
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
}


def _lightgbm(model: Any) -> Ensemble:
    dump = model.booster_.dump_model()
    objective, *options = dump["objective"].split()
    link = _link("LightGBM", LIGHTGBM, objective)
    given = dict(option.split(":") for option in options if ":" in option)
    scale = float(given.get("sigmoid", 1.0))
    if dump["average_output"]:  # a random forest
        scale /= len(dump["tree_info"]) // dump["num_tree_per_iteration"]
    roots = [tree["tree_structure"] for tree in dump["tree_info"]]
    every = [_grown(root, "left_child", "right_child") for root in roots]
    kinds = {(node["split_feature"], node["missing_type"]) for nodes in every for node in nodes if _splits(node)}
    zeros = {feature for feature, kind in kinds if kind == "Zero"}
    if zeros & {feature for feature, kind in kinds if kind != "Zero"}:
        raise ValueError("trees of LightGBM that treat zero in two ways")
    targets = dump["num_tree_per_iteration"]
    trees = [_lightgbm_tree(nodes, n % targets, targets, scale) for n, nodes in enumerate(every)]
    mask = np.isin(np.arange(dump["max_feature_idx"] + 1), list(zeros)) if zeros else None
    return Ensemble(trees, "square" if "sqrt" in options else link, np.float64, zeros=mask)


def _lightgbm_tree(nodes: list[dict[str, Any]], target: int, targets: int, scale: float) -> Tree:
    for node in nodes:
        if "leaf_coeff" in node:
            raise ValueError("linear trees of LightGBM")
        if node.get("decision_type", "<=") != "<=":
            raise ValueError("categorical splits of LightGBM; OrdinalEncoder would make numbers of the texts")
    value = np.zeros((len(nodes), targets))
    value[:, target] = [scale * node.get("leaf_value", 0.0) for node in nodes]
    # Where a feature was never missing in training, LightGBM takes zero for a missing number.
    left = [
        _splits(node) and (node["threshold"] >= 0 if node["missing_type"] == "None" else node["default_left"])
        for node in nodes
    ]
    threshold = np.array([node.get("threshold", 0.0) for node in nodes])
    # LightGBM takes what is as near to zero for zero, on whichever side of the threshold it is.
    near = np.abs(threshold) <= ZERO
    threshold[near] = np.where(threshold[near] < 0, np.nextafter(-ZERO, -1), ZERO)
    return _tree(nodes, [node.get("split_feature", 0) for node in nodes], threshold, left, value)


# --- XGBoost


XGBOOST: dict[str, Link] = {
    "binary:logistic": "sigmoid",
    "reg:logistic": "sigmoid",
    "multi:softprob": "softmax",
    **dict.fromkeys(("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror"), "identity"),
    **dict.fromkeys(("reg:pseudohubererror", "reg:quantileerror"), "identity"),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "exp"),
}
MARGINS: dict[Link, Callable[[Array], Array]] = {"sigmoid": lambda p: -np.log(1 / p - 1), "exp": np.log}


def _xgboost(model: Any) -> Ensemble:
    booster = model.get_booster()
    best = booster.attr("best_iteration")
    learner = json.loads((booster if best is None else booster[: int(best) + 1]).save_raw("json"))["learner"]
    link = _link("XGBoost", XGBOOST, learner["objective"]["name"])
    parameters, forest = learner["learner_model_param"], learner["gradient_booster"]
    if forest["name"] == "gblinear":
        raise ValueError("the booster gblinear of XGBoost, which has no trees")
    forest |= forest.get("gbtree", {})  # of dart, in older releases
    forest |= forest["model"]
    targets = max(1, int(parameters["num_class"]))
    base = np.ravel(json.loads(parameters["base_score"])).astype(np.float32)
    if int(parameters["num_target"]) > 1 or (targets == 1 and base.size > 1):
        raise ValueError("several targets")
    base = np.broadcast_to(MARGINS.get(link, np.copy)(base), targets)
    weights = forest.get("weight_drop", np.ones(len(forest["trees"])))
    trees = [
        _xgboost_tree(tree, target, targets, np.float32(weight))
        for tree, target, weight in zip(forest["trees"], forest["tree_info"], weights, strict=True)
    ]
    # XGBoost begins each sum with it. In the leaves of the first tree it is rounded in the same place.
    for n, target in enumerate(forest["tree_info"]):
        if target not in forest["tree_info"][:n]:
            leaves = trees[n].left < 0
            trees[n].value[leaves, target] += base[target]
    return Ensemble(trees, link, np.float32, below=True, missing=float(model.missing))


def _xgboost_tree(tree: Mapping[str, Any], target: int, targets: int, weight: np.float32) -> Tree:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise ValueError("multi_output_tree of XGBoost")
    if any(tree["split_type"]):
        raise ValueError("categorical splits of XGBoost; OrdinalEncoder would make numbers of the texts")
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    number = np.array(tree["split_conditions"], np.float32)  # of a leaf, what it adds
    value = np.zeros((len(left), targets), np.float32)
    value[left < 0, target] = weight * number[left < 0]
    missing_left = np.array(tree["default_left"], bool) & (left >= 0)
    return Tree(np.array(tree["split_indices"]), np.where(left < 0, 0, number), left, right, missing_left, value)


# --- CatBoost


CATBOOST: dict[str, Link] = {
    **dict.fromkeys(("Logloss", "CrossEntropy", "MultiClassOneVsAll"), "sigmoid"),
    "MultiClass": "softmax",
    **dict.fromkeys(("RMSE", "MAE", "Quantile", "MAPE", "Huber", "LogCosh", "Expectile", "Lq"), "identity"),
    **dict.fromkeys(("Poisson", "Tweedie"), "exp"),
}


def _catboost(model: Any) -> Ensemble:
    link = _link("CatBoost", CATBOOST, model.get_all_params()["loss_function"].partition(":")[0])
    if model.get_cat_feature_indices():
        raise ValueError("cat_features of CatBoost; OrdinalEncoder would make numbers of the texts")
    if model.get_text_feature_indices() or model.get_embedding_feature_indices():
        raise ValueError("features of CatBoost that are no numbers")
    with tempfile.TemporaryDirectory() as folder:
        model.save_model(Path(folder, "model.json"), format="json")
        dump = json.loads(Path(folder, "model.json").read_bytes())
    features = dump["features_info"]["float_features"]
    scale, bias = dump["scale_and_bias"]
    if "oblivious_trees" in dump:
        trees = [_oblivious_tree(tree, features, len(bias), scale) for tree in dump["oblivious_trees"]]
    else:
        trees = [_catboost_tree(_grown(tree, "left", "right"), features, len(bias), scale) for tree in dump["trees"]]
    return Ensemble(trees, link, np.float64, base=np.array(bias, float))


def _oblivious_tree(tree: Mapping[str, Any], features: list[Any], targets: int, scale: float) -> Tree:
    """All nodes of a level ask the same. The first question is the last bit of a leaf's number."""
    asked = [split for level, split in enumerate(reversed(tree["splits"])) for _ in range(2**level)]
    values = np.reshape(tree["leaf_values"], (-1, targets))
    leaves = [{"value": value} for value in values]
    nodes: list[dict[str, Any]] = [{"split": split, "left": 0} for split in asked] + leaves
    return _catboost_tree(nodes, features, targets, scale)


def _catboost_tree(nodes: list[dict[str, Any]], features: list[Any], targets: int, scale: float) -> Tree:
    value = np.zeros((len(nodes), targets))
    feature, threshold, left = np.zeros(len(nodes), int), np.zeros(len(nodes)), np.zeros(len(nodes), bool)
    for n, node in enumerate(nodes):
        if "split" not in node:
            value[n] = scale * np.array(node["value"])
            continue
        own = features[node["split"]["float_feature_index"]]
        feature[n], threshold[n] = own["flat_feature_index"], np.float32(node["split"]["border"])
        left[n] = own["nan_value_treatment"] != "AsTrue"
    return _tree(nodes, feature, threshold, left, value)


# --- What they share


READERS: dict[str, Callable[[Any], Ensemble]] = {"lightgbm": _lightgbm, "xgboost": _xgboost, "catboost": _catboost}


def _link(library: str, links: Mapping[str, Link], objective: str) -> Link:
    if objective not in links:
        raise ValueError(f"the objective {objective} of {library}")
    return links[objective]


def _splits(node: Mapping[str, Any]) -> bool:
    return "left_child" in node or "left" in node


def _grown(root: dict[str, Any], left: str, right: str) -> list[dict[str, Any]]:
    """All nodes of a tree of nested dicts by level, so that a node's two children follow each other."""
    nodes = [root]
    for node in nodes:
        if left in node:
            nodes += [node[left], node[right]]
    return nodes


def _tree(
    nodes: list[dict[str, Any]], feature: Iterable[int], threshold: Iterable[float], left: Iterable[bool], value: Array
) -> Tree:
    """Of nodes by level: the children of the first node that splits are the second and the third node."""
    splits = np.array([_splits(node) for node in nodes])
    first = np.where(splits, 2 * np.cumsum(splits) - 1, -1)
    second = np.where(splits, first + 1, -1)
    return Tree(np.array(list(feature)), np.array(list(threshold)), first, second, np.array(list(left)), value)
