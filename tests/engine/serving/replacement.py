"""Clients on kept connections while the service that they talk to is replaced."""

import http.client
import threading
import time
from collections.abc import Callable

CLIENTS = 16


def replace(old: int, new: int, body: bytes, stop: Callable[[], object]) -> tuple[list[str], int]:
    """What failed, and how many clients were told to go, while `stop` ends the service on the port `old`.

    Who makes a new connection makes it to `new`, as behind a balancer.
    """
    current, over = [old], threading.Event()
    failures: list[str] = []
    moved: list[int] = []

    def load() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", current[0], timeout=10)
        while not over.is_set():
            try:
                connection.request("POST", "/predict", body)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                break
            if answer.status != 200:
                failures.append(str(answer.status))
            if answer.will_close:
                connection.close()
                moved.append(current[0])
                connection = http.client.HTTPConnection("127.0.0.1", current[0], timeout=10)
        connection.close()

    threads = [threading.Thread(target=load) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    current[0] = new
    stop()
    time.sleep(0.3)
    over.set()
    for thread in threads:
        thread.join()
    return failures, len(moved)
