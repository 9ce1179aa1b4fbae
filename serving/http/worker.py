"""gunicorn's worker: a process with an event loop.

- Connections are accepted one at a time, and shared out among the workers.
- Where the service cannot be loaded, one line says why, and gunicorn ends with 3.
- After SIGTERM, and SHUTDOWN_DELAY, the worker ends when all connections are gone, or after graceful_timeout.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from email.utils import formatdate
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn.sock import ssl_context
from gunicorn.workers.base import Worker as BaseWorker
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.address import shutdown_delay
from serving.http import balance
from serving.http.connection import Connection

if TYPE_CHECKING:
    from serving.http.asgi import App

TOGETHER_SECONDS = 5.0  # that the first worker waits for the others

# Made in gunicorn's master, and so shared: a byte for the one worker that may end gunicorn. It would end with a
# traceback where two fail at the same moment.
_may_fail, _written = os.pipe()
os.write(_written, b"1")


def cannot_serve(error: Exception) -> NoReturn:
    """One line, and exit code 3, with which gunicorn ends as well."""
    os.read(_may_fail, 1)  # other workers wait here, until gunicorn's master ends them
    print(f"Cannot serve: {error}", file=sys.stderr, flush=True)
    sys.exit(3)


class Worker(BaseWorker):  # type: ignore[misc]
    """One of the processes that answer."""

    draining = False
    _deaf = False
    _told = 0.0  # when it was told to end, by the monotonic clock

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
        balance.count(self, len(self.state.connections))

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.asgi: App = self.wsgi
        self.head_seconds = self.asgi.limits.head_seconds
        self.direct = {path.encode(): route for (method, path), route in self.asgi.routes.items() if method == "POST"}
        options: dict[str, Any] = {"http": HttpToolsProtocol, "ws": "none", "lifespan": "off", "interface": "asgi3"}
        options |= {"log_config": None, "access_log": False, "proxy_headers": False}
        self.config = Config(self.asgi, timeout_keep_alive=self.cfg.keepalive, **options)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of each thing that is no request
        self._tls = ssl_context(self.cfg) if self.cfg.is_ssl else None
        self._accepting: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()
        for listener in self.sockets:
            listener.sock.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self.loop.add_signal_handler(number, self._leave, number)
        self._beat()
        self._patience = balance.Patience()
        self.count()
        await self._all_ready()
        if not self._deaf:
            for listener in self.sockets:
                self._listen(listener.sock)
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 1.0)
            self._beat()
        deadline = self._told + self.cfg.graceful_timeout
        while self._under_way() and monotonic() < deadline and self.alive:
            self._beat()
            await asyncio.sleep(0.02)
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
        while balance.workers() < wanted and monotonic() < until:
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

    def _leave(self, number: int) -> None:
        """Is ready no more, and after SIGTERM goes on for a while: who balances the load has to hear of it."""
        self.asgi.readiness.leaving = True
        delay = shutdown_delay(os.environ) if number == signal.SIGTERM else 0
        if delay and not self.draining:
            self._drain()
            self.loop.call_later(delay, self._end, number)
        elif not delay:
            self._end(number)

    def _drain(self) -> None:
        """From now on keeps no connection after its next answer."""
        self.draining, self._told = True, monotonic()
        for connection in self.connections():
            if connection.cycle is not None:
                connection.cycle.keep_alive = False

    def _end(self, number: int) -> None:
        """SIGTERM: no more than what is under way. SIGINT, SIGQUIT: not even that."""
        self.alive = number == signal.SIGTERM
        if not self.draining:
            self._drain()
        self._stop_listening()
        self._ended.set()

    def _stop_listening(self) -> None:
        """Takes what the kernel has accepted already, and from then on whoever asks is refused, and asks another."""
        if self._deaf:
            return
        self._deaf = True
        for listener in self.sockets:
            self.loop.remove_reader(listener.sock.fileno())
            with contextlib.suppress(OSError):  # too many open files: the rest is refused
                while self._take(listener.sock):
                    pass
            listener.sock.close()

    def _listen(self, listener: socket.socket) -> None:
        if not self._deaf:
            self.loop.add_reader(listener.fileno(), self._ready, listener)

    def _ready(self, listener: socket.socket) -> None:
        """Connections wait to be accepted."""
        if self._patience.waits(len(self.state.connections)):
            self._pause(listener, balance.SECONDS)
            self.loop.call_later(balance.SECONDS, self._accept, listener)
        else:
            self._accept(listener)

    def _pause(self, listener: socket.socket, seconds: float) -> None:
        self.loop.remove_reader(listener.fileno())
        self.loop.call_later(seconds, self._listen, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Takes one connection, if it is still there."""
        try:
            if not self._deaf:
                self._take(listener)
        except OSError as error:  # too many open files, no memory
            self.log.error("Cannot accept a connection: %s", error)  # noqa: TRY400  a traceback says no more
            self._pause(listener, 1.0)

    def _take(self, listener: socket.socket) -> bool:
        """Takes one connection; False where none waits. Raises OSError."""
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        accepted.setblocking(False)
        made = self.loop.connect_accepted_socket(lambda: Connection(self), accepted, ssl=self._tls)
        task = self.loop.create_task(made)
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        return True
