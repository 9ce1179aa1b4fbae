"""From what was measured to the verdict, and to the files that hold it."""

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from perf import accept, verdict
from perf.arms.arm import Arm
from perf.files import replace, write_verdict
from perf.findings import Findings, Setup, limits_of
from perf.report.markdown import markdown
from perf.report.page import page
from perf.rule.wording import disagreement
from perf.verdict import EXIT_CODES, Outcome, Report, Runner
from pipeline import notes as left
from pipeline.notes import NoteError
from training.quality.report import CURVES, Model

FILES = ("verdict.json", "report.md", "report.html", "rounds.csv", "samples.csv.gz", "candidate.log", "baseline.log")


def clear(output: Path) -> None:
    """Removes what an earlier run left: nobody shall take its verdict for this one's."""
    for name in FILES:
        (output / name).unlink(missing_ok=True)


def write(output: Path, report: Report, findings: Findings) -> None:
    """Writes report.html, report.md and, last, verdict.json: who finds that finds all. Raises OSError."""
    output.mkdir(parents=True, exist_ok=True)
    model = model_of(report)
    replace(output / "report.html", page(report, findings.samples, model, _curves() if model else {}).encode())
    replace(output / "report.md", markdown(report, model).encode())
    write_verdict(output / "verdict.json", report)


def model_of(report: Report) -> Model | None:
    """What training has decided about the candidate; None where that is not here."""
    try:
        model = left.read(Path(), Model)
    except NoteError:
        return None
    return model if model.passed and model.version == report.candidate.version else None


def _curves() -> dict[str, bytes]:
    """As training has drawn them, by name."""
    return {path.stem.replace("_", " "): path.read_bytes() for path in sorted(CURVES.glob("*.png"))}


def conclude(setup: Setup, findings: Findings) -> Report:
    """The verdict. After a failure it is "error", and the figures are those of the rounds before."""
    judged = findings.judgement
    outcome: Outcome = "error"
    if not findings.failure:
        outcome = judged.outcome if judged is not None and judged.outcome != "continue" else "inconclusive"
    candidate = findings.candidate or _unknown(setup.candidate)
    rows = judged.criteria if judged else []
    headline = f"could not run: {findings.failure}" if findings.failure or judged is None else judged.headline
    acceptable = not accept.refusal(outcome, rows, candidate, findings.baseline)
    return Report(
        schema=2,
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        headline=headline[:500],
        next=next_step(outcome, candidate.faults, setup.base, acceptable)[:500],
        project=setup.project,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=findings.seconds,
        candidate=candidate,
        baseline=findings.baseline,
        identical=identical(candidate, findings.baseline),
        limits=limits_of(setup.perf),
        criteria=rows,
        reasons=[reason[:500] for reason in judged.reasons] if judged else [],
        confidence=judged.confidence if judged else 0.0,
        detectable=judged.detectable if judged else None,
        decide_after=list(setup.perf.length.decide_after),
        rate=findings.rate,
        users=setup.perf.load.users,
        seed=setup.seed,
        rounds=findings.rounds,
        runner=Runner(
            cpu=cpu_name()[:200],
            cpus=os.cpu_count() or 1,
            system=platform.platform()[:200],
            python=platform.python_version(),
            service_cpus=setup.cpus.arms,
            client_cpus=setup.cpus.client,
        ),
        notes=[note[:500] for note in [*findings.notes, *notes(candidate, findings, setup)]],
        log=findings.log[-10_000:],
        base=setup.base[:500],
        left_out=findings.left_out,
        accepted=setup.accepted if any(row.accepted for row in rows) else None,
    )


def _unknown(arm: Arm) -> verdict.Arm:
    """An arm that was never asked who it is."""
    return verdict.Arm(kind=arm.kind, source=arm.source[:500])


def identical(candidate: verdict.Arm, baseline: verdict.Arm | None) -> bool:
    """Whether the arms differ in nothing that could make one slower."""
    if baseline is None or candidate.faults:
        return False
    if candidate.kind == baseline.kind == "process":
        digests = [(arm.code_sha256, arm.bundle_sha256) for arm in (candidate, baseline)]
        return all(digests[0]) and digests[0] == digests[1]
    # Of a container only the image says what code runs in it.
    return candidate.image_id != "" and candidate.image_id == baseline.image_id


def notes(candidate: verdict.Arm, findings: Findings, setup: Setup) -> Sequence[str]:
    """What a reader has to know to weigh the figures."""
    texts, baseline = [], findings.baseline
    if findings.judgement is not None:
        rows = findings.judgement.criteria
        texts += [apart] if (apart := disagreement(rows)) else []
        texts += accept.notes(setup.accepted, baseline, setup.base, rows)
    if setup.baseline is None:
        texts.append("No baseline: judged by the absolute limits alone.")
    if identical(candidate, baseline):
        texts.append("Both versions are identical: the same code on the same model.")
    if candidate.faults:
        texts.append(f"The candidate was slowed down on purpose: {', '.join(candidate.faults)}.")
    if setup.perf.max_memory_mb is not None and not any(r.candidate.memory_mb is not None for r in findings.rounds):
        texts.append("The limit of memory was not checked: the system does not say how much the candidate holds.")
    if setup.cpus.arms is None:
        texts.append("Not pinned to CPUs (there is one only, or the system cannot pin): expect more noise.")
    return texts


def next_step(outcome: Outcome, faults: Sequence[str], base: str = "", acceptable: bool = False) -> str:
    """What to type. `base`: what BASE named; `acceptable`: the verdict is one that somebody may accept."""
    again = " ".join([*faults, "make perf", *([f"BASE={shlex.quote(base)}"] if base else [])])
    promote = "make perf compares it with the champion" if base else "make promote makes this model the champion"
    accept = ' make accept REASON="why" accepts it.' if acceptable else ""
    return {
        "pass": f"{promote}; {again} measures it again.",
        "fail": f"{again} reproduces this here. The limits are in pipeline.toml under [perf].{accept}",
        "inconclusive": f"{again} measures again; a quiet machine or PROFILE=thorough sees more.",
        "error": f"remove the cause, then {again}.",
    }[outcome]


def cpu_name() -> str:
    """The model of the CPU, as the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
