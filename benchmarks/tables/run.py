"""`make new` on tables that nobody here made: what it decides, what the model reaches, and how long a verdict takes.

    make bench-tables
    python -m benchmarks.tables.run [NAME…] [--again] [--write]

Each table gets a fresh project, in .cache/bench/tables, and nobody edits it: make new, train, and the load test of a
first version with the quick profile, two gunicorn processes. What ended is kept there, so a run that was interrupted
goes on where it was; --again forgets it. `--write` puts the table into benchmarks/tables.md.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks import sections
from benchmarks.gate.recorded import machine
from benchmarks.tables.sources import CACHE, ROOT, TABLES, install, write_csv
from perf.verdict import ReportError, read_verdict
from pipeline import bundle as bundles
from pipeline.bundle import BundleError
from pipeline.settings import load_settings
from release.demo import environment_of, lay_out

COMMAND = "make bench-tables"
HEADS = (
    "table",
    "rows",
    "columns",
    "task",
    "decided",
    "metric",
    "serves",
    "s to a version",
    "s to a verdict",
    "verdict",
)
ROUNDS = {"MLOPS_PERF__PROFILE": "quick", "MLOPS_PERF__PROFILES__QUICK__ROUND_SECONDS": "1"}
STEPS = {
    "new": ("training.new", "--csv={csv}", "--target={target}"),
    "train": ("training.train",),
    "perf": ("perf", "--baseline=none"),
}


class Result(msgspec.Struct, frozen=True):
    rows: str = ""
    columns: str = ""
    task: str = ""
    decided: str = ""
    metric: str = ""
    serves: str = ""
    version: float | None = None  # seconds from the file to it
    verdict: float | None = None
    outcome: str = ""


def run(name: str) -> Result:
    """From the file to a verdict; ends where a step does, and says how."""
    folder = CACHE / name
    shutil.rmtree(folder, ignore_errors=True)
    csv, project = write_csv(name, folder), folder / "project"
    lay_out(ROOT, load_settings(ROOT, {}).data.path, project)
    environment, seconds, failed = environment_of(os.environ, project, name) | ROUNDS, dict[str, float](), ""
    for step, arguments in STEPS.items():
        began = time.perf_counter()
        command = [sys.executable, "-m", *(each.format(csv=csv, target=TABLES[name].target) for each in arguments)]
        with (folder / f"{step}.log").open("w") as log:
            code = subprocess.run(
                command, cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False
            ).returncode
        seconds[step] = time.perf_counter() - began
        if code:
            failed = (folder / f"{step}.log").read_text().strip().splitlines()[-1].replace(str(folder), "…")
            break
    return described(folder, project, seconds, failed)


def described(folder: Path, project: Path, seconds: dict[str, float], failed: str) -> Result:
    """What came of it. seconds: of each step that was taken; failed: the last line of one that did."""
    said = (folder / "new.log").read_text()
    size = re.search(r"file +([\d,]+) rows, ([\d,]+) columns", said)
    result = Result(*(size.groups() if size else ("", "")), outcome=failed)
    if "train" not in seconds:
        return result
    settings = load_settings(project, {})
    result = msgspec.structs.replace(
        result, task=settings.data.task, decided=decided((project / "pipeline.toml").read_text())
    )
    try:
        card = bundles.read(project / "bundle").card
        metric = (
            f"{settings.quality.metric} {card.metrics[settings.quality.metric]:.3f} (floor {settings.quality.floor:g})"
        )
        verdict = read_verdict(project / "reports" / "verdict.json")
    except (BundleError, ReportError):
        return result
    return msgspec.structs.replace(
        result,
        metric=metric,
        serves=card.runtime,
        version=seconds["new"] + seconds["train"],
        verdict=sum(seconds.values()),
        outcome=verdict.outcome if verdict.outcome == "pass" else f"{verdict.outcome}: {verdict.headline}",
    )


def decided(settings: str) -> str:
    """How many columns of each kind, which are left out and why, and words for a missing value."""
    data = tomllib.loads(settings)["data"]
    keys = {"numeric": "number", "text": "text", "boolean": "boolean", "date": "date"}
    counts = {kind: len(data.get(key, ())) for key, kind in keys.items()}
    parts = [", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in counts.items() if count)]
    reasons = re.findall(r"^# Left out: (.+?), (.+)\.$", settings, re.MULTILINE)
    if reasons:
        parts.append("left out: " + ", ".join(f"{name} ({why})" for name, why in reasons))
    if doubts := re.findall(r"^# Look at (.+?): .+\.$", settings, re.MULTILINE):
        parts.append("to look at: " + ", ".join(doubts))
    words = {*data.get("missing", ()), *(word for each in data.get("missing_in", {}).values() for word in each)}
    if words:
        parts.append("missing: " + ", ".join(f"{word!r}" for word in sorted(words)))
    return "; ".join(parts)


def row(name: str, result: Result) -> list[str]:
    seconds = ["" if value is None else f"{value:.0f}" for value in (result.version, result.verdict)]
    cells = (
        result.rows,
        result.columns,
        result.task,
        result.decided,
        result.metric,
        result.serves,
        *seconds,
        result.outcome,
    )
    return [f"{name} ({TABLES[name].package})", *(cell.replace("|", "\\|") for cell in cells)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.run", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*TABLES, []], metavar="NAME", help="of a table; default: all")
    parser.add_argument("--again", action="store_true", help="also those that ended before")
    parser.add_argument("--write", action="store_true", help="into benchmarks/tables.md")
    arguments = parser.parse_args()
    install()
    results = {}
    for name in arguments.names or TABLES:
        kept = CACHE / f"{name}.json"
        if arguments.again or not kept.is_file():
            kept.write_bytes(msgspec.json.encode(run(name)))
        results[name] = msgspec.json.decode(kept.read_bytes(), type=Result)
        print(*row(name, results[name]), sep=" | ", flush=True)
    passed = sum(result.outcome == "pass" for result in results.values())
    print(f"{passed} of {len(results)} reached a verdict, and passed")
    if arguments.write:
        kept = {name: CACHE / f"{name}.json" for name in TABLES}
        results = {n: msgspec.json.decode(path.read_bytes(), type=Result) for n, path in kept.items() if path.is_file()}
        passed = sum(result.outcome == "pass" for result in results.values())
        text = f"On {machine()}, on {datetime.now(UTC).date()}: {passed} of {len(results)} pass.\n\n"
        rows = [row(name, result) for name, result in results.items()]
        sections.write(ROOT / "benchmarks" / "tables.md", COMMAND, f"{text}{sections.table(HEADS, rows)}\n")


if __name__ == "__main__":
    main()
