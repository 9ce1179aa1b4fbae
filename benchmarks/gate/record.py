"""Records rounds of the gate for its calibration: the same code in both arms, and candidates with faults of known size.

    python -m benchmarks.gate.record [--minutes 30] [--disturb | --image IMAGE] [--only same,burn-10]

A round is what the gate's own is, at the rate and the length that pipeline.toml says, with both arms restarted before
it. Scenarios take turns in a new random order each time, so that all of them see the machine as it is then, with as
many rounds on end as the gate takes before its first decision. Each round is a file in .cache/gate/, every request in
it, so nothing is lost when it is stopped, and the next recording adds to it. The faults are sized by the plain arm's
p95 in the rounds before.
"""

import argparse
import os
import random
import sys
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path

from perf.locustfile import load_requests  # isort: skip  before all that opens a socket

import msgspec
import numpy as np
from rich.console import Console

from benchmarks.gate.disturb import Disturbance
from benchmarks.gate.scenarios import FOLDER, ROOT, SLOW, SLOW_MS, WEIGHTS, scenarios
from perf.arms.arm import Arm, ArmError, Died, Role, available_cpus, environment_of, pinned, split_cpus
from perf.arms.specs import arm
from perf.interrupts import Interrupt, interruptible
from perf.load import Schedule
from perf.measure import UTILISATION, check, one_round, restarts
from perf.rule.rounds import long_enough
from perf.verdict import Round
from pipeline.schema import Perf
from pipeline.settings import load_settings

RECENT = 30  # rounds whose p95 is the usual one: a machine is faster at times


class Recorder:
    """Two arms on the project, and the rounds that they have run."""

    def __init__(self, perf: Perf, folder: Path, spec: str, interrupt: Interrupt, stack: ExitStack) -> None:
        self.cpus, self.folder, self.perf, self.interrupt = split_cpus(available_cpus()), folder, perf, interrupt
        self.plain = environment_of("baseline", os.environ, self.cpus)
        roles: tuple[Role, ...] = ("candidate", "baseline")
        self.arms = [arm(spec, role, self.plain, self.cpus, folder) for role in roles]
        for each in self.arms:
            stack.callback(each.stop)
            each.start()
        self.bodies = load_requests(ROOT / "bundle" / "requests.jsonl")
        self.dice = random.Random()  # noqa: S311
        self.orders = restarts(self.arms, self.dice)
        self.count = 0

    def round(self, scenario: str, faults: dict[str, str]) -> Round:
        """One round with these faults in the candidate; kept where the scenario has a name. Raises ArmError, Died."""
        if self.interrupt.name:  # in a destructor, of which Python drops what is raised
            raise KeyboardInterrupt(self.interrupt.name)
        candidate, baseline = self.arms
        self._equip(candidate, faults)
        self._equip(baseline, faults if scenario == SLOW else {})
        for each in next(self.orders):
            each.restart()
            each.ready()
        self.count += 1
        found, samples = one_round(self.count, self.arms, self._schedule(scenario), self.bodies, self.dice)
        check(self.arms, self.count)
        if scenario:
            target = self.folder / scenario / f"{time.time_ns()}.npz"
            target.parent.mkdir(parents=True, exist_ok=True)
            columns = {f"{arm}_{name}": getattr(of, name) for arm, of in samples.items() for name in of._fields}
            np.savez_compressed(target, round=np.frombuffer(msgspec.json.encode(found), np.uint8), **columns)
        return found

    def _equip(self, arm: Arm, faults: dict[str, str]) -> None:
        if arm.environment != self.plain | faults:
            arm.environment = self.plain | faults
            arm.stop()  # a container keeps the environment that it was started with
            arm.start()

    def _schedule(self, scenario: str) -> Schedule:
        """As the gate has it, for a service that takes the highest rate, and for one that takes SLOW_MS."""
        plan, load = self.perf.length, self.perf.load
        rate = min(load.max_rate, UTILISATION * 1000 / SLOW_MS / len(self.arms)) if scenario == SLOW else load.max_rate
        seconds = long_enough(plan.round_seconds, rate, self.perf.min_requests, plan.decide_after[-1])
        return Schedule(rate, load.users, plan.warmup_seconds, seconds)


def plain_p95(of: Round) -> float:
    """Of the arm that never has a fault, in milliseconds."""
    return of.baseline.p95 if of.baseline and of.baseline.p95 else np.nan


def record(minutes: float, only: list[str], recorder: Recorder, noise: Disturbance | None, console: Console) -> None:
    """Raises ArmError where an arm does not start, and ValueError where the noise has ended."""
    until = time.monotonic() + 60 * minutes
    usual = deque((plain_p95(recorder.round("", {})) for _ in range(5)), RECENT)
    while time.monotonic() < until:
        turn = [name for name, weight in WEIGHTS.items() for _ in range(weight) if not only or name in only]
        for name in recorder.dice.sample(turn, len(turn)):
            faults = scenarios(float(np.nanmedian(usual)))[name]
            for _ in range(recorder.perf.length.decide_after[0]):
                try:
                    found = recorder.round(name, faults)
                except Died as death:  # which the gate, too, forgives; the round is not kept
                    console.print(str(death), highlight=False)
                    continue
                if noise:
                    noise.check()
                if name != SLOW:
                    usual.append(plain_p95(found))
                both = [f"{of.p95 or 0:.2f}" for of in (found.candidate, found.baseline) if of]
                console.print(f"{recorder.count} {name}: {' against '.join(both)} ms {found.dropped}", highlight=False)
                if time.monotonic() >= until:
                    return


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate.record", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    under = parser.add_mutually_exclusive_group()
    under.add_argument("--disturb", action="store_true", help="beside a noisy neighbour")
    under.add_argument("--image", default="", help="containers of this image as arms, in place of processes")
    parser.add_argument("--only", default="", help="names of scenarios, with commas")
    arguments = parser.parse_args()
    perf, only = load_settings(ROOT).perf, [name for name in arguments.only.split(",") if name]
    if unknown := set(only) - set(WEIGHTS):
        sys.exit(f"No such scenario: {', '.join(sorted(unknown))}. There are: {', '.join(WEIGHTS)}")
    folder = FOLDER / ("disturbed" if arguments.disturb else "containers" if arguments.image else "quiet")
    interrupt = interruptible()
    try:
        with ExitStack() as stack:
            noise = stack.enter_context(Disturbance()) if arguments.disturb else None
            recorder = Recorder(perf, folder, arguments.image or str(ROOT), interrupt, stack)
            stack.enter_context(pinned(recorder.cpus.client))
            record(arguments.minutes, only, recorder, noise, Console())
    except (ArmError, ValueError) as error:
        sys.exit(f"Cannot record: {error}")
    except KeyboardInterrupt:
        print("Stopped; what was recorded is kept.")


if __name__ == "__main__":
    main()
