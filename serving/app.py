"""The service as a WSGI app: for any WSGI server, `flask --app serving.app run` and the test client.

Flask answers what is not a route of the table: metrics, HEAD, wrong methods, unknown paths. The event loop of
`serving.http.asgi` answers the table itself, and so does a function before Flask here: Flask costs more than a
prediction.
"""

from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from serving import replies, service
from serving.protocols import openapi
from serving.protocols.routes import Headers, Route, errors, plain
from serving.replies import DRAIN_BYTES, Problem, Reply
from serving.service import Service

Environment = dict[str, Any]
Wsgi = Callable[[Environment, Callable[..., Any]], Iterable[bytes]]
STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def create_app(bundle: Path | None = None) -> Flask:
    """The service for the bundle in a folder (default: `service.bundle_folder`). Raises as `service.load` does."""
    return wsgi(service.load(bundle))


def wsgi(served: Service) -> Flask:
    """The service as a Flask app."""
    app = Flask(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # `plain` does it, without a redirect
    if served.faults:
        app.logger.warning("Faults on purpose: %s", served.faults)
    for route in [*served.routes.values(), served.scrape]:
        if route.path == "*":  # no path to Flask, and `_before_flask` answers it
            continue
        # Flask answers HEAD and GET of /metrics with it, and knows which methods there are.
        view = partial(_without_body, route)
        app.add_url_rule(route.path, f"{route.method} {route.path}", view, methods=[route.method])
    app.register_error_handler(HTTPException, _of_http)
    _watch(app, served)
    app.wsgi_app = _before_flask(app.wsgi_app, served)  # type: ignore[method-assign, assignment]
    return app


def _before_flask(flask: Wsgi, served: Service) -> Wsgi:
    """A WSGI app that answers the routes of the table, and leaves others to Flask."""
    routes, limit = served.routes, served.limits.max_body_bytes

    def app(environ: Environment, start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], plain(environ["PATH_INFO"])
        environ["PATH_INFO"] = path
        route = routes.get((method, path))
        if route is None:
            return flask(environ, start_response)
        request = served.begin(method, path, _headers(environ))
        try:
            reply = route.answer(_body(environ, limit), request.headers)
        except Problem as problem:
            reply = errors(path).reply(problem)
        except Exception:  # the server's own, of a body that is none; it answers them
            served.end(request, 400)
            raise
        status, fields, body = served.finish(request, reply)
        start_response(
            STATUS_LINES[status], [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        )
        return [body]

    return app


def _headers(environ: Environment) -> Headers:
    headers = [
        (key[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for key, value in environ.items()
        if key.startswith("HTTP_")
    ]
    return [*headers, (b"content-type", environ.get("CONTENT_TYPE", "").encode("latin-1"))]


def _body(environ: Environment, limit: int) -> bytes:
    """The body of the request, at most `limit` bytes. Raises Problem (413)."""
    stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
    if not length and not environ.get("wsgi.input_terminated"):
        return b""
    body: bytes = stream.read(min(int(length), limit + 1) if length else limit + 1)
    if len(body) > limit:
        left = DRAIN_BYTES  # closing on unread data resets the connection before the answer
        while left > 0 and (chunk := stream.read(min(left, 65_536))):
            left -= len(chunk)
        raise replies.too_large(limit)
    return body


def _without_body(route: Route) -> Response:
    return _response(route.answer(b"", []))


def _response(reply: Reply) -> Response:
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.more]
    return Response(reply.body, reply.status, fields, content_type=reply.content_type)


def _of_http(error: HTTPException) -> Response:
    """Flask's own errors (no such route, wrong method) in the form of the service's."""
    detail = error.description or error.name
    if error.code == 404:
        detail = f"there is no {request.path[:100]!r} here; GET {openapi.PATH} lists what there is"
    problem = Problem(error.code or 500, error.name, detail)
    response = _response(errors(request.path).reply(problem))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            # Such as Allow, which Werkzeug has in the order of a set.
            response.headers[name] = ", ".join(sorted(value.split(", "))) if name == "Allow" else value
    return response


def _watch(app: Flask, served: Service) -> None:
    """Times, counts, logs and names every request that Flask answers."""

    @app.before_request
    def _start() -> None:
        g.request = served.begin(request.method, request.path, _headers(request.environ))

    @app.after_request
    def _end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else ""
        names = served.end(g.request, response.status_code, route=route)
        response.headers.extend((name.decode("latin-1"), value.decode("latin-1")) for name, value in names)
        return response
