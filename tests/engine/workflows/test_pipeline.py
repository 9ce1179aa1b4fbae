"""What act cannot show of the workflows that decide and promote: conditions, grants, and who waits for whom."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.engine.conftest import ROOT

FOLDER = ROOT / ".github" / "workflows"


def workflow(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


PIPELINE = workflow("pipeline.yml")
JOBS: dict[str, dict[str, Any]] = PIPELINE["jobs"]


def step_with(job: str, key: str, text: str) -> dict[str, Any]:
    """The one step of a job that has a text in its `uses` or `run`."""
    (found,) = [step for step in JOBS[job]["steps"] if text in step.get(key, "")]
    return found


def test_what_is_measured_is_what_was_built() -> None:
    """Both services come by digest from the job that pushed them, and the same digest is promoted and signed."""
    images = {name: service["image"] for name, service in JOBS["load-test"]["services"].items()}
    assert images == {
        "candidate": "${{ needs.image.outputs.pushed }}",
        "baseline": "${{ needs.image.outputs.pushed && needs.image.outputs.champion }}",
    }
    promotion = step_with("promote", "run", "make promote")["env"]
    assert promotion["IMAGE"] == images["candidate"]
    assert promotion["REPLACES"] == "${{ needs.image.outputs.champion }}"
    assert (
        step_with("promote", "uses", "actions/attest")["with"]["subject-digest"] == "${{ needs.image.outputs.digest }}"
    )


def test_a_service_waits_for_no_health_of_its_own() -> None:
    """One that never gets ready shall end in a report, and GitHub's runner fails on a container without a health."""
    for service in JOBS["load-test"]["services"].values():
        assert '--health-cmd "exit 0"' in service["options"]
        assert "--no-healthcheck" not in service["options"]


def test_only_a_pass_on_main_is_promoted() -> None:
    """Promotion wants main, the checks, the scan, and exit code 0 of the gate; 2 leaves a job that succeeded."""
    promote = JOBS["promote"]
    assert set(promote["needs"]) >= {"checks", "image", "scan", "load-test"}
    assert promote["if"] == "github.ref == 'refs/heads/main' && needs.load-test.outputs.code == '0'"
    assert promote["environment"] == "production"


def test_promotion_and_rollback_take_turns() -> None:
    """Never at the same time, never cancelled; and no push to main cancels another."""
    for limits in (JOBS["promote"]["concurrency"], workflow("rollback.yml")["concurrency"]):
        assert limits == {"group": "production", "cancel-in-progress": False}
    assert PIPELINE["concurrency"] == {
        "group": "pipeline-${{ github.event.pull_request.number || github.ref }}",
        "cancel-in-progress": "${{ github.event_name == 'pull_request' }}",
    }


@pytest.mark.parametrize(
    ("on_main", "results", "passes"),
    [
        (False, ["success", "success", "skipped"], True),  # a pull request, or any other branch
        (True, ["success", "success", "success"], True),
        (True, ["success", "success", "skipped"], False),  # an inconclusive gate: nothing was promoted
        (False, ["success", "failure", "skipped"], False),
        (False, ["success", "cancelled", "skipped"], False),
        (True, ["failure", "skipped", "skipped"], False),
    ],
)
def test_the_one_required_check(on_main: bool, results: list[str], passes: bool) -> None:
    """Skipped jobs are a success on a branch, and none on main. The workflow's own script is run."""
    if shutil.which("jq") is None:
        pytest.skip("needs jq")
    job = JOBS["pass"]
    assert job["if"] == "always()"
    assert set(job["needs"]) == set(JOBS) - {"pass"}
    (step,) = job["steps"]
    choice = re.fullmatch(r"\$\{\{ github.ref == 'refs/heads/main' && '(.+)' \|\| '(.+)' \}\}", step["env"]["PASSING"])
    assert choice
    needs = ", ".join(f'"job{n}": {{"result": "{result}"}}' for n, result in enumerate(results))
    environment = {"NEEDS": f"{{{needs}}}", "PASSING": choice[1] if on_main else choice[2], "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env=environment, check=False, capture_output=True)
    assert (done.returncode == 0) == passes


def test_what_may_write_is_little() -> None:
    """Jobs that run a pull request's code write packages at most; signing is for what is promoted."""
    grants = {name: {k for k, v in job["permissions"].items() if v == "write"} for name, job in JOBS.items()}
    assert grants == {
        "checks": set(),
        "train": set(),
        "image": {"packages"},
        "scan": set(),
        "load-test": set(),
        "promote": {"attestations", "id-token", "packages"},
        "pass": set(),
    }


def test_retraining_asks_for_what_the_pipeline_asks_for() -> None:
    """A called workflow gets no more than its caller has, and all jobs of this one shall run."""
    asked: set[tuple[str, str]] = set().union(*(job["permissions"].items() for job in JOBS.values()))
    given = workflow("retrain.yml")["jobs"]["pipeline"]["permissions"]
    assert {key for key, _ in asked} == set(given)
    assert all(given[key] == "write" for key, value in asked if value == "write")


def test_artifacts_survive_a_second_attempt() -> None:
    """An artifact's name is taken once in a run; when failed jobs run again, theirs takes the place of the first."""
    uploads = [
        step["with"]
        for name in ("pipeline.yml", "rollback.yml")
        for job in workflow(name)["jobs"].values()
        for step in job.get("steps", [])
        if step.get("uses", "").startswith("actions/upload-artifact@")
    ]
    assert len(uploads) > 6
    assert [upload["name"] for upload in uploads if upload.get("overwrite") is not True] == []


def test_no_token_of_github_goes_to_another_registry() -> None:
    """Where REGISTRY names one and its password is missing, the login fails instead."""
    text = (FOLDER / "pipeline.yml").read_text() + (FOLDER / "rollback.yml").read_text()
    passwords = set(re.findall(r'(?:password|TRIVY_PASSWORD): "?(\$\{\{.*?\}\})', text))
    assert passwords == {"${{ vars.REGISTRY && (secrets.REGISTRY_PASSWORD || 'none') || github.token }}"}


def test_the_comment_follows_the_pipeline_by_its_name() -> None:
    """A workflow that was renamed would never be commented on again, and nothing would say so."""
    (trigger,) = workflow("comment.yml")[True].values()  # YAML reads `on` as true
    assert trigger == {"workflows": [PIPELINE["name"]], "types": ["completed"]}
    assert workflow("comment.yml")["jobs"]["comment"]["permissions"] == {
        "actions": "read",
        "contents": "read",
        "pull-requests": "write",
    }
