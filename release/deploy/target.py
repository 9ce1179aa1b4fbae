"""Where a version runs: what each kind of target can do."""

import math
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import msgspec

WORKERS = 2  # of more CPUs take more copies
LEAST_CPU = 0.25  # of a CPU: of less, a moment's work makes a cluster scale
SPARE = 1.25  # times the measured memory


class TargetError(RuntimeError):
    """The target cannot be reached, or refuses, or what was put there does not get ready; the message says which."""


def called(
    *command: str, text: str = "", seconds: int, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a program for at most some seconds, with a text to read. Raises TargetError with its last line."""
    program = command[0]
    try:
        done = subprocess.run(
            command,
            input=text,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise TargetError(f"there is no `{program}` on PATH; install it") from None
    except subprocess.TimeoutExpired:
        raise TargetError(f"`{program}` took more than {seconds} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise TargetError(f"{program}: {last.removeprefix('error: ')[:500]}")
    return done


class Needs(NamedTuple):
    """What one copy of the service takes."""

    workers: int = WORKERS
    cpu: float = LEAST_CPU
    memory_mb: int = 300


class Running(NamedTuple):
    """What a target runs."""

    image: str
    needs: Needs


class Checked(msgspec.Struct, frozen=True):
    """What was seen of a version at a URL."""

    passed: bool
    sentence: str
    p95_ms: float = 0.0  # 0: there was no load


class Target(Protocol):
    def running(self) -> Running | None:
        """What it runs now; None where that is nothing. Raises TargetError."""

    def put(self, wanted: Running) -> None:
        """Replaces what runs, without a lost request, and waits until that is done. Raises TargetError."""

    def address(self) -> AbstractContextManager[str]:
        """A URL of the service from here, for as long as the block runs. Raises TargetError."""


def needs_of(metrics: Mapping[str, float]) -> Needs:
    """What the load test has measured of a version, as promotion logs it; what was not measured has a default.

    Its CPU is that of the load test's own rate, so a copy that takes more has more to do than was ever tested.
    """
    workers = min(WORKERS, int(metrics.get("perf.workers", WORKERS)))
    cpu = metrics.get("perf.cpu_ms", 0.0) * metrics.get("perf.throughput", 0.0) / 1000
    memory = metrics.get("perf.memory_mb")
    measured = math.ceil(SPARE * memory / 10) * 10 if memory else Needs().memory_mb
    return Needs(max(1, workers), max(LEAST_CPU, round(cpu, 3)), measured)
