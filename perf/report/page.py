"""From a verdict and its requests to report.html: one file, no network, for any screen, light or dark."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perf.accepted import told
from perf.report.canvas import COLOURS, prose
from perf.report.distribution import draw_distribution
from perf.report.markdown import facts, method, who
from perf.report.narrowing import draw_narrowing
from perf.report.timeline import draw_timeline
from perf.report.wording import NAMES, amount, bound, percent, span
from perf.rule.estimate import log_ratio
from perf.rule.rounds import Samples
from perf.verdict import Figures, Key, Report, Round

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
# Whatever a text out of somebody else's bundle may be, the browser fetches nothing and runs nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
ICONS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "info": ""}
MEANING: dict[Key, str] = {
    "p95": "95 of 100 requests were answered within it, from when they were sent. The mean over rounds, as all "
    "latencies here.",
    "p95_due": "From when a request was due by the schedule. So it holds what a request waited "
    "because those before it were slow, as users would.",
    "errors": "Answers other than 200 with a prediction, and none in time. Latencies are of the other requests.",
    "throughput": "What was sent and answered, against what the schedule asked for.",
    "requests": "How many of the candidate's count. Too few decide nothing.",
    "cpu_ms": "Of all processes of the service, the warm-up included: steadier than any latency, but not "
    "what a user feels.",
    "memory_mb": "Of all processes at the end of a round, without file caches.",
    "grown_kb": "What a request left behind, the first ones of a fresh start included. Far above the "
    "baseline's it is a leak.",
    "image_mb": "With its base, unpacked.",
    "ready_seconds": "From the start to the first 200 of /readyz.",
    "steadiness": "Its odd requests against its even ones. A difference there is the machine's.",
}


def page(report: Report, samples: Sequence[Mapping[str, Samples]]) -> str:
    """The whole of report.html. `samples`: of each round, by arm."""
    drawn = _drawn(report, samples)
    signed = report.accepted if report.outcome == "pass" else None
    kind, word = ("accepted", "pass, accepted") if signed else (report.outcome, report.outcome)
    parts = [
        f'<h1 class="{kind}"><b>{word}</b> {prose(report.headline)}</h1>',
        f'<p class="soft">{prose(_subtitle(report))}</p>',
        *([f"<p><b>Accepted:</b> {told(report.accepted, _code)}</p>"] if report.accepted else []),
        *([_table(report)] if report.criteria else []),
        *listed([*report.reasons, *report.notes]),
        f"<p><b>Next:</b> {prose(report.next)}</p>",
        *(["<h2>Last lines of its log</h2>", f"<pre>{escape(report.log)}</pre>"] if report.log else []),
        *(['<div class="pictures">', *drawn, "</div>"] if drawn else []),
        *([_folded(_counted(report), _rounds(report))] if report.rounds else []),
        *([_folded("What the rows mean", _meanings(report))] if report.criteria else []),
        f"<h2>Method</h2><p>{prose(' '.join(method(report).split()))}</p>",
        "<ul>" + "".join(f"<li>{fact}</li>" for fact in facts(report, _code)) + "</ul>",
        '<p class="soft">Beside this file: each request in samples.csv.gz, each round in rounds.csv, the verdict in '
        "verdict.json.</p>",
    ]
    return document(f"{report.project}: {report.outcome}", parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page of these parts, which are HTML; the title is text."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _drawn(report: Report, samples: Sequence[Mapping[str, Samples]]) -> list[str]:
    latencies = {arm: answered(report.rounds, samples, arm) for arm in COLOURS}
    first = draw_distribution(latencies) if any(values.size for values in latencies.values()) else ""
    return [picture for picture in (first, draw_narrowing(report), draw_timeline(report, samples)) if picture]


def answered(rounds: Sequence[Round], samples: Sequence[Mapping[str, Samples]], arm: str) -> NDArray[np.float64]:
    """The latencies of an arm in all rounds that count, in milliseconds."""
    found = [by_arm[arm] for r, by_arm in zip(rounds, samples, strict=False) if not r.dropped and arm in by_arm]
    latency = np.concatenate([np.empty(0), *(each.latency[each.ok] for each in found)])
    return latency[np.isfinite(latency)]


def _code(text: str) -> str:
    return f"<code>{escape(text) or 'unknown'}</code>"


def _subtitle(report: Report) -> str:
    against = f" against {who(report.baseline)}" if report.baseline else ""
    kept = sum(not r.dropped for r in report.rounds)
    sight = (
        f" This run could see a slow-down of {percent(report.detectable, signed=False)}." if report.detectable else ""
    )
    return (
        f"{report.project}, {who(report.candidate)}{against}. {kept} rounds at {amount(report.rate, '/s')}, "
        f"{report.seconds / 60:.1f} min, {report.created}.{sight}"
    )


def listed(texts: Sequence[str]) -> list[str]:
    """Texts as a list, where there are any."""
    return ["<ul>" + "".join(f"<li>{prose(text)}</li>" for text in texts) + "</ul>"] if texts else []


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def _table(report: Report) -> str:
    paired = report.baseline is not None
    heads = ["verdict", "of POST /predict", *(["baseline"] if paired else []), "candidate"]
    heads += [*(["change"] if paired else []), f"{report.confidence * 100:.0f} % interval", "limit"]
    rows = []
    for row in report.criteria:
        signed = row.accepted and row.outcome == "pass"
        word = "accepted" if signed else "" if row.outcome == "info" else row.outcome
        cells = [
            f'<td class="outcome text"><span class="icon" aria-hidden="true">{ICONS[row.outcome]}</span>{word}</td>',
            cell(NAMES[row.key], "text"),
            *([cell(amount(row.baseline, row.unit))] if paired else []),
            cell(amount(row.candidate, row.unit)),
            *([cell(percent(row.change))] if paired else []),
            cell(span(row)),
            cell(bound(row)),
        ]
        rows.append(f'<tr class="{"accepted" if signed else row.outcome}">{"".join(cells)}</tr>')
    return framed("The criteria", heads, rows)


def _meanings(report: Report) -> str:
    found = [(NAMES[row.key], MEANING[row.key]) for row in report.criteria if row.key in MEANING]
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in found) + "</dl>"


def _counted(report: Report) -> str:
    dropped = sum(bool(r.dropped) for r in report.rounds)
    return f"Rounds: {len(report.rounds) - dropped} that count" + (f", {dropped} dropped" if dropped else "")


def _rounds(report: Report) -> str:
    paired = report.baseline is not None
    heads = ["round", *(["baseline", "candidate", "change"] if paired else ["candidate"]), "from the intended start"]
    heads += ["requests", "errors", "client CPU", "stolen CPU", ""]
    rows = []
    for r in report.rounds:
        base = [amount(r.baseline.p95, "ms") if r.baseline else ""] if paired else []
        change = [percent(_change(r))] if paired else []
        cells = [str(r.number), *base, amount(r.candidate.p95, "ms"), *change, amount(r.candidate.p95_due, "ms")]
        cells += [_both(r, "count"), _both(r, "errors")]
        cells += [percent(r.client_cpu, signed=False), percent(r.steal, signed=False)]
        last = cell(f"dropped: {r.dropped}" if r.dropped else "", "text reason")
        rows.append(f'<tr class="{"info" if r.dropped else ""}">{"".join(map(cell, cells))}{last}</tr>')
    note = "p95 of each round." + (" Requests and errors: the candidate's, and the baseline's." if paired else "")
    return f'<p class="soft">{note}</p>' + framed("The rounds", heads, rows)


def _change(r: Round) -> float | None:
    found = math.expm1(log_ratio(r.candidate.p95, r.baseline.p95 if r.baseline else None))
    return found if math.isfinite(found) else None


def _both(r: Round, name: str) -> str:
    arms: list[Figures] = [arm for arm in (r.candidate, r.baseline) if arm is not None]
    return ", ".join(f"{getattr(arm, name):,}" for arm in arms)


def framed(name: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    """A table that scrolls within its own box where the screen is narrow. Heads are text, rows are HTML."""
    kinds = {"verdict": "text", "of POST /predict": "text", "baseline": "baseline", "candidate": "candidate"}
    head = "".join(f'<th scope="col" class="{kinds.get(text, "")}">{escape(text)}</th>' for text in heads)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="wide" role="region" aria-label="{name}" tabindex="0">{table}</div>'


def cell(text: str, kind: str = "") -> str:
    """One cell of text."""
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"
