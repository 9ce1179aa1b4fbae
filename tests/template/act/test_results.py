"""What GitHub's own clients make of the service of artifacts and caches, and it of them: see results.py."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.template.act.results import Results, serving_results

MAIN = "refs/heads/main"
Client = Callable[..., str]


@pytest.fixture(name="results")
def _results(tmp_path: Path) -> Iterator[Results]:
    (tmp_path / "blobs").mkdir()
    with serving_results(tmp_path / "blobs") as results:
        yield results


@pytest.fixture(name="client")
def _client(results: Results, clients: Path, tmp_path: Path) -> Client:
    """Runs a client as a step of a job does, in a workspace."""
    workspace = tmp_path / "workspace"
    (workspace / "reports" / ".hidden").mkdir(parents=True)
    (workspace / "reports" / ".hidden" / "secret").write_text("x")
    (workspace / "reports" / "model.json").write_text("{}")
    (workspace / "mlflow.db").write_text("one")

    def call(script: str, verb: str, branch: str = MAIN, run: int = 1, **given: str) -> str:
        known = results.environment(run, branch, MAIN) | {"GITHUB_SERVER_URL": "http://github.localhost"}
        known |= {"PATH": os.environ["PATH"], "GITHUB_WORKSPACE": str(workspace), "RUNNER_TEMP": str(tmp_path / "temp")}
        command = ["node", clients / f"{script}.mjs", verb]
        done = subprocess.run(
            command, cwd=workspace, env=known | given, check=False, capture_output=True, text=True, timeout=60
        )
        return done.stdout + done.stderr

    return call


REPORTS = {
    "NAME": "model",
    "PATHS": "reports/model.json\nreports/curves\nreports/changes.json",
    "MISSING": "error",
    "DAYS": "14",
}


def test_an_artifact_holds_what_lies_below_the_paths_of_a_step(client: Client, results: Results) -> None:
    """Names begin at the folder that all paths share, though a file is missing; hidden files stay out."""
    client("artifacts", "upload", **REPORTS)
    client("artifacts", "upload", **REPORTS | {"NAME": "reports", "PATHS": "reports/"})
    for name in ("model", "reports"):
        unpacked = results.unpacked(1, name)
        assert [path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")] == ["model.json"]


def test_an_artifact_is_replaced_only_where_the_step_says_so(client: Client, results: Results, tmp_path: Path) -> None:
    """GitHub refuses a second one of the same name."""
    client("artifacts", "upload", **REPORTS)
    (tmp_path / "workspace" / "reports" / "model.json").write_text("[1]")
    assert "an artifact with this name already exists" in client("artifacts", "upload", **REPORTS)
    assert (results.unpacked(1, "model") / "model.json").read_text() == "{}"
    client("artifacts", "upload", **REPORTS, OVERWRITE="true")
    client("artifacts", "download", NAME="model", TO="back")
    assert (tmp_path / "workspace" / "back" / "model.json").read_text() == "[1]"


def test_an_artifact_belongs_to_its_run(client: Client, tmp_path: Path) -> None:
    """Another run finds none, and says so."""
    client("artifacts", "upload", **REPORTS)
    assert "::error::" in client("artifacts", "download", run=2, NAME="model", TO="back")
    assert not (tmp_path / "workspace" / "back").exists()


STORE = {"PATHS": "mlflow.db\nmlartifacts", "KEYS": "mlflow-"}


def test_a_cache_of_a_pull_request_never_reaches_main(client: Client, tmp_path: Path) -> None:
    """It is read in the pull request itself, where main's is read as well."""
    store = tmp_path / "workspace" / "mlflow.db"
    client("caches", "save", **STORE, KEY="mlflow-1-1-trained")
    store.write_text("of a pull request")
    assert "Cache saved" in client("caches", "save", "refs/pull/7/merge", **STORE, KEY="mlflow-2-1-trained")
    for branch, found in ((MAIN, "one"), ("refs/pull/7/merge", "of a pull request"), ("refs/pull/8/merge", "one")):
        store.write_text("")
        assert "Cache restored" in client("caches", "restore", branch, **STORE, KEY="mlflow-9-1")
        assert store.read_text() == found


def test_a_cache_is_written_once(client: Client, results: Results) -> None:
    """A second save fails no job, and changes nothing."""
    for _ in range(2):
        printed = client("caches", "save", **STORE, KEY="mlflow-1-1-trained")
    assert "another job may be creating this cache" in printed
    assert len(results.caches) == 1
    assert "Cache not found" in client("caches", "restore", **STORE | {"PATHS": "other"}, KEY="mlflow-1-1-trained")
