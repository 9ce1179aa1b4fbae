"""training.source: the same rows are the same, whatever holds them."""

import bz2
import gzip
import io
import lzma
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.schema import Data
from training.dataset import Dataset, read
from training.source import parquet, query
from training.source.files import public
from training.source.rows import DataError, Hashes, texts

FRAME = pd.DataFrame(
    {
        "id": [9_007_199_254_740_993 + n for n in range(90)],
        "amount": [np.nan if n % 7 == 3 else n * 1.5 for n in range(90)],
        "count": range(90),
        "city": [None if n % 9 == 4 else ("Köln", "Łódź", "7", "007")[n % 4] for n in range(90)],
        "paid": [n % 3 == 0 for n in range(90)],
        "day": [date(2024, 1 + n // 30, 1 + n % 28) for n in range(90)],
        "label": ["yes" if n % 4 else "no" for n in range(90)],
        "seen": [datetime(2024, 1, 1, n % 24, 0, 0, 125000 * (n % 3)) for n in range(90)],
        "logged": [datetime(2024, 1, 1, n % 24, 30, tzinfo=UTC) for n in range(90)],  # and no more of these is used
        "ratio": np.linspace(0, 1, 90, dtype=np.float32),
        "price": [Decimal(35 * n) / 100 for n in range(90)],
        "key": [Decimal(10**19 + n) for n in range(90)],
        "big": [4e16 + n * 1e10 for n in range(90)],
    }
)
CSV = FRAME.to_csv(index=False)
KINDS = {
    "numeric": ["amount", "count", "ratio", "price"],
    "text": ["city", "key"],
    "boolean": ["paid"],
    "date": ["day", "seen"],
}


def load(path: str = "", **changes: object) -> Dataset:
    return read(Data(**{"path": path, "task": "classification", "target": "label", **KINDS, **changes}), 0.3)  # type: ignore[arg-type]


def same(one: Dataset, other: Dataset) -> None:
    pd.testing.assert_frame_equal(one.frame.reset_index(drop=True), other.frame.reset_index(drop=True))
    assert one.target.tolist() == other.target.tolist()
    assert one.is_held_out.tolist() == other.is_held_out.tolist()
    assert one.sha256 == other.sha256


@pytest.mark.parametrize(
    ("name", "pack", "changes"),
    [
        ("a.csv.gz", lambda text: gzip.compress(text[:900].encode()) + gzip.compress(text[900:].encode()), {}),
        ("a.csv.bz2", lambda text: bz2.compress(text.encode()), {}),
        ("a.csv.xz", lambda text: lzma.compress(text.encode()), {}),
        ("a.csv.zst", lambda text: pa.Codec("zstd").compress(text.encode(), asbytes=True), {}),
        ("a.data", lambda text: text.encode("utf-16"), {"encoding": "utf-16"}),
        ("a.csv", lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), {}),
        ("a.csv", lambda text: text.replace("Ł", "L").encode("latin-1", "replace"), {"encoding": "latin-1"}),
        ("a.tsv", lambda text: text.replace(",", "\t").encode(), {"separator": "\t"}),
    ],
)
def test_csv_as_people_have_it(
    tmp_path: Path, name: str, pack: Callable[[str], bytes], changes: dict[str, str]
) -> None:
    """Packed or not, in whatever letters: what it is, is seen by its first bytes."""
    plain = CSV if changes.get("encoding") != "latin-1" else CSV.replace("Ł", "L").replace("ź", "?")
    (tmp_path / "plain.csv").write_text(plain)
    (tmp_path / name).write_bytes(pack(CSV))
    same(load(str(tmp_path / name), **changes), load(str(tmp_path / "plain.csv")))


def as_pandas(folder: Path) -> dict[str, str]:
    FRAME.to_parquet(folder / "a.parquet")
    return {"path": str(folder / "a.parquet")}


def as_arrow(folder: Path) -> dict[str, str]:
    of = {"city": pa.string(), "price": pa.decimal128(10, 2), "key": pa.decimal128(20, 0), "ratio": pa.float32()}
    as_texts = pyarrow.csv.ConvertOptions(column_types=of)
    table = pyarrow.csv.read_csv(io.BytesIO(CSV.encode()), convert_options=as_texts)
    table = table.set_column(3, "city", table["city"].dictionary_encode())
    table = table.set_column(2, "count", table["count"].cast(pa.int8()))
    table = table.set_column(5, "day", table["day"].cast(pa.timestamp("ms")))
    table = table.append_column("tags", pa.array([[1]] * 90)).append_column("photo", pa.array([b"\xff"] * 90))
    pq.write_table(table, folder / "a.bin")
    return {"path": str(folder / "a.bin")}


def as_folder(folder: Path) -> dict[str, str]:
    (folder / "of" / "2024").mkdir(parents=True)
    for n in range(3):
        FRAME.iloc[30 * n : 30 * n + 30].to_parquet(folder / "of" / "2024" / f"part-{n}.parquet")
    (folder / "of" / "_SUCCESS").write_text("")
    (folder / "of" / "notes.txt").write_text("none of it")
    return {"path": str(folder / "of")}


def as_pattern(folder: Path) -> dict[str, str]:
    lines = CSV.splitlines(keepends=True)
    for n in range(3):
        (folder / f"part-{n}.csv").write_text(lines[0] + "".join(lines[1 + 30 * n : 31 + 30 * n]))
    (folder / "other.csv").write_text("none,of,it\n")
    return {"path": str(folder / "part-?.csv")}


def as_sqlite(folder: Path) -> dict[str, str]:
    with closing(sqlite3.connect(folder / "a.sqlite")) as connection:
        as_it_can = FRAME.astype({"price": float, "key": str, "ratio": str}).astype({"ratio": float})
        as_it_can.to_sql("loans", connection, index=False)
    return {"DATABASE_URL": f"sqlite:///{folder}/a.sqlite", "sql": "SELECT * FROM loans"}


@pytest.mark.parametrize("written", [as_pandas, as_arrow, as_folder, as_pattern, as_sqlite])
def test_the_same_rows_are_the_same_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Callable[[Path], dict[str, str]]
) -> None:
    """Values, split and digest: so the same model comes out."""
    (tmp_path / "plain.csv").write_text(CSV)
    (tmp_path / "there").mkdir()
    where = written(tmp_path / "there")
    if url := where.pop("DATABASE_URL", ""):
        monkeypatch.setenv("DATABASE_URL", url)
    if written is as_arrow:  # which has a list in each cell of a further column, and bytes in another
        for name in ("tags", "photo"):
            with pytest.raises(DataError, match=f"column '{name}': a list, a record or bytes in a cell"):
                load(**where, text=["city", name])
    same(load(**where), load(str(tmp_path / "plain.csv")))


