"""training.onnx.export: what ONNX serves is what scikit-learn would have answered, or ONNX does not serve."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from pipeline.bundle import load_estimator
from pipeline.columns import arrays, infer
from tests.engine.conftest import ROOT, environment
from training.onnx import comparison, export

RNG = np.random.default_rng(5)


def sample(rows: int = 800) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Mixed columns with gaps and fractions that no float32 holds; a target of labels and one of numbers."""
    frame = pd.DataFrame(
        {
            "x": RNG.normal(size=rows).astype(np.float32),
            "y": np.where(RNG.random(rows) < 0.1, np.nan, RNG.random(rows) * 1e5).astype(np.float32),
            "c": RNG.choice(["red", "green", "", "blå"], size=rows).astype(object),
        }
    )
    signal = frame["x"] + (frame["c"] == "red") + frame["y"].fillna(0) / 1e5
    return frame, np.where(signal > 0.8, "yes", "no").astype(object), 3e5 + 1e5 * signal.to_numpy()


FRAME, LABELS, NUMBERS = sample()


def build(task: str, **options: object) -> Pipeline:
    """Histogram gradient boosting on mixed columns, as src/model/estimator.py comes."""
    numbers = make_column_selector(dtype_include="number")
    texts = make_column_selector(dtype_exclude="number")
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    trees = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    columns = ColumnTransformer([("numbers", "passthrough", numbers), ("texts", encoder, texts)])
    return make_pipeline(columns, trees(random_state=7, **options))


def exported(
    estimator: BaseEstimator, target: np.ndarray, frame: pd.DataFrame = FRAME, seen: pd.DataFrame = FRAME
) -> export.Exported:
    """What becomes of an estimator that is fitted on `seen`, compared on `frame`."""
    fitted = estimator.fit(seen, target)
    columns = infer(seen.astype(object).where(seen.notna(), None).to_dict("records"))
    rows = arrays(frame.to_dict("records"), columns)
    return export.export(fitted, columns, rows, comparison.predict(fitted, frame), "sample")


def on_the_thresholds(estimator: BaseEstimator, column: int, name: str) -> pd.DataFrame:
    """Rows with values on, one float32 step below and one above every threshold of a column."""
    trees = [tree for trees in estimator[-1]._predictors for tree in trees]
    assert all(isinstance(tree, TreePredictor) for tree in trees)
    cut = np.concatenate(
        [t.nodes["num_threshold"][(t.nodes["feature_idx"] == column) & (t.nodes["is_leaf"] == 0)] for t in trees]
    )
    cut = np.unique(cut[np.isfinite(cut)]).astype(np.float32)
    values = np.concatenate([cut, np.nextafter(cut, np.float32(-np.inf)), np.nextafter(cut, np.float32(np.inf))])
    assert len(values) > 100
    frame = FRAME.sample(len(values), replace=True, random_state=1).reset_index(drop=True)
    return frame.assign(**{name: values})


@pytest.mark.parametrize(("task", "target"), [("classification", LABELS), ("regression", NUMBERS)])
def test_histogram_gradient_boosting_is_exact(task: str, target: np.ndarray) -> None:
    """Within 1e-6 on rows that lie on, just below and just above every threshold of both number columns."""
    estimator = build(task).fit(FRAME, target)
    for column, name in enumerate(["x", "y"]):
        result = exported(build(task), target, on_the_thresholds(estimator, column, name))
        assert (result.runtime, result.reason) == ("onnx", "")
        assert result.difference <= 1e-6


def test_three_classes_convert_too() -> None:
    """Probabilities of every class, in the order of classes_."""
    labels = np.where(NUMBERS > 4e5, "high", LABELS)
    result = exported(build("classification"), labels)
    assert (result.runtime, result.reason) == ("onnx", "")


