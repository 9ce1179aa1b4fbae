"""The Flask app: every route of the service, for any WSGI server, `flask run` and the test client.

flask --app serving.app run

gunicorn runs `serving.asgi`, which answers the routes of the service's table itself and hands the others on to this.
"""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from serving import correlation, replies, service
from serving.access import Log
from serving.metrics import Metrics
from serving.protocols.routes import Handler
from serving.replies import Problem, Reply
from serving.service import Service

DRAIN_BYTES = 64_000_000


def create_app(bundle: Path | None = None) -> Flask:
    """The service for the bundle in a folder (default: `service.bundle_folder`). Raises as `service.load` does."""
    return wsgi(service.load(bundle))


def for_gunicorn() -> Flask:
    """The same. Exits as `service.load_or_exit` does."""
    return wsgi(service.load_or_exit())


def wsgi(served: Service) -> Flask:
    """The service as a Flask app."""
    app = Flask(__name__, static_folder=None)
    limit, metrics = served.limits.max_body_bytes, served.metrics
    if served.faults:
        app.logger.warning("Faults on purpose: %s", served.faults)
    for (method, path), answer in served.routes.items():
        app.add_url_rule(path, f"{method} {path}", _view(answer, limit), methods=[method])
    app.register_error_handler(Problem, lambda problem: _response(replies.of_problem(problem)))
    app.register_error_handler(HTTPException, _of_http)
    _watch(app, metrics, served.log)

    @app.get("/metrics")
    def metrics_route() -> Response:
        return _response(metrics.exposition())

    return app


def _view(answer: Reply | Handler, limit: int) -> Callable[[], Response]:
    if isinstance(answer, Reply):
        return lambda: _response(answer)
    return lambda: _response(answer(_body(limit), _headers()))


def _response(reply: Reply) -> Response:
    g.rows = reply.rows
    fields = [(name.decode(), value.decode()) for name, value in reply.more]
    return Response(reply.body, reply.status, fields, content_type=reply.content_type)


def _headers() -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]


def _body(limit: int) -> bytes:
    """The body of the request, at most `limit` bytes; Werkzeug would cut a longer one that has no Content-Length."""
    stream, length = request.environ["wsgi.input"], request.content_length
    if length is None and not request.environ.get("wsgi.input_terminated"):
        return b""
    body: bytes = stream.read(limit + 1 if length is None else min(length, limit + 1))
    if len(body) > limit:
        _drain()
        raise replies.too_large(limit)
    return body


def _drain() -> None:
    """Reads the rest of a body that is refused: closing on unread data resets the connection before the answer."""
    stream, left = request.environ["wsgi.input"], DRAIN_BYTES
    while left > 0 and (chunk := stream.read(min(left, 65_536))):
        left -= len(chunk)


def _of_http(error: HTTPException) -> Response:
    """Flask's own errors (no such route, wrong method) in the form of the service's."""
    plain = _response(replies.of_problem(Problem(error.code or 500, error.name, error.description or error.name)))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            # Such as Allow, which Werkzeug has in the order of a set.
            plain.headers[name] = ", ".join(sorted(value.split(", "))) if name == "Allow" else value
    return plain


def _watch(app: Flask, metrics: Metrics, log: Log) -> None:
    """Times, counts, logs and names every request."""

    @app.before_request
    def _start() -> None:
        g.started = perf_counter()
        metrics.begin()

    @app.after_request
    def _end(response: Response) -> Response:
        ids = correlation.of(_headers())
        response.headers.extend((name.decode(), value.decode()) for name, value in correlation.headers(ids))
        route = request.url_rule.rule if request.url_rule else ""
        seconds, rows = perf_counter() - g.started, g.get("rows", 0)
        metrics.end(route, response.status_code, seconds, rows)
        log(request.method, request.path, response.status_code, seconds, rows, ids)
        return response
