"""The project of these tests: this one, trained on a small part of its data in a scratch folder."""

import contextlib
import csv
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from pipeline.schema import METRICS, Data
from pipeline.settings import load_settings

ROOT = Path(__file__).parents[1]
CODE = ("src", "training", "serving", "perf", "requirements", "pipeline.toml", ".python-version", "Dockerfile")
LOOKED_AT = 200_000  # rows, from the first one on
ROWS = 600  # of a larger file: enough for a model that learns, few enough for one that is slow to train
PART = {"MLOPS_DATA__PATH": "data.csv", "MLOPS_DATA__SQL": "", "MLOPS_DATA__ENCODING": "utf-8"}  # of the data: settings


def first_rows(data: Data) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and the first rows as texts, wherever they lie."""
    from training.source import table
    from training.source.rows import texts

    with contextlib.chdir(ROOT), table.opened(data, table.find(data)) as source:
        parts, rows = source.parts(source.names), list[list[str]]()
        while len(rows) < LOOKED_AT and (part := next(parts, None)):
            names = [*part.columns]
            rows += map(list, zip(*map(texts, part.columns.values()), strict=True))
    return names, rows


def sample(rows: list[list[str]], target: int | None, holdout: float) -> list[list[str]]:
    """At most ROWS rows at random, but of each class so many that both parts of the split have some of it.

    target: the column of the class; None for a regression.
    """
    few = round(20 / min(holdout, 1 - holdout))
    shuffled = random.Random(0).sample(rows, len(rows))
    seen: dict[str, int] = {}
    chosen = []
    for row in shuffled:
        name = "" if target is None else row[target]
        seen[name] = seen.get(name, 0) + 1
        if len(chosen) < ROWS or seen[name] <= few:
            chosen.append(row)
    return chosen


def environment(project: Path, **more: str) -> Mapping[str, str]:
    """The variables of a command in `project`: its own code and store, no setting of the shell, no run's summary."""
    outer = ("MLOPS_", "MLFLOW_", "PYTHON", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")
    shell = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
    return {**shell, "PYTHONPATH": f"{project}{os.pathsep}{project / 'src'}", **more}


def run(project: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """`python -m …` in `project`, with its output as one text."""
    command = [sys.executable, "-m", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=project, env=environment(project, **more), check=False, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project after `make train`, on a part of the data and without the quality gate. Read it only."""
    project = tmp_path_factory.mktemp("trained")
    for part in CODE:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, project / part)
    settings = load_settings(ROOT, {})
    names, rows = first_rows(settings.data)
    target = names.index(settings.data.target) if settings.data.task == "classification" else None
    with (project / PART["MLOPS_DATA__PATH"]).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=settings.data.separator)
        writer.writerows([names, *sample(rows, target, settings.training.holdout)])
    more_is_better = METRICS[settings.data.task][settings.quality.metric]
    anything = {"MLOPS_QUALITY__FLOOR": "-1e300" if more_is_better else "1e300"}
    done = run(project, "training.train", **PART, **anything)
    if done.returncode:  # one sentence instead of an error for each test that needs a model
        pytest.exit(f"The tests need a model, and `make train` fails on a part of the data:\n{done.stdout}", 1)
    return project


@pytest.fixture(scope="session")
def service(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service of the trained project, as `make serve` starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("service") / "log"
    command = [sys.executable, "-m", "gunicorn", "--config", str(trained / "serving" / "gunicorn.conf.py")]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment(trained, PORT=str(port)), stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        while not ready(url):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def ready(url: str) -> bool:
    """Whether a service answers there and says that it is ready."""
    try:
        return requests.get(f"{url}/readyz", timeout=10).ok
    except requests.ConnectionError:
        return False
