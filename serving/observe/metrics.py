"""Prometheus metrics that add up over the workers, and over those that are gone.

Each worker counts in a file of its own, in memory that it shares with it, and whichever worker is asked for /metrics
adds up the files of all. A request's counts take 2 us so; prometheus_client's own counters, in its mode for many
processes, took 7. What is shown, it shows.
"""

import mmap
import os
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.bundle import Bundle
from pipeline.schema import Perf
from serving.predictor import Array, Scores
from serving.replies import Reply

FOLDER = "METRICS_FOLDER"  # gunicorn.conf.py makes it
STATUSES = (200, 400, 404, 405, 408, 413, 415, 422, 500, 503)
SECONDS = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
UNKNOWN = "unknown"  # the route of what no route takes
COLUMN = {code: n for n, code in enumerate(STATUSES)}  # after them one for all others


class Metrics:
    """What one worker counts."""

    def __init__(self, bundle: Bundle, routes: Sequence[str], limits: Perf, deciles: Sequence[float]) -> None:
        """routes: the paths that are answered; limits: of the load test; deciles: of predictions, for a regression."""
        self.bundle, self.routes = bundle, [*dict.fromkeys(routes), UNKNOWN]
        p95 = limits.p95_ms / 1000 if limits.p95_ms else None
        self.limits = {"p95_seconds": p95, "error_share": limits.max_error_rate}
        near = (p95 * share for share in (0.5, 0.8, 1.0, 1.25)) if p95 else ()
        self.seconds = sorted({*SECONDS, *(round(bound, 7) for bound in near)})
        self.classes, self.deciles = bundle.contract.classes, sorted(set(deciles))
        number = len(self.routes)
        self._layout = np.dtype(
            [
                ("in_flight", float, (1,)),  # the first, as `bury` knows
                ("rows", float, len(ROWS) + 2),  # a histogram: buckets, one beyond them, and the sum
                ("predicted", float, len(self.classes) or len(self.deciles) + 2),
                ("statuses", float, (number, len(STATUSES) + 1)),
                ("seconds", float, (number, len(self.seconds) + 2)),
            ]
        )
        self._folder = Path(folder) if (folder := os.environ.get(FOLDER)) else None
        self._values = _shared(self._folder / f"{os.getpid()}" if self._folder else None, self._layout)
        # Views of their memory: numbers of an array take several times as long to change.
        own: Any = self._values[0]
        self._in_flight, self._rows, self._predicted = (own[name].data for name in ("in_flight", "rows", "predicted"))
        rows_of_routes = zip(self.routes, own["statuses"], own["seconds"], strict=True)
        self._of = {route: (statuses.data, seconds.data) for route, statuses, seconds in rows_of_routes}
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self._in_flight[0] += 1

    def end(self, route: str, status: int, seconds: float, rows: int) -> None:
        """A request has been answered."""
        statuses, timing = self._of.get(route) or self._of[UNKNOWN]
        with self._lock:
            self._in_flight[0] -= 1
            statuses[COLUMN.get(status, -1)] += 1
            timing[bisect_left(self.seconds, seconds)] += 1
            timing[-1] += seconds
            if rows:
                self._rows[bisect_left(ROWS, rows)] += 1
                self._rows[-1] += rows

    def predicted(self, scores: Scores) -> None:
        """The model has answered."""
        values = self._predicted
        with self._lock:
            if self.classes:
                for row in scores:
                    values[row.index(max(row))] += 1
                return
            for (value,) in scores:
                values[bisect_left(self.deciles, value)] += 1
                values[-1] += value

    def exposition(self) -> Reply:
        """All workers' counts, as Prometheus reads them."""
        import prometheus_client  # noqa: PLC0415  only a scrape needs it

        return Reply(200, prometheus_client.CONTENT_TYPE_LATEST, prometheus_client.generate_latest(self))

    def collect(self) -> Iterator[Any]:
        """What prometheus_client asks a registry for."""
        from prometheus_client import metrics_core as core  # noqa: PLC0415

        total = self._total()
        requests = core.CounterMetricFamily("http_requests", "Requests", labels=["route", "status"])
        seconds = core.HistogramMetricFamily("http_request_seconds", "Time to answer", labels=["route"])
        for route, counts, timing in zip(self.routes, total["statuses"], total["seconds"], strict=True):
            for name, count in zip((*map(str, STATUSES), "other"), counts, strict=True):
                if count:
                    requests.add_metric([route, name], count)
            if counts.any():
                seconds.add_metric([route], *_histogram(timing, self.seconds))
        yield requests
        yield seconds
        yield core.GaugeMetricFamily("http_requests_in_flight", "Requests under way", total["in_flight"][0])
        rows = _histogram(total["rows"], ROWS)
        yield core.HistogramMetricFamily("predicted_rows", "Rows predicted, by request", *rows)
        if self.classes:
            labels = core.CounterMetricFamily("predictions", "Rows predicted, by the likeliest class", labels=["label"])
            for name, count in zip(self.classes, total["predicted"], strict=True):
                labels.add_metric([name], count)
            yield labels
        else:
            about = "Values predicted; the buckets are deciles of what the recorded requests predict"
            predicted = _histogram(total["predicted"], self.deciles)
            yield core.HistogramMetricFamily("predicted_value", about, *predicted)
        limits = core.GaugeMetricFamily("model_limit", "Limits of the load test, for alerts", labels=["limit"])
        for name, limit in self.limits.items():
            if limit is not None:
                limits.add_metric([name], limit)
        yield limits
        info = core.GaugeMetricFamily("model_info", "The model that answers", labels=["name", "version", "runtime"])
        info.add_metric([self.bundle.card.name, self.bundle.card.version, self.bundle.card.runtime], 1)
        yield info

    def _total(self) -> Any:
        workers = [_shared(path, self._layout) for path in self._folder.iterdir()] if self._folder else [self._values]
        return np.sum([each.view(float) for each in workers], axis=0).view(self._layout)[0]


def bury(folder: Path, pid: int) -> None:
    """What a worker that ended had under way is over; its other counts stay in the sum."""
    path = folder / str(pid)
    if path.is_file():
        with path.open("r+b") as file:
            file.write(bytes(8))


def _shared(path: Path | None, layout: np.dtype[Any]) -> Array:
    """Counts, an array of one, that are shared with a file, which is made where it is not there."""
    if path is None:
        return np.zeros(1, layout)
    with path.open("a+b") as file:
        file.truncate(layout.itemsize)
        return np.frombuffer(mmap.mmap(file.fileno(), layout.itemsize), layout)


def _histogram(values: Array, bounds: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    """Cumulative buckets and the sum."""
    names = [*(repr(float(bound)) for bound in bounds), "+Inf"]
    return list(zip(names, np.cumsum(values[:-1]), strict=True)), values[-1]
