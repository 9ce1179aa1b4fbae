"""benchmarks/gate.md: what the recorded rounds say of the gate, in tables."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from benchmarks.gate.picture import Line
from benchmarks.gate.rates import CONDITIONS, DRAWN, PROFILES, Case, Ceiling, Rate, alarms, find, of_gate, rate
from benchmarks.gate.recorded import BUSY, Recorded
from benchmarks.gate.scenarios import BURNS, OTHERS, ROOT, SAME, SLOW_MS
from benchmarks.gate.verdicts import ALTERNATIVES
from benchmarks.sections import table
from perf.rule.rounds import MAX_STEAL
from pipeline.settings import load_settings

GATE = "this gate, standard"
WRONG, WRONG_BOUND = 0.01, 0.015  # share of false alarms, and its upper bound
CAUGHT = {0.10: 0.90, 0.15: 0.95}  # by how much p95 is slower, and which share is to be caught
NEAR = 0.015  # that far from it, what a fault was measured to add may be
UNSURE, SECONDS = 0.05, 180.0


def lines(cases: Sequence[Case], condition: str) -> dict[str, Line]:
    """What the picture shows under one condition: the gate first. Nothing where DRAWN was not recorded under it."""
    same, slow = find(cases, condition, SAME), find(cases, condition, DRAWN)
    if same is None or slow is None:
        return {}
    used = (of_gate(same, "standard", "fail").share, of_gate(slow, "standard", "fail").share)
    found = {GATE: Line(list(zip(same.by_limit, slow.by_limit, strict=True)), used)}
    for name, (_, threshold) in ALTERNATIVES.items():
        wrong, right = np.array(same.alternatives[name]), np.array(slow.alternatives[name])
        points = [(float(np.mean(wrong > t)), float(np.mean(right > t))) for t in np.linspace(-0.5, 1.0, 151)]
        found[name] = Line(points, (float(np.mean(wrong > threshold)), float(np.mean(right > threshold))))
    return found


def median_time(case: Case | None, profile: str) -> str:
    times = [run.seconds for run in case.runs[profile]] if case else []
    return f"{np.median(times):.0f} s" if times else "-"


def smallest(case: Case | None, profile: str) -> str:
    """What runs say of themselves that they could see: the median."""
    found = [run.detectable for run in case.runs[profile] if run.detectable is not None] if case else []
    return f"+{100 * np.median(found):.0f} %" if found else "-"


def false_alarms(cases: Sequence[Case]) -> str:
    rows = []
    for condition in CONDITIONS:
        same = find(cases, condition, SAME)
        for title, outcome in (("false alarms", "fail"), ("cannot tell", "inconclusive")):
            rows.append([f"{condition}: {title}", *(str(of_gate(same, profile, outcome)) for profile in PROFILES)])
        rows.append([f"{condition}: median time", *(median_time(same, profile) for profile in PROFILES)])
        rows.append([f"{condition}: smallest slow-down seen", *(smallest(same, profile) for profile in PROFILES)])
        rows.append([f"{condition}: verdicts", *(f"{of_gate(same, profile, 'fail').of:,}" for profile in PROFILES)])
    return table(["the same code twice", *PROFILES], rows)


def power(cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        if case.scenario in BURNS and case.runs["standard"]:
            size, error = (100 * part for part in case.effect)
            found = [str(rate(case.runs[profile], "fail")) for profile in PROFILES]
            rows.append([f"{case.condition}: +{size:.1f} % ± {error:.1f}", *found])
    return table(["p95 slower by", *(f"{profile}: caught" for profile in PROFILES)], rows)


def met(found: bool, sure: bool) -> str:
    """Whether a share is as wanted, and its bound as well."""
    return "yes" if found and sure else "not yet" if found else "no"


def slower_by(cases: Sequence[Case], size: float) -> tuple[Rate, float] | None:
    """How many quiet slow-downs near that size were caught, and their mean size; None where none was recorded."""
    slowed = [case for case in cases if case.condition == "quiet" and case.scenario in BURNS]
    near = [case for case in slowed if abs(case.effect[0] - size) <= NEAR]
    runs = [run for case in near for run in case.runs["standard"]]
    if not runs:
        return None
    mean = np.average([case.effect[0] for case in near], weights=[len(case.runs["standard"]) for case in near])
    return rate(runs, "fail"), float(mean)


def targets(cases: Sequence[Case]) -> str:
    """What the standard profile is meant to keep, and whether these rounds show it."""
    same = {condition: find(cases, condition, SAME) for condition in CONDITIONS}
    rows = []
    for condition, case in same.items():
        found = of_gate(case, "standard", "fail")
        title = f"{condition}: false alarms at most {100 * WRONG:g} %, with a bound of {100 * WRONG_BOUND:g} %"
        rows.append([title, str(found), met(found.share <= WRONG, found.bounds[1] <= WRONG_BOUND)])
    for size, wanted in CAUGHT.items():
        title = f"p95 slower by {100 * size:g} %: caught in at least {100 * wanted:g} %"
        if slowed := slower_by(cases, size):
            found, mean = slowed
            shown = f"{found}, at +{100 * mean:.1f} % on average"
            rows.append([title, shown, met(found.share >= wanted, found.bounds[0] >= wanted)])
        else:
            rows.append([title, "-", "not recorded"])
    unsure = of_gate(same["quiet"], "standard", "inconclusive")
    title = f"quiet: cannot tell in at most {100 * UNSURE:g} %"
    rows.append([title, str(unsure), met(unsure.share <= UNSURE, unsure.bounds[1] <= UNSURE)])
    times = {condition: median_time(case, "standard") for condition, case in same.items()}
    late = any(time != "-" and float(time.split()[0]) > SECONDS for time in times.values())
    found_times = ", ".join(f"{condition} {time}" for condition, time in times.items())
    rows.append([f"median time at most {SECONDS / 60:g} min", found_times, "no" if late else "yes"])
    return table(["target of the standard profile", "found", "met"], rows)


def other_faults(cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        if case.condition == "quiet" and case.scenario in OTHERS:
            runs = case.runs["standard"]
            why = [run.headline for run in runs if run.outcome == "fail"]
            rows.append(
                [
                    OTHERS[case.scenario],
                    f"{100 * case.effect[0]:+.1f} %",
                    str(rate(runs, "fail")),
                    why[0] if why else "",
                ]
            )
    return table(["fault", "p95", "standard: caught", "the first verdict's first line"], rows)


def in_milliseconds(found: Sequence[Ceiling]) -> str:
    rows = [
        [
            f"{each.usual:.{0 if each.usual >= 10 else 1}f} ms, {each.condition}",
            f"{each.times:g} times that",
            str(rate(each.runs, "fail")),
            str(rate(each.runs, "inconclusive")),
            str(each.plain),
        ]
        for each in found
    ]
    return table(["p95 when quiet", "limit", "fails", "cannot tell", "its p95 is above the limit"], rows)


def beside_others(cases: Sequence[Case]) -> str:
    same = [find(cases, condition, SAME) for condition in CONDITIONS]
    burns = [find(cases, "quiet", scenario) for scenario in BURNS]
    rows = [[f"**{GATE}**", *(str(of_gate(case, "standard", "fail")) for case in (*same, *burns))]]
    rows += [[name, *(str(alarms(case, name)) for case in (*same, *burns))] for name in ALTERNATIVES]
    slower = [f"+{100 * case.effect[0]:.1f} %" if case else "-" for case in burns]
    return table(["fails on", *(f"same code, {condition}" for condition in CONDITIONS), *slower], rows)


TEXT = """# How often the gate is wrong

