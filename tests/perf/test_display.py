"""perf.display: what is to be seen while the gate runs."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from tests.perf.conftest import HERE, ROOT, SHORT
from tests.perf.test_gate import survivors

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(*arguments: str) -> tuple[int, str]:
    """The gate's exit code, and all that it wrote to a terminal of 160 columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MLOPS_") and key != "CI"}
    process = subprocess.Popen(
        [sys.executable, "-m", "perf", *arguments],
        cwd=ROOT,
        env=clean | HERE | SHORT | {"TERM": "xterm-256color"},
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


def test_a_terminal_shows_how_far_it_is(standin: Path, tmp_path: Path) -> None:
    """The step, the round, the estimate with its interval and the time left; then they make room for the verdict."""
    code, written = on_a_terminal(
        "--candidate", str(standin), "--baseline", str(standin), "--output", str(tmp_path / "out")
    )
    assert code in (0, 2), written
    seen = CONTROL.sub("", written)
    for step in ("starting the candidate", "starting the baseline", "finding the rate", "round 1, verdict after 3"):
        assert step in seen
    progress = r"round \d+, verdict after 3; so far \S.*\(.+ … .+\).* 2/3 +\d:\d\d:\d\d +[-\d:]{7}"
    assert re.search(progress, seen), seen[-3000:]
    assert "\x1b[2K" in written  # lines are drawn over, and the last one is cleared
    assert re.split(r"\r?\n", seen.rstrip())[-1].startswith("Next: ")
    assert survivors(tmp_path) == []
