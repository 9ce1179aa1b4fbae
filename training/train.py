"""Train, evaluate, register: from the data file to a candidate in MLflow and a bundle that can be served.

    make train
    python -m training.train

Exit code 0: registered; 1: the quality gate refused the model; 3: could not run, and the last line says why.
"""

import argparse
import importlib.metadata
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import msgspec
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from rich.console import Console
from rich.markup import escape
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

import model
from pipeline import bundle as bundles
from pipeline import command, notes
from pipeline import contract as contracts
from pipeline.bundle import Card
from pipeline.columns import DeriveError
from pipeline.contract import Column, Contract, Field
from pipeline.notes import Quality
from pipeline.schema import Data, Settings
from pipeline.settings import SettingsError, load_settings
from pipeline.transformer import records
from training import answers, evaluate, registry, rival
from training.dataset import DataError, Dataset, read
from training.fit import EstimatorError, answer, fit
from training.onnx import export
from training.onnx.export import Exported

REQUESTS = 500  # held-out rows that go into the bundle, for the smoke test and the load
CATEGORIES = 1000  # more distinct texts than that are no list that helps anybody

console = Console(highlight=False, soft_wrap=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Shows what is under way, and how long it took."""
    started = time.perf_counter()
    with console.status(what):
        yield
    console.print(f"  {what} [dim]{time.perf_counter() - started:.1f} s[/dim]")


class Evaluation(NamedTuple):
    table: pd.DataFrame  # the held-out rows as the model sees them
    expected: np.ndarray  # scikit-learn's answer on the held-out rows: probabilities (rows, classes) or values (rows,)
    classes: list[str]
    metrics: dict[str, float]
    figures: dict[str, Figure]


def train(settings: Settings, root: Path, trial: str) -> bool:
    """Runs the whole of training in the project `root`; False where the quality gate refuses the model.

    `trial`: what it is a trial of, such as a pull request, which shall leave the alias candidate alone; or empty.
    """
    name, git = settings.project.name, registry.git_sha(root)
    (root / Quality.path).unlink(missing_ok=True)
    with step("read the data"):
        dataset = read(settings.data, settings.training.holdout)
    with step("connect to MLflow"):
        client = registry.connect(name)
        champion = registry.find(client, name, registry.CHAMPION)

    with registry.run(name, git) as run_id:
        with step(f"fit on {len(dataset.training.frame):,} rows"):
            pipeline = fit(settings.data.task, settings.training.seed, dataset.training, settings.training.trusted)
        with step(f"evaluate on {len(dataset.held_out.frame):,} held-out rows"):
            evaluation = _evaluate(settings, dataset, pipeline)
            _log(settings, dataset, pipeline, evaluation)
        console.print("  " + ", ".join(f"{key} [bold]{value:.4g}[/bold]" for key, value in evaluation.metrics.items()))

        quality = _judge(settings, dataset, evaluation, client, champion)
        mlflow.set_tag("quality", "pass" if quality.passed else "fail")
        notes.write(root, quality)
        if not quality.passed:
            console.print(f"[red]Quality gate: fail.[/red] {quality.sentence}. Not registered; bundle/ is as it was.")
            return False
        console.print(f"[green]Quality gate: pass.[/green] {quality.sentence}.")

        with step("convert to ONNX and compare on every held-out row"):
            exported = _export(pipeline, evaluation, name)
        if exported.runtime != "onnx":
            why = escape(exported.reason)
            console.print(f"[yellow]Warning:[/yellow] scikit-learn will serve this model: {why}.")
        with step("register with MLflow"):
            signature = infer_signature(dataset.frame, pipeline.named_steps["model"].predict(evaluation.table.head(50)))
            model_id = registry.log_model(pipeline, signature, dataset.held_out.frame.head(3))
            tags = {"git_sha": git, "runtime": exported.runtime, "quality": quality.sentence}
            tags |= {"trial": trial} if trial else {}
            version = str(registry.create_version(client, name, f"models:/{model_id}", run_id, tags, model_id).version)
        with step("write the bundle"):
            columns = [
                Column(column.name, column.type, column.name not in exported.gapless)
                for column in pipeline.named_steps["derive"].columns
            ]
            contract = _contract(signature.inputs.to_dict(), dataset, settings.data, columns, evaluation.classes)
            files = {
                bundles.MODELS[exported.runtime]: exported.model,
                bundles.CONTRACT: contracts.encode(contract),
                bundles.REQUESTS: _requests(dataset.held_out.frame),
            }
            card = _card(settings, dataset, evaluation, exported, files)
            card = msgspec.structs.replace(card, version=version, run_id=run_id, git_sha=git)
            client.set_model_version_tag(name, version, "bundle_sha256", card.bundle_sha256)
            bundles.write(root / "bundle", files, card)
            _log_snapshot(root)

    # Last, so that a run that is killed on the way leaves the aliases as they were.
    if not trial:
        client.set_registered_model_alias(name, registry.CANDIDATE, version)
    agreement = (
        f"differs from scikit-learn by {exported.difference:.1e} at most, " if exported.runtime == "onnx" else ""
    )
    named = f"a trial ({escape(trial)}), no candidate" if trial else f"alias {registry.CANDIDATE}"
    console.print(f"Registered {name} version [bold]{version}[/bold], {named}.")
    console.print(f"Wrote bundle/ ({exported.runtime}; {agreement}sha256 {card.bundle_sha256[:12]}).")
    return True


def _evaluate(settings: Settings, dataset: Dataset, pipeline: Pipeline) -> Evaluation:
    truth = dataset.held_out.target.to_numpy()
    table, expected = answer(pipeline, dataset.held_out.frame)
    classes = [] if settings.data.task == "regression" else [str(label) for label in pipeline.classes_]
    metrics = _metrics(settings, dataset, truth, expected, classes)
    if settings.data.task == "regression":
        figures = evaluate.regression_curves(truth, expected)
    else:
        figures = evaluate.classification_curves(truth, expected, classes, _positive(settings, dataset))
    return Evaluation(table, expected, classes, metrics, figures)


def _judge(
    settings: Settings, dataset: Dataset, evaluation: Evaluation, client: MlflowClient, version: ModelVersion | None
) -> Quality:
    against = None
    if version is not None:
        truth = dataset.held_out.target.to_numpy()
        with step(f"compare with the champion, version {version.version}"):
            against = rival.champion(
                client,
                version,
                settings.data.task,
                dataset,
                lambda *answer: _metrics(settings, dataset, truth, *answer),
            )
        if against.note:
            console.print(f"[yellow]Note:[/yellow] {escape(against.note)}.")
    return evaluate.judge(
        settings.data.task, evaluation.metrics, against.metrics if against else None, settings.quality
    )


def _metrics(
    settings: Settings, dataset: Dataset, truth: np.ndarray, answer: np.ndarray, classes: list[str]
) -> dict[str, float]:
    if settings.data.task == "regression":
        return evaluate.regression_metrics(truth, answer)
    return evaluate.classification_metrics(truth, answer, classes, _positive(settings, dataset))


def _positive(settings: Settings, dataset: Dataset) -> str:
    return settings.data.positive or evaluate.rarest(dataset.target.to_numpy())


def _log(settings: Settings, dataset: Dataset, pipeline: Pipeline, evaluation: Evaluation) -> None:
    mlflow.log_params(_parameters(settings, pipeline.named_steps["model"]))
    mlflow.log_metrics(evaluation.metrics)
    frame = dataset.frame.copy()
    frame[settings.data.target] = dataset.target
    registry.log_dataset(frame, settings.data.path, settings.data.target)
    registry.log_figures(evaluation.figures)


def _export(pipeline: Pipeline, evaluation: Evaluation, name: str) -> Exported:
    derive, model = pipeline.named_steps.values()
    rows = {column.name: evaluation.table[[column.name]].to_numpy() for column in derive.columns}
    return export.export(model, derive.columns, rows, evaluation.expected, name, derive.gaps_)


def _card(
    settings: Settings,
    dataset: Dataset,
    evaluation: Evaluation,
    exported: Exported,
    files: Mapping[str, bytes],
) -> Card:
    """The card but for what only the registry knows: version, run and commit."""
    hashes = {name: bundles.sha256(data) for name, data in files.items()}
    parity = {"rows": len(evaluation.expected), "tolerance": answers.tolerance(evaluation.expected)}
    if np.isfinite(exported.difference):  # JSON has no infinity; the reason says it
        parity["largest_difference"] = exported.difference
    libraries = {name: importlib.metadata.version(name) for name in ("scikit-learn", "onnxruntime", "numpy")}
    libraries["mlflow"] = importlib.metadata.version("mlflow-skinny")
    return Card(
        name=settings.project.name,
        version="",
        run_id="",
        git_sha="",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        task=settings.data.task,
        runtime=exported.runtime,
        reason=exported.reason,
        metrics=evaluation.metrics,
        data={"path": str(settings.data.path), "rows": len(dataset.frame), "sha256": dataset.sha256},
        parity=parity,
        libraries={"python": platform.python_version(), **libraries},
        files=hashes,
        bundle_sha256=bundles.digest(hashes),
        code_sha256=bundles.code_digest(Path(model.__path__[0])),
    )


def _parameters(settings: Settings, estimator: BaseEstimator) -> dict[str, object]:
    """What MLflow shows beside the metrics: the section of pipeline.toml, and the estimator's own plain values."""
    plain = {k: v for k, v in estimator.get_params().items() if isinstance(v, (bool, int, float, str))}
    named = {re.sub(r"[^\w.\-: /]", "_", key)[:250]: value for key, value in plain.items()}  # what MLflow takes
    return {
        "seed": settings.training.seed,
        "holdout": settings.training.holdout,
        "features": len(settings.data.features),
        **named,
    }


def _contract(
    inputs: list[dict[str, Any]], dataset: Dataset, data: Data, columns: list[Column], classes: list[str]
) -> Contract:
    """The contract, from the inputs of the MLflow signature and the data."""
    fields = []
    for column in inputs:
        name, text = column["name"], column["name"] in data.text
        seen = sorted(dataset.frame[name].dropna().unique()) if text else []
        categories = seen if len(seen) <= CATEGORIES else []
        fields.append(Field(name, "text" if text else "number", not column["required"], categories))
    return Contract(contracts.VERSION, data.task, fields, dataset.unused, columns, classes)


def _requests(frame: pd.DataFrame) -> bytes:
    """Real records as a client sends them, a JSON object a line."""
    whole = [
        {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in record.items()}
        for record in records(frame.head(REQUESTS))
    ]
    return b"".join(msgspec.json.encode(record) + b"\n" for record in whole)


def _log_snapshot(root: Path) -> None:
    """Logs all that it takes to serve this version again: its bundle and the code beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for part in bundles.SERVED:
            if (root / part).is_dir():
                shutil.copytree(root / part, Path(folder, part), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(root / part, folder)
        mlflow.log_artifacts(folder, registry.SNAPSHOT)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__.split("\n")[0])
    parser.add_argument("--trial", default="", metavar="OF", help="a pull request, say: do not call it the candidate")
    trial = parser.parse_args(argv).trial[:200]
    try:
        return 0 if train(load_settings(), Path.cwd(), trial) else 1
    except (SettingsError, DataError, DeriveError, EstimatorError, MlflowException) as error:
        console.print(f"[red]Cannot train:[/red] {escape(registry.complaint(error))}")
        return 3


if __name__ == "__main__":
    command.end(main)
