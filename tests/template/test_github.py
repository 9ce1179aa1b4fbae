"""What GitHub makes of the workflows, by its own parser and evaluator: what it takes, which jobs it starts, with what.

Events are as GitHub hands them over, as far as the workflows read them. tests/template/act runs the same for real.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT
from .github.parser import Invalid, Parser, Started, parser, start

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
OURS, OTHERS = "Acme-Inc/Loans.v2", "mallory/Loans.v2"
DEPENDABOT, ALICE = {"login": "dependabot[bot]"}, {"login": "alice"}
REPOSITORY = {"default_branch": "main", "visibility": "private", "private": True, "is_template": False}
TEAM = {"REGISTRY": "registry.example.org", "MLFLOW_TRACKING_URI": "https://mlflow.example.org"}
PASSWORDS = {"REGISTRY_PASSWORD": "secret", "MLFLOW_TRACKING_PASSWORD": "secret"}
CHAMPION = "ghcr.io/acme-inc/loans.v2@sha256:1"


@pytest.fixture(name="github", scope="module")
def _github() -> Iterator[Parser]:
    """GitHub's own libraries. Without Node a test is skipped, but fails in CI."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("needs node and npm: https://nodejs.org")
    with parser(ROOT / ".cache" / "github-parser") as found:
        yield found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_github_takes_every_workflow(github: Parser, file: Path) -> None:
    """Files, contexts, needs and outputs, inputs of the workflows that are called."""
    assert github.complaints(file) == []


@pytest.mark.parametrize(
    ("name", "found", "replacement", "complaint"),
    [
        ("pipeline", "needs.train.outputs.measure", "needs.train.outputs.measures", "measures"),
        ("pipeline", "needs: train\n", "needs: trains\n", "trains"),
        ("pipeline", "timeout-minutes: 20", "timeout-minuts: 20", "timeout-minuts"),
        ("pipeline", "    environment: production.*", "    environment: ${{ env.PREVIEW }}", "env"),
        ("retrain", "with: {retrained: true}", "with: {retraind: true}", "retraind"),
        ("retrain", "due: .*steps.look.outputs.due", "due: ${{ steps.lok.outputs.due", "lok"),
    ],
)
def test_what_github_refuses_is_seen(
    github: Parser, tmp_path: Path, name: str, found: str, replacement: str, complaint: str
) -> None:
    """Or the test above would prove nothing."""
    for file in FILES:
        shutil.copy(file, tmp_path)
    changed, count = re.subn(found, replacement, (FOLDER / f"{name}.yml").read_text(), count=1)
    (tmp_path / f"{name}.yml").write_text(changed)
    assert count
    assert complaint in str(github.complaints(tmp_path / f"{name}.yml"))


def event(name: str, ref: str = "refs/heads/main", **payload: Any) -> dict[str, Any]:
    """The context github of a run."""
    shown = {"repository": REPOSITORY, **payload}
    return {
        "event_name": name,
        "ref": ref,
        "repository": OURS,
        "actor": "alice",
        "run_id": "99",
        "event": shown,
        "token": "token",
    }


def pull_request(head: str | None = OURS, user: Mapping[str, str] = ALICE) -> dict[str, Any]:
    """Likewise of a pull request; None: its fork was deleted."""
    pull = {"number": 7, "head": {"repo": head and {"full_name": head}}, "user": dict(user)}
    return event("pull_request", "refs/pull/7/merge", number=7, pull_request=pull)


MERGE_QUEUE = event("merge_group", "refs/heads/gh-readonly-queue/main/pr-7-abc", merge_group={"head_ref": "x"})
MASTER = event("push", "refs/heads/master", repository=REPOSITORY | {"default_branch": "master"})
BRANCH = event("workflow_dispatch", "refs/heads/faster")
SCHEDULE = event("schedule", schedule="23 4 * * 1")


