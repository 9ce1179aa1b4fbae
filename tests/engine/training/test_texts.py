"""pipeline.texts and training.onnx.texts: texts in models, cut and counted exactly as scikit-learn does."""

import json
import warnings
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, VotingClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from pipeline.columns import MATRIX, MatrixColumn, arrays, from_metadata, in_parts, infer, packer
from pipeline.texts import Vectorizer, filler
from training.onnx import comparison, export
from training.onnx.hard_texts import LETTERS, hard_texts
from training.onnx.texts import taken_apart

RNG = np.random.default_rng(11)
WORDS = [
    "good",
    "bad",
    "Film",
    "ACTOR",
    "naïve",
    "cafés",
    "the",
    "of",
    "was",
    "not",
    "x",
    "7",
    "a_b",
    "straße",
    "日本語",
]
TEXTS = st.one_of(
    st.lists(st.sampled_from([*WORDS, *" \n\t.-\u00a0\u0301"]), max_size=12).map(" ".join),
    st.text(max_size=30),
    st.sampled_from(hard_texts(["Good cafés, the film"])),
)
OPTIONS = {
    "analyzer": st.sampled_from(["word", "char", "char_wb"]),
    "ngram_range": st.sampled_from([(1, 1), (1, 2), (2, 3), (3, 5)]),
    "lowercase": st.booleans(),
    "strip_accents": st.sampled_from([None, "ascii", "unicode"]),
    "stop_words": st.sampled_from([None, "english", ["the", "good"]]),
    "token_pattern": st.sampled_from([r"(?u)\b\w\w+\b", r"\b\w+\b", r"(\w)\w*", r"\S+", "(?i)[a-z]{2,}"]),
    "max_features": st.sampled_from([None, 7]),
    "binary": st.booleans(),
}
WEIGHTS = {"norm": st.sampled_from(["l1", "l2", None]), "use_idf": st.booleans(), "sublinear_tf": st.booleans()}
DTYPES = {"dtype": st.sampled_from([np.float32, np.float64])}


