"""Containers as arms, with a real engine."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perf.arms.arm import ArmError, Cpus, available_cpus, free_port, split_cpus
from perf.arms.containers import docker as run_docker
from perf.arms.specs import arm
from perf.verdict import read_verdict

pytestmark = pytest.mark.docker
UNPINNED = Cpus(None, None, 1)
BODY = b'{"instances": [{"Term": 1, "State": "CA"}]}'


def inspect(container: str) -> dict[str, object]:
    found = json.loads(run_docker("inspect", container))[0]
    assert isinstance(found, dict)
    return found


def ours() -> list[str]:
    """Containers that an arm of this process started."""
    return run_docker("ps", "--all", "--quiet", "--filter", f"name=-{os.getpid()}-").split()


def test_a_container_is_locked_down_and_gone_afterwards(standin_image: str, tmp_path: Path) -> None:
    """Read-only, without capabilities or new privileges, on loopback only, on the arms' CPUs; gone after stop."""
    cpus = split_cpus(available_cpus())
    started = arm(standin_image, "candidate", {"MLOPS_FAULT_BURN_MS": "1", "PATH": "/nowhere"}, cpus, tmp_path)
    try:
        started.start()
        assert 0 < started.ready() < 30
        assert started.predict(BODY)[0] == 200
        facts = inspect(*ours())
        host = facts["HostConfig"]
        assert isinstance(host, dict)
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges"])
        assert host["CpusetCpus"] == ",".join(map(str, cpus.arms or []))
        assert {binding["HostIp"] for (binding,) in host["PortBindings"].values()} == {"127.0.0.1"}
        before = facts["State"]["StartedAt"]  # type: ignore[index]
        started.restart()
        started.ready()
        assert inspect(*ours())["State"]["StartedAt"] > before  # type: ignore[index]
        assert started.identity()["image"] == standin_image
        assert started.identity()["image_id"].startswith("sha256:")
        assert started.faults() == {"MLOPS_FAULT_BURN_MS": "1"}
    finally:
        started.stop()
    assert ours() == []
    assert "Listening at" in (tmp_path / "candidate.log").read_text()


def test_a_container_that_crashes_shows_its_last_lines(standin_image: str, tmp_path: Path) -> None:
    """As for a process: an error at once, with what it wrote."""
    started = arm(standin_image, "candidate", {"MLOPS_FAULT_CRASH": "1"}, UNPINNED, tmp_path)
    try:
        started.start()
        with pytest.raises(ArmError, match="ended before it was ready") as error:
            started.ready()
    finally:
        started.stop()
    assert "as it was told" in error.value.log
    assert ours() == []


def test_an_image_that_is_not_there_is_an_error(engine: None, tmp_path: Path) -> None:
    """Docker's own words say why, and stop has nothing to do."""
    started = arm("127.0.0.1:1/nobody/nothing:none", "baseline", {}, UNPINNED, tmp_path)
    with pytest.raises(ArmError, match=r"`docker pull` failed: .*127\.0\.0\.1:1") as error:
        started.start()
    assert "--help" not in str(error.value)
    started.stop()
    assert ours() == []


@pytest.fixture(name="service")
def _service(standin_image: str) -> Iterator[tuple[str, int]]:
    """A container that somebody else started, as a workflow's `services:` does."""
    port = free_port()
    container = run_docker(
        *("run", "--detach", "--env", "HOST=0.0.0.0", "--env", "PORT=8000", "--env", "WEB_CONCURRENCY=1"),
        *("--publish", f"127.0.0.1:{port}:8000", standin_image),
    ).strip()
    yield container, port
    run_docker("rm", "--force", container)


def test_an_attached_container_is_left_as_it_was(service: tuple[str, int], tmp_path: Path) -> None:
    """It is found by its port, pinned, restarted, and runs on afterwards, on all CPUs."""
    container, port = service
    cpus = split_cpus(available_cpus())
    attached = arm(f"service:{port}", "baseline", {}, cpus, tmp_path)
    attached.start()
    attached.ready()
    assert attached.predict(BODY)[0] == 200
    pinned = inspect(container)["HostConfig"]["CpusetCpus"]  # type: ignore[index]
    assert pinned == ",".join(map(str, cpus.arms or []))
    before = inspect(container)["State"]["StartedAt"]  # type: ignore[index]
    attached.restart()
    attached.ready()
    assert inspect(container)["State"]["StartedAt"] > before  # type: ignore[index]
    attached.stop()
    after = inspect(container)
    assert after["State"]["Running"] is True  # type: ignore[index]
    if cpus.arms is not None:
        assert after["HostConfig"]["CpusetCpus"] == f"0-{(os.cpu_count() or 1) - 1}"  # type: ignore[index]


def test_a_port_that_nobody_publishes_is_an_error(engine: None, tmp_path: Path) -> None:
    """The message names the port."""
    port = free_port()
    with pytest.raises(ArmError, match=f"0 running containers publish port {port}"):
        arm(f"service:{port}", "candidate", {}, UNPINNED, tmp_path).start()


def test_a_service_that_ended_at_once_shows_its_last_lines(standin_image: str, tmp_path: Path) -> None:
    """A workflow's service container that crashed as it was started is found by its port all the same."""
    port = free_port()
    container = run_docker(
        *("run", "--detach", "--env", "HOST=0.0.0.0", "--env", "PORT=8000", "--env", "WEB_CONCURRENCY=1"),
        *("--env", "MLOPS_FAULT_CRASH=1", "--publish", f"127.0.0.1:{port}:8000", standin_image),
    ).strip()
    try:
        run_docker("wait", container)
        with pytest.raises(ArmError, match="ended as soon as it was started") as error:
            arm(f"service:{port}", "candidate", {}, UNPINNED, tmp_path).start()
        assert "as it was told" in error.value.log
    finally:
        run_docker("rm", "--force", container)


@pytest.mark.slow
def test_the_gate_compares_an_image_with_a_service(
    gate: Callable[..., "subprocess.Popen[str]"], standin_image: str, service: tuple[str, int], tmp_path: Path
) -> None:
    """An image against a running service, from the command line: the slowed image does not pass, the service stays."""
    container, port = service
    (tmp_path / "requests.jsonl").write_text('{"Term": 1, "State": "CA"}\n')
    process = gate(
        *("--candidate", standin_image, "--baseline", f"service:{port}"),
        *("--requests", str(tmp_path / "requests.jsonl")),
        MLOPS_FAULT_BURN_MS="40",
        MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER="[2]",
    )
    text, _ = process.communicate(timeout=60)
    report = read_verdict(tmp_path / "out" / "verdict.json")
    assert process.returncode in {1, 2}, text  # two short rounds are too few to be sure
    assert report.criteria[0].change is not None and report.criteria[0].change > 1
    assert (report.candidate.kind, report.baseline and report.baseline.kind) == ("container", "attached")
    assert report.baseline is not None
    assert report.candidate.image_id == report.baseline.image_id
    assert not report.identical
    deadline = time.monotonic() + 5
    while run_docker("ps", "--all", "--quiet", "--filter", f"name=-{process.pid}-") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert run_docker("ps", "--all", "--quiet", "--filter", f"name=-{process.pid}-") == ""
    assert inspect(container)["State"]["Running"] is True  # type: ignore[index]
