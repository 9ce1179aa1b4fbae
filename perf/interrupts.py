"""SIGINT and SIGTERM: they end the measurement, but wait while something is started, ended or written."""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

ECHO = 1.0  # seconds in which a second signal is the first one's echo: `make` passes on what the terminal sent to both


@dataclass
class Interrupt:
    """What asked for an end, if anything did."""

    name: str = ""  # of the signal
    ending: bool = False  # the arms are being stopped, which no further signal may disturb


@dataclass
class _State:
    holds: int = 0
    waiting: str = ""  # the signal that came meanwhile


_state = _State()


@contextlib.contextmanager
def no_interrupt() -> Iterator[None]:
    """Puts an interrupt off until the end of the block: what it starts would be lost half-way, and left running."""
    _state.holds += 1
    try:
        yield
    finally:
        _state.holds -= 1
        if not _state.holds and _state.waiting:
            name, _state.waiting = _state.waiting, ""
            raise KeyboardInterrupt(name)


def interruptible() -> Interrupt:
    """Lets SIGINT and SIGTERM end the measurement; what it returns is filled once one has come.

    Python drops an exception that is raised while a destructor runs, so the request is noted as well, for `measure` to
    see between rounds. Once the cleaning up has begun nothing is raised, and it is not disturbed.
    """
    interrupt, last = Interrupt(), -math.inf

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < ECHO:
            return
        interrupt.name = signal.Signals(number).name
        if interrupt.ending:
            return
        last = now
        if not _state.holds:
            raise KeyboardInterrupt(interrupt.name)
        _state.waiting = interrupt.name

    def dropped(what: "sys.UnraisableHookArgs") -> None:
        nonlocal last
        last = -math.inf
        if what.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(what)

    sys.unraisablehook = dropped
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, handle)
    return interrupt
