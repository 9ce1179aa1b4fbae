"""The rule: rounds in, judgement out. Pure: no clock, no file, no randomness.

A round gives one figure, the log of candidate's p95 over baseline's p95. Restarting both arms before each round turns
what a start fixes for good (memory layout, hash seed, page placement) into noise that the rounds show, so the interval
is one over rounds, never over requests (Georges et al., OOPSLA 2007; Kalibera & Jones, ISMM 2013). Pairing
request by request cancels what the machine does to both arms at once (Bulej et al., ICPE 2020), and random order
cancels what the order does (Laaber et al., EMSE 2019).

How sure a decision has to be: estimate.py. The other rows: criteria.py.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from msgspec.structs import replace

from perf.rule import criteria
from perf.rule.estimate import WIDEST, Estimate, Levels, estimate, levels_at, log_ratio, typical
from perf.rule.wording import amount, headline, percent
from perf.verdict import Accepted, Criterion, Judgement, Key, Limits, Result, Round

SURELY = 0.1  # of max_regression: a slow-down must be shown to be more than this
ESTIMATED = 0.5  # of max_regression: and be estimated at this at least; nobody should chase less
OF_TIME: set[Key] = {"p95_due", "throughput", "ready_seconds"}
UNSTEADY = 0.05  # how far the baseline may be from itself
BUSY = 0.25  # of all CPUs, used by others or taken by the host: then a limit of time may be broken by them
SHARED = 0.10  # likewise, of p95 alone: that is about 5 requests in 100, and more than those met the others
DROPPED = 0.25  # of the longest run's rounds may be disturbed and measured again


def judge(
    rounds: Sequence[Round],
    limits: Limits,
    decide_after: Sequence[int],
    images_mb: Sequence[float | None] = (),
    accepted: Accepted | None = None,
) -> Judgement:
    """Judges what has been measured so far; "continue" where more rounds have to come first.

    `images_mb`: the sizes of the candidate's and of the baseline's image, where there are images.
    `accepted`: a slow-down against this very baseline that somebody accepted.
    """
    up_to, why = (accepted.up_to, accepted.reason) if accepted else (0.0, "")
    kept = [r for r in rounds if not r.dropped]
    levels = levels_at(len(kept), decide_after)
    paired = bool(kept) and all(r.baseline is not None for r in kept)
    rows, incomparable = _rows(kept, limits, levels, paired, up_to)
    rows += criteria.image(images_mb, limits)
    rows, excuse = _excused(rows, kept, limits, levels)
    reasons = [reason for reason in (incomparable, excuse) if reason]
    outcomes = {row.outcome for row in rows}
    offered = sum(r.candidate.intended for r in kept)
    outcome: Literal["pass", "fail", "inconclusive", "continue"]
    if len(rounds) - len(kept) > spare(decide_after):
        outcome = "inconclusive"
        causes = sorted({r.dropped for r in rounds if r.dropped})
        shown = "; ".join(causes[:2]) + (f"; and {len(causes) - 2} more" if len(causes) > 2 else "")
        reasons = [f"{len(rounds) - len(kept)} rounds were disturbed: {shown}"]
    elif len(kept) not in decide_after and not levels.last:
        outcome = "continue"
    elif "fail" in outcomes and offered >= limits.min_requests:
        outcome = "fail"
    elif outcomes <= {"pass", "info"} and kept:
        outcome = "pass"
    else:
        outcome = "inconclusive" if levels.last else "continue"
    return Judgement(
        outcome=outcome,
        headline=headline(outcome, rows, reasons, len(kept), sure=1 - levels.alpha, why=why),
        reasons=reasons,
        criteria=rows,
        confidence=1 - levels.alpha - levels.beta,
        detectable=_detectable(kept, limits, levels, up_to) if paired else None,
    )


def bounds(limit: float, up_to: float = 0.0) -> tuple[float, float]:
    """The change of p95 that fails where it is surely above it, and the one that passes where it is surely below it."""
    return (up_to, up_to) if up_to > limit else (SURELY * limit, limit)


def spare(decide_after: Sequence[int]) -> int:
    """How many rounds may be dropped before a run gives up."""
    return math.ceil(DROPPED * decide_after[-1])


def _rows(
    kept: Sequence[Round], limits: Limits, levels: Levels, paired: bool, up_to: float
) -> tuple[list[Criterion], str]:
    """The report's rows, in its order, and why the arms cannot be compared; empty where they can."""
    others: tuple[Key, ...] = ("p50", "p99", "mean", "cpu_ms")
    itself, incomparable = [], ""
    if paired:
        p95, result = criteria.compared("p95", kept, levels)
        itself = [_steadiness(kept, levels)]
        incomparable = _incomparable(kept, limits, itself[0], result)
        rows = [_regression(p95, result, limits, up_to, comparable=not incomparable)]
        rows += [criteria.compared(key, kept, levels)[0] for key in others]
    else:
        rows = [criteria.alone(key, kept) for key in ("p95", *others)]
    rows = [row for row in rows if row.candidate is not None or row.key != "cpu_ms"]
    rows += [
        criteria.ceiling("p95_due", "ms", kept, levels, limits.p95_ms),
        criteria.errors(kept, limits, levels),
        criteria.throughput(kept, limits, levels),
        criteria.requests(kept, limits),
        criteria.ceiling("ready_seconds", "s", kept, levels, limits.max_ready_seconds),
    ]
    if any(r.candidate.memory_mb is not None for r in kept):
        rows += [criteria.ceiling("memory_mb", "MB", kept, levels, limits.max_memory_mb)]
    return [*rows, *criteria.growth(kept), *itself], incomparable


