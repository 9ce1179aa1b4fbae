"""serving.page: the model's page and the description of its requests, in a real browser."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from pipeline import bundle as bundles
from serving.app import create_app
from tests.engine.browser import Browser
from tests.engine.serving.conftest import Service

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
WIDEST = "[document.documentElement.scrollWidth, innerWidth]"
# Contrast by WCAG 2 of each text with what is behind it: the least, and the text.
CONTRAST = """(() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  let least = [21, ""];
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())) continue;
    if (!node.getClientRects().length) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least[0]) least = [ratio, node.textContent.trim().slice(0, 40)];
  }
  return least;
})()"""


@pytest.fixture(name="service", scope="module")
def _service(serve_module: Callable[..., Service]) -> Service:
    return serve_module(WEB_CONCURRENCY="1")


def until(chromium: Browser, script: str) -> Any:
    """The first value of a script that is none of null, 0 and ''."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if found := chromium.evaluate(script):
            return found
        time.sleep(0.05)
    raise AssertionError(f"never true: {script}")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_fit_every_screen(chromium: Browser, service: Service, path: str) -> None:
    """Nothing is asked of anybody else, nobody complains, all fits, and every text can be read."""
    for width, scheme in ((360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")):
        found = chromium.load(service.url + path, width=width, scheme=scheme)
        until(chromium, "document.querySelectorAll('dd, details').length")
        assert found.complaints == []
        assert all(address.startswith((service.url, "data:,")) for address in found.requests)
        chromium.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        used, there = chromium.evaluate(WIDEST)
        assert used <= there == width
        contrast, text = chromium.evaluate(CONTRAST)
        assert contrast >= 4.5, text


def test_the_form_asks_and_shows_the_answer(chromium: Browser, service: Service, trained: Path) -> None:
    """Filled with a real record; the answer is what the service says, and the command line is the same request."""
    contract = bundles.read(trained / "bundle").contract
    chromium.load(service.url + "/", width=1280)
    until(chromium, "document.querySelectorAll('#fields input').length")
    labels = chromium.evaluate("[...document.querySelectorAll('#fields label')].map(each => each.textContent)")
    assert labels == [field.name for field in contract.fields]
    named = "i => i.labels.length === 1 && document.getElementById(i.getAttribute('aria-describedby'))"
    assert chromium.evaluate(f"[...document.querySelectorAll('input')].every({named})")
    command = chromium.evaluate("document.getElementById('curl').textContent")
    body = command.partition("-d '")[2].removesuffix("'")
    (expected,) = json.loads(service.get("/predict", body.encode())[1])["predictions"]
    chromium.evaluate("document.querySelector('#form button').click()")
    shown = until(chromium, "document.querySelector('#answer .class, #answer .value')?.parentElement.innerText")
    assert "ms, there and back, by version 1" in shown
    for name, share in expected.get("probabilities", {}).items():
        assert f"{name}\n{100 * share:.1f} %" in shown
    drawn = chromium.evaluate(
        "[...document.querySelectorAll('.fill')].map(f => f.offsetWidth / f.parentElement.clientWidth)"
    )
    assert drawn == pytest.approx(sorted(expected.get("probabilities", {}).values(), reverse=True), abs=0.01)
    chromium.evaluate("document.getElementById('another').click()")
    assert chromium.evaluate("document.getElementById('curl').textContent") != command


def test_a_refusal_is_shown_at_its_field(chromium: Browser, service: Service, trained: Path) -> None:
    """The field has the sentence and the focus, for eyes and for screen readers."""
    contract = bundles.read(trained / "bundle").contract
    number = next((n for n, field in enumerate(contract.fields) if field.type == "number" and not field.nullable), None)
    if number is None:
        pytest.skip("the model has no number that is always there")
    chromium.load(service.url + "/", width=360)
    until(chromium, "document.querySelectorAll('#fields input').length")
    field = f"document.getElementById('field-{number}')"
    chromium.evaluate(f"{field}.value = 'many'; document.querySelector('#form button').click()")
    assert until(chromium, "document.querySelector('[aria-invalid=true]')?.name") == contract.fields[number].name
    assert chromium.evaluate(f"{field} === document.activeElement")
    note = chromium.evaluate(f"document.getElementById({field}.getAttribute('aria-describedby')).textContent")
    assert note == "is a text; expected a number"
    assert "Refused (422)" in chromium.evaluate("document.getElementById('answer').innerText")


def test_the_page_can_be_switched_off(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """serving.page = false: no page, and the description stays."""
    monkeypatch.setenv("MLOPS_SERVING__PAGE", "false")
    client = create_app(trained / "bundle").test_client()
    statuses = [client.get(path).status_code for path in ("/", "/docs", "/page/page.js", "/openapi.json")]
    assert statuses == [200, 404, 404, 200]
    assert client.get("/", headers=BROWSER).json == {"status": "alive"}


def test_who_is_no_browser_is_told_that_the_service_is_alive(client: FlaskClient) -> None:
    """KServe's client asks at /, and reads JSON."""
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        assert client.get("/", headers=accept).json == {"status": "alive"}
    assert client.get("/", headers=BROWSER).mimetype == "text/html"


def test_what_is_called_like_a_script_is_none(client: FlaskClient) -> None:
    """Only the service's own files are scripts."""
    policy = client.get("/", headers=BROWSER).headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
