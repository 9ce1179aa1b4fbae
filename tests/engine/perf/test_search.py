"""The search for what an arm can take: which rate comes next, and what a step says."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perf.load.search import LOWEST, NARROW, Bracket, client_was_the_limit, keeps, next_rate, own_lateness
from perf.rule.rounds import Samples
from tests.engine.perf.examples import LIMITS

RATES = st.floats(0.1, 1e4)


@given(RATES, RATES)
def test_the_search_finds_the_rate(first: float, true: float) -> None:
    """Within a tenth below it in a few steps; what lies far below the first rate is not looked for."""
    known, steps = Bracket(), 0
    while (rate := next_rate(first, known)) is not None:
        known, steps = known.after(rate, kept=rate <= true), steps + 1
        assert steps <= 6 + abs(math.log2(true / first))
    if known.kept is None:
        assert true < 2 * LOWEST * first
    else:
        assert known.closed
        assert known.kept <= true < NARROW * known.kept


@given(RATES, st.lists(st.booleans(), max_size=40))
def test_the_search_narrows_whatever_comes(first: float, answers: list[bool]) -> None:
    """A step that says nonsense, as on a machine with other things to do, moves one bound and never both."""
    known = Bracket()
    for kept in answers:
        rate = next_rate(first, known)
        if rate is None:
            break
        after = known.after(rate, kept)
        assert (after.kept, after.broke) == ((rate, known.broke) if kept else (known.kept, rate))
        known = after


def test_a_rate_outside_is_none() -> None:
    """What is known already is not tried again."""
    with pytest.raises(ValueError, match="no rate of"):
        Bracket(100.0, 200.0).after(200.0, kept=True)


def step(rate: float, service_ms: float, lanes: int = 1, users: int = 16, late: float = 0.0) -> Samples:
    """A second of requests at a rate, to an arm that answers `lanes` at a time, each after `service_ms`."""
    due = np.arange(round(rate)) / rate
    free, user_free = np.zeros(lanes), np.zeros(users)
    start, end = np.empty_like(due), np.empty_like(due)
    for n, at in enumerate(due):
        start[n] = max(at + late * n / rate, user_free[n % users])
        lane = int(np.argmin(free))
        end[n] = free[lane] = max(start[n], free[lane]) + service_ms / 1000
        user_free[n % users] = end[n]
    return Samples(np.arange(due.size), due, start, 1000 * (end - start), np.ones(due.size, np.bool_))


@pytest.mark.parametrize(
    ("rate", "service_ms", "lanes", "kept"),
    [
        (40.0, 20.0, 1, True),
        (49.0, 20.0, 1, True),
        (58.0, 20.0, 1, False),
        (98.0, 20.0, 2, True),
        (115.0, 20.0, 2, False),
        (100.0, 90.0, 16, True),  # slow, but it keeps up
        (10.0, 101.0, 16, False),
    ],
)
def test_what_an_arm_can_take_is_arithmetic(rate: float, service_ms: float, lanes: int, kept: bool) -> None:
    """As many a second as it answers at a time, over how long that takes; and the arm is the limit, not the client."""
    found = step(rate, service_ms, lanes)
    assert keeps(found, round(rate), 1.0, LIMITS) == kept
    assert kept or not client_was_the_limit(found, 16, 0.3, LIMITS)


def test_errors_and_requests_that_were_not_sent_break() -> None:
    """Fast errors are no capacity, and what was never sent is not forgotten."""
    fast = step(100.0, 1.0)
    assert keeps(fast, 100, 1.0, LIMITS)
    assert not keeps(fast, 101, 1.0, LIMITS)
    failing = fast._replace(ok=fast.pair % 2 == 0)
    assert not keeps(failing, 100, 1.0, LIMITS)
    assert not client_was_the_limit(failing, 16, 0.3, LIMITS)
    assert not keeps(Samples(*(column[:0] for column in fast)), 0, 1.0, LIMITS)


def test_a_client_at_its_limit_is_no_limit_of_the_arm() -> None:
    """Its CPU is full, or it sends late what it could have sent: due, and by a user that waits for no answer."""
    late = step(500.0, 1.0, late=0.4)
    assert not keeps(late, 500, 1.0, LIMITS)
    assert client_was_the_limit(late, 16, 0.3, LIMITS)
    assert client_was_the_limit(step(100.0, 20.0), 16, 0.9, LIMITS)


@given(st.integers(1, 20), st.integers(1, 60), st.floats(1.0, 60.0))
def test_waiting_for_an_answer_is_no_lateness_of_its_own(users: int, rate: int, service_ms: float) -> None:
    """However far the schedule fell behind, and whatever was not sent in the end."""
    found = step(rate, service_ms, users=users)
    sent = Samples(*(column[found.start < 0.8] for column in found))
    assert np.abs(own_lateness(sent, users)).max(initial=0.0) < 1e-9
