"""Requests that wait for a slow model are answered together.

A call of scikit-learn costs milliseconds, for one row as for a hundred. So whoever comes while it is busy is answered
by the next call, with all others who came; nobody waits for others to come.
"""

import contextlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import islice
from threading import Lock

from pipeline.columns import Record
from serving.predictor import Predictor, Scores

Job = tuple[Sequence[Record], Future[Scores]]  # one request's rows, and what comes of them


def together(predict: Predictor, max_rows: int) -> Predictor:
    """A predictor for several threads, which calls `predict` in one at a time, with `max_rows` rows at most.

    Where one request's rows have no answer, each of those who were asked together is asked alone: an error is of one's
    own rows, by their own numbers.
    """
    waiting: deque[Job] = deque()
    busy = Lock()

    def answer(records: Sequence[Record]) -> Scores:
        future: Future[Scores] = Future()
        waiting.append((records, future))
        with busy:
            while not future.done():  # else it was answered together with another's
                _answer_all(predict, _next(waiting, max_rows))
        return future.result()

    return answer


def _next(waiting: deque[Job], max_rows: int) -> list[Job]:
    """Those who came first, as many as fit, and at least one."""
    group: list[Job] = []
    rows = 0
    while waiting and (not group or rows + len(waiting[0][0]) <= max_rows):
        group.append(waiting.popleft())
        rows += len(group[-1][0])
    return group


def _answer_all(predict: Predictor, group: list[Job]) -> None:
    """Each of them is done afterwards, whatever happens: their threads wait for it."""
    if len(group) > 1:
        # Copies: a `derive` that changes what it is given would find it changed when each is asked alone.
        with contextlib.suppress(BaseException):
            scores = iter(predict([dict(record) for records, _ in group for record in records]))
            for records, future in group:
                future.set_result(list(islice(scores, len(records))))
            return
    for records, future in group:
        try:
            future.set_result(predict(records))
        except BaseException as error:
            future.set_exception(error)