def pipeline(
    github: Parser,
    context: Mapping[str, Any],
    variables: Mapping[str, str] = {},
    secrets: Mapping[str, str] = {},
    outcomes: Mapping[str, str] = {},
    changed: bool = True,
    allowed: bool = True,
    champion: str = CHAMPION,
    **inputs: Any,
) -> Started:
    """pipeline.yml, whose job train says what release.changes does where something has changed."""
    started = start(github, FOLDER / "pipeline.yml", context, variables, secrets, inputs, outcomes)
    publish = changed and not started.env["PREVIEW"]
    said = {"measure": changed, "publish": publish, "promote": publish and allowed}
    trained = {key: str(value).lower() for key, value in said.items()} | {"champion": champion, "note": ""}
    pushed = {
        "image": "ghcr.io/acme-inc/loans.v2@sha256:2",
        "repository": "ghcr.io/acme-inc/loans.v2",
        "digest": "sha256:2",
    }
    started.outputs = {"train": trained, "image": pushed}
    return started


@pytest.mark.parametrize(
    ("context", "ran"),
    [
        (event("push"), ["train", "image", "load-test", "approve", "promote"]),
        (MASTER, ["train", "image", "load-test", "approve", "promote"]),
        (SCHEDULE, ["train", "image", "load-test", "approve", "promote"]),  # called by retrain.yml
        (pull_request(), ["train", "load-test", "pass"]),
        (pull_request(OTHERS), ["train", "load-test", "pass"]),
        (pull_request(None), ["train", "load-test", "pass"]),
        (pull_request(user=DEPENDABOT), ["train", "load-test", "pass"]),
        (MERGE_QUEUE, ["train", "load-test", "pass"]),
        (BRANCH, ["train", "load-test", "pass"]),
    ],
    ids=["push", "master", "schedule", "pull request", "fork", "deleted fork", "Dependabot", "merge queue", "branch"],
)
def test_which_jobs_run(github: Parser, context: dict[str, Any], ran: list[str]) -> None:
    """What is promoted is pushed, and nothing else is: a pull request's image stays where it is measured."""
    assert pipeline(github, context).ran() == ran


@pytest.mark.parametrize(
    ("context", "ran"), [(event("push"), ["train"]), (pull_request(), ["train", "pass"])], ids=["push", "pull request"]
)
def test_a_push_that_changes_nothing_ends_after_one_job(
    github: Parser, context: dict[str, Any], ran: list[str]
) -> None:
    """No build, no load test, no promotion; the required check is there all the same."""
    assert pipeline(github, context, changed=False).ran() == ran


@pytest.mark.parametrize("failed", ["train", "image", "load-test", "approve"])
@pytest.mark.parametrize("result", ["failure", "cancelled"])
def test_what_fails_is_not_promoted(github: Parser, failed: str, result: str) -> None:
    """Nor is what a reviewer has refused."""
    assert pipeline(github, event("push"), outcomes={failed: result}).jobs()["promote"] == "skipped"


@pytest.mark.parametrize("failed", ["train", "load-test"])
def test_the_required_check_of_a_pull_request_is_always_there(github: Parser, failed: str) -> None:
    """A job that is skipped counts as a success for GitHub; this one is never skipped."""
    assert pipeline(github, pull_request(), outcomes={failed: "failure"}).ran()[-1] == "pass"


def test_nobody_approves_what_is_not_promoted(github: Parser) -> None:
    """Retraining that leaves promotion to a person ends with its verdict."""
    assert pipeline(github, SCHEDULE, allowed=False, retrained=True).ran() == ["train", "image", "load-test"]


