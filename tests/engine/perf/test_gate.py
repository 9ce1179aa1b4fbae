"""The gate as it is called: `python -m perf`, real gunicorn, real Locust, short rounds."""

import ast
import csv
import gzip
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from perf.arms.arm import Cpus, free_port
from perf.arms.specs import arm
from perf.verdict import Report, read_verdict
from tests.engine.perf.conftest import ROOT, Gate, copy_standin, gates


class Run(NamedTuple):
    """A call of the gate that has ended."""

    code: int
    text: str
    out: Path

    @property
    def report(self) -> Report:
        return read_verdict(self.out / "verdict.json")


def ended(process: "subprocess.Popen[str]", out: Path) -> Run:
    text, _ = process.communicate(timeout=100)
    return Run(process.returncode, text, out)


def survivors(folder: Path) -> list[list[str]]:
    """Command lines of services that run from a folder."""
    found = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in found if "gunicorn" in line and any(str(folder) in part for part in line)]


INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(scope="module", name="runs")
def _runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Calls of the gate of which none minds what the others do to the machine, all at the same time."""
    folder = tmp_path_factory.mktemp("gate")
    standin = str(copy_standin(folder))
    older = shutil.copytree(standin, folder / "older")
    (older / "bundle" / "contract.json").write_text('{"fields": ["Term"]}')
    (folder / "crash").mkdir()
    (folder / "crash" / "verdict.json").write_text("an older verdict")
    both = ("--candidate", standin, "--baseline", standin)
    # So wide that a machine with other things to do passes too: how often equals pass is not this test's question.
    wide = {"MLOPS_PERF__MAX_REGRESSION": "9", "MLOPS_PERF__P95_MS": "5000", "MLOPS_PERF__MIN_THROUGHPUT": "0.1"}
    erring = {
        "MLOPS_FAULT_ERRORS": "1",
        "MLOPS_PERF__PROFILES__STANDARD__LOOKS": "[1]",
        "MLOPS_PERF__MIN_REQUESTS": "5",
    }
    calls: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {number.name: (both, {}) for number in INTERRUPTS} | {
        "equal": (both, wide),
        "alone": (
            ("--candidate", standin, "--baseline", "none"),
            wide | {"MLOPS_PERF__PROFILES__STANDARD__LOOKS": "[1, 3, 9]"},
        ),
        "crash": (both, {"MLOPS_FAULT_CRASH": "1"}),
        "death": (both, {"MLOPS_FAULT_DIE_AT": "5"}),
        "rejects": (("--candidate", str(older), "--baseline", "none"), {}),
        "errors": (("--candidate", standin, "--baseline", str(older)), erring),
        "nowhere": (("--candidate", "./nowhere"), {}),
        "surprise": (("--surprise",), {}),
    }
    with gates(folder) as gate:
        started = {name: gate(*arguments, output=name, **more) for name, (arguments, more) in calls.items()}
        for number in INTERRUPTS:
            rounds = folder / number.name / "rounds.csv"
            deadline = time.monotonic() + 30
            while not (rounds.is_file() and len(rounds.read_text().splitlines()) > 1) and time.monotonic() < deadline:
                time.sleep(0.05)
            started[number.name].send_signal(number)
        found = {name: ended(process, folder / name) for name, process in started.items()}
    assert survivors(folder) == []
    return found


def test_equal_arms_pass(runs: dict[str, Run]) -> None:
    """The same code in both arms: pass, said to be identical, with all files there and every request in them."""
    run = runs["equal"]
    assert run.code == 0, run.text
    report = run.report
    assert (report.outcome, report.identical) == ("pass", True)
    assert len(report.rounds) >= 3
    assert report.runner.arms_cpus is None or not set(report.runner.arms_cpus) & set(report.runner.client_cpus or [])
    rounds = list(csv.DictReader((run.out / "rounds.csv").read_text().splitlines()))
    assert [row["arm"] for row in rounds] == ["candidate", "baseline"] * len(report.rounds)
    samples = list(csv.DictReader(gzip.decompress((run.out / "samples.csv.gz").read_bytes()).decode().splitlines()))
    assert len(samples) == sum(int(row["count"]) for row in rounds)
    assert {row["pair"] for row in samples if row["arm"] == "candidate"} == {
        row["pair"] for row in samples if row["arm"] == "baseline"
    }
    assert all(float(row["start_s"]) >= float(row["due_s"]) for row in samples)
    latencies = {row["latency_ms"] for row in samples}
    assert len(latencies) > len(samples) / 2  # Locust's rounded percentiles know a handful of values
    assert (run.out / "report.md").read_text().startswith("### ✅ Performance gate: ")
    assert "</html>" in (run.out / "report.html").read_text()
    assert "Report: " in run.text


def test_the_first_version_gets_as_many_rounds_as_any(runs: dict[str, Run]) -> None:
    """Without a baseline too, what the first look cannot decide is measured on: the first push shall be green."""
    run = runs["alone"]
    assert (run.code, run.report.outcome) == (0, "pass"), run.text
    assert len([r for r in run.report.rounds if not r.dropped]) >= 3
    assert "No baseline: judged by the absolute limits alone." in run.report.notes


def test_a_slowed_candidate_fails(gate: Gate, standin: Path, tmp_path: Path) -> None:
    """A fault of the shell reaches the candidate alone, and its p95 fails."""
    # Enough requests that no single stall of a busy machine hides it.
    settings = {"MLOPS_PERF__LOAD__MAX_RATE": "25", "MLOPS_PERF__PROFILES__STANDARD__ROUND_SECONDS": "0.6"}
    both = ("--candidate", str(standin), "--baseline", str(standin))
    run = ended(gate(*both, MLOPS_FAULT_BURN_MS="25", **settings), tmp_path / "out")
    report = run.report
    assert (run.code, report.outcome, report.identical) == (1, "fail", False), run.text
    assert report.headline.startswith("p95 of POST /predict is ")
    assert report.next.startswith("MLOPS_FAULT_BURN_MS=25 make perf")
    assert (report.candidate.faults, report.baseline and report.baseline.faults) == (["MLOPS_FAULT_BURN_MS=25"], [])


def test_a_candidate_that_cannot_keep_the_schedule_fails(gate: Gate, standin: Path, tmp_path: Path) -> None:
    """So slow that requests pile up, it fails; it does not get its rounds dropped."""
    both = ("--candidate", str(standin), "--baseline", str(standin))
    run = ended(gate(*both, MLOPS_FAULT_BURN_MS="250"), tmp_path / "out")
    report = run.report
    assert (run.code, report.outcome) == (1, "fail"), run.text
    assert "throughput" in {row.key for row in report.criteria if row.outcome == "fail"}
    assert not [r.dropped for r in report.rounds if r.dropped and not r.dropped.startswith("the host gave ")]


def test_a_crash_at_start_is_an_error(runs: dict[str, Run]) -> None:
    """With the service's last words, and no older verdict is left."""
    run = runs["crash"]
    assert (run.code, run.report.outcome) == (3, "error")
    assert "ended before it was ready" in run.report.headline
    for text in (run.report.log, run.text):
        assert "the stand-in crashes at start, as it was told" in text


