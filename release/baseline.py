"""Lays out what the next load test compares the candidate with: the champion, or a version, commit or image.

    make perf [BASE=NAME]
    python -m release.baseline [NAME]

Without NAME that is the champion, if there is one. NAME is tried as a version in MLflow, as a branch, a tag or a commit
of Git, and as an image. A commit that no version was registered from is trained with its own code, once.

Writes .mlops/baseline.json (pipeline.notes.Baseline): a folder, an image or both. perf/arms/specs.py decides
which of the two runs beside the candidate. Exit code 3: could not be done, and the last line says why.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from perf.arms.containers import missing
from pipeline import command, notes
from pipeline.bundle import SERVED
from pipeline.notes import Baseline
from pipeline.settings import SettingsError, load_settings
from training import registry

FOLDER = ".mlops/baseline"  # of a version; with the start of its hash, of a commit that was trained here


class BaselineError(ValueError):
    """There is nothing to compare with; the message says what was tried."""


def lay_out(name: str, base: str, root: Path) -> Baseline | None:
    """Lays out what `base` names of the model `name` in the project `root`; empty: the champion, None if there is none.

    Raises BaselineError.
    """
    (root / Baseline.path).unlink(missing_ok=True)
    shutil.rmtree(root / FOLDER, ignore_errors=True)
    baseline: Baseline | None
    if base:
        baseline = _version(name, base, root) or _commit(name, base, root) or _image(base)
    else:
        champion = registry.find(registry.connect(name), name, registry.CHAMPION)
        baseline = _download(champion, base, f"version {champion.version}", root) if champion else None
    if baseline:
        notes.write(root, baseline)
    return baseline


def _version(name: str, base: str, root: Path) -> Baseline | None:
    if not re.fullmatch(r"[0-9]{1,9}", base):
        return None
    versions = (each for each in _versions(name) if int(each.version) == int(base))
    version = next(versions, None)
    return _download(version, base, f"version {version.version}", root) if version else None


def _versions(name: str, sha: str = "") -> list[ModelVersion]:
    of_commit = f" and tags.git_sha = '{sha}'" if sha else ""
    return list(registry.connect(name).search_model_versions(f"name='{name}'{of_commit}"))


def _download(version: ModelVersion, base: str, what: str, root: Path) -> Baseline:
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(registry.download_snapshot(version, scratch), root / FOLDER)
    return Baseline(base, what, version.tags.get("image", ""), FOLDER)


def _commit(name: str, base: str, root: Path) -> Baseline | None:
    done = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}")
    if done is None or done.returncode:
        return None
    sha = done.stdout.decode().strip()
    what = base if sha.startswith(base) else f"{base}, commit {sha[:7]}"
    if versions := _versions(name, sha):
        newest = max(versions, key=lambda version: int(version.version))
        return _download(newest, base, f"{what}, version {newest.version}", root)
    folder = f"{FOLDER}-{sha[:12]}"
    if (root / folder).is_dir():
        print(f"Commit {sha[:7]} was trained here before: {folder}")
    else:
        print(f"No version is registered from commit {sha[:7]}: training it with its own code ...", flush=True)
        began = time.perf_counter()
        try:
            train(root, sha, root / folder)
        except BaselineError as error:
            raise BaselineError(f"{what} is nothing to compare with: {error}") from None
        print(f"Trained in {time.perf_counter() - began:.0f} s: {folder}")
    asked = _git(root, "diff", "--quiet", sha, "--", "requirements/train.txt", "requirements/serve-sklearn.txt")
    others = " under today's packages, which differ from its own" if asked and asked.returncode == 1 else ""
    return Baseline(base, f"{what}, trained here with its own code{others}", "", folder)


def _git(root: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes] | None":
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except FileNotFoundError:  # no git here
        return None


def train(root: Path, sha: str, folder: Path) -> None:
    """Exports a commit of the project in `root` and trains it there, with today's packages, into the new `folder`.

    The model goes to a store of MLflow that is thrown away. Raises BaselineError, and leaves no `folder` then.
    """
    parent = folder.parent.absolute()
    parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f"{folder.name}.") as scratch:
        tree, kept = Path(scratch, "tree"), Path(scratch, "kept")
        _export(root, sha, tree)
        if not (tree / "training" / "train.py").is_file():
            raise BaselineError("it has no training/train.py")
        done = subprocess.run(
            [sys.executable, "-m", "training.train"],
            cwd=tree,
            env=_environment(os.environ, tree),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1].strip()
            raise BaselineError(f"its training ended with {done.returncode}: {last[:300]}")
        _sign(tree / "bundle" / "card.json", sha)
        kept.mkdir()
        for part in SERVED:
            if (tree / part).exists():
                (tree / part).rename(kept / part)
        kept.rename(folder)  # last, so that a folder of this name is whole


def _export(root: Path, sha: str, tree: Path) -> None:
    done = _git(root, "archive", "--format=tar", sha)
    if done is None or done.returncode:
        why = done.stderr.decode(errors="replace").strip() if done else "no git"
        raise BaselineError(f"git cannot export it: {why}")
    tree.mkdir()
    try:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(tree, filter="data")
    except tarfile.TarError as error:  # such as a link that leads out of it
        raise BaselineError(f"its files cannot be laid out: {error}") from None


def _environment(shell: Mapping[str, str], tree: Path) -> dict[str, str]:
    """The shell's, without its settings and its MLflow, and with the tree's code before that of the project."""
    kept = {k: v for k, v in shell.items() if not k.startswith(("MLOPS_", "MLFLOW_", "GIT_"))}
    return kept | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tree / 'mlflow.db'}",
        "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'src'}",
        "PYTHONUNBUFFERED": "1",  # or what it prints comes after its last words, which are its error
        "GIT_CEILING_DIRECTORIES": str(tree.parent),  # it lies in the checkout, whose commit is another one
    }


def _sign(card: Path, sha: str) -> None:
    """Says in a model card which commit it is of, and that the number that the scratch store gave it means nothing."""
    try:
        known = json.loads(card.read_text())
        signed = {"version": "", "run_id": "", "git_sha": sha}
        card.write_text(json.dumps(known | {k: v for k, v in signed.items() if k in known}, indent=2) + "\n")
    except (OSError, ValueError, TypeError):
        raise BaselineError("its training wrote no bundle/card.json") from None


def _image(base: str) -> Baseline:
    tried = f"{base} is no version in MLflow and no branch, tag or commit of Git"
    if not (":" in base or "/" in base):
        raise BaselineError(f"{tried}, and an image would have a : or a / in its name")
    if why := missing(base):
        raise BaselineError(f"{tried}, and there is no such image: {why}")
    return Baseline(base, f"the image {base}", base, "")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m release.baseline", description=__doc__.split("\n")[0])
    parser.add_argument(
        "base",
        metavar="NAME",
        nargs="?",
        default="",
        help="a version, branch, tag, commit or image; none: the champion",
    )
    base = parser.parse_args(argv).base
    try:
        name = load_settings().project.name
        baseline = lay_out(name, base, Path())
    except (SettingsError, BaselineError, MlflowException, OSError) as error:
        print(f"Cannot lay out a baseline: {registry.complaint(error)}", file=sys.stderr)
        return 3
    what = baseline.what if baseline else f"none, as {name} has no champion yet"
    print(f"Baseline: {what}" if base or not baseline else f"Baseline: the champion, {what}")
    return 0


if __name__ == "__main__":
    command.end(main)
