"""The measurement: starts the arms, finds the rate, then round after round until the judge has seen enough.

Before each round both arms are restarted, in random order, and warmed up; then they get the same requests at the same
time. Each round's figures go to rounds.csv and each request to samples.csv.gz as soon as they are there. One death of
an arm is forgiven, since anything may have killed it: that round is measured again.
"""

import contextlib
import random
import time
from collections.abc import Iterator, Sequence

from perf.accept import in_force
from perf.arms.arm import Arm, Died
from perf.arms.containers import leftovers
from perf.arms.usage import Usage, by_others, cpu_ticks, stolen
from perf.files import Records
from perf.findings import Findings, Setup, limits_of
from perf.interrupts import Interrupt, no_interrupt
from perf.introduction import introduce
from perf.load import Schedule, closed_loop, run_pairs
from perf.report.display import Display
from perf.rule.judge import judge
from perf.rule.rounds import Samples, Spent, blame, disturbance, figures, long_enough
from perf.verdict import Round

PROBE_SECONDS = 2.0  # or a round, where that is shorter
UTILISATION = 0.5  # of what the baseline can do: higher, and the queue would be measured; lower, and too few requests


def measure(setup: Setup, findings: Findings, display: Display, interrupt: Interrupt) -> None:
    """Measures until there is a verdict. `findings` is filled step by step, so that it holds something in any case.

    Raises ArmError where an arm cannot be started, does not get ready or dies twice. None outlives the call.
    """
    arms = [arm for arm in (setup.candidate, setup.baseline) if arm is not None]
    if any(arm.kind == "container" for arm in arms):
        findings.notes += leftovers()
    with contextlib.ExitStack() as stack:
        for arm in arms:
            display.step(f"starting the {arm.role}")
            stack.callback(end, arm, findings, interrupt)
            arm.start()
            arm.ready()
        arms, bodies = introduce(arms, setup.bodies, findings)
        for note in findings.notes:
            display.say(note)
        setup = setup._replace(bodies=bodies)
        run_rounds(arms, schedule_for(arms, setup, findings, display), setup, findings, display, interrupt)


def schedule_for(arms: Sequence[Arm], setup: Setup, findings: Findings, display: Display) -> Schedule:
    """The rate that the arms can take, and rounds that are long enough at it. Raises ArmError."""
    perf, length = setup.perf, setup.perf.length
    display.step("finding the rate")
    findings.rate = rate_for(arms[-1], setup, len(arms))
    seconds = long_enough(length.round_seconds, findings.rate, perf.min_requests, length.decide_after[-1])
    if seconds > length.round_seconds:
        display.say(
            f"Rounds of {seconds:.0f} s: the service takes that long for the {perf.min_requests:,} requests that "
            "perf.min_requests asks for."
        )
    return Schedule(findings.rate, perf.load.users, length.warmup_seconds, seconds)


def run_rounds(
    arms: Sequence[Arm], schedule: Schedule, setup: Setup, findings: Findings, display: Display, interrupt: Interrupt
) -> None:
    """Round after round, each with its restarts, until the judge has seen enough. Raises ArmError."""
    dice = random.Random(setup.seed)  # noqa: S311  orders, not secrets
    decide_after, limits, acceptance = (
        setup.perf.length.decide_after,
        limits_of(setup.perf),
        in_force(setup.accepted, findings.baseline),
    )
    sizes = [arm.image_mb() for arm in arms]
    records = Records(setup.output)
    for order in restarts(arms, dice):
        if interrupt.name:
            raise KeyboardInterrupt(interrupt.name)
        number = len(findings.rounds) + 1
        display.begin(number, decide_after, findings)
        try:
            restart(order)
            measured, samples = one_round(number, arms, schedule, setup.bodies, dice)
            check(arms, number)
        except Died as death:
            forgive(death, number, findings, display)
            continue
        with no_interrupt():
            records.write(measured, samples)
            findings.rounds.append(measured)
            findings.samples.append(samples)
        findings.judgement = judge(findings.rounds, limits, decide_after, sizes, acceptance)
        display.end(measured, findings)
        if findings.judgement.outcome != "continue":
            break


