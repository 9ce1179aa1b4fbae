"""Containers whose port, engine or gate is lost, with a real engine."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perf.arms import containers
from perf.arms.arm import ArmError, Cpus
from perf.arms.containers import LABEL, leftovers, owner
from perf.arms.containers import docker as run_docker
from perf.arms.specs import arm
from tests.engine.perf.conftest import Gate
from tests.engine.perf.test_gate import ended
from tests.engine.perf.test_interrupts import ENDLESS, interrupted, measured, until

pytestmark = pytest.mark.docker
UNPINNED = Cpus(None, None, 1)
BODY = b'{"instances": [{"Term": 1, "State": "CA"}]}'


def containers_of(pid: int) -> list[str]:
    listed = run_docker("ps", "--all", "--filter", f"name=-{pid}-", "--format", "{{.Names}}")
    return sorted(listed.split())


def arguments(image: str, folder: Path) -> tuple[str, ...]:
    """Of a gate that compares an image with itself."""
    (folder / "requests.jsonl").write_text('{"Term": 1, "State": "CA"}\n')
    return "--candidate", image, "--baseline", image, "--requests", str(folder / "requests.jsonl")


@pytest.fixture(name="taken")
def _taken() -> Iterator[int]:
    """A port that somebody else has."""
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        yield int(thief.getsockname()[1])


def test_a_port_that_is_taken_meanwhile_is_replaced(
    standin_image: str, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, and where it is taken between the stop and the start of a restart."""
    plain = containers.free_port
    ports = iter([taken])
    monkeypatch.setattr(containers, "free_port", lambda: next(ports, None) or plain())
    started = arm(standin_image, "candidate", {}, UNPINNED, tmp_path)
    try:
        started.start()
        started.ready()
        assert (started.predict(BODY)[0], started.url.endswith(f":{taken}")) == (200, False)
        (first,) = containers_of(os.getpid())
        run_docker("stop", "-t", "1", first)
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", int(started.url.rpartition(":")[2])))
            thief.listen()
            started.restart()
            started.ready()
            assert started.predict(BODY)[0] == 200
        (second,) = containers_of(os.getpid())
        assert first != second
        assert len(started.recorded().splitlines()) == 20
        run_docker("rm", "--force", second)  # somebody else's doing
        assert not started.alive()
        started.restart()
        started.ready()
    finally:
        started.stop()
    assert containers_of(os.getpid()) == []


