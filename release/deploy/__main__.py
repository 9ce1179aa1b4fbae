"""Puts a version that was promoted where it answers, sees that it does, and goes back where it does not.

    make deploy TARGET=kubernetes [ENVIRONMENT=production] [DIGEST=sha256:…] [CANARY=minutes]
    python -m release.deploy --target kubernetes [--environment production] [--digest DIGEST] [--canary MINUTES]

Without a digest that is the champion. DEPLOY_URL is where the environment answers; without it the way to it is the
target's own, through which it answers more slowly.

Exit code 0: deployed and verified; 1: it was not, and what ran before runs again, or the last line says why not;
3: could not be done.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline import command, notes
from pipeline.markup import sentence
from pipeline.notes import Deployment
from pipeline.settings import SettingsError, load_settings
from release import production
from release.deploy import record
from release.deploy.host import Host
from release.deploy.kubernetes import Kubernetes
from release.deploy.record import Deployed
from release.deploy.target import Checked, Running, Target, TargetError, needs_of
from release.production import Refused
from training import registry

TARGETS: dict[str, type[Kubernetes | Host]] = {"kubernetes": Kubernetes, "host": Host}
HEX = 12  # digits of a digest that are enough
LONGEST = 2000  # characters that are noted


class Undone(Exception):
    """The version does not run, or not as it should; the message says what was seen and what was done."""


class Place(msgspec.Struct, frozen=True):
    """One environment of a project."""

    environment: str
    kind: str  # of the target
    target: Target
    url: str  # empty: the target's own way


def target_of(kind: str, name: str, environment: str) -> Target:
    """Where an environment of a project is. Raises Refused or TargetError."""
    if kind not in TARGETS:
        raise Refused(f"say where to: {' or '.join(f'make deploy TARGET={each}' for each in TARGETS)}")
    return TARGETS[kind](name, environment, Path())


def wanted(client: MlflowClient, name: str, digest: str) -> ModelVersion:
    """The champion, or the version that was promoted with an image of that digest. Raises Refused."""
    if not digest:
        champion = registry.find(client, name, registry.CHAMPION)
        if champion is None:
            raise Refused(f"{name} has no champion; run `make pipeline`")
        if not production.in_registry(champion.tags.get("image", "")):
            raise Refused(
                f"the champion, version {champion.version}, is in no registry, from which it could be pulled. Next: "
                "make image PUSH=registry/path, then make promote IMAGE=registry/path@sha256:… as it says"
            )
        return champion
    start = digest.rpartition("@")[2].removeprefix("sha256:")
    if len(start) < HEX or not all(each in "0123456789abcdef" for each in start):
        raise Refused(f"{digest} is no digest: sha256: and at least {HEX} of its digits")
    versions = client.search_model_versions(f"name='{name}'")
    known = [each for each in versions if production.in_registry(each.tags.get("image", ""))]
    for version in known:
        if version.tags["image"].partition("@sha256:")[2].startswith(start):
            return version
    there = ", ".join(f"{each.version} ({each.tags['image'].rpartition('@')[2][: 7 + HEX]})" for each in known)
    raise Refused(f"no version was promoted with an image of {digest}; MLflow knows {there or 'none'}")


def deploy(client: MlflowClient, place: Place, version: ModelVersion, canary: float | None = None) -> str:
    """Puts a version there and verifies it; returns what to say. Raises Undone or TargetError.

    canary: the minutes for which one pod of it is tried first; None: it is not.
    """
    before, image = place.target.running(), version.tags["image"]
    running = Running(image, needs_of(client.get_run(version.run_id).data.metrics))
    print(f"{place.environment.capitalize()} runs {before.image if before else 'nothing yet'}.", flush=True)
    print(f"Deploying version {version.version}, {image} ...", flush=True)
    if canary is not None and before is not None:
        attempt(place.target, version, running, canary)
    try:
        place.target.put(running)
        checked = verify(client, place, version)
    except (TargetError, Undone) as error:
        raise Undone(f"version {version.version}, {error}. {back(client, place, before, version)}") from None
    return f"Deployed: version {version.version} runs in {place.environment}. {checked.sentence}"


def attempt(target: Target, version: ModelVersion, wanted: Running, minutes: float) -> None:
    """Tries a version on one pod, beside what runs. Raises Undone or TargetError; what ran goes on in any case."""
    if not isinstance(target, Kubernetes):
        raise Refused("a canary takes TARGET=kubernetes")
    try:
        with target.canary(wanted) as url:
            print(f"One pod has its share of the traffic, for {minutes:g} minutes.", flush=True)
            time.sleep(60 * minutes)
            check(url, version, real=True)
    except (TargetError, Undone) as error:
        raise Undone(
            f"version {version.version}, as a canary, {error}. It was taken back; the rest never changed"
        ) from None


def check(url: str, version: ModelVersion, real: bool = False) -> Checked:
    """What release.deploy.verify sees there; real: in what it has answered before, as well. Raises Undone."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = registry.download_snapshot(version, scratch)
        options = ["--version", folder, "--image", version.tags["image"], *(["--real"] if real else [])]
        verifier = [sys.executable, "-m", "release.deploy.verify", url, *options]
        done = subprocess.run(verifier, stdout=subprocess.PIPE, text=True, check=False)
    *lines, last = done.stdout.splitlines() or [""]
    print("\n".join(lines), flush=True)
    if done.returncode == 3:
        raise Undone("it could not be verified")
    checked = msgspec.json.decode(last, type=Checked)
    if not checked.passed:
        raise Undone(f"at {url}: {checked.sentence}")
    return checked


