"""What a fitted model is worth: its answers to the held-out rows, and the verdict on them."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import mlflow
import msgspec
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from rich.markup import escape
from sklearn.pipeline import Pipeline

from pipeline import command, notes
from pipeline.schema import Settings
from training import contents, registry
from training.champion import Asked, ask
from training.dataset import Dataset
from training.fit import answer, rounded
from training.progress import console, note, under_way
from training.quality.curves import curves, save
from training.quality.markdown import markdown
from training.quality.metrics import Answers, metrics, rarest
from training.quality.report import Model
from training.source.table import Origin
from training.verdict import bounds, important, matters, verdict

WORDS = {"pass": ("green", "pass"), "fail": ("red", "fail"), "unsure": ("yellow", "cannot tell")}


def answers(settings: Settings, dataset: Dataset, pipeline: Pipeline, origin: Origin) -> tuple[pd.DataFrame, Answers]:
    """The held-out rows as the model sees them, and its answers to them."""
    data, held_out, training = settings.data, dataset.held_out, settings.training
    with under_way(f"evaluate on {len(held_out.frame):,} held-out rows") as say:
        seen, given = answer(pipeline, held_out.frame, say)
        classes = [] if data.task == "regression" else [str(label) for label in pipeline.classes_]
        positive = data.positive or (rarest(dataset.target.to_numpy()) if classes else "")
        estimator, features = pipeline.named_steps["model"], len(data.kinds)
        registry.log_parameters(estimator, seed=training.seed, holdout=training.holdout, features=features)
        stem = PurePosixPath(data.path).stem or "query"
        registry.log_dataset(origin.uri, stem, dataset.sha256, contents.schema(data))
    note(rounded(held_out.frame, seen))
    return seen, Answers(held_out.target.to_numpy(), given, classes, positive)


def judge(
    settings: Settings,
    dataset: Dataset,
    pipeline: Pipeline,
    given: Answers,
    champion: ModelVersion | None,
    columns: Mapping[str, pd.Series],
    place: str,
) -> tuple[Model, dict[str, float]]:
    """The verdict, and the metrics on all held-out rows. columns: by which these are sliced; place: of the data."""
    found = metrics(given)
    console.print("  " + ", ".join(f"{key} [bold]{value:.4g}[/bold]" for key, value in found.items()))
    mlflow.log_metrics({name: value for name, value in found.items() if np.isfinite(value)})
    asked = Asked()
    if champion is not None:
        with under_way(f"ask the champion, version {champion.version}, for the same rows"):
            asked = ask(champion, settings.data, given.positive, dataset, place, settings.quality.metric)
    note(asked.notes)
    with under_way("compare with the champion" if asked.answers else "see how sure that is"):
        figures = curves(given.of(asked.rows) if asked.answers else given, asked.answers)
        registry.log_figures(figures)
        save(figures)
        model = verdict(settings.quality, dataset, given, found, asked, columns)
    with under_way("see which columns matter"):
        ours, unknown = matters(pipeline, dataset.held_out.frame, given, asked.rows, settings.quality.metric)
        said = [*model.notes, *unknown]
        model = msgspec.structs.replace(model, importance=important(ours, asked.importance), notes=said)
    note(unknown)
    mlflow.log_metrics(bounds(model))
    return model, found


def report(quality: Model, root: Path) -> None:
    """Writes reports/model.json and reports/model.md, the step's summary, and a line for the terminal."""
    text = markdown(quality)
    command.summary(text)
    mlflow.set_tag("quality", quality.outcome)
    notes.write(root, quality)
    (root / Model.path).with_suffix(".md").write_text(text, encoding="utf-8")
    style, word = WORDS[quality.outcome]
    stopped = " Not registered; bundle/ is as it was. The limits are in pipeline.toml under \\[quality]."
    console.print(
        f"[{style}]Quality gate: {word}.[/{style}] {escape(quality.sentence)}.{'' if quality.passed else stopped}"
    )
