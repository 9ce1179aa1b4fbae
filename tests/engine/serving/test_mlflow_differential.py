"""serving.protocols.mlflow beside MLflow's own scoring server, which serves the model that training has registered.

Both are given the same bodies, right and wrong ones. Both answer the same, or both refuse. What differs on purpose is
in DIFFERENCES, with the reason, and has to differ.
"""

import json
import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pytest
from a2wsgi import ASGIMiddleware
from werkzeug.test import Client

from pipeline import bundle as bundles
from pipeline import columns, transformer
from pipeline.bundle import Contract, Field
from pipeline.settings import load_settings
from serving import predictor
from serving.app import create_app
from serving.protocols import mlflow as protocol
from serving.protocols.routes import Model
from serving.records import Decoder
from tests.engine.conftest import PROJECT, copy_project, run
from tests.engine.serving.mlflow_cases import (
    ALL,
    BY_COLUMN,
    BY_ROW,
    CHANGES,
    FORMATS,
    OF_JSON,
    OPTIONAL,
    TEXT,
    Record,
    Sent,
    bodies,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about type hints of its own
    import mlflow.pyfunc
    from mlflow.models.utils import _enforce_schema
    from mlflow.pyfunc import scoring_server
    from mlflow.types.schema import ColSpec, Schema

pytestmark = pytest.mark.filterwarnings("ignore")  # an error would be one more of MLflow's refusals

Answer = tuple[list[Any], list[Record]] | None  # predictions, and what the model was given for them; None: refused
Ask = Callable[[Sent], tuple[Answer, Answer]]  # MLflow's answer and the service's
SAMPLES = 3


@pytest.fixture(name="project", scope="module")
def _project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that was trained on data with gaps, so that two of its fields may be missing."""
    project = copy_project(tmp_path_factory.mktemp("gaps") / "project")
    path = project / load_settings(PROJECT).data.path
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[::20, list(OPTIONAL.values())] = ""
    table.to_csv(path, index=False)
    done = run(project, "training.train")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture(name="ask", scope="module")
def _ask(project: Path) -> Iterator[Ask]:
    """Asks both. Compared is what the model is given, too: in a label, most differences would not be seen."""
    given: list[Record] = []

    def derived(records: Iterable[Record], *_: object) -> list[Record]:
        given[:] = columns.derived(records)
        return list(given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])  # to which MLflow adds
        patch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # which it sets
        patch.setenv("MLOPS_SERVING__ACCESS_LOG", "off")
        logging.disable(logging.WARNING)
        mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")
        loaded = mlflow.pyfunc.load_model(f"models:/{load_settings(PROJECT).project.name}@candidate")
        theirs = Client(ASGIMiddleware(scoring_server.init(loaded)))  # type: ignore[arg-type]
        ours = create_app(project / "bundle").test_client()
        patch.setattr(transformer, "derived", derived)
        patch.setattr(predictor, "derived", derived)

        def answer(client: Client, sent: Sent) -> Answer:
            media, body = sent
            found = client.post("/invocations", data=body, headers={"Content-Type": media} if media else {})
            assert found.status_code in (200, 400, 415) or client is theirs, (sent, found.text)
            if found.status_code != 200:
                return None
            rows = [{name: "" if value is None else value for name, value in row.items()} for row in given]
            return json.loads(found.data)["predictions"], rows

        yield lambda sent: (answer(theirs, sent), answer(ours, sent))
        logging.disable(logging.NOTSET)


@pytest.fixture(name="real", scope="module")
def _real(project: Path) -> list[Record]:
    rows = [json.loads(line) for line in (project / "bundle" / "requests.jsonl").read_text().splitlines()]
    return [row for row in rows if None not in row.values()]


def different(theirs: Answer, ours: Answer) -> object:
    """What differs, in short."""
    if theirs is None or ours is None or len(theirs[1]) != len(ours[1]):
        return theirs and len(theirs[1]), ours and len(ours[1])
    pairs = zip(theirs[1], ours[1], strict=True)
    return [{name: (a.get(name), b.get(name)) for name in a | b if a.get(name) != b.get(name)} for a, b in pairs]


STRICT = "what was left out is no null: it may be a typing error"
WRONG_TYPE = "a wrong type is a mistake of the client's; MLflow makes something of it"
TEXT_OF_NULL = "MLflow tells the model of a text None, or nan, in these forms"
UNUSED = "what does not matter to the answer is not looked at"
PANDAS = "what pandas makes of it is a guess; a body that was cut off looks like that"
MEDIA = "as RFC 9110 has it; MLflow's server refuses it, or fails with a 500"
TENSOR = "a column of rows with one value each, as the Open Inference Protocol has it"
DIFFERENCES: dict[str, tuple[str, tuple[str, ...]]] = {  # reason, and formats of a change
    "null for a text where none was missing": (TEXT_OF_NULL, (*BY_COLUMN, "inputs by row", "instances by row", "csv")),
    "a required number left out of one row": (STRICT, ("dataframe_records", "inputs by row")),
    "a required text left out of one row": (STRICT, ("dataframe_records", "inputs by row")),
    "an optional number left out of one row": ("MLflow takes it in all forms but this one", ("instances by row",)),
    "an optional text left out of one row": ("MLflow takes it in all forms but this one", ("instances by row",)),
    "null for a text": (TEXT_OF_NULL, (*BY_COLUMN, "inputs by row", "instances by row")),
    "NaN for a text": (
        "the same; in CSV it is a text to training, too",
        (*BY_COLUMN, "inputs by row", "instances by row", "csv"),
    ),
    "scalars, a text null": (TEXT_OF_NULL, ()),
    "an empty list for a number": (WRONG_TYPE, ("inputs by row",)),
    "a whole number past any float": ("the model has 32 bits for it", ("csv",)),
    "no finite number": ("the model has 32 bits for it", ALL),
    "true for a number": (WRONG_TYPE, OF_JSON),
    "true for a text": (WRONG_TYPE, OF_JSON),
    "a number for a text": (WRONG_TYPE, OF_JSON),
    "an object for a text": (WRONG_TYPE, ("inputs by row", *BY_COLUMN, "instances by row")),
    "a text that pandas takes for none": ("training reads it as a text, too", ("csv",)),
    "a list of one number": (TENSOR, BY_COLUMN),
    "a list of one text": (TENSOR, BY_COLUMN),
    "one more field in one row": (UNUSED, ("instances by row",)),
    "lists of lists of one": (TENSOR, ()),
    "one more column of another length": (UNUSED, ()),
    "an index of other length": (UNUSED, ()),
    "an index that is none": (UNUSED, ()),
    "pandas' format tight": (UNUSED, ()),
    "a key of language models": (UNUSED, ()),
    "split of objects": (PANDAS, ()),
    "split of columns": (PANDAS, ()),
    "split, a row cut off": (PANDAS, ()),
    "CSV, a line cut off": (PANDAS, ()),
    "CSV, lines with one less": (PANDAS, ()),
    "CSV, a line of spaces": (PANDAS, ()),
    "CSV, an index without a name": (PANDAS, ()),
    "CSV, a field twice": ("it is not clear which is meant; MLflow takes the first, and refuses it in JSON", ()),
    "as ''": (MEDIA, ()),
    "as 'Application/JSON'": (MEDIA, ()),
    "as 'application/json; charset=\"utf-8\"'": (MEDIA, ()),
    "as 'application/json;'": (MEDIA, ()),
    "as 'application/json; format=pandas-split'": (UNUSED, ()),
}

ANSWERED = {  # by both, and not refused by both
    "nothing",
    "another order of fields",
    "a number in quotes",
    "a long text",
    "null for a number",
    "null for a text",
    "an optional number left out",
    "an optional text left out",
    "an optional number left out of one row",
    "an optional text left out of one row",
    "one more field of texts",
    "scalars in inputs",
    "scalars in instances",
    "scalars without an optional one",
    "a number for all rows",
    "a text for all rows",
    "all but one for all rows",
    "split, a column without a name",
    "split, another twice",
    "an index",
    "params that are none",
    "JSON, BOM",
    "JSON, UTF-16",
    "CSV, BOM",
    "CSV, '#N/A N/A' for a number",
}


def sample(real: list[Record], dice: random.Random) -> list[Record]:
    """Two rows or more: in one alone, to leave a field out of one row is to leave it out."""
    return [dict(row) for row in dice.sample(real, dice.randint(2, 4))]


@pytest.mark.parametrize("name", CHANGES)
def test_changed_records(ask: Ask, real: list[Record], name: str) -> None:
    """The same answer as MLflow's, or both refuse, in each format that can say it; or a difference that is listed."""
    _, differ = DIFFERENCES.get(name, ("", ()))
    for form in BY_ROW if "one row" in name else ALL:
        if form == "csv" and "surrogates" in name:
            continue
        dice, found = random.Random(f"{form}, {name}"), []
        for _ in range(SAMPLES):
            rows = sample(real, dice)
            CHANGES[name](rows, dice)
            theirs, ours = ask(FORMATS[form](rows))
            if form not in differ:
                assert theirs == ours, (form, different(theirs, ours))
            if name in ANSWERED and form not in differ:
                assert ours is not None, form
            found.append(theirs == ours)
        assert form not in differ or not all(found), form


def test_changed_bodies(ask: Ask, real: list[Record]) -> None:
    """The same for what is no matter of records: shapes, keys, media types, texts that are no JSON and no CSV."""
    rows = sample(real, random.Random(1))
    answers = {name: ask(sent) for name, sent in bodies(rows).items()}
    assert len(answers) > 100
    assert all(answers[name][1] is not None for name in ANSWERED & answers.keys())
    assert {name for name, (theirs, ours) in answers.items() if theirs != ours} == DIFFERENCES.keys() & answers.keys()


@pytest.mark.slow
@pytest.mark.parametrize("form", ALL)
def test_changes_together(ask: Ask, real: list[Record], form: str) -> None:
    """Any two of them: no 500, and none that hides another."""
    dice = random.Random(form)
    names = [name for name in CHANGES if "one row" not in name and "surrogates" not in name]
    for _ in range(60):
        pair, rows = sorted(dice.sample(names, 2), key=lambda name: "left out" in name), sample(real, dice)
        for name in pair:
            CHANGES[name](rows, dice)
        theirs, ours = ask(FORMATS[form](rows))
        if all(form not in DIFFERENCES.get(name, ("", ()))[1] for name in pair):
            assert theirs == ours, (pair, different(theirs, ours))


def test_every_difference_is_one_of_a_case(real: list[Record]) -> None:
    """The list names no case that is not tried."""
    assert DIFFERENCES.keys() <= CHANGES.keys() | bodies(real[:2]).keys()


def test_a_required_field_that_is_missing_is_named(project: Path, real: list[Record]) -> None:
    """In every format; the client cannot know otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_SERVING__ACCESS_LOG", "off")
        client = create_app(project / "bundle").test_client()
    rows = [{name: value for name, value in row.items() if name != TEXT} for row in real[:2]]
    for form in FORMATS.values():
        media, body = form(rows)
        answer = client.post("/invocations", data=body, headers={"Content-Type": media})
        assert (answer.status_code, answer.json["message"]) == (400, f"row 0, field '{TEXT}': is missing")  # type: ignore[index]
    rows = [{name: value for name, value in row.items() if name != OPTIONAL["text"]} for row in real[:2]]
    strict = client.post("/predict", json={"instances": rows})
    assert (strict.status_code, OPTIONAL["text"] in strict.text) == (422, True)


@pytest.mark.parametrize("content", [["a", "b"], {"words": ["a", "b"]}, {"words": "a"}, [{"words": "a"}], "a"])
@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_a_model_of_one_column(project: Path, key: str, content: Any) -> None:
    """A list is the column, as in MLflow's parser."""
    schema = Schema([ColSpec("string", "words")])
    try:
        parsed = scoring_server.infer_and_parse_data({key: content}, schema)
        expected = _enforce_schema(parsed, schema)["words"].tolist()
    except Exception:
        expected = None
    card, seen = bundles.read(project / "bundle").card, list[Any]()
    contract = Contract(1, "regression", [Field("words", "text", nullable=False)], [], [], [])
    decode = Decoder(contract, load_settings(PROJECT).serving, lenient=True)

    def predict(records: Any) -> list[list[float]]:
        seen.append([record["words"] for record in records])
        return [[0.0]] * len(records)

    routes = protocol.routes(Model(card, contract, decode, predict, -1, 0, [{"words": "a"}]))
    (post,) = [route.answer for route in routes if route.path == "/invocations"]
    answered = post(msgspec.json.encode({key: content}), []).status == 200
    assert (seen[0] if answered else None) == expected
