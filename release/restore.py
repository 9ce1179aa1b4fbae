"""Brings an MLflow store that is carried from run to run in line with the registry, whose tag champion says who it is.

    python -m release.restore --repository ghcr.io/owner/project

The store is mlflow.db here, from the cache. Where it is lost, that of the last promotion is taken, an artifact of the
workflow; and where the champion is not in it, the champion comes back out of its own image: version, metrics, code and
bundle. With MLFLOW_TRACKING_URI there is nothing to do. Exit code 3: could not be done.
"""

import argparse
import io
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from perf.arms.arm import ArmError
from perf.arms.containers import docker
from pipeline import bundle as bundles
from pipeline import command
from pipeline.bundle import SERVED, BundleError, Card
from pipeline.settings import SettingsError, load_settings
from release import repository
from release.github import api as rest
from training import registry

ARTIFACT = "mlflow-promoted"
MAX_ARTIFACT = 2_000_000_000  # bytes


def restore(name: str, champion: repository.Lookup, store: Path) -> Iterator[str]:
    """Does what is needed, and says it: a sentence each."""
    if not store.is_file():
        yield from _fetch(store.parent)
    if champion.why:
        yield f"The registry does not say whether there is a champion ({champion.why})."
    if not champion.image:
        yield "There is no champion yet." if not champion.why else "Taken as: there is none."
        return
    client = registry.connect(name)
    version = registry.find(client, name, registry.CHAMPION)
    if version is not None and version.tags.get("image") == champion.image and _whole(version):
        yield f"MLflow and the registry agree: the champion is version {version.version}."
        return
    with _contents(champion.image) as folder:
        card = bundles.read(folder / "bundle").card
        if card.name != name:
            yield f"The registry's champion is of the model {card.name}, and this is {name}: it stays out of MLflow."
            return
        same = _version_of(client, card)
        if same is not None and _whole(same):
            client.set_registered_model_alias(name, registry.CHAMPION, card.version)
            yield f"MLflow's alias champion now names version {card.version}, as the registry does."
            return
        yield f"MLflow does not know the champion, version {card.version}: rebuilt from {champion.image}."
        yield from _rebuild(client, card, folder, champion.image)


def _fetch(folder: Path) -> Iterator[str]:
    """Unpacks the store that the last promotion left as an artifact, if there is one."""
    if "GITHUB_TOKEN" not in os.environ:
        yield "No MLflow store came from the cache."
        return
    try:
        data = _newest(rest.connect(os.environ))
    except rest.GitHubError as error:
        yield f"No MLflow store came from the cache, and GitHub does not say whether it keeps one ({error})."
        return
    if data is None:
        yield "No MLflow store came from the cache, and none is kept of a promotion."
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(folder)  # of a run on main in this very repository, as _newest promises
    yield "No MLflow store came from the cache: took that of the last promotion."


def _newest(github: rest.GitHub) -> bytes | None:
    """The zip of the newest store of a run on main of this very repository; None where there is none."""
    stores = [
        each
        for each in rest.pages(github, f"{github.path}/actions/artifacts", "artifacts", name=ARTIFACT)
        if not each["expired"]
        and each["workflow_run"]["head_branch"] == "main"
        # A fork may have a branch of that name as well, and what its workflows make is no store of ours.
        and each["workflow_run"]["head_repository_id"] == each["workflow_run"]["repository_id"]
    ]
    return rest.download(github, max(stores, key=lambda each: int(each["id"])), MAX_ARTIFACT) if stores else None


@contextmanager
def _contents(image: str) -> Iterator[Path]:
    """A folder with the code and the bundle of an image. Raises ArmError or BundleError."""
    docker("pull", "--quiet", image, timeout=600)
    container = docker("create", image).strip()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for part in SERVED:
                docker("cp", f"{container}:/app/{part}", scratch)
            for cache in Path(scratch).rglob("__pycache__"):
                shutil.rmtree(cache)
            yield Path(scratch)
    finally:
        with suppress(ArmError):
            docker("rm", container)


def _whole(version: ModelVersion) -> bool:
    """Whether the snapshot of a version is still there: a store may have lost its files, or lie elsewhere today."""
    try:
        files = mlflow.artifacts.list_artifacts(run_id=version.run_id, artifact_path=registry.SNAPSHOT)
    except (MlflowException, OSError):
        return False
    return len(files) >= len(SERVED)


def _version_of(client: MlflowClient, card: Card) -> ModelVersion | None:
    """The version that a card names, if the store has it and it is of that very run."""
    for version in client.search_model_versions(f"name='{card.name}'"):
        if str(version.version) == card.version and version.tags.get("bundle_sha256") == card.bundle_sha256:
            return version
    return None


def _rebuild(client: MlflowClient, card: Card, folder: Path, image: str) -> Iterator[str]:
    """Registers what an image serves under the version that it had; says what had to go for that."""
    with registry.run(card.name, card.git_sha) as run_id:
        mlflow.set_tags({"rebuilt_from": image, "original_run": card.run_id})
        mlflow.log_metrics(card.metrics)
        mlflow.log_artifacts(str(folder), registry.SNAPSHOT)
    source = client.get_run(run_id).info.artifact_uri + f"/{registry.SNAPSHOT}"
    tags = {"git_sha": card.git_sha, "runtime": card.runtime, "bundle_sha256": card.bundle_sha256, "image": image}
    tags |= {"rebuilt_from": image, "promoted_at": card.created}
    latest = max((int(v.version) for v in client.search_model_versions(f"name='{card.name}'")), default=0)
    if latest >= int(card.version):  # of another past: its numbers would be taken for this one's
        yield f"The versions of {card.name} that MLflow had, up to {latest}, are of another past, and were taken out."
        client.delete_registered_model(card.name)
        latest = 0
    for number in range(latest + 1, int(card.version)):  # MLflow counts by itself, so it has to count up to there
        registry.create_version(client, card.name, source, run_id, {"placeholder": "true"})
        client.delete_model_version(card.name, str(number))
    registry.create_version(client, card.name, source, run_id, tags)
    client.set_registered_model_alias(card.name, registry.CHAMPION, card.version)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.restore", description=__doc__.split("\n")[0])
    parser.add_argument("--repository", required=True, help="of the images, such as ghcr.io/owner/project")
    arguments = parser.parse_args(argv)
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        print(f"MLflow is at {registry.without_password(uri)}: nothing to restore.")
        return 0
    try:
        champion = repository.look_up(repository.canonical(arguments.repository))
        for sentence in restore(load_settings().project.name, champion, Path("mlflow.db")):
            print(sentence, flush=True)
    except (SettingsError, MlflowException, ArmError, BundleError, OSError) as error:
        print(f"Cannot restore MLflow's store: {registry.complaint(error)}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    command.end(main)
