"""What BASE names: versions in MLflow on SQLite, commits of a real repository that are trained for real, and images."""

import random
import re
import shutil
import subprocess
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline import bundle as bundles
from pipeline import notes
from pipeline.bundle import SERVED
from pipeline.notes import Baseline
from pipeline.schema import METRICS
from pipeline.settings import load_settings
from release import baseline
from release.baseline import BaselineError, lay_out
from tests.engine.conftest import PROJECT, copy_project, run

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow runs in this process, with warnings of its own

SETTINGS = load_settings(PROJECT)
NAME = SETTINGS.project.name
ANYTHING = {True: "-1e9", False: "1e9"}[METRICS[SETTINGS.data.task][SETTINGS.quality.metric]]  # any model reaches it


def git(project: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], cwd=project, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(project: Path, branch: str) -> str:
    git(project, "checkout", "--quiet", "-B", branch)
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", branch)
    return git(project, "rev-parse", "HEAD")


@pytest.fixture(name="shared", scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository on few rows: version 1 is of the branch `first`; `second` is like it, and never was registered."""
    project = copy_project(tmp_path_factory.mktemp("base") / "project")
    path = project / SETTINGS.data.path
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *random.Random(3).sample(lines[1:], min(1500, len(lines) - 1))]))
    toml = project / "pipeline.toml"
    toml.write_text(re.sub(r"(?m)^floor = \S+", f"floor = {ANYTHING}", toml.read_text()))
    (project / ".gitignore").write_text("/bundle/\n/reports/\nmlflow.db*\nmlartifacts/\n/.mlops/\n__pycache__/\n")
    git(project, "init", "--quiet")
    commit(project, "first")
    done = run(project, "training.train")
    assert done.returncode == 0, done.stdout + done.stderr
    with (project / "serving" / "app.py").open("a") as app:
        app.write("# second\n")
    commit(project, "second")
    (project / "training" / "train.py").write_text("print('reading')\nraise SystemExit('the data is gone')\n")
    commit(project, "broken")
    shutil.rmtree(project / "training")
    commit(project, "without")
    git(project, "checkout", "--quiet", "second")
    return project


@pytest.fixture(name="here")
def _here(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shared)
    shutil.rmtree(shared / ".mlops", ignore_errors=True)
    return shared


def noted(project: Path) -> Baseline:
    return notes.read(project, Baseline)


@pytest.mark.parametrize("name", ["1", "first", "the hash"])
def test_what_is_registered_comes_from_mlflow(here: Path, name: str) -> None:
    """By its number, or by a commit that it was registered from; its snapshot, as the champion's, and its image."""
    mlflow.set_tracking_uri(f"sqlite:///{here / 'mlflow.db'}")
    MlflowClient().set_model_version_tag(NAME, "1", "image", "ghcr.io/o/r@sha256:1")
    sha = git(here, "rev-parse", "first")
    lay_out(NAME, sha[:10] if name == "the hash" else name, here)
    note = noted(here)
    words = {"1": "version 1", "first": f"first, commit {sha[:7]}, version 1", "the hash": f"{sha[:10]}, version 1"}
    assert (note.what, note.image) == (words[name], "ghcr.io/o/r@sha256:1")
    card = bundles.read(here / note.folder / "bundle").card
    assert (card.version, card.git_sha) == ("1", sha)
    assert "# second" not in (here / note.folder / "serving" / "app.py").read_text()


@pytest.mark.slow
def test_a_commit_is_trained_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its own code, into a store that is gone afterwards; the second time it is there."""
    sha = git(here, "rev-parse", "second")
    lay_out(NAME, "second", here)
    said = capsys.readouterr().out
    assert re.search(rf"from commit {sha[:7]}: training it with its own code .*\nTrained in \d+ s: ", said)
    folder = here / noted(here).folder
    card = bundles.read(folder / "bundle").card
    assert (card.name, card.version, card.git_sha) == (NAME, "", sha)
    assert "# second" in (folder / "serving" / "app.py").read_text()
    assert sorted(path.name for path in folder.iterdir()) == sorted(SERVED)
    assert {path.name for path in (here / ".mlops").iterdir()} == {"baseline.json", folder.name}
    mlflow.set_tracking_uri(f"sqlite:///{here / 'mlflow.db'}")
    assert len(MlflowClient().search_model_versions(f"name='{NAME}'")) == 1
    written = (folder / "bundle" / "card.json").stat().st_mtime_ns
    lay_out(NAME, sha[:8], here)
    assert "was trained here before" in capsys.readouterr().out
    assert noted(here).what == f"{sha[:8]}, trained here with its own code"
    assert (folder / "bundle" / "card.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("branch", "why"),
    [("broken", "its training ended with 1: the data is gone"), ("without", "it has no training/train.py")],
)
def test_a_commit_that_cannot_be_trained_says_why(here: Path, branch: str, why: str) -> None:
    """With the last line of its output, and nothing is left of it."""
    sha = git(here, "rev-parse", branch)
    with pytest.raises(BaselineError) as raised:
        lay_out(NAME, branch, here)
    assert str(raised.value) == f"{branch}, commit {sha[:7]} is nothing to compare with: {why}"
    assert list((here / ".mlops").iterdir()) == []


def test_other_packages_are_said(here: Path) -> None:
    """A commit that was pinned to others than those that it runs with here."""
    (here / ".mlops" / f"baseline-{git(here, 'rev-parse', 'second')[:12]}").mkdir(parents=True)  # trained before
    path = here / "requirements" / "train.txt"
    before = path.read_text()
    path.write_text(before + "# newer\n")
    try:
        lay_out(NAME, "second", here)
    finally:
        path.write_text(before)
    assert noted(here).what.endswith("under today's packages, which differ from its own")


@pytest.mark.parametrize("name", ["77", "nowhere", "--help", "HEAD~99"])
def test_a_name_of_nothing_says_what_was_tried(
    here: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, exit code 3, and no note of an earlier base."""
    lay_out(NAME, "1", here)
    capsys.readouterr()
    assert baseline.main(["--", name]) == 3
    said = capsys.readouterr().err
    assert said == (
        f"Cannot lay out a baseline: {name} is no version in MLflow and no branch, tag or commit of Git, and an image "
        "would have a : or a / in its name\n"
    )
    assert not (here / Baseline.path).exists()


def test_an_image_has_to_be_there(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, or where it can be pulled from."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncase "$*" in *o/r:3) exit 0;; esac\necho "manifest unknown" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    lay_out(NAME, "ghcr.io/o/r:3", here)
    assert noted(here) == Baseline("ghcr.io/o/r:3", "the image ghcr.io/o/r:3", "ghcr.io/o/r:3", "")
    with pytest.raises(BaselineError, match=r"no version in MLflow .* no such image: .*manifest unknown"):
        lay_out(NAME, "ghcr.io/o/r:4", here)
