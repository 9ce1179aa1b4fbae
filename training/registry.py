"""MLflow: where it is, who the champion is, and a candidate's way into it."""

import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.artifacts
import mlflow.sklearn
import msgspec
import pandas as pd
import skops.io
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from pipeline.bundle import SERVED
from training import store
from training.quality.report import Model

CANDIDATE, CHAMPION = "candidate", "champion"
# Tags of a version that a rollback took out: why, and pipeline.bundle.service_inputs of what was taken out.
ROLLED_BACK, TAKEN_OUT = "rolled_back", "rolled_back_service"
SNAPSHOT = "service"  # the artifact with serving/, src/ and bundle/: a version can be served from it years later


def complaint(error: Exception) -> str:
    """What an error says; of MLflow's, also where MLflow is, in one line and without a password."""
    if not isinstance(error, MlflowException):
        return str(error)
    said = " ".join(str(error).split())
    if error.error_code == "PERMISSION_DENIED":
        said = f"{os.environ.get('MLFLOW_TRACKING_USERNAME', 'you')} may not change what others have made ({said})"
    return without_password(f"MLflow at {mlflow.get_tracking_uri()}: {said}")[:500]


def without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//", text)


def connect(name: str) -> MlflowClient:
    """A client of the store that MLFLOW_TRACKING_URI names (default: mlflow.db here), with the experiment `name`."""
    uri = mlflow.environment_variables.MLFLOW_TRACKING_URI.get() or store.uri_of(Path("mlflow.db").absolute())
    local = store.file_of(uri)
    if local and local.is_file():
        store.prepare(local)
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    if client.get_experiment_by_name(name) is None:
        # Beside a local database lie its artifacts; a server knows where it keeps its own.
        client.create_experiment(name, artifact_location=store.artifacts(local).as_uri() if local else None)
    mlflow.set_experiment(name)
    return client


def find(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that an alias stands for, or None."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model; no such alias
            return None
        # A server with logins does not say of a model that there is none, unless it is searched for.
        if error.error_code == "PERMISSION_DENIED" and not client.search_registered_models(f"name='{name}'"):
            return None
        raise


def taken_out(client: MlflowClient, name: str) -> list[ModelVersion]:
    """The versions that a rollback took out of production, the newest first."""
    versions = [each for each in client.search_model_versions(f"name='{name}'") if ROLLED_BACK in each.tags]
    return sorted(versions, key=lambda each: int(each.version), reverse=True)


def log_snapshot(client: MlflowClient, run_id: str, root: Path, name: str = SNAPSHOT) -> None:
    """Logs all that it takes to serve a version again: its bundle and the code beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for part in SERVED:
            if (root / part).is_dir():
                shutil.copytree(root / part, Path(folder, part), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(root / part, folder)
        client.log_artifacts(run_id, folder, name)


def snapshot_of(version: ModelVersion) -> str:
    """The artifact that serves a version today: its code may have changed since it was trained."""
    return str(version.tags.get("snapshot", SNAPSHOT))


def download_snapshot(version: ModelVersion, folder: str) -> str:
    """Downloads the code and the bundle of a version into `folder`; returns where they lie."""
    snapshot = snapshot_of(version)
    path = mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path=snapshot, dst_path=folder)
    return str(path)


def quality(version: ModelVersion) -> Model:
    """What was decided about a version when it was trained; of an older release's, no more than its sentence."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            name = Model.path.name
            path = mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path=name, dst_path=folder)
            return msgspec.json.decode(Path(path).read_bytes(), type=Model)
    except (MlflowException, OSError, msgspec.DecodeError):
        return Model(passed=True, sentence=version.tags.get("quality", "")[:500])


def git_sha(root: Path) -> str:
    """The commit of the checkout, with "-dirty" where files differ from it; empty outside Git."""

    def git(*arguments: str) -> str:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
        except FileNotFoundError:  # no git here
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    sha = git("rev-parse", "HEAD")
    return f"{sha}-dirty" if sha and git("status", "--porcelain", "--untracked-files=no") else sha


@contextmanager
def run(name: str, git: str) -> Iterator[str]:
    """An MLflow run; gives its id. It is marked as failed where the block raises."""
    with mlflow.start_run(tags={"git_sha": git, "model": name}) as active:
        yield active.info.run_id


def log_parameters(estimator: BaseEstimator, **more: object) -> None:
    """Logs `more`, and the estimator's own plain values under names that MLflow takes."""
    plain = {k: v for k, v in estimator.get_params().items() if isinstance(v, (bool, int, float, str))}
    mlflow.log_params({**more, **{re.sub(r"[^\w.\-: /]", "_", key)[:250]: value for key, value in plain.items()}})


def changed_parameters(run_id: str) -> list[str]:
    """What differs between the parameters of the active run and those of another, a sentence each."""
    active = mlflow.active_run()
    if active is None or not (theirs := _parameters(run_id)):
        return []
    ours = _parameters(active.info.run_id)
    names = sorted(name for name in {*ours, *theirs} - {"features"} if ours.get(name) != theirs.get(name))
    return [f"{name}: {theirs.get(name, 'not set')} to {ours.get(name, 'not set')}"[:500] for name in names[:20]]


def _parameters(run_id: str) -> dict[str, str]:
    try:
        return dict(mlflow.get_run(run_id).data.params)
    except MlflowException:  # somebody has deleted the run
        return {}


def log_dataset(uri: str, name: str, digest: str, schema: Schema) -> None:
    """Logs where the data came from, what it was, and its columns, as the input of the run."""
    with warnings.catch_warnings():
        # two kinds of source fit a path, and MLflow takes the right one
        warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
        try:
            source = resolve_dataset_source(uri)
        except MlflowException:  # a place that it has no kind of source for, such as a database
            source = CodeDatasetSource({"uri": uri})
    # MLflow's dataset of a pandas frame would look at each cell, which took longer than a fit.
    mlflow.log_input(MetaDataset(source, name=name, digest=digest[:36], schema=schema), context="training")


def log_figures(figures: Mapping[str, Figure]) -> None:
    for name, figure in figures.items():
        mlflow.log_figure(figure, f"curves/{name}.png")


def log_model(pipeline: Pipeline, signature: ModelSignature, example: pd.DataFrame) -> str:
    """Logs the scikit-learn pipeline, which takes the file's own columns; returns MLflow's id of the model."""
    untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(pipeline))
    info = mlflow.sklearn.log_model(
        pipeline,
        name="model",
        signature=signature,
        input_example=example,
        code_paths=["src/model", "src/pipeline"],
        pip_requirements="requirements/serve-sklearn.txt",
        serialization_format="skops",
        skops_trusted_types=untrusted,  # of a pipeline that this very process has fitted
    )
    return str(info.model_id)


def describe(client: MlflowClient, name: str, version: str, text: str, tags: Mapping[str, str]) -> None:
    """What MLflow's page says of a version, and further tags."""
    client.update_model_version(name, version, text)
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)


def create_version(
    client: MlflowClient, name: str, source: str, run_id: str, tags: dict[str, Any], model_id: str | None = None
) -> ModelVersion:
    """A new version of the registered model; no alias points to it yet.

    `model_id`: of the logged model at `source`, if there is one; a server wants to be told, a local store does not.
    """
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(name, source=source, run_id=run_id, tags=tags, model_id=model_id)
