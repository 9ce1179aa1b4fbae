"""training.dataset: whatever is wrong with the file, the message names file, column and line."""

from datetime import datetime
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schema import Data
from training import cells
from training.cells import Cells
from training.dataset import Dataset, read
from training.source.rows import DataError

HEADER = "id,amount,city,label\n"
ROWS = [f"{n},{n * 1.5},{'ABC'[n % 3]},{'yes' if n % 4 else 'no'}\n" for n in range(60)]


def load(folder: Path, content: str | bytes, **changes: object) -> Dataset:
    path = folder / "some.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    data = {"path": str(path), "task": "classification", "target": "label", "numeric": ["amount"], "text": ["city"]}
    return read(Data(**data | changes), holdout=0.3)


def text(**replaced: str) -> str:
    """The sample with some lines replaced: line_7="…" (the header is line 1)."""
    lines = [HEADER, *ROWS]
    for name, line in replaced.items():
        lines[int(name.removeprefix("line_")) - 1] = line
    return "".join(lines)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty"),
        (HEADER, "no rows in it"),
        (text(line_1="id,amounts,city,label\n"), r"line 1: no column 'amount'.*data\.numeric.*Did you mean 'amounts'"),
        (text(line_1="id,amount,town,label\n"), r"line 1: no column 'city'.*data\.text.*There are: 'id', 'amount'"),
        (text(line_1="id,amount,city,outcome\n"), r"line 1: no column 'label'.*data\.target"),
        (text(line_1="id,amount,city,amount\n"), "line 1: two columns are called 'amount'"),
        ("".join(ROWS), "line 1: no column 'amount'.*first line looks like a row"),
        (text(line_7="5,seven,A,yes\n"), "line 7, column 'amount': 'seven' is not a finite number"),
        (text(line_7='5,"1,5",A,yes\n'), "line 7, column 'amount': '1,5' is not a finite number"),
        (text(line_7="5,inf,A,yes\n"), "line 7, column 'amount'"),
        (text(line_7="5,nan,A,yes\n"), "line 7, column 'amount'"),
        (text(line_7="5,1e39,A,yes\n"), "line 7, column 'amount'"),
        (text(line_7="5,7.5,A\n"), "line 7: 3 cells, but the header has 4"),
        (text(line_7="5,7.5,A,yes,more\n"), "line 7"),
        (text(line_7='5,"1.234,5",A,yes\n'), "line 7.*decimal point, and no comma"),
        (text(line_7='5,"1,234",A,yes\n'), "line 7.*between thousands.*thousands = ','"),
        (text(line_7='5,"1,234,567.5",A,yes\n'), "line 7.*between thousands.*thousands = ','"),
        (text(line_7="5,$12.50,A,yes\n"), "line 7.*take the unit out"),
        (text(line_7="5,12 %,A,yes\n"), "line 7.*take the unit out"),
        (text(line_7="5,N/A,A,yes\n"), r'line 7.*stands for a missing value.*missing = \["N/A"\]'),
        (text(line_7="5,True,A,yes\n"), "line 7.*list the column under boolean"),
        (text(line_7="5,31/01/2024,A,yes\n"), "line 7.*list the column under date"),
        (
            HEADER + "".join(f"{n},,A,{'yes' if n % 4 else 'no'}\n" for n in range(60)),
            "column 'amount': every cell is empty",
        ),
        (text(line_3='1,1,"two\nlines",yes\n', line_7="5,x,A,yes\n"), "line 8, column 'amount': 'x'"),
        (text(line_3="\n", line_7="5,x,A,yes\n"), "line 7, column 'amount': 'x'"),
        (text().replace("no", "yes"), "column 'label': every row says 'yes'"),
        (HEADER + ROWS[0] + ROWS[1], "column 'label': one row says '(yes|no)'"),
        (text(line_7="5,7.5,A,maybe\n"), r"column 'label': one row says 'maybe'.*classes = \["),
        (text().replace(",yes", ",").replace(",no", ","), "column 'label': the target is empty in every row"),
        (text(line_7="5,7.5,Z,yes\n").encode().replace(b"Z", b"\xe9"), "line 7: not UTF-8"),
        (text(line_7='5,7.5,"A,yes\n'), "line 7: a quote that opens in this row is never closed"),
        (text().replace(",", ";"), "no column 'amount'.*separated by semicolons"),
        (text().replace(",", "\t"), "no column 'amount'.*separated by tabs"),
        ('"an ""id""";amount\n1;2\n', "line 1: .*separated by semicolons"),
        (text().encode("utf-16"), 'encoding = "utf-16"'),
        (text().encode("utf-16-le"), 'encoding = "utf-16-le"'),
        (text().encode("utf-16-be"), 'encoding = "utf-16-be"'),
        (b"PAR1\x15\x04", "no Parquet that can be read"),
        (b"PK\x03\x04\x14\x00", r"a spreadsheet \(\.xlsx\)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", r"a spreadsheet \(\.xls\)"),
        (b"\x1f\x8b\x08\x00", r"damaged \(gzip\)"),
        (b'[{"a": 1}]', "JSON"),
        (b"\n<!DOCTYPE html>", "a web page"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, content: str | bytes, expected: str) -> None:
    """File, line, column and what to do; never a traceback of a parser."""
    with pytest.raises(DataError, match=rf"some\.csv.*{expected}"):
        load(tmp_path, content)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    """The path, and where it was written."""
    data = Data(path=str(tmp_path / "no.csv"), task="regression", target="y", numeric=["x"], text=[])
    with pytest.raises(DataError, match=r"no\.csv: no such file.*data\.path"):
        read(data, 0.2)


