"""Puts an earlier champion back into production, after it has shown that it still serves.

    python -m release.rollback --reason "why" [--to previous|VERSION]

Where the champion is an image in a registry, the registry says what was there before it: a label of the image names the
one that it replaced, and the tag champion-7 the image of version 7. Elsewhere MLflow does. Only a version that was
champion can be gone back to. Who did it, when and why is noted on both versions in MLflow.

Exit code 0: rolled back, and read back; 1: it is not allowed, and the last line says why; 3: could not be done.
"""

import argparse
import sys

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from perf.arms.arm import ArmError
from pipeline import command
from pipeline.bundle import BundleError
from pipeline.settings import SettingsError, load_settings
from release import production, repository
from release.production import Refused
from training import registry

PREVIOUS = "previous"


def once(client: MlflowClient, champion: ModelVersion) -> dict[str, ModelVersion]:
    """The other versions of which MLflow knows that they were champion."""
    versions = client.search_model_versions(f"name='{champion.name}'")
    others = [each for each in versions if "promoted_at" in each.tags and each.version != champion.version]
    return {str(each.version): each for each in sorted(others, key=lambda each: int(each.version))}


def target(client: MlflowClient, champion: ModelVersion, to: str) -> ModelVersion:
    """The version to go back to, as MLflow knows it. Raises Refused where there is none, or it never was champion."""
    wanted, others = champion.tags.get("replaced", "") if to == PREVIOUS else to, once(client, champion)
    known = (
        f"versions that can be gone back to: {', '.join(others)}" if others else "no other version was ever champion"
    )
    if not wanted:
        raise Refused(f"MLflow does not know what version {champion.version} replaced; {known}")
    if wanted == str(champion.version):
        raise Refused(f"version {wanted} is the champion")
    if wanted not in others:
        raise Refused(f"version {wanted} never was champion; {known}")
    return others[wanted]


def target_image(client: MlflowClient, champion: ModelVersion, to: str) -> str:
    """The image to go back to, by digest, as the registry knows it. Raises Refused or ImageError."""
    image = champion.tags["image"]
    images, others = repository.repository_of(image), once(client, champion)
    wanted = to
    if to == PREVIOUS:
        if before := repository.labels(image).get(repository.REPLACES):
            # By its digest here: the repository may have been renamed since, and its images brought along.
            return repository.by_digest(images, before.partition("@")[2])
        # It replaced nothing, or an older release of the template has built it.
        wanted = champion.tags.get("replaced", "")
        if not wanted:
            known = ", ".join(others) or "none that MLflow knows"
            raise Refused(f"the image of version {champion.version} names none before it; name a version ({known})")
    if not wanted.isdecimal():
        raise Refused(f"{to}: give the number of a version, or {PREVIOUS}")
    found = repository.look_up(images, tag := repository.of_version(wanted))
    if found.why or not found.image:
        why = f" ({found.why})" if found.why else ""
        raise Refused(f"version {wanted} never was champion: {repository.tagged(images, tag)} is not there{why}")
    if found.image == image:
        raise Refused(f"version {wanted} is the champion")
    return found.image


def roll_back(client: MlflowClient, name: str, to: str, reason: str) -> tuple[str, str]:
    """Moves alias and image tag back; returns the versions that were champion before and are now."""
    if not reason:
        raise Refused('say why: make rollback REASON="…"')
    champion = registry.find(client, name, registry.CHAMPION)
    if champion is None:
        raise Refused(f"{name} has no champion")
    image = champion.tags.get("image", "")
    if production.in_registry(image):
        image = target_image(client, champion, to)
        adopted = production.adopt(client, name, image, print)
        if adopted is None:
            raise Refused(f"{image} serves another model")
        earlier, tags = adopted
    else:
        earlier, tags = target(client, champion, to), {}
        image = earlier.tags.get("image", "")
    production.verify(image if production.in_registry(image) else "", earlier)
    left_image = champion.tags.get("image", "")
    left, now, at, by = str(champion.version), str(earlier.version), production.when(), production.actor()
    tags |= {"rolled_back_from": left, "rolled_back_at": at, "rolled_back_by": by}
    production.move(client, earlier, image, tags)
    client.set_model_version_tag(name, now, "rolled_back_reason", reason)
    client.set_model_version_tag(name, left, registry.ROLLED_BACK, f"to version {now}, {at}, by {by}: {reason}")
    # Of what it was made, so that the next push does not bring the same again.
    client.set_model_version_tag(name, left, registry.TAKEN_OUT, champion.tags.get("service_sha256", ""))
    if production.in_registry(left_image):
        repository.tag(left_image, repository.ROLLED_BACK)
    return left, str(client.get_model_version_by_alias(name, registry.CHAMPION).version)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.rollback", description=__doc__.split("\n")[0])
    parser.add_argument("--to", default=PREVIOUS, metavar="previous|VERSION")
    parser.add_argument("--reason", required=True)
    arguments = parser.parse_args(argv)
    try:
        name, reason = load_settings().project.name, " ".join(arguments.reason.split())[:500]
        left, now = roll_back(registry.connect(name), name, arguments.to.strip() or PREVIOUS, reason)
    except Refused as refusal:
        print(f"Not rolled back: {refusal}", file=sys.stderr)
        return 1
    except (SettingsError, MlflowException, ArmError, BundleError, OSError) as error:
        print(f"Cannot roll back: {registry.complaint(error)}", file=sys.stderr)
        return 3
    no_more = f"and version {left} no more" if left != now else "with the code that served it before"
    print(f"Rolled back: {name}@{registry.CHAMPION} is version {now} again, {no_more}.")
    print("What lies here is as it was. Next: take back the change that was wrong, then make train.")
    return 0


if __name__ == "__main__":
    command.end(main)
