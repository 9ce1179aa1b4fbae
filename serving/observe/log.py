"""What is logged of a request: a line of JSON on stdout, with the ids that join it to those of other services.

The ids are X-Request-ID, and traceparent of W3C's Trace Context.
"""

import contextlib
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from random import getrandbits
from typing import Literal, NamedTuple

import msgspec

from serving.protocols.routes import Headers

_sane = re.compile(rb"[\x21-\x7e]{1,200}").fullmatch


class Ids(NamedTuple):
    request: bytes  # the client's own, or a new one
    trace: bytes  # traceparent, empty where there is none


def ids_of(headers: Headers) -> Ids:
    """Those that the client sent, or new ones."""
    request = trace = b""
    for name, value in headers:
        if name == b"x-request-id" and _sane(value):
            request = value
        elif name == b"traceparent" and _sane(value):
            trace = value
    return Ids(request or b"%016x" % getrandbits(64), trace)  # os.urandom: a system call


def id_fields(ids: Ids) -> Headers:
    """The header fields of the answer that say them."""
    fields = [(b"x-request-id", ids.request)]
    return [*fields, (b"traceparent", ids.trace)] if ids.trace else fields


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
