"""The user's estimator, built, fitted and asked; what goes wrong in it is said in one line that names its place."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import sklearn
import skops.io
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipeline.bundle import StoredError, load_estimator
from pipeline.columns import DeriveError, place
from pipeline.schema import Task
from pipeline.transformer import Derive, round_target_encoders
from training.dataset import Part
from training.onnx.comparison import predict
from training.onnx.graph import last_step

# OpenMP's threads have to earn what waking them costs. On two CPUs, two took 3.6 s for 7,000 rows, and one 0.5 s; for
# 300,000 one was still the faster, for a million no more.
MANY_ROWS = 500_000
TIE = 1e-6  # classes whose probabilities differ by less are equally likely, to a model in float32
ESTIMATOR = "src/model/estimator.py"


class EstimatorError(ValueError):
    """`build` of src/model/estimator.py gave nothing that can be trained, or its estimator failed."""


def fit(task: Task, seed: int, part: Part, trusted: Sequence[str] = ()) -> Pipeline:
    """A pipeline that takes the file's own columns, fitted on this part of them. Raises EstimatorError.

    trusted: packages whose types it may hold besides those that `pipeline.bundle` names.
    """
    with _blamed("build()"), sklearn.config_context():  # the service has not what build() sets
        from model.estimator import build  # noqa: PLC0415  its mistakes are the user's to read, not a traceback's

        estimator = build(task, seed)
    _check(estimator, task)
    round_target_encoders(estimator)
    pipeline = Pipeline([("derive", Derive()), ("model", estimator)])
    with _blamed("fit()"), threadpool_limits(None if len(part.frame) >= MANY_ROWS else 1, "openmp"):
        pipeline.fit(part.frame, part.target.to_numpy())
    if task == "classification" and not hasattr(pipeline, "predict_proba"):
        raise EstimatorError(
            f"{ESTIMATOR}: {type(last_step(estimator)).__name__} has no predict_proba as it is set up, and the service "
            "answers with probabilities; wrap it in sklearn.calibration.CalibratedClassifierCV, for example"
        )
    if task == "classification" and not hasattr(pipeline, "classes_"):
        raise EstimatorError(
            f"{ESTIMATOR}: {type(last_step(estimator)).__name__} has no classes_ after fit(), the labels in the order "
            "of predict_proba, as scikit-learn's classifiers have"
        )
    try:  # what the service loads where the model does not convert, and MLflow keeps in any case
        load_estimator(skops.io.dumps(pipeline), trusted)
    except StoredError as error:
        raise EstimatorError(f"{ESTIMATOR}: the fitted estimator cannot be kept: {error}") from error
    return pipeline


def answer(pipeline: Pipeline, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Held-out rows as the model sees them, and its answer: probabilities (rows, classes) or values (rows,).

    Raises EstimatorError.
    """
    derive, model = pipeline.named_steps.values()
    with _blamed("predict"):
        table = derive.transform(frame)
        values = predict(model, table)
    bad = np.asarray(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if bad.any():
        raise EstimatorError(f"{ESTIMATOR}: the answer to {bad.sum()} of {len(bad)} held-out rows is not a number")
    if values.ndim == 2:
        with _blamed("predict"):
            named = model.predict(table)
        _check_named(named, model.classes_, values)
    return table, values


def _check_named(named: np.ndarray, classes: np.ndarray, values: np.ndarray) -> None:
    """The service names the likeliest class. Raises EstimatorError where `predict` names another one."""
    best = np.sort(values, axis=1)
    other = (named != classes[values.argmax(axis=1)]) & (best[:, -1] - best[:, -2] > TIE)
    if other.any():
        raise EstimatorError(
            f"{ESTIMATOR}: for {other.sum()} of {len(other)} held-out rows predict names another class than the "
            "likeliest by predict_proba, which is what the service names. Where a threshold of its own decides "
            "(TunedThresholdClassifierCV), return the estimator inside it from build(), and leave the threshold to who "
            "acts on the probabilities; where the two are fitted apart (SVC), wrap it in CalibratedClassifierCV"
        )


def _check(estimator: object, task: Task) -> None:
    if not isinstance(estimator, BaseEstimator):
        kind = type(estimator).__name__
        raise EstimatorError(f"{ESTIMATOR}: build() returned {kind}; expected a scikit-learn estimator")
    other, wrong = ("classifier", is_classifier) if task == "regression" else ("regressor", is_regressor)
    if wrong(estimator):
        raise EstimatorError(f"{ESTIMATOR}: build() returned a {other}, but data.task in pipeline.toml is {task}")


@contextmanager
def _blamed(what: str) -> Iterator[None]:
    """Errors of the user's code, or of scikit-learn's that it calls, as one line with the last place in src/model."""
    try:
        yield
    except DeriveError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        message = f"{type(error).__name__}: {text[:400]}{'…' if len(text) > 400 else ''}"
        raise EstimatorError(f"{place(error, ESTIMATOR)}: {what} failed with {message}") from error
