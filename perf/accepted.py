"""A slow-down that somebody accepted: perf-accepted.json beside pipeline.toml, committed and reviewed like code.

It is about one baseline, so it ends by itself once another version is the champion. What it changes: judge.py.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from perf.report.wording import NAMES, percent, rounded
from perf.verdict import Accepted, Arm, Criterion, Outcome

FILE = Path("perf-accepted.json")
MAX_BYTES = 10_000


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
        what = f"{path}: not what `make perf-accept` writes ({error})"
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


def refusal(outcome: Outcome, criteria: Sequence[Criterion], baseline: Arm | None) -> str:
    """Why a verdict cannot be accepted; empty where it can."""
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


def told(accepted: Accepted, quote: Callable[[str], str]) -> str:
    """Who accepted what, when and why, with text from elsewhere as `quote` gives it."""
    what = f"p95 up to {rounded(percent(accepted.up_to))} over version {quote(accepted.baseline.version)}"
    return f"{what}, by {quote(accepted.by)}, {quote(accepted.at)}: {quote(accepted.reason)}"
