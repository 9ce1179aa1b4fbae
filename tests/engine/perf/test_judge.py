"""The rule, on rounds that are made up."""

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from perf.rule.estimate import FALSE_FAIL, FALSE_PASS, levels_at
from perf.rule.judge import judge
from perf.rule.wording import disagreement
from perf.verdict import Figures, Judgement, row_of
from pipeline.settings import load_settings
from tests.engine.conftest import PROJECT
from tests.engine.perf.examples import DECIDE_AFTER, LIMITS, arm_figures, one_round, rounds_of

latency = st.floats(0.5, 90.0)
several = st.lists(st.tuples(latency, latency), min_size=2, max_size=12)
broken = st.sampled_from([None, math.nan, math.inf, 0.0, -1.0])


def change(judged: Judgement) -> float:
    found = row_of(judged.criteria, "p95")
    assert found is not None and found.change is not None
    return found.change


def noisy(ratio: float, count: int, seed: int, spread: float = 0.04) -> tuple[list[float], list[float]]:
    dice = random.Random(seed)
    return [ratio * 3 * math.exp(dice.gauss(0, spread)) for _ in range(count)], [3.0] * count


@settings(deadline=None)  # a busy machine is no fault of the rule
@given(several, st.floats(0.1, 10.0))
def test_scaling_both_arms_changes_nothing(pairs: list[tuple[float, float]], factor: float) -> None:
    """A machine that is slower by a factor gives the same estimate and the same outcome of the comparison."""
    candidate, baseline = zip(*pairs, strict=True)
    plain = judge(rounds_of(candidate, baseline), LIMITS, DECIDE_AFTER)
    scaled = judge(rounds_of([factor * v for v in candidate], [factor * v for v in baseline]), LIMITS, DECIDE_AFTER)
    assert change(scaled) == pytest.approx(change(plain), rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(several)
def test_swapping_the_arms_mirrors_the_estimate(pairs: list[tuple[float, float]]) -> None:
    """A candidate twice as slow is a baseline twice as fast."""
    candidate, baseline = zip(*pairs, strict=True)
    forth = change(judge(rounds_of(candidate, baseline), LIMITS, DECIDE_AFTER))
    back = change(judge(rounds_of(baseline, candidate), LIMITS, DECIDE_AFTER))
    assert (1 + forth) * (1 + back) == pytest.approx(1)


@settings(deadline=None)
@given(several, broken, st.data())
def test_a_figure_that_is_none_never_passes(
    pairs: list[tuple[float, float]], wrong: float | None, data: st.DataObject
) -> None:
    """One round without a latency in either arm, and the run cannot pass."""
    rounds = rounds_of(*zip(*pairs, strict=True))
    at = data.draw(st.integers(0, len(rounds) - 1))
    arm = data.draw(st.sampled_from(["candidate", "baseline"]))
    rounds[at] = replace(rounds[at], **{arm: replace(arm_figures(3.0), p95=wrong)})
    assert judge(rounds, LIMITS, [len(rounds)]).outcome != "pass"


@pytest.mark.parametrize("paired", [True, False])
def test_nothing_measured_never_passes(paired: bool) -> None:
    """No round, one round, and rounds without a request decide nothing."""
    single = rounds_of([3.0], [3.0] if paired else None)
    assert judge([], LIMITS, [1]).outcome == "continue"
    assert judge(single, replace(LIMITS, min_requests=1), [1]).outcome == "inconclusive"
    empty = [one_round(arm_figures(None, count=0), arm_figures(None, count=0) if paired else None, n) for n in range(5)]
    assert judge(empty, replace(LIMITS, min_requests=0), [5]).outcome not in {"pass", "continue"}


@settings(deadline=None)
@given(st.integers(0, 999), st.floats(0.5, 2.0))
def test_too_few_requests_decide_nothing(count: int, ratio: float) -> None:
    """Below min_requests there is neither a pass nor a fail, whatever the latencies."""
    few = [
        one_round(
            replace(arm_figures(3 * ratio, count), intended=count), replace(arm_figures(3.0, count), intended=count), n
        )
        for n in (1, 2)
    ]
    assert judge(few, replace(LIMITS, min_requests=2 * count + 1), [2]).outcome == "inconclusive"


@pytest.mark.parametrize("decide_after", [[5], [5, 8], [5, 8, 12]])
def test_clear_cases_are_decided_at_the_first_look(decide_after: list[int]) -> None:
    """Half again as slow fails, equal arms pass, and both after the first levels."""
    assert judge(rounds_of(*noisy(1.5, 5, seed=1)), LIMITS, decide_after).outcome == "fail"
    assert judge(rounds_of(*noisy(1.0, 5, seed=1, spread=0.02)), LIMITS, decide_after).outcome == "pass"


def test_two_equal_rounds_pass() -> None:
    """Where the rounds show no noise at all, two are enough."""
    assert judge(rounds_of([3.0, 3.0], [3.0, 3.0]), replace(LIMITS, min_requests=1), [2]).outcome == "pass"


def test_a_slow_down_within_the_limit_passes_and_says_so() -> None:
    """What the project allows is no failure, even when it is certain."""
    judged = judge(rounds_of(*noisy(1.06, 12, seed=3, spread=0.005)), LIMITS, DECIDE_AFTER)
    assert (judged.outcome, "surely below the limit of +10 %" in judged.headline) == ("pass", True)


def test_between_looks_nothing_is_decided() -> None:
    """A clear case too has to wait for its levels, else there would be more decide_after than the budget is for."""
    for count in (2, 3, 4, 6, 7):
        assert judge(rounds_of(*noisy(3.0, count, seed=1)), LIMITS, DECIDE_AFTER).outcome == "continue"


@settings(deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=8, unique=True).map(sorted))
def test_the_looks_share_one_budget(decide_after: list[int]) -> None:
    """However many decisions: 1 % for failing equals, 5 % for passing what is too slow; and only the last is last."""
    spent = [levels_at(rounds, decide_after) for rounds in decide_after]
    assert sum(levels.alpha for levels in spent) == pytest.approx(FALSE_FAIL)
    assert sum(levels.beta for levels in spent) == pytest.approx(FALSE_PASS)
    assert [levels.last for levels in spent] == [False] * (len(decide_after) - 1) + [True]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_rounds_that_do_not_count_do_not_count(seed: int) -> None:
    """A dropped round changes no figure; the fourth ends the run without a verdict."""
    kept = rounds_of(*noisy(1.0, 5, seed))
    wild = [one_round(arm_figures(80.0), arm_figures(1.0), n, dropped="the host took the CPU") for n in range(4)]
    assert judge([*wild[:3], *kept], LIMITS, DECIDE_AFTER).criteria == judge(kept, LIMITS, DECIDE_AFTER).criteria
    ended = judge([*wild, *kept], LIMITS, DECIDE_AFTER)
    assert (ended.outcome, "the host took the CPU" in ended.headline) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("figures", "broken_row"),
    [
        (arm_figures(120.0), "p95_due"),
        (arm_figures(3.0, errors=25), "errors"),
        (arm_figures(3.0, count=300, achieved=60.0), "throughput"),
    ],
)
@pytest.mark.parametrize("paired", [True, False])
def test_a_broken_absolute_limit_fails(figures: object, broken_row: str, paired: bool) -> None:
    """Too slow, too many errors, too few answers: each fails by itself, with a baseline and without."""
    rounds = [one_round(figures, figures if paired else None, n) for n in range(1, 6)]  # type: ignore[arg-type]
    rounds = [replace(r, baseline=r.baseline and replace(r.baseline, errors=0)) for r in rounds]
    judged = judge(rounds, LIMITS, DECIDE_AFTER)
    assert judged.outcome == "fail"
    assert [row.key for row in judged.criteria if row.outcome == "fail"] == [broken_row]


