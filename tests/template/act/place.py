"""A repository on "GitHub": a checkout whose workflows act runs, with a registry, caches, artifacts and a REST API.

What act cannot have is replaced by the stand-ins of this folder: see benchmarks/workflows.md.
"""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.engine.release.github_server import TOKEN, GitHub

STANDINS = Path(__file__).parent / "standins"
IMAGE = "local/act-runner:latest"
# Changes of the service: a file, what stands in it, and what shall stand there.
SLOW = (
    "serving/service.py",
    "scores = model_answer(",
    '__import__("time").sleep(0.005)\n        scores = model_answer(',
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
        """What the job `pass` found: the result of each job that it needs."""
        return dict(re.findall(r"\| ([a-z-]+): (success|failure|skipped|cancelled)\s*$", self.printed, re.MULTILINE))

    def said(self, job: str) -> str:
        """What the steps of a job printed."""
        lines = re.findall(rf"^\[[^]]*/{re.escape(job)}\s*\]\s+\| (.*)$", self.printed, re.MULTILINE)
        return "\n".join(lines)


@dataclass
class Place:
    """A repository, and what GitHub would keep for it."""

    checkout: Path
    repository: str  # owner/name
    registry: str
    github: GitHub  # its REST API
    kept: Path  # the stand-ins' caches and artifacts
    uv: Path
    runs: int = 0

    @property
    def images(self) -> str:
        return f"{self.registry}/{self.repository.lower()}"

    def artifact(self, name: str) -> Path:
        """An artifact of the latest run."""
        return self.kept / "artifacts" / str(self.runs) / name

    def run(self, event: str, workflow: str = "pipeline.yml", *options: str, payload: dict[str, Any]) -> Ended:
        """Runs a workflow as GitHub would on an event; `options`: more of act's own."""
        self.runs += 1
        file = self.kept / "event.json"
        file.write_text(json.dumps(payload))
        given = {"GITHUB_REPOSITORY": self.repository, "GITHUB_RUN_ID": str(self.runs), "STANDINS": "/standins"}
        given |= {"GITHUB_API_URL": self.github.url, "GITHUB_SERVER_URL": "https://github.example"}
        # Nothing is copied or compiled anew in each job: libraries are links into the mounted cache.
        given |= {"UV_CACHE_DIR": "/uv", "UV_LINK_MODE": "symlink", "PYTHONPYCACHEPREFIX": "/standins/compiled"}
        given_options = [f"--env={key}={value}" for key, value in given.items()]
        given_options += [f"--local-repository={uses}={folder}" for uses, folder in replaced(self.checkout).items()]
        began = time.perf_counter()
        done = subprocess.run(
            [
                *("act", event, "--workflows", f".github/workflows/{workflow}", "--eventpath", file),
                *("--platform", f"ubuntu-24.04={IMAGE}", "--pull=false", "--rm", "--no-cache-server"),
                *("--var", f"REGISTRY={self.registry}"),
                *("--secret", f"GITHUB_TOKEN={TOKEN}", "--secret", "REGISTRY_PASSWORD=a-password"),
                *("--actor", "octocat"),
                *("--concurrent-jobs", "2"),  # on GitHub they have a machine each
                *("--container-options", f"--volume {self.kept}:/standins --volume {self.uv}:/uv"),
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
        return digest(self.registry, self.repository.lower(), "champion")


def shorten_tests(checkout: Path) -> None:
    """Leaves a checkout the shortest of its own tests: these runs are about the workflows."""
    for path in (checkout / "tests").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ("conftest.py", "test_model.py"):
            path.unlink()


def digest(registry: str, repository: str, tag: str) -> str:
    """The digest of an image behind a tag, through an index of one if buildx made that."""
    kinds = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"
    kinds += ", application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    url = f"http://{registry}/v2/{repository}/manifests/{tag}"
    request = urllib.request.Request(url, headers={"Accept": kinds})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  loopback
            own, manifest = answer.headers["Docker-Content-Digest"], json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return ""
        raise
    images = manifest.get("manifests", [])
    return str(images[0]["digest"] if len(images) == 1 else own)


def replaced(checkout: Path) -> dict[str, Path]:
    """Which folder takes the place of which pinned action, for every action that the workflows name."""
    text = "".join(path.read_text() for path in (checkout / ".github" / "workflows").glob("*.yml"))
    used = set(re.findall(r"uses: ([\w-]+)/([\w-]+)(?:/[\w-]+)*@([0-9a-f]{40})", text))
    return {f"{owner}/{name}@{sha}": STANDINS / name for owner, name, sha in sorted(used) if (STANDINS / name).is_dir()}


@contextmanager
def serving_registry(folder: Path) -> Iterator[str]:
    """A registry on a free port of 127.0.0.1, which keeps its images in a folder. Raises RuntimeError with its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(folder / "storage")}}
    (folder / "config.yml").write_text(yaml.safe_dump({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise RuntimeError((folder / "log").read_text())
        yield address
    finally:
        process.terminate()
        process.wait()
