"""The picture of how the latencies of each arm are distributed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from perf.report.canvas import COLOURS, DASHES, GRID, MARKERS, canvas, framed, milliseconds, svg
from perf.report.wording import amount

POINTS = 400  # of a curve: more than a screen can show
MARKS = (0.5, 0.95, 0.99)
ROOM = 0.2  # of the width, beside the outermost marks, for their labels

Latencies = Mapping[str, NDArray[np.float64]]


def draw_distribution(latencies: Latencies) -> str:
    """The share of requests answered within a time, on a scale that gives the tail its room.

    `latencies`: milliseconds, by arm, at least one in all.
    """
    steps = 1 / (1 + np.exp(-np.linspace(-4.6, 6.9, POINTS)))  # from 1 % to 99.9 %, evenly spaced on that scale
    curves = {name: np.quantile(latencies[name], steps) for name in COLOURS if np.size(latencies.get(name, ()))}
    marks = {name: np.quantile(latencies[name], MARKS) for name in curves}
    low, high = min(curve[0] for curve in curves.values()), max(curve[-1] for curve in curves.values())
    with canvas() as (figure, axes):
        log = milliseconds(axes, "x", low, high)
        for mark in MARKS:
            axes.axhline(mark, color=GRID, linewidth=0.8, zorder=0)
        for name, curve in curves.items():
            style: dict[str, Any] = {"color": COLOURS[name], "marker": MARKERS[name], "dashes": DASHES[name]}
            axes.plot(curve, steps, **style | {"marker": ""})
            axes.plot(marks[name], MARKS, **style, linewidth=0, markersize=5)
            axes.plot([], [], **style, markersize=5, label=name)
        _label(axes, marks)
        axes.set_xlim(*_limits(low, high, list(marks.values()), log))
        axes.set_yscale("logit")
        axes.set_ylim(0.01, 0.999)
        axes.yaxis.set_major_locator(FixedLocator([0.1, *MARKS, 0.999]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"p{100 * share:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("answered within, ms")
        axes.legend(loc="lower right", frameon=False)
        drawn = svg(figure, "distribution", f"Distribution of the latencies. {_words(marks)}")
    title = "The further right a curve, the slower; the tail is at the top"
    count = max(np.size(latencies[name]) for name in curves)
    each = " of each version" if len(curves) > 1 else ""
    caption = f"{count:,} answered requests{each}, of all rounds that count. The table has means over rounds instead."
    return framed(title, drawn, caption)


def _label(axes: Axes, marks: Latencies) -> None:
    """Writes the value beside each mark: of the faster arm up on the left, of the slower down on the right.

    Curves rise, so nothing else is there, and no two labels can meet.
    """
    for index, share in enumerate(MARKS):
        ordered = sorted(marks, key=lambda name: float(marks[name][index]))
        for name in ordered:
            left = len(ordered) > 1 and name == ordered[0]
            axes.annotate(
                _short(marks[name][index]),
                (float(marks[name][index]), share),
                xytext=(-5, 4) if left else (5, -4),
                textcoords="offset points",
                ha="right" if left else "left",
                va="bottom" if left else "top",
                color=COLOURS[name],
                annotation_clip=False,
            )


def _limits(low: float, high: float, marks: Sequence[NDArray[np.float64]], log: bool) -> tuple[float, float]:
    """The ends of an axis that shows all from `low` to `high`, with room for labels beside the marks."""
    there, back = (math.log, math.exp) if log else (float, float)
    first, last = there(min(float(m[0]) for m in marks)), there(max(float(m[-1]) for m in marks))
    room = ROOM / (1 - 2 * ROOM) * (there(high) - there(low)) or max(0.5 * high, 0.01)
    return back(min(there(low), first - room)), back(max(there(high), last + room))


def _short(value: float) -> str:
    return amount(float(value), "ms").removesuffix(" ms")


def _words(marks: Latencies) -> str:
    found = {
        name: ", ".join(f"p{100 * share:g} {_short(value)} ms" for share, value in zip(MARKS, values, strict=True))
        for name, values in marks.items()
    }
    return " ".join(f"The {name}: {text}." for name, text in found.items())
