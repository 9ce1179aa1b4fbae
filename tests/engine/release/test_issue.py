"""`python -m release.github.issue` against a server that speaks GitHub's REST API."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pipeline.notes import Deployment
from tests.engine.conftest import ROOT, run
from tests.engine.perf.pages import FAILED
from tests.engine.release.github_server import BOT, TOKEN, GitHub, serving, zipped

RUNS = "https://github.example/acme/loans/actions/runs"
MARK = "<!-- perf-gate:issue Retraining failed -->"


@pytest.fixture(name="github")
def _github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A repository whose run 900 failed the gate."""
    with serving() as server:
        run_of_it = {"GITHUB_RUN_ID": "900", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_SHA": "d4e5f6a7" * 5}
        for key, value in (server.environment | run_of_it).items():
            monkeypatch.setenv(key, value)
        server.artifact("verdict", zipped(verdict_json=msgspec.json.encode(FAILED)))
        yield server


@pytest.fixture(name="keep")
def _keep(github: GitHub) -> Any:
    """Runs release.github.issue for a result; returns its exit code and what it printed."""

    def keep(result: str, **environment: str) -> tuple[int, str]:
        done = run(ROOT, "release.github.issue", "--title", "Retraining failed", "--result", result, **environment)
        assert TOKEN not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert github.leaked == []
        return done.returncode, done.stdout + done.stderr

    return keep


def test_a_failure_has_one_issue_until_it_passes(github: GitHub, keep: Any) -> None:
    """Opened, then brought up to date, then closed with a word; a later failure opens another."""
    assert keep("success") == (0, "Nothing to do: it passed, and no issue is open.\n")
    assert keep("failure") == (0, "Opened #50.\n")
    assert github.issues[0]["title"] == "Retraining failed"
    assert github.issues[0]["body"].startswith("### ❌ Latency: p95 of POST /predict is 50 % slower")
    assert f"Commit `d4e5f6a`, [run 900]({RUNS}/900)" in github.issues[0]["body"]
    assert keep("failure", GITHUB_RUN_ID="901") == (0, "Brought #50 up to date.\n")
    assert f"[run 901]({RUNS}/901)" in github.issues[0]["body"]
    assert keep("skipped") == (0, "Nothing to do: it was skipped.\n")
    assert keep("success", GITHUB_RUN_ID="902") == (0, "Closed #50.\n")
    assert github.issues[0]["state"] == "closed"
    assert github.comments[0]["issue"] == 50
    assert github.comments[0]["body"] == f"It passed in [run 902]({RUNS}/902)."
    assert keep("failure") == (0, "Opened #51.\n")


def test_a_run_that_was_cancelled_is_told(github: GitHub, keep: Any) -> None:
    """GitHub drops one of two runs that wait, and nobody watches this one. Its artifacts are of no use."""
    assert keep("cancelled") == (0, "Opened #50.\n")
    assert github.issues[0]["body"].startswith("### ⚠️ The run was cancelled\n")
    assert "start the workflow again" in github.issues[0]["body"]


def test_a_deployment_that_failed_is_told(github: GitHub, keep: Any) -> None:
    """What was seen at the URL, and what was done about it."""
    github.artifacts.clear()
    said = "Not deployed: version 2, at https://loans.example: p95 is 164 ms. Version 1 runs again, and was verified."
    note = Deployment("production", passed=False, sentence=said)
    github.artifact("deployment", zipped(deployment_json=msgspec.json.encode(note)))
    assert keep("failure") == (0, "Opened #50.\n")
    first, *_ = github.issues[0]["body"].splitlines()
    assert first.replace("\N{ZERO WIDTH SPACE}", "") == f"### ❌ production: {said}"


def test_a_run_that_took_too_long_is_told(github: GitHub, keep: Any) -> None:
    """GitHub calls that cancelled as well. To start it again would end the same way."""
    github.artifacts.clear()
    steps = [{"name": "Run make train", "conclusion": "cancelled"}]
    github.jobs = [{"id": 11, "name": "Train and test", "conclusion": "cancelled", "steps": steps}]
    keep("cancelled")
    first = "### ❌ Failed: `Train and test` at `Run make train` (cancelled, or it took longer than it may)\n"
    assert github.issues[0]["body"].startswith(first)


@pytest.mark.parametrize("result", ["success", "failure"])
def test_a_repository_without_issues_is_no_failure(github: GitHub, keep: Any, result: str) -> None:
    """They can be switched off, and GitHub answers 410 then; the log says how it ended."""
    github.failures = [410]
    assert keep(result) == (0, f"No issue says so, because they are switched off here: it ended as {result}.\n")


@pytest.mark.parametrize(
    "other",
    [
        {"body": "<!-- perf-gate:issue Another failed -->"},
        {"body": f"```text\n{MARK}\n```\n\n<!-- perf-gate:issue Another failed -->"},  # quoted in a log
        {"body": None},
        {"body": MARK, "pull_request": {}},
        {"body": MARK, "user": {"login": "mallory", "type": "User"}},
        {"body": MARK, "state": "closed"},
    ],
)
def test_no_other_issue_is_written_to(github: GitHub, keep: Any, other: dict[str, Any]) -> None:
    """Not that of another workflow, not a pull request, not one that a user marked as ours, not one that is closed."""
    github.issues.append({"number": 49, "state": "open", "user": BOT} | other)
    before = dict(github.issues[0])
    assert keep("failure") == (0, "Opened #51.\n")
    assert keep("success") == (0, "Closed #51.\n")
    assert github.issues[0] == before


def test_a_failure_without_a_verdict_has_an_issue_as_well(github: GitHub, keep: Any) -> None:
    """With the jobs that failed, and the way to their logs."""
    github.artifacts.clear()
    github.jobs = [
        {"id": 11, "name": "Lint", "conclusion": "success"},
        {"id": 12, "name": "Newest dependencies", "conclusion": "failure"},
        {"id": 13, "name": "Tell", "conclusion": None},  # this one, which is still running
    ]
    keep("failure")
    assert github.issues[0]["body"].startswith("### ❌ Failed: `Newest dependencies`\n")
    assert f"Failed jobs: `Newest dependencies` ([log]({RUNS}/900/job/12))." in github.issues[0]["body"]


@pytest.mark.parametrize(
    ("failures", "environment", "message"),
    [
        ([403], {}, "GET /repos/acme/loans/issues: 403 Something is wrong"),
        ([], {"GITHUB_TOKEN": ""}, "GITHUB_TOKEN must be in the environment"),
        ([], {"GITHUB_RUN_ID": ""}, "what came from GitHub is not as it should be (ValueError: "),
    ],
)
def test_a_refusal_is_said_in_one_line(
    github: GitHub, keep: Any, failures: list[int], environment: dict[str, str], message: str
) -> None:
    """With exit code 3, and nothing is written."""
    github.failures = failures
    code, printed = keep("failure", **environment)
    assert (code, printed.count("\n"), github.written) == (3, 1, [])
    assert printed.startswith(f"Cannot write the issue: {message}")
