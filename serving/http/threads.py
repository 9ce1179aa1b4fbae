"""gunicorn's worker for the WSGI front: its own with threads, which shares connections out with the other workers."""

import socket
import time

from gunicorn.workers.gthread import ThreadWorker

from serving.http import connections


class Worker(ThreadWorker):  # type: ignore[misc]
    """A process with threads."""

    _open = 0
    _patience: connections.Patience | None = None  # none before the first connection

    @property
    def nr_conns(self) -> int:
        """The open connections, which gunicorn counts."""
        return self._open

    @nr_conns.setter
    def nr_conns(self, number: int) -> None:
        self._open = number
        connections.count(self, number)

    def accept(self, listener: socket.socket) -> None:
        self._patience = self._patience or connections.Patience()
        if self._patience.waits(self._open):
            time.sleep(connections.SECONDS)
        super().accept(listener)
