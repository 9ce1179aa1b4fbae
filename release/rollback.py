"""Puts an earlier champion back into production, after it has shown that it still serves.

    python -m release.rollback --reason "why" [--to previous|VERSION]

Only a version that was champion can be gone back to. Who did it, when and why is noted on both versions in MLflow.
Exit code 0: rolled back, and read back; 1: it is not allowed, and the last line says why; 3: could not be done.
"""

import argparse
import sys

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from perf.arms.arm import ArmError
from pipeline import command
from pipeline.settings import SettingsError, load_settings
from release import production
from release.production import Refused
from training import registry

PREVIOUS = "previous"


def target(client: MlflowClient, champion: ModelVersion, to: str) -> ModelVersion:
    """The version to go back to. Raises Refused where there is none, or where it never was champion."""
    wanted = champion.tags.get("replaced", "") if to == PREVIOUS else to
    versions = {str(v.version): v for v in client.search_model_versions(f"name='{champion.name}'")}
    once = sorted((v for v in versions if "promoted_at" in versions[v].tags and v != str(champion.version)), key=int)
    known = f"versions that can be gone back to: {', '.join(once)}" if once else "no other version was ever champion"
    if not wanted:
        raise Refused(f"MLflow does not know what version {champion.version} replaced; {known}")
    if wanted == str(champion.version):
        raise Refused(f"version {wanted} is the champion")
    if wanted not in once:
        raise Refused(f"version {wanted} never was champion; {known}")
    return versions[wanted]


def roll_back(client: MlflowClient, name: str, to: str, reason: str) -> tuple[str, str]:
    """Moves alias and image tag back; returns the versions that were champion before and are now."""
    if not reason:
        raise Refused('say why: make rollback REASON="…"')
    champion = registry.find(client, name, registry.CHAMPION)
    if champion is None:
        raise Refused(f"{name} has no champion")
    earlier = target(client, champion, to)
    image = earlier.tags.get("image", "")
    production.verify(image if production.in_registry(image) else "", earlier)
    left, now, at, by = str(champion.version), str(earlier.version), production.when(), production.actor()
    production.move(client, earlier, image, {"rolled_back_from": left, "rolled_back_at": at, "rolled_back_by": by})
    client.set_model_version_tag(name, now, "rolled_back_reason", reason)
    client.set_model_version_tag(name, left, "rolled_back", f"to version {now}, {at}, by {by}: {reason}")
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
    except (SettingsError, MlflowException, ArmError) as error:
        print(f"Cannot roll back: {registry.complaint(error)}", file=sys.stderr)
        return 3
    print(f"Rolled back: {name}@{registry.CHAMPION} is version {now} again, and version {left} no more.")
    return 0


if __name__ == "__main__":
    command.end(main)
