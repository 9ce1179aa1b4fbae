"""What more than one folder of tests needs: the project, trained once in a scratch copy."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import training  # noqa: F401  before scikit-learn: it tells OpenMP how to wait

ROOT = Path(__file__).parent.parent
PARTS = ("src", "training", "serving", "perf", "data", "requirements", "pipeline.toml", ".python-version")


def copy_project(folder: Path) -> Path:
    """A copy of what the stages need, in `folder`."""
    folder.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    return folder


def environment(project: Path, **more: str) -> Mapping[str, str]:
    """The environment of a command in `project`: its own code, its own store, nothing of the shell's settings."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLOPS_", "MLFLOW_", "PYTHON"))}
    return {**inherited, "PYTHONPATH": f"{project}{os.pathsep}{project / 'src'}", **more}


def run(project: Path, *arguments: str, timeout: float = 120, **more: str) -> subprocess.CompletedProcess[str]:
    """`python -m …` in `project`."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env=environment(project, **more),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which `python -m training.train` ran once: read it, never write to it."""
    project = copy_project(tmp_path_factory.mktemp("trained") / "project")
    done = run(project, "training.train")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh copy of the project, to change at will."""
    return copy_project(tmp_path / "project")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the shell reaches a test."""
    for name in list(os.environ):
        if name.startswith(("MLOPS_", "MLFLOW_")) or name in ("BUNDLE", "HOST", "PORT", "WEB_CONCURRENCY", "THREADS"):
            monkeypatch.delenv(name)
    yield
