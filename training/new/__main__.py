"""Makes the project one about somebody's data: looks at it and writes [data], [quality] and src/model.

    make new CSV=path TARGET=column       a file, a folder or a pattern; or an address, as s3://bucket/loans.parquet
    make new SQL=query TARGET=column      what the database of DATABASE_URL answers

What a person has edited since is left alone: then nothing is written, and what would be is shown.

Exit code 0: written, or left alone; 3: could not run, and the last line says why.
"""

import argparse
import difflib
import filecmp
import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape

from pipeline import command, notes
from pipeline.bundle import sha256
from pipeline.notes import New, NoteError
from pipeline.schema import Data
from pipeline.settings import SettingsError, load_settings
from training.new import files, trial
from training.new.proposal import Proposal, propose, sentences
from training.new.sample import examples
from training.new.target import Wanted
from training.new.trial import Trial
from training.source.files import WEB, public
from training.source.rows import DataError

SETTINGS, DATA, ESTIMATOR = "pipeline.toml", "src/model/data.py", "src/model/estimator.py"
SAMPLE = Path("data/sba_loans.csv")  # what a project is about before this command
SAMPLES = {  # sha256 of its files, where nobody has edited them
    DATA: "975dc5b3535720fcf2f0321ddeeb5b0ae5f4bfd0f34a821f5e2fa3aaed79b46c",
    ESTIMATOR: sha256(files.estimator_module([]).strip().encode()),
    "data/README.md": "b5a5262dcf5d66956f12036124916453864c8aeebe89ef7629322e03059348cd",
}
DESCRIPTION = 'description = "(Will|How much of) a small-business loan .*'  # the sample's
PIECES = ("[data]", "[quality]", DATA, ESTIMATOR)
SHOWN = 40  # lines of a difference
LARGE = 100_000_000  # bytes of a file, more than which GitHub refuses
console = Console(highlight=False, soft_wrap=True)


def new(root: Path, csv: str, target: str, task: Wanted = "", force: bool = False, sql: str = "") -> None:
    """Looks at the file, says what it decides, and writes it. Raises DataError and SettingsError."""
    with console.status("look at the file"):
        proposal = propose(csv, target, task, sql)
    for about, sentence in sentences(proposal):
        console.print(f"  [bold]{about:<9}[/bold] {escape(sentence)}")
    data = "" if sql else _place(root, csv)
    with console.status("train a first model on it"):
        texts, reached_by = proposed(root, proposal, csv, data, force)
    about, reached = files.section_of(texts[SETTINGS], "quality").splitlines()[2].split(" # ")
    console.print(f"  [bold]{'quality':<9}[/bold] {files.METRIC[proposal.target.task]}, {about}: {reached}")
    if reason := files.doubt(reached_by):
        console.print(f"  [bold]{'look at':<9}[/bold] {reason}")
    if edited := [] if force else edits(root):
        show(root, texts)
        who = escape(" and ".join(edited))
        here = escape(str(load_settings(root, {}).data.path))
        console.print(
            f"[yellow]Nothing written:[/yellow] {who}: edited by hand. To write all the same: FORCE=1. To train on "
            f"newer rows of the same columns, put the file in the place of {here}"
        )
        return
    write(root, texts, csv, data)
    console.print(f"Wrote {', '.join(texts)}. Next: [bold]make pipeline[/bold]")


def _place(root: Path, csv: str) -> str:
    """Where the data lies in the project, or will; an address stays one. Raises DataError where another is there."""
    if "://" in csv:
        if csv.partition("://")[0] in WEB and public(csv) != csv:
            raise DataError(
                f"{public(csv)}: the address holds a key, and many read pipeline.toml. Fetch the file, or give "
                "the address to each command as the variable MLOPS_DATA__PATH"
            )
        return csv
    path = Path(csv)
    for file, folder in ((Path(os.path.normpath(path.absolute())), root.absolute()), (path.resolve(), root.resolve())):
        if file.is_relative_to(folder):
            return file.relative_to(folder).as_posix()
    if not path.is_file():
        raise DataError(f"{csv}: several files are read where they lie; move them into this folder, such as to data/")
    data = Path("data", path.name)
    ours = (str(SAMPLE), load_settings(root, {}).data.path)
    if str(data) not in ours and (root / data).exists() and not filecmp.cmp(path, root / data, shallow=False):
        raise DataError(f"{data} is there, and is another file than {csv}: rename one of them")
    return data.as_posix()


