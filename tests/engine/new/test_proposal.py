"""training.new.proposal: what is decided about a whole file."""

from pathlib import Path
from unicodedata import normalize

import pytest

from training.new.proposal import propose


@pytest.mark.parametrize(
    ("rows", "numerals"),
    [
        (["13.880;0,42;1", "3.049;0,41;2", "999;2,5;3"], (",", ".")),
        (["13 880;0,42;1", "3\u202f049;0,41;2", "999;2,5;3"], (",", " ")),
        (["13'880;0.42;1", "3\u2019049;0.41;2", "999;2.5;3"], (".", "'")),
        (['"13,880.50",0.42,1', '"3,049",0.41,2', "999,2.5,3"], (".", ",")),
        (['"2,041","0,42",1', '"4,1","0,41",2', '999,"2,5",3'], (",", "")),
        (["13.880,0.420,1", "3.049,0.410,2", "9.990,2.500,3"], (".", "")),
        (["13880;0.42;1", "3049;0.41;2", "999;2.5;3"], (".", "")),
    ],
)
def test_numbers_are_read_as_the_file_writes_them(tmp_path: Path, rows: list[str], numerals: tuple[str, str]) -> None:
    """With thousands apart, 13.880 may be a large number; read as a small one, it would be wrong without a word."""
    sign = ";" if ";" in rows[0] else ","
    lines = [f"people{sign}share{sign}y", *(f"{row[:-1]}{n % 2}" for n, row in enumerate(rows * 10))]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    found = propose(str(tmp_path / "a.csv"), "y")
    assert tuple(found.numerals) == numerals
    assert [column.kind for column in found.columns] == ["number", "number"]


def test_the_target_is_found_under_another_decimal_point(tmp_path: Path) -> None:
    """In a file with decimal commas a copy of the target in another unit is as much of a leak."""
    rows = [f"{n * 37 % 101 / 7:.3f};{n * 37 % 101 / 70:.4f};{n * 53 % 97}" for n in range(100)]
    path = tmp_path / "a.csv"
    path.write_text("Höhe;cm;other\n" + "\n".join(rows).replace(".", ","), encoding="utf-8")
    found = propose(str(path), normalize("NFD", "Höhe"))
    assert (found.sample.found.separator, found.numerals.point, found.target.task) == (";", ",", "regression")
    assert [(column.name, column.kind) for column in found.columns] == [("cm", None), ("other", "number")]


def test_the_separator_is_not_what_stands_in_names(tmp_path: Path) -> None:
    """More semicolons than commas in the header, and none below it."""
    path = tmp_path / "a.csv"
    path.write_text("size (cm; m; km),place,label\n" + "1.5,here,a\n2.5,there,b\n" * 10, encoding="utf-8")
    assert propose(str(path), "label").sample.found.separator == ","
