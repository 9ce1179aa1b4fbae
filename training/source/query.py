"""What a database answers to [data] sql. Which database, DATABASE_URL says: it may hold a password.

https://docs.sqlalchemy.org/en/20/core/engines.html
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from unicodedata import normalize

import numpy as np
import sqlalchemy
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from training.source.files import public
from training.source.rows import EXACT, Column, DataError, Part

URL = "DATABASE_URL"
EXAMPLE = "postgresql://user:password@host/name"
NAME = "the query"
ROWS = 10_000  # of a part


def where() -> str:
    """The database, without a password; empty where the environment names none."""
    return public(os.environ.get(URL, ""))


@contextmanager
def asked(sql: str) -> Iterator[tuple[list[str], Iterator[Part]]]:
    """The names of the columns, and the rows, some at a time. Raises DataError."""
    url = os.environ.get(URL, "")
    if not url:
        raise DataError(f"{NAME} needs a database: set {URL}, such as {EXAMPLE}")
    # As hosts of databases write it; SQLAlchemy would take psycopg2.
    if url.startswith(("postgres://", "postgresql://")):
        url = f"postgresql+psycopg://{url.partition('://')[2]}"
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            readonly = {"postgresql_readonly": True} if engine.dialect.name == "postgresql" else {}
            streamed = connection.execution_options(stream_results=True, yield_per=ROWS, **readonly)
            with streamed.execute(sqlalchemy.text(sql.replace(":", r"\:"))) as result:
                names = [normalize("NFC", name) for name in result.keys()]  # noqa: SIM118  not its rows
                yield names, _parts(names, result)
    except (SQLAlchemyError, ImportError) as error:
        raise DataError(f"{NAME}: {_reason(error)}") from None


def _parts(names: Sequence[str], result: CursorResult[Any]) -> Iterator[Part]:
    start = 0
    for rows in result.partitions(ROWS):
        columns = {name: column(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
        yield Part(columns, np.arange(start + 1, start + 1 + len(rows)))
        start += len(rows)
    if not start:
        raise DataError(f"{NAME}: no rows")


def column(values: Sequence[object]) -> Column:
    """Float64 where each value is a number or missing, else texts, as CSV would have them."""
    numbers = [type(value) in (int, float, Decimal) or value is None for value in values]
    if all(numbers) and any(value is not None for value in values):
        array = np.array([np.nan if value is None else float(value) for value in values])  # type: ignore[arg-type]
        if not any(isinstance(value, int) and abs(value) >= EXACT for value in values):
            return array
    return [_text(value) for value in values]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    return value.isoformat() if isinstance(value, date) else str(value)


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        advice = "make add LIBRARY=psycopg[binary] GROUP=data, for PostgreSQL"
        return f"{error}: the driver of the database is missing. Add it: {advice}"
    if isinstance(error, ArgumentError):
        return f"{URL} is no address of a database, such as {EXAMPLE}"
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return f"{where()} says: {said[:300]}"
