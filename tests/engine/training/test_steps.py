"""training.onnx: transformed targets, bins and the user's own transformers, with scikit-learn's answers."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from pipeline.columns import arrays, infer
from tests.engine.conftest import ROOT
from training.onnx import comparison, export

ROWS, TRAINED = 600, 450
RNG = np.random.default_rng(5)
FRAME = pd.DataFrame(
    {
        "x": RNG.normal(size=ROWS).astype(np.float32),
        "y": (RNG.random(ROWS) * 1e5).astype(np.float32),
        "c": RNG.choice(["red", "green", ""], ROWS).astype(object),
    }
)
SIGNAL = (FRAME["x"] + FRAME["y"] / 1e5 + (FRAME["c"] == "red") + RNG.normal(size=ROWS) * 0.3).to_numpy()


def exported(estimator: Any, target: Any, frame: pd.DataFrame = FRAME) -> export.Exported:
    """What becomes of an estimator, compared on rows that it was not fitted on, and on hard ones without gaps."""
    fitted, held_out = estimator.fit(frame[:TRAINED], target[:TRAINED]), frame[TRAINED:]
    columns = infer(frame.to_dict("records"))
    rows = arrays(held_out.to_dict("records"), columns)
    return export.export(fitted, columns, rows, comparison.predict(fitted, held_out), "sample", gaps=[])


def trees() -> Any:
    return HistGradientBoostingRegressor(max_iter=30)


def columns(*steps: Any) -> Any:
    return make_column_transformer((OrdinalEncoder(), ["c"]), *steps, remainder="passthrough")


@pytest.mark.parametrize(
    "options",
    [
        {"func": np.log, "inverse_func": np.exp},
        {"func": np.log1p, "inverse_func": np.expm1},
        {"func": np.exp, "inverse_func": np.log},
        {"func": np.expm1, "inverse_func": np.log1p},
        {"func": np.sqrt, "inverse_func": np.square},
        {"func": np.square, "inverse_func": np.sqrt},
        {"func": np.log2, "inverse_func": np.exp2},
        {"func": np.exp2, "inverse_func": np.log2},
        {"transformer": StandardScaler()},
        {"transformer": MinMaxScaler((1, 3))},
        {"transformer": RobustScaler()},
        {"transformer": PowerTransformer()},
        {"transformer": PowerTransformer("box-cox", standardize=False)},
        {"transformer": QuantileTransformer(n_quantiles=400)},
        {"transformer": QuantileTransformer(n_quantiles=400, output_distribution="normal")},
        {},
    ],
    ids=lambda options: "-".join(getattr(each, "__name__", str(each)) for each in options.values()) or "none",
)
@pytest.mark.parametrize(
    "around",
    [
        lambda **options: make_pipeline(columns(), TransformedTargetRegressor(trees(), **options)),
        lambda **options: TransformedTargetRegressor(make_pipeline(columns(), trees()), **options),
    ],
    ids=["last step", "outside"],
)
def test_a_transformed_target_comes_back(around: Callable[..., Any], options: dict[str, Any]) -> None:
    """Whether it stands at the end of a pipeline or around one."""
    shift = 5 if options.get("inverse_func") in (np.log, np.log1p, np.sqrt, np.log2) else 1
    target = np.exp(SIGNAL) if shift == 1 else SIGNAL + shift
    result = exported(around(**options), target)
    assert (result.runtime, result.reason) == ("onnx", "")


def _cube(values: Any) -> Any:
    return values**3


def test_another_function_is_named() -> None:
    """scikit-learn serves it."""
    model = TransformedTargetRegressor(trees(), func=np.cbrt, inverse_func=_cube)
    result = exported(make_pipeline(columns(), model), SIGNAL)
    assert result.runtime == "sklearn"
    assert "the way back by _cube; of functions, NumPy's exp, expm1, log" in result.reason


@pytest.mark.filterwarnings("ignore:Bins whose width are too small")
@pytest.mark.parametrize("encode", ["onehot", "onehot-dense", "ordinal"])
@pytest.mark.parametrize("strategy", ["uniform", "quantile", "kmeans"])
def test_bins_are_exact(encode: str, strategy: str) -> None:
    """On both sides of every edge, which no float32 holds."""
    bins = KBinsDiscretizer(7, encode=encode, strategy=strategy)
    for step in (bins, make_pipeline(StandardScaler(), bins)):
        result = exported(make_pipeline(columns((step, ["x", "y"])), Ridge()), 3e5 + 1e5 * SIGNAL)
        assert (result.runtime, result.reason) == ("onnx", "")


# --- The user's own


class Lookup(TransformerMixin, BaseEstimator):
    """Refuses a text that it does not know with an error that is none of scikit-learn's."""

    def fit(self, frame: pd.DataFrame, _target: object = None) -> "Lookup":
        self.codes_ = {text: code for code, text in enumerate(sorted(set(frame["c"])))}
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        return np.array([[self.codes_[text]] for text in frame["c"]], np.float32)


