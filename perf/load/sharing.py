"""How the load is shared out among several processes, and put together again. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from perf.rule.rounds import Samples

BUSY = 0.7  # of a CPU: a load generator above it is late now and then


class Reached(NamedTuple):
    """What a closed loop reached."""

    rate: float  # requests a second
    cpu: float  # of one CPU, by the process that used most


def processes_for(alone: Reached, wanted: float, cpus: int) -> int:
    """How many processes, of at most one for each of `cpus`, send `wanted` requests a second without being BUSY.

    `alone`: what one process reached. Where it was not BUSY at that, the arm was the limit, and one is enough.
    """
    if alone.cpu <= BUSY or alone.rate <= 0:
        return 1
    return max(1, min(cpus, math.ceil(alone.cpu / alone.rate * wanted / BUSY)))


def shares(users: int, workers: int) -> list[list[int]]:
    """The numbers of each worker's users: one at least for each, and about as many for each."""
    return [list(range(first, max(users, workers), workers)) for first in range(workers)]


def packed(orders: Sequence[Sequence[str]], arms: Sequence[str]) -> bytes:
    """Orders of arms as one byte for each request."""
    return bytes(arms.index(arm) for order in orders for arm in order)


def unpacked(data: bytes, arms: Sequence[str]) -> list[list[str]]:
    """What `packed` packed."""
    return [[arms[n] for n in data[at : at + len(arms)]] for at in range(0, len(data), len(arms))]


def to_bytes(samples: Samples) -> list[bytes]:
    """The columns of an arm's requests, 33 bytes a request."""
    return [column.tobytes() for column in samples]


def from_bytes(columns: Sequence[bytes]) -> Samples:
    """What `to_bytes` wrote."""
    pair, *floats, ok = columns
    due, start, latency = (np.frombuffer(column, np.float64) for column in floats)
    return Samples(np.frombuffer(pair, np.int64), due, start, latency, np.frombuffer(ok, np.bool_))


def merged(parts: Sequence[Mapping[str, Samples]]) -> dict[str, Samples]:
    """Each arm's requests of all workers, sorted by pair."""
    found = {}
    for arm in parts[0]:
        columns = [np.concatenate(same) for same in zip(*(part[arm] for part in parts), strict=True)]
        order = np.argsort(columns[0], kind="stable")
        found[arm] = Samples(*(column[order] for column in columns))
    return found
