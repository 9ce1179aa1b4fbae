"""What production runs, which is known in two places that move together.

    MLflow      alias champion  →  version, with its figures, code and bundle    read by training, perf and rollback
    registry    tag champion    →  image, by digest, that serves the version     read by the workflows and who deploys

promote and rollback boot the image and ask who it is (`verify`). Then they move the alias and the tag (`move`); where
the registry refuses the tag, the alias goes back. Where both differ all the same, the registry wins, because production
pulls from it: release.restore, at the start of each workflow, sets the alias to the tag's version, and rebuilds the
version from the image where MLflow has lost it. Without a registry the alias alone counts; an MLflow server loses
nothing, so there release.restore leaves it alone.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import mlflow
import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from perf.accept import who
from perf.arms.arm import ArmError, Cpus
from perf.arms.containers import docker
from perf.arms.specs import arm
from pipeline import bundle as bundles
from pipeline.bundle import SERVED, Card
from release import repository
from training import registry

KEPT = 2  # champions before this one whose files stay
LOGGED = "models:/"  # and an id: where a version has the model that training logged

Say = Callable[[str], None]


class Adopted(NamedTuple):
    version: ModelVersion
    tags: dict[str, str]  # that say of the version which image and which code serve it


class Refused(ValueError):
    """What was asked for is not allowed; the message says why and what to do."""


def in_registry(image: str) -> bool:
    """Whether an image is named by digest in a registry, rather than known to this machine alone."""
    return "@sha256:" in image


def verify(image: str, version: ModelVersion) -> None:
    """Boots what is to go to production and asks who it is. `image` empty: the version's own code and bundle.

    Raises Refused where it does not get ready or answers with another model.
    """
    with tempfile.TemporaryDirectory() as scratch:
        spec = image or registry.download_snapshot(version, scratch)
        service = arm(spec, "candidate", _without_faults(os.environ), Cpus(None, None, 1), Path(scratch, "log"))
        try:
            service.start()
            service.ready()
            card = service.card()
        except ArmError as error:
            raise Refused(f"version {version.version} does not serve: {error}\n{error.log}".rstrip()) from None
        finally:
            service.stop()
    expected = {"name": version.name, "version": str(version.version)}
    if "bundle_sha256" in version.tags:
        expected["bundle_sha256"] = version.tags["bundle_sha256"]
    answer = {key: str(card.get(key, "")) for key in expected}
    if answer != expected:
        raise Refused(f"{spec} serves {_listed(answer)}, not {_listed(expected)}")


def move(client: MlflowClient, version: ModelVersion, image: str, tags: Mapping[str, str], text: str = "") -> None:
    """Makes a version the champion: its tags, the alias, and where the image is in a registry its tag; or none of them.

    text: what MLflow's page says of the version from now on, if that changes. Raises ImageError where the tag cannot be
    set; the alias is then where it was.
    """
    name, number = version.name, str(version.version)
    before = registry.find(client, name, registry.CHAMPION)
    try:
        for key, value in tags.items():
            client.set_model_version_tag(name, number, key, value)
        if text:
            client.update_model_version(name, number, text)
        client.set_registered_model_alias(name, registry.CHAMPION, number)
        if in_registry(image):
            repository.point(image, number)
    except BaseException:  # an interrupt as well
        for key in tags:
            with contextlib.suppress(MlflowException):
                if key in version.tags:
                    client.set_model_version_tag(name, number, key, version.tags[key])
                else:
                    client.delete_model_version_tag(name, number, key)
        if text:
            with contextlib.suppress(MlflowException):
                client.update_model_version(name, number, version.description or "")
        if before is None:
            client.delete_registered_model_alias(name, registry.CHAMPION)
        else:
            client.set_registered_model_alias(name, registry.CHAMPION, str(before.version))
        raise


@contextlib.contextmanager
def contents(image: str) -> Iterator[Path]:
    """A folder with the code and the bundle of an image. Raises ArmError."""
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
        with contextlib.suppress(ArmError):
            docker("rm", container)


def whole(version: ModelVersion) -> bool:
    """Whether the snapshot of a version is still there: a store may have lost its files, or lie elsewhere today."""
    snapshot = registry.snapshot_of(version)
    try:
        files = mlflow.artifacts.list_artifacts(run_id=version.run_id, artifact_path=snapshot)
    except (MlflowException, OSError):
        return False
    return len(files) >= len(SERVED)


def adopt(client: MlflowClient, name: str, image: str, say: Say) -> Adopted | None:
    """The version that an image serves, registered again where MLflow has lost it; None where it is of another model.

    Raises ArmError or BundleError.
    """
    service = repository.labels(image).get(repository.INPUTS, "")
    with contents(image) as folder:
        card = bundles.read(folder / "bundle").card
        if card.name != name:
            say(f"The registry's champion is of the model {card.name}, and this is {name}: it stays out of MLflow.")
            return None
        version = _version_of(client, card)
        if version is None:
            say(f"MLflow does not know version {card.version}: rebuilt from {image}.")
            _rebuild(client, card, folder, image, say)
            return Adopted(client.get_model_version(name, card.version), {"service_sha256": service})
        if version.tags.get("image") == image and whole(version):
            return Adopted(version, {})
        snapshot = f"{registry.SNAPSHOT}-{image.rpartition(':')[2][:12]}"
        registry.log_snapshot(client, version.run_id, folder, snapshot)
    return Adopted(version, {"image": image, "snapshot": snapshot, "service_sha256": service})


def _version_of(client: MlflowClient, card: Card) -> ModelVersion | None:
    """The version that a card names, if the store has it and it is of that very run."""
    for version in client.search_model_versions(f"name='{card.name}'"):
        if str(version.version) == card.version and version.tags.get("bundle_sha256") == card.bundle_sha256:
            return version
    return None


def _rebuild(client: MlflowClient, card: Card, folder: Path, image: str, say: Say) -> None:
    """Registers what an image serves under the version that it had; says what had to go for that."""
    with registry.run(card.name, card.git_sha) as run_id:
        mlflow.set_tags({"rebuilt_from": image, "original_run": card.run_id})
        mlflow.log_metrics(card.metrics)
        registry.log_snapshot(client, run_id, folder)
    source = client.get_run(run_id).info.artifact_uri + f"/{registry.SNAPSHOT}"
    tags = {"git_sha": card.git_sha, "runtime": card.runtime, "bundle_sha256": card.bundle_sha256, "image": image}
    tags |= {"inputs_sha256": card.inputs_sha256, "rebuilt_from": image, "promoted_at": card.created}
    latest = max((int(v.version) for v in client.search_model_versions(f"name='{card.name}'")), default=0)
    if latest >= int(card.version):  # of another past: its numbers would be taken for this one's
        say(f"The versions of {card.name} that MLflow had, up to {latest}, are of another past, and were taken out.")
        client.delete_registered_model(card.name)
        latest = 0
    for number in range(latest + 1, int(card.version)):  # MLflow counts by itself, so it has to count up to there
        registry.create_version(client, card.name, source, run_id, {"placeholder": "true"})
        client.delete_model_version(card.name, str(number))
    registry.create_version(client, card.name, source, run_id, tags)


def prune(client: MlflowClient, champion: ModelVersion, say: Say) -> None:
    """Deletes the files of versions that nothing goes back to. What was measured of them stays.

    Kept are the champion's, those of the KEPT champions before it, and those of the newest version.
    """
    versions = {str(version.version): version for version in client.search_model_versions(f"name='{champion.name}'")}
    kept, number = {str(champion.version)}, str(champion.version)
    for _ in range(KEPT):
        number = versions[number].tags.get("replaced", "") if number in versions else ""
        kept.add(number)
    newest = str(max(map(int, versions)))
    old = [versions[each] for each in sorted(versions.keys() - kept - {newest}, key=int) if whole(versions[each])]
    for version in old:
        uris = [client.get_run(version.run_id).info.artifact_uri]
        if version.source.startswith(LOGGED):  # not of a version that was rebuilt
            uris.append(client.get_logged_model(version.source.removeprefix(LOGGED)).artifact_location)
        for uri in uris:
            get_artifact_repository(uri).delete_artifacts()
    if old:
        say(f"Deleted the files of version {', '.join(str(each.version) for each in old)}: nothing goes back to them.")


def actor() -> str:
    """Who asked for it: GitHub's actor, or the user here."""
    return os.environ.get("GITHUB_ACTOR") or who()


def when() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _without_faults(shell: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in shell.items() if not key.startswith("MLOPS_")}


def _listed(card: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value or 'unknown'}" for key, value in card.items())
