"""Rounds and verdicts for the tests, by what matters in them."""

from collections.abc import Sequence

from perf.rule.judge import judge
from perf.verdict import Arm, Figures, Limits, Report, Round, Runner

LIMITS = Limits(p95_ms=100.0, max_regression=0.10, max_error_rate=0.001, min_requests=1000, min_throughput=0.95)
DECIDE_AFTER = (5, 8, 12)


def arm_figures(p95: float | None, count: int = 500, errors: int = 0, achieved: float = 100.0) -> Figures:
    return Figures(
        intended=500,
        count=count,
        errors=errors,
        target=100.0,
        achieved=achieved,
        ready_seconds=0.4,
        mean=p95 and p95 * 0.6,
        p50=p95 and p95 * 0.5,
        p95=p95,
        p99=p95 and p95 * 1.5,
        p95_due=p95 and p95 * 1.1,
        p95_odd=p95,
        p95_even=p95,
    )


def one_round(candidate: Figures, baseline: Figures | None, number: int = 1, dropped: str = "") -> Round:
    return Round(number=number, candidate=candidate, baseline=baseline, client_cpu=0.2, steal=0.0, dropped=dropped)


def rounds_of(candidate: Sequence[float | None], baseline: Sequence[float | None] | None = None) -> list[Round]:
    """Rounds with these p95, in milliseconds."""
    others = [None] * len(candidate) if baseline is None else [arm_figures(p95) for p95 in baseline]
    return [
        one_round(arm_figures(p95), other, n) for n, (p95, other) in enumerate(zip(candidate, others, strict=True), 1)
    ]


def report_of(rounds: Sequence[Round], **changes: object) -> Report:
    """The verdict on some rounds, with one or the other field changed."""
    decide_after = [sum(not r.dropped for r in rounds)]
    judged = judge(rounds, LIMITS, decide_after)
    assert judged.outcome != "continue"
    paired = bool(rounds) and rounds[0].baseline is not None
    fields: dict[str, object] = {
        "schema": 2,
        "outcome": judged.outcome,
        "exit_code": {"pass": 0, "fail": 1, "inconclusive": 2}[judged.outcome],
        "headline": judged.headline,
        "next": "make perf",
        "project": "loan-default",
        "created": "2026-11-25T01:02:03+00:00",
        "seconds": 42.0,
        "candidate": Arm(kind="process", source=".", name="loan-default", version="4", git_sha="d4e5f6a7"),
        "baseline": Arm(kind="process", source=".mlops/champion", name="loan-default", version="3") if paired else None,
        "identical": False,
        "limits": LIMITS,
        "criteria": judged.criteria,
        "reasons": judged.reasons,
        "confidence": judged.confidence,
        "detectable": judged.detectable,
        "decide_after": decide_after,
        "rate": 100.0,
        "users": 2,
        "seed": 7,
        "rounds": list(rounds),
        "runner": Runner(cpu="A CPU", cpus=2, system="Linux", python="3.13.0", service_cpus=[0], client_cpus=[1]),
        "notes": [],
    }
    return Report(**(fields | changes))  # type: ignore[arg-type]