def test_no_port_at_all_is_one_sentence(
    standin_image: str, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few attempts, with Docker's words, and no container is left."""
    tried: list[int] = []
    monkeypatch.setattr(containers, "free_port", lambda: tried.append(taken) or taken)
    started = arm(standin_image, "candidate", {}, UNPINNED, tmp_path)
    with pytest.raises(ArmError, match=rf"`docker run` failed: .*{taken}"):
        started.start()
    started.stop()
    assert len(tried) == containers.PORTS
    assert containers_of(os.getpid()) == []


def test_containers_of_killed_gates_are_removed(standin_image: str) -> None:
    """Those of a process that is gone; those of one that runs, or that cannot be seen from here, stay."""
    with subprocess.Popen(["sleep", "60"]) as process:
        dead = owner(process.pid)
        process.kill()
    here = dead.rpartition("/")[0].rpartition("/")[0]
    owners = {
        "dead": dead,
        "reused": f"{here}/{os.getpid()}/1",
        "alive": owner(os.getpid()),
        "elsewhere": f"another-machine/{dead.partition('/')[2]}",
        "older": "",
    }
    assert owner(process.pid) == ""
    names = {each: f"test-{each}-{os.getpid()}-" for each in owners}
    try:
        for each, name in names.items():
            run_docker("create", "--name", name, "--label", f"{LABEL}={owners[each]}", standin_image)
        said = leftovers()
        left = containers_of(os.getpid())
    finally:
        run_docker("rm", "--force", *names.values())
    assert left == sorted(names[each] for each in ("alive", "elsewhere", "older"))
    for each in ("dead", "reused"):
        assert f"Removed the container {names[each]}, which a run that was killed had left." in said


@pytest.mark.slow
def test_a_container_that_dies_once_is_forgiven(gate: Gate, standin_image: str, tmp_path: Path) -> None:
    """Killed by somebody in the middle of a round, as by the system where memory is short."""
    longer = ENDLESS | {
        "MLOPS_PERF__PROFILES__STANDARD__ROUND_SECONDS": "3",
        "MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER": "[2]",
    }
    process = gate(*arguments(standin_image, tmp_path), **longer)
    until(lambda: measured(tmp_path / "out"))
    baseline, _ = containers_of(process.pid)
    began = time.time()
    state = ["inspect", "--format", "{{.State.Running}} {{.State.StartedAt}}", baseline]
    before = run_docker(*state)
    until(lambda: (now := run_docker(*state)).startswith("true") and (now != before or time.time() > began + 3))
    time.sleep(1.5)
    run_docker("kill", baseline)
    run = ended(process, tmp_path / "out")
    assert run.code in {0, 1, 2}, run.text
    assert len(run.report.rounds) == 2
    assert re.search(r"The baseline \(.*\) died in round 2\. Round 2 was measured again\.", run.report.notes[0])
    assert containers_of(process.pid) == []


WRAPPER = """#!/bin/sh
echo "$1" >> "{folder}/calls"
if [ -e "{folder}/gone" ] || [ "$(wc -l < "{folder}/calls")" -gt {calls} ]; then
  echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?" >&2
  exit 1
fi
exec "{docker}" "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["at once", "at the start", "after a round"])
def test_an_engine_that_disappears_ends_the_run(gate: Gate, standin_image: str, tmp_path: Path, when: str) -> None:
    """One sentence, what was measured, and later the rest."""
    calls = {"at once": 0, "at the start": random.randint(1, 14), "after a round": 1000}[when]
    print(f"after {calls} calls")
    wrapper = tmp_path / "bin" / "docker"
    wrapper.parent.mkdir()
    wrapper.write_text(WRAPPER.format(folder=tmp_path, calls=calls, docker=shutil.which("docker")))
    wrapper.chmod(0o755)
    process = gate(
        *arguments(standin_image, tmp_path), **ENDLESS, PATH=f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}"
    )
    if when == "after a round":
        until(lambda: measured(tmp_path / "out"))
        (tmp_path / "gone").touch()
    run = ended(process, tmp_path / "out")
    try:
        assert (run.code, run.report.outcome, "Traceback" in run.text) == (3, "error", False), run.text
        assert "Cannot connect to the Docker daemon" in run.report.headline
        assert (len(run.report.rounds) > 0) == (when == "after a round")
        left = containers_of(process.pid)
        assert all(f"The container {name} could not be removed" in " ".join(run.report.notes) for name in left)
        said = leftovers()
        assert all(f"Removed the container {name}, which" in " ".join(said) for name in left)
        assert containers_of(process.pid) == []
    finally:
        run_docker("rm", "--force", "nothing", *containers_of(process.pid))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_an_interrupt_at_any_moment_leaves_no_container(
    gate: Gate, standin_image: str, tmp_path: Path, part: int
) -> None:
    """Docker's client too is in the group that a terminal interrupts."""
    moment = random.uniform(2 + 2 * part, 4 + 2 * part)
    print(f"after {moment} s")
    process = gate(*arguments(standin_image, tmp_path), **ENDLESS)
    time.sleep(moment)
    os.killpg(process.pid, random.choice([signal.SIGINT, signal.SIGTERM]))
    interrupted(ended(process, tmp_path / "out"))
    assert containers_of(process.pid) == []


def test_a_killed_gate_leaves_its_containers_to_the_next(gate: Gate, standin_image: str, tmp_path: Path) -> None:
    """Which removes them and says so."""
    killed = gate(*arguments(standin_image, tmp_path), **ENDLESS)
    until(lambda: len(containers_of(killed.pid)) == 2)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    left = containers_of(killed.pid)
    assert len(left) == 2
    later = gate(*arguments(standin_image, tmp_path), output="later", **ENDLESS)
    until(lambda: containers_of(killed.pid) == [])
    later.send_signal(signal.SIGTERM)
    run = ended(later, tmp_path / "later")
    assert run.code == 3
    assert sorted(note for note in run.report.notes if note.startswith("Removed the container")) == [
        f"Removed the container {name}, which a run that was killed had left." for name in left
    ]
