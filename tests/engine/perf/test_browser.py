"""report.html in a real browser: on a phone and on a desk, light and dark."""

from pathlib import Path

import pytest

from perf.report.page import page
from tests.engine.browser import Browser
from tests.engine.perf.pages import degenerate, ordinary

PAGES = ordinary() | degenerate()
WIDEST = "[document.documentElement.scrollWidth, innerWidth]"
SMALLEST = """Math.min(12, ...[...document.querySelectorAll("svg text")].filter(text => text.getClientRects().length)
  .map(text => [text, text.closest("svg")]).map(([text, svg]) => parseFloat(getComputedStyle(text).fontSize)
  * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width))"""
# Pairs of texts in one picture that lie on each other, and texts that leave their picture.
CLASHES = """(() => {
  const found = [];
  for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].filter(text => text.getClientRects().length)
      .map(text => [text.textContent.trim(), text.getBoundingClientRect()]);
    texts.forEach(([words, box], index) => {
      if (box.left < frame.left - 2 || box.right > frame.right + 2 || box.top < frame.top - 2
          || box.bottom > frame.bottom + 2) found.push(`${words} leaves the picture`);
      for (const [others, other] of texts.slice(index + 1))
        if (Math.min(box.right, other.right) - Math.max(box.left, other.left) > 0
            && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 1)
          found.push(`${words} on ${others}`);
    });
  }
  return found;
})()"""


def test_the_browser_sees_what_is_wrong(chromium: Browser, tmp_path: Path) -> None:
    """A page that asks for something, throws, is too wide and writes one word on another is found out."""
    path = tmp_path / "bad.html"
    path.write_text(
        '<!DOCTYPE html><meta name="viewport" content="width=device-width"><div style="width: 900px">wide</div>'
        '<img src="http://example.invalid/x.png"><script>setTimeout(() => { throw new Error("oh") })</script>'
        '<svg viewBox="0 0 90 90"><text x="9" y="40">a</text><text x="9" y="40">b</text></svg>'
    )
    found = chromium.load(path, width=360)
    assert found.requests == ["http://example.invalid/x.png"]
    assert any("oh" in complaint for complaint in found.complaints)
    assert chromium.evaluate("document.documentElement.scrollWidth") > 360
    assert chromium.evaluate(CLASHES) == ["a on b"]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_fits_every_screen(chromium: Browser, tmp_path: Path, name: str) -> None:
    """No request, no complaint, nothing wider than the screen, also unfolded; labels are legible and apart."""
    path = tmp_path / "report.html"
    path.write_text(page(*PAGES[name]), encoding="utf-8")
    for width, scheme in ((360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")):
        found = chromium.load(path, width=width, scheme=scheme)
        assert (found.requests, found.complaints) == ([], [])
        chromium.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        used, there = chromium.evaluate(WIDEST)
        assert used <= there == width
        assert chromium.evaluate(SMALLEST) >= 10
        assert chromium.evaluate(CLASHES) == []
        assert chromium.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)" if scheme == "light" else "rgb(13, 17, 23)"
        )
