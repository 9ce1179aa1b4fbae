"""From requests to figures, and when a round may not count."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perf.rule.rounds import FEWEST, Samples, blame, disturbance, figures, long_enough
from tests.engine.perf.examples import arm_figures


def samples(latencies: list[float], lateness: float = 0.0, ok: list[bool] | None = None) -> Samples:
    pair = np.arange(len(latencies))
    due = pair * 0.01
    answered = np.array(ok if ok is not None else [True] * len(latencies), dtype=np.bool_)
    return Samples(pair, due, due + lateness, np.array(latencies, dtype=np.float64), answered)


def test_figures_are_those_of_the_exact_latencies() -> None:
    """Nothing is rounded to whole milliseconds, and a request that is sent late counts as late."""
    found = figures(samples([float(v) / 7 for v in range(1, 101)], lateness=0.02), 100, 1.0, 0.4)
    assert found.p50 == pytest.approx(50.5 / 7)
    assert found.p95 == pytest.approx(95.05 / 7)
    assert found.p95_due == pytest.approx(95.05 / 7 + 20)
    assert (found.count, found.errors, found.target, found.ready_seconds) == (100, 0, 100.0, 0.4)


@given(st.floats(0.01, 1e4), st.integers(1, 10_000), st.integers(1, 50))
def test_a_slow_service_gets_longer_rounds(rate: float, requests: int, rounds: int) -> None:
    """However slow it is, a round has FEWEST and all have min_requests; a fast one is measured as configured."""
    seconds = long_enough(5.0, rate, requests, rounds)
    assert rounds * round(rate * seconds) >= requests
    assert round(rate * seconds) >= FEWEST
    assert seconds == 5.0 or rounds * 5.0 * rate < requests + rounds or 5.0 * rate < FEWEST


def test_errors_have_no_latency() -> None:
    """A service that fails fast is not a fast service."""
    found = figures(samples([0.1, 5.0, 5.0, 0.1], ok=[False, True, True, False]), 4, 1.0, 0.4)
    assert (found.count, found.errors, found.p50) == (4, 2, 5.0)


def test_no_answer_gives_no_figure() -> None:
    """Without an answered request there is no latency, rather than one of zero."""
    for none in (samples([]), samples([1.0], ok=[False])):
        found = figures(none, 10, 1.0, 0.4)
        assert (found.p50, found.p95, found.mean, found.p95_due) == (None, None, None, None)


def test_a_schedule_that_took_twice_as_long_achieved_half() -> None:
    """The rate that was achieved counts the time until the last answer."""
    assert figures(samples([1000.0] * 100, lateness=0.01), 100, 1.0, 0.4).achieved == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("changes", "client_cpu", "steal", "reason"),
    [
        ({}, 0.2, 0.0, ""),
        ({}, 0.2, None, ""),
        ({}, 0.2, 0.36, ""),
        ({}, 0.2, 0.6, "the host gave 60% of the CPU to others"),
        ({}, 0.9, 0.0, "the load generator used 90% of its CPU"),
        ({"count": 480}, 0.2, 0.0, "candidate and baseline got 480 and 500 requests"),
    ],
)
def test_a_disturbed_round_is_dropped(
    changes: dict[str, int], client_cpu: float, steal: float | None, reason: str
) -> None:
    """Only the machine is asked, and the reason names what was wrong with it."""
    candidate = replace(arm_figures(3.0), **changes)
    assert disturbance(candidate, arm_figures(3.0), client_cpu, steal, 0.5) == reason


def test_a_late_schedule_is_the_candidates_fault_where_it_took_the_time() -> None:
    """A candidate cannot get its round dropped by being so slow, or by hanging, that the schedule falls behind."""
    late = arm_figures(3.0, achieved=60.0)
    fast, slow = samples([3.0] * 100), samples([20.0] * 100)
    hanging = samples([3.0] * 99 + [10_000.0], ok=[True] * 99 + [False])
    dropped = "only 60% of the requests were sent in time"
    assert disturbance(late, late, 0.2, 0.0, blame(fast, fast)) == dropped
    assert disturbance(late, late, 0.2, 0.0, blame(slow, fast)) == ""
    assert disturbance(late, late, 0.2, 0.0, blame(hanging, fast)) == ""
    assert disturbance(late, late, 0.2, 0.0, blame(fast, slow)) == dropped
    assert disturbance(late, late, 0.2, 0.0, blame(fast, hanging)) == dropped


@given(st.lists(st.floats(0, 1e4)), st.lists(st.floats(0, 1e4)))
def test_blame_is_shared(ones: list[float], others: list[float]) -> None:
    """What one arm is not to blame for, the other is; where nobody waited, both alike. Nonsense is no time."""
    found = blame(samples(ones), samples(others))
    assert 0 <= found <= 1
    assert blame(samples(others), samples(ones)) == pytest.approx(1 - found)
    assert blame(samples([*ones, math.inf, math.nan, -1.0]), samples(others)) == found
