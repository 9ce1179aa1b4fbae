"""A slow-down that somebody accepted: perf-accepted.json beside pipeline.toml, committed and reviewed like code.

    make accept REASON="why"
    python -m perf.accept --reason WHY [--verdict reports/verdict.json]

Writes the file, for the slow-down for which the last load test failed. It is about one baseline, so it ends by itself
once another version is the champion. What it changes: rule/judge.py.

Exit code 0: written; 1: it cannot be accepted, and the last line says why; 3: could not be done.
"""

import argparse
import getpass
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from perf.rule.wording import NAMES, percent, rounded
from perf.verdict import Accepted, Arm, Criterion, Measured, Outcome, Report, ReportError, read_verdict, row_of
from pipeline import command

FILE = Path("perf-accepted.json")
MAX_BYTES = 10_000
STEP = 0.05
MAX_REASON = 500


class AcceptedError(ValueError):
    """perf-accepted.json cannot be read; the message says what is wrong with it."""


def read(root: Path) -> Accepted | None:
    """What perf-accepted.json in `root` says; None where there is none. Raises AcceptedError."""
    path = root / FILE
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise AcceptedError(f"{path}: larger than {MAX_BYTES:,} bytes")
        return msgspec.json.decode(data, type=Accepted)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        what = f"{path}: not what `make accept` writes ({error})"
        raise AcceptedError(f"{what}; write it anew, or delete it") from None


def in_force(accepted: Accepted | None, baseline: Arm | None) -> Accepted | None:
    """What was accepted, where it was against this very baseline."""
    if accepted is None or baseline is None:
        return None
    named = accepted.baseline
    return accepted if (baseline.version, baseline.bundle_sha256) == (named.version, named.bundle_sha256) else None


def notes(accepted: Accepted | None, baseline: Arm | None, base: str, criteria: Sequence[Criterion]) -> list[str]:
    """What a reader has to know of an acceptance that decided nothing. `base`: what BASE named, if anything."""
    if accepted is None or any(row.accepted for row in criteria):
        return []
    if in_force(accepted, baseline) is not None:
        return [f"{FILE} was not needed."]
    over = "does not apply here" if base else "no longer applies and can be deleted"
    return [f"{FILE} is about version {accepted.baseline.version[:40]}, which is not the baseline: it {over}."]


def refusal(outcome: Outcome, criteria: Sequence[Criterion], candidate: Arm, baseline: Arm | None) -> str:
    """Why a verdict cannot be accepted; empty where it can."""
    if candidate.faults:
        return f"the candidate was slowed down on purpose ({', '.join(candidate.faults)})"
    if outcome != "fail":
        return f"the verdict is {outcome}, and only one that failed can be accepted"
    failed = [row for row in criteria if row.outcome == "fail"]
    others = [NAMES[row.key] for row in failed if row.key != "p95"]
    if others:
        return f"{', '.join(others)} failed, and only a slow-down of p95 against the baseline can be accepted"
    if not failed or failed[0].interval is None or baseline is None:
        return "it holds no slow-down of p95 against a baseline"
    if not baseline.version or not baseline.bundle_sha256:
        return "its baseline is no registered version, so nobody could tell when the acceptance ends"
    return ""


def in_words(accepted: Accepted, quote: Callable[[str], str]) -> str:
    """Who accepted what, when and why, with text from elsewhere as `quote` gives it."""
    what = f"p95 up to {rounded(percent(accepted.up_to))} over version {quote(accepted.baseline.version)}"
    return f"{what}, by {quote(accepted.by)}, {quote(accepted.at)}: {quote(accepted.reason)}"


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
        raise NotAccepted('say why, as in make accept REASON="the new features are worth it"')
    if len(why) > MAX_REASON:
        raise NotAccepted(f"the reason has {len(why)} characters, and {MAX_REASON} are room enough")
    if why_not := refusal(report.outcome, report.criteria, report.candidate, report.baseline):
        raise NotAccepted(why_not)
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
    parser = argparse.ArgumentParser(
        prog="python -m perf.accept", description="Accept the slow-down for which the last load test failed."
    )
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
