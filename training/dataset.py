"""The data file, read and checked: every complaint names the file, the column and the line."""

import csv
import difflib
import hashlib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from pipeline.bundle import LARGEST, sha256
from pipeline.schema import Data

POINTER = b"version https://git-lfs.github.com/spec/"


class DataError(ValueError):
    """The data file cannot be used; the message says what, where, and what to do."""


class Part(NamedTuple):
    frame: pd.DataFrame
    target: pd.Series


class Dataset(NamedTuple):
    frame: pd.DataFrame  # the features: float64 (missing: NaN) and str objects (missing: None)
    target: pd.Series  # str labels, or float64
    unused: list[str]  # the file's other columns, target included
    is_held_out: np.ndarray  # bool, a row each
    sha256: str  # of the file

    @property
    def training(self) -> Part:
        return Part(self.frame[~self.is_held_out], self.target[~self.is_held_out])

    @property
    def held_out(self) -> Part:
        return Part(self.frame[self.is_held_out], self.target[self.is_held_out])


def read(data: Data, holdout: float) -> Dataset:
    """Features and target of the data file, and which rows are held out. Raises DataError."""
    path = data.path
    cells = _cells(path)
    for key, names in (("numeric", data.numeric), ("text", data.text), ("target", [data.target])):
        for name in names:
            if name not in cells.columns:
                near = difflib.get_close_matches(name, cells.columns, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"The file has: {', '.join(map(repr, cells.columns))}."
                hint = _separated(path) or _headless(data, cells.columns) or hint
                raise DataError(f"{path}, line 1: no column {name!r} (pipeline.toml, data.{key}). {hint}")
    frame = pd.DataFrame({name: _numbers(path, cells[name]) for name in data.numeric})
    for name in data.text:
        frame[name] = cells[name].astype(object).where(cells[name] != "", None)

    target = cells[data.target]
    if (target == "").any():
        raise DataError(f"{path}, line {(target == '').idxmax()}, column {data.target!r}: the target is empty")
    target = _numbers(path, target) if data.task == "regression" else target.astype(object)
    held_out = _held_out(cells, holdout)
    _check_target(data, target, held_out)
    unused = [name for name in cells.columns if name not in data.features]
    frame, target = frame.reset_index(drop=True), target.reset_index(drop=True)
    return Dataset(frame, target, unused, held_out, sha256(path.read_bytes()))


def _cells(path: Path) -> pd.DataFrame:
    """Every cell of the file as text; the index is the line on which a row ends, which is what people look for."""
    if not path.is_file():
        raise DataError(f"{path}: no such file (pipeline.toml, data.path)")
    with path.open("rb") as start:
        if start.read(len(POINTER)) == POINTER:
            raise DataError(f"{path}: this is what Git LFS keeps in place of the file; run `git lfs pull`")
    rows, lines = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(2**31 - 1)  # a text may be long
            reader = csv.reader(file, strict=True)
            header = next(reader, None)
            if header is None:
                raise DataError(f"{path}: the file is empty; its first line names the columns")
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
                if row and len(row) != len(header):
                    count = f"{len(row)} cells, but the header has {len(header)}"
                    raise DataError(f"{path}, line {reader.line_num}: {count}")
    except UnicodeDecodeError:
        whole = path.read_bytes()
        line = next(n for n, text in enumerate(whole.split(b"\n"), 1) if not _is_utf8(text))
        raise DataError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}. {_separated(path)}".rstrip(" .")) from None
    if twice := [name for name, following in pairwise(sorted(header)) if name == following]:
        raise DataError(f"{path}, line 1: two columns are called {twice[0]!r}")
    if not rows:
        raise DataError(f"{path}: no rows below the header")
    return pd.DataFrame(rows, columns=header, index=lines, dtype=str)


def _separated(path: Path) -> str:
    """That something else than commas separates the columns, where the header looks like it."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if header.count(sign) > header.count(","):
            return f"Its columns are separated by {name}; save it with commas."
    return ""


def _headless(data: Data, names: Iterable[str]) -> str:
    """That the first line is a row, where it holds numbers and none of the columns' names."""
    numbers = pd.to_numeric(pd.Series(list(names)), errors="coerce").notna().any()
    if not numbers or {*data.features, data.target} & set(names):
        return ""
    return "Its first line looks like a row; the names of the columns have to stand in a line before it."


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _numbers(path: Path, cells: pd.Series) -> pd.Series:
    text = cells.str.strip()
    numbers = pd.to_numeric(text, errors="coerce").astype(float)
    wrong = np.flatnonzero((text != "") & ~(numbers.abs() <= LARGEST))
    if wrong.size:
        cell = cells.iloc[wrong[0]]
        raise DataError(
            f"{path}, line {cells.index[wrong[0]]}, column {cells.name!r}: {cell[:50]!r} is not a finite number; "
            "correct the cell, or list the column under data.text in pipeline.toml"
        )
    return numbers


def _held_out(cells: pd.DataFrame, share: float) -> np.ndarray:
    """Which rows the model never sees: chosen by a hash of the whole row, so that appending rows moves no other."""
    hashes = (hashlib.blake2b("\x1f".join(row).encode(), digest_size=8) for row in cells.itertuples(index=False))
    return np.fromiter((int.from_bytes(h.digest(), "big") for h in hashes), dtype=np.uint64) < np.uint64(share * 2**64)


def _check_target(data: Data, target: pd.Series, held_out: np.ndarray) -> None:
    where = f"{data.path}, column {data.target!r}"
    if target.nunique() < 2:
        raise DataError(f"{where}: every row says {target.iloc[0]!r}; there is nothing to learn")
    if data.positive and data.positive not in set(target):
        classes = ", ".join(repr(name) for name in sorted(set(target))[:10])
        raise DataError(
            f"{where}: no row says {data.positive!r} (pipeline.toml, data.positive); the rows say {classes}"
        )
    for part, rows in (("training", ~held_out), ("held-out", held_out)):
        if data.task == "classification" and (lacking := set(target) - set(target[rows])):
            raise DataError(f"{where}: no {part} row says {min(lacking)!r}; each class needs rows in both parts")
        if rows.sum() < 2:
            raise DataError(f"{where}: {rows.sum()} {part} rows of {len(target)}; the file is too short to be split")
