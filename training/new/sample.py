"""What of a data file is looked at: how often each text stands in a column, some rows, and which columns are copies."""

import codecs
import csv
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.columns import Record
from pipeline.schema import Data
from pipeline.transformer import records
from training import cells
from training.cells import Cells, Numerals
from training.source import csv_text, files, parquet, table
from training.source.files import File
from training.source.rows import DataError, Hashes, texts

ROWS = 1_000_000  # that are looked at, from the start of the file
SHOWN = 20_000  # of them, evenly, that are looked at as rows
FILES = 20  # by which it is seen how their letters are written
FIRST = 20  # rows, by which it is seen what separates the columns


class Sample(NamedTuple):
    name: str  # of the source
    header: str  # where the names of the columns stand
    unit: str  # in which its rows are counted
    found: Data  # where it is, and how its cells are parted and written
    rows: int
    copies: int  # rows that stand in it more than once, but for the first
    texts: dict[str, Counter[str]]  # by column
    cells: dict[str, list[str]]  # by column, of some rows
    same: dict[str, str]  # columns that say in each row what another one says
    others: list[str]  # columns of lists, of records, of bytes


def take(path: str, sql: str = "") -> Sample:
    """Reads what lies there, or what a database answers. Raises DataError."""
    whole = _whole(path, sql=sql)
    found = table.find(whole)
    data = whole if sql else _how(path, found)
    hashed, hashes, rows = Hashes(), list[np.ndarray](), 0
    with table.opened(data, found) as source:
        names = source.names
        counts = {name: Counter[str]() for name in names}
        digests = {name: hashlib.blake2b(digest_size=16) for name in names}
        kept: dict[str, list[str]] = {name: [] for name in names}
        for part in source.parts(names):
            for name, column in part.columns.items():
                cells_of = texts(column)
                counts[name].update(cells_of)
                digests[name].update("\x1f".join(cells_of).encode())
                kept[name].extend(cells_of)
            hashes.append(hashed(part.columns))
            rows += len(part.numbers)
            if rows >= ROWS:
                break
    step = -(-rows // SHOWN)
    copies = rows - len(np.unique(np.concatenate(hashes)))
    single = {name: column[::step] for name, column in kept.items() if len(column) == rows}
    same = _same({name: digests[name].digest() for name in single})
    return Sample(
        source.name,
        source.header,
        source.unit,
        data,
        rows,
        copies,
        {name: counts[name] for name in single},
        single,
        same,
        [name for name in names if name not in single],
    )


def examples(seen: Sample, data: Data) -> list[Record]:
    """Two of the rows as `derive` gets them: the fullest one, and one with the most gaps."""
    words = {name: data.missing_words(name) for name in data.columns}
    targets, classes = [text.strip() for text in seen.cells[data.target]], data.classes
    learned = [
        n for n, text in enumerate(targets) if text not in words[data.target] and (not classes or text in classes)
    ]
    rows = learned or range(len(targets))
    gaps = {n: sum(seen.cells[name][n].strip() in words[name] for name in data.kinds) for n in rows}
    two = min(rows, key=gaps.__getitem__), max(reversed(rows), key=gaps.__getitem__)
    made, numerals = {}, Numerals(data.decimal, data.thousands)
    for name, kind in data.kinds.items():
        read = cells.reader(kind, data.date_formats.get(name, ""), numerals)
        made[name] = read(
            Cells(f"{seen.name}, {seen.unit}", name, [seen.cells[name][n] for n in two], np.array(two), words[name])
        )
    return records(pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in made.items()}))


def _same(digests: Mapping[str, bytes]) -> dict[str, str]:
    """The names behind which stands what stands behind an earlier one, which is the value."""
    first: dict[bytes, str] = {}
    for name, digest in digests.items():
        first.setdefault(digest, name)
    return {name: first[digest] for name, digest in digests.items() if first[digest] != name}


def _whole(path: str, **how: str) -> Data:
    """The data in a place, of whose columns nothing is known yet."""
    return Data(path=path, task="regression", target="\0", numeric=["\1"], **how)  # type: ignore[arg-type]


def _how(path: str, found: Sequence[File]) -> Data:
    """How the letters of CSV are written, and what separates its columns. Raises DataError where files differ."""
    with files.at_hand(found[:FILES]) as here:
        if parquet.is_parquet(here[0]):
            return _whole(path)
        of = {encoding: file for file in here if (encoding := _encoding(file))}  # any does for plain letters
        if len(of) > 1:
            both = " and ".join(f"{file.name} is {encoding}" for encoding, file in [*of.items()][:2])
            raise DataError(f"{files.public(path)}: {both}; write all files alike")
        encoding = next(iter(of), "utf-8")
        return _whole(path, encoding=encoding, separator=_separator(here[0], encoding))


def _encoding(file: File) -> str:
    """Of the letters beyond ASCII, empty without: what is neither UTF-8 nor UTF-16 is taken for Windows' own."""
    with csv_text.binary(file) as stream:
        start = block = stream.read(csv_text.BEGINS)
        if (wide := csv_text.wide(start)) or b"\0" in start:
            return wide  # or of no text file at all, which reading says
        decoder, found = codecs.getincrementaldecoder("utf-8")(), ""
        try:
            while block:
                decoder.decode(block)
                found = found if block.isascii() else "utf-8"
                block = stream.read(2**20)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return found


def _separator(file: File, encoding: str) -> str:
    """What separates the columns: the sign that cuts the first rows into as many cells as the header, and into most."""
    csv_text.header(file, ",", encoding)  # whether it is a CSV file at all
    widths: dict[str, list[int]] = {}
    for sign in csv_text.SEPARATORS:
        with csv_text.text(file, encoding, errors="replace") as lines:
            widths[sign] = [len(row) for row in islice(csv.reader(lines, delimiter=sign), FIRST) if row]
    even = [sign for sign in csv_text.SEPARATORS if len(set(widths[sign])) == 1 < widths[sign][0]]
    return max(even or csv_text.SEPARATORS, key=lambda sign: widths[sign][0])
