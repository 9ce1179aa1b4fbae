"""From a run of a workflow to what people read of it: the gate's report, else why there is none.

What the run left is not to be trusted: its artifacts and the names of its jobs may come from a stranger's pull request.
So artifacts are small, have the schema that they should, and nothing in them is more than text.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from perf import verdict
from perf.report.markdown import MARKER, MAX_BYTES, markdown
from pipeline.markup import quoted, sentence
from pipeline.notes import Changes, Deployment
from release.github import api as rest
from release.github.api import GitHub
from training.quality import markdown as quality
from training.quality.report import Model

T = TypeVar("T")
FAILED = ("failure", "timed_out", "startup_failure")
CANCELLED = "cancelled"  # so GitHub calls a job that took longer than it may, too
LARGEST = MAX_BYTES - 500  # bytes of a text; the rest is for the marks by which it is found again
# Python unpacks these piece by piece, as much as is asked for; of others, 400 bytes become 300 MB at once.
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError, ValueError)


class Run(NamedTuple):
    """A run of a workflow, as GitHub itself names it."""

    id: int
    attempt: int
    sha: str
    fork: bool = False

    def url(self, github: GitHub) -> str:
        return f"{github.web}/actions/runs/{self.id}"


class Unreadable(Exception):
    """An artifact is not what it should be; the message says why, in our own words."""


def explain(github: GitHub, run: Run) -> str:
    """Markdown of at most 60,000 bytes. Raises GitHubError where GitHub does not answer."""
    url, jobs = run.url(github), rest.pages(github, f"{github.path}/actions/runs/{run.id}/jobs", "jobs")
    failed = {int(job["id"]): _failed(job) for job in jobs if job["conclusion"] in FAILED or stopped(job)}
    shown = list(failed.items())[:20]
    links = ", ".join(f"{name} ([log]({url}/job/{number}))" for number, name in shown)
    whose = " A pull request from a fork is measured by its own code." if run.fork else ""
    about = f"<sub>Commit {quoted(run.sha[:7])}, [run {run.id}]({url}).{whose}</sub>"
    footer = [f"Failed jobs: {links}.", about] if links else [about]
    try:
        body = _body(github, rest.artifacts(github, run.id), [name for _, name in shown])
    except Unreadable as error:
        body = f"### ⛔ The report of this run cannot be shown: {error}.\n\n**Next:** look at its log."
    text = "\n\n".join([body.rstrip(), *footer])
    return text if len(text.encode()) < LARGEST else "\n\n".join([body.split("\n", 1)[0], *footer])


def stopped(job: Mapping[str, Any]) -> bool:
    """Whether a job was stopped after it had begun: by somebody, or because its time was over."""
    return bool(job["conclusion"] == CANCELLED and job.get("steps"))


def _failed(job: Mapping[str, Any]) -> str:
    """A job that failed, and the step at which it did."""
    ended = (*FAILED, CANCELLED) if stopped(job) else FAILED
    steps = [str(step["name"]) for step in job.get("steps") or [] if step["conclusion"] in ended]
    why = " (cancelled, or it took longer than it may)" if stopped(job) else ""
    return quoted(str(job["name"]), 80) + (f" at {quoted(steps[0], 80)}" if steps else "") + why


def _body(github: GitHub, artifacts: Mapping[str, Mapping[str, Any]], failed: Sequence[str]) -> str:
    trained, measured = (int(artifacts[name]["id"]) if name in artifacts else 0 for name in ("model", "verdict"))
    model = read(github, artifacts, "model", "model.json", msgspec.json.Decoder(Model).decode, optional=True)
    # A verdict from before the last training is of an earlier attempt: this one did not get as far.
    if measured > trained and (report := read(github, artifacts, "verdict", "verdict.json", verdict.decode)):
        return markdown(report, model).replace(MARKER, "")
    if model is not None and not model.passed:
        return (
            f"{quality.markdown(model)}\nNothing was built or measured.\n\n**Next:** "
            "`make train` reproduces it. The limits are in pipeline.toml under [quality]."
        )
    deployed = read(github, artifacts, "deployment", "deployment.json", msgspec.json.Decoder(Deployment).decode)
    if deployed is not None and not deployed.passed:
        return f"### ❌ {sentence(deployed.environment)}: {sentence(deployed.sentence)}\n\n**Next:** `make status`"
    if failed:
        return f"### ❌ Failed: {', '.join(failed)}\n\n**Next:** the log of the job that failed says why."
    changes = read(github, artifacts, "model", "changes.json", msgspec.json.Decoder(Changes).decode, optional=True)
    if changes is not None and not changes.measure and changes.sentences:
        return f"### ✅ {sentence(changes.sentences[0])}"
    return "### ⚠️ This run has no verdict\n\n**Next:** look at its log."


def read(
    github: GitHub,
    artifacts: Mapping[str, Mapping[str, Any]],
    name: str,
    member: str,
    decode: Callable[[bytes], T],
    optional: bool = False,
) -> T | None:
    """What one file in an artifact says; None where there is no such artifact, or no such file and it is `optional`.

    Raises Unreadable or GitHubError.
    """
    if name not in artifacts:
        return None
    if int(artifacts[name]["size_in_bytes"]) > verdict.MAX_BYTES:
        raise Unreadable(f"the artifact {name} is larger than {verdict.MAX_BYTES:,} bytes")
    data = rest.download(github, artifacts[name], verdict.MAX_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.getinfo(member).compress_type not in PACKED:
                raise zipfile.BadZipFile
            with archive.open(member) as file:
                content = file.read(verdict.MAX_BYTES + 1)  # whatever size the entry claims
    except KeyError:
        if optional:
            return None
        raise Unreadable(f"the artifact {name} holds no {member}") from None
    except BROKEN_ZIP:
        raise Unreadable(f"the artifact {name} is no zip file that can be read") from None
    if len(content) > verdict.MAX_BYTES:
        raise Unreadable(f"{member} is larger than {verdict.MAX_BYTES:,} bytes")
    try:
        return decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # whose words may quote it
        raise Unreadable(f"{member} is not what the gate writes") from None
