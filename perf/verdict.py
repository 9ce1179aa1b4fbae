"""What a load test found: the schema of verdict.json, for those who write it and those who read it.

A reader ignores fields that it does not know: the comment on a pull request is written by the code of the default
branch, and the verdict by that of the pull request, which may bring new ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

Outcome = Literal["pass", "fail", "inconclusive", "error"]
Result = Literal["pass", "fail", "inconclusive", "info"]  # of one criterion
Key = Literal[  # of a row of the report; where the row is on one of Figures, the name of that
    "p95",
    "p50",
    "p99",
    "mean",
    "cpu_ms",
    "p95_due",
    "errors",
    "throughput",
    "requests",
    "ready_seconds",
    "memory_mb",
    "grown_kb",
    "image_mb",
    "steadiness",  # the baseline against itself
]
EXIT_CODES: dict[Outcome, Literal[0, 1, 2, 3]] = {"pass": 0, "fail": 1, "inconclusive": 2, "error": 3}
SCHEMA = 2
Unit = Literal["ms", "s", "/s", "share", "count", "MB", "kB"]
MAX_BYTES = 2_000_000  # a verdict may come from a pull request that nobody has read yet

Line = Annotated[str, Meta(max_length=500)]
Name = Annotated[str, Meta(max_length=200)]
Log = Annotated[str, Meta(max_length=10_000)]
Share = Annotated[float, Meta(ge=0)]
Lines = Annotated[list[Line], Meta(max_length=50)]
Count = Annotated[int, Meta(ge=0)]


class ReportError(ValueError):
    """A verdict.json that cannot be read; the message names the file and what is wrong."""


class Figures(Struct, frozen=True, kw_only=True):
    """One arm in one round. Latencies in milliseconds, of answered requests without an error; None: there are none."""

    intended: Count  # requests that the schedule asked for
    count: Count  # requests sent
    errors: Count
    target: Share  # requests per second
    achieved: Share
    ready_seconds: Share  # from start to the first 200 of /readyz
    mean: Share | None
    p50: Share | None
    p95: Share | None
    p99: Share | None
    p95_due: Share | None  # from when the request was due, not from when it was sent
    longest: Share | None = None  # answer
    cpu_ms: Share | None = None  # CPU time of all its processes, a request; None: the system does not say
    memory_mb: Share | None = None  # at the end
    grown_kb: float | None = None  # memory since the warm-up began, a request
    p95_odd: Share | None = None  # of every other pair, and of the rest: a comparison of an arm with itself
    p95_even: Share | None = None


class Round(Struct, frozen=True, kw_only=True):
    number: Count
    candidate: Figures
    baseline: Figures | None
    client_cpu: Share  # of one CPU, by the load generator
    steal: Share | None  # of all CPUs, taken by the host; None: the system does not say
    others: Share | None = None  # of all CPUs, used by what is neither an arm nor the load generator; None: likewise
    dropped: Line = ""  # why the round does not count; empty: it does


class Limits(Struct, frozen=True, kw_only=True):
    """[perf] of pipeline.toml, without the load. None: switched off."""

    p95_ms: float | None
    max_regression: float | None
    max_error_rate: float | None
    min_throughput: float | None
    min_requests: int
    max_ready_seconds: float | None = None
    max_memory_mb: float | None = None
    max_image_mb: float | None = None


class Criterion(Struct, frozen=True, kw_only=True):
    """One row of the report. `interval` and `limit` are of `change` where `relative`, of `candidate` otherwise."""

    key: Key
    unit: Unit
    baseline: float | None = None
    candidate: float | None = None
    change: float | None = None  # candidate over baseline, less one
    interval: tuple[float, float] | None = None
    limit: float | None = None
    relative: bool = False
    accepted: bool = False  # `limit` is what somebody accepted, in place of the project's own
    broken: float | None = None  # of a change that fails: the bound above which it surely lies
    outcome: Result = "info"


class Measured(Struct, frozen=True, kw_only=True):
    """One version and its model, as its card names them."""

    version: Annotated[str, Meta(min_length=1, max_length=200)]
    bundle_sha256: Annotated[str, Meta(min_length=1, max_length=200)]


class Accepted(Struct, frozen=True, kw_only=True):
    """perf-accepted.json: a slow-down against one baseline that somebody accepted."""

    baseline: Measured
    up_to: Annotated[float, Meta(gt=0, le=100)]  # change of p95
    reason: Line
    by: Name
    at: Name  # ISO 8601, UTC


class Judgement(Struct, frozen=True, kw_only=True):
    """What the rounds say. `outcome` is "continue" where more rounds are due."""

    outcome: Literal["pass", "fail", "inconclusive", "continue"]
    headline: Line
    reasons: list[Line]  # why nothing could be decided
    criteria: list[Criterion]
    confidence: float  # of the intervals, two-sided
    detectable: float | None  # the smallest slow-down that this run would have shown in 95 of 100 cases


class Arm(Struct, frozen=True, kw_only=True):
    """Who was measured: from GET /model and from where it was started."""

    kind: Literal["process", "container", "attached", "none"]
    source: Line  # the folder, image or port that was named
    name: Name = ""
    version: Name = ""
    run_id: Name = ""
    git_sha: Name = ""
    runtime: Name = ""
    bundle_sha256: Name = ""
    code_sha256: Name = ""  # of serving/ and src/; of a container, of the model's code alone
    image: Line = ""
    image_id: Name = ""
    faults: Lines = []  # MLOPS_FAULT_* that it was started with


class Runner(Struct, frozen=True, kw_only=True):
    """The machine, and how it was shared out."""

    cpu: Name
    cpus: Count
    system: Name
    python: Name
    service_cpus: list[int] | None  # None: not pinned
    client_cpus: list[int] | None


class Versioned(msgspec.Struct, frozen=True):
    """What the verdicts of all versions hold."""

    schema: int


class Report(Struct, frozen=True, kw_only=True):
    """verdict.json."""

    schema: Literal[2]
    outcome: Outcome
    exit_code: Literal[0, 1, 2, 3]
    headline: Line
    next: Line
    project: Name
    created: Name  # ISO 8601, UTC
    seconds: Share
    candidate: Arm
    baseline: Arm | None
    identical: bool  # both arms run the same code on the same model
    limits: Limits
    criteria: Annotated[list[Criterion], Meta(max_length=50)]
    reasons: Lines
    confidence: float
    detectable: float | None
    decide_after: Annotated[list[Count], Meta(max_length=1000)] = []  # numbers of rounds that count
    rate: Share  # pairs a second
    users: Count
    seed: int
    rounds: Annotated[list[Round], Meta(max_length=1000)]
    runner: Runner
    notes: Lines
    log: Log = ""  # last lines of an arm that failed
    base: Line = ""  # what BASE named in place of the champion
    left_out: Arm | None = None  # a baseline that could not answer the candidate's requests
    accepted: Accepted | None = None  # where p95 was held against it, and not against the project's limit

    @property
    def p95_ms(self) -> float:
        """The candidate's p95 latency, the geometric mean over rounds. Raises ReportError where none was measured."""
        p95 = row_of(self.criteria, "p95")
        if p95 is None or p95.candidate is None:
            raise ReportError("the verdict holds no p95 latency of the candidate")
        return p95.candidate


def row_of(criteria: Sequence[Criterion], key: Key) -> Criterion | None:
    """The row of that key, where there is one."""
    return next((each for each in criteria if each.key == key), None)


def read_verdict(path: Path) -> Report:
    """The verdict in `path`, checked against the schema. Raises ReportError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ReportError(f"{path}: larger than {MAX_BYTES} bytes, so no verdict of ours")
        return decode(path.read_bytes())
    except FileNotFoundError:
        raise ReportError(f"{path}: no such file; run `make perf`") from None
    except (OSError, msgspec.DecodeError) as error:
        raise ReportError(f"{path}: {error}") from None


def decode(data: bytes) -> Report:
    """A verdict, checked against the schema. Raises msgspec.DecodeError, which says so of one of another schema."""
    schema = msgspec.json.decode(data, type=Versioned).schema
    if schema != SCHEMA:
        what = f"written by another version of the gate (schema {schema}, this one reads {SCHEMA})"
        raise msgspec.ValidationError(f"{what}; run `make perf`")
    report = msgspec.json.decode(data, type=Report)
    if EXIT_CODES[report.outcome] != report.exit_code:
        raise msgspec.ValidationError(f"outcome {report.outcome} does not go with exit code {report.exit_code}")
    return report
