"""`python -m release.github.comment` against a server that speaks GitHub's REST API."""

import gzip
import json
import re
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from markdown_it import MarkdownIt
from msgspec.structs import replace
from urllib3.util import Retry

from perf import verdict
from perf.report.markdown import MARKER, MAX_BYTES, markdown
from release.github import api as rest
from release.github import explain
from tests.engine.conftest import ROOT, run
from tests.engine.perf.pages import FAILED, HOSTILE, PASSED, hostile, hostile_model
from tests.engine.release.github_server import BOT, TOKEN, GitHub, serving, zipped

SHA = "d4e5f6a7" * 5
ATTACK = "$x$ Gh-1 WWW.evil.example " + HOSTILE
RUNS = "https://github.example/acme/loans/actions/runs"


@pytest.fixture(name="github")
def _github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """A repository with the pull request 7, whose run failed the gate."""
    with serving() as server:
        for key, value in server.environment.items():
            monkeypatch.setenv(key, value)
        server.pull(7, SHA)
        server.artifact("verdict", zipped(verdict_json=msgspec.json.encode(FAILED)))
        server.jobs = [{"id": 11, "name": "Lint and test", "conclusion": "success"}]
        yield server


@pytest.fixture(name="tell")
def _tell(github: GitHub, tmp_path: Path) -> Any:
    """Runs release.github.comment on the event of a run; returns its exit code and what it printed."""

    def tell(owner: str = "acme", **changes: Any) -> tuple[int, str]:
        about = {"id": 900, "run_attempt": 1, "event": "pull_request", "conclusion": "failure", "head_sha": SHA}
        repository = {"id": 1 if owner == "acme" else 2, "owner": {"login": owner}, "full_name": f"{owner}/loans"}
        about |= {"head_branch": "faster", "head_repository": repository, "pull_requests": [{"number": 66}]} | changes
        file = tmp_path / "event.json"
        file.write_text(json.dumps({"workflow_run": about, "repository": {"id": 1, "full_name": "acme/loans"}}))
        done = run(ROOT, "release.github.comment", GITHUB_EVENT_PATH=str(file))
        text = done.stdout + done.stderr
        assert TOKEN not in text
        assert "Traceback" not in text
        assert github.leaked == []
        return done.returncode, text

    return tell


def harmless(text: str) -> None:
    """Nothing in a comment is a mention, a link elsewhere, an image or markup of a stranger's."""
    assert len(text.encode()) < 60_000
    page = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    formula = "<span>$</span>"  # no formula, as GitHub's manual has it
    ours = rf'</?(details|summary|sub)>|<br ?/?>|<!-- [\w:. -]+ -->|<a href="{RUNS}/[\w/]+">|{re.escape(formula)}'
    tags = "h3|h4|p|strong|em|code|pre|table|thead|tbody|tr|th|td|ul|li|a"
    standard = rf"</?({tags})( style=\"text-align:\w+\")?( class=\"[\w-]+\")?>"
    assert re.sub(f"{ours}|{standard}", "", page).count("<") == 0, page
    plain = re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL)
    words = re.sub(r'<a href="[^"]*">', "", plain).replace(formula, "")
    assert not re.search(r"@\w|#\d|://|www\.|GH-\d|\$", words, re.IGNORECASE)


def poisoned(value: Any, whole: Any) -> None:
    """Puts an attack into every text inside a verdict of plain dicts and lists that the schema lets pass."""
    for key, found in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(found, dict | list):
            poisoned(found, whole)
        elif isinstance(found, str):
            for text in (ATTACK, ATTACK[:200], found):
                value[key] = text
                try:
                    verdict.decode(msgspec.json.encode(whole))
                except msgspec.ValidationError:
                    continue
                break


def test_there_is_one_comment_and_it_changes(github: GitHub, tell: Any) -> None:
    """The first run writes it, the next one changes it; the first line is the verdict."""
    assert tell() == (0, "Commented on #7.\n")
    (first,) = github.comments
    assert first["issue"] == 7
    assert first["body"].startswith("### ❌ Latency: p95 of POST /predict is 50 % slower")
    assert "[run 900](https://github.example/acme/loans/actions/runs/900)" in first["body"]
    github.artifact("verdict", zipped(verdict_json=msgspec.json.encode(PASSED)))  # of a second attempt
    assert tell(run_attempt=2) == (0, "Changed the comment on #7.\n")
    (second,) = github.comments
    assert second["body"].startswith("### ✅ Latency: p95")
    assert [method for method, _, _ in github.written] == ["POST", "PATCH"]


