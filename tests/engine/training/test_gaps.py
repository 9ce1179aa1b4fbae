"""training.gaps: without which fields there is an answer."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from training import gaps
from training.onnx.comparison import Rows

NAMES = [f"x{n}" for n in range(120)]  # more than are asked at once


def derived(frame: pd.DataFrame) -> pd.DataFrame:
    """x7 has to be there; where x8 is not, a number is missing; all others count for nothing where they are missing."""
    if frame["x7"].isna().any():
        raise ValueError("x7")
    numbers = frame.astype(float)
    return numbers.fillna({name: 0.0 for name in NAMES if name != "x8"})


def test_one_field_without_an_answer_hides_no_other() -> None:
    """One that fails, one that leaves a gap, one that is answered otherwise by what serves."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, len(NAMES))), columns=NAMES)
    model = LinearRegression().fit(frame, frame.sum(axis=1))
    pipeline = Pipeline([("derive", FunctionTransformer(derived)), ("model", model)])

    def served(rows: Rows) -> np.ndarray:
        table = pd.DataFrame({name: column[:, 0] for name, column in rows.items()})
        return np.asarray(model.predict(table) + (table["x9"] == 0))

    every = [name for name in NAMES if name not in ("x7", "x8", "x9")]
    assert gaps.answered(pipeline, frame, NAMES, served, gapless=["x8"]) == every
    assert gaps.answered(pipeline, frame, NAMES, None, gapless=["x8"]) == sorted([*every, "x9"], key=NAMES.index)
