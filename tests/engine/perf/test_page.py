"""report.html: what it shows, of what, and that it stands on its own. How a browser takes it is in test_browser.py."""

import re

import numpy as np
import pytest
from msgspec.structs import replace

from perf.report.page import page
from perf.report.pictures import figure_of, steps_of
from perf.report.timeline import FEWEST, binned, spans
from perf.rule.rounds import Samples
from perf.verdict import row_of
from tests.engine.perf.conftest import ROOT
from tests.engine.perf.examples import report_of, rounds_of
from tests.engine.perf.pages import (
    ALONE,
    ERROR,
    FAILED,
    PASSED,
    Page,
    degenerate,
    hostile_model,
    ordinary,
    samples_of,
)

ORDINARY, DEGENERATE = ordinary(), degenerate()


def shown(html: str) -> str:
    """The text of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<[^>]*>", " ", html, flags=re.S))


@pytest.mark.parametrize("case", ORDINARY.values(), ids=ORDINARY.keys())
def test_the_page_needs_nothing_but_itself(case: Page) -> None:
    """No script, no request to anywhere, and no tag that came in with a text."""
    html = page(*case)
    assert re.findall(r"<(script|img|link|iframe|object|base)\b|@import|url\(\s*['\"]?(?!#)", html) == []
    assert re.findall(r"(?:href|src)\s*=\s*['\"](?!#)", re.sub(r"&[a-z#0-9]+;", "", html)) == []
    assert html.count("<svg") == html.count("</svg>") == (4 if case[1] else 0)
    assert html.count("</html>") == 1


@pytest.mark.parametrize("case", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_every_verdict_has_a_page(case: Page) -> None:
    """Whatever is missing, is no number or is all the same: a page, no warning, and no figure that is none."""
    html = page(*case)
    assert html.endswith("</html>\n")
    assert re.findall(r"\b(nan|inf|None)\b", html) == []


def test_the_model_has_its_part() -> None:
    """Metrics and slices beside the champion's; every text in it may be somebody else's."""
    html = page(PASSED, [], hostile_model())
    assert "<h2>The model: @everyone #1 &lt;script&gt;" in html
    assert re.findall(r"<(script|img)\b", html) == []
    assert "+0.1" in shown(html)
    assert "1 slices, the worst first" in shown(html)
    assert "The model" not in page(PASSED, [])


def test_titles_say_what_to_see() -> None:
    """What the bounds say about the limit is in the title; nothing measured, nothing drawn."""
    failed = shown(page(FAILED, samples_of(FAILED.rounds)))
    assert "The change of p95 is +50 %, surely above +1 %" in failed
    assert "2,500 answered requests of each version" in failed
    assert "surely below the limit of +10 %" in shown(page(PASSED, []))
    assert "fails above" in failed
    assert "surely ≤ +1 %" in failed
    assert "is +50\N{NO-BREAK SPACE}%, surely" in page(FAILED, [])  # no line begins with the unit of a number
    alone = page(ALONE, samples_of(ALONE.rounds))
    assert "p95 from the intended start is 3.30 ms, surely below the limit of 100 ms" in shown(alone)
    assert "The limit of 100 ms is far above." in alone
    assert ">baseline<" not in alone
    assert "<figure" not in page(ERROR, [])


def test_an_outcome_reads_without_colour() -> None:
    """Each gated criterion has a sign and a word; the table of rounds is folded away."""
    text = shown(page(FAILED, []))
    assert "✗ fail p95 latency" in text
    assert "✓ pass errors" in text
    html = page(ORDINARY["inconclusive"][0], [])
    assert '<span class="icon" aria-hidden="true">?</span>inconclusive' in html
    assert "<details><summary>Rounds: 5 that count, 1 dropped</summary>" in html
    assert "dropped: the host gave 12 % of the CPU to others" in html


def test_one_pair_of_milliseconds_is_shown_for_p95() -> None:
    """Its ratio is the change that is reported, in the table; the curves, which are of all requests, say no other."""
    (row,) = (row for row in FAILED.criteria if row.key == "p95")
    assert row.baseline and row.candidate and row.change
    assert row.candidate / row.baseline - 1 == pytest.approx(row.change, abs=1e-12)
    samples = samples_of(FAILED.rounds)
    html = page(FAILED, samples)
    for arm in ("baseline", "candidate"):
        pooled = float(np.quantile(np.concatenate([each[arm].latency for each in samples]), 0.95))
        assert f">{pooled:.2f}</text>" not in html


def test_the_bounds_narrow_to_those_of_the_verdict() -> None:
    """After each round that counts, with the error budget of the decision ahead; at the end they are the table's."""
    report = ORDINARY["inconclusive"][0]
    found = steps_of(report)
    assert [(step.number, step.kept) for step in found] == [(2, 2), (4, 3), (5, 4), (6, 5)]
    judged = report_of([r for r in report.rounds if not r.dropped])
    last = steps_of(judged)[-1]
    row = judged.criteria[0]
    assert (last.mean, (last.low, last.high)) == (pytest.approx(row.change), pytest.approx(row.interval))
    assert found[0].high - found[0].low > 10 * (found[-1].high - found[-1].low)


