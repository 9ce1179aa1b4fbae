"""Where a version runs, as MLflow knows it: a tag of the version for each environment.

    make status
    python -m release.deploy.record

Prints for each environment what runs there, since when, and what its last verification saw, and asks the URL whether it
is still so. Exit code 0: printed; 3: could not be done.
"""

import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import requests
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from perf.rule.wording import amount
from pipeline import command
from pipeline.settings import SettingsError, load_settings
from training import registry

TAG = "deployed_"  # and the environment
TIMEOUT = 5.0  # seconds


class Deployed(msgspec.Struct, frozen=True):
    """A tag of a version."""

    image: str  # by digest
    target: str
    since: str
    verified: str  # when
    p95_ms: float  # then
    url: str = ""  # empty: no URL was given


def write(client: MlflowClient, version: ModelVersion, environment: str, deployed: Deployed) -> None:
    """Notes where a version runs. What ran there before has the tag no more."""
    text = msgspec.json.encode(deployed).decode()
    client.set_model_version_tag(version.name, str(version.version), TAG + environment, text)
    for other in client.search_model_versions(f"name='{version.name}'"):
        if TAG + environment in other.tags and other.version != version.version:
            client.delete_model_version_tag(version.name, str(other.version), TAG + environment)


def read(client: MlflowClient, name: str) -> dict[str, tuple[str, Deployed]]:
    """For each environment the version that runs there, and what is known of it."""
    there = {}
    for version in client.search_model_versions(f"name='{name}'"):
        for key, value in version.tags.items():
            if key.startswith(TAG):
                known = msgspec.json.decode(value, type=Deployed)
                there[key.removeprefix(TAG)] = (str(version.version), known)
    return dict(sorted(there.items()))


def now(url: str, version: str) -> str:
    """What the URL of a version says today."""
    if not url:
        return "no URL"
    try:
        reply = requests.get(f"{url}/model", timeout=TIMEOUT)
        card: Mapping[str, Any] = reply.json() if reply.ok else {}
    except (requests.RequestException, ValueError):
        return "no answer"
    answer = str(card.get("version", ""))
    if answer == version:
        return "answers"
    return f"answers as version {answer}" if answer else f"status {reply.status_code}"


def table(there: Mapping[str, tuple[str, Deployed]]) -> Table:
    rows = Table("environment", "version", "digest", "since", "verified", "p95", "now", box=None)
    for environment, (version, known) in there.items():
        digest = known.image.partition("@sha256:")[2][:12] or known.image
        p95 = amount(known.p95_ms, "ms")
        since, verified = (at[5:16].replace("T", " ") for at in (known.since, known.verified))  # in 80 columns
        rows.add_row(*map(escape, (environment, version, digest, since, verified, p95, now(known.url, version))))
    return rows


def main() -> int:
    try:
        name = load_settings().project.name
        there = read(registry.connect(name), name)
    except (SettingsError, MlflowException, msgspec.DecodeError, OSError) as error:
        print(f"Cannot say what runs where: {registry.complaint(error)}", file=sys.stderr)
        return 3
    if there:
        Console(highlight=False).print(table(there))
    else:
        print(f"MLflow knows of no environment in which {name} runs. Next: make deploy TARGET=kubernetes")
    return 0


if __name__ == "__main__":
    command.end(main)
