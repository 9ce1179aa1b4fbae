"""A generated project's own tests on other people's data and models: they run unchanged."""

import csv
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tomllib import loads as settings
from typing import NamedTuple

import pandas as pd
import pytest

from .conftest import Bake, Run, commit_all

Cell = str | float

DERIVE = '''"""Records as the file has them."""

from collections.abc import Mapping
from typing import Any


def derive(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record itself.

    >>> derive({"one": 1.0})
    {'one': 1.0}
    """
    return dict(record)
'''

# An estimator that no converter knows: scikit-learn serves it.
OWN_STEP = '''"""A model with a step of one's own."""

from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder


def _as_it_is(frame):
    return frame


def build(task: str, seed: int) -> BaseEstimator:
    columns = make_column_transformer(
        (SimpleImputer(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(FunctionTransformer(_as_it_is), columns, RandomForestRegressor(20, random_state=seed))
'''


class Case(NamedTuple):
    """Somebody's data: the columns with their kind, how a row comes about, how many rows, and the settings."""

    header: str
    rows: int
    row: Callable[[random.Random, int], tuple[Cell, ...]]
    settings: str
    estimator: str = ""
    queried: bool = False  # it lies in a database


def few(dice: random.Random, number: int) -> tuple[Cell, ...]:
    number += 7  # from here on the split by hash leaves both classes on both sides
    return number, "odd" if number % 2 else "even"


def broken(dice: random.Random, number: int) -> tuple[Cell, ...]:
    size = dice.randrange(100)
    text = dice.choice(["one line", "two\nlines", 'a "quote", a comma', "Zoë 🏦", ""])
    name = "rare" if number % 200 == 0 else "high" if len(text) + size / 10 > 12 else "low"
    return dice.choice([size, ""]), text, name


def regression(dice: random.Random, number: int) -> tuple[Cell, ...]:
    size, place = dice.randrange(1000), dice.choice(["here", "there"])
    return dice.choice([size, size, ""]), place, size * (2 if place == "here" else 3) + dice.gauss(0, 50)


CASES = {
    "ten rows, as an old spreadsheet writes them": Case(
        "Anzahl,Parität", 10, few, 'target = "Parität"\nnumeric = ["Anzahl"]\nencoding = "cp1252"\nseparator = ";"'
    ),
    "line breaks in cells, and a rare class of three": Case(
        "Größe (cm),the text,answer", 4000, broken, 'target = "answer"\nnumeric = ["Größe (cm)"]\ntext = ["the text"]'
    ),
    "from a database, and served by scikit-learn": Case(
        "size,place,price", 2000, regression, 'target = "price"\nnumeric = ["size"]\ntext = ["place"]', OWN_STEP, True
    ),
}


def lay_out(project: Path, case: Case) -> None:
    """Puts somebody's data, settings and model into a generated project."""
    dice = random.Random(7)
    header, rows = case.header.split(","), [case.row(dice, number) for number in range(case.rows)]
    own = settings("[data]\n" + case.settings)["data"]
    where = 'path = "data/own.csv"'
    if case.queried:
        where = 'sql = "SELECT * FROM own ORDER BY rowid"'
        with closing(sqlite3.connect(project / "own.db")) as connection, connection:
            pd.DataFrame(rows, columns=header).to_sql("own", connection, index=False)
    else:
        encoding = own.get("encoding", "utf-8")
        with (project / "data" / "own.csv").open("w", encoding=encoding, newline="") as file:
            writer = csv.writer(file, delimiter=own.get("separator", ","))
            writer.writerows([header, *rows])
    task, metric, floor = ("regression", "r2", 0.1) if case.estimator else ("classification", "log_loss", 5)
    (project / "pipeline.toml").write_text(
        f'[project]\nname = "own"\n[data]\n{where}\ntask = "{task}"\n{case.settings}\n'
        f'[quality]\nmetric = "{metric}"\nfloor = {floor}\n',
        encoding="utf-8",
    )
    (project / "src" / "model" / "data.py").write_text(DERIVE, encoding="utf-8")
    if case.estimator:
        (project / "src" / "model" / "estimator.py").write_text(case.estimator, encoding="utf-8")


@pytest.fixture(name="own", params=CASES)
def _own(request: pytest.FixtureRequest, bake: Bake, run: Run) -> Iterator[Path]:
    project = bake().project
    lay_out(project, CASES[request.param])
    commit_all(project, run)
    yield project


@pytest.mark.slow
def test_its_tests_pass(own: Path, run: Run, make: list[str]) -> None:
    """The project's own tests hold for any data and model that the pipeline takes."""
    # The environment belongs to the outer project and finds the packages of that; these come first.
    database = f"sqlite:///{own / 'own.db'}"
    run(*make, "test", cwd=own, PYTHONPATH=f"{own}:{own / 'src'}", DATABASE_URL=database)
