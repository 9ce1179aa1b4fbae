"""The section [serving] of pipeline.toml, for an image that holds neither pydantic nor the other sections' tools."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

Positive = Annotated[int, msgspec.Meta(gt=0)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unknown_fields: Literal["reject", "ignore"]
    max_rows: Positive  # in one request
    max_body_bytes: Positive
    body_seconds: Seconds  # that a body may take to arrive
    head_seconds: Seconds  # that the head of a request may take, on a new connection from when it is made
    access_log: Literal["off", "errors", "all"]
    front: Literal["asgi", "wsgi"]
    page: bool  # GET / and /docs
    trusted: list[str] = []  # packages whose types a model of scikit-learn may hold, besides the usual ones


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Limits:
    """The limits in the file at `path`; MLOPS_SERVING__<KEY> in the environment beats it. Raises ValueError."""
    values = _read(path).get("serving", {})
    prefix = "MLOPS_SERVING__"
    found = {key.removeprefix(prefix).lower(): value for key, value in environment.items() if key.startswith(prefix)}
    try:
        values |= {key: msgspec.json.decode(v) if v.startswith("[") else v for key, v in found.items()}
        return msgspec.convert(values, Limits, strict=False)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}, section [serving]: {error}") from None


def p95_ms(path: Path) -> float | None:
    """The limit of p95 that the gate holds the service to, which the metrics should resolve; None where it is off."""
    limit = _read(path).get("perf", {}).get("p95_ms")
    return float(limit) if limit else None


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))
