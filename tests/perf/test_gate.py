"""The gate as it is called: `python -m perf`, real gunicorn, real Locust, short rounds."""

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from perf.arm import Cpus
from perf.arms import arm
from perf.verdict import read_verdict
from tests.perf.conftest import ROOT

Gate = Callable[..., "subprocess.Popen[str]"]


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    text, _ = process.communicate(timeout=50)
    return process.returncode, text


def survivors(folder: Path) -> list[list[str]]:
    """Command lines of services that run from a folder."""
    found = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in found if "gunicorn" in line and any(str(folder) in part for part in line)]


def test_equal_arms_pass(gate: Gate, standin: Path, tmp_path: Path) -> None:
    """The same code in both arms: pass, said to be identical, with all files there and every request in them."""
    # So wide that a machine with other things to do passes too: how often equals pass is not this test's question.
    wide = {"MLOPS_PERF__MAX_REGRESSION": "3", "MLOPS_PERF__P95_MS": "5000", "MLOPS_PERF__MIN_THROUGHPUT": "0.3"}
    three = {"MLOPS_PERF__LOAD__LOOKS": "[3]"}
    code, text = ended(gate("--candidate", str(standin), "--baseline", str(standin), **wide, **three))
    assert code == 0, text
    out = tmp_path / "out"
    report = read_verdict(out / "verdict.json")
    assert (report.outcome, report.identical, len(report.rounds)) == ("pass", True, 3)
    assert report.runner.arms_cpus is None or not set(report.runner.arms_cpus) & set(report.runner.client_cpus or [])
    rounds = list(csv.DictReader((out / "rounds.csv").read_text().splitlines()))
    assert [row["arm"] for row in rounds] == ["candidate", "baseline"] * 3
    samples = list(csv.DictReader(gzip.decompress((out / "samples.csv.gz").read_bytes()).decode().splitlines()))
    assert len(samples) == sum(int(row["count"]) for row in rounds)
    assert {row["pair"] for row in samples if row["arm"] == "candidate"} == {
        row["pair"] for row in samples if row["arm"] == "baseline"
    }
    assert all(float(row["start_s"]) >= float(row["due_s"]) for row in samples)
    latencies = {row["latency_ms"] for row in samples}
    assert len(latencies) > len(samples) / 2  # Locust's rounded percentiles know a handful of values
    assert (out / "report.md").read_text().startswith("### ✅ Performance gate: ")
    assert "</html>" in (out / "report.html").read_text()
    assert "Report: " in text
    assert survivors(standin) == []


def test_a_slowed_candidate_fails(gate: Gate, standin: Path, tmp_path: Path) -> None:
    """A fault of the shell reaches the candidate alone, and its p95 fails."""
    # Enough requests and rounds that no single stall of a busy machine hides it.
    load = {"MAX_RATE": "25", "ROUND_SECONDS": "0.6"}
    settings = {f"MLOPS_PERF__LOAD__{key}": value for key, value in load.items()}
    both = ("--candidate", str(standin), "--baseline", str(standin))
    code, text = ended(gate(*both, MLOPS_FAULT_BURN_MS="25", **settings))
    report = read_verdict(tmp_path / "out" / "verdict.json")
    assert (code, report.outcome, report.identical) == (1, "fail", False), text
    assert report.headline.startswith("p95 of POST /predict is ")
    assert report.next.startswith("MLOPS_FAULT_BURN_MS=25 make perf")
    assert (report.candidate.faults, report.baseline and report.baseline.faults) == (["MLOPS_FAULT_BURN_MS=25"], [])


def test_a_candidate_that_cannot_keep_the_schedule_fails(gate: Gate, standin: Path, tmp_path: Path) -> None:
    """So slow that requests pile up, it fails; it does not get its rounds dropped."""
    slow = {"MLOPS_FAULT_BURN_MS": "250", "MLOPS_PERF__LOAD__LOOKS": "[3]"}
    code, text = ended(gate("--candidate", str(standin), "--baseline", str(standin), **slow))
    report = read_verdict(tmp_path / "out" / "verdict.json")
    assert (code, report.outcome) == (1, "fail"), text
    assert "throughput" in {row.name for row in report.criteria if row.outcome == "fail"}
    assert [r.dropped for r in report.rounds] == ["", "", ""]


def older(standin: Path, tmp_path: Path) -> Path:
    """The stand-in with a contract of one field less."""
    other = Path(shutil.copytree(standin, tmp_path / "older"))
    (other / "bundle" / "contract.json").write_text('{"fields": ["Term"]}')
    return other