def written(vectorizer: Vectorizer, texts: Sequence[str], width: int) -> np.ndarray:
    fill, rows = filler(vectorizer), np.zeros((len(texts), width), vectorizer.dtype)
    for text, row in zip(texts, rows, strict=True):
        fill(text, row)
    return rows


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(
    st.fixed_dictionaries(OPTIONS),
    st.one_of(st.none(), st.fixed_dictionaries(WEIGHTS | DTYPES)),
    st.booleans(),
    st.lists(TEXTS, min_size=1, max_size=8),
    st.lists(TEXTS, max_size=8),
)
def test_a_text_becomes_the_very_numbers(
    options: dict[str, Any], weights: dict[str, Any] | None, apart: bool, known: list[str], others: list[str]
) -> None:
    """Bit for bit those of scikit-learn, of every option, on texts that it was fitted on and on others."""
    step: Any = CountVectorizer(**options) if weights is None else TfidfVectorizer(**options, **weights)
    if weights is not None and apart:
        of_counts = {name: value for name, value in weights.items() if name != "dtype"}
        step = make_pipeline(CountVectorizer(**options, dtype=weights["dtype"]), TfidfTransformer(**of_counts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            step.fit(known)
        except ValueError as error:
            assume("empty vocabulary" not in str(error))
            raise
        texts = [*known, *others, *LETTERS]
        expected = step.transform(texts).toarray()
    (vectorizer,) = taken_apart(step).vectorizers
    np.testing.assert_array_equal(written(vectorizer, texts, expected.shape[1]), expected)


def test_sums_hold_more_than_a_float32() -> None:
    """Two numbers add up to what a product in float64 comes to, so large terms of opposite signs may cancel."""
    texts = [f"{' good' * n} bad film" for n in range(1, 60)]
    step = CountVectorizer().fit(texts)
    weights = np.array([[1e4 + 1 / 3, -7.1], [-1e3 / 7, 3.3], [np.pi, 0.0]])
    (vectorizer,) = taken_apart(step).vectorizers
    fill, both = filler(msgspec.structs.replace(vectorizer, weights=weights.tobytes())), np.zeros((59, 4), np.float32)
    for text, row in zip(texts, both, strict=True):
        fill(text, row)
    expected = step.transform(texts).toarray() @ weights
    np.testing.assert_allclose(both[:, :2].astype(float) + both[:, 2:], expected, rtol=1e-13)


# --- Pipelines

WORD_LIST = [*WORDS, *(f"word{n}" for n in range(150))]
FRAME = pd.DataFrame(
    {
        "text": np.array([" ".join(RNG.choice(WORD_LIST, RNG.integers(1, 25))) for _ in range(400)], object),
        "n": RNG.normal(size=400).astype(np.float32),
        "title": np.array([" ".join(RNG.choice(WORDS, 2)) for _ in range(400)], object),
        "kind": RNG.choice(["red", "blue"], 400).astype(object),
    }
)
FRAME.loc[:5, "text"] = ""
COLUMNS = infer(FRAME.to_dict("records"))
SIGNAL = FRAME["text"].str.count("good") - FRAME["text"].str.count("bad") + FRAME["n"] + RNG.normal(size=400)
CLASSES = np.array(["low", "middle", "high"], object)[pd.qcut(SIGNAL, 3, labels=False)]
SIDES = np.where(SIGNAL > 0, "yes", "no").astype(object)


def chosen(frame: pd.DataFrame) -> pd.Series:
    return frame["text"]


def joined(frame: pd.DataFrame) -> pd.Series:
    return frame["title"] + " " + frame["text"]


def columns(texts: Any, *more: Any, **options: Any) -> ColumnTransformer:
    others = [(StandardScaler(), ["n"]), (OneHotEncoder(handle_unknown="ignore"), ["kind"])]
    return make_column_transformer(*others, (texts, "text"), *more, **options)


BOTH = [TfidfVectorizer(), TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3))]
LINEAR = {
    "logistic": lambda: make_pipeline(columns(TfidfVectorizer()), LogisticRegression()),
    "text first": lambda: make_pipeline(
        make_column_transformer((TfidfVectorizer(), "text"), ("passthrough", ["n"])), LogisticRegression()
    ),
    "two texts": lambda: make_pipeline(
        columns(TfidfVectorizer(sublinear_tf=True), (CountVectorizer(analyzer="char", ngram_range=(1, 3)), "title")),
        LogisticRegression(),
    ),
    "sgd": lambda: make_pipeline(columns(TfidfVectorizer()), SGDClassifier(loss="log_loss", random_state=1)),
    "svc": lambda: make_pipeline(columns(TfidfVectorizer()), CalibratedClassifierCV(LinearSVC(), cv=2)),
    "one against the rest": lambda: make_pipeline(
        columns(TfidfVectorizer()), OneVsRestClassifier(LogisticRegression())
    ),
    "vote": lambda: make_pipeline(
        columns(TfidfVectorizer()),
        VotingClassifier([("a", LogisticRegression()), ("b", LogisticRegression(C=0.1))], voting="soft"),
    ),
    "multinomial": lambda: make_pipeline(make_column_transformer((CountVectorizer(), "text")), MultinomialNB()),
    "complement": lambda: make_pipeline(make_column_transformer((TfidfVectorizer(), "text")), ComplementNB()),
    "chosen by a function": lambda: make_pipeline(
        FunctionTransformer(chosen), CountVectorizer(), TfidfTransformer(), LogisticRegression()
    ),
    "made flat first": lambda: make_pipeline(
        make_column_transformer(
            (
                make_pipeline(
                    SimpleImputer(strategy="most_frequent"), FunctionTransformer(np.ravel), TfidfVectorizer()
                ),
                ["text"],
            )
        ),
        LogisticRegression(),
    ),
    "selected words": lambda: make_pipeline(
        columns(make_pipeline(TfidfVectorizer(), SelectKBest(k=60))), LogisticRegression()
    ),
    "side by side": lambda: make_pipeline(columns(make_union(*BOTH)), LogisticRegression()),
    "decomposed": lambda: make_pipeline(
        columns(make_pipeline(make_union(*BOTH), TruncatedSVD(5, random_state=1))), RandomForestClassifier(9)
    ),
    "decomposed, chosen": lambda: make_pipeline(
        FunctionTransformer(chosen), TfidfVectorizer(), TruncatedSVD(5, random_state=1), LogisticRegression()
    ),
}
DENSE = {
    "trees": lambda: make_pipeline(columns(TfidfVectorizer(max_features=50)), RandomForestClassifier(9)),
    "selected trees": lambda: make_pipeline(
        columns(make_pipeline(CountVectorizer(), SelectKBest(k=60))), RandomForestClassifier(9)
    ),
    "scaled": lambda: make_pipeline(columns(TfidfVectorizer()), MaxAbsScaler(), LogisticRegression()),
    "scaled by the spread": lambda: make_pipeline(
        columns(TfidfVectorizer()), StandardScaler(with_mean=False), LogisticRegression()
    ),
    "few words": lambda: make_pipeline(columns(CountVectorizer(vocabulary=["good", "bad"])), LogisticRegression()),
}


def exported(estimator: BaseEstimator, target: Any, frame: pd.DataFrame = FRAME) -> export.Exported:
    """Fitted on one half, compared on the other."""
    half = len(frame) // 2
    estimator.fit(frame[:half], target[:half])
    rows = arrays(frame[half:].to_dict("records"), COLUMNS)
    return export.export(estimator, COLUMNS, rows, comparison.predict(estimator, frame[half:]), "texts")


def described(made: export.Exported) -> list[MatrixColumn]:
    model = onnx.load_from_string(made.model)
    assert [each.name for each in model.graph.input] == [MATRIX]
    found = from_metadata({each.key: each.value for each in model.metadata_props})
    assert found is not None
    return found


