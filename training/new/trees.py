"""The model. Return any scikit-learn estimator from `build`: it is trained, registered, served and load-tested."""

from scipy.stats import loguniform
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


def space(task: str) -> dict[str, object]:
    """What `make tune` may try for the parameters of `build`: values, or a distribution of SciPy."""
    trees = "histgradientboostingregressor" if task == "regression" else "histgradientboostingclassifier"
    return {
        f"{trees}__learning_rate": loguniform(0.02, 0.3),
        f"{trees}__max_leaf_nodes": [7, 15, 31, 63],
        f"{trees}__min_samples_leaf": [5, 10, 20, 50],
        f"{trees}__l2_regularization": loguniform(0.001, 10),
    }
