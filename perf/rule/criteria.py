"""The rows of the report, each from the rounds that count, and what each decides by itself. Pure.

What compares the arms, and the rule over all rows: judge.py.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean

from scipy.special import bdtrc, betaincinv

from perf.rule.estimate import SANE, Estimate, Levels, estimate, log, log_ratio, middle, typical
from perf.verdict import Criterion, Figures, Key, Limits, Result, Round, Unit

WORSE_ERRORS = 0.001  # level of the test that the candidate errs more often than the baseline


def pairs(kept: Sequence[Round]) -> list[tuple[Figures, Figures]]:
    """Both arms' figures of the rounds that have both."""
    return [(r.candidate, r.baseline) for r in kept if r.baseline is not None]


def compared(key: Key, kept: Sequence[Round], levels: Levels) -> tuple[Criterion, Estimate | None]:
    """A row that compares one figure of both arms, and decides nothing.

    Its two figures are of the rounds that the change is the mean of, so their ratio is that change.
    """
    both = [(getattr(c, key), getattr(b, key)) for c, b in pairs(kept)]
    ratios = [log_ratio(c, b) for c, b in both]
    result = estimate(ratios, levels)
    rounds = middle(ratios) if result else None
    row = Criterion(
        key=key,
        unit="ms",
        baseline=typical([b for _, b in both], rounds),
        candidate=typical([c for c, _ in both], rounds),
        change=math.expm1(result.mean) if result else None,
        interval=(math.expm1(result.low), math.expm1(result.high)) if result else None,
        relative=True,
    )
    return row, result


def alone(key: Key, kept: Sequence[Round]) -> Criterion:
    """A row on the candidate where there is nothing to compare it with."""
    return Criterion(key=key, unit="ms", candidate=typical([getattr(r.candidate, key) for r in kept]))


def ceiling(key: Key, unit: Unit, kept: Sequence[Round], levels: Levels, limit: float | None) -> Criterion:
    """A row that passes below the limit with its upper bound, and fails above it with its lower one."""
    values = [getattr(r.candidate, key) for r in kept]
    result = estimate([log(v) for v in values], levels)
    outcome: Result = "info" if limit is None else "inconclusive"
    if limit is not None and result and result.high <= math.log(limit):
        outcome = "pass"
    elif limit is not None and result and result.low > math.log(limit):
        outcome = "fail"
    return Criterion(
        key=key,
        unit=unit,
        baseline=typical([getattr(b, key) for _, b in pairs(kept)]),
        candidate=typical(values),
        interval=(math.exp(result.low), math.exp(result.high)) if result else None,
        limit=limit,
        outcome=outcome,
    )


def errors(kept: Sequence[Round], limits: Limits, levels: Levels) -> Criterion:
    """Errors of the candidate: within the limit, and not more frequent than the baseline's.

    Both are exact: Clopper and Pearson's bound, and the binomial test of whose errors they all are.
    """
    failed, count = sum(r.candidate.errors for r in kept), sum(r.candidate.count for r in kept)
    others, of = sum(b.errors for _, b in pairs(kept)), sum(b.count for _, b in pairs(kept))
    limit = limits.max_error_rate
    outcome: Result = "info" if limit is None else "inconclusive"
    if count and limit is not None:
        surely = float(betaincinv(failed, count - failed + 1, levels.alpha)) if failed else 0.0
        worse = failed > 0 and of > 0 and bdtrc(failed - 1, failed + others, count / (count + of)) < WORSE_ERRORS
        over = failed > limit * count
        if worse or surely > limit or (over and levels.last):
            outcome = "fail"
        elif not over:
            outcome = "pass"
    return Criterion(
        key="errors",
        unit="share",
        baseline=others / of if of else None,
        candidate=failed / count if count else None,
        limit=limit,
        outcome=outcome,
    )


def throughput(kept: Sequence[Round], limits: Limits, levels: Levels) -> Criterion:
    """The rate that was kept: passes on average, fails where it surely is too low and not in a bad moment only."""
    target = fmean([r.candidate.target for r in kept]) if kept else 0.0
    achieved = [r.candidate.achieved for r in kept]
    limit = limits.min_throughput
    result = estimate([value / target for value in achieved] if target > 0 else [], levels._replace(beta=levels.alpha))
    outcome: Result = "info" if limit is None else "inconclusive"
    if result and limit is not None and result.mean >= limit:
        outcome = "pass"
    elif result and limit is not None and result.high < limit:
        outcome = "fail"
    return Criterion(
        key="throughput",
        unit="/s",
        baseline=fmean([b.achieved for _, b in pairs(kept)]) if pairs(kept) else None,
        candidate=fmean(achieved) if achieved else None,
        limit=None if limit is None else limit * target,
        outcome=outcome,
    )


def requests(kept: Sequence[Round], limits: Limits) -> Criterion:
    """Whether there were enough requests to decide anything."""
    count = sum(r.candidate.count for r in kept)
    return Criterion(
        key="requests",
        unit="count",
        baseline=sum(b.count for _, b in pairs(kept)) if pairs(kept) else None,
        candidate=count,
        limit=limits.min_requests,
        outcome="pass" if count >= max(1, limits.min_requests) else "inconclusive",
    )


def growth(kept: Sequence[Round]) -> list[Criterion]:
    """How much memory a request leaves behind, where the system says so: a leak shows here long before it hurts."""

    def mean(of: Callable[[Round], Figures | None]) -> float | None:
        grown = [arm.grown_kb for r in kept if (arm := of(r)) is not None and arm.grown_kb is not None]
        return fmean(sane) if (sane := [each for each in grown if abs(each) <= SANE[1]]) else None

    candidate = mean(lambda r: r.candidate)
    if candidate is None:
        return []
    return [Criterion(key="grown_kb", unit="kB", baseline=mean(lambda r: r.baseline), candidate=candidate)]


def image(sizes: Sequence[float | None], limits: Limits) -> list[Criterion]:
    """The size of the candidate's image, with its base; no row where there is no image."""
    if not sizes or sizes[0] is None:
        return []
    limit = limits.max_image_mb
    outcome: Result = "info" if limit is None else "pass" if sizes[0] <= limit else "fail"
    other = sizes[1] if len(sizes) > 1 else None
    return [Criterion(key="image_mb", unit="MB", baseline=other, candidate=sizes[0], limit=limit, outcome=outcome)]
