"""training.onnx: LightGBM, XGBoost and CatBoost, as a user brings them, are served by ONNX with the same answers."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

from pipeline import bundle as bundles
from pipeline.bundle import load_estimator
from pipeline.columns import arrays, infer
from pipeline.labels import fit_classifier
from tests.engine.conftest import environment, run
from training.onnx import comparison, export
from training.onnx.boosters import read

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own, of options that few people set

ROWS, TRAINED = 500, 400
RNG = np.random.default_rng(5)


def sample() -> pd.DataFrame:
    """Numbers with gaps and many zeros, and texts."""
    zeros, gaps = RNG.random(ROWS) < 0.3, RNG.random(ROWS) < 0.1
    return pd.DataFrame(
        {
            "x": RNG.normal(size=ROWS).astype(np.float32),
            "y": np.where(gaps, np.nan, RNG.random(ROWS) * 1e5).astype(np.float32),
            "z": np.where(zeros, 0, RNG.normal(size=ROWS)).astype(np.float32),
            "c": RNG.choice(["red", "green", "", "blå"], ROWS).astype(object),
        }
    )


FRAME = sample()
SIGNAL = (FRAME["x"] + (FRAME["c"] == "red") + FRAME["y"].fillna(0) / 1e5 + RNG.normal(size=ROWS) * 0.3).to_numpy()
TARGETS = {
    "two": np.where(SIGNAL > 0.8, "yes", "no").astype(object),
    "three": np.array(["low", "mid", "high"], object)[np.digitize(SIGNAL, [0.4, 1.2])],
    "number": 3e5 + 1e5 * SIGNAL,
    "positive": np.exp(SIGNAL),
    "share": (SIGNAL > 0.8).astype(float),
}


def lightgbm(task: str, **options: Any) -> Any:
    model = LGBMRegressor if task == "number" else LGBMClassifier
    return model(**{"n_estimators": 20, "min_child_samples": 5, "n_jobs": 1, "verbose": -1, **options})


def xgboost(task: str, **options: Any) -> Any:
    model = XGBRegressor if task == "number" else XGBClassifier
    return model(**{"n_estimators": 20, "n_jobs": 1, **options})


def catboost(task: str, **options: Any) -> Any:
    model = CatBoostRegressor if task == "number" else CatBoostClassifier
    quiet = {"verbose": 0, "thread_count": 1, "allow_writing_files": False}
    return model(**{"iterations": 20, "depth": 4, **quiet, **options})


def behind_columns(model: Any) -> Any:
    """At the end of a pipeline in which texts become codes and numbers pass through, missing ones as NaN."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    texts = make_column_selector(dtype_exclude="number")
    return make_pipeline(make_column_transformer((codes, texts), remainder="passthrough"), model)


def fitted(estimator: Any, target: str, frame: pd.DataFrame = FRAME) -> Any:
    known = frame[:TRAINED], TARGETS[target][:TRAINED]
    return fit_classifier(estimator, *known) if target in ("two", "three") else estimator.fit(*known)


def exported(model: Any, frame: pd.DataFrame = FRAME) -> export.Exported:
    """What becomes of a fitted model, compared on rows that it was not fitted on, and on hard ones."""
    held_out, columns = frame[TRAINED:], infer(frame.to_dict("records"))
    rows = arrays(held_out.to_dict("records"), columns)
    return export.export(model, columns, rows, comparison.predict(model, held_out), "sample")


