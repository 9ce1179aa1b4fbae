"""Clients that ask a service without a pause, and count what they did not get."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

KEPT, FRESH = 6, 3  # clients that keep their connection, and that open one for each request
PAUSE = 0.05  # seconds between two requests of one client: so few that nothing scales
TIMEOUT = 10.0


@dataclass
class Seen:
    """What all clients have seen."""

    answered: Counter[str] = field(default_factory=Counter)  # by version
    lost: list[str] = field(default_factory=list)  # requests that were sent and not answered, a sentence each
    refused: int = 0  # connections: nothing was sent yet

    @property
    def nothing_lost(self) -> bool:
        return not self.lost and not self.refused


@contextmanager
def traffic(url: str, record: bytes) -> Iterator[Seen]:
    """Sends a record again and again while the block runs; at the end nothing is under way any more."""
    seen, over, lock = Seen(), threading.Event(), threading.Lock()
    host = urlsplit(url).netloc
    body = b'{"instances":[' + record + b"]}"

    def client(kept: bool) -> None:
        connection = http.client.HTTPConnection(host, timeout=TIMEOUT)
        while not over.is_set():
            try:
                headers = {"Content-Type": "application/json"} | ({} if kept else {"Connection": "close"})
                connection.request("POST", "/predict", body, headers)
                reply = connection.getresponse()
                content = reply.read()
                answer = json.loads(content) if reply.status == 200 else {}
                with lock:
                    if answer.get("predictions"):
                        seen.answered[answer["model"]["version"]] += 1
                    else:
                        seen.lost.append(f"{'kept' if kept else 'fresh'}: status {reply.status}")
            except ConnectionRefusedError:
                with lock:
                    seen.refused += 1
                connection.close()
            except (OSError, http.client.HTTPException, ValueError) as error:
                with lock:
                    seen.lost.append(f"{'kept' if kept else 'fresh'}: {error!r}")
                connection.close()
            time.sleep(PAUSE)
        connection.close()

    threads = [threading.Thread(target=client, args=(number < KEPT,)) for number in range(KEPT + FRESH)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()
