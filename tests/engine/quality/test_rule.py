"""training.quality.rule and resample: what is sure about a loss."""

import numpy as np
import pytest

from training.quality import rule
from training.quality.metrics import Answers, metrics
from training.quality.resample import resampled
from training.quality.rule import Loss

TOLERANCE = 0.01


@pytest.mark.parametrize(
    ("found", "surely", "at_most", "outcome"),
    [
        (0.0, -0.002, 0.002, "pass"),  # surely less
        (-0.05, -0.08, -0.03, "pass"),  # better
        (0.03, 0.02, 0.04, "fail"),
        (0.011, 0.002, 0.02, "fail"),  # the tolerance as found, and surely some of it
        (0.009, 0.002, 0.011, "unsure"),  # less as found, and not surely
        (0.011, 0.0005, 0.02, "unsure"),  # perhaps nothing at all
        (0.0, -0.02, 0.02, "unsure"),
        (0.006, 0.004, 0.009, "pass"),  # surely some, and surely less than the tolerance
        (0.0, 0.0, 0.0, "pass"),
    ],
)
def test_three_outcomes(found: float, surely: float, at_most: float, outcome: str) -> None:
    """The same does not fail, a loss of the tolerance is caught, what is surely less passes."""
    assert rule.decide(Loss(found, surely, at_most, 0.005), TOLERANCE, 500).outcome == outcome


def test_without_a_tolerance_what_is_surely_worse_fails() -> None:
    """Nothing is surely less than nothing: so the rest passes."""
    assert rule.decide(Loss(0.001, 0.0005, 0.002, 0.001), 0.0, 500).outcome == "fail"
    assert rule.decide(Loss(0.001, -0.0005, 0.002, 0.001), 0.0, 500).outcome == "pass"
    assert rule.decide(Loss(0.0, 0.0, 0.0, 0.0), 0.0, 500).outcome == "pass"


def test_a_metric_that_is_not_defined_passes_nobody() -> None:
    """No resample, no bound."""
    it = rule.loss(float("nan"), np.array([np.nan, np.nan]))
    assert rule.decide(it, TOLERANCE, 500).outcome == "unsure"


@pytest.mark.parametrize("found", [0.0, 0.004, 0.009, 0.012])
def test_as_many_rows_as_it_would_take(found: float) -> None:
    """With so many, the same loss is decided; with a tenth fewer, it is not."""

    def decision(rows: int) -> rule.Decision:
        error = 0.01 * (500 / rows) ** 0.5
        bounds = found - 2.326 * error, found + 1.645 * error
        return rule.decide(Loss(found, *bounds, error), TOLERANCE, rows)

    needed = decision(500).rows
    assert decision(500).outcome == "unsure"
    assert decision(int(needed * 1.01)).outcome != "unsure"
    assert decision(int(needed * 0.9)).outcome == "unsure"


def pair(rows: int, seed: int) -> list[Answers]:
    """Two models that are equally good, and err on rows of their own."""
    dice = np.random.default_rng(seed)
    signal = dice.normal(size=rows)
    truth = np.array(["no", "yes"], object)[(signal + dice.normal(size=rows) > 0).astype(int)]
    answers = []
    for _ in range(2):
        p = 1 / (1 + np.exp(-(signal + 0.3 * dice.normal(size=rows))))
        answers.append(Answers(truth, np.column_stack([1 - p, p]), ("no", "yes"), "yes"))
    return answers


def test_an_interval_covers_as_often_as_it_says() -> None:
    """The true difference is none: above each bound in as many cases as its level, within what chance does."""
    above, below = 0, 0
    for seed in range(150):
        both = pair(400, seed)
        one, other = (each["roc_auc"] for each in resampled(both, np.arange(400), 0, 400))
        found = [metrics(each)["roc_auc"] for each in both]
        it = rule.loss(found[1] - found[0], other - one)
        above, below = above + (it.surely > 0), below + (it.at_most < 0)
    assert above <= 6  # of 150 with 1 %: 7 or more come once in 1,000 times
    assert below <= 17  # with 5 %: 18 or more likewise


def test_rows_of_one_unit_stay_together() -> None:
    """Each row four times is no more knowledge: the error is that of the rows, not of the copies."""
    few = pair(300, 1)
    many = [each._replace(truth=np.repeat(each.truth, 4), given=np.repeat(each.given, 4, axis=0)) for each in few]
    alone = resampled(few, np.arange(300), 0, 400)[0]["roc_auc"].std()
    together = resampled(many, np.repeat(np.arange(300), 4), 0, 400)[0]["roc_auc"].std()
    apart = resampled(many, np.arange(1200), 0, 400)[0]["roc_auc"].std()
    assert together == pytest.approx(alone, rel=0.15)
    assert apart == pytest.approx(alone / 2, rel=0.15)


def test_the_same_rows_have_the_same_verdict() -> None:
    """No luck: the seed is stated."""
    both = pair(200, 2)
    one, other = (resampled(both, np.arange(200), 0, 100)[0] for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)