def test_a_model_that_refuses_in_its_own_way_is_served() -> None:
    """By scikit-learn, and training does not end."""
    result = exported(make_pipeline(make_column_transformer((Lookup(), ["c"])), trees()), SIGNAL, FRAME[["c"]])
    assert result.runtime == "sklearn"
    assert result.reason.startswith("it does not convert to ONNX: ")


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """src/model of docs/your-own-model.md."""
    text = (ROOT / "docs" / "your-own-model.md").read_text()
    for name, code in re.findall(r"^`src/(model/\w+\.py)`:\n\n```python\n(.*?)```", text, re.DOTALL | re.MULTILINE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    return tmp_path


def share(project: Path) -> type[BaseEstimator]:
    """The transformer of the documentation."""
    names: dict[str, Any] = {"__name__": "steps"}
    exec((project / "model" / "steps.py").read_text(), names)  # noqa: S102
    kind: type[BaseEstimator] = names["Share"]
    return kind


def test_the_transformer_of_the_documentation_is_exact(project: Path) -> None:
    """Alone, and in a ColumnTransformer; another form than what transform does is found out."""
    kind, numbers = share(project), FRAME[["x", "y"]]
    for model, frame in (
        (make_pipeline(kind(), trees()), numbers),
        (make_pipeline(columns((make_pipeline(kind(), StandardScaler()), ["x", "y"])), trees()), FRAME),
    ):
        result = exported(model, SIGNAL, frame)
        assert (result.runtime, result.reason) == ("onnx", "")
    for form, reason in (
        (lambda _, graph, x: graph.add("Neg", [x]), "ONNX differs from scikit-learn by"),
        (lambda *_: None, "onnx_transform of Share returns NoneType"),
    ):
        kind.onnx_transform = form
        assert reason in exported(make_pipeline(kind(), trees()), SIGNAL, numbers).reason


def test_the_linters_take_it_as_it_is(project: Path) -> None:
    """It has no annotations, as scikit-learn's handbook has none."""
    (project / "src").mkdir()
    (project / "model").rename(project / "src" / "model")
    (project / "src" / "model" / "__init__.py").write_text('"""Yours."""\n')
    (project / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for tool in (["ruff", "check", "src"], ["ruff", "format", "--check", "src"], ["mypy", "src"]):
        done = subprocess.run([sys.executable, "-m", *tool], cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_texts_and_a_transformed_target_go_together() -> None:
    """A regressor of words, with the logarithm around all of it or at its end."""
    words = make_column_transformer((TfidfVectorizer(analyzer="char"), "c"), (StandardScaler(), ["x", "y"]))
    for model in (
        TransformedTargetRegressor(make_pipeline(words, Ridge()), func=np.log, inverse_func=np.exp),
        make_pipeline(words, TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp)),
    ):
        result = exported(model, np.exp(SIGNAL))
        assert (result.runtime, result.reason) == ("onnx", "")
