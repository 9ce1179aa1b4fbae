"""pipeline.columns and pipeline.transformer: one way from records to arrays."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import columns
from pipeline.bundle import Column
from pipeline.transformer import Derive, records


@given(st.lists(st.one_of(st.none(), st.floats(width=32, allow_nan=False, allow_infinity=False)), min_size=1))
def test_numbers_become_float32_and_gaps_nan(values: list[float | None]) -> None:
    """Shape (rows, 1); None is NaN; every other value is kept exactly."""
    array = columns.arrays([{"x": value} for value in values], [Column("x", "number")])["x"]
    assert array.shape == (len(values), 1)
    assert array.dtype == np.float32
    for value, cell in zip(values, array[:, 0].tolist(), strict=True):
        assert math.isnan(cell) if value is None else cell == value


@given(st.lists(st.one_of(st.none(), st.text()), min_size=1))
def test_texts_stay_and_gaps_are_empty(values: list[str | None]) -> None:
    """ONNX has no missing text, so a gap is the empty text on both sides."""
    array = columns.arrays([{"x": value} for value in values], [Column("x", "text")])["x"]
    assert array[:, 0].tolist() == [value or "" for value in values]


def test_a_column_with_any_text_is_text() -> None:
    """Types are read off all rows: the first may have a gap."""
    rows = [{"a": None, "b": 1.0}, {"a": "x", "b": None}]
    assert columns.infer(rows) == [Column("a", "text"), Column("b", "number")]


def test_derive_must_answer_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other keys on one record, or an exception: an error that names the record and src/model/data.py."""
    monkeypatch.setattr(columns, "derive", lambda record: {"a": 1.0} if record["ok"] else {"b": 1.0})
    with pytest.raises(columns.DeriveError, match=r"src/model/data\.py.*row 1.*a, b"):
        columns.derived([{"ok": True}, {"ok": False}])
    with pytest.raises(columns.DeriveError, match=r"row 0.*KeyError"):
        columns.derived([{}])
    monkeypatch.setattr(columns, "derive", lambda _record: None)
    with pytest.raises(columns.DeriveError, match=r"data\.py: derive gives NoneType for row 0; expected a dict"):
        columns.derived([{}])


def test_the_registered_pipeline_and_the_service_see_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame through Derive and records through `arrays`: equal cells, gaps included."""
    monkeypatch.setattr(
        columns,
        "derive",
        lambda record: {"double": record["x"] and 2 * record["x"], "first": record["t"] and record["t"][0]},
    )
    rows = [{"x": 1.5, "t": "ab"}, {"x": None, "t": "cd"}, {"x": 0.1, "t": None}]
    frame = pd.DataFrame(rows)
    derive = Derive().fit(frame)
    through_frame = derive.transform(frame)
    through_records = columns.arrays(columns.derived(rows), derive.columns)
    assert list(through_frame) == list(through_records) == ["double", "first"]
    for name, array in through_records.items():
        np.testing.assert_array_equal(through_frame[name].to_numpy(), array[:, 0])


def test_an_optional_column_may_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that MLflow's signature calls so, since fitting saw a gap; any other is missing."""
    monkeypatch.setattr(columns, "derive", lambda record: {"x": record["x"], "t": record["t"]})
    frame = pd.DataFrame({"x": [1.0, None], "t": ["a", "b"]})
    derive = Derive().fit(frame)
    left = derive.transform(frame[["t"]])
    assert left["x"].isna().all()
    assert left["t"].tolist() == ["a", "b"]
    with pytest.raises(columns.DeriveError, match="'t'"):
        derive.transform(frame[["x"]])


def test_records_have_none_for_gaps() -> None:
    """NaN and None in a frame both reach derive as None."""
    frame = pd.DataFrame({"x": [1.0, float("nan")], "t": ["a", None]})
    assert records(frame) == [{"x": 1.0, "t": "a"}, {"x": None, "t": None}]
