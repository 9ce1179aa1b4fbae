"""What a candidate is compared with: the champion's answers to rows that neither of the two has learned from."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline import bundle as bundles
from pipeline.bundle import Bundle, BundleError, Card, Contract
from pipeline.schema import Data, Task
from pipeline.transformer import records
from training import contents, learned, registry
from training.dataset import Dataset, read
from training.quality import importance
from training.quality.judge import more_is_better
from training.quality.metrics import Answers
from training.source.rows import DataError, listed

ROWS = 100_000  # held-out rows, at most, on which two versions are compared: their answers, for two classes or fewer
FEWEST = 20  # rows, without which there is nothing to compare on
Array = np.ndarray[Any, Any]


class Asked(NamedTuple):
    answers: Answers | None = None  # the champion's; None: there is none that can be compared with the candidate
    rows: Array = np.arange(0)  # int: of the held-out rows, those that it answered
    notes: Sequence[str] = ()  # why it was not asked, or what a reader has to know besides
    version: str = ""
    changed: Sequence[str] = ()  # what differs in what the two were made of
    importance: Mapping[str, float] = MappingProxyType({})  # of its columns


def ask(version: ModelVersion, data: Data, positive: str, dataset: Dataset, place: str, metric: str) -> Asked:
    """The champion's answers to today's held-out rows, by its own code in its own process.

    place: where today's data lies; metric: by which it is said what matters to it. Left out are rows that it has
    learned from, unless the candidate has learned from the very same ones.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            home = Path(registry.download_snapshot(version, folder))
            bundle = bundles.read(home / "bundle")
        except (MlflowException, BundleError, OSError):
            return _not_asked("its files are gone")
        if other := _other_question(bundle, data.task, data.target, set(dataset.target)):
            return _not_asked(other)
        try:
            frame = _frame(data, bundle.contract, dataset)
        except DataError as error:
            return _not_asked(f"today's data has not what it needs ({error})")
        rows, notes, news = _unknown(version, frame, dataset)
        if len(rows) < FEWEST:
            return _not_asked(
                f"it has learned from {int(dataset.is_held_out.sum()) - len(rows):,} of the held-out rows"
            )
        rows = some(rows, len(bundle.contract.classes))
        asked = frame[dataset.is_held_out].iloc[rows]
        some_rows = importance.chosen(len(rows), len(asked.columns))
        shuffled = importance.shuffled(asked.iloc[some_rows])
        done = _ask(home, pd.concat([asked, shuffled]))
        if done.returncode and len(shuffled):  # by what no row says, such as a date before another one
            shuffled, done = shuffled.head(0), _ask(home, asked)
        if done.returncode:
            return _not_asked(done.stderr.decode(errors="replace").strip().splitlines()[-1])
        given, truth = _answer(done.stdout, bundle), dataset.held_out.target.to_numpy()[rows]
        given, of_shuffled = given[: len(asked)], given[len(asked) :]
        changed = [*_features(bundle.contract, data), *registry.changed_parameters(version.run_id)]
        changed += [*_place(bundle.card, place), *news, *_libraries(bundle.card)]
        answers = Answers(truth, given, bundle.contract.classes, positive)
        matters = {}
        if len(shuffled):
            sign = 1 if more_is_better(metric) else -1
            matters = importance.losses(answers.of(some_rows), of_shuffled, [*map(str, asked)], metric, sign)
        return Asked(answers, rows, notes, str(version.version), changed, matters)


def _features(contract: Contract, data: Data) -> list[str]:
    theirs, ours = {field.name for field in contract.fields}, set(data.kinds)
    both = (("new features", ours - theirs), ("features that are gone", theirs - ours))
    return [f"{what}: {listed(sorted(names))}" for what, names in both if names]


def _place(card: Card, place: str) -> list[str]:
    theirs = str(card.data.get("path", place))
    return [f"data: {theirs} to {place}"] if theirs != place else []


def _libraries(card: Card) -> list[str]:
    now = contents.libraries()
    changed = [f"{name} {old} to {now[name]}" for name, old in card.libraries.items() if now.get(name, old) != old]
    return [f"libraries: {', '.join(changed)}"] if changed else []


