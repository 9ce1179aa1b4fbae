"""How the load is shared out among processes: pure, for any number of users, workers and pairs."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perf.load.sharing import BUSY, Reached, from_bytes, merged, packed, processes_for, shares, to_bytes, unpacked
from perf.rule.rounds import Samples

COUNTS = st.integers(1, 40)


@given(COUNTS, COUNTS)
def test_every_user_has_one_worker(users: int, workers: int) -> None:
    """None is missing or there twice, no worker is without, and none has two more than another."""
    found = shares(users, workers)
    assert sorted(number for share in found for number in share) == list(range(max(users, workers)))
    sizes = [len(share) for share in found]
    assert len(sizes) == workers
    assert max(sizes) - min(sizes) <= 1 <= min(sizes)


@given(COUNTS, COUNTS, st.integers(0, 500))
def test_every_pair_is_sent_once(users: int, workers: int, pairs: int) -> None:
    """Each user sends every users-th pair from its own number on: together that is all of them, once."""
    stride = max(users, workers)
    sent = [n for share in shares(users, workers) for number in share for n in range(number, pairs, stride)]
    assert sorted(sent) == list(range(pairs))


@given(st.lists(st.permutations(["baseline", "candidate"]), max_size=50))
def test_orders_come_through(orders: list[list[str]]) -> None:
    """One byte a request, and the same orders at the other end."""
    arms = ["baseline", "candidate"]
    assert len(packed(orders, arms)) == 2 * len(orders)
    assert unpacked(packed(orders, arms), arms) == orders


@given(st.integers(0, 200), COUNTS, st.integers(1, 6), st.integers())
def test_what_workers_sent_is_merged_by_pair(pairs: int, users: int, workers: int, seed: int) -> None:
    """Through bytes and back, in whatever order the answers came: as one process would have it, bit for bit."""
    dice, stride = random.Random(seed), max(users, workers)
    numbers = np.arange(pairs)
    whole = Samples(numbers, numbers / 7, numbers / 6, numbers * 1.5, numbers % 3 > 0)
    parts = []
    for share in shares(users, workers):
        mine = [n for n in range(pairs) if n % stride in share]
        dice.shuffle(mine)
        part = Samples(*(column[np.array(mine, dtype=np.int64)] for column in whole))
        parts.append({"candidate": from_bytes(to_bytes(part))})
    found = merged(parts)["candidate"]
    for column, expected in zip(found, whole, strict=True):
        assert column.dtype == expected.dtype
        assert np.array_equal(column, expected)


@given(st.floats(1, 1e5), st.floats(0, 1.1), st.floats(1, 1e6), st.integers(1, 64))
def test_more_processes_only_where_one_is_the_limit(rate: float, cpu: float, wanted: float, cpus: int) -> None:
    """Never more than there are CPUs, and so many that none is busier than it may be, where there are enough."""
    found = processes_for(Reached(rate, cpu), wanted, cpus)
    assert 1 <= found <= cpus
    needed = cpu / rate * wanted
    if cpu <= BUSY or needed <= BUSY:
        assert found == 1
    else:
        assert found == cpus or BUSY * (found - 1) < needed <= BUSY * found * (1 + 1e-9)


@pytest.mark.parametrize(
    ("rate", "cpu", "wanted", "cpus", "found"),
    [
        (3000.0, 0.98, 400.0, 8, 1),
        (3000.0, 0.98, 6000.0, 8, 3),
        (3000.0, 0.98, 6000.0, 2, 2),
        (300.0, 0.1, 6000.0, 8, 1),
    ],
)
def test_how_many_processes(rate: float, cpu: float, wanted: float, cpus: int, found: int) -> None:
    """One for what pipeline.toml asks for, three for fifteen times as much, and one where the service is slow."""
    assert processes_for(Reached(rate, cpu), wanted, cpus) == found