def test_a_pointer_of_git_lfs_is_explained(tmp_path: Path) -> None:
    """As a checkout without LFS has it."""
    (tmp_path / "a.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(DataError, match="what Git LFS keeps in place of the file; run `git lfs pull`"):
        read(Data(path=str(tmp_path / "a.csv"), task="regression", target="y", numeric=["x"]), 0.2)


def test_a_positive_class_that_nobody_has_is_explained(tmp_path: Path) -> None:
    """A typing error in data.positive would silently turn every metric around."""
    with pytest.raises(DataError, match=r"no row says 'Yes'.*'no', 'yes'"):
        load(tmp_path, text(), positive="Yes")


KINDS = "id,paid,opened,amount,label\n" + "".join(
    f"{n},{'Yes' if n % 3 else 'no'},{n % 28 + 1:02}/02/2024,{n},{'yes' if n % 4 else 'no'}\n" for n in range(60)
)
OF_KINDS = {"boolean": ["paid"], "date": ["opened"], "date_formats": {"opened": "%d/%m/%Y"}, "text": []}


def test_booleans_and_dates_are_read_as_such(tmp_path: Path) -> None:
    """A bool and a datetime for each cell, None where it is missing; the line stands beside a row."""
    frame = load(tmp_path, KINDS.replace("0,no,01/02/2024", "0,,"), **OF_KINDS).frame
    assert frame.columns.tolist() == ["amount", "paid", "opened"]
    assert frame["paid"].tolist()[:3] == [None, True, True]
    assert frame["opened"].tolist()[:2] == [None, datetime(2024, 2, 2)]
    assert frame.index.tolist()[:2] == [2, 3]
    assert frame.index.name == "line"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (
            "1,maybe,05/02/2024",
            "line 3, column 'paid': 'maybe' is no boolean: expected true or false; correct the cell",
        ),
        ("1,N/A,05/02/2024", r"line 3, column 'paid'.*missing = \["),
        ("1,yes,02/30/2024", "line 3, column 'opened': '02/30/2024' is no date: expected a date as '31/01/2024' is"),
    ],
)
def test_a_bad_boolean_or_date_is_explained(tmp_path: Path, cell: str, expected: str) -> None:
    """Line, column, what is expected."""
    with pytest.raises(DataError, match=expected):
        load(tmp_path, KINDS.replace("1,Yes,02/02/2024", cell), **OF_KINDS)


def test_words_may_stand_for_a_missing_value(tmp_path: Path) -> None:
    """In all columns, or in one; a number among them is compared as a number."""
    content = text(line_2="0,?,?,yes\n", line_3="1,-9.0,-9,yes\n", line_4="2,-1,-1,yes\n")
    frame = load(tmp_path, content, missing=["?", "-9"], missing_in={"amount": ["-1"]}).frame
    assert frame["amount"].isna().tolist()[:4] == [True, True, True, False]
    assert frame["city"].tolist()[:3] == [None, None, "-1"]


def test_rows_without_a_target_are_left_out_and_counted(tmp_path: Path) -> None:
    """They teach nothing; how many they are is said."""
    dataset = load(tmp_path, text(line_7="5,7.5,A,\n", line_8="6,7.5,A,?\n"), missing=["?"])
    assert len(dataset.frame) == len(dataset.target) == len(dataset.is_held_out) == 58
    assert dataset.notes == ["2 of 60 rows are left out: they have no label"]