def _frame(data: Data, contract: Contract, dataset: Dataset) -> pd.DataFrame:
    """The columns that the champion takes, as it takes them. Raises DataError where the file has them no more."""
    theirs = {field.name: (field.type, field.format, frozenset(field.missing)) for field in contract.fields}
    ours = {
        name: (kind, data.date_formats.get(name, ""), frozenset(data.missing_words(name) - {""}))
        for name, kind in data.kinds.items()
    }
    if all(ours.get(name) == how for name, how in theirs.items()):
        return dataset.frame[list(theirs)]
    of: dict[str, list[str]] = {"number": [], "text": [], "boolean": [], "date": []}
    for field in contract.fields:
        of[field.type].append(field.name)
    as_they = msgspec.structs.replace(
        data,
        numeric=of["number"],
        text=of["text"],
        boolean=of["boolean"],
        date=of["date"],
        date_formats={field.name: field.format for field in contract.fields if field.format},
        missing=[],
        missing_in={field.name: field.missing for field in contract.fields if field.missing}
        | {data.target: sorted(data.missing_words(data.target) - {""})},
    )
    return read(as_they, 0.5).frame


def some(rows: Array, classes: int) -> Array:
    """As many of the rows as are compared: all but of many."""
    limit = ROWS * 2 // max(2, classes)
    return rows if len(rows) <= limit else np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))


def _not_asked(why: str) -> Asked:
    return Asked(notes=[f"not compared with the champion: {why}. The floor alone decides"])


def _unknown(version: ModelVersion, frame: pd.DataFrame, dataset: Dataset) -> tuple[Array, list[str], list[str]]:
    """The held-out rows that a fair comparison takes, what to say of them, and which rows are new or gone.

    frame: as the champion takes it.
    """
    theirs = learned.load(version.run_id)
    everything = np.arange(int(dataset.is_held_out.sum()))
    if theirs is None:
        return everything, ["which rows the champion has learned from is not on record: it may know some of these"], []
    of_rows = learned.prints(frame, dataset.target)
    ours, judged = of_rows[~dataset.is_held_out], of_rows[dataset.is_held_out]
    unfair = np.isin(judged, theirs) & ~np.isin(judged, ours)
    notes = []
    if unfair.any():
        notes.append(
            f"{unfair.sum():,} held-out rows are left out of the comparison: the champion has learned from them"
        )
    still = np.isin(theirs, of_rows).mean() if len(theirs) else 1.0
    news = learned.news(theirs, ours)
    if still < 0.5:
        notes.append(f"{1 - still:.0%} of the rows that the champion has learned from are not in the data any more")
    return everything[~unfair], notes, [news] if news else []


def _other_question(bundle: Bundle, task: Task, target: str, classes: Collection[str]) -> str:
    """Why the champion answers another question than the candidate; empty where it is the same."""
    if bundle.contract.task != task:
        return f"the champion is for {bundle.contract.task}"
    if (theirs := str(bundle.card.data.get("target", target))) != target:
        return f"the champion predicts {theirs!r}"
    if task == "classification" and set(bundle.contract.classes) != set(classes):
        return f"the champion knows other classes ({', '.join(sorted(bundle.contract.classes)[:5])})"
    return ""


def _ask(home: Path, frame: pd.DataFrame) -> subprocess.CompletedProcess[bytes]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MLOPS_")}
    return subprocess.run(
        [sys.executable, "-m", "serving.score"],
        cwd=home,
        env=inherited
        | {"PYTHONPATH": f"{home}{os.pathsep}{home / 'src'}", "BUNDLE": str(home / "bundle")}
        | {"MLOPS_SERVING__UNKNOWN_FIELDS": "ignore"},
        input=msgspec.json.Encoder().encode_lines(records(frame)),
        capture_output=True,
        check=False,
    )


def _answer(output: bytes, bundle: Bundle) -> Array:
    predictions: list[dict[str, Any]] = msgspec.json.Decoder().decode_lines(output)
    if bundle.contract.task == "regression":
        return np.array([prediction["value"] for prediction in predictions])
    classes = bundle.contract.classes
    return np.array([[prediction["probabilities"][label] for label in classes] for prediction in predictions])
