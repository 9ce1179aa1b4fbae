"""The fitted estimator as ONNX, proven row by row against scikit-learn; where that fails, by skops, saying why."""

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import onnxruntime
import pandas as pd
import skops.io
from sklearn.base import BaseEstimator
from sklearn.model_selection._search import BaseSearchCV

from pipeline import matrix
from pipeline.contract import Column
from training.convert import convert
from training.hard_rows import Rows, hard_rows

TOLERANCE = 1e-6  # of a probability
CELLS = 2_000_000  # of hard rows at once
RELATIVE_TOLERANCE = 1e-5  # in regression, to the value or the spread of all values; float32 sums hold no more

Array = np.ndarray[Any, Any]


class Exported(NamedTuple):
    runtime: Literal["onnx", "sklearn"]
    model: bytes
    reason: str  # why not ONNX
    difference: float  # the largest between ONNX and scikit-learn on the rows compared; NaN where it did not convert


def export(
    estimator: BaseEstimator,
    columns: Sequence[Column],
    rows: Mapping[str, Array],
    expected: Array,
    name: str,
    gaps: Collection[str] | None = None,
) -> Exported:
    """The model that serves, and how it was chosen.

    rows: held-out arrays of shape (rows, 1) by column; expected: scikit-learn's own answer on them, probabilities of
    shape (rows, classes) or values of shape (rows,). gaps: the number columns in which a value may be missing; None:
    all.
    """

    while isinstance(estimator, BaseSearchCV):
        estimator = estimator.best_estimator_  # which answers for the search

    def own_answer(some: Rows) -> Array:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # at the ends of float32, numbers overflow
            warnings.simplefilter("ignore")
            return predict(estimator, _frame(some))

    try:
        model = convert(estimator, columns, _frame(rows).head(3), name)
        answer = run(model, rows)
        hardest = _largest_on(hard_rows(own_answer, rows, columns, gaps), own_answer, model, spread(expected))
    except Exception as error:  # a converter may fail in any way; the reason is reported, and scikit-learn serves
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Exported(
            "sklearn", skops.io.dumps(estimator), f"it does not convert to ONNX: {first[:200]}", float("nan")
        )
    difference, allowed = largest_difference(answer, expected), tolerance(expected)
    for found, kind in ((difference, "held-out"), (hardest, "hard")):
        if not found <= allowed:
            reason = f"ONNX differs from scikit-learn by {found:.1e} on a {kind} row (tolerance {allowed:g})"
            return Exported("sklearn", skops.io.dumps(estimator), reason, found)
    return Exported("onnx", model, "", max(difference, hardest))


def _largest_on(groups: Iterable[Rows], own_answer: Callable[[Rows], Array], model: bytes, usual: float) -> float:
    """The largest difference on groups of rows; what scikit-learn refuses is left out."""
    differences = [0.0]
    every = list(groups)
    cells = max((sum(values.size for values in rows.values()) for rows in every), default=1)
    size = max(1, CELLS // cells)
    for start in range(0, len(every), size):
        for rows, expected in _answered(every[start : start + size], own_answer):
            finite = np.isfinite(expected).reshape(len(expected), -1).all(axis=1)
            if finite.any():
                differences.append(largest_difference(run(model, rows)[finite], expected[finite], usual))
    return max(differences)


def _answered(groups: Sequence[Rows], own_answer: Callable[[Rows], Array]) -> list[tuple[Rows, Array]]:
    """The groups with their answers, as many at once as scikit-learn takes: one of them may make it refuse all."""
    joined = {name: np.concatenate([rows[name] for rows in groups]) for name in groups[0]}
    try:
        return [(joined, own_answer(joined))]
    except ValueError:
        half = len(groups) // 2
        return [*_answered(groups[:half], own_answer), *_answered(groups[half:], own_answer)] if half else []


def run(model: bytes, rows: Mapping[str, Array]) -> Array:
    """The output of an ONNX model for arrays of shape (rows, 1) by column."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    columns = matrix.decode(session.get_modelmeta().custom_metadata_map)
    feed = {matrix.INPUT: matrix.join(columns, rows)} if columns else dict(rows)
    return np.asarray(session.run(None, feed)[0])


def tolerance(expected: Array) -> float:
    """How much an answer may differ from this one."""
    return TOLERANCE if expected.ndim == 2 else RELATIVE_TOLERANCE


def spread(expected: Array) -> float:
    """The standard deviation of a regression's answers, which says what a small difference is; 1 for probabilities."""
    return (float(np.std(expected)) or 1.0) if expected.ndim == 1 else 1.0


def largest_difference(answer: Array, expected: Array, usual: float | None = None) -> float:
    """The largest difference between two answers: of probabilities absolute, of values relative.

    Relative to the value, or to `usual` where the value is smaller: by default the spread of the expected answers.
    """
    if expected.ndim == 1:
        answer = answer.reshape(-1)
    if answer.shape != expected.shape:
        return float("inf")
    usual = spread(expected) if usual is None else usual
    scale = np.maximum(usual, np.abs(expected)) if expected.ndim == 1 else 1.0
    return float(np.max(np.abs(answer - expected) / scale))


def predict(estimator: BaseEstimator, frame: pd.DataFrame) -> Array:
    """Probabilities of shape (rows, classes), or values of shape (rows,)."""
    if hasattr(estimator, "classes_"):
        return np.asarray(estimator.predict_proba(frame), dtype=float)
    return np.asarray(estimator.predict(frame), dtype=float).reshape(-1)


def _frame(rows: Mapping[str, Array]) -> pd.DataFrame:
    return pd.DataFrame({name: values[:, 0] for name, values in rows.items()})
