"""pipeline.yml and rollback.yml, unchanged, from push to promotion and back.

The runs follow each other as a project's would: each fixture is one run, after the one before it.
"""

import base64
import contextlib
import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from perf.verdict import read_verdict
from tests.engine.conftest import run
from tests.engine.release.github_server import zipped
from tests.template.act.place import NEVER_READY, SLOW, Ended, Place
from tests.template.act.registry import READER, WRITER
from tests.template.deploy.conftest import missing
from tests.template.deploy.machine import lacks, serving_machine

MAIN = {"ref": "refs/heads/main"}
PROMOTED = dict.fromkeys(
    ("Train and test", "Build and push the image", "Load-test and scan", "Approve", "Promote"), "success"
)
WEEK = {"schedule": "23 4 * * 1", "repository": {"default_branch": "main", "visibility": "private"}}
TRAINED = ("src/model/data.py", "from collections", "# A change.\nfrom collections")


def pull_request(head: str, base: str, user: str = "mallory") -> dict[str, Any]:
    """The part of a pull request's event that the workflow reads."""
    return {
        "number": 7,
        "pull_request": {
            "number": 7,
            "user": {"login": user},
            "head": {"ref": "faster", "sha": "0" * 40, "repo": {"full_name": head}},
            "base": {"ref": "main", "sha": "0" * 40, "repo": {"full_name": base}},
        },
    }


@pytest.fixture(name="first", scope="module")
def _first(baked: Place) -> tuple[Ended, str]:
    """The first push of a project, and the champion after it."""
    return baked.run("push", payload=MAIN), baked.champion()


@pytest.fixture(name="second", scope="module")
def _second(first: object, baked: Place) -> tuple[Ended, str]:
    """A second push, with another model."""
    with baked.changed(*TRAINED):
        return baked.run("push", payload=MAIN), baked.champion()


def test_a_generated_project_is_green_on_its_first_push(first: tuple[Ended, str], baked: Place) -> None:
    """(a) Under a name with dots and capitals, with the other task."""
    ended, champion = first
    assert ended.status == 0, ended.printed
    assert ended.jobs == PROMOTED
    assert champion.startswith("sha256:")


def test_a_push_that_changes_nothing_costs_one_job(first: tuple[Ended, str], baked: Place) -> None:
    """Nothing is trained, built, measured or promoted, and it is said; no artifact is left but that."""
    with baked.changed("README.md", "## Start\n", "## Begin\n"):
        ended = baked.run("push", payload=MAIN)
    assert ended.status == 0, ended.printed
    assert ended.jobs == {"Train and test": "success"}
    assert "MLflow and the registry agree: the champion is version 1." in ended.said("Train and test")
    assert "it stays version 1, the champion's" in ended.said("Train and test")
    said = "Nothing to measure: the service is the champion's, version 1."
    assert ended.printed.count(said) > 1  # in the log and in the summary
    assert baked.champion() == first[1]
    assert baked.results.names(baked.runs) == ["model"]


def test_the_baseline_boots_beside_the_second_push(
    first: tuple[Ended, str], second: tuple[Ended, str], baked: Place
) -> None:
    """(b) Both are service containers by digest, the verdict compares them, and the champion moves on.

    Another model is another version; the registry keeps the image of each.
    """
    ended, champion = second
    assert ended.status == 0, ended.printed
    assert ended.jobs == PROMOTED
    assert "Cache restored from key: mlflow-" in ended.said("Train and test")
    assert "@champion is version 2." in ended.said("Promote")
    tags = [baked.registry.digest(baked.repository.lower(), f"champion-{number}") for number in (1, 2)]
    assert tags == [first[1], champion]
    verdict = read_verdict(baked.artifact("verdict") / "verdict.json")
    assert verdict.baseline is not None
    assert (verdict.outcome, verdict.candidate.kind, verdict.baseline.kind) == ("pass", "attached", "attached")