def test_only_named_classes_are_learned(tmp_path: Path) -> None:
    """A class too rare to be learned makes no error where it is not asked for."""
    dataset = load(tmp_path, text(line_7="5,7.5,A,maybe\n"), classes=["yes", "no"])
    assert set(dataset.target) == {"yes", "no"}
    assert dataset.notes == ["1 rows of other classes than [data] classes are left out"]
    with pytest.raises(DataError, match=r"no row says 'Yes' \(pipeline.toml, data.classes\)"):
        load(tmp_path, text(), classes=["Yes", "no"])


@pytest.mark.parametrize("rows", range(2, 9))
def test_a_rare_class_is_in_both_parts(tmp_path: Path, rows: int) -> None:
    """Chance would leave it out of one of them: of two rows, in most files."""
    for salt in range(20):
        lines = [f"{n}{salt},1,A,{'rare' if n < rows else 'usual'}\n" for n in range(60)]
        dataset = load(tmp_path, HEADER + "".join(lines))
        assert "rare" in set(dataset.training.target)
        assert "rare" in set(dataset.held_out.target)


def test_the_same_name_is_the_same_however_it_is_composed(tmp_path: Path) -> None:
    """A file of a Mac may write ü as u and two dots."""
    content = text(line_1="id,amount,größe,label\n")
    for file, name in (("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")):
        dataset = load(tmp_path, normalize(file, content), text=[normalize(name, "größe")])
        assert dataset.frame.columns.tolist() == ["amount", normalize("NFC", "größe")]


def test_other_separators_are_read(tmp_path: Path) -> None:
    """Where pipeline.toml says so."""
    assert load(tmp_path, text().replace(",", ";"), separator=";").frame["amount"][8] == 9


def test_parts_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read some rows at a time; the result knows nothing of it."""
    whole = load(tmp_path, text())
    monkeypatch.setattr("training.source.csv_text.ROWS", 7)
    pd.testing.assert_frame_equal(load(tmp_path, text()).frame, whole.frame)
    with pytest.raises(DataError, match="line 38, column 'amount'"):
        load(tmp_path, text(line_38="1,x,A,yes\n"))


def test_regression_needs_a_number_in_each_row(tmp_path: Path) -> None:
    """The target of a regression is checked as the features are."""
    with pytest.raises(DataError, match="line 2, column 'label': 'no' is not a finite number"):
        load(tmp_path, text(), task="regression")


WRITTEN = st.one_of(
    st.floats(-3e38, 3e38).map(repr),
    st.integers(-(10**38), 10**38).map(str),
    st.from_regex(r"[-+]?0*[0-9]{1,20}\.?[0-9]{0,30}(e-?[0-9]{1,2})?", fullmatch=True, alphabet="0123456789.e-+"),
)


@given(st.lists(st.one_of(WRITTEN, st.just("")), min_size=1))
def test_a_number_is_read_exactly(texts: list[str]) -> None:
    """As Python's float does, however it is written; by the quick way or the other one."""
    texts = [text for text in texts if not text or abs(float(text)) < 3e38] or ["1"]
    given = Cells("some.csv, line", "x", texts, np.arange(len(texts)), {""})
    expected = [float(text) if text else np.nan for text in texts]
    np.testing.assert_array_equal(cells.reader("number")(given), expected)


def test_only_an_empty_cell_is_missing(tmp_path: Path) -> None:
    """NA, null and none are texts like any other (Namibia, a street); spaces around a number are not part of it."""
    dataset = load(tmp_path, text(line_2="0,,NA,yes\n", line_3="1, 2.5 ,,no\n", line_4="2,3,null,yes\n"))
    assert np.isnan(dataset.frame["amount"][2])
    assert dataset.frame["amount"][3] == 2.5
    assert dataset.frame["city"].tolist()[:3] == ["NA", None, "null"]
    assert dataset.unused == ["id", "label"]


def test_a_byte_order_mark_is_no_column(tmp_path: Path) -> None:
    """A spreadsheet's export reads as it is."""
    assert len(load(tmp_path, b"\xef\xbb\xbf" + text().encode()).frame) == 60


