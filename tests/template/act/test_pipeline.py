"""pipeline.yml and rollback.yml, unchanged, from push to promotion and back.

The runs follow each other as a project's would: each fixture is one run, after the one before it.
"""

import contextlib
import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from perf.verdict import read_verdict
from tests.engine.conftest import run
from tests.engine.release.github_server import zipped
from tests.template.act.place import NEVER_READY, SLOW, Ended, Place

MAIN = {"ref": "refs/heads/main"}
PROMOTED = dict.fromkeys(("checks", "image", "load-test", "promote", "scan", "train"), "success")


def pull_request(head: str, base: str) -> dict[str, Any]:
    """The part of a pull request's event that the workflow reads."""
    return {
        "number": 7,
        "pull_request": {
            "number": 7,
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
    """A second push that changes nothing that runs."""
    return baked.run("push", payload=MAIN), baked.champion()


def test_this_repository_is_green_on_its_first_push(here: Place) -> None:
    """(a) No baseline, no secret beside the token: it passes, is promoted, and the registry has a champion."""
    ended = here.run("push", payload=MAIN)
    assert ended.status == 0, ended.printed
    assert ended.jobs == PROMOTED
    assert "There is no champion yet." in ended.said("Train and register")
    verdict = read_verdict(here.artifact("verdict") / "verdict.json")
    assert (verdict.outcome, verdict.baseline, verdict.candidate.kind) == ("pass", None, "attached")
    assert verdict.candidate.image == f"{here.images}@{here.champion()}"


def test_a_generated_project_is_green_on_its_first_push(first: tuple[Ended, str], baked: Place) -> None:
    """(a) Under a name with dots and capitals, with the other task."""
    ended, champion = first
    assert ended.status == 0, ended.printed
    assert ended.jobs == PROMOTED
    assert champion.startswith("sha256:")


def test_the_baseline_boots_beside_the_second_push(
    first: tuple[Ended, str], second: tuple[Ended, str], baked: Place
) -> None:
    """(b) Both are service containers by digest, the verdict compares them, and the champion moves on."""
    ended, champion = second
    assert ended.status == 0, ended.printed
    assert ended.jobs == PROMOTED
    assert "Cache restored from mlflow-1-1-promoted" in ended.said("Train and register")
    assert "MLflow and the registry agree: the champion is version 1." in ended.said("Train and register")
    assert champion not in ("", first[1])


def test_what_slows_prediction_is_red(second: tuple[Ended, str], baked: Place) -> None:
    """(c) The report's first line names p95 and by how much, and the champion stays."""
    with baked.changed(*SLOW):
        ended = baked.run("push", payload=MAIN)
    assert ended.status == 1, ended.printed
    assert ended.jobs == PROMOTED | {"load-test": "failure", "promote": "skipped"}
    report = (baked.artifact("reports") / "report.md").read_text().splitlines()
    assert report[0].startswith("### ❌ Performance gate: p95 of POST /predict is ")
    assert "% slower" in report[0]
    assert report[0] in ended.printed  # the step's summary
    assert baked.champion() == second[1]


def test_a_model_below_the_floor_is_red_before_any_image(second: tuple[Ended, str], baked: Place) -> None:
    """(d) Training ends with the metric and the floor, and nothing else runs."""
    with baked.changed("pipeline.toml", "floor = 0.45", "floor = 0.99"):
        ended = baked.run("push", payload=MAIN)
    assert ended.status == 1, ended.printed
    later = dict.fromkeys(("image", "load-test", "promote", "scan"), "skipped")
    assert ended.jobs == {"checks": "success", "train": "failure"} | later
    quality = json.loads((baked.artifact("quality") / "quality.json").read_text())
    assert quality["passed"] is False
    assert "beyond the floor of 0.99" in quality["sentence"]
    assert f"❌ Quality gate: {quality['sentence']}." in ended.printed  # the step's summary
    assert baked.champion() == second[1]


def test_a_service_that_never_gets_ready_is_red_with_its_log(second: tuple[Ended, str], baked: Place) -> None:
    """(e) What its container wrote is in the report; here on a pull request of the repository's own, so a preview."""
    with baked.changed(*NEVER_READY):
        ended = baked.run("pull_request", payload=pull_request(baked.repository, baked.repository))
    assert ended.status == 1, ended.printed
    assert ended.jobs == PROMOTED | {"load-test": "failure", "promote": "skipped"}
    assert f"Pushed {baked.images}:preview-7" in ended.said("Build the image")
    report = (baked.artifact("reports") / "report.md").read_text()
    assert report.startswith(
        "### ⛔ Performance gate: could not run: The candidate (service:8001) was not ready after 30 s"
    )
    assert "no database" in report
    assert report.splitlines()[0] in ended.printed  # the step's summary
    assert baked.champion() == second[1]


def test_retraining_is_the_same_pipeline(second: tuple[Ended, str], baked: Place) -> None:
    """Called by retrain.yml, with its gates: here the floor. What follows a failed call is more than act can do."""
    with baked.changed("pipeline.toml", "floor = 0.45", "floor = 0.99"):
        ended = baked.run("workflow_dispatch", "retrain.yml", payload=MAIN)
    assert ended.status == 1, ended.printed
    assert (ended.jobs["train"], ended.jobs["promote"]) == ("failure", "skipped")
    assert baked.champion() == second[1]


@pytest.fixture(name="fork", scope="module")
def _fork(second: object, baked: Place) -> tuple[Ended, Path]:
    """A pull request from a fork, and the folder with the verdict that its run left."""
    ended = baked.run("pull_request", payload=pull_request("mallory/loans", baked.repository))
    return ended, baked.artifact("verdict")


def test_a_fork_is_measured_without_a_push(second: tuple[Ended, str], fork: tuple[Ended, Path], baked: Place) -> None:
    """(f) Its image is an artifact that the gate starts itself, beside the champion from the registry."""
    ended, artifact = fork
    assert ended.status == 0, ended.printed
    assert ended.jobs == PROMOTED | {"promote": "skipped"}
    assert "Pushed" not in ended.said("Build the image")
    verdict = read_verdict(artifact / "verdict.json")
    assert verdict.baseline is not None
    assert (verdict.outcome, verdict.candidate.kind, verdict.baseline.kind) == ("pass", "container", "container")
    assert verdict.baseline.image == f"{baked.images}@{second[1]}"
    assert baked.champion() == second[1]


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
    assert comment["body"].startswith("### ✅ Performance gate: ")
    assert "measured by its own code" in comment["body"]
    github.artifact("verdict", zipped(verdict_json=b'{"number": 66, "headline": "@everyone"}' + b" " * 10_000_000))
    second = baked.run("workflow_run", "comment.yml", payload=completed(sha, "mallory", 11))
    assert second.status == 0, second.printed
    assert "Changed the comment on #7." in second.said("Comment on the pull request")
    (comment,) = github.comments
    assert comment["body"].startswith("### ⛔ The report of this run cannot be shown: verdict.json is larger")
    assert "everyone" not in comment["body"]


def test_a_rollback_brings_the_previous_champion_back(
    first: tuple[Ended, str], second: tuple[Ended, str], baked: Place
) -> None:
    """(h) The very digest, after it has been booted, in less than 2 min; here with the store of the last promotion.

    MLflow knows who did it and why, and the store of the next run knows the champion.
    """
    promoted = baked.kept / "artifacts" / "2" / "mlflow-promoted"
    packed = shutil.make_archive(str(baked.kept / "promoted"), "zip", promoted)
    baked.github.artifact("mlflow-promoted", Path(packed).read_bytes())
    shutil.rmtree(baked.kept / "cache")
    inputs = {"version": "previous", "reason": 'too many "false" alarms; $(id)'}
    ended = baked.run("workflow_dispatch", "rollback.yml", payload=MAIN | {"inputs": inputs})
    assert ended.status == 0, ended.printed
    said = ended.said("Roll back")
    assert "took that of the last promotion" in said
    assert "is version 1 again, and version 2 no more" in said
    assert baked.champion() == first[1]
    assert ended.seconds < 120
    store = baked.artifact("mlflow-promoted") / "mlflow.db"
    with contextlib.closing(sqlite3.connect(store)) as db:
        rows = dict(db.execute("SELECT key, value FROM model_version_tags WHERE version = 1"))
    assert (rows["rolled_back_by"], rows["rolled_back_reason"]) == ("octocat", inputs["reason"])


def test_a_store_that_is_lost_comes_back_out_of_the_image(
    second: tuple[Ended, str], baked: Place, tmp_path: Path
) -> None:
    """With neither cache nor artifact, the champion is registered again from what the registry has."""
    project = tmp_path / "project"
    subprocess.run(["git", "clone", "--quiet", baked.checkout, project], check=True)
    done = run(project, "release.restore", "--repository", f"{baked.registry}/{baked.repository}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"rebuilt from {baked.images}@{baked.champion()}" in done.stdout
    again = run(project, "release.restore", "--repository", f"{baked.registry}/{baked.repository}")
    assert "MLflow and the registry agree: the champion is version" in again.stdout
