"""Faults for trying the gate: MLOPS_FAULT_BURN_MS=2 makes each prediction burn 2 ms of CPU. Never set in production."""

import os
import time
from collections.abc import Mapping


def burn_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """How long each prediction is to burn CPU, in seconds; 0 where the variable is not set. Raises ValueError."""
    return float(environment.get("MLOPS_FAULT_BURN_MS") or 0) / 1000


def burn(seconds: float) -> None:
    """Keeps this thread's CPU busy for `seconds` of its own time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