def test_an_arm_that_dies_is_an_error(runs: dict[str, Run]) -> None:
    """The round in which it died is named."""
    run = runs["death"]
    assert (run.code, run.report.outcome) == (3, "error")
    assert "died in round 1" in run.report.headline


def test_a_candidate_that_rejects_its_own_requests_is_an_error(runs: dict[str, Run]) -> None:
    """A 4xx to what its own bundle recorded: measuring refusals would flatter it."""
    run = runs["rejects"]
    assert (run.code, run.report.outcome) == (3, "error")
    assert "answers 422 to a request of its own bundle" in run.report.headline


def test_errors_fail(runs: dict[str, Run]) -> None:
    """A 500 and an answer without predictions are errors; a baseline that wants other fields is left out."""
    run = runs["errors"]
    report = run.report
    assert (run.code, report.outcome) == (1, "fail")
    assert "100 % of the requests failed" in report.headline
    assert report.baseline is None
    assert "row 0, field State: unknown or missing. Judged without a baseline." in report.notes[0]


@pytest.mark.parametrize("name", [number.name for number in INTERRUPTS])
def test_an_interrupt_is_an_error(runs: dict[str, Run], name: str) -> None:
    """In the middle of it all: what was measured is kept (and both arms are gone, as after each call)."""
    run = runs[name]
    assert (run.code, run.report.outcome) == (3, "error")
    assert f"interrupted by {name}" in run.report.headline
    assert len(run.report.rounds) >= 1


