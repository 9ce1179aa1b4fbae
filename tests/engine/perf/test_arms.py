"""Arms as real gunicorn processes, on a stand-in project."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from perf.arms.arm import ArmError, Cpus, environment_of, split_cpus
from perf.arms.containers import AttachedArm, ContainerArm
from perf.arms.processes import ProcessArm
from perf.arms.specs import arm

Make = Callable[..., ProcessArm]
UNPINNED = Cpus(None, None, 1)


@pytest.fixture(name="make")
def _make(standin: Path, tmp_path: Path) -> Iterator[Make]:
    made: list[ProcessArm] = []

    def make(cpus: Cpus = UNPINNED, **environment: str) -> ProcessArm:
        found = arm(str(standin), "candidate", dict(os.environ) | environment, cpus, tmp_path / "out")
        assert isinstance(found, ProcessArm)
        made.append(found)
        return found

    yield make
    for each in made:
        each.stop()


def group(leader: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for process in psutil.process_iter(["status"]):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == leader and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def pid_of(started: ProcessArm) -> int:
    assert started._process is not None
    return started._process.pid


def test_an_arm_starts_answers_restarts_and_leaves_nothing(make: Make) -> None:
    """Ready after a measured time, a new process after a restart, and no process of its group after stop."""
    started = make()
    started.start()
    assert 0 < started.ready() < 30
    assert started.card()["name"] == "stand-in"
    assert started.predict(b'{"instances": [{"Term": 1, "State": "CA"}]}')[0] == 200
    first = pid_of(started)
    started.restart()
    started.ready()
    second = pid_of(started)
    assert first != second
    assert group(first) == []
    assert len(group(second)) == 2
    started.stop()
    assert group(second) == []
    started.stop()


def test_an_arm_that_crashes_shows_its_last_lines(make: Make) -> None:
    """A service that cannot start is an error at once, with what it wrote."""
    started = make(MLOPS_FAULT_CRASH="1")
    started.start()
    with pytest.raises(ArmError, match="ended before it was ready") as error:
        started.ready()
    assert "as it was told" in error.value.log


def test_what_a_service_says_of_itself_is_the_error(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project that was edited after training refuses to serve, and who reads one line learns what to do."""
    started = make()
    log = "[7] [CRITICAL] Cannot serve: bundle: trained with other code; run `make train`\n[7] [INFO] Shutting down"
    monkeypatch.setattr(started, "logs", lambda: log)
    said = str(started.error("ended before it was ready"))
    assert said.endswith(" cannot be served: bundle: trained with other code; run `make train`.")


def test_an_arm_that_never_gets_ready_is_an_error(make: Make) -> None:
    """The error says how long it was waited for and what /readyz answered, and carries the log."""
    started = make(MLOPS_FAULT_NEVER_READY="1")
    started.start()
    with pytest.raises(ArmError, match=r"was not ready after 1 s .*never ready") as error:
        started.ready(timeout=1)
    assert "Listening at" in error.value.log


def test_a_killed_arm_is_seen_to_be_dead(make: Make) -> None:
    """SIGKILL of the master: not alive, and stop still ends the workers that it left behind."""
    started = make()
    started.start()
    started.ready()
    leader = pid_of(started)
    os.kill(leader, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while started.alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not started.alive()
    started.stop()
    assert group(leader) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin a process to CPUs")
def test_every_process_of_an_arm_is_pinned(make: Make) -> None:
    """Master and workers run on the CPUs of the arms and on no other."""
    cpu = min(os.sched_getaffinity(0))
    started = make(Cpus([cpu], None, 1))
    started.start()
    started.ready()
    assert [os.sched_getaffinity(pid) for pid in group(pid_of(started))] == [{cpu}, {cpu}]


def test_an_arm_is_known_by_its_code(make: Make, standin: Path) -> None:
    """Equal code has an equal digest; one changed byte has another."""
    before = make().identity()
    assert make().identity() == before
    (standin / "serving" / "app.py").write_text("changed = True\n")
    assert make().identity() != before


@pytest.mark.parametrize(
    ("available", "arms", "client"),
    [
        ({0, 1}, [0], [1]),
        ({0, 1, 2, 3}, [0, 1], [2, 3]),
        ({2, 3, 5}, [2], [3, 5]),
        ({4}, None, None),
        (None, None, None),
    ],
)
def test_cpus_are_split(available: set[int] | None, arms: list[int] | None, client: list[int] | None) -> None:
    """Half for both arms, the rest for the load generator, out of those that this process may use."""
    split = split_cpus(available)
    assert (split.arms, split.client) == (arms, client)
    assert split.workers == (len(arms) if arms else len(available) if available else os.cpu_count())


def test_the_shell_reaches_both_arms_alike() -> None:
    """Nothing of the shell but the few that both get; faults go to the candidate alone."""
    shell = {"PATH": "/bin", "SECRET": "x", "MLOPS_FAULT_BURN_MS": "2", "THREADS": "3", "MLOPS_PERF__P95_MS": "1"}
    baseline = environment_of("baseline", shell, UNPINNED)
    assert baseline == {"PATH": "/bin", "THREADS": "3", "WEB_CONCURRENCY": "1"}
    assert environment_of("candidate", shell, UNPINNED) == baseline | {"MLOPS_FAULT_BURN_MS": "2"}


def test_a_spec_names_its_kind_of_arm(standin: Path, tmp_path: Path) -> None:
    """A folder is a process, a port is somebody's container, and anything else an image."""
    kinds = {str(standin): ProcessArm, "service:8001": AttachedArm, "ghcr.io/o/r@sha256:0": ContainerArm}
    assert {spec: type(arm(spec, "candidate", {}, UNPINNED, tmp_path)) for spec in kinds} == kinds


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("service:http", "after service: comes the port"),
        ("./nowhere", "no such folder"),
        ("/", "holds no serving/gunicorn.conf.py"),
    ],
)
def test_a_spec_that_names_nothing_says_why(spec: str, message: str, tmp_path: Path) -> None:
    """One sentence, before anything is started."""
    with pytest.raises(ArmError, match=message):
        arm(spec, "candidate", {}, UNPINNED, tmp_path)


def test_a_project_without_a_bundle_says_what_to_do(standin: Path, tmp_path: Path) -> None:
    """The way out is in the message."""
    (standin / "bundle").rename(tmp_path / "elsewhere")
    with pytest.raises(ArmError, match="run `make train`"):
        arm(str(standin), "candidate", {}, UNPINNED, tmp_path)
