"""The user's estimator, built, fitted and asked; what goes wrong in it is said in one line that names its place."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import pandas as pd
import sklearn
import skops.io
from sklearn.base import BaseEstimator, is_classifier, is_clusterer, is_outlier_detector, is_regressor
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipeline.bundle import WHOLE, StoredError, load_estimator
from pipeline.columns import DeriveError, place
from pipeline.labels import fit_classifier
from pipeline.schema import Task
from pipeline.transformer import Derive, round_target_encoders
from training import archive
from training.dataset import Half, Say, in_silence
from training.onnx.comparison import predict
from training.onnx.graph import last_step

archive.install()
# OpenMP's threads have to earn what waking them costs. On two CPUs, two took 3.6 s for 7,000 rows, and one 0.5 s; for
# 300,000 one was still the faster, for a million no more.
MANY_ROWS = 500_000
NAMED = 20_000  # held-out rows, at most, of which the estimator is asked for the class as well
TIE = 1e-6  # classes whose probabilities differ by less are equally likely, to a model in float32
ESTIMATOR = "src/model/estimator.py"


class EstimatorError(ValueError):
    """`build` of src/model/estimator.py gave nothing that can be trained, or its estimator failed."""


def built(task: Task, seed: int) -> BaseEstimator:
    """What `build` of src/model/estimator.py returns. Raises EstimatorError."""
    with blamed("build()"), sklearn.config_context():  # the service has not what build() sets
        from model.estimator import build  # noqa: PLC0415  its mistakes are the user's to read, not a traceback's

        estimator = build(task, seed)
    _check(estimator, task)
    round_target_encoders(estimator)
    return estimator


def fit(task: Task, seed: int, part: Half, trusted: Sequence[str] = (), say: Say = in_silence) -> Pipeline:
    """A pipeline that takes the file's own columns, fitted on this part of them. Raises EstimatorError.

    trusted: packages whose types it may hold besides those that `pipeline.bundle` names; say: is told how far it is.
    """
    estimator = built(task, seed)
    derive = Derive()
    with blamed("fit()"), threadpool_limits(None if len(part.frame) >= MANY_ROWS else 1, "openmp"):
        say("derive the columns")
        known = derive.fit_transform(part.frame), part.target.to_numpy()
        del part  # the rows as the file has them: memory for the estimator
        say("fit the estimator")
        model = fit_classifier(estimator, *known) if task == "classification" else estimator.fit(*known)
    pipeline = Pipeline([("derive", derive), ("model", model)])
    if task == "classification":
        _check_classifier(pipeline, last_step(estimator), known[1])
    say("store the estimator")
    try:  # what the service loads where the model does not convert, and MLflow keeps in any case
        load_estimator(skops.io.dumps(pipeline), trusted)
    except StoredError as error:
        raise EstimatorError(f"{ESTIMATOR}: the fitted estimator cannot be kept: {error}") from error
    return pipeline


def answer(pipeline: Pipeline, frame: pd.DataFrame, say: Say = in_silence) -> tuple[pd.DataFrame, np.ndarray]:
    """Held-out rows as the model sees them, and its answer: probabilities (rows, classes) or values (rows,).

    Raises EstimatorError.
    """
    derive, model = pipeline.named_steps.values()
    with blamed("predict"):
        say("derive the columns")
        table = derive.transform(frame)
        say("ask the model")
        values = predict(model, table)
    classes = getattr(pipeline, "classes_", None)
    if values.shape != ((len(table),) if classes is None else (len(table), len(classes))):
        raise EstimatorError(
            f"{ESTIMATOR}: the answer to {len(table)} rows has the shape {values.shape}; supported are classifiers "
            "with a probability for each class, and regressors with one number"
        )
    bad = np.asarray(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if bad.any():
        raise EstimatorError(f"{ESTIMATOR}: the answer to {bad.sum()} of {len(bad)} held-out rows is not a number")
    if classes is not None:
        if (odd := values[(values < -TIE) | (values > 1 + TIE)]).size:
            raise EstimatorError(
                f"{ESTIMATOR}: predict_proba gives {odd[0]:.3g} for a row, which is no probability; they lie between "
                "0 and 1"
            )
        with blamed("predict"):
            named = np.ravel(model.predict(table.head(NAMED)))  # of CatBoost, they are a column
        _check_named(named, model.classes_, values[:NAMED])
    return table, values


def rounded(frame: pd.DataFrame, table: pd.DataFrame) -> Iterator[str]:
    """What to know of columns of whole numbers of which float32, which the model is fed, makes others.

    frame: rows as the file has them; table: as `derive` makes them. What it changes is no concern: it may subtract.
    """
    for name in frame.columns.intersection(table.columns):
        if frame[name].dtype.kind != "f" or table[name].dtype.kind != "f":
            continue
        given, fed = frame[name].to_numpy(), table[name].to_numpy()
        large = (np.abs(given) > WHOLE) & (given == np.floor(given)) & (given != fed)
        for n in np.flatnonzero(large & (given.astype(np.float32) == fed))[:1]:
            yield (
                f"{name!r} has numbers that the model cannot tell apart ({given[n]:.0f} is {fed[n]:.0f} to it). If it "
                "is an identifier, leave it out; else subtract a start in derive, which gets them as they are"
            )


def _check_classifier(pipeline: Pipeline, last: BaseEstimator, target: np.ndarray) -> None:
    """Raises EstimatorError where it has no probabilities, or does not say of which labels."""
    kind = type(last).__name__
    if not hasattr(pipeline, "predict_proba"):
        advice = "wrap it in sklearn.calibration.CalibratedClassifierCV, for example"
        if getattr(last, "voting", "") == "hard":
            advice = 'set voting="soft"'
        elif getattr(last, "refit", True) is False:
            advice = "leave refit=False out"
        elif not is_classifier(last):
            advice = "it is no classifier: put one at the end"
        raise EstimatorError(
            f"{ESTIMATOR}: {kind} has no predict_proba as it is set up, and the service answers with probabilities; "
            f"{advice}"
        )
    classes = getattr(pipeline, "classes_", None)
    if not isinstance(classes, np.ndarray) or sorted(map(str, classes)) != sorted(set(target)):
        has = "no classes_" if classes is None else f"classes_ = {classes!r:.100}"
        raise EstimatorError(
            f"{ESTIMATOR}: {kind} has {has} after fit(); expected, as of scikit-learn's classifiers, an array of the "
            f"labels that it was fitted on, in the order of predict_proba"
        )


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
    kind = type(estimator).__name__
    # CatBoost's models are none of scikit-learn's own, but have all that it takes.
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") and hasattr(estimator, "get_params")):
        raise EstimatorError(f"{ESTIMATOR}: build() returned {kind}; expected a scikit-learn estimator")
    if is_outlier_detector(estimator) or is_clusterer(estimator):
        raise EstimatorError(
            f"{ESTIMATOR}: build() returned {kind}, which learns from no target; supported are classifiers with "
            "predict_proba, and regressors"
        )
    other, wrong = ("classifier", is_classifier) if task == "regression" else ("regressor", is_regressor)
    if wrong(estimator):
        raise EstimatorError(f"{ESTIMATOR}: build() returned a {other}, but data.task in pipeline.toml is {task}")


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Errors of the user's code, or of scikit-learn's that it calls, as one line with the last place in src/model."""
    try:
        yield
    except DeriveError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        message = f"{type(error).__name__}: {text[:400]}{'…' if len(text) > 400 else ''}"
        if isinstance(error, ModuleNotFoundError) and error.name and not find_spec(error.name.partition(".")[0]):
            message += f". To install it: make add LIBRARY={error.name.partition('.')[0]} (the name of its package)"
        raise EstimatorError(f"{place(error, ESTIMATOR)}: {what} failed with {message}") from error
