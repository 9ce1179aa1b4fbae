"""What the history of p95 says, in numbers and in sentences."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from perf.report.wording import percent
from release.chain import Point, Promoted, link, path
from release.shifts import FEWEST, Shift, in_changes, in_levels, noise

RECENT = 10  # promotions


class Trend(NamedTuple):
    """The history of one model; `shifts` have their places in `searched`."""

    project: str
    points: Sequence[Point]  # all, in order of promotion
    path: Sequence[Point]  # from where the chain starts to the champion
    searched: Sequence[Point]  # in which shifts were looked for; empty: too few
    shifts: Sequence[Shift]
    noise: float | None  # of one change in the path, as a log


def look(project: str, history: Sequence[Promoted], champion: str) -> Trend:
    """The trend of a history that is not empty. `champion`: its version, or one that is unknown."""
    points = link(history)
    way = path(next((point for point in points if point.promoted.version == champion), points[-1]))
    if len(way) >= FEWEST:
        changes = logs_of_changes(way)
        spread = noise(changes, [p.promoted.error for p in way if p.promoted.error is not None])
        return Trend(project, points, way, way, in_changes(changes, spread), spread)
    alike = _comparable(points)
    if alike and all(point.promoted.change is None for point in points):
        levels = [math.log(p.promoted.p95) for p in alike if p.promoted.p95]
        return Trend(project, points, way, alike, in_levels(levels), None)
    return Trend(project, points, way, [], [], None)


def logs_of_changes(way: Sequence[Point]) -> list[float]:
    return [math.log(after.level / before.level) for before, after in pairwise(way)]


def _comparable(points: Sequence[Point]) -> list[Point]:
    """The versions with a p95, where there are enough and one machine measured them all."""
    measured = [point for point in points if point.promoted.p95 is not None]
    one = len({point.promoted.machine for point in measured}) == 1
    return measured if one and len(measured) >= FEWEST else []


def headline(trend: Trend) -> str:
    """How p95 has changed since the chain started."""
    if len(trend.path) < 2:
        return f"p95 of {trend.project}: no change along its versions was measured"
    begin, end = trend.path[0], trend.path[-1]
    change, since = percent(end.level / begin.level - 1), begin.promoted.version
    return f"p95 of {trend.project}: {change} from version {since} to version {end.promoted.version}"


def drifts(trend: Trend) -> list[str]:
    """The change since the start, and over the last promotions where there were more."""
    whole = len(trend.path) - 1
    if whole < 1:
        return []
    over = "1 promotion" if whole == 1 else f"{whole} promotions"
    found = [f"Since version {trend.path[0].promoted.version}, over {over}: {_drift(trend, whole)}."]
    return found + ([f"Over the last {RECENT} promotions: {_drift(trend, RECENT)}."] if whole > RECENT else [])


def _drift(trend: Trend, promotions: int) -> str:
    change = math.log(trend.path[-1].level / trend.path[-1 - promotions].level)
    text = percent(math.expm1(change))
    if trend.noise is None:
        return text
    reach = 1.96 * trend.noise * math.sqrt(promotions)
    low, high = (percent(math.expm1(change + way * reach)) for way in (-1, 1))
    judged = "more than noise" if abs(change) > reach else "within the noise"
    return f"{text} ({low} … {high}), {judged}"


def shifts(trend: Trend) -> list[str]:
    """A sentence for each shift, or for why there is none."""
    if not trend.searched:
        return [f"Shifts are looked for once {FEWEST} versions in a row were measured against each other."]
    found = [_shift(trend, shift) for shift in trend.shifts]
    return found or ["No shift stands out of the noise."]


def _shift(trend: Trend, shift: Shift) -> str:
    first, last = (trend.searched[place].promoted for place in (shift.first, shift.last))
    share = math.expm1(shift.size)
    size, up = percent(share, signed=False), share > 0
    between = f"from version {first.version} to version {last.version}"
    if shift.step:
        return f"{'Slower' if up else 'Faster'} by {size} {between}, promoted on {last.at[:10]}."
    count = shift.last - shift.first
    each = percent(math.expm1(shift.size / count))
    when = f"{first.at[:10]} to {last.at[:10]}"
    return f"{'Slower' if up else 'Faster'} by {size} little by little {between}, {when}: {each} in each of {count}."


def breaks(trend: Trend) -> list[str]:
    """Where a version does not stand on the one promoted before it, and why."""
    if all(point.before is None for point in trend.points):
        return []  # there is no chain, as the headline says
    return [_break(before.promoted, after) for before, after in pairwise(trend.points) if after.before is not before]


def _break(previous: Promoted, after: Point) -> str:
    now = after.promoted
    if after.before is not None:
        why = "was rolled back" if previous.rolled_back else "was promoted before it"
        baseline = f"version {after.before.promoted.version}, not {previous.version}"
        return f"Version {now.version} was measured against {baseline}, which {why}."
    if now.change is None:
        return f"The chain starts anew at version {now.version}: no change against a baseline was measured."
    baseline = f"version {now.baseline}" if now.baseline else "another model"
    return (
        f"The chain starts anew at version {now.version}: its baseline, {baseline}, is not in this history before it."
    )
