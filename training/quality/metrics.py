"""Metrics of held-out rows, and of many resamples of them at once.

A resample is how often each row is in it. All functions here take such counts, whole numbers of shape (resamples,
rows), and give a value for each resample. Counts of one give the metric itself, as scikit-learn defines it with
sample weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

BINS = 10  # of a calibration
CALIBRATION = ("calibration_error", "reliability", "resolution")
TAIL = 0.05  # of the residuals, at either end
LEAST = np.finfo(float).eps  # probability, as of scikit-learn's log_loss
Array = np.ndarray[Any, Any]
Values = dict[str, Array]  # by metric, (resamples,); NaN where the rows of a resample do not define it
Measure = Callable[[Array], Values]


class Answers(NamedTuple):
    """What a model says of some rows, and what is true of them."""

    truth: Array  # (rows,): labels, or values
    given: Array  # (rows, classes): probabilities; or (rows,): values
    classes: Sequence[str] = ()  # of the columns; none where it is a regression's
    positive: str = ""  # of two classes, the one that is looked for

    def of(self, rows: Array) -> "Answers":
        """Of some of the rows."""
        return self._replace(truth=self.truth[rows], given=self.given[rows])


def metrics(answers: Answers) -> dict[str, float]:
    """The metrics of an answer."""
    values = measure(answers)(np.ones((1, len(answers.truth)), np.int64))
    return {name: float(value[0]) for name, value in values.items()}


def measure(answers: Answers, steps: int | None = None) -> Measure:
    """A function from counts to metrics: what depends on the answer alone is done once.

    steps: of the curves, about, where fewer than one for each score are enough; None: they are not.

    Two classes: of `positive`. More: ROC AUC and average precision one against the rest, over the classes that a
    resample has. A regression: R² (of 1), MAE and RMSE (in the target's unit).
    """
    return _classification(answers, steps) if len(answers.classes) else _regression(answers)


def rarest(truth: Array) -> str:
    """The class with the fewest rows: what average precision looks for when pipeline.toml names none."""
    names, counts = np.unique(truth.astype(str), return_counts=True)
    return str(names[np.argmin(counts)])


def _classification(answers: Answers, steps: int | None) -> Measure:
    truth, given, classes, positive = answers
    hits = truth[:, None] == np.asarray(classes, object)[None, :]
    p = given / given.sum(axis=1, keepdims=True)  # of float32, they miss 1 by a rounding error
    true = np.clip((p * hits).sum(axis=1), LEAST, 1 - LEAST)
    losses = [-np.log(true)]
    if len(classes) == 2:
        column = list(classes).index(positive)
        ranks = [_ranks(hits[:, column], given[:, column], steps)]
        losses += [(given[:, column] - hits[:, column]) ** 2]
        bins = _bins(given[:, column], hits[:, column])
    else:
        ranks = [_ranks(hit, given[:, n], steps) for n, hit in enumerate(hits.T)]
        losses += [((given - hits) ** 2).sum(axis=1)]
        best = given.argmax(axis=1)
        bins = _bins(given.max(axis=1), hits[np.arange(len(best)), best])
    sums = np.column_stack(losses)

    def values(counts: Array) -> Values:
        columns = np.ascontiguousarray(counts.T)  # (rows, resamples), as sparse matrices take it
        both = np.array([each(columns) for each in ranks])  # (classes, 2, resamples)
        known = np.isfinite(both)
        with np.errstate(invalid="ignore"):
            auc, precision = np.where(known, both, 0).sum(axis=0) / known.sum(axis=0)
        total = columns.sum(axis=0, dtype=float)
        log_loss, brier = sums.T @ columns / total
        calibration = zip(CALIBRATION, _calibration(bins(columns) / total), strict=True)
        return {
            "roc_auc": auc,
            "average_precision": precision,
            "log_loss": log_loss,
            "brier": brier,
            **dict(calibration),
        }

    return values


def _ranks(hit: Array, score: Array, most: int | None) -> Callable[[Array], tuple[Array, Array]]:
    """ROC AUC and average precision of counts, (rows, resamples); rows of one score are one step of the curves."""
    order = np.argsort(-score, kind="stable")
    place = np.cumsum(np.diff(score[order], prepend=np.inf) != 0) - 1  # of each row's score among the scores
    if most and place[-1] > most:
        before = np.flatnonzero(np.diff(place, prepend=-1))  # rows with a higher score
        place = np.unique(before * most // len(order), return_inverse=True)[1][place]
    shape, hits_first = (int(place[-1]) + 1, len(order)), hit[order]
    rows = csr_array((np.ones(len(order), np.int64), (place, order)), shape)
    of_hits = csr_array((hits_first.astype(np.int64), (place, order)), shape)

    def values(columns: Array) -> tuple[Array, Array]:
        there, found_there = rows @ columns, of_hits @ columns  # (steps, resamples)
        found, taken = (np.cumsum(each, axis=0) for each in (found_there, there))
        hits = found[-1].astype(float)
        others = taken[-1] - hits
        above = (2 * found - found_there) * (there - found_there)  # hits with a higher score twice, with the same once
        np.maximum(taken, 1, out=taken)  # where there is none yet, no hit is found
        with np.errstate(invalid="ignore", divide="ignore"):
            auc = above.sum(axis=0) / (2 * hits * others)
            average = (found * found_there / taken).sum(axis=0) / hits
        return auc, average

    return values


def _bins(p: Array, hit: Array) -> Callable[[Array], Array]:
    """Likewise, sums of each bin, (3, bins, resamples): rows, their probabilities, their hits. Of as many rows each."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, BINS + 1)[1:-1]))
    place = np.unique(np.searchsorted(edges, p, side="right"), return_inverse=True)[1]
    rows, count = np.arange(len(p)), int(np.max(place)) + 1
    shape = (3 * count, len(p))
    each = np.concatenate([np.ones(len(p)), p, hit])
    sums = csr_array((each, (np.concatenate([place, place + count, place + 2 * count]), np.tile(rows, 3))), shape)

    def values(columns: Array) -> Array:
        return np.asarray((sums @ columns).reshape(3, count, -1))

    return values


def _calibration(shares: Array) -> tuple[Array, Array, Array]:
    """Expected calibration error (Naeini, Cooper and Hauskrecht, 2015), reliability and resolution (Murphy, 1973).

    shares: (3, bins, resamples), of all rows: rows in the bin, their probabilities, their hits.
    """
    rows, p, hits = shares
    full = np.maximum(rows, LEAST)
    usual = hits.sum(axis=0)
    return (
        np.abs(p - hits).sum(axis=0),
        (((p - hits) / full) ** 2 * rows).sum(axis=0),
        ((hits / full - usual) ** 2 * rows).sum(axis=0),
    )


def _regression(answers: Answers) -> Measure:
    truth, given = answers.truth.astype(float), answers.given.astype(float)
    away, residual = truth - truth.mean(), truth - given
    # As an interval for predictions would be made: quantiles of one half of the residuals, tried on the other.
    half = len(truth) // 2
    low, high = np.quantile(residual[:half], (TAIL, 1 - TAIL)) if half else (0.0, 0.0)
    tried = np.arange(len(truth)) >= half
    inside = tried & (residual >= low) & (residual <= high)
    sums = np.column_stack([residual**2, np.abs(residual), away, away**2, tried, inside]).astype(float)

    def values(counts: Array) -> Values:
        total = counts.sum(axis=1, dtype=float)
        squared, absolute, first, second, tries, covered = (counts @ sums).T / total
        with np.errstate(invalid="ignore", divide="ignore"):
            r2 = 1 - squared / (second - first**2)
            return {"r2": r2, "mae": absolute, "rmse": np.sqrt(squared), "coverage_90": covered / tries}

    return values
