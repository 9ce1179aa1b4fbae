"""Prometheus metrics that add up over the workers."""

import os
import time

import prometheus_client
from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess

from pipeline.bundle import Card

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5)


def init_app(app: Flask, card: Card) -> None:
    """Counts and times every request of `app`, and adds GET /metrics."""
    own = CollectorRegistry()
    requests = Counter("http_requests", "Requests", ["route", "status"], registry=own)
    seconds = Histogram("http_request_seconds", "Time to answer", ["route"], buckets=BUCKETS, registry=own)
    rows = Counter("predicted_rows", "Rows predicted", registry=own)
    info = Gauge("model_info", "The model that answers", ["name", "version"], registry=own, multiprocess_mode="livemax")
    info.labels(card.name, card.version).set(1)

    @app.before_request
    def _start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def _count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "unknown"
        seconds.labels(route).observe(time.perf_counter() - g.started)
        requests.labels(route, response.status_code).inc()
        if count := g.get("rows"):
            rows.inc(count)
        return response

    @app.get("/metrics")
    def metrics() -> Response:
        registry = own
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # gunicorn.conf.py: each worker keeps its counts in files there
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(prometheus_client.generate_latest(registry), content_type=prometheus_client.CONTENT_TYPE_LATEST)
