"""Parquet, read in parts: numbers as numbers, and everything else as the texts that CSV would have."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.source.files import File, explained
from training.source.rows import EXACT, Column, DataError, Part

ROWS = 16_384  # of a part
SIGN = b"PAR1"


def is_parquet(file: File) -> bool:
    with file.open() as stream:
        return stream.peek(len(SIGN)).startswith(SIGN)


def header(file: File) -> list[str]:
    """The names of the columns. Raises DataError."""
    with _opened(file) as table:
        schema = table.schema_arrow
    if not schema.names:
        raise DataError(f"{file.name}: no columns in it")
    return [normalize("NFC", name) for name in schema.names]


def parts(file: File, number: int, wanted: Collection[str]) -> Iterator[Part]:
    """The rows, some at a time, of the columns that are wanted and hold single values. Raises DataError."""
    start = 0
    with _opened(file) as table:
        names = {name: normalize("NFC", name) for name in table.schema_arrow.names}
        read = [name for name, known in names.items() if known in wanted]
        for batch in table.iter_batches(ROWS, columns=read):
            columns = {names[name]: column(batch.column(name)) for name in batch.schema.names}
            rows = np.arange(start + 1, start + 1 + batch.num_rows)
            start += batch.num_rows
            yield Part({name: values for name, values in columns.items() if values is not None}, rows, number)
    if not start:
        raise DataError(f"{file.name}: no rows in it")


@contextmanager
def _opened(file: File) -> Iterator[pq.ParquetFile]:
    """Columns apart are fetched apart, so a store is asked for what is read alone."""
    with explained(file.name):
        source = file.system.open_input_file(file.path) if file.system else file.path
        try:
            with pq.ParquetFile(source) as table:
                yield table
        except pa.ArrowInvalid as error:
            said = " ".join(str(error).split())
            raise DataError(f"{file.name}: no Parquet that can be read ({said[:200]})") from None


def column(array: pa.Array) -> Column | None:
    """Float64, or texts; None of what is no single value, such as a list."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return column(array.dictionary_decode())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = np.array(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), float)
        inexact = pa.types.is_integer(kind) and (np.abs(numbers) >= EXACT).any()  # such as identifiers
        return _texts(array) if inexact else numbers
    if pa.types.is_boolean(kind):
        array = pc.if_else(array, "True", "False")
    elif pa.types.is_timestamp(kind):
        whole = array.cast(pa.timestamp("us", kind.tz), safe=False)
        written = pc.replace_substring_regex(whole.cast(pa.string()), r"\.0+(Z?)$", r"\1")
        array = pc.replace_substring_regex(written, r" 00:00:00$", "")
    return None if pa.types.is_nested(kind) else _texts(array)


def _texts(array: pa.Array) -> list[str]:
    return [*pc.fill_null(array.cast(pa.string()), "").to_pylist()]
