"""The comment on a pull request as people see it: GitHub's styles, and its charts by Mermaid, in a real browser.

Each is left as a picture in .cache/comments, to be looked at.
"""

import html
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from perf.report.markdown import markdown
from perf.verdict import Report
from pipeline.schema import Quality
from tests.engine.browser import Browser, browser
from tests.engine.perf.pages import ALONE, FAILED, PASSED
from tests.template.npm import install
from training.quality import slices
from training.quality.judge import judge
from training.quality.markdown import chart
from training.quality.markdown import markdown as of_model
from training.quality.metrics import Answers, metrics
from training.quality.report import Importance, Model, Moved, Promotion
from training.quality.slices import Part

from .conftest import ROOT

HERE = Path(__file__).with_name("comments")
PICTURES = ROOT / ".cache" / "comments"
PHONE, DESK = 390, 920
LINE = 24  # pixels
LONGEST = 60  # lines, on a phone
QUALITY = Quality(metric="roc_auc", floor=0.7, tolerance=0.01, slices=["State"])
STATES = np.array(["CA", "NY", "TX", "FL", "WA"], object)
FORK = "<sub>Commit `ada0000`. A pull request from a fork is measured by its own code.</sub>"
Array = np.ndarray[Any, Any]


def simulated(rows: int, better: float = 0.0, worse_in: str = "", champion: bool = True, **further: object) -> Model:
    """What the gate says of two versions that answer so many rows, of which one is better by so much."""
    dice = np.random.default_rng(1)
    truth = dice.random(rows) < 0.3
    state = STATES[np.arange(rows) % len(STATES)]
    signal = 1.5 * truth + dice.normal(size=rows)
    old = answers(truth, signal + 0.15 * dice.normal(size=rows))
    shift = np.where(state == worse_in, 3.0 * dice.normal(size=rows), 0.0)
    new = answers(truth, signal + better * truth + shift + 0.15 * dice.normal(size=rows))
    units = np.arange(rows)
    model = judge(QUALITY, metrics(new), new, old if champion else None, units)
    parts = [Part("State", str(name), np.flatnonzero(state == name)) for name in STATES]
    limit = 0.05 if worse_in else None
    table, _ = slices.compare("roc_auc", 1, new, old if champion else None, units, parts, limit)
    if failed := [each for each in table if each.outcome == "fail"]:
        loss = abs(failed[0].change or 0.0)
        sentence = f"roc_auc of State {failed[0].value} is {loss:.2g} worse than the champion's"
        model = msgspec.structs.replace(model, passed=False, outcome="fail", sentence=sentence)
    known = {"importance": [Importance(column="Term", candidate=0.2, champion=0.19 if champion else None)]}
    if champion:
        known |= {
            "champion": "7",
            "changed": ["learning_rate: 0.1 to 0.2"],
            "promotions": promotions(),
            "moved": [Moved(place="line 812", truth="CHGOFF", champion=0.91, candidate=0.34)],
        }
    return msgspec.structs.replace(model, version="8", rows=rows, slices=table, **known | further)  # type: ignore[arg-type]


def answers(truth: Array, score: Array) -> Answers:
    p = 1 / (1 + np.exp(1.5 - score))
    return Answers(np.where(truth, "CHGOFF", "P I F"), np.column_stack([p, 1 - p]), ["CHGOFF", "P I F"], "CHGOFF")


def promotions() -> list[Promotion]:
    metric = [0.951, 0.953, 0.958, None, 0.957, 0.961, 0.9605, 0.962]
    return [
        Promotion(version=str(n), metric=value, p95=1.0 + 0.01 * n, rolled_back=n == 3)
        for n, value in enumerate(metric)
    ]


def stopped(model: Model) -> str:
    """As release.github.explain writes it."""
    return f"{of_model(model)}\nNothing was built or measured.\n\n**Next:** `make train` reproduces it."