def proposed(root: Path, proposal: Proposal, csv: str, data: str, force: bool) -> tuple[dict[str, str], Trial]:
    """The files as they would be, by path, and what a first model reaches. data: where it will lie."""
    settings = (root / SETTINGS).read_text(encoding="utf-8")
    ours = f"^({DESCRIPTION}|{re.escape(files.description(load_settings(root, {}).data.target))})$"
    settings = re.sub(ours, lambda _: files.description(proposal.target.name), settings, flags=re.MULTILINE)
    section = files.data_section(data, proposal)
    task = proposal.target.task

    def with_quality(quality: str) -> str:
        return files.with_sections(settings, data=section, quality=quality)

    found = msgspec.convert(tomllib.loads(section)["data"], Data)
    texts = {DATA: files.data_module(data, proposal.columns, examples(proposal.sample, found))}
    estimator, usual = files.estimator_module(proposal.columns), files.estimator_module([])
    # By force, too, a person's own is left alone, unless it would make nothing of sentences.
    is_ours = not _edited(root, ESTIMATOR) or (force and estimator != usual)
    if is_ours and (root / ESTIMATOR).read_text(encoding="utf-8") != estimator:
        texts[ESTIMATOR] = estimator
    texts[SETTINGS] = with_quality(files.quality_section(task, None))
    reached = trial.beside(root, texts, csv)
    texts[SETTINGS] = with_quality(files.quality_section(task, reached))
    return texts, reached


def _home(csv: str) -> str:
    """With what ~ stands for."""
    return csv if "://" in csv else str(Path(csv).expanduser())


def edits(root: Path) -> list[str]:
    """What a person has edited since this command wrote it last, or since the project was made."""
    return [name for name in PIECES if name != ESTIMATOR and _edited(root, name)]


def _edited(root: Path, name: str) -> bool:
    if name in SAMPLES and _piece(root, name) == SAMPLES[name]:
        return False
    path = load_settings(root, {}).data.path
    try:
        note = notes.read(root, New) if (root / New.path).is_file() else New({})
    except NoteError:
        return True
    if path == str(SAMPLE) and note.data != str(SAMPLE):  # as the project was made, or as Git has brought it back
        return name in SAMPLES
    return note.pieces.get(name) != _piece(root, name)


def _piece(root: Path, name: str) -> str:
    """sha256 of a file, or of a section of pipeline.toml."""
    path = root / (SETTINGS if name.startswith("[") else name)
    text = path.read_text(encoding="utf-8")
    return sha256((files.section_of(text, name.strip("[]")) if name.startswith("[") else text).strip().encode())


def show(root: Path, texts: Mapping[str, str]) -> None:
    """What would be other than it is."""
    for name, text in texts.items():
        old, new = (root / name).read_text(encoding="utf-8").splitlines(), text.splitlines()
        for line in list(difflib.unified_diff(old, new, name, "make new", n=0, lineterm=""))[:SHOWN]:
            console.print(f"  [dim]{escape(line)}[/dim]")


def write(root: Path, texts: Mapping[str, str], csv: str, data: str) -> None:
    """Puts the files and the data into their places, and takes the sample out."""
    if csv and "://" not in csv and Path(csv).absolute() != (root / data).absolute() and Path(csv).is_file():
        (root / data).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(csv, root / data)
        console.print(f"Copied {escape(csv)} to {escape(data)}.")
    if (root / data).is_file() and (root / data).stat().st_size > LARGE:
        console.print("[yellow]Note:[/yellow] GitHub refuses files of more than 100 MB: track this one with Git LFS.")
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    if data != str(SAMPLE):
        (root / SAMPLE).unlink(missing_ok=True)
        about = root / "data" / "README.md"
        if about.is_file() and sha256(about.read_bytes().strip()) == SAMPLES["data/README.md"]:
            about.unlink()
    notes.write(root, New({name: _piece(root, name) for name in PIECES}, data))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.new", description=__doc__.split("\n")[0])
    parser.add_argument("--csv", default="", help="the data: a file, a folder, a pattern, or an address")
    parser.add_argument("--sql", default="", help="in its place: what a database is asked")
    parser.add_argument("--target", default="", help="the column that is to be predicted")
    parser.add_argument(
        "--task", default="", choices=["", "classification", "regression"], help="by default, what the target is"
    )
    parser.add_argument("--force", action="store_true", help="also over what a person has edited")
    arguments = parser.parse_args(argv)
    if bool(arguments.csv) == bool(arguments.sql) or not arguments.target:
        console.print(
            "[red]Cannot begin:[/red] say which file (or SQL=query) and which column: make new CSV=path TARGET=column"
        )
        return 3
    try:
        where = _home(arguments.csv) if arguments.csv else ""
        new(Path.cwd(), where, arguments.target, arguments.task, arguments.force, arguments.sql)
    except (SettingsError, DataError, OSError) as error:
        console.print(f"[red]Cannot begin:[/red] {escape(str(error))}")
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
