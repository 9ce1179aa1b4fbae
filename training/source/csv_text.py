"""CSV, read in parts of texts: every complaint names the file and the line."""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice, pairwise
from typing import Any, BinaryIO, cast
from unicodedata import normalize

import numpy as np
import pyarrow as pa

from training.source.files import File, explained
from training.source.rows import Column, DataError, Part

ROWS = 1_000  # of a part: few enough to stay in the caches of a CPU
BEGINS = 64  # bytes, by which it is seen what a file is
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
SIGNS = {  # how other files begin, and what to do with them
    b"version https://git-lfs.github.com/spec/": "this is what Git LFS keeps in place of the file; run `git lfs pull`",
    b"PK\x03\x04": "a spreadsheet (.xlsx) or a zip archive; save it as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "a spreadsheet (.xls); save it as CSV",
    b"SQLite format 3": "an SQLite database; ask it by `sql` under [data] in pipeline.toml",
    b"\x89HDF": "an HDF5 file; write the table as Parquet or CSV",
    b"ARROW1": "an Arrow file; write it as Parquet",
    b"\xff\xff\xff\xff": "a stream of Arrow's; write it as Parquet",
    b"PAR1": "Parquet that was packed once more; unpack it",
    b"ORC": "an ORC file; write it as Parquet",
    b"<!doctype": "a web page, and not what a link on it leads to",
    b"<html": "a web page, and not what a link on it leads to",
    b"<?xml": "XML, such as a store's answer to who may not read; write the table as CSV",
}
JSON = re.compile(rb'\s*(\[\s*)?\{\s*"')
UNKNOWN = "\ufffd"  # for what is no letter
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def header(file: File, separator: str, encoding: str) -> list[str]:
    """The names of the columns, each letter as one code point where there is one. Raises DataError."""
    _check_begin(file, encoding)
    try:
        with _reader(file, separator, encoding) as reader:
            names = [normalize("NFC", name) for name in next(reader, [])]
            if not names and next(reader, None) is not None:
                raise DataError(f"{file.name}, line 1: it is empty, and has to name the columns")
    except UnicodeError:
        raise _undecoded(file, encoding) from None
    except csv.Error as error:
        raise _unreadable(file, separator, encoding, error) from None
    if not names:
        raise DataError(f"{file.name}: the file is empty; its first line names the columns")
    if names[0].lower().startswith("sep="):
        raise DataError(f"{file.name}, line 1: {names[0]!r} is a note to Excel; take the line out")
    if names.count("") > 1:
        raise DataError(
            f"{file.name}, line 1: {names.count('')} columns have no name; name them, or take them out: spreadsheets "
            "leave empty ones at the end, and titles above the names"
        )
    if twice := [name for name, following in pairwise(sorted(names)) if name == following]:
        raise DataError(f"{file.name}, line 1: two columns are called {twice[0]!r}")
    return names


def _check_begin(file: File, encoding: str) -> None:
    """Raises DataError where a file is something else, by its first bytes."""
    with binary(file) as packed:
        start = packed.read(BEGINS).removeprefix(b"\xef\xbb\xbf")
    for sign, what in SIGNS.items():
        if start.lstrip().lower().startswith(sign.lower()):
            raise DataError(f"{file.name}: {what}")
    if JSON.match(start):
        raise DataError(f"{file.name}: JSON; write it as CSV")
    if not codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
        if how := wide(start):
            raise DataError(f'{file.name}: its letters are written as {how}: write encoding = "{how}" under [data]')
        if b"\0" in start:
            raise DataError(f"{file.name}: no text file; save it as CSV")


def parts(file: File, number: int, separator: str, encoding: str) -> Iterator[Part]:
    """The rows below the header, some at a time. number: of the file. Raises DataError."""
    names, line = header(file, separator, encoding), 1
    width = len(names)
    with _reader(file, separator, encoding) as reader:
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
                        check_packed(file)  # of a damaged one, that is what has to be said
                        raise DataError(f"{file.name}, line {lines[wrong[0]]}: {count}")
                    rows, lines = [rows[n] for n in kept], lines[kept]
                if rows:
                    columns = cast(Iterator[Column], zip(*rows, strict=True))
                    yield Part(dict(zip(names, columns, strict=True)), lines, number)
        except UnicodeError:
            raise _undecoded(file, encoding) from None
        except csv.Error as error:
            raise _unreadable(file, separator, encoding, error) from None