def test_two_pull_requests_of_one_branch_have_a_comment_each(github: GitHub, tell: Any) -> None:
    """To two other branches: nothing that the run left says for which of them it ran."""
    github.pull(8, SHA)
    assert tell() == (0, "Commented on #7. Commented on #8.\n")


def test_a_run_that_ends_late_changes_nothing(github: GitHub, tell: Any) -> None:
    """What a newer run has said stays."""
    tell(id=901)
    assert tell(id=900, run_attempt=2) == (0, "Nothing to do: a newer run has commented on #7 already.\n")
    assert len(github.written) == 1


def test_a_log_cannot_pass_for_a_newer_run(github: GitHub, tell: Any) -> None:
    """Else a pull request could keep its comment from ever changing again."""
    forged = MARKER.replace("predict", f"pre{MARKER}dict") + "<!-- run 99999999999.1 -->"  # also once ours is taken out
    github.artifact("verdict", zipped(verdict_json=msgspec.json.encode(replace(FAILED, log=forged))))
    tell()
    assert "run 99999999999.1" in github.comments[0]["body"]
    assert tell(id=901) == (0, "Changed the comment on #7.\n")


def test_of_two_comments_the_newer_changes(github: GitHub, tell: Any) -> None:
    """Two runs at the same moment could both write one; what stands above it stays."""
    for number, ran in ((1, 898), (2, 899)):
        body = f"old\n\n{MARKER}<!-- run {ran}.1 -->"
        github.comments.append({"id": number, "issue": 7, "user": BOT, "body": body})
    assert tell() == (0, "Changed the comment on #7.\n")
    assert [each["body"].startswith("old") for each in github.comments] == [True, False]


def test_a_fork_gets_its_comment(github: GitHub, tell: Any) -> None:
    """By the same path; that its figures come from its own code is said."""
    github.pull(8, SHA, owner="mallory")
    assert tell(owner="mallory") == (0, "Commented on #8.\n")
    assert "A pull request from a fork is measured by its own code." in github.comments[0]["body"]


@pytest.mark.parametrize(
    "change",
    [
        {"head_sha": "0" * 40},  # a newer commit was pushed
        {"head_branch": "other"},
        {"owner": "mallory"},  # a fork with a branch of the same name, and no pull request
        {"head_repository": None},
        {"event": "push"},
        {"conclusion": "cancelled"},
        {"conclusion": "skipped"},
    ],
)
def test_nobody_elses_pull_request_is_written_to(github: GitHub, tell: Any, change: dict[str, Any]) -> None:
    """Only the one whose head is the very commit that ran; the event's own list of pull requests is not asked."""
    code, printed = tell(**change)
    assert code == 0
    assert printed.startswith("Nothing to do: ")
    assert github.written == []


def test_a_fork_cannot_pass_for_the_repository(github: GitHub, tell: Any) -> None:
    """A pull request whose fork is gone, or has another id than the run's, is not the run's."""
    github.pulls.clear()
    github.pull(9, SHA, owner="mallory", repo=None)
    github.pull(10, SHA, owner="mallory", repo={"id": 3})
    assert tell(owner="mallory")[0] == 0
    assert github.written == []


def test_somebody_elses_comment_is_left_alone(github: GitHub, tell: Any) -> None:
    """Anybody can write our marker."""
    ours = f"{MARKER}<!-- run 1.1 -->"
    for user in ({"login": "mallory", "type": "User"}, BOT | {"type": "User"}, BOT | {"login": "mallory[bot]"}, None):
        github.comments.append({"id": len(github.comments), "issue": 7, "user": user, "body": ours})
    github.comments.append({"id": 9, "issue": 7, "user": BOT, "body": "something else"})
    assert tell() == (0, "Commented on #7.\n")
    assert [each["body"] for each in github.comments[:5]] == [ours] * 4 + ["something else"]