def test_an_interrupt_in_a_destructor_is_not_lost() -> None:
    """Python drops what is raised there; what asked for an end is known all the same, and `measure` looks."""
    program = """if True:
        import os, signal
        from perf.interrupts import interruptible
        class Last:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
        interrupt = interruptible()
        Last()
        print(interrupt.name)
        interrupt.ending = True
        os.kill(os.getpid(), signal.SIGINT)
        print(interrupt.name)
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SIGTERM", "SIGINT"]


@pytest.mark.parametrize(("name", "culprit"), [("nowhere", "./nowhere"), ("surprise", "--surprise")])
def test_a_call_that_cannot_work_ends_in_one_sentence(runs: dict[str, Run], name: str, culprit: str) -> None:
    """Exit code 3, one line that names the culprit, no traceback."""
    run = runs[name]
    assert (run.code, len(run.text.strip().splitlines()), culprit in run.text) == (3, 1, True), run.text


LOCUSTFILE = ROOT / "perf" / "locustfile.py"
LOCUST = [sys.executable, "-m", "locust", "--locustfile", str(LOCUSTFILE)]


@pytest.fixture(name="service")
def _service(standin: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a service that runs by itself."""
    started = arm(str(standin), "baseline", os.environ, Cpus(None, None, 1), tmp_path)
    try:
        started.start()
        started.ready()
        yield started.url
    finally:
        started.stop()


def test_locust_sends_from_one_process_or_several(service: str, standin: Path, tmp_path: Path) -> None:
    """The commands that the locustfile names, from any directory, with the bundle that BUNDLE names: all answered."""
    text = ast.get_docstring(ast.parse(LOCUSTFILE.read_text())) or ""
    documented = re.findall(r"^    locust --locustfile perf/locustfile\.py (.*)", text, flags=re.M)
    environment = os.environ | {"BUNDLE": str(standin / "bundle")}

    def start(options: str, port: int, *more: str) -> "subprocess.Popen[str]":
        command = [
            *LOCUST,
            *options.replace("http://127.0.0.1:8000", service).split(),
            *more,
            "--master-port",
            str(port),
        ]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)

    def check(sender: "subprocess.Popen[str]") -> None:
        answers = sender.communicate(timeout=60)[0]
        assert sender.returncode == 0
        lists = re.sub(r"\]\s*\[", "],[", answers.strip())  # each process prints one
        (found,) = itertools.chain(*json.loads(f"[{lists}]"))
        assert (found["name"], found["method"], found["num_failures"]) == ("/predict", "POST", 0)
        assert found["num_requests"] > 20

    one, several, master, worker = documented
    short = ("--headless", "-u", "2", "-r", "2", "-t", "1s", "--json")
    for options in (one, several):
        check(start(options, port := free_port(), *short, "--master-bind-port", str(port)))
    other = start(worker, port := free_port())
    check(start(master, port, *short, "--master-bind-port", str(port)))
    other.communicate(timeout=60)
    assert other.returncode == 0


def test_the_locustfile_needs_a_bundle(tmp_path: Path) -> None:
    """Without one, a sentence that says what to do."""
    command = [*LOCUST, "--headless", "--host", "http://127.0.0.1:1"]
    environment = os.environ | {"BUNDLE": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1].endswith("run `make train`, or name a bundle folder in BUNDLE")
