"""From a verdict to report.md: what broke and by how much, one table, what to do next, and the rest folded away.

With the model's verdict it is the comment on a pull request: both verdicts first, then a part for each.
"""

from perf.accept import in_words
from perf.rule.wording import NAMES, amount, bound, percent, span
from perf.verdict import Arm, Criterion, Report, Round, Runner
from pipeline.markup import fenced, folded, listed, quoted, sentence, table
from training.quality import markdown as quality
from training.quality.report import Model

ICONS = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️", "error": "⛔", "info": ""}
ACCEPTED = "✍️"  # beside the tick: somebody has signed for it
MARKER = "<!-- perf-gate:predict -->"  # by which a later run finds its comment
MAX_BYTES = 60_000  # GitHub takes comments of 65,536 characters
SHOWN_ROUNDS = 40


def markdown(report: Report, model: Model | None = None) -> str:
    """report.md: the summary of a step and the comment on a pull request. model: what was decided about the model."""
    signed = [f"**Accepted:** {in_words(report.accepted, quoted)}"] if report.accepted else []
    next_step = f"**Next:** {sentence(report.next)}"
    judged = ["#### Model", *quality.shown(model)] if model else []
    more, title = (quality.hidden(model), ["#### Latency"]) if model else ([], [])
    judging = [row for row in report.criteria if row.outcome != "info"]
    shown = [
        *signed,
        *([_table(report, judging)] if judging else []),
        *([_measured(report)] if report.rounds else []),
        *([listed(report.reasons + report.notes)] if report.reasons or report.notes else []),
    ]
    figures = [row for row in report.criteria if row.outcome == "info"]
    hidden = [
        *([folded("More figures", _table(report, figures))] if figures else []),
        *([folded("Last lines of its log", fenced(report.log))] if report.log else []),
        *([folded("Rounds", _rounds(report))] if report.rounds else []),
        folded("Method and limits", _method(report)),
    ]
    first = heading(report, model)
    whole = [first, *judged, *more, *title, *shown, next_step, *hidden, MARKER]
    shorter = [first, *judged, *title, *shown, next_step, MARKER]
    for parts in (whole, shorter, [first, *signed, next_step, MARKER]):
        text = "\n\n".join(filter(None, parts)) + "\n"
        if len(text.encode()) < MAX_BYTES:
            break
    return text


def heading(report: Report, model: Model | None) -> str:
    """Both verdicts: what stops a version comes first, and the other has no more than its name then."""
    icon = ICONS[report.outcome] + (ACCEPTED if report.accepted and report.outcome == "pass" else "")
    verdicts = [(report.outcome == "pass", f"{icon} Latency", sentence(report.headline))]
    if model:
        verdicts.insert(0, (quality.icon(model) == "✅", f"{quality.icon(model)} Model", sentence(model.sentence)))
    verdicts.sort(key=lambda each: each[0])
    bad = not all(well for well, _, _ in verdicts)
    return "### " + " · ".join(name if bad and well else f"{name}: {text}" for well, name, text in verdicts)


def who(arm: Arm | None) -> str:
    """An arm in a few words."""
    if arm is None:
        return ""
    if arm.git_sha and not arm.version:
        return f"commit {arm.git_sha[:7]}"
    return f"version {arm.version or '?'}" + (f", {arm.git_sha[:7]}" if arm.git_sha else "")


def _table(report: Report, rows: list[Criterion]) -> str:
    paired = report.baseline is not None
    arms = [f"baseline<br>{quoted(who(report.baseline))}"] if paired else []
    arms.append(f"candidate<br>{quoted(who(report.candidate))}")
    heads = ["", *arms, *(["change"] if paired else []), f"{report.confidence * 100:.0f} % interval", "limit", ""]
    aligned = "l" + "r" * (len(heads) - 4) + "ccl"
    return table([heads, *(_cells(row, paired) for row in rows)], aligned)


def _cells(row: Criterion, paired: bool) -> list[str]:
    name = NAMES[row.key]
    both = [amount(row.baseline, row.unit)] if paired else []
    change = [percent(row.change)] if paired else []
    icon = ACCEPTED if row.accepted and row.outcome == "pass" else ICONS[row.outcome]
    return [name, *both, amount(row.candidate, row.unit), *change, span(row), bound(row), icon]


