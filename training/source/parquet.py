"""Parquet, read in parts: numbers as the decimals that CSV would have, and everything else as its texts."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.source.files import File, explained
from training.source.rows import DIGITS, EXACT, Column, DataError, Part

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
            columns = {names[name]: _column(file, name, batch.column(name)) for name in batch.schema.names}
            rows = np.arange(start + 1, start + 1 + batch.num_rows)
            start += batch.num_rows
            yield Part({name: values for name, values in columns.items() if values is not None}, rows, number)


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


def _column(file: File, name: str, array: pa.Array) -> Column | None:
    try:
        return column(array)
    except pa.ArrowException as error:
        said = " ".join(str(error).split())
        raise DataError(f"{file.name}, column {name!r}: {array.type} cannot be read ({said[:200]})") from None


def column(array: pa.Array) -> Column | None:
    """Float64, or texts; None of what is no single value, such as a list, or bytes. Raises ArrowException."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind, types = array.type, pa.types
    if types.is_dictionary(kind):
        return column(array.dictionary_decode())
    none = (types.is_nested, types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    if any(each(kind) for each in none):
        return None
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return _numbers(array)
    if types.is_boolean(kind):
        array = pc.if_else(array, "True", "False")
    elif types.is_timestamp(kind) or types.is_time(kind):
        array = _moments(array)
    return _texts(array)


def _numbers(array: pa.Array) -> Column:
    """Float64; texts where that does not tell all of them apart, as of identifiers."""
    kind = array.type
    if pa.types.is_integer(kind):
        numbers = _floats(array)
        return _texts(array) if (np.abs(numbers) >= EXACT).any() else numbers
    if kind == pa.float64():
        return _floats(array)
    # By way of the text: 0.1 in 32 bits becomes the 0.1 that was meant, and Arrow rounds some decimals twice.
    if pa.types.is_decimal(kind):
        texts = _without_zeros(array.cast(pa.string()))
        numbers = _floats(texts)
        return _texts(texts) if (np.abs(numbers) * 10.0**kind.scale >= 10.0**DIGITS).any() else numbers
    return _floats(array.cast(pa.float32()).cast(pa.string()))


def _floats(array: pa.Array) -> np.ndarray:
    return np.array(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), float)


def _without_zeros(written: pa.Array, rest: str = "") -> pa.Array:
    """Fractions without the zeros at their ends. rest: a pattern of what may stand behind them."""
    shorter = pc.replace_substring_regex(written, rf"(\.\d*?)0+({rest})$", r"\1\2")
    return pc.replace_substring_regex(shorter, rf"\.({rest})$", r"\1")


def _moments(array: pa.Array) -> pa.Array:
    """As ISO 8601 has them; midnight is a day."""
    kind = array.type
    if pa.types.is_time(kind):
        return _without_zeros(array.cast(pa.string()))
    whole = array.cast(pa.timestamp("us", kind.tz), safe=False)
    try:
        written = whole.cast(pa.string())
    except pa.ArrowInvalid:  # nobody here knows the zone
        written = whole.cast(pa.timestamp("us", "UTC")).cast(pa.string())
    written = _without_zeros(written, r"(?:Z|[-+]\d{4})?")
    if kind.tz is None:
        return pc.replace_substring_regex(written, " 00:00:00$", "")
    return pc.replace_substring_regex(pc.replace_substring_regex(written, "Z$", "+0000"), r"(\d\d)$", r":\1")


def _texts(array: pa.Array) -> list[str]:
    return [*pc.fill_null(array.cast(pa.string()), "").to_pylist()]
