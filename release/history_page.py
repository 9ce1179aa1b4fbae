"""The history of p95 as history.html, one file without a network like report.html, and as a picture."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from perf.report.canvas import BAD, BASELINE, CANDIDATE, GOOD, GRID, INK, WARN, canvas, svg
from perf.report.canvas import framed as captioned
from perf.report.page import cell, document, framed, listed
from perf.report.wording import amount, percent
from release import trend as words
from release.chain import Point, Promoted
from release.trend import Trend

METHOD = """Every load test runs the new version and the one in production on one machine at the same time. The chain
multiplies the changes that it measured, so it holds across machines; milliseconds of two machines do not compare. The
grey funnel is where noise alone would have led in 95 of 100 cases. The single changes are searched for steps, and for
stretches of small ones in one direction; where there are none at all, the milliseconds are, if one machine measured
them. Of 100 histories without a shift, up to 5 show one all the same."""


class Palette(NamedTuple):
    ink: str
    grid: str
    chain: str
    slower: str
    faster: str
    machines: tuple[str, ...]


Draw = Callable[[Axes, Trend, Palette], None]
PAGE = Palette(INK, GRID, CANDIDATE, BAD, GOOD, (CANDIDATE, BASELINE, WARN, GOOD, BAD))
PAPER = Palette(
    "#1f2328", "#d1d9e0", "#0969da", "#cf222e", "#1a7f37", ("#0969da", "#8250df", "#9a6700", "#1a7f37", "#cf222e")
)
MARKERS = "osD^v"
OTHERS = "other machines"


def page(trend: Trend) -> str:
    """The whole of history.html."""
    first, last = trend.points[0].promoted, trend.points[-1].promoted
    count = len(trend.points)
    span = first.at[:10] if count == 1 else f"{first.at[:10]} to {last.at[:10]}"
    subtitle = f"{count} {'version' if count == 1 else 'versions'} promoted, {span}."
    parts = [
        f"<h1>{escape(words.headline(trend))}</h1>",
        f'<p class="soft">{escape(subtitle)}</p>',
        *listed([*words.drifts(trend), *words.shifts(trend), *words.breaks(trend)]),
        '<div class="pictures">',
        *(_drawn(trend, *drawing) for drawing in _drawings(trend)),
        "</div>",
        "<h2>Versions</h2>" + _table(trend.points),
        f"<h2>Method</h2><p>{' '.join(METHOD.split())}</p>",
    ]
    return document(f"{trend.project}: history of p95", parts)


def _drawn(trend: Trend, draw: Draw, name: str, title: str) -> str:
    with canvas() as (figure, axes):
        draw(axes, trend, PAGE)
        return captioned(title, svg(figure, name, title), "")


def picture(trend: Trend, path: Path) -> None:
    """Writes both pictures as one PNG."""
    drawings = _drawings(trend)
    figure = Figure(figsize=(8, 1 + 3.25 * len(drawings)), layout="constrained")
    for axes, (draw, _, _) in zip(
        figure.subplots(len(drawings), sharex=True, squeeze=False)[:, 0], drawings, strict=True
    ):
        draw(axes, trend, PAPER)
        axes.label_outer()
    figure.suptitle(words.headline(trend), color=PAPER.ink, parse_math=False, wrap=True)
    _dress(figure, PAPER.ink)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _dress(figure: Figure, ink: str) -> None:
    """Lines and letters in one colour, save for texts that have one of their own; no frame above and to the right."""
    for axes in figure.axes:
        axes.tick_params(colors=ink)
        axes.xaxis.label.set_color(ink)
        axes.yaxis.label.set_color(ink)
        legend = axes.get_legend()
        for text in [*axes.texts, *(legend.get_texts() if legend else ())]:
            text.set_color(ink if text.get_color() == "black" else text.get_color())
        for side, spine in axes.spines.items():
            spine.set_visible(side in {"left", "bottom"})
            spine.set_color(ink)


def _drawings(trend: Trend) -> list[tuple[Draw, str, str]]:
    """What there is to draw, with a short name and a title."""
    chain = (draw_chain, "chain", "p95 along the versions, in percent")
    p95 = (draw_p95, "p95", "p95 in milliseconds, by machine")
    return [chain, p95] if any(point.before for point in trend.points) else [p95]


def draw_chain(axes: Axes, trend: Trend, palette: Palette) -> None:
    """The chain in percent of its start; hollow where a version was rolled back."""
    if trend.noise is not None:
        _funnel(axes, trend.path, trend.noise, palette)
    axes.axhline(100, color=palette.grid, linewidth=0.8, zorder=0)
    main = {point.place for point in trend.path}
    for point in trend.points:
        if point.before is not None:
            line = ":" if point.promoted.rolled_back and point.place not in main else "-"
            ends = (point.before, point)
            axes.plot([p.place for p in ends], [100 * p.level for p in ends], line, color=palette.chain, linewidth=1.2)
        inside = "none" if point.promoted.rolled_back and point.place not in main else palette.chain
        axes.plot(point.place, 100 * point.level, "o", color=palette.chain, markerfacecolor=inside, markersize=4)
    if trend.searched is trend.path:
        _mark(axes, trend, palette)
    end = trend.path[-1]
    if end.before is not None:
        text, at = f"{100 * end.level:.0f} %", (end.place, 100 * end.level)
        axes.annotate(text, at, (7, 0), textcoords="offset points", va="center", color=palette.chain)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 90), max(high, 110))  # noise shall look like noise
    _places(axes, trend.points)
    axes.set_ylabel(f"p95, % of version {trend.path[0].promoted.version}", parse_math=False)


def _funnel(axes: Axes, path: Sequence[Point], noise: float, palette: Palette) -> None:
    reach = [1.96 * noise * math.sqrt(number) for number in range(len(path))]
    low, high = ([100 * path[0].level * math.exp(way * each) for each in reach] for way in (-1, 1))
    axes.fill_between([point.place for point in path], low, high, color=palette.grid, alpha=0.35, linewidth=0)


def draw_p95(axes: Axes, trend: Trend, palette: Palette) -> None:
    """p95 in milliseconds, with a mark of its own for each machine."""
    machines = _machines([point.promoted for point in trend.points])
    for number, machine in enumerate(machines):
        own = [p for p in trend.points if p.promoted.p95 is not None and _named(p.promoted, machines) == machine]
        marker, colour = (MARKERS[number], palette.machines[number]) if number < len(MARKERS) else ("x", palette.ink)
        values = [point.promoted.p95 for point in own]
        axes.plot([point.place for point in own], values, marker, color=colour, markersize=4, label=machine)
    if trend.searched is not trend.path:
        _mark(axes, trend, palette)
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    _places(axes, trend.points)
    axes.set_ylabel("p95 of POST /predict, ms")
    if machines:
        with rc_context({"text.parse_math": False}):
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize="small", borderpad=0)


def _machine(promoted: Promoted) -> str:
    """The name of a machine as letters that every font has."""
    name = " ".join(promoted.machine.encode("ascii", "replace").decode().split()).strip("_")
    return (name if len(name) <= 48 else name[:47].rstrip() + "...") or "unknown machine"


def _machines(history: Sequence[Promoted]) -> list[str]:
    """Those that measured, the busiest first; the last stands for all that have no mark of their own."""
    counted = Counter(_machine(each) for each in history if each.p95 is not None)
    found = [name for name, _ in counted.most_common()]
    return found if len(found) <= len(MARKERS) else [*found[: len(MARKERS)], OTHERS]


def _named(promoted: Promoted, machines: Sequence[str]) -> str:
    name = _machine(promoted)
    return name if name in machines else OTHERS


def _mark(axes: Axes, trend: Trend, palette: Palette) -> None:
    """Shades each shift and writes its size above, one a line higher than the last where they are close."""
    height, last = 0, -math.inf
    for shift in trend.shifts:
        first, second = (trend.searched[place].place for place in (shift.first, shift.last))
        colour = palette.slower if shift.size > 0 else palette.faster
        axes.axvspan(first, second, color=colour, alpha=0.18, linewidth=0)
        middle = (first + second) / 2
        height = (height + 1) % 3 if middle - last < 0.14 * len(trend.points) else 0
        last = middle
        axes.annotate(
            percent(math.expm1(shift.size)),
            (middle, 1),
            (0, 2 + 11 * height),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=colour,
        )


def _places(axes: Axes, points: Sequence[Point]) -> None:
    """Ticks where versions are, named by their numbers, which may have gaps."""
    names = [point.promoted.version for point in points]

    def name(place: float, _: int) -> str:
        return names[round(place)]

    axes.set_xlim(-0.5, 1.1 * (len(points) - 1) + 0.5)  # with room for the last level
    axes.xaxis.set_major_locator(FixedLocator(range(0, len(points), math.ceil(len(points) / 10))))
    axes.xaxis.set_major_formatter(FuncFormatter(name))
    axes.set_xlabel("version, in the order of promotion")


def _table(points: Sequence[Point]) -> str:
    heads = ["version", "promoted, UTC", "by", "commit", "p95", "change", "interval", "machine", "against", ""]
    rows = [f"<tr>{_row(point.promoted)}</tr>" for point in reversed(points)]
    return framed("The versions", heads, rows)


def _row(promoted: Promoted) -> str:
    ends = (promoted.low, promoted.high)
    texts = (
        promoted.version,
        promoted.at[:16].replace("T", " "),
        promoted.by,
        promoted.commit[:7],
        amount(promoted.p95, "ms"),
        percent(promoted.change),
        " … ".join(map(percent, ends)) if None not in ends else "",
        promoted.machine,
        promoted.baseline,
        f"rolled back {promoted.rolled_back}" if promoted.rolled_back else "",
    )
    return "".join(map(cell, texts))
