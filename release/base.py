"""Lays out another version than the champion, so that a load test can run it beside the candidate.

    make perf BASE=NAME
    python -m release.base NAME

NAME is tried as a version in MLflow, as a branch, a tag or a commit of Git, and as an image. A commit that no version
was registered from is trained with its own code, once. Writes .mlops/base.json: base (NAME), what (for the reader),
image and directory, of which one may be empty. Exit code 3: could not be done, and the last line says why.
"""

import argparse
import json
import re
import shutil
import sys
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from perf.arms.containers import missing
from pipeline import command
from pipeline.settings import SettingsError, load_settings
from release import commit
from release.champion import download
from release.commit import CommitError
from training import registry

Base = dict[str, str]


class BaseError(ValueError):
    """There is nothing of that name to compare with; the message says what was tried."""


def lay_out(name: str, base: str, root: Path) -> Base:
    """Lays out what `base` names of model `name` in the project `root`. Raises BaseError or CommitError."""
    folder = root / ".mlops"
    note = folder / "base.json"
    note.unlink(missing_ok=True)
    folder.mkdir(exist_ok=True)
    found = _version(name, base, folder) or _commit(name, base, root, folder) or _image(base)
    note.write_text(json.dumps({"base": base, **found}, indent=2) + "\n")
    return found


def _version(name: str, base: str, folder: Path) -> Base | None:
    if not re.fullmatch(r"[0-9]{1,9}", base):
        return None
    client = registry.connect(name)
    found = [v for v in _versions(client, name) if str(v.version) == str(int(base))]
    return _downloaded(found[0], f"version {int(base)}", folder) if found else None


def _commit(name: str, base: str, root: Path, folder: Path) -> Base | None:
    sha = commit.find(root, base)
    if not sha:
        return None
    of = base if sha.startswith(base) else f"{base}, commit {sha[:7]}"
    registered = _versions(registry.connect(name), name, sha)
    if registered:
        newest = max(registered, key=lambda version: int(version.version))
        return _downloaded(newest, f"{of}, version {newest.version}", folder)
    directory = folder / f"base-{sha[:12]}"
    if directory.is_dir():
        print(f"Commit {sha[:7]} was trained here before: {directory}")
    else:
        print(f"No version is registered from commit {sha[:7]}: training it with its own code ...", flush=True)
        began = time.perf_counter()
        try:
            commit.train(root, sha, directory)
        except CommitError as error:
            raise CommitError(f"{of} is nothing to compare with: {error}") from None
        print(f"Trained in {time.perf_counter() - began:.0f} s: {directory}")
    others = " under today's packages, which differ from its own" if commit.differing_requirements(root, sha) else ""
    return {"what": f"{of}, trained here with its own code{others}", "image": "", "directory": str(directory)}


def _image(base: str) -> Base:
    tried = f"{base} is no version in MLflow and no branch, tag or commit of Git"
    if not (":" in base or "/" in base):
        raise BaseError(f"{tried}, and an image would have a : or a / in its name")
    if why := missing(base):
        raise BaseError(f"{tried}, and there is no such image: {why}")
    return {"what": f"the image {base}", "image": base, "directory": ""}


def _versions(client: MlflowClient, name: str, sha: str = "") -> list[ModelVersion]:
    of_commit = f" and tags.git_sha = '{sha}'" if sha else ""
    return list(client.search_model_versions(f"name='{name}'{of_commit}"))


def _downloaded(version: ModelVersion, what: str, folder: Path) -> Base:
    directory = folder / "base"
    shutil.rmtree(directory, ignore_errors=True)
    return {"what": what, **download(version, directory)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.base", description=__doc__.split("\n")[0])
    parser.add_argument("base", metavar="NAME", help="a version, a branch, tag or commit, or an image")
    base = parser.parse_args(argv).base
    try:
        found = lay_out(load_settings().project.name, base, Path())
    except (SettingsError, BaseError, CommitError, MlflowException, OSError) as error:
        print(f"Cannot lay out a baseline: {registry.complaint(error)}", file=sys.stderr)
        return 3
    print(f"Baseline: {found['what']}")
    return 0


if __name__ == "__main__":
    command.end(main)
