"""A repository on "GitHub": a checkout whose workflows act runs, with a registry, caches, artifacts and a REST API.

What act cannot have is replaced by the stand-ins of this folder: see docs/workflows.md.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engine.release.github_server import TOKEN, GitHub
from tests.template.act.registry import WRITER, Registry
from tests.template.act.results import Results

STANDINS, CLIENTS = Path(__file__).with_name("standins"), Path(__file__).with_name("clients")
IMAGE = "local/act-runner:latest"
# Changes of the service: a file, what stands in it, and what shall stand there.
SLOW = (  # by less than the rate leaves, or a queue would say something else each time
    "serving/service.py",
    "scores = model_answer(",
    '__import__("time").sleep(0.003)\n        scores = model_answer(',
)
NEVER_READY = (
    "serving/protocols/about.py",
    """Reply(200, JSON, b'{"status":"ready"}')""",
    'Reply(503, JSON, b"not yet" if print("no database", flush=True) is None else b"")',
)


@dataclass(frozen=True)
class Ended:
    """How a run of a workflow ended: act's exit status and all that it printed."""

    status: int
    printed: str
    seconds: float

    @property
    def jobs(self) -> dict[str, str]:
        """The result of each job that ran, by its name."""
        found = re.findall(r"^\[[^\]]*?/([^/\]]+?)\s*\]\s+🏁\s+Job (succeeded|failed)", self.printed, re.MULTILINE)
        return {name: {"succeeded": "success", "failed": "failure"}[result] for name, result in found}

    def said(self, job: str) -> str:
        """What the steps of a job printed."""
        lines = re.findall(rf"^\[[^]]*/{re.escape(job)}\s*\]\s+\| (.*)$", self.printed, re.MULTILINE)
        return "\n".join(lines)


@dataclass
class Place:
    """A repository, and what GitHub would keep for it."""

    checkout: Path
    repository: str  # owner/name
    registry: Registry
    github: GitHub  # its REST API
    results: Results  # its artifacts and caches
    clients: Path  # GitHub's own of these, as npm.install left them
    kept: Path  # what the runs printed
    uv: Path
    buildkit: Path
    runs: int = 0

    @property
    def images(self) -> str:
        return f"{self.registry.address}/{self.repository.lower()}"

    def artifact(self, name: str) -> Path:
        """The folder with an artifact of the latest run; it is not there where the run left none."""
        return self.results.unpacked(self.runs, name)

    def run(
        self, event: str, workflow: str = "pipeline.yml", *options: str, payload: dict[str, Any], password: str = WRITER
    ) -> Ended:
        """Runs a workflow as GitHub would on an event; `options`: more of act's own.

        `password`: the secret REGISTRY_PASSWORD, in place of the token that ghcr.io takes; empty: there is none.
        """
        self.runs += 1
        file = self.kept / "event.json"
        file.write_text(json.dumps(payload))
        given = {"GITHUB_REPOSITORY": self.repository, "GITHUB_RUN_ID": str(self.runs)}
        # The clients of artifacts serve github.com, ghe.com and a name below localhost.
        given |= {"GITHUB_API_URL": self.github.url, "GITHUB_SERVER_URL": "http://github.localhost"}
        given |= self.results.environment(self.runs, *branches(payload))
        # Nothing is copied or compiled anew in each job: libraries are links into the mounted cache.
        given |= {"UV_CACHE_DIR": "/uv", "UV_LINK_MODE": "symlink", "PYTHONPYCACHEPREFIX": "/kept/compiled"}
        given_options = [f"--env={key}={value}" for key, value in given.items()]
        given_options += [f"--local-repository={uses}={folder}" for uses, folder in replaced(self.checkout).items()]
        mounted = {"/kept": self.kept, "/uv": self.uv, "/buildkit": self.buildkit, "/clients": self.clients}
        began = time.perf_counter()
        done = subprocess.run(
            [
                *("act", event, "--workflows", f".github/workflows/{workflow}", "--eventpath", file),
                *("--platform", f"ubuntu-24.04={IMAGE}", "--pull=false", "--rm", "--no-cache-server"),
                *("--var", f"REGISTRY={self.registry.address}", "--secret", f"GITHUB_TOKEN={TOKEN}"),
                *(("--secret", f"REGISTRY_PASSWORD={password}") if password else ()),
                *("--actor", "octocat"),
                *("--concurrent-jobs", "2"),  # on GitHub they have a machine each
                *("--container-options", " ".join(f"--volume {source}:{target}" for target, source in mounted.items())),
                *given_options,
                *options,
            ],
            cwd=self.checkout,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        (self.kept / f"run-{self.runs}.log").write_text(done.stdout)
        return Ended(done.returncode, done.stdout, time.perf_counter() - began)

    @contextmanager
    def changed(self, path: str, old: str, new: str) -> Iterator[None]:
        """A commit that changes a file, and is gone afterwards."""
        file = self.checkout / path
        text = file.read_text()
        assert text.count(old) == 1, f"{old} in {path}"
        file.write_text(text.replace(old, new))
        git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-C", str(self.checkout)]
        subprocess.run([*git, "commit", "--quiet", "--all", "--message=A change"], check=True)
        try:
            yield
        finally:
            subprocess.run([*git, "reset", "--quiet", "--hard", "HEAD~1"], check=True)

    def champion(self) -> str:
        """The digest behind the tag champion, as the registry itself says; empty where there is no such tag."""
        return self.registry.digest(self.repository.lower(), "champion")


SHORT = '''"""The shortest test that a project can have."""

from pipeline.settings import load_settings
from tests.conftest import ROOT


def test_the_settings_can_be_read() -> None:
    """Or nothing could."""
    assert load_settings(ROOT).project.name
'''


def shorten_tests(checkout: Path) -> None:
    """Leaves a checkout a short test in place of its own: these runs are about the workflows."""
    shutil.rmtree(checkout / "benchmarks", ignore_errors=True)  # which import what goes now
    for path in (checkout / "tests").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "conftest.py":
            path.unlink()
    (checkout / "tests" / "test_settings.py").write_text(SHORT)


def branches(payload: dict[str, Any]) -> tuple[str, str]:
    """The branch that the caches of a run belong to, and the other one that it may read the caches of."""
    main = f"refs/heads/{payload.get('repository', {}).get('default_branch', 'main')}"
    if "pull_request" in payload:
        return f"refs/pull/{payload['number']}/merge", f"refs/heads/{payload['pull_request']['base']['ref']}"
    return payload.get("ref", main), main


def replaced(checkout: Path) -> dict[str, Path]:
    """Which folder takes the place of which pinned action, for every action that the workflows name."""
    text = "".join(path.read_text() for path in (checkout / ".github" / "workflows").glob("*.yml"))
    used = set(re.findall(r"uses: ([\w-]+)/([\w-]+)(?:/[\w-]+)*@([0-9a-f]{40})", text))
    return {f"{owner}/{name}@{sha}": STANDINS / name for owner, name, sha in sorted(used) if (STANDINS / name).is_dir()}