Measured {when}, {machine}: {rounds:,} rounds ({counts}).

Both services are restarted before each round. The rounds are cut into runs that share none, and each run is judged by
`perf/rule/judge.py` as it is, with the limits of `pipeline.toml`. In brackets: Wilson's 95 % bounds. `make bench-gate`
works all of this out again from the recorded rounds, and `make bench-gate MINUTES=240` from new ones.

*Disturbed* means beside a neighbour that burns CPU in bursts, churns the page cache and lets storms of low-priority
processes loose, on either CPU, at random. *Stolen CPU* means without it, in minutes in which the host gave more than
{busy:g} % of the CPU to others, up to {worst:.0f} % in a round: that came unasked, as it does on shared machines. (From
{most:g} % on, the gate drops a round.) *Quiet* is the rest.

## False alarms

{false_alarms}

A slow-down counts as seen where it would have been found in 95 of 100 runs as noisy as these; `report.md` says it of
each run.

"Not yet" in the next table: the share is as wanted, and there are too few verdicts to be sure of it. A fault never adds
just 10 or 15 %, so all quiet slow-downs within {near:g} points of it count, and their mean is given.

{targets}

## What it catches

A fault burns CPU in each prediction of the candidate. What it adds to p95 as the client sees it is measured, over all
of its rounds. What is surely smaller than `max_regression`, {limit:g} % here, passes: a long run is sure of more, so
thorough fails fewer of the slow-downs just below it.

