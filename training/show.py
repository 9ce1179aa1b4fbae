"""Shows the data that training reads: where it lies, its columns, and what has changed since the champion.

    make data
    python -m training.show

Exit code 0: shown; 3: could not be read, and the last line says why.
"""

import argparse
from collections.abc import Sequence

import pandas as pd
from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import command
from pipeline.schema import Settings
from pipeline.settings import SettingsError, load_settings
from training import learned, registry
from training.dataset import Dataset, read
from training.source import table
from training.source.files import File
from training.source.rows import DataError, listed

console = Console(highlight=False, soft_wrap=True)


def show(settings: Settings) -> None:
    """Raises DataError and MlflowException."""
    data, quality = settings.data, settings.quality
    with console.status("read the data"):
        found = table.find(data)
        dataset = read(data, settings.training.holdout, also=quality.slices, found=found)
    held_out, of_rows = int(dataset.is_held_out.sum()), learned.prints(dataset.frame, dataset.target)
    for about, sentence in (
        ("where", _where(settings, found)),
        ("rows", f"{len(dataset.frame):,}, of which {held_out:,} are held out; sha256 {dataset.sha256[:12]}"),
        *(("note", each) for each in (*dataset.notes, learned.shared(of_rows, dataset.is_held_out)) if each),
        ("left out", listed(name for name in dataset.unused if name != data.target) or "no column"),
    ):
        console.print(f"  [bold]{about:<9}[/bold] {escape(sentence)}")
    console.print(_columns(settings, dataset))
    client = registry.connect(settings.project.name)
    champion = registry.find(client, settings.project.name, registry.CHAMPION)
    if champion is None:
        console.print("There is no champion yet.")
        return
    theirs = learned.load(champion.run_id)
    changed = (
        learned.news(theirs, of_rows[~dataset.is_held_out]) if theirs is not None else "its rows are not on record"
    )
    console.print(
        f"Since the champion, version {champion.version}: {changed or 'it has learned from these very rows'}."
    )


def _where(settings: Settings, found: Sequence[File]) -> str:
    origin = table.origin(settings.data, found)
    of = f"{origin.uri}: {settings.data.sql}" if settings.data.sql else origin.uri
    files = f", {origin.files} files" if origin.files > 1 else ""
    return f"{of}{files}{f', {origin.version}' if origin.version else ''}"


def _columns(settings: Settings, dataset: Dataset) -> Table:
    shown = Table("column", "is", "missing", "values", box=None, pad_edge=False, header_style="bold")
    columns = {dataset.target.name: ("target", dataset.target)}
    columns |= {name: (kind, dataset.frame[name]) for name, kind in settings.data.kinds.items()}
    for name, (kind, column) in columns.items():
        missing = column.isna().mean()
        shown.add_row(escape(str(name)), kind, f"{missing:.1%}" if missing else "", escape(_values(column)))
    return shown


def _values(column: pd.Series) -> str:
    there = column.dropna()
    if column.dtype == float or hasattr(there.iloc[0], "isoformat"):
        low, middle, high = there.sort_values().iloc[[0, len(there) // 2, -1]]
        texts = [f"{each:g}" if column.dtype == float else str(each) for each in (low, middle, high)]
        return f"{texts[0]} … {texts[1]} … {texts[2]}"
    counts = there.value_counts()
    shown = ", ".join(f"{str(value)[:30]} {count:,}" for value, count in counts.head(4).items())
    return shown + (f" and {len(counts) - 4:,} others" if len(counts) > 4 else "")


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m training.show", description=__doc__.split("\n")[0]).parse_args(argv)
    try:
        show(load_settings())
    except (SettingsError, DataError, MlflowException) as error:
        console.print(f"[red]Cannot show the data:[/red] {escape(registry.complaint(error))}")
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
