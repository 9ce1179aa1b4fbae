"""This very repository, from retrain.yml to its first promotion, with a team's MLflow server.

The variable MLFLOW_TRACKING_URI is all that such a server takes.
"""

import contextlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from perf.verdict import read_verdict
from tests.engine.release.github_server import BOT
from tests.template.act.place import Place

# As many a `git init` calls it.
MASTER = {"ref": "refs/heads/master", "repository": {"default_branch": "master"}}


@pytest.fixture(name="server", scope="module")
def _server(act: None, repository: Path) -> Iterator[str]:
    """The URL of MLflow's own server, in a container, which keeps the artifacts as well."""
    build = ["docker", "build", "--quiet", "--target", "mlflow", "--build-arg", "REQUIREMENTS=mlflow", repository]
    image = subprocess.run(build, check=True, capture_output=True, text=True).stdout.strip()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    run = ["docker", "run", "--detach", "--network", "host", "--env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", image]
    kept = ["--backend-store-uri", "sqlite:////tmp/mlflow.db", "--artifacts-destination", "/tmp/artifacts"]  # noqa: S108
    run += ["server", "--host", "127.0.0.1", "--port", port, "--workers", "1", *kept]
    container = subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()
    try:
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            time.sleep(0.25)
        else:
            log = subprocess.run(["docker", "logs", container], check=False, capture_output=True, text=True)
            pytest.fail(log.stdout + log.stderr)
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", container], check=True, capture_output=True)


def test_retraining_promotes_on_a_teams_server(here: Place, server: str) -> None:
    """No store is carried along, the version is the server's champion, and the issue of a failure is closed.

    Nothing was promoted before, and the registry denies what nobody has pushed yet: so there is no baseline.
    """
    issue = {"number": 3, "user": BOT, "state": "open", "body": "<!-- perf-gate:issue Retraining failed -->"}
    here.github.issues.append(issue)
    ended = here.run("workflow_dispatch", "retrain.yml", f"--var=MLFLOW_TRACKING_URI={server}", payload=MASTER)
    assert ended.status == 0, ended.printed
    assert set(ended.jobs.values()) == {"success"}
    assert not here.artifact("mlflow").exists()
    assert "The registry does not say whether there is a champion (" in ended.said("Train and test")
    verdict = read_verdict(here.artifact("verdict") / "verdict.json")
    assert (verdict.outcome, verdict.baseline, verdict.candidate.kind) == ("pass", None, "attached")
    assert verdict.candidate.image == f"{here.images}@{here.champion()}"
    client = MlflowClient(server, server)
    version = client.get_model_version_by_alias("loan-default", "champion")
    assert version.tags["image"] == f"{here.images}@{here.champion()}"
    assert client.get_run(version.run_id).data.metrics["roc_auc"] > 0.9
    assert issue["state"] == "closed"
