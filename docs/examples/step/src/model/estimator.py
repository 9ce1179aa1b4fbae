"""A step of one's own."""

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline

from model.steps import Share


def build(task, seed):
    numbers = make_column_transformer((Share(), make_column_selector(dtype_include="number")))
    return make_pipeline(numbers, RandomForestClassifier(random_state=seed))
