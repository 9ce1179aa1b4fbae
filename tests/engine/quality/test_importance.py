"""training.quality.importance: what a model needs is missed when it is shuffled."""

import numpy as np
import pandas as pd

from training.quality import importance
from training.quality.metrics import Answers

FRAME = pd.DataFrame({"useful": np.arange(300.0), "useless": np.arange(300.0)[::-1], "word": ["a", "b", None] * 100})


def test_a_column_that_is_used_matters_and_no_other() -> None:
    """By the metric that is judged, in its own unit: for one of which less is better, likewise."""
    shuffled = importance.shuffled(FRAME)
    given = shuffled["useful"].to_numpy() * 2.0
    answers = Answers(FRAME["useful"].to_numpy() * 2.0, given[: len(FRAME)])
    for metric, sign in (("r2", 1), ("mae", -1)):
        found = importance.losses(answers, given, list(FRAME), metric, sign)
        assert found["useful"] > 0.5
        assert found["useless"] == found["word"] == 0


def test_rows_are_shuffled_within_a_column_alone() -> None:
    """The same values, in the same order for two versions; the other columns as they are."""
    shuffled = importance.shuffled(FRAME)
    assert len(shuffled) == 4 * len(FRAME)
    pd.testing.assert_frame_equal(shuffled.iloc[:300], FRAME.astype({"word": object}), check_dtype=False)
    second = shuffled.iloc[600:900].reset_index(drop=True)
    assert second["useful"].tolist() == FRAME["useful"].tolist()
    assert second["useless"].tolist() != FRAME["useless"].tolist()
    assert sorted(second["useless"]) == sorted(FRAME["useless"])
    pd.testing.assert_frame_equal(shuffled, importance.shuffled(FRAME))


def test_it_stays_cheap() -> None:
    """Rows grow fewer with the columns, and of very many nothing is asked."""
    assert len(importance.chosen(1_000_000, 5)) == 2_000
    assert len(importance.chosen(1_000_000, 100)) == 400
    assert len(importance.chosen(50, 5)) == 50
    assert len(importance.shuffled(pd.DataFrame(np.zeros((3, 201))))) == 0
