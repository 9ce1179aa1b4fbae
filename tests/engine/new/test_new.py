"""make new: from somebody's data file to a project about it, which trains without an edit."""

import csv
import doctest
import importlib.util
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from pipeline import bundle as bundles
from pipeline.notes import New
from pipeline.settings import load_settings
from tests.engine.conftest import ROOT, copy_project, run
from training.new.__main__ import SAMPLES

Row = Callable[[random.Random, int], Sequence[object]]
SAMPLE = ("pipeline.toml", *SAMPLES, "data/sba_loans.csv")


ODD = "strat"  # codespell:ignore strat  a word of the data, and nobody's to correct


def churn(dice: random.Random, n: int) -> Sequence[object]:
    months, fibre, price = dice.randrange(72), dice.random() < 0.4, round(dice.uniform(20, 120), 2)
    leaves = dice.random() < 0.1 + 0.5 * fibre * (1 - months / 72)
    opened = f"{dice.randrange(1, 29):02}/{dice.randrange(1, 13):02}/20{dice.randrange(10, 24)}"
    contract = dice.choice(["Month-to-month", "One year", 'Zwei "Jahre", naïve'])
    note = dice.choice([ODD, "b"])
    gap = "NA" if dice.random() < 0.05 else price
    return f"C-{n:05}", months, gap, fibre, contract, opened, note, "same", "Yes" if leaves else "No", int(leaves)


CHURN = ["customerID", "months", "Größe € (\\)", "fibre", "contract", "opened", ODD, "const", "churn", "left"]
WORDS = {"good": ["fine", "great", "loved", "brilliant", "warm"], "bad": ["awful", "boring", "dull", "cheap", "sad"]}


def review(dice: random.Random, _: int) -> Sequence[object]:
    opinion = dice.choice(["good", "bad"])
    words = dice.choices(WORDS[opinion], k=3) + dice.choices(["the", "film", "was", "so", "I", "think", "a"], k=9)
    return " ".join(dice.sample(words, 12)), dice.randrange(5), opinion


def house(dice: random.Random, n: int) -> Sequence[object]:
    size, place = dice.uniform(30, 200), dice.choice(["Nord", "Süd", ""])
    price = size * (3000 if place == "Nord" else 2000) + dice.gauss(0, 9000)
    return f"{size:.1f}".replace(".", ","), place, f"{price:.2f}".replace(".", ",")


def write(path: Path, header: Sequence[str], row: Row, rows: int = 900, separator: str = ",") -> Path:
    dice = random.Random(3)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(header)
        writer.writerows(row(dice, n) for n in range(rows))
    return path