EVERY: list[tuple[Callable[..., Any], str, dict[str, Any]]] = [
    *((make, target, {}) for make in (lightgbm, xgboost, catboost) for target in ("two", "three", "number")),
    (lightgbm, "two", {"zero_as_missing": True}),
    (lightgbm, "two", {"use_missing": False}),
    (lightgbm, "two", {"boosting_type": "dart"}),
    (lightgbm, "three", {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}),
    (lightgbm, "three", {"objective": "multiclassova"}),
    (lightgbm, "two", {"sigmoid": 2.0, "is_unbalance": True}),
    (lightgbm, "share", {"objective": "cross_entropy"}),
    (lightgbm, "number", {"reg_sqrt": True}),
    *((lightgbm, "number", {"objective": each}) for each in ("regression_l1", "huber", "quantile", "mape")),
    *((lightgbm, "positive", {"objective": each}) for each in ("poisson", "gamma", "tweedie", "fair")),
    (xgboost, "two", {"missing": 0.0}),
    (xgboost, "three", {"booster": "dart", "rate_drop": 0.2}),
    (xgboost, "two", {"tree_method": "exact", "base_score": 0.3}),
    (xgboost, "three", {"num_parallel_tree": 3, "subsample": 0.5, "grow_policy": "lossguide"}),
    (xgboost, "number", {"objective": "reg:quantileerror", "quantile_alpha": 0.7}),
    (xgboost, "share", {"objective": "reg:logistic"}),
    *((xgboost, "number", {"objective": f"reg:{each}"}) for each in ("absoluteerror", "pseudohubererror")),
    *((xgboost, "positive", {"objective": each}) for each in ("count:poisson", "reg:gamma", "reg:tweedie")),
    *((catboost, target, {"nan_mode": "Max"}) for target in ("two", "three")),
    *((catboost, "three", {"grow_policy": each}) for each in ("Depthwise", "Lossguide")),
    (catboost, "three", {"loss_function": "MultiClassOneVsAll"}),
    *((catboost, "number", {"loss_function": each}) for each in ("MAE", "Quantile:alpha=0.7", "Huber:delta=1000")),
    *((catboost, "positive", {"loss_function": each}) for each in ("Poisson", "Tweedie:variance_power=1.5")),
]


@pytest.mark.parametrize(
    ("make", "target", "options"),
    EVERY,
    ids=[f"{m.__name__}-{t}-{'-'.join(map(str, o.values()))}" for m, t, o in EVERY],
)
def test_trees_are_exact(make: Callable[..., Any], target: str, options: dict[str, Any]) -> None:
    """On held-out rows, beside every step, without numbers and with extreme ones, whatever the objective."""
    task = target if target in ("two", "three") else "number"
    result = exported(fitted(behind_columns(make(task, **options)), target))
    assert (result.runtime, result.reason) == ("onnx", "")


@pytest.mark.parametrize("make", [lightgbm, xgboost, catboost])
@pytest.mark.parametrize("target", ["two", "number"])
def test_numbers_need_no_pipeline(make: Callable[..., Any], target: str) -> None:
    """The model alone takes the table as it is."""
    numbers = FRAME[["x", "y", "z"]]
    result = exported(fitted(make(target), target, numbers), numbers)
    assert (result.runtime, result.reason) == ("onnx", "")


@pytest.mark.parametrize(
    "make",
    [
        lambda: GridSearchCV(behind_columns(lightgbm("two")), {"lgbmclassifier__num_leaves": [4, 8]}, cv=2),
        lambda: GridSearchCV(behind_columns(xgboost("two")), {"xgbclassifier__max_depth": [2, 3]}, cv=2),
        lambda: behind_columns(VotingClassifier([("l", lightgbm("two")), ("x", xgboost("two"))], voting="soft")),
        lambda: behind_columns(BaggingClassifier(catboost("two"), 3)),
        lambda: behind_columns(CalibratedClassifierCV(xgboost("two"), cv=2)),
        lambda: behind_columns(XGBRFClassifier(n_estimators=9)),
    ],
    ids=["search", "search of codes", "vote", "bag", "calibrated", "forest"],
)
def test_a_part_of_something_larger_is_exact(make: Callable[[], Any]) -> None:
    """Wherever scikit-learn takes a classifier."""
    result = exported(fitted(make(), "two"))
    assert (result.runtime, result.reason) == ("onnx", "")


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (lightgbm("number", n_estimators=400), {"callbacks": [early_stopping(3, verbose=False)]}),
        (xgboost("number", n_estimators=400, early_stopping_rounds=3), {"verbose": False}),
        (catboost("number", iterations=400), {"early_stopping_rounds": 3}),
    ],
)
def test_the_best_iteration_answers(model: Any, more: dict[str, Any]) -> None:
    """After early stopping, trees that came later are not asked."""
    frame, target = FRAME[["x", "y", "z"]], TARGETS["number"]
    model.fit(frame[:TRAINED], target[:TRAINED], eval_set=[(frame[TRAINED:], target[TRAINED:])], **more)
    assert len(read(model).trees) < 200
    result = exported(model, frame)
    assert (result.runtime, result.reason) == ("onnx", "")


