import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STANDIN = Path(__file__).parent / "standin"


def copy_standin(folder: Path) -> Path:
    """A small project that can be served, in place of the real one."""
    return Path(shutil.copytree(STANDIN, folder / "standin", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def standin(tmp_path: Path) -> Path:
    return copy_standin(tmp_path)


@pytest.fixture(scope="session")
def standin_image(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stand-in as an image, with the packages of this environment, so that building needs no network."""
    context = tmp_path_factory.mktemp("image")
    shutil.copytree(STANDIN, context / "app", ignore=shutil.ignore_patterns("__pycache__"))
    packages = Path(sys.modules["pytest"].__file__ or "").parents[1]
    for name in (
        "flask",
        "werkzeug",
        "jinja2",
        "markupsafe",
        "click",
        "itsdangerous",
        "blinker",
        "gunicorn",
        "packaging",
    ):
        shutil.copytree(packages / name, context / "packages" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (context / "Dockerfile").write_text(
        f"FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim\n"
        "COPY packages /packages\nCOPY app /app\nWORKDIR /app\nUSER 10001\n"
        "ENV PYTHONPATH=/packages:/app BUNDLE=/app/bundle PYTHONDONTWRITEBYTECODE=1\n"
        'CMD ["python", "-m", "gunicorn", "--config", "serving/gunicorn.conf.py", "--worker-tmp-dir", "/dev/shm"]\n'
    )
    tag = f"gate-standin:{os.getpid()}"
    subprocess.run(["docker", "build", "--quiet", "--tag", tag, str(context)], capture_output=True, check=True)
    yield tag
    subprocess.run(["docker", "rmi", "--force", tag], capture_output=True, check=True)


SHORT = {
    # Three rounds are enough where the machine has nothing else to do, and there are more for where it has.
    "MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER": "[3, 9]",
    "MLOPS_PERF__PROFILES__STANDARD__ROUND_SECONDS": "1.0",
    "MLOPS_PERF__PROFILES__STANDARD__WARMUP_SECONDS": "0.1",
    # One user and few requests: what the tests are about shows on a machine that has other things to do.
    "MLOPS_PERF__LOAD__USERS": "1",
    "MLOPS_PERF__LOAD__MAX_RATE": "40",
    "MLOPS_PERF__MIN_REQUESTS": "10",
}
HERE = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
Gate = Callable[..., "subprocess.Popen[str]"]


@contextlib.contextmanager
def gates(folder: Path, project: Path = ROOT) -> Iterator[Gate]:
    """Starts `python -m perf` in a project, with short rounds; its output goes to `out` in the folder."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, output: str = "out", **environment: str) -> "subprocess.Popen[str]":
        clean = {key: value for key, value in os.environ.items() if not key.startswith("MLOPS_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "perf", "--output", str(folder / output), *arguments],
            cwd=project,
            env=clean | SHORT | HERE | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a group that a test can interrupt as a terminal does
        )
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """The gate for one test, with nothing beside it."""
    with gates(tmp_path) as start:
        yield start
