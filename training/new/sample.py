"""What of a data file is looked at: how often each text stands in a column, some rows, and which columns are copies."""

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.columns import Record
from pipeline.schema import Data
from pipeline.transformer import records
from training import cells, table
from training.cells import Cells, Numerals
from training.table import DataError

ROWS = 1_000_000  # that are looked at, from the start of the file
SHOWN = 20_000  # of them, evenly, that are looked at as rows
FIRST = 20  # rows, by which it is seen what separates the columns


class Sample(NamedTuple):
    path: Path
    separator: str
    rows: int
    copies: int  # rows that stand in the file more than once, but for the first
    texts: dict[str, Counter[str]]  # by column
    cells: dict[str, list[str]]  # by column, of some rows
    same: dict[str, str]  # columns that say in each row what another one says


def take(path: Path) -> Sample:
    """Reads a CSV file. Raises DataError."""
    if not path.is_file():
        raise DataError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    separator = _separator(path)
    names = table.header(path, separator)
    texts = [Counter[str]() for _ in names]
    digests = [hashlib.blake2b(digest_size=16) for _ in names]
    kept: list[list[str]] = [[] for _ in names]
    hashes, rows = list[np.ndarray](), 0
    for part in table.parts(path, separator):
        for n, column in enumerate(part.cells):
            texts[n].update(column)
            digests[n].update("\x1f".join(column).encode())
            kept[n].extend(column)
        hashes.append(part.hashes)
        rows += len(part.lines)
        if rows >= ROWS:
            break
    step = -(-rows // SHOWN)
    copies = rows - len(np.unique(np.concatenate(hashes)))
    shown = {name: column[::step] for name, column in zip(names, kept, strict=True)}
    same = _same({name: digest.digest() for name, digest in zip(names, digests, strict=True)})
    return Sample(path, separator, rows, copies, dict(zip(names, texts, strict=True)), shown, same)


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
        made[name] = read(Cells(seen.path, name, [seen.cells[name][n] for n in two], np.array(two), words[name]))
    return records(pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in made.items()}))


def _same(digests: Mapping[str, bytes]) -> dict[str, str]:
    """The names behind which stands what stands behind an earlier one, which is the value."""
    first: dict[bytes, str] = {}
    for name, digest in digests.items():
        first.setdefault(digest, name)
    return {name: first[digest] for name, digest in digests.items() if first[digest] != name}


def _separator(path: Path) -> str:
    """What separates the columns: the sign that cuts the first rows into as many cells as the header, and into most."""
    table.header(path, ",")  # whether it is a CSV file at all
    widths: dict[str, list[int]] = {}
    for sign in table.SEPARATORS:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            widths[sign] = [len(row) for row in islice(csv.reader(file, delimiter=sign), FIRST) if row]
    even = [sign for sign in table.SEPARATORS if len(set(widths[sign])) == 1]
    return max(even or table.SEPARATORS, key=lambda sign: widths[sign][0])
