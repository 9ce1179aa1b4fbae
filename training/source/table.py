"""One table, wherever its rows live: [data] path or sql of pipeline.toml."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pipeline import bundle as bundles
from pipeline.schema import Data
from pipeline.transformer import FILE
from training.source import csv_text, files, parquet, query
from training.source.files import File
from training.source.rows import DataError, Part, listed


class Origin(NamedTuple):
    """Where the data came from, for the record: without a password."""

    uri: str
    version: str  # as a store tells two contents apart; empty: it does not, or the data lies here
    files: int  # 0: of a query


class Table(NamedTuple):
    name: str  # for messages
    header: str  # likewise, where the names of the columns stand
    names: list[str]
    unit: str  # in which rows are counted: line, or row
    files: Sequence[str]
    parts: Callable[[Collection[str]], Iterator[Part]]  # of the columns that are wanted; raises DataError
    hint: Callable[[], str] = str  # why a column may not be there

    def where(self, file: int) -> str:
        """What stands before the number of a row in a message."""
        return f"{self.file(file)}, {self.unit}"

    def file(self, number: int) -> str:
        return self.files[number] if self.files else self.name

    def place(self, number: int) -> str:
        """Where a row stands, by what a frame's index says of it."""
        file, row = divmod(number, FILE)
        return f"{self.where(max(0, file - 1))} {row}"


def find(data: Data) -> list[File]:
    """The files that hold the data; none of a query. Raises DataError."""
    return [] if data.sql else files.find(data.path)


def origin(data: Data, found: Sequence[File]) -> Origin:
    if data.sql:
        return Origin(query.where(), "", 0)
    stored = [file for file in found if file.system or file.url]
    version = stored[0].version if len(stored) == 1 else stored and bundles.digest({f.name: f.version for f in stored})
    return Origin(files.public(data.path), version or "", len(found))


def identity(found: Sequence[File]) -> str:
    """What differs where the data does, known without reading a store; empty: it has to be read. Raises DataError."""
    each = [(file.name, files.identity(file)) for file in found]
    if not each or not all(of for _, of in each):
        return ""
    return each[0][1] if len(each) == 1 else bundles.digest(dict(each))


@contextmanager
def opened(data: Data, found: Sequence[File]) -> Iterator[Table]:
    """The table, for as long as this lasts. Raises DataError, also where a file has changed meanwhile."""
    if data.sql:
        with query.asked(data.sql) as (names, parts):
            _unique(query.NAME, names)
            yield Table(query.NAME, query.NAME, names, "row", [], lambda _: _some(query.NAME, parts))
        return
    with files.at_hand(found) as here:
        yield _of_files(data, here)
        for file in here:
            if files.changed(file):
                raise DataError(f"{file.name}: it has changed while it was read; run it again")


def _of_files(data: Data, here: Sequence[File]) -> Table:
    first, several, name = here[0], len(here) > 1, files.public(data.path)
    columnar = [parquet.is_parquet(file) for file in here]
    if any(columnar) and not all(columnar):
        other = here[columnar.index(False)].name
        raise DataError(f"{name}: Parquet and others together, such as {other}; name those of one kind by a pattern")
    if all(columnar):
        headers = [parquet.header(file) for file in here]
    else:
        headers = [csv_text.header(file, data.separator, data.encoding) for file in here]
    # What the names of folders say, as in year=2024/, where the file does not.
    keys = [{name: value for name, value in file.keys.items() if name not in headers[0]} for file in here]
    headers = [[*names, *of] for names, of in zip(headers, keys, strict=True)]
    for file, names in zip(here, headers, strict=True):
        _unique(file.name, names)
        if apart := sorted(set(names) ^ set(headers[0])):
            raise DataError(f"{file.name}: not the columns of {first.name}; one of both has no {listed(apart)}")

    def parts(wanted: Collection[str]) -> Iterator[Part]:
        for number, file in enumerate(here):
            if columnar[0]:
                read = parquet.parts(file, number, wanted)
            else:
                read = csv_text.parts(file, number, data.separator, data.encoding)
            for part in read:
                rows = len(part.numbers)
                of_folders = {key: [value] * rows for key, value in keys[number].items() if key in wanted}
                yield part._replace(columns=part.columns | of_folders)

    def hint() -> str:
        if columnar[0]:
            return ""
        csv_text.check_packed(first)
        return csv_text.separated(first, data.separator, data.encoding)

    unit = "row" if columnar[0] else "line"
    header = first.name if columnar[0] else f"{first.name}, line 1"
    name = name if several else first.name
    names = [file.name for file in here]
    return Table(name, header, headers[0], unit, names, lambda wanted: _some(name, parts(wanted)), hint)


def _some(name: str, parts: Iterator[Part]) -> Iterator[Part]:
    """Raises DataError where there is no row."""
    rows = 0
    for part in parts:
        rows += len(part.numbers)
        yield part
    if not rows:
        raise DataError(f"{name}: no rows in it")


def _unique(name: str, names: Sequence[str]) -> None:
    if twice := sorted({each for each in names if names.count(each) > 1}):
        raise DataError(f"{name}: two columns are called {twice[0]!r}")
