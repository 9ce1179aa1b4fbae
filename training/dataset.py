"""The data as columns of numbers, texts, booleans and dates: every complaint names the row and the column."""

import difflib
import hashlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.schema import Data, Kind
from pipeline.transformer import FILE
from pipeline.values import written
from training import cells, split
from training.cells import Cells, Numerals
from training.source import csv_text, table
from training.source.files import File
from training.source.rows import DataError, Digest, Hashes, Part, listed, texts
from training.source.table import Table

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
    sha256: str  # of the rows: the same of the same ones in the same order, wherever they lie
    place: Callable[[int], str]  # where a row stands, by what the frame's index says of it
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


def read(
    data: Data, holdout: float, say: Say = in_silence, also: Sequence[str] = (), found: Sequence[File] = ()
) -> Dataset:
    """Features and target of the data, and which rows are held out. `say` hears how far it is. Raises DataError.

    also: further columns that are wanted, where there are such; found: the files, as table.find says.
    """
    with table.opened(data, found or table.find(data)) as source:
        _check_names(data, source)
        besides = [name for name in (data.group, data.time, *also) if name in source.names and name not in data.columns]
        kinds: dict[str, Kind] = data.columns | dict.fromkeys(besides, "text")
        # Without a group or a time the whole row says where it goes, so that a feature more or less moves none.
        wanted = [*kinds] if data.group or data.time else source.names
        columns, numbers, hashes, groups, digest = _columns(data, kinds, source, wanted, say)

    index = pd.Index(np.frombuffer(numbers, np.int64), name=source.unit)
    series = {name: _series(name, columns.pop(name), index) for name in kinds}
    target = series.pop(data.target)
    others = pd.DataFrame({name: series.pop(name) for name in dict.fromkeys(besides)}, index)
    kept, notes = _kept(data, source.name, target)
    of_rows = np.frombuffer(hashes, np.uint64)
    sha256, of_rows = hashlib.sha256(digest.encode() + of_rows.tobytes()).hexdigest(), of_rows[kept]
    frame, target = pd.DataFrame(series, index, copy=False), target[kept]
    frame, others = (frame, others) if kept.all() else (frame[kept], others[kept])
    for name in data.kinds:
        if frame[name].isna().all():
            raise DataError(
                f"{source.name}, column {name!r}: every cell is empty; take it out of [data] in pipeline.toml"
            )
    if data.group:
        there = (frame[data.group] if data.group in frame else others[data.group]).notna().to_numpy()
        of_rows = np.where(there, np.frombuffer(groups, np.uint64)[kept], of_rows)  # without one, by itself
    if data.time:
        when = frame[data.time] if data.time in frame else others[data.time]
        held_out = split.by_time(data, when, holdout, source.place)
        if without := int(when.isna().sum()):
            notes.append(f"{without:,} rows have no {data.time}: they are learned from")
    else:
        held_out = split.by_hash(of_rows, holdout, target if data.task == "classification" else None)
    _check_target(data, source.name, target, held_out)
    unused = [name for name in source.names if name not in data.kinds]
    return Dataset(frame, target, unused, held_out, of_rows, others, sha256, source.place, notes)


def content(data: Data) -> str:
    """What differs where the data does, which is read where nothing else tells. Raises DataError."""
    found = table.find(data)
    return table.identity(found) or read(data, 0.5, found=found).sha256


