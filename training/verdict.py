"""The verdict on a candidate: beside the champion on rows that neither has learned from, or by the floor alone."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from pipeline.columns import DeriveError
from pipeline.schema import Quality
from pipeline.transformer import FILE, records
from training.champion import Asked, some
from training.dataset import Dataset
from training.fit import EstimatorError, answer
from training.quality import importance, slices
from training.quality.judge import judge, more_is_better
from training.quality.metrics import Answers
from training.quality.report import Importance, Model, Moved, Slice
from training.source.rows import DataError

MOVED = 10  # rows that are shown
IMPORTANT = 15  # columns, likewise
UNKNOWN = "which columns matter to the model is not known"
Array = np.ndarray[Any, Any]


def verdict(
    quality: Quality,
    dataset: Dataset,
    answers: Answers,
    found: Mapping[str, float],
    asked: Asked,
    columns: Mapping[str, pd.Series],
) -> Model:
    """What reports/model.json says.

    answers: the candidate's to all held-out rows; found: its metrics on them; columns: by which these are sliced.
    """
    rows = asked.rows if asked.answers else some(np.arange(len(answers.truth)), len(answers.classes))
    units = np.unique(dataset.hashes[dataset.is_held_out][rows], return_inverse=True)[1]
    ours = answers.of(rows)
    model = judge(quality, found, ours, asked.answers, units)
    parts = [part for name, values in columns.items() for part in slices.parts(name, values.iloc[rows])]
    sign = 1 if more_is_better(quality.metric) else -1
    table, few = slices.compare(quality.metric, sign, ours, asked.answers, units, parts, quality.slice_tolerance)
    notes = [*dataset.notes, *asked.notes]
    notes += [f"{few} of {len(parts)} slices have too few rows to be judged"] if few else []
    if model.passed and (failed := [each for each in table if each.outcome == "fail"]):
        model = msgspec.structs.replace(model, passed=False, outcome="fail", sentence=_worst(failed[0], len(failed)))
    numbers = dataset.held_out.frame.index.to_numpy()[rows]
    return msgspec.structs.replace(
        model,
        champion=asked.version,
        rows=len(answers.truth),
        slices=table,
        moved=_moved(ours, asked.answers, [_place(dataset, int(n)) for n in numbers]) if asked.answers else [],
        changed=[each[:500] for each in asked.changed],
        notes=[each[:500] for each in notes],
    )


def _place(dataset: Dataset, number: int) -> str:
    """Where a row stands: its line, where there is but one file."""
    return dataset.place(number) if number >= FILE else f"{dataset.frame.index.name} {number}"


def _moved(ours: Answers, theirs: Answers, places: Sequence[str]) -> list[Moved]:
    """The rows whose answers differ most: probabilities of what is true, or values."""
    new, old = _told(ours), _told(theirs)
    apart = np.abs(new - old)
    most = [n for n in np.argsort(-apart, kind="stable")[:MOVED] if apart[n] > 0]
    return [
        Moved(place=places[n][:200], truth=str(ours.truth[n])[:200], champion=float(old[n]), candidate=float(new[n]))
        for n in most
    ]


def _told(answers: Answers) -> Array:
    if not len(answers.classes):
        return np.asarray(answers.given)
    place = {label: n for n, label in enumerate(answers.classes)}
    columns = np.array([place.get(label, 0) for label in answers.truth])
    return np.asarray(answers.given[np.arange(len(columns)), columns])


def matters(
    pipeline: Pipeline, frame: pd.DataFrame, answers: Answers, rows: Array, metric: str
) -> tuple[dict[str, float], list[str]]:
    """What each column does for a model's answers to held-out rows; and where that cannot be said, a note why.

    frame: all of these; rows: those that both versions answered, all where there is but one.
    """
    rows = rows if len(rows) else np.arange(len(frame))
    rows = rows[importance.chosen(len(rows), len(frame.columns))]
    shuffled = importance.shuffled(frame.iloc[rows])
    if not len(shuffled):
        return {}, [f"{UNKNOWN}: it takes {len(frame.columns)} columns, and {importance.MOST} are the most"]
    try:
        _, given = answer(pipeline, shuffled)
    except (DeriveError, EstimatorError) as error:  # of what no row says, such as a date before another one
        return {}, [f"{UNKNOWN}: it has no answer to rows in which one was shuffled ({error})"[:500]]
    sign = 1 if more_is_better(metric) else -1
    return importance.losses(answers.of(rows), given, [*map(str, frame)], metric, sign), []


def important(ours: Mapping[str, float], theirs: Mapping[str, float]) -> list[Importance]:
    """What matters to both versions, the most first."""
    names = sorted({*ours, *theirs}, key=lambda name: -max(ours.get(name, -np.inf), theirs.get(name, -np.inf)))
    return [
        Importance(column=name[:200], candidate=ours.get(name), champion=theirs.get(name)) for name in names[:IMPORTANT]
    ]


def bounds(model: Model) -> dict[str, float]:
    """What MLflow is told besides the metrics: their 95 % intervals, or that of the change against the champion."""
    found: dict[str, float] = {}
    for each in model.metrics:
        name = f"{each.name}_change" if each.change is not None else each.name
        found |= {name: each.change} if each.change is not None else {}
        found |= dict(zip((f"{name}_low", f"{name}_high"), each.interval or (), strict=False))
    return found


def slice_columns(dataset: Dataset, names: Sequence[str]) -> dict[str, pd.Series]:
    """What [quality] slices names, of the held-out rows. Raises DataError where there is no such thing."""
    return {name: _column(dataset, name) for name in names}


def _column(dataset: Dataset, name: str) -> pd.Series:
    try:
        return dataset.column(name)[dataset.is_held_out]
    except KeyError:
        function = getattr(import_module("model.data"), name, None)
    if not callable(function):
        raise DataError(
            f"{name!r} is neither a column of the data file nor a function of src/model/data.py (pipeline.toml, "
            "quality.slices)"
        )
    frame = dataset.held_out.frame
    try:
        return pd.Series([function(record) for record in records(frame)], frame.index, object)
    except Exception as error:  # the user's code: whatever it raises
        raise DataError(f"{name}() of src/model/data.py: {type(error).__name__}: {error} (quality.slices)") from error


def _worst(worst: Slice, count: int) -> str:
    others = f", and {count - 1} more slices" if count > 1 else ""
    where = f"{worst.by} is {worst.value}"
    return (
        f"where {where[:150]}, the metric is {worst.candidate:.4g}, {abs(worst.change or 0):.2g} worse than the "
        f"champion's {worst.champion:.4g} on {worst.rows:,} rows, surely more than slice_tolerance{others}"
    )
