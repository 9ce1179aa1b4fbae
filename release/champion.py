"""Lays out the champion, so that a load test can run it beside the candidate.

    python -m release.champion

Writes .mlops/champion.json (name, version, image, directory) and the folder .mlops/champion/ with the champion's own
serving/, src/ and bundle/. Where there is no champion, both are gone afterwards. Exit code 3: could not be done.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline import command
from pipeline.settings import SettingsError, load_settings
from training import registry


def lay_out(name: str, folder: Path) -> str | None:
    """Downloads the champion of model `name` into `folder`; returns its version, or None where there is none."""
    note, directory = folder / "champion.json", folder / "champion"
    note.unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    client = registry.connect(name)
    version = registry.find(client, name, registry.CHAMPION)
    if version is None:
        return None
    note.write_text(json.dumps(download(version, directory), indent=2) + "\n")
    return str(version.version)


def download(version: ModelVersion, directory: Path) -> dict[str, str]:
    """Downloads a version into the new folder `directory`; returns what a load test has to know of it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(registry.download_snapshot(version, scratch), directory)
    return {
        "name": version.name,
        "version": str(version.version),
        "image": version.tags.get("image", ""),
        "directory": str(directory),
    }


def main() -> int:
    try:
        name = load_settings().project.name
        version = lay_out(name, Path(".mlops"))
    except (SettingsError, MlflowException, OSError) as error:
        print(f"Cannot lay out the champion: {registry.complaint(error)}", file=sys.stderr)
        return 3
    print(f"Champion: {name} version {version}" if version else f"Champion: {name} has none yet")
    return 0


if __name__ == "__main__":
    command.end(main)
