"""Bodies of requests that are still arriving, or that wait for a thread: all those of a worker, in bounded memory."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.schema import Serving
from serving import replies
from serving.replies import DRAIN_BYTES, Problem

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
