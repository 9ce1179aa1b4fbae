"""Faults for trying the gate: each does what its name says, and a wrong one is named."""

import time

import pytest

from serving.faults import Faults, read


def test_without_a_variable_nothing_is_wrong() -> None:
    """The service asks once, and then pays nothing."""
    assert not Faults({"PATH": "/bin", "MLOPS_PERF__P95_MS": "1", "MLOPS_FAULT_BURN_MS": ""})


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [("MLOPS_FAULT_BRUN_MS", "1", "MLOPS_FAULT_BURN_MS"), ("MLOPS_FAULT_LOCK_MS", "much", "not a number")],
)
def test_a_wrong_fault_is_named(variable: str, value: str, named: str) -> None:
    """A typo must not make a gate look as if it had missed something."""
    with pytest.raises(ValueError, match=f"{variable}.*{named}"):
        read({variable: value})


def test_cpu_and_locks_take_their_time() -> None:
    """Burning takes CPU time, a lock takes time without it."""
    cpu, clock = time.thread_time(), time.perf_counter()
    assert Faults({"MLOPS_FAULT_BURN_MS": "20"}).strike()
    assert time.thread_time() - cpu >= 0.02
    cpu, clock = time.thread_time(), time.perf_counter()
    assert Faults({"MLOPS_FAULT_LOCK_MS": "20"}).strike()
    assert time.perf_counter() - clock >= 0.02
    assert time.thread_time() - cpu < 0.015


def test_shares_are_kept() -> None:
    """About as many errors as asked for."""
    erring = Faults({"MLOPS_FAULT_ERROR_SHARE": "0.25"})
    assert 150 < sum(not erring.strike() for _ in range(1000)) < 350
    slow = Faults({"MLOPS_FAULT_TAIL_MS": "0.5", "MLOPS_FAULT_TAIL_SHARE": "0.25"})
    cpu = time.thread_time()
    assert all(slow.strike() for _ in range(400))
    assert 0.02 < time.thread_time() - cpu < 0.2


def test_start_and_leak() -> None:
    """A worker that starts slowly, and one that never lets go of memory."""
    clock = time.perf_counter()
    faults = Faults({"MLOPS_FAULT_START_SECONDS": "0.05", "MLOPS_FAULT_LEAK_KB": "2"})
    assert time.perf_counter() - clock >= 0.05
    for _ in range(10):
        faults.strike()
    assert sum(len(kept) for kept in faults._kept) == 20_000
    assert str(faults) == "MLOPS_FAULT_START_SECONDS=0.05, MLOPS_FAULT_LEAK_KB=2"
