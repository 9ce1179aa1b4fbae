"""Locust at a fixed rate, whatever the server does: latencies from when each request was due, as JSON on stdout.

python -m benchmarks.serving.open_loop URL BODY [--rate 200] [--seconds 4] [--users 8]
"""

import argparse
import gc
import itertools
import json
import time
from pathlib import Path
from typing import Any, ClassVar

from locust import FastHttpUser, task  # isort: skip  it patches what opens sockets
import numpy as np
from locust.env import Environment
from locust.exception import StopUser

WARMUP = 0.5  # s that do not count
HEADERS = {"Content-Type": "application/json"}


class OnTime(FastHttpUser):
    """Sends every `users`-th request when it is due, or as soon after that as the last one is answered."""

    rate: ClassVar[float]
    users: ClassVar[int]
    begin: ClassVar[float]
    end: ClassVar[float]
    body: ClassVar[bytes]
    numbers = itertools.count()

    def on_start(self) -> None:
        self.number = next(self.numbers)

    def wait_time(self) -> float:
        self.number += self.users
        return max(0.0, self.due - time.perf_counter())

    @property
    def due(self) -> float:
        return self.begin + self.number / self.rate

    @task
    def ask(self) -> None:
        due = self.due
        if due > self.end:
            raise StopUser
        late = time.perf_counter() - due
        self.client.post("", data=self.body, headers=HEADERS, context={"due": due, "late": max(0.0, late)})  # type: ignore[arg-type]


def measure(url: str, body: bytes, rate: float, seconds: float, users: int) -> dict[str, float]:
    """Percentiles in milliseconds from when requests were due, and how many failed."""
    begin = time.perf_counter() + 0.2
    of_run = {"host": url, "rate": rate, "users": users, "begin": begin, "end": begin + WARMUP + seconds, "body": body}
    environment = Environment(user_classes=[type("User", (OnTime,), of_run)])
    took: list[float] = []
    errors = 0

    def record(response_time: float, exception: object, context: dict[str, Any], **_: Any) -> None:
        nonlocal errors
        if context["due"] > begin + WARMUP:
            errors += exception is not None
            took.append(response_time + 1000 * context["late"])

    environment.events.request.add_listener(record)  # type: ignore[no-untyped-call]
    runner = environment.create_local_runner()
    gc.disable()
    runner.start(users, spawn_rate=users)
    runner.spawning_greenlet.join()  # type: ignore[union-attr]
    runner.user_greenlets.join(timeout=seconds + 15)
    runner.quit()
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(took, [50, 95, 99]))
    return {"rps": len(took) / seconds, "p50": p50, "p95": p95, "p99": p99, "errors": errors}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.open_loop", description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--users", type=int, default=8)
    arguments = parser.parse_args()
    found = measure(arguments.url, arguments.body.read_bytes(), arguments.rate, arguments.seconds, arguments.users)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
