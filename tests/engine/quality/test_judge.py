"""training.quality.judge: the floor, the champion, and what the sentence says."""

import io

import numpy as np
import pytest

from pipeline.schema import Quality
from training.quality.curves import curves
from training.quality.judge import decide, judge
from training.quality.markdown import markdown
from training.quality.metrics import Answers, metrics
from training.quality.rule import Loss

SURE, UNSURE = 1e-6, 0.02  # standard errors, beside a tolerance of 0.01


def quality(metric: str, floor: float, **more: object) -> Quality:
    return Quality(**{"metric": metric, "floor": floor, "tolerance": 0.01, **more})  # type: ignore[arg-type]


def loss(found: float, error: float) -> Loss:
    return Loss(found, found - 2.33 * error, found + 1.64 * error, error)


@pytest.mark.parametrize(
    ("metric", "value", "champion", "floor", "outcome"),
    [
        ("roc_auc", 0.95, None, 0.9, "pass"),
        ("roc_auc", 0.89, None, 0.9, "fail"),
        ("roc_auc", 0.90, None, 0.9, "pass"),
        ("roc_auc", 0.95, 0.955, 0.9, "pass"),
        ("roc_auc", 0.95, 0.97, 0.9, "fail"),
        ("roc_auc", 0.97, 0.95, 0.9, "pass"),
        ("log_loss", 0.20, None, 0.3, "pass"),
        ("log_loss", 0.31, None, 0.3, "fail"),
        ("log_loss", 0.20, 0.18, 0.3, "fail"),
        ("log_loss", 0.18, 0.20, 0.3, "pass"),
        ("r2", 0.5, 0.6, 0.3, "fail"),
        ("mae", 90.0, 89.995, 100, "pass"),
        ("roc_auc", float("nan"), None, 0.9, "fail"),
        ("rmse", float("nan"), 1.0, 100, "fail"),
    ],
)
def test_floor_and_champion(metric: str, value: float, champion: float | None, floor: float, outcome: str) -> None:
    """Beyond the floor (a ceiling, where less is better) or surely worse than the champion: no."""
    worse = -1 if metric in ("roc_auc", "r2") else 1
    best = None if champion is None else {metric: champion}
    it = None if champion is None else loss(worse * (value - champion), SURE)
    found, sentence = decide(quality(metric, floor), {metric: value}, best, it, 500)
    assert found == outcome
    assert metric in sentence


def test_a_refusal_says_by_how_much() -> None:
    """The one line of a red gate: metric, value, distance, how sure that is, and the limit."""
    it = Loss(0.04, 0.031, 0.05, 0.004)
    _, sentence = decide(quality("roc_auc", 0.9), {"roc_auc": 0.93}, {"roc_auc": 0.97}, it, 500)
    assert (
        sentence == "roc_auc is 0.93, 0.04 worse than the champion's 0.97, and surely worse by 0.031 (tolerance 0.01)"
    )


def test_too_few_rows_are_said() -> None:
    """By how much it may be worse, on how many rows, and how many would tell."""
    found, sentence = decide(quality("roc_auc", 0.9), {"roc_auc": 0.968}, {"roc_auc": 0.97}, loss(0.002, UNSURE), 500)
    assert found == "unsure"
    assert sentence == (
        "roc_auc is 0.968, 0.002 worse than the champion's 0.97; it may be worse by 0.035, and 500 held-out rows "
        "cannot tell (tolerance 0.01); about 8,500 would tell"
    )


def test_the_floor_and_the_comparison_may_be_of_other_rows() -> None:
    """Where the champion has learned from some: a version that passes would seem to be below the floor."""
    _, sentence = decide(quality("roc_auc", 0.9), {"roc_auc": 0.93}, {"roc_auc": 0.85}, loss(-0.01, SURE), 200)
    assert sentence == ("roc_auc is 0.93 (floor 0.9); on the 200 rows that both answered it is 0.86 (champion 0.85)")


def pair(rows: int, noise: float) -> tuple[Answers, Answers]:
    """A champion, and a candidate with noise on top of its answers."""
    dice = np.random.default_rng(7)
    p = dice.uniform(0.02, 0.98, rows)
    truth = np.array(["no", "yes"], object)[(dice.uniform(size=rows) < p).astype(int)]
    worse = np.clip(p + noise * dice.normal(size=rows), 0.001, 0.999)
    champion, candidate = (Answers(truth, np.column_stack([1 - q, q]), ("no", "yes"), "yes") for q in (p, worse))
    return candidate, champion


