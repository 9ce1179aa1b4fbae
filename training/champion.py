"""What a candidate is compared with: the champion's metrics, on the very rows on which the candidate is judged."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline import bundle as bundles
from pipeline.bundle import Bundle, BundleError
from pipeline.schema import Task
from pipeline.transformer import records
from training import registry
from training.dataset import Dataset

Metrics = Mapping[str, float]


QUESTION = ("sha256", "target", "positive", "holdout")  # of card.data: metrics of equal ones can be compared


class Scores(NamedTuple):
    metrics: Metrics | None  # None: they would say nothing about the candidate
    note: str  # why so, or why they are of other rows than the candidate's; empty where neither is the case


def champion_scores(
    client: MlflowClient,
    version: ModelVersion,
    task: Task,
    judged: Mapping[str, object],
    dataset: Dataset,
    evaluate: Callable[[np.ndarray, list[str]], Metrics],
) -> Scores:
    """The champion's metrics on the held-out rows of `dataset`.

    Where it was judged on other rows, it is asked again: its own code in its own process, which the rows have to suit.
    judged: what the card will say of the candidate's data. `evaluate` takes the answer (probabilities or values) and
    the classes, in the order of the columns.
    """
    logged = dict(client.get_run(version.run_id).data.metrics)
    with tempfile.TemporaryDirectory() as folder:
        try:
            home = Path(registry.download_snapshot(version, folder))
            bundle = bundles.read(home / "bundle")
        except (MlflowException, BundleError, OSError):
            return Scores(logged, "the champion was not asked again on today's held-out rows: its files are gone")
        data, contract = bundle.card.data, bundle.contract
        if all(data.get(key) == judged[key] for key in QUESTION):
            return Scores(logged, "")
        if other := _other_question(bundle, task, str(judged["target"]), set(dataset.target)):
            return Scores(None, f"{other}. So the two are not compared, and the floor alone decides")
        lacking = {field.name for field in contract.fields} - set(dataset.frame)
        if lacking:
            why = f"it needs {', '.join(sorted(lacking))}, which is no feature any more"
        else:
            done = _ask(home, dataset.held_out.frame)
            if done.returncode == 0:
                return Scores(evaluate(_answer(done.stdout, bundle), contract.classes), "")
            why = done.stderr.decode(errors="replace").strip().splitlines()[-1]
    return Scores(logged, f"the champion was not asked again on today's held-out rows: {why}")


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


def _answer(output: bytes, bundle: Bundle) -> np.ndarray[Any, Any]:
    predictions: list[dict[str, Any]] = msgspec.json.Decoder().decode_lines(output)
    if bundle.contract.task == "regression":
        return np.array([prediction["value"] for prediction in predictions])
    classes = bundle.contract.classes
    return np.array([[prediction["probabilities"][label] for label in classes] for prediction in predictions])
