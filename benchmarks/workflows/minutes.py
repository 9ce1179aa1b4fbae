"""What a push costs: each job of a generated project's workflows under act, in seconds and in minutes that are billed.

    make bench-workflow

The project is generated from what is committed, with the default answers, its whole tests, its linters, and the load
profile of pipeline.toml. Packages come from a warm cache, and are copied as on GitHub; layers of the image are warm as
well. One job runs at a time. GitHub bills each job by the minute that it has begun. Writes docs/workflows.md and, the
minutes alone, docs/github.md.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import sections
from tests.engine.release.github_server import serving
from tests.template.act.buildkit import serving_buildkit
from tests.template.act.place import CLIENTS, Place
from tests.template.act.registry import serving_registry
from tests.template.act.results import serving_results
from tests.template.npm import install

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "make bench-workflow"
REPOSITORY = "octocat/loan-default"
MAIN: dict[str, Any] = {"ref": "refs/heads/main"}
REPO = {"repo": {"full_name": REPOSITORY}}
PULL = {"number": 7, "pull_request": {"number": 7, "head": REPO | {"ref": "faster"}, "base": REPO | {"ref": "main"}}}
WEEK = {"schedule": "23 4 * * 1", "repository": {"default_branch": "main"}}
Change = tuple[str, str, str]  # of a file: what stands in it, and what shall
SERVICE = ("serving/score.py", '"""Predictions without', '"""Predictions, without')
MODEL = ("src/model/data.py", "from collections", "# A change.\nfrom collections")
README = ("README.md", "## Start\n", "## Begin\n")
OPTIONS = ("--json", "--concurrent-jobs", "1", "--env", "UV_LINK_MODE=copy")


class Kind(NamedTuple):
    title: str
    changes: tuple[Change, ...]
    event: str
    workflow: str
    payload: dict[str, Any]


KINDS = (
    Kind("the first push", (), "push", "pipeline.yml", MAIN),
    Kind("a push that changes the model", (MODEL,), "push", "pipeline.yml", MAIN),
    Kind("a pull request that changes the service", (MODEL, SERVICE), "pull_request", "pipeline.yml", PULL),
    Kind("a push that changes the README alone", (MODEL, README), "push", "pipeline.yml", MAIN),
    Kind("retraining without new data", (MODEL,), "schedule", "retrain.yml", WEEK),
)


def seconds_of(printed: str) -> dict[str, float]:
    """Each job's time from its first line to its last, in the order in which they began."""
    times: dict[str, list[datetime]] = {}
    for line in printed.splitlines():
        try:
            entry = json.loads(line)
            times.setdefault(entry["job"].rpartition("/")[2].strip(), []).append(datetime.fromisoformat(entry["time"]))
        except (ValueError, KeyError):
            continue
    return {job: (max(at) - min(at)).total_seconds() for job, at in times.items()}


def billed(seconds: float) -> int:
    return max(1, math.ceil(seconds / 60))


def document(measured: Mapping[str, Mapping[str, float]]) -> str:
    """The tables of docs/workflows.md."""
    rows = []
    for title, jobs in measured.items():
        each = ", ".join(f"{job} {seconds:.0f}" for job, seconds in jobs.items())
        rows.append([title, each, f"{sum(jobs.values()):.0f}", str(sum(map(billed, jobs.values())))])
    return f"{sections.table(('run', 'seconds of each job', 'seconds', 'minutes'), rows)}\n"


def summary(measured: Mapping[str, Mapping[str, float]]) -> str:
    """The table of docs/github.md."""
    rows = [[title, str(sum(map(billed, jobs.values())))] for title, jobs in measured.items()]
    about = (
        "What a run costs in minutes, each job rounded up as GitHub bills it, measured with the sample on 2 cores:\n\n"
    )
    return f"{about}{sections.table(('run', 'minutes'), rows)}\n"


@contextmanager
def project(folder: Path) -> Iterator[Place]:
    """A generated project with everything around it."""
    for name in ("kept", "uv", "registry", "buildkit", "results", "out"):
        (folder / name).mkdir()
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "template"], check=True)
    bake = ["make", "bake", f"VENV={sys.prefix}", f"OUT={folder / 'out'}"]
    subprocess.run(bake, cwd=folder / "template", check=True, stdout=subprocess.DEVNULL)
    checkout = folder / "out" / "loan-default"
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-C", str(checkout)]
    for command in (["init", "--quiet", "-b", "main"], ["add", "--all"], ["commit", "--quiet", "--message=A project"]):
        subprocess.run([*git, *command], check=True)
    with (
        serving(REPOSITORY) as github,
        serving_results(folder / "results") as results,
        serving_registry(folder / "registry") as registry,
        serving_buildkit(folder / "buildkit", registry.address) as buildkit,
    ):
        clients = install(CLIENTS, ROOT / ".cache" / "github-clients")
        kept, uv = folder / "kept", folder / "uv"
        yield Place(checkout, REPOSITORY, registry, github, results, clients, kept, uv, buildkit)


def main() -> int:
    measured: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch, project(Path(scratch)) as place:
        for kind in KINDS:
            with ExitStack() as stack:
                for change in kind.changes:
                    stack.enter_context(place.changed(*change))
                ended = place.run(kind.event, kind.workflow, *OPTIONS, payload=kind.payload)
            if ended.status:
                print(ended.printed, file=sys.stderr)
                return 3
            measured[kind.title] = seconds_of(ended.printed)
            print(f"{kind.title}: {measured[kind.title]}", flush=True)
    on = f"On {datetime.now(UTC).date()}:\n\n"
    sections.write(ROOT / "docs" / "workflows.md", COMMAND, on + document(measured))
    sections.write(ROOT / "docs" / "github.md", COMMAND, summary(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
