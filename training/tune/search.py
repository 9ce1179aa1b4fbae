"""Successive halving over the `space` of src/model/estimator.py, cross-validated on the rows that are learned from."""

import math
import warnings
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit
from threadpoolctl import threadpool_limits

from pipeline.schema import Data, Task
from pipeline.transformer import Derive
from training import split
from training.dataset import Dataset
from training.fit import ESTIMATOR, EstimatorError, blamed
from training.progress import note, under_way
from training.tune.cluster import Shared, Workers
from training.tune.score import Score

FOLDS = 5
FACTOR = 3  # of so many candidates one goes on
ROUNDS = 3  # at most: a ninth of the rows is little enough


@dataclass
class Candidate:
    parameters: dict[str, Any]
    values: np.ndarray = field(default_factory=lambda: np.empty(0))  # (folds,): of its last round, more is better
    rows: int = 0  # of that round


class Rows(NamedTuple):
    """What is learned from, as the model sees it."""

    table: pd.DataFrame
    target: np.ndarray
    groups: np.ndarray | None


Part = tuple[np.ndarray, np.ndarray]  # which rows are learned from, and which are judged on


def rows_of(data: Data, dataset: Dataset) -> Rows:
    """The training part: in the order of time, where there is one, and with its groups. Raises DeriveError."""
    learned = np.flatnonzero(~dataset.is_held_out)
    groups = None
    if data.group:
        groups = pd.factorize(dataset.column(data.group).to_numpy()[learned])[0]
    if data.time:
        when = split.moments(data, dataset.column(data.time), dataset.place)[learned]
        order = np.argsort(np.nan_to_num(when, nan=-np.inf), kind="stable")
        learned, groups = learned[order], None if groups is None else groups[order]
    frame, target = dataset.frame.iloc[learned], dataset.target.iloc[learned].to_numpy()
    return Rows(Derive().fit_transform(frame), target, groups)


def folds_of(data: Data, rows: Rows, seed: int) -> Any:
    """How the rows are parted: in time's order, or by groups, or by chance; each class in each part, if it can be."""
    if data.time:
        return TimeSeriesSplit(FOLDS)
    units = len(rows.target) if rows.groups is None else len(np.unique(rows.groups))
    if data.task == "regression":
        kind = KFold if rows.groups is None else GroupKFold
        return kind(min(FOLDS, units), shuffle=True, random_state=seed)
    least = min(np.unique(rows.target, return_counts=True)[1])
    kind = StratifiedKFold if rows.groups is None else StratifiedGroupKFold
    return kind(max(2, min(FOLDS, units, least)), shuffle=True, random_state=seed)


def space_of(task: Task, estimator: BaseEstimator) -> dict[str, Any]:
    """What `space` of src/model/estimator.py says. Raises EstimatorError."""
    with blamed("space()"):
        from model import estimator as module  # noqa: PLC0415  its mistakes are the user's to read, not a traceback's

        if not hasattr(module, "space"):
            raise EstimatorError(
                f"{ESTIMATOR} has no space(task) that says what to try: docs/your-own-model.md has an example"
            )
        space = dict(module.space(task))
    known = estimator.get_params()
    if unknown := [name for name in space if name not in known]:
        close = [name for name in known if name.endswith(unknown[0].rpartition("__")[2])]
        hint = f"; did you mean {close[0]}?" if close else ""
        raise EstimatorError(f"{ESTIMATOR}: space() names {unknown[0]!r}, which build() has not{hint}")
    return space


def halved(
    estimator: BaseEstimator,
    candidates: Sequence[Candidate],
    workers: Workers,
    folds: Sequence[Part],
    score: Score,
    dice: np.random.Generator,
) -> Candidate:
    """The best candidate, after rounds of which each has a third of the candidates and three times the rows.

    The last one has all rows. Each candidate keeps what it did in its last round. Raises EstimatorError.
    """
    rounds = min(ROUNDS, 1 + int(math.log(len(candidates), FACTOR) + 1e-9))
    left: list[Candidate] = list(candidates)
    for number in range(rounds):
        share = 1 / FACTOR ** (rounds - 1 - number)
        parts = [(some(learned, share, dice), some(judged, share, dice)) for learned, judged in folds]
        tried = [clone(estimator).set_params(**each.parameters) for each in left]
        what = f"round {number + 1} of {rounds}, {len(left)} x {len(folds)} fits on {share:.0%} of the rows"
        values, problem = scores(what, tried, workers, parts, score)
        for candidate, own in zip(left, values, strict=True):
            candidate.values, candidate.rows = own, round(share * sum(map(len, folds[0])))
        able = [each for each in left if np.isfinite(each.values).all()]
        if not able:
            raise EstimatorError(f"{ESTIMATOR}: no candidate of space() could be fitted: {problem}")
        if len(able) < len(left):
            note([f"{len(left) - len(able)} candidates could not be fitted, such as for {problem}"])
        left = sorted(able, key=lambda each: each.values.mean(), reverse=True)[: max(1, len(left) // FACTOR)]
    return left[0]


def some(rows: np.ndarray, share: float, dice: np.random.Generator) -> np.ndarray:
    return dice.permutation(rows)[: max(1, round(share * len(rows)))]


def scores(
    what: str,
    tried: Sequence[BaseEstimator],
    workers: Workers,
    parts: Sequence[Part],
    score: Score,
) -> tuple[list[np.ndarray], str]:
    """For each estimator its scores, of shape (parts,), NaN where it could not be fitted; and why one could not be.

    parts: which rows are learned from, and which are judged on.
    """
    values, problem = [np.full(len(parts), np.nan) for _ in tried], ""
    with under_way(what) as say:
        fits = {
            workers.submit(fitted, estimator, workers.shared, part, score): (at, number)
            for at, estimator in enumerate(tried)
            for number, part in enumerate(parts)
        }
        for done, fit in enumerate(as_completed(fits), 1):
            at, number = fits[fit]
            values[at][number], why = fit.result()
            problem = why or problem
            say(f"{done} of {len(fits)} fits")
    return values, problem


def fitted(estimator: BaseEstimator, shared: Shared, part: Part, score: Score) -> tuple[float, str]:
    """Its score on rows that it has not seen; or NaN, and what went wrong."""
    (learned, judged), rows = part, shared()
    try:
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # each worker would say them anew
            estimator.fit(rows.table.iloc[learned], rows.target[learned])
            return score(estimator, rows.table.iloc[judged], rows.target[judged]), ""
    except Exception as error:
        return np.nan, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