def test_what_slows_prediction_is_red(second: tuple[Ended, str], baked: Place) -> None:
    """(c) The report's first line names p95 and by how much, and the champion stays."""
    with baked.changed(*SLOW):
        ended = baked.run("push", payload=MAIN)
    assert ended.status == 1, ended.printed
    assert ended.jobs["Load-test and scan"] == "failure"
    assert "Promote" not in ended.jobs
    report = (baked.artifact("reports") / "report.md").read_text().splitlines()
    assert report[0].startswith("### ❌ Latency: p95 of POST /predict is ")
    assert "% slower" in report[0]
    assert report[0] in ended.printed  # the step's summary
    assert baked.champion() == second[1]


QUEUE = "refs/heads/gh-readonly-queue/main/pr-7-0"


def test_a_model_below_the_floor_is_red_before_any_image(second: tuple[Ended, str], baked: Place) -> None:
    """(d) Training ends with the metric and the floor, and nothing is built; lint and tests run all the same.

    Here in a merge queue, which waits for the required check.
    """
    payload = {"ref": QUEUE, "merge_group": {"head_ref": QUEUE}}
    with baked.changed("pipeline.toml", "floor = 0.45", "floor = 0.99"):
        ended = baked.run("merge_group", payload=payload, password=READER)
    assert ended.status == 1, ended.printed
    assert ended.jobs == {"Train and test": "failure", "All checks": "failure"}
    quality = json.loads((baked.artifact("model") / "model.json").read_text())
    assert quality["passed"] is False
    assert "below the floor of 0.99" in quality["sentence"]
    assert "❌ Model: " in ended.printed  # the step's summary
    assert " passed in " in ended.said("Train and test")
    assert baked.champion() == second[1]


def test_a_service_that_never_gets_ready_is_red_with_its_log(second: tuple[Ended, str], baked: Place) -> None:
    """(e) What its container wrote is in the report.

    Here in a pull request by Dependabot, which is told the variables of a team and none of its passwords: so it asks no
    server, is measured alone, and the report says that.
    """
    payload = pull_request(baked.repository, baked.repository, user="dependabot[bot]")
    server = "--var=MLFLOW_TRACKING_URI=http://127.0.0.1:9"
    with baked.changed(*NEVER_READY):
        ended = baked.run("pull_request", "pipeline.yml", server, payload=payload, password="")
    assert ended.status == 1, ended.printed
    assert ended.jobs == {"Train and test": "success", "Load-test and scan": "failure", "All checks": "failure"}
    report = (baked.artifact("reports") / "report.md").read_text()
    assert report.startswith("### ⛔ Latency: could not run: The candidate (sha256:")
    assert "was not ready after 30 s" in report
    assert "no database" in report
    assert report.splitlines()[0] in ended.printed  # the step's summary
    verdict = read_verdict(baked.artifact("verdict") / "verdict.json")
    assert verdict.baseline is None
    assert any(note.startswith("The champion cannot be seen from Dependabot (") for note in verdict.notes)
    assert baked.champion() == second[1]


@pytest.fixture(name="fork", scope="module")
def _fork(second: object, baked: Place) -> tuple[Ended, Path]:
    """A pull request from a fork where the package is public, and the folder with the verdict that its run left."""
    baked.registry.public.add(baked.repository.lower())
    ended = baked.run("pull_request", payload=pull_request("mallory/loans", baked.repository), password="")
    baked.registry.public.clear()
    return ended, baked.artifact("verdict")


def test_a_fork_is_measured_without_a_push(second: tuple[Ended, str], fork: tuple[Ended, Path], baked: Place) -> None:
    """(f) The gate starts its image itself, beside the champion from the registry."""
    ended, artifact = fork
    assert ended.status == 0, ended.printed
    assert ended.jobs == dict.fromkeys(("Train and test", "Load-test and scan", "All checks"), "success")
    verdict = read_verdict(artifact / "verdict.json")
    assert verdict.baseline is not None
    assert (verdict.outcome, verdict.candidate.kind, verdict.baseline.kind) == ("pass", "container", "container")
    assert verdict.baseline.image == f"{baked.images}@{second[1]}"
    assert baked.champion() == second[1]


