"""pipeline.transformer: target encoders give trees the numbers that serving will show them."""

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder

from pipeline.bundle import load_estimator
from pipeline.transformer import RoundedTargetEncoder, round_target_encoders

DICE = np.random.default_rng(3)
FRAME = pd.DataFrame({"code": DICE.choice([f"{n}" for n in range(40)], 600).astype(object), "x": DICE.normal(size=600)})
TARGETS = {
    "regression": DICE.normal(size=600) * 1e5,
    "binary": DICE.integers(0, 2, 600),
    "classes": DICE.integers(0, 4, 600),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("output", ["default", "pandas"])
def test_a_rounded_encoder_gives_what_float32_holds(target: str, output: str) -> None:
    """In training and after it, to the last digit, and within a float32 of what scikit-learn's own gives."""
    exact, rounded = TargetEncoder(cv=3), RoundedTargetEncoder(cv=3).set_output(transform=output)
    for name in ("fit_transform", "transform"):
        arguments = (FRAME[["code"]], TARGETS[target]) if name == "fit_transform" else (FRAME[["code"]],)
        np.random.seed(1)
        expected = getattr(exact, name)(*arguments)
        np.random.seed(1)
        found = getattr(rounded, name)(*arguments)
        assert isinstance(found, pd.DataFrame) == (output == "pandas")
        values = np.asarray(found)
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, values.astype(np.float32))
        np.testing.assert_allclose(values, expected, rtol=1e-7)


def test_encoders_are_rounded_wherever_they_are() -> None:
    """In a pipeline in a calibrated classifier, say; the fitted model is of types that the service loads."""
    own = type("Own", (TargetEncoder,), {})
    columns = make_column_transformer((TargetEncoder(), ["code"]), (own(), ["x"]))
    estimator = CalibratedClassifierCV(make_pipeline(columns, LogisticRegression()))
    round_target_encoders(estimator)
    ((_, first, _), (_, second, _)) = clone(estimator).estimator[0].transformers
    assert (type(first), type(second)) == (RoundedTargetEncoder, own)
    fitted = RoundedTargetEncoder().fit(FRAME[["code"]], TARGETS["binary"])
    load_estimator(skops.io.dumps(fitted))
