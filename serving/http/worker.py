"""gunicorn's worker: uvicorn's HTTP protocol, and what neither of the two has.

- A request that needs no waiting is answered where it is read, without a task, an event and a dozen calls of ASGI.
- Connections are accepted one at a time, and shared out among the workers.
- What the client has to do, it has to do in time: a head that does not end is answered with 408, an answer that nobody
  reads is dropped.
- After SIGTERM every answer says `Connection: close`, and the worker ends when all connections are gone, or after
  graceful_timeout. Closing a kept connection without a word would cost its client a request.
"""

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
from email.utils import formatdate
from time import monotonic
from typing import TYPE_CHECKING, Any

from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker as BaseWorker
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from serving.http import connections
from serving.replies import Problem

if TYPE_CHECKING:
    from serving.http.asgi import Front

TOGETHER_SECONDS = 5.0  # that the first worker waits for the others
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
        self._direct: list[bytes] | None = None  # the body of a request that may be answered at once

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.worker.count()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.worker.count()

    def data_received(self, data: bytes) -> None:
        if not self._in_body and (b"pgrade" in data or b"PGRADE" in data):
            data = _without_upgrade(data)
        self._framing_bytes += len(data)  # on_body sets it back
        super().data_received(data)
        if self._direct is not None:  # the rest of its body is still to come: the app waits for it
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
        self._in_head, self._in_body, self._framing_bytes = False, True, 0
        self._fields = len(self.headers)
        self.deadline = NEVER  # from here on the app has limits of its own
        idle = (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
        if idle and self.url in self.worker.direct and self.parser.get_method() == b"POST":
            self._direct = []
        else:
            self._start()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        if self._direct is None:
            super().on_body(body)
        else:
            self._direct.append(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        del self.headers[self._fields :]  # trailers, which would pass for fields of the head
        if self._direct is not None:
            body = self._direct[0] if len(self._direct) == 1 else b"".join(self._direct)
            path = self.worker.direct[self.url]
            if self.transport.is_closing():  # the answer before this one was the last
                self._direct = None
                return
            if answer := self.worker.front.at_once("POST", path, self.headers, body):
                self._direct = None
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

    def pause_writing(self) -> None:
        super().pause_writing()
        self.unread = monotonic() + UNREAD * self.worker.front.limits.body_seconds

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
        """Answers what is no request, and closes."""
        status, fields, body = self.worker.front.refused("", "", Problem(status, title, detail), [])
        self._write(status, [*fields, (b"connection", b"close")], body, last=True)

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "Bad Request", msg)

    def _start(self) -> None:
        super().on_headers_complete()
        if self.worker.draining:
            self.cycle.keep_alive = False

    def _hand_over(self) -> None:
        """Leaves a request to the app after all."""
        body, self._direct = self._direct, None
        self._start()
        for part in body or ():
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


class Worker(BaseWorker):  # type: ignore[misc]
    """A process with an event loop."""

    draining = False
    _deaf = False

    def init_process(self) -> None:
        self.state = ServerState()
        super().init_process()

    def init_signals(self) -> None:
        for number in self.SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.signal(signal.SIGABRT, self.handle_abort)

    def run(self) -> None:
        asyncio.run(self._serve())

    def count(self) -> None:
        """Tells the other workers how many connections this one has."""
        connections.count(self, len(self.state.connections))

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.front: Front = self.wsgi
        self.head_seconds = self.front.limits.head_seconds
        self.direct = {path.encode(): path for method, path in self.front.routes if method == "POST"}
        options: dict[str, Any] = {"http": HttpToolsProtocol, "ws": "none", "lifespan": "off", "interface": "asgi3"}
        options |= {"log_config": None, "access_log": False, "proxy_headers": False}
        self.config = Config(self.front, timeout_keep_alive=self.cfg.keepalive, **options)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of each thing that is no request
        self._tls = ssl_context(self.cfg) if self.cfg.is_ssl else None
        self._accepting: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self.loop.add_signal_handler(number, self._end, number)
        self._beat()
        self._patience = connections.Patience()
        self.count()
        await self._all_ready()
        for listener in self.sockets:
            listener.sock.setblocking(False)
            self._listen(listener.sock)
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 1.0)
            self._beat()
        deadline = monotonic() + self.cfg.graceful_timeout
        while self._under_way() and monotonic() < deadline and self.alive:
            self._beat()
            await asyncio.sleep(0.02)
        self._deaf = True
        for listener in self.sockets:
            self.loop.remove_reader(listener.sock.fileno())
        for connection in self.connections():
            connection.transport.close()

    def connections(self) -> list[Connection]:
        return [each for each in self.state.connections if isinstance(each, Connection)]

    def _under_way(self) -> bool:
        return bool(self._accepting or self.state.connections or self.state.tasks)

    async def _all_ready(self) -> None:
        """At the start, so that the first connections are shared out as well, and "ready" means all workers."""
        until = monotonic() + TOGETHER_SECONDS
        wanted = self.cfg.workers if self.age <= self.cfg.workers else 0
        while connections.workers() < wanted and monotonic() < until:
            await asyncio.sleep(0.005)

    def _beat(self) -> None:
        """What is due every second."""
        self.notify()
        fields = [(b"date", formatdate(usegmt=True).encode()), (b"server", b"gunicorn")]
        self.state.default_headers = fields
        self.head = b"".join(b"%s: %s\r\n" % field for field in fields)
        now = monotonic()
        for connection in self.connections():
            if min(connection.deadline, connection.unread) < now:
                connection.give_up()
        if self.ppid != os.getppid() or self.state.total_requests >= self.max_requests:
            self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        """SIGTERM: no more than what is under way. SIGINT, SIGQUIT: not even that."""
        self.draining, self.alive = True, number == signal.SIGTERM
        for connection in self.connections():
            if connection.cycle is not None:
                connection.cycle.keep_alive = False
        self._ended.set()

    def _listen(self, listener: socket.socket) -> None:
        if not self._deaf:
            self.loop.add_reader(listener.fileno(), self._ready, listener)

    def _ready(self, listener: socket.socket) -> None:
        """Connections wait to be accepted."""
        if self._patience.waits(len(self.state.connections)):
            self._pause(listener, connections.SECONDS)
            self.loop.call_later(connections.SECONDS, self._accept, listener)
        else:
            self._accept(listener)

    def _pause(self, listener: socket.socket, seconds: float) -> None:
        self.loop.remove_reader(listener.fileno())
        self.loop.call_later(seconds, self._listen, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Takes one connection, if it is still there."""
        if self._deaf:
            return
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # too many open files, no memory
            self.log.error("Cannot accept a connection: %s", error)  # noqa: TRY400  a traceback says no more
            self._pause(listener, 1.0)
            return
        accepted.setblocking(False)
        made = self.loop.connect_accepted_socket(lambda: Connection(self), accepted, ssl=self._tls)
        task = self.loop.create_task(made)
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
