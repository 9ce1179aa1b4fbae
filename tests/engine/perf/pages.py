"""Verdicts with the requests that they are about: ordinary ones, and such as hardly ever are."""

import math
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from perf.rule.judge import judge
from perf.rule.rounds import Samples
from perf.verdict import Accepted, Figures, Measured, Report, Round
from tests.engine.perf.examples import LIMITS, arm_figures, one_round, report_of, rounds_of
from training.quality.report import Importance, Metric, Model, Moved, Promotion, Slice

PASSED = report_of(rounds_of([3.0, 3.05, 2.95, 3.0, 3.0], [3.0] * 5))
FAILED = report_of(rounds_of([4.5, 4.6, 4.4, 4.5, 4.5], [3.0] * 5))
ALONE = report_of(rounds_of([3.0, 3.05, 2.95, 3.0, 3.0]))
ERROR = report_of([], outcome="error", exit_code=3, headline="could not run: The candidate died.", log="last words")
HOSTILE = (
    "@everyone #1 <script>alert(1)</script> <img src=x onerror=y> ` ``` | [x](http://evil.example) "
    "![](http://evil.example/p.png) **b** \u202e </details> --> https://evil.example www.evil.example &lt; \\"
)


def hostile() -> Report:
    """A verdict in which every text that somebody else could have chosen is an attack."""
    report = report_of([*rounds_of([3.0] * 4, [3.0] * 4), one_round(arm_figures(3.0), arm_figures(3.0), 5, HOSTILE)])
    names = ("source", "name", "version", "run_id", "git_sha", "runtime", "bundle_sha256", "image", "image_id")
    arm = replace(report.candidate, **dict.fromkeys(names, HOSTILE[:200]), faults=[HOSTILE])
    texts = {name: HOSTILE for name in ("headline", "next", "log")} | {
        "project": HOSTILE[:200],
        "created": HOSTILE[:200],
    }
    runner = replace(report.runner, cpu=HOSTILE[:200], system=HOSTILE[:200], python=HOSTILE[:200])
    signed = Accepted(
        baseline=Measured(version=HOSTILE[:200], bundle_sha256=HOSTILE[:200]),
        up_to=0.2,
        reason=HOSTILE,
        by=HOSTILE[:200],
        at=HOSTILE[:200],
    )
    return replace(
        report,
        accepted=signed,
        base=HOSTILE,
        left_out=arm,
        candidate=arm,
        baseline=arm,
        reasons=[HOSTILE],
        notes=[HOSTILE],
        runner=runner,
        **texts,
    )


def hostile_model() -> Model:
    """Likewise, of what was decided about the model."""
    few, short = HOSTILE[:200], HOSTILE[:20]
    row = Metric(name=few, candidate=0.5, champion=0.4, change=0.1, interval=(0.0, 0.2))
    part = Slice(
        by=few, value=few, rows=9, candidate=0.5, champion=0.4, change=0.1, interval=(0.0, 0.2), outcome="worse"
    )
    return Model(
        passed=True,
        sentence=HOSTILE,
        version=short,
        champion=short,
        judged=few,
        rows=100,
        compared=90,
        metrics=[row],
        slices=[part],
        moved=[Moved(place=few, truth=few, champion=0.1, candidate=0.9)],
        importance=[Importance(column=few, candidate=0.1, champion=0.2)],
        promotions=[Promotion(version="1", metric=0.9, p95=1.0), Promotion(version="2", metric=0.91, p95=1.1)],
        changed=[HOSTILE],
        notes=[HOSTILE],
    )


def accepted() -> Report:
    """A pass that is one because a slow-down was accepted."""
    signed = Accepted(
        baseline=Measured(version="3", bundle_sha256="cafe"),
        up_to=0.2,
        reason="@ada asked for the new features",
        by="Grace <b>",
        at="2026-11-25T01:02:03+00:00",
    )
    rounds = rounds_of([3.4, 3.45, 3.35, 3.4, 3.4], [3.0] * 5)
    judged = judge(rounds, LIMITS, [5], accepted=signed)
    changes = {"outcome": judged.outcome, "headline": judged.headline, "criteria": judged.criteria}
    return report_of(rounds, accepted=signed, exit_code=0, **changes)


