"""A CSV file, read in parts of texts: every complaint names the file and the line."""

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

import numpy as np

ROWS = 1_000  # of a part: few enough to stay in the caches of a CPU
SHOWN = 20  # names of columns in a message
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
UTF16 = "not UTF-8 but UTF-16; write it anew: iconv -f UTF-16 -t UTF-8 old.csv > new.csv"
SIGNS = {  # how other files begin, and what to do with them
    b"version https://git-lfs.github.com/spec/": "this is what Git LFS keeps in place of the file; run `git lfs pull`",
    b"PAR1": "a Parquet file; write it as CSV, such as by pandas.read_parquet(path).to_csv(new, index=False)",
    b"PK\x03\x04": "a spreadsheet (.xlsx) or a zip archive; save it as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "a spreadsheet (.xls); save it as CSV",
    b"\x1f\x8b": "compressed; unpack it with gunzip",
    b"BZh": "compressed; unpack it with bunzip2",
    b"\xfd7zXZ": "compressed; unpack it with unxz",
    b"\xff\xfe": UTF16,
    b"\xfe\xff": UTF16,
    b"SQLite format 3": "an SQLite database; write the table as CSV",
    b"\x89HDF": "an HDF5 file; write the table as CSV",
    b"ARROW1": "an Arrow file; write it as CSV",
    b"<!DOCTYPE": "a web page, and not what a link on it leads to",
    b"<html": "a web page, and not what a link on it leads to",
    b'{"': "JSON; write it as CSV",
    b'[{"': "JSON; write it as CSV",
}
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
Array = np.ndarray[Any, Any]


class DataError(ValueError):
    """The data file cannot be used; the message says what, where, and what to do."""


class Part(NamedTuple):
    """Some rows of a file."""

    cells: list[tuple[str, ...]]  # by column, as the header has them
    lines: Array  # int: on which each row ends, which is what people look for
    hashes: Array  # uint64: of each row


def header(path: Path, separator: str) -> list[str]:
    """The names of the columns, each letter as one code point where there is one. Raises DataError."""
    with path.open("rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf")
    for sign, what in SIGNS.items():
        if start.lstrip().startswith(sign):
            raise DataError(f"{path}: {what}")
    if b"\0" in start:
        raise DataError(f"{path}: {UTF16 if start.count(0) > len(start) // 4 else 'no text file; save it as CSV'}")
    try:
        with _reader(path, separator) as reader:
            names = [normalize("NFC", name) for name in next(reader, [])]
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except csv.Error as error:
        raise _unreadable(path, separator, error) from None
    if not names:
        raise DataError(f"{path}: the file is empty; its first line names the columns")
    if names[0].lower().startswith("sep="):
        raise DataError(f"{path}, line 1: {names[0]!r} is a note to Excel; take the line out")
    if names.count("") > 1:
        raise DataError(
            f"{path}, line 1: {names.count('')} columns have no name; name them, or take them out: spreadsheets leave "
            "empty ones at the end, and titles above the names"
        )
    if twice := [name for name, following in pairwise(sorted(names)) if name == following]:
        raise DataError(f"{path}, line 1: two columns are called {twice[0]!r}")
    return names


def parts(path: Path, separator: str) -> Iterator[Part]:
    """The rows below the header, some at a time. Raises DataError."""
    width, line, empty = len(header(path, separator)), 1, True
    with _reader(path, separator) as reader:
        try:
            next(reader)
            while rows := list(islice(reader, ROWS)):
                # A row ends on a later line than it begins where a cell has line breaks in it.
                plain = reader.line_num - line == len(rows)
                counts = 1 if plain else [1 + sum(map(_breaks, row)) for row in rows]
                lines = line + np.cumsum(np.broadcast_to(counts, len(rows)))
                line = reader.line_num
                whole = np.fromiter(map(len, rows), int) == width
                filled = np.fromiter(map(any, rows), bool)  # spreadsheets leave rows of empty cells
                if not (whole.all() and filled.all()):
                    kept = np.flatnonzero(filled).tolist()
                    if wrong := [n for n in kept if not whole[n]]:
                        count = f"{len(rows[wrong[0]])} cells, but the header has {width}"
                        raise DataError(f"{path}, line {lines[wrong[0]]}: {count}")
                    rows, lines = [rows[n] for n in kept], lines[kept]
                if rows:
                    empty = False
                    yield Part(list(zip(*rows, strict=True)), lines, _hashes(rows))
        except UnicodeDecodeError:
            raise _not_utf8(path) from None
        except csv.Error as error:
            raise _unreadable(path, separator, error) from None
    if empty:
        raise DataError(f"{path}: no rows below the header")


def separated(path: Path, separator: str) -> str:
    """That something else separates the columns, where the header looks like it."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
    for sign, name in SEPARATORS.items():
        if first.count(sign) > first.count(separator):
            key = f"separator = {json.dumps(sign)}"
            return f"Its columns are separated by {name}: write {key} under [data] in pipeline.toml."
    return ""


def headless(names: Iterable[str]) -> str:
    """That the first line is a row, where it holds numbers."""
    if not any(NUMBER.fullmatch(name.strip()) for name in names):
        return ""
    return "Its first line looks like a row; the names of the columns have to stand in a line before it."


def listed(names: Iterable[str]) -> str:
    """Names for a message, and how many more there are."""
    shown = [repr(name) for name in names]
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")


@contextmanager
def _reader(path: Path, separator: str) -> Iterator[Any]:
    csv.field_size_limit(2**31 - 1)  # a text may be long
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield csv.reader(file, strict=True, delimiter=separator)


def _breaks(cell: str) -> int:
    """Line breaks in a cell."""
    return cell.count("\n") + cell.count("\r") - cell.count("\r\n")


def _hashes(rows: list[list[str]]) -> Array:
    digests = [hashlib.blake2b("\x1f".join(row).encode(), digest_size=8).digest() for row in rows]
    return np.frombuffer(b"".join(digests), ">u8")


def _not_utf8(path: Path) -> DataError:
    with path.open("rb") as file:
        line = next(number for number, text in enumerate(chain(file, [b"\xff"]), 1) if not _is_utf8(text))
    advice = f"if it is of Windows: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new.csv"
    return DataError(f"{path}, line {line}: not UTF-8; save the file as UTF-8 ({advice})")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unreadable(path: Path, separator: str, error: csv.Error) -> DataError:
    """Where the file ceases to be CSV: read again, row by row, since the rows were counted in parts."""
    line = 1
    with _reader(path, separator) as reader, suppress(csv.Error):
        for _ in reader:
            line = reader.line_num + 1
    what = "a quote that opens in this row is never closed" if "unexpected end" in str(error) else str(error)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        if '\\"' in next(islice(file, line - 1, None), ""):
            return DataError(f"{path}, line {line}: {what}. Its quotes stand behind backslashes; write them doubled")
    return DataError(f"{path}, line {line}: {what}. {separated(path, separator)}".rstrip(" ."))
