"""What people see of a verdict: report.md, and verdict.json. The page is in test_page.py."""

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from perf.files import write_verdict
from perf.report.markdown import MAX_BYTES, markdown
from perf.rule.wording import MINUS, amount, percent
from perf.verdict import Report, ReportError, read_verdict
from tests.engine.perf.pages import ALONE, ERROR, FAILED, PASSED, hostile


@pytest.mark.parametrize(
    ("report", "first_line"),
    [
        (PASSED, r"### ✅ Latency: p95 \S0\.\d % \(at most \+\d\.\d %\), surely below the limit of \+10 %"),
        (FAILED, r"### ❌ Latency: p95 of POST /predict is 50 % slower \(99\.0 % sure it is at least 4\d %\)"),
        (
            ALONE,
            r"### ✅ Latency: p95 from the intended start 3\.30 ms \(at most 3\.\d\d ms\), "
            "surely below the limit of 100 ms; no baseline to compare with",
        ),
        (ERROR, r"### ⛔ Latency: could not run: The candidate died\."),
    ],
)
def test_the_first_line_says_what_and_how_much(report: Report, first_line: str) -> None:
    """Who reads one line knows the verdict and its size."""
    assert re.fullmatch(first_line, markdown(report).splitlines()[0])


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0421, "+4.2 %"),
        (-0.317, f"{MINUS}32 %"),
        (-0.0004, "±0.0 %"),
        (0.0004, "±0.0 %"),
        (0.0, "±0 %"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_a_change_that_reads_zero_has_no_direction(share: float | None, text: str) -> None:
    """A change of -0.0 % or +0.0 % is none."""
    assert percent(share) == text


def test_hostile_text_stays_text() -> None:
    """Names, notes and logs out of a stranger's artifact make no link, no picture, no HTML and no mention."""
    rendered = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(markdown(hostile()))
    outside_code = re.sub(r"<code.*?</code>|<pre.*?</pre>", "", rendered, flags=re.S)
    ours = re.sub(r"</?(details|summary|h3|p|ul|li|strong|table|thead|tbody|tr|th|td|br)( [^>]*)?>", "", outside_code)
    assert re.findall(r"<(?!!-- perf-gate:predict -->)", ours) == []
    assert re.findall(r"@\w|#\d|://|www\.", ours) == []
    assert rendered.count("<details>") == rendered.count("</details>") == 4
    assert "\u202e" not in rendered


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=150))
def test_no_text_breaks_the_table(text: str) -> None:
    """Whatever a version is called, the table has its rows and columns."""
    report = replace(PASSED, candidate=replace(PASSED.candidate, version=text, git_sha=""))
    table = markdown(report).split("\n\n")[1].splitlines()
    assert len(table) == sum(row.outcome != "info" for row in PASSED.criteria) + 2
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}


@pytest.mark.parametrize("notes", [0, 50, 80])
def test_the_markdown_fits_a_comment(notes: int) -> None:
    """However many rounds and however long the log, it stays below what GitHub takes, and keeps its verdict."""
    long = replace(FAILED, rounds=FAILED.rounds * 150, log="x" * 10_000, notes=["ä" * 500] * notes)
    text = markdown(long)
    assert len(text.encode()) < MAX_BYTES
    assert text.splitlines()[0] == markdown(FAILED).splitlines()[0]
    assert "**Next:** make perf" in text


@pytest.mark.parametrize("report", [PASSED, FAILED, ALONE, ERROR], ids=["pass", "fail", "alone", "error"])
def test_a_verdict_reads_back_as_it_was_written(tmp_path: Path, report: Report) -> None:
    """verdict.json loses nothing."""
    write_verdict(tmp_path / "verdict.json", report)
    assert read_verdict(tmp_path / "verdict.json") == report


def test_the_verdict_knows_the_candidates_p95() -> None:
    """What goes to the registry is the mean over rounds; a verdict without a measurement has none."""
    assert pytest.approx(3.0, rel=0.01) == PASSED.p95_ms
    with pytest.raises(ReportError, match="no p95 latency"):
        _ = ERROR.p95_ms


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exit_code": 0}, "outcome fail does not go with exit code 0"),
        ({"outcome": "fine"}, "outcome"),
        ({"headline": "x" * 501}, "headline"),
        ({"rounds": "many"}, "rounds"),
        ({"schema": 1, "processes": 2}, r"another version of the gate \(schema 1, .*; run `make perf`"),
        ({"schema": "2"}, "schema"),
        ({"seconds": -1}, "seconds"),
    ],
)
def test_a_verdict_that_is_not_ours_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """A reader can trust types, lengths and that the parts agree; the error names what does not."""
    path = tmp_path / "verdict.json"
    path.write_bytes(msgspec.json.encode(msgspec.to_builtins(FAILED) | change))
    with pytest.raises(ReportError, match=message):
        read_verdict(path)


def test_a_reader_ignores_what_it_does_not_know(tmp_path: Path) -> None:
    """A pull request that brings a field, and main's code, which writes the comment on it."""
    verdict = msgspec.to_builtins(FAILED) | {"news": [1]}
    verdict["candidate"]["news"] = verdict["criteria"][0]["news"] = verdict["rounds"][0]["news"] = "one"
    path = tmp_path / "verdict.json"
    path.write_bytes(msgspec.json.encode(verdict))
    assert read_verdict(path) == FAILED


def test_a_verdict_that_is_too_large_or_missing_is_refused(tmp_path: Path) -> None:
    """Nothing of unknown size is parsed, and a missing file has a way out."""
    with pytest.raises(ReportError, match="run `make perf`"):
        read_verdict(tmp_path / "verdict.json")
    (tmp_path / "verdict.json").write_bytes(b" " * 2_000_001)
    with pytest.raises(ReportError, match="larger than"):
        read_verdict(tmp_path / "verdict.json")


@pytest.mark.parametrize(
    ("value", "text"), [(0.4417, "0.442 ms"), (1.4417, "1.44 ms"), (44.17, "44.2 ms"), (4417.0, "4,417 ms")]
)
def test_a_figure_has_three_digits_or_more(value: float, text: str) -> None:
    """So the change can be worked out from the two figures of its row, be they ever so small."""
    assert amount(value, "ms") == text
