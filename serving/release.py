"""What the load test said of this model, for the page: RELEASE in the environment, else the verdict in reports/."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from pipeline.bundle import Card

SHOWN = 500


class Candidate(msgspec.Struct):
    """Of a verdict: what was tested."""

    bundle_sha256: str
    code_sha256: str
    faults: list[str] = []


class Verdict(msgspec.Struct):
    """The part of verdict.json that people are shown."""

    outcome: str
    headline: str
    created: str
    candidate: Candidate


def sentence(card: Card, environment: Mapping[str, str], reports: Path) -> str:
    """A sentence, or nothing where nobody tested this very model without a fault."""
    if given := environment.get("RELEASE", "").strip():
        return given[:SHOWN]
    try:
        verdict = msgspec.json.decode((reports / "verdict.json").read_bytes(), type=Verdict)
    except (OSError, msgspec.DecodeError):
        return ""
    tested = verdict.candidate
    if tested.faults or (tested.bundle_sha256, tested.code_sha256) != (card.bundle_sha256, card.code_sha256):
        return ""
    return f"{verdict.outcome}: {verdict.headline} (load test of {verdict.created[:10]})"[:SHOWN]
