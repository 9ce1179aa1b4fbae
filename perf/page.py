"""From a verdict and its latencies to report.html: one file, no network, for any screen, light or dark."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from perf.pictures import draw_latencies, draw_rounds, ratio, shown
from perf.report import facts, method, who
from perf.verdict import Report
from perf.wording import amount, bound, percent, span

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1f2328; --soft: #59636e; --grid: #d1d9e0;
  --candidate: #0969da; --baseline: #8250df; --bad: #cf222e; --good: #1a7f37; --warn: #9a6700; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --grid: #3d444d;
  --candidate: #58a6ff; --baseline: #bc8cff; --bad: #ff7b72; --good: #3fb950; --warn: #d29922; --card: #151b23; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: .5rem 0; padding-left: .75rem; border-left: .4rem solid var(--soft);
  overflow-wrap: anywhere; }
h1.pass { border-color: var(--good); } h1.fail, h1.error { border-color: var(--bad); }
h1.inconclusive { border-color: var(--warn); }
h1 b { text-transform: uppercase; margin-right: .4rem; } h1.pass b, tr.pass td:last-child { color: var(--good); }
h1.fail b, h1.error b, tr.fail td:last-child { color: var(--bad); }
h1.inconclusive b, tr.inconclusive td:last-child { color: var(--warn); }
h2 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
p, li { overflow-wrap: anywhere; } small, .soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--grid); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } tr.info td { color: var(--soft); }
pre { background: var(--card); padding: .75rem; overflow-x: auto; } code { background: var(--card); }
svg { width: 100%; height: auto; display: block; } .pictures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
td:first-child { border-left: .25rem solid transparent; }
tr.pass td:first-child { border-left-color: var(--good); } tr.fail td:first-child { border-left-color: var(--bad); }
tr.inconclusive td:first-child { border-left-color: var(--warn); }
figure { margin: 0; } figure h2 { margin-top: .5rem; }
@media (max-width: 36rem) { table { font-size: .8rem; } th, td { padding: .3rem; } th:first-child, td:first-child {
  white-space: normal; } }
"""


def page(report: Report, latencies: Mapping[str, NDArray[np.float64]]) -> str:
    """The whole of report.html. `latencies`: milliseconds, by arm, of the rounds that count."""
    drawn = [draw_latencies(latencies)] if any(values.size for values in latencies.values()) else []
    drawn += [draw_rounds(report)] if any(shown(r, report) is not None for r in report.rounds) else []
    parts = [
        f'<h1 class="{report.outcome}"><b>{report.outcome}</b> {escape(report.headline)}</h1>',
        f'<p class="soft">{escape(_subtitle(report))}</p>',
        *(['<div class="wide">' + _table(report) + "</div>"] if report.criteria else []),
        *listed([*report.reasons, *report.notes]),
        f"<p><b>Next:</b> {escape(report.next)}</p>",
        *(['<div class="pictures">', *drawn, "</div>"] if drawn else []),
        *(["<h2>Last lines of its log</h2>", f"<pre>{escape(report.log)}</pre>"] if report.log else []),
        *(['<h2>Rounds</h2><div class="wide">' + _rounds(report) + "</div>"] if report.rounds else []),
        f"<h2>Method</h2><p>{escape(' '.join(method(report).split()))}</p>",
        "<ul>" + "".join(f"<li>{fact}</li>" for fact in facts(report, _code)) + "</ul>",
    ]
    return document(f"{report.project}: {report.outcome}", parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page of these parts, which are HTML; the title is text."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


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
    return ["<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"] if texts else []


def _table(report: Report) -> str:
    heads = ["", "baseline", "candidate", "change", f"{report.confidence * 100:.0f} % interval", "limit", ""]
    rows = [
        f'<tr class="{row.outcome}">'
        + cells(
            row.name,
            amount(row.baseline, row.unit),
            amount(row.candidate, row.unit),
            percent(row.change),
            span(row),
            bound(row),
            "" if row.outcome == "info" else row.outcome,
        )
        + "</tr>"
        for row in report.criteria
    ]
    return framed(heads, rows)


def _rounds(report: Report) -> str:
    heads = ["round", "baseline p95", "candidate p95", "change", "requests", "errors", ""]
    rows = []
    for r in report.rounds:
        of_ratio = ratio(r)
        rows.append(
            f'<tr class="{"info" if r.dropped else ""}">'
            + cells(
                str(r.number),
                amount(r.baseline.p95, "ms") if r.baseline else "",
                amount(r.candidate.p95, "ms"),
                percent(of_ratio - 1) if of_ratio is not None else "",
                f"{r.candidate.count:,}",
                str(r.candidate.errors),
                f"dropped: {r.dropped}" if r.dropped else "",
            )
            + "</tr>"
        )
    return framed(heads, rows)


def framed(heads: Sequence[str], rows: Sequence[str]) -> str:
    """A table with these heads, which are text, and rows, which are HTML."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def cells(*texts: str) -> str:
    """The cells of a row, of text."""
    return "".join(f"<td>{escape(text)}</td>" for text in texts)