@settings(max_examples=20, deadline=None)
@given(more=st.lists(st.integers(1000, 9999), unique=True, max_size=30), at=st.integers(0, 60))
def test_new_rows_move_no_other(tmp_path_factory: pytest.TempPathFactory, more: list[int], at: int) -> None:
    """The split goes by a hash of the row, so rows added anywhere leave every other one in its part."""
    folder = tmp_path_factory.mktemp("split")
    before = load(folder, text()).is_held_out
    lines = [*ROWS[:at], *(f"{n},{n},A,yes\n" for n in more), *ROWS[at:]]
    after = load(folder, HEADER + "".join(lines)).is_held_out
    assert before.tolist() == [*after[:at], *after[at + len(more) :]]


def test_the_share_is_about_right(tmp_path: Path) -> None:
    """Of 2,000 rows, 30 % within what chance allows."""
    rows = "".join(f"{n},{n * 1.5},{'ABC'[n % 3]},{'yes' if n % 4 else 'no'}\n" for n in range(2000))
    assert 0.26 < load(tmp_path, HEADER + rows).is_held_out.mean() < 0.34


def test_a_text_may_be_long(tmp_path: Path) -> None:
    """Longer than the 131,072 characters that Python's reader takes by default."""
    found = load(tmp_path, text(line_7=f"5,7.5,{'A' * 200_000},yes\n"))
    assert found.frame["city"].str.len().max() == 200_000


GROUPED = "customer,day,amount,label\n" + "".join(
    f"c{n % 30},2024-{1 + n // 25:02}-01,{n},{'yes' if n % 4 else 'no'}\n" for n in range(200)
)


def grouped(folder: Path, **changes: object) -> Dataset:
    return load(folder, GROUPED, **{"text": [], **changes})


def test_rows_of_one_group_stay_together(tmp_path: Path) -> None:
    """A customer whose rows are learned from is none to be judged by; and his rows are one unit of a resample."""
    data = grouped(tmp_path, group="customer")
    customers = data.others["customer"]
    assert not set(customers[data.is_held_out]) & set(customers[~data.is_held_out])
    assert 0.1 < data.is_held_out.mean() < 0.5
    assert len(np.unique(data.hashes)) == 30


def test_a_row_without_a_group_is_one_by_itself(tmp_path: Path) -> None:
    """An empty cell is no customer of many rows."""
    data = load(tmp_path, GROUPED.replace("\nc1,", "\n,"), text=[], group="customer")
    assert len(np.unique(data.hashes)) == 29 + GROUPED.count("\nc1,")


def test_the_newest_are_held_out(tmp_path: Path) -> None:
    """By date, and all of one day together."""
    data = grouped(tmp_path, time="day")
    days = data.others["day"]
    assert max(days[~data.is_held_out]) < min(days[data.is_held_out])
    assert data.is_held_out.mean() == 0.25  # of eight days two, which is nearer to 0.3 than three
    ordered = grouped(tmp_path, time="amount")
    assert ordered.frame["amount"][~ordered.is_held_out].max() < ordered.frame["amount"][ordered.is_held_out].min()
    assert ordered.is_held_out.mean() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("content", "changes", "message"),
    [
        (GROUPED, {"group": "client"}, r"no column 'client' \(pipeline.toml, data.group\)"),
        (GROUPED, {"time": "dya"}, r"no column 'dya' \(pipeline.toml, data.time\). Did you mean 'day'\?"),
        (
            GROUPED.replace("2024-03-01", "in March", 1),
            {"time": "day"},
            r"line 52, column 'day': 'in March' is no time",
        ),
        (GROUPED, {"time": "label"}, "time is the target"),
        (GROUPED.replace(",yes\n", ",no\n", 113), {"time": "day"}, "every row that says 'yes' is of the newest"),
    ],
)
def test_a_split_that_cannot_be(tmp_path: Path, content: str, changes: dict[str, str], message: str) -> None:
    """The key, the column, and the cell where there is one."""
    with pytest.raises((DataError, ValueError), match=message):
        load(tmp_path, content, **{"text": [], **changes})


def test_what_is_read_besides_changes_no_feature(tmp_path: Path) -> None:
    """The columns of a model stay as [data] orders them, whatever a report is sliced by."""
    path = tmp_path / "some.csv"
    path.write_text(HEADER + "".join(ROWS))
    data = Data(path=str(path), task="classification", target="label", numeric=["amount"], text=["city"])
    found = read(data, 0.3, also=["city", "id", "label", "nowhere"])
    assert [*found.frame] == ["amount", "city"]
    assert [*found.others] == ["id"]
    assert found.column("label").equals(found.target)
    assert found.column("id").iloc[0] == "0"
