"""One of several processes that send the load: it does what the gate says, and ends with it.

    python -m perf.load.worker PORT NUMBER

Started by workers.py, with a pipe from the gate as its standard input.
"""

# mypy: disable-error-code="no-untyped-call"
# (Locust's events have no types.)

import os
import select
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from perf.load import pairs  # isort: skip  before all that opens a socket: it patches the standard library

from locust.env import Environment
from locust.event import Events

from perf.load.sharing import to_bytes, unpacked

Task = Callable[[dict[str, Any], Sequence[bytes]], dict[str, Any]]


def send_pairs(task: dict[str, Any], bodies: Sequence[bytes]) -> dict[str, Any]:
    """Sends the pairs of this worker's users."""
    schedule, users = pairs.Schedule(*task["schedule"]), task["users"]
    orders = unpacked(task["orders"], list(task["urls"]))
    plan = pairs.Plan(schedule, task["urls"], bodies, task["offset"], orders, iter(users), task["begin"])
    sent = pairs.run_plan(plan, len(users))
    return {"samples": {arm: to_bytes(samples) for arm, samples in sent.samples.items()}, "cpu": sent.cpu}


def reach(task: dict[str, Any], bodies: Sequence[bytes]) -> dict[str, Any]:
    """Sends what this worker's users can in a closed loop."""
    rate, cpu = pairs.capacity(task["url"], bodies, users=len(task["users"]), seconds=task["seconds"])
    return {"rate": rate, "cpu": cpu}


TASKS: dict[str, Task] = {"pairs": send_pairs, "reach": reach}


def follow(descriptor: int) -> None:
    """Ends this process as soon as nobody holds the other end of the pipe any more, however the gate ended."""
    while True:
        select.select([descriptor], [], [])  # gevent's: the users go on meanwhile
        if not os.read(descriptor, 4096):
            os._exit(0)


def main(port: int, number: int) -> None:
    threading.Thread(target=follow, args=[sys.stdin.fileno()], daemon=True).start()
    runner = Environment(events=Events()).create_worker_runner("127.0.0.1", port)
    bodies: list[bytes] = []

    def obey(msg: Any, **_: Any) -> None:
        try:
            answer = TASKS[msg.data["task"]](msg.data, bodies)
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # the gate sees that, and shows what was printed
        runner.send_message("answer", {"number": number} | answer)

    runner.register_message("bodies", lambda msg, **_: bodies.extend(msg.data["bodies"]))
    runner.register_message("task", obey, concurrent=True)
    runner.send_message("answer", {"number": number})
    runner.greenlet.join()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
