"""serving.records: what is taken and what is refused does not depend on how it was sent."""

import tracemalloc
from typing import Any
from unicodedata import normalize

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bundle import CONTRACT_VERSION, Contract, Field
from pipeline.settings import load_settings
from serving.records import Decoder
from serving.replies import Problem
from tests.engine.conftest import PROJECT

CONTRACT = Contract(
    version=CONTRACT_VERSION,
    task="regression",
    fields=[
        Field("Term", "number", nullable=False),
        Field("Gross Approval", "number", nullable=True),
        Field("State", "text", nullable=False),
        Field("City", "text", nullable=True),
    ],
    unused=["Name"],
    columns=[],
    classes=[],
)
LIMITS = msgspec.structs.replace(load_settings(PROJECT).serving, max_rows=5)
DECODERS = {
    kind: Decoder(CONTRACT, msgspec.structs.replace(LIMITS, unknown_fields=kind)) for kind in ("reject", "ignore")
}
PLAIN = Decoder(
    msgspec.structs.replace(
        CONTRACT, fields=[msgspec.structs.replace(f, name=f.name.replace(" ", "_")) for f in CONTRACT.fields]
    ),
    LIMITS,
)
NAMES = [*(field.name for field in CONTRACT.fields), "Name", "Trem"]
NUMBERS = st.floats() | st.integers() | st.sampled_from([0, -0.0, 1e39, 10**400])
VALUES = NUMBERS | st.text(max_size=3) | st.none() | st.booleans() | st.just("\ud800") | st.lists(NUMBERS, max_size=2)
RIGHT = {
    "Term": st.floats(-1e6, 1e6) | st.integers(-9, 9),
    "Gross Approval": st.none() | st.floats(-1e6, 1e6),
    "State": st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    "City": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
}


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows with the same fields, mostly right."""
    names = draw(st.just(list(RIGHT)) | st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    wrong = draw(st.sets(st.sampled_from(NAMES), max_size=1))
    kinds = {name: VALUES if name in wrong else RIGHT.get(name, VALUES) for name in names}
    return draw(st.lists(st.fixed_dictionaries(kinds), min_size=1, max_size=6))


def outcome(decode: Any, given: Any) -> Any:
    try:
        return decode(given)
    except Problem as problem:
        return problem.status, problem.detail, problem.errors


def test_names_by_column_may_be_composed_otherwise() -> None:
    """As those of rows may: macOS writes ö as two code points."""
    contract = msgspec.structs.replace(CONTRACT, fields=[Field("Größe", "number", nullable=False)])
    for decoder in (Decoder(contract, LIMITS), Decoder(contract, LIMITS, lenient=True)):
        assert decoder.columns({normalize("NFD", "Größe"): [1, 2]}) == [{"Größe": 1.0}, {"Größe": 2.0}]


@pytest.mark.parametrize("name", ['size "in"', "size\n(m)", "a\\b", "tab\there"])
def test_a_field_may_have_any_name(name: str) -> None:
    """Also one that msgspec's structs cannot read, such as a header with a line break out of a spreadsheet."""
    row = {"Term": 1.0, "State": "x", "City": None}
    used = msgspec.structs.replace(CONTRACT, fields=[Field(name, "number", nullable=False), *CONTRACT.fields[2:]])
    unused = msgspec.structs.replace(CONTRACT, unused=["Name", name])
    for contract, sent, expected in (
        (used, {name: 2, "State": "x", "City": None}, {name: 2.0, "State": "x", "City": None}),
        (unused, row | {"Gross Approval": 2, name: "any"}, row | {"Gross Approval": 2.0}),
        (unused, row | {"Gross Approval": 2}, row | {"Gross Approval": 2.0}),
    ):
        decode = Decoder(contract, LIMITS)
        assert decode.body(msgspec.json.encode({"instances": [sent]})) == [expected]
        assert decode.instances([sent]) == [expected]
        assert decode.columns({key: [value] for key, value in sent.items()}) == [expected]
    with pytest.raises(Problem, match="is missing"):
        Decoder(used, LIMITS).body(msgspec.json.encode({"instances": [{"State": "x", "City": None}]}))


@pytest.mark.parametrize("unknown", list(DECODERS))
@given(found=rows())
def test_columns_are_read_as_rows_are(unknown: str, found: list[dict[str, Any]]) -> None:
    """The same records or the same problem, whether by row, by column, or by column in lists of one value."""
    decode = DECODERS[unknown]
    expected = outcome(decode.instances, found)
    columns = {name: [row[name] for row in found] for name in found[0]}
    # A list of one value is that value, where a column is given: no row is sent so.
    if not any(isinstance(value, list) and len(value) == 1 for values in columns.values() for value in values):
        assert repr(outcome(decode.columns, columns)) == repr(expected)
        nested = {name: [[value] for value in values] for name, values in columns.items()}
        assert repr(outcome(decode.columns, nested)) == repr(expected)


@given(found=rows())
def test_a_body_is_read_as_its_rows_are(found: list[dict[str, Any]]) -> None:
    """Parsed and checked in one go, or one after the other."""
    decode = DECODERS["reject"]
    try:
        body = msgspec.json.encode({"instances": found})
    except (UnicodeEncodeError, OverflowError):  # msgspec writes no half of a surrogate pair, and no such number
        return
    again = msgspec.json.decode(body)["instances"]  # NaN is null there
    assert repr(outcome(decode.body, body)) == repr(outcome(decode.instances, again))


@given(found=rows())
def test_a_name_makes_no_difference(found: list[dict[str, Any]]) -> None:
    """A field whose name could be one of Python's is read as others are, which have a way of their own."""
    renamed = [{name.replace(" ", "_"): value for name, value in row.items()} for row in found]
    read = repr(outcome(PLAIN.instances, renamed)).replace("Gross_Approval", "Gross Approval")
    assert read == repr(outcome(DECODERS["reject"].instances, found))


def test_one_value_is_that_of_every_row() -> None:
    """In columns; and a row alone where no column is a list."""
    columns = {"Term": [1, 2], "Gross Approval": None, "State": "CA", "City": ["x", None]}
    rows = [{name: v[n] if isinstance(v, list) else v for name, v in columns.items()} for n in range(2)]
    for decode in DECODERS.values():
        assert decode.columns(columns) == decode.instances(rows)
        assert decode.columns(rows[0]) == decode.instances(rows[:1])


def test_columns_that_are_too_long_are_refused_first() -> None:
    """Before anything is made of them: short values that stand for many rows would take much memory."""
    columns = {"Term": [0] * 500_000, **{f"field {number}": 0 for number in range(1000)}}
    tracemalloc.start()
    for decode in (*DECODERS.values(), Decoder(CONTRACT, LIMITS, lenient=True)):
        with pytest.raises(Problem, match="500000 rows in one request"):
            decode.columns(columns)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_columns_of_different_length_are_named() -> None:
    """With how many values each has."""
    columns = {"Term": [1.0], "Gross Approval": [1.0, 2.0], "State": ["CA"], "City": ["x"]}
    with pytest.raises(Problem, match="columns of different length: Term has 1, Gross Approval has 2"):
        DECODERS["reject"].columns(columns)
