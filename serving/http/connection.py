"""A connection of a client: uvicorn's HTTP protocol, and what it lacks.

- A request that needs no waiting is answered where it is read, without a task, an event and a dozen calls of ASGI.
- What the client has to do, it has to do in time: a head that does not end is answered with 408, an answer that nobody
  reads is dropped.
- After SIGTERM every answer says `Connection: close`: closing a kept connection without a word would cost its client a
  request.
"""

import asyncio
import re
from time import monotonic
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.replies import Problem

if TYPE_CHECKING:
    from serving.http.worker import Worker
    from serving.protocols.routes import Route

HEAD_BYTES = 65_536
UNREAD = 3  # times body_seconds, that an answer may wait for its client to read
NEVER = float("inf")

_UPGRADE = re.compile(rb"(\r\n)upgrade:", re.IGNORECASE)


class Connection(HttpToolsProtocol):
    """A connection of a client."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__(worker.config, worker.state, {}, worker.loop)
        self.worker = worker
        self.deadline = monotonic() + worker.head_seconds  # for what the client has to do next
        self.unread = NEVER  # until when an answer waits for the client to read
        self._head_bytes = self._framing_bytes = self._fields = 0
        self._in_head, self._in_body = True, False
        self._route: Route | None = None  # of a request that may be answered at once
        self._parts: list[bytes] = []  # of its body
        self._wrong = ""  # with the head, where the parser would not say
        self._refusal: tuple[int, str, str] | None = None  # which waits for the answers before it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.worker.count()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.worker.count()

    def data_received(self, data: bytes) -> None:
        if self._refusal:
            return
        if not self._in_body and (b"pgrade" in data or b"PGRADE" in data):
            data = _without_upgrade(data)
        self._framing_bytes += len(data)  # on_body sets it back
        super().data_received(data)
        if self._route is not None:  # the rest of its body is still to come: the app waits for it
            self._hand_over()
        if self._in_body:
            if self._framing_bytes > HEAD_BYTES:
                self.refuse(431, "Request Header Fields Too Large", f"more than {HEAD_BYTES} bytes that are no body")
        elif self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.refuse(431, "Request Header Fields Too Large", f"the head has more than {HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self.deadline = monotonic() + self.worker.head_seconds

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():  # its body would be read as the next request
            raise ValueError("an offer of another protocol that _without_upgrade did not see")
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):  # RFC 9112, 3.2
            self._wrong = f"the head has {hosts} fields called Host; there has to be one"
            raise ValueError(self._wrong)
        if b"//" in self.url and self.url.startswith(b"/"):  # not that of a whole URL, which proxies are sent
            path, mark, query = self.url.partition(b"?")
            self.url = re.sub(rb"/+", b"/", path) + mark + query
        self._in_head, self._in_body, self._framing_bytes = False, True, 0
        self._fields = len(self.headers)
        self.deadline = NEVER  # from here on the app has limits of its own
        idle = (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
        if idle and self.parser.get_method() == b"POST":
            self._route = self.worker.direct.get(self.url)
        if self._route is None:
            self._start()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        if self._route is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        del self.headers[self._fields :]  # trailers, which would pass for fields of the head
        if self._route is not None:
            if self.transport.is_closing():  # the answer before this one was the last
                self._route, self._parts = None, []
                return
            body = b"".join(self._parts)
            if answer := self.worker.asgi.at_once(self._route, self.headers, body):
                self._route, self._parts = None, []
                self._write(*answer)
                return
            self._hand_over()
        super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client will send no more: it still gets the answer that is being made."""
        waits = self.cycle is not None and not self.cycle.response_complete and not self._in_body
        if waits:
            self.cycle.keep_alive = False
        return waits and self.scheme == "http"  # TLS has no half of a connection

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.deadline = monotonic() + self.worker.cfg.keepalive
        if self._refusal and self.cycle.response_complete and not self.transport.is_closing():
            self.refuse(*self._refusal)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread = monotonic() + UNREAD * self.worker.asgi.limits.body_seconds

    def resume_writing(self) -> None:
        super().resume_writing()
        self.unread = NEVER

    def give_up(self) -> None:
        """The client has not done its part in time."""
        answers = not self.flow.write_paused and not self.transport.is_closing()
        if answers and self._in_head and self._head_bytes:
            seconds = f"{self.worker.head_seconds:g}"
            self.refuse(408, "Request Timeout", f"the head took more than {seconds} s to arrive")
        else:
            self.transport.abort()

    def refuse(self, status: int, title: str, detail: str) -> None:
        """Answers what is no request, and closes; after the answers to what came before it, RFC 9112, 9.3.2."""
        if not self._in_body and self.cycle is not None and not self.cycle.response_complete:
            self._refusal = self._refusal or (status, title, detail)
            return
        status, fields, body = self.worker.asgi.refused("", "", [], Problem(status, title, detail))
        self._write(status, [*fields, (b"connection", b"close")], body, last=True)

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "Bad Request", self._wrong or msg)

    def _start(self) -> None:
        super().on_headers_complete()
        if self.worker.draining:
            self.cycle.keep_alive = False

    def _hand_over(self) -> None:
        """Leaves a request to the app after all."""
        parts, self._route, self._parts = self._parts, None, []
        self._start()
        for part in parts:
            super().on_body(part)

    def _write(self, status: int, fields: list[tuple[bytes, bytes]], body: bytes, last: bool = False) -> None:
        parts = [STATUS_LINE[status], self.worker.head]
        for name, value in fields:
            parts += (name, b": ", value, b"\r\n")
        parser = self.parser  # no keeping alive for HTTP/1.0, as in uvicorn's own answers
        close = last or self.worker.draining or not parser.should_keep_alive() or parser.get_http_version() != "1.1"
        parts += (b"connection: close\r\n\r\n" if close and not last else b"\r\n", body)
        self.transport.write(b"".join(parts))
        self.server_state.total_requests += 1
        if close:
            self.transport.close()
        self.deadline = monotonic() + self.worker.cfg.keepalive


def _without_upgrade(data: bytes) -> bytes:
    """What was received, with the field Upgrade of a head renamed.

    The parser would leave the body of such a request to another protocol. RFC 9110 lets a server ignore the offer, and
    clients make it with every request: Java's HttpClient, curl --http2.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(rb"\1X-Ignored-Upgrade:", head) + end + rest