def test_hostile_texts_are_no_more_than_text(github: GitHub, tell: Any) -> None:
    """Every text that a pull request can choose is an attack: in the verdict and in the names of its jobs."""
    report = msgspec.to_builtins(hostile())
    poisoned(report, report)
    assert report["candidate"]["name"].startswith("$x$ ")
    assert (report["candidate"]["kind"], report["criteria"][0]["key"]) == ("process", "p95")  # of a few words only
    github.artifact("model", zipped(model_json=msgspec.json.encode(hostile_model())))
    github.artifact("verdict", zipped(verdict_json=msgspec.json.encode(report)))
    github.jobs = [{"id": n, "name": f"`@x{n} {ATTACK}", "conclusion": "failure"} for n in range(40)]
    refused = json.dumps({"passed": False, "sentence": ATTACK}).encode()
    for start, left in (
        ("### ✅ Model: ", {"model": zipped(model_json=refused)}),
        ("### ❌ Model: ", {}),
        ("### ❌ Failed: `'@x0 ", {}),
    ):
        assert tell()[0] == 0
        assert github.comments[0]["body"].startswith(start)
        harmless(github.comments[0]["body"])
        assert ("#### Model" in github.comments[0]["body"]) == (start == "### ✅ Model: ")
        github.artifacts.clear()
        for name, content in left.items():
            github.artifact(name, content)


@pytest.mark.parametrize(("letter", "notes"), [("x", 45), ("|", 50), ("$", 50), ("@", 50), ("\N{PILE OF POO}", 50)])
def test_the_longest_of_all_fits(github: GitHub, tell: Any, letter: str, notes: int) -> None:
    """However long each of its texts is, GitHub takes the comment, and it begins with the verdict."""
    texts = {"headline": letter * 500, "next": letter * 500, "log": letter * 10_000}
    long = replace(FAILED, **texts, reasons=[letter * 500] * notes, notes=[letter * 500] * notes)
    assert letter != "x" or 58_000 < len(markdown(long).encode()) < MAX_BYTES  # which fits, but for the failed jobs
    github.artifact("verdict", zipped(verdict_json=msgspec.json.encode(long)))
    github.jobs = [{"id": n, "name": letter * 1000, "conclusion": "failure"} for n in range(40)]
    assert tell() == (0, "Commented on #7.\n")
    assert github.comments[0]["body"].startswith("### ❌ Latency: ")
    assert f"[run 900]({RUNS}/900)" in github.comments[0]["body"]
    harmless(github.comments[0]["body"])


BOMB = zipped(verdict_json=b" " * 50_000_000)
VERDICT = msgspec.json.encode(FAILED)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\0" * 10_000_000, "the artifact verdict is larger than 2,000,000 bytes"),
        (BOMB, "verdict.json is larger than 2,000,000 bytes"),
        (zipped(zipfile.ZIP_BZIP2, verdict_json=VERDICT), "the artifact verdict is no zip file that can be read"),
        (zipped(zipfile.ZIP_LZMA, verdict_json=VERDICT), "the artifact verdict is no zip file that can be read"),
        (b"no zip", "the artifact verdict is no zip file that can be read"),
        (zipped(verdict_json=VERDICT)[:200], "the artifact verdict is no zip file that can be read"),
        (zipped(other_json=VERDICT), "the artifact verdict holds no verdict.json"),
        (zipped(**{"/../verdict_json": VERDICT}), "the artifact verdict holds no verdict.json"),
        (zipped(verdict_json=b'{"headline": "@everyone"}'), "verdict.json is not what the gate writes"),
        (zipped(verdict_json=b"[" * 1_000_000), "verdict.json is not what the gate writes"),
        (zipped(verdict_json=VERDICT.replace(b'"seconds":42.0', b'"seconds":NaN')), "is not what the gate writes"),
        (zipped(verdict_json=VERDICT.replace(b'"seconds":42.0', b'"seconds":1e999')), "is not what the gate writes"),
        (zipped(verdict_json=VERDICT.replace(b'"fail"', b'"pass"', 1)), "is not what the gate writes"),
        (zipped(verdict_json=b"\xff" + VERDICT), "is not what the gate writes"),
    ],
)
def test_what_cannot_be_trusted_is_not_shown(github: GitHub, tell: Any, content: bytes, why: str) -> None:
    """The comment says so in our own words, on the run's own pull request, and shows nothing of it."""
    github.artifacts.clear()
    github.artifact("verdict", content)
    assert tell() == (0, "Commented on #7.\n")
    body = github.comments[0]["body"]
    assert body.startswith("### ⛔ The report of this run cannot be shown: ")
    assert why in body
    assert "everyone" not in body
    harmless(body)


