"""What more than one folder of tests needs: a project, trained once in a scratch copy.

The engine is this repository's; data, settings and model are those of the folder project/, whatever src/model is here.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before scikit-learn: on little data, threads only wait for each other

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).with_name("project")
sys.path.insert(0, str(PROJECT / "src"))  # its `model` comes before that of this repository
assert "model" not in sys.modules

import training  # noqa: E402, F401  before scikit-learn as well
from tests.conftest import environment  # noqa: E402
from tests.engine.browser import NAMES, Browser, browser  # noqa: E402

ENGINE = ("src/pipeline", "training", "serving", "perf", "release", "requirements", ".python-version")


def copy_project(folder: Path) -> Path:
    """A copy of what the stages need, in `folder`."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT, folder, ignore=ignored)
    for part in ENGINE:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder / part)
    return folder


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
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two projects in which `python -m training.train` ran once, with other seeds of Python's hashes."""
    first, second = (copy_project(tmp_path_factory.mktemp(f"trained-{seed}") / "project") for seed in (1, 2))
    with ThreadPoolExecutor() as pool:
        for done in pool.map(
            lambda each: run(each[0], "training.train", PYTHONHASHSEED=each[1]), [(first, "1"), (second, "2")]
        ):
            assert done.returncode == 0, done.stdout + done.stderr
    return first, second


@pytest.fixture(scope="session")
def trained(twins: tuple[Path, Path]) -> Path:
    """A project in which `python -m training.train` ran once: read it, never write to it."""
    return twins[0]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh copy of the project, to change at will."""
    return copy_project(tmp_path / "project")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the shell reaches a test."""
    for name in list(os.environ):
        if name.startswith(("MLOPS_", "MLFLOW_", "GITHUB_")) or name in (
            "BUNDLE",
            "HOST",
            "PORT",
            "WEB_CONCURRENCY",
            "THREADS",
        ):
            monkeypatch.delenv(name)
    yield


@pytest.fixture(scope="session")
def engine() -> None:
    """Docker with buildx. Without it a test is skipped, but fails in CI, where a skipped test would go unseen."""
    for needed, command in (
        ("Docker on PATH", ["docker", "--version"]),
        ("Docker's engine (it does not answer)", ["docker", "version"]),
        ("Docker's buildx", ["docker", "buildx", "version"]),
    ):
        if shutil.which("docker") is None or subprocess.run(command, check=False, capture_output=True).returncode:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {needed}")


@pytest.fixture(name="chromium", scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser. Where none is installed a test is skipped, but fails in CI."""
    with browser(tmp_path_factory.mktemp("profile")) as started:
        if started is None:
            missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            missing(f"needs one of {', '.join(NAMES)} on PATH: apt-get install chromium")
        yield started