def late(due: float, p95: float = 55.0, longest: float = 60.0, **more: object) -> Figures:
    """Figures of requests that waited before they were sent."""
    return replace(arm_figures(p95), p95_due=due, longest=longest, **more)


@pytest.mark.parametrize(
    ("figures", "broken_row"),
    [
        (late(755.0), "p95_due"),
        (late(755.0, p95=400.0, longest=900.0), "p95_due"),
        (arm_figures(3.0, count=300, achieved=60.0), "throughput"),
        (replace(arm_figures(3.0), ready_seconds=14.0), "ready_seconds"),
    ],
)
@pytest.mark.parametrize("stolen", [True, False])
def test_a_busy_machine_breaks_no_limit_of_time(figures: Figures, broken_row: str, stolen: bool) -> None:
    """Where others use the CPUs, or the host takes them, nobody can tell whose the time was."""
    share = {"steal": 0.4, "others": 0.1} if stolen else {"steal": 0.0, "others": 0.5}
    limits = replace(LIMITS, max_ready_seconds=10.0)
    rounds = [replace(one_round(figures, None, n), **share) for n in range(1, 13)]
    judged = judge(rounds, limits, DECIDE_AFTER)
    assert judged.outcome == "inconclusive"
    assert judged.headline == "cannot tell: the machine was busy: others used 50% of its CPUs, after 12 rounds"
    assert [row.key for row in judged.criteria if row.outcome == "inconclusive"] == [broken_row]
    quiet = [replace(r, steal=0.03, others=0.05) for r in rounds]
    assert judge(quiet, limits, DECIDE_AFTER).outcome == ("inconclusive" if figures.longest == 60.0 else "fail")


