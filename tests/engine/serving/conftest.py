"""The service of the trained project: in process, and as a real gunicorn."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import pytest
from flask.testing import FlaskClient

from serving.app import create_app
from tests.engine.conftest import environment

HANGS = 60.0  # seconds after which nothing will come, however busy the machine is

# Flask without the event loop: what README.md says of plain WSGI.
PLAIN = ("--worker-class", "gthread", "--threads", "4", "serving.app:create_app()")


@pytest.fixture(name="client", scope="session")
def _client(trained: Path) -> FlaskClient:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_SERVING__ACCESS_LOG", "off")
        return create_app(trained / "bundle").test_client()


@pytest.fixture(name="records", scope="session")
def _records(trained: Path) -> list[bytes]:
    return (trained / "bundle" / "requests.jsonl").read_bytes().splitlines()


class Service(NamedTuple):
    url: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str, body: bytes | None = None, timeout: float = HANGS) -> tuple[int, bytes]:
        """Status and body of a GET, or of a POST where there is a body."""
        request = urllib.request.Request(self.url + path, body)  # noqa: S310  loopback
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


def metrics(service: Service) -> dict[str, float]:
    """What /metrics says, by name and labels."""
    lines = service.get("/metrics")[1].decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def wait_until_ready(service: Service) -> None:
    """Until /readyz is answered; fails where the service ends before."""
    while True:
        assert service.process.poll() is None, service.log.read_text()
        try:
            if service.get("/readyz")[0] == 200:
                return
        except (OSError, HTTPException):
            time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def starter(trained: Path, folder: Path) -> Iterator[Callable[..., Service]]:
    """Starts gunicorn as `make serve` does, with more arguments and environment; it is gone afterwards."""
    started: list[Service] = []

    def start(*arguments: str, wait: bool = True, project: Path = trained, **more: str) -> Service:
        port, log = int(more.get("PORT") or free_port()), folder / f"gunicorn-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--config", "serving/gunicorn.conf.py", *arguments],
                cwd=project,
                env=environment(project, **{"PORT": str(port)} | more),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        service = Service(f"http://127.0.0.1:{port}", port, process, log)
        started.append(service)
        if wait:
            wait_until_ready(service)
        return service

    yield start
    for service in started:
        if service.process.poll() is None:
            os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()


@pytest.fixture(name="serve")
def _serve(trained: Path, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services for one test."""
    yield from starter(trained, tmp_path)


@pytest.fixture(name="serve_module", scope="module")
def _serve_module(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Starts services for all tests of a module."""
    yield from starter(trained, tmp_path_factory.mktemp("services"))
