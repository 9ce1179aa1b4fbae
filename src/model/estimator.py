"""The model. Any scikit-learn estimator that `build` returns goes through the whole pipeline."""

from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder


def build(task: str, seed: int) -> BaseEstimator:
    """An unfitted pipeline for the frame of `model.data.derive`: float32 numbers (missing: NaN), texts as objects."""
    numbers = make_column_selector(dtype_include="number")
    texts = make_column_selector(dtype_exclude="number")
    columns = ColumnTransformer(
        [
            ("numbers", "passthrough", numbers),
            ("texts", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), texts),
        ]
    )
    trees = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return Pipeline(
        [
            ("columns", columns),
            (
                "trees",
                trees(
                    max_iter=200,
                    learning_rate=0.08,
                    min_samples_leaf=20,
                    early_stopping=False,  # it would hold out rows at random, on top of the split by hash
                    random_state=seed,
                ),
            ),
        ]
    )
