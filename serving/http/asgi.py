"""The service as an ASGI app: what gunicorn runs. The routes of the table are answered here, others by the Flask app.

The event loop never waits: a body that comes slowly is awaited, in bounded memory; a large batch and a slow model go
to a thread, and so does Flask.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from a2wsgi import WSGIMiddleware

from pipeline.bundle import BundleError
from pipeline.schema import Serving
from serving import coding, replies, service
from serving.app import wsgi
from serving.http.worker import cannot_serve
from serving.protocols.routes import Headers, Route, errors, header, plain
from serving.replies import DRAIN_BYTES, Problem
from serving.service import Answer, Service

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]

AT_ONCE = 32  # times max_body_bytes, that a worker holds


class Gone(Exception):
    """The client went away before its request was whole."""


class Bodies:
    """What one worker holds of them."""

    def __init__(self, limits: Serving) -> None:
        self._limits = limits
        self._held = 0

    async def whole(self, receive: Receive) -> bytes:
        """The body of a request. Raises Problem (408, 413, 503) and Gone."""
        parts, size, refused, more = list[bytes](), 0, None, True
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                # What is refused is read on: closing on unread data resets the connection before the answer.
                while more and size <= DRAIN_BYTES:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    part, more = message["body"], message.get("more_body", False)
                    size += len(part)
                    if refused:
                        refused = self._refusal(size) or refused
                    else:
                        parts.append(part)
                        self._held += len(part)
                        if refused := self._refusal(size):
                            self._held -= size
                            parts.clear()
                    del part, message  # or it would be held until the next one has come
        except TimeoutError:
            seconds = f"{self._limits.body_seconds:g}"
            raise Problem(408, "Request Timeout", f"the body took more than {seconds} s to arrive") from None
        finally:
            self._held -= sum(map(len, parts))
        if refused:
            raise refused
        return b"".join(parts)

    @contextmanager
    def waiting(self, body: bytes) -> Iterator[None]:
        """While it waits for a thread, and while that answers. Raises Problem (413, 503)."""
        self._held += len(body)
        try:
            if refused := self._refusal(len(body)):
                raise refused
            yield
        finally:
            self._held -= len(body)

    def _refusal(self, size: int) -> Problem | None:
        if size > self._limits.max_body_bytes:
            return replies.too_large(self._limits.max_body_bytes)
        if self._held > AT_ONCE * self._limits.max_body_bytes:
            detail = "too many large requests at once; send this one again in a moment"
            return Problem(503, "Service Unavailable", detail)
        return None


Send = Callable[[Message], Awaitable[None]]


# Of a worker, by runtime. ONNX Runtime leaves the CPU to no other, so that more threads only keep each other waiting;
# those who wait for scikit-learn are answered together.
THREADS = {"onnx": 1, "sklearn": 32}


class App:
    """The service as an ASGI app."""

    def __init__(self, served: Service, threads: int) -> None:
        self._service = served
        self.routes, self.limits, self.readiness = served.routes, served.limits, served.readiness
        self._bodies = Bodies(served.limits)
        self._pool = ThreadPoolExecutor(threads, "model")
        self._flask = WSGIMiddleware(wsgi(served), workers=threads)  # type: ignore[arg-type]

    def at_once(self, route: Route, headers: Headers, body: bytes) -> Answer | None:
        """Status, headers and body of the answer where it takes no waiting, None where it does.

        The server may call this, as the app does, for a request that is whole.
        """
        if len(body) > route.inline_bytes or header(headers, coding.HEADER):  # of any size when it is decoded
            return None
        request = self._service.begin(route.method, route.path, headers)
        return self._service.finish(request, route.answer(body, headers))

    def refused(self, method: str, path: str, headers: Headers, problem: Problem) -> Answer:
        """The answer to what never got to a route."""
        return self._service.finish(self._service.begin(method, path, headers), errors(path).reply(problem))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._flask(scope, receive, send)  # type: ignore[arg-type]
            return
        method, path, headers = scope["method"], plain(scope["path"]), scope["headers"]
        try:
            # RFC 9110, 10.1.1: who waits to be told to go on need not send what is refused.
            if header(headers, b"expect") and int(header(headers, b"content-length") or 0) > self.limits.max_body_bytes:
                raise replies.too_large(self.limits.max_body_bytes)
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


def create_app(threads: int = 0) -> App:
    """The service for the bundle in `service.bundle_folder`. Ends the process where there can be none."""
    try:
        served = service.load()
    except (BundleError, ValueError, Problem) as error:
        cannot_serve(error)
    return App(served, threads or THREADS[served.bundle.card.runtime])


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more; after it whatever comes."""
    parts = [body]

    async def again() -> Message:
        return {"type": "http.request", "body": parts.pop(), "more_body": False} if parts else await receive()

    return again
