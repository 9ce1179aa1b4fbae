"""training.tune: better parameters are found, on rows that are learned from, here and on a cluster of Dask."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from distributed import Client
from mlflow import MlflowClient
from msgspec.structs import replace

from pipeline.schema import Data
from pipeline.settings import load_settings
from tests.conftest import environment
from tests.engine.conftest import PROJECT, copy_project, run
from training.dataset import Dataset, read
from training.tune import search
from training.tune.search import Rows, folds_of, rows_of

SETTINGS = load_settings(PROJECT)
NAME = SETTINGS.project.name
TREES = "histgradientboostingclassifier"
SPACE = f'''

def space(task):
    return {{"{TREES}__learning_rate": [0.001, 0.002, 0.3], "{TREES}__min_samples_leaf": [5, 10, 20]}}
'''


def to_tune(project: Path, space: str = SPACE, **changes: str) -> Path:
    """Few trees, which learn too slowly as they are."""
    estimator = project / "src" / "model" / "estimator.py"
    text = estimator.read_text().replace("max_iter=200", "max_iter=10").replace("=0.08", "=0.002")
    estimator.write_text(text + space)
    settings = project / "pipeline.toml"
    for old, new in changes.items():
        settings.write_text(settings.read_text().replace(old, new))
    return project


def tuned(project: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run(project, "training.tune", *options, timeout=300, **more)


@pytest.fixture(name="found", scope="module")
def _found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project, and what was said of its search on this machine."""
    project = to_tune(copy_project(tmp_path_factory.mktemp("tune") / "project"))
    done = tuned(project, "--trials", "9")
    assert done.returncode == 0, done.stdout + done.stderr
    return project, done.stdout


def result(said: str) -> list[str]:
    """What was found, without how long it took and where."""
    lines = said.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("roc_auc"))
    return [line.rstrip() for line in lines[start:]]


def test_better_parameters_are_found_and_said(found: tuple[Path, str]) -> None:
    """With how sure that is, what they are now, and what to do."""
    _, said = found
    first = re.search(
        r"roc_auc (\S+) -> (\S+), better in 5 of 5 folds of ([\d,]+) rows. Put these into build\(\)", said
    )
    assert first, said
    assert float(first[2]) > float(first[1])
    assert int(first[3].replace(",", "")) == int((~dataset().is_held_out).sum())
    assert re.search(rf"{TREES}__learning_rate +0.002 +0.3\b", said), said