@pytest.mark.parametrize(
    ("baseline", "others", "outcome"),
    [
        (None, 0.15, "inconclusive"),
        (arm_figures(900.0), 0.15, "inconclusive"),  # the champion, which kept the limit when it was promoted
        (arm_figures(3.0), 0.15, "fail"),  # who is busy keeps both from their work
        (arm_figures(900.0), 0.05, "fail"),
        (arm_figures(3.0), 0.5, "inconclusive"),
    ],
)
def test_a_tenth_of_the_cpus_is_enough_for_the_slowest_of_twenty_requests(
    baseline: Figures | None, others: float, outcome: str
) -> None:
    """Of recorded rounds, those whose others used 10 to 25 % of the CPUs had twice the p95 of quiet ones."""
    rounds = [replace(one_round(arm_figures(900.0), baseline, n), others=others) for n in range(1, 13)]
    judged = judge(rounds, replace(LIMITS, max_regression=None), DECIDE_AFTER)
    assert judged.outcome == outcome


@pytest.mark.parametrize(
    ("candidate", "baseline", "outcome"),
    [
        (late(755.0), None, "inconclusive"),  # no answer took that long: the schedule was too much for the machine
        (late(400.0, p95=20.0, longest=500.0), None, "fail"),  # it stalls, and keeps others waiting
        (late(755.0), late(755.0), "inconclusive"),  # the champion is late as well
        (late(755.0), late(60.0), "fail"),
        (late(755.0, p95=120.0, longest=130.0), late(755.0), "fail"),  # too slow by itself
    ],
)
def test_who_is_late_through_no_fault_of_its_own_breaks_no_limit(
    candidate: Figures, baseline: Figures | None, outcome: str
) -> None:
    """What waits before it is sent may wait for the machine; the service's own time is from then on."""
    rounds = [one_round(candidate, baseline, n) for n in range(1, 13)]
    judged = judge(rounds, replace(LIMITS, max_regression=None), DECIDE_AFTER)
    assert judged.outcome == outcome
    assert ("requests were sent late, and not for the candidate's sake: its own p95 is 55.0 ms" in judged.headline) == (
        outcome == "inconclusive"
    )


def test_a_slow_candidate_is_called_slow_even_where_throughput_gave_it_away() -> None:
    """The first line names p95 and by how much, also where a noisy baseline keeps that from deciding by itself."""
    baseline = [arm_figures(p95, achieved=80.0) for p95 in (2.0, 9.0, 2.0)]
    rounds = [one_round(arm_figures(23.0, achieved=80.0), b, n) for n, b in enumerate(baseline, 1)]
    judged = judge(rounds, LIMITS, [3, 5])
    assert judged.outcome == "fail"
    assert judged.headline.startswith("80.0/s were answered, the limit is 95/s; p95 +597 % (")
    alike = [one_round(arm_figures(2.0, achieved=80.0), arm_figures(2.0, achieved=80.0), n) for n in (1, 2, 3)]
    assert judge(alike, LIMITS, [3, 5]).headline == "80.0/s were answered, the limit is 95/s"


def test_a_few_rounds_that_fell_behind_are_no_failure() -> None:
    """Where half of the rounds kept their schedule, nobody knows whose fault the other half is."""
    rounds = [one_round(arm_figures(3.0, achieved=100.0 if n % 2 else 40.0), None, n) for n in range(1, 6)]
    judged = judge(rounds, LIMITS, [5])
    assert (judged.outcome, judged.headline) == (
        "inconclusive",
        "cannot tell: throughput 76.0/s, limit 95/s, after 5 rounds",
    )


