"""A noisy neighbour: burns CPU in bursts, churns the page cache, and lets storms of low-priority processes loose.

    python -m benchmarks.gate.disturb [--seconds 60]

What it does next, on which CPUs and for how long is drawn anew each time, with pauses between. All of it ends with it.
"""

import argparse
import functools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from perf.arms.processes import end_with

BLOCK = bytes(4_000_000)
FILE_MB = 200


class Disturbance:
    """The neighbour as a process of its own, while the `with` block runs, and no longer than this process."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.gate.disturb", "--seconds", "1e9"]
        bound = functools.partial(end_with, os.getpid())
        self._process = subprocess.Popen(command, start_new_session=True, preexec_fn=bound)  # noqa: PLW1509  one thread
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises ValueError where it has ended by itself."""
        if self._process.poll() is not None:
            raise ValueError(f"the noisy neighbour ended with {self._process.returncode}")

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()


def burst(seconds: float, _: Path) -> None:
    """One process that burns CPU."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def thrash(seconds: float, scratch: Path) -> None:
    """Writes a large file and reads it, again and again."""
    until, file = time.monotonic() + seconds, scratch / "thrash"
    while time.monotonic() < until:
        with file.open("wb") as out:
            for _ in range(FILE_MB // 4):
                out.write(BLOCK)
        with file.open("rb") as back:
            while back.read(len(BLOCK)):
                pass
    file.unlink(missing_ok=True)


def storm(seconds: float, scratch: Path) -> None:
    """Eight processes that burn CPU and give way to anybody else, as backups and updates do."""
    os.nice(19)
    children = [_child(burst, seconds, scratch) for _ in range(8)]
    for child in children:
        os.waitpid(child, 0)


KINDS = (burst, thrash, storm)


def _child(what: Callable[[float, Path], None], seconds: float, scratch: Path) -> int:
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with(parent)
        what(seconds, scratch)
        os._exit(0)
    return child


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate.disturb", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    until = time.monotonic() + parser.parse_args().seconds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    dice, everywhere = random.Random(), sorted(os.sched_getaffinity(0))  # noqa: S311
    with tempfile.TemporaryDirectory() as scratch:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, dice.expovariate(1 / 2.0)))
            os.sched_setaffinity(0, dice.choice([everywhere, [dice.choice(everywhere)]]))
            os.waitpid(_child(dice.choice(KINDS), min(dice.expovariate(1 / 1.5), 10.0), Path(scratch)), 0)


if __name__ == "__main__":
    main()
