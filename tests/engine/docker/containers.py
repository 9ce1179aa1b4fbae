"""Images of a trained project, and containers of them, with Docker's own commands."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import bundle as bundles
from tests.engine.conftest import ROOT, environment, run

BUILT_FROM = ("Dockerfile", ".dockerignore")
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")  # and no tmpfs: /dev/shm is enough


def docker(*arguments: str) -> str:
    """What a command of Docker wrote; fails with its errors."""
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stderr}"
    return done.stdout.strip()


def buildable(trained: Path, folder: Path, python: str = "") -> Path:
    """A copy of a trained project that an image can be built from; `python`: of another Python than its own."""
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("__pycache__", "mlartifacts", "mlflow.db"))
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, folder / name)
    if python:
        (folder / ".python-version").write_text(f"{python}\n")
    return folder


def build(project: Path, tag: str) -> str:
    """The image that `python -m release.image` makes; its tag keeps it apart from the images of whoever works here."""
    done = run(project, "release.image", "--tag", tag, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads((project / ".mlops" / "image.json").read_text())["image"])


def size_over_base(image: str, python: str) -> int:
    """Bytes that the image adds to its base."""
    base = f"python:{python}-slim"
    # A build pulls its base without a tag that the engine would know it by (moby issue 39229).
    if subprocess.run(["docker", "image", "inspect", base], check=False, capture_output=True).returncode:
        docker("pull", "--quiet", base)
    sizes = [docker("image", "inspect", "--format", "{{.Size}}", each) for each in (image, base)]
    return int(sizes[0]) - int(sizes[1])


@dataclass(frozen=True)
class Container:
    """A running container of the service."""

    id: str
    url: str

    def request(self, path: str, body: bytes | None = None) -> bytes:
        """The body of a GET, or of a POST where there is a body; raises urllib's errors."""
        request = urllib.request.Request(self.url + path, body)  # noqa: S310  loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            content: bytes = answer.read()
        return content

    def predict(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        body = json.dumps({"instances": rows}).encode()
        predictions: list[dict[str, Any]] = json.loads(self.request("/predict", body))["predictions"]
        return predictions

    def inspect(self, template: str) -> str:
        return docker("inspect", "--format", template, self.id)

    def python(self, code: str) -> str:
        """What a line of Python prints that runs in the container as the service does."""
        return docker("exec", self.id, "/app/.venv/bin/python", "-c", code)

    def log(self) -> str:
        """What it has written."""
        done = subprocess.run(["docker", "logs", self.id], check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    def wait_until_ready(self, seconds: float = 30) -> float:
        """Seconds until /readyz answered; fails with the container's log where it never does."""
        started = time.perf_counter()
        while (waited := time.perf_counter() - started) < seconds:
            try:
                self.request("/readyz")
            except OSError:
                time.sleep(0.01)
            else:
                return waited
        raise AssertionError(f"not ready after {seconds} s\n{self.log()}")

    def wait_until_healthy(self, seconds: float = 30) -> None:
        started = time.perf_counter()
        while (health := self.inspect("{{.State.Health.Status}}")) != "healthy":
            assert time.perf_counter() - started < seconds, f"{health}: {self.inspect('{{json .State.Health}}')}"
            time.sleep(0.2)


def boot(image: str, *options: str, **variables: str) -> Container:
    """A container of the image on a free port of the loopback address; the caller removes it."""
    environment = [f"--env={name}={value}" for name, value in variables.items()]
    container = docker("run", "--detach", "--publish=127.0.0.1::8000", *options, *environment, image)
    port = docker("port", container, "8000/tcp").rpartition(":")[2]
    return Container(container, f"http://127.0.0.1:{port}")


def difference_from_scikit_learn(container: Container, trained: Path, count: int) -> float:
    """The largest between the service and the registered pipeline, on at most `count` rows that the model never saw.

    Of a probability, or of a value relative to its size (absolute below 1).
    """
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("registered.py")), str(count)]
    done = subprocess.run(
        command, check=False, cwd=trained, env=environment(trained), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows, expected = found["rows"], np.array(found["expected"])
    assert len(rows) > 0
    answers = [answer for start in range(0, len(rows), 50) for answer in container.predict(rows[start : start + 50])]
    if classes := bundles.read(trained / "bundle").contract.classes:
        given = np.array([[answer["probabilities"][name] for name in classes] for answer in answers])
        return float(np.abs(given - expected).max())
    given = np.array([answer["value"] for answer in answers])
    return float((np.abs(given - expected) / np.maximum(1, np.abs(expected))).max())