def test_every_candidate_is_a_run_below_the_search(found: tuple[Path, str]) -> None:
    """With its parameters, its metric, and on how many rows that was."""
    project, _ = found
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [each for each in runs if each.info.run_name == "tune"]
    children = [each for each in runs if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(runs) == 1 + len(children) == 10
    assert parent.data.params[f"{TREES}__learning_rate"] == "0.3"
    assert parent.data.metrics["roc_auc"] > parent.data.metrics["roc_auc_before"]
    learned = int((~dataset().is_held_out).sum())
    rows = sorted(each.data.metrics["rows"] for each in children)
    assert rows == [round(learned / 9)] * 6 + [round(learned / 3)] * 2 + [learned]
    for each in children:
        assert set(each.data.params) == {f"{TREES}__learning_rate", f"{TREES}__min_samples_leaf"}
        assert 0.4 < each.data.metrics["roc_auc"] <= 1
        assert each.info.status == "FINISHED"


def test_a_search_registers_nothing(found: tuple[Path, str]) -> None:
    project, _ = found
    assert not MlflowClient(f"sqlite:///{project / 'mlflow.db'}").search_registered_models()
    assert not (project / "bundle").exists()


def test_a_search_that_finds_nothing_says_so(project: Path) -> None:
    worse = f'\n\ndef space(task):\n    return {{"{TREES}__learning_rate": [0.0001]}}\n'
    done = tuned(to_tune(project, worse), "--trials", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing better was found: roc_auc is 0." in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("", "src/model/estimator.py has no space(task) that says what to try"),
        (
            '\n\ndef space(task):\n    return {"learning_rate": [0.1]}\n',
            f"space() names 'learning_rate', which build() has not; did you mean {TREES}__learning_rate?",
        ),
        (
            f'\n\ndef space(task):\n    return {{"{TREES}__learning_rate": [-1.0]}}\n',
            "no candidate of space() could be fitted: InvalidParameterError: The 'learning_rate' parameter",
        ),
        ("\n\ndef space(task):\n    return 1 / 0\n", "space() failed with ZeroDivisionError: division by zero"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(project: Path, space: str, says: str) -> None:
    done = tuned(to_tune(project, space), "--trials", "1")
    assert done.returncode == 3
    assert "Traceback" not in done.stdout + done.stderr
    assert says in done.stdout.splitlines()[-1], done.stdout


def test_candidates_that_cannot_be_fitted_are_left_out(project: Path) -> None:
    some = f'\n\ndef space(task):\n    return {{"{TREES}__learning_rate": [-1.0, 0.3, 0.2]}}\n'
    done = tuned(to_tune(project, some), "--trials", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Note: 1 candidates could not be fitted, such as for InvalidParameterError" in done.stdout, done.stdout
    assert "better in 5 of 5 folds" in done.stdout


def dataset() -> Dataset:
    path = str(PROJECT / SETTINGS.data.path)
    return read(replace(SETTINGS.data, path=path), SETTINGS.training.holdout)


# --- Which rows a candidate is judged on


class AsTheyAre:
    """In place of the project's own `derive`."""

    def fit_transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "Derive", AsTheyAre)


def small(**changes: object) -> Data:
    known = {"task": "classification", "target": "label", "numeric": ["amount"], "text": ["who", "day"]}
    return Data(**{**known, **changes})  # type: ignore[arg-type]


def rows_from(tmp_path: Path, **changes: object) -> tuple[Data, Rows]:
    """400 rows of 40 people on 100 days, in no order."""
    dice = np.random.default_rng(0)
    day = pd.Timestamp("2026-01-01") + pd.to_timedelta(dice.integers(0, 100, 400), "D")
    frame = pd.DataFrame({"amount": np.arange(400), "who": dice.integers(0, 40, 400), "day": day.strftime("%Y-%m-%d")})
    frame["label"] = dice.choice(["yes", "no"], 400)
    frame.to_csv(tmp_path / "data.csv", index=False)
    data = small(path=str(tmp_path / "data.csv"), **changes)
    return data, rows_of(data, read(data, 0.2))


def test_a_group_is_learned_from_or_judged_on(tmp_path: Path, plain: None) -> None:
    """Never both, as in the held-out part."""
    data, rows = rows_from(tmp_path, group="who", numeric=["amount"], text=["day"])
    assert rows.groups is not None
    for learned, judged in folds_of(data, rows, 0).split(rows.table, rows.target, rows.groups):
        assert not {*rows.groups[learned]} & {*rows.groups[judged]}


def test_the_past_is_learned_from(tmp_path: Path, plain: None) -> None:
    """The rows that a candidate is judged on are no older."""
    data, rows = rows_from(tmp_path, time="day")
    day = rows.table["day"].to_numpy()
    folds = [*folds_of(data, rows, 0).split(rows.table, rows.target)]
    assert len(folds) == 5
    for learned, judged in folds:
        assert max(day[learned]) <= min(day[judged])


def test_each_fold_has_each_class(tmp_path: Path, plain: None) -> None:
    """Also of three rows, of which each of three folds then has one."""
    data, rows = rows_from(tmp_path)
    rare = rows._replace(target=np.where(np.arange(len(rows.target)) < 3, "rare", rows.target))
    folds = [*folds_of(data, rare, 0).split(rare.table, rare.target)]
    assert [(rare.target[judged] == "rare").sum() for _, judged in folds] == [1, 1, 1]


# --- A cluster of Dask


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler, the first, and workers that have the libraries and not the code, in processes of their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    shell = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    dask = [sys.executable, "-m", "dask"]
    quiet = ["--no-dashboard"]
    commands = [[*dask, "scheduler", "--host=127.0.0.1", f"--port={address.rpartition(':')[2]}", *quiet]]
    for number in range(workers):
        place = folder / f"worker-{number}"
        place.mkdir()
        options = ["--nthreads=1", "--no-nanny", f"--local-directory={place}", f"--name={number}"]
        commands.append([*dask, "worker", address, "--host=127.0.0.1", *options, *quiet])
    with (folder / "log").open("wb") as log:
        started = [subprocess.Popen(each, cwd=folder, env=shell, stdout=log, stderr=log) for each in commands]
    try:
        yield address, started
    finally:
        for process in started:
            process.kill()
            process.wait()


def on_dask(project: Path) -> Path:
    settings = project / "pipeline.toml"
    settings.write_text(settings.read_text() + '\n[training]\nbackend = "dask"\n')
    return project


@pytest.mark.filterwarnings("ignore")  # of distributed, in this process
def test_a_cluster_finds_the_same_though_a_worker_dies(project: Path, tmp_path: Path, found: tuple[Path, str]) -> None:
    """The workers get the code of the project, as it is today, and not as it was in the search before."""
    on_dask(to_tune(project))
    with cluster(tmp_path, 3) as (address, processes), Client(address, timeout=60) as client:
        client.wait_for_workers(3, timeout=60)
        done = tuned(project, "--trials", "9", DASK_SCHEDULER_ADDRESS=address)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Searching on 3 workers of Dask at {address}" in done.stdout
        assert result(done.stdout) == result(found[1])
        slowed(project)
        searching = under_way(project, address, client)
        os.kill(processes[1].pid, signal.SIGKILL)
        said, _ = searching.communicate(timeout=200)
        assert searching.returncode == 0, said
        assert result(said) == result(found[1])
        client.wait_for_workers(2, timeout=60)


@pytest.mark.filterwarnings("ignore")
def test_one_worker_is_enough_and_a_scheduler_that_dies_is_named(project: Path, tmp_path: Path) -> None:
    """One worker of one thread computes, and not this process in its place."""
    on_dask(to_tune(project))
    with cluster(tmp_path, 1) as (address, processes), Client(address, timeout=60) as client:
        client.wait_for_workers(1, timeout=60)
        done = tuned(project, "--trials", "1", DASK_SCHEDULER_ADDRESS=address)
        assert done.returncode == 0, done.stdout + done.stderr
        slowed(project)
        searching = under_way(project, address, client)
        os.kill(processes[0].pid, signal.SIGKILL)
        said, _ = searching.communicate(timeout=100)
    assert searching.returncode == 3, said
    assert f"Cannot tune: Dask at {address} gave up" in said.splitlines()[-1], said


def slowed(project: Path) -> None:
    """Each fit takes a while, by a step in a module that the search before did not have."""
    (project / "src" / "model" / "steps.py").write_text(STEP)
    estimator = project / "src" / "model" / "estimator.py"
    text = estimator.read_text().replace("make_pipeline(columns, trees)", "make_pipeline(Slow(), columns, trees)")
    estimator.write_text("from model.steps import Slow\n" + text)


def under_way(project: Path, address: str, client: Client) -> "subprocess.Popen[str]":
    """A search whose fits the workers have begun with."""
    searching = subprocess.Popen(
        [sys.executable, "-m", "training.tune", "--trials", "9"],
        cwd=project,
        env=environment(project, DASK_SCHEDULER_ADDRESS=address),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until = time.monotonic() + 60
    while not any(client.processing().values()):
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1)
    return searching


STEP = """import time

from sklearn.base import BaseEstimator, TransformerMixin


class Slow(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        time.sleep(0.1)
        return self

    def transform(self, X):
        return X
"""


def test_without_a_scheduler_nothing_is_searched(project: Path) -> None:
    """One line says what is missing."""
    on_dask(to_tune(project))
    done = tuned(project)
    assert done.returncode == 3
    assert "DASK_SCHEDULER_ADDRESS does not say where its scheduler is" in done.stdout.splitlines()[-1]
    done = tuned(project, DASK_SCHEDULER_ADDRESS="tcp://127.0.0.1:9")
    assert done.returncode == 3
    assert "no scheduler of Dask answers at tcp://127.0.0.1:9" in done.stdout.splitlines()[-1], done.stdout