@pytest.mark.parametrize(
    ("context", "variables", "secrets", "whose", "uri", "login"),
    [
        (event("push"), {}, {}, "", "", "true"),
        (event("push"), TEAM, PASSWORDS, "", TEAM["MLFLOW_TRACKING_URI"], "true"),
        (pull_request(), TEAM, PASSWORDS, "", TEAM["MLFLOW_TRACKING_URI"], "true"),
        (MERGE_QUEUE, TEAM, PASSWORDS, "", TEAM["MLFLOW_TRACKING_URI"], "true"),
        (pull_request(OTHERS), {}, {}, "a fork", "", "true"),  # which is told no variable
        (pull_request(None), {}, {}, "a fork", "", "true"),
        (pull_request(user=DEPENDABOT), TEAM, {}, "Dependabot", "", "false"),  # which is told variables, but no secret
        (pull_request(user=DEPENDABOT), {}, {}, "Dependabot", "", "true"),
    ],
)
def test_who_has_no_secrets_asks_for_none(
    github: Parser,
    context: dict[str, Any],
    variables: dict[str, str],
    secrets: dict[str, str],
    whose: str,
    uri: str,
    login: str,
) -> None:
    """A fork and Dependabot train into a store of their own. A login is tried where it can succeed."""
    env = pipeline(github, context, variables, secrets).env
    assert (env["WHOSE"], env["MLFLOW_TRACKING_URI"], env["LOGIN"]) == (whose, uri, login)


@pytest.mark.parametrize(
    ("context", "preview"),
    [
        (event("push"), ""),
        (MASTER, ""),
        (SCHEDULE, ""),
        (event("push", repository={}), ""),  # a payload without the branch's name: main
        (pull_request(), "preview-7"),
        (BRANCH, "preview-99"),
        (MERGE_QUEUE, "preview-99"),
        (event("push", "refs/heads/master"), "preview-99"),  # beside main
    ],
)
def test_what_is_no_candidate_has_a_name_that_says_so(github: Parser, context: dict[str, Any], preview: str) -> None:
    """Only the default branch makes candidates, whatever it is called."""
    assert pipeline(github, context).env["PREVIEW"] == preview


def measured(github: Parser, context: Mapping[str, Any], *more: Any, **changes: Any) -> dict[str, Any]:
    """What the load test is handed: the images of its services, and the two names for the gate."""
    started = pipeline(github, context, *more, **changes)
    started.jobs()
    job = started.workflow["jobs"]["load-test"]
    built = (
        {"here": {"outputs": {"image": "loans:7", "digest": "sha256:7"}}}
        if started.results["image"] == "skipped"
        else {}
    )
    contexts = started.within(job) | {"steps": {"here": {"outputs": {}}} | built}
    (step,) = [step for step in job["steps"] if step.get("name") == "Measure and judge"]
    services = {name: github.filled_in(service["image"], contexts) for name, service in job["services"].items()}
    return services | {key: github.filled_in(step["env"][key], contexts) for key in ("CANDIDATE", "BASELINE")}


@pytest.mark.parametrize(
    ("context", "variables", "champion", "expected"),
    [
        (event("push"), {}, CHAMPION, ("ghcr.io/acme-inc/loans.v2@sha256:2", CHAMPION, "service:8001", "service:8002")),
        (event("push"), {}, "", ("ghcr.io/acme-inc/loans.v2@sha256:2", "", "service:8001", "none")),
        (pull_request(), {}, CHAMPION, ("", "", "sha256:7", CHAMPION)),
        (pull_request(OTHERS), {}, "", ("", "", "sha256:7", "none")),
        (event("push"), {"PERF_RUNNER": "own"}, CHAMPION, ("", "", "ghcr.io/acme-inc/loans.v2@sha256:2", CHAMPION)),
        (event("push"), {"PERF_RUNNER": "own"}, "", ("", "", "ghcr.io/acme-inc/loans.v2@sha256:2", "none")),
        (pull_request(), {"PERF_RUNNER": "own"}, CHAMPION, ("", "", "sha256:7", CHAMPION)),
    ],
)
def test_what_is_measured(
    github: Parser, context: dict[str, Any], variables: dict[str, str], champion: str, expected: tuple[str, ...]
) -> None:
    """Service containers by digest after a push; what the gate starts itself elsewhere, and on a machine of one's own.

    There ports may be taken by another runner, the processor may be another, and the runner may be in a container: the
    gate can say so, and GitHub's services cannot.
    """
    found = measured(github, context, variables, champion=champion)
    assert tuple(found.values()) == expected


