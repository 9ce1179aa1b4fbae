"""What a bundle holds beside the model: the contract, requests to try it with, and the card."""

import importlib.metadata
import platform
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature

import model
from pipeline import bundle as bundles
from pipeline.bundle import Card, Column, Contract, Field
from pipeline.schema import Data, Task
from pipeline.transformer import records
from training.dataset import Dataset
from training.onnx.comparison import tolerance
from training.onnx.export import Exported

REQUESTS = 500  # held-out rows that go into the bundle, for the smoke test and the load
CATEGORIES = 1000  # more distinct texts than that are no list that helps anybody


def contract(
    data: Data,
    dataset: Dataset,
    signature: ModelSignature,
    columns: Sequence[Column],
    gapless: Collection[str],
    classes: list[str],
) -> Contract:
    """The contract; which fields may be missing, MLflow's signature says, and `gapless` which columns may not."""
    fields = []
    for column in signature.inputs.to_dict():
        name, text = column["name"], column["name"] in data.text
        seen = sorted(dataset.frame[name].dropna().unique()) if text else []
        categories = seen if len(seen) <= CATEGORIES else []
        fields.append(Field(name, "text" if text else "number", not column["required"], categories))
    fed = [Column(column.name, column.type, column.name not in gapless) for column in columns]
    return Contract(bundles.CONTRACT_VERSION, data.task, fields, dataset.unused, fed, classes)


def requests(frame: pd.DataFrame) -> bytes:
    """Real records as a client sends them, a JSON object a line."""
    whole = [
        {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in record.items()}
        for record in records(frame.head(REQUESTS))
    ]
    return b"".join(msgspec.json.encode(record) + b"\n" for record in whole)


def judged_on(data: Data, holdout: float, dataset: Dataset, positive: str) -> dict[str, object]:
    """The data and the question: where two versions say the same of these, their metrics can be compared."""
    file = {"path": str(data.path), "rows": len(dataset.frame), "sha256": dataset.sha256}
    return file | {"target": data.target, "positive": positive, "holdout": holdout}


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """What the card says of the other files of a bundle."""
    return {file: bundles.sha256(content) for file, content in files.items()}


def card(
    *,
    name: str,
    version: str,
    run_id: str,
    git_sha: str,
    judged: Mapping[str, object],
    task: Task,
    metrics: dict[str, float],
    expected: np.ndarray,
    exported: Exported,
    files: Mapping[str, bytes],
    inputs: str,
) -> Card:
    """Where the bundle came from, and how good it is.

    judged: as `judged_on` says; expected: scikit-learn's answer to the rows compared; inputs: bundles.model_inputs.
    """
    known = hashes(files)
    parity = {"rows": len(expected), "tolerance": tolerance(expected)}
    if np.isfinite(exported.difference):  # JSON has no infinity; the reason says it
        parity["largest_difference"] = exported.difference
    libraries = {"python": platform.python_version()}
    libraries |= {library: importlib.metadata.version(library) for library in ("scikit-learn", "onnxruntime", "numpy")}
    libraries["mlflow"] = importlib.metadata.version("mlflow-skinny")
    return Card(
        name=name,
        version=version,
        run_id=run_id,
        git_sha=git_sha,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        task=task,
        runtime=exported.runtime,
        reason=exported.reason,
        metrics=metrics,
        data=dict(judged),
        parity=parity,
        libraries=libraries,
        files=known,
        bundle_sha256=bundles.digest(known),
        code_sha256=bundles.code_digest(Path(model.__path__[0])),
        inputs_sha256=inputs,
    )
