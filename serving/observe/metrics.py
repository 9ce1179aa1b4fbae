"""Prometheus metrics that add up over the workers, and over those that are gone.

Each worker counts in a file of its own, float64 after float64 in memory that it shares with it, and whichever worker is
asked for /metrics adds up the files of all. A request's counts take 2 us so; prometheus_client's own counters, in its
mode for many processes, took 7. What is shown, it shows.
"""

import mmap
import os
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.bundle import Bundle
from serving.predictor import Scores
from serving.replies import Reply

FOLDER = "METRICS_FOLDER"  # gunicorn.conf.py makes it
STATUSES = (200, 400, 404, 405, 408, 413, 415, 422, 500, 503)
SECONDS = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
UNKNOWN = "unknown"  # the route of what no route takes


class Metrics:
    """What one worker counts."""

    def __init__(self, bundle: Bundle, routes: Sequence[str], limit_ms: float | None, deciles: Sequence[float]) -> None:
        """routes: the paths that are answered; limit_ms: of p95; deciles: of predictions, for a regression."""
        self.bundle, self.routes = bundle, [*dict.fromkeys(routes), UNKNOWN]
        near = (limit_ms / 1000 * share for share in (0.5, 0.8, 1.0, 1.25)) if limit_ms else ()
        self.seconds = sorted({*SECONDS, *(round(bound, 7) for bound in near)})
        self.classes, self.deciles = bundle.contract.classes, sorted(set(deciles))
        self._layout()
        folder = os.environ.get(FOLDER)
        self._folder = Path(folder) if folder else None
        self._values = _counts(self._folder / f"{os.getpid()}" if self._folder else None, self._size)
        self._lock = threading.Lock()

    def _layout(self) -> None:
        """Where in the file what is."""
        status, timing = len(STATUSES) + 1, len(self.seconds) + 2
        self._in_flight = 0  # which `bury` knows
        self._rows = 1  # histogram: buckets, one beyond them, sum
        self._predicted = self._rows + len(ROWS) + 2
        first = self._predicted + (len(self.classes) or len(self.deciles) + 2)
        self._status = {route: first + n * status for n, route in enumerate(self.routes)}
        first += len(self.routes) * status
        self._timing = {route: first + n * timing for n, route in enumerate(self.routes)}
        self._size = first + len(self.routes) * timing
        self._column = {code: n for n, code in enumerate(STATUSES)}

    def begin(self) -> None:
        with self._lock:
            self._values[self._in_flight] += 1

    def end(self, route: str, status: int, seconds: float, rows: int) -> None:
        """A request has been answered."""
        values = self._values
        if route not in self._status:
            route = UNKNOWN
        timing = self._timing[route]
        with self._lock:
            values[self._in_flight] -= 1
            values[self._status[route] + self._column.get(status, len(STATUSES))] += 1
            values[timing + bisect_left(self.seconds, seconds)] += 1
            values[timing + len(self.seconds) + 1] += seconds
            if rows:
                values[self._rows + bisect_left(ROWS, rows)] += 1
                values[self._rows + len(ROWS) + 1] += rows

    def predicted(self, scores: Scores) -> None:
        """The model has answered."""
        values, first = self._values, self._predicted
        with self._lock:
            if self.classes:
                for row in scores:
                    values[first + row.index(max(row))] += 1
                return
            for (value,) in scores:
                values[first + bisect_left(self.deciles, value)] += 1
                values[first + len(self.deciles) + 1] += value

    def exposition(self) -> Reply:
        """All workers' counts, as Prometheus reads them."""
        import prometheus_client  # noqa: PLC0415  only a scrape needs it
        from prometheus_client import CollectorRegistry  # noqa: PLC0415

        registry = CollectorRegistry()
        registry.register(self)
        return Reply(200, prometheus_client.CONTENT_TYPE_LATEST, prometheus_client.generate_latest(registry))

    def collect(self) -> Iterator[Any]:
        """For a registry of prometheus_client."""
        from prometheus_client import metrics_core as core  # noqa: PLC0415

        total = self._total()
        requests = core.CounterMetricFamily("http_requests", "Requests", labels=["route", "status"])
        seconds = core.HistogramMetricFamily("http_request_seconds", "Time to answer", labels=["route"])
        for route in self.routes:
            counts = total[self._status[route] : self._status[route] + len(STATUSES) + 1]
            for name, count in zip((*map(str, STATUSES), "other"), counts, strict=True):
                if count:
                    requests.add_metric([route, name], count)
            if any(counts):
                seconds.add_metric([route], *_histogram(total, self._timing[route], self.seconds))
        yield requests
        yield seconds
        yield core.GaugeMetricFamily("http_requests_in_flight", "Requests under way", total[self._in_flight])
        rows = core.HistogramMetricFamily("predicted_rows", "Rows predicted, by request")
        rows.add_metric([], *_histogram(total, self._rows, ROWS))
        yield rows
        if self.classes:
            labels = core.CounterMetricFamily("predictions", "Rows predicted, by the likeliest class", labels=["label"])
            for n, name in enumerate(self.classes):
                labels.add_metric([name], total[self._predicted + n])
            yield labels
        else:
            about = "Values predicted; the buckets are deciles of what the recorded requests predict"
            predicted = core.HistogramMetricFamily("predicted_value", about)
            predicted.add_metric([], *_histogram(total, self._predicted, self.deciles))
            yield predicted
        info = core.GaugeMetricFamily("model_info", "The model that answers", labels=["name", "version", "runtime"])
        info.add_metric([self.bundle.card.name, self.bundle.card.version, self.bundle.card.runtime], 1)
        yield info

    def _total(self) -> list[float]:
        if self._folder is None:
            return list(self._values)
        total = [0.0] * self._size
        for path in self._folder.iterdir():
            total = [a + b for a, b in zip(total, _counts(path, self._size), strict=True)]
        return total


def bury(folder: Path, pid: int) -> None:
    """What a worker that ended had under way is over; its other counts stay in the sum."""
    path = folder / str(pid)
    if path.is_file():
        _counts(path, path.stat().st_size // 8)[0] = 0.0


def _counts(path: Path | None, size: int) -> "memoryview[float]":
    """Float64 numbers that are shared with a file, which is made where it is not there."""
    if path is None:
        return memoryview(mmap.mmap(-1, size * 8)).cast("d")
    with path.open("a+b") as file:
        file.truncate(size * 8)
        return memoryview(mmap.mmap(file.fileno(), size * 8)).cast("d")


def _histogram(total: Sequence[float], first: int, bounds: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    """Cumulative buckets and the sum."""
    buckets, count = [], 0.0
    for n, bound in enumerate([*map(float, bounds), float("inf")]):
        count += total[first + n]
        buckets.append(("+Inf" if bound == float("inf") else repr(bound), count))
    return buckets, total[first + len(bounds) + 1]
