"""From records to the arrays that a model is fed: the one way, for training and serving alike.

A converted model is fed one matrix of float32 where that can be, as its file says; other models get each column apart.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from operator import itemgetter
from typing import Any, Literal

import msgspec
import numpy as np

from model.data import derive
from pipeline.bundle import Column

MATRIX = "matrix"  # the only input of a model that is fed one, and the key of its columns in the model's metadata

Array = np.ndarray[Any, Any]
Number = float | Literal["NaN"]  # for which JSON has no number
Value = float | str | None
Record = Mapping[str, Value]


class DeriveError(ValueError):
    """`model.data.derive` failed on a record, or answered with other columns than on the first one."""


def derived(records: Iterable[Record]) -> list[dict[str, Value]]:
    """`model.data.derive` of each record. Raises DeriveError, with the number of the row (from 0)."""
    rows = []
    for number, record in enumerate(records):
        try:
            rows.append(derive(record))
        except Exception as error:
            raise DeriveError(f"derive (src/model/data.py) failed on row {number}: {error!r}") from error
        if type(rows[number]) is not dict:
            kind = type(rows[number]).__name__
            raise DeriveError(f"derive (src/model/data.py) gives {kind} for row {number}; expected a dict of columns")
        if rows[number].keys() != rows[0].keys():
            odd = ", ".join(sorted(rows[number].keys() ^ rows[0].keys()))
            raise DeriveError(f"derive (src/model/data.py) gives row {number} other columns than row 0: {odd}")
    return rows


def missing(value: Value) -> bool:
    """Whether a derived value is none: None, or NaN."""
    return value is None or value != value  # noqa: PLR0124


def infer(rows: Sequence[Record]) -> list[Column]:
    """Names and types of the columns in derived rows: text where any value is a str, number otherwise."""
    return [Column(name, "text" if any(isinstance(row[name], str) for row in rows) else "number") for name in rows[0]]


def arrays(rows: Sequence[Record], columns: Sequence[Column]) -> dict[str, Array]:
    """One array of shape (rows, 1) for each column: float32 (missing: NaN) or objects of type str (missing: "").

    float32, in training too, so that the model learns from the very numbers that serving will show it.
    """
    count = len(rows)
    result: dict[str, Array] = {}
    for name, kind in ((column.name, column.type) for column in columns):
        values = [row[name] for row in rows]
        if kind == "number":
            # numpy reads None as NaN where the dtype is a float's
            result[name] = np.array(values, dtype=np.float32).reshape(count, 1)
        else:
            texts = np.empty((count, 1), dtype=object)
            texts[:, 0] = ["" if value is None else value for value in values]
            result[name] = texts
    return result


class MatrixColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of the matrix: a number as it is, or what a text stands for."""

    name: str
    texts: dict[str, Number] | None = None
    others: Number | None = None  # any text that `texts` does not have, "" where it is missing; None: is refused

    def number(self, text: str) -> float:
        """What a text stands for. Raises ValueError where it is refused."""
        number = (self.texts or {}).get(text, self.others)
        if number is None:
            raise ValueError(f"training saw no {self.name} like {text[:100]!r}")
        return float(number)


def to_metadata(columns: Sequence[MatrixColumn]) -> str:
    return msgspec.json.encode(columns).decode()


def storable(number: float) -> Number:
    """A number as JSON can hold it."""
    return "NaN" if isnan(number) else number


def from_metadata(metadata: Mapping[str, str]) -> list[MatrixColumn] | None:
    """The columns in a model's metadata; None where it takes its columns one by one."""
    return msgspec.json.decode(metadata[MATRIX], type=list[MatrixColumn]) if MATRIX in metadata else None


def packer(columns: Sequence[MatrixColumn]) -> Callable[[Sequence[Record]], Array]:
    """A function from derived records to an array of shape (records, columns), missing numbers NaN.

    The function raises ValueError or TypeError where a value is no number, or no text.
    """
    names = [column.name for column in columns]
    pick = itemgetter(*names) if len(names) > 1 else lambda record: (record[names[0]],)
    texts = [
        (n, {text: float(number) for text, number in column.texts.items()}.get, column)
        for n, column in enumerate(columns)
        if column.texts is not None
    ]

    def pack(records: Sequence[Record]) -> Array:
        flat: list[Any] = []  # which numpy reads faster than a list of rows
        for record in records:
            row = list(pick(record))
            for n, known, column in texts:
                text = row[n] or ""
                number = known(text)
                row[n] = column.number(text) if number is None else number
            flat += row
        return np.array(flat, np.float32).reshape(-1, len(names))  # which reads None as NaN

    return pack


def join(columns: Sequence[MatrixColumn], arrays: Mapping[str, Array]) -> Array:
    """The same out of arrays of shape (records, 1) by column, as `arrays` gives them."""
    numbers = []
    for column in columns:
        values = arrays[column.name][:, 0]
        if column.texts is not None:
            values = np.array([column.number(text) for text in values])
        numbers.append(values.astype(np.float32))
    return np.column_stack(numbers)
