"""The picture of what each round said, and of how sure the gate was after it."""

import math
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from perf.report.canvas import BAD, CANDIDATE, INK, SOFT, canvas, framed, svg
from perf.report.wording import MINUS, amount, percent
from perf.rule.estimate import estimate, log, log_ratio, look_at
from perf.verdict import Report, Round

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


def narrowing(report: Report) -> list[Step]:
    """The estimate after each round that counts, with the bounds of the look it was on the way to."""
    kept = [r for r in report.rounds if not r.dropped]
    looks = report.looks or [len(kept)]
    values = [_logarithm(r, report) for r in kept]
    steps = []
    for count, r in enumerate(kept, 1):
        found = estimate(values[:count], look_at(count, looks))
        if found is not None:
            mean, low, high = (_back(value, report) for value in (found.mean, found.low, found.high))
            steps.append(Step(r.number, count, mean, low, high))
    return steps


def _logarithm(r: Round, report: Report) -> float:
    if report.baseline is None:
        return log(r.candidate.p95_due)
    return log_ratio(r.candidate.p95, r.baseline.p95 if r.baseline else None)


def _back(logarithm: float, report: Report) -> float:
    return math.exp(logarithm) if report.baseline is None else math.expm1(logarithm)


def draw_narrowing(report: Report) -> str:
    """The picture; nothing where no round has a figure to show."""
    points = [(r, value) for r in report.rounds if (value := figure_of(r, report)) is not None]
    if not points:
        return ""
    steps, paired = narrowing(report), report.baseline is not None
    limit = _limit(report) if paired else report.limits.p95_ms
    bottom, top, far = _range([value for _, value in points], steps, limit, paired)
    with canvas() as (figure, axes):
        _band(axes, steps, bottom, top)
        _looks(axes, report, steps, bottom, top)
        size = 6 if len(points) < 60 else 2.5
        for dropped, marker, colour in ((True, "x", SOFT), (False, "o", CANDIDATE)):
            some = [(r.number, value) for r, value in points if bool(r.dropped) == dropped]
            if some:
                axes.plot(*zip(*some, strict=True), marker, color=colour, markersize=size, markeredgewidth=1.5)
        if paired:
            axes.axhline(0, color=INK, linewidth=0.8)
        if limit is not None and not far:
            most = _number(limit, paired) + ("" if paired else " ms")
            axes.axhline(limit, color=BAD, linewidth=1.2, linestyle="--")
            axes.annotate(
                f"limit\n{most}",
                (1, limit),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=BAD,
            )
        axes.set_xlim(0.5, len(report.rounds) + 0.5)
        axes.set_ylim(bottom, top)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("round")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value, paired)))
        axes.set_ylabel("p95 against the baseline" if paired else "p95 from the intended start, ms")
        drawn = svg(figure, "narrowing", _title(report, steps, limit))
    return framed(_title(report, steps, limit), drawn, _caption(report, steps, limit, far))


def _limit(report: Report) -> float | None:
    """The limit that p95's change was held against: what was accepted, where it was that."""
    return report.accepted.up_to if report.accepted else report.limits.max_regression


def _range(values: list[float], steps: list[Step], limit: float | None, paired: bool) -> tuple[float, float, bool]:
    """Bottom and top of the axis, and whether the limit is far outside.

    The first bounds can be a million times off, so the band may leave the axis; what the rounds say may not.
    """
    last = [steps[-1].mean] if steps else []
    far = limit is not None and limit > FAR * max(values + last) and not paired
    inner = [*values, *last, 0.0, *([] if limit is None or far else [limit])]
    low, high = min(inner), max(inner)
    span = (high - low) or 1.0
    if steps:
        low = max(min(low, steps[-1].low), low - span)
        high = min(max(high, steps[-1].high), high + span)
    margin = 0.08 * (high - low)
    return (low - margin if paired else 0.0), high + margin, far


def _band(axes: Axes, steps: list[Step], bottom: float, top: float) -> None:
    """The estimate with its bounds; far outside the axis they are cut, because a renderer may not cope."""
    if not steps:
        return
    numbers = [step.number for step in steps]
    beyond = top - bottom
    low, high = (
        np.clip([getattr(step, side) for step in steps], bottom - beyond, top + beyond) for side in ("low", "high")
    )
    axes.fill_between(numbers, low, high, color=CANDIDATE, alpha=0.16, linewidth=0)
    for edge in (low, high):
        axes.plot(numbers, edge, color=CANDIDATE, alpha=0.5, linewidth=0.8)
    axes.plot(numbers, [step.mean for step in steps], color=CANDIDATE, linewidth=1.4)


def _looks(axes: Axes, report: Report, steps: list[Step], bottom: float, top: float) -> None:
    """Where the gate looked: a bar from bound to bound, with the number of the look above."""
    labelled = -math.inf
    apart = 0.14 * len(report.rounds)  # of the width that a label takes
    for step in steps:
        if step.kept not in report.looks:
            continue
        low, high = max(step.low, bottom), min(step.high, top)
        axes.plot([step.number] * 2, [low, high], color=CANDIDATE, linewidth=2, marker="_", markersize=9)
        if step.number - labelled >= apart:
            text = f"look {report.looks.index(step.kept) + 1}"
            axes.annotate(
                text,
                (step.number, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                color=SOFT,
            )
            labelled = step.number


def _number(value: float, paired: bool) -> str:
    """A limit, or a figure at the axis."""
    if not paired:
        return f"{value:,.10g}"
    share = f"{100 * abs(value):,.10g} %"
    return f"+{share}" if value > 1e-9 else f"{MINUS}{share}" if value < -1e-9 else "0 %"


def _title(report: Report, steps: list[Step], limit: float | None) -> str:
    """What the last bounds say about the limit."""
    paired = report.baseline is not None
    what = "The change of p95" if paired else "p95 from the intended start"
    if not steps:
        return f"{what}, round by round: too few rounds that count for bounds"
    found = steps[-1]
    size = percent(found.mean) if paired else amount(found.mean, "ms")
    if limit is None:
        return f"{what} is {size}; it has no limit"
    most = _number(limit, paired) + ("" if paired else " ms")
    where = "lie below" if found.high <= limit else "lie above" if found.low > limit else "contain"
    return f"{what} is {size}, and its bounds {where} the limit of {most}"


def _caption(report: Report, steps: list[Step], limit: float | None, far: bool) -> str:
    parts = ["A dot is a round"]
    parts += ["a cross one that was dropped"] if any(r.dropped for r in report.rounds) else []
    parts += ["the line the estimate after it, the band its bounds, which narrow"] if steps else []
    parts += ["a bar a look, where the gate may decide"] if any(s.kept in report.looks for s in steps) else []
    beyond = f" The limit of {_number(limit, False)} ms is far above." if limit is not None and far else ""
    return "; ".join(parts) + "." + beyond
