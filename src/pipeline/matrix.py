"""From derived records to the one matrix of float32 that a converted model is fed, as the model file says it."""

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from operator import itemgetter
from typing import Any, Literal

import msgspec
import numpy as np

from pipeline.columns import Record

METADATA = "matrix"  # of the model file: the columns, in JSON
INPUT = "matrix"  # the only input of such a model

Array = np.ndarray[Any, Any]
Number = float | Literal["NaN"]  # for which JSON has no number


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


def encode(columns: Sequence[MatrixColumn]) -> str:
    return msgspec.json.encode(columns).decode()


def storable(number: float) -> Number:
    """A number as JSON can hold it."""
    return "NaN" if isnan(number) else number


def decode(metadata: Mapping[str, str]) -> list[MatrixColumn] | None:
    """The columns in a model's metadata; None where it takes its columns one by one."""
    return msgspec.json.decode(metadata[METADATA], type=list[MatrixColumn]) if METADATA in metadata else None


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
    """The same out of arrays of shape (records, 1) by column, as `pipeline.columns.arrays` gives them."""
    numbers = []
    for column in columns:
        values = arrays[column.name][:, 0]
        if column.texts is not None:
            values = np.array([column.number(text) for text in values])
        numbers.append(values.astype(np.float32))
    return np.column_stack(numbers)
