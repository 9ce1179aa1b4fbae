"""Load-tests a candidate, against a baseline where there is one, and judges it.

    python -m perf [--candidate SPEC] [--baseline SPEC|none] [--requests FILE]
                   [--output reports] [--note TEXT] [--seed N]

A SPEC is a folder that holds serving/, src/ and bundle/, or an image, or service:PORT: a container that runs already.
Without --candidate the project itself is measured; without --baseline what `python -m release.baseline` laid out last,
the champion or what BASE named. A slow-down that perf-accepted.json names does not fail.
MLOPS_FAULT_* in the environment reach the candidate only: with them the gate can be tried.

Exit code 0: pass, 1: fail, 2: inconclusive, 3: could not run, or was interrupted.
"""

import argparse
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple, NoReturn

if __name__ == "__main__":  # the imports take a second, in which there is nothing to clean up yet
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: os.write(2, b"Cannot run: interrupted\n") and os._exit(3))

from perf.locustfile import load_requests  # isort: skip  before all that opens a socket: Locust patches the library

from gevent.hub import Hub  # type: ignore[import-untyped]
from rich.console import Console

from perf import accept
from perf.arms.arm import ArmError, available_cpus, pinned, split_cpus
from perf.arms.specs import Sides, arms, choose, refused
from perf.conclude import clear, conclude, model_of, write
from perf.findings import Findings, Setup
from perf.interrupts import Interrupt, interruptible
from perf.measure import measure
from perf.report.display import Display, Screen
from perf.report.markdown import markdown
from perf.verdict import Report
from pipeline import command
from pipeline.notes import Baseline
from pipeline.settings import SettingsError, load_settings


class Arguments(NamedTuple):
    candidate: str
    baseline: str
    requests: Path | None
    output: Path
    note: str
    seed: int


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(3, f"{self.prog}: {message}\n")  # argparse's own 2 would say inconclusive


def parse(argv: list[str] | None) -> Arguments:
    parser = Parser(prog="python -m perf", description="Load-test a candidate and judge it.", allow_abbrev=False)
    parser.add_argument(
        "--candidate", default=".", metavar="SPEC", help="a folder (default: this one), an image, or service:PORT"
    )
    parser.add_argument(
        "--baseline", default="", metavar="SPEC|none", help=f"likewise; default: what {Baseline.path} names"
    )
    parser.add_argument(
        "--requests", type=Path, metavar="FILE", help="a requests.jsonl; default: that of the candidate's bundle/"
    )
    parser.add_argument("--output", default="reports", type=Path, metavar="FOLDER")
    parser.add_argument("--note", default="", metavar="TEXT", help="what a reader of the report has to know besides")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31), help="of the random orders")
    return Arguments(**vars(parser.parse_args(argv)))


def requests_of(candidate: str) -> Path:
    """The candidate's recorded requests: in its folder, or in the project's bundle, which went into its image."""
    return (Path(candidate) if Path(candidate).is_dir() else Path()) / "bundle" / "requests.jsonl"


def prepare(arguments: Arguments) -> tuple[Setup, str]:
    """What is to be measured, and what a reader has to know of that. Nothing is started.

    Raises SettingsError, ArmError, ValueError or OSError.
    """
    cpus, settings = split_cpus(available_cpus()), load_settings()
    named = Sides(arguments.candidate, arguments.baseline)
    sides = named if arguments.baseline else choose(arguments.candidate, Path())
    acceptance = accept.read(Path())
    bodies = load_requests(arguments.requests or requests_of(sides.candidate))
    candidate, baseline = arms(sides.candidate, sides.baseline, os.environ, cpus, arguments.output, sides.image)
    setup = Setup(
        project=settings.project.name,
        perf=settings.perf,
        candidate=candidate,
        baseline=baseline,
        bodies=bodies,
        cpus=cpus,
        seed=arguments.seed,
        output=arguments.output,
        base=sides.base,
        accepted=acceptance,
    )
    return setup, sides.note


def attempt(setup: Setup, findings: Findings, console: Screen, interrupt: Interrupt) -> None:
    """Measures, and notes what ended that before there was a verdict. All arms are gone afterwards."""
    began = time.perf_counter()
    try:
        with pinned(setup.cpus.client), Display(console) as display:
            measure(setup, findings, display, interrupt)
    except (KeyboardInterrupt, Exception) as error:  # an interrupt in the middle of a write may end as another error
        if not interrupt.name and not isinstance(error, ArmError | OSError):  # OSError: such as a full disk
            raise
        findings.failure = f"interrupted by {interrupt.name}" if interrupt.name else str(error)
        findings.log = error.log if isinstance(error, ArmError) and not interrupt.name else ""
    interrupt.ending = True
    for arm in (setup.candidate, setup.baseline):
        if arm is not None:
            arm.stop()  # again, for an interrupt between two steps of the cleaning up
    findings.seconds = time.perf_counter() - began


def concluded(setup: Setup, findings: Findings, interrupt: Interrupt) -> Report:
    """Writes the verdict, and once more where an interrupt came meanwhile: it is a verdict on that. Raises OSError."""
    while True:
        known = interrupt.name
        if known and not findings.failure:
            findings.failure = f"interrupted by {known}"
        report = conclude(setup, findings)
        write(setup.output, report, findings)
        if interrupt.name == known:
            return report


def tell(console: Console, report: Report, output: Path) -> None:
    styles = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow", "error": "bold red"}
    word, style = report.outcome.upper(), styles[report.outcome]
    if report.accepted and report.outcome == "pass":
        word, style = "PASS, ACCEPTED", styles["inconclusive"]
    if report.log:
        console.print(report.log, markup=False, highlight=False, soft_wrap=True)
    lines = [(f"{word}: {report.headline}", style), *((reason, "") for reason in report.reasons)]
    for line, of in [*lines, (f"Report: {output / 'report.html'}", ""), (f"Next: {report.next}", "")]:
        console.print(line, style=of, markup=False, highlight=False, soft_wrap=True)


def refuse(why: str) -> int:
    print(f"Cannot run: {why}", file=sys.stderr)
    return 3


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    findings, console, interrupt = Findings(), Screen(), interruptible()
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyboardInterrupt)  # gevent prints a traceback of what else ends its loop
    try:
        setup, note = prepare(arguments)
        clear(setup.output)
    except (SettingsError, ArmError, ValueError, OSError) as error:
        return refuse(str(error))
    except KeyboardInterrupt:
        return refuse(f"interrupted by {interrupt.name}")
    findings.notes += filter(None, [arguments.note, note, last := refused(Path())])
    if last:
        console.print(last, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
    attempt(setup, findings, console, interrupt)
    try:
        report = concluded(setup, findings, interrupt)
    except OSError as error:
        return refuse("; ".join(filter(None, [findings.failure, str(error)])))
    tell(console, report, setup.output)
    command.summary(markdown(report, model_of(report)))
    return report.exit_code


if __name__ == "__main__":
    command.end(main)
