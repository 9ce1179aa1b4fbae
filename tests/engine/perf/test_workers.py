"""The gate with several processes that send, and the probe of what an arm can take; real ones, with short rounds."""

import contextlib
import csv
import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.engine.perf.conftest import ROOT, Gate, copy_standin, gates
from tests.engine.perf.test_gate import Run, ended, survivors

WIDE = {"MLOPS_PERF__MAX_REGRESSION": "9", "MLOPS_PERF__P95_MS": "5000", "MLOPS_PERF__MIN_THROUGHPUT": "0.1"}
TWO = WIDE | {"MLOPS_PERF__LOAD__WORKERS": "2"}


def workers_of(gate: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The processes that send for a gate."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [each for each in psutil.Process(gate.pid).children() if "perf.load.worker" in each.cmdline()]
    return []


def wait_for_a_round(gate: "subprocess.Popen[str]", out: Path) -> None:
    rounds, deadline = out / "rounds.csv", time.monotonic() + 90
    while gate.poll() is None and time.monotonic() < deadline:
        if rounds.is_file() and len(rounds.read_text().splitlines()) > 1:
            return
        time.sleep(0.05)
    pytest.fail("no round came about")


class Ended(NamedTuple):
    """A call of the gate that has ended, the workers that it had after the first round, and where these ran."""

    run: Run
    workers: list[psutil.Process]
    cpus: list[set[int]]


@pytest.fixture(scope="module", name="runs")
def _runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Gates with two workers, at the same time: some run to their end, others meet something in the second round."""
    folder = tmp_path_factory.mktemp("workers")
    standin = str(copy_standin(folder))
    found = {}
    with gates(folder) as gate:
        both = ("--candidate", standin, "--baseline", standin)
        started = {name: gate(*both, output=name, **TWO) for name in ("whole", "killed", "SIGINT", "SIGTERM")}
        # The 65th request comes after the 50 or so of its last round.
        dying = TWO | {"MLOPS_PERF__CAPACITY": "true", "MLOPS_FAULT_DIE_AT": "65"}
        started["probed"] = gate(*both, output="probed", **dying)
        workers, cpus = {}, {}
        for name, process in started.items():
            wait_for_a_round(process, folder / name)
            workers[name] = workers_of(process)
            cpus[name] = [os.sched_getaffinity(each.pid) for each in workers[name] if hasattr(os, "sched_getaffinity")]
            if name == "killed":
                workers[name][1].kill()
            elif name in signal.Signals.__members__:
                process.send_signal(signal.Signals[name])
        for name, process in started.items():
            found[name] = Ended(ended(process, folder / name), workers[name], cpus[name])
    assert survivors(folder) == []
    return found


def test_two_workers_send_every_pair_once(runs: dict[str, Ended]) -> None:
    """To both arms, when it is due, sorted by pair as one process would have it; the report says how many sent."""
    run = runs["whole"].run
    assert run.code == 0, run.text
    report = run.report
    assert (report.processes, report.users) == (2, 2)
    assert "2 users of 2 processes" in (run.out / "report.md").read_text()
    rows = list(csv.DictReader(gzip.decompress((run.out / "samples.csv.gz").read_bytes()).decode().splitlines()))
    for r in report.rounds:
        for arm in ("candidate", "baseline"):
            pairs = [int(row["pair"]) for row in rows if (row["round"], row["arm"]) == (str(r.number), arm)]
            assert pairs == list(range(pairs[0], pairs[0] + r.candidate.intended))
        assert 0 < r.client_cpu < 1
    late = sorted(float(row["start_s"]) - float(row["due_s"]) for row in rows)
    assert late[0] >= 0
    assert late[len(late) // 2] < 0.05
    asked = {(row["round"], row["pair"], row["arm"]): float(row["start_s"]) for row in rows}
    orders = {asked[r, n, "candidate"] < asked[r, n, "baseline"] for r, n, _ in asked}
    assert orders == {False, True}


def test_a_worker_that_dies_is_an_error(runs: dict[str, Ended]) -> None:
    """One sentence that names it, exit code 3, and the rounds before are kept."""
    run = runs["killed"].run
    assert (run.code, run.report.outcome) == (3, "error"), run.text
    assert "Process " in run.report.headline
    assert " of 2 of the load generator died while it was sending (exit code -9)." in run.report.headline
    assert len(run.report.rounds) >= 1


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_ends_workers_too(runs: dict[str, Ended], name: str) -> None:
    """The verdict is that of an interrupt, not that a worker died."""
    run = runs[name].run
    assert (run.code, f"interrupted by {name}" in run.report.headline) == (3, True), run.text


def test_an_arm_that_dies_of_the_probe_keeps_its_verdict(runs: dict[str, Ended]) -> None:
    """After its last round: a note says so, and the outcome is what it was."""
    run = runs["probed"].run
    assert (run.code, run.report.outcome) == (0, "pass"), run.text
    assert any("died when it was sent" in note and "after the verdict" in note for note in run.report.notes)


def test_workers_run_where_the_load_generator_does(runs: dict[str, Ended]) -> None:
    """On its CPUs and on no other."""
    client = runs["whole"].run.report.runner.client_cpus
    assert client is None or runs["whole"].cpus == [set(client)] * 2


def test_no_worker_outlives_its_gate(runs: dict[str, Ended]) -> None:
    """Each gate had two, and all are gone when it is."""
    assert [len(each.workers) for each in runs.values()] == [2] * 5
    assert [worker for each in runs.values() for worker in each.workers if worker.is_running()] == []


def test_more_processes_start_where_one_is_the_limit() -> None:
    """Where pipeline.toml leaves the number open; then the rate is what the arm can take, found with all of them."""
    program = """if True:
        from types import SimpleNamespace as Of
        from perf.measure import rate_for
        from perf.load.sharing import Reached
        class Client:
            started = []
            def start(self, count):
                self.started.append(count)
            def capacity(self, *_, **__):
                return Reached(7000.0, 0.6) if self.started else Reached(3000.0, 0.98)
        load = Of(workers="auto", users=2, max_rate=2000.0)
        perf = Of(load=load, schedule=Of(round_seconds=2.0))
        for cpus in (None, [1], [4, 5, 6, 7]):
            setup, arm = Of(perf=perf, bodies=[], cpus=Of(client=cpus)), Of(url="", alive=lambda: True)
            print(rate_for(arm, Client(), setup, arms=2), *Client.started)
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["750.0", "750.0", "1750.0 2"]


@pytest.fixture(name="left_behind")
def _left_behind() -> Iterator[list[psutil.Process]]:
    """Processes that the test leaves behind on purpose, to be ended."""
    found: list[psutil.Process] = []
    yield found
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def test_workers_end_when_the_gate_is_killed(
    gate: Gate, standin: Path, tmp_path: Path, left_behind: list[psutil.Process]
) -> None:
    """With SIGKILL, of which nobody can tell them: they notice within seconds."""
    killed = gate("--candidate", str(standin), "--baseline", "none", **TWO)
    wait_for_a_round(killed, tmp_path / "out")
    workers = workers_of(killed)
    left_behind += psutil.Process(killed.pid).children(recursive=True)
    assert len(workers) == 2
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate(timeout=10)
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert alive == []


def test_capacity_is_what_arithmetic_says(gate: Gate, standin: Path, tmp_path: Path) -> None:
    """With one thread that works for 20.5 ms on each request: no more than 49 a second; the fast arm takes more."""
    both = ("--candidate", str(standin), "--baseline", str(standin))
    slow = {"THREADS": "1", "MLOPS_FAULT_BURN_MS": "20", "MLOPS_PERF__LOAD__MAX_RATE": "25"}
    # As wide as a machine needs that does other things as well: then a quarter more than that may pass.
    limits = {"MLOPS_PERF__P95_MS": "400", "MLOPS_PERF__MIN_THROUGHPUT": "0.8"}
    probed = {"MLOPS_PERF__CAPACITY": "true", "MLOPS_PERF__PROFILES__STANDARD__LOOKS": "[2]"}
    run = ended(gate(*both, **slow, **limits, **probed), tmp_path / "out")
    row = next(row for row in run.report.criteria if row.name == "capacity")
    assert row.candidate is not None
    assert row.baseline is not None
    assert 15 < row.candidate < 1000 / 20.5 / 0.8
    assert row.baseline > row.candidate
    assert row.outcome == "info"
    assert "| capacity |" in (run.out / "report.md").read_text()
    assert "<dt>capacity</dt>" in (run.out / "report.html").read_text()
    assert run.report.seconds < 45
