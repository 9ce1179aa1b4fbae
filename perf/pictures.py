"""The pictures of report.html, as SVG that takes its colours from the page."""

import io
import math
from collections.abc import Mapping
from html import escape

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from perf.verdict import Report, Round

# Colours that matplotlib is given and that the style sheet then takes over, so that pictures follow the reader's theme.
INK, GRID, CANDIDATE, BASELINE, BAD = "#010203", "#010204", "#010205", "#010206", "#010207"
GOOD, WARN = "#010208", "#010209"
VARIABLES = {INK: "--ink", GRID: "--grid", CANDIDATE: "--candidate", BASELINE: "--baseline", BAD: "--bad"}
VARIABLES |= {GOOD: "--good", WARN: "--warn"}
POINTS = 400  # of a distribution: more than a screen can show
MARKS = (0.5, 0.95, 0.99)


def ratio(r: Round) -> float | None:
    """Candidate's p95 over baseline's, of one round."""
    base = r.baseline.p95 if r.baseline else None
    return r.candidate.p95 / base if r.candidate.p95 and base else None


def draw_latencies(latencies: Mapping[str, NDArray[np.float64]]) -> str:
    """The share of requests that were answered within a time, for each arm, on a scale that gives the tail its room."""
    figure = Figure(figsize=(5.2, 3.6))
    axes = figure.add_subplot()
    steps = 1 / (1 + np.exp(-np.linspace(-4.6, 6.9, POINTS)))  # from 1 % to 99.9 %, evenly spaced on that scale
    for name, colour in (("baseline", BASELINE), ("candidate", CANDIDATE)):
        values = latencies.get(name)
        if values is None or not values.size:
            continue
        axes.plot(np.quantile(values, steps), steps, color=colour, label=name)
        axes.plot(np.quantile(values, MARKS), MARKS, "o", color=colour, markersize=5)
    for mark in MARKS:
        axes.axhline(mark, color=GRID, linewidth=0.8, zorder=0)
    low, high = axes.get_xlim()
    if high > 8 * max(low, 0.1):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yscale("logit")
    axes.set_ylim(0.01, 0.999)
    axes.yaxis.set_major_locator(FixedLocator([0.1, *MARKS, 0.999]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"p{100 * share:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("answered within, ms")
    axes.legend(loc="lower right", frameon=False)
    return svg(figure, "latencies", "Latencies of all rounds that count")


def shown(r: Round, report: Report) -> float | None:
    """What the picture of the rounds shows of one: percent against the baseline, or milliseconds without one."""
    if report.baseline is None:
        return r.candidate.p95_due
    found = ratio(r)
    return 100 * (found - 1) if found is not None else None


def draw_rounds(report: Report) -> str:
    """Each round, the estimate over them with its interval, and the limit: of p95's change, or of p95 itself.

    A limit far above all that was measured is named at the axis, lest it flatten the rest.
    """
    figure = Figure(figsize=(5.2, 3.6))
    axes = figure.add_subplot()
    for r in report.rounds:
        value = shown(r, report)
        if value is not None:
            axes.plot(r.number, value, "x" if r.dropped else "o", color=GRID if r.dropped else CANDIDATE)
    paired = report.baseline is not None
    scale = 100 if paired else 1
    row = next(
        row for row in report.criteria if row.name == ("p95 latency" if paired else "p95 from the intended start")
    )
    middle = row.change if paired else row.candidate
    if middle is not None and row.interval is not None and all(map(math.isfinite, row.interval)):
        low, high = (scale * value for value in row.interval)
        axes.axhspan(low, high, color=CANDIDATE, alpha=0.15, linewidth=0)
        axes.axhline(scale * middle, color=CANDIDATE, linewidth=1.2)
    if paired:
        axes.axhline(0, color=INK, linewidth=0.8)
    else:
        axes.set_ylim(bottom=0)
    far = ""
    if row.limit is not None and not paired and row.limit > 4 * axes.get_ylim()[1]:
        far = f" (limit {row.limit:g})"
    elif row.limit is not None:
        axes.axhline(scale * row.limit, color=BAD, linewidth=1.2, linestyle="--")
        axes.annotate(
            "limit",
            (1, scale * row.limit),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=BAD,
        )
    axes.set_xlim(0.5, len(report.rounds) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round")
    axes.set_ylabel("p95 against the baseline, %" if paired else "p95 from the intended start, ms" + far)
    return svg(figure, "rounds", "Each round, and the interval over all of them")


def dress(figure: Figure, ink: str) -> None:
    """Lines and letters in one colour, save for texts that have one of their own; no frame above and to the right."""
    for axes in figure.axes:
        axes.set_facecolor("none")
        axes.tick_params(colors=ink)
        axes.xaxis.label.set_color(ink)
        axes.yaxis.label.set_color(ink)
        legend = axes.get_legend()
        for text in [*axes.texts, *(legend.get_texts() if legend else ())]:
            text.set_color(ink if text.get_color() == "black" else text.get_color())
        for side, spine in axes.spines.items():
            spine.set_visible(side in {"left", "bottom"})
            spine.set_color(ink)


def svg(figure: Figure, name: str, title: str) -> str:
    """The figure as inline SVG, in the colours of the page and with text as text."""
    dress(figure, INK)
    figure.patch.set_alpha(0)
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata=nothing)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for colour, variable in VARIABLES.items():
        drawn = drawn.replace(colour, f"var({variable})")
    words = escape(title)
    drawn = drawn.replace("<svg", f'<svg role="img" aria-label="{words}"', 1)
    return f"<figure><h2>{words}</h2>{drawn}</figure>"
