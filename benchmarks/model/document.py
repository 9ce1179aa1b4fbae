"""benchmarks/model.md: what the verdicts say of the quality gate, in tables."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from benchmarks import sections
from benchmarks.gate.rates import Rate
from benchmarks.gate.recorded import machine
from benchmarks.model.pairs import FAULTS, SAME
from benchmarks.sections import table
from benchmarks.tables.sources import ROOT
from training.quality import rule

COMMAND = "make bench-model"
PAGE = ROOT / "benchmarks" / "model.md"
ENOUGH = 1500  # held-out rows, with which the gate is to catch what is DOUBLE the tolerance
DOUBLE = 2.0
WRONG, CAUGHT = 0.01, 0.95


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    data: str
    split: int
    change: str
    rows: int  # held out, on which the pair was judged
    whole: bool  # these are all
    found: float  # loss
    error: float  # its standard error
    surely: float
    at_most: float
    tolerance: float
    floor: bool  # the candidate is below it

    @property
    def outcome(self) -> str:
        it = rule.Loss(self.found, self.surely, self.at_most, self.error)
        return rule.decide(it, self.tolerance, self.rows).outcome


RULES: dict[str, Callable[[Verdict], bool]] = {
    "**this gate**": lambda it: it.outcome == "fail",
    "worse as measured": lambda it: it.found > 0,
    "worse by the tolerance as measured": lambda it: it.found > it.tolerance,
    "the floor alone": lambda it: it.floor,
}


def rate(verdicts: Sequence[Verdict], hit: Callable[[Verdict], bool]) -> Rate:
    return Rate(sum(map(hit, verdicts)), len(verdicts))


def unsure(it: Verdict) -> bool:
    return it.outcome == "unsure"


def losses(verdicts: Iterable[Verdict]) -> dict[tuple[str, str], float]:
    """How much each fault costs on each data set, in tolerances: the mean over all splits, on all held-out rows."""
    found = defaultdict(list)
    for each in verdicts:
        if each.whole:
            found[each.data, each.change].append(each.found / each.tolerance)
    return {key: float(np.mean(values)) for key, values in found.items()}


def tables(verdicts: Sequence[Verdict]) -> str:
    whole, cost = [each for each in verdicts if each.whole], losses(verdicts)
    same = [each for each in whole if each.change in SAME]
    names = list(dict.fromkeys(each.data for each in verdicts))
    return "\n\n".join(
        (
            f"On {machine()}: {len(whole):,} pairs of models, {len(same):,} of them equally good.",
            "## Models that are equally good",
            _false_alarms(same, names),
            "## Models with a fault",
            _caught([each for each in whole if each.change in FAULTS], cost, names),
            "## How many rows it takes",
            _by_rows(verdicts, cost),
            "## Targets",
            _targets(verdicts, cost),
        )
    )


def _false_alarms(same: Sequence[Verdict], names: Sequence[str]) -> str:
    heads = ["fails an equally good model", "held-out rows", *RULES, "this gate cannot tell"]
    rows = []
    for name in names:
        some = [each for each in same if each.data == name]
        rows.append([name, f"{some[0].rows:,}", *(str(rate(some, rule)) for rule in RULES.values())])
        rows[-1].append(str(rate(some, unsure)))
    for change in SAME:
        some = [each for each in same if each.change == change]
        rows.append(
            [f"all, {change}", "", *(str(rate(some, rule)) for rule in RULES.values()), str(rate(some, unsure))]
        )
    rows.append(["**all**", "", *(str(rate(same, rule)) for rule in RULES.values()), str(rate(same, unsure))])
    return table(heads, rows)


def _caught(faulty: Sequence[Verdict], cost: dict[tuple[str, str], float], names: Sequence[str]) -> str:
    heads = ["fails a model with a fault", "loss, in tolerances", *RULES, "this gate cannot tell"]
    rows = []
    for name in names:
        for change in FAULTS:
            some = [each for each in faulty if (each.data, each.change) == (name, change)]
            found = [f"{cost[name, change]:+.1f}", *(str(rate(some, rule)) for rule in RULES.values())]
            rows.append([f"{name.split(' (')[0]}: {change}", *found, str(rate(some, unsure))])
    return table(heads, rows)


BANDS = (
    ("none", -1e9, 0.1),
    ("to the half", 0.1, 0.5),
    ("to the tolerance", 0.5, 1),
    ("to twice", 1, 2),
    ("more", 2, 1e9),
)


def _by_rows(verdicts: Sequence[Verdict], cost: dict[tuple[str, str], float]) -> str:
    """By the loss on average and the number of rows: what fails, and what cannot be told."""
    edges = (0, 150, 500, 1250, 2000, 5000, 10**9)
    heads = ["held-out rows", *(f"{title}: {what}" for title, _, _ in BANDS for what in ("fails", "cannot tell"))]
    rows = []
    for low, high in pairwise(edges):
        some = [each for each in verdicts if low < each.rows <= high]
        if not some:
            continue
        counts = sorted({each.rows for each in some})
        row = [f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"]
        for _, least, most in BANDS:
            band = [each for each in some if least <= _cost(each, cost) < most]
            row += [str(rate(band, RULES["**this gate**"])), str(rate(band, unsure))]
        rows.append(row)
    return table(heads, rows)


def _cost(it: Verdict, cost: dict[tuple[str, str], float]) -> float:
    return 0.0 if it.change in SAME else cost[it.data, it.change]


def _targets(verdicts: Sequence[Verdict], cost: dict[tuple[str, str], float]) -> str:
    gate = RULES["**this gate**"]
    wrong = rate([each for each in verdicts if each.whole and each.change in SAME], gate)
    far = [each for each in verdicts if each.rows >= ENOUGH and each.whole and _cost(each, cost) >= DOUBLE]
    caught = rate(far, gate)
    return table(
        ["target", "found", "met"],
        [
            [
                f"an equally good model fails in at most {WRONG:.0%}",
                str(wrong),
                _met(wrong.bounds[1] <= WRONG, wrong.share <= WRONG),
            ],
            [
                f"{DOUBLE:g} tolerances or more, with {ENOUGH:,} rows or more: at least {CAUGHT:.0%} are caught",
                str(caught),
                _met(caught.bounds[0] >= CAUGHT, caught.share >= CAUGHT),
            ],
        ],
    )


def _met(surely: bool, found: bool) -> str:
    return "yes" if surely else "not yet" if found else "no"


def write(verdicts: Sequence[Verdict]) -> None:
    sections.write(PAGE, COMMAND, tables(verdicts) + "\n")
    cost = losses(verdicts)
    same = rate([each for each in verdicts if each.whole and each.change in SAME], RULES["**this gate**"])
    point = rate(
        [each for each in verdicts if each.whole and each.change in SAME], RULES["worse by the tolerance as measured"]
    )
    far = [each for each in verdicts if each.whole and each.rows >= ENOUGH and _cost(each, cost) >= DOUBLE]
    caught = rate(far, RULES["**this gate**"])
    sections.write(
        ROOT / "README.md",
        COMMAND,
        f"**How often the model's gate is wrong**: an equally good model failed in {same.hits} of {same.of} verdicts,\n"
        f"where bare numbers fail {point.hits}; a loss of twice the tolerance was caught in\n"
        f"{100 * caught.share:.0f} %. [Figures](benchmarks/model.md)\n",
    )
