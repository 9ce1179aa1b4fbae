"""Numbers, texts, booleans and dates as clients send them, and what stands for a missing one."""

from datetime import datetime
from typing import Any
from unicodedata import normalize

import msgspec
import pytest

from pipeline.bundle import Contract, Field
from pipeline.schema import Serving
from serving.records import Decoder
from serving.replies import Problem

FIELDS = [
    Field("amount", "number", nullable=True, missing=["-1", "NA"]),
    Field("größe", "text", nullable=True, missing=["?"]),
    Field("paid", "boolean", nullable=True),
    Field("opened", "date", nullable=True, format="%d/%m/%Y"),
    Field("seen", "date", nullable=False),
]
CONTRACT = Contract(1, "regression", FIELDS, ["other"], [], [])
GIVEN = {"amount": 1.5, "größe": "L", "paid": True, "opened": "31/01/2024", "seen": "2024-01-31T10:00:00"}
READ = {"amount": 1.5, "größe": "L", "paid": True, "opened": datetime(2024, 1, 31), "seen": datetime(2024, 1, 31, 10)}
DECODER = Decoder(CONTRACT, Serving())


def ways(record: dict[str, Any]) -> list[Any]:
    """What the decoder makes of a record by each of its ways: fast or slow, by rows or by columns."""
    by_body = DECODER.body(msgspec.json.encode({"instances": [record]}))
    return [by_body, DECODER.instances([record]), DECODER.columns({name: [value] for name, value in record.items()})]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        *[({"paid": value}, {"paid": True}) for value in (True, 1, 1.0, "True", "yes", "Y", " on ")],
        *[({"paid": value}, {"paid": False}) for value in (False, 0, "FALSE", "no", "f", "0")],
        ({"opened": "2024-01-31"}, {}),
        ({"seen": "2024-01-31T11:00:00+01:00"}, {}),
        ({"seen": "2024-01-31T10:00Z"}, {}),
        ({"seen": "2024-01-31"}, {"seen": datetime(2024, 1, 31)}),
        *[({"amount": value}, {"amount": None}) for value in (None, -1, -1.0, "NA")],
        *[({"größe": value}, {"größe": None}) for value in (None, "?")],
        ({"paid": None, "opened": None}, {"paid": None, "opened": None}),
    ],
)
def test_a_value_is_taken_as_the_file_has_it(change: dict[str, Any], expected: dict[str, Any]) -> None:
    """The words of the file, and JSON's own; dates in its format or in ISO 8601, in UTC."""
    for records in ways(GIVEN | change):
        assert records == [READ | expected]
        assert [type(value) for value in records[0].values()] == [type(value) for value in (READ | expected).values()]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"paid": "maybe"}, "is a text; expected true or false"),
        ({"paid": 2}, "is a number; expected true or false"),
        ({"paid": {}}, "is an object; expected true or false"),
        ({"amount": True}, "is true or false; expected a number"),
        ({"opened": "01/31/2024"}, "is '01/31/2024'; expected a date as '31/01/2024' is, or '2024-01-31'"),
        ({"opened": 20240131}, "is a number; expected a date as a text"),
        ({"seen": "soon"}, "is 'soon'; expected a date such as '2024-01-31'"),
        ({"seen": "0001-01-01T00:00+14:00"}, "is '0001-01-01T00:00+14:00'; expected a date such as '2024-01-31'"),
        ({"seen": "\ud800"}, "is no valid Unicode text: it holds half of a surrogate pair"),
        ({"seen": None}, "is null, but training saw no missing value here"),
        ({"amount": "?"}, "is a text; expected a number"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], detail: str) -> None:
    """Field and reason, whichever way the record takes."""
    record = GIVEN | change
    for decode in (DECODER.instances, lambda rows: DECODER.columns({name: [rows[0][name]] for name in record})):
        with pytest.raises(Problem) as raised:
            decode([record])
        assert raised.value.errors == [{"row": 0, "field": next(iter(change)), "detail": detail}]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_the_same_however_they_are_composed(form: str) -> None:
    """ü may be one code point, or u and two dots, as a Mac writes it."""
    record = {normalize(form, name): value for name, value in GIVEN.items()}
    assert ways(record) == [[READ]] * 3
