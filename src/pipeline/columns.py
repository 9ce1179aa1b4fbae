"""From records to the arrays that a model is fed: the one way, for training and serving alike.

A converted model is fed one matrix of float32 where that can be, as its file says; other models get each column apart.
"""

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from numbers import Real
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from pipeline.bundle import Column

MATRIX = "matrix"  # the only input of a model that is fed one, and the key of its columns in the model's metadata

Array = np.ndarray[Any, Any]
Number = float | Literal["NaN"]  # for which JSON has no number
Value = float | str | None
Record = Mapping[str, Value]


DATA = "src/model/data.py"
PLAIN = {float, int, bool, str, type(None)}  # types of a column's values


class DeriveError(ValueError):
    """`model.data.derive` failed on a record, or answered with other columns than on the first one."""


def place(error: BaseException, otherwise: str) -> str:
    """The last line of the user's own code on the way to an error, such as src/model/data.py, line 10."""
    folder = Path("src/model").absolute()
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno))
    own = [(Path(name), line) for name, line in lines if Path(name).is_relative_to(folder)]
    return f"src/model/{own[-1][0].relative_to(folder)}, line {own[-1][1]}" if own else otherwise


def _broken(error: Exception) -> Callable[[Record], dict[str, Value]]:
    """In place of a `derive` that cannot be imported: it says so when it is first called."""
    what = f"{place(error, DATA)}: {type(error).__name__}: {getattr(error, 'msg', '') or error}"

    def derive(_: Record) -> dict[str, Value]:
        raise DeriveError(what)

    return derive


derive: Callable[[Record], dict[str, Value]]
try:
    from model import data as own_data

    derive = own_data.derive
except Exception as error:  # the user's to read in a line, and not in the traceback of an import
    derive = _broken(error)


def derived(records: Iterable[Record]) -> list[dict[str, Value]]:
    """`model.data.derive` of each record. Raises DeriveError, with the number of the row (from 0)."""
    rows = []
    for number, record in enumerate(records):
        try:
            rows.append(derive(record))
        except DeriveError:
            raise
        except Exception as error:
            raise DeriveError(f"{place(error, DATA)}: derive failed on row {number} with {error!r}") from error
        if type(rows[number]) is not dict:
            kind = type(rows[number]).__name__
            raise DeriveError(f"{DATA}: derive gives {kind} for row {number}; expected a dict of columns")
        if rows[number].keys() != rows[0].keys():
            odd = ", ".join(sorted(rows[number].keys() ^ rows[0].keys()))
            raise DeriveError(f"{DATA}: derive gives row {number} other columns than row 0: {odd}")
    return rows


def missing(value: Value) -> bool:
    """Whether a derived value is none: None, or NaN."""
    return value is None or value != value  # noqa: PLR0124


def infer(rows: Sequence[Record]) -> list[Column]:
    """Names and types of the columns in derived rows: text where any value is a str, number otherwise.

    Raises DeriveError where there is no column, or a value is neither.
    """
    if not rows[0]:
        raise DeriveError(f"{DATA}: derive gives no columns")
    for number, row in enumerate(rows):
        for name, value in row.items():
            if type(value) not in PLAIN and not isinstance(value, str | Real):
                kind = type(value).__name__
                raise DeriveError(f"{DATA}: column {name!r} of row {number} is a {kind}, no number and no text")
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
