"""Interrupts of the gate at any moment: arms gone, data kept, exit code 3."""

import csv
import gzip
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.perf.conftest import HERE, ROOT, SHORT, Gate
from tests.engine.perf.test_gate import Run, ended, survivors

ENDLESS = {"MLOPS_PERF__LOAD__MAX_RATE": "60", "MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER": "[900]"}


def until(condition: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def gone(folder: Path) -> bool:
    """Whether all services of a folder end within a few seconds."""
    until(lambda: not survivors(folder), 10)
    return True


def measured(out: Path) -> bool:
    """Whether a round has been written."""
    return (out / "rounds.csv").is_file() and (out / "rounds.csv").read_text().count("\n") > 1


def requests(out: Path) -> int:
    """How many requests there are in the files of a run; all of them whole."""
    if not (out / "rounds.csv").is_file():
        return 0
    rounds = list(csv.DictReader((out / "rounds.csv").read_text().splitlines()))
    lines = gzip.decompress((out / "samples.csv.gz").read_bytes()).decode().splitlines()
    assert all(line.count(",") == 6 for line in lines)
    assert len(lines) - 1 >= sum(int(row["count"]) for row in rounds)  # a round's requests are written first
    return len(lines) - 1 if rounds else 0


def interrupted(run: Run) -> None:
    """Exit code 3, said in one sentence, and a verdict where there was something to judge."""
    assert (run.code, "Traceback" in run.text, "interrupted" in run.text) == (3, False, True), run.text
    if (run.out / "verdict.json").is_file():
        assert run.report.outcome == "error"
        assert "interrupted by SIG" in run.report.headline
        counts = [(r.candidate.count, r.baseline.count if r.baseline else 0) for r in run.report.rounds]
        assert requests(run.out) == sum(map(sum, counts))
    else:
        assert not (run.out / "rounds.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_an_interrupt_at_any_moment(gate: Gate, standin: Path, tmp_path: Path, part: int) -> None:
    """From the first imports to the third round or so, as a terminal does it, and as `make` and `timeout` do."""
    moment = random.uniform(0.3 + 2 * part, 2.3 + 2 * part)
    print(f"after {moment} s")
    both = ("--candidate", str(standin), "--baseline", str(standin))
    process = gate(*both, **ENDLESS)
    time.sleep(moment)
    for number in random.choice([(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM)]):
        os.killpg(process.pid, number)
    interrupted(ended(process, tmp_path / "out"))
    assert survivors(tmp_path) == []


WRITING = """
from perf import conclude
whole, sent = conclude.page, []
def page(*arguments):
    if not sent:
        sent.append(os.kill(os.getpid(), signal.SIGINT))
    return whole(*arguments)
conclude.page = page
"""
# Between the start of a process and the moment in which somebody knows of it.
RESTARTING = """
import subprocess
from perf.arms import processes
class Popen(subprocess.Popen):
    started = 0
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        Popen.started += "gunicorn" in arguments[0]
        if Popen.started == 4:
            os.kill(os.getpid(), signal.SIGINT)
processes.subprocess.Popen = Popen
"""
STOPPING = """
from perf.arms import processes
plain = processes.ProcessArm.stop
def stop(self):
    os.kill(os.getpid(), signal.SIGTERM)
    plain(self)
processes.ProcessArm.stop = stop
"""
# Locust's runner, of which a destructor expects all that its constructor sets.
CREATING = """
from locust.runners import Runner
plain, made = Runner.__init__, []
def __init__(self, environment):
    made.append(self.__class__)
    if len(made) == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    plain(self, environment)
Runner.__init__ = __init__
"""


def patched(standin: Path, folder: Path, patch: str, decide_after: str, **more: str) -> Run:
    """A run of the gate in which something sends it a signal at some moment."""
    program = f"import os, signal, sys\nfrom perf.__main__ import main\n{patch}\nsys.exit(main(sys.argv[1:]))"
    arguments = ["--candidate", str(standin), "--baseline", str(standin), "--output", str(folder / "out")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=dict(os.environ)
        | HERE
        | SHORT
        | ENDLESS
        | {"MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER": decide_after}
        | more,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr, folder / "out")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patch", "decide_after"), [(WRITING, "[1]"), (RESTARTING, "[900]"), (STOPPING, "[1]"), (CREATING, "[900]")]
)
def test_an_interrupt_at_the_worst_moment(standin: Path, tmp_path: Path, patch: str, decide_after: str) -> None:
    """While the report is written, a process or Locust is started, or the arms are stopped."""
    interrupted(patched(standin, tmp_path, patch, decide_after))
    assert (tmp_path / "out" / "verdict.json").is_file()
    assert survivors(tmp_path) == []
