"""A commit of Git as something to compare with: its tree, and the bundle that its own code trains."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from release.demo import scratch

PARTS = ("serving", "src", "bundle", "pipeline.toml")  # what it takes to serve it


class CommitError(ValueError):
    """There is nothing to compare with in a commit; the message says why."""


def find(root: Path, reference: str) -> str:
    """The commit that a branch, a tag or a (short) hash names in the repository of `root`; empty where none does."""
    done = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
    return done.stdout.decode().strip() if done is not None and done.returncode == 0 else ""


def train(root: Path, sha: str, folder: Path) -> None:
    """Exports a commit of the project in `root` and trains it there, with today's packages, into the new `folder`.

    The model goes to a store of MLflow that is thrown away. Raises CommitError, and leaves no `folder` then.
    """
    with scratch(folder.with_name(f"{folder.name}.draft").absolute()) as draft:
        tree = draft / "tree"
        _export(root, sha, tree)
        if not (tree / "training" / "train.py").is_file():
            raise CommitError("it has no training/train.py")
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
            raise CommitError(f"its training ended with {done.returncode}: {last[:300]}")
        _sign(tree / "bundle" / "card.json", sha)
        (draft / "kept").mkdir()
        for part in PARTS:
            if (tree / part).exists():
                (tree / part).rename(draft / "kept" / part)
        shutil.rmtree(folder, ignore_errors=True)
        (draft / "kept").rename(folder)  # last, so that a folder of this name is whole


def differing_requirements(root: Path, sha: str) -> bool:
    """Whether a commit asks for other packages than the project in `root` does, with which it is run."""
    done = _git(root, "diff", "--quiet", sha, "--", "requirements/train.txt", "requirements/serve-sklearn.txt")
    return done is not None and done.returncode == 1


def _export(root: Path, sha: str, tree: Path) -> None:
    done = _git(root, "archive", "--format=tar", sha)
    if done is None or done.returncode:
        raise CommitError(f"git cannot export it: {done.stderr.decode(errors='replace').strip() if done else 'no git'}")
    tree.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(tree, filter="data")
    except tarfile.TarError as error:  # such as a link that leads out of it
        raise CommitError(f"its files cannot be laid out: {error}") from None


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
        raise CommitError("its training wrote no bundle/card.json") from None


def _git(root: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes] | None":
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except FileNotFoundError:  # no git here
        return None
