"""The load generator: this process, or several of its own, by Locust's own master and workers.

Each worker has some of the users and knows the whole plan, so that the pairs are due when they would be with one
process, in the same order, by the clock that all processes of a machine share.
"""

# mypy: disable-error-code="no-untyped-call"
# (Locust's events have no types.)

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from perf.load import pairs  # isort: skip  before all that opens a socket: it patches the standard library

from locust.env import Environment
from locust.event import Events
from locust.runners import MasterRunner

from perf.arms.arm import available_cpus, tail
from perf.interrupts import held
from perf.load.sharing import Reached, from_bytes, merged, packed, shares

START_TIMEOUT = 60.0  # seconds until all have connected
LEAD = 0.25  # seconds in which all workers get the plan and start their users
LOOK = 0.2  # seconds between two looks at whether they live
END_TIMEOUT = 2.0  # seconds, then SIGKILL


class WorkerError(RuntimeError):
    """A process that sends the load has died or does not answer; `log` holds its last lines."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class Workers:
    """A load generator of as many processes as were started; this one where none was.

    `stop` may be called at any time and any number of times.
    """

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = bodies
        self._processes: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []  # each with what it wrote
        self._runner: MasterRunner | None = None
        self._nodes: dict[int, str] = {}  # Locust's names of the workers
        self._answers: dict[int, dict[str, Any]] = {}
        self._news = threading.Event()

    @property
    def count(self) -> int:
        return max(1, len(self._processes))

    def start(self, count: int) -> None:
        """Starts `count` processes where that is more than one. Raises WorkerError.

        They inherit the CPUs to which this process is pinned.
        """
        if count == 1:
            return
        with held():  # as in pairs.py
            runner = self._runner = Environment(events=Events()).create_master_runner("127.0.0.1", 0)
        runner.register_message("answer", self._hear)
        for number in range(count):
            log = tempfile.TemporaryFile()  # noqa: SIM115  closed by stop
            process = subprocess.Popen(
                [sys.executable, "-m", "perf.load.worker", str(runner.server.port), str(number)],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,  # which ends when this process does
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that Ctrl-C does not reach it
            )
            self._processes.append((process, log))
        self._collect(START_TIMEOUT, "at its start")
        runner.send_message("bodies", {"bodies": list(self._bodies)})

    def stop(self) -> None:
        processes, self._processes = self._processes, []
        runner, self._runner = self._runner, None
        for process, _ in processes:
            if process.stdin is not None:
                process.stdin.close()
        until = time.perf_counter() + END_TIMEOUT
        for process, log in processes:
            try:
                process.wait(max(0.0, until - time.perf_counter()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()
        if runner is not None:
            runner.greenlet.kill()
            runner.server.close(linger=0)

    def run_pairs(
        self, schedule: pairs.Schedule, urls: Mapping[str, str], bodies: Sequence[bytes], dice: random.Random
    ) -> pairs.Sent:
        """Sends the pairs of a schedule, as pairs.run_pairs does. Raises WorkerError."""
        if self._runner is None:
            return pairs.run_pairs(schedule, urls, bodies, dice)
        schedule = schedule._replace(users=max(schedule.users, self.count))
        plan = pairs.plan_of(schedule, urls, self._bodies, dice)
        plan.begin = time.perf_counter() + LEAD
        task = {
            "task": "pairs",
            "schedule": list(schedule),
            "urls": {arm: urls[arm] for arm in sorted(urls)},
            "offset": plan.offset,
            "orders": packed(plan.orders, sorted(urls)),
            "begin": plan.begin,
        }
        answers = self._ask(
            self._runner, task, schedule.users, plan.end + schedule.grace + END_TIMEOUT - time.perf_counter()
        )
        parts = [{arm: from_bytes(columns) for arm, columns in each["samples"].items()} for each in answers]
        return pairs.Sent(merged(parts), busiest(answers))

    def capacity(self, url: str, bodies: Sequence[bytes], *, users: int, seconds: float) -> Reached:
        """What an arm answers in a closed loop, as pairs.capacity says. Raises WorkerError."""
        if self._runner is None:
            return pairs.capacity(url, bodies, users=users, seconds=seconds)
        answers = self._ask(
            self._runner, {"task": "reach", "url": url, "seconds": seconds}, users, seconds + pairs.GRACE
        )
        return Reached(sum(each["rate"] for each in answers), busiest(answers))

    def _ask(self, runner: MasterRunner, task: dict[str, Any], users: int, timeout: float) -> list[dict[str, Any]]:
        """The answers of all workers to a task, each of which is told which users are its own."""
        for number, share in enumerate(shares(users, self.count)):
            runner.send_message("task", task | {"users": share}, client_id=self._nodes[number])
        return self._collect(timeout, "while it was sending")

    def _hear(self, msg: Any, **_: Any) -> None:
        number = msg.data["number"]
        self._nodes[number], self._answers[number] = msg.node_id, msg.data
        self._news.set()

    def _collect(self, timeout: float, when: str) -> list[dict[str, Any]]:
        until = time.perf_counter() + timeout
        while missing := [n for n in range(len(self._processes)) if n not in self._answers]:
            self._news.clear()
            for number in missing:
                process, _ = self._processes[number]
                if process.poll() is not None:
                    raise self._error(number, f"died {when} (exit code {process.returncode})")
            if time.perf_counter() > until:
                raise self._error(missing[0], f"did not answer within {timeout:.0f} s {when}")
            self._news.wait(LOOK)
        answers, self._answers = self._answers, {}
        return [answers[number] for number in sorted(answers)]

    def _error(self, number: int, what: str) -> WorkerError:
        _, log = self._processes[number]
        log.seek(0)
        return WorkerError(f"Process {number + 1} of {self.count} of the load generator {what}.", tail(log.read()))


def busiest(answers: Sequence[Mapping[str, Any]]) -> float:
    """The share of a CPU that the busiest worker used, or an equal part of all of them where they share CPUs."""
    used = [float(each["cpu"]) for each in answers]
    return max(*used, sum(used) / (len(available_cpus() or ()) or os.cpu_count() or 1))
