"""A fitted model's way to those who serve it: converted, registered with MLflow, and written to bundle/."""

from collections.abc import Mapping
from typing import NamedTuple

import mlflow
import msgspec
import numpy as np
import pandas as pd
from rich.markup import escape
from sklearn.pipeline import Pipeline

from pipeline import bundle as bundles
from pipeline import notes
from pipeline.bundle import Contract
from pipeline.schema import Settings
from training import contents, model_card, registry
from training.dataset import Dataset
from training.gaps import answered
from training.kept import BESIDE, BUNDLE, INPUTS, Known
from training.onnx.export import Exported, asker, export
from training.progress import console, under_way
from training.quality.metrics import Answers
from training.quality.report import Model


class Converted(NamedTuple):
    """A model as it is served. files: of the bundle, by name, without the card."""

    exported: Exported
    contract: Contract
    files: dict[str, bytes]
    expected: np.ndarray  # scikit-learn's answer to the rows that were compared


def convert(
    settings: Settings, dataset: Dataset, pipeline: Pipeline, seen: pd.DataFrame, answers: Answers
) -> Converted:
    """seen: the held-out rows as the model sees them; answers: to these."""
    data, held_out = settings.data, dataset.held_out.frame
    derive, model = pipeline.named_steps.values()
    with under_way("convert to ONNX and compare on every held-out row"):
        rows = {column.name: seen[[column.name]].to_numpy() for column in derive.columns}
        exported = export(model, derive.columns, rows, answers.given, settings.project.name, derive.gaps_)
    if exported.runtime != "onnx":
        console.print(f"[yellow]Warning:[/yellow] {exported.library} will serve this model: {escape(exported.reason)}.")
    # What the service will accept, as training has seen it, and as the model answers.
    whole = [name for name in data.kinds if not dataset.frame[name].isna().any()]
    served = asker(exported.model) if exported.runtime == "onnx" else None
    gaps = answered(pipeline, held_out, whole, served, exported.gapless)
    contract = contents.contract(data, dataset, derive.columns, exported.gapless, gaps, [*answers.classes])
    files = {
        bundles.MODELS[exported.runtime]: exported.model,
        bundles.CONTRACT: bundles.encode_contract(contract),
        bundles.REQUESTS: contents.requests(held_out, data),
    }
    return Converted(exported, contract, files, answers.given)


def register(
    known: Known,
    settings: Settings,
    run_id: str,
    pipeline: Pipeline,
    converted: Converted,
    dataset: Dataset,
    quality: Model,
    figures: Mapping[str, float],
    judged: Mapping[str, object],
    made_of: str,
    git: str,
) -> str:
    """The new version. No alias points to it yet.

    figures: metrics on all held-out rows; judged: contents.judged_on; made_of: pipeline.bundle.model_inputs.
    """
    client, root, preview = known.client, known.root, known.preview
    name, (exported, contract, files, expected) = settings.project.name, converted
    with under_way("register with MLflow"):
        model_id = registry.log_model(pipeline, contents.signature(contract), dataset.held_out.frame.head(3))
        tags = {"git_sha": git, "runtime": exported.runtime, "quality": quality.sentence}
        tags |= {INPUTS: made_of, BESIDE: known.champion} | ({"preview": preview} if preview else {})
        version = str(registry.create_version(client, name, f"models:/{model_id}", run_id, tags, model_id).version)
    with under_way("write the bundle"):
        card = contents.card(
            name=name,
            version=version,
            run_id=run_id,
            git_sha=git,
            judged=judged,
            task=settings.data.task,
            metrics={key: value for key, value in figures.items() if np.isfinite(value)},
            expected=expected,
            exported=exported,
            files=files,
            inputs=made_of,
        )
        quality = msgspec.structs.replace(quality, version=version)
        about = model_card.text(settings, card, contract, dataset, quality)
        bundles.write(root / "bundle", files | {bundles.MODEL_CARD: about.encode()}, card)
        service = bundles.service_inputs(root, settings, card.bundle_sha256, card.runtime)
        digests = {BUNDLE: card.bundle_sha256, "service_sha256": service}
        registry.describe(client, name, version, model_card.description(about), digests)
        registry.log_snapshot(client, run_id, root)
        notes.write(root, quality)
        mlflow.log_artifact(str(root / Model.path))
    agreement = f"differs from {exported.library} by {exported.difference:.1e} at most, " if not exported.reason else ""
    console.print(f"Wrote bundle/ ({exported.runtime}; {agreement}sha256 {card.bundle_sha256[:12]}).")
    return version
