"""Amounts of money on a log scale."""

import numpy as np
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def build(task, seed):
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((codes, make_column_selector(dtype_exclude="number")), remainder="passthrough")
    trees = make_pipeline(columns, HistGradientBoostingRegressor(early_stopping=False, random_state=seed))
    return TransformedTargetRegressor(trees, func=np.log1p, inverse_func=np.expm1)
