"""The image, built and booted where Docker is."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT, ready, run

LOCKED_DOWN = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def docker(*arguments: str) -> str:
    """What a command of Docker wrote."""
    done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(name="image")
def _image(trained: Path) -> Iterator[str]:
    """The image that `make image` builds; it is gone after the test."""
    engine = ["docker", "buildx", "version"], ["docker", "info"]
    if not shutil.which("docker") or any(
        subprocess.run(it, check=False, capture_output=True).returncode for it in engine
    ):
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing("needs Docker with buildx: https://docs.docker.com/engine/install")
    shutil.copy(ROOT / ".dockerignore", trained)
    done = run(trained, "release.image", "--tag", f"test-{os.getpid()}", PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'src'}")
    assert done.returncode == 0, done.stdout
    image: str = json.loads((trained / ".mlops" / "image.json").read_text())["image"]
    yield image
    docker("rmi", "--force", image)


def test_the_image_boots_and_answers(image: str, trained: Path) -> None:
    """Read-only and without privileges, it gets ready and answers a recorded request."""
    container = docker("run", "--detach", "--publish=127.0.0.1::8000", *LOCKED_DOWN, image)
    try:
        url = "http://" + docker("port", container, "8000/tcp")
        while not ready(url):
            assert docker("inspect", "--format", "{{.State.Running}}", container) == "true", docker("logs", container)
            time.sleep(0.1)
        record = json.loads((trained / "bundle" / "requests.jsonl").read_text(encoding="utf-8").splitlines()[0])
        answer = requests.post(f"{url}/predict", json={"instances": [record]}, timeout=60)
        assert answer.status_code == 200, answer.text
    finally:
        docker("rm", "--force", "--volumes", container)
