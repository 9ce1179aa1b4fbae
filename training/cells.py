"""The cells of a column as numbers, texts, booleans or dates: what is wrong with one names its line and what to do."""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from pipeline import values
from pipeline.bundle import LARGEST
from pipeline.schema import Kind
from training.table import DataError

# What people write where a value is missing.
MISSING = {"n/a", "na", "n.a.", "nan", "null", "none", "nil", "?", "-", "--", ".", "missing", "unknown", "#n/a", "<na>"}
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

    path: Path
    name: str
    texts: Sequence[str]
    lines: Array  # int: where each stands in the file
    missing: Collection[str]  # what stands for a missing value, "" among it

    def wrong(self, at: int, why: str) -> DataError:
        text = self.texts[at]
        shown = repr(text[:50] + ("…" if len(text) > 50 else ""))
        return DataError(f"{self.path}, line {self.lines[at]}, column {self.name!r}: {shown} is {why}")


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
    numbers = _parsed(numerals.plain(cells.texts), cells.missing)
    for at in np.flatnonzero(~(np.abs(numbers) <= LARGEST)).tolist():
        text = cells.texts[at].strip()
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
    """Numbers, NaN for what is missing or none. JSON takes less than half the time; 007 and +1 are none there."""
    with suppress(msgspec.DecodeError):
        return _as_json(texts)
    with suppress(msgspec.DecodeError):
        there = np.array([text not in missing for text in texts])
        numbers = np.full(len(texts), np.nan)
        numbers[there] = _as_json([text for text in texts if text not in missing])
        return numbers
    return np.array([_number(text) for text in texts])


def _number(text: str) -> float:
    """Likewise, one by one: Python takes 1_000 and the digits of all scripts, too."""
    try:
        return float(text) if text.isascii() and "_" not in text else np.nan
    except ValueError:
        return np.nan


def _as_json(texts: Sequence[str]) -> Array:
    """Likewise, with a number in each of them. Raises DecodeError where there is none, or none as JSON writes it."""
    numbers = np.array(msgspec.json.decode(f"[{','.join(texts)}]", type=list[float]), float)
    if len(numbers) != len(texts):  # as of "1,2", which is no number
        raise msgspec.DecodeError
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
