"""The columns of a model as one matrix of float32, one row for each record, in which every text is a number.

A session that is fed a matrix answers in half the time: handing over an array costs as much as many trees, and an array
of texts more. So texts become numbers on the way into the matrix, by tables that the model file carries. What a text
comes to, the fitted ColumnTransformer is asked. Where that is one number, as of an ordinal or a target encoder, the
table holds it; where it is several, as of one-hot encoding, the number of a row in a table within the graph. A text
that a vectorizer takes apart becomes the vectorizer's numbers (see texts.py).
"""

import contextlib
import warnings
from collections.abc import Collection, Sequence
from itertools import groupby, takewhile
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, TargetEncoder

from pipeline.bundle import Column
from pipeline.columns import MatrixColumn, storable
from pipeline.transformer import RoundedTargetEncoder
from training.onnx import texts
from training.onnx.converters import STEPS

Array = np.ndarray[Any, Any]
ENCODERS = {OneHotEncoder, OrdinalEncoder, TargetEncoder, RoundedTargetEncoder}
BY_COLUMN = {*ENCODERS, SimpleImputer, *STEPS}  # what looks at each column alone, and at all unknown texts alike
CELLS = 4_000_000  # of a table, at most


class NotLookups(ValueError):
    """A text is more to the model than a key of a table; the message says where."""


class Source(NamedTuple):
    """One input of the converted model: columns of the matrix, or the rows of a table of which one holds the number."""

    columns: list[MatrixColumn]
    table: Array | None = None

    @property
    def width(self) -> int:
        return sum(each.width for each in self.columns) if self.table is None else int(self.table.shape[1])


def sources(estimator: BaseEstimator, columns: Sequence[Column], refusing: Collection[str]) -> list[Source]:
    """What the first step of a model takes. Takes out of a ColumnTransformer, in place, what turns texts into numbers.

    Raises NotLookups where that cannot be, and ValueError where nothing else could either. refusing: the text columns
    in which it takes only what it knows.
    """
    first, *following = texts.flat(estimator)
    if not isinstance(first, ColumnTransformer):
        if any(column.type == "text" for column in columns):
            raise NotLookups("no ColumnTransformer is there to be asked")
        return [Source([MatrixColumn(column.name) for column in columns])]
    if first.transformer_weights:
        raise NotLookups("a ColumnTransformer with weights")
    inputs, transformers, end = list[Source](), list[tuple[str, Any, list[int]]](), 0
    places = texts.products(following[0]) if following else []
    product = texts.stacked(places)
    factors = [product[:, :0]]  # for each transformer
    for name, step, _ in first.transformers_:
        step_columns = [columns[position] for position in first._transformer_to_input_indices[name]]
        if not step_columns or (isinstance(step, str) and step == "drop"):
            continue
        rest, own = step, [Source([MatrixColumn(column.name) for column in step_columns])]
        factor = product[:, first.output_indices_[name]]
        if texts.takes_texts(step):
            rest, own, factor = _vectors(step, step_columns[0].name, factor)
        elif any(column.type == "text" for column in step_columns):
            rest, own = _lookups(step, step_columns, refusing)
        if isinstance(rest, FunctionTransformer) and rest.func is None:
            rest = "passthrough"
        if not (transformers and rest == transformers[-1][1] == "passthrough"):
            transformers.append((name, rest, []))
        for source in own:
            start, end = end, end + source.width
            if source.table is None and transformers[-1][2] and inputs[-1].table is None:
                inputs[-1].columns.extend(source.columns)
            else:
                inputs.append(source)
            transformers[-1][2].extend(range(start, end))
        factors.append(factor)
    texts.replace(places, np.hstack(factors))
    first.transformers_ = transformers
    return inputs


