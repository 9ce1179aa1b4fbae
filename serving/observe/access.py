"""The access log: a line of JSON on stdout for each request that is to be logged."""

import contextlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from serving.observe.correlation import Ids

ERRORS = 400
# Asked every second: what they answer is seen by who asks, and would bury what a service says of why it is not ready.
PROBES = {"/livez", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready"}

Log = Callable[[str, str, int, float, int, Ids], None]  # method, path, status, seconds, rows predicted, ids


def logger(which: Literal["off", "errors", "all"], to: int = 1) -> Log:
    """A function that writes a line to a file descriptor. One write, so that lines of several workers do not mix."""
    least = {"off": 1000, "errors": ERRORS, "all": 0}[which]
    encode = msgspec.json.Encoder().encode

    def log(method: str, path: str, status: int, seconds: float, rows: int, ids: Ids) -> None:
        if status < least or (least == ERRORS and path in PROBES):
            return
        line: dict[str, object] = {"time": datetime.now(UTC), "method": method, "path": path[:500], "status": status}
        line |= {"ms": round(1000 * seconds, 3), "rows": rows, "request_id": ids.request.decode("latin-1")}
        if ids.trace:
            line["traceparent"] = ids.trace.decode("latin-1")
        with contextlib.suppress(OSError):  # a full disk or a pipe that nobody reads is no reason to fail a request
            os.write(to, encode(line) + b"\n")

    return log
