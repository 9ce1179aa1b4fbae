"""What is to be measured, and what has been."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from perf import verdict
from perf.arms.arm import Arm, Cpus
from perf.rule.rounds import Samples
from perf.verdict import Accepted, Judgement, Limits, Round
from pipeline.schema import Perf


def limits_of(perf: Perf) -> Limits:
    """[perf] of pipeline.toml, as the verdict has it."""
    return Limits(**{name: getattr(perf, name) for name in Limits.__struct_fields__})


class Setup(NamedTuple):
    """What is to be measured, and how."""

    project: str
    perf: Perf
    candidate: Arm
    baseline: Arm | None
    bodies: Sequence[bytes]
    cpus: Cpus
    seed: int
    output: Path
    base: str = ""  # what BASE named in place of the champion
    accepted: Accepted | None = None  # what perf-accepted.json says


@dataclass
class Findings:
    """What has been measured so far."""

    candidate: verdict.Arm | None = None
    baseline: verdict.Arm | None = None
    left_out: verdict.Arm | None = None  # a baseline that could not answer
    notes: list[str] = field(default_factory=list)
    rate: float = 0.0  # pairs a second
    rounds: list[Round] = field(default_factory=list)
    samples: list[dict[str, Samples]] = field(default_factory=list)  # of each round, by arm
    judgement: Judgement | None = None
    seconds: float = 0.0
    failure: str = ""  # why the measurement ended before there was a verdict
    log: str = ""  # the last lines of the arm that failed
    deaths: int = 0  # of arms, in rounds that were measured again