def test_a_name_that_github_hides_is_no_empty_image(github: Parser) -> None:
    """An output that holds the text of a secret does not reach the next job: it fails, and says why."""
    started = pipeline(github, event("push"))
    started.outputs = {**started.outputs, "image": {"digest": "sha256:2"}}
    started.jobs()
    job = started.workflow["jobs"]["load-test"]
    first = job["steps"][0]
    assert github.evaluate(first["if"], started.within(job))
    assert "::error" in first["run"]
    assert not github.evaluate(first["if"], pipeline_of(github, pull_request()))


def pipeline_of(github: Parser, context: Mapping[str, Any]) -> dict[str, Any]:
    """The contexts of the load test of a run."""
    started = pipeline(github, context)
    started.jobs()
    return started.within(started.workflow["jobs"]["load-test"])


def retrain(github: Parser, context: Mapping[str, Any], due: str = "true", **outcomes: str) -> list[str]:
    return start(github, FOLDER / "retrain.yml", context, outcomes=outcomes, outputs={"look": {"due": due}}).ran()


def test_retraining_without_new_data_is_one_job(github: Parser) -> None:
    """And one minute."""
    assert retrain(github, SCHEDULE, due="false") == ["look"]


@pytest.mark.parametrize(
    ("context", "outcomes", "ran"),
    [
        (SCHEDULE, {}, ["look", "pipeline", "tell"]),
        (SCHEDULE, {"pipeline": "failure"}, ["look", "pipeline", "tell"]),
        (SCHEDULE, {"look": "failure"}, ["look", "tell"]),
        (SCHEDULE, {"pipeline": "cancelled"}, ["look", "pipeline", "tell"]),  # a push took its place
        (event("workflow_dispatch"), {"pipeline": "cancelled"}, ["look", "pipeline"]),  # somebody who sits there did
        (BRANCH, {}, []),
    ],
)
def test_a_retraining_that_fails_is_told(
    github: Parser, context: dict[str, Any], outcomes: dict[str, str], ran: list[str]
) -> None:
    """Nobody watches the one of the schedule."""
    assert retrain(github, context, **outcomes) == ran


@pytest.mark.parametrize(
    ("conclusion", "comments"),
    [("success", True), ("failure", True), ("timed_out", True), ("startup_failure", True)]
    + [(name, False) for name in ("cancelled", "skipped", "action_required", "stale", "neutral", None)],
)
def test_which_runs_are_commented_on(github: Parser, conclusion: str | None, comments: bool) -> None:
    """Those that came to an end; not one that waits for somebody to let a stranger's code run."""
    ran = {"event": "pull_request", "conclusion": conclusion}
    assert (
        start(github, FOLDER / "comment.yml", event("workflow_run", workflow_run=ran)).ran() == ["comment"] * comments
    )


RAN = {"conclusion": "success", "event": "push", "head_branch": "main"}
DEPLOYS = {"DEPLOY_TARGET": "host"}


