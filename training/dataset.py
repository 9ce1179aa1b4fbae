"""The data file as columns of numbers, texts, booleans and dates: every complaint names the line and the column."""

import difflib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.bundle import file_sha256
from pipeline.schema import Data, Kind
from training import cells, split, table
from training.cells import Cells, Numerals
from training.table import DataError

LINE = "line"  # the name of a frame's index: where each row stands in the file

Array = np.ndarray[Any, Any]
Say = Callable[[str], None]


class Half(NamedTuple):
    frame: pd.DataFrame
    target: pd.Series


class Dataset(NamedTuple):
    frame: pd.DataFrame  # the features: float64 (missing: NaN), objects of type str, bool, datetime (missing: None)
    target: pd.Series  # str labels, or float64
    unused: list[str]  # the file's other columns, target included
    is_held_out: Array  # bool, a row each
    hashes: Array  # uint64, a row each: equal ones are of equal rows of the file, or of one group
    others: pd.DataFrame  # texts of further columns that were asked for, None where there is none
    sha256: str  # of the file
    notes: Sequence[str] = ()  # sentences for the person who trains

    def column(self, name: str) -> pd.Series:
        """A column that was read. Raises KeyError."""
        if name == self.target.name:
            return self.target
        return self.frame[name] if name in self.frame else self.others[name]

    @property
    def training(self) -> Half:
        return Half(self.frame[~self.is_held_out], self.target[~self.is_held_out])

    @property
    def held_out(self) -> Half:
        return Half(self.frame[self.is_held_out], self.target[self.is_held_out])


def in_silence(_: str) -> None:
    """Says nothing."""


def read(data: Data, holdout: float, say: Say = in_silence, also: Sequence[str] = ()) -> Dataset:
    """Features and target of the file, and which rows are held out. `say` hears how far it is. Raises DataError.

    also: further columns that are wanted, where the file has them.
    """
    path = data.path
    if not path.is_file():
        raise DataError(f"{path}: no such file (pipeline.toml, data.path)")
    names = table.header(path, data.separator)
    _check_names(data, names)
    besides = [name for name in (data.group, data.time, *also) if name in names and name not in data.columns]
    kinds: dict[str, Kind] = data.columns | dict.fromkeys(besides, "text")
    # Of many small arrays, once joined, the memory would not go back: these grow in one place.
    made = {name: array("d") if kind == "number" else list[Any]() for name, kind in kinds.items()}
    lines, hashes = array("q"), array("Q")
    forms, numerals = data.date_formats, Numerals(data.decimal, data.thousands)
    readers = {name: cells.reader(kind, forms.get(name, ""), numerals) for name, kind in kinds.items()}
    for part in table.parts(path, data.separator):
        for name, read_cells in readers.items():
            texts: Sequence[str] = part.cells[names.index(name)]
            if name == data.target:  # " yes" is no class of its own, and a space no answer
                texts = [text.strip() for text in texts]
            column, values = made[name], read_cells(Cells(path, name, texts, part.lines, data.missing_words(name)))
            column.frombytes(values.tobytes()) if isinstance(column, array) else column.extend(values)
        lines.frombytes(part.lines.astype(np.int64).tobytes())
        hashes.frombytes(part.hashes.astype(np.uint64).tobytes())
        say(f"{len(lines):,} rows")

    index = pd.Index(np.frombuffer(lines, np.int64), name=LINE)
    columns = {name: _series(name, made.pop(name), index) for name in readers}
    target = columns.pop(data.target)
    others = pd.DataFrame({name: columns.pop(name) for name in dict.fromkeys(besides)}, index)
    kept, notes = _kept(data, target)
    of_rows = np.frombuffer(hashes, np.uint64)[kept]
    frame, target = pd.DataFrame(columns, index, copy=False), target[kept]
    frame, others = (frame, others) if kept.all() else (frame[kept], others[kept])
    for name in data.kinds:
        if frame[name].isna().all():
            raise DataError(f"{path}, column {name!r}: every cell is empty; take it out of [data] in pipeline.toml")
    if data.group:
        of_rows = split.of_groups(frame[data.group] if data.group in frame else others[data.group], of_rows)
    if data.time:
        held_out = split.by_time(data, frame[data.time] if data.time in frame else others[data.time], holdout)
    else:
        held_out = split.by_hash(of_rows, holdout, target if data.task == "classification" else None)
    _check_target(data, target, held_out)
    unused = [name for name in names if name not in data.kinds]
    return Dataset(frame, target, unused, held_out, of_rows, others, file_sha256(path), notes)


