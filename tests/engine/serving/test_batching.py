"""serving.predictor.together: who waits for a slow model is answered together, and gets the answer to the own rows."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pipeline.columns import Record
from serving.predictor import Predictor, Scores, together
from serving.replies import Problem


class Slow:
    """A model whose first call lasts until all others have come; it notes how many rows each call has."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.started, self.all_there = threading.Event(), threading.Event()

    def __call__(self, rows: Sequence[Record]) -> Scores:
        self.calls.append(len(rows))
        self.started.set()
        self.all_there.wait(10)
        for number, row in enumerate(rows):
            if row["x"] == "bad":
                raise Problem(422, "Unprocessable Content", f"row {number}: bad")
            if row["x"] == "exit":
                raise SystemExit(1)
        return [[float(str(row["x"]))] for row in rows]


def asked(slow: Slow, predict: Predictor, requests: Sequence[list[str | float]]) -> list[Future[Scores]]:
    """The first one alone, and all others while it is being answered."""
    with ThreadPoolExecutor(len(requests)) as pool:

        def ask(request: list[str | float]) -> Future[Scores]:
            return pool.submit(predict, [{"x": value} for value in request])

        futures = [ask(requests[0])]
        assert slow.started.wait(10)
        futures += [ask(request) for request in requests[1:]]
        time.sleep(0.3)
        slow.all_there.set()
    return futures


def test_those_who_wait_are_answered_by_one_call() -> None:
    """Each with the own rows, in the own order."""
    slow = Slow()
    requests: list[list[str | float]] = [[float(n + 10 * k) for k in range(1 + n % 3)] for n in range(12)]
    futures = asked(slow, together(slow, 1000), requests)
    assert [future.result() for future in futures] == [[[value] for value in request] for request in requests]
    assert slow.calls == [1, sum(map(len, requests[1:]))]


def test_who_is_asked_again_is_asked_the_same() -> None:
    """A `derive` that changes the record it is given finds the record as it came."""
    slow = Slow()

    def changing(rows: Sequence[Record]) -> Scores:
        found = slow(rows)
        for row in rows:
            row["x"] = -1.0  # type: ignore[index]
        return found

    def failing_late(rows: Sequence[Record]) -> Scores:
        found = changing([row for row in rows if row["x"] != "bad"])
        return found if len(found) == len(rows) else slow(rows)

    futures = asked(slow, together(failing_late, 1000), [[0.0], [1.0], ["bad"], [2.0]])
    assert [futures[n].result() for n in (0, 1, 3)] == [[[0.0]], [[1.0]], [[2.0]]]
    with pytest.raises(Problem):
        futures[2].result()


def test_a_call_has_a_limited_number_of_rows() -> None:
    """A request is never cut, and one above the limit, which the decoder would have refused, is asked alone."""
    slow = Slow()
    requests: list[list[str | float]] = [[1.0], *([2.0] * 4 for _ in range(5)), [3.0] * 11]
    futures = asked(slow, together(slow, 10), requests)
    assert [len(future.result()) for future in futures] == [1, 4, 4, 4, 4, 4, 11]
    assert max(calls for calls in slow.calls if calls != 11) <= 10
    assert sum(slow.calls) == 32


@pytest.mark.parametrize(("wrong", "error"), [("bad", Problem), ("exit", SystemExit)])
def test_an_error_is_of_the_own_rows(wrong: str, error: type[BaseException]) -> None:
    """With the number that the row has in its own request; all others have their answers."""
    slow = Slow()
    requests: list[list[str | float]] = [[0.0], [1.0, 2.0], [3.0, wrong], [4.0], [wrong], [5.0]]
    futures = asked(slow, together(slow, 1000), requests)
    for request, future in zip(requests, futures, strict=True):
        if wrong in request:
            with pytest.raises(error) as raised:
                future.result()
            if isinstance(raised.value, Problem):
                assert raised.value.detail == f"row {request.index(wrong)}: bad"
        else:
            assert future.result() == [[value] for value in request]
