"""Every version that was ever promoted, and the p95 of each against the one that it was measured beside.

Milliseconds of two machines say nothing about two versions. The change that a load test measured does, because both
versions ran on one machine at the same time; so the changes are multiplied along the versions.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mlflow.entities.model_registry import ModelVersion


class Promoted(NamedTuple):
    """A version as its tags tell of it. Empty or None: they do not say."""

    version: str
    at: str  # ISO 8601
    by: str = ""
    commit: str = ""
    machine: str = ""
    p95: float | None = None  # ms
    change: float | None = None  # of p95 against the baseline, as a share
    low: float | None = None
    high: float | None = None
    error: float | None = None  # standard error of the log of one plus the change
    baseline: str = ""
    rolled_back: str = ""  # what the rollback noted


class Point(NamedTuple):
    """A version in the history; `before` is the version that it was measured against."""

    promoted: Promoted
    place: int  # in the order of promotion, from 0
    before: "Point | None"  # None: the chain starts here
    level: float  # p95 relative to where the chain started


def read(versions: Iterable[ModelVersion]) -> list[Promoted]:
    """The versions that were ever promoted, in that order."""
    found = [_promoted(str(v.version), v.tags) for v in versions if v.tags.get("promoted_at")]
    return sorted(found, key=lambda each: (each.at, int(each.version)))


def _promoted(version: str, tags: Mapping[str, str]) -> Promoted:
    texts = {
        "at": tags["promoted_at"],
        "by": tags.get("promoted_by", ""),
        "commit": tags.get("git_sha", ""),
        "machine": tags.get("runner_cpu", ""),
        "baseline": tags.get("p95_baseline", ""),
        "rolled_back": tags.get("rolled_back", ""),
    }
    return Promoted(
        version=version,
        p95=_number(tags.get("p95_ms"), above=0),
        change=_number(tags.get("p95_change"), above=-1),
        low=_number(tags.get("p95_change_low"), above=-1),
        high=_number(tags.get("p95_change_high"), above=-1),
        error=_number(tags.get("p95_change_error"), above=0),
        **texts,
    )


def _number(text: str | None, above: float) -> float | None:
    """A tag as a number; None where it holds none, since anybody may edit tags."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > above else None


def link(history: Iterable[Promoted]) -> list[Point]:
    """Each version on top of its baseline. A chain starts where no change was measured or the baseline is not here."""
    points: dict[str, Point] = {}
    for place, promoted in enumerate(history):
        before = points.get(promoted.baseline) if promoted.change is not None else None
        level = before.level * (1 + (promoted.change or 0.0)) if before else 1.0
        points[promoted.version] = Point(promoted, place, before, level)
    return list(points.values())


def path(point: Point) -> list[Point]:
    """From the start of its chain to a version, without what was rolled back on the way."""
    found = [point]
    while (before := found[-1].before) is not None:
        found.append(before)
    return found[::-1]
