"""The fitted estimator as ONNX, proven row by row against scikit-learn; where that fails, by skops, saying why."""

import re
import traceback
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import onnxruntime
import pandas as pd
import skops.io
from sklearn.base import BaseEstimator

from pipeline.bundle import Column
from pipeline.columns import MATRIX, from_metadata, in_parts, packer
from pipeline.labels import Labelled
from training.onnx.comparison import (
    NEVER_SEEN,
    Rows,
    hard_rows,
    largest_difference,
    predict,
    replaced,
    spread,
    tolerance,
)
from training.onnx.graph import last_step

HUGE = 1e18  # of a number, whose products may be more than float32 holds
CELLS = 2_000_000  # of hard rows at once
PART = 20_000  # rows that are records at once
BARE = {AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError}  # kinds of errors
OTHERS = {"lightgbm": "LightGBM", "xgboost": "XGBoost", "catboost": "CatBoost"}

Array = np.ndarray[Any, Any]


Answer = Callable[[Rows], Array]


class Exported(NamedTuple):
    runtime: Literal["onnx", "sklearn"]
    model: bytes
    reason: str  # why not ONNX
    difference: float  # the largest between ONNX and scikit-learn on the rows compared; NaN where it did not convert
    library: str = "scikit-learn"  # whose answer it is, and who serves where ONNX does not
    gapless: Sequence[str] = ()  # number columns in which ONNX treats a missing number otherwise


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
    while (inner := _inner(estimator)) is not None:
        estimator = inner

    def own_answer(some: Rows) -> Array:
        with warnings.catch_warnings(), np.errstate(all="ignore"):  # at the ends of float32, numbers overflow
            warnings.simplefilter("ignore")
            return predict(estimator, _frame(some))

    library = OTHERS.get(type(last_step(estimator)).__module__.partition(".")[0], "scikit-learn")
    usual, allowed = spread(expected), tolerance(expected)
    try:
        refusing = [each.name for each in columns if each.type == "text" and _refused(own_answer, rows, each.name)]
        # Here, because it stands on private modules of scikit-learn and skl2onnx: one that moved is a reason as well.
        from training.onnx.convert import convert  # noqa: PLC0415

        model = convert(estimator, columns, _frame(rows).head(3), name, refusing)
        answer = asker(model)
        actual = answer(dict(rows))
        hardest = _largest_on(hard_rows(own_answer, rows, columns, gaps), own_answer, answer, usual)
        _check_refusing(answer, rows, refusing)
    except Exception as error:  # a converter may fail in any way; the reason is reported, and scikit-learn serves
        return Exported(
            "sklearn",
            skops.io.dumps(estimator),
            f"it does not convert to ONNX: {_first_line(error)[:200].rstrip('.')}",
            float("nan"),
            library,
        )
    difference = largest_difference(actual, expected)
    for wrong, kind in ((difference, "held-out"), (hardest, "hard")):
        if not wrong <= allowed:
            reason = f"ONNX differs from {library} by {wrong:.1e} on a {kind} row (tolerance {allowed:g})"
            return Exported("sklearn", skops.io.dumps(estimator), reason, wrong, library)
    never = [each.name for each in columns if each.type == "number" and gaps is not None and each.name not in gaps]

    def agree(some: Rows) -> bool:
        try:
            return largest_difference(answer(some), own_answer(some), usual) <= allowed
        except Exception:  # either may refuse, and ONNX Runtime has errors of its own for it
            return False

    return Exported("onnx", model, "", max(difference, hardest), library, _gapless(never, rows, agree))


def _first_line(error: Exception) -> str:
    """Of what it says; with its kind and the library, where that alone is a key or a name out of the library's code."""
    kind = type(error).__name__
    first = str(error).strip().splitlines()[0] if str(error).strip() else kind
    first = re.sub(r" \((/|[A-Z]:).*\)$", "", first)  # of an ImportError: where the library lies here
    parts = Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts
    if type(error) in BARE and "site-packages" in parts:
        return f"{parts[parts.index('site-packages') + 1]} fails on it with {kind}: {first}"
    return first