def samples_of(rounds: Sequence[Round], *, answered: bool = True, spread: float = 0.4) -> list[dict[str, Samples]]:
    """Requests with about the figures of some rounds, the same at each call."""
    dice = np.random.default_rng(7)

    def of(arm: Figures) -> Samples:
        start = np.arange(arm.count) / arm.target
        latency = (arm.p95 or 1.0) * np.exp(spread * (dice.standard_normal(arm.count) - 1.6))
        return Samples(np.arange(arm.count), start, start, latency, np.full(arm.count, answered))

    arms = [{"candidate": r.candidate} | ({"baseline": r.baseline} if r.baseline else {}) for r in rounds]
    return [{name: of(arm) for name, arm in both.items()} for both in arms]


Page = tuple[Report, list[dict[str, Samples]]]


def ordinary() -> dict[str, Page]:
    """One of each kind that people will see."""
    found = {"pass": PASSED, "fail": FAILED, "alone": ALONE, "error": ERROR, "hostile": hostile()}
    wild = rounds_of([3.9, 2.6, 9.0, 3.3, 4.8, 3.1], [3.0] * 6)
    wild[2] = replace(wild[2], dropped="the host gave 12 % of the CPU to others")
    found["accepted"] = accepted()
    found["inconclusive"] = replace(report_of(wild), decide_after=[2, 4, 5])
    return {name: (report, samples_of(report.rounds)) for name, report in found.items()}


def degenerate() -> dict[str, Page]:
    """What nobody plans for."""
    dropped = [replace(r, dropped="noise") for r in rounds_of([3.0] * 4, [3.0] * 4)]
    none = arm_figures(None, errors=500)
    nan = replace(arm_figures(3.0), p95=math.nan, p50=math.nan, p99=math.inf, mean=math.nan, p95_due=math.nan)
    empty = replace(arm_figures(None, count=0, achieved=0.0), intended=0, target=0.0)
    few = replace(PASSED, rounds=PASSED.rounds[:1])
    silent = report_of([one_round(none, none, n) for n in (1, 2, 3)])
    no_numbers = [one_round(nan, nan, 1), one_round(nan, arm_figures(3.0), 2), one_round(arm_figures(3.0), nan, 3)]
    nothing = [one_round(empty, empty, n) for n in (1, 2)]
    huge = rounds_of([1e9, 1e-9, 3.0], [3.0] * 3)
    many = rounds_of([3.0 + n % 5 for n in range(1000)], [3.0] * 1000)
    return {
        "no rounds": (replace(ERROR, criteria=[]), []),
        "rounds without a judgement": (replace(PASSED, criteria=[], decide_after=[]), samples_of(PASSED.rounds)),
        "rounds without requests": (PASSED, []),
        "one round": (few, samples_of(few.rounds)),
        "one round alone": (report_of(rounds_of([3.0])), samples_of(rounds_of([3.0]))),
        "one latency": (PASSED, samples_of(rounds_of([3.0] * 5, [3.0] * 5), spread=0.0)),
        "no latency above zero": (PASSED, [_slow(each, 0.0) for each in samples_of(PASSED.rounds)]),
        "latencies that are no number": (PASSED, [_slow(each, math.nan) for each in samples_of(PASSED.rounds)]),
        "one request": (PASSED, [_first(samples_of(PASSED.rounds)[0])]),
        "no answers": (silent, samples_of(silent.rounds, answered=False)),
        "no figures": (report_of(no_numbers), samples_of(rounds_of([3.0] * 3, [3.0] * 3))),
        "nothing sent": (report_of(nothing), [{"candidate": _none(), "baseline": _none()}] * 2),
        "all rounds dropped": (report_of(dropped), samples_of(dropped)),
        "all rounds dropped, alone": (replace(report_of(dropped), baseline=None), samples_of(dropped)),
        "far apart": (report_of(huge), samples_of(huge, spread=8.0)),
        "a thousand rounds": (replace(PASSED, rounds=many), [_first(each, 9) for each in samples_of(many)]),
    }


def _slow(by_arm: dict[str, Samples], factor: float) -> dict[str, Samples]:
    return {name: of_arm._replace(latency=of_arm.latency * factor) for name, of_arm in by_arm.items()}


def _first(by_arm: dict[str, Samples], count: int = 1) -> dict[str, Samples]:
    return {name: Samples(*(column[:count] for column in of_arm)) for name, of_arm in by_arm.items()}


def _none() -> Samples:
    return Samples(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.bool_))
