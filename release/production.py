"""What production runs, which is known in two places that move together.

    MLflow      alias champion  →  version, with its figures, code and bundle    read by training, perf and rollback
    registry    tag champion    →  image, by digest, that serves the version     read by the workflows and who deploys

promote and rollback boot the image and ask who it is (`verify`). Then they move the alias and the tag (`move`); where
the registry refuses the tag, the alias goes back. Where both differ all the same, the registry wins, because production
pulls from it: release.restore, at the start of each workflow, sets the alias to the tag's version, and rebuilds the
version from the image where MLflow has lost it. Without a registry the alias alone counts; an MLflow server loses
nothing, so there release.restore does nothing.
"""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from perf.accept import who
from perf.arms.arm import ArmError, Cpus
from perf.arms.specs import arm
from release import repository
from training import registry


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


def move(client: MlflowClient, version: ModelVersion, image: str, tags: Mapping[str, str]) -> None:
    """Makes a version the champion: its tags, the alias, and where the image is in a registry its tag; or none of them.

    Raises ImageError where the tag cannot be set; the alias is then where it was.
    """
    name, number = version.name, str(version.version)
    before = registry.find(client, name, registry.CHAMPION)
    try:
        for key, value in tags.items():
            client.set_model_version_tag(name, number, key, value)
        client.set_registered_model_alias(name, registry.CHAMPION, number)
        if in_registry(image):
            repository.point(image, number)
    except BaseException:  # an interrupt as well
        for key in tags.keys() - version.tags.keys():
            with contextlib.suppress(MlflowException):
                client.delete_model_version_tag(name, number, key)
        if before is None:
            client.delete_registered_model_alias(name, registry.CHAMPION)
        else:
            client.set_registered_model_alias(name, registry.CHAMPION, str(before.version))
        raise


def actor() -> str:
    """Who asked for it: GitHub's actor, or the user here."""
    return os.environ.get("GITHUB_ACTOR") or who()


def when() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _without_faults(shell: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in shell.items() if not key.startswith("MLOPS_")}


def _listed(card: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value or 'unknown'}" for key, value in card.items())