def test_errors_of_the_baseline_leave_nothing_to_compare() -> None:
    """A baseline that answers with errors makes no candidate look good."""
    rounds = [one_round(arm_figures(3.0), arm_figures(9.0, errors=50), n) for n in range(1, 13)]
    judged = judge(rounds, LIMITS, DECIDE_AFTER)
    assert judged.outcome == "inconclusive"
    assert "the baseline answered 600 of 6000 requests with errors" in judged.headline


@pytest.mark.parametrize("candidate", [3.0, 6.0])
def test_a_machine_that_differs_from_itself_decides_nothing(candidate: float) -> None:
    """Where the baseline's odd requests are slower than its even ones the machine is at fault, not the candidate."""
    odd = replace(arm_figures(3.0), p95_odd=4.0)
    judged = judge([one_round(arm_figures(candidate), odd, n) for n in range(1, 13)], LIMITS, DECIDE_AFTER)
    assert (judged.outcome, judged.reasons) == (
        "inconclusive",
        ["the baseline differs from itself by +33 %: the machine is not steady"],
    )


NOISES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "little": lambda dice, n: dice.normal(0, 0.02, n),
    "medium": lambda dice, n: dice.normal(0, 0.06, n),
    "much": lambda dice, n: dice.normal(0, 0.15, n),
    "heavy tails": lambda dice, n: 0.06 * dice.standard_t(3, n),
    "one round in seven is hit": lambda dice, n: dice.normal(0, np.where(dice.random(n) < 1 / 7, 0.6, 0.06)),
}


def outcomes(noise: str, ratio: float, runs: int) -> list[str]:
    """What the gate says of as many runs, with the decide_after of pipeline.toml."""
    decide_after, dice = load_settings(PROJECT).perf.profiles.standard.decide_after, np.random.default_rng(len(noise))

    def run() -> str:
        candidate = (3 * ratio * np.exp(NOISES[noise](dice, decide_after[-1]))).tolist()
        rounds = rounds_of(candidate, [3.0] * decide_after[-1])
        return next(out for n in decide_after if (out := judge(rounds[:n], LIMITS, decide_after).outcome) != "continue")

    return [run() for _ in range(runs)]


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
def test_alpha_is_kept(noise: str) -> None:
    """Of 1,000 runs of equal arms 1 % fail at most. (More than 20 of 1,000 would be by chance once in 600 times.)"""
    assert outcomes(noise, 1.0, 1000).count("fail") <= 20


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
def test_beta_is_kept(noise: str) -> None:
    """Of 200 runs of arms that differ by the limit 5 % pass at most. (More than 20 by chance once in 700 times.)"""
    assert outcomes(noise, 1 + (LIMITS.max_regression or 0), 200).count("pass") <= 20


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "ratio"), [("little", 1.1), ("medium", 1.2)])
def test_a_slow_down_is_caught(noise: str, ratio: float) -> None:
    assert outcomes(noise, ratio, 200).count("fail") >= 180


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.001, 0.005, 0.02])
@pytest.mark.parametrize("decide_after", [[6, 10, 16, 24, 40], [40, 80, 120, 160]])
def test_what_a_run_could_see_it_sees(spread: float, decide_after: list[int]) -> None:
    """A slow-down as large as a run says it could have seen fails; narrow intervals do not let it pass as allowed."""

    def run(ratio: float, seed: int) -> Judgement:
        candidate, baseline = noisy(ratio, decide_after[0], seed, spread)
        return judge(rounds_of(candidate, baseline), LIMITS, decide_after)

    claimed = [run(1.0, seed).detectable for seed in range(100)]
    assert all(claimed)
    seen = float(np.median([each for each in claimed if each]))
    caught = sum(run(1 + seen, 1_000 + seed).outcome == "fail" for seed in range(200))
    assert caught >= 170


@pytest.mark.parametrize("off", ["p95_ms", "max_regression", "max_error_rate", "min_throughput"])
def test_a_limit_that_is_off_decides_nothing(off: str) -> None:
    """Whatever was measured: the row is information, and the others decide."""
    awful = arm_figures(400.0, errors=100, achieved=20.0)
    rounds = [one_round(awful, arm_figures(3.0), n) for n in range(1, 13)]
    switches = {"p95_ms": None, "max_regression": None, "max_error_rate": None, "min_throughput": None}
    for some in (rounds, [replace(r, baseline=None) for r in rounds]):
        judged = judge(some, replace(LIMITS, **switches), [12])
        assert judged.outcome == "pass"
        assert "without a limit" in judged.headline
    rows = {row.key: row for row in judge(rounds, replace(LIMITS, **{off: None}), [12]).criteria}
    assert sum(row.outcome == "fail" for row in rows.values()) == 3