@pytest.mark.parametrize(
    ("rows", "noise", "unsure", "outcome", "passed"),
    [
        (2000, 0.01, "pass", "pass", True),
        (2000, 0.4, "pass", "fail", False),
        (100, 0.1, "pass", "unsure", True),
        (100, 0.1, "stop", "unsure", False),
    ],
)
def test_two_versions_on_the_same_rows(rows: int, noise: float, unsure: str, outcome: str, passed: bool) -> None:
    """Equal, worse, and too few to tell: which passes unless the project says stop."""
    candidate, champion = pair(rows, noise)
    settings = quality("roc_auc", 0.5, unsure=unsure)
    found = judge(settings, metrics(candidate), candidate, champion, np.arange(rows))
    assert (found.outcome, found.passed, found.compared) == (outcome, passed, rows)
    row = next(each for each in found.metrics if each.name == "roc_auc")
    assert row.change == pytest.approx(metrics(candidate)["roc_auc"] - metrics(champion)["roc_auc"])
    assert row.interval is not None
    assert row.interval[0] <= row.change <= row.interval[1]


def test_both_figures_of_a_row_are_of_the_same_rows() -> None:
    """Where some are left out of the comparison, what the reader subtracts is the change."""
    candidate, champion = pair(500, 0.1)
    some = np.arange(300)
    found = judge(quality("roc_auc", 0.5), metrics(candidate), candidate.of(some), champion.of(some), some)
    for each in found.metrics:
        assert each.candidate is not None
        assert each.champion is not None
        assert each.candidate - each.champion == pytest.approx(each.change)
    assert f"is {metrics(candidate.of(some))['roc_auc']:.4g}" in found.sentence


def test_the_very_same_answers_pass_on_few_rows() -> None:
    """Two versions that say the same cannot differ, however few rows there are."""
    candidate, _ = pair(30, 0.0)
    found = judge(quality("roc_auc", 0.5), metrics(candidate), candidate, candidate, np.arange(30))
    assert found.outcome == "pass"


def test_without_a_champion_the_floor_decides() -> None:
    """The intervals are of the metrics themselves then."""
    candidate, _ = pair(500, 0.1)
    found = judge(quality("roc_auc", 0.5), metrics(candidate), candidate, None, np.arange(500))
    assert (found.outcome, found.compared) == ("pass", 0)
    assert "compared with no champion" in found.sentence
    row = next(each for each in found.metrics if each.name == "roc_auc")
    assert row.interval is not None
    assert row.candidate is not None
    assert row.interval[0] < row.candidate < row.interval[1]


def test_words_of_others_are_no_markup() -> None:
    """A model.json may come from a stranger's pull request."""
    candidate, champion = pair(100, 0.1)
    found = judge(quality("roc_auc", 0.5), metrics(candidate), candidate, champion, np.arange(100))
    text = markdown(type(found)(**{**as_dict(found), "champion": "<img>`|", "sentence": "@all <b> [x](http://y)"}))
    assert text.count("<img>") == text.count("`version <img>'")
    assert "@all" not in text
    assert "[x]" not in text


def as_dict(found: object) -> dict[str, object]:
    return {name: getattr(found, name) for name in found.__struct_fields__}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (
            Answers(np.array(["a", "b", "a"], object), np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]), ["a", "b"], "b"),
            {"roc", "precision_recall", "calibration"},
        ),
        (Answers(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 4.0])), {"predicted", "residuals"}),
    ],
    ids=["classification", "regression"],
)
def test_what_is_drawn_follows_from_the_answer(answers: Answers, expected: set[str]) -> None:
    """Values have no classes, probabilities a column for each."""
    assert set(curves(answers)) == expected


def test_a_label_may_have_dollars() -> None:
    """Two of them are a formula to matplotlib, which fails on most."""
    truth = np.array(["$25_$50", "more"] * 20, object)
    p = np.linspace(0.1, 0.9, 40)
    answers = Answers(truth, np.column_stack([p, 1 - p]), ["$25_$50", "more"], "$25_$50")
    for figure in curves(answers).values():
        figure.savefig(io.BytesIO())
