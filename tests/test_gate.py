"""The gate, run twice: it passes the same code, and fails a candidate that was slowed on purpose."""

from pathlib import Path

from perf.verdict import Report, read_verdict
from tests.conftest import run

# Short rounds, and limits so wide that a busy machine breaks none. How often the gate is wrong is not asked here.
SHORT = {
    "MLOPS_PERF__PROFILES__STANDARD__DECIDE_AFTER": "[3, 9]",
    "MLOPS_PERF__PROFILES__STANDARD__ROUND_SECONDS": "0.6",
    "MLOPS_PERF__PROFILES__STANDARD__WARMUP_SECONDS": "0.1",
    "MLOPS_PERF__PROFILE": "standard",
    "MLOPS_PERF__LOAD__USERS": "1",
    "MLOPS_PERF__LOAD__MAX_RATE": "40",
    "MLOPS_PERF__MIN_REQUESTS": "10",
    "MLOPS_PERF__MAX_REGRESSION": "2",
    "MLOPS_PERF__MIN_THROUGHPUT": "0.1",
    **{f"MLOPS_PERF__{key}": "false" for key in ("P95_MS", "MAX_READY_SECONDS", "MAX_MEMORY_MB", "MAX_ERROR_RATE")},
}


def judged(project: Path, output: Path, **variables: str) -> Report:
    """The gate's verdict on the project beside itself."""
    arguments = ("--candidate", ".", "--baseline", ".", "--output", str(output))
    done = run(project, "perf", *arguments, **SHORT, **variables)
    assert done.returncode in (0, 1), done.stdout
    return read_verdict(output / "verdict.json")


def test_it_tells_a_slowed_candidate_from_the_same_code(trained: Path, tmp_path: Path) -> None:
    """Each prediction of the second candidate takes ten times as long as p95 did, and 20 ms at least."""
    same = judged(trained, tmp_path / "same")
    assert same.outcome == "pass", same.headline
    slower = judged(trained, tmp_path / "slower", MLOPS_FAULT_BURN_MS=str(max(20, round(10 * (same.p95_ms or 0)))))
    assert slower.outcome == "fail", slower.headline
    assert "slower" in slower.headline
    assert (tmp_path / "slower" / "report.html").is_file()
