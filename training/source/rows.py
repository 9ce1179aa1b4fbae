"""Rows as every source gives them, and a hash of each that is the same whatever file they stand in."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import numpy as np

from pipeline import values

SHOWN = 20  # names of columns in a message
EXACT = 2**53  # from here on a float does not tell whole numbers apart
DIGITS = 15  # of a decimal, which a float64 has for certain
KNOWN = 100_000  # texts of a column whose hash is kept
# What people write where a value is missing.
MISSING = {"n/a", "na", "n.a.", "nan", "null", "none", "nil", "?", "-", "--", ".", "missing", "unknown", "#n/a", "<na>"}
MIDNIGHT = re.compile(r"[ T]00:00(:00(\.0+)?)?$")
MOMENT, TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d.*"), re.compile(r"\d\d:\d\d:\d\d\.\d+")
WHOLE = re.compile(r"[-+]?\d+")
Array = np.ndarray[Any, Any]
Column = Sequence[str] | Array  # texts, as CSV has them ("" where there is none), or float64 (NaN)


class DataError(ValueError):
    """The data cannot be used; the message says what, where, and what to do."""


class Part(NamedTuple):
    """Some rows of a file, or of what a database answers."""

    columns: dict[str, Column]
    numbers: Array  # int: the line on which each row ends, which is what people look for, or its number
    file: int = 0  # of the source's files


def texts(column: Column) -> Sequence[str]:
    """A column as texts."""
    if not isinstance(column, np.ndarray):
        return column
    return ["" if x != x else as_text(x) for x in column.tolist()]  # noqa: PLR0124


def as_text(number: float) -> str:
    """The shortest one that is this number again; a whole one has no point."""
    return repr(number).removesuffix(".0")


def listed(names: Iterable[str]) -> str:
    """Names for a message, and how many more there are."""
    shown = [repr(name) for name in names]
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")


def floats(given: Sequence[str]) -> Array:
    """Numbers, NaN for what is none. JSON takes less than half the time; 007 and +1 are none there."""
    with suppress(msgspec.DecodeError):
        return as_json(given)
    return np.array([_float(text) for text in given])


def _float(text: str) -> float:
    """Python would take 1_000 and the digits of all scripts, too."""
    try:
        return float(text) if text.isascii() and "_" not in text else np.nan
    except ValueError:
        return np.nan


def as_json(given: Sequence[str]) -> Array:
    """Likewise. Raises DecodeError where one is no number, or none as JSON writes it."""
    numbers = np.array(msgspec.json.decode(f"[{','.join(given)}]", type=list[float]), float)
    if len(numbers) != len(given):  # as of "1,2", which is no number
        raise msgspec.DecodeError
    return numbers


class Hashes:
    """Hashes of rows, by the names and the values of their columns, in whatever order these stand.

    7, 7.0 and "7" are one value, and so are an empty cell, NaN and "n/a"; a day is its midnight, and a moment is one
    in each time zone. So a row keeps its hash when a file of it becomes another, or a table, and when pipeline.toml
    reads a column as something else.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, int]] = {}

    def __call__(self, columns: Mapping[str, Column]) -> Array:
        """uint64, a row each."""
        total = np.zeros(len(next(iter(columns.values()))), np.uint64)
        for name, column in columns.items():
            total += _mixed(self._cells(name, column) ^ np.uint64(_digest(name)))
        return _mixed(total)

    def of_cells(self, name: str, column: Column) -> Array:
        """Likewise, of the cells of a column alone."""
        return _mixed(self._cells(name, column))

    def _cells(self, name: str, column: Column) -> Array:
        if isinstance(column, np.ndarray):
            return _of_numbers(column)
        known = self._known.setdefault(name, {})
        with suppress(KeyError):
            return np.fromiter(map(known.__getitem__, column), np.uint64, len(column))
        with suppress(msgspec.DecodeError):
            numbers = as_json(column)
            if (np.abs(numbers) < EXACT).all():
                return _of_numbers(numbers)
        if len(known) > KNOWN:
            known.clear()
        known |= {text: _of_text(text) for text in {*column}.difference(known)}
        return np.fromiter(map(known.__getitem__, column), np.uint64, len(column))


def _of_text(text: str) -> int:
    bare = text.strip()
    if bare == "" or bare.lower() in MISSING:
        return _of_number(np.nan)
    number = {"true": 1.0, "false": 0.0}.get(bare.lower(), _float(bare))
    if abs(number) < EXACT or (not np.isnan(number) and not WHOLE.fullmatch(bare)):
        return _of_number(number)
    return _digest(_moment(bare))


def _moment(text: str) -> str:
    """A text, or the one for all those that name the same moment."""
    if MOMENT.fullmatch(text):
        with suppress(ValueError):
            return values.written(values.date(text))
    return text.rstrip("0").rstrip(".") if TIME.fullmatch(text) else MIDNIGHT.sub("", text)


def _of_number(number: float) -> int:
    return int(_of_numbers(np.array([number]))[0])


def _of_numbers(numbers: Array) -> Array:
    """The bits of a float64; -0 is 0, and every NaN is the same."""
    return np.asarray((np.where(np.isnan(numbers), np.nan, numbers) + 0.0).view(np.uint64))


class Digest:
    """Of columns as they were read: it differs where a value does, and not with the parts in which they came."""

    def __init__(self) -> None:
        self._columns = defaultdict[str, Any](hashlib.blake2b)

    def add(self, name: str, column: Array) -> None:
        """column: float64, or texts, booleans and dates (None)."""
        is_number = column.dtype == float
        # JSON parts a text from the next one, whatever is in it.
        content = _of_numbers(column).tobytes() if is_number else msgspec.json.encode(column.tolist())[1:-1] + b","
        self._columns[name].update(content)

    def hexdigest(self) -> str:
        each = sorted((name, column.hexdigest()) for name, column in self._columns.items())
        return hashlib.sha256(msgspec.json.encode(each)).hexdigest()


def _mixed(bits: Array) -> Array:
    """Each bit of the result depends on every one that is given: splitmix64 (Steele et al., OOPSLA 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
