"""Shows the gate at work on this project, in a scratch copy with a store of its own.

    make demo
    python -m release.demo

Runs the whole pipeline three times: without a baseline (must pass), with the same code against the champion that the
first run made (must pass), and with a candidate that burns CPU on each prediction (must fail). The reports stay in
reports/demo-*. Services run as processes, which leaves no images behind; DOCKER=yes uses containers.

Exit code 0: all three came as expected, 1: one did not, 3: could not run.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from perf.rule.wording import amount
from perf.verdict import Report, ReportError, read_verdict, row_of
from pipeline import command
from pipeline.bundle import SERVED
from pipeline.settings import SettingsError, load_settings
from training.source.files import top

# What `make pipeline` needs of a project, besides the data.
PARTS = (
    *("Makefile", "pyproject.toml", ".python-version", "Dockerfile", ".dockerignore", "requirements"),
    *("training", "perf", "release", *(part for part in SERVED if part != "bundle")),
)


class Run(NamedTuple):
    name: str
    title: str
    expected: str


RUNS = (
    Run("demo-1-first", "first version, no baseline", "pass"),
    Run("demo-2-same", "same code, against the champion", "pass"),
    Run("demo-3-slowed", "burns CPU on each prediction", "fail"),
)


def lay_out(root: Path, data: str, copy: Path) -> None:
    """Copies what the pipeline needs from the project in `root`, and its data, to the new folder `copy`."""
    copy.mkdir(parents=True)
    for part in PARTS:
        source = root / part
        if source.is_dir():
            shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy2(source, copy / part)  # with its time, by which make sees that the environment is up to date
    if data and "://" not in data and not Path(data).is_absolute():
        place = Path(top(data))
        (copy / place).parent.mkdir(parents=True, exist_ok=True)
        if (root / place).is_dir():
            shutil.copytree(root / place, copy / place, dirs_exist_ok=True)
        else:
            shutil.copy2(root / place, copy / place)


def environment_of(shell: Mapping[str, str], copy: Path, project: str) -> dict[str, str]:
    """The shell's, without settings and faults of its own, and with the copy's code before that of the project."""
    of_make = {"MAKEFLAGS", "MAKELEVEL"}
    kept = {key: value for key, value in shell.items() if not key.startswith("MLOPS_") and key not in of_make}
    return kept | {
        "DOCKER": shell.get("DOCKER", "no"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{copy / 'mlflow.db'}",
        "MLOPS_PROJECT__NAME": f"{project[:55]}-demo",  # images are named after it, and the user's stay what they are
        "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'src'}",
    }


def fault(before: Sequence[Report | str]) -> dict[str, str]:
    """What slows the last run: as much as the service took before, so that it shows on a slow model as well."""
    took = [round(end.p95_ms) for end in before if isinstance(end, Report) and end.outcome == "pass"]
    return {"MLOPS_FAULT_BURN_MS": str(max(3, *took))}


def run_pipeline(copy: Path, environment: Mapping[str, str], target: Path) -> Report | str:
    """The verdict of `make pipeline`, or why there is none; its reports go to `target`."""
    shutil.rmtree(copy / "reports", ignore_errors=True)  # of the run before, lest they be taken for this one's
    make = ["make", "pipeline", f"VENV={sys.prefix}"]
    code = subprocess.run(make, cwd=copy, env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    shutil.rmtree(target, ignore_errors=True)
    if (copy / "reports").is_dir():
        shutil.copytree(copy / "reports", target)
    try:
        report = read_verdict(copy / "reports" / "verdict.json")  # make's own exit code is 2 for every failure
    except ReportError as error:
        return f"make pipeline ended with {code} and no verdict: {error}"
    if report.outcome == "pass" and code:
        return f"make pipeline ended with {code} after a pass: not promoted"
    return report


def show(console: Console, root: Path, copy: Path, project: str) -> list[Report | str]:
    """Makes the runs one after the other; returns how each ended, as far as they came about."""
    environment = environment_of(os.environ, copy, project)
    ends: list[Report | str] = []
    for number, run in enumerate(RUNS, 1):
        console.rule(f"Run {number} of {len(RUNS)}: {run.title}. Expected: {run.expected}", align="left")
        slowed = fault(ends) if run is RUNS[-1] else {}
        ends.append(end := run_pipeline(copy, environment | slowed, root / "reports" / run.name))
        if isinstance(end, str):
            console.print(f"Not as expected: {end}", style="red", markup=False)
            break  # what comes after needs this run's champion
    return ends


def table_of(ends: Sequence[Report | str]) -> Table:
    table = Table("run", "expected", "verdict", "p95 candidate", "p95 baseline")
    for run, end in zip_longest(RUNS, ends):
        if isinstance(end, Report):
            row = row_of(end.criteria, "p95")
            p95 = [amount(value, "ms") for value in (row.candidate, row.baseline)] if row else ["", ""]
            table.add_row(run.title, run.expected, end.outcome, *p95)
        else:
            table.add_row(run.title, run.expected, "none" if end else "not run")
    return table


def main() -> int:
    console, root, began = Console(highlight=False, soft_wrap=True), Path.cwd(), time.perf_counter()
    copy = root / ".mlops" / "demo"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = load_settings()
        shutil.rmtree(copy, ignore_errors=True)  # of a demo that was killed
        lay_out(root, settings.data.path, copy)
        ends = show(console, root, copy, settings.project.name)
    except (SettingsError, OSError, KeyboardInterrupt) as error:
        print(f"Cannot run the demo: {str(error) or 'interrupted'}", file=sys.stderr)
        return 3
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    console.print(table_of(ends))
    console.print("Reports:", ", ".join(f"reports/{run.name}/report.html" for run in RUNS[: len(ends)]))
    good = [end.outcome for end in ends if isinstance(end, Report)] == [run.expected for run in RUNS]
    text, style = ("All three came as expected", "green") if good else ("Not all three came as expected", "red")
    console.print(f"{text}, in {(time.perf_counter() - began) / 60:.1f} min.", style=style)
    return 0 if good else 1


if __name__ == "__main__":
    command.end(main)
