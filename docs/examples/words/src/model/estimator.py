"""The letters of a bank's name, and the numbers."""

from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def build(task, seed):
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=5)
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    columns = make_column_transformer((letters, "Bank"), (numbers, make_column_selector(dtype_include="number")))
    return make_pipeline(columns, LogisticRegression(max_iter=2000, random_state=seed))