def _inner(estimator: BaseEstimator) -> BaseEstimator | None:
    """Which one answers in its place, with the same numbers; None: itself."""
    return estimator.estimator_ if isinstance(estimator, Labelled) else getattr(estimator, "best_estimator_", None)


def _gapless(names: Sequence[str], rows: Mapping[str, Array], agree: Callable[[Rows], bool]) -> list[str]:
    """The columns in which a missing number makes the two disagree; many are asked at once, as few do."""
    if not names:
        return []
    dice = np.random.default_rng(0)
    if agree(_joined([replaced(rows, name, np.nan, dice) for name in names])):
        return []
    half = len(names) // 2
    return [*_gapless(names[:half], rows, agree), *_gapless(names[half:], rows, agree)] if half else list(names)


def _check_refusing(answer: Answer, rows: Mapping[str, Array], refusing: Sequence[str]) -> None:
    for name in refusing:
        if not _refused(answer, rows, name, Exception):
            raise ValueError(f"it would answer texts in {name!r} that scikit-learn refuses")


def _refused(answer: Answer, rows: Mapping[str, Array], name: str, error: type[Exception] = ValueError) -> bool:
    """Whether a text that nobody has seen is refused in a column."""
    try:
        answer(replaced(rows, name, NEVER_SEEN, np.random.default_rng(0)))
    except error:
        return True
    return False


def _largest_on(groups: Iterable[Rows], own_answer: Answer, answer: Answer, usual: float) -> float:
    """The largest difference on groups of rows.

    What scikit-learn refuses is left out, and numbers so large that ONNX, in float32, comes to none that is finite: the
    service refuses such an answer.
    """
    differences = [0.0]
    every = list(groups)
    cells = max((sum(values.size for values in rows.values()) for rows in every), default=1)
    size = max(1, CELLS // cells)
    for start in range(0, len(every), size):
        for rows, expected in _answered(every[start : start + size], own_answer):
            actual = answer(rows)
            numbers = [values[:, 0] for values in rows.values() if values.dtype == np.float32]
            huge = np.any([np.abs(values) >= HUGE for values in numbers], axis=0) if numbers else False
            compared = _finite(expected) & (_finite(actual) | ~np.asarray(huge))
            if compared.any():
                differences.append(largest_difference(actual[compared], expected[compared], usual))
    return max(differences)


def _finite(answer: Array) -> Array:
    return np.asarray(np.isfinite(answer).reshape(len(answer), -1).all(axis=1))


def _joined(groups: Sequence[Rows]) -> Rows:
    return {name: np.concatenate([rows[name] for rows in groups]) for name in groups[0]}


def _answered(groups: Sequence[Rows], own_answer: Answer) -> list[tuple[Rows, Array]]:
    """The groups with their answers, as many at once as scikit-learn takes: one of them may make it refuse all."""
    joined = _joined(groups)
    try:
        return [(joined, own_answer(joined))]
    except ValueError:
        half = len(groups) // 2
        return [*_answered(groups[:half], own_answer), *_answered(groups[half:], own_answer)] if half else []


def asker(model: bytes) -> Answer:
    """A function from arrays of shape (rows, 1) by column to the output of an ONNX model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised as well
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    columns = from_metadata(session.get_modelmeta().custom_metadata_map)
    if columns is None:
        return lambda rows: np.asarray(session.run(None, dict(rows))[0])
    pack = packer(columns)  # as the service does
    score = in_parts(lambda records: np.asarray(session.run(None, {MATRIX: pack(records)})[0]), columns)

    def answer(rows: Rows) -> Array:
        count = len(next(iter(rows.values())))
        return np.concatenate([part(rows, slice(start, start + PART)) for start in range(0, count, PART)])

    def part(rows: Rows, some: slice) -> Array:
        cells = zip(*(values[some, 0].tolist() for values in rows.values()), strict=True)
        return score([dict(zip(rows, record, strict=True)) for record in cells])

    return answer


def _frame(rows: Mapping[str, Array]) -> pd.DataFrame:
    return pd.DataFrame({name: values[:, 0] for name, values in rows.items()})
