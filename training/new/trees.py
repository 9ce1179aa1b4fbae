"""The model. Return any scikit-learn estimator from `build`: it is trained, registered, served and load-tested."""

from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def build(task: str, seed: int) -> BaseEstimator:
    """An unfitted estimator for the columns of `derive` in data.py: numbers (missing: NaN) and texts (missing: "")."""
    texts = make_column_selector(dtype_exclude="number")
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((codes, texts), remainder="passthrough")

    boosting = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    trees = boosting(
        max_iter=200,
        learning_rate=0.08,
        early_stopping=False,  # it would hold out rows of its own
        random_state=seed,
    )
    return make_pipeline(columns, trees)
