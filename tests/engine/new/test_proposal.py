"""training.new.proposal: what is decided about a whole file."""

from pathlib import Path
from unicodedata import normalize

from training.new.proposal import propose


def test_the_target_is_found_under_another_decimal_point(tmp_path: Path) -> None:
    """In a file with decimal commas a copy of the target in another unit is as much of a leak."""
    rows = [f"{n * 37 % 101 / 7:.3f};{n * 37 % 101 / 70:.4f};{n * 53 % 97}" for n in range(100)]
    path = tmp_path / "a.csv"
    path.write_text("Höhe;cm;other\n" + "\n".join(rows).replace(".", ","), encoding="utf-8")
    found = propose(path, normalize("NFD", "Höhe"))
    assert (found.sample.separator, found.decimal, found.target.task) == (";", ",", "regression")
    assert [(column.name, column.kind) for column in found.columns] == [("cm", None), ("other", "number")]


def test_the_separator_is_not_what_stands_in_names(tmp_path: Path) -> None:
    """More semicolons than commas in the header, and none below it."""
    path = tmp_path / "a.csv"
    path.write_text("size (cm; m; km),place,label\n" + "1.5,here,a\n2.5,there,b\n" * 10, encoding="utf-8")
    assert propose(path, "label").sample.separator == ","
