"""What the quality gate found: the schema of reports/model.json, for those who write it and those who read it."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pipeline.notes import Note

CURVES = Path("reports/curves")  # pictures of them, beside the report
Line = Annotated[str, Meta(max_length=500)]
Name = Annotated[str, Meta(max_length=200)]
Count = Annotated[int, Meta(ge=0)]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the report. `interval` (95 %) is of `change` where there is one, of `candidate` otherwise."""

    name: Name
    candidate: float | None  # None: the rows do not define it
    champion: float | None = None
    change: float | None = None  # candidate less champion, in the metric's own unit
    interval: tuple[float, float] | None = None


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the rows. All intervals hold at once, in 95 % of the cases."""

    by: Name  # the column
    value: Name
    rows: Count
    candidate: float
    champion: float | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    outcome: Literal["", "worse", "fail"] = ""  # surely worse than nothing; than the tolerance of slices


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A held-out row whose answer moved."""

    place: Name  # where it stands in the data
    truth: Name
    champion: float  # probability of the true class, or the value
    candidate: float


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the judged metric is worse where a column is shuffled. None: that version does not take it."""

    column: Name
    candidate: float | None = None
    champion: float | None = None


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that was promoted."""

    version: Annotated[str, Meta(pattern=r"^[0-9]{1,9}$")]
    metric: float | None = None  # on the rows that were held out then
    p95: float | None = None  # over that of the first version of its chain
    rolled_back: bool = False


class Model(Note, frozen=True, kw_only=True):
    """What was decided about a model, and why, in a sentence without its full stop. Readers ignore further fields."""

    path, command = Path("reports/model.json"), "make train"
    passed: bool
    sentence: Line
    outcome: Literal["pass", "fail", "unsure"] = "pass"
    version: Annotated[str, Meta(max_length=20)] = ""  # as it was registered
    kept: Annotated[str, Meta(max_length=20)] = ""  # a version that is made of the same, and so is taken
    fitted: bool = True  # false: there was no need to train, to know that
    champion: Annotated[str, Meta(max_length=20)] = ""  # its version, where it was compared
    rows: Count = 0  # that were held out
    compared: Count = 0  # of these, both answered
    judged: Name = ""  # the metric of [quality]
    metrics: Annotated[list[Metric], Meta(max_length=50)] = msgspec.field(default_factory=list)
    slices: Annotated[list[Slice], Meta(max_length=400)] = msgspec.field(default_factory=list)  # the worst first
    moved: Annotated[list[Moved], Meta(max_length=50)] = msgspec.field(default_factory=list)  # the most first
    importance: Annotated[list[Importance], Meta(max_length=50)] = msgspec.field(default_factory=list)  # the most first
    promotions: Annotated[list[Promotion], Meta(max_length=50)] = msgspec.field(default_factory=list)  # in order
    changed: Annotated[list[Line], Meta(max_length=50)] = msgspec.field(default_factory=list)  # since the champion
    notes: Annotated[list[Line], Meta(max_length=50)] = msgspec.field(default_factory=list)