{power}

## Other faults

{other_faults}

## A limit in milliseconds

The same code twice, with `p95_ms` at so many times what the service takes in quiet minutes, from when a request is due:
the service as it is, and one that takes {slow_ms:g} ms for a prediction. A limit below what it takes has to fail; any
other failure is a false alarm. The last column is a rule without intervals, and without a look at who kept the requests
waiting: the median p95 of {length} rounds.

{in_milliseconds}

## Beside what others do

The same rounds, judged by rules that are in use. Each run of theirs has {length} rounds, as many as most of the gate's,
or twice that where one version is measured after the other, and the same requests. (A rank test asks whether there is
any difference, not whether it is one that `max_regression` does not allow.)

{beside_others}

![False alarms against detection](gate.png)
"""


SUMMARY = """**How often the gate is wrong**: the same code failed in {quiet.hits} of {quiet.of} verdicts, and beside a
noisy neighbour in {noisy.hits} of {noisy.of}; a p95 that is {size:.0f} % slower was caught in {caught:.0f} %.
[Figures](benchmarks/gate.md)
"""


def summary(cases: Sequence[Case]) -> str:
    """What README.md says: the standard profile alone."""
    quiet, noisy = (of_gate(find(cases, each, SAME), "standard", "fail") for each in ("quiet", "disturbed"))
    slowed = slower_by(cases, min(CAUGHT))
    if slowed is None:
        raise SystemExit(f"No slow-down near {100 * min(CAUGHT):g} % was recorded.")
    caught, size = slowed
    return SUMMARY.format(quiet=quiet, noisy=noisy, size=100 * size, caught=100 * caught.share)


def when(rounds: Sequence[Recorded]) -> str:
    days = sorted({datetime.fromtimestamp(each.at, UTC).date().isoformat() for each in rounds})
    return f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"


def text(rounds: Sequence[Recorded], machine: str, cases: Sequence[Case], found: Sequence[Ceiling]) -> str:
    """benchmarks/gate.md."""
    perf = load_settings(ROOT).perf
    return TEXT.format(
        when=when(rounds),
        machine=machine,
        rounds=len(rounds),
        counts=", ".join(f"{sum(r.condition == each for r in rounds):,} {each}" for each in CONDITIONS),
        near=100 * NEAR,
        busy=100 * BUSY,
        worst=100 * max((each.round.steal or 0.0 for each in rounds), default=0.0),
        most=100 * MAX_STEAL,
        length=perf.profiles.standard.decide_after[0],
        limit=100 * perf.max_regression,
        false_alarms=false_alarms(cases),
        targets=targets(cases),
        power=power(cases),
        slow_ms=SLOW_MS,
        in_milliseconds=in_milliseconds(found),
        other_faults=other_faults(cases),
        beside_others=beside_others(cases),
    )
