"""What the demo does around `make pipeline`: its scratch copy, its environment, and how it reads an end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perf.files import write_verdict
from perf.verdict import Report
from pipeline.settings import load_settings
from release.demo import RUNS, environment_of, fault, lay_out, main, run_pipeline, table_of
from tests.engine.perf.conftest import ROOT
from tests.engine.perf.examples import report_of, rounds_of

FAILED = report_of(rounds_of([4.5] * 5, [3.0] * 5))
PASSED = report_of(rounds_of([3.0] * 5, [3.0] * 5))


def test_the_copy_is_the_code_and_nothing_that_was_made(tmp_path: Path) -> None:
    """make finds all it needs in the copy, and what the user's runs have made stays out of it."""
    project = tmp_path / "project"
    for name in (
        "Makefile",
        "pipeline.toml",
        ".python-version",
        "src/a.py",
        "serving/__pycache__/a.pyc",
        "data/big.csv",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    for name in ("bundle", "reports", ".mlops", ".venv", "mlartifacts"):
        (project / name).mkdir()
    (project / "data" / "rows.csv").write_text("rows")
    os.utime(project / "Makefile", (1, 1))
    lay_out(project, "data/rows.csv", tmp_path / "copy")
    found = sorted(
        str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()
    )
    assert found == [".python-version", "Makefile", "data/rows.csv", "pipeline.toml", "src/a.py"]
    assert (tmp_path / "copy" / "Makefile").stat().st_mtime == 1


def test_the_copy_of_this_project_is_complete(tmp_path: Path) -> None:
    """In the copy of the real project make knows the pipeline, and Python takes the copy's modules."""
    copy = tmp_path / "copy"
    lay_out(ROOT, load_settings(ROOT).data.path, copy)
    environment = environment_of(os.environ, copy, "loan-default")
    planned = subprocess.run(
        ["make", "--dry-run", "pipeline", f"VENV={sys.prefix}"], cwd=copy, env=environment, check=False
    )
    assert planned.returncode == 0
    code = "import release.demo, pipeline.settings; print(release.demo.__file__, pipeline.settings.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, env=environment, capture_output=True, text=True, check=True
    )
    assert [Path(name).is_relative_to(copy) for name in done.stdout.split()] == [True, True]


def test_nothing_of_the_shell_bends_the_demo(tmp_path: Path) -> None:
    """Settings, faults and make's own variables stay out; store and name are the demo's own."""
    shell = {
        "PATH": "/bin",
        "MLOPS_FAULT_BURN_MS": "9",
        "MLOPS_PERF__P95_MS": "1",
        "MAKEFLAGS": "n",
        "MLFLOW_TRACKING_URI": "x",
    }
    environment = environment_of(shell, tmp_path, "p" * 60)
    assert environment == {
        "PATH": "/bin",
        "DOCKER": "no",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLOPS_PROJECT__NAME": "p" * 55 + "-demo",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{tmp_path}/src",
    }


@pytest.mark.parametrize(
    ("recipe", "outcome", "words"),
    [
        ("cp passed.json reports/verdict.json", "pass", ""),
        ("cp failed.json reports/verdict.json; exit 1", "fail", ""),
        ("cp passed.json reports/verdict.json; exit 1", "", "not promoted"),
        ("exit 1", "", "no verdict"),
    ],
)
def test_an_end_is_read_from_the_verdict(tmp_path: Path, recipe: str, outcome: str, words: str) -> None:
    """make says 2 for every failure, so the verdict decides; an old one, or one not acted upon, does not count."""
    (tmp_path / "reports").mkdir()
    write_verdict(tmp_path / "reports" / "verdict.json", PASSED)
    write_verdict(tmp_path / "passed.json", PASSED)
    write_verdict(tmp_path / "failed.json", FAILED)
    (tmp_path / "Makefile").write_text(f"pipeline:\n\t@mkdir reports; {recipe}\n")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "old").touch()
    end = run_pipeline(tmp_path, os.environ, tmp_path / "kept")
    assert (end.outcome if isinstance(end, Report) else "") == outcome
    assert words in (end if isinstance(end, str) else "")
    assert [path.name for path in tmp_path.glob("kept/*")] == (["verdict.json"] if "verdict" in recipe else [])


@pytest.mark.parametrize(("p95", "burn"), [(1.2, "3"), (3.0, "3"), (42.4, "42")])
def test_the_slowed_run_is_slow_for_any_model(p95: float, burn: str) -> None:
    """A fault of 3 ms would drown in a model that takes 40 ms, and the demo would show a gate that sees nothing."""
    assert fault([report_of(rounds_of([p95] * 5)) for _ in RUNS[:2]]) == {"MLOPS_FAULT_BURN_MS": burn}


def test_the_scratch_folder_goes_in_any_case(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Left over from a run that was killed, or of one that cannot begin: it does not stay."""
    monkeypatch.chdir(project)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    (project / ".mlops" / "demo" / "old").mkdir(parents=True)
    monkeypatch.setenv("MLOPS_DATA__PATH", "data/none.csv")
    assert main() == 3
    assert "data/none.csv" in capsys.readouterr().err
    assert list((project / ".mlops").iterdir()) == []


def test_the_table_has_a_row_for_each_run() -> None:
    """Also for the runs that never came about."""
    table = table_of([PASSED, "make pipeline ended with 2"])
    assert list(table.columns[2].cells) == ["pass", "none", "not run"]
    assert list(table.columns[3].cells) == ["3.00 ms", "", ""]
