"""perf.report.display: what is to be seen while the gate runs."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from perf.findings import Findings
from perf.report.display import so_far
from perf.rule.judge import judge
from tests.engine.perf.conftest import HERE, ROOT, SHORT
from tests.engine.perf.examples import LIMITS, rounds_of
from tests.engine.perf.test_gate import survivors

LATER = {"MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER": "[5, 9]"}  # two rounds have an interval too wide to be shown
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(*arguments: str) -> tuple[int, str]:
    """The gate's exit code, and all that it wrote to a terminal of 160 columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLOPS_") and key != "CI"}
    process = subprocess.Popen(
        [sys.executable, "-m", "perf", *arguments],
        cwd=ROOT,
        env=clean | HERE | SHORT | LATER | {"TERM": "xterm-256color"},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
    )
    os.close(its)
    written = b""
    try:
        while chunk := os.read(ours, 65_536):
            written += chunk
    except OSError:  # EIO: the terminal's other end is closed
        pass
    os.close(ours)
    return process.wait(30), written.decode()


@pytest.mark.slow
def test_a_terminal_shows_how_far_it_is(standin: Path, tmp_path: Path) -> None:
    """The step, the round, the estimate with its interval and the time left; then they make room for the verdict."""
    code, written = on_a_terminal(
        "--candidate", str(standin), "--baseline", str(standin), "--output", str(tmp_path / "out")
    )
    assert code in (0, 2), written
    seen = CONTROL.sub("", written)
    for step in ("starting the candidate", "starting the baseline", "finding the rate", "round 1, verdict after 5"):
        assert step in seen
    progress = r"round \d+, verdict after 5; so far \S.*\(.+ … .+\).* 4/5 +\d:\d\d:\d\d +[-\d:]{7}"
    assert re.search(progress, seen), seen[-3000:]
    assert "\x1b[2K" in written  # lines are drawn over, and the last one is cleared
    assert re.split(r"\r?\n", seen.rstrip())[-1].startswith("Next: ")
    assert survivors(tmp_path) == []


def test_an_estimate_waits_until_it_says_something() -> None:
    """Two rounds leave bounds like -100 ... +33602 %, which are no news; six have news."""
    baseline, candidate = [0.55, 0.85, 0.71, 0.64, 0.59, 0.54], [0.82, 0.90, 0.83, 0.76, 0.71, 0.70]
    for count, shown in ((2, r""), (6, r"; so far \+\d\d % \([^ ]?[\d.]+ % … \+\d+ %\)")):
        rounds = rounds_of(candidate[:count], baseline[:count])
        found = Findings(rounds=rounds, judgement=judge(rounds, LIMITS, (6, 10)))
        assert re.fullmatch(shown, so_far(found)), so_far(found)