def comments() -> Mapping[str, tuple[str, str]]:
    """By what happened: the comment, and what its first line says."""
    return {
        "better model": (told(PASSED, simulated(4_000, better=0.4)), "✅ Model: roc"),
        "equal model": (told(PASSED, simulated(12_000)), "✅ Model: roc"),
        "worse model": (stopped(simulated(6_000, better=-0.6)), "surely worse by"),
        "slower": (told(FAILED, simulated(12_000)), "❌ Latency: p95"),
        "worse slice": (stopped(simulated(12_000, worse_in="TX")), "❌ Model: roc\\_auc of State TX"),
        "too few rows": (told(PASSED, simulated(150)), "cannot tell"),
        "model stopped": (stopped(simulated(6_000, better=-1.4, champion=False)), "below the floor"),
        "no champion": (told(ALONE, simulated(4_000, champion=False)), "compared with no champion"),
        "from a fork": (told(PASSED, simulated(12_000)) + f"\n{FORK}", "✅ Model: roc"),
    }


def told(report: Report, model: Model) -> str:
    return markdown(report, model)


PAGE = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<style>{style} body {{ margin: 0; padding: 16px; }} table {{ display: block; overflow: auto; }}</style>
<article class="markdown-body"></article><template>{text}</template>
<script src="node_modules/marked/lib/marked.umd.js"></script>
<script src="node_modules/mermaid/dist/mermaid.min.js"></script>
<script>
  const article = document.querySelector("article");
  article.innerHTML = marked.parse(document.querySelector("template").innerHTML.replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">").replaceAll("&amp;", "&"));
  window.shown = {{height: article.clientHeight, first: article.querySelector("h3").innerText}};
  for (const each of article.querySelectorAll("details")) each.open = true;
  for (const code of article.querySelectorAll("code.language-mermaid")) {{
    const chart = document.createElement("div");
    chart.className = "mermaid";
    chart.textContent = code.textContent;
    code.parentElement.replaceWith(chart);
  }}
  mermaid.initialize({{startOnLoad: false}});
  window.drawn = mermaid.run();
</script>"""


@pytest.fixture(name="chromium", scope="module")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as started:
        if started is None:
            pytest.fail("needs Chromium")
        yield started


@pytest.fixture(name="packages", scope="module")
def _packages() -> Path:
    if shutil.which("npm") is None:
        pytest.fail("needs npm")
    return install(HERE, ROOT / ".cache" / "github-comments")


def page(packages: Path, name: str, text: str) -> Path:
    style = (packages / "node_modules/github-markdown-css/github-markdown-light.css").read_text()
    path = packages / f"{name}.html"
    path.write_text(PAGE.format(style=style, text=html.escape(text, quote=False)), encoding="utf-8")
    return path


@pytest.mark.slow
def test_each_comment_fits_a_phone_and_says_its_verdict_first(chromium: Browser, packages: Path) -> None:
    """Below 60 lines before anything is unfolded, and the charts are drawn."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, (text, first) in comments().items():
        path = page(packages, name, text)
        assert first in text.split("\n", 1)[0], name
        chromium.load(path, width=PHONE)
        shown = chromium.evaluate("window.shown")
        assert shown["height"] < LONGEST * LINE, name
        chromium.evaluate("window.drawn")
        assert chromium.evaluate("document.body.scrollWidth") <= PHONE, name
        charts = chromium.evaluate("document.querySelectorAll('.mermaid svg').length")
        assert charts == text.count("```mermaid"), name
        assert "Syntax error" not in chromium.evaluate("document.body.innerText"), name
        chromium.load(path, width=DESK)
        chromium.evaluate("window.drawn")
        chromium.picture(PICTURES / f"{name}.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [[0.5, 0.5], [1e-9, 2e-9], [-3.0, -1.0, None, 5.0], [1e6, 2e6], [100.0, 0.0]],
    ids=["level", "tiny", "negative", "huge", "zero"],
)
def test_mermaid_takes_whatever_the_figures_are(chromium: Browser, packages: Path, values: list[float | None]) -> None:
    """Numbers of any size, with gaps."""
    text = chart("ROC AUC", [str(n) for n in range(len(values))], values)
    chromium.load(page(packages, "chart", f"### Chart\n\n{text}\n"), width=DESK)
    chromium.evaluate("window.drawn")
    assert chromium.evaluate("document.querySelectorAll('.mermaid svg .line-plot-0 path').length") == 1


def test_one_value_is_no_line() -> None:
    """Nor is none."""
    assert chart("ROC AUC", ["1", "2"], [0.5, None]) == ""
