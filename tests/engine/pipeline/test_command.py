"""pipeline.command: exit codes mean what the commands say they do."""

import subprocess
import sys

from tests.engine.conftest import ROOT, environment


def test_what_nobody_foresaw_is_no_refusal() -> None:
    """Python's own exit code of a traceback, 1, would say that the model or the candidate was refused."""
    program = "from pipeline.command import end; end(lambda: 1 // 0)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(ROOT), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "ZeroDivisionError" in done.stderr
