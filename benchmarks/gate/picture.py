"""The operating curve: false alarms against detection, as each rule is made stricter or laxer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

COLOURS = ("#0969da", "#8250df", "#bf8700", "#cf222e", "#1a7f37", "#57606a")
GRID = "#d1d9e0"


class Line(NamedTuple):
    """A rule: shares of false alarms and of slow candidates caught, at each strictness, and as it is used."""

    points: Sequence[tuple[float, float]]
    used: tuple[float, float]


def draw(panels: Mapping[str, Mapping[str, Line]], caught: str, path: Path) -> None:
    """Writes a picture with one panel for each condition, and in it one line for each rule."""
    figure = Figure(figsize=(10, 5.2))
    figure.set_layout_engine("constrained", wspace=0.06)  # "100 %" of one axis would touch "0 %" of the next
    for n, (axes, (title, lines)) in enumerate(
        zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True)
    ):
        _panel(axes, lines)
        axes.set_title(title, loc="left", fontsize="medium")
        axes.set_xlabel("false alarms: the same code fails")
        if n == 0:
            axes.set_ylabel(f"caught: {caught}")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _panel(axes: Axes, lines: Mapping[str, Line]) -> None:
    for n, (name, line) in enumerate(lines.items()):
        colour, first = COLOURS[n % len(COLOURS)], n == 0
        points = sorted(line.points)
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=2.4 if first else 1.2, zorder=3 if first else 2)
        marker, size = ("o", 9) if first else ("s", 6)
        axes.plot(*line.used, marker, color=colour, markersize=size, label=name, zorder=4, clip_on=False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.grid(color=GRID, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
