"""What a database answers to [data] sql. Which database, DATABASE_URL says: it may hold a password.

https://docs.sqlalchemy.org/en/20/core/engines.html
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import sqlalchemy
from sqlalchemy.engine import URL, CursorResult
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from training.source.rows import DIGITS, EXACT, Column, DataError, Part, as_text

VARIABLE = "DATABASE_URL"
EXAMPLE = "postgresql://user:password@host/name"
NAME = "the query"
ROWS = 10_000  # of a part


def where() -> str:
    """The database, without a password; empty where the environment names none."""
    try:
        url = sqlalchemy.make_url(os.environ.get(VARIABLE, ""))
    except (ArgumentError, ValueError):
        return ""
    return URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()


def _address() -> URL:
    """Raises DataError."""
    given = os.environ.get(VARIABLE, "")
    if not given:
        raise DataError(f"{NAME} needs a database: set {VARIABLE}, such as {EXAMPLE}")
    try:
        url = sqlalchemy.make_url(given)
    except (ArgumentError, ValueError):
        raise DataError(f"{NAME}: {VARIABLE} is no address of a database, such as {EXAMPLE}") from None
    if url.drivername in ("postgres", "postgresql"):  # SQLAlchemy would take psycopg2
        return url.set(drivername="postgresql+psycopg")
    # SQLite would make the file.
    in_memory = not url.database or url.database == ":memory:" or url.database.startswith("file:")
    if url.get_backend_name() == "sqlite" and not in_memory and not Path(str(url.database)).is_file():
        raise DataError(f"{NAME}: {url.database}: no such file ({VARIABLE})")
    return url


@contextmanager
def asked(sql: str) -> Iterator[tuple[list[str], Iterator[Part]]]:
    """The names of the columns, and the rows, some at a time. Raises DataError."""
    url = _address()
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            readonly = {"postgresql_readonly": True} if engine.dialect.name == "postgresql" else {}
            if engine.dialect.name == "sqlite":  # which has no transaction for it
                connection.execute(sqlalchemy.text("PRAGMA query_only = ON"))
            streamed = connection.execution_options(stream_results=True, yield_per=ROWS, **readonly)
            with streamed.execute(sqlalchemy.text(sql.replace(":", r"\:"))) as result:
                if not result.returns_rows:
                    raise DataError(f"{NAME} answers no rows; write a SELECT (pipeline.toml, data.sql)")
                names = [normalize("NFC", name) for name in result.keys()]  # noqa: SIM118  not its rows
                yield names, _parts(names, result)
    except (SQLAlchemyError, ImportError) as error:
        raise DataError(f"{NAME}: {_reason(error, url)}") from None


def _parts(names: Sequence[str], result: CursorResult[Any]) -> Iterator[Part]:
    start = 0
    for rows in result.partitions(ROWS):
        columns = {name: column(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
        single = {name: values for name, values in columns.items() if values is not None}
        yield Part(single, np.arange(start + 1, start + 1 + len(rows)))
        start += len(rows)


def column(values: Sequence[object]) -> Column | None:
    """Float64 where each value is a number or missing, else texts, as CSV would have them; None of lists and bytes."""
    kinds = {type(value) for value in values}
    if kinds & {bytes, memoryview, list, tuple, dict}:
        return None
    if kinds <= {int, float, Decimal, type(None)} and kinds != {type(None)} and all(map(_is_exact, values)):
        return np.array([np.nan if value is None else float(value) for value in values])  # type: ignore[arg-type]
    return [_text(value) for value in values]


def _is_exact(value: object) -> bool:
    """Whether a float64 tells a number apart from its neighbours."""
    if isinstance(value, Decimal):
        return not value.is_finite() or len(value.normalize().as_tuple().digits) <= DIGITS
    return not isinstance(value, int) or abs(value) < EXACT


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return as_text(value)
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    return value.isoformat() if isinstance(value, date) else str(value)


def _reason(error: Exception, url: URL) -> str:
    if isinstance(error, ImportError):
        library = "psycopg[binary]" if url.get_backend_name() == "postgresql" else "name"
        where_else = "" if library != "name" else " (https://docs.sqlalchemy.org/en/20/dialects/ has the names)"
        add = f"make add LIBRARY={library} GROUP=data{where_else}"
        return f"{error}: the driver of the database is missing. Add it: {add}"
    if isinstance(error, ArgumentError):  # of no database that SQLAlchemy knows
        return f"{VARIABLE}: {' '.join(str(error).split())[:200]}"
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return f"{where()} says: {said[:300]}"