def _excused(
    rows: list[Criterion], kept: Sequence[Round], limits: Limits, levels: Levels
) -> tuple[list[Criterion], str]:
    """The rows, without failures that may be the machine's doing, and why they may.

    A service that has to share its CPUs is slow through no fault of its own, and is late for what was due meanwhile.
    """
    broken = {row.key for row in rows if row.outcome == "fail"}
    used = fmean((r.steal or 0.0) + (r.others or 0.0) for r in kept) if kept else 0.0
    excused: set[Key] = set()
    why = ""
    if used > BUSY and broken & OF_TIME:
        excused = OF_TIME
    elif used > SHARED and "p95_due" in broken and not _champion_keeps_up(kept, limits, levels):
        excused = {"p95_due"}
    if excused:
        why = f"the machine was busy: others used {used:.0%} of its CPUs"
    elif "p95_due" in broken and (waited := _waited(kept, limits, levels)):
        excused, why = {"p95_due"}, waited
    return [replace(row, outcome="inconclusive") if row.key in excused & broken else row for row in rows], why


def _champion_keeps_up(kept: Sequence[Round], limits: Limits, levels: Levels) -> bool:
    """Whether the baseline, at the same time on the same machine, kept the limit that the candidate broke."""
    return bool(alike := _baselines(kept)) and (
        criteria.ceiling("p95_due", "ms", alike, levels, limits.p95_ms).outcome == "pass"
    )


def _baselines(kept: Sequence[Round]) -> list[Round]:
    """The rounds with the baseline in the candidate's place."""
    return [replace(r, candidate=r.baseline, baseline=None) for r in kept if r.baseline is not None]


def _waited(kept: Sequence[Round], limits: Limits, levels: Levels) -> str:
    """That requests waited before they were sent, and not for the candidate; empty where it keeps others waiting."""
    sent = criteria.ceiling("p95", "ms", kept, levels, limits.p95_ms)
    if sent.outcome == "fail":
        return ""
    if alike := _baselines(kept):
        others = criteria.ceiling("p95_due", "ms", alike, levels, limits.p95_ms).outcome == "fail"
    else:  # who stalls keeps others waiting for as long as its longest answer took
        due, longest = (typical([getattr(r.candidate, key) for r in kept]) for key in ("p95_due", "longest"))
        others = due is not None and longest is not None and due > longest
    own = amount(sent.candidate, "ms")
    return f"requests were sent late, and not for the candidate's sake: its own p95 is {own}" if others else ""


