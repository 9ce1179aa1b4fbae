"""How two implementations of one model are compared: how far answers are apart, and on which rows most likely.

Hard rows are made from ordinary ones.

Beside every step of a model's answer: two rows that differ in one number by the least that float32 can, and whose
answers differ. They are found by bisection between two rows, so it does not matter what the model is or does. Then
texts that training never saw, numbers at the ends of what float32 holds, and none.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from pipeline.bundle import Column
from training.onnx.hard_texts import hard_texts

Array = np.ndarray[Any, Any]
Rows = dict[str, Array]  # by column, shape (rows, 1): float32, or objects of type str

TOLERANCE = 1e-6  # of a probability
RELATIVE_TOLERANCE = 1e-5  # in regression, to the value or the spread of all values; float32 sums hold no more
STEPS = 400  # of the answer that are looked for
REPLACED = 2000  # numbers, at most, and as many by none as there are columns
LONG = 200  # letters in a row
BASES = 6  # rows in which a text or a number is replaced
EXTREMES = np.array([3e38, -3e38, 1e19, -1e19, 1e-30, -1e-30, 1e-44, 0.0, -0.0], np.float32)
NEVER_SEEN = "\N{SNOWMAN} never seen"


def predict(estimator: BaseEstimator, frame: pd.DataFrame) -> Array:
    """Probabilities of shape (rows, classes), or values of shape (rows,)."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(frame), dtype=float)
    values = np.asarray(estimator.predict(frame))
    if np.iscomplexobj(values):
        raise TypeError("predict gives complex numbers")
    return values.astype(float).reshape(-1) if values.shape[1:] in ((), (1,)) else values


def tolerance(expected: Array) -> float:
    """How much an answer may differ from this one."""
    return TOLERANCE if expected.ndim == 2 else RELATIVE_TOLERANCE


def spread(expected: Array) -> float:
    """The standard deviation of a regression's answers, which says what a small difference is; 1 for probabilities."""
    return (float(np.std(expected)) or 1.0) if expected.ndim == 1 else 1.0


def largest_difference(answer: Array, expected: Array, usual: float | None = None) -> float:
    """The largest difference between two answers: of probabilities absolute, of values relative.

    Relative to the value, or to `usual` where the value is smaller: by default the spread of the expected answers.
    """
    if expected.ndim == 1:
        answer = answer.reshape(-1)
    if answer.shape != expected.shape:
        return float("inf")
    usual = spread(expected) if usual is None else usual
    scale = np.maximum(usual, np.abs(expected)) if expected.ndim == 1 else 1.0
    return float(np.max(np.abs(answer - expected) / scale))


def hard_rows(
    answer: Callable[[Rows], Array],
    rows: Mapping[str, Array],
    columns: Sequence[Column],
    gaps: Collection[str] | None = None,
) -> Iterator[Rows]:
    """The rows in groups; a model may refuse one of texts that it does not know.

    answer: the model's answer to rows, one for each along the first axis. gaps: the number columns in which a value may
    be missing; None: all.
    """
    dice = np.random.default_rng(0)
    numbers = [column.name for column in columns if column.type == "number"]
    steps = _beside_steps(answer, rows, numbers, dice)
    if steps:
        yield steps
    pairs = [(value, name) for value in EXTREMES for name in numbers]
    for n in sorted(dice.permutation(len(pairs))[:REPLACED]):
        value, name = pairs[n]
        yield replaced(rows, name, value, dice)
    for name in numbers if gaps is None else gaps:
        yield replaced(rows, name, np.nan, dice)
    for name in (column.name for column in columns if column.type == "text"):
        yield replaced(rows, name, NEVER_SEEN, dice)
        texts = hard_texts(rows[name][dice.integers(0, len(rows[name]), BASES), 0].tolist())
        chosen = dice.integers(0, len(rows[name]), len(texts))
        yield {each: values[chosen] for each, values in rows.items()} | {name: np.array(texts, object).reshape(-1, 1)}


def replaced(rows: Mapping[str, Array], name: str, value: object, dice: np.random.Generator) -> Rows:
    """Some of the rows, all with this value in a column."""
    chosen = dice.integers(0, len(rows[name]), BASES)
    some = {each: values[chosen] for each, values in rows.items()}
    some[name] = np.full_like(some[name], value)
    return some


def _beside_steps(
    answer: Callable[[Rows], Array], rows: Mapping[str, Array], numbers: Sequence[str], dice: np.random.Generator
) -> Rows:
    """Pairs of rows on either side of a step; nothing where there is none."""
    lengths = np.sum([_lengths(values) for values in rows.values()], axis=0)
    short = np.flatnonzero(lengths <= max(LONG, np.quantile(lengths, 0.25)))  # each text is cut many times
    base, other = short[dice.integers(0, short.size, (2, STEPS if numbers else 0))]
    column = dice.integers(0, max(1, len(numbers)), base.size)

    def at(values: Array) -> Rows:
        some = {name: each[base] for name, each in rows.items()}
        for n, name in enumerate(numbers):
            some[name][column == n, 0] = values[column == n]
        return some

    def ends(of: Array) -> Array:
        values = np.zeros(of.size, np.float32)
        for n, name in enumerate(numbers):
            values[column == n] = rows[name][of[column == n], 0]
        return values

    low, high = ends(base), ends(other)
    kept = np.isfinite(low) & np.isfinite(high)
    if not kept.any():
        return {}
    base, column, low, high = base[kept], column[kept], low[kept], high[kept]
    left, right = _ordered(low), _ordered(high)
    reference, far = answer(at(low)), answer(at(high))
    while True:
        middle = (left + right) // 2
        answers = answer(at(_float(middle)))
        same = _same(answers, reference)
        left, right = np.where(same, middle, left), np.where(same, right, middle)
        if (np.abs(left - right) <= 1).all():
            break
    step = ~_same(far, reference)
    if not step.any():
        return {}
    sides = [at(_float(each)) for each in (left, right)]
    return {name: np.concatenate([each[name][step] for each in sides]) for name in rows}


def _lengths(values: Array) -> Array:
    return np.array([len(text) for text in values[:, 0]] if values.dtype == object else np.zeros(len(values)))


def _same(one: Array, other: Array) -> Array:
    return np.asarray(np.all(one.reshape(len(one), -1) == other.reshape(len(other), -1), axis=1))


def _ordered(values: Array) -> Array:
    """Integers in the order of the floats; neighbours are one apart."""
    bits = values.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(2**31) - bits, bits)


def _float(ordered: Array) -> Array:
    bits = np.where(ordered < 0, -(2**31) - ordered, ordered)
    return bits.astype(np.int32).view(np.float32)
