"""The service's share of pipeline.toml."""

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.schema import Serving as Limits
from pipeline.settings import load_settings

__all__ = ["Limits", "load", "p95_ms"]

DRAIN_BYTES = 64_000_000  # read of a body that is refused, so that its client still gets the answer


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Limits:
    """The limits in the file at `path`; MLOPS_SERVING__<KEY> in the environment beats it. Raises ValueError."""
    return load_settings(path.parent, environment).serving


def p95_ms(path: Path) -> float | None:
    """The limit of p95 that the gate holds the service to, which the metrics should resolve; None where it is off."""
    return load_settings(path.parent).perf.p95_ms
