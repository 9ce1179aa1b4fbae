"""What a candidate is compared with: the champion's metrics, on the very rows on which the candidate is judged."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline import bundle as bundles
from pipeline.bundle import Bundle
from pipeline.schema import Task
from pipeline.transformer import records
from training import registry
from training.dataset import Dataset

Metrics = Mapping[str, float]


class Scores(NamedTuple):
    metrics: Metrics
    note: str  # why they were measured on other rows than the candidate's; empty where they were not


def champion_scores(
    client: MlflowClient,
    version: ModelVersion,
    task: Task,
    dataset: Dataset,
    evaluate: Callable[[np.ndarray, list[str]], Metrics],
) -> Scores:
    """The champion's metrics on the held-out rows of `dataset`.

    Where the data changed since it was trained, it is asked again: its own code in its own process, which the rows have
    to suit. `evaluate` takes its answer (probabilities or values) and the classes, in the order of the columns.
    """
    logged = dict(client.get_run(version.run_id).data.metrics)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(registry.download_snapshot(version, folder))
        bundle = bundles.read(home / "bundle")
        if bundle.card.data.get("sha256") == dataset.sha256:
            return Scores(logged, "")
        lacking = {field.name for field in bundle.contract.fields} - set(dataset.frame)
        theirs, ours = set(bundle.contract.classes), set(dataset.target)
        if bundle.contract.task != task:
            why = f"it is for {bundle.contract.task}"
        elif bundle.contract.task == "classification" and theirs != ours:
            why = f"it knows other classes ({', '.join(sorted(theirs)[:5])})"
        elif lacking:
            why = f"it needs {', '.join(sorted(lacking))}, which is no feature any more"
        else:
            done = _ask(home, dataset.held_out.frame)
            if done.returncode == 0:
                return Scores(evaluate(_answer(done.stdout, bundle), bundle.contract.classes), "")
            why = done.stderr.decode(errors="replace").strip().splitlines()[-1]
    return Scores(logged, f"the champion was not asked again on today's held-out rows: {why}")


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
