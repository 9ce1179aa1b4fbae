"""The pictures of report.html: how latencies are distributed, what each round said, and, in timeline.py, the course."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from perf.report.canvas import (
    BAD,
    CANDIDATE,
    COLOURS,
    DASHES,
    GOOD,
    GRID,
    INK,
    MARKERS,
    SOFT,
    Picture,
    canvas,
    milliseconds,
    svg,
)
from perf.report.timeline import timeline
from perf.rule.estimate import estimate, levels_at, log, log_ratio
from perf.rule.judge import bounds
from perf.rule.rounds import Samples
from perf.rule.wording import MINUS, NAMES, amount, percent
from perf.verdict import Report, Round

Floats = NDArray[np.float64]
OUTSIDE: dict[str, Any] = {"textcoords": "offset points", "annotation_clip": False}  # a label beside the axes


def pictures(report: Report, samples: Sequence[Mapping[str, Samples]]) -> list[Picture]:
    """All that there is something to draw for. `samples`: of each round, by arm."""
    latencies = {arm: answered(report.rounds, samples, arm) for arm in COLOURS}
    drawn = (distribution(latencies), narrowing(report), timeline(report, samples))
    return [picture for picture in drawn if picture is not None]


def answered(rounds: Sequence[Round], samples: Sequence[Mapping[str, Samples]], arm: str) -> Floats:
    """The latencies of an arm in all rounds that count, in milliseconds."""
    parts = [by_arm[arm] for r, by_arm in zip(rounds, samples, strict=False) if not r.dropped and arm in by_arm]
    latency = np.concatenate([np.empty(0), *(each.latency[each.ok] for each in parts)])
    return np.asarray(latency[np.isfinite(latency)])


# --- How the latencies are distributed

POINTS = 400  # of a curve: more than a screen can show
MARKS = (0.5, 0.95, 0.99)


def distribution(latencies: Mapping[str, Floats]) -> Picture | None:
    """The share of requests answered within a time, on a scale that gives the tail its room.

    `latencies`: milliseconds, by arm.
    """
    latencies = {name: values for name, values in latencies.items() if values.size}
    if not latencies:
        return None
    steps = 1 / (1 + np.exp(-np.linspace(-4.6, 6.9, POINTS)))  # from 1 % to 99.9 %, evenly spaced on that scale
    curves = {name: np.quantile(values, steps) for name, values in latencies.items()}
    marks = {name: np.quantile(values, MARKS) for name, values in latencies.items()}
    low, high = min(curve[0] for curve in curves.values()), max(curve[-1] for curve in curves.values())
    with canvas() as (figure, axes):
        milliseconds(axes, "x", low, high)
        for mark in MARKS:
            axes.axhline(mark, color=GRID, linewidth=0.8, zorder=0)
        for name, curve in curves.items():
            style: dict[str, Any] = {"color": COLOURS[name], "marker": MARKERS[name], "dashes": DASHES[name]}
            axes.plot(curve, steps, **style | {"marker": ""})
            axes.plot(marks[name], MARKS, **style, linewidth=0, markersize=5)
            axes.plot([], [], **style, markersize=5, label=name)
        axes.set_yscale("logit")
        axes.set_ylim(0.01, 0.999)
        axes.yaxis.set_major_locator(FixedLocator([0.1, *MARKS, 0.999]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"p{100 * share:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("answered within, ms")
        axes.legend(loc="lower right", frameon=False)
        drawn = svg(figure, "distribution", "Distribution of the latencies")
    each = " of each version" if len(curves) > 1 else ""
    count = max(values.size for values in latencies.values())
    caption = f"{count:,} answered requests{each}, of all rounds that count. The table has means over rounds."
    return Picture("The further right a curve, the slower; the tail is at the top", drawn, caption)


# --- What each round said, and how sure the gate was after it

FAR = 4.0  # times what was measured: a limit beyond that is named, lest it flatten the rest


class Step(NamedTuple):
    """What all rounds up to one said together: shares (the change less one) or milliseconds."""

    number: int  # of the round
    kept: int  # rounds that count until then
    mean: float
    low: float
    high: float


def figure_of(r: Round, report: Report) -> float | None:
    """What one round says: the change of p95, or without a baseline p95 from the intended start, in ms."""
    logarithm = _logarithm(r, report)
    return _back(logarithm, report) if math.isfinite(logarithm) else None


def _logarithm(r: Round, report: Report) -> float:
    return (
        log_ratio(r.candidate.p95, r.baseline.p95 if r.baseline else None)
        if report.baseline
        else log(r.candidate.p95_due)
    )


def _back(logarithm: float, report: Report) -> float:
    return math.expm1(logarithm) if report.baseline else math.exp(logarithm)


def steps_of(report: Report) -> list[Step]:
    """The estimate after each round that counts, with the bounds of the decision it was on the way to."""
    kept = [r for r in report.rounds if not r.dropped]
    values, decide_after = [_logarithm(r, report) for r in kept], report.decide_after or [len(kept)]
    estimates = [estimate(values[:count], levels_at(count, decide_after)) for count in range(1, len(kept) + 1)]
    return [
        Step(r.number, count, *(_back(v, report) for v in each[:3]))
        for count, (r, each) in enumerate(zip(kept, estimates, strict=True), 1)
        if each
    ]


def narrowing(report: Report) -> Picture | None:
    """The figure of each round, the estimate and its bounds after it, and the limit; None where there is no figure."""
    points = [(r, value) for r in report.rounds if (value := figure_of(r, report)) is not None]
    if not points:
        return None
    steps, paired = steps_of(report), report.baseline is not None
    limits = _limits(report)
    limit = max(limits, default=None)
    measured = [value for _, value in points] + ([steps[-1].mean] if steps else [])
    far = limit is not None and limit > FAR * max(measured) and not paired
    shown = [*measured, 0.0, *([] if limit is None or far else [limit])]
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    if (
        steps
    ):  # the first bounds can be a million times off, so the band may leave the axis; what the rounds say may not
        low, high = max(min(low, steps[-1].low), low - span), min(max(high, steps[-1].high), high + span)
    margin = 0.08 * (high - low)
    with canvas() as (figure, axes):
        axes.set_ylim(low - margin if paired else 0.0, high + margin)
        _draw_steps(axes, report, steps)
        for dropped, marker, colour in ((True, "x", SOFT), (False, "o", CANDIDATE)):
            some = [(float(r.number), value) for r, value in points if bool(r.dropped) == dropped]
            size = 6 if len(points) < 60 else 2.5
            axes.plot(*zip(*some or [(math.nan, 0.0)], strict=True), marker, color=colour, markersize=size)
        if paired:
            axes.axhline(0, color=INK, linewidth=0.8)
        if limit is not None and not far:
            _draw_limits(axes, limits, paired)
        axes.set_xlim(0.5, len(report.rounds) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("round")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value, paired)))
        axes.set_ylabel("p95 against the baseline" if paired else f"{NAMES['p95_due']}, ms")
        title = _title(steps, limits, paired)
        drawn = svg(figure, "narrowing", title)
    caption = "A dot is a round, a cross one that was dropped; the line is the estimate after it, the band its bounds. "
    caption += "At a bar the gate decides, if it can"
    caption += {0: ".", 1: ": all of it below the line passes, all of it above fails."}.get(
        len(limits), ": all of it below the upper line passes, all of it above the lower one fails."
    )
    beyond = f" The limit of {_number(limit, paired)} ms is far above." if limit is not None and far else ""
    return Picture(title, drawn, caption + beyond)


def _draw_steps(axes: Axes, report: Report, steps: Sequence[Step]) -> None:
    """The estimate with its bounds, and a bar from bound to bound where the gate looked.

    Far outside the axis the bounds are cut, because a renderer may not cope.
    """
    bottom, top = axes.get_ylim()
    numbers, beyond = [step.number for step in steps], top - bottom
    low, high = (np.clip([step[side] for step in steps], bottom - beyond, top + beyond) for side in (3, 4))
    axes.fill_between(numbers, low, high, color=CANDIDATE, alpha=0.16, linewidth=0)
    for edge in (low, high):
        axes.plot(numbers, edge, color=CANDIDATE, alpha=0.5, linewidth=0.8)
    axes.plot(numbers, [step.mean for step in steps], color=CANDIDATE, linewidth=1.4)
    for step in steps:
        if step.kept in report.decide_after:
            ends = [max(step.low, bottom), min(step.high, top)]
            axes.plot([step.number] * 2, ends, color=CANDIDATE, linewidth=2, marker="_", markersize=9)


def _limits(report: Report) -> list[float]:
    """What fails above it and what passes below it; one figure where that is the same, none where none is set."""
    if report.baseline is None:
        return [] if report.limits.p95_ms is None else [report.limits.p95_ms]
    if report.limits.max_regression is None:
        return []
    return sorted(set(bounds(report.limits.max_regression, report.accepted.up_to if report.accepted else 0.0)))


def _draw_limits(axes: Axes, limits: Sequence[float], paired: bool) -> None:
    """A line for the only limit, or one for what fails above it and one for what passes below it."""
    texts = ("limit",) if len(limits) == 1 else ("fails above", "passes below")
    sides, colours = (("center",), (BAD,)) if len(limits) == 1 else (("top", "bottom"), (BAD, GOOD))
    for height, text, side, colour in zip(limits, texts, sides, colours, strict=True):
        axes.axhline(height, color=colour, linewidth=1.2, linestyle="--")
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": side, "color": colour}
        axes.annotate(f"{text}\n{_number(height, paired, ' ms')}", (1, height), (4, 0), **place, **OUTSIDE)


def _number(value: float, paired: bool, unit: str = "") -> str:
    """A limit, or a figure at the axis."""
    if not paired:
        return f"{value:,.10g}{unit}"
    sign = "+" if value > 1e-9 else MINUS if value < -1e-9 else ""
    return f"{sign}{100 * abs(value) if sign else 0:,.10g} %"


def _title(steps: Sequence[Step], limits: Sequence[float], paired: bool) -> str:
    """What the last bounds say about the limits."""
    what = "The change of p95" if paired else NAMES["p95_due"]
    if not steps:
        return f"{what}, round by round: too few rounds that count for bounds"
    last = steps[-1]
    size = f"{what} is {percent(last.mean) if paired else amount(last.mean, 'ms')}"
    if not limits:
        return f"{size}; it has no limit"
    fails, passes = _number(limits[0], paired, " ms"), f"the limit of {_number(limits[-1], paired, ' ms')}"
    if last.high <= limits[-1]:
        return f"{size}, surely below {passes}"
    if last.low > limits[0]:
        return f"{size}, surely above {passes if len(limits) == 1 else fails}"
    return f"{size}, surely neither below {passes} nor above {'it' if len(limits) == 1 else fails}"
