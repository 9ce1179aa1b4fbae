"""pipeline.command: exit codes mean what the commands say they do."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import command
from tests.engine.conftest import ROOT, environment


def test_what_nobody_foresaw_is_no_refusal() -> None:
    """Python's own exit code of a traceback, 1, would say that the model or the candidate was refused."""
    program = "from pipeline.command import end; end(lambda: 1 // 0)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(ROOT), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "ZeroDivisionError" in done.stderr


def test_a_workflow_gets_one_line_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line break in a value would make the next line an output of its own. Outside of a workflow nothing happens."""
    command.output(a="1")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    command.output(note="denied\npromote=true", empty="")
    command.output(other="2")
    assert (tmp_path / "output").read_text() == "note=denied promote=true\nempty=\nother=2\n"
    command.summary("One.")
    command.summary("")
    command.summary("Two.")
    assert (tmp_path / "summary").read_text() == "One.\n\nTwo.\n\n"
