"""Accepts the slow-down for which the last load test failed, in a file that is committed and reviewed like code.

    make perf-accept REASON="why"
    python -m perf.accept --reason WHY [--verdict reports/verdict.json]

Writes perf-accepted.json. Exit code 0: written; 1: it cannot be accepted, and the last line says why; 3: could not be
done.
"""

import argparse
import getpass
import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from perf.accepted import FILE, refusal
from perf.report.wording import percent, rounded
from perf.verdict import Accepted, Measured, Report, ReportError, read_verdict, row_of
from pipeline import command

STEP = 0.05
MAX_REASON = 500


class NotAccepted(ValueError):
    """This cannot be accepted; the message says why."""


def up_to(high: float) -> float:
    """The next 5 % above an upper bound, so that a measurement like this one passes."""
    most = round(STEP * (math.floor(high / STEP) + 1), 2)
    return most if most > high else round(most + STEP, 2)  # where the division was rounded


def accept(report: Report, reason: str, by: str) -> Accepted:
    """The acceptance of what a verdict found. Raises NotAccepted."""
    why = " ".join(reason.split())
    if not why:
        raise NotAccepted('say why, as in make perf-accept REASON="the new features are worth it"')
    if len(why) > MAX_REASON:
        raise NotAccepted(f"the reason has {len(why)} characters, and {MAX_REASON} are room enough")
    if said := refusal(report.outcome, report.criteria, report.baseline):
        raise NotAccepted(said)
    p95 = row_of(report.criteria, "p95")
    assert report.baseline is not None  # noqa: S101  else it would have been refused
    assert p95 is not None and p95.interval is not None  # noqa: S101
    most = up_to(p95.interval[1])
    if most > 100:
        raise NotAccepted(f"p95 may be {percent(p95.interval[1], signed=False)} slower, which is no number to accept")
    return Accepted(
        baseline=Measured(version=report.baseline.version, bundle_sha256=report.baseline.bundle_sha256),
        up_to=most,
        reason=why,
        by=by[:200],
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def who() -> str:
    """Git's user.name, or the login name."""
    try:
        done = subprocess.run(["git", "config", "user.name"], capture_output=True, text=True, check=False)
        named = done.stdout.strip() if done.returncode == 0 else ""
    except FileNotFoundError:  # no git here
        named = ""
    return named or getpass.getuser()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m perf.accept", description=__doc__.split("\n")[0])
    parser.add_argument("--reason", default="", metavar="WHY")
    parser.add_argument("--verdict", type=Path, default=Path("reports/verdict.json"))
    arguments = parser.parse_args(argv)
    try:
        accepted = accept(read_verdict(arguments.verdict), arguments.reason, who())
        FILE.write_bytes(msgspec.json.format(msgspec.json.encode(accepted), indent=2) + b"\n")
    except NotAccepted as error:
        print(f"Not accepted: {error}.", file=sys.stderr)
        return 1
    except (ReportError, OSError) as error:
        print(f"Cannot accept: {error}", file=sys.stderr)
        return 3
    most, version = rounded(percent(accepted.up_to)), accepted.baseline.version
    print(
        f"Accepted: p95 up to {most} over version {version}, until another version is the baseline. Next: commit "
        f"{FILE} with your change, and make perf"
    )
    return 0


if __name__ == "__main__":
    command.end(main)