@pytest.mark.parametrize("target", [SIDES, CLASSES], ids=["two classes", "three"])
@pytest.mark.parametrize("name", LINEAR)
def test_a_product_leaves_a_few_numbers_of_a_text(name: str, target: Any) -> None:
    """ONNX serves, exactly; the matrix has no column for each word, however many a vocabulary has."""
    made = exported(LINEAR[name](), target)
    assert (made.runtime, made.reason) == ("onnx", "")
    assert sum(column.width for column in described(made)) <= 40


@pytest.mark.parametrize("name", DENSE)
def test_other_models_get_a_number_for_each_word(name: str) -> None:
    """ONNX serves what no product takes in as well."""
    made = exported(DENSE[name](), CLASSES)
    assert (made.runtime, made.reason) == ("onnx", "")
    (text,) = (column.vectorizer for column in described(made) if column.vectorizer)
    assert not text.weights


@pytest.mark.parametrize("model", [Ridge(), GradientBoostingRegressor(n_estimators=5)], ids=["ridge", "boosting"])
def test_values_are_exact_as_well(model: BaseEstimator) -> None:
    """Regression, of texts and numbers."""
    made = exported(make_pipeline(columns(TfidfVectorizer()), model), 1000 * SIGNAL.to_numpy())
    assert (made.runtime, made.reason) == ("onnx", "")


def test_no_text_is_the_empty_text() -> None:
    """None and an empty text are answered alike; what is neither a text nor none is named."""
    made = exported(LINEAR["logistic"](), SIDES)
    pack, record = packer(described(made)), FRAME.to_dict("records")[9]
    np.testing.assert_array_equal(pack([record | {"text": None}]), pack([record | {"text": ""}]))
    with pytest.raises(TypeError, match=r"text is 3\.0, and no text"):
        pack([record | {"text": 3.0}])


def test_many_rows_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix of a number for each word is made for a part of the rows at a time; the answers are the same."""
    made = exported(DENSE["trees"](), CLASSES)
    rows = arrays(FRAME.to_dict("records"), COLUMNS)
    at_once, sizes, matrix = export.asker(made.model)(rows), list[int](), described(made)
    monkeypatch.setattr("pipeline.columns.CELLS", 30 * sum(column.width for column in matrix))

    def score(records: Sequence[Any]) -> np.ndarray:
        sizes.append(len(records))
        return packer(matrix)(records)

    assert len(in_parts(score, matrix)(FRAME.to_dict("records"))) == len(FRAME)
    assert max(sizes) == 30
    np.testing.assert_array_equal(export.asker(made.model)(rows), at_once)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (lambda: TfidfVectorizer(tokenizer=str.split, token_pattern=None), "TfidfVectorizer has a function for tokeni"),
        (lambda: CountVectorizer(preprocessor=str.upper), "CountVectorizer has a function for preprocessor"),
        (lambda: CountVectorizer(analyzer=str.split), "CountVectorizer has a function for analyzer"),
        (lambda: HashingVectorizer(n_features=50), "CountVectorizer and TfidfVectorizer convert, and Hashing"),
    ],
)
def test_why_scikit_learn_serves_is_said(texts: Any, reason: str) -> None:
    """A function is no data, so it does not travel in the model's file."""
    made = exported(make_pipeline(columns(texts()), LogisticRegression()), SIDES)
    assert made.runtime == "sklearn"
    assert reason in made.reason


def test_a_first_step_that_makes_a_text_of_its_own_is_named() -> None:
    """It may join columns; it is no choice of one."""
    model = make_pipeline(FunctionTransformer(joined), TfidfVectorizer(), LogisticRegression())
    made = exported(model, SIDES)
    assert made.runtime == "sklearn"
    assert "FunctionTransformer makes texts that are no column; `derive`" in made.reason


def test_a_fold_that_differs_on_hard_texts_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ordinary row has an accent; the same rows with accents show that they are not stripped."""
    plain = FRAME.assign(text=[f"film {n % 7} {'good' if n % 2 else 'bad'}" for n in range(len(FRAME))])
    model = make_pipeline(columns(TfidfVectorizer(strip_accents="unicode")), LogisticRegression())
    assert exported(model, SIDES, plain).runtime == "onnx"
    monkeypatch.setattr("pipeline.texts._without_marks", str)
    made = exported(model, SIDES, plain)
    assert made.runtime == "sklearn"
    assert "on a hard row" in made.reason


def test_the_model_carries_its_vocabulary_as_data() -> None:
    """JSON in the model's file; what fitted another vectorizer writes the same again is equal bytes."""
    first, second = (exported(LINEAR["logistic"](), SIDES).model for _ in range(2))
    assert first == second
    (text,) = [each for each in json.loads(_metadata(first)) if "vectorizer" in each]
    assert "good" in text["vectorizer"]["vocabulary"]


def _metadata(model: bytes) -> str:
    return {each.key: each.value for each in onnx.load_from_string(model).metadata_props}[MATRIX]
