"""The values of a field: what a client may send, as the contract says, and what `derive` gets of it."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import msgspec

from pipeline import values
from pipeline.bundle import LARGEST, Field
from pipeline.columns import Value

Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
TYPES: dict[str, Any] = {"number": Number, "text": str, "boolean": bool, "date": str}  # as JSON has them at best
NUMBER = re.compile(r"[-+]?\d+\.?\d*")
SURROGATE = re.compile("[\ud800-\udfff]")


def may_be_missing(field: Field, gaps: bool) -> bool:
    """Whether there may be no value. gaps: also where training saw one in each row, if the model has an answer."""
    return field.nullable or (gaps and field.gap)


def is_more_than_json(field: Field) -> bool:
    """Whether a value that JSON's types let pass may be another one to `derive`: a date, a word for a gap."""
    if field.type == "number":
        return any(map(NUMBER.fullmatch, field.missing))  # any other word is no number, and so no value that passes
    return field.type == "date" or (field.type == "text" and bool(field.missing))


def reader(field: Field, gaps: bool, lenient: bool) -> Callable[[Any], Value]:
    """A function from what JSON has to a value as `derive` takes it, which raises ValueError with what is wrong.

    gaps: as for `may_be_missing`. lenient: a number may be a text.
    """
    words = {*field.missing, *(float(word) for word in field.missing if NUMBER.fullmatch(word))}
    nullable, of_type, form = may_be_missing(field, gaps), READERS[field.type], field.format
    from_text = lenient and field.type == "number"

    def read(value: Any) -> Value:
        if value is None or (words and type(value) in (str, int, float) and value in words):
            if not nullable:
                raise ValueError(f"is {kind(value)}, but training saw no missing value here")
            return None
        if from_text and type(value) is str:
            with suppress(ValueError):
                value = float(value)
        return of_type(value, form)

    return read


def _number(value: Any, _: str) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"is {kind(value)}; expected a number")
    if not -LARGEST <= value <= LARGEST:
        raise ValueError("is not a finite number that fits in 32 bits")
    return float(value)


def _text(value: Any, _: str) -> str:
    if type(value) is not str:
        raise ValueError(f"is {kind(value)}; expected a text")
    if SURROGATE.search(value):
        raise ValueError("is no valid Unicode text: it holds half of a surrogate pair")
    return value


def _boolean(value: Any, _: str) -> bool:
    try:
        return values.boolean(value)
    except ValueError as error:
        raise ValueError(f"is {kind(value)}; {error}") from None


def _date(value: Any, form: str) -> datetime:
    if type(value) is not str:
        raise ValueError(f"is {kind(value)}; expected a date as a text")
    _text(value, form)
    try:
        return values.date(value, form)
    except ValueError as error:
        raise ValueError(f"is {value[:40]!r}; {error}") from None


READERS: dict[str, Callable[[Any, str], Value]]
READERS = {"number": _number, "text": _text, "boolean": _boolean, "date": _date}


def kind(value: Any) -> str:
    """What a value is called."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