def test_an_old_run_that_is_started_again_promotes_nothing(second: tuple[Ended, str], baked: Place) -> None:
    """Its commit is older than the champion's, as GitHub says; so nothing is built or measured."""
    baked.github.compared["*"] = "ahead"
    ended = baked.run("push", "pipeline.yml", "--env", "GITHUB_RUN_ATTEMPT=2", payload=MAIN)
    baked.github.compared.clear()
    assert ended.status == 1, ended.printed
    assert ended.jobs == {"Train and test": "failure"}
    assert "is older than" in ended.said("Train and test")
    assert baked.champion() == second[1]


def test_only_pushes_to_main_write_to_the_registry(fork: object, second: object, baked: Place) -> None:
    """By the tokens that the registry has handed out: a reader's and a stranger's never allowed it."""
    assert baked.registry.pushed_by(WRITER)
    assert baked.registry.pushed_by(READER) + baked.registry.pushed_by("") == []


def completed(sha: str, owner: str, run: int) -> dict[str, Any]:
    """The event that follows a run of the pipeline for a pull request."""
    repository = {"id": 2, "owner": {"login": owner}, "full_name": f"{owner}/loans"}
    known = {"id": run, "run_attempt": 1, "event": "pull_request", "conclusion": "success", "head_sha": sha}
    known |= {"head_branch": "faster", "head_repository": repository, "pull_requests": [{"number": 66}]}
    return {"workflow_run": known, "repository": {"id": 1}}


def test_the_pull_request_gets_one_comment(fork: tuple[Ended, Path], baked: Place) -> None:
    """(g) Created, then changed, on the pull request of the commit that ran; a hostile artifact shows nothing."""
    github, sha = baked.github, "0" * 40
    github.pull(7, sha, owner="mallory")
    github.pull(66, "1" * 40, owner="mallory", branch="other")
    github.artifact("verdict", zipped(verdict_json=(fork[1] / "verdict.json").read_bytes()))
    first = baked.run("workflow_run", "comment.yml", payload=completed(sha, "mallory", 10))
    assert first.status == 0, first.printed
    assert "Commented on #7." in first.said("Comment on the pull request")
    (comment,) = github.comments
    assert comment["body"].startswith("### ✅ Latency: ")
    assert "measured by its own code" in comment["body"]
    github.artifact("verdict", zipped(verdict_json=b'{"number": 66, "headline": "@everyone"}' + b" " * 10_000_000))
    second = baked.run("workflow_run", "comment.yml", payload=completed(sha, "mallory", 11))
    assert second.status == 0, second.printed
    assert "Changed the comment on #7." in second.said("Comment on the pull request")
    (comment,) = github.comments
    assert comment["body"].startswith("### ⛔ The report of this run cannot be shown: verdict.json is larger")
    assert "everyone" not in comment["body"]


BACK = {"version": "previous", "reason": 'too many "false" alarms; $(id)'}


@pytest.fixture(name="back", scope="module")
def _back(second: object, baked: Place) -> Ended:
    """A rollback after the second push, without the cache, with the store that the last run on main has left."""
    packed = [file for run in range(1, baked.runs + 1) if (file := baked.results.packed(run, "mlflow"))]
    baked.github.artifact("mlflow", packed[-1].read_bytes())
    baked.results.caches.clear()
    return baked.run("workflow_dispatch", "rollback.yml", payload=MAIN | {"inputs": BACK})


