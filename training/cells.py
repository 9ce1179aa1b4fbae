"""The cells of a column as numbers, texts, booleans or dates: what is wrong with one names its line and what to do."""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from pipeline import values
from pipeline.bundle import LARGEST
from pipeline.schema import Kind
from training.source.rows import MISSING, Column, DataError, as_json, floats
from training.source.rows import texts as written

LIST = "list the column under {} under [data] in pipeline.toml"
ADVICE = [  # about a cell that is no number, by what it looks like
    (
        r"[-+]?\d{1,3}([. ]?\d{3})*,\d+",
        'numbers have a decimal point, and no comma: if all have one, write decimal = "," under [data] in '
        "pipeline.toml",
    ),
    (r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*", LIST.format("date")),
    ("(?i)" + "|".join(word for word in values.BOOLEANS if word.isalpha()), LIST.format("boolean")),
    (
        r"[^\d\s]{0,3}\s?[-+]?\d[\d.,]*\s?[^\d\s]{0,3}",
        f"take the unit out of the file, or {LIST.format('text')} and cut it in derive",
    ),
]
SIGNS = {".": r"\.", ",": ",", "'": "['\u2019]", " ": "[ \u00a0\u202f]"}  # between thousands
GROUPED = r"[-+]?(?!0)\d{{1,3}}({sign}\d{{3}})+({point}\d+)?"
NONE = "none"  # a text that is no number
Array = np.ndarray[Any, Any]


class Numerals(NamedTuple):
    """How a file writes numbers."""

    point: str = "."
    thousands: str = ""  # what parts them; empty: nothing

    def plain(self, texts: Sequence[str]) -> Sequence[str]:
        """Numbers as Python writes them; what is none as this file writes them, is none afterwards."""
        if self == PLAIN:
            return texts
        grouped = re.compile(GROUPED.format(sign=SIGNS.get(self.thousands, "(?!)"), point=re.escape(self.point)))
        whole = re.compile(rf"[-+]?\d*{re.escape(self.point)}?\d*([eE][-+]?\d+)?")

        def number(text: str) -> str:
            bare = text.strip()
            if grouped.fullmatch(bare):
                return re.sub(SIGNS[self.thousands], "", bare).replace(self.point, ".")
            return bare.replace(self.point, ".") if whole.fullmatch(bare) else NONE

        return [number(text) if text else text for text in texts]


PLAIN = Numerals()


class Cells(NamedTuple):
    """A column of some rows."""

    where: str  # what stands before the number of a row, such as "loans.csv, line"
    name: str
    values: Column
    rows: Array  # int: the number of each
    missing: Collection[str]  # what stands for a missing value, "" among it

    @property
    def texts(self) -> Sequence[str]:
        return written(self.values)

    def wrong(self, at: int, why: str) -> DataError:
        text = written(self.values[at : at + 1])[0]
        shown = repr(text[:50] + ("…" if len(text) > 50 else ""))
        return DataError(f"{self.where} {self.rows[at]}, column {self.name!r}: {shown} is {why}")


def reader(kind: Kind, form: str = "", numerals: Numerals = PLAIN) -> Callable[[Cells], Array]:
    """A function from cells to an array: float64 (missing: NaN), or objects of type str, bool or datetime (None).

    form: of dates. The function raises DataError.
    """
    if kind == "number":
        return partial(_numbers, numerals)
    if kind == "text":
        return partial(_texts, {})
    return partial(_objects, kind, values.boolean if kind == "boolean" else partial(values.date, form=form))


def _texts(known: dict[str, str], cells: Cells) -> Array:
    """known: each text once, however often it stands in the file."""
    once, missing = known.setdefault, cells.missing
    return objects([None if text in missing else once(text, text) for text in cells.texts])


def _numbers(numerals: Numerals, cells: Cells) -> Array:
    if isinstance(cells.values, np.ndarray):
        numbers = cells.values.copy()
        wrong = ~(np.abs(numbers) <= LARGEST) & ~np.isnan(numbers)
    else:
        numbers = _parsed(numerals.plain(cells.values), cells.missing)
        wrong = ~(np.abs(numbers) <= LARGEST)
    for at in np.flatnonzero(wrong).tolist():
        text = written(cells.values[at : at + 1])[0].strip()
        if text not in cells.missing:
            raise cells.wrong(at, f"not a finite number; {_parted(text, numerals) or _advice(text, 'number')}")
        numbers[at] = np.nan
    for number in _among(frozenset(cells.missing)):
        numbers[numbers == number] = np.nan
    return numbers


@cache
def _among(words: frozenset[str]) -> list[float]:
    """The numbers among words for a missing value, such as -999."""
    numbers = pd.to_numeric(np.array([*words], object), errors="coerce")
    return [number for number in numbers.tolist() if number == number]  # noqa: PLR0124  and no NaN


def _parsed(texts: Sequence[str], missing: Collection[str]) -> Array:
    """Numbers, NaN for what is missing or none."""
    with suppress(msgspec.DecodeError):
        return as_json(texts)
    there = np.array([text not in missing for text in texts])
    numbers = np.full(len(texts), np.nan)
    numbers[there] = floats([text for text in texts if text not in missing])
    return numbers


def _objects(kind: Kind, read: Callable[[str], object], cells: Cells) -> Array:
    parsed: list[object] = []
    for at, text in enumerate(cells.texts):
        try:
            parsed.append(None if text.strip() in cells.missing else read(text))
        except ValueError as error:
            raise cells.wrong(at, f"no {kind}: {error}; {_advice(text.strip(), kind)}") from None
    return objects(parsed)


def _parted(text: str, numerals: Numerals) -> str:
    """What to do about a number with something between its thousands."""
    for sign, pattern in SIGNS.items():
        if sign not in (numerals.point, numerals.thousands):
            point = re.escape(numerals.point)
            if re.fullmatch(GROUPED.format(sign=pattern, point=point), text):
                return f"if that is between thousands, say so under [data] in pipeline.toml: thousands = {sign!r}"
    return ""


def _advice(text: str, kind: Kind) -> str:
    """What to do about a cell that is none of its column's kind."""
    if text.lower() in MISSING:
        return f'if it stands for a missing value, say so under [data] in pipeline.toml: missing = ["{text}"]'
    looks = ADVICE if kind == "number" else []
    usual = f"correct the cell, or {LIST.format('text')}"
    return next((advice for pattern, advice in looks if re.fullmatch(pattern, text)), usual)


def objects(items: Sequence[object]) -> Array:
    """Items as they are, in an array of shape (items,)."""
    array = np.empty(len(items), object)
    array[:] = items
    return array
