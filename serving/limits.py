"""The section [serving] of pipeline.toml, for an image that holds neither pydantic nor the other sections' tools."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(gt=0)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unknown_fields: Literal["reject", "ignore"]
    max_rows: Positive  # in one request
    max_body_bytes: Positive


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Limits:
    """The limits in the file at `path`; MLOPS_SERVING__<KEY> in the environment beats it. Raises ValueError."""
    values = tomllib.loads(path.read_text(encoding="utf-8")).get("serving", {})
    prefix = "MLOPS_SERVING__"
    values |= {key.removeprefix(prefix).lower(): v for key, v in environment.items() if key.startswith(prefix)}
    try:
        return msgspec.convert(values, Limits, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}, section [serving]: {error}") from None
