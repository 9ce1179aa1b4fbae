"""Shows the gate at work on this project, in a scratch copy with a store of its own.

    make demo
    python -m release.demo

Runs the whole pipeline three times: without a baseline (must pass), with the same code against the champion that the
first run made (must pass), and with a candidate that burns CPU on each prediction (must fail). The reports stay in
reports/demo-*. Services run as processes, which leaves no images behind; ARMS=container uses containers.

Exit code 0: all three came as expected, 1: one did not, 3: could not run.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from perf.report.wording import amount
from perf.verdict import Report, ReportError, read_verdict
from pipeline import command
from pipeline.bundle import SERVED
from pipeline.settings import SettingsError, load_settings

# What `make pipeline` needs of a project, besides the data.
PARTS = (
    *("Makefile", "pyproject.toml", ".python-version", "Dockerfile", ".dockerignore", "requirements"),
    *("training", "perf", "release", *(part for part in SERVED if part != "bundle")),
)
LEAST_BURN_MS = 3


class Run(NamedTuple):
    name: str
    title: str
    expected: str


RUNS = (
    Run("demo-1-first", "first version, no baseline", "pass"),
    Run("demo-2-same", "same code, against the champion", "pass"),
    Run("demo-3-slowed", "burns CPU on each prediction", "fail"),
)


def fault(run: Run, ends: Mapping[str, Report | str]) -> dict[str, str]:
    """What slows the last run: as much as the service took before, so that it shows on a slow model as well."""
    if run is not RUNS[-1]:
        return {}
    took = [end.p95_ms for end in ends.values() if isinstance(end, Report) and end.outcome == "pass"]
    return {"MLOPS_FAULT_BURN_MS": str(max([LEAST_BURN_MS, *map(round, took)]))}


def lay_out(root: Path, data: Path, copy: Path) -> None:
    """Copies what the pipeline needs from the project in `root`, and its data file, to the new folder `copy`."""
    copy.mkdir(parents=True)
    for part in PARTS:
        source = root / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy2(source, copy / part)  # with its time, by which make sees that the environment is up to date
    if not data.is_absolute():
        (copy / data).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / data, copy / data)


def environment_of(shell: Mapping[str, str], copy: Path, project: str) -> dict[str, str]:
    """The shell's, without settings and faults of its own, and with the copy's code before that of the project."""
    kept = {
        key: value
        for key, value in shell.items()
        if not key.startswith("MLOPS_") and key not in {"MAKEFLAGS", "MAKELEVEL"}
    }
    return kept | {
        "ARMS": shell.get("ARMS", "process"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{copy / 'mlflow.db'}",
        "MLOPS_PROJECT__NAME": f"{project[:55]}-demo",  # images are named after it, and the user's stay what they are
        "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'src'}",
    }


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new folder that is gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_pipeline(copy: Path, environment: Mapping[str, str]) -> Report | str:
    """The verdict of `make pipeline`, or why there is none; make's own exit code is 2 for every failure."""
    shutil.rmtree(copy / "reports", ignore_errors=True)  # of the run before, lest they be taken for this one's
    made = subprocess.run(
        ["make", "pipeline", f"VENV={sys.prefix}"],
        cwd=copy,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    try:
        report = read_verdict(copy / "reports" / "verdict.json")
    except ReportError as error:
        return f"make pipeline ended with {made.returncode} and no verdict: {error}"
    if report.outcome == "pass" and made.returncode:
        return f"make pipeline ended with {made.returncode} after a pass: not promoted"
    return report


def keep_reports(copy: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    if (copy / "reports").is_dir():
        shutil.copytree(copy / "reports", target)


def table_of(ends: Mapping[str, Report | str]) -> Table:
    table = Table("run", "expected", "verdict", "p95 candidate", "p95 baseline")
    for run in RUNS:
        end = ends.get(run.name)
        if isinstance(end, Report):
            row = next((row for row in end.criteria if row.name == "p95 latency"), None)
            p95 = [amount(value, "ms") for value in (row.candidate, row.baseline)] if row else ["", ""]
            table.add_row(run.title, run.expected, end.outcome, *p95)
        else:
            table.add_row(run.title, run.expected, "not run" if end is None else "none", "", "")
    return table


def main() -> int:
    console, root, began = Console(highlight=False, soft_wrap=True), Path.cwd(), time.perf_counter()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = load_settings()
        with scratch(root / ".mlops" / "demo") as copy:
            ends = show(console, root, copy, settings.project.name, settings.data.path)
    except (SettingsError, OSError) as error:
        print(f"Cannot run the demo: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("Interrupted: the demo decided nothing.", file=sys.stderr)
        return 3
    console.print(table_of(ends))
    for run in RUNS:
        if (root / "reports" / run.name / "report.html").is_file():
            console.print(f"Report: {Path('reports', run.name, 'report.html')}", markup=False)
    good = all(isinstance(end := ends.get(run.name), Report) and end.outcome == run.expected for run in RUNS)
    verdict = "All three came as expected" if good else "Not all three came as expected"
    console.print(f"{verdict}, in {(time.perf_counter() - began) / 60:.1f} min.", style="green" if good else "red")
    return 0 if good else 1


def show(console: Console, root: Path, copy: Path, project: str, data: Path) -> dict[str, Report | str]:
    """Makes the runs one after the other, and says of each what was expected and what came."""
    lay_out(root, data, copy)
    environment = environment_of(os.environ, copy, project)
    ends: dict[str, Report | str] = {}
    for number, run in enumerate(RUNS, 1):
        console.rule(f"Run {number} of {len(RUNS)}: {run.title}. Expected: {run.expected}", align="left")
        end = ends[run.name] = run_pipeline(copy, {**environment, **fault(run, ends)})
        keep_reports(copy, root / "reports" / run.name)
        if isinstance(end, str):
            console.print(f"Not as expected: {end}", style="red", markup=False)
            break  # what comes after needs this run's champion
        came = "As expected" if end.outcome == run.expected else f"Not as expected ({run.expected})"
        console.print(f"{came}: {end.outcome}", style="green" if end.outcome == run.expected else "red", markup=False)
    return ends


if __name__ == "__main__":
    command.end(main)