def _vectors(step: Any, name: str, factor: Array) -> tuple[Any, list[Source], Array]:
    """What is left of a step without its vectorizers; these; and of what the model multiplies their numbers with.

    factor: of shape (outputs, words); (0, 0) where the model does other things with them.
    """
    taken = texts.taken_apart(step)
    if not taken.rest and (small := texts.reduced(taken, factor)):
        taken, factor = small, texts.ones(small, factor)
    rest = make_pipeline(*taken.selectors, *taken.rest) if taken.selectors or taken.rest else "passthrough"
    return rest, [Source([MatrixColumn(name, vectorizer=each) for each in taken.vectorizers])], factor


def _lookups(step: Any, columns: Sequence[Column], refusing: Collection[str]) -> tuple[Any, list[Source]]:
    """What is left of a step when tables stand for the part of it that takes columns one by one; and these."""
    steps = [each for _, each in step.steps] if isinstance(step, Pipeline) else [step]
    alone = list(takewhile(lambda each: type(each) in BY_COLUMN, steps))
    categories: list[Array] = next((each.categories_ for each in alone if type(each) in ENCODERS), [])
    if len(categories) != len(columns) or any(column.type == "number" for column in columns):
        raise NotLookups(f"{type(steps[0]).__name__} may do anything to a text")
    missing = [each.missing_values for each in alone if isinstance(each, SimpleImputer)]
    filled = [text for text in missing if isinstance(text, str)]
    known = {column.name: [*own.tolist(), *filled] for column, own in zip(columns, categories, strict=True)}

    def numbers(name: str, texts: Sequence[str]) -> Array:
        """What texts of one column come to beside a known one in all others, of shape (texts, numbers of all)."""
        values: Any = pd.DataFrame({each: np.array([own[0]] * len(texts), object) for each, own in known.items()})
        values[name] = np.array(texts, object)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a text is not known
            for each in alone:
                values = each.transform(values)
        return np.asarray(values.toarray() if hasattr(values, "toarray") else values, np.float32)

    def answer(name: str) -> tuple[list[str], Array, bool]:
        """The texts of a column, what they come to, and whether there is a last row, for any other text."""
        if name not in refusing:
            texts = sorted({"", *known[name]})
            with contextlib.suppress(ValueError):  # which is how scikit-learn refuses a text
                return texts, numbers(name, [*texts, max(texts, key=len) + "?"]), True
        texts = sorted(set(known[name]))
        return texts, numbers(name, texts), False

    width = numbers(columns[0].name, known[columns[0].name][:1]).shape[1]
    if (cells := width * max(map(len, known.values()))) > CELLS:
        raise NotLookups(f"the table of {', '.join(known)} would have {cells:,} cells")
    answers = [answer(name) for name in known]
    owners = _owners([values for _, values, _ in answers])
    rest = make_pipeline(*steps[len(alone) :]) if len(alone) < len(steps) else "passthrough"
    return rest, [_source(name, *answers[n], owners == n) for n, name in enumerate(known)]


def _owners(answers: Sequence[Array]) -> Array:
    """Which text each number belongs to: the one that changes it, or, where none does, any that keeps the order."""
    owners = np.full(answers[0].shape[1], -1)
    for n, values in enumerate(answers):
        same = (values == values[0]) | (np.isnan(values) & np.isnan(values[0]))
        owners[~same.all(axis=0)] = n
    for at in np.flatnonzero(owners < 0).tolist():
        before = owners[at - 1] if at else -1
        after = next((n for n in owners[at:] if n >= 0), len(answers))
        owners[at] = max(0, before, min(before + 1, after - 1))
    if [n for n, _ in groupby(owners.tolist())] != list(range(len(answers))):
        raise NotLookups("a step mixes the numbers of its texts")
    return owners


def _source(name: str, texts: Sequence[str], values: Array, others: bool, own: Array) -> Source:
    table = values[:, own]
    single = table.shape[1] == 1
    numbers = [storable(number) for number in (table[:, 0] if single else np.arange(len(table))).tolist()]
    last = numbers.pop() if others else None
    column = MatrixColumn(name, dict(zip(texts, numbers, strict=True)), last)
    return Source([column], None if single else table)