@pytest.mark.parametrize(
    ("make", "target"),
    [
        (lambda: make_pipeline(StandardScaler(), LogisticRegression()), LABELS),
        (lambda: RandomForestClassifier(n_estimators=20, random_state=7), LABELS),
        (lambda: GradientBoostingRegressor(n_estimators=20, random_state=7), NUMBERS),
        (lambda: make_pipeline(PolynomialFeatures(), StandardScaler(), Ridge()), NUMBERS),
    ],
    ids=["logistic", "forest", "boosting", "polynomial"],
)
@pytest.mark.parametrize(
    "names",
    [("x", "y"), ("columns", "value"), ("variable", "probabilities"), ("a b/ç", "a_b"), ("votes", "as_double")],
)
def test_a_model_of_numbers_needs_no_column_transformer(
    make: Callable[[], BaseEstimator], target: np.ndarray, names: tuple[str, str]
) -> None:
    """It takes the whole table at once; columns keep their names, whatever the graph calls its own."""
    frame = FRAME[["x", "y"]].fillna(0).set_axis(names, axis=1)
    result = exported(make(), target, frame, frame)
    assert (result.runtime, result.reason) == ("onnx", "")


@pytest.mark.parametrize("forest", [RandomForestClassifier, ExtraTreesClassifier])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_tie_of_votes_is_a_tie(forest: type[BaseEstimator], classes: int) -> None:
    """Ten trees for either class: the label is the first one's, as `predict` says, and not one by rounding."""
    dice = np.random.default_rng(classes)
    frame = pd.DataFrame(dice.normal(size=(1500, 4)), columns=list("abcd")).astype(np.float32)
    target = np.array([f"class {n}" for n in dice.integers(0, classes, len(frame))], object)
    model = forest(20, random_state=1).fit(frame[:700], target[:700])
    columns = infer(frame.to_dict("records"))
    rows, expected = arrays(frame.to_dict("records"), columns), comparison.predict(model, frame)
    made = export.export(model, columns, rows, expected, "x", gaps=[])
    assert (made.runtime, made.reason) == ("onnx", "")
    best = np.sort(expected, axis=1)
    assert (best[:, -1] == best[:, -2]).sum() > 50
    labels = model.classes_[export.asker(made.model)(rows).argmax(axis=1)]
    np.testing.assert_array_equal(labels, model.predict(frame))


@pytest.mark.parametrize("unknown", [np.nan, -1])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_an_unknown_text_may_come_to_no_number(task: str, unknown: float) -> None:
    """OrdinalEncoder(unknown_value=np.nan), which trees take for a missing number: exact, on unknown texts as well."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=unknown, encoded_missing_value=np.nan)
    trees = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    model = make_pipeline(
        make_column_transformer((encoder, ["c"]), ("passthrough", ["x", "y"])), trees(max_iter=20, random_state=7)
    )
    target = NUMBERS if task == "regression" else LABELS
    result = exported(model, target, FRAME.assign(c=FRAME["c"].where(FRAME["x"] > 0, "violet")))
    assert (result.runtime, result.reason) == ("onnx", "")


@pytest.mark.parametrize(
    "make",
    [
        lambda columns, model: GridSearchCV(make_pipeline(columns, model), {"logisticregression__C": [0.1, 1.0]}, cv=2),
        lambda columns, model: make_pipeline(
            columns,
            VotingClassifier([("a", model), ("b", DecisionTreeClassifier(max_depth=3))], voting="soft", weights=[1, 3]),
        ),
    ],
    ids=["search", "vote"],
)
def test_what_is_around_a_model_converts(
    make: Callable[[ColumnTransformer, LogisticRegression], BaseEstimator],
) -> None:
    """A search is the best that it found; a vote is the mean of its voters."""
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["c"]), (StandardScaler(), ["x"]))
    result = exported(make(columns, LogisticRegression()), LABELS)
    assert (result.runtime, result.reason) == ("onnx", "")


def test_a_model_of_texts_needs_no_column_transformer() -> None:
    """Encoders for the whole table."""
    frame = FRAME[["c"]].assign(d=FRAME["c"].to_numpy()[::-1])
    result = exported(make_pipeline(OneHotEncoder(), LogisticRegression()), LABELS, frame, frame)
    assert (result.runtime, result.reason) == ("onnx", "")


@pytest.mark.parametrize(
    "names", [("größe in m", 'y "quoted"', "c|d"), ("value", "probabilities", "a b"), ("a b", "a_b", "a/b")]
)
def test_a_column_may_have_any_name(names: tuple[str, str, str]) -> None:
    """The converter knows letters, digits and underscores; the service knows the file's own names."""
    frame = FRAME.set_axis(names, axis=1)
    for task, target in (("classification", LABELS), ("regression", NUMBERS)):
        result = exported(build(task, max_iter=10), target, frame, frame)
        assert (result.runtime, result.reason) == ("onnx", "")


