"""From the held-out rows as both versions answer them to a verdict on the candidate."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline import schema
from pipeline.schema import METRICS
from training.quality import rule
from training.quality.metrics import Answers, Values, metrics
from training.quality.report import Metric, Model
from training.quality.resample import RESAMPLES, resampled
from training.quality.rule import Loss

INTERVAL = (0.025, 0.975)
ALONE = 300  # resamples where nothing is compared: for an interval that is read, and decides nothing
SEED = 0  # of the resamples: the same rows and answers have the same verdict
Array = np.ndarray[Any, Any]


def judge(
    settings: schema.Quality, found: Mapping[str, float], answers: Answers, champion: Answers | None, units: Array
) -> Model:
    """The verdict on a candidate.

    found: its metrics on all held-out rows; answers: of the rows that are resampled, its own and the champion's, if
    there is one to compare it with; units: of these rows, as `resampled` takes them.
    """
    both = [answers] if champion is None else [answers, champion]
    values = resampled(both, units, SEED, RESAMPLES if champion else ALONE)
    rows = [metrics(each) for each in both]
    table = [_row(name, found[name], rows, values) for name in found]
    it = None
    if champion is not None:
        name = settings.metric
        sign = 1 if more_is_better(name) else -1
        it = rule.loss(sign * (rows[1][name] - rows[0][name]), sign * (values[1][name] - values[0][name]))
    outcome, sentence = decide(settings, found, rows[-1] if champion else None, it, len(units))
    passed = outcome == "pass" or (outcome == "unsure" and settings.unsure == "pass")
    compared = len(units) if champion else 0
    return Model(
        passed=passed, sentence=sentence, outcome=outcome, judged=settings.metric, metrics=table, compared=compared
    )


def more_is_better(metric: str) -> bool:
    return next(known[metric] for known in METRICS.values() if metric in known)


def _row(name: str, found: float, rows: list[dict[str, float]], values: list[Values]) -> Metric:
    paired = len(rows) == 2
    change = rows[0][name] - rows[1][name] if paired else None
    spread = values[0][name] - values[1][name] if paired else values[0][name]
    known = spread[np.isfinite(spread)]
    low, high = np.quantile(known, INTERVAL) if len(known) else (np.nan, np.nan)
    interval = (float(low), float(high)) if np.isfinite(low + high) else None
    champion = rows[1][name] if paired else None
    found = rows[0][name] if paired else found  # of the rows that both answered
    return Metric(
        name=name, candidate=_finite(found), champion=_finite(champion), change=_finite(change), interval=interval
    )


def _finite(value: float | None) -> float | None:
    """JSON has no other numbers."""
    return None if value is None or not np.isfinite(value) else float(value)


def decide(
    settings: schema.Quality,
    found: Mapping[str, float],
    champion: Mapping[str, float] | None,
    it: Loss | None,
    rows: int,
) -> tuple[rule.Outcome, str]:
    """The outcome, and why. it: how much worse than the champion, on so many rows."""
    name, value = settings.metric, found[settings.metric]
    more = more_is_better(name)
    sign, bound, beyond = (1, "floor", "below") if more else (-1, "ceiling", "above")
    is_so = f"{name} is {value:.4g}"
    if not sign * value >= sign * settings.floor:  # so that NaN fails
        return "fail", f"{is_so}, {abs(value - settings.floor):.4g} {beyond} the {bound} of {settings.floor:g}"
    kept = f"{bound} {settings.floor:g}"
    if it is None or champion is None:
        return "pass", f"{is_so} ({kept}; compared with no champion)"
    decision = rule.decide(it, settings.tolerance, rows)
    theirs, limit = f"champion {champion[name]:.4g}", f"{settings.tolerance:g}"
    compared = f"{name} is {champion[name] - sign * it.found:.4g}"  # on the rows that both answered
    good = f"{compared} ({kept}; {theirs})"
    if compared != is_so:  # of fewer rows than the floor is judged by
        good = f"{is_so} ({kept}); on the {rows:,} rows that both answered it{compared.removeprefix(name)} ({theirs})"
    is_so = compared
    if decision.outcome == "pass":
        return "pass", good
    worse = f"{is_so}, {it.found:.2g} worse than the champion's {champion[name]:.4g}"
    if decision.outcome == "fail":
        return "fail", f"{worse}, and surely worse by {it.surely:.2g} (tolerance {limit})"
    seen = worse if it.found > 0 else good
    more_rows = f"; about {_round(decision.rows):,} would tell" if decision.rows else ""
    doubt = (
        f"it may be worse by {it.at_most:.2g}, and {rows:,} held-out rows cannot tell (tolerance {limit}){more_rows}"
    )
    return "unsure", f"{seen}; {doubt}"


def _round(rows: int) -> int:
    """Two digits: no more is known."""
    unit = int(10 ** max(0, len(str(rows)) - 2))
    return -(-rows // unit) * unit
