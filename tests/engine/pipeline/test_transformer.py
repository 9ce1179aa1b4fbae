"""pipeline.transformer: rows are derived some at a time."""

import numpy as np
import pandas as pd
import pytest

from pipeline import columns, transformer


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_how_many_rows_are_derived_at_once_is_no_matter(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Also where the first of them say nothing of a column that is a text, or nothing at all."""
    monkeypatch.setattr(transformer, "ROWS", rows)
    monkeypatch.setattr(columns, "derive", dict)
    frame = pd.DataFrame(
        {
            "x": [np.nan, 1.5, 2.0, np.nan, 4.0],
            "late": pd.Series([None, None, None, "b", None], dtype=object),
            "gap": pd.Series([None] * 5, dtype=object),
        }
    )
    derive = transformer.Derive()
    for made in (derive.fit_transform(frame), derive.transform(frame)):
        assert made["late"].tolist() == ["", "", "", "b", ""]
        np.testing.assert_array_equal(made["x"], [np.nan, 1.5, 2.0, np.nan, 4.0])
        assert made["gap"].isna().all()
        assert [dtype.kind for dtype in made.dtypes] == ["f", "f", "O"]
    assert (derive.numbers_, derive.texts_, derive.gaps_) == (["x", "gap"], ["late"], ["x", "gap"])
    assert derive.transform(frame[:0]).shape == (0, 3)
