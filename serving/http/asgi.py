"""The service as an ASGI app: what gunicorn runs. The routes of the table are answered here, others by the Flask app.

The event loop never waits: a body that comes slowly is awaited, a large batch and a slow model go to a thread, and so
does Flask.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from a2wsgi import WSGIMiddleware

from pipeline.bundle import BundleError
from serving import service
from serving.app import wsgi
from serving.http.bodies import Bodies, Gone, Message, Receive
from serving.http.worker import cannot_serve
from serving.protocols import errors
from serving.protocols.routes import Headers, Route
from serving.replies import Problem
from serving.service import Answer, Service

Send = Callable[[Message], Awaitable[None]]


# Of a worker, by runtime. ONNX Runtime leaves the CPU to no other, so that more threads only keep each other waiting;
# those who wait for scikit-learn are answered together.
THREADS = {"onnx": 1, "sklearn": 32}


class Front:
    """The service as an ASGI app."""

    def __init__(self, served: Service, threads: int) -> None:
        self._service = served
        self.routes, self.limits = served.routes, served.limits
        self._bodies = Bodies(served.limits)
        self._pool = ThreadPoolExecutor(threads, "model")
        self._flask = WSGIMiddleware(wsgi(served), workers=threads)  # type: ignore[arg-type]

    def at_once(self, route: Route, headers: Headers, body: bytes) -> Answer | None:
        """Status, headers and body of the answer where it takes no waiting, None where it does.

        The server may call this, as the app does, for a request that is whole.
        """
        if len(body) > route.inline_bytes:
            return None
        request = self._service.begin(route.method, route.path, headers)
        return self._service.finish(request, route.answer(body, headers))

    def refused(self, method: str, path: str, headers: Headers, problem: Problem) -> Answer:
        """The answer to what never got to a route."""
        return self._service.finish(self._service.begin(method, path, headers), errors.form(path).reply(problem))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._flask(scope, receive, send)  # type: ignore[arg-type]
            return
        method, path, headers = scope["method"], scope["path"], scope["headers"]
        try:
            body = await self._bodies.whole(receive)
            route = self.routes.get((method, path))
            if route is None:
                await self._flask(scope, _again(body, receive), send)  # type: ignore[arg-type]
                return
            answer = self.at_once(route, headers, body)
            if answer is None:
                with self._bodies.waiting(body):
                    request = self._service.begin(method, path, headers)
                    loop = asyncio.get_running_loop()
                    reply = await loop.run_in_executor(self._pool, route.answer, body, headers)
                answer = self._service.finish(request, reply)
        except Problem as problem:
            answer = self.refused(method, path, headers, problem)
            answer[1].append((b"connection", b"close"))
        except Gone:
            return
        status, fields, content = answer
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": content})


def create_app(threads: int = 0) -> Front:
    """The service for the bundle in `service.bundle_folder`. Ends the process where there can be none."""
    try:
        served = service.load()
    except (BundleError, ValueError, Problem) as error:
        cannot_serve(error)
    return Front(served, threads or THREADS[served.bundle.card.runtime])


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more; after it whatever comes."""
    parts = [body]

    async def again() -> Message:
        return {"type": "http.request", "body": parts.pop(), "more_body": False} if parts else await receive()

    return again
