"""Where a model lost: the metric of both versions in parts of the held-out rows, corrected for their number."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from training.quality.metrics import Answers, metrics
from training.quality.report import Slice
from training.quality.resample import resampled
from training.quality.rule import FAILING

ROWS = 50  # of a slice: of fewer nothing is sure
CLASS = 10  # rows of a class in it, likewise
VALUES = 12  # different numbers: more are parted at their quartiles
MOST = 40  # slices by one column, the largest
RESAMPLES = 500  # for a standard error
CONFIDENCE = 0.95  # that all intervals hold at once
Array = np.ndarray[Any, Any]


class Part(NamedTuple):
    by: str
    value: str
    rows: Array  # int: which of the rows


def parts(by: str, values: pd.Series) -> list[Part]:
    """The rows by value of a column: numbers of many values by quartile, dates by year."""
    numbers = pd.to_numeric(values, errors="coerce") if values.dtype == object else values
    if numbers.notna().equals(values.notna()) and numbers.nunique() > VALUES and not _dates(values):
        values = numbers  # of a column that is no feature, as the file has it
    known = values.dropna()
    labels: pd.Series
    if pd.api.types.is_numeric_dtype(known) and known.dtype != bool and known.nunique() > VALUES:
        edges = known.quantile([0.25, 0.5, 0.75]).unique()
        names = [f"to {edges[0]:.6g}", *(f"{a:.6g} to {b:.6g}" for a, b in pairwise(edges)), f"above {edges[-1]:.6g}"]
        labels = pd.Series(np.array(names, object)[np.searchsorted(edges, values.astype(float))], values.index)
    else:
        labels = values.map(_word, na_action="ignore").astype(object)
    of_rows = labels.where(values.notna(), "(none)").to_numpy()
    found = [Part(by, str(label), np.flatnonzero(of_rows == label)) for label in pd.unique(of_rows)]
    return sorted(found, key=lambda part: -len(part.rows))[:MOST]


def _dates(values: pd.Series) -> bool:
    return any(hasattr(value, "year") for value in values.dropna().head(1))


def _word(value: object) -> str:
    if hasattr(value, "year"):
        return str(value.year)
    return f"{value:g}" if isinstance(value, float) else str(value)


def compare(
    metric: str,
    sign: int,
    candidate: Answers,
    champion: Answers | None,
    units: Array,
    found: Sequence[Part],
    limit: float | None,
) -> tuple[list[Slice], int]:
    """The slices, the worst first, and how many were left out because they have too few rows.

    sign: 1 where more is better; limit: the loss that fails a slice which surely lost more; None: none fails.
    """
    judged = [part for part in found if _enough(candidate.of(part.rows))]
    rows = [_row(metric, sign, part, candidate, champion, units, len(judged)) for part in judged]
    rows = [row for row in rows if np.isfinite([row[1], row[2], row[0].candidate]).all()]
    if champion is not None:
        fails = holm([_p(loss, error, limit or 0.0) for _, loss, error in rows])
        rows = [
            (_marked(each, limit is not None) if failed else each, loss, error)
            for (each, loss, error), failed in zip(rows, fails, strict=True)
        ]
    rows.sort(key=lambda row: (-_sure(row[1], row[2]), -row[1]))
    return [each for each, _, _ in rows], len(found) - len(rows)


def holm(p: Sequence[float], level: float = FAILING) -> list[bool]:
    """Which hypotheses are rejected, with at most `level` of a wrong one among them (Holm, 1979)."""
    rejected = [False] * len(p)
    for place, n in enumerate(np.argsort(p)):
        if not p[n] <= level / (len(p) - place):
            break
        rejected[n] = True
    return rejected


def _enough(answers: Answers) -> bool:
    if len(answers.truth) < ROWS:
        return False
    counts = np.unique(answers.truth.astype(str), return_counts=True)[1] if len(answers.classes) else [ROWS]
    return len(answers.classes) == 0 or bool(len(counts) > 1 and np.sort(counts)[-2] >= CLASS)


def _row(
    metric: str, sign: int, part: Part, candidate: Answers, champion: Answers | None, units: Array, count: int
) -> tuple[Slice, float, float]:
    """The slice, its loss and the standard error of that; without a champion, of the metric itself."""
    both = [each.of(part.rows) for each in (candidate, champion) if each is not None]
    own = np.unique(units[part.rows], return_inverse=True)[1]
    spread = [each[metric] for each in resampled(both, own, 0, RESAMPLES)]
    values = [metrics(each)[metric] for each in both]
    change = values[0] - values[1] if champion else None
    error = float(np.nanstd(spread[0] - spread[1] if champion else spread[0]))
    middle, wide = values[0] if change is None else change, error * float(norm.isf((1 - CONFIDENCE) / 2 / count))
    row = Slice(
        by=part.by[:200],
        value=part.value[:200],
        rows=len(part.rows),
        candidate=values[0],
        champion=values[1] if champion else None,
        change=change,
        interval=(middle - wide, middle + wide),
    )
    return row, -sign * middle if champion else 0.0, error


def _p(loss: float, error: float, limit: float) -> float:
    if not error:
        return float(not loss > limit)
    return float(norm.sf((loss - limit) / error))


def _sure(loss: float, error: float) -> float:
    return loss / error if error else float(np.sign(loss)) * 1e9 if loss else 0.0


def _marked(each: Slice, gated: bool) -> Slice:
    values: Mapping[str, Any] = {name: getattr(each, name) for name in each.__struct_fields__}
    return Slice(**{**values, "outcome": "fail" if gated else "worse"})