@pytest.mark.parametrize(
    ("model", "target", "reason"),
    [
        (lightgbm("number", linear_tree=True), "number", "linear trees of LightGBM"),
        (lightgbm("two", categorical_feature=[0]), "two", "categorical splits of LightGBM"),
        (xgboost("number", booster="gblinear"), "positive", "the booster gblinear of XGBoost"),
        (xgboost("three", multi_strategy="multi_output_tree"), "three", "multi_output_tree of XGBoost"),
        (catboost("number", loss_function="LogLinQuantile:alpha=0.5"), "positive", "the objective LogLinQuantile"),
    ],
)
def test_what_does_not_convert_says_so(model: Any, target: str, reason: str) -> None:
    """The library's own model serves instead, loaded without a pickle, with the same answers."""
    estimator = fitted(behind_columns(model), target)
    result = exported(estimator)
    assert result.runtime == "sklearn"
    assert result.reason.startswith(f"it does not convert to ONNX: {reason}")
    loaded = load_estimator(result.model)
    np.testing.assert_array_equal(comparison.predict(loaded, FRAME), comparison.predict(estimator, FRAME))


COLUMNS = """
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def build(task, seed):
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    texts = make_column_selector(dtype_exclude="number")
    columns = make_column_transformer((codes, texts), remainder="passthrough")
    return make_pipeline(columns, XGBClassifier(n_estimators=20, random_state=seed))
"""
TEXTS = """

def build(task, seed):
    texts = ["State", "Bank", "BankState", "RevLineCr", "LowDoc", "Sector"]
    quiet = {"verbose": 0, "allow_writing_files": False}
    return CatBoostClassifier(iterations=20, random_seed=seed, cat_features=texts, **quiet)
"""
ITSELF = "CatBoostClassifier takes numbers and texts at once; a ColumnTransformer would take them apart"


@pytest.mark.parametrize(
    ("estimator", "runtime", "reason"),
    [
        (f"from xgboost import XGBClassifier\n{COLUMNS}", "onnx", ""),
        (f"from catboost import CatBoostClassifier\n{TEXTS}", "sklearn", f"it does not convert to ONNX: {ITSELF}"),
    ],
    ids=["labels that XGBoost refuses", "texts that CatBoost takes itself"],
)
def test_from_the_file_to_the_service(project: Path, estimator: str, runtime: str, reason: str) -> None:
    """Labels are the file's, and the service answers what the registered model does, whichever serves."""
    (project / "src" / "model" / "estimator.py").write_text(estimator)
    done = run(project, "training.train")
    assert done.returncode == 0, done.stdout + done.stderr
    bundle = bundles.read(project / "bundle")
    assert (bundle.card.runtime, bundle.card.reason) == (runtime, reason)
    assert not reason or f"CatBoost will serve this model: {reason}" in done.stdout
    assert {"xgboost", "catboost"} & bundle.card.libraries.keys()
    assert bundle.contract.classes == ["CHGOFF", "P I F"]
    records = (project / "bundle" / bundles.REQUESTS).read_text().splitlines()
    scored = subprocess.run(
        [sys.executable, "-m", "serving.score"],
        cwd=project,
        env=environment(project),
        input="\n".join(records),
        capture_output=True,
        text=True,
        check=True,
    )
    served = [json.loads(line) for line in scored.stdout.splitlines()]
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
    pipeline = mlflow.sklearn.load_model("models:/loan-default@candidate")
    frame = pd.DataFrame(map(json.loads, records))
    assert [each["label"] for each in served] == pipeline.predict(frame).tolist()
    chances = [[each["probabilities"][label] for label in bundle.contract.classes] for each in served]
    np.testing.assert_allclose(chances, pipeline.predict_proba(frame), rtol=0, atol=1e-6 if runtime == "onnx" else 0)