def _incomparable(kept: Sequence[Round], limits: Limits, itself: Criterion, result: Estimate | None) -> str:
    """Why nobody can tell what the arms differ by; empty where it can be told, or is not asked."""
    if itself.outcome == "inconclusive":
        return f"the baseline differs from itself by {percent(itself.change)}: the machine is not steady"
    if limits.max_regression is None:
        return ""
    errors, count = (sum(getattr(b, name) for _, b in criteria.pairs(kept)) for name in ("errors", "count"))
    if limits.max_error_rate is not None and errors > limits.max_error_rate * count:
        return f"the baseline answered {errors} of {count} requests with errors, so it is nothing to compare with"
    return "" if result is not None else "a p95 latency needs two rounds with answers from both versions"


def _regression(
    p95: Criterion, result: Estimate | None, limits: Limits, up_to: float, *, comparable: bool
) -> Criterion:
    """p95 against the baseline's, with its outcome.

    Where more than the limit was accepted (`up_to`), that takes its place on both sides: a candidate passes surely
    below it and fails surely above it. So each error keeps its budget: 1 % of the runs fail what is within it, 5 % pass
    what is not. To fail where the estimate alone is above it would fail every other run of what is just within.
    """
    limit = limits.max_regression
    if limit is None:
        return p95
    needed = up_to > limit and not (result is not None and result.high < math.log1p(limit))
    broken, most = bounds(limit, up_to if needed else 0.0)
    outcome: Result = "inconclusive"
    if result is None or not comparable:
        pass  # whatever the arms differ by may be the machine's doing
    elif result.high < math.log1p(most):
        outcome = "pass"  # first: where a slow-down is real and within what the project allows, the project has said so
    elif needed:
        outcome = "fail" if result.low > math.log1p(broken) else "inconclusive"
    elif result.low > math.log1p(broken) and result.mean >= math.log1p(ESTIMATED * limit):
        outcome = "fail"
    return replace(p95, limit=most, accepted=needed, outcome=outcome, broken=broken if outcome == "fail" else None)


def _steadiness(kept: Sequence[Round], levels: Levels) -> Criterion:
    """The same rule on the baseline's odd requests against its even ones: a difference there is the machine's."""
    ratios = [log_ratio(b.p95_odd, b.p95_even) for _, b in criteria.pairs(kept)]
    result = estimate(ratios, levels._replace(beta=levels.alpha))
    surely = result is not None and max(result.low, -result.high) > 0 and abs(result.mean) >= math.log1p(UNSTEADY)
    return Criterion(
        key="steadiness",
        unit="ms",
        change=math.expm1(result.mean) if result else None,
        interval=(math.expm1(result.low), math.expm1(result.high)) if result else None,
        relative=True,
        outcome="inconclusive" if surely else "info",
    )


def _detectable(kept: Sequence[Round], limits: Limits, levels: Levels, up_to: float) -> float | None:
    """The slow-down that rounds as noisy as these tell from none, or from what was accepted, in 95 of 100 cases."""
    ratios = [log_ratio(c.p95, b.p95) for c, b in criteria.pairs(kept)]
    result = estimate(ratios, levels)
    if result is None or limits.max_regression is None:
        return None
    missed = min(WIDEST, 1.645 * result.error)
    allowed = up_to if up_to > limits.max_regression else SURELY * limits.max_regression
    least = math.log1p(allowed) + (result.mean - result.low) + missed
    # Where rounds are so alike that less would show, what is surely within the limit passes all the same.
    within = math.log1p(max(limits.max_regression, up_to)) - (result.high - result.mean) + missed
    return max(ESTIMATED * limits.max_regression, math.expm1(max(least, within)))
