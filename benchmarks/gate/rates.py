"""All verdicts on the recorded rounds, and how often they are right and wrong."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from scipy.stats import binomtest

from benchmarks.gate.recorded import Recorded
from benchmarks.gate.scenarios import BURNS, OTHERS, ROOT, SAME, SLOW
from benchmarks.gate.verdicts import ALTERNATIVES, Run, cost_of, excesses, gate, p95, pooled
from perf.findings import limits_of
from perf.rule.estimate import log_ratio
from perf.verdict import Limits
from pipeline.settings import load_settings

CONDITIONS = ("quiet", "stolen CPU", "disturbed")
PROFILES = ("quick", "standard", "thorough")

DRAWN = "burn-12"  # whose detection the picture shows: the slow-down that was recorded both quiet and disturbed
CEILINGS = (0.6, 1.5, 2.0, 3.0)  # limits in milliseconds, as multiples of what the service takes when it is quiet
STRICTNESS = (0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.12, 0.15, 0.20, 0.30)  # max_regression


class Rate(NamedTuple):
    """A share of runs, with Wilson's 95 % bounds."""

    hits: int
    of: int

    @property
    def share(self) -> float:
        return self.hits / self.of if self.of else math.nan

    @property
    def bounds(self) -> tuple[float, float]:
        if not self.of:
            return 0.0, 1.0
        found = binomtest(self.hits, self.of).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        if not self.of:
            return "-"
        low, high = self.bounds
        return f"{100 * self.share:.1f} % ({100 * low:.1f} … {100 * high:.1f})"


def rate(runs: Sequence[Run], outcome: str) -> Rate:
    return Rate(sum(run.outcome == outcome for run in runs), len(runs))


def chosen(rounds: Sequence[Recorded], condition: str, scenario: str) -> list[Recorded]:
    return [each for each in rounds if (each.condition, each.scenario) == (condition, scenario)]


def effect(rounds: Sequence[Recorded]) -> tuple[float, float]:
    """By how much a fault slows p95 as the client sees it: the median over rounds, and its standard error."""
    ratios = np.array([log_ratio(r.round.candidate.p95, r.round.baseline and r.round.baseline.p95) for r in rounds])
    ratios = ratios[np.isfinite(ratios)]
    return math.expm1(float(np.median(ratios))), 1.25 * float(ratios.std()) / math.sqrt(ratios.size)


class Case(NamedTuple):
    """The runs of one scenario under one condition, by profile."""

    condition: str
    scenario: str
    effect: tuple[float, float]  # of p95, and its standard error
    runs: dict[str, list[Run]]
    alternatives: dict[str, list[float]]  # by how much each found the candidate slower, run for run
    by_limit: list[float]  # share of runs that fail, standard, at each of STRICTNESS


def judged(rounds: Sequence[Recorded]) -> list[Case]:
    """All verdicts on the rounds."""
    perf = load_settings(ROOT).perf
    limits = limits_of(perf)
    length = perf.profiles.standard.decide_after[0]
    plain = chosen(rounds, "quiet", SAME)
    usual = float(np.median([p95(pooled(plain[at : at + length], 1)) for at in range(0, len(plain), length)]))
    cases = []
    for condition in CONDITIONS:
        for scenario in (SAME, *BURNS, *OTHERS):
            some = chosen(rounds, condition, scenario)
            if len(some) < 2:
                continue
            cost = cost_of(some)
            runs = {
                name: list(gate(some, limits, getattr(perf.profiles, name).decide_after, cost)) for name in PROFILES
            }
            others = {name: excesses(rule, some, length, usual) for name, (rule, _) in ALTERNATIVES.items()}
            by_limit = []
            if scenario in (SAME, DRAWN):
                decide_after = perf.profiles.standard.decide_after
                stricter = [replace(limits, max_regression=limit) for limit in STRICTNESS]
                by_limit = [rate(list(gate(some, each, decide_after, cost)), "fail").share for each in stricter]
            cases.append(Case(condition, scenario, effect(some), runs, others, by_limit))
    return cases


class Ceiling(NamedTuple):
    """Verdicts on the same code twice, with a limit in milliseconds."""

    condition: str
    scenario: str
    usual: float  # p95 from when requests were due, in quiet minutes, ms
    times: float  # so often is the limit
    runs: list[Run]
    plain: Rate  # how often the median p95 of a run of the shortest length is above the limit


def ceilings(rounds: Sequence[Recorded]) -> list[Ceiling]:
    """Of the rounds that tell what others used of the machine."""
    perf = load_settings(ROOT).perf
    decide_after = perf.profiles.standard.decide_after
    telling = [each for each in rounds if each.round.others is not None]
    found = []
    for scenario in (SAME, SLOW):
        quiet = [each.round.candidate.p95_due for each in chosen(telling, "quiet", scenario)]
        for condition in CONDITIONS:
            some = chosen(telling, condition, scenario)
            if not quiet or len(some) < decide_after[0]:
                continue
            usual = float(np.nanmedian(np.array(quiet, float)))
            for times in CEILINGS:
                limits = replace(limits_of(perf), p95_ms=times * usual)
                runs = list(gate(some, limits, decide_after, cost_of(some)))
                found.append(Ceiling(condition, scenario, usual, times, runs, _above(some, decide_after[0], limits)))
    return found


def _above(rounds: Sequence[Recorded], length: int, limits: Limits) -> Rate:
    """How many runs of so many rounds have a median p95 above the limit."""
    due = np.array([each.round.candidate.p95_due for each in rounds], float)
    medians = np.nanmedian(due[: len(due) // length * length].reshape(-1, length), axis=1)
    return Rate(int((medians > limits.p95_ms).sum()), len(medians))


def find(cases: Sequence[Case], condition: str, scenario: str) -> Case | None:
    return next((c for c in cases if (c.condition, c.scenario) == (condition, scenario)), None)


def alarms(case: Case | None, name: str) -> Rate:
    """How often another rule fails."""
    if case is None:
        return Rate(0, 0)
    return Rate(sum(found > ALTERNATIVES[name][1] for found in case.alternatives[name]), len(case.alternatives[name]))


def of_gate(case: Case | None, profile: str, outcome: str) -> Rate:
    return rate(case.runs[profile], outcome) if case else Rate(0, 0)
