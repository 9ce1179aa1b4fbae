"""What a bundle holds beside the model: the contract, requests to try it with, and the card."""

import importlib.metadata
import platform
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

import model
from pipeline import bundle as bundles
from pipeline import values
from pipeline.bundle import Card, Column, Contract, Field
from pipeline.columns import Value
from pipeline.schema import Data, Task
from pipeline.transformer import records
from training.dataset import Dataset
from training.onnx.comparison import tolerance
from training.onnx.export import OTHERS, Exported
from training.source.table import Origin

REQUESTS = 500  # held-out rows that go into the bundle, for the smoke test and the load
TYPES = {"number": "double", "text": "string", "boolean": "boolean", "date": "datetime"}  # of MLflow
CATEGORIES = 1000  # more distinct texts than that are no list that helps anybody


def contract(
    data: Data,
    dataset: Dataset,
    columns: Sequence[Column],
    gapless: Collection[str],
    gaps: Collection[str],
    classes: list[str],
) -> Contract:
    """The contract. gapless: columns of the model that may not be missing; gaps: fields that training saw in each row,
    and which may be missing all the same.
    """
    fields = []
    for name, kind in data.kinds.items():
        seen: set[str] = set(dataset.frame[name].dropna()) if kind == "text" else set()
        categories = sorted(seen) if len(seen) <= CATEGORIES else []
        nullable = bool(dataset.frame[name].isna().any())
        words = sorted(data.missing_words(name) - {""})
        fields.append(Field(name, kind, nullable, categories, name in gaps, data.date_formats.get(name, ""), words))
    fed = [Column(column.name, column.type, column.name not in gapless) for column in columns]
    return Contract(bundles.CONTRACT_VERSION, data.task, fields, dataset.unused, fed, classes)


def schema(data: Data) -> Schema:
    """The columns of the file that are used, as MLflow has them."""
    return Schema([ColSpec(TYPES[kind], name, required=False) for name, kind in data.columns.items()])


def signature(contract: Contract) -> ModelSignature:
    """What MLflow says of the same."""
    inputs = [ColSpec(TYPES[field.type], field.name, required=not field.nullable) for field in contract.fields]
    answer = "string" if contract.classes else "double"
    return ModelSignature(Schema(inputs), Schema([ColSpec(answer)]))


def requests(frame: pd.DataFrame, data: Data) -> bytes:
    """Real records as a client sends them, a JSON object a line."""

    def sent(name: str, value: Value) -> Value:
        if isinstance(value, datetime):
            return values.written(value, data.date_formats.get(name, ""))
        return int(value) if isinstance(value, float) and value.is_integer() else value

    rows = [{name: sent(name, value) for name, value in record.items()} for record in records(frame.head(REQUESTS))]
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def judged_on(data: Data, holdout: float, dataset: Dataset, positive: str, origin: Origin) -> dict[str, object]:
    """The data and the question: where two versions say the same of these, their metrics can be compared."""
    source = {"path": origin.uri, "version": origin.version, "files": origin.files, "query": data.sql}
    source = {key: value for key, value in source.items() if value}
    return (
        source
        | {"rows": len(dataset.frame), "sha256": dataset.sha256}
        | {"target": data.target, "positive": positive, "holdout": holdout}
    )


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """What the card says of the other files of a bundle."""
    return {file: bundles.sha256(content) for file, content in files.items()}


def libraries() -> dict[str, str]:
    """Of what every model is made with, by version."""
    of = {"scikit-learn": "scikit-learn", "onnxruntime": "onnxruntime", "numpy": "numpy", "mlflow": "mlflow-skinny"}
    versions = {name: importlib.metadata.version(package) for name, package in of.items()}
    return {"python": platform.python_version(), **versions}


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
    boosters = {name: sys.modules[name].__version__ for name, title in OTHERS.items() if title == exported.library}
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
        libraries=libraries() | boosters,
        files=known,
        bundle_sha256=bundles.digest(known),
        code_sha256=bundles.code_digest(Path(model.__path__[0])),
        inputs_sha256=inputs,
    )