def test_what_cannot_be_measured_never_passes(gate: Gate, standin: Path, tmp_path: Path) -> None:
    """Each way to go wrong has its own end, reason and log, and no older verdict is left.

    A 500 and an answer without predictions are errors, and a baseline that wants other fields is left out. After an
    interrupt in the middle of it all both arms are gone, and what was measured is kept.
    """
    (tmp_path / "crash").mkdir()
    (tmp_path / "crash" / "verdict.json").write_text("an older verdict")
    other = older(standin, tmp_path)
    both = ("--candidate", str(standin), "--baseline", str(standin))
    erring = {"MLOPS_FAULT_ERRORS": "1", "MLOPS_PERF__LOAD__LOOKS": "[1]", "MLOPS_PERF__MIN_REQUESTS": "5"}
    interrupts = {number.name: number for number in (signal.SIGINT, signal.SIGTERM)}
    runs = {name: gate(*both, output=name) for name in interrupts} | {
        "crash": gate(*both, output="crash", MLOPS_FAULT_CRASH="1"),
        "death": gate(*both, output="death", MLOPS_FAULT_DIE_AT="5"),
        "rejects": gate("--candidate", str(other), "--baseline", "none", output="rejects"),
        "errors": gate("--candidate", str(standin), "--baseline", str(other), output="errors", **erring),
    }
    for name, number in interrupts.items():
        rounds = tmp_path / name / "rounds.csv"
        deadline = time.monotonic() + 30
        while not (rounds.is_file() and len(rounds.read_text().splitlines()) > 1) and time.monotonic() < deadline:
            time.sleep(0.05)
        runs[name].send_signal(number)
    texts = {name: ended(process) for name, process in runs.items()}
    reports = {name: read_verdict(tmp_path / name / "verdict.json") for name in runs}
    assert {name: (code, reports[name].outcome) for name, (code, _) in texts.items()} == {
        "crash": (3, "error"),
        "death": (3, "error"),
        "rejects": (3, "error"),
        "errors": (1, "fail"),
        "SIGINT": (3, "error"),
        "SIGTERM": (3, "error"),
    }, texts
    assert "ended before it was ready" in reports["crash"].headline
    assert "the stand-in crashes at start, as it was told" in reports["crash"].log
    assert "the stand-in crashes at start, as it was told" in texts["crash"][1]
    assert "died in round 1" in reports["death"].headline
    assert "answers 422 to a request of its own bundle" in reports["rejects"].headline
    assert reports["errors"].baseline is None
    assert "row 0, field State: unknown or missing. Judged without a baseline." in reports["errors"].notes[0]
    assert "100 % of the requests failed" in reports["errors"].headline
    for name in interrupts:
        assert f"interrupted by {name}" in reports[name].headline
        assert len(reports[name].rounds) >= 1
    assert survivors(tmp_path) == []


def test_a_call_that_cannot_work_ends_in_one_sentence(gate: Gate) -> None:
    """Exit code 3, one line that names the culprit, no traceback."""
    runs = {
        "./nowhere": gate("--candidate", "./nowhere"),
        "--surprise": gate("--surprise"),
    }
    for culprit, process in runs.items():
        code, text = ended(process)
        assert (code, len(text.strip().splitlines()), culprit in text) == (3, 1, True), text


def test_the_locustfile_works_by_itself(standin: Path, tmp_path: Path) -> None:
    """`locust -f` from any directory, with the bundle that BUNDLE names; without one, a sentence."""
    locustfile = str(ROOT / "perf" / "locustfile.py")
    options = ["--headless", "--users=2", "--spawn-rate=2", "--run-time=2s", "--json"]
    command = [sys.executable, "-m", "locust", "--locustfile", locustfile, *options, "--host"]
    missing = subprocess.Popen(
        [*command, "http://127.0.0.1:1"],
        cwd=tmp_path,
        env=os.environ | {"BUNDLE": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    service = arm(str(standin), "baseline", os.environ, Cpus(None, None, 1), tmp_path)
    try:
        service.start()
        service.ready()
        environment = os.environ | {"BUNDLE": str(standin / "bundle")}
        done = subprocess.run(
            [*command, service.url], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
    finally:
        service.stop()
        _, complaint = missing.communicate(timeout=30)
    (found,) = json.loads(done.stdout)
    assert (found["name"], found["method"], found["num_failures"]) == ("/predict", "POST", 0)
    assert found["num_requests"] > 50
    assert missing.returncode != 0
    assert complaint.strip().splitlines()[-1].endswith("run `make train`, or name a bundle folder in BUNDLE")