def _measured(report: Report) -> str:
    kept = [r for r in report.rounds if not r.dropped]
    requests = sum(r.candidate.count for r in kept)
    kind = "paired requests" if report.baseline else "requests"
    sentences = [
        f"{len(kept)} rounds, {requests:,} {kind} at {amount(report.rate, '/s')}, {report.seconds / 60:.1f} min."
    ]
    if report.detectable is not None:
        sentences.append(f"This run could see a slow-down of {percent(report.detectable, signed=False)}.")
    steals = [r.steal for r in kept if r.steal is not None]
    steal = f", steal {percent(sum(steals) / len(steals), signed=False)}" if steals else ""
    sentences.append(f"Machine: {quoted(report.runner.cpu)}, {report.runner.cpus} CPUs{steal}.")
    return " ".join(sentences)


def _rounds(report: Report) -> str:
    heads = ["round", "baseline p95", "candidate p95", "change", ""]
    lines = table([heads, *(_round(r) for r in report.rounds[:SHOWN_ROUNDS])], "rrrrl")
    more = len(report.rounds) - SHOWN_ROUNDS
    return lines + (f"\n\nand {more} more in rounds.csv" if more > 0 else "")


def _round(r: Round) -> list[str]:
    base = r.baseline.p95 if r.baseline else None
    change = r.candidate.p95 / base - 1 if r.candidate.p95 and base else None
    cells = [str(r.number), amount(base, "ms"), amount(r.candidate.p95, "ms"), percent(change)]
    return [*cells, f"dropped: {sentence(r.dropped)}" if r.dropped else ""]


PAIRED = """The same code does not fail. A slow-down of the limit or more is caught. What is surely below the limit
passes. Both services run at the same time and are restarted before each round. Each request goes to both, in random
order, when the schedule says so, however slow the last answer was. The change is the mean over rounds; of ten or more,
less the fifth of them at either end, which something else may have hit. Its interval is over rounds, and each decision
spends a share of 1 % (failing the same code) and of 5 % (passing what is too slow). A slow-down fails where it is
surely above a tenth of the limit and estimated at half of it or more, unless it is surely below the limit. Where more
was accepted, it fails where it is surely above that."""
ALONE = """The service is restarted before each round, and each request is sent when the schedule says so, however
slow the last answer was. Figures are means over rounds; of ten or more, less the fifth of them at either end. The
interval is over rounds, and each decision spends a share of 1 % (failing what keeps the limit) and of 5 % (passing what
does not)."""


def method(report: Report) -> str:
    """How it was measured and judged, in one line."""
    return " ".join((PAIRED if report.baseline else ALONE).split())


def placement(runner: Runner) -> str:
    """Who ran on which CPUs."""
    services, client = (", ".join(map(str, cpus or [])) for cpus in (runner.service_cpus, runner.client_cpus))
    return f"services on CPU {services}, load generator on CPU {client}" if services else "not pinned to CPUs"


def _method(report: Report) -> str:
    facts = [
        f"candidate: {_arm(report.candidate)}",
        *([f"baseline: {_arm(report.baseline)}"] if report.baseline else []),
    ]
    system, python, created = map(quoted, (report.runner.system, report.runner.python, report.created))
    facts += [placement(report.runner), f"{system}, Python {python}, {created}"]
    return f"{method(report)}\n\n" + "\n".join(
        f"- {fact}" for fact in [*facts, f"{report.users} users, seed {report.seed}"]
    )


def _arm(arm: Arm) -> str:
    parts = [f"{arm.kind} {quoted(arm.source)}", f"model {quoted(arm.name)} version {quoted(arm.version)}"]
    parts += [f"bundle {quoted(arm.bundle_sha256[:12])}"] if arm.bundle_sha256 else []
    parts += [f"image {quoted(arm.image_id)}"] if arm.image_id else []
    parts += [f"with {quoted(', '.join(arm.faults))}"] if arm.faults else []
    return ", ".join(parts)
