"""A service under test: what every kind of arm can do, and what both arms share."""

import contextlib
import functools
import json
import os
import re
import socket
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from perf.arms.usage import Usage

READY_TIMEOUT = 30.0  # seconds
STOP_TIMEOUT = 10.0  # seconds, then SIGKILL
POLL = 0.02  # seconds between two requests for /readyz
LOG_LINES = 20
REFUSAL = re.compile(r"Cannot serve: (.+)")  # in the log of a service that ended by itself, and said why
FAULT = "MLOPS_FAULT_"  # variables that slow a service on purpose: the candidate gets them, the baseline never
Role = Literal["candidate", "baseline"]
Kind = Literal["process", "container", "attached"]


class ArmError(RuntimeError):
    """An arm cannot be started, never gets ready or has died; `log` holds its last lines."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class Died(ArmError):
    """An arm was ready, or on the way there, and has ended."""


class Cpus(NamedTuple):
    """Which CPUs the arms share and which are the load generator's; None: not pinned."""

    arms: list[int] | None
    client: list[int] | None
    workers: int  # one for each CPU that the arms may use


def split_cpus(available: set[int] | None) -> Cpus:
    """Half of the CPUs for both arms, the rest for the load generator. One CPU, or unknown ones, are not split."""
    if available is None or len(available) < 2:
        return Cpus(None, None, len(available or ()) or os.cpu_count() or 1)
    cpus = sorted(available)
    half = len(cpus) // 2
    return Cpus(cpus[:half], cpus[half:], half)


def available_cpus() -> set[int] | None:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None


@contextlib.contextmanager
def pinned(cpus: list[int] | None) -> Iterator[None]:
    """Keeps this process to some CPUs for a while; None: where it is."""
    before = available_cpus()
    if cpus is None or before is None:
        yield
        return
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment_of(role: Role, shell: Mapping[str, str], cpus: Cpus) -> dict[str, str]:
    """What the service needs, the same for both arms, and the faults of the shell for the candidate."""
    base = {key: shell[key] for key in ("PATH", "HOME", "LANG", "TMPDIR", "THREADS") if key in shell}
    base["WEB_CONCURRENCY"] = shell.get("WEB_CONCURRENCY", str(cpus.workers))
    return base | (faults(shell) if role == "candidate" else {})


def faults(shell: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in sorted(shell.items()) if key.startswith(FAULT)}


def free_port() -> int:
    """A port that is free now, and may be somebody else's in a moment."""
    with reserved_port() as probe:
        return int(probe.getsockname()[1])


def reserved_port() -> socket.socket:
    """A socket that has a free port, for a service to listen on; nobody else gets the port while one has the socket."""
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    return reserved


class Arm(ABC):
    """A service under test. `stop` may be called at any time and any number of times."""

    kind: Kind

    def __init__(self, role: Role, source: str, environment: Mapping[str, str], cpus: Cpus, log: Path) -> None:
        self.role: Role = role
        self.source = source
        self.environment = dict(environment)
        self.cpus = cpus
        self.log = log
        self.url = ""
        self.started = 0.0
        self.ready_seconds = 0.0
        self.left = ""  # what `stop` could not end

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def restart(self) -> None: ...

    @abstractmethod
    def alive(self) -> bool: ...

    @abstractmethod
    def logs(self) -> str:
        """The last lines that the service wrote."""

    @abstractmethod
    def identity(self) -> dict[str, str]:
        """code_sha256, image and image_id, as far as there are such."""

    @abstractmethod
    def usage(self) -> Usage | None:
        """CPU time and memory of the service; None where the system does not say."""

    def image_mb(self) -> float | None:
        """The size of its image with its base; None where it is not of one."""
        return None

    def faults(self) -> dict[str, str]:
        """The faults that the service was started with."""
        return faults(self.environment)

    def ready(self, timeout: float = READY_TIMEOUT) -> float:
        """Waits for a 200 of /readyz; returns the seconds since the start. Raises ArmError."""
        last = "no answer"
        while True:
            status, last = self._ask("/readyz", last)
            waited = time.perf_counter() - self.started
            if status == 200:
                self.ready_seconds = waited
                return waited
            if not self.alive():
                raise self.error("ended before it was ready", Died)
            if waited > timeout:
                raise self.error(f"was not ready after {timeout:.0f} s ({last})")
            time.sleep(POLL)

    def card(self) -> dict[str, Any]:
        """The answer of GET /model."""
        status, body = self._ask("/model", "no answer")
        try:
            card = json.loads(body) if status == 200 else None
        except ValueError:
            card = None
        if not isinstance(card, dict):
            raise self.error(f"answered GET /model with {status or body}, not with its model card")
        return card

    def predict(self, body: bytes) -> tuple[int, str]:
        """Status and body of one POST /predict; status 0 where there was no answer, and the body says why."""
        return self._ask("/predict", "no answer", body)

    def recorded(self) -> bytes:
        """The requests.jsonl of its bundle; empty where it cannot be had."""
        return b""

    def error(self, what: str, kind: type[ArmError] = ArmError) -> ArmError:
        log = self.logs()
        if refusals := REFUSAL.findall(log):
            what = f"cannot be served: {refusals[-1].rstrip('.')}"
        return kind(f"The {self.role} ({self.source}) {what}.", log)

    def _ask(self, path: str, silence: str, body: bytes | None = None) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
        try:
            with _direct().open(request, timeout=5) as answer:
                return int(answer.status), answer.read(100_000).decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read(100_000).decode(errors="replace")
        except (OSError, ValueError) as error:  # refused, reset or cut off: the service is not there yet, or no more
            return 0, str(error) or silence


@functools.cache
def _direct() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the arms are here, whatever http_proxy says


def tail(log: bytes) -> str:
    return "\n".join(log[-20_000:].decode(errors="replace").splitlines()[-LOG_LINES:])