def end(arm: Arm, findings: Findings, interrupt: Interrupt) -> None:
    """Stops an arm, which no interrupt may disturb."""
    interrupt.ending = True
    arm.stop()
    if arm.left:
        findings.notes.append(f"The container {arm.left} could not be removed; the next run does that.")


def restart(arms: Sequence[Arm]) -> None:
    """Raises ArmError, and Died where one has ended before it was ready."""
    for arm in arms:
        arm.restart()
        arm.ready()


def check(arms: Sequence[Arm], number: int) -> None:
    """Raises Died where an arm did not survive a round."""
    for arm in arms:
        if not arm.alive():
            raise arm.error(f"died in round {number}", Died)


def forgive(death: Died, number: int, findings: Findings, display: Display) -> None:
    """Notes the first death of an arm, after which the round is measured again. Raises the second."""
    if findings.deaths:
        raise death
    findings.deaths += 1
    findings.notes.append(f"{death} Round {number} was measured again.")
    display.say(findings.notes[-1])


def rate_for(arm: Arm, setup: Setup, arms: int) -> float:
    """Pairs a second, from what `arm` can do alone: the baseline, lest a slow candidate lower the load on itself.

    Raises ArmError where it died of it.
    """
    perf = setup.perf
    seconds = min(PROBE_SECONDS, perf.length.round_seconds)
    most = closed_loop(arm.url, setup.bodies, users=perf.load.users, seconds=seconds)
    if not arm.alive():
        raise arm.error("died while its capacity was measured")
    if not most:  # it answers with errors alone, which shall show at once
        return perf.load.max_rate
    return max(min(perf.load.max_rate, UTILISATION * most / arms), 1 / perf.length.round_seconds)


def restarts(arms: Sequence[Arm], dice: random.Random) -> Iterator[list[Arm]]:
    """Orders of restarting: a random one, then its reverse, so that no arm is first more often than the other."""
    while True:
        order = dice.sample(arms, len(arms))
        yield order
        yield order[::-1]


def one_round(
    number: int,
    arms: Sequence[Arm],
    schedule: Schedule,
    bodies: Sequence[bytes],
    dice: random.Random,
) -> tuple[Round, dict[str, Samples]]:
    """Sends one round's requests to arms that are ready."""
    used = [arm.usage() for arm in arms]
    before, client = cpu_ticks(), time.process_time()
    samples, client_cpu = run_pairs(schedule, {arm.role: arm.url for arm in arms}, bodies, dice)
    after, client = cpu_ticks(), time.process_time() - client
    now = [arm.usage() for arm in arms]
    of = {
        arm.role: figures(
            samples[arm.role],
            schedule.planned,
            schedule.seconds,
            arm.ready_seconds,
            spent(first, last, schedule.discarded + samples[arm.role].pair.size),
        )
        for arm, first, last in zip(arms, used, now, strict=True)
    }
    candidate, baseline = of["candidate"], of.get("baseline")
    steal = stolen(before, after)
    share = blame(samples["candidate"], samples["baseline"]) if baseline else 1.0
    return (
        Round(
            number=number,
            candidate=candidate,
            baseline=baseline,
            client_cpu=client_cpu,
            steal=steal,
            others=by_others(before, after, client, list(zip(used, now, strict=True))),
            dropped=disturbance(candidate, baseline, client_cpu, steal, share),
        ),
        samples,
    )


def spent(before: Usage | None, after: Usage | None, requests: int) -> Spent | None:
    """What an arm used between two decide_after at it.

    None where the system does not say, where nothing was sent, or where a process of the arm ended meanwhile, and its
    CPU time with it.
    """
    if before is None or after is None or not requests or after.cpu_seconds < before.cpu_seconds:
        return None
    grown = after.memory_mb - before.memory_mb
    return Spent(after.cpu_seconds - before.cpu_seconds, after.memory_mb, grown, requests)