def test_a_rollback_brings_the_previous_champion_back(first: tuple[Ended, str], back: Ended, baked: Place) -> None:
    """(h) The very digest, after it has been booted, in less than 2 min.

    MLflow knows who did it and why, and the store of the next run knows the champion.
    """
    assert back.status == 0, back.printed
    said = back.said("Roll back")
    assert "took the one that the last run on main left" in said
    assert "is version 1 again, and version 2 no more" in said
    assert baked.champion() == first[1]
    assert back.seconds < 120
    store = baked.artifact("mlflow") / "mlflow.db"
    with contextlib.closing(sqlite3.connect(store)) as db:
        rows = dict(db.execute("SELECT key, value FROM model_version_tags WHERE version = 1"))
    assert (rows["rolled_back_by"], rows["rolled_back_reason"]) == ("octocat", BACK["reason"])


ROLLED_BACK = {"conclusion": "success", "event": "workflow_dispatch", "head_branch": "main"}
AFTERWARDS = MAIN | {"repository": {"default_branch": "main"}, "workflow_run": ROLLED_BACK}


def test_what_was_rolled_back_to_is_deployed(back: Ended, baked: Place, tmp_path: Path) -> None:
    """By SSH, with a key that is a secret. A machine that cannot be reached opens an issue, one that can closes it."""
    if what := lacks():
        missing(what)
    image = f"{baked.images}@{baked.champion()}"
    with serving_machine(tmp_path, "acme-s-loans-production") as machine:
        proxy = [f"--env={key}={machine.variables[key]}" for key in ("HTTP_PORT", "HTTPS_PORT")]
        known = ["--var=DEPLOY_TARGET=host", f"--var=SSH_KNOWN_HOSTS={machine.known_hosts}", *proxy]
        nowhere = [*known, "--var=DEPLOY_HOST=ssh://nobody@127.0.0.1:9"]
        failed = baked.run("workflow_run", "deploy.yml", *nowhere, payload=AFTERWARDS)
        assert failed.jobs["Deploy to production"] == "failure", failed.printed
        assert "Cannot deploy: at ssh://nobody@127.0.0.1:9: docker: " in failed.said("Deploy to production")
        (issue,) = [each for each in baked.github.issues if each["state"] == "open"]
        assert issue["title"] == "Deployment failed"
        right = [*known, f"--var=DEPLOY_HOST={machine.host}", f"--secret=SSH_KEY={machine.key}"]
        ended = baked.run("workflow_run", "deploy.yml", *right, payload=AFTERWARDS)
        assert ended.status == 0, ended.printed
        said = ended.said("Deploy to production")
        assert f"Deploying version 1, {image} ..." in said
        assert "Deployed: version 1 runs in production. p95 is" in said
        assert "PRIVATE KEY" not in ended.printed
        assert issue["state"] == "closed"


def test_retraining_without_new_data_is_one_job(back: Ended, baked: Place) -> None:
    """With the code that is in production now: nothing is trained, in seconds."""
    ended = baked.run("schedule", "retrain.yml", payload=WEEK)
    assert ended.status == 0, ended.printed
    assert ended.jobs == {"Look for new data": "success"}
    assert "Not retrained. The champion is made of the same data and code." in ended.said("Look for new data")


def test_a_store_that_is_lost_comes_back_out_of_the_image(
    second: tuple[Ended, str], baked: Place, tmp_path: Path
) -> None:
    """With neither cache nor artifact, the champion is registered again from what the registry has."""
    project = tmp_path / "project"
    subprocess.run(["git", "clone", "--quiet", baked.checkout, project], check=True)
    known = {baked.registry.address: {"auth": base64.b64encode(f"x:{READER}".encode()).decode()}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": known}))
    command = ("release.restore", "--repository", f"{baked.registry.address}/{baked.repository}")
    done = run(project, *command, DOCKER_CONFIG=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"rebuilt from {baked.images}@{baked.champion()}" in done.stdout
    again = run(project, *command, DOCKER_CONFIG=str(tmp_path))
    assert "MLflow and the registry agree: the champion is version" in again.stdout
