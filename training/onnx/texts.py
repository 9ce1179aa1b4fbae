"""Columns of texts that CountVectorizer and TfidfVectorizer take apart, on their way out of a fitted estimator.

pipeline.texts cuts and counts. What reads the counts through a product alone, such as a linear model, naive Bayes or a
TruncatedSVD, leaves its coefficients to the vectorizer and has ones in their place: a text then comes to a few numbers,
and not to one for each word of the vocabulary.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectorMixin
from sklearn.linear_model import LogisticRegression, SGDRegressor
from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import FeatureUnion, Pipeline

from pipeline.bundle import Column
from pipeline.texts import Vectorizer
from training.onnx.converters import DTYPE

Array = np.ndarray[Any, Any]
Place = tuple[Any, str]  # an object, and its attribute of shape (outputs, features) or (features,)
OWN_CODE = ("preprocessor", "tokenizer", "analyzer", "strip_accents")  # what may be a function
INSTEAD = "`derive` in src/model/data.py may do that instead"


class Taken(NamedTuple):
    """A step that takes texts apart, in parts."""

    vectorizers: list[Vectorizer]  # side by side
    selectors: list[Any]  # of words
    rest: list[Any]


def flat(step: Any) -> list[Any]:
    """The steps of a pipeline, and of the pipelines within it."""
    if not isinstance(step, Pipeline):
        return [] if step in (None, "passthrough") else [step]
    return [inner for _, each in step.steps for inner in flat(each)]


def takes_texts(step: Any) -> bool:
    """Whether a step begins with what takes texts apart."""
    first = next(iter(flat(step)), None)
    if isinstance(first, FeatureUnion):
        return any(takes_texts(each) for _, each in first.transformer_list)
    return isinstance(first, (CountVectorizer, HashingVectorizer))


def by_column(estimator: BaseEstimator, sample: pd.DataFrame, columns: Sequence[Column]) -> BaseEstimator:
    """The estimator in the form that `one_matrix.sources` takes apart, where it takes texts.

    Steps that only pick a column are left out; a ColumnTransformer does that. What they do is asked with texts of which
    no two are alike. Naive Bayes becomes the logistic regression that it amounts to. Raises ValueError where a first
    step makes other texts.
    """
    if isinstance(estimator, TransformedTargetRegressor):
        estimator.regressor_ = by_column(estimator.regressor_, sample, columns)
        return estimator
    first, *steps = flat(estimator)
    texts = [column.name for column in columns if column.type == "text"]
    marked = sample.assign(**{name: [f" É{name}  {n}" for n in range(len(sample))] for name in texts})
    if isinstance(first, ColumnTransformer):
        first.transformers_ = [
            (name, _taking(first, name, step, marked), own) for name, step, own in first.transformers_
        ]
        if not any(takes_texts(step) for _, step, _ in first.transformers_):
            return estimator
    elif (at := _first_taking(steps)) is not None:
        found = [name for name in texts if _is_column([first, *steps[:at]], marked, marked[name])]
        if not found:
            raise ValueError(f"{type(first).__name__} makes texts that are no column; {INSTEAD}")
        *inner, last = steps[at:]
        first, steps = ColumnTransformer([("texts", "passthrough", found[:1])]).fit(marked), [last]
        first.transformers_ = [("texts", _pipeline(inner), found[:1])]
        first.output_indices_ = {"texts": slice(None)}
    else:
        return estimator
    return _pipeline([first, *map(_as_logistic, steps)])


def _first_taking(steps: Sequence[Any]) -> int | None:
    return next((n for n, step in enumerate(steps) if takes_texts(step)), None)


def _is_column(steps: Sequence[Any], given: Any, column: pd.Series) -> bool:
    """Whether what comes out of the steps is the column as it is."""
    for step in steps:
        given = step.transform(given)
    return np.array_equal(np.asarray(given, object), column)


def _taking(first: ColumnTransformer, name: str, step: Any, marked: pd.DataFrame) -> Any:
    """A step of a ColumnTransformer without what it does before it takes texts, if that is nothing."""
    steps, given = flat(step), marked.iloc[:, first._transformer_to_input_indices[name]]
    at = _first_taking(steps)
    idle = at and given.shape[1] == 1 and _is_column(steps[:at], given, given.iloc[:, 0])
    return _pipeline(steps[at:]) if idle else step


def _pipeline(steps: Sequence[Any]) -> Pipeline:
    return Pipeline([(str(n), step) for n, step in enumerate(steps)])


def _as_logistic(step: Any) -> Any:
    """Its logarithms of likelihoods are a product, of which a softmax is the answer."""
    if type(step) not in (MultinomialNB, ComplementNB) or len(step.classes_) == 1:
        return step
    logistic = LogisticRegression()
    coefficients = step.feature_log_prob_
    intercept = step.class_log_prior_ if type(step) is MultinomialNB else np.zeros(len(coefficients))
    two = len(coefficients) == 2
    logistic.classes_, logistic.n_features_in_ = step.classes_, step.n_features_in_
    logistic.coef_ = np.diff(coefficients, axis=0) if two else coefficients - coefficients.mean(axis=0)
    logistic.intercept_ = np.diff(intercept) if two else intercept
    setattr(logistic, DTYPE, np.dtype(np.float64))
    return logistic


def taken_apart(step: Any) -> Taken:
    """Raises ValueError where a vectorizer runs code of its own, and the like; the message is for the user."""
    first, *rest = flat(step)
    if isinstance(first, FeatureUnion):
        if first.transformer_weights:
            raise ValueError("it has a FeatureUnion with weights")
        inner = [taken_apart(each) for _, each in first.transformer_list if each != "drop"]
        if any(each.selectors or each.rest for each in inner):
            raise ValueError("it has a FeatureUnion of more than vectorizers; a ColumnTransformer may take its place")
        vectorizers = [vectorizer for each in inner for vectorizer in each.vectorizers]
    else:
        weigher = getattr(first, "_tfidf", None)
        if weigher is None and rest and type(rest[0]) is TfidfTransformer:
            weigher = rest.pop(0)
        vectorizers = [_vectorizer(first, weigher)]
    selectors = list(takewhile(lambda each: isinstance(each, SelectorMixin), rest))
    taken = Taken(vectorizers, selectors, rest[len(selectors) :])
    if taken.rest and (places := products(taken.rest[0])):
        matrix = stacked(places)
        if small := reduced(taken, matrix):
            replace(places, ones(small, matrix))
            return small
    return taken


def _vectorizer(step: Any, weigher: TfidfTransformer | None) -> Vectorizer:
    name = type(step).__name__
    if type(step) not in (CountVectorizer, TfidfVectorizer):
        raise ValueError(f"of what takes texts apart, CountVectorizer and TfidfVectorizer convert, and {name} does not")
    if own := [option for option in OWN_CODE if callable(getattr(step, option))]:
        raise ValueError(f"its {name} has a function for {own[0]}; {INSTEAD}")
    if step.input != "content":
        raise ValueError(f"its {name} reads texts from files")
    vectorizer = Vectorizer(
        vocabulary=sorted(step.vocabulary_, key=step.vocabulary_.__getitem__),
        analyzer=step.analyzer,
        ngram_range=step.ngram_range,
        lowercase=bool(step.lowercase),
        strip_accents=step.strip_accents,
        token_pattern=step.token_pattern or "",
        stop_words=sorted(step.get_stop_words() or []),
        binary=bool(step.binary),
        dtype="float32" if np.dtype(step.dtype) == np.float32 else "float64",
    )
    if weigher is None:
        return vectorizer
    idf = weigher.idf_.astype(vectorizer.dtype).tobytes() if hasattr(weigher, "idf_") else b""
    return msgspec.structs.replace(vectorizer, sublinear_tf=bool(weigher.sublinear_tf), idf=idf, norm=weigher.norm)


def products(step: Any) -> list[Place]:
    """Where a step keeps the matrices by which alone it takes its input; nothing where it takes it otherwise."""
    if isinstance(step, CalibratedClassifierCV):
        inner = [products(each.estimator) for each in step.calibrated_classifiers_]
    elif isinstance(step, (OneVsRestClassifier, VotingClassifier, VotingRegressor)):
        inner = [products(each) for each in step.estimators_]
    elif isinstance(step, TruncatedSVD):
        return [(step, "components_")]
    elif isinstance(step, (LinearModel, LinearClassifierMixin, SGDRegressor)):
        return [(step, "coef_")]
    else:
        return []
    return [place for places in inner for place in places] if all(inner) else []


def stacked(places: Sequence[Place]) -> Array:
    """Their matrices as one of shape (all outputs, features); (0, 0) where there is none."""
    matrices = [getattr(step, name) for step, name in places]
    return np.vstack([each.toarray() if hasattr(each, "toarray") else each for each in matrices or [np.zeros((0, 0))]])


def replace(places: Sequence[Place], matrix: Array) -> None:
    """Gives the places their parts of another matrix, in place."""
    start = 0
    for step, name in places:
        old = getattr(step, name)
        rows = np.atleast_2d(old).shape[0]
        setattr(step, name, matrix[start : start + rows].reshape(*old.shape[:-1], -1))
        start += rows
        step.n_features_in_ = matrix.shape[1]


def reduced(taken: Taken, matrix: Array) -> Taken | None:
    """With a matrix of shape (outputs, words) in the vectorizers; None where that makes no fewer numbers of a text."""
    widths = [vectorizer.width for vectorizer in taken.vectorizers]
    if not len(matrix) or 2 * len(matrix) * len(widths) >= sum(widths):
        return None
    kept = np.arange(sum(widths))
    for selector in taken.selectors:
        kept = kept[selector.get_support()]
    weights = np.zeros((sum(widths), len(matrix)))
    weights[kept] = matrix.T
    parts = np.split(weights, np.cumsum(widths)[:-1])
    vectorizers = [
        msgspec.structs.replace(vectorizer, weights=part.tobytes())
        for vectorizer, part in zip(taken.vectorizers, parts, strict=True)
    ]
    return Taken(vectorizers, [], taken.rest)


def ones(taken: Taken, matrix: Array) -> Array:
    """What is left of a product with `matrix`, once the vectorizers have it: to add up what they come to."""
    return np.hstack([np.eye(len(matrix))] * 2 * len(taken.vectorizers))