def test_a_bomb_is_not_unpacked(github: GitHub) -> None:
    """No more of it than what a verdict may have."""
    github.artifact("verdict", BOMB)
    connected = rest.connect(github.environment)
    tracemalloc.start()
    with pytest.raises(explain.Unreadable, match="larger than"):
        explain.read(connected, rest.artifacts(connected, 900), "verdict", "verdict.json", verdict.decode)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_an_artifact_that_lies_about_its_size_is_cut_off(github: GitHub, tell: Any) -> None:
    """What comes is counted, not only what was announced; then there is no comment, and one line says why."""
    github.artifacts.clear()
    github.artifact("verdict", b"\0" * 10_000_000, size_in_bytes=100)
    code, printed = tell()
    assert (code, github.written) == (3, [])
    assert "it has more than 2000000 bytes" in printed


def test_an_artifact_is_not_unpacked_on_its_way(github: GitHub, tell: Any) -> None:
    """Who uploads it chooses its headers: 100 kB that call themselves gzip would be 100 MB at once."""
    github.artifacts.clear()
    content = gzip.compress(b"\0" * 100_000_000)
    github.artifact("verdict", content, headers={"Content-Encoding": "gzip", "Content-Length": str(len(content))})
    assert tell()[0] == 0
    assert "the artifact verdict is no zip file that can be read" in github.comments[0]["body"]


def test_an_artifact_that_breaks_off_is_said(github: GitHub, tell: Any) -> None:
    """Half of a download is an error of the network, not of the pull request."""
    github.artifact("verdict", zipped(verdict_json=VERDICT), headers={"Content-Length": "1000000"})
    code, printed = tell()
    assert (code, printed.count("\n"), github.written) == (3, 1, [])
    assert printed.startswith("Cannot comment: GET /repos/acme/loans/actions/artifacts/2/zip: ")


def test_a_model_that_was_refused_is_explained(github: GitHub, tell: Any) -> None:
    """Nothing was measured then, so the comment says what training said."""
    github.artifacts.clear()
    sentence = "roc_auc is 0.91, 0.04 beyond the floor of 0.95"
    github.artifact("model", zipped(model_json=json.dumps({"passed": False, "sentence": sentence}).encode()))
    github.jobs = [{"id": 12, "name": "Train and register", "conclusion": "failure"}]
    tell()
    body = github.comments[0]["body"].replace("\\", "")
    assert body.startswith(f"### ❌ Model: {sentence}\n")
    assert "`Train and register` ([log](https://github.example/acme/loans/actions/runs/900/job/12))" in body


def test_an_attempt_is_not_explained_by_the_one_before(github: GitHub, tell: Any) -> None:
    """GitHub keeps the artifacts of each: a verdict from before the last training is none of this attempt."""
    github.artifact("model", zipped(model_json=b'{"passed": true, "sentence": "fine"}'))
    github.jobs.append({"id": 12, "name": "Build the image", "conclusion": "failure"})
    tell(run_attempt=2)
    assert github.comments[0]["body"].startswith("### ❌ Failed: `Build the image`\n")
    github.artifact("verdict", zipped(verdict_json=VERDICT))
    tell(run_attempt=3)
    assert github.comments[0]["body"].startswith("### ❌ Latency: ")


