"""What MLflow keeps of a load test: metrics of the version's run, to be compared there, and tags of the version."""

import time

from mlflow.entities import Metric

from perf.verdict import Criterion, Key, Report, row_of

METRICS: dict[Key, str] = {  # of a row of the report: the metric that the candidate's figure becomes, in its own unit
    "p95": "perf.p95_ms",
    "p50": "perf.p50_ms",
    "p99": "perf.p99_ms",
    "mean": "perf.mean_ms",
    "p95_due": "perf.p95_due_ms",
    "errors": "perf.error_rate",
    "throughput": "perf.throughput",
    "ready_seconds": "perf.ready_s",
    "cpu_ms": "perf.cpu_ms",
    "memory_mb": "perf.memory_mb",
}


def metrics(verdict: Report) -> list[Metric]:
    """What was measured of the candidate; what was not is left out."""
    found = {METRICS[row.key]: row.candidate for row in verdict.criteria if row.key in METRICS}
    if (row := _change(verdict)) is not None:
        found["perf.p95_change"] = row.change
    now = int(1000 * time.time())
    return [Metric(name, value, now, step=0) for name, value in found.items() if value is not None]


def tags(verdict: Report) -> dict[str, str]:
    """p95, the machine, and p95's change against the baseline as a share, with its interval.

    Raises ReportError where no p95 was measured.
    """
    found = {"p95_ms": f"{verdict.p95_ms:.3f}", "runner_cpu": verdict.runner.cpu}
    row, baseline = _change(verdict), verdict.baseline
    if row is not None and baseline is not None:
        numbers = {"p95_change": row.change}
        if row.interval is not None:
            numbers |= zip(("p95_change_low", "p95_change_high"), row.interval, strict=True)
        found |= {name: f"{value:.5f}" for name, value in numbers.items() if value is not None}
        if baseline.name == verdict.candidate.name:
            found["p95_baseline"] = baseline.version
    return {name: value for name, value in found.items() if value}


def _change(verdict: Report) -> Criterion | None:
    """The row of p95 where it holds a change. A version that was measured against itself keeps the one it has."""
    judged, baseline = verdict.candidate, verdict.baseline
    if baseline is None or (judged.name, judged.version) == (baseline.name, baseline.version):
        return None
    p95 = row_of(verdict.criteria, "p95")
    return p95 if p95 is not None and p95.change is not None else None
