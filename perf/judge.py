"""The rule: rounds in, judgement out. Pure: no clock, no file, no randomness.

A round gives one figure, the log of candidate's p95 over baseline's p95. Restarting both arms before each round turns
what a start fixes for good (memory layout, hash seed, page placement) into noise that the rounds show, so the interval
is a t interval over rounds, never over requests (Georges et al., OOPSLA 2007; Kalibera & Jones, ISMM 2013). Pairing
request by request cancels what the machine does to both arms at once (Bulej et al., ICPE 2020), and random order
cancels what the order does (Laaber et al., EMSE 2019).

What a look may decide, and how sure it has to be: estimate.py.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Literal

from msgspec.structs import replace
from scipy.special import bdtrc, betaincinv

from perf.estimate import WIDEST, Estimate, Look, estimate, geometric_mean, log, log_ratio, look_at
from perf.verdict import Criterion, Figures, Judgement, Limits, Round
from perf.wording import headline, percent

NOISE = 0.01  # a slow-down must be shown to be more than this
FLOOR = 0.05  # and be estimated at this at least: nobody should chase 3 %
MAX_DROPPED = 3  # rounds that were disturbed and measured again
WORSE_ERRORS = 0.001  # level of the test that the candidate errs more often than the baseline

Outcome = Literal["pass", "fail", "inconclusive"]


def judge(rounds: Sequence[Round], limits: Limits, looks: Sequence[int]) -> Judgement:
    """Judges what has been measured so far; "continue" where the next look has to come first."""
    kept = [r for r in rounds if not r.dropped]
    look = look_at(len(kept), looks)
    paired = bool(kept) and all(r.baseline is not None for r in kept)
    criteria: list[Criterion] = []
    reasons: list[str] = []
    if paired:
        itself = _self_check(kept, look, reasons)
        criteria.append(_regression(kept, limits, look, reasons))
    criteria += _latencies(kept, look, paired)
    criteria += [_due(kept, limits, look), _errors(kept, limits, look), _throughput(kept, limits, look)]
    criteria += [_requests(kept, limits), _ready(kept, paired)]
    if paired:
        criteria.append(itself)

    outcomes = {c.outcome for c in criteria}
    offered = sum(r.candidate.intended for r in kept)
    outcome: Literal["pass", "fail", "inconclusive", "continue"]
    if len(rounds) - len(kept) > MAX_DROPPED:
        outcome = "inconclusive"
        causes = sorted({r.dropped for r in rounds if r.dropped})
        reasons = [f"{len(rounds) - len(kept)} rounds were disturbed: {'; '.join(causes)}"]
    elif len(kept) not in looks and not look.last:
        outcome = "continue"
    elif "fail" in outcomes and offered >= limits.min_requests:
        outcome = "fail"
    elif outcomes <= {"pass", "info"} and kept:
        outcome = "pass"
    else:
        outcome = "inconclusive" if look.last else "continue"
    return Judgement(
        outcome=outcome,
        headline=headline(outcome, criteria, reasons, len(kept), sure=1 - look.alpha),
        reasons=reasons,
        criteria=criteria,
        confidence=1 - look.alpha - look.beta,
        detectable=_detectable(kept, look) if paired else None,
    )


def _pairs(kept: Sequence[Round]) -> list[tuple[Figures, Figures]]:
    return [(r.candidate, r.baseline) for r in kept if r.baseline is not None]


def _compared(name: str, kept: Sequence[Round], look: Look, field: str) -> tuple[Criterion, Estimate | None]:
    """A row that compares one latency of both arms, not gated."""
    pairs = [(getattr(c, field), getattr(b, field)) for c, b in _pairs(kept)]
    found = estimate([log_ratio(c, b) for c, b in pairs], look)
    row = Criterion(
        name=name,
        unit="ms",
        baseline=geometric_mean([b for _, b in pairs]),
        candidate=geometric_mean([c for c, _ in pairs]),
        change=math.expm1(found.mean) if found else None,
        interval=(math.expm1(found.low), math.expm1(found.high)) if found else None,
        relative=True,
    )
    return row, found


def _regression(kept: Sequence[Round], limits: Limits, look: Look, reasons: list[str]) -> Criterion:
    row, found = _compared("p95 latency", kept, look, "p95")
    errors, count = sum(b.errors for _, b in _pairs(kept)), sum(b.count for _, b in _pairs(kept))
    outcome: Outcome = "inconclusive"
    if reasons:
        pass  # the machine is not steady: whatever the arms differ by may be its doing
    elif errors > limits.max_error_rate * count:
        answered = f"the baseline answered {errors} of {count} requests with errors"
        reasons.append(f"{answered}, so it is nothing to compare with")
    elif found is None:
        reasons.append("a p95 latency needs two rounds with answers from both arms")
    elif found.high < math.log1p(limits.max_regression):
        outcome = "pass"  # first: where a slow-down is real and within what the project allows, the project has said so
    elif found.low > math.log1p(NOISE) and found.mean >= math.log1p(min(FLOOR, limits.max_regression)):
        outcome = "fail"
    return replace(row, limit=limits.max_regression, outcome=outcome)


def _latencies(kept: Sequence[Round], look: Look, paired: bool) -> list[Criterion]:
    fields = [("p50 latency", "p50"), ("p99 latency", "p99"), ("mean latency", "mean")]
    if paired:
        return [_compared(name, kept, look, field)[0] for name, field in fields]
    fields.insert(0, ("p95 latency", "p95"))
    return [
        Criterion(name=name, unit="ms", candidate=geometric_mean([getattr(r.candidate, field) for r in kept]))
        for name, field in fields
    ]


def _due(kept: Sequence[Round], limits: Limits, look: Look) -> Criterion:
    """p95 from the intended start: passes below the limit with its upper bound, fails above it with its lower one."""
    values = [r.candidate.p95_due for r in kept]
    found = estimate([log(v) for v in values], look)
    outcome: Outcome = "inconclusive"
    if found and found.high <= math.log(limits.p95_ms):
        outcome = "pass"
    elif found and found.low > math.log(limits.p95_ms):
        outcome = "fail"
    return Criterion(
        name="p95 from the intended start",
        unit="ms",
        baseline=geometric_mean([b.p95_due for _, b in _pairs(kept)]),
        candidate=geometric_mean(values),
        interval=(math.exp(found.low), math.exp(found.high)) if found else None,
        limit=limits.p95_ms,
        outcome=outcome,
    )


def _errors(kept: Sequence[Round], limits: Limits, look: Look) -> Criterion:
    """Errors of the candidate: within the limit, and not more frequent than the baseline's.

    Both are exact: Clopper and Pearson's bound, and the binomial test of whose errors they all are.
    """
    errors, count = sum(r.candidate.errors for r in kept), sum(r.candidate.count for r in kept)
    others, of = sum(b.errors for _, b in _pairs(kept)), sum(b.count for _, b in _pairs(kept))
    outcome: Outcome = "inconclusive"
    if count:
        surely = float(betaincinv(errors, count - errors + 1, look.alpha)) if errors else 0.0
        worse = errors > 0 and of > 0 and bdtrc(errors - 1, errors + others, count / (count + of)) < WORSE_ERRORS
        over = errors > limits.max_error_rate * count
        if worse or surely > limits.max_error_rate or (over and look.last):
            outcome = "fail"
        elif not over:
            outcome = "pass"
    return Criterion(
        name="errors",
        unit="share",
        baseline=others / of if of else None,
        candidate=errors / count if count else None,
        limit=limits.max_error_rate,
        outcome=outcome,
    )


def _throughput(kept: Sequence[Round], limits: Limits, look: Look) -> Criterion:
    """The rate that was kept: passes on average, fails where it surely is too low and not in a bad moment only."""
    target = fmean([r.candidate.target for r in kept]) if kept else 0.0
    achieved = [r.candidate.achieved for r in kept]
    found = estimate([value / target for value in achieved] if target > 0 else [], look._replace(beta=look.alpha))
    outcome: Outcome = "inconclusive"
    if found and found.mean >= limits.min_throughput:
        outcome = "pass"
    elif found and found.high < limits.min_throughput:
        outcome = "fail"
    return Criterion(
        name="throughput",
        unit="/s",
        baseline=fmean([b.achieved for _, b in _pairs(kept)]) if _pairs(kept) else None,
        candidate=fmean(achieved) if achieved else None,
        limit=limits.min_throughput * target,
        outcome=outcome,
    )


def _requests(kept: Sequence[Round], limits: Limits) -> Criterion:
    count = sum(r.candidate.count for r in kept)
    return Criterion(
        name="requests",
        unit="count",
        baseline=sum(b.count for _, b in _pairs(kept)) if _pairs(kept) else None,
        candidate=count,
        limit=limits.min_requests,
        outcome="pass" if count >= limits.min_requests else "inconclusive",
    )


def _ready(kept: Sequence[Round], paired: bool) -> Criterion:
    return Criterion(
        name="start to ready",
        unit="s",
        baseline=geometric_mean([b.ready_seconds for _, b in _pairs(kept)]) if paired else None,
        candidate=geometric_mean([r.candidate.ready_seconds for r in kept]),
    )


def _self_check(kept: Sequence[Round], look: Look, reasons: list[str]) -> Criterion:
    """The same rule on the baseline's odd requests against its even ones: a difference there is the machine's."""
    found = estimate([log_ratio(b.p95_odd, b.p95_even) for _, b in _pairs(kept)], look._replace(beta=look.alpha))
    outcome: Literal["info", "inconclusive"] = "info"
    apart = found is not None and max(found.low, -found.high) > math.log1p(NOISE)
    if found and apart and abs(found.mean) >= math.log1p(FLOOR):
        outcome = "inconclusive"
        difference = percent(math.expm1(found.mean))
        reasons.append(f"the baseline differs from itself by {difference}: the machine is not steady")
    return Criterion(
        name="baseline against itself",
        unit="ms",
        change=math.expm1(found.mean) if found else None,
        interval=(math.expm1(found.low), math.expm1(found.high)) if found else None,
        relative=True,
        outcome=outcome,
    )


def _detectable(kept: Sequence[Round], look: Look) -> float | None:
    """The slow-down that rounds as noisy as these tell from none in 95 of 100 cases."""
    ratios = [log_ratio(c.p95, b.p95) for c, b in _pairs(kept)]
    found = estimate(ratios, look)
    if found is None:
        return None
    missed = min(WIDEST, 1.645 * stdev(ratios) / math.sqrt(len(ratios)))
    return max(FLOOR, math.expm1(math.log1p(NOISE) + (found.mean - found.low) + missed))
