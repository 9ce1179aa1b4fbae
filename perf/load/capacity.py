"""How many requests a second each arm can take alone: for the reader, after the verdict, which it does not touch.

Short steps of an open schedule, each at another rate, with the arms in turn, so that both see the same machine.
"""

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from perf.arms.arm import Arm, ArmError
from perf.findings import Findings
from perf.load import pairs
from perf.load.search import Bracket, client_was_the_limit, keeps, next_rate
from perf.load.workers import WorkerError, Workers
from perf.report.wording import amount
from perf.verdict import Criterion, Limits

SECONDS = 0.75  # of a step, or what it takes for FEWEST
FEWEST = 20  # requests of a step
MOST = 10_000  # likewise
USERS = 16  # at least: with few, the wait for the last answer would be the limit and not the arm
EACH, ALL = 12.0, 14.0  # seconds for one arm, and for all
GRACE = 1.0  # seconds for the last answers of a step
CLIENT = "the load generator's own limit"
TIME = "the time for it was up"
STOPPED = "it was not tried any further"


@dataclass
class Probe:
    """What is known of one arm."""

    arm: Arm
    known: Bracket = field(default_factory=Bracket)
    doubted: bool = False  # the last step broke a limit, for the first time
    why: str = ""  # it ended before the rate was found


def capacity(
    arms: Sequence[Arm],
    client: Workers,
    bodies: Sequence[bytes],
    limits: Limits,
    users: int,
    found: Findings,
    dice: random.Random,
) -> None:
    """Probes the arms and puts a row into `found`, and a note on what hindered it.

    An interrupt ends it and leaves the verdict. That, too, is a note, as is an arm that dies.
    """
    until = time.perf_counter() + min(EACH * len(arms), ALL)
    probes = [Probe(arm) for arm in arms]
    users = max(users, USERS, client.count)
    with contextlib.suppress(KeyboardInterrupt):  # of which `found` knows, even where a destructor swallowed it
        for probe, rate in due(probes, 2 * found.rate):
            if found.interrupted:
                break
            schedule = pairs.Schedule(rate, users, 0.0, max(SECONDS, FEWEST / rate), GRACE)
            if time.perf_counter() + schedule.seconds * (1 + pairs.DRAIN) > until:
                probe.why = TIME
                continue
            try:
                step(probe, schedule, client, bodies, limits, dice)
            except (ArmError, WorkerError) as error:
                found.notes.append(f"{error} That was after the verdict, when it was tried how much it can take.")
                probe.why = STOPPED
    if found.interrupted:
        found.notes.append(f"How much each version can take was not found: {found.interrupted} came first.")
        found.interrupted = ""
        return
    found.capacity = row([p.known for p in probes], lower_bounds=any(p.why for p in probes))
    found.notes += [note for p in probes if (note := said(p))]


def due(probes: Sequence[Probe], first: float) -> Iterator[tuple[Probe, float]]:
    """Whom to ask next and at what rate, in turns, until nobody is left to ask."""
    while waiting := [(p, rate) for p in probes if not p.why and (rate := next_rate(first, p.known))]:
        yield from waiting


def step(
    probe: Probe,
    schedule: pairs.Schedule,
    client: Workers,
    bodies: Sequence[bytes],
    limits: Limits,
    dice: random.Random,
) -> None:
    """Sends one step and notes what it says. Raises ArmError or WorkerError."""
    arm, rate = probe.arm, schedule.rate
    if schedule.planned > MOST:
        probe.why = CLIENT
        return
    sent = client.run_pairs(schedule, {arm.role: arm.url}, bodies, dice)
    if not arm.alive():
        raise arm.error(f"died when it was sent {amount(rate, '/s')}")
    samples = sent.samples[arm.role]
    kept = keeps(samples, schedule.planned, schedule.seconds, limits)
    if not kept and client_was_the_limit(samples, schedule.users, sent.cpu, limits):
        probe.why = CLIENT
    elif not kept and probe.known.broke is None and not probe.doubted:
        probe.doubted = True  # once more: to take a stall of the machine for the limit would halve it
    else:
        probe.known, probe.doubted = probe.known.after(rate, kept), False


def row(known: Sequence[Bracket], *, lower_bounds: bool) -> list[Criterion]:
    """The row of the report, the candidate first; none where nothing was found. No change of what may be more."""
    candidate, *others = [bracket.kept for bracket in known]
    baseline = others[0] if others else None
    if candidate is None and baseline is None:
        return []
    change = candidate / baseline - 1 if candidate and baseline and not lower_bounds else None
    return [Criterion(name="capacity", unit="/s", baseline=baseline, candidate=candidate, change=change, relative=True)]


def said(probe: Probe) -> str:
    """What a reader has to know of a probe; empty where its figure says all."""
    (kept, broke), whose = probe.known, f"The {probe.arm.role}'s capacity"
    if kept is None:
        at = f"below {amount(broke, '/s')}" if broke else "unknown"
        return f"{whose} is {at}{f': {probe.why}' if probe.why else ''}."
    if not probe.why:
        return ""
    between = f"at least {amount(kept, '/s')}" + (f" and below {amount(broke, '/s')}" if broke else "")
    return f"{whose} is {between}: {probe.why}."
