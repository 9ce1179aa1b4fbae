"""What act cannot show of the workflows that decide and promote: conditions, grants, and who waits for whom."""

import re
import shutil
import subprocess
from pathlib import Path
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


def test_what_is_promoted_is_what_was_measured() -> None:
    """By digest from the job that pushed it; and it is signed after it was promoted, not before."""
    promotion = step_with("promote", "run", "make promote")
    signature = step_with("promote", "uses", "actions/attest")
    assert promotion["env"]["IMAGE"] == "${{ needs.image.outputs.image }}"
    assert promotion["env"]["REPLACES"] == step_with("image", "run", "make image")["env"]["REPLACES"]
    assert signature["with"]["subject-digest"] == "${{ needs.image.outputs.digest }}"
    steps = JOBS["promote"]["steps"]
    assert steps.index(promotion) < steps.index(signature)


def test_only_what_is_promoted_writes_layers() -> None:
    """The cache of main's builds is written by the job that pull requests do not have."""
    writers = [name for name, job in JOBS.items() for step in job["steps"] if "CACHE=" in step.get("run", "")]
    assert writers == ["image"]


def test_a_job_that_publishes_restores_no_packages() -> None:
    """What a pull request put into a cache could end up in what is signed."""
    cached = [name for name, job in JOBS.items() for step in job["steps"] if "actions/cache@" in step.get("uses", "")]
    assert {"train", "load-test"} == set(cached)
    assert all("write" not in JOBS[name]["permissions"].values() for name in cached)


def test_a_service_waits_for_no_health_of_its_own() -> None:
    """One that never gets ready shall end in a report, and GitHub's runner fails on a container without a health."""
    for service in JOBS["load-test"]["services"].values():
        assert '--health-cmd "exit 0"' in service["options"]
        assert "--no-healthcheck" not in service["options"]


def test_runs_on_main_take_turns() -> None:
    """No push to main cancels another, which may be promoting; a newer push to a pull request does."""
    assert PIPELINE["concurrency"] == {
        "group": "pipeline-${{ github.event.pull_request.number || github.ref }}",
        "cancel-in-progress": "${{ github.event_name == 'pull_request' }}",
    }


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
@pytest.mark.parametrize(
    ("results", "passes"),
    [
        (["success", "skipped", "success"], True),  # a pull request pushes no image
        (["success", "skipped", "skipped"], True),  # nothing to measure
        (["success", "skipped", "failure"], False),
        (["success", "cancelled", "skipped"], False),
        (["failure", "skipped", "skipped"], False),
    ],
)
def test_the_one_required_check(results: list[str], passes: bool) -> None:
    """Skipped jobs are a success, because those before them are not. The workflow's own script is run."""
    job = JOBS["pass"]
    assert set(job["needs"]) == set(JOBS) - {"pass", "approve", "promote"}
    (step,) = job["steps"]
    needs = ", ".join(f'"job{n}": {{"result": "{result}"}}' for n, result in enumerate(results))
    environment = {"NEEDS": f"{{{needs}}}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env=environment, check=False, capture_output=True)
    assert (done.returncode == 0) == passes


@pytest.mark.parametrize(
    ("code", "preview", "status"),
    [(0, "", 0), (1, "", 1), (3, "", 3), (2, "", 2), (2, "preview-7", 0), (1, "preview-7", 1)],
)
def test_what_the_gate_says_decides(tmp_path: Path, code: int, preview: str, status: int) -> None:
    """An inconclusive verdict is red on main, where it promotes nothing, and a warning elsewhere. The script is run."""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >asked\nmkdir -p reports\nexit {code}\n')
    python.chmod(0o755)
    (tmp_path / "make").write_text("#!/bin/sh\n")
    (tmp_path / "make").chmod(0o755)
    given = {"CANDIDATE": "service:8001", "BASELINE": "none", "NOTE": "a $(note)", "PREVIEW": preview}
    given |= {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary"), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    script = next(step["run"] for step in JOBS["load-test"]["steps"] if step.get("name") == "Measure and judge")
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, env=given, check=False, capture_output=True, text=True
    )
    assert done.returncode == status
    assert (tmp_path / "asked").read_text() == "-m perf --candidate service:8001 --baseline none --note a $(note)\n"
    assert ("::warning" in done.stdout) == (code == 2)


def test_what_may_write_is_little() -> None:
    """Jobs that run a pull request's code write nothing at all; signing is for what is promoted."""
    grants = {name: {k for k, v in job["permissions"].items() if v == "write"} for name, job in JOBS.items()}
    assert grants == {
        "train": set(),
        "image": {"packages"},
        "load-test": set(),
        "approve": set(),
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


def test_artifacts_do_not_fill_the_quota() -> None:
    """A private repository of a free account has 500 MB: what is large is left only where something reads it."""
    uploads = [step for job in JOBS.values() for step in job["steps"] if "upload-artifact@" in step.get("uses", "")]
    assert all(step["with"]["retention-days"] <= 30 for step in uploads)
    large = {
        step["with"]["name"]: step.get("if", "") for step in uploads if step["with"]["name"] in ("mlflow", "bundle")
    }
    assert large["bundle"] == "steps.changes.outputs.measure == 'true'"
    kept = [step.get("if", "") for step in JOBS["train"]["steps"] if step.get("with", {}).get("name") == "mlflow"]
    assert kept == ["${{ !env.MLFLOW_TRACKING_URI && steps.changes.outputs.store == 'true' }}"]


def test_a_machine_of_ones_own_keeps_no_image() -> None:
    """Whatever became of the load test; a runner of GitHub is thrown away anyway."""
    (step,) = [step for step in JOBS["load-test"]["steps"] if "docker image rm" in step.get("run", "")]
    assert step["if"] == "${{ always() && vars.PERF_RUNNER }}"
    assert set(step["env"]) == {"CANDIDATE", "BASELINE"}


def test_no_token_of_github_goes_to_another_registry() -> None:
    """Where REGISTRY names one and its password is missing, the login fails instead.

    Nor to that of the scanner's database: Trivy would hand TRIVY_PASSWORD to any registry that asks for one.
    """
    text = "".join((FOLDER / f"{name}.yml").read_text() for name in ("pipeline", "retrain", "rollback"))
    assert "TRIVY_PASSWORD" not in text
    passwords = set(re.findall(r'password: "?(\$\{\{.*?\}\})', text))
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