def _columns(
    data: Data, kinds: dict[str, Kind], source: Table, wanted: Sequence[str], say: Say
) -> tuple[dict[str, Any], "array[int]", "array[int]", "array[int]", str]:
    """Each column's values, of each row its number, its hash and that of its group, and a digest of all values."""
    # Of many small arrays, once joined, the memory would not go back: these grow in one place.
    made = {name: array("d") if kind == "number" else list[Any]() for name, kind in kinds.items()}
    numbers, hashes, groups, hashed, digest = array("q"), array("Q"), array("Q"), Hashes(), Digest()
    forms, numerals = data.date_formats, Numerals(data.decimal, data.thousands)
    readers = {name: cells.reader(kind, forms.get(name, ""), numerals) for name, kind in kinds.items()}
    for part in source.parts(wanted):
        told = {name: part.columns[name] for name in wanted if name in part.columns}
        for name, read_cells in readers.items():
            values, column = read_cells(_cells(data, source, part, name)), made[name]
            if kinds[name] == "number":  # whatever its point is, and in whatever order a date has its parts
                told[name] = values
            elif name in forms:
                told[name] = ["" if when is None else written(when) for when in values]
            if name in data.columns:
                digest.add(name, values)
            column.frombytes(values.tobytes()) if isinstance(column, array) else column.extend(values)
        before = (part.file + 1) * FILE if len(source.files) > 1 else 0
        numbers.frombytes((part.numbers + before).astype(np.int64).tobytes())
        hashes.frombytes(hashed(told).tobytes())
        if data.group:
            groups.frombytes(hashed.of_cells(data.group, told[data.group]).tobytes())
        say(f"{len(numbers):,} rows")
    return made, numbers, hashes, groups, digest.hexdigest()


def _cells(data: Data, source: Table, part: Part, name: str) -> Cells:
    if name not in part.columns:
        raise DataError(f"{source.file(part.file)}, column {name!r}: a list, a record or bytes in a cell")
    values = part.columns[name]
    if name == data.target and data.task == "classification":  # " yes" is no class of its own
        values = [text.strip() for text in texts(values)]
    return Cells(source.where(part.file), name, values, part.numbers, data.missing_words(name))


def _series(name: str, made: "array[float] | list[Any]", index: pd.Index) -> pd.Series:
    values = np.frombuffer(made) if isinstance(made, array) else cells.objects(made)
    return pd.Series(values, index, values.dtype, name)  # pandas would make texts and dates something else


def _check_names(data: Data, source: Table) -> None:
    keys = {"numeric": data.numeric, "text": data.text, "boolean": data.boolean, "date": data.date}
    single = {"target": data.target, "group": data.group, "time": data.time}
    keys |= {key: [name] for key, name in single.items() if name}
    for key, columns in keys.items():
        for name in columns:
            if name not in source.names:
                near = difflib.get_close_matches(name, source.names, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"There are: {listed(source.names)}."
                hint = source.hint() or _headless(data, source.names) or hint
                raise DataError(f"{source.header}: no column {name!r} (pipeline.toml, data.{key}). {hint}")


def _headless(data: Data, names: Iterable[str]) -> str:
    """That the first line is a row, where it holds numbers and none of the columns' names."""
    known = {*data.kinds, data.target} & set(names)
    return "" if known else csv_text.headless(names)


def _kept(data: Data, name: str, target: pd.Series) -> tuple[Array, list[str]]:
    """Which rows are learned from or judged on, and what is to be said of others."""
    there = target.notna().to_numpy()
    notes = []
    if not there.all():
        notes.append(f"{(~there).sum():,} of {len(there):,} rows are left out: they have no {data.target}")
    if not there.any():
        raise DataError(f"{name}, column {data.target!r}: the target is empty in every row")
    if not data.classes:
        return there, notes
    if unknown := [each for each in data.classes if each not in set(target)]:
        raise DataError(_no_row(data, name, target[there], unknown[0], "classes"))
    others = there & ~target.isin(data.classes).to_numpy()
    if others.any():
        notes.append(f"{others.sum():,} rows of other classes than [data] classes are left out")
    return there & ~others, notes


def _no_row(data: Data, where: str, target: pd.Series, name: str, key: str) -> str:
    classes = ", ".join(repr(each) for each in sorted(set(target))[:10])
    return f"{where}, column {data.target!r}: no row says {name!r} (pipeline.toml, data.{key}); the rows say {classes}"


def _check_target(data: Data, name: str, target: pd.Series, held_out: Array) -> None:
    where = f"{name}, column {data.target!r}"
    if target.nunique() < 2:
        raise DataError(f"{where}: every row says {target.iloc[0]!r}; there is nothing to learn")
    if data.positive and data.positive not in set(target):
        raise DataError(_no_row(data, name, target, data.positive, "positive"))
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
            raise DataError(f"{where}: {rows.sum()} {part} rows of {len(target)}; the data is too short to be split")
