"""Requests that wait for a slow model are answered together.

A call of scikit-learn costs milliseconds, for one row as for a hundred. So whoever comes while it is busy is answered
by the next call, with all others who came; nobody waits for others to come.
"""

from collections import deque
from collections.abc import Sequence
from threading import Lock

from pipeline.columns import Record
from serving.predictor import Predictor, Scores


class _Job:
    """One request's rows, and what came of them."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.scores: Scores = []
        self.error: BaseException | None = None
        self.done = False


def together(predict: Predictor, max_rows: int) -> Predictor:
    """A predictor for several threads, which calls `predict` in one at a time, with `max_rows` rows at most.

    Where one request's rows have no answer, each of those who were asked together is asked alone: an error is of one's
    own rows, by their own numbers.
    """
    waiting: deque[_Job] = deque()
    busy = Lock()

    def answer(records: Sequence[Record]) -> Scores:
        job = _Job(records)
        waiting.append(job)
        with busy:
            while not job.done:  # else it was answered together with another's
                _answer_all(predict, _next(waiting, max_rows))
        if job.error is not None:
            raise job.error
        return job.scores

    return answer


def _next(waiting: deque[_Job], max_rows: int) -> list[_Job]:
    """Those who came first, as many as fit, and at least one."""
    group: list[_Job] = []
    rows = 0
    while waiting and (not group or rows + len(waiting[0].records) <= max_rows):
        group.append(waiting.popleft())
        rows += len(group[-1].records)
    return group


def _answer_all(predict: Predictor, group: list[_Job]) -> None:
    """Each of them is done afterwards, whatever happens: their threads wait for it."""
    if len(group) > 1:
        try:
            # Copies: a `derive` that changes what it is given would find it changed when each is asked alone.
            scores = predict([dict(record) for job in group for record in job.records])
        except BaseException:
            scores = []
        start = 0
        for job in group if scores else ():
            job.scores, job.done = scores[start : start + len(job.records)], True
            start += len(job.records)
    for job in group:
        if not job.done:
            try:
                job.scores = predict(job.records)
            except BaseException as error:
                job.error = error
            job.done = True