def test_only_what_is_used_is_read_where_the_split_needs_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a wide table in a store, each column costs: with a group, or a time, the others are not fetched."""
    FRAME.to_parquet(tmp_path / "a.parquet")
    read_columns: list[list[str]] = []
    iterate = pq.ParquetFile.iter_batches

    def spied(self: pq.ParquetFile, size: int, columns: list[str]) -> object:
        read_columns.append(columns)
        return iterate(self, size, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spied)
    few = {"numeric": ["amount", "count"], "text": ["city"], "date": [], "boolean": []}
    load(str(tmp_path / "a.parquet"), **few, group="city")
    load(str(tmp_path / "a.parquet"), **few)
    assert [set(each) for each in read_columns] == [{"amount", "count", "city", "label"}, set(FRAME)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["7", "-0.0", "1e3", "007", "+1"], np.array([7.0, 0.0, 1000.0, 7.0, 1.0])),
        (["", "NA", " n/a ", "NaN"], np.full(4, np.nan)),
        (["True", "false", "TRUE"], np.array([1.0, 0.0, 1.0])),
        (["2024-01-31", " x"], ["2024-01-31 00:00:00", "x"]),
        (["2024-01-31T10:00:00.120+02:00", "10:01:02"], ["2024-01-31 08:00:00.12Z", "10:01:02.000"]),
        (["4e16", "inf"], np.array([4e16, np.inf])),
        (["9007199254740993"], ["9007199254740993"]),
    ],
)
def test_what_is_alike_has_one_hash(one: list[str], other: object) -> None:
    """However a file or a database writes it."""
    assert Hashes()({"x": one}).tolist() == Hashes()({"x": other}).tolist()  # type: ignore[dict-item]


def test_what_is_not_alike_has_another_hash() -> None:
    """Columns that swap their values, identifiers beyond what a float tells apart, words."""
    told = [{"x": ["1"], "y": ["2"]}, {"x": ["2"], "y": ["1"]}, {"x": ["1"], "z": ["2"]}]
    told += [{"x": ["9007199254740993"]}, {"x": ["9007199254740992"]}, {"x": ["a"]}, {"x": ["A"]}, {"x": [""]}]
    assert len({Hashes()(each).tolist()[0] for each in told}) == len(told)


CELLS = st.lists(
    st.one_of(st.floats(-1e15, 1e15).map(repr), st.integers(-(2**52), 2**52).map(str), st.text(max_size=5))
)


@given(CELLS, CELLS)
def test_a_hash_depends_on_the_cell_alone(cells: list[str], others: list[str]) -> None:
    """Not on the cells beside it, which decide whether a column is read as numbers at once."""
    hashed = Hashes()
    whole = hashed({"x": cells + others}).tolist() if cells + others else []
    assert whole == [Hashes()({"x": [cell]}).tolist()[0] for cell in cells + others]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_survive_as_texts(numbers: list[float]) -> None:
    """As a column of texts has them, though the file has numbers: exactly, and whole ones without a point."""
    written = texts(np.array(numbers))
    assert [float(text) for text in written] == numbers
    assert not any(text.endswith(".0") for text in written)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([Decimal("0.35"), None, Decimal("7.00")]), [0.35, np.nan, 7.0]),
        (pa.array([Decimal("12345678901234567.50"), None, Decimal("7.00")]), ["12345678901234567.5", "", "7"]),
        (pa.array([0.93290526, None], pa.float32()), [0.93290526, np.nan]),
        (pa.array([b"\xff", None]), None),
        (pa.array([time(10, 1, 2), time(10, 1, 2, 500000)]), ["10:01:02", "10:01:02.5"]),
        (pa.array([datetime(2024, 7, 1, 10, tzinfo=UTC)], pa.timestamp("ms", "Mars/X")), ["2024-07-01 10:00:00+00:00"]),
        (pa.array([True, None]), ["True", ""]),
        (pa.array([datetime(2024, 1, 31, 13, 5), None]), ["2024-01-31 13:05:00", ""]),
        (pa.array([datetime(2024, 1, 31, 0, 0)]), ["2024-01-31"]),
        (pa.array([datetime(2024, 1, 31, 13, 5, 0, 250000, tzinfo=UTC)]), ["2024-01-31 13:05:00.25+00:00"]),
        (pa.array([date(2024, 1, 31)]), ["2024-01-31"]),
        (pa.array([None, None]), ["", ""]),
        (pa.array([2**60, None]), [str(2**60), ""]),
        (pa.array(["a", None], pa.large_string()), ["a", ""]),
        (pa.array([{"a": 1}]), None),
    ],
)
def test_columns_of_parquet(array: pa.Array, expected: list[object] | None) -> None:
    """Numbers as numbers; everything else as CSV would have it."""
    found = parquet.column(array)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_columns_of_a_database() -> None:
    """Likewise, of Python's own values."""
    assert query.column([1, None, Decimal("2.5")]).tolist()[::2] == [1.0, 2.5]  # type: ignore[union-attr]
    assert query.column([True, None]) == ["True", ""]
    assert query.column([datetime(2024, 1, 31), datetime(2024, 1, 31, 13, 5)]) == ["2024-01-31", "2024-01-31 13:05:00"]
    assert query.column([date(2024, 1, 31), None]) == ["2024-01-31", ""]
    assert query.column([2**60, 1]) == [str(2**60), "1"]
    assert query.column([None, None]) == ["", ""]
    assert query.column([Decimal("12345678901234567.50"), 7, 0.5]) == ["12345678901234567.5", "7", "0.5"]
    assert query.column([7.0, "a"]) == ["7", "a"]
    assert query.column([b"\xff", None]) is None


