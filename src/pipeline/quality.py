"""What the quality gate said of a model, for those who report it: quality.json."""

from pathlib import Path
from typing import Annotated

import msgspec


class Quality(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the model may go on, and why, in a sentence without its full stop."""

    passed: bool
    sentence: Annotated[str, msgspec.Meta(max_length=500)]


def write(path: Path, quality: Quality) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(quality) + b"\n")


def decode(data: bytes) -> Quality:
    """Raises msgspec.DecodeError where it is no quality.json."""
    return msgspec.json.decode(data, type=Quality)