@pytest.mark.parametrize(
    ("context", "variables", "wanted", "ran"),
    [
        (event("workflow_run", workflow_run=RAN), DEPLOYS, '["production"]', ["plan", "deploy", "tell"]),
        (event("workflow_run", workflow_run=RAN), DEPLOYS, "[]", ["plan"]),
        (event("workflow_run", workflow_run=RAN), {}, "[]", []),
        (event("workflow_run", workflow_run=RAN | {"conclusion": "failure"}), DEPLOYS, "[]", []),
        (event("workflow_run", workflow_run=RAN | {"head_branch": "faster"}), DEPLOYS, "[]", []),
        (event("workflow_run", workflow_run=RAN | {"event": "pull_request"}), DEPLOYS, "[]", []),  # of a fork's main
        (event("workflow_dispatch"), DEPLOYS, '["staging", "production"]', ["plan", "deploy", "tell"]),
        (BRANCH, DEPLOYS, "[]", []),
    ],
    ids=["promoted", "nothing new", "switched off", "failed", "branch", "fork", "by hand", "by hand on a branch"],
)
def test_what_is_deployed(
    github: Parser, context: dict[str, Any], variables: dict[str, str], wanted: str, ran: list[str]
) -> None:
    """What the default branch has promoted, once it is switched on, with the code of the default branch."""
    outputs = {"plan": {"environments": wanted}}
    started = start(github, FOLDER / "deploy.yml", context, variables, outputs=outputs)
    assert started.ran() == ran


@pytest.mark.parametrize(
    ("outcomes", "result"),
    [({}, "success"), ({"deploy": "failure"}, "failure"), ({"plan": "failure"}, "failure")],
)
def test_a_deployment_that_fails_is_told(github: Parser, outcomes: dict[str, str], result: str) -> None:
    context = event("workflow_run", workflow_run=RAN)
    outputs = {"plan": {"environments": '["production"]'}}
    started = start(github, FOLDER / "deploy.yml", context, DEPLOYS, outcomes=outcomes, outputs=outputs)
    assert started.ran()[-1] == "tell"
    (step,) = [each for each in started.workflow["jobs"]["tell"]["steps"] if "make issue" in each.get("run", "")]
    assert github.filled_in(step["env"]["RESULT"], started.within(started.workflow["jobs"]["tell"])) == result


@pytest.mark.parametrize(
    ("repository", "runs"),
    [
        ({"is_template": True, "private": True}, True),
        ({"is_template": True, "private": False}, True),
        ({"is_template": False, "private": False}, True),  # which costs nothing
        ({"is_template": False, "private": True}, False),
        ({}, True),
    ],
)
def test_a_private_copy_of_the_template_spends_no_minutes_on_it(
    github: Parser, repository: dict[str, bool], runs: bool
) -> None:
    """ "Use this template" copies template.yml as well; its Mac alone counts tenfold."""
    assert bool(start(github, FOLDER / "template.yml", event("push", repository=repository)).ran()) == runs
    nightly = start(github, FOLDER / "template.yml", event("schedule", repository=repository)).ran()
    assert bool(nightly) == bool(repository.get("is_template"))


def test_an_approval_holds_no_lock() -> None:
    """Who waits for a reviewer would keep a rollback out for as long: the job with the environment has no group."""
    locked = {}
    for name in ("pipeline", "rollback"):
        workflow = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
        approve = workflow["jobs"]["approve"]
        assert (approve["environment"], "concurrency" in approve) == ("production", False)
        locked |= {key: job["concurrency"] for key, job in workflow["jobs"].items() if "concurrency" in job}
        assert [key for key, job in workflow["jobs"].items() if "environment" in job and "concurrency" in job] == []
        assert workflow["concurrency"]["group"] != "production"
    assert locked == {key: {"group": "production", "cancel-in-progress": False} for key in ("promote", "rollback")}


def test_the_simulation_knows_a_skipped_ancestor(github: Parser, tmp_path: Path) -> None:
    """GitHub skips a job without a status function where any job before it was skipped, however far before."""
    file = tmp_path / "w.yml"
    jobs = {
        "a": {"if": "false"},
        "b": {"needs": "a", "if": "always()"},
        "c": {"needs": "b"},
        "d": {"needs": ["c"], "if": "!cancelled()"},
    }
    file.write_text(yaml.safe_dump({"env": {}, "jobs": jobs}))
    assert start(github, file, {}).jobs() == {"a": "skipped", "b": "success", "c": "skipped", "d": "success"}
    with pytest.raises(Invalid):
        github.evaluate("unknown.a", {"github": {}})
