"""The picture of latency over the time of the measurement."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from perf.report.canvas import BAD, COLOURS, DASHES, GRID, NARROW, SOFT, Picture, canvas, milliseconds, svg
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
    result: list[Span] = []
    for r, by_arm in zip(report.rounds, samples, strict=False):  # an interrupt may have come between the two
        planned = r.candidate.intended / r.candidate.target if r.candidate.target > 0 else 0.0
        last = max((float(np.max(of_arm.start)) for of_arm in by_arm.values() if of_arm.start.size), default=0.0)
        begin = result[-1].end if result else 0.0
        result.append(Span(r, begin, begin + (max(planned, last) or 1.0), by_arm))
    return result


def binned(rounds: Sequence[Span], arm: str, most: int) -> Bins:
    """At most `most` bins, or one a round; fewer where there are fewer requests. No bin is of two rounds."""
    parts = [_of_round(span, arm, max(1, most // len(rounds))) for span in rounds]
    return Bins(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _of_round(span: Span, arm: str, most: int) -> Bins:
    start, latency, ok = (getattr(span.samples.get(arm), name, np.empty(0)) for name in ("start", "latency", "ok"))
    count = min(most, max(1, start.size // FEWEST))
    edges = np.linspace(span.begin, span.end, count + 1)
    place = np.clip(np.digitize(start + span.begin, edges) - 1, 0, count - 1)
    good = (ok > 0) & np.isfinite(latency)
    figures = np.full((4, count + 2), math.nan)
    for index in range(count if start.size else 0):
        here = place == index
        if (here & good).any():
            figures[:3, index] = np.quantile(latency[here & good], (0.5, 0.95, 1.0))
        figures[3, index] = np.count_nonzero(here & (ok == 0))
    figures[:2, count] = figures[:2, count - 1]  # so that lines go on to the end of the round; then there is a gap
    return Bins(np.append(edges, edges[-1]), *figures)


def timeline(report: Report, samples: Sequence[Mapping[str, Samples]]) -> Picture | None:
    """The picture, once for wide screens and once for narrow ones; None where no request was answered."""
    rounds, drawn, failed = spans(report, samples), Markup(), False
    for kind, (size, most) in SIZES.items():
        by_arm = {arm: binned(rounds, arm, most) for arm in COLOURS if any(arm in span.samples for span in rounds)}
        if not any(np.isfinite(bins.slowest).any() for bins in by_arm.values()):
            return None
        failed = any(np.nansum(bins.errors) for bins in by_arm.values())
        drawn += Markup('<div class="on-{}">{}</div>').format(kind, _draw(rounds, by_arm, kind, size))
    title, caption = "Over time: a drift, a step or a stall would show", "From"
    if report.baseline is not None:
        title += "; in both versions at once it is the machine's"
        caption = Markup('<b class="baseline">Baseline</b>, dashed, and <b class="candidate">candidate</b>: from')
    caption += " the median (lower line) to p95 (upper line) of short spans of time; dots are the slowest request of "
    caption += "each. Restarts between rounds are left out, and shaded rounds were dropped."
    if failed:
        caption += Markup(' <b class="bad">Marks at the bottom</b>: requests that failed.')
    return Picture(title, drawn, caption, "whole")


def _draw(rounds: Sequence[Span], by_arm: Mapping[str, Bins], kind: str, size: tuple[float, float]) -> Markup:
    shown = np.concatenate([np.ravel((bins.median, bins.slowest)) for bins in by_arm.values()])
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    with canvas(size) as (figure, axes):
        wide = milliseconds(axes, "y", low, high)
        axes.set_ylim(low / 1.3 if wide else 0, high * (1.3 if wide else 1.1) or 1.0)
        axes.set_xlim(0, rounds[-1].end)
        _frame_rounds(axes, rounds, size[0])
        for name, bins in by_arm.items():
            style: dict[str, Any] = {"color": COLOURS[name], "where": "post", "dashes": DASHES[name]}
            axes.fill_between(
                bins.edges, bins.median, bins.p95, step="post", color=COLOURS[name], alpha=0.18, linewidth=0
            )
            axes.step(bins.edges, bins.median, linewidth=0.8, **style)
            axes.step(bins.edges, bins.p95, linewidth=1.4, **style)
            middles = bins.edges + np.diff(bins.edges, append=bins.edges[-1]) / 2
            axes.plot(middles, bins.slowest, ".", color=COLOURS[name], alpha=0.85, markersize=5, markeredgewidth=0)
            failed = middles[np.nan_to_num(bins.errors) > 0]
            axes.plot(failed, 0 * failed, "|", color=BAD, transform=axes.get_xaxis_transform(), zorder=4)
        axes.set_xlabel("seconds under load")
        axes.set_ylabel("latency, ms")
        return svg(figure, f"timeline-{kind}", f"Latency over time, in {len(rounds)} rounds")


def _frame_rounds(axes: Axes, rounds: Sequence[Span], width: float) -> None:
    """Shows where rounds begin, their numbers, and which were dropped, as far as `width` inches have room."""
    letters = len(str(rounds[-1].round.number)) + 1
    above, some = axes.secondary_xaxis("top"), rounds[:: math.ceil(len(rounds) * letters / (9 * width))]
    above.set_xticks([(span.begin + span.end) / 2 for span in some], [str(span.round.number) for span in some])
    above.tick_params(length=0)
    above.spines["top"].set_visible(False)
    above.set_xlabel("round", loc="left", color=SOFT)
    for span in rounds:
        if len(rounds) < 12 * width:
            axes.axvline(span.begin, color=GRID, linewidth=0.8, zorder=0)
        if span.round.dropped:
            axes.axvspan(span.begin, span.end, color=GRID, alpha=0.5, linewidth=0, zorder=0)
