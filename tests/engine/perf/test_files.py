"""Files that are whole or not there, whatever the disk does, and a million requests in them."""

import contextlib
import gzip
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from perf.files import Records, append, replace, write_verdict
from perf.report.markdown import markdown
from perf.report.page import page
from perf.rule.judge import judge
from perf.rule.rounds import Samples, figures
from perf.verdict import Round, read_verdict
from tests.engine.perf.conftest import HERE, ROOT, SHORT, Gate
from tests.engine.perf.examples import LIMITS, report_of, rounds_of
from tests.engine.perf.test_gate import ended, survivors
from tests.engine.perf.test_interrupts import ENDLESS, measured, requests, until

FULL = Path("/dev/full")
LOOK_ONCE = {"MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER": "[1]"}


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_run(gate: Gate, standin: Path, tmp_path: Path, disk: Path) -> None:
    """Exit code 3, a sentence that names the file, no half of a verdict, and no service left."""
    process = gate("--candidate", str(standin), "--baseline", str(standin), output="disk/out", **ENDLESS)
    until(lambda: measured(disk / "out"))
    with contextlib.suppress(OSError), (disk / "others").open("wb", buffering=0) as others:
        while others.write(b"x" * 512):
            pass
    run = ended(process, disk / "out")
    assert (run.code, "Traceback" in run.text) == (3, False), run.text
    last = run.text.strip().splitlines()[-1]
    assert re.match(rf"Cannot run: {disk}/out/(samples|rounds)\S+ cannot be written: No space left on device; ", last)
    assert "report.html cannot be written" in last
    assert {path.name for path in (disk / "out").iterdir()} <= {
        *("rounds.csv", "samples.csv.gz", "candidate.log", "baseline.log")
    }
    assert requests(disk / "out") > 1
    assert survivors(tmp_path) == []


def test_a_report_that_does_not_fit_is_not_there(gate: Gate, standin: Path, tmp_path: Path) -> None:
    """The verdict comes last, so without the report there is none."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))  # of each file, and inherited
    try:
        process = gate("--candidate", str(standin), "--baseline", "none", **ENDLESS | LOOK_ONCE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run = ended(process, tmp_path / "out")
    assert (run.code, "Traceback" in run.text) == (3, False), run.text
    assert f"Cannot run: {tmp_path}/out/report.html cannot be written: File too large" in run.text
    assert not any("report" in path.name or "verdict" in path.name for path in (tmp_path / "out").iterdir())
    assert survivors(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("closed", [True, False])
def test_an_output_that_takes_nothing_is_no_matter(standin: Path, tmp_path: Path, closed: bool) -> None:
    """A reader such as `head` that has gone, or a full disk: the exit code and the files are those of the verdict."""
    arguments = ["--candidate", str(standin), "--baseline", "none", "--output", str(tmp_path / "out")]
    with FULL.open("w") if not closed and FULL.exists() else contextlib.nullcontext(subprocess.PIPE) as target:
        process = subprocess.Popen(
            [sys.executable, "-m", "perf", *arguments],
            cwd=ROOT,
            env=dict(os.environ) | HERE | SHORT | ENDLESS | LOOK_ONCE,
            stdout=target,
            stderr=subprocess.PIPE,
            text=True,
        )
    if process.stdout is not None:
        process.stdout.close()
    _, complaints = process.communicate(timeout=60)
    assert complaints == ""
    assert process.returncode == read_verdict(tmp_path / "out" / "verdict.json").exit_code == 2


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_an_error_names_the_file() -> None:
    """The system's own message for a write does not."""
    with pytest.raises(OSError, match=r"^/dev/full cannot be written: No space left on device$"):
        append(FULL, b"x")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """Where it cannot be, the old one stays and nothing lies beside it."""
    path = tmp_path / "verdict.json"
    replace(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match=r"verdict\.json cannot be written"):
            replace(path, b"x" * 11)
        with pytest.raises(OSError, match=r"verdict\.json cannot be written"):
            append(path, b"x" * 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_million_requests_cost_little_more_than_their_file(tmp_path: Path) -> None:
    """Figures, judgement and report take less CPU time than writing down each request, on whatever machine."""
    dice = np.random.default_rng(1)
    rounds, per_arm = 40, 12_500
    raw = [{arm: _samples(dice, per_arm) for arm in ("candidate", "baseline")} for _ in range(rounds)]
    records = Records(tmp_path)
    seen, writing, began = [], 0.0, time.process_time()
    for number, samples in enumerate(raw, 1):
        of = {arm: figures(found, per_arm, 125.0, 0.5) for arm, found in samples.items()}
        seen.append(Round(number=number, candidate=of["candidate"], baseline=of["baseline"], client_cpu=0.2, steal=0.0))
        before = time.process_time()
        records.write(seen[-1], samples)
        writing += time.process_time() - before
        judge(seen, LIMITS, [10, 16, 24, 40])
    report = report_of(seen)
    (tmp_path / "report.html").write_text(page(report, raw))
    (tmp_path / "report.md").write_text(markdown(report))
    write_verdict(tmp_path / "verdict.json", report)
    print(writing, time.process_time() - began)
    assert time.process_time() - began < 2 * writing
    assert read_verdict(tmp_path / "verdict.json") == report
    assert requests(tmp_path) == 2 * rounds * per_arm


def _samples(dice: np.random.Generator, count: int) -> Samples:
    pair = np.arange(count)
    due = pair * 0.01
    return Samples(pair, due, due + 1e-4, dice.gamma(4.0, 1.0, count), np.ones(count, dtype=np.bool_))


def test_each_request_is_written_as_it_was(tmp_path: Path) -> None:
    """In a line each, in the order of the rounds."""
    records = Records(tmp_path)
    seen = random.Random(1).random()
    samples = Samples(np.array([7]), np.array([0.5]), np.array([0.25]), np.array([seen]), np.array([False]))
    for each in rounds_of([3.0, 4.0]):
        records.write(each, {"candidate": samples})
    lines = gzip.decompress((tmp_path / "samples.csv.gz").read_bytes()).decode().splitlines()
    assert lines == [
        "round,service,pair,due_s,start_s,latency_ms,ok",
        f"1,candidate,7,0.500000,0.250000,{seen:.4f},0",
        f"2,candidate,7,0.500000,0.250000,{seen:.4f},0",
    ]
    Records(tmp_path)
    assert (tmp_path / "rounds.csv").read_text().count("\n") == 1
