"""Metrics of held-out rows, and of many resamples of them at once.

A resample is how often each row is in it. All functions here take such counts, shape (resamples, rows), and give a
value for each resample; counts of one give the metric itself, as scikit-learn defines it with sample weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

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
    values = measure(answers)(np.ones((1, len(answers.truth))))
    return {name: float(value[0]) for name, value in values.items()}


def measure(answers: Answers) -> Measure:
    """A function from counts to metrics: what depends on the answer alone is done once.

    Two classes: of `positive`. More: ROC AUC and average precision one against the rest, over the classes that a
    resample has. A regression: R² (of 1), MAE and RMSE (in the target's unit).
    """
    return _classification(answers) if len(answers.classes) else _regression(answers)


def rarest(truth: Array) -> str:
    """The class with the fewest rows: what average precision looks for when pipeline.toml names none."""
    names, counts = np.unique(truth.astype(str), return_counts=True)
    return str(names[np.argmin(counts)])


def _classification(answers: Answers) -> Measure:
    truth, given, classes, positive = answers
    hits = truth[:, None] == np.asarray(classes, object)[None, :]
    p = given / given.sum(axis=1, keepdims=True)  # of float32, they miss 1 by a rounding error
    true = np.clip((p * hits).sum(axis=1), LEAST, 1 - LEAST)
    losses = [-np.log(true)]
    if len(classes) == 2:
        column = list(classes).index(positive)
        ranks = [_ranks(hits[:, column], given[:, column])]
        losses += [(given[:, column] - hits[:, column]) ** 2]
        bins = _bins(given[:, column], hits[:, column])
    else:
        ranks = [_ranks(hit, given[:, n]) for n, hit in enumerate(hits.T)]
        losses += [((given - hits) ** 2).sum(axis=1)]
        best = given.argmax(axis=1)
        bins = _bins(given.max(axis=1), hits[np.arange(len(best)), best])
    sums = np.column_stack([*losses, bins])

    def values(counts: Array) -> Values:
        both = np.array([each(counts) for each in ranks])  # (classes, 2, resamples)
        known = np.isfinite(both)
        with np.errstate(invalid="ignore"):
            auc, precision = np.where(known, both, 0).sum(axis=0) / known.sum(axis=0)
        total = counts.sum(axis=1)
        log_loss, brier, *rest = (counts @ sums / total[:, None]).T
        calibration = zip(CALIBRATION, _calibration(np.array(rest).reshape(3, -1, len(total))), strict=True)
        return {
            "roc_auc": auc,
            "average_precision": precision,
            "log_loss": log_loss,
            "brier": brier,
            **dict(calibration),
        }

    return values


def _ranks(hit: Array, score: Array) -> Callable[[Array], tuple[Array, Array]]:
    """ROC AUC and average precision; rows of one score are one step of the curves."""
    order = np.argsort(-score, kind="stable")
    sorted_hit = hit[order].astype(float)
    steps = np.flatnonzero(np.diff(score[order], prepend=np.inf))

    def values(counts: Array) -> tuple[Array, Array]:
        there = counts[:, order].astype(float)
        of_hits = np.add.reduceat(there * sorted_hit, steps, axis=1)
        of_others = np.add.reduceat(there, steps, axis=1) - of_hits
        found, wrong = np.cumsum(of_hits, axis=1), np.cumsum(of_others, axis=1)
        hits, others = found[:, -1], wrong[:, -1]
        above = found - of_hits / 2  # hits with a higher score, and half of those with the same
        with np.errstate(invalid="ignore", divide="ignore"):
            auc = (of_others * above).sum(axis=1) / (hits * others)
            taken = found + wrong
            precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
            average = (of_hits * precision).sum(axis=1) / hits
        return auc, average

    return values


def _bins(p: Array, hit: Array) -> Array:
    """Each row's share in the sums of its bin, (rows, 3 x bins): rows, probabilities, hits. Bins of as many rows."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, BINS + 1)[1:-1]))
    inside = np.searchsorted(edges, p, side="right")[:, None] == np.arange(len(edges) + 1)[None, :]
    return np.column_stack([inside, inside * p[:, None], inside * hit[:, None]]).astype(float)


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
        squared, absolute, first, second, tries, covered = (counts @ sums / counts.sum(axis=1, keepdims=True)).T
        with np.errstate(invalid="ignore", divide="ignore"):
            r2 = 1 - squared / (second - first**2)
            return {"r2": r2, "mae": absolute, "rmse": np.sqrt(squared), "coverage_90": covered / tries}

    return values
