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
from perf.report.markdown import MARKER, MAX_BYTES, markdown, quoted, sentence
from pipeline.notes import Quality
from release.github import api as rest
from release.github.api import GitHub

T = TypeVar("T")
FAILED = ("failure", "timed_out", "startup_failure")
SHOWN_JOBS = 20
LARGEST = MAX_BYTES - 500  # bytes of a text; the rest is for the marks by which it is found again
# Python unpacks these piece by piece, as much as is asked for; of others, 400 bytes become 300 MB at once.
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, EOFError, ValueError)


class Run(NamedTuple):
    """A run of a workflow, as GitHub itself names it."""

    id: int
    attempt: int
    sha: str
    url: str  # of its page
    fork: bool = False


class Unreadable(Exception):
    """An artifact is not what it should be; the message says why, in our own words."""


def explain(github: GitHub, run: Run) -> str:
    """Markdown of at most 60,000 bytes. Raises GitHubError where GitHub does not answer."""
    failed = [job for job in jobs(github, run) if job["conclusion"] in FAILED][:SHOWN_JOBS]
    links = ", ".join(_link(run, job) for job in failed)
    footer = [f"Failed jobs: {links}." if links else "", _measured(run)]
    try:
        body = _body(github, rest.artifacts(github, run.id), failed)
    except Unreadable as error:
        body = f"### ⛔ The report of this run cannot be shown: {error}.\n\n**Next:** look at its log."
    text = "\n\n".join(part for part in (body.rstrip(), *footer) if part)
    return text if len(text.encode()) < LARGEST else "\n\n".join([body.split("\n", 1)[0], *filter(None, footer)])


def _body(github: GitHub, found: Mapping[str, Mapping[str, Any]], failed: Sequence[Mapping[str, Any]]) -> str:
    trained, measured = (int(found[name]["id"]) if name in found else 0 for name in ("quality", "verdict"))
    # A verdict from before the last training is of an earlier attempt: this one did not get as far.
    if measured > trained and (report := read(github, found, "verdict", "verdict.json", verdict.decode)):
        return markdown(report).replace(MARKER, "")
    refused = read(github, found, "quality", "quality.json", msgspec.json.Decoder(Quality).decode)
    if refused is not None and not refused.passed:
        return (
            f"### ❌ Quality gate: {sentence(refused.sentence)}\n\nNothing was built or measured.\n\n**Next:** "
            "`make train` reproduces it. The limits are in pipeline.toml under [quality]."
        )
    if failed:
        names = ", ".join(_name(job) for job in failed)
        return f"### ❌ Failed: {names}\n\n**Next:** the log of the job that failed says why."
    return "### ⚠️ This run has no verdict\n\n**Next:** look at its log."


def read(
    github: GitHub, found: Mapping[str, Mapping[str, Any]], name: str, member: str, decode: Callable[[bytes], T]
) -> T | None:
    """What one file in an artifact says; None where there is no such artifact. Raises Unreadable or GitHubError."""
    if name not in found:
        return None
    if int(found[name]["size_in_bytes"]) > verdict.MAX_BYTES:
        raise Unreadable(f"the artifact {name} is larger than {verdict.MAX_BYTES:,} bytes")
    data = rest.download(github, found[name], verdict.MAX_BYTES)
    try:
        content = _unpacked(data, member)
    except KeyError:
        raise Unreadable(f"the artifact {name} holds no {member}") from None
    except BROKEN_ZIP:
        raise Unreadable(f"the artifact {name} is no zip file that can be read") from None
    if len(content) > verdict.MAX_BYTES:
        raise Unreadable(f"{member} is larger than {verdict.MAX_BYTES:,} bytes")
    try:
        return decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # whose words may quote it
        raise Unreadable(f"{member} is not what the gate writes") from None


def _unpacked(data: bytes, member: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = archive.getinfo(member)
        if entry.compress_type not in PACKED:
            raise zipfile.BadZipFile(f"{member} is packed in a way that GitHub's own actions do not use")
        with archive.open(entry) as file:
            return file.read(verdict.MAX_BYTES + 1)  # whatever size the entry claims


def jobs(github: GitHub, run: Run) -> list[dict[str, Any]]:
    """The jobs of the latest attempt of a run."""
    return list(rest.pages(github, f"{github.path}/actions/runs/{run.id}/jobs", "jobs"))


def _name(job: Mapping[str, Any]) -> str:
    return quoted(str(job["name"]), 80)


def _link(run: Run, job: Mapping[str, Any]) -> str:
    return f"{_name(job)} ([log]({run.url}/job/{int(job['id'])}))"


def _measured(run: Run) -> str:
    whose = " A pull request from a fork is measured by its own code." if run.fork else ""
    return f"<sub>Commit {quoted(run.sha[:7])}, [run {run.id}]({run.url}).{whose}</sub>"
