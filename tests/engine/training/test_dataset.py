"""training.dataset: whatever is wrong with the file, the message names file, column and line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schema import Data
from training.dataset import DataError, Dataset, read

HEADER = "id,amount,city,label\n"
ROWS = [f"{n},{n * 1.5},{'ABC'[n % 3]},{'yes' if n % 4 else 'no'}\n" for n in range(60)]


def load(folder: Path, content: str | bytes, **changes: object) -> Dataset:
    path = folder / "some.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    data = {"path": path, "task": "classification", "target": "label", "numeric": ["amount"], "text": ["city"]}
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
        (HEADER, "no rows below the header"),
        (text(line_1="id,amounts,city,label\n"), r"line 1: no column 'amount'.*data\.numeric.*Did you mean 'amounts'"),
        (text(line_1="id,amount,town,label\n"), r"line 1: no column 'city'.*data\.text.*The file has: 'id', 'amount'"),
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
        (text(line_7="5,7.5,A,\n"), "line 7, column 'label': the target is empty"),
        (text(line_3='1,1,"two\nlines",yes\n', line_7="5,x,A,yes\n"), "line 8, column 'amount': 'x'"),
        (text(line_3="\n", line_7="5,x,A,yes\n"), "line 7, column 'amount': 'x'"),
        (text().replace("no", "yes"), "column 'label': every row says 'yes'"),
        (HEADER + ROWS[0] + ROWS[1], "column 'label': no (training|held-out) row says"),
        (text(line_7="5,7.5,A,maybe\n"), "column 'label': no (training|held-out) row says 'maybe'"),
        (text(line_7="5,7.5,Z,yes\n").encode().replace(b"Z", b"\xe9"), "line 7: not UTF-8"),
        (text(line_7='5,7.5,"A,yes\n'), "line 61: unexpected end of data"),
        (text().replace(",", ";"), "no column 'amount'.*separated by semicolons"),
        (text().replace(",", "\t"), "no column 'amount'.*separated by tabs"),
        ('"an ""id""";amount\n1;2\n', "line 1: .*separated by semicolons"),
    ],
)
def test_a_bad_file_is_explained(tmp_path: Path, content: str | bytes, expected: str) -> None:
    """File, line, column and what to do; never a traceback of a parser."""
    with pytest.raises(DataError, match=rf"some\.csv.*{expected}"):
        load(tmp_path, content)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    """The path, and where it was written."""
    data = Data(path=tmp_path / "no.csv", task="regression", target="y", numeric=["x"], text=[])
    with pytest.raises(DataError, match=r"no\.csv: no such file.*data\.path"):
        read(data, 0.2)


def test_a_pointer_of_git_lfs_is_explained(tmp_path: Path) -> None:
    """As a checkout without LFS has it."""
    (tmp_path / "a.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(DataError, match="what Git LFS keeps in place of the file; run `git lfs pull`"):
        read(Data(path=tmp_path / "a.csv", task="regression", target="y", numeric=["x"]), 0.2)


def test_a_positive_class_that_nobody_has_is_explained(tmp_path: Path) -> None:
    """A typing error in data.positive would silently turn every metric around."""
    with pytest.raises(DataError, match=r"no row says 'Yes'.*'no', 'yes'"):
        load(tmp_path, text(), positive="Yes")


def test_regression_needs_a_number_in_each_row(tmp_path: Path) -> None:
    """The target of a regression is checked as the features are."""
    with pytest.raises(DataError, match="line 2, column 'label': 'no' is not a finite number"):
        load(tmp_path, text(), task="regression")


def test_only_an_empty_cell_is_missing(tmp_path: Path) -> None:
    """NA, null and none are texts like any other (Namibia, a street); spaces around a number are not part of it."""
    dataset = load(tmp_path, text(line_2="0,,NA,yes\n", line_3="1, 2.5 ,,no\n", line_4="2,3,null,yes\n"))
    assert np.isnan(dataset.frame["amount"][0])
    assert dataset.frame["amount"][1] == 2.5
    assert dataset.frame["city"][:3].tolist() == ["NA", None, "null"]
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
