"""How many connections each worker has, so that they can be shared out.

Who accepts a connection keeps it, and workers accept all that wait at one go: of eight connections to two workers,
eight to one of them was seen, at half the throughput. Here a worker that has more than another waits a moment.
"""

import mmap
from time import monotonic

from gunicorn.workers.base import Worker

SECONDS = 0.002  # that a worker leaves a new connection to one that has fewer
WAITS = 32  # in a second: enough for clients that keep their connections; those of others would all be late
SLOTS = 128
NOBODY = 2**40

# Made in gunicorn's master, which imports this, and so shared by all workers.
_counts = memoryview(mmap.mmap(-1, 8 * SLOTS)).cast("q")
for _slot in range(SLOTS):
    _counts[_slot] = NOBODY


def count(worker: Worker, connections: int) -> None:
    """Tells the other workers how many connections this one has."""
    _counts[worker.age % SLOTS] = connections


def forget(worker: Worker) -> None:
    """In the master: a worker has ended."""
    _counts[worker.age % SLOTS] = NOBODY


def workers() -> int:
    """How many have told theirs."""
    return sum(each != NOBODY for each in _counts)


class Patience:
    """What a worker has left of its waits in this second."""

    def __init__(self) -> None:
        self._left, self._since = WAITS, monotonic()

    def waits(self, connections: int) -> bool:
        """Whether a worker with so many connections leaves the next to another for `SECONDS`."""
        if connections <= min(_counts):
            return False
        now = monotonic()
        if now - self._since > 1:
            self._left, self._since = WAITS, now
        self._left -= 1
        return self._left >= 0
