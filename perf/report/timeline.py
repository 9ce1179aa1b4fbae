"""The picture of latency over the time of the measurement."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from perf.report.canvas import BAD, COLOURS, DASHES, GRID, INK, NARROW, SOFT, canvas, framed, milliseconds, named, svg
from perf.rule.rounds import Samples
from perf.verdict import Report, Round

FEWEST = 40  # requests for a p95 of their own
SIZES = {"wide": ((10.0, 3.6), 240), "narrow": (NARROW, 96)}  # inches, and the most bins that so much width can show

Floats = NDArray[np.float64]


class Span(NamedTuple):
    """A round on the axis of time. Seconds since the first round began, without the time between rounds."""

    round: Round
    begin: float
    end: float
    samples: Mapping[str, Samples]


class Bins(NamedTuple):
    """Quantiles of the answered requests in bins of time, in ms: NaN where there are none, and between rounds."""

    edges: Floats  # of the bins, in seconds; what the others hold is valid until the next
    median: Floats
    p95: Floats
    slowest: Floats
    errors: Floats  # requests


def spans(report: Report, samples: Sequence[Mapping[str, Samples]]) -> list[Span]:
    """The rounds one after the other."""
    found: list[Span] = []
    for r, by_arm in zip(report.rounds, samples, strict=False):  # an interrupt may have come between the two
        planned = r.candidate.intended / r.candidate.target if r.candidate.target > 0 else 0.0
        last = max((float(np.max(of_arm.start)) for of_arm in by_arm.values() if of_arm.start.size), default=0.0)
        begin = found[-1].end if found else 0.0
        found.append(Span(r, begin, begin + (max(planned, last) or 1.0), by_arm))
    return found


def binned(rounds: Sequence[Span], arm: str, most: int) -> Bins:
    """At most `most` bins, or one a round; fewer where there are fewer requests. No bin is of two rounds."""
    parts = [_of_round(span, arm, max(1, most // len(rounds))) for span in rounds]
    return Bins(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _of_round(span: Span, arm: str, most: int) -> Bins:
    of_arm = span.samples.get(arm)
    count = 1 if of_arm is None else min(most, max(1, of_arm.start.size // FEWEST))
    edges = np.linspace(span.begin, span.end, count + 1)
    figures = np.full((4, count + 2), math.nan)
    if of_arm is not None:
        order = np.argsort(of_arm.start)
        starts, latency, ok = of_arm.start[order] + span.begin, of_arm.latency[order], of_arm.ok[order]
        for index, (each, fine) in enumerate(
            zip(*(np.split(column, np.searchsorted(starts, edges[1:-1])) for column in (latency, ok)), strict=True)
        ):
            good = each[fine & np.isfinite(each)]
            if good.size:
                figures[:3, index] = np.quantile(good, (0.5, 0.95, 1.0))
            figures[3, index] = np.count_nonzero(~fine)
    figures[:2, count] = figures[:2, count - 1]  # so that lines go on to the end of the round; then there is a gap
    return Bins(np.append(edges, edges[-1]), *figures)


def draw_timeline(report: Report, samples: Sequence[Mapping[str, Samples]]) -> str:
    """The picture, once for wide screens and once for narrow ones; nothing where no request was answered."""
    rounds = spans(report, samples)
    drawn, found = "", {}
    for kind, (size, most) in SIZES.items():
        found = {arm: binned(rounds, arm, most) for arm in COLOURS if any(arm in span.samples for span in rounds)}
        if not any(np.isfinite(bins.slowest).any() for bins in found.values()):
            return ""
        drawn += f'<div class="on-{kind}">{_draw(rounds, found, kind, size)}</div>'
    errors = any(np.nansum(bins.errors) for bins in found.values())
    names = " and ".join(named(name) + (", dashed" if DASHES[name] else "") for name in found)
    caption = f"{names}: from the median (lower line) to p95 (upper line) of short spans of time; dots are the slowest "
    caption += "request of each. Restarts between rounds are left out."
    caption += " Shaded rounds were dropped." if any(span.round.dropped for span in rounds) else ""
    caption += ' <b class="bad">Marks at the bottom</b>: requests that failed.' if errors else ""
    title = "Over time: a drift, a step or a stall would show; in both versions at once it is the machine's"
    if report.baseline is None:
        title = "Over time: a drift, a step or a stall would show"
    return framed(title, drawn, caption, "whole")


def _draw(rounds: Sequence[Span], found: Mapping[str, Bins], kind: str, size: tuple[float, float]) -> str:
    shown = np.concatenate([np.ravel((bins.median, bins.slowest)) for bins in found.values()])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    with canvas(size) as (figure, axes):
        if milliseconds(axes, "y", low, high):
            axes.set_ylim(low / 1.3, high * 1.3)
        else:
            axes.set_ylim(0, high * 1.1 or 1.0)
        axes.set_xlim(0, rounds[-1].end)
        _frame_rounds(axes, rounds, size[0])
        for name, bins in found.items():
            colour, dashes = COLOURS[name], DASHES[name]
            axes.fill_between(bins.edges, bins.median, bins.p95, step="post", color=colour, alpha=0.18, linewidth=0)
            axes.step(bins.edges, bins.median, where="post", color=colour, linewidth=0.8, dashes=dashes)
            axes.step(bins.edges, bins.p95, where="post", color=colour, linewidth=1.4, dashes=dashes)
            middles = bins.edges + np.diff(bins.edges, append=bins.edges[-1]) / 2
            axes.plot(middles, bins.slowest, ".", color=colour, alpha=0.85, markersize=5, markeredgewidth=0)
            failed = np.nan_to_num(bins.errors) > 0
            axes.plot(
                middles[failed], np.zeros(failed.sum()), "|", color=BAD, transform=axes.get_xaxis_transform(), zorder=4
            )
        axes.set_xlabel("seconds under load")
        axes.set_ylabel("latency, ms")
        return svg(figure, f"timeline-{kind}", f"Latency over time, in {len(rounds)} rounds")


def _frame_rounds(axes: Axes, rounds: Sequence[Span], width: float) -> None:
    """Shows where rounds begin, their numbers, and which were dropped, as far as `width` inches have room."""
    letters = len(str(rounds[-1].round.number)) + 1
    every = math.ceil(len(rounds) * letters / (9 * width))
    for index, span in enumerate(rounds):
        above: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
        middle = (span.begin + span.end) / 2
        if len(rounds) < 12 * width:
            axes.axvline(span.begin, color=GRID, linewidth=0.8, zorder=0)
        if index % every == 0:
            axes.annotate(str(span.round.number), (middle, 1), xytext=(0, 9), color=SOFT, **above)
        if span.round.dropped:
            axes.axvspan(span.begin, span.end, color=GRID, alpha=0.5, linewidth=0, zorder=0)
        if span.round.dropped and len(rounds) < 3.5 * width:
            axes.annotate("dropped", (middle, 1), xytext=(0, -3), va="top", rotation=90, color=INK, **above)
    axes.annotate(
        "round", (0, 1), xycoords="axes fraction", xytext=(-4, 9), textcoords="offset points", ha="right", color=SOFT
    )