def wide(start: bytes) -> str:
    """Which kind of UTF-16 or UTF-32 a text begins as, by its mark or by the zeros beside each letter; empty: none."""
    if start.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if start.count(0) > len(start) * 5 // 8:
        return "utf-32-be" if start.startswith(b"\0") else "utf-32-le"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if start.count(0) <= len(start) // 4:
        return ""
    return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"


def separated(file: File, separator: str, encoding: str) -> str:
    """That something else separates the columns, where the header looks like it."""
    with text(file, encoding, errors="replace") as lines:
        first = lines.readline()
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


@contextmanager
def binary(file: File) -> Iterator[BinaryIO]:
    """What a file holds, unpacked where it is packed. Raises DataError."""
    with explained(file.name), file.open() as stream:
        how = _packing(stream.peek(BEGINS))
        opened: Any = stream
        if how == "zstd":
            opened = io.BufferedReader(pa.CompressedInputStream(stream, how))
        elif how:
            unpack: Any = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}[how]
            opened = unpack(stream)
        try:
            yield opened
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and (error.errno or not how):  # bz2 has no error of its own
                raise
            raise DataError(f"{file.name}: damaged ({how}): {error}") from None


@contextmanager
def text(file: File, encoding: str, errors: str = "strict") -> Iterator[io.TextIOWrapper]:
    """Likewise, as text; a byte order mark is none of it."""
    plain = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    with binary(file) as stream, io.TextIOWrapper(stream, plain, errors, newline="") as lines:
        yield lines


@contextmanager
def _reader(file: File, separator: str, encoding: str) -> Iterator[Any]:
    csv.field_size_limit(2**31 - 1)  # a text may be long
    with text(file, encoding) as lines:
        yield csv.reader(lines, strict=True, delimiter=separator)


def _breaks(cell: str) -> int:
    """Line breaks in a cell."""
    return cell.count("\n") + cell.count("\r") - cell.count("\r\n")


def _undecoded(file: File, encoding: str) -> DataError:
    check_packed(file)
    with text(file, encoding, errors="replace") as lines:
        line = next(number for number, row in enumerate(chain(lines, [UNKNOWN]), 1) if UNKNOWN in row)
    where = f"{file.name}, line {line}"
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        advice = 'if it is of Windows, write encoding = "cp1252" under [data] in pipeline.toml'
        return DataError(f"{where}: not UTF-8; {advice}")
    advice = "save the file as UTF-8, or say how it is written by encoding under [data] in pipeline.toml"
    return DataError(f"{where}: a letter that {encoding} does not have; {advice}")


def check_packed(file: File) -> None:
    """Raises DataError where a packed file is damaged, which only its end says."""
    with file.open() as stream:
        if not _packing(stream.peek(BEGINS)):
            return
    with binary(file) as stream:
        while stream.read(2**20):
            pass


def _packing(start: bytes) -> str:
    return next((name for sign, name in PACKED.items() if start.startswith(sign)), "")


def _unreadable(file: File, separator: str, encoding: str, error: csv.Error) -> DataError:
    """Where the file ceases to be CSV: read again, row by row, since the rows were counted in parts."""
    check_packed(file)
    line = 1
    with _reader(file, separator, encoding) as reader, suppress(csv.Error):
        for _ in reader:
            line = reader.line_num + 1
    what = "a quote that opens in this row is never closed" if "unexpected end" in str(error) else str(error)
    with text(file, encoding, errors="replace") as lines:
        if '\\"' in next(islice(lines, line - 1, None), ""):
            return DataError(
                f"{file.name}, line {line}: {what}. Its quotes stand behind backslashes; write them doubled"
            )
    return DataError(f"{file.name}, line {line}: {what}. {separated(file, separator, encoding)}".rstrip(" ."))
