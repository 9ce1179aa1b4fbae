"""CPU time and memory of an arm, as the system counts them."""

import os
import subprocess
import sys
import time

import pytest

from perf.arms import usage

BUSY = """
import os, time
held = bytearray(30_000_000)
if os.fork() == 0:
    held += bytearray(30_000_000)
until = time.process_time() + 0.3
while time.process_time() < until: pass
time.sleep(30)
"""


def enough(of: "usage.Usage | None") -> bool:
    return of is not None and of.cpu_seconds >= 0.55


def test_of_processes() -> None:
    """Children count, and what they have used before is not forgotten."""
    with subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 20
            while not enough(found := usage.of_processes(process.pid)) and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            subprocess.run(["pkill", "--signal", "KILL", "--pgroup", str(process.pid)], check=True)
    assert found is not None
    assert 0.55 <= found.cpu_seconds < 1.5
    assert 50 < found.memory_mb < 140
    assert usage.of_processes(process.pid) is None


@pytest.mark.docker
def test_of_a_container(standin_image: str) -> None:
    """By the engine's own count; what the container does not have is not asked for."""
    start = ["docker", "run", "--detach", "--rm", standin_image, "python", "-c", BUSY]
    container = subprocess.run(start, capture_output=True, text=True, check=True).stdout.strip()
    try:
        deadline = time.monotonic() + 20
        while not enough(found := usage.of_container(container)) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=True)
    assert found is not None
    assert 0.55 <= found.cpu_seconds < 1.5
    assert 50 < found.memory_mb < 140
    assert usage.of_container(container) is None


def test_an_engine_elsewhere_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over ssh or TCP there is no socket here: nothing is known, and nothing breaks."""
    monkeypatch.setenv("DOCKER_HOST", "ssh://builder.example")
    assert usage.of_container("any") is None


def test_what_others_use_is_what_is_left() -> None:
    """Of two CPUs, in a second: 1.5 s busy, of which 0.4 s are the load generator's and 0.5 s an arm's."""
    tick = os.sysconf("SC_CLK_TCK")
    before = [0] * 8
    after = [tick, 0, tick // 2, tick // 2, 0, 0, 0, 0]
    arm = usage.Usage(10.0, 1.0), usage.Usage(10.5, 1.0)
    assert usage.by_others(before, after, 0.4, [arm]) == pytest.approx(0.3)
    assert usage.by_others(before, after, 2.0, [arm]) == 0.0
    assert usage.by_others(before, after, 0.4, [arm, (None, usage.Usage(1.0, 1.0))]) is None
    assert usage.by_others(None, after, 0.4, [arm]) is None
