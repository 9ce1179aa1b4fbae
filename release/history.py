"""Draws p95 and the quality metric over all versions that were ever promoted.

    make history
    python -m release.history

Milliseconds of two machines say nothing about two versions. The change that a load test measured does, because both
versions ran on one machine at the same time. So the changes are multiplied along the chain of versions.

Writes reports/history.png and prints a table. Exit code 0: drawn; 3: could not be done, and the last line says why.
"""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter
from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from perf.rule.wording import amount, percent
from pipeline import command
from pipeline.schema import METRICS
from pipeline.settings import SettingsError, load_settings
from training import registry
from training.history import Promoted, chain, read

PICTURE = Path("reports/history.png")
SOFT, GRID, LINE = "#59636e", "#d1d9e0", "#0969da"
STYLE = {
    **{"axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlesize": 11, "axes.ymargin": 0.15},
    **{"axes.labelcolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT, "axes.edgecolor": GRID, "grid.color": GRID},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y"},
}


def path(links: Mapping[str, tuple[str, float]], version: str) -> list[str]:
    """From the start of its chain to a version, without what was rolled back on the way."""
    steps = [version]
    while before := links[steps[-1]][0]:
        steps.append(before)
    return steps[::-1]


def headline(links: Mapping[str, tuple[str, float]], way: Sequence[str]) -> str:
    if len(way) == 1:
        return f"p95 of version {way[0]} was not compared with that of an earlier version"
    change, count = percent(links[way[-1]][1] - 1), len(way) - 1
    return f"p95 {change} from version {way[0]} to version {way[-1]}, over {count} promotion{'s' if count > 1 else ''}"


def draw(history: Sequence[Promoted], way: Sequence[str], metric: str, more_is_better: bool) -> Figure:
    """The chain, p95 and the metric, one above the other. `way`: the path to the champion."""
    links, place = chain(history), {each.version: number for number, each in enumerate(history)}
    hollow = {number for number, each in enumerate(history) if each.rolled_back and each.version not in way}
    chained = [(place[before], place[version]) for version, (before, _) in links.items() if before]
    timed = pairwise(number for number, each in enumerate(history) if each.p95 is not None)
    alike = [ends for ends in timed if history[ends[0]].machine == history[ends[1]].machine]
    scored = pairwise(number for number, each in enumerate(history) if each.metric is not None)
    with rc_context(STYLE):
        figure = Figure(figsize=(9, 9), layout="constrained")
        levels, latency, quality = figure.subplots(3, sharex=True)
        levels.axhline(100, color=SOFT, linewidth=0.8)
        _panel(levels, [100 * level for _, level in links.values()], chained, hollow)
        low, high = levels.get_ylim()  # but 90 to 110 at least, so that noise looks like noise
        levels.set(title=headline(links, way), ylim=(min(low, 90), max(high, 110)), ylabel=f"% of version {way[0]}")
        _panel(latency, [each.p95 for each in history], alike, hollow)
        latency.set(title="p95 of POST /predict; lines join what one machine measured", ylim=(0, None), ylabel="ms")
        _panel(quality, [each.metric for each in history], scored, hollow)
        quality.set_title(f"{metric} on held-out rows; {'more' if more_is_better else 'less'} is better")
        quality.set(ylabel=metric, xlabel="version, in the order of promotion (hollow: rolled back)")
        quality.xaxis.set_major_locator(FixedLocator(range(len(history)), 15))
        quality.xaxis.set_major_formatter(FuncFormatter(lambda at, _: history[round(at)].version))
        figure.align_ylabels()
    return figure


def _panel(axes: Axes, values: Sequence[float | None], edges: Iterable[tuple[int, int]], hollow: set[int]) -> None:
    """A dot for each version that has a value, and lines between some; dotted where they lead to a hollow dot."""
    for start, end in edges:
        both = [math.nan if value is None else value for value in (values[start], values[end])]
        axes.plot((start, end), both, ":" if end in hollow else "-", color=LINE)
    for number, value in enumerate(values):
        if value is not None:
            axes.plot(number, value, "o", color=LINE, markerfacecolor="white" if number in hollow else LINE)


def table(history: Sequence[Promoted], metric: str) -> Table:
    rows = Table("version", "promoted", "p95", "change", "against", metric, "")
    for each in history[-20:]:  # the picture has all
        score = "" if each.metric is None else f"{each.metric:.4g}"
        back = "champion" if each.champion else "rolled back" if each.rolled_back else ""
        p95 = amount(each.p95, "ms"), percent(each.change), each.baseline
        rows.add_row(*map(escape, (each.version, each.day, *p95, score, back)))
    return rows


def main() -> int:
    try:
        settings = load_settings()
        name, metric = settings.project.name, settings.quality.metric
        client = registry.connect(name)
        if not (history := read(client, name, metric)):
            print(f"Cannot draw a history: no version of {name} was promoted yet; run `make pipeline`", file=sys.stderr)
            return 3
        champion, links = registry.find(client, name, registry.CHAMPION), chain(history)
        way = path(links, str(champion.version) if champion and str(champion.version) in links else history[-1].version)
        PICTURE.parent.mkdir(exist_ok=True)
        draw(history, way, metric, METRICS[settings.data.task][metric]).savefig(PICTURE, dpi=150)
    except (SettingsError, MlflowException, OSError) as error:
        print(f"Cannot draw a history: {registry.complaint(error)}", file=sys.stderr)
        return 3
    Console(highlight=False).print(table(history, metric))
    print(f"{headline(links, way)}.\nWritten: {PICTURE}")
    return 0


if __name__ == "__main__":
    command.end(main)