def test_a_run_without_a_verdict_names_the_jobs_that_failed(github: GitHub, tell: Any) -> None:
    """Whatever it was, the reader gets to its log in one step."""
    github.artifacts.clear()
    github.jobs.append({"id": 12, "name": "Build the image", "conclusion": "failure"})
    tell()
    body = github.comments[0]["body"]
    assert body.startswith("### ❌ Failed: `Build the image`\n")
    assert "Failed jobs: `Build the image` ([log](https://github.example/acme/loans/actions/runs/900/job/12))." in body


def test_a_step_that_failed_is_named(github: GitHub, tell: Any) -> None:
    """A job does more than one thing: the verdict may be a pass, and the scan after it none."""
    steps = [{"name": "Measure and judge", "conclusion": "success"}, {"name": "Scan @all", "conclusion": "failure"}]
    github.jobs.append({"id": 12, "name": "Load-test and scan", "conclusion": "failure", "steps": steps})
    tell()
    assert "Failed jobs: `Load-test and scan` at `Scan @all` ([log](" in github.comments[0]["body"]


@pytest.mark.parametrize("failed", [False, True])
def test_nothing_to_measure_is_said(github: GitHub, tell: Any, failed: bool) -> None:
    """A change of the README has no verdict, and is no mystery; nor is a linter that failed beside it."""
    github.artifacts.clear()
    found = {"measure": False, "sentences": ["Nothing to measure: the service is the champion's, version *7*."]}
    quality = json.dumps({"passed": True, "sentence": "fine", "kept": "7"}).encode()
    github.artifact("model", zipped(model_json=quality, changes_json=json.dumps(found).encode()))
    if failed:
        github.jobs.append({"id": 12, "name": "Train and test", "conclusion": "failure"})
    tell(conclusion="failure" if failed else "success")
    expected = (
        "### ❌ Failed: `Train and test`" if failed else "### ✅ Nothing to measure: the service is the champion's"
    )
    assert github.comments[0]["body"].startswith(expected)
    harmless(github.comments[0]["body"])


@pytest.mark.parametrize("conclusion", ["cancelled", "skipped", "action_required", "stale", "neutral", None])
def test_a_run_that_did_not_end_gets_no_comment(github: GitHub, tell: Any, conclusion: str | None) -> None:
    """One that waits for somebody to let a stranger's code run is "completed" as well: action_required."""
    code, printed = tell(conclusion=conclusion)
    assert (code, github.written) == (0, [])
    assert printed.startswith("Nothing to do: ")


def test_github_is_asked_again(github: GitHub, tell: Any) -> None:
    """A reading that GitHub could not serve just then is made once more; a writing never is."""
    github.failures = [502, 503]
    assert tell() == (0, "Commented on #7.\n")
    read = len(github.requests) - len(github.written) - 2
    github.comments.clear()
    github.failures = [200] * read + [502]
    code, printed = tell()
    assert (code, printed) == (3, "Cannot comment: POST /repos/acme/loans/issues/7/comments: 502 Something is wrong\n")
    assert len(github.written) == 2


def test_github_is_not_asked_for_ever(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times, and what it said last is what is told."""
    monkeypatch.setattr(Retry, "sleep", lambda *_: None)
    github.failures = [503] * 9
    with pytest.raises(rest.GitHubError, match=r"^GET /repos/acme/loans/pulls: 503 Something is wrong$"):
        list(rest.pages(rest.connect(github.environment), "/repos/acme/loans/pulls"))
    assert len(github.requests) == 5


def test_what_is_missing_is_said_in_one_line(github: GitHub, tell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a workflow, or in one that runs on another event."""
    code, printed = tell(id=None)
    assert (code, printed.count("\n")) == (3, 1)
    assert printed.startswith("Cannot comment: what came from GitHub is not as it should be (TypeError: ")
    monkeypatch.delenv("GITHUB_TOKEN")
    message = "Cannot comment: GITHUB_TOKEN must be in the environment, as in a workflow of GitHub Actions\n"
    assert tell() == (3, message)


def test_a_refusal_is_said_in_one_line(github: GitHub, tell: Any) -> None:
    """With the request and GitHub's own words, without the token."""
    github.failures = [403]
    code, printed = tell()
    assert (code, printed.count("\n")) == (3, 1)
    assert printed.startswith("Cannot comment: GET /repos/acme/loans/pulls: 403 Something is wrong")
