"""What is proposed for a data file: each decision is a value here, and a line for the person who reads it."""

import difflib
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from unicodedata import normalize

from pipeline.schema import Kind
from training.cells import NONE, PLAIN, Numerals
from training.new import columns, sample, target
from training.new.columns import Column
from training.new.sample import Sample
from training.new.target import Target, Wanted
from training.source import csv_text
from training.source.rows import DataError, listed

NUMERALS = [Numerals(",", sign) for sign in ("", ".", "'", " ")] + [Numerals(".", sign) for sign in (",", "'", " ")]
ENOUGH = 1_000  # cells of a column, to see how they are written
OTHERS = "lists, records or bytes"
KINDS: tuple[Kind, ...] = ("number", "text", "boolean", "date")


class Proposal(NamedTuple):
    sample: Sample
    numerals: Numerals  # how the file writes numbers
    target: Target
    columns: list[Column]  # the others, in the file's order


def propose(csv: str, name: str, wanted: Wanted = "", sql: str = "") -> Proposal:
    """Looks at the data. name: of the target. Raises DataError."""
    seen, name = sample.take(csv, sql), normalize("NFC", name)  # as the header's names are
    bare = [each for each in seen.texts if each.strip() == name.strip()]
    if name not in seen.texts and len(bare) == 1:  # make takes blanks off
        name = bare[0]
    if name in seen.others:
        raise DataError(f"{seen.header}: column {name!r} holds {OTHERS}, and no target")
    if name not in seen.texts:
        near = difflib.get_close_matches(name, seen.texts, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {listed(seen.texts)}"
        hint += "" if near else f". {csv_text.headless(seen.texts)}".rstrip(" .")
        raise DataError(f"{seen.header}: no column {name!r}; {hint}")
    numerals, looks = _looks(seen)
    goal = target.decide(looks.pop(name), seen.texts[name], wanted)
    found = [_but_for_leaks(column, seen, goal, numerals) for column in looks.values()]
    if not any(column.kind for column in found):
        why = f"{found[0].name!r} is out, {found[0].why}" if found else "the file has no other"
        raise DataError(f"{seen.name}: no column is left to learn from: {why}")
    return Proposal(seen, numerals, goal, found)


def _looks(seen: Sample) -> tuple[Numerals, dict[str, Column]]:
    """How the file writes numbers, so that most columns are some, and what each column is then."""
    of = {}
    for numerals in (PLAIN, *(each for each in NUMERALS if _written(seen, each))):
        of[numerals] = {name: columns.look(name, texts, numerals) for name, texts in seen.texts.items()}
    return max(of.items(), key=lambda each: sum(column.kind == "number" for column in each[1].values()))


def _written(seen: Sample, numerals: Numerals) -> bool:
    """Whether all cells of a column that are not empty are numbers as these are, and some as no others are."""
    for cells in seen.cells.values():
        some = [text.strip() for text in cells[:ENOUGH] if any(map(str.isdigit, text))]
        plain = numerals.plain(some)
        if some and plain != some and sum(text == NONE for text in plain) <= 0.5 * len(some):
            return True
    return False


def _but_for_leaks(column: Column, seen: Sample, goal: Target, numerals: Numerals) -> Column:
    """The column, left out where it is another one, or the target."""
    if column.kind is None:
        return column
    if not column.name:  # which a client may send, but MLflow's signature does not hold
        return column._replace(kind=None, why="it has no name")
    other = seen.same.get(column.name) or (goal.name if seen.same.get(goal.name) == column.name else "")
    if other:
        return column._replace(kind=None, why=f"a copy of {Column(other, None).shown}")
    cells, truth = seen.cells[column.name], [text.strip() for text in seen.cells[goal.name]]
    if target.goes_with(column, cells, truth, goal.missing):
        column = column._replace(doubt=f"empty where {goal.name} is: {target.ASK}")
    if column.kind == "number":
        cells = [*numerals.plain(cells)]
    if goal.task == "regression":
        truth = [*numerals.plain(truth)]
    rows = [n for n, text in enumerate(truth) if text and text not in goal.missing]
    return target.tells(column, [cells[n] for n in rows], [truth[n] for n in rows], goal.task)


def sentences(proposal: Proposal) -> Iterator[tuple[str, str]]:
    """Each decision: what it is about, and a line. Columns of which there is nothing to say share one."""
    seen, goal = proposal.sample, proposal.target
    yield (
        "file",
        f"{seen.rows:,} rows, {len(seen.texts)} columns"
        + (f", separated by {seen.found.separator!r}" if seen.found.separator != "," else ""),
    )
    if seen.found.encoding != "utf-8":
        yield "file", f"its letters are not UTF-8; they are read as {seen.found.encoding}"
    point, thousands = proposal.numerals
    if point != ".":
        yield "file", f"numbers have a {point!r} as their point"
    if thousands:
        yield "file", f"numbers have a {thousands!r} between their thousands"
    if seen.copies:
        rows = "1 row is a copy of another" if seen.copies == 1 else f"{seen.copies:,} rows are copies of others"
        yield "file", f"{rows}; a row and its copies are never on both sides of the split"
    yield (
        "target",
        f"{Column(goal.name, None).shown}: {goal.why}" + (f"; looked for: {goal.positive!r}" if goal.positive else ""),
    )
    if seen.others:
        yield "left out", f"{', '.join(Column(name, None).shown for name in seen.others)}: {OTHERS}"
    for kind in (*KINDS, None):
        of_kind = [column for column in proposal.columns if column.kind == kind]
        for why, names in _alike((column.why, column.shown) for column in of_kind):
            yield kind or "left out", f"{names}: {why}" if why else names
    for doubt, names in _alike((column.doubt, column.shown) for column in proposal.columns if column.doubt):
        yield "look at", f"{names}: {doubt}"


def _alike(said: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What is said, and the names of all columns of which it is said."""
    names: dict[str, list[str]] = {}
    for what, name in said:
        names.setdefault(what, []).append(name)
    yield from ((what, ", ".join(each)) for what, each in names.items())