@pytest.mark.parametrize(
    "columns",
    [["x", "y"], np.array(["x", "y"]), pd.Index(["x", "y"]), slice("x", "y"), slice(0, 2), [0, 1], [True, True, False]],
    ids=["list", "array", "index", "names-slice", "slice", "positions", "mask"],
)
def test_columns_may_be_chosen_in_any_way(columns: object) -> None:
    """As scikit-learn's ColumnTransformer takes them."""
    chosen = make_column_transformer((SimpleImputer(), columns))
    result = exported(make_pipeline(chosen, LogisticRegression()), LABELS)
    assert (result.runtime, result.reason) == ("onnx", "")


class Unknown(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer that no converter knows."""

    def fit(self, _frame: pd.DataFrame, _target: object = None) -> "Unknown":
        self.fitted_ = True
        return self

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame[["x", "y"]] ** 2


@pytest.mark.parametrize(
    ("make", "target", "reason"),
    [
        # an unknown step: does not convert
        (
            lambda: make_pipeline(Unknown(), HistGradientBoostingClassifier(max_iter=5)),
            LABELS,
            "does not convert to ONNX: ",
        ),
        # a first step that takes columns of both kinds at once
        (
            lambda: make_pipeline(OrdinalEncoder(), HistGradientBoostingClassifier(max_iter=5)),
            LABELS,
            "a ColumnTransformer would take them apart",
        ),
        # a loss with a link that the converter forgets: converts, and answers something else
        (
            lambda: build("regression", loss="poisson", max_iter=5),
            NUMBERS,
            "ONNX differs from scikit-learn by ",
        ),
        # splits on sets of categories, which the converter takes for thresholds
        (
            lambda: build("classification", max_iter=30, categorical_features=[2]),
            LABELS,
            "ONNX",
        ),
    ],
    ids=["unknown-step", "mixed", "forgotten-link", "categorical-splits"],
)
def test_what_is_not_exact_is_served_by_scikit_learn(
    make: Callable[[], BaseEstimator], target: np.ndarray, reason: str, tmp_path: Path
) -> None:
    """The reason is said, and what the service would load answers as the fitted estimator does."""
    result = exported(make(), target)
    assert result.runtime == "sklearn"
    assert reason in result.reason
    loaded = load_estimator(result.model, ["tests"])
    np.testing.assert_array_equal(
        comparison.predict(loaded, FRAME), comparison.predict(make().fit(FRAME, target), FRAME)
    )


def test_a_reason_names_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card travels; where the libraries lie on the machine that trained does not."""

    def moved(*_: object) -> bytes:
        raise ImportError("cannot import name 'Loss' from 'sklearn._loss' (/home/me/.venv/sklearn/_loss.py)")

    monkeypatch.setattr("training.onnx.convert.convert", moved)
    result = exported(build("classification", max_iter=2), LABELS)
    assert result.reason == "it does not convert to ONNX: cannot import name 'Loss' from 'sklearn._loss'"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_reason_that_is_a_name_in_a_library_says_so() -> None:
    """skl2onnx looks the output's activation up, and has none for this loss."""
    model = MLPRegressor(loss="poisson", hidden_layer_sizes=(2,), max_iter=2)
    result = exported(model, np.abs(NUMBERS), FRAME[["x"]], FRAME[["x"]])
    assert result.reason.startswith("it does not convert to ONNX: skl2onnx fails on it with KeyError: 'exp'")


def test_a_difference_is_relative_in_regression() -> None:
    """To the value, or to how far values usually lie apart, whatever the unit; of probabilities it is absolute."""
    for unit in (1e-6, 1.0, 1e6):
        expected = unit * np.array([0.0, 2.0, 2.0, 4.0])
        assert comparison.spread(expected) == pytest.approx(unit * np.sqrt(2))
        for wrong, relative in ((unit * np.array([0.1, 0, 0, 0]), 0.1 / np.sqrt(2)), (unit * np.eye(4)[3], 0.25)):
            assert comparison.largest_difference(expected + wrong, expected) == pytest.approx(relative)
    assert comparison.largest_difference(np.array([1e6 + 1]), np.array([1e6])) == pytest.approx(1e-6)
    assert comparison.largest_difference(np.array([1.0]), np.array([2.0]), 1e3) == pytest.approx(1e-3)
    assert comparison.largest_difference(np.array([[0.1]]), np.array([[0.2]])) == pytest.approx(0.1)
    assert comparison.largest_difference(np.zeros((2, 2)), np.zeros((2, 3))) == float("inf")


@pytest.mark.parametrize(
    "make", [LogisticRegression, lambda: BaggingClassifier(DecisionTreeClassifier(max_depth=3), 5, random_state=1)]
)
def test_where_a_missing_number_is_not_treated_alike(make: Callable[[], BaseEstimator]) -> None:
    """Where training saw none and the two disagree, or scikit-learn refuses it, the column says so; trees may agree."""
    frame = FRAME[["x"]].assign(z=FRAME["y"].fillna(1.0))
    columns = infer(frame.to_dict("records"))
    rows = arrays(frame.to_dict("records"), columns)

    def gapless(model: BaseEstimator) -> list[str]:
        model.fit(frame, LABELS)
        made = export.export(model, columns, rows, comparison.predict(model, frame), "x", gaps=[])
        assert made.runtime == "onnx"
        return list(made.gapless)

    assert gapless(HistGradientBoostingClassifier(max_iter=5)) == []
    assert set(gapless(make())) >= {"x"}


@pytest.mark.parametrize("make", [OrdinalEncoder, lambda: OneHotEncoder(sparse_output=False)])
def test_an_unknown_text_that_is_refused_is_refused(make: Callable[[], BaseEstimator]) -> None:
    """By ONNX as by scikit-learn, whatever a converter makes of handle_unknown="error"."""
    model = make_pipeline(
        make_column_transformer((make(), ["c"]), ("passthrough", ["x"])), HistGradientBoostingClassifier(max_iter=9)
    )
    made = exported(model, LABELS)
    assert (made.runtime, made.reason) == ("onnx", "")
    violet = {"c": np.array([["violet"]], object), "x": np.zeros((1, 1), np.float32), "y": np.zeros((1, 1), np.float32)}
    with pytest.raises(ValueError, match="training saw no c like 'violet'"):
        export.asker(made.model)(violet)


def test_what_overflows_is_no_difference() -> None:
    """3e38 times a weight is more than float32 holds: such an answer is refused, and the model is as good as before."""
    frame = FRAME[["x"]].assign(z=FRAME["y"].fillna(1.0))
    model = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(5,), max_iter=30, random_state=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert exported(model, NUMBERS / 1e5, frame, frame).runtime == "onnx"


def test_a_missing_number_that_training_never_saw_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service refuses it where training saw none, so a model that converts but for that is served by ONNX."""
    dice = np.random.default_rng(1)
    frame = pd.DataFrame({"a": dice.normal(size=400), "b": dice.normal(size=400)}).astype(np.float32)
    target = np.where(frame["a"] * frame["b"] > 0, "yes", "no")
    model = RandomForestClassifier(5, random_state=1).fit(frame, target)
    columns = infer(frame.to_dict("records"))
    rows = {name: frame[[name]].to_numpy() for name in frame}
    expected = comparison.predict(model, frame)
    assert export.export(model, columns, rows, expected, "x").runtime == "onnx"  # they go where the trees send them
    monkeypatch.setattr("training.onnx.convert.follow_missing", lambda *_: None)
    assert export.export(model, columns, rows, expected, "x", gaps=[]).runtime == "onnx"
    wrong = export.export(model, columns, rows, expected, "x", gaps=["b"])
    assert wrong.runtime == "sklearn"
    assert "on a hard row" in wrong.reason


@pytest.mark.slow
def test_equal_models_give_equal_bytes() -> None:
    """Whatever the seed of Python's hashes: a set's order once changed the file."""
    program = (
        "import hashlib; from tests.engine.training.test_export import *\n"
        "print(hashlib.sha256(exported(build('classification'), LABELS).model).hexdigest())"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=environment(ROOT, PYTHONHASHSEED=seed),
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "3")
    }
    assert len(hashes) == 1
