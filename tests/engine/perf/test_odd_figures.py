"""Rounds in which hardly anything, or nothing sensible, was measured."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from perf.rule.judge import judge
from perf.rule.rounds import Samples, blame, disturbance, figures
from perf.verdict import Limits, Round, row_of
from tests.engine.perf.examples import LIMITS, arm_figures, one_round

odd = st.sampled_from([0.0, 5e-324, 1e-9, 3.0, 1e9, 1e308, math.nan, math.inf, -1.0])
arm = st.lists(st.tuples(odd, st.booleans()), max_size=6) | st.lists(st.just((3.0, True)), max_size=60)
pairs = st.lists(st.tuples(arm, arm), max_size=6)
OFF = Limits(p95_ms=None, max_regression=None, max_error_rate=None, min_throughput=None, min_requests=0)


def samples(requests: list[tuple[float, bool]]) -> Samples:
    pair = np.arange(len(requests))
    latency = np.array([latency for latency, _ in requests], dtype=np.float64)
    return Samples(pair, pair * 0.03, pair * 0.03, latency, np.array([ok for _, ok in requests], dtype=np.bool_))


def measured(number: int, arms: tuple[list[tuple[float, bool]], ...]) -> Round:
    sent = [samples(requests) for requests in arms]
    candidate, *others = (figures(each, 60, 2.0, 0.4) for each in sent)
    baseline = others[0] if others else None
    dropped = disturbance(candidate, baseline, 0.2, None, blame(*sent) if baseline else 1.0)
    return Round(
        number=number, candidate=candidate, baseline=baseline, client_cpu=0.2, steal=None, dropped=dropped[:500]
    )


@settings(deadline=None, max_examples=300)
@given(pairs, st.booleans(), st.sampled_from([LIMITS, replace(LIMITS, min_requests=1), OFF]))
@example([([], [])] * 3, True, OFF)
@example([([], [])] * 3, False, OFF)
@example([([(3.0, True)], [(3.0, True)])] * 3, True, OFF)
@example([([(1e308, True)], [(5e-324, True)])] * 3, True, LIMITS)
@example([([(1e-9, True)] * 6, [(5e-324, True)] * 6)] * 3, True, LIMITS)
def test_odd_figures_never_pass(
    drawn: list[tuple[list[tuple[float, bool]], list[tuple[float, bool]]]], paired: bool, limits: Limits
) -> None:
    """No exception, no warning, and a pass only where each round that counts has sane latencies."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rounds = [measured(n, arms if paired else arms[:1]) for n, arms in enumerate(drawn, 1)]
        judged = judge(rounds, limits, [max(1, len(drawn))])
    if judged.outcome == "pass":
        kept = [r for r in rounds if not r.dropped]
        assert sum(r.candidate.count for r in kept) > 0
        answered = [latency for n, r in enumerate(rounds) if not r.dropped for latency, ok in drawn[n][0] if ok]
        if limits.p95_ms is not None:
            assert answered and all(math.isfinite(latency) and latency >= 0 for latency in answered)


@pytest.mark.parametrize("latency", [0.0, 3.0])
def test_one_distinct_latency_is_no_error(latency: float) -> None:
    """Rounds without any spread have an interval without any width, and a latency of zero has no logarithm."""
    same = [(latency, True)] * 60
    judged = judge([measured(n, (same, same)) for n in range(1, 6)], replace(LIMITS, min_requests=100), [5])
    row = row_of(judged.criteria, "p95")
    assert row is not None
    assert judged.outcome == ("pass" if latency else "inconclusive")
    assert row.interval == (pytest.approx((0.0, 0.0)) if latency else None)


FIELDS = ("mean", "p50", "p95", "p99", "p95_due", "cpu_ms", "memory_mb", "p95_odd", "p95_even", "grown_kb")


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.dictionaries(st.sampled_from(FIELDS), odd | st.none(), max_size=4), min_size=2, max_size=11),
    st.lists(st.dictionaries(st.sampled_from(FIELDS), odd | st.none(), max_size=4), min_size=11, max_size=11),
    st.booleans(),
)
def test_figures_that_are_no_numbers_are_no_error(
    candidates: list[dict[str, float | None]], baselines: list[dict[str, float | None]], paired: bool
) -> None:
    """Whatever came out of a round: no exception, no warning, and without a p95 in each no pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rounds = [
            one_round(replace(arm_figures(3.0), **changed), replace(arm_figures(3.0), **other) if paired else None, n)
            for n, (changed, other) in enumerate(zip(candidates, baselines, strict=False), 1)
        ]
        judged = judge(rounds, LIMITS, [len(rounds)])
    if judged.outcome == "pass":
        assert all(r.candidate.p95_due is not None and 0 < r.candidate.p95_due < math.inf for r in rounds)
        assert not paired or all(r.candidate.p95 is not None and 0 < r.candidate.p95 < math.inf for r in rounds)
