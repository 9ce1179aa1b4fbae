"""training.quality.slices: where a model lost, corrected for the number of places that were looked at."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from training.quality import slices
from training.quality.metrics import Answers
from training.quality.slices import compare, holm, parts

ROWS = 3000
PLACE = np.array(["north", "south", "east", "west"], object)[np.arange(ROWS) % 4]


def versions(seed: int, broken: str = "") -> tuple[Answers, Answers]:
    """A candidate and a champion, equally good but for the rows of one place."""
    dice = np.random.default_rng(seed)
    signal = dice.normal(size=ROWS)
    truth = np.array(["no", "yes"], object)[(signal + dice.normal(size=ROWS) > 0).astype(int)]
    answers = []
    for version in range(2):
        noise = np.where((broken == PLACE) & (version == 0), 2.0, 0.2)
        p = 1 / (1 + np.exp(-(signal + noise * dice.normal(size=ROWS))))
        answers.append(Answers(truth, np.column_stack([1 - p, p]), ("no", "yes"), "yes"))
    return answers[0], answers[1]


def judged(both: tuple[Answers, Answers], limit: float | None) -> list[tuple[str, str]]:
    found = parts("place", pd.Series(PLACE))
    rows, few = compare("roc_auc", 1, *both, np.arange(ROWS), found, limit)
    assert few == 0
    return [(each.value, each.outcome) for each in rows]


def test_a_slice_that_broke_comes_first() -> None:
    """With a limit it fails, without one it is marked; the others are neither."""
    assert judged(versions(1, "south"), 0.02)[0] == ("south", "fail")
    assert judged(versions(1, "south"), None)[0] == ("south", "worse")
    assert {outcome for _, outcome in judged(versions(1, "south"), 0.02)[1:]} == {""}


def test_nothing_broke() -> None:
    """Of 60 reports on two equal versions, no more than chance marks a slice: one in a hundred for each report."""
    marked = sum(any(outcome for _, outcome in judged(versions(seed), None)) for seed in range(60))
    assert marked <= 3  # four or more come once in 300 times


def test_holm() -> None:
    """Each against its own share, until the first that stays."""
    assert holm([0.001, 0.5, 0.004, 0.02], 0.01) == [True, False, False, False]
    assert holm([0.001, 0.0030, 0.5], 0.01) == [True, True, False]
    assert holm([], 0.01) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series(["a", None, "b"] * 30, dtype=object), {"a": 30, "(none)": 30, "b": 30}),
        (pd.Series([True, False, None] * 20, dtype=object), {"True": 20, "False": 20, "(none)": 20}),
        (pd.Series([1.0, 2.5, np.nan] * 20), {"1": 20, "2.5": 20, "(none)": 20}),
        (pd.Series(np.arange(100.0)), {"to 24.75": 25, "24.75 to 49.5": 25, "49.5 to 74.25": 25, "above 74.25": 25}),
        (pd.Series([str(n) for n in range(100)], dtype=object), {"to 24.75": 25, "24.75 to 49.5": 25}),
        (pd.Series([datetime(2023, 5, 1), datetime(2024, 5, 1)] * 9, dtype=object), {"2023": 9, "2024": 9}),
        (pd.Series([0.0] * 90 + [*range(20)]), {"to 0": 91, "above 0": 19}),
    ],
    ids=["texts", "booleans", "few numbers", "numbers", "numbers of no feature", "dates", "mostly nought"],
)
def test_parts_of_a_column(values: pd.Series, expected: dict[str, int]) -> None:
    """Every row is in one part, and a gap is a value."""
    found = parts("x", values)
    assert expected.items() <= {part.value: len(part.rows) for part in found}.items()
    assert sorted(np.concatenate([part.rows for part in found])) == [*range(len(values))]


def test_small_slices_are_counted_and_not_judged() -> None:
    """Ten rows of a class at least: of fewer nothing is sure."""
    both = versions(2)
    found = [
        slices.Part("x", "few", np.arange(30)),
        slices.Part("x", "one class", np.flatnonzero(both[0].truth == "yes")),
    ]
    assert compare("roc_auc", 1, *both, np.arange(ROWS), found, None) == ([], 2)


def test_the_first_version_has_slices_too() -> None:
    """Without a champion: the metric of each, with its interval."""
    rows, _ = compare("roc_auc", 1, versions(3)[0], None, np.arange(ROWS), parts("place", pd.Series(PLACE)), 0.01)
    assert len(rows) == 4
    for each in rows:
        assert each.champion is None
        assert each.interval is not None
        assert each.interval[0] < each.candidate < each.interval[1]
        assert each.outcome == ""
