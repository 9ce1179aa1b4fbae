"""What ONNX serves is what scikit-learn would have answered, for pipelines and rows made at random.

`PARITY=500 pytest tests/engine/training/test_parity.py` makes 500 of them; the usual run makes a few.
"""

import os
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from pipeline.columns import arrays, infer
from pipeline.transformer import round_target_encoders
from training.onnx import comparison, export
from training.onnx.comparison import hard_rows

EXAMPLES = int(os.environ.get("PARITY", "12"))
NUMBERS, TEXTS = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
UNKNOWN = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
MODELS = {
    "regression": {
        "linear": LinearRegression,
        "ridge": Ridge,
        "forest": lambda: RandomForestRegressor(8, max_depth=8),
        "boosting": lambda: GradientBoostingRegressor(n_estimators=12),
        "histogram": lambda: HistGradientBoostingRegressor(max_iter=12),
    },
    "classification": {
        "logistic": lambda: LogisticRegression(max_iter=60),
        "forest": lambda: RandomForestClassifier(8, max_depth=8),
        "boosting": lambda: GradientBoostingClassifier(n_estimators=8),
        "histogram": lambda: HistGradientBoostingClassifier(max_iter=8),
    },
}
SCALERS = {"none": None, "standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}
ENCODERS = {
    "onehot": lambda: OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "rare": lambda: OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5, sparse_output=False),
    "ordinal": lambda: OrdinalEncoder(**UNKNOWN),
    "target": TargetEncoder,
}


def data(dice: np.random.Generator, gaps: bool) -> pd.DataFrame:
    """Numbers of all sizes, whole and not, with gaps; texts of few and of many values."""
    rows = 300
    frame = pd.DataFrame(
        {
            "small": dice.normal(size=rows),
            "large": np.exp(dice.normal(9, 3, rows)),
            "whole": dice.integers(-3, 40, rows),
            "rounded": np.round(dice.normal(size=rows), 1),
            "text": dice.choice(["a", "b", "", "ü", "long text"], rows),
            "code": dice.choice([f"{n:03}" for n in range(60)], rows),
        }
    )
    numbers = ["small", "large", "whole", "rounded"]
    frame[numbers] = frame[numbers].astype(np.float32)
    if gaps:
        frame.loc[dice.random(rows) < 0.2, "small"] = np.nan
    frame[["text", "code"]] = frame[["text", "code"]].astype(object)
    return frame[list(dice.permutation(frame.columns))]


def pipeline(model: BaseEstimator, scaler: Any, encoder: Any, imputed: bool, indicator: bool = False) -> BaseEstimator:
    steps = [*([SimpleImputer(add_indicator=indicator)] if imputed else []), *([scaler()] if scaler else [])]
    numbers = make_pipeline(*steps) if steps else "passthrough"
    return make_pipeline(make_column_transformer((numbers, NUMBERS), (encoder, TEXTS)), model)


@seed(1)
@settings(max_examples=EXAMPLES, deadline=None, database=None)
@given(
    st.sampled_from([(task, name) for task, models in MODELS.items() for name in models]),
    st.sampled_from(list(SCALERS)),
    st.sampled_from(list(ENCODERS)),
    st.integers(2, 4),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_onnx_is_exact(
    model: tuple[str, str], scaler: str, encoder: str, classes: int, texts: bool, number: int
) -> None:
    """On rows of the same kind and on the hardest there are, to 1e-6, and without giving up on ONNX."""
    dice = np.random.default_rng(number)
    task, name = model
    gaps = bool(dice.integers(2))
    frame = data(dice, gaps)
    signal = (
        frame["small"].fillna(0) + np.log(frame["large"]) / 3 + (frame["text"] == "a") + dice.normal(size=len(frame))
    )
    if not texts:  # then all is float32 up to the model
        frame = frame.select_dtypes("number")
    target: Any = 1000 * signal.to_numpy()
    if task == "classification":
        target = np.array([f"class {n}" for n in range(classes)], object)[pd.qcut(signal, classes, labels=False)]
    estimator = pipeline(
        MODELS[task][name](),
        SCALERS[scaler],
        ENCODERS[encoder](),
        imputed=gaps and name != "histogram",
        indicator=bool(dice.integers(2)),
    )
    round_target_encoders(estimator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(frame, target)
        held_out = data(dice, gaps)[frame.columns]
        columns = infer(frame.to_dict("records"))
        rows = arrays(held_out.to_dict("records"), columns)
        made = export.export(estimator, columns, rows, comparison.predict(estimator, held_out), "parity")
    assert made.runtime == "onnx", made.reason


def test_hard_rows_are_beside_the_steps() -> None:
    """Of a model with two steps: the floats on either side of both, and no others."""
    rows = {"x": np.random.default_rng(1).normal(size=(50, 1)).astype(np.float32)}
    (steps, *_) = hard_rows(
        lambda some: (some["x"][:, 0] > 0.25) + 2.0 * (some["x"][:, 0] > -0.125), rows, infer([{"x": 1.0}])
    )
    beside = {float(value) for value in steps["x"][:, 0]}
    assert beside == {
        0.25,
        float(np.nextafter(np.float32(0.25), np.float32(1))),
        -0.125,
        float(np.nextafter(np.float32(-0.125), np.float32(1))),
    }


def test_a_model_that_differs_on_hard_rows_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thresholds that are one float32 too high: no ordinary row shows it."""

    def raise_thresholds(estimator: BaseEstimator) -> None:
        for tree in (tree for trees in estimator[-1]._predictors for tree in trees):
            tree.nodes["num_threshold"] = np.nextafter(
                tree.nodes["num_threshold"].astype(np.float32), np.float32(np.inf)
            )

    dice = np.random.default_rng(2)
    frame, held_out = data(dice, gaps=False), data(dice, gaps=False)
    held_out = held_out[frame.columns]
    estimator = pipeline(HistGradientBoostingClassifier(max_iter=12), None, OrdinalEncoder(**UNKNOWN), imputed=False)
    estimator.fit(frame, frame["small"] + np.log(frame["large"]) > 9)
    columns = infer(frame.to_dict("records"))
    rows = arrays(held_out.assign(small=held_out["small"] + np.float32(1e-3)).to_dict("records"), columns)
    monkeypatch.setattr("training.onnx.convert.floor_thresholds", raise_thresholds)
    expected = comparison.predict(estimator, pd.DataFrame({name: values[:, 0] for name, values in rows.items()}))
    made = export.export(estimator, columns, rows, expected, "parity")
    assert made.runtime == "sklearn"
    assert "hard row" in made.reason
