"""Errors as RFC 9457 problem details: what was wrong, and in which row and field."""

from typing import Any

import msgspec
from flask import Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

DRAIN_BYTES = 64_000_000


class Problem(Exception):
    """A request that cannot be answered; `errors` are the rows and fields that are wrong."""

    def __init__(self, status: int, title: str, detail: str, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.errors = status, title, detail, errors or []


def response(problem: Problem) -> Response:
    """The answer to a request that cannot be served."""
    body: dict[str, Any] = {"type": "about:blank", "title": problem.title, "status": problem.status}
    body["detail"] = problem.detail
    if problem.errors:
        body["errors"] = problem.errors
    return Response(msgspec.json.encode(body), problem.status, mimetype="application/problem+json")


def from_http(error: HTTPException) -> Response:
    """Flask's own errors (no such route, wrong method, too large) in the same form."""
    if isinstance(error, RequestEntityTooLarge):
        _drain()
    plain = response(Problem(error.code or 500, error.name, error.description or error.name))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            plain.headers[name] = value  # such as Allow
    return plain


def _drain() -> None:
    """Reads the rest of a body that is refused: closing on unread data resets the connection before the answer."""
    stream, left = request.environ["wsgi.input"], DRAIN_BYTES
    while left > 0 and (chunk := stream.read(min(left, 65_536))):
        left -= len(chunk)