@pytest.mark.parametrize(
    ("changes", "limit", "row"),
    [
        ({"ready_seconds": 5.0}, {"max_ready_seconds": 4.0}, "start to ready"),
        ({"memory_mb": 300.0}, {"max_memory_mb": 250.0}, "memory"),
    ],
)
def test_starting_and_memory_have_limits(changes: dict[str, float], limit: dict[str, float], row: str) -> None:
    """Each fails by itself, passes below its limit, and only informs without one."""
    rounds = [one_round(replace(arm_figures(3.0), **changes), None, n) for n in range(1, 6)]
    broken = judge(rounds, replace(LIMITS, **limit), [5])
    assert (broken.outcome, broken.headline.startswith(f"{row} is ")) == ("fail", True)
    kept = replace(LIMITS, **{name: 10 * value for name, value in limit.items()})
    assert judge(rounds, kept, [5]).outcome == "pass"
    assert judge(rounds, LIMITS, [5]).outcome == "pass"


def test_an_image_has_a_size() -> None:
    """Where there is an image."""
    rounds, limits = rounds_of([3.0, 3.0], [3.0, 3.0]), replace(LIMITS, max_image_mb=400.0)
    assert judge(rounds, limits, [2], [410.2, 300.0]).headline == "image size is 410.2 MB, the limit is 400 MB"
    assert judge(rounds, limits, [2], [390.0, None]).outcome == "pass"
    assert "image_mb" not in {row.key for row in judge(rounds, limits, [2], [None, None]).criteria}


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 3.0))
def test_a_few_disturbed_rounds_change_little(seed: int, disturbance: float) -> None:
    """One round in five may be off by anything, and the estimate stays where the others have it."""
    candidate, baseline = noisy(1.0, 20, seed, spread=0.02)
    hit = [value * math.exp(disturbance if n < 4 else 0.0) for n, value in enumerate(candidate)]
    assert abs(change(judge(rounds_of(hit, baseline), LIMITS, [20]))) < 0.03


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.9, 1.4), st.floats(1.0, 30.0))
def test_noise_turns_no_failure_into_a_pass(seed: int, ratio: float, more: float) -> None:
    """The same rounds further apart: what failed does not pass. (Just below the limit, what passed may fail.)"""
    dice = random.Random(seed)
    half = [dice.gauss(0, 0.01) for _ in range(8)]
    deviations = half + [-each for each in half]

    def outcome(spread: float) -> str:
        candidate = [3 * ratio * math.exp(spread * d) for d in deviations]
        return judge(rounds_of(candidate, [3.0] * 16), replace(LIMITS, p95_ms=1e6), [16]).outcome

    assert (outcome(1.0), outcome(more)) != ("fail", "pass")


def test_a_quarter_of_the_rounds_may_be_disturbed() -> None:
    """A long run forgives more than a short one, and the reason names no more than two of many causes."""
    kept = rounds_of(*noisy(1.0, 10, seed=1, spread=0.02))
    wild = [one_round(arm_figures(80.0), arm_figures(1.0), n, dropped=f"only {n}% were sent") for n in range(11)]
    assert judge([*wild[:10], *kept], LIMITS, (10, 40)).outcome == "pass"
    ended = judge([*wild, *kept], LIMITS, (10, 40))
    assert ended.outcome == "inconclusive"
    assert ended.reasons == ["11 rounds were disturbed: only 0% were sent; only 1% were sent; and 9 more"]


@pytest.mark.parametrize(
    ("p95", "cpu_ms", "said"),
    [
        (4.0, 1.0, "CPU time a request has not grown"),
        (3.0, 1.5, "CPU time a request has grown by 50 %"),
        (4.0, 1.4, ""),
    ],
)
def test_where_cpu_time_says_otherwise_it_is_said(p95: float, cpu_ms: float, said: str) -> None:
    """Waiting costs no CPU, and CPU costs no p95 while there is enough of it."""
    rounds = [
        one_round(replace(arm_figures(p95), cpu_ms=cpu_ms), replace(arm_figures(3.0), cpu_ms=1.0), n) for n in range(5)
    ]
    assert disagreement(judge(rounds, LIMITS, [5]).criteria).startswith(said)
    assert bool(disagreement(judge(rounds, LIMITS, [5]).criteria)) == bool(said)