def verify(client: MlflowClient, place: Place, version: ModelVersion) -> Checked:
    """Asks the URL of a place, and notes in MLflow what it said. Raises Undone or TargetError."""
    image, since = version.tags["image"], production.when()
    with nullcontext(place.url) if place.url else place.target.address() as url:
        checked = check(url, version)
    there = record.read(client, version.name).get(place.environment)
    if there is not None and there[0] == str(version.version) and there[1].image == image:
        since = there[1].since
    known = Deployed(image, place.kind, since, production.when(), checked.p95_ms, place.url)
    record.write(client, version, place.environment, known)
    return checked


def back(client: MlflowClient, place: Place, before: Running | None, version: ModelVersion) -> str:
    """Goes back to what ran before; a sentence that says how that went."""
    if before is None:
        return "Nothing ran there before, so it was left as it is"
    if before.image == version.tags["image"]:
        return "The same image ran there before, so there is nothing to go back to"
    try:
        place.target.put(before)
    except TargetError as error:
        return f"And going back to {before.image} failed: {error}"
    versions = client.search_model_versions(f"name='{version.name}'")
    earlier = next((each for each in versions if each.tags.get("image") == before.image), None)
    if earlier is None:
        return f"{before.image} runs again, which MLflow does not know, so that it was not verified"
    try:
        verify(client, place, earlier)
    except (TargetError, Undone) as error:
        return f"Version {earlier.version} was put back, and is not as it should be either: {error}"
    return f"Version {earlier.version} runs again, and was verified"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.deploy", description=__doc__.split("\n")[0])
    parser.add_argument("--target", default="", metavar="|".join(TARGETS))
    parser.add_argument("--environment", default="production")
    parser.add_argument("--digest", default="", help="of an image that was promoted; none: the champion's")
    parser.add_argument(
        "--canary", type=float, metavar="MINUTES", help="try one pod first, with its share of the traffic"
    )
    arguments = parser.parse_args(argv)
    try:
        name = load_settings().project.name
        target = target_of(arguments.target, name, arguments.environment)
        client = registry.connect(name)
        version = wanted(client, name, arguments.digest)
        url = os.environ.get("DEPLOY_URL", "").rstrip("/")
        place = Place(arguments.environment, arguments.target, target, url)
        code, said = 0, deploy(client, place, version, arguments.canary)
    except (Refused, Undone) as error:
        code, said = 1, f"Not deployed: {error}"
    except (SettingsError, TargetError, MlflowException, OSError) as error:
        code, said = 3, f"Cannot deploy: {registry.complaint(error)}"
    said = f"{said.rstrip('.')}."
    print(said, file=sys.stderr if code else sys.stdout)
    command.summary(f"### {'❌' if code else '✅'} {sentence(said)}")
    notes.write(Path(), Deployment(arguments.environment, not code, said[:LONGEST]))
    return code


if __name__ == "__main__":
    command.end(main)
