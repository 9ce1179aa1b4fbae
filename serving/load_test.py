"""What the load test said of this model, for the page: RELEASE in the environment, else the verdict in reports/."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.bundle import Card

SHOWN = 500


class Verdict(msgspec.Struct):
    """What the page needs of verdict.json."""

    outcome: str
    headline: str
    created: str
    candidate: dict[str, Any]  # what was tested


def sentence(card: Card, environment: Mapping[str, str], reports: Path) -> str:
    """A sentence, or nothing where nobody tested this very model without a fault."""
    if given := environment.get("RELEASE", "").strip():
        return given[:SHOWN]
    try:
        verdict = msgspec.json.decode((reports / "verdict.json").read_bytes(), type=Verdict)
    except (OSError, msgspec.DecodeError):
        return ""
    tested = verdict.candidate
    same = all(tested.get(key) == getattr(card, key) for key in ("bundle_sha256", "code_sha256"))
    if tested.get("faults") or not same:
        return ""
    return f"{verdict.outcome}: {verdict.headline} (load test of {verdict.created[:10]})"[:SHOWN]
