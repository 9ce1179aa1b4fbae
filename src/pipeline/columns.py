"""From records to the arrays that a model is fed: the one way, for training and serving alike.

A converted model is fed one matrix of float32 where that can be, as its file says; other models get each column apart.
"""

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from math import isnan
from numbers import Real
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from pipeline.bundle import Column
from pipeline.texts import Vectorizer, filler

CELLS = 4_000_000  # of a matrix, at most
MATRIX = "matrix"  # the only input of a model that is fed one, and the key of its columns in the model's metadata

Array = np.ndarray[Any, Any]
Number = float | Literal["NaN"]  # for which JSON has no number
Value = float | str | bool | datetime | None
Record = Mapping[str, Value]
Score = Callable[[Sequence[Record]], Array]  # derived rows to an array with a row for each


DATA = "src/model/data.py"
Type = Literal["number", "text"]
# Of a column's values, by their type.
PLAIN: dict[Type, set[type]] = {"number": {float, int, bool, type(None)}, "text": {str, type(None)}}


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


def derived(records: Iterable[Record], places: Sequence[str] = ()) -> list[dict[str, Value]]:
    """`model.data.derive` of each record. Raises DeriveError, with the place of the record, or its number (from 0)."""
    rows: list[dict[str, Value]] = []
    for number, record in enumerate(records):
        try:
            rows.append(derive(record))
        except DeriveError:
            raise
        except Exception as error:
            where = _where(number, places)
            raise DeriveError(f"{place(error, DATA)}: derive failed on {where} with {error!r}") from error
        if type(rows[number]) is not dict:
            kind = type(rows[number]).__name__
            raise DeriveError(f"{DATA}: derive gives {kind} for {_where(number, places)}; expected a dict of columns")
        if rows[number].keys() != rows[0].keys():
            odd = ", ".join(sorted(rows[number].keys() ^ rows[0].keys()))
            both = f"{_where(number, places)} other columns than {_where(0, places)}"
            raise DeriveError(f"{DATA}: derive gives {both}: {odd}")
    return rows


def _where(number: int, places: Sequence[str]) -> str:
    return places[number] if places else f"row {number}"


def missing(value: Value) -> bool:
    """Whether a derived value is none: None, or NaN."""
    return value is None or value != value  # noqa: PLR0124


def infer(rows: Sequence[Record], known: dict[str, Type] | None = None, places: Sequence[str] = ()) -> list[Column]:
    """Names and types of the columns in derived rows: text where any value is a str, number otherwise.

    known: of earlier rows; those of these rows are added. places: of the rows, for messages. Raises DeriveError where
    there is no column, a value is neither a number nor a text, or a column has both.
    """
    if not rows[0]:
        raise DeriveError(f"{DATA}: derive gives no columns")
    known = {} if known is None else known
    for name in rows[0]:
        if not set(map(type, map(itemgetter(name), rows))) <= PLAIN[known.get(name, "number")]:
            _note_kinds(name, rows, known, places)
        elif name not in known and any(row[name] is not None for row in rows):
            known[name] = "number"
    return [Column(name, known.get(name, "number")) for name in rows[0]]


def _note_kinds(name: str, rows: Sequence[Record], known: dict[str, Type], places: Sequence[str]) -> None:
    """Likewise for one column, value by value. Raises DeriveError, with the place."""
    for number, row in enumerate(rows):
        value = row[name]
        kind = _type(value)
        if value is None or kind == known.get(name, ""):
            continue
        where = _where(number, places)
        if kind is None:
            advice = "; take numbers of it, such as .year" if isinstance(value, datetime) else ""
            what = type(value).__name__
            raise DeriveError(f"{DATA}: column {name!r} of {where} is a {what}, no number and no text{advice}")
        if name in known:
            raise DeriveError(f"{DATA}: column {name!r} of {where} is a {kind}, and a {known[name]} before")
        known[name] = kind


def _type(value: object) -> Type | None:
    return "text" if isinstance(value, str) else "number" if isinstance(value, Real) else None


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


def lists(rows: Sequence[Record], columns: Sequence[Column]) -> list[list[Any]]:
    """The same by row: a number (missing: NaN) or a str (missing: "") for each column, as it is."""
    nothing = [(column.name, float("nan") if column.type == "number" else "") for column in columns]
    return [[gap if row[name] is None else row[name] for name, gap in nothing] for row in rows]


class MatrixColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column of the matrix: a number as it is, or what a text stands for; or several, which a text becomes."""

    name: str
    texts: dict[str, Number] | None = None
    others: Number | None = None  # any text that `texts` does not have, "" where it is missing; None: is refused
    vectorizer: Vectorizer | None = None

    @property
    def width(self) -> int:
        return self.vectorizer.width if self.vectorizer else 1

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


def packer(columns: Sequence[MatrixColumn]) -> Score:
    """A function from derived records to an array of shape (records, columns), missing numbers NaN.

    The function raises ValueError or TypeError where a value is no number, or no text.
    """
    return _with_vectors(columns) if any(column.vectorizer for column in columns) else _without_vectors(columns)


def _without_vectors(columns: Sequence[MatrixColumn]) -> Score:
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


def _with_vectors(columns: Sequence[MatrixColumn]) -> Score:
    ends = np.cumsum([column.width for column in columns]).tolist()
    fills = [
        (column.name, filler(column.vectorizer), slice(end - column.width, end))
        for column, end in zip(columns, ends, strict=True)
        if column.vectorizer
    ]
    single = [n for n, column in enumerate(columns) if not column.vectorizer]
    pack_single = _without_vectors([columns[n] for n in single]) if single else None
    at = [ends[n] - 1 for n in single]

    def pack(records: Sequence[Record]) -> Array:
        matrix = np.zeros((len(records), ends[-1]), np.float32)
        if pack_single:
            matrix[:, at] = pack_single(records)
        for name, fill, own in fills:
            for row, record in zip(matrix, records, strict=True):
                text = record[name] or ""
                if not isinstance(text, str):
                    raise TypeError(f"{name} is {text!r}, and no text")
                fill(text, row[own])
        return matrix

    return pack


def in_parts(score: Score, columns: Sequence[MatrixColumn]) -> Score:
    """`score`, which packs these columns, for any number of records: of many, memory holds the matrices of a part."""
    if not any(column.vectorizer for column in columns):
        return score
    size = max(1, CELLS // sum(column.width for column in columns))

    def score_all(records: Sequence[Record]) -> Array:
        if len(records) <= size:
            return score(records)
        return np.concatenate([score(records[n : n + size]) for n in range(0, len(records), size)])

    return score_all