def test_a_row_of_several_files_is_named_by_its_own(tmp_path: Path) -> None:
    """File, line and column, also of a moment that is none, which is looked at when all are read."""
    lines = CSV.splitlines(keepends=True)
    (tmp_path / "a.csv").write_text("".join(lines[:50]))
    (tmp_path / "b.csv").write_text(lines[0] + "".join(lines[50:]).replace("2024-03-05", "in March"))
    with pytest.raises(DataError, match=r"b\.csv, line 13, column 'day': 'in March' is no time"):
        load(str(tmp_path / "*.csv"), date=[], time="day")
    (tmp_path / "b.csv").write_text(lines[0] + "".join(lines[50:]).replace(",64,", ",many,"))
    with pytest.raises(DataError, match=r"b\.csv, line 17, column 'count': 'many' is not a finite number"):
        load(str(tmp_path / "*.csv"))
    (tmp_path / "b.csv").write_text(lines[0].replace("paid", "paid up") + "".join(lines[50:]))
    with pytest.raises(DataError, match=r"b\.csv: not the columns of .*a\.csv; one of both has no 'paid', 'paid up'"):
        load(str(tmp_path / "*.csv"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.csv", r"none\.csv: no such file \(pipeline\.toml, data\.path\)"),
        ("*.csv", r"\*\.csv: no file has such a name"),
        ("empty", r"empty: no \.csv or \.tsv or \.parquet or \.pq file in it"),
        ("mixed", r"mixed: Parquet and others together, such as .*a\.csv"),
        ("ftp://host/a.csv", "nothing is read from ftp://"),
        ("cut.csv.gz", r"cut\.csv\.gz: damaged \(gzip\)"),
        ("cut.csv.zst", r"cut\.csv\.zst: damaged \(zstd\)"),
        ("bad.csv.gz", r"bad\.csv\.gz: damaged \(gzip\)"),
        ("bad.csv.bz2", r"bad\.csv\.bz2: damaged \(bz2\)"),
        ("login.csv", r"login\.csv: a web page"),
        ("a.json", r"a\.json: JSON; write it as CSV"),
        ("gapped.csv", r"gapped\.csv, line 1: it is empty, and has to name the columns"),
        ("wide.csv", r'wide\.csv: its letters are written as utf-32: write encoding = "utf-32" under \[data\]'),
        ("a.parquet.gz", r"a\.parquet\.gz: Parquet that was packed once more; unpack it"),
        ("cut.parquet", r"cut\.parquet: no Parquet that can be read"),
        ("latin.csv", 'line 2: not UTF-8; if it is of Windows, write encoding = "cp1252"'),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, path: str, message: str) -> None:
    """In a sentence."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed").mkdir()
    FRAME.to_parquet(tmp_path / "mixed" / "b.parquet")
    (tmp_path / "mixed" / "a.csv").write_text(CSV)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(CSV.encode())[:-30])
    (tmp_path / "cut.csv.zst").write_bytes(pa.Codec("zstd").compress(CSV.encode(), asbytes=True)[:-30])
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "mixed" / "b.parquet").read_bytes()[:-30])
    damaged = bytearray(gzip.compress(CSV.encode()))
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "bad.csv.gz").write_bytes(damaged)
    damaged = bytearray(bz2.compress(CSV.encode()))
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "bad.csv.bz2").write_bytes(damaged)
    (tmp_path / "login.csv").write_text("\n<!doctype html><title>Log in</title>")
    (tmp_path / "a.json").write_text('[\n  {"label": "yes"}\n]')
    (tmp_path / "gapped.csv").write_text("\n" + CSV)
    (tmp_path / "wide.csv").write_bytes(CSV.encode("utf-32"))
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "mixed" / "b.parquet").read_bytes()))
    (tmp_path / "latin.csv").write_bytes(CSV.replace("Ł", "L").encode("latin-1", "replace"))
    if path == "*.csv":
        for file in tmp_path.glob("*.csv"):
            file.unlink()
    with pytest.raises(DataError, match=message):
        load(path if "://" in path else str(tmp_path / path))


def test_a_file_that_changes_while_it_is_read_is_not_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of an old one and half of a new one is a file that nobody has."""
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    data = Data(path=str(path), task="classification", target="label", **KINDS)
    with pytest.raises(DataError, match=r"a\.csv: it has changed while it was read; run it again"):
        read(data, 0.3, say=lambda _: path.write_text(CSV + CSV.splitlines()[-1] + "\n") and None)


def test_what_folders_say_is_a_column(tmp_path: Path) -> None:
    """As Spark and Hive write it, year=2024/; and a part without a row is no fault."""
    for year, rows in (("2023", FRAME.iloc[:40]), ("__HIVE_DEFAULT_PARTITION__", FRAME.iloc[40:]), ("2025", FRAME[:0])):
        (tmp_path / "of" / f"year={year}").mkdir(parents=True)
        rows.to_parquet(tmp_path / "of" / f"year={year}" / "part-0.parquet")
    found = load(str(tmp_path / "of"), numeric=[*KINDS["numeric"], "year"]).frame["year"]
    assert sorted(found.dropna()) == [2023.0] * 40
    with pytest.raises(DataError, match="no rows in it"):
        load(str(tmp_path / "of" / "year=2025"))


def test_the_digest_differs_where_a_value_does(tmp_path: Path) -> None:
    """Though the row stays where it is: a query would be taken for the same as before, and the model kept."""
    (tmp_path / "a.csv").write_text(CSV)
    changes = [("Köln", "none"), (",007,", ",7,"), ("Köln", "koeln"), ("True", "False"), (",yes,", ",no,")]
    digests = {load(str(tmp_path / "a.csv")).sha256}
    for old, new in changes:
        (tmp_path / "b.csv").write_text(CSV.replace(old, new, 5))
        digests.add(load(str(tmp_path / "b.csv"), missing=["none"] if new == "none" else []).sha256)
    assert len(digests) == 1 + len(changes)
    words = CSV.replace(",yes,", ",unknown,").replace(",no,", ",none,")
    swapped = CSV.replace(",yes,", ",none,").replace(",no,", ",unknown,")
    both = []
    for text in (words, swapped):
        (tmp_path / "c.csv").write_text(text)
        both.append(load(str(tmp_path / "c.csv")))
    assert both[0].is_held_out.tolist() == both[1].is_held_out.tolist()
    assert both[0].sha256 != both[1].sha256


@pytest.mark.parametrize("kind", ["float", "bool", "datetime64[ms]"])
def test_a_group_is_one_whatever_it_is_written_as(tmp_path: Path, kind: str) -> None:
    """A customer 7.0, True, or a day of CSV is that of Parquet; and listing the column moves no row."""
    of = [n % 3 > 0 if kind == "bool" else n // 3 % 30 for n in range(90)]
    frame = FRAME.assign(customer=pd.Series(of, dtype=kind))
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    same(load(str(tmp_path / "a.csv"), group="customer"), load(str(tmp_path / "a.parquet"), group="customer"))
    if kind == "float":
        listed = load(str(tmp_path / "a.csv"), group="customer", numeric=[*KINDS["numeric"], "customer"])
        assert listed.is_held_out.tolist() == load(str(tmp_path / "a.csv"), group="customer").is_held_out.tolist()


def test_rows_without_a_time_are_learned_from(tmp_path: Path) -> None:
    """And a share of all rows is held out all the same."""
    moments = FRAME["count"].where(FRAME["count"] % 3 > 0)
    FRAME.assign(nr=moments).to_csv(tmp_path / "a.csv", index=False)
    found = load(str(tmp_path / "a.csv"), time="nr")
    assert (found.is_held_out.sum(), np.isnan(moments[found.is_held_out]).sum()) == (27, 0)
    assert moments[found.is_held_out].min() > moments[~found.is_held_out].max()
    assert "30 rows have no nr: they are learned from" in found.notes
    FRAME.assign(nr=moments / 10).to_csv(tmp_path / "b.csv", index=False, sep=";", decimal=",")
    others = {"numeric": ["count"], "text": ["city"], "date": [], "boolean": []}
    same_rows = load(str(tmp_path / "b.csv"), time="nr", separator=";", decimal=",", **others)
    assert same_rows.is_held_out.tolist() == found.is_held_out.tolist()


def test_a_date_is_the_same_however_its_parts_stand(tmp_path: Path) -> None:
    """As a spreadsheet writes it, and as a database does: the same rows are held out."""
    (tmp_path / "iso.csv").write_text(CSV)
    days = [day.strftime("%d.%m.%Y") for day in FRAME["day"]]
    FRAME.assign(day=days).to_csv(tmp_path / "german.csv", index=False)
    same(load(str(tmp_path / "german.csv"), date_formats={"day": "%d.%m.%Y"}), load(str(tmp_path / "iso.csv")))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://ada:secret@host/a.csv?sig=secret", "https://host/a.csv"),
        ("https://ada:sec/ret@host/a.csv", "https://host/a.csv"),
        ("https://host:8080/a@b.csv", "https://host:8080/a@b.csv"),
        ("s3://bucket/a@b.csv", "s3://bucket/a@b.csv"),
        ("data/a@b.csv", "data/a@b.csv"),
    ],
)
def test_no_key_is_shown(given: str, shown: str) -> None:
    """Nor one with a slash in it; what else has an at sign stays."""
    assert public(given) == shown
