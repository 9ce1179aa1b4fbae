"""The model. Return any scikit-learn estimator from `build`: it is trained, registered, served, load-tested."""

import pandas as pd
from scipy.stats import loguniform
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FREE = ("message",)  # the texts of which the words count


def build(task: str, seed: int) -> BaseEstimator:
    """An unfitted estimator for the columns of `derive` in data.py: numbers (missing: NaN) and texts (missing: "")."""
    words = [(TfidfVectorizer(sublinear_tf=True, min_df=2), name) for name in FREE]
    groups = (OneHotEncoder(handle_unknown="ignore", min_frequency=5), _groups)
    numbers = (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number"))
    columns = make_column_transformer(*words, groups, numbers)
    if task == "regression":
        return make_pipeline(columns, Ridge(random_state=seed))
    return make_pipeline(columns, LogisticRegression(C=10, max_iter=2000, random_state=seed))


def space(task: str) -> dict[str, object]:
    """What `make tune` may try for the parameters of `build`: values, or a distribution of SciPy."""
    if task == "regression":
        return {"ridge__alpha": loguniform(0.01, 100)}
    return {"logisticregression__C": loguniform(0.01, 100)}


def _groups(frame: pd.DataFrame) -> list[str]:
    """The other texts."""
    return [name for name in make_column_selector(dtype_exclude="number")(frame) if name not in FREE]