def test_without_a_baseline_the_rounds_are_in_milliseconds() -> None:
    """p95 from the intended start, held against the absolute limit."""
    assert [figure_of(r, ALONE) for r in ALONE.rounds[:2]] == pytest.approx([3.3, 3.355])
    row = row_of(ALONE.criteria, "p95_due")
    assert row is not None
    last = steps_of(ALONE)[-1]
    assert (last.mean, (last.low, last.high)) == (pytest.approx(row.candidate), pytest.approx(row.interval))


def test_bins_are_of_one_round_and_hold_their_quantiles() -> None:
    """A bin never mixes rounds, has enough requests for a p95, and knows what failed; dropped rounds are in it."""
    report, samples = ORDINARY["inconclusive"]
    of = samples[2]["candidate"]
    samples[2] = samples[2] | {"candidate": of._replace(ok=of.pair != 3)}
    rounds = spans(report, samples)
    assert [(span.begin, span.end) for span in rounds[:2]] == [(0.0, 5.0), (5.0, 10.0)]
    bins = binned(rounds, "candidate", 48)
    assert bins.edges.size == 6 * (8 + 2)
    per = 500 // 8
    assert per >= FEWEST
    first = of.latency[of.ok & (of.pair != 3) & (of.start < 5 / 8)]
    assert (bins.median[20], bins.p95[20], bins.slowest[20]) == tuple(np.quantile(first, (0.5, 0.95, 1.0)))
    assert np.nansum(bins.errors) == bins.errors[20] == 1
    assert np.isnan(bins.p95[9::10]).all()
    assert np.isfinite(np.delete(bins.p95, np.s_[9::10])).all()


def test_a_million_requests_stay_a_small_page() -> None:
    """Pictures are of bins and quantiles, so they have no more to draw of a million than of a thousand."""
    count, rounds = 42_000, rounds_of([3.0] * 12, [3.0] * 12)
    dice = np.random.default_rng(7)
    start = np.arange(count) / 1000
    arms = ("candidate", "baseline")
    samples = [
        {arm: Samples(np.arange(count), start, start, dice.gamma(2, 2, count), np.full(count, True)) for arm in arms}
        for _ in rounds
    ]
    html = page(replace(PASSED, rounds=rounds, decide_after=[5, 8, 12]), samples)
    assert max(map(len, re.findall(r"<svg.*?</svg>", html, flags=re.S))) < 300_000


def test_the_page_says_what_was_measured_on_what() -> None:
    """Both arms by their digests, and the machine: who finds the page later can tell what it is about."""
    arm = replace(PASSED.candidate, kind="container", image_id="sha256:feed", bundle_sha256="cafe")
    html = page(replace(PASSED, candidate=arm), samples_of(PASSED.rounds))
    for fact in ("<code>sha256:feed</code>", "<code>cafe</code>", "<code>.mlops/champion</code>", "seed "):
        assert fact in html


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_contrast(theme: int) -> None:
    """Every colour in which text is written has 4.5 to 1 on the page and on cards, as WCAG AA asks."""
    style = (ROOT / "perf" / "report" / "page.html").read_text()
    colours = dict(re.findall(r"--(\w+): (#\w+)", re.findall(r":root \{(.*?)\}", style, flags=re.S)[theme]))
    for ground in (colours["paper"], colours["card"]):
        for name in ("ink", "soft", "candidate", "baseline", "bad", "good", "warn"):
            pair = sorted(luminance(colour) for colour in (colours[name], ground))
            assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (name, ground)


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
