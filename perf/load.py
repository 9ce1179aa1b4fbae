"""Locust in this process: pairs of requests on an open schedule, and a closed loop that finds the rate for it.

Importing this module patches the standard library for gevent, so it comes before anything that opens a socket.
"""

# mypy: disable-error-code="no-untyped-call"
# (Locust's events have no types.)

import gc
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment
from locust.event import Events
from locust.exception import StopUser

from perf.interrupts import no_interrupt
from perf.locustfile import HEADERS, PredictUser
from perf.rule.rounds import Samples

TIMEOUT = 10.0  # seconds for one request; longer is an error
DRAIN = 0.5  # of a round's length: how much longer a schedule that fell behind may take
LEAD = 0.1  # seconds in which to start all users
GRACE = 2 * TIMEOUT + 5  # seconds after the end of a plan for the last answers


class Answer(msgspec.Struct):
    predictions: list[msgspec.Raw]


class Schedule(NamedTuple):
    """Pair k is due `k / rate` seconds after the start. Those of the first `warmup` seconds are sent and forgotten."""

    rate: float  # pairs a second, of all users
    users: int
    warmup: float
    seconds: float  # that count

    @property
    def discarded(self) -> int:
        return round(self.rate * self.warmup)

    @property
    def planned(self) -> int:
        return max(1, round(self.rate * self.seconds))


class Sent(NamedTuple):
    """Each arm's requests, and what sending them took."""

    samples: dict[str, Samples]
    cpu: float  # of one CPU, by this process


@dataclass
class Plan:
    """One run of a schedule, shared by the users."""

    schedule: Schedule
    urls: Mapping[str, str]  # by arm
    bodies: Sequence[bytes]
    offset: int  # into bodies
    orders: Sequence[Sequence[str]]  # for each pair, the arms in the order in which they are asked
    begin: float  # of the schedule, on the performance counter
    numbers: Iterator[int] = field(default_factory=itertools.count)  # of the users, from 0

    def due(self, pair: int) -> float:
        return self.begin + pair / self.schedule.rate

    @property
    def end(self) -> float:
        return self.due(len(self.orders)) + DRAIN * self.schedule.seconds


class PairUser(FastHttpUser):
    """Sends every `users`-th pair of the plan when it is due, or as soon after that as the last one is done."""

    host = "http://arms"  # each arm has a session of its own
    plan: ClassVar[Plan]

    def on_start(self) -> None:
        self.next = next(self.plan.numbers)
        self.sessions = {
            arm: FastHttpSession(
                url, self.environment.events.request, self, network_timeout=TIMEOUT, connection_timeout=TIMEOUT
            )
            for arm, url in self.plan.urls.items()
        }
        time.sleep(self.wait_time())

    def on_stop(self) -> None:
        for session in self.sessions.values():
            session.client.close()  # a service that is told to stop waits for connections that are still open

    def wait_time(self) -> float:
        return max(0.0, self.plan.due(self.next) - time.perf_counter())

    @task
    def pair(self) -> None:
        plan, number = self.plan, self.next
        if number >= len(plan.orders) or time.perf_counter() > plan.end:
            raise StopUser
        # The second request of a pair is due when the first is answered, so it inherits what the pair was late by:
        # neither arm is charged for the other's answer, and both for a schedule that was not kept.
        late = max(0.0, time.perf_counter() - plan.due(number))
        body = plan.bodies[(plan.offset + number) % len(plan.bodies)]
        for arm in plan.orders[number]:
            context = {"pair": number, "start": time.perf_counter() - plan.begin, "late": late}
            with self.sessions[arm].post(
                "/predict",
                name=arm,
                data=body,  # type: ignore[arg-type]  # bytes are sent as they are
                headers=HEADERS,
                context=context,
                catch_response=True,
            ) as response:
                if response.status_code == 200 and not _predicts(response.content):
                    response.failure("no predictions in the body")
        self.next += plan.schedule.users


def _predicts(body: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(body, type=Answer).predictions)
    except msgspec.DecodeError:
        return False


def run_pairs(schedule: Schedule, urls: Mapping[str, str], bodies: Sequence[bytes], dice: random.Random) -> Sent:
    """Sends the pairs of a schedule, the same request to each arm, in random order."""
    arms, discarded = sorted(urls), schedule.discarded
    orders = [dice.sample(arms, len(arms)) for _ in range(discarded + schedule.planned)]
    plan = Plan(schedule, urls, bodies, dice.randrange(len(bodies)), orders, time.perf_counter() + LEAD)
    rows: dict[str, list[tuple[int, float, float, float, bool]]] = {arm: [] for arm in arms}

    def record(name: str, response_time: float, exception: object, context: dict[str, Any], **_: Any) -> None:
        if context["pair"] >= discarded:
            start = context["start"] - discarded / schedule.rate
            rows[name].append((context["pair"], start - context["late"], start, response_time, exception is None))

    user = type("PairUser", (PairUser,), {"plan": plan})
    cpu = _run(user, schedule.users, record, plan.end + GRACE - time.perf_counter())
    return Sent({arm: _columns(own) for arm, own in rows.items()}, cpu)


def _columns(rows: list[tuple[int, float, float, float, bool]]) -> Samples:
    pair, due, start, latency, ok = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return Samples(
        np.array(pair, dtype=np.int64),
        np.array(due, dtype=np.float64),
        np.array(start, dtype=np.float64),
        np.array(latency, dtype=np.float64),
        np.array(ok, dtype=np.bool_),
    )


def closed_loop(url: str, bodies: Sequence[bytes], *, users: int, seconds: float) -> float:
    """What an arm answers, in requests a second, when each user sends as soon as its last request is answered."""
    answered = 0

    def count(exception: object, **_: Any) -> None:
        nonlocal answered
        answered += exception is None

    user = type("PredictUser", (PredictUser,), {"host": url, "bodies": list(bodies)})
    began = time.perf_counter()
    _run(user, users, count, seconds)
    return answered / (time.perf_counter() - began)


def _run(user: type[FastHttpUser], users: int, record: Callable[..., None], timeout: float) -> float:
    """Runs `users` users until all are done, for `timeout` seconds at most; returns the share of a CPU that this took.

    What a user raises is raised here.
    """
    environment = Environment(user_classes=[user], events=Events(), catch_exceptions=True)
    failures: list[BaseException] = []
    environment.events.request.add_listener(record)
    environment.events.user_error.add_listener(lambda exception, **_: failures.append(exception))
    cpu, clock = time.process_time(), time.perf_counter()
    with no_interrupt():  # the destructor of a runner that is half there fails, loudly
        runner = environment.create_local_runner()
    gc.collect()
    gc.disable()  # a collection in the middle of a request would count as the arm's latency
    try:
        runner.start(users, spawn_rate=users)
        if runner.spawning_greenlet is not None:
            runner.spawning_greenlet.join()
        runner.user_greenlets.join(timeout=timeout)
    finally:
        gc.enable()
        runner.quit()
    if failures:
        raise failures[0]
    return (time.process_time() - cpu) / (time.perf_counter() - clock)