@pytest.fixture(name="fresh")
def _fresh(tmp_path: Path) -> Path:
    """A project with the sample in it, as it is generated."""
    project = copy_project(tmp_path / "project")
    shutil.rmtree(project / "data")
    for name in SAMPLE:
        (project / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    return project


def make_new(project: Path, path: Path, target: str, *more: str) -> str:
    done = run(project, "training.new", "--csv", str(path), "--target", target, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def examples_hold(project: Path) -> bool:
    spec = importlib.util.spec_from_file_location("own", project / "src/model/data.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = doctest.testmod(module)
    return result.failed == 0 < result.attempted


def complaints(project: Path) -> str:
    """Of the linters, about what was written."""
    code, settings = str(project / "src/model"), str(project / "pipeline.toml")
    said = ""
    for tool in (
        ("ruff", "check", "--quiet", "--config", ROOT / "pyproject.toml", code),
        ("ruff", "format", "--quiet", "--check", "--diff", "--config", ROOT / "pyproject.toml", code),
        ("codespell_lib", "--toml", ROOT / "pyproject.toml", code, settings),
    ):
        done = run(project, *map(str, tool))
        said += done.stdout + done.stderr
    return said


def test_a_file_becomes_a_project(fresh: Path, tmp_path: Path) -> None:
    """Kinds, words for a missing value, what is left out and why; the examples hold, and it trains without an edit."""
    said = make_new(fresh, write(tmp_path / "churn.csv", CHURN, churn), "churn")
    data = load_settings(fresh, {}).data
    assert data.kinds == {
        "months": "number",
        "Größe € (\\)": "number",
        "contract": "text",
        ODD: "text",
        "fibre": "boolean",
        "opened": "date",
    }
    assert (data.path, data.positive, data.missing_in) == ("data/churn.csv", "Yes", {"Größe € (\\)": ["NA"]})
    assert data.date_formats == {"opened": "%d/%m/%Y"}
    for sentence in (
        "left out  customerID: 900 different texts in 900 rows",
        "left out  const: every row says 'same'",
        "left out  left: it alone tells the target in 100.0% of the rows",
        "number    Größe € (\\): 'NA' for a missing value",
    ):
        assert sentence in said
    assert examples_hold(fresh)
    assert complaints(fresh) == ""
    assert not (fresh / "data/sba_loans.csv").exists()
    assert not (fresh / "data/README.md").exists()
    assert "loan" not in (fresh / "pipeline.toml").read_text(encoding="utf-8").replace("loan-default", "")
    done = run(fresh, "training.train")
    assert done.returncode == 0, done.stdout
    bundle = bundles.read(fresh / "bundle")
    assert bundle.card.runtime == "onnx"
    first = msgspec.json.decode((fresh / "bundle/requests.jsonl").read_bytes().splitlines()[0])
    assert {name: type(value) for name, value in first.items()}.items() >= {"fibre": bool, "opened": str}.items()


DUE = 'when it was due, 🎉 "by" the timetable of the airline\n(UTC)'  # no short name


MORE = [f'the "{letter * 9}"' for letter in "abcdefgh"]


def delay(dice: random.Random, n: int) -> Sequence[object]:
    more = [f"2024-{(n + k) % 12 + 1:02}-{n % 28 + 1:02}" for k in range(len(MORE))]
    due, late = f"2024-{n % 12 + 1:02}-{n % 28 + 1:02}T{n % 24:02}:05:00Z", dice.gauss(5, 20)
    left = "NA" if n % 20 == 0 else round(late + dice.gauss(0, 8))
    wind = "NA" if n % 7 == 0 else dice.randrange(40)
    return *more, due, wind, n % 9, left, "NA" if n % 20 == 0 else round(late + 0.1 * (n % 9), 1)


def test_a_target_with_gaps_is_learned_where_it_is_known(fresh: Path, tmp_path: Path) -> None:
    """One word for all columns; who is empty with the target is named; no column is overwritten by a date's parts."""
    said = make_new(
        fresh, write(tmp_path / "flights.csv", [*MORE, DUE, "wind", f"{DUE} day", "left", "late"], delay), "late"
    )
    data = load_settings(fresh, {}).data
    assert (data.task, data.missing, data.missing_in) == ("regression", ["NA"], {})
    assert "45 rows without one ('NA') are left out" in said
    assert "look at   left: empty where late is: leave it out if nobody knows it before" in said
    assert "# Look at left: empty where late is" in (fresh / "pipeline.toml").read_text(encoding="utf-8")
    module = (fresh / "src/model/data.py").read_text(encoding="utf-8")
    assert 'columns[f"{name}_hour"]' in module
    assert complaints(fresh) == ""
    assert examples_hold(fresh)
    assert run(fresh, "training.train").returncode == 0


def test_sentences_get_a_model_of_words(fresh: Path, tmp_path: Path) -> None:
    """Ordinal numbers for texts that never repeat would say nothing. The project's own tests read the tabs as well."""
    said = make_new(
        fresh, write(tmp_path / "reviews.csv", ["text", "stars", "opinion"], review, separator="\t"), "opinion"
    )
    assert "free text, 12 words on average" in said
    assert 'FREE = ("text",)' in (fresh / "src/model/estimator.py").read_text(encoding="utf-8")
    assert load_settings(fresh, {}).quality.floor > 0.9
    (fresh / "tests").mkdir()
    for name in ("Dockerfile", "tests/conftest.py", "tests/test_model.py"):
        shutil.copy(ROOT / name, fresh / name)
    done = run(fresh, "pytest", "tests/test_model.py")
    assert done.returncode == 0, done.stdout


def test_a_european_file_is_read(fresh: Path, tmp_path: Path) -> None:
    """Semicolons, decimal commas, gaps: a regression."""
    make_new(fresh, write(tmp_path / "Häuser.csv", ["größe", "lage", "preis"], house, separator=";"), "preis")
    settings = load_settings(fresh, {})
    assert (settings.data.separator, settings.data.decimal, settings.data.task) == (";", ",", "regression")
    assert 0.5 < settings.quality.floor < 1
    assert run(fresh, "training.train").returncode == 0


def test_what_a_person_has_edited_stays(fresh: Path, tmp_path: Path) -> None:
    """Run again on newer data, it says what it would write; FORCE=1 writes it. What nobody edited is written anew."""
    old = write(tmp_path / "a.csv", ["größe", "lage", "preis"], house, 300, ";")
    make_new(fresh, old, "lage")
    make_new(fresh, old, "preis")  # the first was a mistake
    assert load_settings(fresh, {}).data.target == "preis"
    before = {name: (fresh / name).read_bytes() for name in ("pipeline.toml", "src/model/data.py")}
    newer = write(
        tmp_path / "b.csv",
        ["größe", "lage", "neu", "preis"],
        lambda dice, n: [*house(dice, n)[:2], n % 7, *house(dice, n)[2:]],
        400,
        ";",
    )
    settings = before["pipeline.toml"].decode().replace("tolerance = 0", "tolerance = 1")
    (fresh / "pipeline.toml").write_text(settings, encoding="utf-8")
    said = make_new(fresh, newer, "preis")
    assert "Nothing written: [quality]: edited by hand" in said
    assert '+numeric = ["größe", "neu"]' in said
    assert (fresh / "pipeline.toml").read_text(encoding="utf-8") == settings
    assert (fresh / "src/model/data.py").read_bytes() == before["src/model/data.py"]
    assert not (fresh / "data/b.csv").exists()
    make_new(fresh, newer, "preis", "--force")
    assert load_settings(fresh, {}).data.kinds["neu"] == "number"


def test_it_begins_anew_where_nobody_edited(fresh: Path, tmp_path: Path) -> None:
    """After sentences, in a clone, after Git has brought the sample back; with the target's name as the description."""
    sentences = write(tmp_path / "reviews.csv", ["text", "stars", "opinion"], review)
    houses = write(tmp_path / "houses.csv", ["größe", "lage", "preis"], house, 300, ";")
    sample = {name: (fresh / name).read_bytes() for name in SAMPLE}
    make_new(fresh, sentences, "opinion")
    make_new(fresh, houses, "preis")
    assert (fresh / "src/model/estimator.py").read_bytes() == sample["src/model/estimator.py"]
    assert 'description = "Predicts preis."' in (fresh / "pipeline.toml").read_text(encoding="utf-8")
    for name, content in sample.items():
        (fresh / name).write_bytes(content)
    assert "Wrote" in make_new(fresh, sentences, "opinion")
    ignored = subprocess.run(["git", "-C", ROOT, "check-ignore", "--no-index", "--quiet", New.path], check=False)
    assert ignored.returncode == 1  # or a clone would not know


def test_the_data_file_comes_into_the_project(fresh: Path, tmp_path: Path) -> None:
    """From beside it, too; over no other file of that name."""
    houses = write(tmp_path / "houses.csv", ["größe", "lage", "preis"], house, 300, ";")
    (fresh / "data" / "houses.csv").write_text("my,own\n1,2\n")
    done = run(fresh, "training.new", "--csv", "../houses.csv", "--target", "preis", "--force")
    assert done.returncode == 3
    assert "data/houses.csv is there, and is another file" in " ".join(done.stdout.split())
    (fresh / "data" / "houses.csv").unlink()
    make_new(fresh, Path("../houses.csv"), "preis")
    assert load_settings(fresh, {}).data.path == "data/houses.csv"
    assert (fresh / "data" / "houses.csv").read_bytes() == houses.read_bytes()
    make_new(fresh, Path("../houses.csv"), "preis")  # newer data of that name


LONG = "What is the date of your most recent visit to one of our clinics, as far as you remember (approximately, yyyy)?"


def test_linters_have_nothing_to_say_of_names(fresh: Path, tmp_path: Path) -> None:
    """Long ones, other scripts, words that look like a mistake; of files, columns, the target and what stands there."""

    def visit(dice: random.Random, n: int) -> Sequence[object]:
        text = "".join(dice.choice("味道很好不电影") for _ in range(60))
        return f"2024-{n % 12 + 1:02}-{n % 28 + 1:02}", n % 9, text, dice.random(), n % 9 + dice.gauss(0, 1)

    names = [LONG, "Насколько вы удовлетворены качеством обслуживания", "レビュー本文", "lang" + "auge", "I" + "st"]
    path = write(tmp_path / "WA_Fn-UseC_-Telco-Customer-Churn.csv", names, visit)
    make_new(fresh, path, names[-1])
    assert complaints(fresh) == ""
    assert examples_hold(fresh)


def test_a_floor_that_stops_nothing_is_said(fresh: Path, tmp_path: Path) -> None:
    """A gate at what chance reaches is no gate; a model that knows all knows too much."""
    noise = write(tmp_path / "noise.csv", ["a", "b", "y"], lambda dice, n: (n % 7, dice.random(), dice.gauss(0, 1)))
    assert "is no better than a constant, or not surely so" in make_new(fresh, noise, "y")

    def both(dice: random.Random, _: int) -> Sequence[object]:
        a, b = dice.randrange(3), dice.randrange(3)
        return a, b, dice.random(), a == b

    known = write(tmp_path / "known.csv", ["a", "b", "c", "y"], both)
    assert "give the target away?" in make_new(fresh, known, "y")


def test_an_edited_sample_is_a_persons(fresh: Path, tmp_path: Path) -> None:
    """Somebody who began with src/model/data.py keeps it."""
    path = fresh / "src/model/data.py"
    path.write_text(path.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    said = make_new(fresh, write(tmp_path / "a.csv", ["größe", "lage", "preis"], house, 300, ";"), "preis")
    assert "Nothing written: src/model/data.py: edited by hand" in said
    assert load_settings(fresh, {}).data.target == "MIS_Status"


@pytest.mark.parametrize(
    ("content", "target", "expected"),
    [
        ("a,b\n1,2\n", "c", "a.csv, line 1: no column 'c'; there are 'a', 'b'"),
        ("amount,b\n1,2\n", "amounts", "did you mean 'amount'?"),
        ("a,\n" + "1,x\n2,y\n" * 20, "a", "'' is out, it has no name"),
        ("a;1,b;2,c;3\n1,x,2\n", "d", "there are 'a;1', 'b;2', 'c;3'"),
        ("8,307.0\n6,200.5\n", "mpg", "Its first line looks like a row"),
        ("b\nx\ny\n" * 20, "b", "the file has no other"),
        ("", "a", "the file is empty"),
        ("a,b,y\n1,2\n" + "1,2,3\n" * 30, "y", "line 2: 2 cells, but the header has 3"),
        ("PAR1", "a", "no Parquet that can be read"),
        ("a;b;;\n1;2;;\n", "b", "2 columns have no name"),
        ("sep=;\na;b\n1;2\n", "b", "'sep=;' is a note to Excel; take the line out"),
        ('a,b\n"say \\"hi\\", and go",1\n' * 20, "b", "Its quotes stand behind backslashes; write them doubled"),
        ("a,b\n" + "".join(f"{n},${n}.50\n" for n in range(50)), "b", "the target 'b' holds numbers that are written"),
        ("a,b\n1,x\n1,y\n", "b", "there is no class to learn"),
        ("a,b\n" + "1,x\n1,y\n" * 20, "b", "no column is left to learn from: 'a' is out, every row says '1'"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    fresh: Path, tmp_path: Path, content: str, target: str, expected: str
) -> None:
    """And nothing is written."""
    (tmp_path / "a.csv").write_text(content)
    before = (fresh / "pipeline.toml").read_bytes()
    done = run(fresh, "training.new", "--csv", str(tmp_path / "a.csv"), "--target", target)
    assert done.returncode == 3, done.stdout
    assert expected in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr
    assert (fresh / "pipeline.toml").read_bytes() == before


def loans(dice: random.Random, n: int) -> Sequence[object]:
    term, paid = dice.randrange(1, 60), dice.random() < 0.5
    return n, term, dice.choice(["CA", "NY", None]), paid, "late" if term > 30 and not paid else "good"


LOANS = pd.DataFrame([loans(random.Random(n), n) for n in range(600)], columns=["id", "term", "state", "paid", "end"])


def test_what_is_no_value_is_left_out(fresh: Path, tmp_path: Path) -> None:
    """A list in each cell, in one of two files, and bytes; an infinite number among others is a missing one."""
    folder = fresh / "data" / "loans"
    folder.mkdir()
    term = LOANS["term"].astype(float).where(LOANS.index % 100 != 3, float("inf"))
    odd = LOANS.assign(term=term, photo=[b"\xff"] * len(LOANS), tags=[["a"]] * len(LOANS))
    odd.iloc[:300].to_parquet(folder / "0.parquet")
    odd.iloc[300:].assign(tags="a").to_parquet(folder / "1.parquet")
    said = make_new(fresh, folder.relative_to(fresh), "end")
    assert "left out  photo, tags: lists, records or bytes" in said
    assert load_settings(fresh, {}).data.kinds == {"term": "number", "state": "text", "paid": "boolean"}
    done = run(fresh, "training.train")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(fresh, "training.new", "--csv", "data/loans", "--target", "tags", "--force")
    assert "column 'tags' holds lists, records or bytes, and no target" in done.stdout


def test_files_that_are_written_otherwise_are_named(fresh: Path) -> None:
    """Two encodings in one folder: pipeline.toml has one."""
    folder = fresh / "data" / "loans"
    folder.mkdir()
    for part, encoding in enumerate(("ascii", "utf-8", "cp1252")):
        city = "Koln" if encoding == "ascii" else "Köln"
        (folder / f"{part}.csv").write_text(f"city,end\n{city},yes\n", encoding=encoding)
    done = run(fresh, "training.new", "--csv", "data/loans", "--target", "end")
    said = "data/loans: data/loans/1.csv is utf-8 and data/loans/2.csv is cp1252; write all files alike"
    assert (done.returncode, said in done.stdout) == (3, True)


def test_parquet_is_looked_at_as_it_is(fresh: Path, tmp_path: Path) -> None:
    """Kinds by the values, as of CSV; a folder stays where it is, in the project."""
    folder = fresh / "data" / "loans"
    folder.mkdir()
    for part in range(3):
        LOANS.iloc[200 * part : 200 * part + 200].to_parquet(folder / f"{part}.parquet")
    make_new(fresh, folder.relative_to(fresh), "end")
    data = load_settings(fresh, {}).data
    assert (data.path, data.kinds) == ("data/loans", {"term": "number", "state": "text", "paid": "boolean"})
    assert examples_hold(fresh)
    done = run(fresh, "training.train")
    assert done.returncode == 0, done.stdout + done.stderr
    outside = shutil.move(folder, tmp_path / "elsewhere")
    done = run(fresh, "training.new", "--csv", str(outside), "--target", "end", "--force")
    assert done.returncode == 3
    assert "move them into this folder, such as to data/" in done.stdout


def test_a_query_is_written_and_no_password(fresh: Path, tmp_path: Path) -> None:
    """The database's address is the environment's; what it answers is looked at as a file is."""
    with closing(sqlite3.connect(tmp_path / "loans.sqlite")) as connection:
        LOANS.to_sql("loans", connection, index=False)
    address, query = f"sqlite:///{tmp_path}/loans.sqlite", "SELECT * FROM loans ORDER BY id"
    done = run(fresh, "training.new", "--sql", query, "--target", "end", DATABASE_URL=address)
    assert done.returncode == 0, done.stdout + done.stderr
    data = load_settings(fresh, {}).data
    assert (data.sql, data.path, data.kinds["term"]) == (query, "", "number")
    assert str(tmp_path) not in (fresh / "pipeline.toml").read_text()
    assert complaints(fresh) == ""
    done = run(fresh, "training.train", DATABASE_URL=address)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_address_that_holds_a_key_is_not_written(fresh: Path) -> None:
    """pipeline.toml is for everybody who sees the repository."""
    before = (fresh / "pipeline.toml").read_bytes()
    signed = "https://ada:secret@127.0.0.1:1/a.csv?signature=secret"
    done = run(fresh, "training.new", "--csv", signed, "--target", "end")
    assert done.returncode == 3
    assert "secret" not in done.stdout + done.stderr
    assert (fresh / "pipeline.toml").read_bytes() == before
