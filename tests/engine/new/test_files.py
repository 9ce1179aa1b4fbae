"""training.new.files: what is written."""

import doctest
import tomllib
from typing import Any

import pandas as pd
import pytest

from tests.engine.conftest import ROOT
from training.new import files
from training.new.columns import Column
from training.new.trial import Trial


def test_words_are_counted_of_texts_that_are_kept() -> None:
    """A free text that is left out, such as a copy, is no column of the model's."""
    free = Column("text", "text", free=True)
    assert 'FREE = ("text",)' in files.estimator_module([free, free._replace(name="copy", kind=None)])
    trees = files.estimator_module([free._replace(kind=None)])
    assert trees == files.estimator_module([]) == (ROOT / "src/model/estimator.py").read_text(encoding="utf-8")


def test_letters_are_counted_where_no_space_parts_words() -> None:
    """As in Chinese, where what stands between two spaces would be a word that never comes again."""
    module: dict[str, Any] = {}
    exec(files.estimator_module([Column("评论", "text", free=True, spaced=False)]), module)  # noqa: S102
    texts = pd.DataFrame({"评论": ["味道很好", "很不好吃", "不好", "很好吃"]})
    model = module["build"]("classification", 0).fit(texts, [1, 0, 0, 1])
    assert model.predict(texts).tolist() == [1, 0, 0, 1]


def test_a_start_is_subtracted_where_there_is_a_number() -> None:
    """From what `derive` gets: a float64 of the file, or of the request."""
    columns = [Column("at", "number", start=1_700_000_000), Column("x", "number")]
    text = files.data_module("data/a.csv", columns, [{"at": 1_700_000_550.0, "x": 0.5}])
    module: dict[str, Any] = {}
    exec(text, module)  # noqa: S102  what was just written
    assert module["derive"]({"at": 1_700_000_550.0, "x": 0.5}) == {"at": 550.0, "x": 0.5}
    assert module["derive"]({"at": 0.0, "x": None}) == {"at": -1_700_000_000.0, "x": None}
    assert module["derive"]({"at": None, "x": 0.5}) == {"at": None, "x": 0.5}
    assert 'for name, start in (("at", 1_700_000_000),):' in text
    (examples,) = doctest.DocTestFinder().find(module["derive"], "derive", globs=module)
    assert doctest.DocTestRunner().run(examples).failed == 0
    plain, counted = examples.examples[1:]
    assert plain.source == 'derive(record)["x"] == record["x"]\n'
    assert (counted.source, counted.want) == ('derive(record)["at"]\n', "550.0\n")


@pytest.mark.parametrize(
    ("metric", "value", "spread", "rows", "floor", "tolerance"),
    [
        ("r2", 0.575, 0.151, 60, 0.27, 0.16),
        ("r2", 0.366, 0.25, 50, 0.0, 0.25),  # no worse than a constant
        ("r2", -0.13, 0.05, 250, -0.23, 0.05),  # a constant is better: what there is, passes
        ("roc_auc", 0.9972, 0.0049, 72, 0.983, 0.007),
        ("roc_auc", 1.0, 0.0, 10_000, 0.996, 0.002),
    ],
)
def test_the_floor_is_what_chance_alone_does_not_break(
    metric: str, value: float, spread: float, rows: int, floor: float, tolerance: float
) -> None:
    """Two standard errors below what a first model reached; half a row at least."""
    task = "regression" if metric == "r2" else "classification"
    written = tomllib.loads(files.quality_section(task, Trial(metric, value, spread, rows)))["quality"]
    assert written == {"metric": metric, "floor": pytest.approx(floor), "tolerance": pytest.approx(tolerance)}
    assert written["floor"] <= value
