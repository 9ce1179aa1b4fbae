"""Faults for trying the gate, from MLOPS_FAULT_* in the environment. Never set in production.

| variable | what each prediction, or the start, then does |
|---|---|
| MLOPS_FAULT_BURN_MS=2 | burns 2 ms of CPU |
| MLOPS_FAULT_TAIL_MS=5 | 8 of 100 predictions burn 5 ms of CPU; MLOPS_FAULT_TAIL_SHARE=0.08 |
| MLOPS_FAULT_LOCK_MS=1 | sleeps 1 ms while it holds a lock that all threads of a worker share |
| MLOPS_FAULT_LEAK_KB=50 | keeps 50 kB for ever |
| MLOPS_FAULT_ERROR_SHARE=0.01 | one of 100 predictions is answered with a 500 |
| MLOPS_FAULT_START_SECONDS=3 | each worker needs 3 s more to start |
"""

import os
import random
import threading
import time
from collections.abc import Mapping

PREFIX = "MLOPS_FAULT_"
NAMES = ("BURN_MS", "TAIL_MS", "TAIL_SHARE", "LOCK_MS", "LEAK_KB", "ERROR_SHARE", "START_SECONDS")


def read(environment: Mapping[str, str]) -> dict[str, float]:
    """The faults that are set, by name without the prefix. Raises ValueError where one is unknown or no number."""
    values = {}
    for key, value in environment.items():
        name = key.removeprefix(PREFIX)
        if name == key or not value:
            continue
        if name not in NAMES:
            raise ValueError(f"{key} is no fault; known: {', '.join(PREFIX + name for name in NAMES)}")
        try:
            values[name] = float(value)
        except ValueError:
            raise ValueError(f"{key}={value}: not a number") from None
    return values


class Faults:
    """What goes wrong on purpose. Falsy where nothing does."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Raises ValueError as `read` does."""
        self.given = read(environment)
        self._dice, self._shared, self._kept = random.Random(), threading.Lock(), list[bytes]()  # noqa: S311
        time.sleep(self.given.get("START_SECONDS", 0))

    def __bool__(self) -> bool:
        return bool(self.given)

    def __str__(self) -> str:
        return ", ".join(f"{PREFIX}{name}={value:g}" for name, value in self.given.items())

    def strike(self) -> bool:
        """Does what one prediction has to suffer; False where it is to be answered with an error."""
        fault = self.given.get
        if lock := fault("LOCK_MS"):
            with self._shared:
                time.sleep(lock / 1000)
        if leak := fault("LEAK_KB"):
            self._kept.append(os.urandom(int(1000 * leak)))
        tail = fault("TAIL_MS", 0) if self._dice.random() < fault("TAIL_SHARE", 0.08) else 0
        burn((fault("BURN_MS", 0) + tail) / 1000)
        return self._dice.random() >= fault("ERROR_SHARE", 0)


def burn(seconds: float) -> None:
    """Keeps this thread's CPU busy for `seconds` of its own time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