def _series(name: str, made: "array[float] | list[Any]", index: pd.Index) -> pd.Series:
    values = np.frombuffer(made) if isinstance(made, array) else cells.objects(made)
    return pd.Series(values, index, values.dtype, name)  # pandas would make texts and dates something else


def _check_names(data: Data, names: Sequence[str]) -> None:
    keys = {"numeric": data.numeric, "text": data.text, "boolean": data.boolean, "date": data.date}
    single = {"target": data.target, "group": data.group, "time": data.time}
    keys |= {key: [name] for key, name in single.items() if name}
    for key, columns in keys.items():
        for name in columns:
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"The file has: {table.listed(names)}."
                hint = table.separated(data.path, data.separator) or _headless(data, names) or hint
                raise DataError(f"{data.path}, line 1: no column {name!r} (pipeline.toml, data.{key}). {hint}")


def _headless(data: Data, names: Iterable[str]) -> str:
    """That the first line is a row, where it holds numbers and none of the columns' names."""
    known = {*data.kinds, data.target} & set(names)
    return "" if known else table.headless(names)


def _kept(data: Data, target: pd.Series) -> tuple[Array, list[str]]:
    """Which rows are learned from or judged on, and what is to be said of others."""
    there = target.notna().to_numpy()
    notes = []
    if not there.all():
        notes.append(f"{(~there).sum():,} of {len(there):,} rows are left out: they have no {data.target}")
    if not there.any():
        raise DataError(f"{data.path}, column {data.target!r}: the target is empty in every row")
    if not data.classes:
        return there, notes
    if unknown := [name for name in data.classes if name not in set(target)]:
        raise DataError(_no_row(data, target[there], unknown[0], "classes"))
    others = there & ~target.isin(data.classes).to_numpy()
    if others.any():
        notes.append(f"{others.sum():,} rows of other classes than [data] classes are left out")
    return there & ~others, notes


def _no_row(data: Data, target: pd.Series, name: str, key: str) -> str:
    classes = ", ".join(repr(each) for each in sorted(set(target))[:10])
    where = f"{data.path}, column {data.target!r}"
    return f"{where}: no row says {name!r} (pipeline.toml, data.{key}); the rows say {classes}"


def _check_target(data: Data, target: pd.Series, held_out: Array) -> None:
    where = f"{data.path}, column {data.target!r}"
    if target.nunique() < 2:
        raise DataError(f"{where}: every row says {target.iloc[0]!r}; there is nothing to learn")
    if data.positive and data.positive not in set(target):
        raise DataError(_no_row(data, target, data.positive, "positive"))
    if data.task == "classification":
        counts = target.value_counts()
        if counts.min() < 2:
            raise DataError(
                f"{where}: one row says {counts.idxmin()!r}; each class needs a row to learn from and one to be judged "
                "on. Add rows, or name the classes to learn: classes = [...] under [data] in pipeline.toml"
            )
        if new := sorted(set(target) - set(target[~held_out])):
            why = "of the newest (data.time)" if data.time else "one and the same, or of one group"
            raise DataError(
                f"{where}: every row that says {new[0]!r} is {why}, and held out: nothing teaches the class"
            )
    for part, rows in (("training", ~held_out), ("held-out", held_out)):
        if rows.sum() < 2:
            raise DataError(f"{where}: {rows.sum()} {part} rows of {len(target)}; the file is too short to be split")
