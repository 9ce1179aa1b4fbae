"""What joins a request to those of other services: X-Request-ID, and traceparent of W3C's Trace Context."""

import re
from random import getrandbits
from typing import NamedTuple

from serving.protocols.routes import Headers

_sane = re.compile(rb"[\x21-\x7e]{1,200}").fullmatch


class Ids(NamedTuple):
    request: bytes  # the client's own, or a new one
    trace: bytes  # traceparent, empty where there is none


def of(headers: Headers) -> Ids:
    request = trace = b""
    for name, value in headers:
        if name == b"x-request-id" and _sane(value):
            request = value
        elif name == b"traceparent" and _sane(value):
            trace = value
    return Ids(request or b"%016x" % getrandbits(64), trace)  # os.urandom: a system call


def headers(ids: Ids) -> Headers:
    """For the answer."""
    found = [(b"x-request-id", ids.request)]
    return [*found, (b"traceparent", ids.trace)] if ids.trace else found
